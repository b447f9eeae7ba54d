import {
  type Access,
  type AccessTokenClaims,
  fieldsToCarry,
  type PreparedRequirements,
  prepareRequirements,
  type ProtectedResource,
  type ProtectedResourceOptions,
  type ProtectedResourceRequest,
  type Protection,
  Protections,
  protectedResource,
  type Refusal,
  type Requirements,
  UNAVAILABLE,
} from '@holdfast/core';
import { captureUpgrades, endWithAccess, HoldfastError, isHoldfastError, isOver, nodeRequest, setFields, slot } from '@holdfast/core/node';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import fp from 'fastify-plugin';
import { atRoot, publishes } from './metadata.ts';
import { type Done, fieldsOf, type HoldfastReply, type HoldfastRequest, respond, type RouteHook } from './reply.ts';
import { isChild, isForOptions, policyOf, problemOf, routesBefore, warn } from './route-policy.ts';

/** How this application uses the protection. */
export interface FastifyOptions {
  /** `respond` (default): Holdfast answers. `throw`: a {@link HoldfastError} goes to the error handler, with status and fields set. */
  readonly refusals?: 'respond' | 'throw';
  /** The application does not start where a route declares no policy: neither in its config nor by {@link requires}. */
  readonly strictRoutes?: boolean;
  /** The application is not ready before tokens can be judged. */
  readonly awaitKeys?: boolean;
}

/** The options of a resource, or one that is made already and shared; it is then yours to close. */
export type HoldfastOptions = FastifyOptions & (ProtectedResourceOptions | { readonly resource: ProtectedResource });

type Answer = (refusal: Refusal, reply: HoldfastReply, done: Done) => void;

// Kept where nobody else can write: what is decorated onto requests belongs to everybody, and must never count.
const protections = new Protections<Protection & { readonly answer: Answer }>(HoldfastError);
const authorizing = slot<true>();

/**
 * Protects the context it is registered in, and those within it: a request reaches a route only with an access token that was sent
 * by the client it is bound to. Every other request is refused in `onRequest`, before its body is read. At the root that is the whole
 * application, answers to unknown routes included; inside of a plugin it is that plugin, and what stands beside it stays as it is.
 * At the root it also serves the metadata of the resource (RFC 9728), to anybody; inside of a plugin {@link holdfastMetadata} does. A CORS
 * preflight passes, without access, to a route for OPTIONS alone, as `@fastify/cors` makes it: `app.all` does not run for it.
 *
 * Takes the options of the resource, or `{ resource }`. Options, policies and `strictRoutes` are checked when the application
 * starts: it rejects with one `TypeError` that lists every problem. Await the registration, for a route that is declared before it
 * took place is protected, and its policy holds, but both checks come too late for it: where its policy makes no sense it is
 * answered with 503, and with `strictRoutes` it needs access where it says nothing.
 *
 * @example
 * await app.register(holdfast, { issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() });
 * app.get('/accounts', { config: { holdfast: { scope: 'accounts' } } }, (request) => accountsOf(accessOf(request).claims.sub));
 */
export const holdfast: FastifyPluginAsync<HoldfastOptions> = fp(protect, { fastify: '5.x', name: '@holdfast/fastify' });

async function protect(app: FastifyInstance, options: HoldfastOptions): Promise<void> {
  const { refusals = 'respond', strictRoutes = false, awaitKeys = false, ...others } = options;
  const shared = 'resource' in others;
  const wrong = [
    refusals !== 'respond' && refusals !== 'throw' && "refusals: Give 'respond' or 'throw'",
    typeof strictRoutes !== 'boolean' && 'strictRoutes: Give true or false',
    typeof awaitKeys !== 'boolean' && 'awaitKeys: Give true or false',
    shared &&
      (Object.keys(others).length > 1 || typeof others.resource?.verify !== 'function') &&
      'resource: Give a resource or its options',
  ].filter((problem) => problem !== false);
  if (wrong.length > 0) throw new TypeError(`holdfast: ${wrong.join('; ')}.`);
  const resource = shared ? others.resource : protectedResource(others);
  const answer = refusals === 'throw' ? handOn : respond;
  const problems = strictRoutes ? routesBefore(app) : [];

  app.addHook('onRoute', ({ method, url, config = {}, onRequest, preHandler }) => {
    const problem = problemOf(config, !strictRoutes || isForOptions(method) || [onRequest, preHandler].flat().some(authorizes));
    if (problem !== undefined) problems.push(`${String(method)} ${url}: ${problem}`);
  });
  if (!isChild(app)) atRoot.add(resource);
  app.addHook('onReady', async () => {
    if (problems.length > 0) throw new TypeError(`holdfast: ${problems.join('; ')}.`);
    if (resource.metadata !== undefined && !atRoot.has(resource)) {
      warn(`metadata: nobody is served ${resource.metadata.url}. At the root: app.register(holdfastMetadata, { resource }).`);
    }
    captureUpgrades(app.server);
    if (awaitKeys) await resource.ready();
  });
  // Before connections are waited for: what goes on for as long as access lasts ends with it.
  if (!shared) app.addHook('preClose', () => resource.close());

  app.addHook('onRequest', (request, reply, done) => {
    const view = viewOf(request);
    if (publishes(resource, view, reply, done)) return;
    const { config, method, url } = request.routeOptions;
    const policy = policyOf(config, url);
    if (policy === 'public') return done();
    if (policy === 'unreadable') return answer(UNAVAILABLE, reply, done);
    const forOptions = isForOptions(method);
    // What strictRoutes would have refused, had it seen the route. Unknown routes can declare nothing.
    const forgotten = strictRoutes && policy === 'undeclared' && url !== undefined && !forOptions;
    const carryOut = (result: Access | Refusal): void => {
      // Somebody has answered in the meantime (a time limit), or the client has gone: there is nothing left to protect.
      if (reply.sent || isOver(reply.raw)) return;
      // A refusal as well: what another protection has granted before is no access any more.
      protections.set(view, { resource, result, answer });
      if (!result.granted) {
        const { mayPass } = result;
        const passes = mayPass !== undefined && policy !== 'access' && !forgotten && (mayPass.preflight !== true || forOptions);
        if (!passes) return authorize(view, undefined, reply, done);
      } else if ('upgrade' in request.raw && request.raw.upgrade === true) endWithAccess(result, request.raw.socket);
      const fields = fieldsToCarry(result);
      if (fields.length > 0) setFields(fieldsOf(reply), fields);
      if (typeof policy === 'object') authorize(view, policy, reply, done);
      else done();
    };
    const result = resource.verify(view);
    if (result instanceof Promise) result.then(carryOut).catch(done);
    else carryOut(result);
  });
  // So that an error handler that knows nothing of Holdfast answers with its status and fields all the same.
  app.addHook('onError', (_request, reply, error, done) => {
    if (isHoldfastError(error)) setFields(fieldsOf(reply.code(error.status)), error.refusal.fields);
    done();
  });
}

/** Whether a hook was made by {@link requires}. */
function authorizes(hook: unknown): boolean {
  return typeof hook === 'function' && authorizing.get(hook) === true;
}

/**
 * Authorizes one route, as a `preHandler` or `onRequest` hook: 403 `insufficient_scope` where the token lacks a scope, 401 where no
 * `holdfast` is registered for it. Without an argument any access is enough, and there has to be one. Throws a `TypeError` when
 * the requirements make no sense, `undefined` included. Within `app.auth([…])` of `@fastify/auth`
 * it needs `refusals: 'throw'`, since an answer that is sent ends the search for an alternative.
 *
 * @example
 * app.get('/accounts', { preHandler: requires({ scope: 'accounts:read' }) }, listAccounts);
 */
export function requires(...requirements: readonly [] | readonly [Requirements]): RouteHook {
  const prepared = requirements.length === 0 ? undefined : prepareRequirements(requirements[0]);
  const hook: RouteHook = (request, reply, done) => authorize(viewOf(request), prepared, reply, done);
  authorizing.set(hook, true);
  return hook;
}

function authorize(view: ProtectedResourceRequest, requirements: PreparedRequirements | undefined, reply: HoldfastReply, done: Done): void {
  const authorized = protections.authorize(view, requirements);
  if (authorized.granted) return done();
  const answer = protections.get(view)?.answer ?? handOn;
  answer(authorized, reply, done);
}

function viewOf({ raw, originalUrl }: HoldfastRequest): ProtectedResourceRequest {
  return nodeRequest(raw, originalUrl);
}

/**
 * What was granted to this request. `C` types the claims beyond the standard ones; it is your word, not a check.
 * Throws a {@link HoldfastError}, which Fastify answers with 401, where nothing protects the route, where it is `'public'`, and where
 * the request passed without access ({@link maybeAccessOf}).
 */
export function accessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: HoldfastRequest): Access<C> {
  return protections.access(viewOf(request));
}

/**
 * What was granted to this request, or `undefined` where it passed without access (`credentials: 'optional'`, a CORS preflight).
 * Throws a {@link HoldfastError}, which Fastify answers with 401, where nothing protects the route, where it is `'public'`, and where
 * the request was refused.
 */
export function maybeAccessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: HoldfastRequest): Access<C> | undefined {
  return protections.maybeAccess(viewOf(request));
}

function handOn(refusal: Refusal, _reply: HoldfastReply, done: Done): void {
  done(new HoldfastError(refusal));
}
