import { LRUCache } from 'lru-cache';
import { isRejection, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import type { AuthenticatedToken, AuthenticateToken } from './authenticated-token.ts';
import type { PresentedToken } from './extract.ts';

/**
 * How much is remembered of tokens that passed, and for how long: the option `cache`. It delays nothing: `exp`, the binding, the proof,
 * `isRevoked` and the key that signed are looked at on every request, and what introspection said is not kept beyond its `activeFor`.
 */
export interface CacheLimits {
  /** Tokens that are kept at most. */
  readonly entries: number;
  /** Bytes that they may take, estimated from the lengths of the tokens and of what introspection says of them. */
  readonly bytes: number;
  /** Seconds that one is kept at most. It is never kept beyond its `exp`. */
  readonly maxAge: number;
}

interface Entry {
  readonly token: AuthenticatedToken;
  readonly until: EpochSeconds;
}

/** What an entry takes beside its claims: key, entry, list and map slots. Measured at 10,000 tokens, rounded up. */
const ENTRY_BYTES = 700;

/**
 * Remembers tokens that passed, by the SHA-256 of the whole token; the token itself is not kept. Refusals are not remembered.
 * What depends on the request or the moment is checked each time by those who use the judgement: binding, `exp`, and that the
 * key which signed it is still trusted.
 */
export function cached(authenticate: AuthenticateToken, limits: CacheLimits): AuthenticateToken {
  const entries = new LRUCache<string, Entry>({ max: limits.entries, maxSize: limits.bytes });
  const remember = async (
    token: PresentedToken,
    now: EpochSeconds,
    selected: string | undefined,
  ): Promise<AuthenticatedToken | Rejection> => {
    const judged = await authenticate(token, now, selected);
    if (isRejection(judged)) return judged;
    entries.set(
      keyOf(token, selected),
      { token: judged, until: Math.min(judged.until, now + limits.maxAge) },
      { size: ENTRY_BYTES + judged.size },
    );
    return judged;
  };
  const lookUp = (
    token: PresentedToken,
    now: EpochSeconds,
    selected?: string,
  ): AuthenticatedToken | Promise<AuthenticatedToken | Rejection> => {
    const key = keyOf(token, selected);
    const entry = entries.get(key);
    if (entry === undefined) return remember(token, now, selected);
    if (now < entry.until && entry.token.keyTrusted()) return entry.token;
    entries.delete(key);
    return remember(token, now, selected);
  };
  return Object.assign(lookUp, {
    ready: () => authenticate.ready(),
    close: () => authenticate.close(),
    revokeKey: (thumbprint: string) => authenticate.revokeKey(thumbprint),
  });
}

/** What was judged for one tenant is not used for another. */
function keyOf({ hash }: PresentedToken, selected: string | undefined): string {
  return selected === undefined ? hash : `${hash} ${selected}`;
}
