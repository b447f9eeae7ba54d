import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import { type Access, type ProtectedResource, type ProtectedResourceOptions, protectedResource, type Refusal } from '@holdfast/core';
import { CompactEncrypt, type CryptoKey, exportJWK, generateKeyPair, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';
const NOW = 1_800_000_000;

describe('Encrypted access tokens (JWE, RFC 9068 §4, RFC 7516)', () => {
  const clock = createClock(NOW);
  const resources: ProtectedResource[] = [];
  let issuer: Issuer;
  let publicKey: CryptoKey;
  let key: JWK;
  let reading: ProtectedResource;

  const pair = async (alg: string, kid?: string): Promise<{ publicKey: CryptoKey; jwk: JWK }> => {
    const made = await generateKeyPair(alg, { extractable: true });
    return { publicKey: made.publicKey, jwk: { ...(await exportJWK(made.privateKey)), alg, ...(kid !== undefined && { kid }) } };
  };
  const make = (more: Partial<ProtectedResourceOptions> = {}): ProtectedResource => {
    const resource = protectedResource({
      issuer: issuer.url,
      audience: AUDIENCE,
      unconstrained: 'accept',
      now: clock.now,
      decryption: { keys: [key] },
      ...more,
    });
    resources.push(resource);
    return resource;
  };
  const encrypt = (text: string, header: object = {}, to = publicKey): Promise<string> =>
    new CompactEncrypt(new TextEncoder().encode(text))
      .setProtectedHeader({ alg: 'ECDH-ES+A256KW', enc: 'A256GCM', cty: 'JWT', ...header })
      .encrypt(to);
  const ask = async (token: string, resource = reading): Promise<string> => {
    const result: Access | Refusal = await resource.verify({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
    return result.granted ? 'granted' : `${result.status} ${result.rejection.rejected}`;
  };

  beforeAll(async () => {
    issuer = await startIssuer({ now: clock.now });
    ({ publicKey, jwk: key } = await pair('ECDH-ES+A256KW'));
    reading = make();
  });
  afterAll(async () => {
    await Promise.all(resources.map((resource) => resource.close()));
    await issuer.close();
  });

  it('JWT-13 JWT-14 are decrypted by a key of the resource, and judged as any other', async () => {
    expect(await ask(await encrypt(await issuer.token()))).toBe('granted');
    expect(await ask(await encrypt(await issuer.token({ exp: NOW - 100 })))).toBe('401 token.expired');
    expect(await ask(await encrypt(await issuer.token({ cnf: {} })))).toBe('401 cnf.not_understood');
  });

  it('JWT-13 without a key they are refused', async () => {
    const resource = protectedResource({ issuer: issuer.url, audience: AUDIENCE, now: clock.now });
    expect(await ask(await encrypt(await issuer.token()), resource)).toBe('401 token.encrypted');
    await resource.close();
  });

  it('JWT-13 where encryption is required, a JWT that is not encrypted is refused', async () => {
    const resource = make({ decryption: { keys: [key], required: true } });
    expect(await ask(await issuer.token(), resource)).toBe('401 token.not_encrypted');
    expect(await ask(await encrypt(await issuer.token()), resource)).toBe('granted');
    expect(await ask(await issuer.token())).toBe('granted');
  });

  it('JWT-14 the inner signature, typ and algorithm are judged: encryption proves nothing, anybody can do it', async () => {
    const thief = await generateSigningKey('ES256', issuer.keys[0]?.kid);
    expect(await ask(await encrypt(await issuer.token({}, {}, { key: thief })))).toBe('401 token.signature');
    expect(await ask(await encrypt(await issuer.token({}, { typ: 'JWT' })))).toBe('401 token.typ');
    expect(await ask(await encrypt(await issuer.token({}, { alg: 'none' }, { key: false })))).toBe('401 token.algorithm');
    expect(await ask(await encrypt(JSON.stringify({ iss: issuer.url, aud: AUDIENCE, exp: NOW + 60 })))).toBe('401 token.not_jwt');
    expect(await ask(await encrypt(await encrypt(await issuer.token())))).toBe('401 token.encrypted');
    // The outer typ says nothing.
    expect(await ask(await encrypt(await issuer.token({}, { typ: 'JWT' }), { typ: 'at+jwt' }))).toBe('401 token.typ');
  });

  it.each([
    ['no content type', { cty: undefined }],
    ['another content type', { cty: 'json' }],
    ['another algorithm of the same key', { alg: 'ECDH-ES' }],
  ])('what does not say that it is a JWT for this key is refused: %s', async (_what, header) => {
    expect(await ask(await encrypt(await issuer.token(), header))).toBe('401 token.decryption');
  });

  it('what was encrypted to another key, altered, compressed, or is not UTF-8 is refused', async () => {
    const other = await pair('ECDH-ES+A256KW');
    expect(await ask(await encrypt(await issuer.token(), {}, other.publicKey))).toBe('401 token.decryption');
    const token = await encrypt(await issuer.token());
    const segments = token.split('.');
    for (const [index, segment] of segments.entries()) {
      const altered = segments.with(index, (segment.startsWith('A') ? 'B' : 'A') + segment.slice(1)).join('.');
      expect([index, await ask(altered)]).toEqual([index, '401 token.decryption']);
    }
    expect(await ask('a.b.c.d.e')).toBe('401 token.decryption');
    expect(await ask('....')).toBe('401 token.decryption');
    const zipped = [
      Buffer.from('{"alg":"ECDH-ES+A256KW","enc":"A256GCM","cty":"JWT","zip":"DEF"}').toString('base64url'),
      ...segments.slice(1),
    ];
    expect(await ask(zipped.join('.'))).toBe('401 token.decryption');
    const bytes = await new CompactEncrypt(Uint8Array.of(0xff, 0xfe))
      .setProtectedHeader({ alg: 'ECDH-ES+A256KW', enc: 'A256GCM', cty: 'JWT' })
      .encrypt(publicKey);
    expect(await ask(bytes)).toBe('401 token.malformed');
  });

  it('keys can be rotated, and are chosen by kid and alg', async () => {
    const [old, next, rsa] = [await pair('ECDH-ES', 'old'), await pair('ECDH-ES', 'next'), await pair('RSA-OAEP-256', 'rsa')];
    const resource = make({ decryption: { keys: [next.jwk, old.jwk, rsa.jwk] } });
    await resource.ready();
    for (const { publicKey: to, jwk } of [old, next, rsa]) {
      const alg = jwk.alg ?? '';
      expect(await ask(await encrypt(await issuer.token(), { alg, kid: jwk.kid }, to), resource)).toBe('granted');
      expect(await ask(await encrypt(await issuer.token(), { alg }, to), resource)).toBe('granted');
    }
    expect(await ask(await encrypt(await issuer.token(), { alg: 'ECDH-ES', kid: 'old' }, next.publicKey), resource)).toBe(
      '401 token.decryption',
    );
  });

  it('with introspection, what cannot be decrypted here is not asked about once there is a key', async () => {
    issuer.metadata['introspection_endpoint'] = `${issuer.url}/introspect`;
    issuer.requests.length = 0;
    const introspection = { clientId: 'api', authentication: { method: 'client_secret_basic', secret: 's' } } as const;
    expect(await ask('a.b.c.d.e', make({ introspection }))).toBe('401 token.decryption');
    expect(issuer.requests).toEqual([]);
  });

  it.each<[string, unknown, RegExp]>([
    ['no keys', {}, /decryption\.keys/],
    ['none', { keys: [] }, /decryption\.keys/],
    ['a public key', { keys: [{ kty: 'EC', alg: 'ECDH-ES', crv: 'P-256', x: 'a', y: 'b' }] }, /decryption\.keys/],
    ['a key without alg', { keys: [{ kty: 'EC', crv: 'P-256', d: 'hunter2' }] }, /decryption\.keys/],
    ['a symmetric key', { keys: [{ kty: 'oct', k: 'hunter2', alg: 'dir' }] }, /decryption\.keys/],
    ['RSA1_5', { keys: [{ kty: 'RSA', d: 'hunter2', alg: 'RSA1_5' }] }, /decryption\.keys/],
    ['a password', { keys: [{ kty: 'oct', d: 'hunter2', alg: 'PBES2-HS256+A128KW' }] }, /decryption\.keys/],
    ['five keys', { keys: Array.from({ length: 5 }, () => ({ kty: 'EC', d: 'hunter2', alg: 'ECDH-ES' })) }, /decryption\.keys/],
    ['required that is no flag', { keys: [{ kty: 'EC', d: 'hunter2', alg: 'ECDH-ES' }], required: 'yes' }, /decryption\.required/],
  ])('%s is refused at the start, and nothing of a key repeated', (_what, decryption, problem) => {
    expect(() => make({ decryption: decryption as never })).toThrow(problem);
    expect(() => make({ decryption: decryption as never })).toThrow(/^(?![\s\S]*hunter2)/);
  });

  it('a key that cannot be used stops ready()', async () => {
    const resource = make({ decryption: { keys: [{ kty: 'EC', crv: 'P-256', d: 'hunter2', x: 'a', y: 'b', alg: 'ECDH-ES' }] } });
    await expect(resource.ready()).rejects.toThrow(/^decryption\.keys: (?!.*hunter2)/);
    expect(await ask(await encrypt(await issuer.token(), { alg: 'ECDH-ES' }), resource)).toBe('401 token.decryption');
  });
});
