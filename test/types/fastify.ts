// The plugin on Fastify over HTTP/1.1 and HTTP/2, with typed policies in the config of routes.
import {
  accessOf,
  fromTls,
  holdfast,
  HoldfastError,
  holdfastMetadata,
  isHoldfastError,
  maybeAccessOf,
  protectedResource,
  requires,
  type RoutePolicy,
  upgrade,
} from '@holdfast/fastify';
import fastifyAuth from '@fastify/auth';
import fastify from 'fastify';

const options = { issuer: 'https://as.example', audience: 'https://api.example', certificate: fromTls() };

const app = fastify({ https: {} });
await app.register(holdfast, options);
await app.register(holdfast, { ...options, refusals: 'throw', strictRoutes: true, awaitKeys: true });
await app.register(holdfast, { resource: protectedResource(options), refusals: 'respond' });
app.get('/accounts', { config: { holdfast: { scope: 'accounts' } } }, (request) => accessOf(request).claims.sub);
app.get('/loans/:id', { preHandler: requires({ scope: 'loans' }) }, async (request, reply) => reply.send(maybeAccessOf(request)?.issuer));
app.route({
  method: ['GET', 'POST'],
  url: '/r',
  onRequest: [requires({ scope: 'r' })],
  config: { holdfast: 'access' },
  handler: () => 'r',
});
app.get<{ Params: { id: string } }>('/typed/:id', { config: { holdfast: 'public' } }, (request) => request.params.id);
app.setErrorHandler((error, _request, reply) => {
  if (!(error instanceof HoldfastError)) return reply.send(error);
  return reply.code(error.statusCode).send({ code: error.code, why: error.refusal.rejection.rejected });
});

await app.register(fastifyAuth);
app.get('/either', { preHandler: app.auth([requires({ scope: 'a' }), requires({ scope: 'b' })]) }, () => 'either');

const http2 = fastify({ http2: true, https: {} });
await http2.register(holdfast, options);
http2.get(
  '/r',
  { preHandler: requires({ scope: 'r' }) },
  (request) => accessOf<{ iss: string; aud: string; exp: number; tenant: string }>(request).claims.tenant,
);

export const policies: RoutePolicy[] = ['public', 'access', { scope: ['a', 'b'] }];

const resource = protectedResource({ ...options, metadata: true });
await app.register(holdfastMetadata, { resource });
app.server.on(
  'upgrade',
  upgrade(resource, (_request, socket, _head, access) => void socket.end(access.claims.sub)),
);
app.setErrorHandler((error, _request, reply) => void reply.send(isHoldfastError(error) ? error.code : error));

// @ts-expect-error: metadata are of a resource that is made already
app.register(holdfastMetadata, options);
// @ts-expect-error: nothing is decorated onto the application
void app.holdfast;
// @ts-expect-error: without an audience, tokens for any API would do
app.register(holdfast, { issuer: 'https://as.example' });
// @ts-expect-error: refusals are answered, or thrown
app.register(holdfast, { ...options, refusals: 'next' });
// @ts-expect-error: a policy is said in a word, not switched off
app.get('/off', { config: { holdfast: false } }, () => 'off');
// @ts-expect-error: a requirement that does not exist
app.get('/role', { config: { holdfast: { role: 'admin' } } }, () => 'role');
// @ts-expect-error: nothing is decorated onto the request
app.get('/decorated', (request) => request.access);
// @ts-expect-error: access is had from the request, not from the reply
app.get('/swapped', (_request, reply) => accessOf(reply));
