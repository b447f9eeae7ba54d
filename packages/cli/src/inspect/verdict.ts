import {
  type Access,
  certificateOf,
  type Fetch,
  type IssuerOptions,
  protectedResource,
  type ProtectedResourceOptions,
  PROVIDERS,
  type Reason,
  REASONS,
  type ReasonRow,
  type Refusal,
  type Scheme,
} from '@holdfast/core';
import { isSecureUrl, normaliseTargetUri } from '@holdfast/core/diagnosis';
import { type Exchange, notingFetch } from '../issuer-fetch.ts';
import type { Material } from './material.ts';
import { signingKey } from './signing-key.ts';

/** What a protected resource would answer. */
export interface Verdict {
  readonly granted: boolean;
  readonly status?: number;
  readonly error?: string | undefined;
  readonly reason?: Reason;
  readonly text?: string;
  readonly detail?: string | undefined;
  readonly expected?: string | undefined;
  readonly received?: string | undefined;
  /** Whether a key of the issuer made the signature; `unchecked` where no issuer was given, or something else came first. */
  readonly signature: 'verified' | 'wrong' | 'unchecked';
  readonly exchanges: readonly Exchange[];
}

/** Stands where nothing is known, and is nobody's (RFC 6761 §6.4). */
const NOBODY = 'https://nobody.invalid';

/**
 * Asks a real protected resource. With issuers, it fetches their keys. Without, nothing leaves the machine and the signature cannot be
 * checked: to see what comes after it, header and claims are signed anew with a key made for this, under which the proof names another
 * token (`ath`); where nothing but that is wrong, the resource is told by an introspection answer of ours what the token says, and
 * judges the very token.
 */
export async function judge(material: Material): Promise<Verdict> {
  if (material.issuers.length > 0) return judgeWithIssuers(material);
  const { token, decoded } = material;
  const key = signingKey(decoded.header?.['alg']);
  const kid = decoded.header?.['kid'];
  const jwk = { ...key.publicJwk, ...(typeof kid === 'string' && { kid }) };
  const options = optionsOf(material, [{ ...issuerOf(material), keys: { jwks: { keys: [jwk] } } }], refuseToFetch);
  const asItIs = await ask(options, material, token);
  const reason = reasonOf(asItIs);
  if (reason !== 'token.signature' && reason !== 'token.unknown_key') return verdictOf(asItIs, 'unchecked', []);
  const signedAnew = await ask(options, material, key.sign(token));
  if (reasonOf(signedAnew) !== 'dpop.ath') return verdictOf(signedAnew, 'unchecked', []);
  const introspected = optionsOf(
    material,
    [{ ...issuerOf(material), introspection: INTROSPECTION }],
    answering({ active: true, ...decoded.claims }),
  );
  return verdictOf(await ask(introspected, material, token), 'unchecked', []);
}

const INTROSPECTION = {
  clientId: 'inspect',
  authentication: { method: 'client_secret_basic', secret: 'none' },
  mode: 'only',
  endpoint: `${NOBODY}/introspection`,
} as const;

/** Reasons that are found without a key, or for want of one. */
const BEFORE_SIGNATURE =
  /^(?:request\.|unavailable\.|token\.(?:not_jwt|encrypted|malformed|algorithm|critical_extension|typ|issuer|unknown_key)$)/;
/** Faults of the form of a proof are found before the token is looked at. */
const PROOF_FIRST = /^dpop\./;

async function judgeWithIssuers(material: Material): Promise<Verdict> {
  const exchanges: Exchange[] = [];
  const { timeout, ca, issuers, token } = material;
  const options = optionsOf(
    material,
    issuers.map((issuer): IssuerOptions => Object.assign({}, issuerOf(material), { issuer, keys: { timeout } })),
    notingFetch(ca, exchanges),
  );
  const result = await ask(options, material, token);
  const reason = reasonOf(result);
  const alone = PROOF_FIRST.test(reason ?? '')
    ? reasonOf(await ask(options, { ...material, proof: undefined, scheme: 'Bearer' }, token))
    : reason;
  const signature = alone === 'token.signature' ? 'wrong' : BEFORE_SIGNATURE.test(alone ?? '') ? 'unchecked' : 'verified';
  return verdictOf(result, signature, exchanges);
}

/** What holds for each issuer. */
function issuerOf({ decoded: { claims = {} }, provider }: Material): IssuerOptions {
  const { iss, client_id: client } = claims;
  const issuer = typeof iss === 'string' && isSecureUrl(iss) && !/[?#]/.test(iss) ? iss : NOBODY;
  if (provider === undefined) return { issuer };
  // Such a provider's tokens name no resource, and the API lists clients: this one is taken to be on the list.
  const listed =
    PROVIDERS[provider].audience === 'client' ? { clientIds: [typeof client === 'string' && client !== '' ? client : 'nobody'] } : {};
  return { issuer, provider, ...listed };
}

function optionsOf(material: Material, issuer: readonly IssuerOptions[], fetch: Fetch): ProtectedResourceOptions {
  const [certificate] = material.certificates;
  const { origin } = targetOf(material);
  return {
    issuer,
    audience: audiencesOf(material),
    // By default it is the audience, which here anybody may have written.
    realm: 'inspect',
    certificate: () => certificate && certificateOf(certificate.certificate.raw),
    publicUrl: origin,
    dpop: true,
    cache: false,
    fetch,
  };
}

/** What was given, or else what the token says itself. */
function audiencesOf({ audiences, decoded: { claims = {} } }: Material): readonly string[] {
  if (audiences.length > 0) return audiences;
  const named = [claims['aud'] ?? []].flat().filter((one): one is string => typeof one === 'string' && one !== '');
  return named.length > 0 ? named : [NOBODY];
}

/** The request that the proof is held against: the one that was given, or else the one that the proof itself is for. */
function targetOf({ url, method, proof }: Pick<Material, 'url' | 'method' | 'proof'>): {
  readonly origin: string;
  readonly target: string;
  readonly method: string;
} {
  const { htu, htm } = proof?.decoded.claims ?? {};
  const named = url ?? htu;
  const uri = typeof named === 'string' && isSecureUrl(named) && normaliseTargetUri(named) !== undefined ? named : NOBODY;
  const [, origin = NOBODY, path = ''] = /^(https?:\/\/[^/?#]*)([^?#]*)/i.exec(uri) ?? [];
  // Without the query, which no proof names: a token in it would be another fault than those that are asked about.
  return { origin, target: path === '' ? '/' : path, method: method ?? (typeof htm === 'string' ? htm : 'GET') };
}

async function ask(options: ProtectedResourceOptions, material: Material, token: string): Promise<Access | Refusal> {
  const resource = protectedResource(options);
  const { scheme, proof } = material;
  const { target, method } = targetOf(material);
  try {
    return await resource.verify({
      method,
      target,
      fieldLines: (name) => linesOf(name, scheme, token, proof?.compact),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
  } finally {
    await resource.close();
  }
}

function linesOf(name: string, scheme: Scheme, token: string, proof: string | undefined): readonly string[] {
  if (name === CREDENTIALS) return [`${scheme} ${token}`];
  return name === 'dpop' && proof !== undefined ? [proof] : [];
}

const CREDENTIALS = 'authorization';

function reasonOf(result: Access | Refusal): Reason | undefined {
  return result.granted ? undefined : result.rejection.rejected;
}

function verdictOf(result: Access | Refusal, signature: Verdict['signature'], exchanges: readonly Exchange[]): Verdict {
  if (result.granted) return { granted: true, signature, exchanges };
  const { rejected, detail, expected, received } = result.rejection;
  const { text, error }: ReasonRow = REASONS[rejected];
  return { granted: false, status: result.status, error, reason: rejected, text, detail, expected, received, signature, exchanges };
}

const refuseToFetch: Fetch = async () => {
  throw new Error('nothing is fetched');
};

function answering(document: object): Fetch {
  return async () => ({
    status: 200,
    headers: { get: () => 'application/json' },
    body: new Blob([JSON.stringify(document)]).stream(),
  });
}
