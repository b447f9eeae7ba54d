import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer, type Server } from 'node:http';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { accessOf, holdfast, type HoldfastMiddleware, requires } from '@holdfast/express';
import {
  certificateOf,
  DECISION_CHANNEL,
  prepareRequirements,
  type ProtectedResourceOptions,
  type ProtectedResourceRequest,
  protectedResource,
  REASONS,
  type ResourceEvent,
} from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { rawRequest } from '@holdfast/test-support/raw-request';
import { calculateJwkThumbprint } from 'jose';
import express, { type Express, Router } from 'express';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Api, AUDIENCE, GRANTED, NOW, startApi, verdictOf } from './api.ts';

const PREFLIGHT = { method: 'OPTIONS', lines: ['Origin: https://app.example.com', 'Access-Control-Request-Method: GET'] };

describe('Events', () => {
  let issuer: Issuer;
  let token: string;
  const servers: Server[] = [];
  const closing: { close(): Promise<void> }[] = [];

  beforeAll(async () => {
    issuer = await startIssuer({ now: createClock(NOW).now });
    token = await issuer.token();
  });
  afterEach(async () => {
    for (const one of closing.splice(0)) await one.close();
    for (const server of servers.splice(0)) await stop(server);
  });
  afterAll(() => issuer.close());

  const apiOf = async (options: Partial<ProtectedResourceOptions> = {}): Promise<Api> => {
    const api = await startApi({ issuedBy: issuer, ...options });
    closing.push(api);
    return api;
  };
  /** What is said on the channel while `run` runs. */
  const heardDuring = async (run: () => Promise<unknown>): Promise<ResourceEvent[]> => {
    const heard: ResourceEvent[] = [];
    const listener = (event: unknown): void => void heard.push(event as ResourceEvent);
    subscribe(DECISION_CHANNEL, listener);
    await run().finally(() => unsubscribe(DECISION_CHANNEL, listener));
    return heard;
  };

  it('the channel is called holdfast:decision', () => {
    expect(DECISION_CHANNEL).toBe('holdfast:decision');
  });

  it.each<[string, () => Promise<string | string[]>, Partial<ResourceEvent>]>([
    [
      'a grant',
      async () => `Bearer ${await issuer.token({ client_id: 'c' })}`,
      { outcome: 'granted', scheme: 'Bearer', clientId: 'c', confirmations: [] },
    ],
    ['no credentials', async () => [], { outcome: 'refused', reason: 'request.no_credentials' }],
    ['a malformed field', async () => 'Bearer a b', { outcome: 'refused', reason: 'request.malformed_authorization' }],
    ['a bad token', async () => 'Bearer a', { outcome: 'refused', reason: 'token.not_jwt', scheme: 'Bearer' }],
    [
      'a bound token',
      async () => `Bearer ${await issuer.token({ cnf: {} })}`,
      { outcome: 'refused', reason: 'cnf.not_understood', scheme: 'Bearer', clientId: 'client-1' },
    ],
  ])('one for each decision, the same to onEvent and on the channel: %s', async (_what, credentials, expected) => {
    const api = await apiOf();
    const heard = await heardDuring(async () => api.ask(await credentials()));
    expect(heard).toHaveLength(1);
    expect(api.events).toEqual(heard);
    expect(heard[0]).toMatchObject({ time: NOW, ...expected });
    const { reason, text, timings } = heard[0] ?? { timings: { total: NaN } };
    expect(text).toBe(reason && REASONS[reason].text);
    expect(timings.total).toBeGreaterThanOrEqual(0);
  });

  it('a grant says what was confirmed, and by which issuer', async () => {
    const certificate = certificateOf(new TextEncoder().encode('certificate'));
    const api = await apiOf({ certificate: () => certificate });
    await api.ask(`Bearer ${await issuer.token({ cnf: { 'x5t#S256': certificate.thumbprint } })}`);
    expect(api.events).toEqual([
      {
        time: NOW,
        outcome: 'granted',
        scheme: 'Bearer',
        issuer: issuer.url,
        clientId: 'client-1',
        confirmations: ['x5t#S256'],
        timings: { total: expect.any(Number) },
      },
    ]);
    expect(JSON.stringify(api.events)).not.toContain(certificate.thumbprint);
  });

  it('issuer and clientId stand there only once the token is authentic', async () => {
    const api = await apiOf();
    for (const bad of [await issuer.token({ exp: NOW - 60 }), await issuer.token({}, { kid: 'x' }), await issuer.token({ aud: 'x' })]) {
      await api.ask(`Bearer ${bad}`);
      expect(Object.keys(api.events[0] ?? {}).toSorted()).not.toContain('clientId');
      expect(Object.keys(api.events[0] ?? {}).toSorted()).not.toContain('issuer');
    }
  });

  it('of a certificate that is another one: the beginnings of both thumbprints, no more', async () => {
    const [mine, other] = ['mine', 'other'].map((name) => certificateOf(new TextEncoder().encode(name)));
    const api = await apiOf({ certificate: () => other });
    await api.ask(`Bearer ${await issuer.token({ cnf: { 'x5t#S256': mine?.thumbprint } })}`);
    expect(api.events[0]).toMatchObject({ expected: `${mine?.thumbprint.slice(0, 12)}…`, received: `${other?.thumbprint.slice(0, 12)}…` });
    expect(JSON.stringify(api.events)).not.toContain(mine?.thumbprint);
    expect(JSON.stringify(api.events)).not.toContain(other?.thumbprint);
  });

  it('a route that refuses is a decision of its own', async () => {
    const api = await apiOf();
    await api.ask(`Bearer ${token}`, { target: '/both' });
    expect(api.events.map(({ outcome, reason, expected }) => [outcome, reason, expected])).toEqual([
      ['granted', undefined, undefined],
      ['refused', 'scope.insufficient', 'a b'],
    ]);
  });

  it('a request that passes without access is no decision, and one that then needs access is: told once, with its route', async () => {
    const events: ResourceEvent[] = [];
    const resource = protectedResource({
      issuer: issuer.url,
      audience: AUDIENCE,
      credentials: 'optional',
      route: ({ target }) => target,
      now: createClock(NOW).now,
      onEvent: (event) => events.push(event),
    });
    closing.push(resource);
    const requestFor = (target: string): ProtectedResourceRequest => ({
      method: 'GET',
      target,
      fieldLines: () => [],
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
    const [open, closed] = [await resource.verify(requestFor('/open')), await resource.verify(requestFor('/closed'))];
    expect([open.granted, closed.granted, events]).toEqual([false, false, []]);
    const read = prepareRequirements({ scope: 'read' });
    expect([resource.authorize(closed, read), resource.authorize(closed), resource.authorize(closed, read)]).toEqual([
      closed,
      closed,
      closed,
    ]);
    expect(events).toEqual([
      {
        time: NOW,
        outcome: 'refused',
        reason: 'request.no_credentials',
        text: REASONS['request.no_credentials'].text,
        route: '/closed',
        timings: { total: 0 },
      },
    ]);
  });

  it('what was refused at once is not told again by a route', async () => {
    const api = await apiOf();
    const heard = await heardDuring(async () => {
      const [refused, preflight] = [await api.ask('Bearer a', { target: '/both' }), await api.ask([], { ...PREFLIGHT, target: '/r' })];
      expect([refused.status, preflight.status]).toEqual([401, 401]);
    });
    expect(heard.map(({ reason }) => reason)).toEqual(['token.not_jwt', 'request.no_credentials']);
  });

  it('our own fault is unavailable, with the kind of it and not with its message', async () => {
    const api = await apiOf({
      certificate: () => {
        throw new RangeError('hunter2');
      },
    });
    await api.ask(`Bearer ${await issuer.token({ cnf: { 'x5t#S256': 'A'.repeat(43) } })}`);
    expect(api.events[0]).toMatchObject({ outcome: 'unavailable', reason: 'unavailable.certificate', detail: 'RangeError' });
    expect(JSON.stringify(api.events)).not.toContain('hunter2');
  });

  describe('EDG-19 a listener of the application', () => {
    const warningsDuring = async (run: () => Promise<unknown>): Promise<Error[]> => {
      const warnings: Error[] = [];
      const listener = (warning: Error): void => void (warning.name === 'HoldfastWarning' && warnings.push(warning));
      process.on('warning', listener);
      await run();
      await new Promise(setImmediate);
      process.off('warning', listener);
      return warnings;
    };

    it.each([
      ['an error', () => new Error('hunter2')],
      ['what is no error', () => 'hunter2'],
      ['nothing', () => undefined],
    ])('EDG-19 that throws %s changes no decision, and a warning is given', async (_what, make) => {
      const api = await apiOf({
        onEvent: () => {
          // oxlint-disable-next-line typescript/only-throw-error -- somebody else's listener may throw anything
          throw make();
        },
      });
      const verdicts: string[] = [];
      const warnings = await warningsDuring(async () => {
        verdicts.push(verdictOf(await api.ask(`Bearer ${token}`)), verdictOf(await api.ask('Bearer a')), verdictOf(await api.ask([])));
        verdicts.push(verdictOf(await api.ask(`Bearer ${token}`, { target: '/both' })));
      });
      expect(verdicts).toEqual([
        GRANTED,
        '401 | Bearer invalid_token | no reason',
        '401 | Bearer | no reason',
        '403 | Bearer insufficient_scope | no reason',
      ]);
      expect(warnings.length).toBeGreaterThan(0);
      expect(warnings.map(({ message }) => message).join('\n')).toMatch(/onEvent/);
      expect(warnings.map(({ message }) => message).join('\n')).not.toContain('hunter2');
    });

    it('EDG-19 that changes the event changes nothing', async () => {
      const api = await apiOf({
        onEvent: (event) => {
          try {
            Object.assign(event, { outcome: 'granted', reason: undefined });
          } catch {
            // A frozen event would be as good.
          }
        },
      });
      expect((await api.ask('Bearer a')).status).toBe(401);
    });

    it('EDG-19 that is asynchronous and rejects does not end the process', async () => {
      const program = `
        import { protectedResource } from '@holdfast/core';
        const resource = protectedResource({
          issuer: 'https://as.example.com',
          audience: 'https://rs.example.com',
          onEvent: async () => { throw new Error('the log is full'); },
        });
        const request = { method: 'GET', target: '/', fieldLines: () => [], connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined } };
        const { status } = await resource.verify(request);
        setImmediate(() => process.stdout.write(String(status)));
      `;
      const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
        cwd: fileURLToPath(new URL('..', import.meta.url)),
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const output: Buffer[] = [];
      child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
      const [code] = (await once(child, 'close')) as [number | null];
      expect([Buffer.concat(output).toString(), code]).toEqual(['401', 0]);
    });
  });

  describe('One resource', () => {
    const serve = async (
      build: (app: Express) => void,
    ): Promise<(target: string, line?: string) => Promise<{ status: number; body: string }>> => {
      const app = express();
      app.set('env', 'test');
      build(app);
      const server = createServer(app);
      servers.push(server);
      const port = await listen(server);
      return async (target, line = `Bearer ${token}`) => {
        const { socket, status, body } = await rawRequest({
          port,
          lines: [`GET ${target} HTTP/1.1`, 'Host: rs', `Authorization: ${line}`],
        });
        socket.destroy();
        return { status, body };
      };
    };
    const protect = (events: ResourceEvent[], more: Partial<ProtectedResourceOptions> = {}): HoldfastMiddleware => {
      const now = createClock(NOW).now;
      const made = holdfast({
        issuer: issuer.url,
        audience: AUDIENCE,
        unconstrained: 'accept',
        dpop: false,
        now,
        onEvent: (event) => events.push(event),
        ...more,
      });
      closing.push(made);
      return made;
    };

    it('that is mounted several times judges a request once: app, router, nested router, route', async () => {
      const events: ResourceEvent[] = [];
      const protection = protect(events);
      const get = await serve((app) => {
        const inner = Router();
        inner.use(protection);
        inner.get(
          '/r',
          protection,
          requires({ scope: 'read' }),
          (request, response) => void response.json({ sub: accessOf(request).claims.sub, url: request.url }),
        );
        const outer = Router();
        outer.use('/b', protection, inner);
        app.use(protection);
        app.use('/a', protection, outer);
      });
      expect(await get('/a/b/r')).toEqual({ status: 200, body: '{"sub":"user-1","url":"/r"}' });
      expect(events.map(({ outcome }) => outcome)).toEqual(['granted']);
      events.length = 0;
      expect((await get('/a/b/r', 'Bearer a')).status).toBe(401);
      expect(events.map(({ outcome }) => outcome)).toEqual(['refused']);
    });

    it('sees the target that the client sent, wherever it is mounted and whatever was rewritten', async () => {
      const events: ResourceEvent[] = [];
      const protection = protect(events);
      const get = await serve((app) => {
        app.use((request, _response, next) => {
          request.url = '/a/r';
          next();
        });
        app.use('/a', protection);
        app.get('/a/r', (_request, response) => void response.json({}));
      });
      expect((await get('/x')).status).toBe(200);
      expect((await get('/x?access_token=y')).status).toBe(400);
      expect(events.map(({ reason }) => reason)).toEqual([undefined, 'request.token_in_query']);
    });

    it('serves two applications, one within the other and one beside it', async () => {
      const events: ResourceEvent[] = [];
      const resource = protectedResource({
        issuer: issuer.url,
        audience: AUDIENCE,
        unconstrained: 'accept',
        now: createClock(NOW).now,
        onEvent: (event) => events.push(event),
      });
      closing.push(resource);
      const build = (app: Express): void => {
        const inner = express();
        inner.use(holdfast(resource));
        inner.get('/r', (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
        app.use(holdfast(resource));
        app.use('/inner', inner);
        app.get('/r', (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
      };
      const [first, second] = [await serve(build), await serve(build)];
      const requests = issuer.requests.length;
      for (const get of [first, second]) for (const target of ['/r', '/inner/r']) expect((await get(target)).body).toBe('{"sub":"user-1"}');
      expect(events.map(({ outcome }) => outcome)).toEqual(['granted', 'granted', 'granted', 'granted']);
      // One set of keys, one cache.
      expect(issuer.requests.slice(requests)).toEqual(['/.well-known/oauth-authorization-server', '/jwks']);
    });

    it('is one of two that protect the same route: both have to grant', async () => {
      const [outer, inner]: [ResourceEvent[], ResourceEvent[]] = [[], []];
      const get = await serve((app) => {
        app.use(protect(outer));
        app.use('/other', protect(inner, { audience: 'https://other.example.com' }));
        app.get('/other', (_request, response) => void response.json({}));
        app.get('/r', (_request, response) => void response.json({}));
      });
      expect([(await get('/r')).status, (await get('/other')).status]).toEqual([200, 401]);
      expect([outer.map(({ outcome }) => outcome), inner.map(({ reason }) => reason)]).toEqual([
        ['granted', 'granted'],
        ['token.audience'],
      ]);
      const both = await issuer.token({ aud: [AUDIENCE, 'https://other.example.com'] });
      expect((await get('/other', `Bearer ${both}`)).status).toBe(200);
    });

    it('is judged anew for every request of a connection', async () => {
      const events: ResourceEvent[] = [];
      const protection = protect(events);
      const app = express();
      app.use(protection);
      app.get('/r', (_request, response) => void response.json({}));
      const server = createServer(app);
      servers.push(server);
      const port = await listen(server);
      const lines = (credentials: string[]): string[] => ['GET /r HTTP/1.1', 'Host: rs', ...credentials];
      const first = await rawRequest({ port, lines: lines([`Authorization: Bearer ${token}`]) });
      const second = await rawRequest({ port, lines: lines([]), socket: first.socket });
      const third = await rawRequest({ port, lines: lines([`Authorization: Bearer ${token}`]), socket: first.socket });
      first.socket.destroy();
      expect([first.status, second.status, third.status]).toEqual([200, 401, 200]);
      expect(events.map(({ outcome }) => outcome)).toEqual(['granted', 'refused', 'granted']);
    });

    it('ready, revokeKey and close stand on the middleware', async () => {
      const events: ResourceEvent[] = [];
      const own = await startIssuer({ now: createClock(NOW).now });
      const protection = protect(events, { issuer: own.url });
      await protection.ready();
      expect(own.requests).toEqual(['/.well-known/oauth-authorization-server', '/jwks']);
      const get = await serve((app) => {
        app.use(protection);
        app.get('/r', (_request, response) => void response.json({}));
      });
      const line = `Bearer ${await own.token()}`;
      expect((await get('/r', line)).status).toBe(200);
      protection.revokeKey(await calculateJwkThumbprint(own.keys[0]?.publicJwk ?? {}));
      expect((await get('/r', line)).status).toBe(401);
      await expect(protection.close()).resolves.toBeUndefined();
      expect(events.map(({ outcome, reason }) => [outcome, reason])).toEqual([
        ['granted', undefined],
        ['refused', 'token.unknown_key'],
      ]);
      await own.close();
    });
  });
});
