import { calculateJwkThumbprint, createLocalJWKSet, type CryptoKey, errors, type JWK, type JWSHeaderParameters } from 'jose';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';

/** A key of an issuer, for as long as the issuer publishes it. */
export interface SigningKey {
  readonly thumbprint: string;
  /** The key ready for this header, or `undefined` where it does not fit (kid, kty, crv, alg, use, key_ops). */
  importFor(header: JWSHeaderParameters): Promise<CryptoKey | undefined>;
  readonly trusted: () => boolean;
}

/** Keys that fit a header, and until when they may be used without being fetched again. */
export interface FittingKeys {
  readonly keys: readonly { readonly key: SigningKey; readonly imported: CryptoKey }[];
  readonly until: EpochSeconds;
}

/** The keys of one issuer. */
export interface KeySet {
  keysFor(header: JWSHeaderParameters, now: EpochSeconds): Awaitable<FittingKeys | Rejection>;
  /**
   * Where none of the keys that fit verified: those that fit and are not among them, after the issuer was asked again if that is due.
   * `undefined` where it publishes no others.
   */
  otherKeysFor(header: JWSHeaderParameters, now: EpochSeconds, tried: FittingKeys): Awaitable<FittingKeys | undefined>;
  ready(): Promise<void>;
  close(): Promise<void>;
  revokeKey(thumbprint: string): void;
}

/** A set with more is refused as a whole. */
export const MOST_KEYS = 100;
/** Not empty, and of a length that octets lead to. */
const BASE64URL = /^(?:[A-Za-z0-9_-]{4})*[A-Za-z0-9_-]{2,4}$/;

/**
 * The keys of a JWK set (RFC 7517 §5) that can verify signatures. Left out, never refused as a whole: symmetric and private
 * keys, keys for encryption, RSA keys outside 2048 to 8192 bits or with an exponent over 32 bits, kinds that are not known.
 */
export async function readKeys(jwks: readonly unknown[], isTrusted: (thumbprint: string) => boolean): Promise<Map<string, SigningKey[]>> {
  if (jwks.length > MOST_KEYS) throw new Error(`the key set has ${jwks.length} keys, and at most ${MOST_KEYS} are read`);
  const keys = new Map<string, SigningKey[]>();
  for (const jwk of jwks) {
    if (!isVerificationKey(jwk)) continue;
    const thumbprint = await calculateJwkThumbprint(jwk).catch(() => undefined);
    if (thumbprint === undefined) continue;
    keys.set(thumbprint, [...(keys.get(thumbprint) ?? []), signingKey(jwk, thumbprint, isTrusted)]);
  }
  return keys;
}

function signingKey(jwk: JWK, thumbprint: string, isTrusted: (thumbprint: string) => boolean): SigningKey {
  const find = createLocalJWKSet({ keys: [jwk] });
  return {
    thumbprint,
    trusted: () => isTrusted(thumbprint),
    async importFor(header) {
      try {
        return await find(header);
      } catch (error) {
        // A key that does not fit and one that cannot be imported are the same here: they verify nothing.
        if (error instanceof Error) return undefined;
        throw error;
      }
    },
  };
}

function isVerificationKey(jwk: unknown): jwk is JWK {
  return unusableBecause(jwk) === undefined;
}

/** Why a member of a JWK set verifies nothing here; `undefined` where it may. The words are for the people who run the API. */
function unusableBecause(jwk: unknown): string | undefined {
  if (typeof jwk !== 'object' || jwk === null) return 'it is no object';
  const { kty, use, key_ops: operations, d, k, n, e } = jwk as JWK;
  if (d !== undefined || k !== undefined) return 'it is private or symmetric: whoever can read the set can make tokens';
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return 'its kind (kty) is none of RSA, EC and OKP';
  if (use !== undefined && use !== 'sig') return 'it is not for signatures (use)';
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify')))
    return 'it is not to verify with (key_ops)';
  return kty !== 'RSA' || isReasonableRsa(n, e) ? undefined : 'RSA keys have 2048 to 8192 bits here, and an exponent of at most 32';
}

/** What would become of a key of a set. */
export interface ExaminedKey {
  /** The `alg` values of this list with which it verifies access tokens. */
  readonly algorithms: readonly string[];
  /** Why there are none. */
  readonly unusable: string | undefined;
  /** RFC 7638. */
  readonly thumbprint: string | undefined;
}

/** Judges a member of a JWK set as it is judged when tokens are, with every algorithm of a list. */
export async function examineKey(jwk: unknown, algorithms: readonly string[]): Promise<ExaminedKey> {
  const none: ExaminedKey = { algorithms: [], unusable: unusableBecause(jwk), thumbprint: undefined };
  if (!isVerificationKey(jwk)) return none;
  const thumbprint = await calculateJwkThumbprint(jwk).catch(() => undefined);
  if (thumbprint === undefined) return { ...none, unusable: 'a member that its kind must have is missing' };
  const key = signingKey(jwk, thumbprint, () => true);
  const usable: string[] = [];
  for (const alg of algorithms) if ((await key.importFor({ alg })) !== undefined) usable.push(alg);
  return {
    algorithms: usable,
    unusable: usable.length > 0 ? undefined : 'it fits no algorithm that is accepted here (alg, crv, or the point itself)',
    thumbprint,
  };
}

/** 2048 to 8192 bits, and an exponent of at most 32: told from the strings, before anything is imported. */
export function isReasonableRsa(n: unknown, e: unknown): boolean {
  if (typeof n !== 'string' || typeof e !== 'string' || !BASE64URL.test(n) || !BASE64URL.test(e)) return false;
  const bits = bitLength(n);
  const exponent = bitLength(e);
  return bits >= 2048 && bits <= 8192 && exponent >= 2 && exponent <= 32;
}

function bitLength(base64url: string): number {
  const bytes = Uint8Array.from(atob(base64url.replaceAll('-', '+').replaceAll('_', '/')), (character) => character.charCodeAt(0));
  const first = bytes.findIndex((byte) => byte !== 0);
  return first === -1 ? 0 : (bytes.length - first) * 8 - Math.clz32(bytes[first] ?? 0) + 24;
}

export async function fittingKeys(keys: Iterable<SigningKey[]>, header: JWSHeaderParameters, until: EpochSeconds): Promise<FittingKeys> {
  const fitting: { key: SigningKey; imported: CryptoKey }[] = [];
  for (const key of [...keys].flat()) {
    if (!key.trusted()) continue;
    const imported = await key.importFor(header);
    if (imported !== undefined) fitting.push({ key, imported });
  }
  return { keys: fitting, until };
}

/**
 * What `verify` makes of the first key that verifies; it answers `undefined` for one that does not. Where none does, and the issuer
 * has put other keys in their place, under the same `kid` or under none, those are tried too. `undefined` where none verifies.
 */
export async function firstThatVerifies<T>(
  keys: KeySet,
  header: JWSHeaderParameters,
  now: EpochSeconds,
  verify: (key: SigningKey, imported: CryptoKey, until: EpochSeconds) => Promise<T | undefined>,
): Promise<T | Rejection | undefined> {
  const tryAll = async ({ keys: fitting, until }: FittingKeys): Promise<T | undefined> => {
    for (const { key, imported } of fitting) {
      const verified = await verify(key, imported, until);
      if (verified !== undefined) return verified;
    }
    return undefined;
  };
  const fitting = await keys.keysFor(header, now);
  if (isRejection(fitting)) return fitting;
  const verified = await tryAll(fitting);
  if (verified !== undefined) return verified;
  const others = await keys.otherKeysFor(header, now, fitting);
  return others && tryAll(others);
}

/** Keys that are given, and change only by {@link KeySet.revokeKey}. Where they have no `kid`, as PEM has not, that of a token says nothing. */
export function staticKeySet(jwks: Promise<readonly unknown[]>, kids: 'compared' | 'ignored' = 'compared'): KeySet {
  const revoked = new Set<string>();
  const keys = jwks.then((given) => readKeys(given, (thumbprint) => !revoked.has(thumbprint)));
  // Told by ready() and by every request; unheard, it would end the process.
  keys.catch(() => {});
  return {
    async keysFor({ kid, ...header }) {
      const sought = kids === 'compared' && kid !== undefined ? { ...header, kid } : header;
      const fitting = await fittingKeys((await keys).values(), sought, Number.POSITIVE_INFINITY);
      return fitting.keys.length > 0 ? fitting : reject('token.unknown_key');
    },
    otherKeysFor: () => undefined,
    ready: async () => {
      if ((await keys).size === 0) throw new Error('keys: none of the given keys can verify signatures.');
    },
    close: async () => {},
    revokeKey: (thumbprint) => void revoked.add(thumbprint),
  };
}

/** The JWK of a PEM public key or certificate (RFC 7468). Its kind decides which algorithms it fits. */
export async function jwkOfPem(pem: string): Promise<JWK> {
  const { exportJWK, importSPKI, importX509 } = await import('jose');
  const read = pem.includes('BEGIN CERTIFICATE') ? importX509 : importSPKI;
  for (const algorithm of ['RS256', 'ES256', 'ES384', 'ES512', 'Ed25519']) {
    const key = await read(pem, algorithm, { extractable: true }).catch(() => undefined);
    if (key !== undefined) return exportJWK(key);
  }
  throw new errors.JOSENotSupported('the PEM holds no public key of a kind that signs access tokens (RSA, P-256, P-384, P-521, Ed25519)');
}
