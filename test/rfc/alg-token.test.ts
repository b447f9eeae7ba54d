import { constants, createHash, createPublicKey, generateKeyPairSync, KeyObject, sign, verify } from 'node:crypto';
import type { JWK } from 'jose';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { base64url, generateSigningKey, jwtOfSegments, rawJwt, type Sign, type SigningKeyPair } from '@holdfast/test-support/jwt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { holdfast } from '@holdfast/express';
import { type Api, AUDIENCE, GRANTED, NOW, startApi, verdictOf } from './api.ts';

const refused = (reason: string): string => `401 | Bearer invalid_token | ${reason}`;

describe('ALG: keys and algorithms of access tokens (RFC 7518, RFC 8725 §3)', () => {
  let issuer: Issuer;
  const published: JWK[] = [];

  beforeAll(async () => {
    issuer = await startIssuer({ now: createClock(NOW).now });
    issuer.answer = (_request, response, path) =>
      path === '/jwks' && (response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: published })), true);
  });
  afterAll(() => issuer.close());

  /** What a resource that finds these keys says of a token with this header and signature. */
  const judge = async (keys: JWK[], header: object, signer: Sign, options: Parameters<typeof startApi>[0] = {}): Promise<string> => {
    published.splice(0, published.length, ...keys);
    const api: Api = await startApi({ issuedBy: issuer, ...options });
    const claims = { iss: issuer.url, aud: AUDIENCE, sub: 'user-1', exp: NOW + 300 };
    const verdict = verdictOf(
      await api.ask(`Bearer ${rawJwt(JSON.stringify({ typ: 'at+jwt', ...header }), JSON.stringify(claims), signer)}`),
    );
    await api.close();
    return verdict;
  };
  const rsaPair = (modulusLength: number, publicExponent = 65_537): { jwk: JWK; privateKey: KeyObject } => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength, publicExponent });
    return { jwk: publicKey.export({ format: 'jwk' }), privateKey };
  };
  const [rsa2048, otherRsa2048] = [rsaPair(2048), rsaPair(2048)];
  const pkcs1 =
    (privateKey: KeyObject): Sign =>
    (input) =>
      sign('sha256', Buffer.from(input), privateKey);
  const pss =
    (privateKey: KeyObject, saltLength: number): Sign =>
    (input) =>
      sign('sha256', Buffer.from(input), { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });

  it.each(['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'])('%s is accepted by default', async (alg) => {
    const key = await generateSigningKey(alg, 'k');
    expect(await judge([key.publicJwk], { alg, kid: 'k' }, key)).toBe(GRANTED);
    const other = await generateSigningKey(alg, 'k');
    expect(await judge([key.publicJwk], { alg, kid: 'k' }, other)).toBe(refused('token.signature'));
  });

  it.each(['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'])('%s is accepted by default', async (alg) => {
    const padding = alg.startsWith('PS') ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING;
    const saltLength = constants.RSA_PSS_SALTLEN_DIGEST;
    const by =
      ({ privateKey }: { privateKey: KeyObject }): Sign =>
      (input) =>
        sign(`sha${alg.slice(2)}`, Buffer.from(input), { key: privateKey, padding, saltLength });
    expect(await judge([rsa2048.jwk], { alg }, by(rsa2048))).toBe(GRANTED);
    expect(await judge([rsa2048.jwk], { alg }, by(otherRsa2048))).toBe(refused('token.signature'));
  });

  it.each([512, 1024, 1536, 2040])('ALG-02 an RSA key of %i bits in the key set verifies nothing', async (bits) => {
    const { jwk, privateKey } = rsaPair(bits);
    expect(await judge([jwk], { alg: 'RS256' }, pkcs1(privateKey))).toBe(refused('token.unknown_key'));
  });

  it('ALG-02 nor does one whose modulus is filled up with leading zeros', async () => {
    const { jwk, privateKey } = rsaPair(1024);
    const padded = Buffer.concat([Buffer.alloc(128), Buffer.from(jwk.n ?? '', 'base64url')]).toString('base64url');
    expect(await judge([{ ...jwk, n: padded }], { alg: 'RS256' }, pkcs1(privateKey))).toBe(refused('token.unknown_key'));
  });

  it('ALG-02 one of 2048 bits does', async () => {
    const { jwk, privateKey } = rsa2048;
    expect(await judge([jwk], { alg: 'RS256' }, pkcs1(privateKey))).toBe(GRANTED);
    expect(
      await judge(
        [{ ...jwk, n: Buffer.concat([Buffer.alloc(8), Buffer.from(jwk.n ?? '', 'base64url')]).toString('base64url') }],
        { alg: 'RS256' },
        pkcs1(privateKey),
      ),
    ).toBe(GRANTED);
  });

  it.each(['P-192', 'P-224', 'secp256k1'])('ALG-02 an EC key on %s is of no algorithm that is accepted', async (namedCurve) => {
    const names: Record<string, string> = { 'P-192': 'prime192v1', 'P-224': 'secp224r1' };
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: names[namedCurve] ?? namedCurve });
    const { x, y } = ecPoint(publicKey);
    const signer: Sign = (input) => sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    expect(await judge([{ kty: 'EC', crv: namedCurve, x, y }], { alg: 'ES256' }, signer)).toBe(refused('token.unknown_key'));
    expect(await judge([{ kty: 'EC', crv: 'P-256', x, y }], { alg: 'ES256' }, signer)).toBe(refused('token.unknown_key'));
  });

  it('ALG-04 Ed25519 by both of its names: RFC 9864 beside EdDSA', async () => {
    const { publicJwk, ...pair } = await generateSigningKey('EdDSA', undefined);
    const { alg: _, ...jwk } = publicJwk;
    const key: SigningKeyPair = { ...pair, publicJwk };
    expect(await judge([jwk], { alg: 'EdDSA' }, key)).toBe(GRANTED);
    expect(await judge([jwk], { alg: 'Ed25519' }, key)).toBe(GRANTED);
  });

  it('ALG-04 EdDSA does not mean Ed448', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed448');
    const jwk = publicKey.export({ format: 'jwk' }) as JWK;
    const signer: Sign = (input) => sign(null, Buffer.from(input), privateKey);
    expect(await judge([jwk], { alg: 'EdDSA' }, signer)).toBe(refused('token.unknown_key'));
    expect(await judge([jwk], { alg: 'Ed448' }, signer)).toBe(refused('token.algorithm'));
    expect(await judge([{ ...jwk, crv: 'Ed25519' }], { alg: 'EdDSA' }, signer)).toBe(refused('token.unknown_key'));
  });

  it.each(['HS256', 'HS384', 'HS512', 'none', 'NONE', 'A128KW', 'dir', 'RSA1_5', 'ES256K', 'Ed448', 'ML-DSA-44', 'es256', ''])(
    'ALG-05 algorithms: [%j] cannot be configured',
    (alg) => {
      for (const algorithms of [[alg], ['ES256', alg]]) {
        expect(() => holdfast({ issuer: issuer.url, audience: AUDIENCE, algorithms })).toThrow(TypeError);
        expect(() => holdfast({ issuer: issuer.url, audience: AUDIENCE, algorithms })).toThrow(/algorithms/);
      }
    },
  );

  describe('An ECDSA signature', () => {
    const N = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
    const bytes = (value: bigint, size = 32): Buffer => Buffer.from(value.toString(16).padStart(size * 2, '0'), 'hex');
    let key: SigningKeyPair;
    const good = (input: string): Buffer =>
      sign('sha256', Buffer.from(input), { key: KeyObject.from(key.privateKey), dsaEncoding: 'ieee-p1363' });
    const parts = (input: string): [bigint, bigint] => {
      const signature = good(input);
      return [BigInt(`0x${signature.subarray(0, 32).toString('hex')}`), BigInt(`0x${signature.subarray(32).toString('hex')}`)];
    };
    beforeAll(async () => {
      key = await generateSigningKey('ES256', 'k');
    });

    it('ALG-06 is 64 bytes', async () => {
      expect(await judge([key.publicJwk], { alg: 'ES256', kid: 'k' }, good)).toBe(GRANTED);
    });

    it.each<[string, (input: string) => Uint8Array]>([
      ['in DER', (input) => sign('sha256', Buffer.from(input), KeyObject.from(key.privateKey))],
      ['of zeros', () => new Uint8Array(64)],
      ['of zeros, in DER', () => Buffer.from('3006020100020100', 'hex')],
      ['r = 0', (input) => Buffer.concat([bytes(0n), bytes(parts(input)[1])])],
      ['s = 0', (input) => Buffer.concat([bytes(parts(input)[0]), bytes(0n)])],
      ['r = n', (input) => Buffer.concat([bytes(N), bytes(parts(input)[1])])],
      ['s = n', (input) => Buffer.concat([bytes(parts(input)[0]), bytes(N)])],
      ['r = s = n', () => Buffer.concat([bytes(N), bytes(N)])],
      ['r = s = 1', () => Buffer.concat([bytes(1n), bytes(1n)])],
      ['s + n, one byte longer', (input) => Buffer.concat([bytes(parts(input)[0], 33), bytes(parts(input)[1] + N, 33)])],
      ['a zero byte more before each half', (input) => Buffer.concat([bytes(parts(input)[0], 33), bytes(parts(input)[1], 33)])],
      ['a byte more behind it', (input) => Buffer.concat([good(input), Buffer.alloc(1)])],
      ['a byte less', (input) => good(input).subarray(0, 63)],
      ['its halves exchanged', (input) => Buffer.concat([good(input).subarray(32), good(input).subarray(0, 32)])],
      ['of another curve', () => new Uint8Array(96).fill(1)],
      ['empty', () => new Uint8Array(0)],
      [
        'with another hash',
        (input) => sign('sha384', Buffer.from(input), { key: KeyObject.from(key.privateKey), dsaEncoding: 'ieee-p1363' }),
      ],
    ])('ALG-06 %s verifies nothing', async (_what, signer) => {
      expect(await judge([key.publicJwk], { alg: 'ES256', kid: 'k' }, signer)).toBe(refused('token.signature'));
    });
  });

  describe('An Ed25519 signature', () => {
    const L = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n;
    const littleEndian = (value: bigint): Buffer => Buffer.from(Buffer.from(value.toString(16).padStart(64, '0'), 'hex').toReversed());
    const plusL = (signature: Uint8Array): Buffer => {
      const s = BigInt(`0x${Buffer.from(signature.subarray(32).toReversed()).toString('hex')}`);
      return Buffer.concat([signature.subarray(0, 32), littleEndian(s + L)]);
    };

    it('ALG-07 with S + L verifies nothing, though a lax verifier would take it', async () => {
      const key = await generateSigningKey('EdDSA', 'k');
      const good = (input: string): Buffer => sign(null, Buffer.from(input), KeyObject.from(key.privateKey));
      expect(await judge([key.publicJwk], { alg: 'EdDSA', kid: 'k' }, good)).toBe(GRANTED);
      expect(await judge([key.publicJwk], { alg: 'EdDSA', kid: 'k' }, (input) => plusL(good(input)))).toBe(refused('token.signature'));
      expect(await judge([key.publicJwk], { alg: 'EdDSA', kid: 'k' }, () => new Uint8Array(64))).toBe(refused('token.signature'));
    });

    it('ALG-07 the vector of RFC 8037 A.4, with S + L', () => {
      // The key is known and its token is none of ours, so the arithmetic is shown here, and the refusal above.
      const { compact, jwk } = vectors.jws['rfc8037-ed25519-jws'];
      const [header = '', payload = '', signature = ''] = compact.split('.');
      const publicKey = createPublicKey({ key: jwk, format: 'jwk' });
      const input = Buffer.from(`${header}.${payload}`);
      expect(verify(null, input, publicKey, Buffer.from(signature, 'base64url'))).toBe(true);
      expect(verify(null, input, publicKey, plusL(Buffer.from(signature, 'base64url')))).toBe(false);
    });
  });

  it.each([
    [32, GRANTED],
    [20, refused('token.signature')],
    [0, refused('token.signature')],
    [31, refused('token.signature')],
    [33, refused('token.signature')],
    [222, refused('token.signature')],
  ])('ALG-08 PS256 with a salt of %i bytes', async (saltLength, verdict) => {
    const { jwk, privateKey } = rsa2048;
    expect(await judge([jwk], { alg: 'PS256' }, pss(privateKey, saltLength))).toBe(verdict);
  });

  it('ALG-08 a PS256 signature is no RS256 signature, and the other way round', async () => {
    const { jwk, privateKey } = rsa2048;
    expect(await judge([jwk], { alg: 'RS256' }, pss(privateKey, 32))).toBe(refused('token.signature'));
    expect(await judge([jwk], { alg: 'PS256' }, pkcs1(privateKey))).toBe(refused('token.signature'));
  });

  const odd = (bits: number): string => {
    const modulus = Buffer.alloc(bits / 8, 0xa5);
    modulus[0] = 0x80;
    modulus[modulus.length - 1] = 0x01;
    return modulus.toString('base64url');
  };
  it.each([8200, 9216, 16_384, 65_536])('ALG-09 an RSA key of %i bits is not used', async (bits) => {
    expect(await judge([{ kty: 'RSA', n: odd(bits), e: 'AQAB' }], { alg: 'RS256' }, () => Buffer.alloc(bits / 8, 1))).toBe(
      refused('token.unknown_key'),
    );
  });

  it('ALG-09 one of 8192 bits is', async () => {
    expect(await judge([{ kty: 'RSA', n: odd(8192), e: 'AQAB' }], { alg: 'RS256' }, () => Buffer.alloc(1024, 1))).toBe(
      refused('token.signature'),
    );
  });

  it.each([
    ['2^32 + 1', '0100000001'],
    ['2^64 + 1', '010000000000000001'],
    ['as long as the modulus', '01'.repeat(256)],
    ['1', '01'],
    ['0', '00'],
    ['1, after zeros', '00000001'],
  ])('ALG-09 an exponent of %s is not used', async (_what, hex) => {
    const { jwk, privateKey } = rsa2048;
    const e = Buffer.from(hex, 'hex').toString('base64url');
    expect(await judge([{ ...jwk, e }], { alg: 'RS256' }, pkcs1(privateKey))).toBe(refused('token.unknown_key'));
  });

  it('ALG-09 with the exponent 1 the padded hash is its own signature: anybody could sign', async () => {
    const { jwk } = rsa2048;
    const forged: Sign = (input) => {
      const digestInfo = Buffer.concat([
        Buffer.from('3031300d060960864801650304020105000420', 'hex'),
        createHash('sha256').update(input).digest(),
      ]);
      return Buffer.concat([Buffer.from([0, 1]), Buffer.alloc(256 - 3 - digestInfo.length, 0xff), Buffer.from([0]), digestInfo]);
    };
    expect(await judge([{ ...jwk, e: 'AQ' }], { alg: 'RS256' }, forged)).toBe(refused('token.unknown_key'));
  });

  it('ALG-09 the exponent 3 is allowed', async () => {
    const { jwk, privateKey } = rsaPair(2048, 3);
    expect(await judge([jwk], { alg: 'RS256' }, pkcs1(privateKey))).toBe(GRANTED);
  });

  it.each([
    ['2', 'Ag'],
    ['65,536', 'AQAA'],
  ])('ALG-09 an even exponent (%s) verifies nothing', async (_what, e) => {
    const { jwk, privateKey } = rsa2048;
    expect(await judge([{ ...jwk, e }], { alg: 'RS256' }, pkcs1(privateKey))).toMatch(
      /^401 \| Bearer invalid_token \| token\.(?:unknown_key|signature)$/,
    );
  });

  it('a header says ES256 and the key set has a key of the same kid on P-384 only', async () => {
    const key = await generateSigningKey('ES384', 'k');
    const { alg: _, ...jwk } = key.publicJwk;
    expect(await judge([jwk], { alg: 'ES256', kid: 'k' }, key)).toBe(refused('token.unknown_key'));
  });

  it('the signature is over the segments as they were sent', async () => {
    const key = await generateSigningKey('ES256', 'k');
    const claims = { iss: issuer.url, aud: AUDIENCE, exp: NOW + 300 };
    const good = jwtOfSegments(
      base64url(JSON.stringify({ typ: 'at+jwt', alg: 'ES256', kid: 'k' })),
      base64url(JSON.stringify(claims)),
      key,
    );
    const [, payload = '', signature = ''] = good.split('.');
    published.splice(0, published.length, key.publicJwk);
    const api = await startApi({ issuedBy: issuer });
    expect(verdictOf(await api.ask(`Bearer ${good}`))).toBe(GRANTED);
    const other = base64url(JSON.stringify({ kid: 'k', alg: 'ES256', typ: 'at+jwt' }));
    expect(verdictOf(await api.ask(`Bearer ${other}.${payload}.${signature}`))).toBe(refused('token.signature'));
    await api.close();
  });
});

function ecPoint(publicKey: KeyObject): { x: string; y: string } {
  // The last bytes of the SPKI are the uncompressed point, 04 x y.
  const point = publicKey.export({ type: 'spki', format: 'der' });
  const size = { 75: 24, 80: 28, 88: 32 }[point.length] ?? 32;
  return { x: point.subarray(-2 * size, -size).toString('base64url'), y: point.subarray(-size).toString('base64url') };
}
