import { once } from 'node:events';
import { createServer, type IncomingMessage, request as send, type Server } from 'node:http';
import { holdfast } from '@holdfast/express';
import { accessOfTool, authInfoOf, mcpEndpoint, type McpEndpoint, type McpEndpointOptions } from '@holdfast/mcp';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';

const audience = 'https://rs.example.com/mcp';
const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
};
const LIST = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
const CALL = { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'whoami', arguments: {} } };

interface Asked {
  readonly method?: string;
  readonly sub?: string;
  readonly client?: string | undefined;
  readonly thumbprint?: string | undefined;
  readonly session?: string | readonly string[] | undefined;
  readonly body?: object;
  readonly exp?: number;
}

describe('mcpEndpoint', () => {
  let issuer: Issuer;
  const ends: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    issuer = await startIssuer();
  });
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });
  afterAll(() => issuer.close());

  const start = async (
    options: Partial<McpEndpointOptions<StreamableHTTPServerTransport>> = {},
    protection: 'ours' | 'none' = 'ours',
  ): Promise<{
    ask: (asked?: Asked) => Promise<Response>;
    transports: StreamableHTTPServerTransport[];
    closed: unknown[];
    endpoint: McpEndpoint;
    port: number;
    revoke: () => void;
  }> => {
    const transports: StreamableHTTPServerTransport[] = [];
    const closed: StreamableHTTPServerTransport[] = [];
    const protect = holdfast({
      issuer: issuer.url,
      audience,
      // As an edge would have forwarded it.
      certificate: (request) => {
        const [thumbprint] = request.fieldLines('x-thumbprint');
        return thumbprint === undefined ? undefined : { thumbprint };
      },
      unconstrained: 'accept',
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
    });
    const endpoint = mcpEndpoint({
      async connect(transportOptions) {
        const transport = new StreamableHTTPServerTransport(transportOptions);
        transports.push(transport);
        const server = new McpServer({ name: 'test', version: '1' });
        server.registerTool('whoami', {}, (extra) => ({ content: [{ type: 'text', text: String(accessOfTool(extra).claims.sub) }] }));
        await server.connect(transport);
        Object.assign(server.server, { onclose: () => closed.push(transport) });
        return transport;
      },
      ...options,
    });
    const app = express();
    // What another middleware says of the request, and cannot be assigned.
    app.use((request, _response, next) => {
      Object.defineProperty(request, 'auth', {
        get: () => ({ token: 'theirs', clientId: 'admin', scopes: ['admin'] }),
        configurable: true,
      });
      next();
    });
    if (protection === 'ours') app.use(protect);
    app.all('/mcp', endpoint);
    const server: Server = createServer(app);
    const port = await listen(server);
    ends.push(async () => {
      endpoint.close();
      await protect.close();
      await stop(server);
    });
    return {
      transports,
      closed,
      endpoint,
      port,
      revoke: () => void protect.close(),
      async ask({ method = 'POST', sub = 'user-1', client = 'client-1', thumbprint = 'A'.repeat(43), session, body = LIST, exp } = {}) {
        const cnf = thumbprint === '' ? undefined : { 'x5t#S256': thumbprint };
        const token = await issuer.token({
          aud: audience,
          sub: sub === '' ? undefined : sub,
          client_id: client === '' ? undefined : client,
          cnf,
          ...(exp !== undefined && { exp }),
        });
        const headers = new Headers({
          authorization: `Bearer ${token}`,
          accept: 'application/json, text/event-stream',
          'content-type': 'application/json',
          ...(cnf && { 'x-thumbprint': thumbprint }),
        });
        for (const id of [session ?? []].flat()) headers.append('mcp-session-id', id);
        return fetch(`http://127.0.0.1:${port}/mcp`, { method, headers, ...(method === 'POST' && { body: JSON.stringify(body) }) });
      },
    };
  };
  const open = async (ask: (asked?: Asked) => Promise<Response>, asked: Asked = {}): Promise<string> => {
    const response = await ask({ ...asked, body: INITIALIZE });
    await response.text();
    expect(response.status).toBe(200);
    return response.headers.get('mcp-session-id') ?? '';
  };

  it('refuses with 401 where nothing protects it, whatever stands in request.auth', async () => {
    const { ask, transports } = await start({}, 'none');
    expect((await ask({ body: INITIALIZE })).status).toBe(401);
    expect(transports).toEqual([]);
  });

  it('replaces what another has put into request.auth', async () => {
    const { ask } = await start();
    const session = await open(ask);
    expect(await (await ask({ session, body: CALL })).text()).toContain('"text":"user-1"');
  });

  it.each<[string, Asked]>([
    ['another subject', { sub: 'user-2' }],
    ['another client', { client: 'client-2' }],
    ['another certificate', { thumbprint: 'B'.repeat(43) }],
    ['the same subject and client, unbound', { thumbprint: '' }],
    ['a subject that is called as the client is', { sub: 'client-1', client: 'user-1' }],
    ['no client', { client: '' }],
  ])('a session is not there for %s, by any method, and goes on for its owner', async (_who, thief) => {
    const foreign: unknown[] = [];
    const { ask } = await start({ onForeignSession: ({ claims }) => foreign.push(claims.sub) });
    const session = await open(ask);
    const never = await ask({ session: 'never-given-out' });
    const expected = await never.text();
    for (const method of ['POST', 'GET', 'DELETE', 'PUT']) {
      const response = await ask({ ...thief, session, method });
      expect([response.status, await response.text()]).toEqual([404, expected]);
    }
    expect(foreign).toHaveLength(4);
    expect((await ask({ session })).status).toBe(200);
  });

  it('a session of an unbound token is not there for a bound one', async () => {
    const { ask } = await start();
    const session = await open(ask, { thumbprint: '' });
    expect((await ask({ session })).status).toBe(404);
    expect((await ask({ session, thumbprint: '' })).status).toBe(200);
  });

  it('needs a session, and one only', async () => {
    const { ask, transports, closed } = await start();
    const session = await open(ask);
    expect((await ask({ method: 'GET' })).status).toBe(400);
    expect((await ask({ method: 'DELETE' })).status).toBe(400);
    expect((await ask({ session: `${session}, ${session}` })).status).toBe(404);
    expect((await ask()).status).toBe(400);
    // The transport that was made for it is closed.
    await expect.poll(() => closed).toEqual([transports[1]]);
    expect((await ask({ session })).status).toBe(200);
  });

  it('refuses several session fields, whichever comes first', async () => {
    const { ask, port } = await start();
    const session = await open(ask);
    const token = await issuer.token({ aud: audience, sub: 'user-1', client_id: 'client-1', cnf: { 'x5t#S256': 'A'.repeat(43) } });
    const headers = { authorization: `Bearer ${token}`, 'x-thumbprint': 'A'.repeat(43), 'mcp-session-id': [session, session] };
    const asked = send({ port, host: '127.0.0.1', path: '/mcp', method: 'GET', headers }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(400);
    response.resume();
  });

  it('opens no session for a token that could be anybody', async () => {
    const { ask, transports } = await start();
    expect((await ask({ sub: '', client: '', thumbprint: '', body: INITIALIZE })).status).toBe(403);
    expect(transports).toEqual([]);
  });

  it('ends a session for its owner', async () => {
    const { ask } = await start();
    const session = await open(ask);
    expect((await ask({ session, method: 'DELETE' })).status).toBe(200);
    expect((await ask({ session })).status).toBe(404);
  });

  it('opens so many sessions and no more; a client has a share, and pushes out nobody else', async () => {
    const { ask } = await start({ sessions: 3, sessionsPerClient: 2 });
    const other = await open(ask, { sub: 'user-2' });
    const own = [await open(ask), await open(ask)];
    const full = await ask({ body: INITIALIZE });
    expect([full.status, full.headers.get('retry-after')]).toEqual([503, '60']);
    expect((await ask({ session: other, sub: 'user-2' })).status).toBe(200);
    expect((await ask({ session: other, sub: 'user-2', method: 'DELETE' })).status).toBe(200);
    await open(ask);
    expect((await ask({ session: own[0] })).status).toBe(404);
    expect((await ask({ session: own[1] })).status).toBe(200);
  });

  it('ends a session that nobody uses, but not one whose stream is open', async () => {
    const { ask, closed } = await start({ sessions: 1, idle: 60 });
    const session = await open(ask);
    const stream = await ask({ session, method: 'GET' });
    const now = performance.now() + 61_000;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
    expect((await ask({ body: INITIALIZE })).status).toBe(503);
    await stream.body?.cancel();
    await expect.poll(async () => (await ask({ session, method: 'GET', sub: 'user-2' })).status).toBe(404);
    clock.mockImplementation(() => now + 61_000);
    expect((await ask({ session })).status).toBe(404);
    await open(ask);
    expect(closed).toHaveLength(1);
    clock.mockRestore();
  });

  it('ends the stream that is open when the access ends', async () => {
    const { ask, revoke } = await start();
    const session = await open(ask);
    const stream = await ask({ session, method: 'GET' });
    expect(stream.status).toBe(200);
    revoke();
    await expect(stream.text()).rejects.toThrow(/terminated/);
  });

  it('tools that are run by another way have no access', () => {
    expect(() => accessOfTool({})).toThrow(/not let through/);
    expect(() => accessOfTool({ authInfo: { token: 'x', clientId: 'admin', scopes: [] } })).toThrow(/not let through/);
  });

  it('says what is wrong with its options, all at once', () => {
    const wrong = { sessions: 0, idle: 1.5, sesions: 1, onForeignSession: 1 };
    expect(() => mcpEndpoint(wrong as never)).toThrow(
      /sesions: is no option[^]*- sessions: [^]*- idle: [^]*- connect: [^]*- onForeignSession: /,
    );
  });

  it('never holds a token, nor a resource that is not the only one', () => {
    const access = {
      issuer: 'https://as',
      claims: { aud: ['https://a', 'https://b'], exp: 1 },
      scopes: ['a'],
      confirmations: [],
      confirmed: false,
    } as never;
    const forTheSdk: AuthInfo = authInfoOf(access);
    expect(forTheSdk).toMatchObject({ token: '(the access token stays with Holdfast)', clientId: '', scopes: ['a'] });
    expect(authInfoOf(access)).not.toHaveProperty('resource');
  });
});
