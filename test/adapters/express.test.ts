import { createServer } from 'node:http';
import {
  accessOf,
  holdfast,
  HoldfastError,
  protectedResource,
  type ProtectedResourceOptions,
  requires,
  type ResourceEvent,
} from '@holdfast/express';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { type RawResponse, rawRequest } from '@holdfast/test-support/raw-request';
import express5 from 'express';
import express4 from 'express-4';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';

// Both have the same shape as far as these tests go; Express 4 ships no types of its own.
const versions = [
  ['Express 5', express5],
  ['Express 4', express4 as unknown as typeof express5],
] as const;

describe.each(versions)('the adapter for %s', (_name, express) => {
  let issuer: Issuer;
  let token: string;
  const open: (() => Promise<void>)[] = [];
  const events: ResourceEvent[] = [];
  const options = (): ProtectedResourceOptions => ({
    issuer: issuer.url,
    audience: AUDIENCE,
    unconstrained: 'accept',
    onEvent: (event) => events.push(event),
  });

  beforeAll(async () => {
    issuer = await startIssuer();
    token = await issuer.token();
  });
  afterAll(() => issuer.close());
  afterEach(async () => {
    events.length = 0;
    await Promise.all(open.splice(0).map((close) => close()));
  });

  async function serve(
    build: (app: ReturnType<typeof express5>) => void,
  ): Promise<(lines: readonly string[], more?: object) => Promise<RawResponse>> {
    const app = express();
    app.set('env', 'test');
    build(app);
    const server = createServer(app);
    const port = await listen(server);
    open.push(() => stop(server));
    return (lines, more = {}) => rawRequest({ port, lines: [lines[0] ?? '', 'Host: rs.example.com', ...lines.slice(1)], ...more });
  }
  const field = ({ headers }: RawResponse, name: string): string[] =>
    headers.flatMap(([key, value]) => (key.toLowerCase() === name ? [value] : []));
  const authorization = (): string => `Authorization: Bearer ${token}`;

  it('grants and refuses with status, fields and JSON body', async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options()));
      app.get('/r', (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
    });
    const granted = await ask(['GET /r HTTP/1.1', authorization()]);
    expect([granted.status, granted.body]).toEqual([200, '{"sub":"user-1"}']);
    expect(field(granted, 'www-authenticate')).toEqual([]);

    const refused = await ask(['GET /r HTTP/1.1', 'Authorization: Bearer a.b.c']);
    expect([refused.status, field(refused, 'content-type')]).toEqual([401, ['application/json; charset=utf-8']]);
    const { error, error_description } = parseChallenges(field(refused, 'www-authenticate'))[0]?.parameters ?? {};
    expect(JSON.parse(refused.body)).toEqual({ error, error_description });

    const none = await ask(['GET /r HTTP/1.1']);
    expect([none.status, none.body, parseChallenges(field(none, 'www-authenticate'))]).toEqual([
      401,
      '',
      [
        { scheme: 'Bearer', parameters: { realm: AUDIENCE } },
        { scheme: 'DPoP', parameters: { realm: AUDIENCE, algs: expect.stringContaining('ES256') } },
      ],
    ]);
  });

  it('EXT-13 sees a second Authorization line, of which headers.authorization knows nothing', async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options()));
      app.get('/r', (_request, response) => void response.json({}));
    });
    const { status } = await ask(['GET /r HTTP/1.1', authorization(), 'Authorization: Bearer other']);
    expect(status).toBe(400);
  });

  it('reads the target as the client wrote it, in mounted applications and routers', async () => {
    const router = express.Router();
    router.get('/r', (request, response) => void response.json({ url: request.url, sub: accessOf(request).claims.sub }));
    const ask = await serve((app) => {
      app.use('/api', holdfast(options()), router);
    });
    expect((await ask(['GET /api/r HTTP/1.1', authorization()])).body).toBe('{"url":"/r","sub":"user-1"}');
    // What a mount strips is still part of the request: a token in the query is seen.
    expect((await ask(['GET /api/r?access_token=x HTTP/1.1', authorization()])).status).toBe(400);
    // What is not mounted under it is not protected by it.
    expect((await ask(['GET /other HTTP/1.1'])).status).toBe(404);
  });

  it('protects each of several mounts, and judges a request once for each resource', async () => {
    const resource = protectedResource(options());
    const ask = await serve((app) => {
      app.use(holdfast(resource));
      app.use('/api', holdfast(resource));
      app.get('/api/r', holdfast(resource), (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
    });
    expect((await ask(['GET /api/r HTTP/1.1', authorization()])).status).toBe(200);
    expect(events.map(({ outcome }) => outcome)).toEqual(['granted']);
  });

  it('requires(…) answers 403 for a missing scope, and 401 where nothing protects the route', async () => {
    const ask = await serve((app) => {
      app.get('/bare', requires({ scope: 'read' }), (_request, response) => void response.json({}));
      app.get('/bare-access', (request, response) => void response.json(accessOf(request)));
      app.use(holdfast(options()));
      app.get('/read', requires({ scope: 'read' }), (_request, response) => void response.json({}));
      app.get('/write', requires({ scope: 'write' }), (_request, response) => void response.json({}));
    });
    expect((await ask(['GET /read HTTP/1.1', authorization()])).status).toBe(200);
    const forbidden = await ask(['GET /write HTTP/1.1', authorization()]);
    expect(forbidden.status).toBe(403);
    expect(parseChallenges(field(forbidden, 'www-authenticate'))[0]?.parameters).toMatchObject({
      error: 'insufficient_scope',
      scope: 'write',
    });
    for (const path of ['/bare', '/bare-access']) {
      const bare = await ask([`GET ${path} HTTP/1.1`, authorization()]);
      expect([bare.status, field(bare, 'www-authenticate')]).toEqual([401, ['Bearer realm="holdfast"']]);
    }
  });

  it('ignores what others write on the request: req.auth and req.user grant nothing', async () => {
    const ask = await serve((app) => {
      app.use((request, _response, next) => {
        Object.assign(request, { auth: { payload: { scope: 'read' } }, user: { scope: 'read' }, access: { granted: true } });
        next();
      });
      app.get('/r', requires({ scope: 'read' }), (_request, response) => void response.json({}));
    });
    expect((await ask(['GET /r HTTP/1.1', authorization()])).status).toBe(401);
  });

  it("with refusals: 'next' the error handler of Express answers with the same status and fields", async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options(), { refusals: 'next' }));
      app.get('/write', requires({ scope: 'write' }), (_request, response) => void response.json({}));
    });
    const unauthorized = await ask(['GET /write HTTP/1.1', 'Authorization: Bearer a.b.c']);
    expect(unauthorized.status).toBe(401);
    expect(parseChallenges(field(unauthorized, 'www-authenticate'))[0]?.parameters['error']).toBe('invalid_token');
    const forbidden = await ask(['GET /write HTTP/1.1', authorization()]);
    expect(forbidden.status).toBe(403);
    expect(parseChallenges(field(forbidden, 'www-authenticate'))[0]?.parameters['error']).toBe('insufficient_scope');
  });

  it("with refusals: 'next' a handler of the application finds why, and the fields survive what it does", async () => {
    const seen: unknown[] = [];
    const ask = await serve((app) => {
      app.use(holdfast(options(), { refusals: 'next' }));
      app.use((error: unknown, _request: unknown, response: express5.Response, _next: unknown) => {
        if (error instanceof HoldfastError) seen.push([error.status, error.refusal?.rejection.rejected, error.message]);
        response.setHeader('X-Own', '1');
        response.status(401).json({ own: true });
      });
    });
    const answer = await ask(['GET /r HTTP/1.1', 'Authorization: Bearer a.b.c']);
    expect(seen).toEqual([[401, 'token.malformed', 'The access token is not valid here, or was not sent by the client it is bound to.']]);
    expect([answer.body, field(answer, 'x-own')]).toEqual(['{"own":true}', ['1']]);
    expect(field(answer, 'www-authenticate')).toHaveLength(2);
  });

  it('an exception in the route stays the business of the application', async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options()));
      app.get('/r', () => {
        throw new Error('of the application');
      });
    });
    expect((await ask(['GET /r HTTP/1.1', authorization()])).status).toBe(500);
  });

  it('does not answer, and does not go on, where somebody has answered in the meantime', async () => {
    let reached = false;
    const ask = await serve((app) => {
      app.use((_request, response, next) => {
        response.status(408).json({ own: true });
        next();
      });
      app.use(holdfast(options()));
      app.use(() => {
        reached = true;
      });
    });
    expect((await ask(['GET /r HTTP/1.1', authorization()])).status).toBe(408);
    await expect.poll(() => events).toHaveLength(1);
    expect(reached).toBe(false);
  });

  it('does not reach the route for a client that has gone while its token was judged', async () => {
    let reached = false;
    const slow = await startIssuer();
    let answerKeys = (): void => {};
    slow.answer = (_request, response, path) => {
      if (!path.startsWith('/.well-known')) return false;
      answerKeys = () => void response.writeHead(404).end();
      return true;
    };
    const ask = await serve((app) => {
      app.use(holdfast({ ...options(), issuer: slow.url }));
      app.use(() => {
        reached = true;
      });
    });
    const gone = ask(['GET /r HTTP/1.1', `Authorization: Bearer ${await slow.token()}`]).catch(() => 'gone');
    await slow.nextRequest(/well-known/);
    await open.splice(0)[0]?.();
    await gone;
    slow.answer = undefined;
    answerKeys();
    await expect.poll(() => events).toHaveLength(1);
    expect(reached).toBe(false);
    await slow.close();
  });

  it('judges every request of a connection by its own token', async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options()));
      app.get('/r', (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
    });
    const first = await ask(['GET /r HTTP/1.1', authorization()]);
    const second = await ask(['GET /r HTTP/1.1', `Authorization: Bearer ${await issuer.token({ sub: 'user-2' })}`], {
      socket: first.socket,
    });
    const third = await ask(['GET /r HTTP/1.1'], { socket: first.socket });
    expect([first, second, third].map(({ status, body }) => [status, body])).toEqual([
      [200, '{"sub":"user-1"}'],
      [200, '{"sub":"user-2"}'],
      [401, ''],
    ]);
    first.socket.destroy();
  });

  it('refuses an upload before its body is read', async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options()));
      app.use(express.raw());
    });
    const { status } = await ask(['POST /r HTTP/1.1', 'Content-Length: 1000000', 'Content-Type: application/octet-stream'], {
      body: 'the beginning',
    });
    expect(status).toBe(401);
  });

  it('HEAD is judged like GET, and answered without a body', async () => {
    const ask = await serve((app) => {
      app.use(holdfast(options()));
      app.get('/r', (_request, response) => void response.json({}));
    });
    expect((await ask(['HEAD /r HTTP/1.1', authorization()])).status).toBe(200);
    const refused = await ask(['HEAD /r HTTP/1.1', 'Authorization: Bearer a.b.c']);
    expect([refused.status, refused.body, field(refused, 'www-authenticate').length]).toEqual([401, '', 2]);
  });
});

it('holdfast(…) refuses adapter options that it does not know', () => {
  const options = { issuer: 'https://as.example.com', audience: AUDIENCE };
  expect(() => holdfast(options, { refusals: 'throw' as 'next' })).toThrow(TypeError);
});
