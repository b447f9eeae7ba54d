import { type PreparedRequirements, prepareRequirements, type Requirements } from '@holdfast/core';
import type { FastifyInstance } from 'fastify';

/**
 * What a route asks of its requests, in `config: { holdfast: … }`: `'public'`, nothing at all; `'access'`, any access; or
 * requirements, as {@link requires} takes them. A route that says nothing is protected, and may be reached without access only as
 * `credentials: 'optional'` allows, or where it is for OPTIONS alone by a CORS preflight.
 */
export type RoutePolicy = 'public' | 'access' | Requirements;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What Holdfast asks of requests to this route. */
    holdfast?: RoutePolicy;
  }
}

/** `unreadable` is what nobody checked when the application started, since the route came before the protection. */
export type Policy = 'public' | 'access' | 'undeclared' | 'unreadable' | PreparedRequirements;

const policies = new WeakMap<object, Policy>();

/** Routes of the root that came too early to be seen. Those of a child context cannot be told from what stands beside it. */
export function routesBefore(app: FastifyInstance): string[] {
  if (isChild(app)) return [];
  // A route that is for preflights alone, as @fastify/cors makes it, declares no policy.
  const methods = app.supportedMethods.filter((method) => method !== 'OPTIONS');
  if (!methods.some((method) => /[/*]/.test(app.printRoutes({ method })))) return [];
  return [`await the registration before routes are declared; these came first:\n${app.printRoutes({ commonPrefix: false })}`];
}

/** Whether a context is one of its own, within the root. */
export function isChild(app: FastifyInstance): boolean {
  return 'register' in Object.getPrototypeOf(app);
}

/** Whether a route is for OPTIONS and no other method; an unknown route is for none. */
export function isForOptions(method: string | readonly string[] | undefined): boolean {
  return String(method) === 'OPTIONS';
}

/** What is wrong with the policy of a route. */
export function problemOf(config: object, mayBeUndeclared: boolean): string | undefined {
  try {
    if (readPolicy(config) !== 'undeclared' || mayBeUndeclared) return undefined;
    return "declares no policy. Give config: { holdfast: 'access' }, { holdfast: { scope: '…' } } or { holdfast: 'public' }, or preHandler: requires({ … })";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The policy of a route, read once. */
export function policyOf(config: object, url: string | undefined): Policy {
  let policy = policies.get(config);
  if (policy === undefined) {
    const problem = problemOf(config, true);
    policy = problem === undefined ? readPolicy(config) : 'unreadable';
    if (problem !== undefined) warn(`${url}: ${problem}. Requests for it are answered as unavailable.`);
    policies.set(config, policy);
  }
  return policy;
}

/** Tells the people who run the process: the log of Fastify is off where nobody turned it on. */
export function warn(message: string): void {
  process.emitWarning(`holdfast: ${message}`, 'HoldfastWarning');
}

function readPolicy(config: { readonly holdfast?: RoutePolicy }): Policy {
  // Its own member, and not one that somebody gave to every object.
  const policy = Object.hasOwn(config, 'holdfast') ? config.holdfast : undefined;
  if (policy === undefined) return 'undeclared';
  if (policy === 'public' || policy === 'access') return policy;
  if (typeof policy === 'object' && policy !== null) return prepareRequirements(policy);
  throw new TypeError(`config.holdfast is ${String(policy)}. Give 'access', 'public' or requirements`);
}
