// The web-standard transports of both versions of the MCP SDK, each with the client of its own version.
import { createServer } from 'node:http';
import { holdfast } from '@holdfast/core/fetch';
import { type AuthInfo, mcp, type SessionRefusal, TOKEN_PLACEHOLDER } from '@holdfast/mcp/fetch';
import { listen, stop } from '@holdfast/test-support/loopback';
import { testAuthorizationServer, type TestAuthorizationServer, type TestClient } from '@holdfast/testing';
import { getRequestListener } from '@hono/node-server';
import * as client2 from '@modelcontextprotocol/client';
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as ClientTransport1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer as Server1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { WebStandardStreamableHTTPServerTransport as Transport1 } from '@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js';
import * as server2 from '@modelcontextprotocol/server';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';

const URL_OF_SERVER = 'https://api.test/mcp';
const SESSION = 'mcp-session-id';
type Handle = (request: Request) => Promise<Response>;
type TextOf = { readonly content: readonly unknown[] };

/** The text of the first block. */
function textOf(result: unknown): string {
  return (result as { content: { text: string }[] }).content[0]?.text ?? '';
}

/** Who calls, and everything else that a tool gets to see of the request. */
const answerOf = (authInfo: unknown, headers: unknown): TextOf & { content: [{ type: 'text'; text: string }] } => ({
  content: [{ type: 'text', text: JSON.stringify({ authInfo, headers }) }],
});

interface Version {
  /** A transport to a server of its own, whose tool `whoami` says who calls. */
  readonly serve: (opened: (id: string, transport: Transport) => void) => Promise<Transport>;
  /** Connects the client of the same version, and calls the tool. */
  readonly whoami: (fetch: (url: string | URL, init?: RequestInit) => Promise<Response>) => Promise<{ text: string; sessionId: string }>;
}
interface Transport {
  handleRequest(request: Request, options: { readonly authInfo: AuthInfo }): Promise<Response>;
}

const VERSION_1: Version = {
  async serve(opened) {
    const server = new Server1({ name: 'test', version: '1.0.0' });
    server.registerTool('whoami', {}, ({ authInfo, requestInfo }) => answerOf(authInfo, requestInfo?.headers));
    const transport = new Transport1({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => opened(id, transport),
    });
    await server.connect(transport);
    return transport;
  },
  async whoami(fetch) {
    const transport = new ClientTransport1(new URL(URL_OF_SERVER), { fetch });
    const client = new Client1({ name: 'test', version: '1.0.0' });
    await client.connect(transport);
    const text = textOf(await client.callTool({ name: 'whoami' }));
    const { sessionId = '' } = transport;
    await client.close();
    return { text, sessionId };
  },
};

const VERSION_2: Version = {
  async serve(opened) {
    const server = new server2.McpServer({ name: 'test', version: '1.0.0' });
    server.registerTool('whoami', {}, ({ http }) => answerOf(http?.authInfo, Object.fromEntries(http?.req?.headers ?? [])));
    const transport = new server2.WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => opened(id, transport),
    });
    await server.connect(transport);
    return transport;
  },
  async whoami(fetch) {
    const transport = new client2.StreamableHTTPClientTransport(new URL(URL_OF_SERVER), { fetch });
    const client = new client2.Client({ name: 'test', version: '1.0.0' });
    await client.connect(transport);
    const text = textOf(await client.callTool({ name: 'whoami' }));
    const { sessionId = '' } = transport;
    await client.close();
    return { text, sessionId };
  },
};

describe('@holdfast/mcp/fetch', () => {
  let as: TestAuthorizationServer;
  let owner: TestClient;
  let thief: TestClient;
  beforeAll(async () => {
    as = await testAuthorizationServer();
    [owner, thief] = [await as.client({ clientId: 'owner' }), await as.client({ clientId: 'thief' })];
  });

  const clientFetch =
    (handle: Handle, client: TestClient) =>
    async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
      const headers = new Headers(init.headers);
      for (const [name, value] of Object.entries(client.present(await client.token()))) headers.set(name, value);
      return handle(new Request(url, { ...init, headers }));
    };

  describe.each([
    ['1', VERSION_1],
    ['2', VERSION_2],
  ])('with version %s of the SDK', (_, { serve, whoami }) => {
    it('tells tools who calls, keeps a session to whom it was opened for, and ends its streams with the access', async () => {
      const refusals: SessionRefusal['reason'][] = [];
      const transports = new Map<string, Transport>();
      const bridge = mcp({ onRefusal: ({ reason }) => refusals.push(reason) });
      const protect = holdfast(as.options);
      const handle: Handle = async (request) => {
        const { refusal, apply } = await protect(request);
        if (refusal) return refusal;
        const known = transports.get(request.headers.get(SESSION) ?? '');
        const transport = known ?? (await serve((id, opened) => transports.set(id, opened)));
        return apply(await bridge(request, (inner, options) => transport.handleRequest(inner, options)));
      };

      const { text, sessionId } = await whoami(clientFetch(handle, owner));
      const { authInfo, headers } = JSON.parse(text);
      expect(authInfo).toMatchObject({ token: TOKEN_PLACEHOLDER, clientId: 'owner', extra: { subject: 'owner', confirmed: true } });
      // The SDK shows tools the fields of the request, too.
      expect(headers).toMatchObject({ [SESSION]: sessionId, 'content-type': 'application/json' });
      expect(headers).not.toHaveProperty('authorization');
      expect(sessionId).toMatch(/^[\w-]{36}$/);

      const stealing = clientFetch(handle, thief);
      for (const method of ['GET', 'POST', 'DELETE']) {
        const answer = await stealing(URL_OF_SERVER, { method, headers: { [SESSION]: sessionId, accept: 'text/event-stream' } });
        expect([answer.status, answer.headers.get('content-type')]).toEqual([404, 'application/json']);
      }
      expect(refusals).toEqual(Array.from({ length: 3 }, () => 'session.of_another'));

      // Another session, since this client has closed its own stream only when the server comes to know of it.
      const again = await whoami((url, init) =>
        init?.method === 'GET' ? Promise.resolve(new Response(null, { status: 405 })) : clientFetch(handle, owner)(url, init),
      );
      const stream = await clientFetch(handle, owner)(URL_OF_SERVER, {
        headers: { [SESSION]: again.sessionId, accept: 'text/event-stream' },
      });
      expect(stream.status).toBe(200);
      const ended = stream.text();
      await protect.close();
      expect(await ended).not.toContain('error');
    });
  });

  it('tells tools who calls where version 2 has no sessions', async () => {
    const handler = server2.createMcpHandler(() => {
      const server = new server2.McpServer({ name: 'test', version: '1.0.0' });
      server.registerTool('whoami', {}, ({ http }) => answerOf(http?.authInfo, Object.fromEntries(http?.req?.headers ?? [])));
      return server;
    });
    const bridge = mcp();
    const protect = holdfast(as.options);
    const handle: Handle = async (request) =>
      (await protect(request)).refusal ?? bridge(request, (inner, options) => handler.fetch(inner, options));
    const { text, sessionId } = await VERSION_2.whoami(clientFetch(handle, owner));
    expect(JSON.parse(text)).toMatchObject({ authInfo: { token: TOKEN_PLACEHOLDER, clientId: 'owner' } });
    expect(text).not.toContain('authorization');
    expect(sessionId).toBe('');
  });

  const protectedBy =
    (bridge: ReturnType<typeof mcp>, respond: () => Response): Handle =>
    async (request) => {
      const { refusal } = await holdfast(as.options)(request);
      return refusal ?? bridge(request, respond);
    };

  it('a session that another has is not told to whom its response goes, and is not taken over', async () => {
    const handle = protectedBy(mcp(), () => new Response('{}', { headers: { [SESSION]: 'one' } }));
    const [first, second] = [await clientFetch(handle, owner)(URL_OF_SERVER), await clientFetch(handle, thief)(URL_OF_SERVER)];
    expect([first.headers.get(SESSION), second.headers.get(SESSION)]).toEqual(['one', null]);
    expect((await clientFetch(handle, thief)(URL_OF_SERVER, { headers: { [SESSION]: 'one' } })).status).toBe(404);
    expect((await clientFetch(handle, owner)(URL_OF_SERVER, { headers: { [SESSION]: 'one' } })).status).toBe(200);
  });

  it('what it hands on is the request without token and proof, with its body, or without one where that was read before', async () => {
    const token = await owner.token({}, 'jkt');
    const fields = { ...(await owner.prove(token, { method: 'POST', url: URL_OF_SERVER })), 'x-other': '1' };
    const request = new Request(URL_OF_SERVER, { method: 'POST', headers: fields, body: 'body' });
    const read = new Request(URL_OF_SERVER, { method: 'POST', headers: owner.present(await owner.token()), body: 'body' });
    await read.text();
    const handed: Request[] = [];
    for (const one of [request, read]) {
      await holdfast(as.options)(one);
      await mcp()(one, (inner) => new Response(void handed.push(inner)));
    }
    const [first, second] = handed;
    expect([first?.method, first?.url, first?.headers.get('x-other'), await first?.text()]).toEqual(['POST', URL_OF_SERVER, '1', 'body']);
    expect(second?.body).toBeNull();
    expect(handed.flatMap(({ headers }) => [headers.get('authorization'), headers.get('dpop')])).toEqual([null, null, null, null]);
  });

  it.each([true, false])(
    'takes the requests that Hono makes on Node, with the globals of Hono or without: %s',
    async (overrideGlobalObjects) => {
      const bridge = mcp();
      const protect = holdfast(as.options);
      const listener = getRequestListener(
        async (request) =>
          (await protect(request)).refusal ??
          bridge(request, async (inner, { authInfo }) => Response.json([authInfo.clientId, await inner.text(), [...inner.headers.keys()]])),
        { overrideGlobalObjects },
      );
      const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
      const port = await listen(server);
      onTestFinished(() => stop(server));
      const headers = { ...owner.present(await owner.token()), 'content-type': 'application/json' };
      const answer = await fetch(`http://127.0.0.1:${port}/mcp`, { method: 'POST', headers, body: 'the body' });
      const [clientId, body, names] = (await answer.json()) as [string, string, string[]];
      expect([answer.status, clientId, body]).toEqual([200, 'owner', 'the body']);
      expect(names).toContain('content-type');
      expect(names).not.toContain('authorization');
    },
  );

  it('nobody resumes a stream without the session that it belongs to', async () => {
    const refusals: SessionRefusal['reason'][] = [];
    const handle = protectedBy(mcp({ onRefusal: ({ reason }) => refusals.push(reason) }), () => new Response('data: of somebody\n\n'));
    const answer = await clientFetch(handle, thief)(URL_OF_SERVER, { headers: { 'last-event-id': 'stream-1_17' } });
    expect([answer.status, refusals]).toEqual([404, ['session.unknown']]);
  });

  it('lines that were joined are no id', async () => {
    const handle = protectedBy(mcp(), () => new Response('{}', { headers: { [SESSION]: 'one' } }));
    await clientFetch(handle, owner)(URL_OF_SERVER);
    expect(
      (
        await clientFetch(handle, owner)(URL_OF_SERVER, {
          headers: [
            [SESSION, 'one'],
            [SESSION, 'one'],
          ],
        })
      ).status,
    ).toBe(404);
  });

  it('a session is idle again when its stream fails, is given up by the client, or was never made', async () => {
    let time = 1_000;
    let respond: () => Response = () => new Response('{}', { headers: { [SESSION]: 'one' } });
    const ended: string[] = [];
    const bridge = mcp({ idleSeconds: 60, now: () => time, onSessionEnd: (id) => ended.push(id) });
    const call = clientFetch(
      protectedBy(bridge, () => respond()),
      owner,
    );
    const sse = { headers: { 'content-type': 'text/event-stream' } };
    const inSession = (): Promise<Response> => call(URL_OF_SERVER, { headers: { [SESSION]: 'one' } });
    const failing = new ReadableStream({ pull: (controller) => controller.error(new Error('broken')) });
    const endless = new ReadableStream({ pull: (controller) => controller.enqueue(new TextEncoder().encode(':\n\n')) });
    await call(URL_OF_SERVER);

    respond = () => new Response(failing, sse);
    await expect((await inSession()).text()).rejects.toThrow('broken');
    respond = () => new Response(endless, sse);
    const stream = await inSession();
    time += 600;
    respond = () => new Response('{}');
    expect((await inSession()).status).toBe(200);
    expect(ended).toEqual([]);
    await stream.body?.cancel();
    respond = () => {
      throw new Error('no answer');
    };
    await expect(inSession()).rejects.toThrow('no answer');
    time += 60;
    expect((await inSession()).status).toBe(404);
    expect(ended).toEqual(['one']);
  });

  it('a client that hangs up before it is answered leaves no session, and its stream ends', async () => {
    const ended: string[] = [];
    const bridge = mcp({ maxSessions: 1, onSessionEnd: (id) => ended.push(id) });
    let hangUp = new AbortController();
    let isEndless = false;
    const answer = (): Response => {
      const sse = { [SESSION]: `session-${ended.length}`, 'content-type': 'text/event-stream' };
      const stream = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode(':\n\n')) });
      if (!isEndless) hangUp.abort();
      return isEndless ? new Response(stream, { headers: sse }) : new Response('{}', { headers: { [SESSION]: 'given-up' } });
    };
    const call = (client: TestClient): Promise<Response> =>
      clientFetch(protectedBy(bridge, answer), client)(URL_OF_SERVER, { method: 'POST', signal: hangUp.signal });
    expect((await call(thief)).headers.get(SESSION)).toBeNull();
    expect(ended).toEqual(['given-up']);
    hangUp = new AbortController();
    isEndless = true;
    const stream = await call(owner);
    expect(stream.headers.get(SESSION)).toBe('session-1');
    hangUp.abort();
    expect(await stream.text()).toBe(':\n\n');
  });

  it('where there is no access it is refused, and the SDK never hears of it', async () => {
    const handled: unknown[] = [];
    const request = new Request(URL_OF_SERVER, { method: 'POST' });
    const entered = mcp()(request, (_, { authInfo }) => {
      handled.push(authInfo);
      return new Response();
    });
    await expect(entered).rejects.toMatchObject({ name: 'HoldfastError', status: 401 });
    expect(handled).toEqual([]);
  });
});
