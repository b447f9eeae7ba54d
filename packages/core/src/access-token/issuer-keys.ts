import type { JSONWebKeySet } from 'jose';
import { fetchKeySet } from '#fetch-key-set';
import { warn } from '#runtime';
import type { Fetch, FetchLimits } from '../discovery/fetch-json.ts';
import { discover } from '../discovery/metadata.ts';
import { jwkOfPem, type KeySet, staticKeySet } from '../keys/key-set.ts';
import { type KeyRefresh, remoteKeySet } from '../keys/remote-key-set.ts';
import type { EpochSeconds } from '../request.ts';

/** Where the keys of an issuer come from. */
export type KeyOrigin =
  | { readonly jwks: JSONWebKeySet }
  | { readonly pem: readonly string[] }
  /** Without `uri`, the `jwks_uri` of the issuer's metadata. */
  | ({ readonly uri: string | undefined } & KeyRefresh & FetchLimits);

export interface IssuerKeyOptions {
  readonly issuer: string;
  /** Compared with the resources that the issuer lists; none, where it is not about tokens. */
  readonly audience: readonly string[];
  readonly keys: KeyOrigin;
  readonly fetch: Fetch;
  readonly now: () => EpochSeconds;
}

/** The keys of an issuer: given, or found by discovery and fetched. Nothing is fetched before the first token, or `ready()`. */
export function keysOfIssuer(options: IssuerKeyOptions): KeySet {
  const { keys, now } = options;
  if ('jwks' in keys) return staticKeySet(Promise.resolve(keys.jwks.keys));
  if ('pem' in keys) return staticKeySet(Promise.all(keys.pem.map(jwkOfPem)), 'ignored');
  const { uri } = keys;
  return remoteKeySet(uri === undefined ? discoveredKeys(options, keys) : () => fetchKeySet(uri, options.fetch, keys), now, keys);
}

/**
 * Where the keys are is asked anew each time that they are fetched: an issuer can move them while the former place goes on
 * answering. Where its metadata cannot be had or used, they are where they were.
 */
function discoveredKeys({ issuer, audience, fetch }: IssuerKeyOptions, limits: FetchLimits): () => Promise<readonly unknown[]> {
  let known: string | undefined;
  let warned = false;
  return async () => {
    try {
      known = await findKeys();
    } catch (error) {
      if (known === undefined) throw error;
    }
    return fetchKeySet(known, fetch, limits);
  };

  async function findKeys(): Promise<string> {
    const { url, protected_resources: resources } = await discover(issuer, 'jwks_uri', fetch, limits);
    if (!warned && resources !== undefined && audience.length > 0 && !resources.some((resource) => audience.includes(resource))) {
      warned = true;
      warn(
        `${issuer} lists the resources that it issues tokens for (protected_resources), and ${audience.join(' or ')} is not among them.`,
      );
    }
    return url;
  }
}
