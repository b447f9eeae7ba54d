import { type ErrorCode, isUnavailable, REASONS, type ReasonRow, reject, type Rejection, type Scheme } from '../rejection.ts';
import { challenge, type ChallengeParameters } from './www-authenticate.ts';

/** Lines of response fields, in order; a name may come more than once. */
export type Fields = readonly (readonly [name: string, value: string])[];

/** The HTTP answer to a request that is refused (RFC 6750 §3, RFC 9110 §11.6.1). */
export interface Refusal {
  readonly granted: false;
  readonly status: number;
  readonly fields: Fields;
  /** JSON; absent where there is no error code. */
  readonly body?: { readonly error: string; readonly error_description: string };
  /** Why. For logs and the error handler of the application, not for the client. */
  readonly rejection: Rejection;
}

/** One sentence a code, the same for all its reasons, so that an answer tells a thief nothing about the token. */
const DESCRIPTIONS: Record<ErrorCode, string> = {
  invalid_request: 'The request is malformed: send one access token, in one Authorization field.',
  invalid_token: 'The access token is not valid here, or was not sent by the client it is bound to.',
  insufficient_scope: 'The access token does not have the scope that this request needs.',
};

/** A challenge that the resource offers, with the parameters it always has. */
export interface OfferedChallenge {
  readonly scheme: Scheme;
  readonly parameters: ChallengeParameters;
}

/**
 * The refusal for a rejection. Every offered challenge stands on a line of its own; the error stands in the challenge of the
 * scheme that the client used. What is our fault carries no challenge and no word of why.
 */
export function refuse(rejection: Rejection, offered: readonly OfferedChallenge[], used: Scheme | undefined): Refusal {
  const { status, error }: ReasonRow = REASONS[rejection.rejected];
  if (isUnavailable(rejection)) {
    return { granted: false, status, fields: [['Retry-After', String(rejection.retryAfter ?? 1)]], rejection };
  }
  const schemes = rejection.schemes ?? (used === undefined ? [] : [used]);
  const details = error && { error, error_description: DESCRIPTIONS[error], scope: rejection.scope };
  const fields = offered.map(
    ({ scheme, parameters }) =>
      ['WWW-Authenticate', challenge(scheme, schemes.includes(scheme) ? { ...details, ...parameters } : parameters)] as const,
  );
  return {
    granted: false,
    status,
    fields,
    ...(error && { body: { error, error_description: DESCRIPTIONS[error] } }),
    rejection,
  };
}

/** The refusal of a route that no resource protects, for adapters: nothing was granted there, so nobody gets in. */
export const UNPROTECTED: Refusal = refuse(
  reject('request.unprotected'),
  [{ scheme: 'Bearer', parameters: { realm: 'holdfast' } }],
  undefined,
);
