import type { AccessTokenClaims, AuthenticatedToken } from '../access-token/authenticated-token.ts';
import type { Fields } from '../challenge/refusal.ts';
import type { ConfirmedToken } from '../confirmation/confirm-token.ts';
import type { Confirmation } from '../confirmation/method.ts';
import type { Rejection, Scheme } from '../rejection.ts';
import type { AccessSignals } from './access-signals.ts';

/** What a request was granted: the token is authentic, and was sent by the client it is bound to. Frozen. */
export interface Access<C extends AccessTokenClaims = AccessTokenClaims> extends ConfirmedToken<C> {
  readonly granted: true;
  /** False for a token without `cnf` at a resource with `unconstrained: 'accept'`, and where `audited` says why. */
  readonly confirmed: boolean;
  /**
   * Aborts when the access ends, so that a stream or a WebSocket can end with it: at `exp` (for a token that was accepted after
   * it, at the end of the clock tolerance); when the key that signed the token is revoked (at once) or given up by the issuer
   * (within a minute); when `isRevoked`, a status list for example, names the token, which is asked every minute: a failure, or no
   * answer within the next, ends the access too, as a request would be refused; when the resource is closed; where `audited` is set,
   * when audit mode ends. Introspection is not asked again: the token is not kept. Its `reason` is a `DOMException`, `TimeoutError` at
   * `exp` and at the end of audit mode, else `AbortError`. Costs nothing until it is read, and never keeps a process alive.
   *
   * There is no other limit. A route that wants a client to show its key more often has one of its own:
   * `AbortSignal.any([signal, AbortSignal.timeout(3_600_000)])`.
   *
   * @example
   * addAbortSignal(accessOf(request).signal, response); // of node:stream: lets go of the response when the client has gone
   */
  readonly signal: AbortSignal;
}

/** The members stand on the object; the signal, which few ask for, is made when it is read first. */
class Grant implements Omit<Access, keyof ConfirmedToken> {
  readonly granted = true;
  readonly issuer: string;
  readonly claims: AccessTokenClaims;
  readonly scheme: Scheme;
  readonly confirmations: readonly Confirmation[];
  readonly confirmed: boolean;
  readonly scopes: readonly string[];
  readonly clientId: string | undefined;
  readonly audited: Rejection | undefined;
  readonly fields: Fields;
  readonly #token: AuthenticatedToken;
  readonly #confirmed: ConfirmedToken;
  readonly #signals: AccessSignals;
  #signal: AbortSignal | undefined;

  constructor(confirmed: ConfirmedToken, fields: Fields, token: AuthenticatedToken, signals: AccessSignals) {
    const { issuer, claims, scheme, confirmations, scopes, clientId, audited } = confirmed;
    this.issuer = issuer;
    this.claims = claims;
    this.scheme = scheme;
    this.confirmations = confirmations;
    this.confirmed = confirmations.length > 0;
    this.scopes = scopes;
    this.clientId = clientId;
    this.audited = audited;
    this.fields = fields;
    this.#token = token;
    this.#confirmed = confirmed;
    this.#signals = signals;
    Object.freeze(this);
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#signals.of(this.#token, this.#confirmed);
    return this.#signal;
  }
}

/** The one place where access is granted: for a confirmed token, with the fields that the response has to carry. */
export function grantAccess(confirmed: ConfirmedToken, fields: Fields, token: AuthenticatedToken, signals: AccessSignals): Access {
  // The brand of a confirmed token is no member of any object: it is kept from what was confirmed.
  return new Grant(confirmed, fields, token, signals) as unknown as Access;
}
