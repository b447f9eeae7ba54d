import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect, createServer as createHttp2Server, type IncomingHttpHeaders } from 'node:http2';
import { promisify } from 'node:util';
import { nodeRequest, sendRefusal, setFields } from '@holdfast/core/node';
import { holdfast, protectedResource } from '@holdfast/express';
import { makeProof } from '@holdfast/test-support/dpop';
import { listen } from '@holdfast/test-support/loopback';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import * as Nonces from '../../packages/core/src/confirmation/nonce.ts';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { type Answer, answerWithAccess, type Resource, type ResourceSetup, startResource } from './resource.ts';

const USE_NONCE = '401 D:use_dpop_nonce';
const ROTATION = 120;
const SECRET = 'a secret that all instances know, of thirty-two bytes';
const OTHER_SECRET = 'another secret, of which none of them has heard so far';

let base: Resource;
let rs: Resource;
const open: Resource[] = [];

beforeAll(async () => {
  base = await startResource();
  rs = await required();
});
afterAll(async () => {
  await Promise.all(open.map((resource) => resource.close()));
  await base.close();
});

/** A resource with nonces, which shares clock, issuer and client key with the others of this file. */
async function required(dpop: object = { nonce: { secrets: [SECRET] } }, setup: ResourceSetup = {}): Promise<Resource> {
  const resource = await startResource({ ...setup, like: base, options: { dpop, ...setup.options } });
  open.push(resource);
  return resource;
}

const nonceOf = (answer: Answer): string => {
  const [nonce, ...others] = answer.lines('dpop-nonce');
  expect(others).toEqual([]);
  expect(nonce).toBeDefined();
  return nonce ?? '';
};
const withNonce = async (resource: Resource, nonce: unknown): Promise<Answer> =>
  resource.present(await base.token(), { claims: { nonce } });
const fresh = async (resource: Resource): Promise<string> => nonceOf(await resource.present(await base.token()));

describe('nonces', () => {
  it('NON-01, NON-11 asks for a missing nonce with the challenge, one nonce and no-store', async () => {
    const answer = await rs.present(await rs.token());
    expect(answer.outcome).toBe(USE_NONCE);
    expect(nonceOf(answer)).not.toBe('');
    expect(answer.lines('cache-control')).toEqual(['no-store']);
    expect(answer.challenges[1]?.parameters['algs']).toContain('ES256');
    expect(JSON.parse(answer.body)).toMatchObject({ error: 'use_dpop_nonce' });
  });

  it('a clock that fails where the nonce is made: our fault, and no exception', async () => {
    let readings = Number.POSITIVE_INFINITY;
    const failing = await required(undefined, {
      options: {
        now: () => {
          readings -= 1;
          return readings < 0 ? Number.NaN : base.clock.now();
        },
      },
    });
    expect((await failing.present(await base.token())).outcome).toBe(USE_NONCE);
    // Judging reads it once.
    readings = 1;
    const answer = await failing.present(await base.token());
    expect([answer.outcome, answer.lines('dpop-nonce')]).toEqual(['503', []]);
    expect(failing.events.at(-1)).toMatchObject({ reason: 'unavailable.internal', detail: 'TypeError' });
    readings = Number.POSITIVE_INFINITY;
    expect((await failing.present(await base.token())).outcome).toBe(USE_NONCE);
  });

  it('NON-02 refuses a nonce that is not exactly one of its own, and offers another', async () => {
    const good = await fresh(rs);
    for (const nonce of [
      'x',
      '',
      `${good} `,
      ` ${good}`,
      good.toLowerCase(),
      `${good.slice(0, -1)}\u0141`,
      good.slice(0, -1),
      `${good}${good}`,
      'x'.repeat(500),
      ...publishedNonces(),
    ]) {
      const answer = await withNonce(rs, nonce);
      expect(answer.outcome).toBe(USE_NONCE);
      expect(nonceOf(answer)).toBe(good);
    }
  });

  it('NON-03, NON-09 accepts the nonce that it offered, several times', async () => {
    const nonce = await fresh(rs);
    for (let i = 0; i < 5; i += 1) expect((await withNonce(rs, nonce)).outcome).toBe('200');
  });

  it('NON-04 never accepts a proof without a nonce, after it has given one', async () => {
    expect((await withNonce(rs, await fresh(rs))).outcome).toBe('200');
    expect((await withNonce(rs, undefined)).outcome).toBe(USE_NONCE);
  });

  it('NON-05, NON-06 makes nonces that do not repeat, cannot be foretold, and can stand in a field', async () => {
    const { hmacNonces } = Nonces;
    const secrets = [new TextEncoder().encode(SECRET)];
    const source = hmacNonces({ secrets, rotation: 10, resource: 'a' });
    const nonces = new Set(Array.from({ length: 10_000 }, (_, i) => source.issue(i * 10)));
    expect(nonces.size).toBe(10_000);
    for (const nonce of nonces) expect(nonce).toMatch(/^[\x21\x23-\x5b\x5d-\x7e]{22,}$/);
    const unknown = hmacNonces({ secrets: [new TextEncoder().encode(OTHER_SECRET)], rotation: 10, resource: 'a' });
    for (let i = 0; i < 100; i += 1) expect(source.accepts(unknown.issue(i * 10), i * 10)).toBeUndefined();
    expect(source.accepts('', 0)).toBeUndefined();
  });

  it('NON-07 sends one DPoP-Nonce line, mounted twice too', async () => {
    const twice = await required(undefined, {
      build: (app, options) => app.use(holdfast(options), holdfast({ ...options }), answerWithAccess(app)),
    });
    const refused = await twice.present(await twice.token());
    expect(refused.outcome).toBe(USE_NONCE);
    expect(refused.lines('dpop-nonce')).toHaveLength(1);
    const nonce = nonceOf(refused);
    base.clock.advance(ROTATION);
    const granted = await withNonce(twice, nonce);
    // Two resources have two replay stores, and one proof is a first use at each.
    expect(granted.outcome).toBe('200');
    expect(granted.lines('dpop-nonce')).toHaveLength(1);
  });

  it('NON-01 a route that asks for nonces has a resource of its own, and the others ask for none', async () => {
    const perRoute = await required(undefined, {
      build: (app, options) => {
        app.use('/pay', holdfast({ ...options, dpop: { nonce: 'required' } }), answerWithAccess(app));
        app.use('/r', holdfast({ ...options, dpop: true }), answerWithAccess(app));
      },
    });
    const token = await perRoute.token();
    const pay = (claims: object = {}): Promise<Answer> =>
      perRoute.present(token, { htu: 'https://rs.example.com/pay', claims }, { target: '/pay' });
    expect((await perRoute.present(token)).outcome).toBe('200');
    const asked = await pay();
    expect(asked.outcome).toBe(USE_NONCE);
    expect((await pay({ nonce: nonceOf(asked) })).outcome).toBe('200');
  });

  it('NON-08, NON-10 accepts the nonce of the window before, and hands out the new one with the answer', async () => {
    const nonce = await fresh(rs);
    expect((await withNonce(rs, nonce)).lines('dpop-nonce')).toEqual([]);
    base.clock.advance(ROTATION);
    const near = await withNonce(rs, nonce);
    expect(near.outcome).toBe('200');
    expect(near.lines('cache-control')).toEqual(['no-store']);
    const next = nonceOf(near);
    expect(next).not.toBe(nonce);
    expect((await withNonce(rs, next)).outcome).toBe('200');
    expect((await withNonce(rs, nonce)).outcome).toBe('200');
    base.clock.advance(ROTATION);
    expect((await withNonce(rs, nonce)).outcome).toBe(USE_NONCE);
    expect((await withNonce(rs, next)).outcome).toBe('200');
  });

  /** What a route that thinks that everybody can keep its answer does, each in its own way. */
  const STORING: Readonly<Record<string, (response: ServerResponse) => void>> = {
    'sets a field': (response) => {
      response.setHeader('Cache-Control', 'public, max-age=60');
      response.end('{}');
    },
    'sets it with the head': (response) => void response.writeHead(200, { 'cache-control': 'public', 'X-Other': 'kept' }).end('{}'),
    'sets it with the head and a text': (response) => void response.writeHead(200, 'Fine', { 'CACHE-CONTROL': 'public' }).end('{}'),
    'sets it with the head, as a list': (response) =>
      void response.writeHead(200, ['Cache-Control', 'public', 'X-Other', 'kept']).end('{}'),
    'takes it away': (response) => {
      response.removeHeader('Cache-Control');
      response.end('{}');
    },
    'begins to write': (response) => {
      response.setHeader('Cache-Control', 'public');
      response.write('{');
      response.end('}');
    },
    'sends its head first': (response) => {
      response.setHeader('Cache-Control', 'public');
      response.flushHeaders();
      response.end('{}');
    },
  };
  const storing = (): [path: string, how: string][] => Object.keys(STORING).map((how) => [`/${how.replaceAll(/\W+/g, '-')}`, how]);

  it('NON-11 an answer with a nonce is not kept, whatever the route says of it', async () => {
    const keeping = await required(undefined, {
      build: (app, options) => {
        app.use(holdfast(options));
        for (const [path, how] of storing()) app.use(path, (_request, response) => STORING[how]?.(response));
      },
    });
    const token = await base.token();
    const ask = (path: string, nonce: string): Promise<Answer> =>
      keeping.present(token, { htu: `https://rs.example.com${path}`, claims: { nonce } }, { target: path });
    const nonce = await fresh(keeping);
    for (const [path, how] of storing()) {
      const without = await ask(path, nonce);
      expect([how, without.status, without.lines('dpop-nonce')]).toEqual([how, 200, []]);
      expect(without.lines('cache-control').join()).toMatch(how === 'takes it away' ? /^$/ : /^public/);
    }
    base.clock.advance(ROTATION);
    for (const [path, how] of storing()) {
      const answer = await ask(path, nonce);
      expect([how, answer.status, answer.lines('dpop-nonce').length, answer.lines('cache-control'), answer.body]).toEqual([
        how,
        200,
        1,
        ['no-store'],
        '{}',
      ]);
      if (how.includes('with the head') && !how.includes('text')) expect(answer.lines('x-other')).toEqual(['kept']);
    }
  });

  it('NON-11 nor over HTTP/2', async () => {
    const { issuer, clock, key } = base;
    const resource = protectedResource({
      issuer: issuer.url,
      audience: 'https://rs.example.com',
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      now: clock.now,
      dpop: { nonce: { secrets: [SECRET] } },
    });
    const server = createHttp2Server(async (request, response) => {
      const result = await resource.verify(nodeRequest(request));
      if (!result.granted) return sendRefusal(response, result);
      setFields(response, result.fields);
      const [, how = ''] = storing().find(([path]) => path === request.url) ?? [];
      // The compatibility layer has the methods that are used here.
      STORING[how]?.(response as unknown as ServerResponse);
    });
    const session = connect(`http://127.0.0.1:${await listen(server)}`);
    onTestFinished(async () => {
      session.destroy();
      await promisify(server.close.bind(server))();
    });
    const token = await base.token();
    const ask = async (path: string, nonce?: string): Promise<IncomingHttpHeaders> => {
      const proof = makeProof({ key, token, iat: clock.now(), htu: `https://rs.example.com${path}`, claims: { nonce } });
      const stream = session.request({ ':path': path, authorization: `DPoP ${token}`, dpop: proof });
      const [headers]: IncomingHttpHeaders[] = await once(stream, 'response');
      stream.destroy();
      return headers ?? {};
    };
    const nonce = String((await ask('/'))['dpop-nonce']);
    base.clock.advance(ROTATION);
    for (const [path] of storing()) {
      expect(await ask(path, nonce)).toMatchObject({ ':status': 200, 'cache-control': 'no-store', 'dpop-nonce': expect.any(String) });
    }
  });

  it('NON-12 judges the age by iat, or by the nonce where that is asked for', async () => {
    const byNonce = await required({ nonce: { secrets: [SECRET] }, nonceReplacesIat: true });
    const [nonce, same] = [await fresh(rs), await fresh(byNonce)];
    expect(same).toBe(nonce);
    for (const day of [-86_400, 86_400]) {
      const wrong = { iat: base.clock.now() + day, claims: { nonce } };
      const token = await rs.token();
      expect((await rs.present(token, wrong)).outcome).toBe('401 D:invalid_dpop_proof');
      expect((await byNonce.present(token, wrong)).outcome).toBe('200');
      // A client whose clock is wrong has to learn its first nonce.
      expect((await byNonce.present(token, { iat: base.clock.now() + day })).outcome).toBe(USE_NONCE);
      expect((await byNonce.present(token, { iat: base.clock.now() + day, claims: { nonce, jti: `again ${day}` } })).outcome).toBe('200');
      expect((await byNonce.present(token, { iat: base.clock.now() + day, claims: { nonce, jti: `again ${day}` } })).outcome).toBe(
        '401 D:invalid_dpop_proof',
      );
    }
  });

  it('NON-13 does not accept the nonce of another resource with the same secret', async () => {
    const other = await required(undefined, {
      options: { audience: ['https://rs.example.com', 'https://other.example.com'], publicUrl: 'https://rs.example.com' },
    });
    const nonce = await fresh(other);
    expect(nonce).not.toBe(await fresh(rs));
    expect((await withNonce(rs, nonce)).outcome).toBe(USE_NONCE);
  });

  it('NON-14 ignores a nonce where none is asked for', async () => {
    for (const nonce of ['zzz', 1, null, {}]) expect((await withNonce(base, nonce)).outcome).toBe('200');
    const off = await required({ nonce: 'off' });
    expect((await withNonce(off, 'zzz')).outcome).toBe('200');
  });

  it('NON-15 accepts what another instance with the same secret gave, and the old secret for a while', async () => {
    const same = await required();
    expect((await withNonce(same, await fresh(rs))).outcome).toBe('200');
    const rotated = await required({ nonce: { secrets: [new TextEncoder().encode(OTHER_SECRET), SECRET] } });
    const old = await fresh(rs);
    const answer = await withNonce(rotated, old);
    expect(answer.outcome).toBe('200');
    expect((await withNonce(rotated, nonceOf(answer))).outcome).toBe('200');
    expect((await withNonce(rs, nonceOf(answer))).outcome).toBe(USE_NONCE);
    base.clock.advance(2 * ROTATION);
    expect((await withNonce(rotated, old)).outcome).toBe(USE_NONCE);
  });

  it('NON-15 without secrets nonces are those of the process: another one refuses them', async () => {
    const here = await required({ nonce: 'required' });
    const nonce = await fresh(here);
    expect((await withNonce(here, nonce)).outcome).toBe('200');
    vi.resetModules();
    const another: typeof Nonces = await import('../../packages/core/src/confirmation/nonce.ts');
    expect(another.hmacNonces).not.toBe(Nonces.hmacNonces);
    const given = { secrets: 'random', rotation: ROTATION, resource: JSON.stringify(['https://rs.example.com']) } as const;
    expect(Nonces.hmacNonces(given).issue(base.clock.now())).toBe(nonce);
    expect(another.hmacNonces(given).accepts(nonce, base.clock.now())).toBeUndefined();
  });

  it('NON-10 a client whose nonce no other would better is given none: not the older one of an instance whose clock is behind', async () => {
    const [ahead, behind] = [await required(undefined, { options: { now: () => base.clock.now() + ROTATION } }), await required()];
    const newer = await fresh(ahead);
    const answer = await withNonce(behind, newer);
    expect([answer.outcome, answer.lines('dpop-nonce')]).toEqual(['200', []]);
    // But one by the secret that goes is replaced, whatever window it is of.
    const rotated = await required({ nonce: { secrets: [OTHER_SECRET, SECRET] } });
    for (const old of [newer, await fresh(behind)]) {
      const replaced = await withNonce(rotated, old);
      expect(replaced.outcome).toBe('200');
      expect(nonceOf(replaced)).toBe(await fresh(rotated));
    }
  });

  it('NON-15 accepts what an instance gave whose clock is a little ahead, in a window that has not begun here, and no further', async () => {
    const behind = await required();
    const ahead = async (seconds: number): Promise<string> =>
      fresh(await required(undefined, { options: { now: () => base.clock.now() + seconds } }));
    expect((await withNonce(behind, await ahead(ROTATION))).outcome).toBe('200');
    expect((await withNonce(behind, await ahead(2 * ROTATION))).outcome).toBe(USE_NONCE);
    // A proof that such a nonce admitted is remembered for as long as the nonce is good.
    const token = await base.token();
    const proof = rs.proof(token, { claims: { nonce: await ahead(ROTATION) } });
    expect((await behind.send({ token, proof })).outcome).toBe('200');
    expect((await behind.send({ token, proof })).outcome).toBe('401 D:invalid_dpop_proof');
  });

  it('NON-16 asks for a nonce only where nothing else is wrong', async () => {
    const token = await rs.token();
    const bad = [{ htu: 'https://rs.example.com/x' }, { htm: 'POST' }, { claims: { ath: 'x' } }, { iat: 0 }, { header: { typ: 'JWT' } }];
    for (const changes of bad) {
      const answer = await rs.present(token, changes);
      expect(answer.outcome).toBe('401 D:invalid_dpop_proof');
      expect(answer.lines('dpop-nonce')).toEqual([]);
    }
    const forged = rs.proof(token).replace(/.{8}$/, 'AAAAAAAA');
    expect((await rs.send({ token, proof: forged })).outcome).toBe('401 D:invalid_dpop_proof');
  });

  it.each([1, null, {}, ['x'], true])('NON-17 asks for a nonce where it is %j', async (nonce) => {
    expect((await withNonce(rs, nonce)).outcome).toBe(USE_NONCE);
  });

  it('keeps nonces out of events', async () => {
    const nonce = await fresh(rs);
    await withNonce(rs, `${nonce}x`);
    expect(JSON.stringify(rs.events)).not.toContain(nonce);
  });
});

describe('options of nonces', () => {
  it.each([
    [{ nonce: 'optional' }, /dpop\.nonce/],
    [{ nonce: { secrets: [] } }, /dpop\.nonce\.secrets/],
    [{ nonce: { secrets: ['short but secret'] } }, /dpop\.nonce\.secrets/],
    [{ nonce: { secrets: [SECRET, SECRET, SECRET] } }, /dpop\.nonce\.secrets/],
    [{ nonce: { secrets: [SECRET], rotation: 1 } }, /dpop\.nonce\.rotation/],
    [{ nonceReplacesIat: true }, /dpop\.nonceReplacesIat/],
  ])('refuses %j, and does not show the secret', async (dpop, problem) => {
    const failure = await startResource({ like: base, options: { dpop: dpop as object } }).catch((error: unknown) => error);
    expect(String(failure)).toMatch(problem);
    expect(String(failure)).not.toContain('secret but');
    expect(String(failure)).not.toContain('short but');
  });
});

function publishedNonces(): string[] {
  return Object.values(vectors.rfc9449_values).flatMap((value) => ('nonce' in value ? [value.nonce] : []));
}
