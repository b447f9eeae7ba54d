import { type ErrorCode, REASONS, type ReasonRow, reject, type Rejection, type Scheme } from '../rejection.ts';
import { challenge, type ChallengeParameters } from './www-authenticate.ts';

/** Lines of response fields, in order; a name may come more than once. */
export type Fields = readonly (readonly [name: string, value: string])[];

export const NO_FIELDS: Fields = Object.freeze([]);

/** What scripts of other origins need to read, and can only where `Access-Control-Expose-Headers` names it: for `exposedHeaders` of cors or @fastify/cors. */
export const EXPOSED_FIELDS: readonly string[] = Object.freeze(['WWW-Authenticate', 'DPoP-Nonce']);

export const EXPOSE = 'Access-Control-Expose-Headers';

/** To be added to what others have exposed (Fetch, §3.3.3). */
export const EXPOSE_FIELDS: Fields = Object.freeze([[EXPOSE, EXPOSED_FIELDS.join(', ')] as const]);

/** The names in several lists as one list; names of fields are the same in any case. */
export function namesIn(lists: readonly (string | number)[]): string {
  const names = lists.flatMap((list) => String(list).split(',')).map((name) => name.trim());
  return [...new Map(names.filter(Boolean).map((name) => [name.toLowerCase(), name])).values()].join(', ');
}

/** That another value of this field may get another response (RFC 9110 §12.5.5). */
export function variesBy(field: string): Fields {
  return Object.freeze([['Vary', field] as const]);
}

/** Fields that are lists to which others add too: what they have there stays. */
export const SHARED_LISTS: ReadonlySet<string> = new Set([EXPOSE, 'Vary']);

/** A nonce for the client (RFC 9449 §8.1), and that the response must not be kept, since the nonce will not be good for long (§8.2). */
export function nonceFields(nonce: string): Fields {
  return [
    ['DPoP-Nonce', nonce],
    ['Cache-Control', 'no-store'],
  ];
}

/** An HTTP answer that is not the route's. */
export interface Answer {
  readonly status: number;
  readonly fields: Fields;
  /** JSON. */
  readonly body?: object;
}

/** The HTTP answer to a request that is refused (RFC 6750 §3, RFC 9110 §11.6.1). */
export interface Refusal {
  readonly granted: false;
  readonly status: number;
  readonly fields: Fields;
  /** JSON; absent where there is no error code. */
  readonly body?: { readonly error: string; readonly error_description: string };
  /** Why. For logs and the error handler of the application, not for the client. */
  readonly rejection: Rejection;
  /**
   * Set where the request asked for nothing that needs access: a CORS preflight, or one without credentials where they are optional.
   * An adapter lets it pass, without access, with these fields on the response, and gives this refusal where a route needs access
   * after all. An adapter that knows nothing of it refuses.
   */
  readonly mayPass?: {
    readonly fields: Fields;
    /** Set where it may pass for nothing else than being a preflight: it is for what answers preflights, and never for a route of another method. */
    readonly preflight?: true;
  };
}

/** One sentence a code, the same for all its reasons, so that an answer tells a thief nothing about the token. */
const DESCRIPTIONS: Record<ErrorCode, string> = {
  invalid_request: 'The request is malformed: send one access token, in one Authorization field.',
  invalid_token: 'The access token is not valid here, or was not sent by the client it is bound to.',
  invalid_dpop_proof: 'The DPoP proof is missing, malformed, expired, used before, or not made for this request and access token.',
  use_dpop_nonce: 'This resource requires a nonce in DPoP proofs: use the one in the DPoP-Nonce field of this response.',
  insufficient_scope: 'The access token does not have the scope that this request needs.',
  insufficient_user_authentication: 'This request needs another, or a more recent, authentication of the user.',
};

/** A challenge that the resource offers, with the parameters it always has. */
export interface OfferedChallenge {
  readonly scheme: Scheme;
  readonly parameters: ChallengeParameters;
}

/** What stands in a refusal beside its challenges. */
export interface FurtherFields {
  readonly always: Fields;
  /** A nonce for the client that has to use one. */
  readonly nonce: () => Fields;
}

/** After 425 the client knows by itself when to try again (RFC 8470 §5.2), after 421 how (RFC 9110 §15.5.20), and after 404 and 431 that it need not. */
const NO_WAITING: ReadonlySet<number> = new Set([404, 421, 425, 431]);

const NOTHING_FURTHER: FurtherFields = { always: NO_FIELDS, nonce: () => NO_FIELDS };

/**
 * The refusal for a rejection. Every offered challenge stands on a line of its own; the error stands in the challenge of the
 * scheme that the client used. What is our fault, or only a matter of when, carries no challenge and no word of why.
 */
export function refuse(
  rejection: Rejection,
  offered: readonly OfferedChallenge[],
  used: Scheme | undefined,
  more: FurtherFields = NOTHING_FURTHER,
): Refusal {
  const { status, error }: ReasonRow = REASONS[rejection.rejected];
  if (error === undefined && status !== 401) {
    const wait: Fields = NO_WAITING.has(status) ? NO_FIELDS : [['Retry-After', String(rejection.retryAfter ?? 1)]];
    return { granted: false, status, fields: [...wait, ...more.always], rejection };
  }
  const schemes = schemesWithError(rejection, offered, used);
  const { scope, acrValues, maxAge } = rejection;
  const details = error && {
    error,
    error_description: DESCRIPTIONS[error],
    scope,
    acr_values: acrValues,
    max_age: maxAge === undefined ? undefined : String(maxAge),
  };
  const challenges = offered.map(
    ({ scheme, parameters }) =>
      ['WWW-Authenticate', challenge(scheme, schemes.includes(scheme) ? { ...details, ...parameters } : parameters)] as const,
  );
  return {
    granted: false,
    status,
    fields: [...challenges, ...(error === 'use_dpop_nonce' ? more.nonce() : NO_FIELDS), ...more.always],
    ...(error && { body: { error, error_description: DESCRIPTIONS[error] } }),
    rejection,
  };
}

/** The scheme that was used; several, where it is not clear which; and where none of them is offered, the first that is. */
function schemesWithError(
  { schemes }: Rejection,
  offered: readonly OfferedChallenge[],
  used: Scheme | undefined,
): readonly (Scheme | undefined)[] {
  const meant = schemes ?? (used === undefined ? [] : [used]);
  return offered.some(({ scheme }) => meant.includes(scheme)) ? meant : [offered[0]?.scheme];
}

/** The refusal of a route that no resource protects, for adapters: nothing was granted there, so nobody gets in. */
export const UNPROTECTED: Refusal = refuse(
  reject('request.unprotected'),
  [{ scheme: 'Bearer', parameters: { realm: 'holdfast' } }],
  undefined,
);

/** The refusal where it cannot be read what a route asks for, for adapters: nobody gets in, and nobody is told why. */
export const UNAVAILABLE: Refusal = refuse(reject('unavailable.internal'), [], undefined);
