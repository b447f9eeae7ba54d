import { createServer, get, IncomingMessage, type ServerResponse } from 'node:http';
import { connect, createSecureServer, type ClientHttp2Session } from 'node:http2';
import { Agent, createServer as createTlsServer, get as getTls } from 'node:https';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import {
  type Access,
  type CertificateSource,
  fromTls,
  prepareRequirements,
  type ProtectedResource,
  protectedResource,
  type Refusal,
  type ResourceEvent,
  UNPROTECTED,
} from '@holdfast/core';
import { isOver, nodeRequest, sendRefusal, setFields } from '@holdfast/core/node';
import { requestOnce } from '@holdfast/test-support/clients';
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { rawRequest } from '@holdfast/test-support/raw-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapterContract, type ContractApp, grantedTo, listening, type RunningServer, serve } from './contract.ts';

const AUDIENCE = 'https://rs.example.com';

adapterContract('bare node:https and node:http2', (contract) => serve(listenerOf(contract), contract), {
  http2: true,
  errorHandler: false,
  allMethods: 'refused',
  parsesJson: true,
});

/** The application of the contract, by hand: what every adapter does is three calls. */
function listenerOf({ options, other, reached, stream }: ContractApp): (request: IncomingMessage, response: ServerResponse) => void {
  const [first, second] = [protectedResource(options), protectedResource(other)];
  const write = prepareRequirements({ scope: 'write' });

  return async (request, response) => {
    const { method = '', url = '' } = request;
    const path = url.replace(/^https?:\/\/[^/]*/, '').replace(/\?.*$/, '');
    const json = (value: unknown): void => void response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(value));
    if (path === '/answered/r') response.writeHead(408).end('late');
    if (path === '/open') {
      reached(path);
      return void response.end('open');
    }
    // Nothing protects these.
    if (path.startsWith('/bare/')) return sendRefusal(response, UNPROTECTED);

    const published = first.metadata?.answer(nodeRequest(request));
    if (published !== undefined) return sendRefusal(response, await published);
    let access: Access | Refusal = UNPROTECTED;
    for (const resource of path === '/twice/r' ? [first, first] : path === '/both/r' ? [first, second] : [first]) {
      access = await resource.verify(nodeRequest(request));
      if (!access.granted && access.mayPass === undefined) return sendRefusal(response, access);
      setFields(response, access.granted ? access.fields : (access.mayPass?.fields ?? []));
    }
    if (isOver(response)) return;
    if (path === '/api/write') access = first.authorize(access, write);
    else if (method !== 'OPTIONS' && path !== '/api/maybe') access = first.authorize(access);
    if ((method === 'OPTIONS' && path === '/api/r') || path === '/api/maybe') {
      reached(path);
      return method === 'OPTIONS' ? void response.writeHead(204).end() : json(grantedTo(access.granted ? access : undefined));
    }
    if (!access.granted) return sendRefusal(response, access);
    reached(path);
    if (path === '/api/throws') return void response.writeHead(500).end();
    if (path === '/api/stream') return void stream().pipe(response);
    if (path === '/api/json') return json(JSON.parse(await text(request)));
    if (path !== '/api/upload') return json(grantedTo(access));
    let length = 0;
    request.on('data', (chunk: Buffer) => (length += chunk.length)).on('end', () => json(length));
  };
}

describe('bare node:http, node:https and node:http2', () => {
  let pki: Pki;
  let owner: Identity;
  let thief: Identity;
  let issuer: Issuer;
  let token: string;
  let resource: ProtectedResource;

  beforeAll(async () => {
    pki = await createPki();
    [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
    issuer = await startIssuer();
    token = await issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': owner.thumbprint } });
    resource = protectedResource({ issuer: issuer.url, audience: AUDIENCE, certificate: fromTls() });
  });
  afterAll(async () => {
    await resource.close();
    await issuer.close();
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('HTTP/2 through the compatibility layer, over %s', (version) => {
    let server: ReturnType<typeof createSecureServer>;
    let port: number;
    beforeAll(async () => {
      const tls = { ...pki.server, requestCert: true, rejectUnauthorized: false, allowHTTP1: true, maxVersion: version };
      server = createSecureServer(tls, async (request, response) => {
        const result: Access | Refusal = await resource.verify(nodeRequest(request));
        if (!result.granted) return sendRefusal(response, result);
        response.end(result.confirmations[0]?.thumbprint ?? '');
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const address = server.address();
      port = typeof address === 'object' && address !== null ? address.port : 0;
    });
    afterAll(() => void server.close());

    async function ask(session: ClientHttp2Session): Promise<[status: unknown, challenge: unknown, body: string]> {
      const stream = session.request({ ':path': '/r', authorization: `Bearer ${token}` });
      const [headers] = await once(stream, 'response');
      let body = '';
      for await (const chunk of stream) body += chunk;
      return [headers[':status'], headers['www-authenticate'], body];
    }
    const open = (identity?: Identity): ClientHttp2Session =>
      connect(`https://localhost:${port}`, { ca: pki.ca, ...(identity && { cert: identity.cert, key: identity.key }) });

    it('the owner gets in on every stream of the connection; a thief and a client without certificate do not', async () => {
      const [mine, theirs, none] = [open(owner), open(thief), open()];
      expect(await Promise.all([ask(mine), ask(mine), ask(mine)])).toEqual(
        Array.from({ length: 3 }, () => [200, undefined, owner.thumbprint]),
      );
      expect((await ask(theirs)).slice(0, 2)).toEqual([401, expect.stringContaining('error="invalid_token"')]);
      expect((await ask(none)).slice(0, 2)).toEqual([401, expect.stringContaining('error="invalid_token"')]);
      for (const session of [mine, theirs, none]) session.close();
    });

    it('HTTP/1.1 on the same server is judged alike', async () => {
      const headers = { authorization: `Bearer ${token}` };
      const tls = { port, path: '/r', ca: pki.ca, servername: 'localhost', headers };
      expect((await requestOnce({ ...tls, cert: owner.cert, key: owner.key })).status).toBe(200);
      expect((await requestOnce({ ...tls, cert: thief.cert, key: thief.key })).status).toBe(401);
    });
  });

  describe("fromTls({ misdirected: 'refuse' })", () => {
    const events: ResourceEvent[] = [];
    let running: RunningServer;
    let byKey: () => Record<string, string>;

    const startWith = async (certificate: CertificateSource): Promise<RunningServer> => {
      const named = await pki.serverFor(['a.example', 'b.example']);
      const refusing = protectedResource({ issuer: issuer.url, audience: AUDIENCE, certificate, onEvent: (event) => events.push(event) });
      const tls = { cert: named.cert, key: named.key, requestCert: true, rejectUnauthorized: false, allowHTTP1: true };
      const server = createSecureServer(tls, async (request, response) => {
        const result = await refusing.verify(nodeRequest(request));
        if (!result.granted) return sendRefusal(response, result);
        response.end('granted');
      });
      return listening(server);
    };
    beforeAll(async () => {
      running = await startWith(fromTls({ misdirected: 'refuse' }));
      const key = await generateDpopKey();
      const bound = await issuer.token({ aud: AUDIENCE, cnf: { jkt: key.thumbprint } });
      byKey = () => ({
        authorization: `DPoP ${bound}`,
        dpop: makeProof({ key, token: bound, htu: `${AUDIENCE}/r`, iat: Math.floor(Date.now() / 1000) }),
      });
    });
    afterAll(() => running.close());

    const tlsFor = (servername: string): { ca: string; servername: string; cert: string; key: string } => ({
      ca: pki.ca,
      servername,
      cert: owner.cert,
      key: owner.key,
    });
    const connectFor = (servername: string, { port } = running): ClientHttp2Session =>
      connect('https://a.example', {
        createConnection: () => connectTls({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], ...tlsFor(servername) }),
      });
    const bearer = (): Record<string, string> => ({ authorization: `Bearer ${token}` });
    const ask = async (session: ClientHttp2Session, fields: Record<string, string>): Promise<readonly [number, string]> => {
      const stream = session.request({ ':path': '/r', ...fields });
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      let body = '';
      for await (const chunk of stream) body += chunk;
      expect([headers['www-authenticate'], headers['retry-after']]).toEqual([undefined, undefined]);
      return [Number(headers[':status']), body];
    };

    it('over HTTP/2 a request for another host than that of its connection is 421, and good on a connection of its own', async () => {
      const [forA, forB] = [connectFor('a.example'), connectFor('b.example')];
      expect(await ask(forA, { ':authority': 'a.example', ...bearer() })).toEqual([200, 'granted']);
      expect(await ask(forA, { ':authority': 'b.example', ...bearer() })).toEqual([421, '']);
      expect(events.at(-1)?.reason).toBe('request.misdirected');
      expect(await ask(forB, { ':authority': 'b.example', ...bearer() })).toEqual([200, 'granted']);
      expect(await ask(forB, { ':authority': `B.example:${running.port}`, ...bearer() })).toEqual([200, 'granted']);
      // Two hosts in one request: whichever routes, the other is not that of the connection.
      expect(await ask(forA, { ':authority': 'a.example', host: 'b.example', ...bearer() })).toEqual([421, '']);
      // No certificate is asked of it, so it may share a connection.
      expect(await ask(forA, { ':authority': 'b.example', ...byKey() })).toEqual([200, 'granted']);
      for (const session of [forA, forB]) session.close();
    });

    it('HTTP/1.1 is judged alike: by Host, and by a target in absolute form; a client that named no host gets no further', async () => {
      const authorization = `Authorization: Bearer ${token}`;
      const statusOf = async (servername: string, ...lines: string[]): Promise<number> => {
        const tls = { ...tlsFor(servername), checkServerIdentity: () => undefined };
        const { status, socket } = await rawRequest({ port: running.port, lines: [...lines, authorization], tls });
        socket.destroy();
        return status;
      };
      expect(await statusOf('a.example', 'GET /r HTTP/1.1', 'Host: a.example')).toBe(200);
      expect(await statusOf('a.example', 'GET /r HTTP/1.1', `Host: A.Example:${running.port}`)).toBe(200);
      expect(await statusOf('a.example', 'GET /r HTTP/1.1', 'Host: b.example')).toBe(421);
      expect(await statusOf('a.example', 'GET https://b.example/r HTTP/1.1', 'Host: a.example')).toBe(421);
      expect(await statusOf('a.example', 'GET /r HTTP/1.1', 'Host: a.example.evil')).toBe(421);
      expect(await statusOf('', 'GET /r HTTP/1.1', 'Host: a.example')).toBe(421);
    });

    it('is not the default, and an option that is none is refused', async () => {
      const ignoring = await startWith(fromTls());
      const session = connectFor('a.example', ignoring);
      expect(await ask(session, { ':authority': 'b.example', ...bearer() })).toEqual([200, 'granted']);
      session.close();
      await ignoring.close();
      expect(() => fromTls({ misdirected: true as never })).toThrow(TypeError);
      expect(() => fromTls({ serverNames: ['a.example'] } as never)).toThrow(/fromTls: Give/);
    });
  });

  it.each([undefined, 5, 20, 40, 100, 0])('no line goes missing unseen where the server keeps %s fields', async (most) => {
    const told: (readonly [seen: boolean, cut: boolean])[] = [];
    const server = createServer((request, response) => {
      const view = nodeRequest(request);
      told.push([view.fieldLines('x-last').length === 1, view.fieldsCut === true]);
      response.end();
    });
    if (most !== undefined) server.maxHeadersCount = most;
    const port = await listen(server);
    for (const count of [0, 5, 30, 31, 32, 62, 63, 99, 200, 998, 1_100, 2_000]) {
      const filler = Array.from({ length: count }, () => 'a:');
      await rawRequest({ port, lines: ['GET / HTTP/1.1', 'Host: a', ...filler, 'X-Last: 1', 'Connection: close'] });
    }
    expect(told).toHaveLength(12);
    expect(told.filter(([seen, cut]) => !seen && !cut)).toEqual([]);
    expect([told[0], told.filter(([, cut]) => cut).length > 0]).toEqual([[true, false], most !== 0]);
    await stop(server);
  });

  it('a certificate is not looked for where there is no TLS, and the peer of a Unix socket is known as such', async () => {
    const peers: unknown[] = [];
    const server = createServer(async (request, response) => {
      peers.push(nodeRequest(request).connection.peer);
      const result = await resource.verify(nodeRequest(request));
      if (!result.granted) sendRefusal(response, result);
    });
    const port = await listen(server);
    const headers = { authorization: `Bearer ${token}` };
    const [overTcp] = await once(get({ port, host: '127.0.0.1', headers, agent: false }), 'response');
    expect(overTcp.statusCode).toBe(401);
    await stop(server);

    const socketPath = join(mkdtempSync(join(tmpdir(), 'holdfast-')), 'api.sock');
    server.listen(socketPath);
    await once(server, 'listening');
    const [overUnix] = await once(get({ socketPath, headers, agent: false }), 'response');
    expect(overUnix.statusCode).toBe(401);
    await stop(server);
    expect(peers).toEqual([{ kind: 'ip', address: '127.0.0.1' }, { kind: 'unix' }]);
  });

  it('reads the certificate once per connection: the owner keeps its access after the first request, also where it was judged late', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const outcomes: boolean[] = [];
    const server = createTlsServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, async (request, response) => {
      await gate;
      request.socket.destroy();
      const result = await resource.verify(nodeRequest(request));
      outcomes.push(result.granted);
      response.end();
    });
    const port = await listen(server);
    const asked = requestOnce({
      port,
      ca: pki.ca,
      servername: 'localhost',
      cert: owner.cert,
      key: owner.key,
      headers: { authorization: `Bearer ${token}` },
    });
    const gone = asked.catch(() => 'gone');
    release();
    await gone;
    // The connection was reset before the request was judged: what was read when it began still holds.
    await expect.poll(() => outcomes).toEqual([true]);
    await stop(server);
  });

  it('the certificate of a connection stays that of its first request, whatever the socket says later', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set<object>();
    const seen: unknown[] = [];
    const server = createTlsServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, async (request, response) => {
      sockets.add(request.socket);
      seen.push(nodeRequest(request).connection.peerCertificate());
      const result = await resource.verify(nodeRequest(request));
      // As a client that renegotiates makes it look.
      Object.assign(request.socket, { getPeerCertificate: () => ({ raw: thief.der }) });
      if (!result.granted) return sendRefusal(response, result);
      response.end();
    });
    const port = await listen(server);
    const statusOf = async (bearer: string): Promise<number> => {
      const headers = { authorization: `Bearer ${bearer}` };
      const tls = { ca: pki.ca, servername: 'localhost', cert: owner.cert, key: owner.key };
      const [response] = await once(getTls({ host: '127.0.0.1', port, agent, headers, ...tls }), 'response');
      await once(response.resume(), 'end');
      return response.statusCode;
    };
    const stolen = await issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': thief.thumbprint } });
    expect([await statusOf(token), await statusOf(token), await statusOf(stolen)]).toEqual([200, 200, 401]);
    expect(sockets.size).toBe(1);
    expect(seen).toEqual(seen.map(() => Buffer.from(owner.der)));
    agent.destroy();
    await stop(server);
  });

  it('one message has one view, and messages made by hand that share a list of field lines are never taken for each other', () => {
    const [mine, theirs] = [new IncomingMessage(new Socket()), new IncomingMessage(new Socket())];
    theirs.rawHeaders = mine.rawHeaders;
    const view = nodeRequest(mine);
    expect(nodeRequest(mine)).toBe(view);
    expect(nodeRequest(theirs)).not.toBe(view);
    expect(nodeRequest(mine)).not.toBe(nodeRequest(theirs));
  });
});
