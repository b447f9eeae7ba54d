import { equal, hmacSha256, randomSecret, toBase64url } from '#crypto';
import type { EpochSeconds } from '../request.ts';

/** Nonces that a resource gives to clients for their proofs (RFC 9449 §9). */
export interface NonceSource {
  /** A nonce to hand out now: visible ASCII without `"` and `\` (RFC 9449 §8.1). */
  issue(now: EpochSeconds): string;
  /** What is known of a nonce, or `undefined` where it is not one of ours, or is too old. */
  accepts(nonce: string, now: EpochSeconds): AcceptedNonce | undefined;
}

/** A nonce that is good. */
export interface AcceptedNonce {
  /** From then on it is refused. */
  readonly until: EpochSeconds;
  /** Whether the client needs no other: none that would be handed out now is better. */
  readonly isNewest: boolean;
}

/** How nonces are made. */
export interface NonceSettings {
  /** Bytes, 32 at least. The first makes nonces, all are accepted. `random`: the one of this process. */
  readonly secrets: readonly Uint8Array[] | 'random';
  /** Seconds after which there is another nonce. One is accepted in its own window and those beside it: this long at least, and from instances whose clocks differ. */
  readonly rotation: number;
  /** What the nonces are for: those of another resource are refused, even with the same secrets. */
  readonly resource: string;
}

let random: Uint8Array | undefined;

/** One for all resources of the process, so that those that stand inside of each other accept the same nonces. */
function secretOfProcess(): Uint8Array {
  // Not before it is needed: a Worker may draw random numbers only while it handles a request.
  return (random ??= randomSecret(32));
}

/**
 * Nonces of which nothing is stored: each is the HMAC of the number of its window, so every instance with the same secret knows
 * them all, and nobody else knows the next. All clients get the same in a window; what makes a proof unique is its `jti`.
 */
export function hmacNonces({ secrets, rotation, resource }: NonceSettings): NonceSource {
  let window = Number.NaN;
  /** By the window that they were made in; the next one's come from an instance whose clock is ahead. */
  let known: { readonly former: readonly string[]; readonly current: readonly string[]; readonly next: readonly string[] };
  const noncesOf = (at: number): readonly string[] =>
    (secrets === 'random' ? [secretOfProcess()] : secrets).map((secret) =>
      toBase64url(hmacSha256(secret, `holdfast DPoP nonce\n${resource}\n${rotation}\n${at}`)),
    );
  const turnTo = (now: EpochSeconds): typeof known => {
    const at = Math.floor(now / rotation);
    if (at !== window) {
      known = { former: noncesOf(at - 1), current: noncesOf(at), next: noncesOf(at + 1) };
      window = at;
    }
    return known;
  };
  return {
    issue: (now) => turnTo(now).current[0] ?? '',
    accepts(nonce, now) {
      const { former, current, next } = turnTo(now);
      for (const [ahead, nonces] of [former, current, next].entries()) {
        const secret = nonces.findIndex((one) => equal(one, nonce));
        // One of the next window comes from an instance whose clock is ahead: of ours it would be given an older one.
        if (secret !== -1) return { until: (window + 1 + ahead) * rotation, isNewest: secret === 0 && ahead > 0 };
      }
      return undefined;
    },
  };
}
