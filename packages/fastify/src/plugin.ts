import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import {
  type Access,
  type AccessTokenClaims,
  type Answer as MetadataAnswer,
  type PreparedRequirements,
  prepareRequirements,
  type ProtectedResource,
  type ProtectedResourceOptions,
  protectedResource,
  type Refusal,
  type Requirements,
  UNPROTECTED,
} from '@holdfast/core';
import { HoldfastError, isHoldfastError, isOver, nodeRequest, setFields, slot } from '@holdfast/core/node';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import fp from 'fastify-plugin';
import { policyOf, problemOf, routesBefore } from './route-policy.ts';

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

/** A request of Fastify 5, over HTTP/1.1 or HTTP/2, as far as Holdfast reads it. */
export interface HoldfastRequest {
  readonly raw: IncomingMessage | Http2ServerRequest;
  readonly originalUrl: string;
}

/** A reply of Fastify 5, as far as Holdfast writes it. */
export interface HoldfastReply {
  readonly raw: ServerResponse | Http2ServerResponse;
  readonly sent: boolean;
  code(status: number): HoldfastReply;
  getHeader(name: string): number | string | string[] | undefined;
  header(name: string, value: unknown): unknown;
  type(contentType: string): unknown;
  send(payload?: string): unknown;
}

/** Goes on with the next hook, or to the error handler. */
export type Done = (error?: Error) => void;

/** A hook of Fastify 5. */
export type RouteHook = (request: HoldfastRequest, reply: HoldfastReply, done: Done) => void;

/** What was decided about a request that was let through: it has access, or this is the refusal for routes that need it. */
interface Protection {
  readonly resource: ProtectedResource;
  readonly result: Access | Refusal;
  readonly answer: Answer;
}

type Answer = (refusal: Refusal, reply: HoldfastReply, done: Done) => void;

// Kept where nobody else can write: what is decorated onto requests belongs to everybody, and must never count.
const protections = slot<Protection>();
const authorizing = slot<true>();

/**
 * Protects the context it is registered in, and those within it: a request reaches a route only with an access token that was sent
 * by the client it is bound to. Every other request is refused in `onRequest`, before its body is read. At the root that is the whole
 * application, answers to unknown routes included; inside of a plugin it is that plugin, and what stands beside it stays as it is.
 * At the root it also serves the metadata of the resource (RFC 9728), to anybody.
 *
 * Takes the options of the resource, or `{ resource }`. Options, policies and `strictRoutes` are checked when the application
 * starts: it rejects with one `TypeError` that lists every problem. Await the registration, for a route that is declared before it
 * took place is protected, and its policy holds, but both checks come too late for it.
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
    const problem = problemOf(config, !strictRoutes || String(method) === 'OPTIONS' || [onRequest, preHandler].flat().some(authorizes));
    if (problem !== undefined) problems.push(`${String(method)} ${url}: ${problem}`);
  });
  app.addHook('onReady', async () => {
    if (problems.length > 0) throw new TypeError(`holdfast: ${problems.join('; ')}.`);
    if (awaitKeys) await resource.ready();
  });
  // Before connections are waited for: what goes on for as long as access lasts ends with it.
  if (!shared) app.addHook('preClose', () => resource.close());

  app.addHook('onRequest', (request, reply, done) => {
    const view = nodeRequest(request.raw, request.originalUrl);
    const published = resource.metadata?.answer(view);
    if (published !== undefined) return publish(published, reply, done);
    const policy = policyOf(request.routeOptions.config);
    if (policy === 'public') return done();
    const carryOut = (result: Access | Refusal): void => {
      // Somebody has answered in the meantime (a time limit), or the client has gone: there is nothing left to protect.
      if (reply.sent || isOver(reply.raw)) return;
      const protection = { resource, result, answer };
      // A refusal as well: what another protection has granted before is no access any more.
      protections.set(view, protection);
      if (!result.granted && result.mayPass === undefined) return answer(result, reply, done);
      const fields = result.granted ? result.fields : (result.mayPass?.fields ?? []);
      if (fields.length > 0) setFields(fieldsOf(reply), fields);
      if (policy === 'undeclared') done();
      else authorize(protection, policy === 'access' ? undefined : policy, reply, done);
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
 * `holdfast` is registered for it. Throws a `TypeError` when the requirements make no sense. Within `app.auth([…])` of `@fastify/auth`
 * it needs `refusals: 'throw'`, since an answer that is sent ends the search for an alternative.
 *
 * @example
 * app.get('/accounts', { preHandler: requires({ scope: 'accounts:read' }) }, listAccounts);
 */
export function requires(requirements: Requirements): RouteHook {
  const prepared = prepareRequirements(requirements);
  const hook: RouteHook = (request, reply, done) => {
    const protection = protectionOf(request);
    if (protection === undefined) return done(new HoldfastError(UNPROTECTED));
    authorize(protection, prepared, reply, done);
  };
  authorizing.set(hook, true);
  return hook;
}

function authorize(
  { resource, result, answer }: Protection,
  requirements: PreparedRequirements | undefined,
  reply: HoldfastReply,
  done: Done,
): void {
  const authorized = resource.authorize(result, requirements);
  if (authorized.granted) done();
  else answer(authorized, reply, done);
}

/**
 * What was granted to this request. `C` types the claims beyond the standard ones; it is your word, not a check.
 * Throws a {@link HoldfastError}, which Fastify answers with 401, where nothing protects the route, where it is `'public'`, and where
 * the request passed without access ({@link maybeAccessOf}).
 */
export function accessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: HoldfastRequest): Access<C> {
  const protection = protectionOf(request);
  const result = protection === undefined ? UNPROTECTED : protection.resource.authorize(protection.result);
  if (!result.granted) throw new HoldfastError(result);
  return result as Access<C>;
}

/**
 * What was granted to this request, or `undefined` where it passed without access (`credentials: 'optional'`, a CORS preflight).
 * Throws a {@link HoldfastError}, which Fastify answers with 401, where nothing protects the route, where it is `'public'`, and where
 * the request was refused.
 */
export function maybeAccessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: HoldfastRequest): Access<C> | undefined {
  const { result } = protectionOf(request) ?? { result: UNPROTECTED };
  if (!result.granted && result.mayPass === undefined) throw new HoldfastError(result);
  return result.granted ? (result as Access<C>) : undefined;
}

function protectionOf({ raw, originalUrl }: HoldfastRequest): Protection | undefined {
  return protections.get(nodeRequest(raw, originalUrl));
}

/** The fields of a reply. Unlike those of its raw response, they are seen by other plugins, and several lines are a list. */
function fieldsOf(reply: HoldfastReply): Parameters<typeof setFields>[0] {
  return { getHeader: (name) => reply.getHeader(name), setHeader: (name, lines) => reply.header(name, lines) };
}

/** The metadata of the resource (RFC 9728). */
function publish(published: Promise<MetadataAnswer> | MetadataAnswer, reply: HoldfastReply, done: Done): void {
  if (published instanceof Promise) published.then((known) => respond(known, reply)).catch(done);
  else respond(published, reply);
}

function respond(refusal: MetadataAnswer, reply: HoldfastReply): void {
  reply.code(refusal.status);
  setFields(fieldsOf(reply), refusal.fields);
  if (refusal.body === undefined) return void reply.send();
  // As text: the schema that a route has for its answers is not for this one.
  reply.type('application/json; charset=utf-8');
  reply.send(JSON.stringify(refusal.body));
}

function handOn(refusal: Refusal, _reply: HoldfastReply, done: Done): void {
  done(new HoldfastError(refusal));
}
