import type { AccessTokenClaims } from '../access-token/authenticated-token.ts';
import type { ConfirmedToken } from '../confirmation/confirm-token.ts';
import { reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import type { PreparedRequirements } from './requirements.ts';

/** The clock, read only where a requirement asks for it, and the seconds by which clocks may differ. */
export interface Clock {
  readonly now: () => EpochSeconds;
  readonly clockTolerance: number;
}

/**
 * Authorizes a confirmed token for one route: takes nothing less than a {@link ConfirmedToken}. What another authentication cannot mend
 * is told before what it can, and a missing scope last, so that one challenge says all that a new token needs (RFC 9470 §3).
 */
export function authorizeToken<C extends AccessTokenClaims>(
  token: ConfirmedToken<C>,
  requirements: PreparedRequirements,
  clock: Clock,
): Rejection | undefined {
  const { scopes, scopesNeeded, conditions, confirmation } = requirements;
  if (!isBoundTo(token, confirmation)) {
    return reject('confirmation.required', { expected: confirmation === 'any' ? confirmation : confirmation.join(' ') });
  }
  const failed = conditions.find((condition) => !condition.holds(token.claims));
  if (failed !== undefined) return reject(failed.reason, { expected: failed.expected });

  const missing = scopes.filter((scope) => !token.scopes.includes(scope));
  const isScopeMissing = scopesNeeded === 'all' ? missing.length > 0 : scopes.length > 0 && missing.length === scopes.length;
  const scope = isScopeMissing ? { scope: scopesNeeded === 'all' ? scopes.join(' ') : (scopes[0] ?? '') } : undefined;
  const stepUp = neededStepUp(token.claims, requirements, clock);
  if (stepUp !== undefined) return { ...stepUp, ...scope };
  return scope && reject('scope.insufficient', { ...scope, expected: missing.join(' ') });
}

/** In audit mode a token counts as bound to nothing, whatever of it was confirmed. */
function isBoundTo({ confirmations, audited }: ConfirmedToken, members: readonly string[] | 'any'): boolean {
  if (audited !== undefined) return members.length === 0;
  if (members === 'any') return confirmations.length > 0;
  return members.every((member) => confirmations.some((one) => one.member === member));
}

/** RFC 9470 §3. What is missing, of another type, or in the future does not hold. */
function neededStepUp(
  { acr, auth_time: authTime }: AccessTokenClaims,
  { acr: acrValues, maxAge }: PreparedRequirements,
  { now, clockTolerance }: Clock,
): Rejection | undefined {
  const isAcr = acrValues.length === 0 || (acr !== undefined && acrValues.includes(acr));
  const isRecent = maxAge === undefined || (isDate(authTime) && now() - authTime <= maxAge && authTime <= now() + clockTolerance);
  if (isAcr && isRecent) return undefined;
  return reject(isAcr ? 'step_up.max_age' : 'step_up.acr', {
    ...(!isAcr && { acrValues: acrValues.join(' ') }),
    ...(!isRecent && { maxAge }),
  });
}

function isDate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}
