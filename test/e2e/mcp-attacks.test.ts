// A server of the real MCP SDK in Express, and everything that a caller with a token of its own may try against the session of another.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { holdfast } from '@holdfast/express';
import { mcp, type SessionRefusal, TOKEN_PLACEHOLDER } from '@holdfast/mcp';
import { listen, stop } from '@holdfast/test-support/loopback';
import { testAuthorizationServer, type TestAuthorizationServer, type TestClient } from '@holdfast/testing';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { type EventStore, StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express, { type RequestHandler } from 'express';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';

const SESSION = 'mcp-session-id';
type Headers = Readonly<Record<string, string>>;
interface Message {
  readonly id?: number;
  readonly result?: { readonly content?: readonly { readonly text: string }[] };
  readonly error?: { readonly code: number; readonly message: string };
}
interface Answer {
  readonly status: number;
  readonly session: string | undefined;
  readonly messages: readonly Message[];
  /** Ids of events, by which what follows them can be asked for. */
  readonly events: readonly string[];
}

let as: TestAuthorizationServer;
let owner: TestClient;
let thief: TestClient;
beforeAll(async () => {
  as = await testAuthorizationServer();
  [owner, thief] = [await as.client({ clientId: 'owner' }), await as.client({ clientId: 'thief' })];
});

interface Running {
  readonly url: string;
  readonly refusals: SessionRefusal['reason'][];
  /** Ids of sessions whose transports are there. */
  readonly transports: ReadonlyMap<string, StreamableHTTPServerTransport>;
  /** What handlers after the bridge, as a log of requests, get to see. */
  readonly seen: string[];
  /** Lets the tool `slow` answer. */
  readonly release: () => void;
}

async function start(more: object = {}): Promise<Running> {
  const refusals: SessionRefusal['reason'][] = [];
  const transports = new Map<string, StreamableHTTPServerTransport>();
  const seen: string[] = [];
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const newTransport = async (): Promise<StreamableHTTPServerTransport> => {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void transports.set(id, transport),
      eventStore: eventStore(),
    });
    const server = new McpServer({ name: 'test', version: '1.0.0' }, { capabilities: { logging: {} } });
    server.registerTool('whoami', {}, (extra) => ({ content: [{ type: 'text', text: JSON.stringify(extra) }] }));
    server.registerTool('slow', {}, async ({ sendNotification }) => {
      await sendNotification({ method: 'notifications/message', params: { level: 'info', data: 'begun' } });
      await released;
      return { content: [{ type: 'text', text: 'the secret of the owner' }] };
    });
    await server.connect(transport);
    return transport;
  };
  const protect = holdfast({ ...as.options, ...more });
  const bridge = mcp({
    onRefusal: ({ reason }) => refusals.push(reason),
    onSessionEnd(id) {
      void transports.get(id)?.close();
      transports.delete(id);
    },
  });
  const log: RequestHandler = ({ headers, rawHeaders, headersDistinct }, _response, next) => {
    seen.push(JSON.stringify([headers, rawHeaders, headersDistinct]));
    next();
  };
  const app = express().use('/mcp', protect, bridge, log, (request, response, next) => {
    const known = transports.get(request.get(SESSION) ?? '');
    void (known === undefined ? newTransport() : Promise.resolve(known))
      .then((transport) => transport.handleRequest(request as IncomingMessage, response))
      .catch(next);
  });
  const server: Server = createServer(app);
  const port = await listen(server);
  onTestFinished(async () => {
    await protect.close();
    await stop(server);
  });
  return { url: `http://127.0.0.1:${port}/mcp`, refusals, transports, seen, release };
}

/** In memory, in order. (That of the SDK's examples orders what came within a millisecond by chance.) */
function eventStore(): EventStore {
  const events: (readonly [stream: string, message: Parameters<EventStore['storeEvent']>[1]])[] = [];
  return {
    async storeEvent(stream, message) {
      return String(events.push([stream, message]) - 1);
    },
    async replayEventsAfter(last, { send: sendAgain }) {
      const [stream = ''] = events[Number(last)] ?? [];
      for (const [id, [of, message]] of events.entries()) {
        if (id > Number(last) && of === stream) await sendAgain(String(id), message);
      }
      return stream;
    },
  };
}

async function send(url: string, fields: Headers, message?: unknown, method = 'POST'): Promise<Answer> {
  const headers = { accept: 'application/json, text/event-stream', 'content-type': 'application/json', ...fields };
  const response = await fetch(url, { method, headers, ...(message !== undefined && { body: JSON.stringify(message) }) });
  const text = await response.text();
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true;
  const parts = isStream ? [...text.matchAll(/^data: (.+)$/gm)].map(([, data = '']) => data) : text === '' ? [] : [text];
  const events = [...text.matchAll(/^id: (.+)$/gm)].map(([, id = '']) => id);
  return {
    status: response.status,
    session: response.headers.get(SESSION) ?? undefined,
    messages: parts.map((part) => JSON.parse(part)),
    events,
  };
}

const presenting = async (client: TestClient, claims: object = {}): Promise<Headers> => client.present(await client.token({ ...claims }));
const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: { name: 'test', version: '1.0.0' } },
};
const call = (name: string, id = 2): object => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: {} } });
const extraOf = ({ messages }: Answer, id = 2): { authInfo: Record<string, unknown>; requestInfo: { headers: Headers } } =>
  JSON.parse(messages.find((message) => message.id === id)?.result?.content?.[0]?.text ?? '{}');

/** Opens a session as a client of MCP does. */
async function open(url: string, fields: Headers): Promise<string> {
  const { status, session = '' } = await send(url, fields, initialize);
  expect(status).toBe(200);
  const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
  expect((await send(url, { ...fields, [SESSION]: session }, initialized)).status).toBe(202);
  return session;
}

describe('@holdfast/mcp, of the SDK in Express', () => {
  it.each(['x5t#S256', 'jkt'] as const)(
    'no tool and nothing after the bridge sees the token or the proof: bound by %s',
    async (binding) => {
      const { url, seen } = await start();
      const token = await owner.token({}, binding);
      const fields = async (): Promise<Headers> =>
        binding === 'jkt' ? owner.prove(token, { method: 'POST', url: `${as.audience}/mcp` }) : owner.present(token);
      const { session = '' } = await send(url, await fields(), initialize);
      const last: Headers = { ...(await fields()), [SESSION]: session, 'user-agent': 'somebody' };
      const answer = await send(url, last, call('whoami'));
      const extra = extraOf(answer);
      expect(extra).toMatchObject({
        authInfo: { token: TOKEN_PLACEHOLDER, clientId: 'owner' },
        requestInfo: { headers: { 'user-agent': 'somebody' } },
      });
      const everything = JSON.stringify(answer) + seen.join('');
      expect(seen).toHaveLength(2);
      for (const secret of [token, token.split('.')[2] ?? '', ...(last['dpop']?.split('.') ?? [])])
        expect(everything).not.toContain(secret);
      expect(everything.toLowerCase()).not.toMatch(/"(?:authorization|dpop)"/);
    },
  );

  it('fixation: an id that a client chose opens nothing, and nobody can be lured into the session of another', async () => {
    const { url, refusals, transports } = await start();
    const chosen = await send(url, { ...(await presenting(thief)), [SESSION]: 'chosen-by-me' }, initialize);
    expect([chosen.status, chosen.session, transports.size]).toEqual([404, undefined, 0]);
    const prepared = await open(url, await presenting(thief));
    const lured = await send(url, { ...(await presenting(owner)), [SESSION]: prepared }, call('whoami'));
    expect(lured.status).toBe(404);
    // In the query, where the older transport has it, it is no id.
    const victims = await open(url, await presenting(owner));
    const inQuery = await send(`${url}?sessionId=${victims}&${SESSION}=${victims}`, await presenting(thief), call('whoami'));
    expect([inQuery.status, inQuery.session]).toEqual([400, undefined]);
    expect(refusals).toEqual(['session.unknown', 'session.of_another']);
  });

  it('hijack: neither call nor stream nor end, by any token that is not of the very same caller', async () => {
    const { url, refusals, transports } = await start({ unconstrained: 'accept' });
    const session = await open(url, await presenting(owner));
    const stranger = await as.client({ clientId: 'owner' });
    const attempts: readonly Headers[] = [
      await presenting(thief),
      // The same user by another client, the same client for another user, both of them with a key of the thief’s or none.
      await presenting(owner, { client_id: 'thief' }),
      await presenting(owner, { sub: 'thief' }),
      await presenting(stranger),
      await stranger.prove(await stranger.token({}, 'jkt'), { method: 'POST', url: `${as.audience}/mcp` }),
      { authorization: `Bearer ${await owner.token({}, 'none')}` },
    ];
    for (const fields of attempts) {
      const answers = [await send(url, { ...fields, [SESSION]: session }, call('whoami'))];
      // A proof is for one request.
      if (fields['dpop'] === undefined) {
        answers.push(await send(url, { ...fields, [SESSION]: session }, undefined, 'GET'));
        answers.push(await send(url, { ...fields, [SESSION]: session }, undefined, 'DELETE'));
      }
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 404));
    }
    expect(new Set(refusals)).toEqual(new Set(['session.of_another']));
    expect(transports.has(session)).toBe(true);
    expect((await send(url, { ...(await presenting(owner)), [SESSION]: session }, call('whoami'))).status).toBe(200);
  });

  it('resumption: what the owner missed is for the owner alone', async () => {
    const { url, refusals, release } = await start();
    const session = await open(url, await presenting(owner));
    release();
    const { events } = await send(url, { ...(await presenting(owner)), [SESSION]: session }, call('slow'));
    const resume = { 'last-event-id': events[0] ?? '' };
    expect(events.length).toBeGreaterThan(1);
    const stolen = await send(url, { ...(await presenting(thief)), ...resume, [SESSION]: session }, undefined, 'GET');
    const without = await send(url, { ...(await presenting(thief)), ...resume }, undefined, 'GET');
    const own = { ...(await presenting(thief)), [SESSION]: await open(url, await presenting(thief)) };
    const inOwn = await fetch(url, { headers: { accept: 'text/event-stream', ...own, ...resume } });
    // Whatever it has been given, its end is known.
    await send(url, own, undefined, 'DELETE');
    expect([stolen.status, without.status]).toEqual([404, 404]);
    expect(JSON.stringify([stolen, without, await inOwn.text()])).not.toContain('secret of the owner');
    expect(refusals).toEqual(['session.of_another', 'session.unknown']);
    const resumed = await firstEvents(url, { ...(await presenting(owner)), ...resume, [SESSION]: session }, /secret of the owner/);
    expect(resumed).toContain('secret of the owner');
  });

  it('a batch is of one caller, and opens no session beside the one it is in', async () => {
    const { url, transports } = await start();
    const fields = await presenting(owner);
    const session = await open(url, fields);
    const answer = await send(url, { ...fields, [SESSION]: session }, [call('whoami', 2), call('whoami', 3)]);
    expect([2, 3].map((id) => extraOf(answer, id).authInfo['clientId'])).toEqual(['owner', 'owner']);
    expect((await send(url, { ...fields, [SESSION]: session }, [initialize, call('whoami')])).status).toBe(400);
    expect((await send(url, await presenting(thief), [initialize, { ...initialize, id: 2 }])).session).toBeUndefined();
    expect([...transports.keys()]).toEqual([session]);
  });

  it('a version of the protocol that nobody speaks ends no session', async () => {
    const { url } = await start();
    const fields = { ...(await presenting(owner)), [SESSION]: await open(url, await presenting(owner)) };
    expect((await send(url, { ...fields, 'mcp-protocol-version': '1999-01-01' }, call('whoami'))).status).toBe(400);
    expect((await send(url, { ...fields, 'mcp-protocol-version': '2025-03-26' }, call('whoami'))).status).toBe(200);
  });

  it('a tool sees what the token of this very call grants, not what the one did that opened the session', async () => {
    const { url } = await start();
    const session = await open(url, await presenting(owner, { scope: 'read write admin' }));
    const scopesWith = async (scope: string): Promise<unknown> =>
      extraOf(await send(url, { ...(await presenting(owner, { scope })), [SESSION]: session }, call('whoami'))).authInfo['scopes'];
    expect(await scopesWith('read')).toEqual(['read']);
    expect(await scopesWith('')).toEqual([]);
    expect((await send(url, { ...(await presenting(owner, { exp: 1 })), [SESSION]: session }, call('whoami'))).status).toBe(401);
  });

  it('a call that is running when its access ends is not answered, and the session goes on with a new token', async () => {
    const { url, release } = await start();
    const session = await open(url, await presenting(owner));
    const exp = Date.now() / 1000 + 1;
    const fields = { ...(await presenting(owner, { iat: Math.floor(exp) - 60, exp })), [SESSION]: session };
    const cut = await send(url, fields, call('slow'));
    expect(cut.messages.map(({ id }) => id)).toEqual([undefined]);
    release();
    expect((await send(url, { ...(await presenting(owner)), [SESSION]: session }, call('whoami', 3))).status).toBe(200);
  });
});

/** What a stream says until that is in it. */
async function firstEvents(url: string, fields: Headers, until: RegExp): Promise<string> {
  const response = await fetch(url, { headers: { accept: 'text/event-stream', ...fields } });
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (until.test(text)) break;
  }
  return text;
}
