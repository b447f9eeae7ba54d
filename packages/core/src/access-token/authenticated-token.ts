import type { Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';
import type { PresentedToken } from './extract.ts';

/**
 * The claims of an access token (RFC 9068 §2.2), or what introspection says of it (RFC 7662 §2.2). Only `iss` and `exp` are always
 * there; the types of the others hold where they are. `aud` lacks only where the API lists clients instead.
 */
export interface AccessTokenClaims {
  readonly iss: string;
  readonly exp: number;
  readonly aud?: string | readonly string[];
  readonly sub?: string;
  readonly client_id?: string;
  readonly iat?: number;
  readonly nbf?: number;
  readonly jti?: string;
  readonly scope?: string | readonly string[];
  readonly scp?: string | readonly string[];
  readonly acr?: string;
  readonly auth_time?: unknown;
  readonly authorization_details?: readonly AuthorizationDetail[];
  readonly cnf?: unknown;
  readonly [claim: string]: unknown;
}

/** One element of `authorization_details` (RFC 9396 §2). Handed on as the issuer wrote it. */
export interface AuthorizationDetail {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** What holds for the binding of an issuer's tokens. */
export interface BindingRules {
  /** What becomes of a token that is bound to nobody. */
  readonly unconstrained: 'refuse' | 'accept';
  /** Members of `cnf` that the issuer writes as claims of their own. */
  readonly topLevel: readonly string[];
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
  /** Wherever the issuer writes them. */
  readonly scopes: readonly string[];
  readonly clientId: string | undefined;
  /** What says to whom the token is bound: its claims, and what introspection says of it. All that any of them says must hold. */
  readonly statements: readonly Readonly<Record<string, unknown>>[];
  readonly binding: BindingRules;
  /** Characters of what it was read from, which tell how much memory it takes. */
  readonly size: number;
}

/** A judgement before it is one: all but the brand. */
export type Judged = Omit<AuthenticatedToken, typeof authenticated>;

/**
 * Judges a presented token: JWT or introspection.
 * The three other members belong to what it keeps alive: keys, timers.
 */
export interface AuthenticateToken<C extends AccessTokenClaims = AccessTokenClaims> {
  /** `selected`: the one issuer whose tokens this request may have, where there are several tenants. */
  (token: PresentedToken, now: EpochSeconds, selected?: string): Awaitable<AuthenticatedToken<C> | Rejection>;
  /** Resolves when tokens can be judged; rejects with what stands in the way, for start-up and health checks. */
  ready(): Promise<void>;
  /** Ends timers. */
  close(): Promise<void>;
  /** From now on nothing that the key with this thumbprint (RFC 7638) signed is accepted. */
  revokeKey(thumbprint: string): void;
}

/** The one place where a token becomes an authenticated one: call it when every check has passed. */
export function authenticatedToken(judged: Judged): AuthenticatedToken {
  return judged as AuthenticatedToken;
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
