import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterEach, expect, test } from 'vitest';
import { createClock } from '../src/clock.ts';
import { type Issuer, type IssuerOptions, startIssuer } from '../src/issuer.ts';
import { base64url, jwtOfSegments, nonCanonical, rawJwt } from '../src/jwt.ts';

let issuer: Issuer;

async function start(options?: IssuerOptions): Promise<Issuer> {
  issuer = await startIssuer(options);
  return issuer;
}

afterEach(() => issuer.close());

const keySet = () => createLocalJWKSet({ keys: issuer.keys.map(({ publicJwk }) => publicJwk) });

test.each(['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA', 'Ed25519'])(
  '%s signatures verify',
  async (alg) => {
    await start({ algorithms: [alg] });
    const { payload } = await jwtVerify(await issuer.token(), keySet(), { issuer: issuer.url, typ: 'at+jwt', algorithms: [alg] });
    expect(payload.client_id).toBe('client-1');
  },
);

test('a claim or header parameter given as undefined is left out; the clock is the one given', async () => {
  await start({ now: createClock().now });
  const token = await issuer.token({ sub: undefined }, { kid: undefined });
  expect(decodeProtectedHeader(token)).toEqual({ typ: 'at+jwt', alg: 'ES256' });
  expect(decodeJwt(token)).toMatchObject({ iat: 1_800_000_000, exp: 1_800_000_300 });
  expect(decodeJwt(token)).not.toHaveProperty('sub');
});

test('metadata stands where it is said to stand, and nowhere else', async () => {
  await start({ path: '/realms/demo' });
  issuer.locations.delete('oidc-insert');
  const statusOf = async (path: string) => (await fetch(new URL(path, issuer.url))).status;
  expect(await statusOf('/.well-known/oauth-authorization-server/realms/demo')).toBe(200);
  expect(await statusOf('/.well-known/openid-configuration/realms/demo')).toBe(404);
  expect(await statusOf('/realms/demo/.well-known/openid-configuration')).toBe(200);
  expect(issuer.requests).toHaveLength(3);
});

test('it goes down and comes up again at the same place', async () => {
  await start();
  await issuer.down();
  await expect(fetch(issuer.jwksUri)).rejects.toThrow('fetch failed');
  await issuer.up();
  const requested = issuer.nextRequest('/jwks');
  expect(await (await fetch(issuer.jwksUri)).json()).toEqual({ keys: issuer.keys.map(({ publicJwk }) => publicJwk) });
  expect(await requested).toBe('/jwks');
});

test('keys come and go, with or without a kid', async () => {
  await start();
  const [first] = issuer.keys;
  const unnamed = await issuer.addKey('ES256', { kid: undefined });
  expect(unnamed.publicJwk).not.toHaveProperty('kid');
  issuer.removeKey(first?.kid);
  expect(issuer.keys).toEqual([unnamed]);
});

test('odd tokens are signed as they stand: repeated members, other spellings of the same bytes', async () => {
  await start({ algorithms: ['ES256'] });
  const [key] = issuer.keys;
  const repeated = '{"a":1,"a":2}';
  expect(Buffer.from(rawJwt('{"alg":"ES256"}', repeated, key).split('.')[1] ?? '', 'base64url').toString()).toBe(repeated);

  const [header, payload] = ['{"alg":"ES256" }', repeated].map(base64url);
  const other = nonCanonical(payload ?? '');
  expect(other).not.toBe(payload);
  expect(Buffer.from(other, 'base64url').toString()).toBe(repeated);
  await jwtVerify(jwtOfSegments(header ?? '', other, key), keySet());
});
