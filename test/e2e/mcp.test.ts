import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request as sendRequest, type Server } from 'node:http';
import { runMcp } from '@holdfast/example-mcp';
import { connect, mtlsFetch } from '@holdfast/example-mcp/clients';
import { startMcpServer } from '@holdfast/example-mcp/server';
import { holdfast } from '@holdfast/express';
import { mcp, type McpOptions, type SessionRefusal, TOKEN_PLACEHOLDER } from '@holdfast/mcp';
import { fetchWith } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { testAuthorizationServer, type TestAuthorizationServer, type TestClient } from '@holdfast/testing';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express, { type Express, type RequestHandler } from 'express';
import { calculateJwkThumbprint, type JWK } from 'jose';
import request, { type Response } from 'supertest';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';

describe('examples/mcp', () => {
  it('the SDK’s own client gets in with a DPoP-bound and with a certificate-bound token, and thieves do not', async () => {
    const attempts = await runMcp();
    expect(attempts.map(({ title, answer, reason }) => [title, answer, reason])).toEqual([
      ['calls a tool', '401', 'request.no_credentials'],
      ['finds the authorization server', expect.stringMatching(/^https:\/\/localhost:\d+$/), 'by resource_metadata'],
      ['connects and opens a session', 'connected', undefined],
      ['calls the tool whoami', 'answered', 'dpop, by jkt'],
      ['calls the tool balance', 'answered', 'The account of dpop holds 17 EUR.'],
      ['calls the tool whoami', 'answered', 'mtls-ca, by x5t#S256'],
      ['calls the tool balance', 'answered', 'The account of mtls-ca holds 17 EUR.'],
      ['as Bearer', '401', 'cnf.presented_as_bearer'],
      ['with a key of its own', '401', 'dpop.key_mismatch'],
      ['a recorded request, once more', '401', 'replay.reused'],
      ['bound to a certificate: without it', '401', 'certificate.missing'],
      ['bound to a certificate: with its own', '401', 'certificate.mismatch'],
      ['calls a tool', '404', 'session.of_another'],
      ['listens to what the server sends', '404', 'session.of_another'],
      ['ends the session', '404', 'session.of_another'],
      ['an id that nobody has', '404', 'session.unknown'],
      ['after all that, calls the tool balance', 'answered', 'The account of dpop holds 17 EUR.'],
      ['ends the session; it is gone', '404', 'session.unknown'],
    ]);
    expect(attempts.filter(({ answer, expected }) => answer !== expected)).toEqual([]);
    const [byKey, byCertificate] = attempts.filter(({ title }) => title === 'calls the tool whoami').map(({ body }) => JSON.parse(body));
    const authInfo = {
      token: TOKEN_PLACEHOLDER,
      scopes: ['accounts:read'],
      resource: expect.stringMatching(/^https:\/\/localhost:\d+\/mcp$/),
    };
    const thumbprint = expect.stringMatching(/^[\w-]{43}$/);
    expect(byKey).toMatchObject({
      ...authInfo,
      clientId: 'dpop',
      extra: { subject: 'dpop', scheme: 'DPoP', confirmed: true, confirmations: [{ member: 'jkt', thumbprint }] },
    });
    expect(byCertificate).toMatchObject({
      ...authInfo,
      clientId: 'mtls-ca',
      extra: { subject: 'mtls-ca', scheme: 'Bearer', confirmed: true, confirmations: [{ member: 'x5t#S256', thumbprint }] },
    });
    // Whoever has another's session id cannot tell it from one that nobody has.
    const strangers = attempts.filter(({ answer }) => answer === '404').map(({ body, challenges }) => [body, challenges]);
    expect(new Set(strangers.map((one) => JSON.stringify(one))).size).toBe(1);
  });

  it('has a README whose three lines are those of its code', () => {
    const [readme, code] = ['README.md', 'src/server.ts'].map((file) =>
      readFileSync(new URL(`../../examples/mcp/${file}`, import.meta.url), 'utf8'),
    );
    const lines =
      /```ts\n([^]*?)```/
        .exec(readme ?? '')?.[1]
        ?.split('\n')
        .filter(Boolean) ?? [];
    expect(lines).toHaveLength(3);
    expect(lines.filter((line) => !code?.includes(`${line}\n`))).toEqual([]);
  });

  it('the stream that the server keeps open to a client ends when the key that signed its token is revoked', async () => {
    const issuing = await testAuthorizationServer({ listen: true });
    const client = await issuing.client();
    const server = await startMcpServer({ issuer: issuing.issuer, tls: issuing.tls, fetch });
    const http = fetchWith({ ca: issuing.tls.ca, ...client.tls });
    try {
      const token = await client.token({ aud: server.url });
      const send = mtlsFetch((url, init) => http(url, init), token);
      // Without the stream that the client of the SDK opens by itself, since there may be one.
      const connected = await connect(server.url, (url, init) =>
        init?.method === 'GET' ? Promise.resolve(new Response(null, { status: 405 })) : send(url, init),
      );
      const headers = { accept: 'text/event-stream', 'mcp-session-id': connected.transport.sessionId ?? '' };
      const stream = await send(server.url, { headers });
      expect(stream.status).toBe(200);
      const ended = stream.text();
      const { keys } = (await (await fetch(`${issuing.issuer}/jwks`)).json()) as { keys: [JWK] };
      server.protection.revokeKey(await calculateJwkThumbprint(keys[0]));
      expect(await ended).toBe('');
      expect((await send(server.url, { headers })).status).toBe(401);
      await connected.client.close();
    } finally {
      await Promise.all([server.close(), issuing.close(), http.close()]);
    }
  });
});

const SESSION = 'mcp-session-id';
const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1.0.0' } },
});

describe('@holdfast/mcp in Express', () => {
  let as: TestAuthorizationServer;
  let owner: TestClient;
  let thief: TestClient;
  const servers: Server[] = [];
  beforeAll(async () => {
    as = await testAuthorizationServer();
    [owner, thief] = [await as.client({ clientId: 'owner' }), await as.client({ clientId: 'thief' })];
  });
  afterAll(() => Promise.all(servers.map(stop)));

  /** In place of the SDK, what its transport does to responses: `x-open` opens a session of that id. */
  const transport: RequestHandler = (req, res) => {
    const opened = req.get('x-open');
    res.writeHead(Number(req.get('x-status') ?? 200), { 'content-type': 'application/json', ...(opened && { [SESSION]: opened }) });
    res.end(JSON.stringify((req as { auth?: unknown }).auth));
  };
  const appWith = (options: McpOptions = {}, ...before: RequestHandler[]): Express => {
    const app = express();
    app.use('/mcp', ...before, holdfast(as.options), mcp(options), transport);
    return app;
  };
  type Headers = Readonly<Record<string, string>>;
  const call = async (app: Express, client: TestClient, headers: Headers = {}, method: 'post' | 'get' | 'delete' = 'post', claims = {}) => {
    const fields = { ...client.present(await client.token(claims)), ...headers };
    const agent = request(app);
    return agent[method]('/mcp').set(fields);
  };
  const open = (app: Express, client: TestClient, id: string): Promise<Response> => call(app, client, { 'x-open': id });

  it('writes who calls, never the token, and claims only where they are named', async () => {
    const claims = { scope: 'a b', email: 'someone@example.com', password: 'secret' };
    const { body } = await call(appWith({ claims: ['email', 'absent'], resource: 'https://api.test/mcp' }), owner, {}, 'post', claims);
    expect(body).toEqual({
      token: TOKEN_PLACEHOLDER,
      clientId: 'owner',
      scopes: ['a', 'b'],
      expiresAt: expect.any(Number),
      resource: 'https://api.test/mcp',
      extra: {
        issuer: as.options.issuer,
        subject: 'owner',
        scheme: 'Bearer',
        confirmed: true,
        confirmations: [{ member: 'x5t#S256', thumbprint: expect.any(String) }],
        caller: expect.stringContaining('owner'),
        claims: { email: 'someone@example.com' },
      },
    });
  });

  it('what another has put into req.auth decides nothing, be it a setter', async () => {
    const impostor: RequestHandler = (req, _res, next) => {
      Object.defineProperty(req, 'auth', { get: () => ({ clientId: 'impostor' }), set: () => {}, configurable: true });
      next();
    };
    expect((await call(appWith({}, impostor), owner)).body).toMatchObject({ clientId: 'owner' });
    const unprotected = express().use(impostor, mcp(), transport);
    expect((await request(unprotected).post('/')).status).toBe(401);
    const optional = express().use(impostor, holdfast({ ...as.options, credentials: 'optional' }), mcp(), transport);
    expect((await request(optional).post('/')).status).toBe(401);
  });

  it('a session answers to the caller it was opened for, with any token of its own, and to nobody else', async () => {
    const refusals: SessionRefusal[] = [];
    const app = appWith({ onRefusal: (refusal) => refusals.push(refusal) });
    expect((await open(app, owner, 'one')).headers[SESSION]).toBe('one');
    expect((await call(app, owner, { [SESSION]: 'one' }, 'post', { scope: 'other' })).status).toBe(200);
    for (const method of ['post', 'get', 'delete'] as const) {
      const refused = await call(app, thief, { [SESSION]: 'one' }, method);
      expect([refused.status, refused.body]).toEqual([
        404,
        { jsonrpc: '2.0', error: { code: -32_001, message: 'Session not found' }, id: null },
      ]);
    }
    // The same client with another user, the same user by another client, and the same both with another certificate.
    expect((await call(app, owner, { [SESSION]: 'one' }, 'post', { sub: 'another' })).status).toBe(404);
    expect((await call(app, owner, { [SESSION]: 'one' }, 'post', { client_id: 'another' })).status).toBe(404);
    expect((await call(app, thief, { [SESSION]: 'one' }, 'post', { sub: 'owner', client_id: 'owner' })).status).toBe(404);
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(200);
    expect(refusals).toHaveLength(6);
    expect(refusals[0]).toEqual({ reason: 'session.of_another', issuer: as.options.issuer, subject: 'thief', clientId: 'thief' });
    expect(JSON.stringify(refusals)).not.toContain('one"');
  });

  it('a session that another has cannot be taken over by a response that names it, and its id is not told', async () => {
    const ended: string[] = [];
    const app = appWith({ onSessionEnd: (id) => ended.push(id) });
    await open(app, owner, 'one');
    expect((await open(app, thief, 'one')).headers).not.toHaveProperty(SESSION);
    expect(ended).toEqual([]);
    expect((await call(app, thief, { [SESSION]: 'one' })).status).toBe(404);
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(200);
  });

  it('callers that nothing tells apart have no sessions: a token without cnf that names nobody', async () => {
    const app = express();
    const ended: string[] = [];
    app.use('/mcp', holdfast({ ...as.options, unconstrained: 'accept' }), mcp({ onSessionEnd: (id) => ended.push(id) }), transport);
    const nobody = await owner.token({ sub: undefined, client_id: undefined }, 'none');
    const send = (headers: Record<string, string>) => request(app).post('/mcp').auth(nobody, { type: 'bearer' }).set(headers);
    const opened = await send({ 'x-open': 'one' });
    expect([opened.status, opened.headers[SESSION], ended]).toEqual([200, undefined, ['one']]);
    expect((await send({ [SESSION]: 'one' })).status).toBe(404);
  });

  it.each([
    ['two lines', ['one', 'one']],
    ['two in one line', 'one, one'],
    ['nothing', ''],
    ['one that is too long', 'a'.repeat(513)],
    ['another case', 'ONE'],
    ['a member that every object has', '__proto__'],
  ])('an id that is none is refused: %s', async (_, line) => {
    const app = appWith();
    await open(app, owner, 'one');
    const server = createServer(app);
    servers.push(server);
    const port = await listen(server);
    // As lines of their own, which supertest would join.
    const fields = owner.present(await owner.token());
    const status = await new Promise((resolve, reject) => {
      const sent = sendRequest({ port, path: '/mcp', method: 'POST', headers: { ...fields, [SESSION]: line } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.once('error', reject).end();
    });
    expect(status).toBe(404);
  });

  it.each([
    ['ends when its client deletes it', 'delete', 200, true],
    ['ends when its transport does not know it', 'post', 404, true],
    ['goes on where DELETE is not supported', 'delete', 405, false],
    ['goes on when a call fails', 'post', 500, false],
  ] as const)('a session %s', async (_, method, status, isOver) => {
    const ended: string[] = [];
    const app = appWith({ onSessionEnd: (id) => ended.push(id) });
    await open(app, owner, 'one');
    expect((await call(app, owner, { [SESSION]: 'one', 'x-status': String(status) }, method)).status).toBe(status);
    expect(ended).toEqual(isOver ? ['one'] : []);
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(isOver ? 404 : 200);
  });

  it('a session ends when it has been idle for too long, and when the application says so', async () => {
    let time = 1_000;
    const ended: string[] = [];
    const bridge = mcp({ idleSeconds: 60, now: () => time, onSessionEnd: (id) => ended.push(id) });
    const app = express().use('/mcp', holdfast(as.options), bridge, transport);
    await open(app, owner, 'one');
    await open(app, owner, 'two');
    time += 59;
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(200);
    time += 59;
    expect((await call(app, owner, { [SESSION]: 'two' })).status).toBe(404);
    expect(ended).toEqual(['two']);
    bridge.endSession('one');
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(404);
    expect(ended).toEqual(['two', 'one']);
  });

  it('a session whose stream is open is not idle', async () => {
    let time = 1_000;
    const app = express();
    let stream: express.Response | undefined;
    const streaming: RequestHandler = (_req, res) => {
      stream = res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('data: 1\n\n');
    };
    app.use('/mcp', holdfast(as.options), mcp({ idleSeconds: 60, now: () => time }));
    app.get('/mcp', streaming);
    app.use('/mcp', transport);
    await open(app, owner, 'one');
    const listening = call(app, owner, { [SESSION]: 'one' }, 'get');
    await vi.waitUntil(() => stream !== undefined);
    time += 600;
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(200);
    stream?.end();
    expect((await listening).text).toBe('data: 1\n\n');
    time += 60;
    expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(404);
  });

  it.each([
    ['while it is written', false],
    ['before its first word', true],
  ])('a stream whose access ends %s ends, and who goes on writing does not take the process down', async (_, early) => {
    const protect = holdfast(as.options);
    let stopWriting = (): void => {};
    const streaming: RequestHandler = async (_req, res) => {
      if (early) await protect.close();
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      const write = (): void => void res.write(':\n\n');
      write();
      const writing = setInterval(write, 1);
      stopWriting = () => clearInterval(writing);
      if (!early) await protect.close();
      write();
    };
    const app = express().use('/mcp', protect, mcp(), streaming);
    const { status, text } = await call(app, owner, {}, 'get');
    await new Promise((resolve) => setImmediate(resolve));
    stopWriting();
    expect([status, text.startsWith(':\n\n')]).toEqual([200, true]);
  });

  it('whoever opens too many sessions ends its own, and takes the room of nobody', async () => {
    const refusals: string[] = [];
    const app = appWith({ maxSessions: 3, maxSessionsPerUser: 2, onRefusal: ({ reason }) => refusals.push(reason) });
    await open(app, owner, 'owner');
    for (const id of ['a', 'b', 'c']) await open(app, thief, id);
    expect((await call(app, owner, { [SESSION]: 'owner' })).status).toBe(200);
    expect((await call(app, thief, { [SESSION]: 'a' })).status).toBe(404);
    expect((await call(app, thief, { [SESSION]: 'c' })).status).toBe(200);
    const full = await open(app, owner, 'another');
    expect([full.status, full.headers['retry-after']]).toEqual([503, '60']);
    expect((await call(app, owner, { [SESSION]: 'owner' })).status).toBe(200);
    expect(refusals).toEqual(['session.unknown', 'session.no_room']);
  });

  it('the share of a user is one, however many keys, certificates and clients it has', async () => {
    const app = appWith({ maxSessions: 4, maxSessionsPerUser: 2 });
    const tokenOf = { sub: 'thief' };
    for (const number of [1, 2, 3, 4, 5, 6]) {
      const another = await as.client({ clientId: `registered-${number % 3}` });
      expect((await call(app, another, { 'x-open': `of-thief-${number}` }, 'post', tokenOf)).headers[SESSION]).toBe(`of-thief-${number}`);
    }
    expect((await open(app, owner, 'owner')).status).toBe(200);
    expect((await call(app, owner, { [SESSION]: 'owner' })).status).toBe(200);
    // Where no user is named, it is that of the client.
    const machine = { sub: undefined, client_id: 'machine' };
    for (const id of ['a', 'b', 'c']) await call(app, await as.client(), { 'x-open': id }, 'post', machine);
    expect((await open(app, owner, 'another')).status).toBe(503);
    expect((await open(app, thief, 'of-thief-7')).status).toBe(200);
  });

  describe('a client that hangs up before it is answered', () => {
    /** Sends a request, hangs up when the application has it, and waits until the application has answered. */
    const hangUp = async (app: Express, client: TestClient, headers: Headers = {}, method = 'POST', body = ''): Promise<void> => {
      const server = createServer(app);
      servers.push(server);
      const port = await listen(server);
      const fields = { ...client.present(await client.token()), ...headers, 'x-hangs-up': '1', 'content-length': String(body.length) };
      const sent = sendRequest({ port, path: '/mcp', method, headers: fields }).on('error', () => {});
      sent.end(body);
      await vi.waitUntil(() => arrived !== undefined);
      sent.destroy();
      await arrived;
      arrived = undefined;
    };
    let arrived: Promise<unknown> | undefined;
    const slowly =
      (handler: (req: express.Request, res: express.Response) => unknown): RequestHandler =>
      async (req, res) => {
        const answered = (req.get('x-hangs-up') === undefined ? Promise.resolve() : once(res, 'close')).then(() => handler(req, res));
        if (req.get('x-hangs-up') !== undefined) arrived = answered;
        await answered;
      };

    it('leaves no session: the SDK’s is told to be over, at once', async () => {
      const opened: string[] = [];
      const ended: string[] = [];
      const app = express().use(express.json(), holdfast(as.options), mcp({ maxSessions: 1, onSessionEnd: (id) => ended.push(id) }));
      app.use(
        slowly(async (req, res) => {
          const real = new StreamableHTTPServerTransport({
            sessionIdGenerator: () => randomUUID(),
            onsessioninitialized: (id) => void opened.push(id),
          });
          await new McpServer({ name: 'test', version: '1.0.0' }).connect(real);
          await real.handleRequest(req as IncomingMessage, res, req.body);
        }),
      );
      const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
      await hangUp(app, thief, headers, 'POST', INITIALIZE);
      expect(opened).toHaveLength(1);
      expect(ended).toEqual(opened);
      const fields = { ...headers, ...owner.present(await owner.token()) };
      expect((await request(app).post('/mcp').set(fields).send(INITIALIZE)).headers[SESSION]).toBe(opened[1]);
    });

    it('leaves the session that it has idle', async () => {
      let time = 1_000;
      const ended: string[] = [];
      const app = express().use(holdfast(as.options), mcp({ idleSeconds: 60, now: () => time, onSessionEnd: (id) => ended.push(id) }));
      app.use(slowly((req, res) => transport(req, res, () => {})));
      await open(app, owner, 'one');
      // As the SDK does, which names the session in every response.
      await hangUp(app, owner, { [SESSION]: 'one', 'x-open': 'one' });
      expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(200);
      time += 60;
      expect((await call(app, owner, { [SESSION]: 'one' })).status).toBe(404);
      expect(ended).toEqual(['one']);
    });

    it('has deleted its session all the same, and gets nobody else’s', async () => {
      const ended: string[] = [];
      const app = express().use(holdfast(as.options), mcp({ onSessionEnd: (id) => ended.push(id) }));
      app.use(slowly((req, res) => transport(req, res, () => {})));
      await open(app, owner, 'one');
      await hangUp(app, thief, { 'x-open': 'one' });
      expect(ended).toEqual([]);
      await hangUp(app, owner, { [SESSION]: 'one' }, 'DELETE');
      expect(ended).toEqual(['one']);
    });
  });

  it('listeners that throw break no request', async () => {
    const broken = (): never => {
      throw new Error('broken');
    };
    const app = appWith({ onSessionEnd: broken, onRefusal: broken });
    await open(app, owner, 'one');
    expect((await call(app, thief, { [SESSION]: 'one' })).status).toBe(404);
    expect((await call(app, owner, { [SESSION]: 'one' }, 'delete')).status).toBe(200);
  });

  it('every problem of the options is in one TypeError, with its fix', () => {
    const wrong: object = { resource: '/mcp#a', claims: 'email', idleSeconds: 1, maxSessions: 0.5, onRefusal: 'log', sessions: 5 };
    expect(() => mcp(wrong)).toThrow(TypeError);
    expect(() => mcp(wrong)).toThrow(
      /^mcp: sessions: is not an option\. Known: .*; resource: is "\/mcp#a"\. Give .*; claims: .*; idleSeconds: is 1\. Give a whole number from 10 to 86400; maxSessions: is 0\.5\..*; onRefusal: is "log"\. Give a function\.$/,
    );
  });
});
