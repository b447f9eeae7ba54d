import { equal, hmacSha256, randomSecret, toBase64url } from '#crypto';
import type { EpochSeconds } from '../request.ts';

/** Nonces that a resource gives to clients for their proofs (RFC 9449 §9). */
export interface NonceSource {
  /** A nonce to hand out now: visible ASCII without `"` and `\` (RFC 9449 §8.1). */
  issue(now: EpochSeconds): string;
  /** Until when a nonce is accepted, or `undefined` where it is not one of ours, or is too old. */
  accepts(nonce: string, now: EpochSeconds): EpochSeconds | undefined;
}

/** How nonces are made. */
export interface NonceSettings {
  /** Bytes, 32 at least. The first makes nonces, all are accepted: to rotate, put the new one first and keep the old a while. `random`: one for this process. */
  readonly secrets: readonly Uint8Array[] | 'random';
  /** Seconds after which there is another nonce. One is accepted in its own window and the next: this long at least, twice at most. */
  readonly rotation: number;
  /** What the nonces are for: those of another resource are refused, even with the same secrets. */
  readonly resource: string;
}

/**
 * Nonces of which nothing is stored: each is the HMAC of the number of its window, so every instance with the same secret knows
 * them all, and nobody else knows the next. All clients get the same in a window; what makes a proof unique is its `jti`.
 */
export function hmacNonces({ secrets, rotation, resource }: NonceSettings): NonceSource {
  let window = Number.NaN;
  // Not before it is needed: a Worker may draw random numbers only while it handles a request.
  let known = secrets === 'random' ? undefined : secrets;
  let current: readonly string[] = [];
  let former: readonly string[] = [];
  const nonceOf = (secret: Uint8Array, at: number): string =>
    toBase64url(hmacSha256(secret, `holdfast DPoP nonce\n${resource}\n${rotation}\n${at}`));
  const turnTo = (now: EpochSeconds): void => {
    const at = Math.floor(now / rotation);
    if (at === window) return;
    known ??= [randomSecret(32)];
    former = known.map((secret) => nonceOf(secret, at - 1));
    current = known.map((secret) => nonceOf(secret, at));
    window = at;
  };
  return {
    issue(now) {
      turnTo(now);
      return current[0] ?? '';
    },
    accepts(nonce, now) {
      turnTo(now);
      if (current.some((known) => equal(known, nonce))) return (window + 2) * rotation;
      return former.some((known) => equal(known, nonce)) ? (window + 1) * rotation : undefined;
    },
  };
}
