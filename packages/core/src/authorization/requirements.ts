import { type ClaimRequirement, type DetailRequirement, type Condition, type ValuesAt, conditionsOf } from './conditions.ts';

/** Every requirement that a route can have. All that are given must hold. Refused with 403 `insufficient_scope`, unless said otherwise. */
export interface EveryRequirement {
  /**
   * Scopes, case-sensitive (RFC 6750 §3.3): a space-separated string or a list, all of which the token must have; or `{ any }`, of which
   * one is enough. The challenge names all of them; of `{ any }` the first, so the one that clients should ask for comes first.
   */
  readonly scope: string | readonly string[] | { readonly any: readonly string[] };
  /** Claims by name: what they must be equal to, include, or be one of; or a function that returns true. One that is missing does not hold. */
  readonly claims: Readonly<Record<string, ClaimRequirement>>;
  /** Roles, by the path of the list in the claims: `{ at: ['realm_access', 'roles'], all: ['teller'] }`. */
  readonly roles: ValuesAt;
  /** Permissions, in the same way: `{ at: ['permissions'], any: ['read:accounts', 'admin'] }`. */
  readonly permissions: ValuesAt;
  /** One element of `authorization_details` (RFC 9396) that grants all this; for each, where it is a list. Strings are compared exactly. */
  readonly authorizationDetails: DetailRequirement | readonly DetailRequirement[];
  /** Step-up (RFC 9470): one of these must be `acr`, in order of preference. Else 401 `insufficient_user_authentication` with `acr_values`. */
  readonly acr: string | readonly string[];
  /** Step-up: seconds since `auth_time` at most. Else 401 `insufficient_user_authentication` with `max_age`. */
  readonly maxAge: number;
  /** What the token must be bound to: to a certificate, to a DPoP key, to both, or to any of them. Else 401 `invalid_token`. */
  readonly confirmation: 'x5t#S256' | 'jkt' | 'any' | readonly ('x5t#S256' | 'jkt')[];
}

/** What a route asks of an access token that is already confirmed: one requirement at least. A value, so that routes can share it. */
export type Requirements = {
  [Name in keyof EveryRequirement]: Pick<EveryRequirement, Name> & Partial<Omit<EveryRequirement, Name>>;
}[keyof EveryRequirement];

const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]+$/;

declare const prepared: unique symbol;

/** Requirements, checked, copied and ready to be compared: made by {@link prepareRequirements} alone. */
export interface PreparedRequirements {
  readonly [prepared]: true;
  readonly scopes: readonly string[];
  readonly scopesNeeded: 'all' | 'any';
  readonly conditions: readonly Condition[];
  readonly acr: readonly string[];
  readonly maxAge: number | undefined;
  readonly confirmation: readonly string[] | 'any';
}

const NAMES: Record<keyof EveryRequirement, true> = {
  scope: true,
  claims: true,
  roles: true,
  permissions: true,
  authorizationDetails: true,
  acr: true,
  maxAge: true,
  confirmation: true,
};

/** Checks requirements when a route is made. Throws one `TypeError` that names what is wrong and how to write it. */
export function prepareRequirements(requirements: Requirements): PreparedRequirements {
  const problems: string[] = [];
  const wrong = (name: string, value: unknown, fix: string): void => void problems.push(`${name}: is ${shown(value)}. ${fix}`);
  const isObject = typeof requirements === 'object' && requirements !== null;
  const o: Readonly<Record<string, unknown>> = isObject ? requirements : {};
  const names = Object.keys(o);
  for (const name of names)
    if (!Object.hasOwn(NAMES, name)) problems.push(`${name}: is not a requirement. Known: ${Object.keys(NAMES).join(', ')}`);
  if (names.length === 0) problems.push(`nothing is required. Known: ${Object.keys(NAMES).join(', ')}`);

  const { scope, acr, maxAge, confirmation } = o;
  const any = anyOf(scope);
  const scopes = scope === undefined ? [] : tokens(any ?? scope);
  if (scopes === undefined || (scope !== undefined && scopes.length === 0) || scopes.some((token) => !SCOPE_TOKEN.test(token))) {
    wrong('scope', scope, "Give the scope tokens of RFC 6750 §3.3, as 'read write', ['read', 'write'] or { any: ['read', 'write'] }");
  }
  const acrValues = acr === undefined ? [] : tokens(acr);
  if (acrValues === undefined || (acr !== undefined && acrValues.length === 0) || acrValues.some((token) => !SCOPE_TOKEN.test(token))) {
    wrong('acr', acr, "Give values of acr, as 'urn:mfa' or ['urn:mfa', 'urn:pwd']");
  }
  if (maxAge !== undefined && !(typeof maxAge === 'number' && Number.isSafeInteger(maxAge) && maxAge >= 0)) {
    wrong('maxAge', maxAge, 'Give a whole number of seconds, 0 or more (RFC 9470 §3)');
  }
  const members = confirmation === undefined ? [] : confirmation === 'any' ? 'any' : [confirmation].flat();
  if (
    members !== 'any' &&
    (members.some((one) => one !== 'x5t#S256' && one !== 'jkt') || (confirmation !== undefined && members.length === 0))
  ) {
    wrong('confirmation', confirmation, "Give 'x5t#S256', 'jkt', a list of both, or 'any'");
  }
  const conditions = conditionsOf(o, wrong);
  if (problems.length > 0) throw new TypeError(`requires: ${problems.join('; ')}.`);
  const ready: Omit<PreparedRequirements, typeof prepared> = {
    scopes: scopes ?? [],
    scopesNeeded: any === undefined ? 'all' : 'any',
    conditions,
    acr: acrValues ?? [],
    maxAge: typeof maxAge === 'number' ? maxAge : undefined,
    confirmation: members === 'any' ? 'any' : members.filter((one) => typeof one === 'string'),
  };
  return Object.freeze(ready) as PreparedRequirements;
}

function anyOf(scope: unknown): unknown {
  if (typeof scope !== 'object' || scope === null || Array.isArray(scope)) return undefined;
  return Object.keys(scope).join() === 'any' && 'any' in scope && Array.isArray(scope.any) ? scope.any : scope;
}

/** A copy of a list of strings, or the words of one. */
function tokens(value: unknown): string[] | undefined {
  if (typeof value === 'string') return value.split(' ');
  return Array.isArray(value) && value.every((token) => typeof token === 'string') ? [...value] : undefined;
}

function shown(value: unknown): string {
  return typeof value === 'function' ? 'a function' : (JSON.stringify(value) ?? String(value));
}
