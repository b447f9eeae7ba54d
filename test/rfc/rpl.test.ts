import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { memoryReplayStore, type ProofUse, type ProtectedResourceRequest, type ReplayStore } from '@holdfast/core';
import { holdfast, protectedResource, type ProtectedResourceOptions } from '@holdfast/express';
import { nodeRedisReplayStore } from '@holdfast/redis';
import { generateDpopKey, type ProofOptions } from '@holdfast/test-support/dpop';
import { noRedis, startRedis } from '@holdfast/test-support/redis-server';
import { createClient } from 'redis';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { answerWithAccess, type Resource, startResource } from './resource.ts';

const REPLAYED = '401 D:invalid_dpop_proof';
let base: Resource;
const open: Resource[] = [];

beforeAll(async () => {
  base = await startResource();
});
afterAll(async () => {
  await Promise.all(open.map((resource) => resource.close()));
  await base.close();
});

async function start(dpop: object = {}, options: object = {}): Promise<Resource> {
  const resource = await startResource({ like: base, options: { dpop, ...options } });
  open.push(resource);
  return resource;
}

describe('replay', () => {
  it('RPL-01 accepts a proof only for a limited time after it was made, though it was never used', async () => {
    const rs = await start();
    const token = await rs.token();
    const made = rs.clock.now();
    const proofs = Array.from({ length: 3 }, () => rs.proof(token));
    const sent = async (): Promise<string> => (await rs.send({ token, proof: proofs.pop() ?? '' })).outcome;
    const lived = { exp: made + 900, cnf: { jkt: rs.key.thumbprint } };
    rs.clock.set(made + 300);
    expect(await sent()).toBe('200');
    rs.clock.set(made + 301);
    expect([await sent(), rs.events.at(-1)?.reason]).toEqual([REPLAYED, 'dpop.too_old']);
    expect((await rs.present(await rs.token(lived))).outcome).toBe('200');
    rs.clock.set(made);
  });

  it('RPL-02 accepts a proof once', async () => {
    const token = await base.token();
    const proof = base.proof(token);
    expect((await base.send({ token, proof })).outcome).toBe('200');
    const again = await base.send({ token, proof });
    expect(again.outcome).toBe(REPLAYED);
    expect(base.events.at(-1)?.reason).toBe('replay.reused');
  });

  it('RPL-03 takes jti for the key that signed it: another client may use the same, the same client not, on any path', async () => {
    const rs = await start();
    const other = await generateDpopKey();
    const token = await rs.token();
    const otherToken = await rs.token({ cnf: { jkt: other.thumbprint } });
    const jti = { claims: { jti: 'the same for both' } };
    expect((await rs.present(token, jti)).outcome).toBe('200');
    expect((await rs.present(otherToken, { ...jti, key: other })).outcome).toBe('200');
    expect((await rs.present(token, { ...jti, htu: 'https://rs.example.com/other' }, { target: '/other' })).outcome).toBe(REPLAYED);
    expect((await rs.present(token, { ...jti, iat: rs.clock.now() - 200 })).outcome).toBe(REPLAYED);
  });

  it('RPL-04 knows a proof by its jti, so that the other signature of the same proof is a replay', async () => {
    const rs = await start();
    const token = await rs.token();
    const proof = rs.proof(token);
    const [head, body, signature = ''] = proof.split('.');
    const bytes = Buffer.from(signature, 'base64url');
    const order = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
    const s = (order - BigInt(`0x${bytes.subarray(32).toString('hex')}`)).toString(16).padStart(64, '0');
    const negated = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s, 'hex')]).toString('base64url');
    expect((await rs.send({ token, proof: `${head}.${body}.${negated}` })).outcome).toBe('200');
    expect((await rs.send({ token, proof })).outcome).toBe(REPLAYED);
  });

  it('RPL-05 is not misled by another spelling of htu', async () => {
    const rs = await start();
    const token = await rs.token();
    const jti = { claims: { jti: 'spelled twice' } };
    expect((await rs.present(token, { ...jti, htu: 'HTTPS://RS.example.com/r' })).outcome).toBe('200');
    expect((await rs.present(token, { ...jti, htu: 'https://rs.example.com/r' })).outcome).toBe(REPLAYED);
  });

  it('RPL-06 remembers a proof for as long as its iat lets it pass', async () => {
    const rs = await start();
    const token = await rs.token({ exp: base.clock.now() + 10_000, cnf: { jkt: base.key.thumbprint } });
    const made = rs.clock.now() + 59;
    const proof = rs.proof(token, { iat: made });
    expect((await rs.send({ token, proof })).outcome).toBe('200');
    for (const at of [310, 358, 359]) {
      rs.clock.set(made - 59 + at);
      expect((await rs.send({ token, proof })).outcome).toBe(REPLAYED);
      expect(rs.events.at(-1)?.reason).toBe('replay.reused');
    }
    rs.clock.set(made + 301);
    await rs.send({ token, proof });
    expect(rs.events.at(-1)?.reason).toBe('dpop.too_old');
  });

  it('RPL-06 a replay that is still being judged when its proof goes out of date is refused, though the store has forgotten it', async () => {
    const held = holding();
    const rs = await start({}, { isRevoked: async () => held.pass(false) });
    // Its use is over in the last second of a minute, and the store drops it a second later.
    const made = Math.ceil(rs.clock.now() / 60) * 60 + 3600 - 302;
    rs.clock.set(made);
    const token = await rs.token({ exp: made + 10_000, cnf: { jkt: rs.key.thumbprint } });
    const proof = rs.proof(token);
    expect((await rs.send({ token, proof })).outcome).toBe('200');
    rs.clock.set(made + 300);
    const release = held.hold();
    const replays = Array.from({ length: 3 }, () => rs.send({ token, proof }));
    await vi.waitFor(() => expect(held.waiting).toBe(3));
    rs.clock.set(made + 303);
    held.letOthersPass();
    expect((await rs.present(token)).outcome).toBe('200');
    release();
    expect((await Promise.all(replays)).map(({ outcome }) => outcome)).toEqual([REPLAYED, REPLAYED, REPLAYED]);
    expect(rs.events.slice(-3).map(({ reason }) => reason)).toEqual(['dpop.too_old', 'dpop.too_old', 'dpop.too_old']);
  });

  it('RPL-06 tells a store the time at which it is asked, and does not ask it about a proof that is out of date by then', async () => {
    const held = holding();
    const uses: { now: number; until: number }[] = [];
    const replay = { firstUse: (use: { now: number; until: number }) => uses.push(use) > 0 };
    const rs = await start({ replay }, { isRevoked: async () => held.pass(false) });
    const token = await rs.token({ exp: rs.clock.now() + 10_000, cnf: { jkt: rs.key.thumbprint } });
    const begin = rs.clock.now();
    for (const [seconds, outcome] of [
      [300, '200'],
      [1, REPLAYED],
    ] as const) {
      const release = held.hold();
      const slow = rs.present(token, { iat: begin });
      await vi.waitFor(() => expect(held.waiting).toBe(1));
      rs.clock.advance(seconds);
      release();
      expect((await slow).outcome).toBe(outcome);
      if (seconds === 300) expect(uses).toMatchObject([{ now: begin + 300, until: begin + 301 }]);
    }
    expect(uses).toHaveLength(1);
    expect(rs.events.at(-1)?.reason).toBe('dpop.too_old');
  });

  it('RPL-06 the answer of a store that comes when the proof is out of date lets nothing pass', async () => {
    const held = holding();
    const rs = await start({ replay: { firstUse: async () => held.pass(true) } });
    const token = await rs.token({ exp: rs.clock.now() + 10_000, cnf: { jkt: rs.key.thumbprint } });
    for (const [seconds, outcome] of [
      [300, '200'],
      [301, REPLAYED],
    ] as const) {
      const release = held.hold();
      const slow = rs.present(token);
      await vi.waitFor(() => expect(held.waiting).toBe(1));
      rs.clock.advance(seconds);
      release();
      expect((await slow).outcome).toBe(outcome);
    }
    expect(rs.events.at(-1)?.reason).toBe('dpop.too_old');
  });

  it('RPL-06, RPL-12 a nonce that goes out of date while its proof is judged is refused, and a new one offered', async () => {
    const held = holding();
    const rs = await start({ nonce: 'required', nonceReplacesIat: true }, { isRevoked: async () => held.pass(false) });
    rs.clock.set(Math.ceil(rs.clock.now() / 120) * 120);
    const token = await rs.token({ exp: rs.clock.now() + 10_000, cnf: { jkt: rs.key.thumbprint } });
    const [nonce] = (await rs.present(token)).lines('dpop-nonce');
    const proof = rs.proof(token, { claims: { nonce } });
    rs.clock.advance(239);
    expect((await rs.send({ token, proof })).outcome).toBe('200');
    const release = held.hold();
    const replay = rs.send({ token, proof });
    await vi.waitFor(() => expect(held.waiting).toBe(1));
    rs.clock.advance(1);
    release();
    const answer = await replay;
    expect(answer.outcome).toBe('401 D:use_dpop_nonce');
    expect(answer.lines('dpop-nonce')).not.toEqual([nonce]);
  });

  it('RPL-07 records nothing for a request that fails another check', async () => {
    const rs = await start();
    const token = await rs.token();
    const jti = 'tried before';
    for (const changes of [
      { claims: { jti, ath: 'x' } },
      { claims: { jti }, htm: 'POST' },
      { claims: { jti }, iat: 0 },
      { claims: { jti }, signer: await generateDpopKey() },
    ]) {
      expect((await rs.present(token, changes)).outcome).toBe('401 D:invalid_dpop_proof');
    }
    const expired = await rs.token({ exp: rs.clock.now() - 60, cnf: { jkt: rs.key.thumbprint } });
    expect((await rs.present(expired, { claims: { jti } })).outcome).toBe('401 D:invalid_token');
    expect((await rs.present(token, { claims: { jti } })).outcome).toBe('200');
  });

  it('RPL-08 grants exactly one of many equal requests at the same time', async () => {
    const rs = await start();
    const token = await rs.token();
    const proof = rs.proof(token);
    const answers = await Promise.all(Array.from({ length: 20 }, () => rs.send({ token, proof })));
    expect(answers.filter(({ outcome }) => outcome === '200')).toHaveLength(1);
    expect(answers.filter(({ outcome }) => outcome === REPLAYED)).toHaveLength(19);
  });

  it('RPL-09 refuses a jti of 10 KiB, and gives a store nothing but hashes', async () => {
    const uses: unknown[] = [];
    const rs = await start({ replay: { firstUse: (use: unknown) => uses.push(use) > 0 } });
    const token = await rs.token();
    expect((await rs.present(token, { claims: { jti: 'j'.repeat(10_240) } })).outcome).toBe('401 D:invalid_dpop_proof');
    expect((await rs.present(token, { claims: { jti: 'j'.repeat(2_000) } })).outcome).toBe('200');
    expect(uses).toEqual([
      { client: rs.key.thumbprint, key: expect.stringMatching(/^[\w-]{43}$/), until: rs.clock.now() + 301, now: rs.clock.now() },
    ]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('with the address of the store');
      },
    ],
    ['rejects', () => Promise.reject(new Error('with the address of the store'))],
    ['answers nonsense', () => 'yes'],
    ['answers nothing', () => undefined],
  ])('RPL-10, ERR-19 answers 503 without an error code where the store %s', async (_how, firstUse) => {
    const rs = await start({ replay: { firstUse } as unknown as ReplayStore });
    const answer = await rs.present(await rs.token());
    expect(answer.outcome).toBe('503');
    expect(answer.lines('retry-after')).toEqual(['1']);
    expect(answer.lines('www-authenticate')).toEqual([]);
    expect(answer.body).toBe('');
    expect(rs.events.at(-1)).toMatchObject({ outcome: 'unavailable', reason: 'unavailable.replay' });
    expect(JSON.stringify(rs.events)).not.toContain('address');
  });

  it('RPL-10 waits for a store that is slow, and asks it last and once', async () => {
    let asked = 0;
    const rs = await start({
      replay: {
        firstUse: async () => {
          asked += 1;
          await new Promise((resolve) => setTimeout(resolve, 20));
          return true;
        },
      },
    });
    const token = await rs.token();
    expect((await rs.present(token, { htm: 'POST' })).outcome).toBe('401 D:invalid_dpop_proof');
    expect(asked).toBe(0);
    expect((await rs.present(token)).outcome).toBe('200');
    expect(asked).toBe(1);
  });

  it('RPL-11 lets a proof be used again where the replay check is off', async () => {
    const rs = await start({ replay: false });
    const token = await rs.token();
    const proof = rs.proof(token);
    expect((await rs.send({ token, proof })).outcome).toBe('200');
    expect((await rs.send({ token, proof })).outcome).toBe('200');
  });

  it('RPL-02 a restart forgets what was in memory: the documented loss', async () => {
    const token = await base.token();
    const proof = base.proof(token);
    const [before, after] = [await start(), await start()];
    expect((await before.send({ token, proof })).outcome).toBe('200');
    expect((await after.send({ token, proof })).outcome).toBe('200');
    expect((await after.send({ token, proof })).outcome).toBe(REPLAYED);
  });

  it('a process whose store in memory has been used ends by itself: no timer keeps it alive', async () => {
    const token = await base.token();
    const program = `
      import { memoryReplayStore, protectedResource } from '@holdfast/core';
      const { jwks, issuer, token, proof, now } = JSON.parse(process.env.SCENE);
      const replay = memoryReplayStore();
      const resource = protectedResource({
        issuer, audience: 'https://rs.example.com', keys: { jwks }, dpop: { replay }, now: () => now,
      });
      const lines = { authorization: ['DPoP ' + token], dpop: [proof] };
      const request = () => ({
        method: 'GET', target: '/r', fieldLines: (name) => lines[name] ?? [],
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
      const results = [await resource.verify(request()), await resource.verify(request())];
      process.stdout.write(results.map((result) => (result.granted ? 'granted' : result.rejection.rejected)).join());
    `;
    const scene = {
      jwks: { keys: base.issuer.keys.map(({ publicJwk }) => publicJwk) },
      issuer: base.issuer.url,
      token,
      proof: base.proof(token),
      now: base.clock.now(),
    };
    // A program of its own runs what was built: plain Node reads no TypeScript.
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      env: { ...process.env, SCENE: JSON.stringify(scene) },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    onTestFinished(() => void child.kill());
    const output: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
    const [code] = (await once(child, 'close')) as [number | null];
    expect([Buffer.concat(output).toString(), code]).toEqual(['granted,replay.reused', 0]);
  });

  it('RPL-12 with nonces a proof is still used up once', async () => {
    const rs = await start({ nonce: 'required' });
    const token = await rs.token();
    const [nonce] = (await rs.present(token)).lines('dpop-nonce');
    const proof = rs.proof(token, { claims: { nonce } });
    expect((await rs.send({ token, proof })).outcome).toBe('200');
    expect((await rs.send({ token, proof })).outcome).toBe(REPLAYED);
  });

  it('RPL-06, RPL-12 remembers a proof to the end of whichever bound admitted it, the later one', async () => {
    const secrets = ['a secret that is known here alone, of forty bytes'];
    const untils = async (dpop: object, seconds: number): Promise<number> => {
      let until = 0;
      const replay = { firstUse: (use: { until: number }) => (until = use.until) > 0 };
      const rs = await start({ nonce: { secrets, rotation: 120 }, ...dpop, replay });
      rs.clock.set(Math.ceil(rs.clock.now() / 120) * 120);
      const token = await rs.token();
      const [nonce] = (await rs.present(token)).lines('dpop-nonce');
      expect((await rs.present(token, { iat: rs.clock.now() + seconds, claims: { nonce } })).outcome).toBe('200');
      return until - rs.clock.now();
    };
    // The nonce is good for two windows of 120 s, the iat for the window and a second.
    expect(await untils({}, 0)).toBe(301);
    expect(await untils({}, -200)).toBe(240);
    expect(await untils({ window: { past: 60 } }, 0.5)).toBe(240);
    expect(await untils({ nonceReplacesIat: true }, 86_400)).toBe(240);
  });

  it.each(['1', '0', '', 'x'])('RPL-13 answers 425 to Early-Data: %s, unless it is accepted', async (value) => {
    const lines = [`Early-Data: ${value}`];
    const token = await base.token();
    const answer = await base.present(token, {}, { lines });
    expect(answer.outcome).toBe('425');
    expect(answer.lines('www-authenticate')).toEqual([]);
    expect((await base.send({ scheme: 'Bearer', token: await base.token({}), lines })).outcome).toBe('425');
    expect((await base.send({ lines })).outcome).toBe('401 NONE');
    const accepting = await start({}, { earlyData: 'accept' });
    expect((await accepting.present(token, {}, { lines })).outcome).toBe('200');
  });

  it('RPL-09 answers 429 to a client over its share, and serves the others', async () => {
    const rs = await start({ replay: memoryReplayStore({ entries: 20, share: 0.25 }) });
    const other = await generateDpopKey();
    const token = await rs.token();
    for (let i = 0; i < 5; i += 1) expect((await rs.present(token)).outcome).toBe('200');
    const answer = await rs.present(token);
    expect(answer.outcome).toBe('429');
    expect(Number(answer.lines('retry-after')[0])).toBeGreaterThan(0);
    expect(rs.events.at(-1)).toMatchObject({ outcome: 'refused', reason: 'replay.over_share' });
    const otherToken = await rs.token({ cnf: { jkt: other.thumbprint } });
    expect((await rs.present(otherToken, { key: other })).outcome).toBe('200');
    rs.clock.advance(400);
    expect((await rs.present(await rs.token())).outcome).toBe('200');
  });

  it('RPL-09 answers 503 where the store is full', async () => {
    const rs = await start({ replay: memoryReplayStore({ entries: 2, share: 1 }) });
    const token = await rs.token();
    expect((await rs.present(token)).outcome).toBe('200');
    expect((await rs.present(token)).outcome).toBe('200');
    // Its own share is all of the store, so another client finds it full.
    const other = await generateDpopKey();
    const otherToken = await rs.token({ cnf: { jkt: other.thumbprint } });
    expect((await rs.present(otherToken, { key: other })).outcome).toBe('503');
    expect(rs.events.at(-1)).toMatchObject({ reason: 'unavailable.replay', detail: 'ReplayStoreFull' });
  });

  it('RPL-02 a request that one resource judges twice uses its proof up once', async () => {
    const rs = await startResource({
      like: base,
      build: (app, options) => {
        const resource = protectedResource(options);
        app.use(holdfast(resource), holdfast(resource), answerWithAccess(app));
      },
    });
    open.push(rs);
    expect((await rs.present(await rs.token())).outcome).toBe('200');
  });
});

describe('resources inside of each other that share a store', () => {
  const PAY = { target: '/pay' };

  /** One for everything, and another one for `/pay`. */
  async function nested(outer: object, inner: object, options: Partial<ProtectedResourceOptions> = {}): Promise<Resource> {
    const rs = await startResource({
      like: base,
      build: (app, given) => {
        app.use(holdfast({ ...given, ...options, dpop: outer }));
        app.use('/pay', holdfast({ ...given, ...options, dpop: inner }));
        app.use(answerWithAccess(app));
      },
    });
    open.push(rs);
    return rs;
  }
  const payment = (rs: Resource, token: string, changes: Partial<ProofOptions> = {}): string =>
    rs.proof(token, { htu: 'https://rs.example.com/pay', ...changes });

  async function letOwnersIn(replay: ReplayStore): Promise<void> {
    const rs = await nested({ replay }, { replay, nonce: 'required' });
    const token = await rs.token();
    const asked = await rs.send({ ...PAY, token, proof: payment(rs, token) });
    expect(asked.outcome).toBe('401 D:use_dpop_nonce');
    const [nonce] = asked.lines('dpop-nonce');
    const proof = payment(rs, token, { claims: { nonce } });
    expect((await rs.send({ ...PAY, token, proof })).outcome).toBe('200');
    expect((await rs.send({ ...PAY, token, proof })).outcome).toBe(REPLAYED);
    const copied = payment(rs, token, { claims: { nonce } });
    const answers = await Promise.all(Array.from({ length: 20 }, () => rs.send({ ...PAY, token, proof: copied })));
    expect(answers.map(({ outcome }) => outcome).toSorted()).toEqual(['200', ...Array.from({ length: 19 }, () => REPLAYED)]);
    expect(rs.events.at(-1)?.reason).toBe('replay.reused');
    // What was used for a route outside was used.
    expect((await rs.present(token, { claims: { jti: 'for both' } })).outcome).toBe('200');
    expect((await rs.send({ ...PAY, token, proof: payment(rs, token, { claims: { jti: 'for both', nonce } }) })).outcome).toBe(REPLAYED);
  }

  it('RPL-02 let the owner in, once for each proof: in memory', async () => {
    expect.hasAssertions();
    await letOwnersIn(memoryReplayStore());
  });

  it('RPL-02 let the owner in, once for each proof: in Redis', async (context) => {
    expect.hasAssertions();
    const skip = noRedis();
    if (skip !== undefined) context.skip(skip);
    const redis = await startRedis();
    onTestFinished(() => redis.stop());
    const client = await createClient({ url: redis.url }).connect();
    onTestFinished(() => client.destroy());
    await letOwnersIn(nodeRedisReplayStore(client, { environment: 'test', timeout: 10 }));
  });

  it('RPL-08 one request is one use at all of them, also where they judge it at the same time; another view of it is not', async () => {
    const store = memoryReplayStore();
    const options = {
      issuer: base.issuer.url,
      audience: 'https://rs.example.com',
      keys: { jwks: { keys: base.issuer.keys.map(({ publicJwk }) => publicJwk) } },
      now: base.clock.now,
    };
    const slow = { firstUse: async (use: ProofUse) => store.firstUse(use) };
    const resources = Array.from({ length: 3 }, () => protectedResource({ ...options, dpop: { replay: slow } }));
    const token = await base.token();
    const view = viewOf(token, base.proof(token));
    const together = await Promise.all(resources.map(async (resource) => resource.verify(view)));
    expect(together.map(({ granted }) => granted)).toEqual([true, true, true]);
    for (const resource of resources) {
      const again = await resource.verify({ ...view });
      expect(again).toMatchObject({ granted: false, rejection: { rejected: 'replay.reused' } });
    }
    // Another store has not heard of it: it is asked, and remembers.
    const alone = protectedResource({ ...options, dpop: { replay: memoryReplayStore() } });
    expect((await alone.verify(view)).granted).toBe(true);
    expect((await alone.verify({ ...view })).granted).toBe(false);
  });

  it('RPL-06 one that would admit the proof for longer than the other remembers it answers 503, and says what to do', async () => {
    const replay = memoryReplayStore();
    const rs = await nested({ replay, window: { past: 60 } }, { replay, window: { past: 61 } });
    const token = await rs.token();
    expect((await rs.send({ ...PAY, token, proof: payment(rs, token) })).outcome).toBe('503');
    expect(rs.events.at(-1)).toMatchObject({ reason: 'unavailable.replay', detail: expect.stringContaining('the same window') });
    const narrower = await nested({ replay, window: { past: 61 } }, { replay, window: { past: 60 } });
    expect((await narrower.send({ ...PAY, token, proof: payment(narrower, token) })).outcome).toBe('200');
  });

  it('RPL-06 one that goes by iat accepts what one that goes by the nonce has remembered', async () => {
    const replay = memoryReplayStore();
    const rs = await nested({ replay, nonce: 'required', nonceReplacesIat: true }, { replay });
    rs.clock.set(Math.ceil(rs.clock.now() / 120) * 120);
    const token = await rs.token();
    const [nonce] = (await rs.present(token)).lines('dpop-nonce');
    rs.clock.advance(239);
    const proof = payment(rs, token, { iat: rs.clock.now() + 60, claims: { nonce } });
    expect((await rs.send({ ...PAY, token, proof })).outcome).toBe('200');
  });

  it('NON-15 with nonces at both, one nonce serves both where they have one secret: that of the process, or the same ones', async () => {
    const replay = memoryReplayStore();
    const secrets = ['a secret that both of them know, of forty bytes!'];
    for (const nonce of ['required', { secrets }]) {
      const rs = await nested({ replay, nonce }, { replay, nonce });
      const token = await rs.token();
      const [offered] = (await rs.send({ ...PAY, token, proof: payment(rs, token) })).lines('dpop-nonce');
      expect((await rs.send({ ...PAY, token, proof: payment(rs, token, { claims: { nonce: offered } }) })).outcome).toBe('200');
    }
  });

  it('NON-13 nonces of the process are for one audience, so that another resource in it refuses them', async () => {
    const [one, other] = await Promise.all(
      ['https://rs.example.com', 'https://other.example.com'].map((audience) =>
        start({ nonce: 'required' }, { audience: [audience, 'urn:both'], publicUrl: 'https://rs.example.com' }),
      ),
    );
    if (one === undefined || other === undefined) throw new Error('two resources');
    const token = await base.issuer.token({ aud: 'urn:both', cnf: { jkt: base.key.thumbprint } });
    const [nonce] = (await one.present(token)).lines('dpop-nonce');
    expect((await other.present(token, { claims: { nonce } })).outcome).toBe('401 D:use_dpop_nonce');
    expect((await one.present(token, { claims: { nonce } })).outcome).toBe('200');
  });
});

interface Holding {
  /** How many calls are held. */
  readonly waiting: number;
  /** From now on calls are held, until they are released. */
  hold(): () => void;
  /** From now on calls are not held; those that are stay it. */
  letOthersPass(): void;
  pass<T>(value: T): Promise<T>;
}

function holding(): Holding {
  let gate: Promise<void> | undefined;
  let waiting = 0;
  return {
    get waiting() {
      return waiting;
    },
    hold() {
      let release = (): void => {};
      gate = new Promise((resolve) => {
        release = resolve;
      });
      return () => {
        gate = undefined;
        release();
      };
    },
    letOthersPass() {
      gate = undefined;
    },
    async pass(value) {
      waiting += 1;
      await gate;
      waiting -= 1;
      return value;
    },
  };
}

function viewOf(token: string, proof: string): ProtectedResourceRequest {
  const lines: Readonly<Record<string, readonly string[]>> = { host: ['rs.example.com'], authorization: [`DPoP ${token}`], dpop: [proof] };
  return {
    method: 'GET',
    target: '/r',
    fieldLines: (name) => lines[name] ?? [],
    connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
  };
}
