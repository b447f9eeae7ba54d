// What tools that explain Holdfast need beside the public entry, so that they see what it sees: an application needs nothing of this.
import { type Fetch, FetchFailure, fetchJson, type FetchLimits } from './discovery/fetch-json.ts';
import { metadataUrls, readMetadata } from './discovery/metadata.ts';
import { examineKey, type ExaminedKey, MOST_KEYS } from './keys/key-set.ts';
import { fetchKeySet } from './keys/jwks-rsa.ts';
import { ALGORITHMS, isProvider } from './options/issuers.ts';
import { type ProviderName, PROVIDERS } from './access-token/providers.ts';

export { notAnAccessToken, type TokenShape, typeOf } from './access-token/shape.ts';
export { normaliseTargetUri } from './confirmation/htu.ts';
export { isSecureUrl } from './discovery/metadata.ts';
export { readProofKey } from './keys/proof-key.ts';
export { PROOF_ALGORITHMS, PROOF_WINDOW } from './options/dpop.ts';
export { ALGORITHMS } from './options/issuers.ts';

/** The providers whose tokens are known. */
export const PROVIDER_NAMES: readonly ProviderName[] = Object.keys(PROVIDERS).filter(isProvider);

/** A place where the metadata of an issuer can be, and what was found there. */
export interface ExaminedLocation {
  readonly url: string;
  /** `unanswered`: the server could not be reached, so that the places after it are not tried (`untried`). */
  readonly found: 'metadata' | 'unusable' | 'unanswered' | 'untried';
  /** Why it cannot be used. */
  readonly why?: string;
  /** The document, where it is the issuer's and leads to its keys. Nothing else in it has been checked. */
  readonly document?: Readonly<Record<string, unknown>>;
  /** What a document that cannot be used says its `issuer` is. */
  readonly issuer?: unknown;
}

/**
 * Looks at every place where the metadata of an issuer can be, in the order in which a resource looks for it; a resource takes the
 * first that can be used. Never rejects for what a server does. `issuer` is a secure URL ({@link isSecureUrl}).
 */
export async function examineLocations(issuer: string, fetch: Fetch, limits: FetchLimits): Promise<readonly ExaminedLocation[]> {
  const locations: ExaminedLocation[] = [];
  for (const url of metadataUrls(issuer)) {
    locations.push(
      locations.at(-1)?.found === 'unanswered' || locations.at(-1)?.found === 'untried'
        ? { url, found: 'untried' }
        : await examineLocation(url, issuer, fetch, limits),
    );
  }
  return locations;
}

async function examineLocation(url: string, issuer: string, fetch: Fetch, limits: FetchLimits): Promise<ExaminedLocation> {
  let document: Record<string, unknown> = {};
  try {
    document = await fetchJson(url, fetch, limits);
    readMetadata(url, issuer, 'jwks_uri', document);
    return { url, found: 'metadata', document };
  } catch (error) {
    if (!(error instanceof FetchFailure)) throw error;
    const found = error.answered ? 'unusable' : 'unanswered';
    return { url, found, why: error.message, ...('issuer' in document && { issuer: document['issuer'] }) };
  }
}

/** A key as its set has it, and what becomes of it here. */
export interface KeyOfSet extends ExaminedKey {
  readonly jwk: unknown;
}

/**
 * Gets a JWK set as a resource gets it, and judges each of its keys. Rejects with an `Error` that says why it cannot be had, or is
 * refused as a whole. `uri` is a secure URL ({@link isSecureUrl}).
 */
export async function examineKeys(uri: string, fetch: Fetch, limits: FetchLimits): Promise<readonly KeyOfSet[]> {
  const jwks = await fetchKeySet(uri, fetch, limits);
  if (jwks.length > MOST_KEYS) throw new Error(`${uri}: the set has ${jwks.length} keys, and one with more than ${MOST_KEYS} is refused`);
  const keys: KeyOfSet[] = [];
  for (const jwk of jwks) keys.push({ jwk, ...(await examineKey(jwk, ALGORITHMS)) });
  return keys;
}
