import type { AccessTokenClaims, AuthenticatedToken } from '../access-token/authenticated-token.ts';
import type { Fields } from '../challenge/refusal.ts';
import { isRejection, type Reason, reject, type Rejection, type Scheme } from '../rejection.ts';
import { andThen, type Awaitable, type EpochSeconds } from '../request.ts';
import { slot } from '../slot.ts';
import { type Binding, readBinding, UNBOUND } from './binding.ts';
import type { Confirmation, ConfirmationHeld, ConfirmationMethod, Effect, Presentation } from './method.ts';

declare const confirmed: unique symbol;

/** An authenticated token whose sender is the one it is bound to, or which the resource accepts unbound on purpose. */
export interface ConfirmedToken<C extends AccessTokenClaims = AccessTokenClaims> {
  readonly [confirmed]: true;
  readonly issuer: string;
  readonly claims: C;
  readonly scheme: Scheme;
  /** Every member of `cnf` that is understood. Empty only where the resource accepts tokens without `cnf`, and where `audited` says why. */
  readonly confirmations: readonly Confirmation[];
  /** Wherever the issuer writes them. */
  readonly scopes: readonly string[];
  /** The client that the token was issued to, wherever the issuer writes it. */
  readonly clientId: string | undefined;
  /** Set in audit mode alone: why the request would be refused without it. */
  readonly audited: Rejection | undefined;
  /** Fields that the response has to carry. */
  readonly fields: Fields;
}

/** For a while, some reasons are reported and not acted upon. */
export interface AuditRules {
  readonly reasons: readonly Reason[];
  readonly until: EpochSeconds;
}

/** What stands between a sender that was confirmed and what has an effect. */
export interface ConfirmRules {
  readonly audit?: AuditRules | undefined;
  /** What else may object to the token: a list of revoked ones. */
  readonly lastly?: ((token: ConfirmedToken) => Awaitable<Rejection | undefined>) | undefined;
}

const NONE: readonly never[] = Object.freeze([]);

/** Confirms the sender of an authenticated token. */
export type ConfirmToken = (token: AuthenticatedToken, presentation: Presentation) => Awaitable<ConfirmedToken | Rejection>;

/**
 * Makes the stage that confirms senders. It fails closed (RFC 7800 §3.1, RFC 8705 §3, RFC 9449 §7.2): every member of `cnf` that
 * is understood must hold, and the scheme must be the bound one, both ways; other members are ignored; a `cnf` without one that
 * is understood is refused. What a token requires is read once per token, and confirmed on every request.
 */
export function confirmToken(methods: readonly ConfirmationMethod[], { audit, lastly }: ConfirmRules = {}): ConfirmToken {
  const read = slot<Binding | Rejection>();
  return (token, presentation) => {
    let binding = read.get(token);
    if (binding === undefined) {
      binding = readBinding(token, methods);
      read.set(token, binding);
    }
    const { scheme } = presentation.token;
    let audited: Rejection | undefined;
    if (isRejection(binding)) {
      // Only a token that says nothing of a binding can be taken for one that is bound to nobody, and only as Bearer.
      if (binding.rejected !== 'cnf.absent' || scheme !== 'Bearer' || !isAudited(binding, audit, presentation)) return binding;
      audited = binding;
      binding = UNBOUND;
    }
    const { issuer, claims, scopes, clientId } = token;
    if (scheme !== binding.scheme) return reject(scheme === 'Bearer' ? 'cnf.presented_as_bearer' : 'cnf.presented_as_dpop');

    const { required, confirmations: all } = binding;
    return andThen(confirmEach(required, presentation, audit), (held) => {
      if (isRejection(held)) return held;
      const { fields, effects, lacking } = held;
      // Where one of two is missing, the other does not make it a bound token.
      const confirmations = lacking === undefined ? all : NONE;
      const sent = confirmedToken({
        issuer,
        claims,
        scheme,
        confirmations,
        scopes,
        clientId,
        audited: audited ?? lacking,
        fields,
      });
      if (lastly === undefined && effects.length === 0) return sent;
      return andThen(lastly?.(sent), (revoked) => revoked ?? andThen(takeEffects(effects), (objection) => objection ?? sent));
    });
  };
}

function isAudited({ rejected }: Rejection, audit: AuditRules | undefined, { now }: Presentation): boolean {
  return audit !== undefined && now < audit.until && audit.reasons.includes(rejected);
}

/** What the methods of one token have handed on. */
interface Held {
  readonly fields: Fields;
  readonly effects: readonly Effect[];
  /** Why something was not confirmed, in audit mode. */
  readonly lacking: Rejection | undefined;
}

const NOTHING_HELD: Held = { fields: NONE, effects: NONE, lacking: undefined };

/** One after the other: a method that refuses spares what the next would cost. */
function confirmEach(
  required: Binding['required'],
  presentation: Presentation,
  audit: AuditRules | undefined,
  i = 0,
  before = NOTHING_HELD,
): Awaitable<Held | Rejection> {
  const next = required[i];
  if (next === undefined) return before;
  return andThen(next.method.confirm(next.thumbprint, presentation), (verdict) => {
    const held = heldWith(before, verdict, presentation, audit);
    return isRejection(held) ? held : confirmEach(required, presentation, audit, i + 1, held);
  });
}

/** What is held with one verdict more; in audit mode some rejections count as lacking. */
function heldWith(
  before: Held,
  verdict: ConfirmationHeld | Rejection,
  presentation: Presentation,
  audit: AuditRules | undefined,
): Held | Rejection {
  if (isRejection(verdict)) return isAudited(verdict, audit, presentation) ? { ...before, lacking: verdict } : verdict;
  const { fields, last } = verdict;
  if (fields === undefined && last === undefined) return before;
  return {
    fields: fields === undefined ? before.fields : before.fields.concat(fields),
    effects: last === undefined ? before.effects : before.effects.concat(last),
    lacking: before.lacking,
  };
}

function takeEffects(effects: readonly Effect[], i = 0): Awaitable<Rejection | undefined> {
  const effect = effects[i];
  return effect === undefined ? undefined : andThen(effect(), (objection) => objection ?? takeEffects(effects, i + 1));
}

/** The one place where a token becomes a confirmed one. */
function confirmedToken<C extends AccessTokenClaims>(held: Omit<ConfirmedToken<C>, typeof confirmed>): ConfirmedToken<C> {
  return held as ConfirmedToken<C>;
}
