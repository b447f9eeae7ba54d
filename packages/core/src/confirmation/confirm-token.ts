import type { AccessTokenClaims, AuthenticatedToken } from '../access-token/authenticated-token.ts';
import type { PresentedToken } from '../access-token/extract.ts';
import type { Certificate } from '../certificate/thumbprint.ts';
import type { Fields } from '../challenge/refusal.ts';
import { isRejection, reject, type Rejection, type Scheme } from '../rejection.ts';
import { andThen, type Awaitable, type EpochSeconds, type ProtectedResourceRequest } from '../request.ts';
import { slot } from '../slot.ts';
import type { DpopProof } from './proof.ts';

/** A member of `cnf` that was confirmed, and the thumbprint it names. */
export interface Confirmation {
  readonly member: string;
  readonly thumbprint: string;
}

/** What a sender can be confirmed by: the request and what came with it. */
export interface Presentation {
  readonly request: ProtectedResourceRequest;
  readonly token: PresentedToken;
  readonly now: EpochSeconds;
  /** The certificate of the client, as it was when the request began. */
  readonly certificate: Awaitable<Certificate | Rejection | undefined>;
  /** The proof that came with the DPoP scheme. */
  readonly proof: DpopProof | undefined;
}

/** What is done when nothing else stands against a request, and may still refuse it. */
export type Effect = () => Awaitable<Rejection | undefined>;

/** What a method hands on when the sender is confirmed. */
export interface ConfirmationHeld extends Confirmation {
  /** Fields that the response has to carry for it. */
  readonly fields?: Fields;
  /** What has an effect, and so waits until everything else has passed. */
  readonly last?: Effect;
}

/** One way to confirm a sender (RFC 7800 §3.1): the member of `cnf` it understands, and the scheme such a token is presented with. */
export interface ConfirmationMethod {
  readonly member: string;
  readonly scheme: Scheme;
  confirm(thumbprint: string, presentation: Presentation): Awaitable<ConfirmationHeld | Rejection>;
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
  /** Wherever the issuer writes them. */
  readonly scopes: readonly string[];
  /** The client that the token was issued to, wherever the issuer writes it. */
  readonly clientId: string | undefined;
  /** Fields that the response has to carry. */
  readonly fields: Fields;
}

const NONE: readonly never[] = Object.freeze([]);
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;
const HEX_THUMBPRINT = /^(?:[0-9a-f]{64}|[0-9a-f]{2}(?::[0-9a-f]{2}){31})$/i;

/** What has to be confirmed of one token: each method with the thumbprint it has to find, and the scheme such a token comes with. */
interface Binding {
  readonly scheme: Scheme;
  /** Empty only where the resource accepts tokens without `cnf`. */
  readonly required: readonly { readonly method: ConfirmationMethod; readonly thumbprint: string }[];
  /** What is confirmed when all of them are. */
  readonly confirmations: readonly Confirmation[];
}

/** Confirms the sender of an authenticated token. */
export type ConfirmToken = (token: AuthenticatedToken, presentation: Presentation) => Awaitable<ConfirmedToken | Rejection>;

/**
 * Makes the stage that confirms senders. It fails closed (RFC 7800 §3.1, RFC 8705 §3, RFC 9449 §7.2): every member of `cnf` that
 * is understood must hold, and the scheme must be the bound one, both ways; other members are ignored; a `cnf` without one that
 * is understood is refused. What a token requires is read once per token, and confirmed on every request.
 */
export function confirmToken(methods: readonly ConfirmationMethod[]): ConfirmToken {
  const read = slot<Binding | Rejection>();
  return (token, presentation) => {
    let binding = read.get(token);
    if (binding === undefined) {
      binding = readBinding(token, methods);
      read.set(token, binding);
    }
    if (isRejection(binding)) return binding;
    const { issuer, claims, scopes, clientId } = token;
    const { scheme } = presentation.token;
    if (scheme !== binding.scheme) return reject(scheme === 'Bearer' ? 'cnf.presented_as_bearer' : 'cnf.presented_as_dpop');

    const { required, confirmations } = binding;
    return andThen(confirmEach(required, presentation), (held) => {
      if (isRejection(held)) return held;
      const sent = confirmedToken({ issuer, claims, scheme, confirmations, scopes, clientId, fields: held.fields });
      return held.effects.length === 0 ? sent : andThen(takeEffect(held.effects), (objection) => objection ?? sent);
    });
  };
}

/** What the methods of one token have handed on. */
interface Held {
  readonly fields: Fields;
  readonly effects: readonly Effect[];
}

const NOTHING_HELD: Held = { fields: NONE, effects: NONE };

/** One after the other: a method that refuses spares what the next would cost. */
function confirmEach(required: Binding['required'], presentation: Presentation, i = 0, before = NOTHING_HELD): Awaitable<Held | Rejection> {
  const next = required[i];
  if (next === undefined) return before;
  return andThen(next.method.confirm(next.thumbprint, presentation), (held) => {
    if (isRejection(held)) return held;
    const { fields, last } = held;
    const both =
      fields === undefined && last === undefined
        ? before
        : { fields: before.fields.concat(fields ?? NONE), effects: before.effects.concat(last ?? NONE) };
    return confirmEach(required, presentation, i + 1, both);
  });
}

function takeEffect([effect, ...others]: readonly Effect[]): Awaitable<Rejection | undefined> {
  return effect === undefined ? undefined : andThen(effect(), (objection) => objection ?? takeEffect(others));
}

/** What all that is said of a token asks for together: of two statements about the binding, the stricter stands. */
function readBinding({ statements, binding }: AuthenticatedToken, methods: readonly ConfirmationMethod[]): Binding | Rejection {
  const required: { readonly method: ConfirmationMethod; readonly thumbprint: string }[] = [];
  for (const statement of statements) {
    const asked = readStatement(statement, methods, binding.topLevel);
    if (isRejection(asked)) return asked;
    for (const one of asked) {
      if (!required.some(({ method, thumbprint }) => method === one.method && thumbprint === one.thumbprint)) required.push(one);
    }
  }
  if (required.length === 0) {
    return binding.unconstrained === 'accept' ? { scheme: 'Bearer', required: NONE, confirmations: NONE } : reject('cnf.absent');
  }
  // With a DPoP key it is a DPoP token, whatever else it is bound to.
  const scheme = required.some(({ method }) => method.scheme === 'DPoP') ? 'DPoP' : 'Bearer';
  // What costs little comes first.
  required.sort((one, other) => methods.indexOf(one.method) - methods.indexOf(other.method));
  const confirmations = required.map(({ method: { member }, thumbprint }) => Object.freeze({ member, thumbprint }));
  return { scheme, required, confirmations: Object.freeze(confirmations) };
}

/** What one statement asks for; nothing, only where it says nothing of a binding. */
function readStatement(
  claims: Readonly<Record<string, unknown>>,
  methods: readonly ConfirmationMethod[],
  topLevel: readonly string[],
): { readonly method: ConfirmationMethod; readonly thumbprint: string }[] | Rejection {
  const outside = ['x5t#S256', 'jkt'].filter((member) => member in claims);
  // Read as unbound they would be bearer tokens; some servers write them there (Janssen).
  if (outside.some((member) => !topLevel.includes(member))) return reject('cnf.top_level');
  const { cnf } = claims;
  if (callsItselfDpop(claims) && !(isObject(cnf) && Object.hasOwn(cnf, 'jkt'))) return reject('cnf.presented_as_dpop');
  if ('cnf' in claims && !isObject(cnf)) return reject('cnf.malformed', { detail: 'cnf is no object' });
  const inside = isObject(cnf) ? methods.filter(({ member }) => Object.hasOwn(cnf, member)) : [];
  if ('cnf' in claims && inside.length === 0) return reject('cnf.not_understood');
  const required: { readonly method: ConfirmationMethod; readonly thumbprint: string }[] = [];
  for (const method of methods) {
    const thumbprints = [
      ...(isObject(cnf) && inside.includes(method) ? [cnf[method.member]] : []),
      ...(outside.includes(method.member) ? [claims[method.member]] : []),
    ];
    for (const thumbprint of new Set(thumbprints)) {
      if (typeof thumbprint !== 'string' || !THUMBPRINT.test(thumbprint)) {
        const isHex = typeof thumbprint === 'string' && HEX_THUMBPRINT.test(thumbprint);
        return reject(isHex ? 'cnf.hex_thumbprint' : 'cnf.malformed', { detail: method.member });
      }
      required.push({ method, thumbprint });
    }
  }
  return required;
}

/** `token_type` of an introspection response (RFC 9449 §6.2), or of a server that writes it into the token. */
function callsItselfDpop({ token_type: type }: Readonly<Record<string, unknown>>): boolean {
  return typeof type === 'string' && type.toLowerCase() === 'dpop';
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The one place where a token becomes a confirmed one. */
function confirmedToken<C extends AccessTokenClaims>(held: Omit<ConfirmedToken<C>, typeof confirmed>): ConfirmedToken<C> {
  return held as ConfirmedToken<C>;
}
