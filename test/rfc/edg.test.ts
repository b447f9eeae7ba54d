import { AsyncLocalStorage } from 'node:async_hooks';
import { createServer as createHttp2Server, connect } from 'node:http2';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { protectedResource } from '@holdfast/core';
import { nodeRequest } from '@holdfast/core/node';
import { holdfast, type ResourceEvent } from '@holdfast/express';
import { generateDpopKey } from '@holdfast/test-support/dpop';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normaliseTargetUri } from '../../packages/core/src/confirmation/htu.ts';
import { answerWithAccess, type Resource, type ResourceSetup, type Sent, startResource } from './resource.ts';

const BAD_PROOF = '401 D:invalid_dpop_proof';
let rs: Resource;
const open: Resource[] = [];

beforeAll(async () => {
  rs = await startResource();
});
afterAll(async () => {
  await Promise.all(open.map((resource) => resource.close()));
  await rs.close();
});

async function start(options: object, setup: ResourceSetup = {}): Promise<Resource> {
  const resource = await startResource({ ...setup, like: rs, options });
  open.push(resource);
  return resource;
}
async function outcome(resource: Resource, htu: string, sent: Sent = {}): Promise<string> {
  return (await resource.present(await resource.token(), { htu }, sent)).outcome;
}

describe('target URIs', () => {
  it('EDG-01 takes scheme and origin from the configuration, and no forwarded field changes them', async () => {
    const lines = [
      'X-Forwarded-Proto: http',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Port: 81',
      'Forwarded: proto=http;host=evil.example',
    ];
    expect(await outcome(rs, 'https://rs.example.com/r', { lines })).toBe('200');
    expect(await outcome(rs, 'http://rs.example.com/r', { lines })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://evil.example/r', { lines })).toBe(BAD_PROOF);
  });

  it('EDG-02 with one origin Host does not matter', async () => {
    for (const host of ['internal.cluster.local:8080', 'evil.example', '10.0.0.1'])
      expect(await outcome(rs, 'https://rs.example.com/r', { host })).toBe('200');
    expect(await outcome(rs, 'https://evil.example/r', { host: 'evil.example' })).toBe(BAD_PROOF);
  });

  it('EDG-02 with several origins htu names one of them, and where Host names one, that one', async () => {
    const two = await start({ publicUrl: ['https://rs.example.com', 'https://Second.example.com:443', 'https://third.example.com:8443'] });
    for (const origin of ['https://rs.example.com', 'https://second.example.com', 'https://third.example.com:8443']) {
      expect(await outcome(two, `${origin}/r`, { host: 'internal' })).toBe('200');
      expect(await outcome(two, `${origin}/r`, { host: origin.slice('https://'.length).toUpperCase() })).toBe('200');
    }
    expect(await outcome(two, 'https://rs.example.com/r', { host: 'second.example.com' })).toBe(BAD_PROOF);
    expect(await outcome(two, 'https://second.example.com/r', { host: 'second.example.com:443' })).toBe('200');
    expect(await outcome(two, 'https://third.example.com/r', { host: 'third.example.com' })).toBe(BAD_PROOF);
    expect(await outcome(two, 'https://evil.example/r', { host: 'evil.example' })).toBe(BAD_PROOF);
  });

  it('EDG-02 a host that is named with both schemes is good with both', async () => {
    const both = await start({ publicUrl: ['http://localhost', 'https://localhost', 'https://rs.example.com'] });
    expect(await outcome(both, 'http://localhost/r', { host: 'localhost' })).toBe('200');
    expect(await outcome(both, 'https://localhost/r', { host: 'localhost' })).toBe('200');
    expect(await outcome(both, 'https://rs.example.com/r', { host: 'localhost' })).toBe(BAD_PROOF);
  });

  it('EDG-02 takes the origins of all audiences that are URLs', async () => {
    const two = await start({ audience: ['https://rs.example.com', 'https://other.example.com/some/path', 'api'] });
    expect(await outcome(two, 'https://other.example.com/r', { host: 'x' })).toBe('200');
    expect(await outcome(two, 'https://other.example.com/some/path/r', { host: 'x' })).toBe(BAD_PROOF);
  });

  it('EDG-03 answers 400 to two Host lines', async () => {
    const token = await rs.token();
    expect((await rs.present(token, {}, { lines: ['Host: evil.example'] })).status).toBe(400);
    expect((await rs.present(token, {}, { lines: ['Host: rs.example.com'] })).status).toBe(400);
    expect((await rs.send({ lines: ['Host: rs.example.com'] })).status).toBe(400);
    expect((await rs.send({ scheme: 'Bearer', token: await rs.token({}), lines: ['Host: x'] })).status).toBe(400);
  });

  it('EDG-04 an absolute-form target is the target URI, and must be of a configured origin', async () => {
    const target = 'http://evil.example/r';
    for (const htu of ['https://rs.example.com/r', 'http://evil.example/r', 'https://evil.example/r'])
      expect(await outcome(rs, htu, { target })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://rs.example.com/r', { target: 'https://rs.example.com/r?x' })).toBe('200');
    expect(await outcome(rs, 'https://rs.example.com/r', { target: 'HTTPS://RS.example.com:443/r' })).toBe('200');
    expect(await outcome(rs, 'https://rs.example.com/r', { target: 'http://rs.example.com/r' })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://rs.example.com.evil.example/r', { target: 'https://rs.example.com.evil.example/r' })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://rs.example.com/r', { target: 'https://rs.example.com@evil.example/r' })).toBe(BAD_PROOF);
  });

  it('EDG-05 a target that begins with // is a path', async () => {
    const target = '//evil.example/r';
    expect(await outcome(rs, 'https://evil.example/r', { target })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://rs.example.com/r', { target })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://rs.example.com//evil.example/r', { target })).toBe('200');
  });

  it('EDG-06 takes the whole path where it is mounted in a router', async () => {
    const mounted = await start(
      {},
      {
        build: (app, options) => {
          const router = express.Router();
          router.use(holdfast(options), answerWithAccess(app));
          app.use('/api', router);
        },
      },
    );
    expect(await outcome(mounted, 'https://rs.example.com/api/r', { target: '/api/r' })).toBe('200');
    expect(await outcome(mounted, 'https://rs.example.com/r', { target: '/api/r' })).toBe(BAD_PROOF);
  });

  it('EDG-06 puts back the path that the edge strips', async () => {
    for (const publicUrl of ['https://rs.example.com/v1', 'https://rs.example.com/v1/']) {
      const behind = await start({ publicUrl });
      expect(await outcome(behind, 'https://rs.example.com/v1/r')).toBe('200');
      expect(await outcome(behind, 'https://rs.example.com/r')).toBe(BAD_PROOF);
      expect(await outcome(behind, 'https://rs.example.com/v1/', { target: '/' })).toBe('200');
      expect(await outcome(behind, 'https://rs.example.com/v1', { target: '/' })).toBe(BAD_PROOF);
    }
  });

  it('EDG-06 a target that leads out of that path by dot segments is none of this resource', async () => {
    const behind = await start({ publicUrl: 'https://rs.example.com/v1' });
    for (const target of ['/../r', '/%2e%2e/r', '/%2E./r', '/x/../../r', '/../v10/r', 'https://rs.example.com/r']) {
      for (const htu of ['https://rs.example.com/r', 'https://rs.example.com/v1/r', `https://rs.example.com/v1${target}`]) {
        expect(await outcome(behind, htu, { target })).toBe(BAD_PROOF);
        expect(behind.events.at(-1)).toMatchObject({ reason: 'dpop.htu', expected: expect.stringContaining('no URI of this resource') });
      }
    }
    expect(await outcome(behind, 'https://rs.example.com/v1/r', { target: 'https://rs.example.com/v1/r' })).toBe('200');
  });

  it('EDG-06 by dot segments, a proof for one path opens no other that a router makes of the target', async () => {
    const own = await start({ publicUrl: 'https://rs.example.com' });
    for (const target of [
      '/admin/../r',
      '/admin/%2e%2e/r',
      '/admin/%2E./r',
      '/x/y/../../r',
      '/./r',
      '/r/.',
      '/r/x/..',
      'https://rs.example.com/x/../r',
    ]) {
      for (const htu of ['https://rs.example.com/r', 'https://rs.example.com/r/', `https://rs.example.com${target}`, target]) {
        expect(await outcome(own, htu, { target })).toBe(BAD_PROOF);
      }
    }
    expect(await outcome(own, 'https://rs.example.com/x/../r', { target: '/r' })).toBe('200');
    expect(await outcome(own, 'https://rs.example.com/.well-known/r', { target: '/.well-known/r?/../x' })).not.toBe(BAD_PROOF);
  });

  it('EDG-07 a target without a path does not break anything', async () => {
    const answer = await rs.present(
      await rs.token(),
      { htm: 'OPTIONS', htu: 'https://rs.example.com/' },
      { method: 'OPTIONS', target: '*' },
    );
    expect(answer.outcome).toBe(BAD_PROOF);
    expect(rs.events.at(-1)?.reason).toBe('dpop.htu');
    expect((await rs.send({ method: 'OPTIONS', target: '*' })).outcome).toBe('401 NONE');
  });

  it('EDG-08 over HTTP/2 the authority stands for Host', async () => {
    const { issuer, clock } = rs;
    const resource = protectedResource({
      issuer: issuer.url,
      audience: 'https://rs.example.com',
      publicUrl: ['https://rs.example.com', 'https://second.example.com'],
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      now: clock.now,
    });
    const server = createHttp2Server(async (request, response) => {
      const { granted } = await resource.verify(nodeRequest(request));
      response.writeHead(granted ? 200 : 401).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    const session = connect(`http://127.0.0.1:${address.port}`);
    const get = async (authority: string, htu: string, host?: string): Promise<number> => {
      const token = await rs.token();
      const stream = session.request({
        ':method': 'GET',
        ':path': '/r?x',
        ':authority': authority,
        ...(host !== undefined && { host }),
        authorization: `DPoP ${token}`,
        dpop: rs.proof(token, { htu }),
      });
      const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
      stream.resume();
      return Number(headers[':status']);
    };
    expect(await get('rs.example.com', 'https://rs.example.com/r')).toBe(200);
    expect(await get('second.example.com', 'https://rs.example.com/r')).toBe(401);
    expect(await get('second.example.com', 'https://second.example.com/r')).toBe(200);
    // A Host beside it that is of another origin: who routes by it would serve a request that no proof was made for.
    expect(await get('rs.example.com', 'https://rs.example.com/r', 'RS.example.com:443')).toBe(200);
    expect(await get('rs.example.com', 'https://rs.example.com/r', 'second.example.com')).toBe(401);
    expect(await get('rs.example.com', 'https://second.example.com/r', 'second.example.com')).toBe(401);
    session.close();
    server.close();
  });

  it('EDG-09 knows IPv6 addresses and names in Unicode in all their spellings', async () => {
    const v6 = await start({ publicUrl: 'http://[::1]:8443' });
    expect(await outcome(v6, 'http://[::1]:8443/r')).toBe('200');
    expect(await outcome(v6, 'http://[0:0:0:0:0:0:0:1]:8443/r')).toBe('200');
    expect(await outcome(v6, 'http://[::2]:8443/r')).toBe(BAD_PROOF);
    expect(await outcome(v6, 'http://[::1/r')).toBe(BAD_PROOF);
    for (const publicUrl of ['https://b\u00fccher.example', 'https://xn--bcher-kva.example']) {
      const idn = await start({ publicUrl });
      for (const htu of [
        'https://b\u00fccher.example/r',
        'https://B\u00dcCHER.example/r',
        'https://xn--bcher-kva.example/r',
        'https://XN--BCHER-KVA.example:443/r',
      ]) {
        expect(await outcome(idn, htu)).toBe('200');
      }
      expect(await outcome(idn, 'https://bucher.example/r')).toBe(BAD_PROOF);
    }
  });

  it('EDG-10 a proof for the URI before a redirect is none for the one after it', async () => {
    expect(await outcome(rs, 'https://rs.example.com/a', { target: '/b' })).toBe(BAD_PROOF);
    expect(await outcome(rs, 'https://rs.example.com/b', { target: '/b' })).toBe('200');
  });

  it('EDG-10 a client that the API redirects gets in with a proof for the new URI, and not with the one that it has', async () => {
    const moved = await start(
      {},
      {
        build: (app, options) => {
          app.use(holdfast(options));
          app.get('/a', (_request, response) => response.redirect(308, '/b'));
          app.get('/b', answerWithAccess(app));
        },
      },
    );
    const [token, htu] = [await moved.token(), 'https://rs.example.com/a'];
    const proof = moved.proof(token, { htu });
    const redirect = await moved.send({ token, proof, target: '/a' });
    expect([redirect.status, redirect.lines('location')]).toEqual([308, ['/b']]);
    const target = '/b';
    // The same one, and another for the same URI: it is the URI that does not fit.
    for (const kept of [proof, moved.proof(token, { htu })]) {
      expect((await moved.send({ token, proof: kept, target })).outcome).toBe(BAD_PROOF);
      expect(moved.events.at(-1)?.reason).toBe('dpop.htu');
    }
    expect((await moved.present(token, { htu: 'https://rs.example.com/b' }, { target })).outcome).toBe('200');
  });

  it.each([
    ['https://h/a/../../../b', 'https://h/b'],
    ['https://h/a/..', 'https://h/'],
    ['https://h/a/.', 'https://h/a/'],
    ['https://h/a//../b', 'https://h/a/b'],
    ['https://h/a/%2e%2E/b', 'https://h/b'],
    ['https://h/...', 'https://h/...'],
    ['https://h/.a/b.', 'https://h/.a/b.'],
    ['https://h:/x', 'https://h/x'],
    ['http://h:443/x', 'http://h:443/x'],
    ['https://h:80/x', 'https://h:80/x'],
    ['https://h/%zz%4', 'https://h/%zz%4'],
    ['https://h/%c3%a9', 'https://h/%C3%A9'],
    ['https://h/a|b', 'https://h/a|b'],
    ['https://ex%41mple.com/', 'https://example.com/'],
    ['https://h/\\x', undefined],
    ['https://h/ x', undefined],
    ['https://h/\u00e9', undefined],
    ['https://h\u0000/', undefined],
    ['https://a b/', undefined],
    ['https://h@x/', undefined],
    ['https://[::1]x/', undefined],
    ['https://h:123456/', undefined],
    ['https:///x', undefined],
    ['ftp://h/', undefined],
  ])('DPOP-14, DPOP-16 normalises %j to %j', (uri, normal) => {
    expect(normaliseTargetUri(uri)).toBe(normal);
    if (normal !== undefined) expect(normaliseTargetUri(normal)).toBe(normal);
  });
});

describe('what is not about the target URI', () => {
  it('EDG-14 an interaction id that the application sets before the protection is on grants and refusals and in what is logged of them, and the address of a customer is no matter', async () => {
    const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    const log: object[] = [];
    const interaction = new AsyncLocalStorage<string>();
    const onEvent = (event: ResourceEvent): void =>
      void log.push({ id: interaction.getStore(), outcome: event.outcome, reason: event.reason });
    const fapi = await start(
      // Keys are waited for, by all of them at once.
      { keys: {}, onEvent },
      {
        build: (app, options) => {
          app.use((request, response, next) => {
            const id = /^[\w-]{1,64}$/.exec(request.get('x-fapi-interaction-id') ?? '')?.[0] ?? randomUUID();
            response.setHeader('x-fapi-interaction-id', id);
            interaction.run(id, next);
          });
          app.use(holdfast(options), answerWithAccess(app));
        },
      },
    );
    const lines = ['x-fapi-interaction-id: 93bac548-d2de-4546-b106-880a5018460d', 'x-fapi-customer-ip-address: 2001:db8::1'];
    const token = await fapi.token();
    const answers = await Promise.all([fapi.present(token, {}, { lines }), fapi.send({ lines }), fapi.present(token), fapi.send({})]);
    expect(answers.map(({ status }) => status)).toEqual([200, 401, 200, 401]);
    const ids = answers.map((answer) => answer.lines('x-fapi-interaction-id'));
    expect(ids.slice(0, 2)).toEqual([['93bac548-d2de-4546-b106-880a5018460d'], ['93bac548-d2de-4546-b106-880a5018460d']]);
    expect(ids.slice(2)).toEqual([[expect.stringMatching(uuid)], [expect.stringMatching(uuid)]]);
    const [granted, refused] = [{ outcome: 'granted' }, { outcome: 'refused', reason: 'request.no_credentials' }];
    expect(log).toHaveLength(4);
    for (const [i, [id]] of ids.entries()) expect(log).toContainEqual({ id, ...(i % 2 === 0 ? granted : refused) });
  });

  it('EDG-20 answers with the same error are the same, byte for byte, whichever check failed', async () => {
    const now = rs.clock.now();
    const cnf = { jkt: rs.key.thumbprint };
    const other = await generateDpopKey();
    const tokens = [
      'abc',
      'a.b.c',
      await rs.token({ cnf, exp: now - 60 }),
      await rs.token({ cnf, nbf: now + 3600 }),
      await rs.token({ cnf, aud: 'https://other.example.com' }),
      await rs.token({ cnf, iss: 'https://other.example.com' }),
      await rs.issuer.token({ cnf }, { typ: 'JWT' }),
      await rs.issuer.token({ cnf }, {}, { key: await generateSigningKey('ES256', rs.issuer.keys[0]?.kid) }),
      await rs.token({ cnf: {} }),
      await rs.token({ cnf: { jkt: other.thumbprint } }),
    ];
    const proofs: object[] = [
      { htm: 'POST' },
      { htu: 'https://rs.example.com/other' },
      { iat: now - 3600 },
      { iat: now + 3600 },
      { claims: { ath: 'x' } },
      { claims: { jti: undefined } },
      { header: { typ: 'jwt' } },
      { signer: other },
    ];
    const answerTo = async (token: string, proof: object): Promise<string> => {
      const answer = await rs.present(token, proof);
      return JSON.stringify([answer.status, answer.body, answer.lines('www-authenticate'), answer.lines('content-length')]);
    };
    const good = await rs.token();
    const byToken = new Set(await Promise.all(tokens.map((token) => answerTo(token, {}))));
    const byProof = new Set(await Promise.all(proofs.map((proof) => answerTo(good, proof))));
    expect([byToken.size, byProof.size]).toEqual([1, 1]);
    const reasons = rs.events.slice(-tokens.length - proofs.length).map(({ reason }) => reason);
    expect(new Set(reasons).size).toBeGreaterThan(14);
  });
});
