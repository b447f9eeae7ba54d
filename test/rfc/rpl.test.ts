import { memoryReplayStore, type ReplayStore } from '@holdfast/core';
import { generateDpopKey } from '@holdfast/test-support/dpop';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Resource, startResource } from './resource.ts';

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

  it('a client that retries a request judged twice by one resource uses its proof up once', async () => {
    const { holdfast, protectedResource } = await import('@holdfast/express');
    const { answerWithAccess } = await import('./resource.ts');
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
