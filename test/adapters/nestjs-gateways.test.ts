// Gateways of NestJS: who may connect, who may send, and when a connection ends. With ws, and with socket.io over both its transports.
import 'reflect-metadata';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import {
  Access,
  accessOf,
  fromTls,
  HOLDFAST_RESOURCE,
  HoldfastGuard,
  HoldfastModule,
  type ProtectedResource,
  type ProtectedResourceOptions,
  protectedResource,
  protectGateways,
  Public,
  Requires,
} from '@holdfast/nestjs';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { type INestApplication, type Type, UseGuards, type WebSocketAdapter } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { type GatewayMetadata, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { calculateJwkThumbprint } from 'jose';
import { io, type Socket } from 'socket.io-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { AUDIENCE, moduleOf, PLATFORMS, type Platform, serveNest } from './nestjs-app.ts';

const GUARDED = { provide: APP_GUARD, useClass: HoldfastGuard };

let issuer: Issuer;
let token: string;
let writing: string;
let key: DpopKey;
let pki: Pki;
const open: (() => unknown)[] = [];
const reached: string[] = [];
const reasons: (string | undefined)[] = [];

beforeAll(async () => {
  [issuer, key, pki] = await Promise.all([startIssuer(), generateDpopKey(), createPki()]);
  [token, writing] = [await issuer.token(), await issuer.token({ scope: 'read write' })];
});
afterAll(() => issuer.close());
beforeEach(() => {
  reached.length = 0;
  reasons.length = 0;
});
afterEach(async () => {
  for (const end of open.splice(0).toReversed()) await end();
});

const options = (changes: Partial<ProtectedResourceOptions> = {}): ProtectedResourceOptions => ({
  issuer: issuer.url,
  audience: AUDIENCE,
  unconstrained: 'accept',
  onEvent: ({ reason }) => reasons.push(reason),
  ...changes,
});

interface Client {
  readonly conn?: { readonly request: IncomingMessage };
  send(text: string): void;
  emit(event: string, data: unknown): void;
}

/** A gateway, on a port or with options, that greets whoever has connected, and answers three messages. */
function gateway(place: number | GatewayMetadata = {}): Type {
  const Placed = typeof place === 'number' ? WebSocketGateway(place) : WebSocketGateway(place);
  @Placed
  class Gateway {
    handleConnection(client: Client, request?: IncomingMessage): void {
      const { sub } = accessOf(client.conn?.request ?? request ?? {}).claims;
      reached.push(`connected ${sub}`);
      if (client.conn === undefined) client.send(JSON.stringify({ event: 'welcome', data: sub }));
      else client.emit('welcome', sub);
    }

    @SubscribeMessage('who')
    who(@Access() access: Access): object {
      return { event: 'who', data: access.claims.sub };
    }

    @SubscribeMessage('write')
    @Requires({ scope: 'write' })
    write(): object {
      reached.push('write');
      return { event: 'write', data: 'written' };
    }

    @SubscribeMessage('ping')
    ping(): object {
      return { event: 'ping', data: 'pong' };
    }
  }
  return Gateway;
}

const ADAPTERS = { ws: WsAdapter, 'socket.io': IoAdapter };

interface Running {
  readonly app: INestApplication;
  readonly port: number;
}

async function serve(
  platform: Platform,
  library: keyof typeof ADAPTERS,
  providers: Type[],
  changes: Partial<ProtectedResourceOptions> = {},
): Promise<Running> {
  const root = moduleOf({ imports: [HoldfastModule.forRoot(options(changes))], providers: [GUARDED, ...providers] });
  const { app, port } = await serveNest(platform, root, (made) =>
    made.useWebSocketAdapter(protectGateways<WebSocketAdapter>(new ADAPTERS[library](made), made.get(HOLDFAST_RESOURCE))),
  );
  open.push(() => app.close());
  return { app, port };
}

type Said = readonly (readonly [event: string, data: unknown])[];
interface Connection {
  readonly said: Said;
  readonly ended: Promise<unknown>;
  send(event: string): void;
  close(): void;
}
type Connect = (port: number, headers?: Record<string, string>, path?: string) => Promise<Connection>;

/** A client of ws; rejects with the status and challenges of the answer in place of the handshake. */
const overWs: Connect = async (port, headers = {}, path = '/ws') => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers });
  const said: [string, unknown][] = [];
  socket.on('message', (message: Buffer) => {
    const { event, data } = JSON.parse(message.toString());
    said.push([event, event === 'exception' ? data.message : data]);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('unexpected-response', (_request, response: IncomingMessage) =>
      reject(new Error(`${response.statusCode} ${response.headers['www-authenticate']}`)),
    );
    socket.once('error', reject);
  });
  const ended = once(socket, 'close');
  open.push(() => socket.terminate());
  return { said, ended, send: (event) => socket.send(JSON.stringify({ event })), close: () => socket.close() };
};

function overSocketIo(transport: 'polling' | 'websocket'): Connect {
  return async (port, extraHeaders = {}, path = '') => {
    const socket: Socket = io(`http://127.0.0.1:${port}${path}`, {
      transports: [transport],
      reconnection: false,
      forceNew: true,
      extraHeaders,
    });
    open.push(() => socket.close());
    const said: [string, unknown][] = [];
    socket.onAny((event: string, data) => said.push([event, event === 'exception' ? data.message : data]));
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', (error: Error & { description?: { message?: string } | number }) =>
        reject(new Error(String(typeof error.description === 'number' ? error.description : error.description?.message))),
      );
    });
    const ended = new Promise((resolve) => socket.once('disconnect', resolve));
    return { said, ended, send: (event) => socket.emit(event), close: () => socket.close() };
  };
}

const CLIENTS: readonly (readonly [name: string, library: keyof typeof ADAPTERS, connect: Connect])[] = [
  ['ws', 'ws', overWs],
  ['socket.io over WebSocket', 'socket.io', overSocketIo('websocket')],
  ['socket.io over long polling', 'socket.io', overSocketIo('polling')],
];
const MATRIX = (Object.keys(PLATFORMS) as Platform[]).flatMap((platform) =>
  CLIENTS.map(([name, library, connect]) => ({ platform, name, library, connect })),
);
const sorted = (said: Said): string[] => said.map(([event, data]) => `${event}: ${String(data)}`).toSorted();
const bearer = (presented: string): Record<string, string> => ({ authorization: `Bearer ${presented}` });

describe.each(MATRIX)('a gateway with protectGateways on $platform, by $name,', ({ platform, library, connect }) => {
  it('lets those in who have access and nobody else, and asks for it in messages', async () => {
    const { port } = await serve(platform, library, [gateway({ path: library === 'ws' ? '/ws' : '/socket.io' })]);
    await expect(connect(port)).rejects.toThrow('401');
    await expect(connect(port, bearer('a.b.c'))).rejects.toThrow('401');
    expect([reasons, reached]).toEqual([['request.no_credentials', 'token.malformed'], []]);

    const reader = await connect(port, bearer(token));
    for (const event of ['who', 'write', 'ping']) reader.send(event);
    await expect.poll(() => reader.said.length).toBe(4);
    expect(sorted(reader.said)).toEqual(['exception: Forbidden resource', 'ping: pong', 'welcome: user-1', 'who: user-1']);
    const writer = await connect(port, bearer(writing));
    writer.send('write');
    await expect
      .poll(() => writer.said)
      .toEqual([
        ['welcome', 'user-1'],
        ['write', 'written'],
      ]);
    expect(reached).toEqual(['connected user-1', 'connected user-1', 'write']);
  });

  it('ends with the access of who has connected, and with the application', async () => {
    const { app, port } = await serve(platform, library, [gateway({ path: library === 'ws' ? '/ws' : '/socket.io' })]);
    const first = await connect(port, bearer(token));
    await expect.poll(() => first.said.length).toBe(1);
    const keys = issuer.keys.map(({ publicJwk }) => calculateJwkThumbprint(publicJwk));
    const resource = app.get<ProtectedResource>(HOLDFAST_RESOURCE);
    for (const thumbprint of await Promise.all(keys)) resource.revokeKey(thumbprint);
    await first.ended;
    await expect(connect(port, bearer(token))).rejects.toThrow('401');

    const other = await serve(platform, library, [gateway({ path: library === 'ws' ? '/ws' : '/socket.io' })]);
    const second = await connect(other.port, bearer(token));
    await Promise.all([second.ended, other.app.close()]);
  });

  it('on a port of its own is protected as well', async () => {
    const server = createServer();
    const ownPort = await listen(server);
    await stop(server);
    await serve(platform, library, [gateway(ownPort)]);
    await expect(connect(ownPort, {}, '')).rejects.toThrow('401');
    const owner = await connect(ownPort, bearer(token), '');
    await expect.poll(() => owner.said).toEqual([['welcome', 'user-1']]);
  });
});

describe('the handshake of a gateway', () => {
  it('is refused with the challenges of any request: by ws, and by socket.io over both transports', async () => {
    const withWs = await serve('Express', 'ws', [gateway({ path: '/ws' })]);
    const withIo = await serve('Express', 'socket.io', [gateway()]);
    const challenge = /^401 Bearer .*realm="https:\/\/rs\.example\.com", DPoP /;
    await expect(overWs(withWs.port)).rejects.toThrow(challenge);
    await expect(overWs(withIo.port, {}, '/socket.io/?EIO=4&transport=websocket')).rejects.toThrow(challenge);
    const polled = await fetch(`http://127.0.0.1:${withIo.port}/socket.io/?EIO=4&transport=polling`);
    expect(`${polled.status} ${polled.headers.get('www-authenticate')}`).toMatch(challenge);
  });

  it.each([
    ['ws', '/ws', 'ws'],
    ['socket.io', '/socket.io/', 'socket.io'],
  ] as const)('takes a DPoP proof for its https URI, once (%s)', async (_, path, library) => {
    const { port } = await serve('Express', library, [gateway({ path: path.replace(/\/$/, '') })]);
    const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
    const proof = makeProof({ key, token: bound, htm: 'GET', htu: `${AUDIENCE}${path}`, iat: Math.floor(Date.now() / 1000) });
    const headers = { authorization: `DPoP ${bound}`, dpop: proof };
    const connect = library === 'ws' ? overWs : overSocketIo('websocket');
    const owner = await connect(port, headers);
    owner.send('who');
    await expect.poll(() => owner.said.length).toBe(2);
    await expect(connect(port, headers)).rejects.toThrow('401');
    await expect(connect(port, { authorization: `Bearer ${bound}` })).rejects.toThrow('401');
    expect(reasons).toEqual([undefined, 'replay.reused', 'cnf.presented_as_bearer']);
  });
});

describe('a session of socket.io', () => {
  const poll = async (port: number, query: string, headers: Record<string, string> = {}, body?: string): Promise<[number, string]> => {
    const target = `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling${query}`;
    const response = await fetch(target, { headers, ...(body !== undefined && { method: 'POST', body }) });
    return [response.status, await response.text()];
  };
  const begin = async (port: number, headers: Record<string, string>): Promise<string> => {
    const [, packet] = await poll(port, '', headers);
    return JSON.parse(packet.slice(1)).sid;
  };

  it('is of nobody who knows its name alone, or has a token of somebody else', async () => {
    const { port } = await serve('Express', 'socket.io', [gateway()]);
    const sid = await begin(port, bearer(token));
    const other = bearer(await issuer.token({ sub: 'user-2' }));
    const otherClient = bearer(await issuer.token({ client_id: 'another' }));
    for (const [headers, status] of [
      [{}, 401],
      [other, 400],
      [otherClient, 400],
    ] as const) {
      expect((await poll(port, `&sid=${sid}`, headers, '40'))[0]).toBe(status);
      expect((await poll(port, `&sid=${sid}`, headers))[0]).toBe(status);
      const upgraded = overWs(port, headers, `/socket.io/?EIO=4&transport=websocket&sid=${sid}`);
      await expect(upgraded).rejects.toThrow(String(status));
    }
    // A refreshed token of the same subject and client goes on with it.
    const refreshed = bearer(await issuer.token({ jti: 'refreshed' }));
    expect(await poll(port, `&sid=${sid}`, refreshed, '40')).toEqual([200, 'ok']);
    const [status, packets] = await poll(port, `&sid=${sid}`, bearer(token));
    expect([status, packets]).toEqual([200, expect.stringContaining('welcome')]);
    expect(reached).toEqual(['connected user-1']);
  });

  it('ends with its access while a poll waits', async () => {
    const { app, port } = await serve('Express', 'socket.io', [gateway()]);
    const sid = await begin(port, bearer(token));
    expect(await poll(port, `&sid=${sid}`, bearer(token), '40')).toEqual([200, 'ok']);
    await poll(port, `&sid=${sid}`, bearer(token));
    const waiting = poll(port, `&sid=${sid}`, bearer(token));
    await expect.poll(() => reasons.length).toBe(4);
    const keys = issuer.keys.map(({ publicJwk }) => calculateJwkThumbprint(publicJwk));
    for (const thumbprint of await Promise.all(keys)) app.get<ProtectedResource>(HOLDFAST_RESOURCE).revokeKey(thumbprint);
    // The packet that closes a session.
    expect(await waiting).toEqual([200, '1']);
  });

  it('of a token that names nobody is of nobody else', async () => {
    const { port } = await serve('Express', 'socket.io', [gateway()]);
    const nobody = { ...bearer(await issuer.token({ sub: undefined, client_id: undefined })) };
    const sid = await begin(port, nobody);
    expect((await poll(port, `&sid=${sid}`, nobody))[0]).toBe(400);
  });

  it('asks for a DPoP proof with every poll', async () => {
    const { port } = await serve('Express', 'socket.io', [gateway()]);
    const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
    const proven = (htm: string): Record<string, string> => ({
      authorization: `DPoP ${bound}`,
      dpop: makeProof({ key, token: bound, htm, htu: `${AUDIENCE}/socket.io/`, iat: Math.floor(Date.now() / 1000) }),
    });
    const first = proven('GET');
    const sid = await begin(port, first);
    expect((await poll(port, `&sid=${sid}`, first, '40'))[0]).toBe(401);
    expect((await poll(port, `&sid=${sid}`, first))[0]).toBe(401);
    expect(await poll(port, `&sid=${sid}`, proven('POST'), '40')).toEqual([200, 'ok']);
    expect(await poll(port, `&sid=${sid}`, proven('GET'))).toEqual([200, expect.stringContaining('welcome')]);
    const other = await generateDpopKey();
    const theirs = await issuer.token({ cnf: { jkt: other.thumbprint } });
    const proof = makeProof({ key: other, token: theirs, htm: 'GET', htu: `${AUDIENCE}/socket.io/`, iat: Math.floor(Date.now() / 1000) });
    expect((await poll(port, `&sid=${sid}`, { authorization: `DPoP ${theirs}`, dpop: proof }))[0]).toBe(400);
  });

  it.each(['__proto__', 'constructor', 'nobody', ''])('with the name %j is unknown, as it is to socket.io', async (sid) => {
    const { port } = await serve('Express', 'socket.io', [gateway()]);
    const [status] = await poll(port, `&sid=${sid}`, bearer(token));
    expect(status).toBe(sid === '' ? 200 : 400);
    expect((await poll(port, `&sid=${sid}`))[0]).toBe(401);
  });

  it('of a certificate-bound token is only for who has the certificate, poll by poll', async () => {
    const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
    const root = moduleOf({
      imports: [HoldfastModule.forRoot(options({ certificate: fromTls(), unconstrained: 'refuse' }))],
      providers: [GUARDED, gateway()],
    });
    const httpsOptions = { ...pki.server, requestCert: true, rejectUnauthorized: false };
    const { app, port } = await serveNest(
      'Express',
      root,
      (made) => made.useWebSocketAdapter(protectGateways(new IoAdapter(made), made.get(HOLDFAST_RESOURCE))),
      { httpsOptions },
    );
    open.push(() => app.close());
    const extraHeaders = bearer(await issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } }));
    const connecting = (identity: Identity, transport: 'polling' | 'websocket', query: Record<string, string> = {}): Promise<Socket> =>
      new Promise((resolve, reject) => {
        const tls = { ca: pki.ca, cert: identity.cert, key: identity.key };
        const socket = io(`https://localhost:${port}`, {
          ...tls,
          transports: [transport],
          reconnection: false,
          forceNew: true,
          extraHeaders,
          query,
        });
        open.push(() => socket.close());
        socket.once('welcome', () => resolve(socket));
        socket.once('connect_error', () => reject(new Error('refused')));
      });
    for (const transport of ['polling', 'websocket'] as const) {
      reasons.length = 0;
      const { id, io: manager } = await connecting(owner, transport);
      expect(id).toBeDefined();
      await expect(connecting(thief, transport)).rejects.toThrow('refused');
      await expect(connecting(thief, transport, { sid: (manager.engine as unknown as { id: string }).id })).rejects.toThrow('refused');
      expect(reasons.filter((reason) => reason !== undefined)).toEqual(['certificate.mismatch', 'certificate.mismatch']);
    }
    expect(reached).toEqual(['connected user-1', 'connected user-1']);
  });

  it('is protected in every namespace', async () => {
    const { port } = await serve('Fastify', 'socket.io', [gateway({ namespace: 'one' }), gateway({ namespace: 'two' })]);
    const connect = overSocketIo('polling');
    for (const path of ['/one', '/two']) {
      await expect(connect(port, {}, path)).rejects.toThrow('401');
      const owner = await connect(port, bearer(token), path);
      owner.send('who');
      await expect.poll(() => owner.said.length).toBe(2);
    }
  });

  it('lets scripts of another origin read a refusal, where the gateway has cors', async () => {
    const { port } = await serve('Express', 'socket.io', [gateway({ cors: { origin: 'https://app.example.com' } })]);
    const target = `http://127.0.0.1:${port}/socket.io/?EIO=4&transport=polling`;
    const origin = { origin: 'https://app.example.com' };
    const preflight = await fetch(target, { method: 'OPTIONS', headers: { ...origin, 'access-control-request-method': 'GET' } });
    const refused = await fetch(target, { headers: origin });
    expect([preflight.status, refused.status, refused.headers.get('access-control-allow-origin')]).toEqual([
      204,
      401,
      'https://app.example.com',
    ]);
  });
});

describe('a gateway without protectGateways', () => {
  const start = async (
    provider: Type,
    providers: object[] = [GUARDED],
    prepare = (app: INestApplication): unknown => app,
  ): Promise<Running> => {
    const root = moduleOf({ imports: [HoldfastModule.forRoot(options())], providers: [...(providers as Type[]), provider] });
    const running = await serveNest('Express', root, (made) => prepare(made.useWebSocketAdapter(new WsAdapter(made))));
    open.push(() => running.app.close());
    return running;
  };

  it('stops the start, since anybody could connect: whether guards stand on it or on everything', async () => {
    @WebSocketGateway({ path: '/ws' })
    class Open {}
    @WebSocketGateway({ path: '/ws' })
    @Requires({ scope: 'read' })
    class Guarded {}
    const stopped = /^HoldfastModule: the guard would not be asked\. (?:Open|Guarded): anybody can connect.*protectGateways.*@Public\(\)/;
    await expect(start(Open)).rejects.toThrow(stopped);
    await expect(start(Guarded, [])).rejects.toThrow(stopped);
    // Made and not used.
    const unused = start(Open, [GUARDED], (app) => protectGateways(new WsAdapter(app), app.get(HOLDFAST_RESOURCE)));
    await expect(unused).rejects.toThrow(stopped);
  });

  it('is none of our business where no guard of ours is in use', async () => {
    @WebSocketGateway({ path: '/ws' })
    class Theirs {
      handleConnection(client: Client): void {
        client.send(JSON.stringify({ event: 'welcome', data: 'anybody' }));
      }
    }
    const { port } = await start(Theirs, []);
    const anybody = await overWs(port);
    await expect.poll(() => anybody.said).toEqual([['welcome', 'anybody']]);
  });

  it.each([
    ['APP_GUARD', [GUARDED]],
    ['@UseGuards', []],
  ])('that is @Public has messages refused by %s that ask for more, whatever token the handshake had', async (by, providers) => {
    @WebSocketGateway({ path: '/ws' })
    @Public()
    class Gateway {
      @SubscribeMessage('secret')
      @Requires({ scope: 'read' })
      secret(): object {
        reached.push('secret');
        return { event: 'secret', data: 'secret' };
      }

      @SubscribeMessage('access')
      access(@Access() access: Access): object {
        reached.push('access');
        return { event: 'access', data: access };
      }

      @SubscribeMessage('ping')
      ping(): object {
        return { event: 'pong', data: 'pong' };
      }
    }
    if (by === '@UseGuards') UseGuards(HoldfastGuard)(Gateway);
    const { port } = await start(Gateway, providers);
    const client = await overWs(port, bearer(token));
    for (const event of ['secret', 'access', 'ping']) client.send(event);
    await expect.poll(() => client.said.length).toBe(3);
    expect(sorted(client.said)).toEqual(['exception: Forbidden resource', 'exception: Internal server error', 'pong: pong']);
    expect([reached, reasons]).toEqual([[], []]);
  });
});

it('protectGateways refuses adapters whose handshakes it cannot judge', () => {
  const resource = protectedResource(options());
  for (const server of [undefined, null, {}, { engine: {} }, { engine: { handleUpgrade: () => {} } }, { server: { engine: {} } }]) {
    const adapter = protectGateways({ create: () => server } as unknown as WebSocketAdapter, resource);
    expect(() => adapter.create(0)).toThrow(/^protectGateways: this WebSocket adapter makes a server that is neither/);
  }
});
