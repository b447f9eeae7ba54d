import type { Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';
import type { PresentedToken } from './extract.ts';

/** The claims of an access token (RFC 9068 §2.2). Only `iss`, `exp` and `aud` are always there; the types of the others hold where they are. */
export interface AccessTokenClaims {
  readonly iss: string;
  readonly exp: number;
  readonly aud: string | readonly string[];
  readonly sub?: string;
  readonly client_id?: string;
  readonly iat?: number;
  readonly nbf?: number;
  readonly jti?: string;
  readonly scope?: string | readonly string[];
  readonly scp?: string | readonly string[];
  readonly cnf?: unknown;
  readonly [claim: string]: unknown;
}

declare const authenticated: unique symbol;

/** An access token whose issuer, audience, lifetime and integrity hold. Says nothing yet about who sent it. */
export interface AuthenticatedToken<C extends AccessTokenClaims = AccessTokenClaims> {
  readonly [authenticated]: true;
  readonly issuer: string;
  /** Frozen, deeply. */
  readonly claims: C;
  /** From here on this judgement must not be used again: the end of the token, or of the keys that it was judged with. */
  readonly until: EpochSeconds;
  /** Whether the key that signed it is still the issuer's. Turns false at once when the issuer drops the key or it is revoked. */
  readonly keyTrusted: () => boolean;
}

/**
 * Judges a presented token: JWT or introspection.
 * The three other members belong to what it keeps alive: keys, timers.
 */
export interface AuthenticateToken<C extends AccessTokenClaims = AccessTokenClaims> {
  (token: PresentedToken, now: EpochSeconds): Awaitable<AuthenticatedToken<C> | Rejection>;
  /** Resolves when tokens can be judged; rejects with what stands in the way, for start-up and health checks. */
  ready(): Promise<void>;
  /** Ends timers. */
  close(): Promise<void>;
  /** From now on nothing that the key with this thumbprint (RFC 7638) signed is accepted. */
  revokeKey(thumbprint: string): void;
}

/** The one place where a token becomes an authenticated one: call it when every check has passed. */
export function authenticatedToken<C extends AccessTokenClaims>(judged: {
  issuer: string;
  claims: C;
  until: EpochSeconds;
  keyTrusted: () => boolean;
}): AuthenticatedToken<C> {
  return judged as AuthenticatedToken<C>;
}

/** Freezes a JSON value and all it contains, so that what is cached cannot be changed by one request for the next. */
export function deepFreeze<T>(json: T): T {
  const open: unknown[] = [json];
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value !== 'object' || value === null) continue;
    Object.freeze(value);
    for (const member of Object.values(value)) if (typeof member === 'object' && member !== null) open.push(member);
  }
  return json;
}
