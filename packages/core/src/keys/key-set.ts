import { calculateJwkThumbprint, createLocalJWKSet, type CryptoKey, errors, type JWK, type JWSHeaderParameters } from 'jose';
import { outlivesRequests } from '#runtime';
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
async function readKeys(jwks: readonly unknown[], isTrusted: (thumbprint: string) => boolean): Promise<Map<string, SigningKey[]>> {
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

async function fittingKeys(keys: Iterable<SigningKey[]>, header: JWSHeaderParameters, until: EpochSeconds): Promise<FittingKeys> {
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

/** How keys are kept. All in seconds. */
export interface KeyRefresh {
  /** Keys are fetched again when they are this old, a little before by a timer. */
  readonly freshFor: number;
  /** While the server is away, keys are used up to this age; after it nothing can be judged: 503. */
  readonly staleFor: number;
  /** A token with an unknown key, or whose signature does not hold, makes us look again, at most once in this time. */
  readonly cooldown: number;
  /** For one whole answer. */
  readonly timeout: number;
}

/** After a failed fetch the next is tried after 1 s, 2 s, 4 s … at most the cooldown. */
const FIRST_RETRY = 1;

const NO_KEYS = 'none of the keys that the issuer publishes can verify signatures';

/** The timer is so much ahead of the end of freshness. */
const AHEAD = 0.8;

/**
 * Keys that are fetched and kept: one fetch in flight, a cooldown for unknown keys and for signatures that do not hold, fetched ahead
 * of need by a timer (which does not keep the process alive), and used while the server is away for as long as the settings say.
 *
 * A set without a key that can verify, where there were keys before, is a failed fetch: servers publish one for a moment, as they
 * start or change over, and it must not refuse everybody. To give up a key at once there is `revokeKey`. Where no key was known
 * before, no token can be told from a forged one: each is refused for its unknown key, and `ready()` says so.
 */
export function remoteKeySet(fetchKeys: () => Promise<readonly unknown[]>, now: () => EpochSeconds, settings: KeyRefresh): KeySet {
  const revoked = new Set<string>();
  let current: { readonly keys: Map<string, SigningKey[]>; readonly fetchedAt: EpochSeconds } | undefined;
  let inFlight: Promise<void> | undefined;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let failure: unknown;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  const isTrusted = (thumbprint: string): boolean => !revoked.has(thumbprint) && current?.keys.has(thumbprint) === true;
  const knowsKeys = (): boolean => current !== undefined && current.keys.size > 0;
  const hardEnd = (): EpochSeconds => (current === undefined ? Number.NEGATIVE_INFINITY : current.fetchedAt + settings.staleFor);
  const retryDelay = (): number => Math.min(FIRST_RETRY * 2 ** (failures - 1), settings.cooldown);
  const waiting = (at: EpochSeconds): number => (failures === 0 ? 0 : Math.max(0, attemptedAt + retryDelay() - at));

  /** In a worker, a fetch is cancelled with the request that began it, and its promise never settles. A clock that fails says nothing of it. */
  function isLost(): boolean {
    try {
      return now() >= attemptedAt + settings.timeout;
    } catch {
      return false;
    }
  }

  function refresh(): Promise<void> {
    if (inFlight !== undefined && (outlivesRequests || !isLost())) return inFlight;
    const mine = attempt().finally(() => {
      if (inFlight === mine) inFlight = undefined;
      schedule();
    });
    inFlight = mine;
    return mine;
  }

  /** Never rejects: the timer waits for nothing. A clock that fails is a failure like another. */
  async function attempt(): Promise<void> {
    try {
      attemptedAt = now();
      const keys = await readKeys(await fetchKeys(), isTrusted);
      if (keys.size === 0 && knowsKeys()) throw new Error(NO_KEYS);
      current = { keys, fetchedAt: attemptedAt };
      failures = 0;
      failure = undefined;
    } catch (error) {
      failures += 1;
      failure = error;
    }
  }

  function schedule(): void {
    clearTimeout(timer);
    if (closed) return;
    const seconds = failures === 0 ? settings.freshFor * AHEAD : retryDelay();
    timer = setTimeout(() => void refresh(), seconds * 1000);
    // A number in browsers and workers, where no timer keeps a process alive.
    if (typeof timer === 'object') timer.unref();
  }

  const fittingNow = (header: JWSHeaderParameters): Promise<FittingKeys> => fittingKeys(current?.keys.values() ?? [], header, hardEnd());

  /** Once in a cooldown; who comes while it is under way waits for it too. Answers whether it was done. */
  async function lookAgain(at: EpochSeconds): Promise<boolean> {
    if (at < attemptedAt + settings.cooldown && inFlight === undefined) return false;
    await refresh();
    return true;
  }

  const unavailable = (at: EpochSeconds): Rejection =>
    reject('unavailable.keys', {
      retryAfter: Math.max(1, Math.ceil(waiting(at))),
      ...(failure instanceof Error && { detail: failure.message }),
    });

  return {
    async keysFor(header, at) {
      if (at >= hardEnd() && (inFlight !== undefined || waiting(at) === 0)) await refresh();
      if (current === undefined || at >= hardEnd()) return unavailable(at);
      // The timer should have been first; after a suspended machine it was not.
      if (at >= current.fetchedAt + settings.freshFor && waiting(at) === 0) {
        const refreshed = refresh();
        if (!outlivesRequests) await refreshed;
      }

      const fitting = await fittingNow(header);
      if (fitting.keys.length > 0) return fitting;
      const found = (await lookAgain(at)) ? await fittingNow(header) : fitting;
      if (found.keys.length > 0) return found;
      return failures === 0 ? reject('token.unknown_key') : unavailable(at);
    },
    async otherKeysFor(header, at, { keys: tried }) {
      await lookAgain(at);
      // Not only where we looked: they may have changed since these were tried.
      const { keys, until } = await fittingNow(header);
      const untried = keys.filter(({ key }) => !tried.some((one) => one.key.thumbprint === key.thumbprint));
      return untried.length === 0 ? undefined : { keys: untried, until };
    },
    async ready() {
      if (now() < hardEnd() && knowsKeys()) return;
      await refresh();
      if (now() >= hardEnd()) throw failure;
      if (!knowsKeys()) throw new Error(NO_KEYS);
    },
    async close() {
      closed = true;
      clearTimeout(timer);
    },
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
