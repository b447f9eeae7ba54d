import { createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
} from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuthorizationServer, startAuthorizationServer } from '../src/authorization-server.ts';
import { type ClientFetch, fetchWith } from '../src/clients.ts';
import { createPki, type Identity, type Pki } from '../src/pki.ts';
import { signIn } from '../src/sign-in.ts';

const PAGE = 'http://127.0.0.1:4711'; // where the browser client's page would be

let pki: Pki;
let as: AuthorizationServer;
let byCa: Identity;
let bySelf: Identity;
let aliases: Record<string, string>;
const open: ClientFetch[] = [];

function client(identity?: Identity): ClientFetch {
  const fetch = fetchWith({ ca: pki.ca, ...identity });
  open.push(fetch);
  return fetch;
}

beforeAll(async () => {
  pki = await createPki();
  [byCa, bySelf] = [await pki.client('same name'), await pki.selfSigned('same name')];
  as = await startAuthorizationServer({
    pki,
    clients: { 'mtls-ca': byCa, 'mtls-self': bySelf, browser: { redirectUris: [`${PAGE}/callback`] } },
  });
  const metadata = await (await client()(`${as.issuer}/.well-known/openid-configuration`)).json();
  aliases = metadata.mtls_endpoint_aliases;
});

afterAll(async () => {
  await Promise.all(open.map((fetch) => fetch.close()));
  await as.close();
});

async function requestToken(fetch: ClientFetch, url: string, parameters: Record<string, string>, headers: Record<string, string> = {}) {
  const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'accounts:read', ...parameters });
  const response = await fetch(url, { method: 'POST', headers, body });
  return { status: response.status, answer: await response.json() };
}

async function claimsOf(token: string) {
  const keys = createRemoteJWKSet(new URL(`${as.issuer}/jwks`), { [customFetch]: client() });
  const { payload } = await jwtVerify(token, keys, { issuer: as.issuer, audience: as.audience, typ: 'at+jwt', algorithms: ['ES256'] });
  return payload;
}

const basic = (name: 'bearer' | 'dpop') => ({ authorization: `Basic ${Buffer.from(`${name}:${as.secrets[name]}`).toString('base64')}` });

test('the alias is another host and another port, and there is one for the token endpoint alone', () => {
  expect(Object.keys(aliases)).toEqual(['token_endpoint']);
  const [plain, mtls] = [new URL(as.issuer), new URL(aliases.token_endpoint ?? '')];
  expect(mtls.hostname).not.toBe(plain.hostname);
  expect(mtls.port).not.toBe(plain.port);
});

describe('a token is bound to', () => {
  test('the certificate of mtls-ca, also to a renewed one', async () => {
    for (const identity of [byCa, await pki.renew(byCa)]) {
      const { answer } = await requestToken(client(identity), `${as.mtlsOrigin}/token`, { client_id: 'mtls-ca' });
      expect(await claimsOf(answer.access_token)).toMatchObject({ scope: 'accounts:read', cnf: { 'x5t#S256': identity.thumbprint } });
    }
  });

  test('the certificate of mtls-self', async () => {
    const { answer } = await requestToken(client(bySelf), `${as.mtlsOrigin}/token`, { client_id: 'mtls-self' });
    expect(await claimsOf(answer.access_token)).toMatchObject({ cnf: { 'x5t#S256': bySelf.thumbprint } });
  });

  test('the key of dpop', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const jwk = await exportJWK(publicKey);
    const dpop = await new SignJWT({ htm: 'POST', htu: `${as.issuer}/token`, jti: randomUUID() })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .setIssuedAt()
      .sign(privateKey);
    const { answer } = await requestToken(client(), `${as.issuer}/token`, {}, { ...basic('dpop'), dpop });
    expect(await claimsOf(answer.access_token)).toMatchObject({ cnf: { jkt: await calculateJwkThumbprint(jwk) } });
  });

  test('nothing, for bearer', async () => {
    const { answer } = await requestToken(client(), `${as.issuer}/token`, {}, basic('bearer'));
    expect(await claimsOf(answer.access_token)).not.toHaveProperty('cnf');
  });
});

describe('no token is given', () => {
  test('to mtls-ca for a self-signed certificate of the same subject', async () => {
    expect(await requestToken(client(bySelf), `${as.mtlsOrigin}/token`, { client_id: 'mtls-ca' })).toMatchObject({
      status: 401,
      answer: { error: 'invalid_client' },
    });
  });

  test('to mtls-ca for an expired certificate', async () => {
    const expired = await pki.client('same name', { notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') });
    expect(await requestToken(client(expired), `${as.mtlsOrigin}/token`, { client_id: 'mtls-ca' })).toMatchObject({ status: 401 });
  });

  test('to mtls-ca where no certificate is asked for', async () => {
    expect(await requestToken(client(byCa), `${as.issuer}/token`, { client_id: 'mtls-ca' })).toMatchObject({ status: 401 });
  });

  test('to dpop without a proof', async () => {
    expect(await requestToken(client(), `${as.issuer}/token`, {}, basic('dpop'))).toMatchObject({ status: 400 });
  });
});

test('a browser gets a token for the user who signs in, by PKCE and across origins, from its own origin alone', async () => {
  const verifier = randomBytes(32).toString('base64url');
  const asked = { client_id: 'browser', redirect_uri: `${PAGE}/callback` };
  const challenge = { code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256' };
  const request = new URLSearchParams({ ...asked, ...challenge, response_type: 'code', scope: 'openid accounts:read' });
  const fetch = client();
  const code = (await signIn(fetch, `${as.issuer}/auth?${request}`, 'alice')).searchParams.get('code') ?? '';
  const body = new URLSearchParams({ ...asked, grant_type: 'authorization_code', code, code_verifier: verifier });
  const response = await fetch(`${as.issuer}/token`, { method: 'POST', headers: { origin: PAGE }, body });
  expect(response.headers.get('access-control-allow-origin')).toBe(PAGE);
  const { access_token: token } = await response.json();
  expect(await claimsOf(token)).toMatchObject({ sub: 'alice', client_id: 'browser', scope: 'accounts:read' });

  const foreign = await fetch(`${as.issuer}/token`, { method: 'POST', headers: { origin: 'https://evil.example' }, body });
  expect(foreign.headers.has('access-control-allow-origin')).toBe(false);
});

test('the ID token is for the client and signed with the key that signs access tokens', async () => {
  const keys = createLocalJWKSet({ keys: [as.publicJwk] });
  const { payload, protectedHeader } = await jwtVerify(await as.idToken(), keys, { issuer: as.issuer, audience: 'code' });
  expect(payload.sub).toBe('user-1');
  expect(protectedHeader.typ).toBeUndefined();
});

test('what signAs signs, the published key set verifies', async () => {
  const token = await as.signAs({ iss: as.issuer, aud: as.audience, sub: 'anyone' });
  expect(await claimsOf(token)).toEqual({ iss: as.issuer, aud: as.audience, sub: 'anyone' });
});
