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
  /** Seconds after which there is another nonce. One is accepted in its own window and those beside it: this long at least, and from instances whose clocks differ. */
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
  /** By the window that they were made in; the next one's come from an instance whose clock is ahead. */
  let known: { readonly former: readonly string[]; readonly current: readonly string[]; readonly next: readonly string[] };
  // Not before it is needed: a Worker may draw random numbers only while it handles a request.
  let keys = secrets === 'random' ? undefined : secrets;
  const noncesOf = (at: number): readonly string[] =>
    (keys ??= [randomSecret(32)]).map((secret) => toBase64url(hmacSha256(secret, `holdfast DPoP nonce\n${resource}\n${rotation}\n${at}`)));
  const turnTo = (now: EpochSeconds): typeof known => {
    const at = Math.floor(now / rotation);
    if (at !== window) {
      known = { former: noncesOf(at - 1), current: noncesOf(at), next: noncesOf(at + 1) };
      window = at;
    }
    return known;
  };
  const isAmong = (nonces: readonly string[], nonce: string): boolean => nonces.some((one) => equal(one, nonce));
  return {
    issue: (now) => turnTo(now).current[0] ?? '',
    accepts(nonce, now) {
      const { former, current, next } = turnTo(now);
      if (isAmong(current, nonce)) return (window + 2) * rotation;
      if (isAmong(former, nonce)) return (window + 1) * rotation;
      return isAmong(next, nonce) ? (window + 3) * rotation : undefined;
    },
  };
}
