import { createServer } from 'node:http';
import {
  accessOf,
  holdfast,
  HoldfastError,
  maybeAccessOf,
  protectedResource,
  type ProtectedResourceOptions,
  requires,
} from '@holdfast/express';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { type RawResponse, rawRequest } from '@holdfast/test-support/raw-request';
import express5 from 'express';
import express4 from 'express-4';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { adapterContract, type ContractApp, grantedTo, serve } from './contract.ts';

const AUDIENCE = 'https://rs.example.com';

// Both have the same shape as far as these tests go; Express 4 ships no types of its own.
const versions = [
  ['Express 5', express5],
  ['Express 4', express4 as unknown as typeof express5],
] as const;

for (const [name, express] of versions) {
  adapterContract(name, (contract) => serve(appOf(express, contract), contract), {
    handsOn: true,
    allMethods: 'reached',
    parsesJson: true,
  });
}

describe.each(versions)('beyond the contract, %s', (_name, express) => {
  let issuer: Issuer;
  let token: string;
  const open: (() => Promise<void>)[] = [];
  const options = (): ProtectedResourceOptions => ({ issuer: issuer.url, audience: AUDIENCE, unconstrained: 'accept' });

  beforeAll(async () => {
    issuer = await startIssuer();
    token = await issuer.token();
  });
  afterAll(() => issuer.close());
  afterEach(async () => {
    await Promise.all(open.splice(0).map((close) => close()));
  });

  async function serveApp(build: (app: express5.Express) => void): Promise<(...lines: string[]) => Promise<RawResponse>> {
    const app = express();
    app.set('env', 'test');
    build(app);
    const server = createServer(app);
    const port = await listen(server);
    open.push(() => stop(server));
    return (first = '', ...lines) => rawRequest({ port, lines: [first, 'Host: rs.example.com', ...lines] });
  }

  it('ignores what others write on the request: req.auth and req.user grant nothing', async () => {
    const ask = await serveApp((app) => {
      app.use((request, _response, next) => {
        Object.assign(request, { auth: { payload: { scope: 'read' } }, user: { scope: 'read' }, access: { granted: true } });
        next();
      });
      app.get('/r', requires({ scope: 'read' }), (_request, response) => void response.json({}));
    });
    expect((await ask('GET /r HTTP/1.1', `Authorization: Bearer ${token}`)).status).toBe(401);
  });

  it("with refusals: 'next' a handler of the application finds why, and the fields survive what it does", async () => {
    const seen: unknown[] = [];
    const ask = await serveApp((app) => {
      app.use(holdfast(options(), { refusals: 'next' }));
      app.use((error: unknown, _request: unknown, response: express5.Response, _next: unknown) => {
        if (error instanceof HoldfastError) seen.push([error.status, error.refusal.rejection.rejected, error.message]);
        response.setHeader('X-Own', '1');
        response.status(401).json({ own: true });
      });
    });
    const { body, headers } = await ask('GET /r HTTP/1.1', 'Authorization: Bearer a.b.c');
    expect(seen).toEqual([[401, 'token.malformed', 'The access token is not valid here, or was not sent by the client it is bound to.']]);
    const names = headers.map(([name]) => name.toLowerCase());
    expect([body, names.filter((name) => name === 'x-own' || name === 'www-authenticate').toSorted()]).toEqual([
      '{"own":true}',
      ['www-authenticate', 'www-authenticate', 'x-own'],
    ]);
  });

  it('EDG-18 what one protection granted is no access once another has refused', async () => {
    const seen: unknown[] = [];
    const ask = await serveApp((app) => {
      app.use(holdfast(options()), holdfast({ ...options(), audience: 'https://other.example.com' }, { refusals: 'next' }));
      app.use((_error: unknown, request: express5.Request, response: express5.Response, _next: unknown) => {
        for (const read of [accessOf, maybeAccessOf]) {
          try {
            seen.push(read(request));
          } catch (error) {
            seen.push(error instanceof HoldfastError && error.refusal.rejection.rejected);
          }
        }
        response.status(401).end();
      });
    });
    expect((await ask('GET /r HTTP/1.1', `Authorization: Bearer ${token}`)).status).toBe(401);
    expect(seen).toEqual(['token.audience', 'token.audience']);
  });

  it('requires() asks for access and nothing more: no preflight reaches a route for all methods; what is undefined by mistake is refused', async () => {
    const reached: string[] = [];
    const ask = await serveApp((app) => {
      app.use(holdfast(options()));
      app.all('/all', requires(), (request, response) => {
        reached.push(request.method);
        response.send(accessOf(request).claims.sub);
      });
    });
    const preflight = ['Origin: https://evil.example', 'Access-Control-Request-Method: GET'];
    expect((await ask('OPTIONS /all HTTP/1.1', ...preflight)).status).toBe(401);
    expect((await ask('GET /all HTTP/1.1')).status).toBe(401);
    expect((await ask('GET /all HTTP/1.1', `Authorization: Bearer ${token}`)).body).toBe('user-1');
    expect(reached).toEqual(['GET']);
    expect(() => requires(undefined as never)).toThrow(TypeError);
  });

  it('a router that is mounted with its protection protects nothing beside it', async () => {
    const router = express.Router();
    router.use(holdfast(options()));
    router.get('/r', (request, response) => void response.json({ url: request.url, sub: accessOf(request).claims.sub }));
    const ask = await serveApp((app) => {
      app.use('/api', router);
      app.get('/apiary/r', (_request, response) => void response.send('open'));
    });
    expect((await ask('GET /api/r HTTP/1.1', `Authorization: Bearer ${token}`)).body).toBe('{"url":"/r","sub":"user-1"}');
    // Express compares paths without case, and %72 is an r: every spelling that reaches the route is protected.
    for (const path of ['/API/r', '/api/R', '/api/%72', '/api//r', '/api/../api/r'])
      expect((await ask(`GET ${path} HTTP/1.1`)).status, path).toBe(401);
    expect((await ask('GET /apiary/r HTTP/1.1')).body).toBe('open');
  });
});

it('holdfast(…) refuses adapter options that it does not know', () => {
  const options = { issuer: 'https://as.example.com', audience: AUDIENCE };
  expect(() => holdfast(options, { refusals: 'throw' as 'next' })).toThrow(TypeError);
});

function appOf(express: typeof express5, { options, other, refusals, reached, stream }: ContractApp): express5.Express {
  const app = express();
  app.set('env', 'test');
  const resource = protectedResource(options);
  const adapterOptions = { refusals: refusals === 'answered' ? 'respond' : 'next' } as const;
  const protect = holdfast(resource, adapterOptions);
  const route: express5.RequestHandler = (request, response) => {
    reached(request.baseUrl + request.path);
    response.json(grantedTo(accessOf(request)));
  };

  app.use(protect.metadata);
  app.get('/open', (_request, response) => {
    reached('/open');
    response.send('open');
  });
  const api = express.Router();
  api.options('/r', (_request, response) => {
    reached('/api/r');
    response.status(204).end();
  });
  api.route('/r').get(route).post(route);
  api.get('/maybe', (request, response) => {
    reached('/api/maybe');
    response.json(grantedTo(maybeAccessOf(request)));
  });
  api.get('/write', requires({ scope: 'write' }), route);
  api.all('/all', route);
  api.post('/json', express.json(), (request, response) => {
    reached('/api/json');
    response.json(request.body);
  });
  api.post('/upload', express.raw({ type: () => true, limit: '2mb' }), (request, response) => {
    reached('/api/upload');
    response.json(Buffer.isBuffer(request.body) ? request.body.length : 0);
  });
  api.get('/stream', (_request, response) => {
    reached('/api/stream');
    stream().pipe(response);
  });
  api.get('/throws', () => {
    reached('/api/throws');
    throw new Error('of the application');
  });
  app.use('/api', protect, api);
  app.get('/twice/r', protect, holdfast(resource, adapterOptions), route);
  app.get('/both/r', protect, holdfast(other, adapterOptions), route);
  app.get('/bare/write', requires({ scope: 'write' }), route);
  app.get('/bare/access', route);
  app.get(
    '/answered/r',
    (_request, response, next) => {
      response.status(408).send('late');
      next();
    },
    protect,
    route,
  );
  app.use((error: unknown, _request: express5.Request, response: express5.Response, next: express5.NextFunction) => {
    if (!response.headersSent) response.setHeader('X-Own', '1');
    next(error instanceof HoldfastError ? error : new Error('handed on', { cause: error }));
  });
  return app;
}
