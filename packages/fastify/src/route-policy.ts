import { type PreparedRequirements, prepareRequirements, type Requirements } from '@holdfast/core';
import { slot } from '@holdfast/core/node';
import type { FastifyInstance } from 'fastify';

/**
 * What a route asks of its requests, in `config: { holdfast: … }`: `'public'`, nothing at all; `'access'`, any access; or
 * requirements, as {@link requires} takes them. A route that says nothing is protected, and may be reached without access only as
 * `credentials: 'optional'` allows, and by a CORS preflight where it is for OPTIONS too (`app.all`): give it `'access'`.
 */
export type RoutePolicy = 'public' | 'access' | Requirements;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What Holdfast asks of requests to this route. */
    holdfast?: RoutePolicy;
  }
}

type Policy = 'public' | 'access' | 'undeclared' | PreparedRequirements;

const policies = slot<Policy>();

/** Routes of the root that came too early to be seen. Of a child context, what stands beside it is not its business. */
export function routesBefore(app: FastifyInstance): string[] {
  if ('register' in Object.getPrototypeOf(app)) return [];
  // A route that is for preflights alone, as @fastify/cors makes it, declares no policy.
  const methods = app.supportedMethods.filter((method) => method !== 'OPTIONS');
  if (!methods.some((method) => /[/*]/.test(app.printRoutes({ method })))) return [];
  return [`await the registration before routes are declared; these came first:\n${app.printRoutes({ commonPrefix: false })}`];
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
export function policyOf(config: object): Policy {
  let policy = policies.get(config);
  if (policy === undefined) {
    policy = readPolicy(config);
    policies.set(config, policy);
  }
  return policy;
}

function readPolicy(config: { readonly holdfast?: RoutePolicy }): Policy {
  // Its own member, and not one that somebody gave to every object.
  const policy = Object.hasOwn(config, 'holdfast') ? config.holdfast : undefined;
  if (policy === undefined) return 'undeclared';
  if (policy === 'public' || policy === 'access') return policy;
  if (typeof policy === 'object' && policy !== null) return prepareRequirements(policy);
  throw new TypeError(`config.holdfast is ${String(policy)}. Give 'access', 'public' or requirements`);
}
