import { PresentedToken } from '../../packages/core/src/access-token/extract.ts';
import { constants, generateKeyPairSync, KeyObject, randomBytes, sign } from 'node:crypto';
import { type DpopKey, generateDpopKey } from '@holdfast/test-support/dpop';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, type Resource, startResource } from './resource.ts';

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

async function start(options: object): Promise<Resource> {
  const resource = await startResource({ like: rs, options });
  open.push(resource);
  return resource;
}

const signBy = (key: DpopKey) => KeyObject.from(key.privateKey);
/** A request with a token that is bound to the key. */
async function presentBy(resource: Resource, key: DpopKey, changes: object = {}): Promise<Answer> {
  const token = await resource.token({ cnf: { jkt: key.thumbprint } });
  return resource.present(token, { key, ...changes });
}
/** A request with a token that is bound to whatever jwk stands in the proof, so that nothing but the jwk itself is wrong. */
async function presentJwk(jwk: JWK, alg: string): Promise<Answer> {
  const token = await rs.token({ cnf: { jkt: await calculateJwkThumbprint(jwk).catch(() => rs.key.thumbprint) } });
  return rs.present(token, { header: { jwk, alg } });
}
const reason = () => [rs.events.at(-1)?.reason, rs.events.at(-1)?.detail];

describe('algorithms and keys of proofs', () => {
  it.each(['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519'])('ALG-03 accepts %s by default', async (alg) => {
    const key = await generateDpopKey(alg);
    // The second proof finds its key kept from the first.
    for (let i = 0; i < 2; i += 1) expect((await presentBy(rs, key)).outcome).toBe('200');
    expect((await presentBy(rs, key, { signer: (input: string) => randomBytes(input.length > 0 ? 64 : 0) })).outcome).toBe(BAD_PROOF);
  });

  it('ALG-03 accepts RS256 only where it is listed, and says so in algs', async () => {
    const key = await generateDpopKey('RS256');
    const refused = await presentBy(rs, key);
    expect(refused.outcome).toBe(BAD_PROOF);
    expect(refused.challenges[1]?.parameters['algs']).toBe('ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519');
    const listed = await start({ dpop: { algorithms: ['RS256', 'ES256'] } });
    expect((await presentBy(listed, key)).outcome).toBe('200');
    expect((await listed.send({})).challenges[1]?.parameters['algs']).toBe('RS256 ES256');
    expect((await presentBy(listed, await generateDpopKey('ES384'))).outcome).toBe(BAD_PROOF);
  });

  it('ALG-01 with fapi2 takes ES256, PS256 and Ed25519 alone, for proofs and for tokens', async () => {
    const fapi = await start({ profiles: ['fapi2'], unconstrained: 'refuse', dpop: { replay: { firstUse: () => true } } });
    for (const alg of ['ES256', 'PS256', 'EdDSA', 'Ed25519'])
      expect((await presentBy(fapi, await generateDpopKey(alg))).outcome).toBe('200');
    for (const alg of ['ES384', 'PS512', 'RS256']) expect((await presentBy(fapi, await generateDpopKey(alg))).outcome).toBe(BAD_PROOF);
    expect((await fapi.send({})).challenges[1]?.parameters['algs']).toBe('ES256 PS256 EdDSA Ed25519');
    const rsa = await rs.issuer.addKey('RS256');
    const { issuer } = rs;
    const keys = { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } };
    const token = await issuer.token({ cnf: { jkt: rs.key.thumbprint } }, {}, { key: rsa });
    expect((await (await start({ keys })).present(token)).outcome).toBe('200');
    const strict = await start({ keys, profiles: ['fapi2'], unconstrained: 'refuse', dpop: { replay: { firstUse: () => true } } });
    expect((await strict.present(token)).outcome).toBe('401 D:invalid_token');
    await expect(
      start({ profiles: ['fapi2'], unconstrained: 'refuse', dpop: { replay: { firstUse: () => true }, algorithms: ['RS256'] } }),
    ).rejects.toThrow(/dpop\.algorithms/);
  });

  it('ALG-02, ALG-09 refuses an RSA key that is too small or too large, before it is imported', async () => {
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
    expect((await presentJwk(small, 'PS256')).outcome).toBe(BAD_PROOF);
    expect(reason()).toEqual(['dpop.key', 'size']);
    const n = (bits: number): string => {
      const bytes = randomBytes(bits / 8);
      bytes[0] = (bytes[0] ?? 0) | 0x80;
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 1;
      return bytes.toString('base64url');
    };
    for (const [jwk, detail] of [
      [{ kty: 'RSA', n: n(16_384), e: 'AQAB' }, 'size'],
      [{ kty: 'RSA', n: n(2048), e: randomBytes(256).fill(1).toString('base64url') }, 'size'],
      [{ kty: 'RSA', n: n(2048), e: 'AQ' }, 'size'],
      [{ kty: 'RSA', n: n(2048), e: 'AQAC' }, 'size'],
      [{ kty: 'RSA', n: n(2048), e: '' }, 'size'],
      [{ kty: 'RSA', n: `AA${n(2064).slice(2)}`, e: 'AQAB' }, 'n'],
      [{ kty: 'RSA', n: n(2048), e: 'AAEAAQ' }, 'e'],
    ] as const) {
      const answer = await presentJwk(jwk, 'PS256');
      expect(answer.outcome).toBe(BAD_PROOF);
      expect(reason()).toEqual(['dpop.key', detail]);
    }
    expect((await presentJwk({ kty: 'RSA', n: n(8192), e: 'AQAB' }, 'PS256')).outcome).toBe(BAD_PROOF);
    expect(reason()[0]).toBe('dpop.signature');
  });

  it('ALG-09 a huge key costs no more than a bad signature', async () => {
    const time = async (send: () => Promise<Answer>): Promise<number> => {
      const samples: number[] = [];
      for (let i = 0; i < 15; i += 1) {
        const from = performance.now();
        expect((await send()).outcome).toBe(BAD_PROOF);
        samples.push(performance.now() - from);
      }
      return samples.toSorted((a, b) => a - b)[7] ?? 0;
    };
    const huge = { kty: 'RSA', n: randomBytes(2048).fill(0xff).toString('base64url'), e: 'AQAB' };
    const token = await rs.token({ cnf: { jkt: await calculateJwkThumbprint(huge) } });
    const bound = await rs.token();
    const proofs = [rs.proof(token, { header: { jwk: huge, alg: 'PS256' } }), rs.proof(bound).replace(/.{9}$/, 'AAAAAAAAA')];
    const [large, bad] = [
      await time(() => rs.send({ token, proof: proofs[0] ?? '' })),
      await time(() => rs.send({ token: bound, proof: proofs[1] ?? '' })),
    ];
    expect(large).toBeLessThan(2 * bad + 1);
  });

  it('ALG-04 accepts the same Ed25519 key under both names, and no Ed448', async () => {
    const key = await generateDpopKey('Ed25519');
    for (const alg of ['EdDSA', 'Ed25519']) {
      expect((await presentBy(rs, key, { header: { alg } })).outcome).toBe('200');
      for (const marked of ['EdDSA', 'Ed25519'])
        expect((await presentBy(rs, key, { header: { alg, jwk: { ...key.publicJwk, alg: marked } } })).outcome).toBe('200');
    }
    const ed448 = generateKeyPairSync('ed448');
    const jwk = ed448.publicKey.export({ format: 'jwk' });
    for (const alg of ['EdDSA', 'Ed25519', 'Ed448']) {
      const token = await rs.token({ cnf: { jkt: await calculateJwkThumbprint(jwk) } });
      const answer = await rs.present(token, { header: { jwk, alg }, signer: (input) => sign(null, Buffer.from(input), ed448.privateKey) });
      expect(answer.outcome).toBe(BAD_PROOF);
    }
  });

  it.each(['HS256', 'none', 'RS512', 'ES256K', 'ML-DSA-44'])('ALG-05 does not start with %s for proofs', async (alg) => {
    await expect(start({ dpop: { algorithms: [alg] } })).rejects.toThrow(/dpop\.algorithms/);
  });
  it.each(['HS256', 'none'])('ALG-05 does not start with %s for tokens', async (alg) => {
    await expect(start({ algorithms: [alg] })).rejects.toThrow(/algorithms/);
  });

  it.each([
    ['ES256', 32],
    ['ES384', 48],
    ['ES512', 66],
  ] as const)('ALG-06 takes r and s of %s at full length alone, in range', async (alg, length) => {
    const key = await generateDpopKey(alg);
    const digest = { ES256: 'sha256', ES384: 'sha384', ES512: 'sha512' }[alg];
    const good = (input: string): Buffer => sign(digest, Buffer.from(input), { key: signBy(key), dsaEncoding: 'ieee-p1363' });
    const wrong: Record<string, (input: string) => Uint8Array> = {
      der: (input) => sign(digest, Buffer.from(input), { key: signBy(key), dsaEncoding: 'der' }),
      zero: () => new Uint8Array(2 * length),
      'r is zero': (input) => Buffer.concat([Buffer.alloc(length), good(input).subarray(length)]),
      's is zero': (input) => Buffer.concat([good(input).subarray(0, length), Buffer.alloc(length)]),
      'all ones': () => new Uint8Array(2 * length).fill(255),
      short: (input) => good(input).subarray(1),
      long: (input) => Buffer.concat([good(input), Buffer.alloc(2)]),
      empty: () => new Uint8Array(),
      'zeros before each': (input) =>
        Buffer.concat([Buffer.alloc(1), good(input).subarray(0, length), Buffer.alloc(1), good(input).subarray(length)]),
    };
    for (const [name, signer] of Object.entries(wrong))
      expect([name, (await presentBy(rs, key, { signer })).outcome]).toEqual([name, BAD_PROOF]);
    expect((await presentBy(rs, key, { signer: good })).outcome).toBe('200');
  });

  it('ALG-07 refuses an Ed25519 signature whose S is not reduced', async () => {
    const key = await generateDpopKey('Ed25519');
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const signer = (input: string): Uint8Array => {
      const signature = sign(null, Buffer.from(input), signBy(key));
      const s = BigInt(`0x${Buffer.from(signature.subarray(32).toReversed()).toString('hex')}`) + order;
      return Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex').toReversed()]);
    };
    expect((await presentBy(rs, key, { signer })).outcome).toBe(BAD_PROOF);
    expect(reason()[0]).toBe('dpop.signature');
  });

  it.each([
    ['PS256', 32],
    ['PS384', 48],
    ['PS512', 64],
  ] as const)('ALG-08 takes the salt of %s as long as the digest alone, and no other padding', async (alg, length) => {
    const key = await generateDpopKey(alg);
    const digest = `sha${alg.slice(2)}`;
    const salted =
      (saltLength: number) =>
      (input: string): Uint8Array =>
        sign(digest, Buffer.from(input), { key: signBy(key), padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
    for (const salt of [0, 20, length - 1, length + 1])
      expect((await presentBy(rs, key, { signer: salted(salt) })).outcome).toBe(BAD_PROOF);
    const pkcs1 = (input: string): Uint8Array =>
      sign(digest, Buffer.from(input), { key: signBy(key), padding: constants.RSA_PKCS1_PADDING });
    expect((await presentBy(rs, key, { signer: pkcs1 })).outcome).toBe(BAD_PROOF);
    expect((await presentBy(rs, key, { signer: salted(length) })).outcome).toBe('200');
    // One in 256 begins with a zero. Without it, it is the same number and another spelling.
    const beginsWithZero =
      (cut: number) =>
      (input: string): Uint8Array => {
        for (;;) {
          const signature = salted(length)(input);
          if (signature[0] === 0) return signature.subarray(cut);
        }
      };
    expect((await presentBy(rs, key, { signer: beginsWithZero(0) })).outcome).toBe('200');
    expect((await presentBy(rs, key, { signer: beginsWithZero(1) })).outcome).toBe(BAD_PROOF);
  });

  it('ALG-10, ALG-11 takes coordinates in their one spelling alone', async () => {
    const { publicJwk } = rs.key;
    const x = String(publicJwk.x);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const padBits = x.slice(0, -1) + alphabet.charAt(alphabet.indexOf(x.slice(-1)) + 1);
    for (const spelled of [
      padBits,
      `${x}=`,
      x.slice(1),
      `AA${x}`,
      `${x}AAAA`,
      Buffer.from(x, 'base64url').subarray(1).toString('base64url'),
      '',
    ]) {
      expect((await presentJwk({ ...publicJwk, x: spelled }, 'ES256')).outcome).toBe(BAD_PROOF);
      expect(reason()).toEqual(['dpop.key', 'x']);
    }
    expect((await presentJwk(publicJwk, 'ES256')).outcome).toBe('200');
  });

  it('ALG-12 refuses keys of ML-DSA', async () => {
    const jwk = { kty: 'AKP', alg: 'ML-DSA-44', pub: randomBytes(1312).toString('base64url') };
    expect((await presentJwk(jwk as JWK, 'ML-DSA-44')).outcome).toBe(BAD_PROOF);
    expect((await presentJwk(jwk as JWK, 'ES256')).outcome).toBe(BAD_PROOF);
  });

  it('ALG-13 refuses a proof that is too long, or too deep, without work', async () => {
    const token = await rs.token();
    const proof = rs.proof(token);
    expect((await rs.send({ token, proof: `${proof}${'A'.repeat(9_000)}` })).outcome).toBe(BAD_PROOF);
    expect(reason()[0]).toBe('dpop.too_long');
    expect((await rs.present(token, { header: { x5c: ['A'.repeat(3_500)] } })).outcome).toBe(BAD_PROOF);
    expect(reason()[0]).toBe('dpop.too_long');
    const deep = '['.repeat(2_500) + ']'.repeat(2_500);
    expect((await rs.present(token, { claims: { deep: JSON.parse(deep) as unknown } })).outcome).toBe('200');
  });
});

describe('keys of proofs that are kept', () => {
  const key = (name: string) => ({
    algorithm: 'ES256',
    jwk: { kty: 'OKP', crv: 'Ed25519', x: name } as const,
    thumbprint: name,
    verify: () => true,
  });

  it('one header per key, the last, compared whole, and only so many', async () => {
    const { ProofKeys } = await import('../../packages/core/src/keys/proof-key.ts');
    const keys = new ProofKeys(3);
    keys.remember('AAAA', key('one'));
    keys.remember('BBBB', key('one'));
    expect(keys.size).toBe(1);
    expect(keys.find('AAAA')).toBeUndefined();
    expect(keys.find('BBBB')?.thumbprint).toBe('one');
    expect(keys.find('BBB')).toBeUndefined();
    for (const name of ['two', 'three', 'four']) keys.remember(Buffer.from(name.padEnd(6)).toString('base64url'), key(name));
    expect(keys.size).toBe(3);
    expect(keys.find('BBBB')).toBeUndefined();
    // What fell out can come back, under the same key.
    keys.remember('CCCC', key('one'));
    expect(keys.find('CCCC')?.thumbprint).toBe('one');
    keys.remember('A'.repeat(2_052), key('five'));
    expect(keys.find('A'.repeat(2_052))).toBeUndefined();
  });

  it('is written only after a signature that verified', async () => {
    const { ProofKeys } = await import('../../packages/core/src/keys/proof-key.ts');
    const { dpop } = await import('../../packages/core/src/confirmation/dpop.ts');
    const { readProof } = await import('../../packages/core/src/confirmation/proof.ts');
    const keys = new ProofKeys();
    const settings = {
      algorithms: ['ES256'],
      window: { past: 300, future: 60 },
      nonces: undefined,
      nonceReplacesIat: false,
      replay: undefined,
      origins: [{ origin: 'https://rs.example.com', prefix: '' }],
      resource: 'x',
    };
    const method = dpop(settings, keys, rs.clock.now);
    const confirm = async (text: string, thumbprint: string): Promise<string> => {
      const request = {
        method: 'GET',
        target: '/r',
        fieldLines: () => [text],
        connection: { peer: { kind: 'unknown' as const }, peerCertificate: () => undefined },
      };
      const proof = readProof(request, keys, settings.algorithms);
      if ('rejected' in proof) return proof.rejected;
      const result = await method.confirm(thumbprint, {
        request,
        token: new PresentedToken('DPoP', 't'),
        now: rs.clock.now(),
        certificate: undefined,
        proof,
      });
      return 'rejected' in result ? result.rejected : 'confirmed';
    };
    const proof = rs.proof('t');
    expect(await confirm(proof, 'A'.repeat(43))).toBe('dpop.key_mismatch');
    expect(await confirm(proof.replace(/.{9}$/, 'AAAAAAAAA'), rs.key.thumbprint)).toBe('dpop.signature');
    expect(await confirm(rs.proof('other'), rs.key.thumbprint)).toBe('dpop.ath');
    expect(keys.size).toBe(0);
    expect(await confirm(proof, rs.key.thumbprint)).toBe('confirmed');
    expect(keys.size).toBe(1);
    // A kept key spares the import, and no check.
    expect(await confirm(proof, 'A'.repeat(43))).toBe('dpop.key_mismatch');
    expect(await confirm(proof.replace(/.{9}$/, 'AAAAAAAAA'), rs.key.thumbprint)).toBe('dpop.signature');
  });
});
