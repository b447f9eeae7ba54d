import type { AccessTokenClaims, AuthenticatedToken } from '../access-token/authenticated-token.ts';
import type { Certificate } from '../certificate/thumbprint.ts';
import { isRejection, reject, type Rejection, type Scheme } from '../rejection.ts';
import type { Awaitable, EpochSeconds, ProtectedResourceRequest } from '../request.ts';

/** A member of `cnf` that was confirmed, and the thumbprint it names. */
export interface Confirmation {
  readonly member: string;
  readonly thumbprint: string;
}

/** What a sender can be confirmed by: the request and what came with it. */
export interface Presentation {
  readonly request: ProtectedResourceRequest;
  readonly scheme: Scheme;
  readonly token: string;
  readonly now: EpochSeconds;
  /** The certificate of the client, as it was when the request began. */
  readonly certificate: Awaitable<Certificate | Rejection | undefined>;
}

/** One way to confirm a sender (RFC 7800 §3.1): the member of `cnf` it understands, and the scheme such a token is presented with. */
export interface ConfirmationMethod {
  readonly member: string;
  readonly scheme: Scheme;
  confirm(thumbprint: string, presentation: Presentation): Awaitable<Confirmation | Rejection>;
}

declare const confirmed: unique symbol;

/** An authenticated token whose sender is the one it is bound to, or which the resource accepts unbound on purpose. */
export interface ConfirmedToken<C extends AccessTokenClaims = AccessTokenClaims> {
  readonly [confirmed]: true;
  readonly issuer: string;
  readonly claims: C;
  readonly scheme: Scheme;
  /** Every member of `cnf` that is understood. Empty only where the resource accepts tokens without `cnf`. */
  readonly confirmations: readonly Confirmation[];
}

const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;
const HEX_THUMBPRINT = /^(?:[0-9a-f]{64}|[0-9a-f]{2}(?::[0-9a-f]{2}){31})$/i;

/** What has to be confirmed of one token: a method and the thumbprint it has to find. */
interface Required {
  readonly method: ConfirmationMethod;
  readonly thumbprint: string;
}

/** Confirms the sender of an authenticated token. */
export type ConfirmToken = (token: AuthenticatedToken, presentation: Presentation) => Promise<ConfirmedToken | Rejection>;

/**
 * Makes the stage that confirms senders. It fails closed (RFC 7800 §3.1, RFC 8705 §3): every member of `cnf` that is understood
 * must hold; others beside it are ignored; a `cnf` without one that is understood is refused. What a token requires is read
 * once per token, and confirmed on every request.
 */
export function confirmToken(methods: readonly ConfirmationMethod[], unconstrained: 'refuse' | 'accept'): ConfirmToken {
  const read = new WeakMap<AuthenticatedToken, readonly Required[] | Rejection>();
  return async (token, presentation) => {
    let required = read.get(token);
    if (required === undefined) {
      required = readConfirmation(token.claims, methods, unconstrained);
      read.set(token, required);
    }
    if ('rejected' in required) return required;
    const confirmations: Confirmation[] = [];
    for (const { method, thumbprint } of required) {
      const confirmation = await method.confirm(thumbprint, presentation);
      if (isRejection(confirmation)) return confirmation;
      confirmations.push(confirmation);
    }
    const { issuer, claims } = token;
    return confirmedToken({ issuer, claims, scheme: presentation.scheme, confirmations: Object.freeze(confirmations) });
  };
}

/** What the claims say about the sender. An empty list only where the resource accepts tokens without `cnf`. */
function readConfirmation(
  claims: AccessTokenClaims,
  methods: readonly ConfirmationMethod[],
  unconstrained: 'refuse' | 'accept',
): readonly Required[] | Rejection {
  // Read as unbound they would be bearer tokens; some servers write them there (Janssen).
  if ('x5t#S256' in claims || 'jkt' in claims) return reject('cnf.top_level');
  if (!('cnf' in claims)) return unconstrained === 'accept' ? [] : reject('cnf.absent');
  const { cnf } = claims;
  if (!isObject(cnf)) return reject('cnf.malformed', { detail: 'cnf is no object' });
  const understood = methods.filter(({ member }) => Object.hasOwn(cnf, member));
  if (understood.length === 0) return reject('cnf.not_understood');
  const required: Required[] = [];
  for (const method of understood) {
    const thumbprint = cnf[method.member];
    if (typeof thumbprint !== 'string' || !THUMBPRINT.test(thumbprint)) {
      const isHex = typeof thumbprint === 'string' && HEX_THUMBPRINT.test(thumbprint);
      return reject(isHex ? 'cnf.hex_thumbprint' : 'cnf.malformed', { detail: method.member });
    }
    required.push({ method, thumbprint });
  }
  return required;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The one place where a token becomes a confirmed one. */
function confirmedToken<C extends AccessTokenClaims>(held: Omit<ConfirmedToken<C>, typeof confirmed>): ConfirmedToken<C> {
  return held as ConfirmedToken<C>;
}
