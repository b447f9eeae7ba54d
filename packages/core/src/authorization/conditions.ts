import type { AccessTokenClaims, AuthorizationDetail } from '../access-token/authenticated-token.ts';
import type { Reason } from '../rejection.ts';

/** A value of a claim that can be compared. */
type Scalar = string | number | boolean;

/** What a claim must be. A function must return exactly `true`; a promise is not that. */
export type ClaimRequirement =
  | { readonly equals: Scalar }
  /** A list that has this element. */
  | { readonly includes: Scalar }
  | { readonly oneOf: readonly Scalar[] }
  | ((value: unknown, claims: AccessTokenClaims) => boolean);

/** Strings in a list, found by its path in the claims. */
export type ValuesAt = { readonly at: readonly string[] } & (
  | { readonly all: readonly string[]; readonly any?: never }
  | { readonly any: readonly string[]; readonly all?: never }
);

/** What one element of `authorization_details` must grant: its type, and of the common members (RFC 9396 §2.2) all that are listed. */
export interface DetailRequirement {
  readonly type: string;
  readonly actions?: readonly string[];
  readonly locations?: readonly string[];
  readonly datatypes?: readonly string[];
  readonly privileges?: readonly string[];
  readonly identifier?: string;
  /** What else must hold of it. Must return exactly `true`. */
  readonly where?: (detail: AuthorizationDetail) => boolean;
}

/** One thing that must hold of the claims. */
export interface Condition {
  readonly reason: Reason;
  /** What is required, for events. */
  readonly expected: string;
  holds(claims: AccessTokenClaims): boolean;
}

type Wrong = (name: string, value: unknown, fix: string) => void;
type Given = Readonly<Record<string, unknown>>;

/** The conditions that claims, roles, permissions and authorizationDetails ask for. */
export function conditionsOf({ claims, roles, permissions, authorizationDetails }: Given, wrong: Wrong): readonly Condition[] {
  return [
    ...(claims === undefined ? [] : conditionsOfClaims(claims, wrong)),
    ...(roles === undefined ? [] : conditionOfValues('roles', roles, 'roles.insufficient', wrong)),
    ...(permissions === undefined ? [] : conditionOfValues('permissions', permissions, 'permissions.insufficient', wrong)),
    ...(authorizationDetails === undefined ? [] : conditionsOfDetails(authorizationDetails, wrong)),
  ];
}

function conditionsOfClaims(claims: unknown, wrong: Wrong): readonly Condition[] {
  const entries = isObject(claims) ? Object.entries(claims) : [];
  if (entries.length === 0) wrong('claims', claims, 'Give claims by name, as { tenant: { equals: 7 } }');
  return entries.flatMap(([name, requirement]) => {
    const holds = conditionOfClaim(requirement);
    if (holds === undefined) {
      wrong(`claims.${name}`, requirement, 'Give { equals }, { includes } or { oneOf } with strings, numbers or booleans, or a function');
      return [];
    }
    return [{ reason: 'claims.insufficient', expected: name, holds: (all) => Object.hasOwn(all, name) && holds(all[name], all) }];
  });
}

function conditionOfClaim(requirement: unknown): ((value: unknown, claims: AccessTokenClaims) => boolean) | undefined {
  if (typeof requirement === 'function') return (value, claims) => returnsTrue(requirement, value, claims);
  if (!isObject(requirement)) return undefined;
  const [[kind, wanted] = [], ...others] = Object.entries(requirement);
  if (others.length > 0) return undefined;
  if (kind === 'equals' && isScalar(wanted)) return (value) => value === wanted;
  if (kind === 'includes' && isScalar(wanted)) return (value) => Array.isArray(value) && value.includes(wanted);
  if (kind === 'oneOf' && Array.isArray(wanted) && wanted.length > 0 && wanted.every(isScalar)) {
    const values = new Set<unknown>(wanted);
    return (value) => values.has(value);
  }
  return undefined;
}

function conditionOfValues(name: string, given: unknown, reason: Reason, wrong: Wrong): readonly Condition[] {
  const { at, all, any, ...others } = isObject(given) ? given : {};
  const path = strings(at);
  const values = strings(all ?? any);
  const one = (all === undefined) !== (any === undefined);
  if (path === undefined || values === undefined || !one || Object.keys(others).length > 0) {
    wrong(name, given, "Give where they stand and which, as { at: ['realm_access', 'roles'], all: ['teller'] }, or any in place of all");
    return [];
  }
  const enough = (held: readonly unknown[]): boolean =>
    any === undefined ? values.every((value) => held.includes(value)) : values.some((value) => held.includes(value));
  return [{ reason, expected: values.join(' '), holds: (claims) => enough([valueAt(claims, path)].flat()) }];
}

/** By own members alone: no path leads to what every object has. */
function valueAt(claims: unknown, path: readonly string[]): unknown {
  let value = claims;
  for (const name of path) value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
  return value;
}

const COMMON = ['actions', 'locations', 'datatypes', 'privileges'] as const;

function conditionsOfDetails(given: unknown, wrong: Wrong): readonly Condition[] {
  const list: readonly unknown[] = Array.isArray(given) ? given : [given];
  const conditions = list.map(conditionOfDetail);
  if (conditions.length > 0 && conditions.every((condition) => condition !== undefined)) return conditions;
  wrong('authorizationDetails', given, "Give a type and what must be granted, as { type: 'payment_initiation', actions: ['initiate'] }");
  return [];
}

function conditionOfDetail(given: unknown): Condition | undefined {
  if (!isObject(given)) return undefined;
  const { type, identifier, where, actions, locations, datatypes, privileges, ...others } = given;
  const lists = { actions, locations, datatypes, privileges };
  const wanted = COMMON.map((name) => ({ name, values: lists[name] === undefined ? [] : strings(lists[name]) }));
  if (typeof type !== 'string' || type === '' || Object.keys(others).length > 0) return undefined;
  if (wanted.some(({ values }) => values === undefined)) return undefined;
  if (identifier !== undefined && typeof identifier !== 'string') return undefined;
  if (where !== undefined && typeof where !== 'function') return undefined;
  const grants = (detail: AuthorizationDetail): boolean =>
    detail.type === type &&
    wanted.every(({ name, values = [] }) => values.every((value) => listOf(detail[name]).includes(value))) &&
    (identifier === undefined || detail['identifier'] === identifier) &&
    (where === undefined || returnsTrue(where, detail));
  return {
    reason: 'authorization_details.insufficient',
    expected: type,
    holds: ({ authorization_details: details = [] }) => details.some(grants),
  };
}

/** What a function of the application says: `true`, and nothing that is only like it, such as the promise of an async one. */
function returnsTrue(predicate: Function, ...given: readonly unknown[]): boolean {
  const answer: unknown = Reflect.apply(predicate, undefined, given);
  return answer === true;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A copy of a list of strings with one at least. */
function strings(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string' && item !== '')
    ? [...value]
    : undefined;
}

function isScalar(value: unknown): value is Scalar {
  return typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
