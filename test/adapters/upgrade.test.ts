import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { createServer, type Server } from 'node:https';
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import {
  type Access,
  fromTls,
  type ProtectedResource,
  protectedResource,
  type ProtectedResourceOptions,
  type ResourceEvent,
} from '@holdfast/core';
import { upgrade } from '@holdfast/core/node';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { rawRequest } from '@holdfast/test-support/raw-request';
import { calculateJwkThumbprint } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { listening, type RunningServer } from './contract.ts';

const AUDIENCE = 'https://rs.example.com';
const DESCRIPTION = 'The access token is not valid here, or was not sent by the client it is bound to.';

/** What became of an attempt to open a WebSocket: the first message, or the answer in place of the handshake. */
type Outcome = { readonly said: string } | { readonly status: number; readonly headers: readonly string[]; readonly body: string };

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('an HTTP upgrade over %s', (version) => {
  let pki: Pki;
  let owner: Identity;
  let thief: Identity;
  let issuer: Issuer;
  let key: DpopKey;
  let tokens: Record<'certificate' | 'dpop', string>;
  let running: RunningServer;
  let sockets: WebSocketServer;
  const accepted: Access[] = [];
  const events: ResourceEvent[] = [];
  const open: (() => unknown)[] = [];

  const optionsWith = (changes: Partial<ProtectedResourceOptions> = {}): ProtectedResourceOptions => ({
    issuer: issuer.url,
    audience: AUDIENCE,
    certificate: fromTls(),
    onEvent: (event) => events.push(event),
    ...changes,
  });
  const serving = async (options: Partial<ProtectedResourceOptions> = {}, scope?: string): Promise<RunningServer> => {
    const resource: ProtectedResource = protectedResource(optionsWith(options));
    sockets = new WebSocketServer({ noServer: true });
    const server: Server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false, maxVersion: version });
    server.on('request', (_request, response) => response.end('plain'));
    server.on(
      'upgrade',
      upgrade(
        resource,
        (request, socket, head, access) => {
          accepted.push(access);
          sockets.handleUpgrade(request, socket, head, (webSocket) => {
            webSocket.send(`welcome ${access.claims.sub}`);
            access.signal.addEventListener('abort', () => webSocket.close(1008, 'The access token has expired.'));
            webSocket.on('message', (message) => webSocket.send(`echo ${Buffer.from(message as Buffer).toString()}`));
          });
        },
        scope === undefined ? undefined : { scope },
      ),
    );
    const started = await listening(server);
    open.push(() => started.close());
    return started;
  };

  beforeAll(async () => {
    pki = await createPki();
    [owner, thief, key] = [await pki.client('owner'), await pki.client('thief'), await generateDpopKey()];
    issuer = await startIssuer();
    tokens = {
      certificate: await issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } }),
      dpop: await issuer.token({ cnf: { jkt: key.thumbprint } }),
    };
  });
  afterAll(() => issuer.close());
  beforeEach(async () => {
    running = await serving();
  });
  afterEach(async () => {
    accepted.length = 0;
    events.length = 0;
    for (const end of open.splice(0)) await end();
  });

  async function attempt(headers: Record<string, string>, identity?: Identity, { port } = running): Promise<Outcome> {
    const socket = new WebSocket(`wss://localhost:${port}/ws`, {
      ca: pki.ca,
      headers: { host: 'rs.example.com', ...headers },
      ...(identity && { cert: identity.cert, key: identity.key }),
    });
    open.push(() => socket.terminate());
    socket.on('error', () => {});
    return new Promise((resolve, reject) => {
      socket.once('message', (message) => resolve({ said: Buffer.from(message as Buffer).toString() }));
      socket.once('unexpected-response', (_request, response: IncomingMessage) => {
        let body = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.rawHeaders, body }));
      });
      socket.once('close', () => reject(new Error('closed without an answer')));
    });
  }
  const bearer = (): Record<string, string> => ({ authorization: `Bearer ${tokens.certificate}` });
  const dpop = (htu: string): Record<string, string> => ({
    authorization: `DPoP ${tokens.dpop}`,
    dpop: makeProof({ key, token: tokens.dpop, htu, iat: Math.floor(Date.now() / 1000) }),
  });
  const linesOf = (outcome: Outcome, name: string): string[] =>
    'said' in outcome ? [] : outcome.headers.filter((_value, i, all) => i % 2 === 1 && all[i - 1]?.toLowerCase() === name);
  const handshake = (token = tokens.certificate): string[] => [
    'GET /ws HTTP/1.1',
    'Host: rs.example.com',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    `Authorization: Bearer ${token}`,
  ];
  const tlsOf = ({ cert, key: privateKey }: Identity): object => ({ ca: pki.ca, servername: 'localhost', cert, key: privateKey });
  const dial = async (identity: Identity, port = running.port): Promise<TLSSocket> => {
    const socket = connectTls({ host: '127.0.0.1', port, ...tlsOf(identity) });
    open.push(() => socket.destroy());
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    return socket;
  };

  it('opens for the owner of a certificate-bound token, and hands the access on', async () => {
    expect(await attempt(bearer(), owner)).toEqual({ said: 'welcome user-1' });
    expect(accepted).toMatchObject([{ scheme: 'Bearer', confirmations: [{ member: 'x5t#S256', thumbprint: owner.thumbprint }] }]);
  });

  it.each(['a thief', 'a client without certificate'])('EDG-15 refuses %s before the handshake, as any request is refused', async (who) => {
    const outcome = await attempt(bearer(), who === 'a thief' ? thief : undefined);
    expect(outcome).toMatchObject({
      status: 401,
      body: JSON.stringify({ error: 'invalid_token', error_description: DESCRIPTION }),
    });
    expect(parseChallenges(linesOf(outcome, 'www-authenticate')).map(({ scheme }) => scheme)).toEqual(['Bearer', 'DPoP']);
    expect([linesOf(outcome, 'www-authenticate').length, linesOf(outcome, 'connection')]).toEqual([2, ['close']]);
    expect(linesOf(outcome, 'content-type')).toEqual(['application/json; charset=utf-8']);
    expect(Date.parse(String(linesOf(outcome, 'date')))).toBeGreaterThan(0);
    expect(accepted).toEqual([]);
  });

  it('EDG-21 a proof names the https URI of the upgrade; one for wss is no proof for it', async () => {
    const headers = dpop(`${AUDIENCE}/ws`);
    expect(await attempt(headers)).toEqual({ said: 'welcome user-1' });
    expect(await attempt(headers)).toMatchObject({ status: 401 });
    expect(events.at(-1)?.reason).toBe('replay.reused');
    expect(await attempt(dpop('wss://rs.example.com/ws'))).toMatchObject({ status: 401 });
    expect(events.at(-1)?.reason).toBe('dpop.htu');
  });

  it("refuses a request without credentials, also where credentials are 'optional'", async () => {
    for (const server of [running, await serving({ credentials: 'optional' })]) {
      const outcome = await attempt({}, owner, server);
      expect(outcome).toMatchObject({ status: 401, body: '' });
      expect(linesOf(outcome, 'www-authenticate')).toHaveLength(2);
      expect(linesOf(outcome, 'content-length')).toEqual(['0']);
    }
    expect(events.map(({ reason }) => reason)).toEqual(['request.no_credentials', 'request.no_credentials']);
  });

  it('requires what it is told to', async () => {
    expect(await attempt(bearer(), owner, await serving({}, 'read'))).toEqual({ said: 'welcome user-1' });
    expect(await attempt(bearer(), owner, await serving({}, 'write'))).toMatchObject({ status: 403 });
    const resource = protectedResource(optionsWith());
    expect(() => upgrade(resource, () => {}, { scope: '' })).toThrow(TypeError);
  });

  it('gives a nonce on one line, which is then good', async () => {
    const server = await serving({ dpop: { nonce: 'required' } });
    const outcome = await attempt(dpop(`${AUDIENCE}/ws`), undefined, server);
    const [nonce, ...more] = linesOf(outcome, 'dpop-nonce');
    expect([outcome, more]).toMatchObject([{ status: 401 }, []]);
    const proof = makeProof({ key, token: tokens.dpop, htu: `${AUDIENCE}/ws`, iat: Math.floor(Date.now() / 1000), claims: { nonce } });
    expect(await attempt({ authorization: `DPoP ${tokens.dpop}`, dpop: proof }, undefined, server)).toEqual({ said: 'welcome user-1' });
  });

  it('is 503 with Retry-After where the keys cannot be had', async () => {
    const gone = await startIssuer();
    const token = await gone.token({ cnf: { 'x5t#S256': owner.thumbprint } });
    await gone.close();
    const outcome = await attempt({ authorization: `Bearer ${token}` }, owner, await serving({ issuer: gone.url }));
    expect(outcome).toMatchObject({ status: 503, body: '' });
    expect([linesOf(outcome, 'www-authenticate'), linesOf(outcome, 'retry-after').length]).toEqual([[], 1]);
  });

  it('the access that is handed on says when it ends, and the WebSocket with it', async () => {
    const exp = Math.floor(Date.now() / 1000) + 2;
    const token = await issuer.token({ exp, cnf: { 'x5t#S256': owner.thumbprint } });
    const socket = new WebSocket(`wss://localhost:${running.port}/ws`, {
      ca: pki.ca,
      headers: { authorization: `Bearer ${token}` },
      cert: owner.cert,
      key: owner.key,
    });
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    expect([code, reason.toString()]).toEqual([1008, 'The access token has expired.']);
    expect(Date.now() / 1000).toBeGreaterThanOrEqual(exp);
  });

  it.each([
    [
      'that says so by a close frame',
      (webSocket: WebSocket, { signal }: Access) => signal.addEventListener('abort', () => webSocket.close(1008)),
    ],
    ['that forgot the signal', () => {}],
  ] as const)(
    'a client that never answers a close frame, and goes on sending, is cut off when the key is revoked: an application %s',
    async (_title, onOpen) => {
      const resource = protectedResource(optionsWith());
      const [webSockets, heard] = [new WebSocketServer({ noServer: true }), [] as string[]];
      const server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false, maxVersion: version });
      const accept = (request: IncomingMessage, socket: Duplex, head: Buffer, access: Access): void =>
        webSockets.handleUpgrade(request, socket, head, (webSocket) => {
          onOpen(webSocket, access);
          webSocket.on('message', (message) => heard.push(Buffer.from(message as Buffer).toString()));
        });
      server.on('upgrade', upgrade(resource, accept));
      const started = await listening(server);
      open.push(() => started.close());
      const signing = await issuer.addKey('ES256');
      const token = await issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } }, { kid: signing.kid }, { key: signing });
      const socket = await dial(owner, started.port);
      const hi = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
      socket.write(Buffer.concat([Buffer.from(`${handshake(token).join('\r\n')}\r\n\r\n`), hi]));
      await expect.poll(() => heard).toEqual(['hi']);
      // It stays open at this end, and reads nothing.
      const ended = new Promise((resolve) => socket.once('close', resolve));
      resource.revokeKey(await calculateJwkThumbprint(signing.publicJwk));
      socket.write(hi);
      socket.resume();
      await ended;
      expect(heard).toEqual(['hi']);
    },
  );

  it('loses nothing that came right after the handshake', async () => {
    const socket = await dial(owner);
    const masked = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]); // a text frame: hi
    socket.write(Buffer.concat([Buffer.from(`${handshake().join('\r\n')}\r\n\r\n`), masked]));
    let received = '';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    await expect.poll(() => received).toContain('echo hi');
    expect(received).toMatch(/^HTTP\/1\.1 101 /);
  });

  it('answers no other request on a connection that it refused, and ends it', async () => {
    const socket = await dial(thief);
    socket.write(`${handshake().join('\r\n')}\r\n\r\nGET /plain HTTP/1.1\r\nHost: rs.example.com\r\n\r\n`);
    let received = '';
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
    await once(socket, 'close');
    expect(received).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it('refuses a client that sends no more, and one that never stops sending', async () => {
    for (const goOn of [(socket: TLSSocket) => void socket.end(), (socket: TLSSocket) => void socket.write(Buffer.alloc(300_000))]) {
      const socket = await dial(thief);
      socket.write(`${handshake().join('\r\n')}\r\n\r\n`);
      goOn(socket);
      socket.resume();
      await once(socket, 'close');
    }
    await expect.poll(() => events.map(({ reason }) => reason)).toEqual(['certificate.mismatch', 'certificate.mismatch']);
  });

  it.each(['goes', 'resets the connection'])('a client that %s while it is judged is not served, and ends no process', async (way) => {
    const slow = await startIssuer();
    open.push(() => slow.close());
    let answerKeys = (): void => {};
    slow.answer = (_request, response, path) => {
      if (!path.startsWith('/.well-known')) return false;
      answerKeys = () => void response.writeHead(404).end();
      return true;
    };
    const server = await serving({ issuer: slow.url });
    // The connection leads over this one, which can be reset: one of TLS cannot.
    let upstream: Socket | undefined;
    const relay = await listening(
      createTcpServer((client) => {
        upstream = connectTcp({ port: server.port, host: '127.0.0.1' }).on('error', () => {});
        client
          .on('error', () => {})
          .pipe(upstream)
          .pipe(client);
      }),
    );
    open.push(() => relay.close());
    const socket = await dial(owner, relay.port);
    const asked = slow.nextRequest(/well-known/);
    socket.write(`${handshake(await slow.token({ cnf: { 'x5t#S256': owner.thumbprint } })).join('\r\n')}\r\n\r\n`);
    await asked;
    if (way === 'goes') socket.destroy();
    else upstream?.resetAndDestroy();
    // What comes after it is answered: the server has seen it go.
    const plain = { port: server.port, lines: ['GET /plain HTTP/1.1', 'Host: rs.example.com'], tls: tlsOf(owner) };
    expect((await rawRequest(plain)).body).toBe('plain');
    slow.answer = undefined;
    answerKeys();
    await expect.poll(() => events.map(({ outcome }) => outcome)).toEqual(['granted']);
    if (way !== 'goes') expect(accepted).toEqual([]);
    await expect.poll(() => sockets.clients.size).toBe(0);
    expect((await rawRequest(plain)).body).toBe('plain');
  });
});

describe('an HTTP upgrade without TLS', () => {
  let issuer: Issuer;
  let token: string;
  let running: RunningServer;
  const server = createHttpServer();
  const listeners: number[] = [];
  let answerKeys = (): void => {};

  beforeAll(async () => {
    issuer = await startIssuer();
    token = await issuer.token();
    issuer.answer = (_request, response, path) => {
      if (!path.startsWith('/.well-known')) return false;
      answerKeys = () => void response.writeHead(404).end();
      return true;
    };
    const resource = protectedResource({ issuer: issuer.url, audience: AUDIENCE, unconstrained: 'accept' });
    const accept = (_request: IncomingMessage, socket: Duplex): void => {
      listeners.push(socket.listenerCount('error'));
      socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
    };
    server.on('upgrade', upgrade(resource, accept));
    running = await listening(server);
  });
  afterAll(async () => {
    await running.close();
    await issuer.close();
  });
  const ask = async (authorization: string): Promise<Socket> => {
    const socket = connectTcp({ port: running.port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});
    await once(socket, 'connect');
    socket.write(`GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: ${authorization}\r\n\r\n`);
    return socket;
  };
  const connections = (): Promise<number> =>
    new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count))));

  it('a reset while it is judged ends no process, and once it is accepted, its errors are those of the application', async () => {
    const asked = issuer.nextRequest(/well-known/);
    const [reset, stays] = [await ask(`Bearer ${token}`), await ask(`Bearer ${token}`)];
    await asked;
    reset.resetAndDestroy();
    await expect.poll(connections).toBe(1);
    issuer.answer = undefined;
    answerKeys();
    await once(stays, 'data');
    expect(listeners).toEqual([0]);
    stays.destroy();
  });

  it('a client that was refused and keeps its side open does not keep the connection', async () => {
    const socket = await ask('Bearer a.b.c');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    await expect.poll(connections).toBe(0);
    expect(socket.writable).toBe(true);
    socket.destroy();
  });
});
