import { Readable } from 'node:stream';
import { accessOf, holdfast, maybeAccessOf, type Protect, protectedResource, requires } from '@holdfast/core/fetch';
import { isOver, nodeRequest } from '@holdfast/core/node';
import { getRequestListener, type Http2Bindings, type HttpBindings } from '@hono/node-server';
import { Hono, type MiddlewareHandler } from 'hono';
import { adapterContract, type ContractApp, grantedTo, serve } from './contract.ts';

interface Env {
  Bindings: HttpBindings | Http2Bindings;
}

/** What the adapter is told of: the request of Node, or its connection alone, so that the rest is read from the `Request`. */
type Known = 'everything' | 'the connection';

/** What an application with Hono on Node writes once. */
const protectedBy =
  (protect: Protect, of: Known): MiddlewareHandler<Env> =>
  async (c, next) => {
    const node = nodeRequest(c.env.incoming);
    const { refusal, apply } = await protect(c.req.raw, of === 'everything' ? node : { connection: node.connection });
    if (refusal) return refusal;
    // Somebody has answered already, or the client has gone.
    if (c.finalized || isOver(c.env.outgoing)) return c.res;
    await next();
    c.res = apply(c.res);
    return undefined;
  };

/** And for a route. */
const authorizedBy =
  (authorize: ReturnType<typeof requires>): MiddlewareHandler<Env> =>
  async (c, next) => {
    const refusal = authorize(c.req.raw);
    return refusal ?? next();
  };

function appOf({ options, other, reached, stream }: ContractApp, of: Known): Hono<Env> {
  const app = new Hono<Env>();
  const resource = protectedResource(options);
  const protect = protectedBy(holdfast(resource), of);
  const writing = authorizedBy(requires({ scope: 'write' }));
  const route: MiddlewareHandler<Env> = async (c) => {
    reached(c.req.path);
    return c.json(grantedTo(accessOf(c.req.raw)));
  };

  app.get('/open', (c) => {
    reached('/open');
    return c.text('open');
  });
  app.use('/.well-known/oauth-protected-resource/*', protect);
  const api = new Hono<Env>();
  api.use(protect);
  api.options('/r', (c) => {
    reached('/api/r');
    return c.body(null, 204);
  });
  api.get('/r', route).post('/r', route);
  api.get('/maybe', (c) => {
    reached('/api/maybe');
    return c.json(grantedTo(maybeAccessOf(c.req.raw)));
  });
  api.get('/write', writing, route);
  api.all('/all', route);
  api.post('/json', async (c) => {
    reached('/api/json');
    return c.json(await c.req.json());
  });
  api.post('/upload', async (c) => {
    reached('/api/upload');
    return c.json((await c.req.arrayBuffer()).byteLength);
  });
  api.get('/stream', (c) => {
    reached('/api/stream');
    // Of the DOM here, and of node:stream/web there.
    return c.body(Readable.toWeb(stream()) as unknown as ReadableStream<Uint8Array>);
  });
  api.get('/throws', () => {
    reached('/api/throws');
    throw new Error('of the application');
  });
  app.route('/api', api);
  app.get('/twice/r', protect, protectedBy(holdfast(resource), of), route);
  app.get('/both/r', protect, protectedBy(holdfast(other), of), route);
  app.get('/bare/write', writing, route);
  app.get('/bare/access', route);
  app.get(
    '/answered/r',
    async (c, next) => {
      c.res = c.text('late', 408);
      await next();
    },
    protect,
    route,
  );
  app.onError((error, c) => {
    c.header('X-Own', '1');
    return 'getResponse' in error ? error.getResponse() : c.text('handed on', 500);
  });
  return app;
}

const start =
  (of: Known) =>
  (contract: ContractApp): ReturnType<typeof serve> =>
    serve(getRequestListener(appOf(contract, of).fetch), contract);

const traits = { http2: true, allMethods: 'reached', parsesJson: true } as const;
adapterContract('Hono through fetch', start('everything'), { ...traits, joined: 'answers' });
adapterContract('Hono through fetch, from the Request alone', start('the connection'), { ...traits, joined: 'both' });
