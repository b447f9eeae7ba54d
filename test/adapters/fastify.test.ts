import { once } from 'node:events';
import { connect } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { Writable, Readable } from 'node:stream';
import fastifyAuth from '@fastify/auth';
import cors from '@fastify/cors';
import middie from '@fastify/middie';
import websocket from '@fastify/websocket';
import {
  accessOf,
  EXPOSED_FIELDS,
  fromTls,
  holdfast,
  HoldfastError,
  holdfastMetadata,
  maybeAccessOf,
  protectedResource,
  type ProtectedResourceOptions,
  requires,
  type ResourceEvent,
} from '@holdfast/fastify';
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { rawRequest } from '@holdfast/test-support/raw-request';
import { exportJWK, generateKeyPair } from 'jose';
import fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyServerOptions,
  type InjectOptions,
  type LightMyRequestResponse,
} from 'fastify';
import oldestFastify from 'fastify-5.0';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { adapterContract, type ContractApp, grantedTo, type RunningServer } from './contract.ts';

const AUDIENCE = 'https://rs.example.com';

const traits = { http2: true, handsOn: true, allMethods: 'refused', parsesJson: true } as const;
adapterContract('Fastify 5', (contract) => startFastify(fastify, contract), traits);
// The first of the range that is supported.
adapterContract('Fastify 5.0', (contract) => startFastify(oldestFastify as unknown as typeof fastify, contract), traits);

describe('beyond the contract, Fastify 5', () => {
  let issuer: Issuer;
  let token: string;
  let writing: string;
  const events: ResourceEvent[] = [];
  const apps: FastifyInstance[] = [];
  const options = (changes: Partial<ProtectedResourceOptions> = {}): ProtectedResourceOptions => ({
    issuer: issuer.url,
    audience: AUDIENCE,
    unconstrained: 'accept',
    onEvent: (event) => events.push(event),
    ...changes,
  });
  const make = (settings: FastifyServerOptions = {}): FastifyInstance => {
    const app = fastify(settings);
    apps.push(app);
    return app;
  };
  const ok = async (): Promise<string> => 'ok';
  const ask = async (
    app: FastifyInstance,
    request: InjectOptions | string,
    bearer: string | undefined = token,
  ): Promise<LightMyRequestResponse> =>
    app.inject({
      ...(typeof request === 'string' ? { url: request } : request),
      headers: { ...(bearer && { authorization: `Bearer ${bearer}` }), ...(typeof request === 'object' && request.headers) },
    });
  const statusOf = async (app: FastifyInstance, request: InjectOptions | string, bearer?: string): Promise<number> =>
    (await ask(app, request, bearer ?? '')).statusCode;

  beforeAll(async () => {
    issuer = await startIssuer();
    token = await issuer.token();
    writing = await issuer.token({ scope: 'write' });
  });
  afterAll(() => issuer.close());
  afterEach(async () => {
    events.length = 0;
    await Promise.all(apps.splice(0).map((app) => app.close()));
  });

  it('PRM-03 serves the metadata of the resource at the root, to anybody, signed or not, and names it in challenges', async () => {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    const signingKey = { ...(await exportJWK(privateKey)), alg: 'ES256' };
    for (const metadata of [true, { signingKey }]) {
      const app = make();
      await app.register(holdfast, options({ metadata }));
      app.get('/public', { config: { holdfast: 'public' } }, ok);
      const target = '/.well-known/oauth-protected-resource';
      const answer = await app.inject(target);
      expect([answer.statusCode, answer.headers['content-type']]).toEqual([200, 'application/json; charset=utf-8']);
      expect(answer.json()).toMatchObject({ resource: AUDIENCE, authorization_servers: [issuer.url] });
      expect('signed_metadata' in answer.json<object>()).toBe(metadata !== true);
      expect((await app.inject({ method: 'POST', url: target })).statusCode).toBe(405);
      expect((await app.inject(`${target}/nope`)).statusCode).toBe(404);
      expect((await app.inject('/')).headers['www-authenticate']).toContainEqual(
        expect.stringContaining(`resource_metadata="${AUDIENCE}${target}"`),
      );
      expect((await app.inject('/public')).body).toBe('ok');
    }
  });

  describe('holdfastMetadata', () => {
    it('PRM-03 serves the metadata of a resource that protects a plugin with a prefix, where challenges say they are', async () => {
      const app = make();
      const resource = protectedResource(options({ metadata: true }));
      await app.register(holdfastMetadata, { resource });
      await app.register(
        async (api) => {
          await api.register(holdfast, { resource });
          api.get('/r', ok);
        },
        { prefix: '/api' },
      );
      app.get('/open', ok);
      const [challenge] = (await app.inject('/api/r')).headers['www-authenticate'] ?? [];
      const [, url = ''] = /resource_metadata="([^"]+)"/.exec(challenge ?? '') ?? [];
      const answer = await app.inject(new URL(url).pathname);
      expect([answer.statusCode, answer.json<object>()]).toEqual([200, expect.objectContaining({ resource: AUDIENCE })]);
      expect([await statusOf(app, '/open'), await statusOf(app, '/api/r', token)]).toEqual([200, 200]);
    });

    it('a protection inside of a plugin whose metadata nobody serves is told of when the application starts', async () => {
      const warnings: string[] = [];
      const hear = ({ name, message }: Error): unknown => name === 'HoldfastWarning' && warnings.push(message);
      process.on('warning', hear);
      const app = make();
      await app.register(async (api) => {
        await api.register(holdfast, options({ metadata: true }));
      });
      await app.ready();
      const atRoot = make();
      await atRoot.register(holdfast, options({ metadata: true }));
      await atRoot.ready();
      await expect.poll(() => warnings).toHaveLength(1);
      process.off('warning', hear);
      expect(warnings[0]).toContain(`nobody is served ${AUDIENCE}/.well-known/oauth-protected-resource`);
    });

    it('is refused where it could serve nothing: without metadata, and inside of a plugin', async () => {
      const failureOf = async (register: (app: FastifyInstance) => PromiseLike<unknown>): Promise<unknown> =>
        Promise.resolve(register(fastify())).then(
          () => 'registered',
          (error: unknown) => error instanceof TypeError && error.message,
        );
      const bare = protectedResource(options());
      expect(await failureOf((app) => app.register(holdfastMetadata, { resource: bare }))).toContain('metadata: true');
      const resource = protectedResource(options({ metadata: true }));
      const child = async (api: FastifyInstance): Promise<void> => {
        await api.register(holdfastMetadata, { resource });
      };
      expect(await failureOf((app) => app.register(child))).toContain('at the root');
    });
  });

  describe('the context', () => {
    it('registered at the root, it protects everything, answers to unknown routes included', async () => {
      const app = make();
      app.get('/before', ok);
      await app.register(holdfast, options());
      app.get('/after', ok);
      await app.register(async (child) => void child.get('/child', ok), { prefix: '/deep' });
      for (const url of ['/before', '/after', '/deep/child']) {
        expect([await statusOf(app, url), await statusOf(app, url, token)], url).toEqual([401, 200]);
      }
      expect([await statusOf(app, '/unknown'), await statusOf(app, '/unknown', token)]).toEqual([401, 404]);
    });

    it('a handler for unknown routes of the application is protected with them', async () => {
      const app = make();
      await app.register(holdfast, options());
      app.setNotFoundHandler(async (request, reply) => reply.code(404).send(accessOf(request).claims.sub));
      expect([await statusOf(app, '/unknown'), (await ask(app, '/unknown')).body]).toEqual([401, 'user-1']);
    });

    it('registered inside of a plugin, it protects that plugin, and leaves what stands beside it', async () => {
      const app = make();
      app.get('/root', ok);
      await app.register(async (api) => {
        await api.register(holdfast, options());
        api.get('/api', ok);
        await api.register(async (child) => void child.get('/api/child', ok));
      });
      await app.register(async (sibling) => void sibling.get('/sibling', ok));
      expect(await Promise.all(['/root', '/sibling', '/api', '/api/child', '/unknown'].map((url) => statusOf(app, url)))).toEqual([
        200, 200, 401, 401, 404,
      ]);
    });

    it('inside of a plugin, unknown routes are protected where the plugin answers them itself', async () => {
      const app = make();
      await app.register(
        async (api) => {
          await api.register(holdfast, options());
          api.setNotFoundHandler(async (_request, reply) => reply.code(404).send('of the plugin'));
        },
        { prefix: '/api' },
      );
      const answers = await Promise.all([ask(app, '/api/unknown', ''), ask(app, '/api/unknown'), ask(app, '/unknown', '')]);
      expect(answers.map(({ statusCode, body }) => [statusCode, body === 'of the plugin'])).toEqual([
        [401, false],
        [404, true],
        [404, false],
      ]);
    });

    it('a child context adds a protection, and takes none away', async () => {
      const app = make();
      await app.register(holdfast, options());
      await app.register(async (child) => {
        await child.register(holdfast, options({ audience: 'https://other.example.com' }));
        child.get('/child', ok);
      });
      const other = await issuer.token({ aud: 'https://other.example.com' });
      const both = await issuer.token({ aud: [AUDIENCE, 'https://other.example.com'] });
      expect([await statusOf(app, '/child', token), await statusOf(app, '/child', other), await statusOf(app, '/child', both)]).toEqual([
        401, 401, 200,
      ]);
    });

    it.each([{ ignoreTrailingSlash: true, caseSensitive: false, ignoreDuplicateSlashes: true, useSemicolonDelimiter: true }, {}])(
      'every spelling that reaches a route is protected (%j)',
      async (routerOptions) => {
        const app = make({ routerOptions });
        await app.register(async (api) => {
          await api.register(holdfast, options());
          api.get('/api/r', ok);
          api.get('/api/', ok);
          api.get('/files/*', ok);
        });
        app.get('/apiary', ok);
        for (const url of ['/api/r', '/API/R', '/api/r/', '//api//r', '/api/%72', '/api/r;x=y', '/api', '/api/', '/files/a/b']) {
          expect(await statusOf(app, url), url).toBeGreaterThanOrEqual(401);
        }
        expect(await statusOf(app, '/apiary')).toBe(200);
      },
    );
  });

  describe('the policy of a route', () => {
    it('is held, whether the route is declared before the registration took place or after', async () => {
      const app = make();
      void app.register(holdfast, options());
      app.get('/public', { config: { holdfast: 'public' } }, ok);
      app.get('/write', { config: { holdfast: { scope: 'write' } } }, ok);
      app.get('/read', { preHandler: requires({ scope: 'read' }) }, ok);
      await app.register(async (late) => {
        late.get('/late/public', { config: { holdfast: 'public' } }, ok);
        late.get('/late/write', { config: { holdfast: { scope: 'write' } } }, ok);
      });
      for (const prefix of ['', '/late']) {
        expect([await statusOf(app, `${prefix}/public`), await statusOf(app, `${prefix}/write`)]).toEqual([200, 401]);
        expect([await statusOf(app, `${prefix}/write`, token), await statusOf(app, `${prefix}/write`, writing)]).toEqual([403, 200]);
      }
      expect([await statusOf(app, '/read', token), await statusOf(app, '/read', writing)]).toEqual([200, 403]);
    });

    it('is inherited by the HEAD route that Fastify adds', async () => {
      const app = make();
      await app.register(holdfast, options());
      app.get('/write', { config: { holdfast: { scope: 'write' } } }, ok);
      app.get('/public', { config: { holdfast: 'public' } }, ok);
      const head = (url: string): InjectOptions => ({ method: 'HEAD', url });
      expect([
        await statusOf(app, head('/write')),
        await statusOf(app, head('/write'), token),
        await statusOf(app, head('/write'), writing),
      ]).toEqual([401, 403, 200]);
      expect(await statusOf(app, head('/public'))).toBe(200);
    });

    it("'access' asks for access also where credentials are optional, and 'public' looks at none", async () => {
      const app = make();
      await app.register(holdfast, options({ credentials: 'optional' }));
      app.get('/undeclared', async (request) => (maybeAccessOf(request) === undefined ? 'nobody' : 'somebody'));
      app.get('/access', { config: { holdfast: 'access' } }, ok);
      app.get('/scope', { config: { holdfast: { scope: 'read' } } }, ok);
      app.get('/public', { config: { holdfast: 'public' } }, ok);
      app.get('/public/access', { config: { holdfast: 'public' } }, async (request) => maybeAccessOf(request) ?? 'nobody');
      expect([(await ask(app, '/undeclared', '')).body, (await ask(app, '/undeclared')).body]).toEqual(['nobody', 'somebody']);
      events.length = 0;
      expect([await statusOf(app, '/access', ''), await statusOf(app, '/scope', ''), await statusOf(app, '/public', '')]).toEqual([
        401, 401, 200,
      ]);
      expect(events.map(({ reason }) => reason)).toEqual(['request.no_credentials', 'request.no_credentials']);
      events.length = 0;
      expect([await statusOf(app, '/public', 'rubbish'), events]).toEqual([200, []]);
      expect(await statusOf(app, '/public/access', token)).toBe(401);
    });

    it('that cannot be read, of a route that came before the registration, is 503 and one warning, and says nothing to the client', async () => {
      const warnings: string[] = [];
      const hear = ({ name, message }: Error): unknown => name === 'HoldfastWarning' && warnings.push(message);
      process.on('warning', hear);
      const app = make();
      void app.register(holdfast, options());
      app.get('/wrong', { config: { holdfast: 'privat' as 'public' } }, ok);
      app.get('/frozen', { config: Object.freeze({ holdfast: 'access' as const }) }, ok);
      for (const bearer of [token, '']) {
        const { statusCode, body, headers } = await ask(app, '/wrong', bearer);
        expect([statusCode, body, headers['retry-after'], headers['www-authenticate']]).toEqual([503, '', '1', undefined]);
      }
      expect([await statusOf(app, '/frozen'), await statusOf(app, '/frozen', token)]).toEqual([401, 200]);
      await expect.poll(() => warnings).toEqual([expect.stringContaining('/wrong: config.holdfast is privat')]);
      process.off('warning', hear);
    });

    it('is its own: what somebody gave to every object is no policy', async () => {
      const app = make();
      await app.register(holdfast, options());
      app.get('/r', ok);
      try {
        Object.assign(Object.prototype, { holdfast: 'public' });
        expect(await statusOf(app, '/r')).toBe(401);
      } finally {
        delete (Object.prototype as { holdfast?: unknown }).holdfast;
      }
    });

    it('that makes no sense stops the start, with one TypeError for all', async () => {
      const app = make();
      await app.register(holdfast, options());
      const wrong = (policy: unknown): { config: { holdfast: 'public' } } => ({ config: { holdfast: policy as 'public' } });
      app.get('/a', wrong(false), ok);
      app.post('/b', wrong({ scopes: 'read' }), ok);
      app.get('/c', wrong('private'), ok);
      app.get('/d', wrong(null), ok);
      const failure = await app.ready().then(
        () => 'started',
        (error: unknown) => error,
      );
      expect(failure).toBeInstanceOf(TypeError);
      for (const part of [
        'GET /a: config.holdfast is false',
        'POST /b: requires: scopes: is not',
        'GET /c: config.holdfast is private',
        'GET /d: ',
      ]) {
        expect(String(failure)).toContain(part);
      }
      apps.length = 0;
    });
  });

  describe('strictRoutes', () => {
    const failureOf = (app: FastifyInstance): Promise<string> =>
      Promise.resolve(app.ready()).then(
        () => 'started',
        (error: unknown) => (error instanceof TypeError ? error.message : `no TypeError: ${String(error)}`),
      );

    it('stops the start with one TypeError that names every route without a policy', async () => {
      const app = make();
      await app.register(holdfast, { ...options(), strictRoutes: true });
      app.get('/forgotten', ok);
      await app.register(async (child) => void child.post('/too', ok), { prefix: '/child' });
      app.get('/scope', { config: { holdfast: { scope: 'read' } } }, ok);
      app.get('/access', { config: { holdfast: 'access' } }, ok);
      app.get('/public', { config: { holdfast: 'public' } }, ok);
      app.get('/requires', { preHandler: [async () => {}, requires({ scope: 'read' })] }, ok);
      app.get('/other', { config: {}, preHandler: async () => {} }, ok);
      const failure = await failureOf(app);
      for (const route of ['GET /forgotten: declares no policy', 'POST /child/too: ', 'GET /other: ']) expect(failure).toContain(route);
      for (const route of ['/scope', '/access', '/public', '/requires']) expect(failure).not.toContain(`${route}:`);
      apps.length = 0;
    });

    it('at the root, stops it also where routes came before, which it knows nothing of', async () => {
      const app = make();
      await app.register(async (early) => void early.get('/early', { config: { holdfast: 'public' } }, ok));
      await app.register(holdfast, { ...options(), strictRoutes: true });
      expect(await failureOf(app)).toMatch(/await the registration before routes are declared[^]*\/early \(GET, HEAD\)/);
      const unawaited = make();
      void unawaited.register(holdfast, { ...options(), strictRoutes: true });
      unawaited.get('/r', ok);
      expect(await failureOf(unawaited)).toContain('/r (GET, HEAD)');
      apps.length = 0;
    });

    it('inside of a plugin, a route that came before the registration and says nothing needs access, and so is never forgotten', async () => {
      const app = make();
      app.get('/beside', ok);
      await app.register(async (api) => {
        api.get('/early', ok);
        api.get('/early/public', { config: { holdfast: 'public' } }, ok);
        await api.register(holdfast, { ...options({ credentials: 'optional' }), strictRoutes: true });
        api.options('/preflights', ok);
      });
      expect(await Promise.all(['/early', '/early/public', '/beside'].map((url) => statusOf(app, url)))).toEqual([401, 200, 200]);
      expect(await statusOf(app, '/early', token)).toBe(200);
      expect(await statusOf(app, { method: 'OPTIONS', url: '/preflights' })).toBe(200);
    });

    it('asks nothing of preflights, and in a plugin nothing of what stands beside it', async () => {
      const app = make();
      await app.register(cors, { origin: 'https://app.example.com' });
      app.get('/public', ok);
      await app.register(async (api) => {
        await api.register(holdfast, { ...options(), strictRoutes: true });
        api.options('/r', ok);
        api.get('/r', { config: { holdfast: 'access' } }, ok);
      });
      expect(await failureOf(app)).toBe('started');
      const root = make();
      await root.register(cors, { origin: 'https://app.example.com' });
      await root.register(holdfast, { ...options(), strictRoutes: true });
      expect(await failureOf(root)).toBe('started');
    });
  });

  describe('options', () => {
    const failureOf = async (given: object): Promise<string> => {
      const app = fastify();
      return Promise.resolve(app.register(holdfast, given as ReturnType<typeof options>)).then(
        () => 'registered',
        (error: unknown) => (error instanceof TypeError ? error.message : `no TypeError: ${String(error)}`),
      );
    };

    it('are those of a resource, and a mistake in them stops the start with one TypeError', async () => {
      expect(await failureOf({ issuer: 'ftp://x', audience: 1 })).toMatch(/2 options are wrong/);
      expect(await failureOf({ ...options(), prefix: '/api' })).toContain('prefix');
      expect(await failureOf({ ...options(), refusals: 'next' })).toContain("refusals: Give 'respond' or 'throw'");
      expect(await failureOf({ resource: protectedResource(options()), unconstrained: 'accept' })).toContain(
        'resource: Give a resource or its options',
      );
      expect(await failureOf({ resource: undefined })).toContain('resource');
      expect(await failureOf({ ...options(), strictRoutes: 'yes' })).toContain('strictRoutes');
      expect(await failureOf({ ...options(), awaitKeys: 1 })).toContain('awaitKeys');
    });

    it('awaitKeys: the application is ready when tokens can be judged, and not ready where they cannot', async () => {
      const patient = make();
      await patient.register(holdfast, { ...options(), awaitKeys: true });
      await patient.ready();
      expect(issuer.requests).toContain('/jwks');
      const gone = await startIssuer();
      await gone.close();
      const app = fastify();
      await app.register(holdfast, { ...options({ issuer: gone.url }), awaitKeys: true });
      await expect(Promise.resolve(app.ready())).rejects.toThrow(/keys|issuer|metadata/i);
    });

    it('close() ends a stream that goes on for as long as access lasts, and waits for no client', async () => {
      const app = fastify();
      await app.register(holdfast, options());
      app.get('/stream', async (request, reply) => {
        const endless = new Readable({ read: () => {} });
        endless.push('one');
        accessOf(request).signal.addEventListener('abort', () => endless.push(null));
        return reply.send(endless);
      });
      const url = await app.listen({ port: 0, host: '127.0.0.1' });
      const response = await fetch(`${url}/stream`, { headers: { authorization: `Bearer ${token}` } });
      const body = response.text();
      await app.close();
      expect(await body).toBe('one');
    });

    it('close() ends what belongs to the application, and not a resource that is shared', async () => {
      let closed = 0;
      const shared = protectedResource(options());
      const watched = { ...shared, close: async () => void (closed += 1) };
      const app = fastify();
      await app.register(holdfast, { resource: watched });
      app.get('/r', ok);
      expect(await statusOf(app, '/r', token)).toBe(200);
      await app.close();
      expect(closed).toBe(0);
      await shared.close();
    });
  });

  describe('hooks', () => {
    it('the protection comes before hooks of the route, and before the body is parsed', async () => {
      const app = make();
      const ran: string[] = [];
      const hook = (name: string) => async () => void ran.push(name);
      app.addContentTypeParser('application/octet-stream', async () => void ran.push('parser'));
      await app.register(holdfast, options());
      app.addHook('preParsing', hook('preParsing'));
      app.post('/r', { onRequest: hook('onRequest of the route'), preValidation: hook('preValidation') }, ok);
      const post: InjectOptions = { method: 'POST', url: '/r', payload: 'x', headers: { 'content-type': 'application/octet-stream' } };
      expect([await statusOf(app, post), ran]).toEqual([401, []]);
      expect([await statusOf(app, post, token), ran]).toEqual([200, ['onRequest of the route', 'preParsing', 'parser', 'preValidation']]);
    });

    it('a hook before it that answers keeps its answer, and no token is judged', async () => {
      const app = make();
      app.addHook('onRequest', async (_request, reply) => reply.code(418).send('early'));
      await app.register(holdfast, options());
      app.get('/r', ok);
      const { statusCode, body } = await ask(app, '/r');
      expect([statusCode, body, events]).toEqual([418, 'early', []]);
    });

    it('a request whose raw message was replaced has no access, whatever else was decided about it', async () => {
      const app = make();
      await app.register(holdfast, options());
      app.get('/replaced', async (request) => {
        const { raw } = request;
        request.raw = Object.assign(Object.create(Object.getPrototypeOf(raw) as object), raw, { rawHeaders: [...raw.rawHeaders] });
        return accessOf(request).claims.sub;
      });
      expect(await statusOf(app, '/replaced', token)).toBe(401);
    });

    it('nothing of one request is seen by another, and what is decorated grants nothing', async () => {
      const app = make();
      app.decorateRequest('access', null);
      app.addHook('onRequest', async (request) => void Object.assign(request, { access: { granted: true }, user: { sub: 'admin' } }));
      await app.register(holdfast, options({ credentials: 'optional' }));
      const seen: unknown[] = [];
      app.get('/r', async (request) => void seen.push(maybeAccessOf(request)?.claims.sub));
      for (const bearer of [token, '', await issuer.token({ sub: 'user-2' }), '']) await ask(app, '/r', bearer);
      expect(seen).toEqual(['user-1', undefined, 'user-2', undefined]);
    });

    it('the target is what the client wrote, not what rewriteUrl or a middleware made of it', async () => {
      const key = await generateDpopKey();
      const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const app = make({ rewriteUrl: ({ url = '' }) => url.replace(/^\/v1/, '') });
      await app.register(holdfast, options());
      await app.register(middie);
      app.use('/api', (request, _response, next) => {
        request.url = '/elsewhere';
        next();
      });
      app.get('/api/r', async (request) => accessOf(request).claims.sub);
      const present = async (url: string, htu: string): Promise<number> => {
        const proof = makeProof({ key, token: bound, htu, iat: Math.floor(Date.now() / 1000) });
        return (await app.inject({ url, headers: { authorization: `DPoP ${bound}`, dpop: proof } })).statusCode;
      };
      expect(await present('/v1/api/r', `${AUDIENCE}/v1/api/r`)).toBe(200);
      expect(await present('/v1/api/r', `${AUDIENCE}/api/r`)).toBe(401);
      expect(await present('/v1/api/r', `${AUDIENCE}/elsewhere`)).toBe(401);
    });
  });

  describe('errors', () => {
    it("refusals: 'throw': the error handler sees a Fastify error, and status and fields survive what it does", async () => {
      const app = make();
      const seen: unknown[] = [];
      app.setErrorHandler(async (error: FastifyError, _request, reply) => {
        seen.push([error.statusCode, error.code, error.message, error instanceof HoldfastError && error.refusal.rejection.rejected]);
        return reply.send({ own: true });
      });
      await app.register(holdfast, { ...options(), refusals: 'throw' });
      app.get('/write', { config: { holdfast: { scope: 'write' } } }, ok);
      app.get('/requires', { preHandler: requires({ scope: 'write' }) }, ok);
      const answers = [
        await ask(app, '/write', 'a.b.c'),
        await ask(app, '/write'),
        await ask(app, '/requires'),
        await ask(app, '/write', ''),
      ];
      expect(answers.map(({ statusCode, body, headers }) => [statusCode, body, headers['www-authenticate']?.length])).toEqual(
        [401, 403, 403, 401].map((status) => [status, '{"own":true}', 2]),
      );
      expect(seen).toEqual([
        [401, 'HOLDFAST_INVALID_TOKEN', expect.stringContaining('not valid here'), 'token.malformed'],
        [403, 'HOLDFAST_INSUFFICIENT_SCOPE', expect.stringContaining('scope'), 'scope.insufficient'],
        [403, 'HOLDFAST_INSUFFICIENT_SCOPE', expect.stringContaining('scope'), 'scope.insufficient'],
        [401, 'HOLDFAST_REFUSED', expect.any(String), 'request.no_credentials'],
      ]);
    });

    it('EDG-18 what one protection granted is no access once another has refused', async () => {
      const app = make();
      const seen: unknown[] = [];
      app.setErrorHandler((_error, request, reply) => {
        for (const read of [accessOf, maybeAccessOf]) {
          try {
            seen.push(read(request));
          } catch (error) {
            seen.push(error instanceof HoldfastError && error.refusal.rejection.rejected);
          }
        }
        return reply.send('refused');
      });
      await app.register(holdfast, { ...options(), refusals: 'throw' });
      await app.register(holdfast, { ...options({ audience: 'https://other.example.com' }), refusals: 'throw' });
      app.get('/r', ok);
      expect([await statusOf(app, '/r', token), seen]).toEqual([401, ['token.audience', 'token.audience']]);
    });

    it('a handler that throws something else in its place leaves the status, and never leads to the route', async () => {
      const app = make();
      app.setErrorHandler(() => {
        throw new Error('of the application');
      });
      await app.register(holdfast, { ...options(), refusals: 'throw' });
      let reached = false;
      app.get('/r', async () => {
        reached = true;
      });
      expect([await statusOf(app, '/r'), reached]).toEqual([401, false]);
    });

    it('what is unavailable tells nothing of why', async () => {
      const gone = await startIssuer();
      await gone.close();
      const app = make();
      await app.register(holdfast, { ...options({ issuer: gone.url }), refusals: 'throw' });
      app.get('/r', ok);
      const { statusCode, body, headers } = await ask(app, '/r', await gone.token());
      expect([statusCode, JSON.parse(body), headers['retry-after']]).toEqual([
        503,
        { statusCode: 503, code: 'HOLDFAST_REFUSED', error: 'Service Unavailable', message: 'Unavailable for the moment.' },
        expect.any(String),
      ]);
    });

    it('a schema for answers, a serializer, and hooks on answers leave the refusal what it is', async () => {
      const app = make();
      app.setReplySerializer(() => '"of the application"');
      app.addHook('onSend', async (_request, reply) => void reply.header('x-own', '1'));
      await app.register(holdfast, options());
      const schema = { response: { '4xx': { type: 'object', properties: { other: { type: 'string' } } } } };
      app.get('/r', { schema }, ok);
      const { body, headers } = await ask(app, '/r', 'a.b.c');
      expect([Object.keys(JSON.parse(body) as object), headers['x-own'], headers['content-type']]).toEqual([
        ['error', 'error_description'],
        '1',
        'application/json; charset=utf-8',
      ]);
    });

    it('requires() asks for access and nothing more; what is undefined by mistake is refused', async () => {
      const app = make();
      await app.register(holdfast, options({ credentials: 'optional' }));
      app.get('/any', { preHandler: requires() }, ok);
      expect([await statusOf(app, '/any'), await statusOf(app, '/any', token)]).toEqual([401, 200]);
      expect(() => requires(undefined as never)).toThrow(TypeError);
    });

    it('NON-11 an answer with a nonce is not kept, whatever the route says of it', async () => {
      const key = await generateDpopKey();
      const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const [former, newer] = ['a'.repeat(32), 'b'.repeat(32)];
      const answers: LightMyRequestResponse[] = [];
      for (const secrets of [[former], [former], [newer, former]]) {
        const app = make();
        await app.register(holdfast, options({ dpop: { nonce: { secrets } } }));
        app.get('/r', async (_request, reply) => reply.header('cache-control', 'public, max-age=60').send('ok'));
        const nonce = answers[0]?.headers['dpop-nonce'];
        const proof = makeProof({ key, token: bound, htu: `${AUDIENCE}/r`, iat: Math.floor(Date.now() / 1000), claims: { nonce } });
        answers.push(await app.inject({ url: '/r', headers: { authorization: `DPoP ${bound}`, dpop: proof } }));
      }
      expect(answers.map(({ statusCode, headers }) => [statusCode, 'dpop-nonce' in headers, headers['cache-control']])).toEqual([
        [401, true, 'no-store'],
        [200, false, 'public, max-age=60'],
        [200, true, 'no-store'],
      ]);
    });

    it('EDG-11 the log of Fastify shows no token, no proof and no nonce', async () => {
      const lines: string[] = [];
      const stream = new Writable({
        write(chunk: Buffer, _encoding, done) {
          lines.push(String(chunk));
          done();
        },
      });
      for (const refusals of ['respond', 'throw'] as const) {
        const app = make({ logger: { level: 'trace', stream } });
        await app.register(holdfast, { ...options({ dpop: { nonce: 'required' } }), refusals });
        app.get('/write', { preHandler: requires({ scope: 'write' }) }, async (request) => accessOf(request));
        const key = await generateDpopKey();
        const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
        const proof = makeProof({ key, token: bound, htu: `${AUDIENCE}/write`, iat: Math.floor(Date.now() / 1000) });
        const challenged = await app.inject({ url: '/write', headers: { authorization: `DPoP ${bound}`, dpop: proof } });
        const nonce = String(challenged.headers['dpop-nonce']);
        expect(nonce.length).toBeGreaterThan(10);
        for (const bearer of [token, `${token}x`, 'eyJ.eyJ.eyJ', '']) await ask(app, '/write', bearer);
        const text = lines.join('');
        for (const secret of ['eyJ', nonce, proof]) expect(text.includes(secret), secret).toBe(false);
      }
      expect(lines.length).toBeGreaterThan(10);
    });
  });

  describe('beside other plugins', () => {
    it("@fastify/auth: an alternative is tried where requires({ … }) is not met, with refusals: 'throw'", async () => {
      const app = make();
      await app.register(fastifyAuth);
      await app.register(holdfast, { ...options(), refusals: 'throw' });
      const key = async (request: { headers: Record<string, unknown> }): Promise<void> => {
        if (request.headers['x-key'] !== 'good') throw new Error('no key');
      };
      app.get('/either', { preHandler: app.auth([requires({ scope: 'write' }), key]) }, ok);
      app.get('/all', { preHandler: app.auth([requires({ scope: 'write' }), key], { relation: 'and' }) }, ok);
      app.get('/last', { preHandler: app.auth([key, requires({ scope: 'write' })]) }, ok);
      const withKey = (url: string): InjectOptions => ({ url, headers: { 'x-key': 'good' } });
      expect([await statusOf(app, withKey('/either'), token), await statusOf(app, '/either', writing)]).toEqual([200, 200]);
      expect((await ask(app, withKey('/either'))).headers['www-authenticate']).toBeUndefined();
      expect([
        await statusOf(app, withKey('/all'), token),
        await statusOf(app, '/all', writing),
        await statusOf(app, withKey('/all'), writing),
      ]).toEqual([403, 401, 200]);
      const refused = await ask(app, '/last');
      expect([refused.statusCode, refused.headers['www-authenticate']?.length]).toEqual([403, 2]);
      expect(await statusOf(app, withKey('/either'))).toBe(401);
    });

    it('@fastify/auth: where refusals are answered, one that is not met ends the request', async () => {
      const app = make();
      await app.register(fastifyAuth);
      await app.register(holdfast, options());
      let reached = false;
      app.get('/either', { preHandler: app.auth([requires({ scope: 'write' }), async () => {}]) }, async () => {
        reached = true;
      });
      expect([await statusOf(app, '/either', token), reached]).toEqual([403, false]);
    });

    it.each(['before', 'after'])('@fastify/cors registered %s: a preflight passes, and what a script needs is exposed', async (order) => {
      const app = make();
      const settings = { origin: 'https://app.example.com', exposedHeaders: ['X-Own', ...EXPOSED_FIELDS] };
      if (order === 'before') await app.register(cors, settings);
      await app.register(holdfast, options({ cors: true }));
      if (order === 'after') await app.register(cors, settings);
      app.get('/r', ok);
      const origin = { origin: 'https://app.example.com' };
      const preflight = await app.inject({
        method: 'OPTIONS',
        url: '/r',
        headers: { ...origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization,dpop' },
      });
      expect([preflight.statusCode, preflight.headers['access-control-allow-origin']]).toEqual([204, 'https://app.example.com']);
      const granted = await ask(app, { url: '/r', headers: origin });
      expect([granted.statusCode, granted.headers['access-control-expose-headers']]).toEqual([200, 'X-Own, WWW-Authenticate, DPoP-Nonce']);
      const refused = await ask(app, { url: '/r', headers: origin }, 'a.b.c');
      expect([refused.statusCode, refused.headers['access-control-allow-origin']]).toEqual([
        401,
        order === 'before' ? 'https://app.example.com' : undefined,
      ]);
    });

    it.each(['before', 'after', 'never'])(
      'with @fastify/cors registered %s, a preflight runs no route for all methods, and no handler for unknown ones',
      async (order) => {
        const app = make();
        const settings = { origin: 'https://app.example.com' };
        if (order === 'before') await app.register(cors, settings);
        await app.register(holdfast, options());
        if (order === 'after') await app.register(cors, settings);
        const reached: string[] = [];
        const route = (path: string) => async () => void reached.push(path);
        app.all('/all', route('/all'));
        app.route({ method: ['GET', 'OPTIONS'], url: '/both', handler: route('/both') });
        app.setNotFoundHandler(route('unknown'));
        const preflight = (url: string): Promise<number> =>
          statusOf(app, { method: 'OPTIONS', url, headers: { origin: 'https://app.example.com', 'access-control-request-method': 'GET' } });
        // Before, it answers preflights itself. After, its own route does, where the path has no other.
        const own = order === 'before' ? 204 : 401;
        expect([await preflight('/all'), await preflight('/both'), await preflight('/unknown')]).toEqual([
          own,
          own,
          order === 'never' ? 401 : 204,
        ]);
        expect(reached).toEqual([]);
        expect([await statusOf(app, '/all', token), reached]).toEqual([200, ['/all']]);
      },
    );

    it('issuerFor: over HTTP/2 no tenant is reached by an :authority that selects and a Host that routes', async () => {
      const other = await startIssuer();
      const app = fastify({ http2: true });
      apps.push(app as unknown as FastifyInstance);
      const tenants: Record<string, string> = { 'mine.test': issuer.url, 'theirs.test': other.url };
      await app.register(holdfast, {
        ...options(),
        issuer: [issuer.url, other.url],
        issuerFor: (request) => tenants[request.fieldLines(':authority')[0] ?? ''],
      });
      app.get('/r', ok);
      const session = connect(await app.listen({ port: 0, host: '127.0.0.1' }));
      const answeredTo = async (hosts: Record<string, string>): Promise<unknown> => {
        const stream = session.request({ ':path': '/r', ...hosts, authorization: `Bearer ${token}` });
        const [fields] = (await once(stream, 'response')) as [Record<string, unknown>];
        stream.resume();
        return fields[':status'];
      };
      expect(await answeredTo({ ':authority': 'mine.test' })).toBe(200);
      expect(await answeredTo({ ':authority': 'mine.test', host: 'Mine.test' })).toBe(200);
      expect(await answeredTo({ ':authority': 'theirs.test' })).toBe(401);
      expect(await answeredTo({ ':authority': 'mine.test', host: 'theirs.test' })).toBe(400);
      expect(events.at(-1)?.reason).toBe('request.several_hosts');
      session.close();
      await other.close();
    });

    it('@fastify/websocket: a client that never answers a close frame is cut off when the access ends', async () => {
      const app = make();
      await app.register(websocket);
      const resource = protectedResource(options());
      await app.register(holdfast, { resource });
      const heard: string[] = [];
      app.get('/ws', { websocket: true }, (socket) => {
        socket.on('message', (message) => heard.push(Buffer.from(message as Buffer).toString()));
      });
      const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }));
      const client = connectTcp(Number(port), '127.0.0.1');
      const ended = new Promise((resolve) => client.on('error', () => {}).once('close', resolve));
      const hi = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
      const lines = [
        'GET /ws HTTP/1.1',
        'Host: rs.example.com',
        'Connection: Upgrade',
        'Upgrade: websocket',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
        `Authorization: Bearer ${token}`,
      ];
      client.write(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), hi]));
      await expect.poll(() => heard).toEqual(['hi']);
      await resource.close();
      client.write(hi);
      client.resume();
      await ended;
      expect(heard).toEqual(['hi']);
    });

    it('without anything that answers upgrades, a request that asks for one is answered like any other', async () => {
      const app = make();
      await app.register(holdfast, options());
      app.get('/r', ok);
      const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }));
      const lines = [
        'GET /r HTTP/1.1',
        'Host: rs.example.com',
        'Connection: Upgrade',
        'Upgrade: websocket',
        `Authorization: Bearer ${token}`,
      ];
      expect((await rawRequest({ port: Number(port), lines })).body).toBe('ok');
    });

    it('EDG-21 @fastify/websocket: an upgrade is judged like a request, before the handshake', async () => {
      const pki = await createPki();
      const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
      const bound = await issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } });
      const { cert, key } = pki.server;
      const app = fastify({ https: { cert, key, requestCert: true, rejectUnauthorized: false } });
      await app.register(websocket);
      await app.register(holdfast, { ...options({ certificate: fromTls() }) });
      app.get('/ws', { websocket: true, config: { holdfast: { scope: 'read' } } }, (socket, request) =>
        socket.send(accessOf(request).claims.sub ?? ''),
      );
      app.get('/ws/write', { websocket: true, config: { holdfast: { scope: 'write' } } }, (socket) => socket.send('written'));
      await app.listen({ port: 0, host: '127.0.0.1' });
      const open = (path: string, identity: Identity, bearer: string, version?: 'TLSv1.2'): Promise<unknown> =>
        new Promise((resolve, reject) => {
          const address = app.server.address();
          const port = typeof address === 'object' && address !== null ? address.port : 0;
          const client = new WebSocket(`wss://localhost:${port}${path}`, {
            ca: pki.ca,
            cert: identity.cert,
            key: identity.key,
            ...(version && { maxVersion: version }),
            headers: { authorization: `Bearer ${bearer}` },
          });
          client.once('message', (message) => {
            client.terminate();
            resolve(Buffer.from(message as Buffer).toString());
          });
          client.once('unexpected-response', (_request, { statusCode, rawHeaders }) =>
            resolve([statusCode, rawHeaders.filter((name) => name.toLowerCase() === 'www-authenticate').length]),
          );
          client.once('error', reject);
        });
      expect(await open('/ws', owner, bound)).toBe('user-1');
      expect(await open('/ws', thief, bound)).toEqual([401, 2]);
      expect(await open('/ws/write', owner, bound)).toEqual([403, 2]);
      expect([await open('/ws', owner, bound, 'TLSv1.2'), await open('/ws', thief, bound, 'TLSv1.2')]).toEqual(['user-1', [401, 2]]);
      expect(events.at(-1)?.reason).toBe('certificate.mismatch');
      await app.close();
    });
  });
});

async function startFastify(make: typeof fastify, contract: ContractApp): Promise<RunningServer> {
  const { options, other, reached, stream, tls, http2 } = contract;
  const https = { ...tls, requestCert: true, rejectUnauthorized: false };
  const app = (http2
    ? make({ http2: true, https: { ...https, allowHTTP1: true }, forceCloseConnections: true })
    : make({ https, forceCloseConnections: true })) as unknown as FastifyInstance;
  const refusals = contract.refusals === 'answered' ? 'respond' : 'throw';
  const resource = protectedResource(options);
  app.setErrorHandler((error, _request, reply) => {
    reply.header('X-Own', '1');
    throw error;
  });

  if (options.metadata !== undefined) await app.register(holdfastMetadata, { resource });
  app.get('/open', async () => {
    reached('/open');
    return 'open';
  });
  const route = (path: string) => async (request: Parameters<typeof accessOf>[0]) => {
    reached(path);
    return grantedTo(accessOf(request));
  };
  app.get('/bare/write', { preHandler: requires({ scope: 'write' }) }, route('/bare/write'));
  app.get('/bare/access', route('/bare/access'));

  await app.register(
    async (api) => {
      await api.register(holdfast, { resource, refusals });
      api.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
      api.get('/r', route('/api/r'));
      api.post('/r', route('/api/r'));
      api.options('/r', async (_request, reply) => {
        reached('/api/r');
        return reply.code(204).send();
      });
      api.get('/maybe', async (request, reply) => {
        reached('/api/maybe');
        return reply.type('application/json').send(JSON.stringify(grantedTo(maybeAccessOf(request))));
      });
      api.get('/write', { config: { holdfast: { scope: 'write' } } }, route('/api/write'));
      api.all('/all', route('/api/all'));
      api.post('/json', async ({ body }) => {
        reached('/api/json');
        return body;
      });
      api.post('/upload', { bodyLimit: 2 ** 31 }, async ({ body }) => {
        reached('/api/upload');
        let length = 0;
        if (body instanceof Readable) for await (const chunk of body) length += Buffer.from(chunk).length;
        return length;
      });
      api.get('/stream', async (_request, reply) => {
        reached('/api/stream');
        return reply.send(stream());
      });
      api.get('/throws', async () => {
        reached('/api/throws');
        throw new Error('of the application');
      });
    },
    { prefix: '/api' },
  );
  await app.register(async (twice) => {
    await twice.register(holdfast, { resource, refusals });
    await twice.register(holdfast, { resource, refusals });
    twice.get('/twice/r', route('/twice/r'));
  });
  await app.register(async (both) => {
    await both.register(holdfast, { resource, refusals });
    await both.register(holdfast, { ...other, refusals });
    both.get('/both/r', route('/both/r'));
  });
  await app.register(async (answered) => {
    answered.addHook('onRequest', (_request, reply, done) => {
      reply.code(408).send('late');
      done();
    });
    await answered.register(holdfast, { resource, refusals });
    answered.get('/answered/r', route('/answered/r'));
  });

  await app.listen({ port: 0, host: '127.0.0.1' });
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('Fastify listens on no port');
  return { port: address.port, close: () => app.close() };
}
