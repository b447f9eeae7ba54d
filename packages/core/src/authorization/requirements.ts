import type { AccessTokenClaims } from '../access-token/authenticated-token.ts';
import type { ConfirmedToken } from '../confirmation/confirm-token.ts';
import { reject, type Rejection } from '../rejection.ts';

/** What a route asks of an access token that is already confirmed. */
export interface Requirements {
  /** Scopes, all of which the token must have: a space-separated string or a list; case-sensitive (RFC 6750 §3.3). Else 403 `insufficient_scope`. */
  readonly scope: string | readonly string[];
}

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

declare const prepared: unique symbol;

/** Requirements, checked and ready to be compared: made by {@link prepareRequirements} alone. */
export interface PreparedRequirements {
  readonly [prepared]: true;
  readonly scopes: readonly string[];
}

/** Checks requirements when a route is made. Throws one `TypeError` that names what is wrong and how to write it. */
export function prepareRequirements(requirements: Requirements): PreparedRequirements {
  const { scope } = requirements;
  const scopes: readonly unknown[] = typeof scope === 'string' ? scope.split(' ') : Array.isArray(scope) ? [...scope] : [];
  const wrong = scopes.filter((token) => typeof token !== 'string' || !SCOPE_TOKEN.test(token));
  const unknown = Object.keys(requirements).filter((name) => name !== 'scope');
  const problems = [
    ...unknown.map((name) => `${name}: is not a requirement. Known: scope`),
    ...(scopes.length === 0 || wrong.length > 0
      ? [`scope: is ${JSON.stringify(scope)}. Give the scope tokens of RFC 6750 §3.3, as 'read write' or ['read', 'write']`]
      : []),
  ];
  if (problems.length > 0) throw new TypeError(`requires: ${problems.join('; ')}.`);
  return { scopes } as PreparedRequirements;
}

/** Authorizes a confirmed token for one route: takes nothing less than a {@link ConfirmedToken}. */
export function authorizeToken<C extends AccessTokenClaims>(
  token: ConfirmedToken<C>,
  { scopes }: PreparedRequirements,
): Rejection | undefined {
  const missing = scopes.filter((scope) => !token.scopes.includes(scope));
  return missing.length === 0 ? undefined : reject('scope.insufficient', { scope: scopes.join(' '), expected: missing.join(' ') });
}
