import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type Access,
  type AccessTokenClaims,
  fieldsToCarry,
  prepareRequirements,
  type ProtectedResource,
  type ProtectedResourceOptions,
  type ProtectedResourceRequest,
  type Protection,
  Protections,
  type Refusal,
  type Requirements,
  resourceOf,
} from '@holdfast/core';
import { HoldfastError, nodeRequest, sendRefusal, setFields } from '@holdfast/core/node';

export type {
  Access,
  AccessTokenClaims,
  Fetch,
  ProtectedResource,
  ProtectedResourceOptions,
  Refusal,
  ReplayStore,
  Requirements,
  ResourceEvent,
} from '@holdfast/core';
export {
  apache,
  auth0CustomerEdge,
  awsAlb,
  awsAlbPassthrough,
  azureApplicationGateway,
  azureAppService,
  caddy,
  cloudflare,
  contour,
  dangerouslyTrustEveryPeer,
  envoy,
  EXPOSED_FIELDS,
  f5,
  fastly,
  fromForwardedField,
  fromTls,
  gcpLoadBalancer,
  haproxy,
  ingressNginx,
  istio,
  kong,
  memoryReplayStore,
  nginx,
  protectedResource,
  REDACTED_PATHS,
  rfc9440,
  traefik,
} from '@holdfast/core';
export { HoldfastError, isHoldfastError, upgrade } from '@holdfast/core/node';

/** The request of Express 4 and 5, as far as Holdfast reads it. */
export type ExpressRequest = IncomingMessage & { readonly originalUrl?: string };

/** Hands on to the next middleware, or to the error handler. */
export type Next = (error?: unknown) => void;

/** An Express middleware. */
export type Middleware = (request: ExpressRequest, response: ServerResponse, next: Next) => void;

/** The middleware that protects, with the life of the resource behind it. */
export interface HoldfastMiddleware extends Middleware {
  /** Resolves when tokens can be judged; rejects with what stands in the way. For start-up and health checks. */
  ready(): Promise<void>;
  /** Ends timers, and what goes on for as long as access lasts ({@link Access.signal}). */
  close(): Promise<void>;
  /** From now on nothing that the key with this JWK thumbprint (RFC 7638) signed is accepted. */
  revokeKey(thumbprint: string): void;
  /**
   * Serves only the metadata of the resource (RFC 9728), and lets every other request pass, unjudged. For an application that mounts
   * the protection under a path, or has several: `app.use(protection.metadata)` before them, at the root.
   */
  readonly metadata: Middleware;
}

/** How this application wants to hear of refusals. */
export interface ExpressOptions {
  /** `respond` (default): Holdfast answers. `next`: the fields are set, and a {@link HoldfastError} goes to the error handler. */
  readonly refusals?: 'respond' | 'next';
}

type Answer = (refusal: Refusal, response: ServerResponse, next: Next) => void;

// Kept where nobody else can write: req.auth belongs to too many, and what another has put there must never count.
const protections = new Protections<Protection & { readonly answer: Answer }>(HoldfastError);

/**
 * Protects everything that is mounted after it: a request reaches a route only with an access token that was sent by the client
 * it is bound to. Every other request is answered: 401 with challenges, 400 for ambiguous credentials, 425 for early data, 429 for
 * a client over its share of proofs, 503 where a part of ours failed; never with the route. A CORS preflight passes, without access: what
 * stands under `app.all` or `app.use` runs for it, so let it ask for its access ({@link accessOf}, {@link requires}).
 *
 * Takes the options, or a resource that is made already and shared. Throws one `TypeError` that lists every problem.
 *
 * @example
 * app.use(holdfast({ issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() }));
 */
export function holdfast(options: ProtectedResourceOptions | ProtectedResource, adapterOptions: ExpressOptions = {}): HoldfastMiddleware {
  const resource = resourceFor(options, adapterOptions);
  const answer = adapterOptions.refusals === 'next' ? handOn : respond;

  /** The document of the resource, where the request is for it. */
  const publish = (view: ProtectedResourceRequest, response: ServerResponse, next: Next): boolean => {
    const published = resource.metadata?.answer(view);
    if (published === undefined) return false;
    if (published instanceof Promise) published.then((known) => sendRefusal(response, known)).catch(next);
    else sendRefusal(response, published);
    return true;
  };
  const metadata: Middleware = (request, response, next) => {
    if (!publish(viewOf(request), response, next)) next();
  };
  const carryOut = (result: Access | Refusal, view: ProtectedResourceRequest, response: ServerResponse, next: Next): void => {
    // Somebody has answered in the meantime (a time limit, the client has gone): there is nothing left to protect.
    if (response.headersSent || response.destroyed) return;
    // A refusal as well: what another protection has granted before is no access any more.
    protections.set(view, { resource, result, answer });
    if (!result.granted && result.mayPass === undefined) return answer(result, response, next);
    setFields(response, fieldsToCarry(result));
    next();
  };
  const protect: Middleware = (request, response, next) => {
    const view = viewOf(request);
    if (publish(view, response, next)) return;
    const result = resource.verify(view);
    if (result instanceof Promise) result.then((known) => carryOut(known, view, response, next)).catch(next);
    else carryOut(result, view, response, next);
  };
  return Object.assign(protect, {
    ready: () => resource.ready(),
    close: () => resource.close(),
    revokeKey: (thumbprint: string) => resource.revokeKey(thumbprint),
    metadata,
  });
}

const SECOND_ARGUMENT = "The second argument of holdfast: Give { refusals: 'respond' } or { refusals: 'next' }, and nothing else.";

/** The resource, or one `TypeError` with all that is wrong with both arguments of {@link holdfast}. */
function resourceFor(options: ProtectedResourceOptions | ProtectedResource, adapterOptions: unknown): ProtectedResource {
  const isGood = areAdapterOptions(adapterOptions);
  let resource: ProtectedResource;
  try {
    resource = resourceOf(options);
  } catch (error) {
    throw isGood || !(error instanceof TypeError) ? error : new TypeError(`${error.message}\n${SECOND_ARGUMENT}`);
  }
  if (!isGood) throw new TypeError(SECOND_ARGUMENT);
  return resource;
}

function areAdapterOptions(value: unknown): value is ExpressOptions {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const { refusals, ...others }: { readonly refusals?: unknown } = value;
  return (refusals === undefined || refusals === 'respond' || refusals === 'next') && Object.keys(others).length === 0;
}

function viewOf(request: ExpressRequest): ProtectedResourceRequest {
  return nodeRequest(request, request.originalUrl);
}

/**
 * Authorizes one route: 403 `insufficient_scope` where the token lacks a scope, 401 where no `holdfast(…)` ran before it.
 * Without an argument any access is enough, and there has to be one: for routes that a CORS preflight could reach. Throws a
 * `TypeError` when the requirements make no sense, `undefined` included.
 *
 * @example
 * app.get('/accounts', requires({ scope: 'accounts:read' }), listAccounts);
 * app.use('/legacy', requires(), proxy);
 */
export function requires(...requirements: readonly [] | readonly [Requirements]): Middleware {
  const prepared = requirements.length === 0 ? undefined : prepareRequirements(requirements[0]);
  return (request, response, next) => {
    const view = viewOf(request);
    const result = protections.authorize(view, prepared);
    if (result.granted) return next();
    const answer = protections.get(view)?.answer ?? handOn;
    answer(result, response, next);
  };
}

/**
 * What was granted to this request. `C` types the claims beyond the standard ones; it is your word, not a check.
 * Throws a {@link HoldfastError}, which Express answers with 401, where no `holdfast(…)` ran before, and where the request passed
 * without access ({@link maybeAccessOf}).
 */
export function accessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: ExpressRequest): Access<C> {
  return protections.access(viewOf(request));
}

/**
 * What was granted to this request, or `undefined` where it passed without access (`credentials: 'optional'`, a CORS preflight).
 * Throws a {@link HoldfastError}, which Express answers with 401, where no `holdfast(…)` ran before, and where the request was refused.
 */
export function maybeAccessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: ExpressRequest): Access<C> | undefined {
  return protections.maybeAccess(viewOf(request));
}

function respond(refusal: Refusal, response: ServerResponse): void {
  sendRefusal(response, refusal);
}

function handOn(refusal: Refusal, response: ServerResponse, next: Next): void {
  setFields(response, refusal.fields);
  next(new HoldfastError(refusal));
}
