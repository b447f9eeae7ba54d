import { equal, importKey, sha256 } from '#crypto';
import type { PresentedToken } from '../access-token/extract.ts';
import { type Fields, nonceFields } from '../challenge/refusal.ts';
import type { ProofKeys, ReadyProofKey } from '../keys/proof-key.ts';
import { isRejection, nameOf, reject, type Rejection } from '../rejection.ts';
import type { ProofUse, ReplayStore } from '../replay/replay-store.ts';
import { andThen, type Awaitable, type EpochSeconds, type ProtectedResourceRequest } from '../request.ts';
import { slot } from '../slot.ts';
import { mismatchedTarget, type PublicOrigin } from './htu.ts';
import type { ConfirmationMethod } from './method.ts';
import type { NonceSource } from './nonce.ts';
import type { DpopProof } from './proof.ts';

/** How proofs are judged. */
export interface DpopSettings {
  /** `alg` values of proofs that are accepted; in the challenge they stand in this order. */
  readonly algorithms: readonly string[];
  /** Seconds by which `iat` may lie in the past and in the future. */
  readonly window: { readonly past: number; readonly future: number };
  /** Given, every proof must have one of these nonces; else a `nonce` claim is ignored. */
  readonly nonces: NonceSource | undefined;
  /** The age of a proof is told by its nonce, which has our clock, and not by its `iat` (RFC 9449 §11.1). */
  readonly nonceReplacesIat: boolean;
  readonly replay: ReplayStore | undefined;
  readonly origins: readonly PublicOrigin[];
  /** What proofs are for: separates the uses in a store that several resources share. Without line ends. */
  readonly resource: string;
}

/** Stands where DPoP is not offered, so that a token bound to a DPoP key is refused for that and never read as unbound. */
export const dpopNotOffered: ConfirmationMethod = {
  member: 'jkt',
  // The one scheme in which it can arrive there, so that it is told the reason that names the fix.
  scheme: 'Bearer',
  confirm: () => reject('dpop.not_offered'),
};

/** When to ask again that a client over its share does: a part of what it used is over by then. */
const RETRY_OVER_SHARE = 30;

/**
 * Confirms `jkt` (RFC 9449 §4.3, §6): a proof by the key that the token names, made for this request and this token, and used
 * for the first time. Checks are numbered as in §4.3 and stand in the order of their cost; (1) to (5) and (7) are in `proof.ts`.
 * The thumbprint comes before the signature, so that no work is done for a key that no genuine token names.
 */
export function dpop(settings: DpopSettings, keys: ProofKeys, clock: () => EpochSeconds): ConfirmationMethod {
  const { replay, nonces } = settings;
  const uses = replay && { settings, replay, clock };
  return {
    member: 'jkt',
    scheme: 'DPoP',
    confirm(thumbprint, { request, proof, token, now }) {
      if (proof === undefined) return reject('dpop.missing');
      const wrong = mismatch(proof, thumbprint, request, token, settings) ?? outOfTime(proof, now, settings);
      if (wrong !== undefined) return wrong;

      // (6) The JWT signature verifies with the public key contained in the jwk JOSE Header Parameter.
      return andThen('verify' in proof.key ? proof.key : importProofKey(proof), (key) => {
        if (isRejection(key)) return key;
        return andThen(key.verify(proof.signed, proof.signature), (verified) => {
          if (!verified) return reject('dpop.signature');
          keys.remember(proof.headerSegment, key);

          const nonce = judgeNonce(proof, now, nonces);
          if (isRejection(nonce)) return nonce;
          const { fields, until } = nonce;
          return { member: 'jkt', thumbprint, fields, last: uses && (() => useUp(proof, until, request, uses)) };
        });
      });
    },
  };
}

/** The last step: uses the proof up, where it is still fresh, and was used by no other request. */
function useUp(
  proof: DpopProof,
  nonceUntil: EpochSeconds | undefined,
  request: ProtectedResourceRequest,
  { settings, replay, clock }: { readonly settings: DpopSettings; readonly replay: ReplayStore; readonly clock: () => EpochSeconds },
): Awaitable<Rejection | undefined> {
  // Time has passed since the proof was judged, wherever something had to be waited for, and a store forgets uses that are over.
  const now = clock();
  const late = outdated(proof, now, settings);
  if (late !== undefined) return late;
  const { key, claims } = proof;
  const use = {
    client: key.thumbprint,
    key: sha256(`${settings.resource}\n${key.thumbprint}\n${claims.jti}`),
    until: rememberedUntil(proof, nonceUntil, now, settings),
    now,
  };
  const verdict = firstUseIn(request, replay, use, admittedUntil(proof, nonceUntil, settings));
  // For the same reason the answer of a store counts only if it is there in time, however long it took.
  return verdict instanceof Promise ? verdict.then((objection) => objection ?? outdated(proof, clock(), settings)) : verdict;
}

function mismatch(
  { key, claims }: DpopProof,
  thumbprint: string,
  request: ProtectedResourceRequest,
  token: PresentedToken,
  { origins }: DpopSettings,
): Rejection | undefined {
  // (12) The public key to which the access token is bound matches the public key from the DPoP proof.
  if (!equal(key.thumbprint, thumbprint)) {
    return reject('dpop.key_mismatch', { expected: beginning(thumbprint), received: beginning(key.thumbprint) });
  }
  // (8) The htm claim matches the HTTP method of the current request.
  if (claims.htm !== request.method) return reject('dpop.htm', { expected: request.method, received: methodIn(claims.htm) });
  // (9) The htu claim matches the HTTP URI value of the request, ignoring any query and fragment parts.
  const target = mismatchedTarget(claims.htu, request, origins);
  if (target !== undefined) return reject('dpop.htu', target);
  // (12) The value of the ath claim equals the hash of the access token.
  return equal(claims.ath, token.hash) ? undefined : reject('dpop.ath');
}

/** What the proof says about time. Seconds that a clock is off are told, since that is what somebody has to correct. */
function outOfTime(
  { claims: { iat, exp, nbf } }: DpopProof,
  now: EpochSeconds,
  { window, nonceReplacesIat }: DpopSettings,
): Rejection | undefined {
  // (11) The creation time of the JWT, as determined by either the iat claim or a server managed timestamp via the nonce claim,
  // is within an acceptable window.
  const outside = nonceReplacesIat ? undefined : outsideWindow(iat, now, window);
  if (outside !== undefined) return outside;
  if (exp !== undefined && exp <= now) return reject('dpop.lifetime', { detail: `exp was ${Math.ceil(now - exp)} s ago` });
  if (nbf !== undefined && nbf > now + window.future) return reject('dpop.lifetime', { detail: `nbf is in ${Math.ceil(nbf - now)} s` });
  return undefined;
}

function outsideWindow(iat: EpochSeconds, now: EpochSeconds, { past, future }: DpopSettings['window']): Rejection | undefined {
  if (iat < now - past) {
    return reject('dpop.too_old', { expected: `at most ${past} s before our clock`, received: `${Math.ceil(now - iat)} s before it` });
  }
  if (iat > now + future) {
    return reject('dpop.in_future', { expected: `at most ${future} s after our clock`, received: `${Math.ceil(iat - now)} s after it` });
  }
  return undefined;
}

/** What was fresh when it was judged, and is not any more: all that time alone can change. */
function outdated(proof: DpopProof, now: EpochSeconds, settings: DpopSettings): Rejection | undefined {
  const verdict = outOfTime(proof, now, settings) ?? judgeNonce(proof, now, settings.nonces);
  return isRejection(verdict) ? verdict : undefined;
}

async function importProofKey({ key }: DpopProof): Promise<ReadyProofKey | Rejection> {
  const verify = await importKey(key.algorithm, key.jwk);
  return verify === undefined ? reject('dpop.key', { detail: 'it cannot be imported' }) : { ...key, verify };
}

interface NonceVerdict {
  /** Until when the nonce is accepted, where one is required. */
  readonly until?: EpochSeconds;
  /** A newer one for the client, where there is one. */
  readonly fields?: Fields;
}

/** (10) If the server provided a nonce value to the client, the nonce claim matches it. Judged last, so that it is the sole defect. */
function judgeNonce({ claims: { nonce } }: DpopProof, now: EpochSeconds, nonces: NonceSource | undefined): NonceVerdict | Rejection {
  if (nonces === undefined) return {};
  if (typeof nonce !== 'string') return reject('nonce.missing');
  const accepted = nonces.accepts(nonce, now);
  if (accepted === undefined) return reject('nonce.unknown');
  const { until, isNewest } = accepted;
  return isNewest ? { until } : { until, fields: nonceFields(nonces.issue(now)) };
}

/** The first second at which these settings refuse the proof for its age. Both bounds have to admit it, so the earlier end counts. */
function admittedUntil(
  { claims: { iat } }: DpopProof,
  nonceUntil: EpochSeconds | undefined,
  { window, nonceReplacesIat }: DpopSettings,
): EpochSeconds {
  const iatUntil = nonceReplacesIat ? Number.POSITIVE_INFINITY : Math.floor(iat + window.past) + 1;
  return Math.min(iatUntil, nonceUntil ?? Number.POSITIVE_INFINITY);
}

/**
 * Until when a use is remembered: to the later end of what admits the proof, so that another resource with the same store finds it
 * too. An `iat` that is not judged can say anything, and counts where it would have passed.
 */
function rememberedUntil(
  { claims: { iat } }: DpopProof,
  nonceUntil: EpochSeconds | undefined,
  now: EpochSeconds,
  { window, nonceReplacesIat }: DpopSettings,
): EpochSeconds {
  const iatUntil = Math.floor(iat + window.past) + 1;
  if (nonceUntil === undefined) return iatUntil;
  const counts = !nonceReplacesIat || outsideWindow(iat, now, window) === undefined;
  return Math.ceil(counts ? Math.max(nonceUntil, iatUntil) : nonceUntil);
}

/** What one request has used up already. */
interface UsedInRequest {
  readonly replay: ReplayStore;
  readonly key: string;
  readonly until: EpochSeconds;
  readonly verdict: Awaitable<Rejection | undefined>;
}

// On the view of the request itself, which no other request has, however much it resembles this one.
const usedIn = slot<readonly UsedInRequest[]>();
const NONE: readonly UsedInRequest[] = Object.freeze([]);

/**
 * The verdict of the store, asked once for each request: where several resources judge the same request, one inside of the other,
 * and remember uses in one store, it is one use. Each of them is safe by it only if it is remembered for as long as that resource
 * would admit the proof again.
 */
function firstUseIn(
  request: ProtectedResourceRequest,
  replay: ReplayStore,
  use: ProofUse,
  admitted: EpochSeconds,
): Awaitable<Rejection | undefined> {
  const used = usedIn.get(request) ?? NONE;
  const same = used.find((one) => one.replay === replay && one.key === use.key);
  if (same === undefined) {
    const verdict = firstUse(replay, use);
    usedIn.set(request, used.concat({ replay, key: use.key, until: use.until, verdict }));
    return verdict;
  }
  return admitted <= same.until ? same.verdict : reject('unavailable.replay', { detail: SHORTER_MEMORY });
}

const SHORTER_MEMORY =
  'this resource stands inside of another that has the same store, and admits proofs for longer than that one remembers them: give both the same window, nonceReplacesIat and rotation';

function firstUse(replay: ReplayStore, use: ProofUse): Awaitable<Rejection | undefined> {
  const failed = (error: unknown): Rejection => reject('unavailable.replay', { detail: nameOf(error) });
  try {
    const first = replay.firstUse(use);
    return first === true ? undefined : Promise.resolve(first).then(verdictOf, failed);
  } catch (error) {
    return failed(error);
  }
}

/** The answer of a store, which may be anybody's. */
function verdictOf(first: unknown): Rejection | undefined {
  if (first === true) return undefined;
  if (first === false) return reject('replay.reused');
  if (first === 'over-share') return reject('replay.over_share', { retryAfter: RETRY_OVER_SHARE });
  return reject('unavailable.replay', { detail: 'the store answered neither true, false nor over-share' });
}

/** Enough of a thumbprint to find the key by. */
function beginning(thumbprint: string): string {
  return `${thumbprint.slice(0, 12)}…`;
}

/** A method as it may stand in an event: what a client writes there can be anything. */
function methodIn(htm: string): string {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}$/.test(htm) ? htm : 'no method';
}
