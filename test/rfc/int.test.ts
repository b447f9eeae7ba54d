import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type Access,
  type IntrospectionSettings,
  type ProtectedResource,
  type ProtectedResourceOptions,
  protectedResource,
  type Refusal,
  type ResourceEvent,
} from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { base64url, generateSigningKey, rawJwt, type SigningKeyPair } from '@holdfast/test-support/jwt';
import { createPki } from '@holdfast/test-support/pki';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { cached } from '../../packages/core/src/access-token/cache.ts';
import type { AuthenticatedToken } from '../../packages/core/src/access-token/authenticated-token.ts';
import type { PresentedToken } from '../../packages/core/src/access-token/extract.ts';
import vectors from '../vectors/vectors.json' with { type: 'json' };

const AUDIENCE = 'https://rs.example.com';
const NOW = 1_800_000_000;
const [ONE, OTHER] = ['A'.repeat(43), 'B'.repeat(43)];

interface Asked {
  readonly method: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What the endpoint answers: members of JSON; or status, type and text. */
type Says = object | ((response: ServerResponse, asked: Asked) => void);

describe('INT: introspection (RFC 7662, RFC 9701)', () => {
  const clock = createClock(NOW);
  let issuer: Issuer;
  let asked: Asked[];
  let says: Says;
  const events: ResourceEvent[] = [];
  const closing: (() => Promise<void>)[] = [];

  const active = (more: object = {}): object => ({
    active: true,
    iss: issuer.url,
    aud: AUDIENCE,
    sub: 'user-1',
    client_id: 'client-1',
    scope: 'read',
    exp: clock.now() + 300,
    ...more,
  });

  beforeEach(async () => {
    clock.set(NOW);
    issuer = await startIssuer({ now: clock.now });
    issuer.metadata['introspection_endpoint'] = `${issuer.url}/introspect`;
    asked = [];
    says = active();
    events.length = 0;
    issuer.answer = (request, response, path) => {
      if (path !== '/introspect') return false;
      void answer(request, response);
      return true;
    };
  });
  afterEach(async () => {
    await Promise.all(closing.splice(0).map((close) => close()));
    await issuer.close();
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(Buffer.from(chunk));
    const one = { method: request.method, headers: request.headers, body: Buffer.concat(chunks).toString() };
    asked.push(one);
    if (typeof says === 'function') return says(response, one);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(says));
  }

  const SECRET: IntrospectionSettings = {
    clientId: 'api',
    authentication: { method: 'client_secret_basic', secret: 'hunter2-hunter2' },
  };

  function make(introspection: Partial<IntrospectionSettings> = {}, more: Partial<ProtectedResourceOptions> = {}): ProtectedResource {
    const resource = protectedResource({
      issuer: issuer.url,
      audience: AUDIENCE,
      unconstrained: 'accept',
      now: clock.now,
      introspection: { ...SECRET, ...introspection },
      onEvent: (event) => events.push(event),
      ...more,
    });
    closing.push(() => resource.close());
    return resource;
  }

  const verify = async (
    resource: ProtectedResource,
    token: string,
    scheme = 'Bearer',
    proof?: string,
    target = '/r',
  ): Promise<Access | Refusal> =>
    resource.verify({
      method: 'GET',
      target,
      fieldLines: (name) => (name === 'authorization' ? [`${scheme} ${token}`] : name === 'dpop' && proof !== undefined ? [proof] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
  const reasonOf = (result: Access | Refusal): string => (result.granted ? 'granted' : `${result.status} ${result.rejection.rejected}`);
  const ask = async (resource: ProtectedResource, token = 'opaque'): Promise<string> => reasonOf(await verify(resource, token));

  describe('The request', () => {
    it('INT-01 INT-02 INT-03 INT-14 is a POST with a form, authenticated, without a proof', async () => {
      const resource = make();
      const token = 'a+b/c~d-e_f.g==';
      const key = await generateDpopKey();
      says = active({ cnf: { jkt: key.thumbprint }, token_type: 'DPoP' });
      const proof = makeProof({ key, token, htu: `${AUDIENCE}/r`, iat: NOW });
      expect(reasonOf(await verify(resource, token, 'DPoP', proof))).toBe('granted');
      const [{ method, headers, body } = { method: undefined, headers: {}, body: '' }] = asked;
      expect(asked).toHaveLength(1);
      expect([method, headers['content-type']]).toEqual(['POST', expect.stringMatching(/^application\/x-www-form-urlencoded/)]);
      expect(body).toContain('token=a%2Bb%2Fc%7Ed-e_f.g%3D%3D');
      expect(Object.fromEntries(new URLSearchParams(body))).toEqual({ token, token_type_hint: 'access_token' });
      expect([headers['dpop'], headers.accept]).toEqual([undefined, 'application/json']);
      expect(headers.authorization).toBe(`Basic ${btoa('api:hunter2%2Dhunter2')}`);
    });

    it('INT-02 identifier and secret are form-encoded first (RFC 6749 §2.3.1)', async () => {
      const resource = make({ clientId: 'a:b c', authentication: { method: 'client_secret_basic', secret: 'p:ä+%' } });
      await ask(resource);
      expect(atob((asked[0]?.headers.authorization ?? '').slice(6))).toBe('a%3Ab+c:p%3A%C3%A4%2B%25');
    });

    it('INT-02 client_secret_post sends them in the form', async () => {
      await ask(make({ authentication: { method: 'client_secret_post', secret: 's&t' } }));
      expect(Object.fromEntries(new URLSearchParams(asked[0]?.body))).toMatchObject({ client_id: 'api', client_secret: 's&t' });
      expect(asked[0]?.headers.authorization).toBeUndefined();
    });

    it('INT-20 nobody is asked about a JWT, nor about a token of an unknown issuer', async () => {
      const stranger = await startIssuer({ now: clock.now });
      const resource = make();
      expect(await ask(resource, await issuer.token())).toBe('granted');
      expect(await ask(resource, await stranger.token())).toBe('401 token.issuer');
      expect([asked, stranger.requests]).toEqual([[], []]);
      await stranger.close();
    });

    it('goes to the endpoint of the options, where it is named there', async () => {
      delete issuer.metadata['introspection_endpoint'];
      expect(await ask(make())).toBe('503 unavailable.introspection');
      expect(await ask(make({ endpoint: `${issuer.url}/introspect` }))).toBe('granted');
    });

    it('DIS-06 an endpoint that is neither https nor on the loopback is not used', async () => {
      issuer.metadata['introspection_endpoint'] = 'http://as.example.com/introspect';
      expect(await ask(make())).toBe('503 unavailable.introspection');
      expect(() => make({ endpoint: 'http://as.example.com/introspect' })).toThrow(/introspection\.endpoint/);
    });

    it('MTLS-18 with mutual TLS it goes to the alias, without to the plain endpoint; other aliases are ignored', async () => {
      issuer.metadata['mtls_endpoint_aliases'] = { introspection_endpoint: `${issuer.url}/mtls/introspect`, token_endpoint: 7, x: 'y' };
      const urls: string[] = [];
      const spy: NonNullable<IntrospectionSettings['fetch']> = (url, init) => {
        urls.push(url);
        return fetch(url.replace('/mtls', ''), init);
      };
      const bySelf = make({ authentication: { method: 'self_signed_tls_client_auth' }, fetch: spy });
      expect(await ask(bySelf)).toBe('granted');
      expect(Object.fromEntries(new URLSearchParams(asked[0]?.body))).toMatchObject({ client_id: 'api' });
      expect(await ask(make({ fetch: spy }))).toBe('granted');
      issuer.metadata['mtls_endpoint_aliases'] = {};
      expect(await ask(make({ authentication: { method: 'tls_client_auth' }, fetch: spy }))).toBe('granted');
      expect(urls).toEqual([`${issuer.url}/mtls/introspect`, `${issuer.url}/introspect`, `${issuer.url}/introspect`]);
    });

    it('MTLS-18 an alias that cannot be used is no reason to go where no certificate is asked for', async () => {
      issuer.metadata['mtls_endpoint_aliases'] = { introspection_endpoint: 'http://as.example.com' };
      const resource = make({ authentication: { method: 'tls_client_auth' }, fetch: (url, init) => fetch(url, init) });
      expect([await ask(resource), asked]).toEqual(['503 unavailable.introspection', []]);
    });

    it('one is in flight for one token, however many ask at once', async () => {
      const resource = make();
      const waiting: (() => void)[] = [];
      says = (response) =>
        void waiting.push(() => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(active())));
      const many = Array.from({ length: 50 }, () => ask(resource));
      const another = ask(resource, 'another');
      await expect.poll(() => waiting.length).toBe(2);
      for (const go of waiting) go();
      expect(await Promise.all(many)).toEqual(many.map(() => 'granted'));
      expect([await another, asked.length]).toEqual(['granted', 2]);
    });

    it('no more than 200 different tokens are asked for at once: made-up tokens do not bring the server down', async () => {
      const resource = make();
      const waiting: (() => void)[] = [];
      says = (response) => void waiting.push(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{"active":false}'));
      const many = Array.from({ length: 201 }, (_, index) => ask(resource, `made-up-${index}`));
      expect(await Promise.race(many)).toBe('503 unavailable.introspection');
      await expect.poll(() => waiting.length).toBe(200);
      for (const go of waiting) go();
      expect((await Promise.all(many)).filter((reason) => reason === '401 token.inactive')).toHaveLength(200);
    });
  });

  describe('The answer', () => {
    it.each([[true, 'granted'], [false], ['true'], [1], [null], [{}], [[]], [undefined]])(
      'INT-04 only active: true counts: %j',
      async (value, expected = '401 token.inactive') => {
        says = active({ active: value });
        expect(await ask(make())).toBe(expected);
      },
    );

    it('INT-05 the client never learns why', async () => {
      const answers: object[] = [
        { active: false },
        active({ exp: NOW - 100 }),
        active({ aud: 'urn:other' }),
        active({ iss: 'https://other.example' }),
        active({ token_use: 'refresh_token' }),
      ];
      const bodies = new Set<string>();
      for (const [index, one] of answers.entries()) {
        says = one;
        const result = await verify(make(), `opaque-${index}`);
        bodies.add(JSON.stringify(result.granted || [result.status, result.fields, result.body]));
      }
      expect(bodies.size).toBe(1);
      expect([...bodies][0]).toContain('invalid_token');
    });

    it.each<[string, object, string]>([
      ['exp in the past', { exp: NOW - 6 }, '401 token.expired'],
      ['exp within the tolerance', { exp: NOW - 4 }, 'granted'],
      ['no exp', { exp: undefined }, '401 token.claim'],
      ['exp that is no number', { exp: '1900000000' }, '401 token.claim'],
      ['nbf in the future', { nbf: NOW + 6 }, '401 token.not_yet_valid'],
      ['iat in the future', { iat: NOW + 6 }, '401 token.not_yet_valid'],
      ['another audience', { aud: 'https://other.example' }, '401 token.audience'],
      ['the audience among others', { aud: ['https://other.example', AUDIENCE] }, 'granted'],
      ['no audience', { aud: undefined }, '401 token.audience'],
      ['an audience of another type', { aud: { [AUDIENCE]: true } }, '401 token.claim'],
      ['another issuer', { iss: 'https://other.example' }, '401 token.issuer'],
      ['no issuer', { iss: undefined }, 'granted'],
      ['authorization_details that are no list', { authorization_details: {} }, '401 token.claim'],
    ])('INT-06 what is there is checked: %s', async (_what, members, expected) => {
      says = active(members);
      expect(await ask(make())).toBe(expected);
    });

    it('INT-06 without aud, only for clients that are listed', async () => {
      says = active({ aud: undefined, token_type: 'Bearer' });
      expect(await ask(make({}, { clientIds: ['client-1'] }))).toBe('granted');
      expect(await ask(make({}, { clientIds: ['client-2'] }))).toBe('401 token.client');
      says = active({ aud: undefined, token_type: 'Bearer', client_id: undefined });
      expect(await ask(make({}, { clientIds: ['client-1'] }))).toBe('401 token.client');
      says = active({ aud: 'urn:other' });
      expect(await ask(make({}, { clientIds: ['client-1'] }))).toBe('401 token.audience');
      // For JWTs nothing is relaxed by it.
      expect(await ask(make({}, { clientIds: ['client-1'] }), await issuer.token({ aud: undefined }))).toBe('401 token.audience');
    });

    it.each<[string, object]>([
      ['token_type', { token_type: 'refresh_token' }],
      ['token_type', { token_type: 7 }],
      ['token_use', { token_use: 'refresh_token' }],
      ['token_use', { token_use: 'id' }],
      ['typ', { typ: 'Refresh' }],
      ['typ', { typ: 'ID' }],
      ['typ', { typ: 'Offline' }],
    ])('a refresh or ID token that the server calls active is no access token: %s %j', async (name, members) => {
      says = active(members);
      expect(await ask(make())).toBe('401 token.not_an_access_token');
      expect(events.at(-1)?.text).toMatch(/access token/);
      expect(name in members).toBe(true);
    });

    it.each<[object, string?]>([
      [{ token_type: 'Bearer' }, 'granted'],
      [{ token_type: 'bearer' }, 'granted'],
      [{ token_type: 'access_token' }, 'granted'],
      [{ token_type: 'BearerToken' }, 'granted'],
      [{ token_use: 'access_token' }, 'granted'],
      [{ token_use: 'access' }, 'granted'],
      [{ typ: 'Bearer' }, 'granted'],
      [{ typ: 'at+jwt' }, 'granted'],
      [{ purpose: 'access_token' }, 'granted'],
      [{ tokenName: 'access_token' }, 'granted'],
      [{}],
      [{ token_type: null }],
      [{ typ: 'JWT' }],
      [{ typ: 7 }],
      [{ purpose: 'statistics' }],
      [{ token_type: 'Bearer', token_use: 'refresh_token' }],
      [{ token_type: 'Bearer', typ: 'Refresh' }],
      [{ token_type: 'Bearer', purpose: 'refresh_token' }],
      [{ token_type: 'Bearer', tokenName: 'refresh_token' }],
    ])(
      'without aud, an answer must say that the token is an access token: nothing else tells it from a refresh token: %j',
      async (members, expected = '401 token.not_an_access_token') => {
        says = active({ aud: undefined, ...members });
        expect(await ask(make({}, { clientIds: ['client-1'] }))).toBe(expected);
        // For the binding alone it is not accepted either.
        says = active({ aud: undefined, cnf: { 'x5t#S256': ONE }, ...members });
        const resource = make({}, { clientIds: ['client-1'], unconstrained: 'refuse', certificate: () => ({ thumbprint: ONE }) });
        expect(await ask(resource)).toBe(expected);
      },
    );

    it.each<[string, object, string?]>([
      ['only the client', { aud: 'client-1' }],
      ['the client among others', { aud: ['client-1', 'urn:other'] }],
      ['the client, and it says what it is', { aud: 'client-1', token_type: 'Bearer' }, 'granted'],
      ['the API too', { aud: ['client-1', AUDIENCE] }, 'granted'],
      ['the API, with what only ID tokens have: at_hash', { at_hash: 'x' }],
      ['the API, with what only ID tokens have: nonce', { nonce: 'x' }],
      ['the API, with a nonce, and it says what it is', { nonce: 'x', token_type: 'Bearer' }, 'granted'],
    ])('an ID token is none where API and client are one, and aud names %s', async (_what, members, expected) => {
      says = active(members);
      expect(await ask(make({}, { audience: [AUDIENCE, 'client-1'] }))).toBe(expected ?? '401 token.not_an_access_token');
    });

    it('null stands for nothing, and what is handed on has none; but in a member that binds it is a defect', async () => {
      const nothing = { nbf: null, iat: null, jti: null, scope: null, username: null, acr: null, authorization_details: null };
      says = active({ ...nothing, token_type: 'Bearer', further: { a: null } });
      const result = await verify(make(), 'opaque');
      expect(result.granted && [Object.values(result.claims).includes(null), result.claims['further']]).toEqual([false, { a: null }]);
      for (const [members, reason] of [
        [{ cnf: null }, '401 cnf.malformed'],
        [{ 'x5t#S256': null }, '401 cnf.top_level'],
        [{ jkt: null }, '401 cnf.top_level'],
        [{ exp: null }, '401 token.claim'],
        [{ active: null }, '401 token.inactive'],
        [{ aud: null, token_type: 'Bearer' }, '401 token.audience'],
      ] as const) {
        says = active(members);
        expect(await ask(make())).toBe(reason);
      }
      says = active({ 'x5t#S256': null });
      expect(await ask(make({}, { provider: 'janssen' }))).toBe('401 cnf.malformed');
      // In a JWT, which its issuer signed, it is a claim of the wrong type.
      expect(await ask(make(), await issuer.token({ nbf: null }))).toBe('401 token.claim');
    });

    it('is judged at the time when it came, not when it was asked for', async () => {
      const slow =
        (seconds: number, members: object): Says =>
        (response) => {
          clock.advance(seconds);
          response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(active(members)));
        };
      const resource = make({}, { clockTolerance: 0 });
      says = slow(3, { exp: NOW + 2 });
      expect(await ask(resource, 'a')).toBe('401 token.expired');
      says = slow(3, { iat: NOW + 5, nbf: NOW + 6 });
      expect(await ask(resource, 'b')).toBe('granted');
    });

    it('INT-19 acr, auth_time and authorization_details are passed on', async () => {
      const members = { acr: 'urn:a', auth_time: NOW - 5, authorization_details: [{ type: 'payment', actions: ['read'] }], username: 'j' };
      says = active(members);
      const result = await verify(make(), 'opaque');
      expect(result.granted && result.claims).toMatchObject(members);
      expect(result.granted && [result.scopes, result.clientId, result.issuer]).toEqual([['read'], 'client-1', issuer.url]);
    });

    it('what it says is frozen, deeply', async () => {
      says = active({ realm_access: { roles: ['user'] } });
      const result = await verify(make(), 'opaque');
      const roles = result.granted && (result.claims['realm_access'] as { roles: string[] }).roles;
      expect(() => roles && roles.push('admin')).toThrow(TypeError);
    });
  });

  describe('The binding', () => {
    let key: DpopKey;
    beforeEach(async () => {
      key = await generateDpopKey();
    });
    const proofOf = (token: string, by = key): string => makeProof({ key: by, token, htu: `${AUDIENCE}/r`, iat: clock.now() });

    it('INT-07 RFC 9449 Figures 11 and 13', async () => {
      const { compact, request, jkt } = vectors.rfc9449_dpop_proofs['fig13-protected-resource-proof'];
      clock.set(1_562_262_618);
      says = active({ cnf: { jkt }, token_type: 'DPoP' });
      const resource = make({}, { publicUrl: 'https://resource.example.org' });
      const token = request.authorization.slice('DPoP '.length);
      expect(reasonOf(await verify(resource, token, 'DPoP', compact, '/protectedresource'))).toBe('granted');
      expect(reasonOf(await verify(resource, token, 'DPoP', undefined, '/protectedresource'))).toBe('401 dpop.missing');
    });

    it('CNF-02 INT-07 a DPoP-bound opaque token as Bearer', async () => {
      says = active({ cnf: { jkt: key.thumbprint } });
      const resource = make();
      expect(await ask(resource)).toBe('401 cnf.presented_as_bearer');
      expect(reasonOf(await verify(resource, 'opaque', 'DPoP', proofOf('opaque')))).toBe('granted');
    });

    it('MTLS-17 a certificate-bound opaque token: the API compares by itself', async () => {
      says = active({ cnf: { 'x5t#S256': ONE } });
      expect(await ask(make({}, { certificate: () => ({ thumbprint: ONE }) }))).toBe('granted');
      expect(await ask(make({}, { certificate: () => ({ thumbprint: OTHER }) }))).toBe('401 certificate.mismatch');
      expect(await ask(make({}, { certificate: () => undefined }))).toBe('401 certificate.missing');
    });

    it('INT-08 token_type DPoP without jkt is refused; Bearer beside jkt changes nothing', async () => {
      says = active({ token_type: 'DPoP' });
      expect(await ask(make())).toBe('401 cnf.presented_as_dpop');
      says = active({ token_type: 'Bearer', cnf: { jkt: key.thumbprint } });
      expect(await ask(make())).toBe('401 cnf.presented_as_bearer');
    });

    it.each([null, {}, 'x', { unknown: 1 }, { jkt: '' }])('fails closed as in a JWT: cnf %j', async (cnf) => {
      says = active({ cnf });
      expect(await ask(make())).toMatch(/^401 cnf\./);
    });

    it('without cnf it is refused, unless that was asked for', async () => {
      expect(await ask(make({}, { unconstrained: 'refuse' }))).toBe('401 cnf.absent');
    });

    it('INT-11 an answer that is remembered is never used instead of the binding', async () => {
      says = active({ cnf: { jkt: key.thumbprint } });
      const resource = make();
      expect(reasonOf(await verify(resource, 'opaque', 'DPoP', proofOf('opaque')))).toBe('granted');
      expect(reasonOf(await verify(resource, 'opaque', 'DPoP', proofOf('opaque', await generateDpopKey())))).toBe('401 dpop.key_mismatch');
      expect(await ask(resource)).toBe('401 cnf.presented_as_bearer');
      expect(asked).toHaveLength(1);
    });
  });

  describe('Failures of the server', () => {
    it.each<[string, Says]>([
      ['500', (response) => response.writeHead(500).end()],
      ['401', (response) => response.writeHead(401, { 'www-authenticate': 'Basic' }).end('{"error":"invalid_client"}')],
      ['400', (response) => response.writeHead(400, { 'content-type': 'application/json' }).end('{"active":true}')],
      ['429', (response) => response.writeHead(429).end()],
      ['204', (response) => response.writeHead(204).end()],
      ['a redirect', (response) => response.writeHead(307, { location: '/introspect' }).end()],
      ['HTML', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('{"active":true}')],
      ['no JSON', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('active')],
      ['a list', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('[{"active":true}]')],
      [
        '70 kB',
        (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ x: 'x'.repeat(70_000) })),
      ],
      ['a reset', (response) => response.destroy()],
      ['nothing', () => {}],
    ])('INT-09 %s is 503, without challenge and without a word of why', async (_what, failure) => {
      says = failure;
      const result = await verify(make({ timeout: 0.2 }), 'opaque');
      expect(reasonOf(result)).toBe('503 unavailable.introspection');
      expect(result.granted || [result.body, result.fields.map(([name]) => name)]).toEqual([undefined, ['Retry-After']]);
    });

    it('INT-13 a server whose certificate nobody vouches for is 503', async () => {
      const pki = await createPki();
      const secure = await startIssuer({ now: clock.now, tls: pki });
      const resource = make({}, { issuer: secure.url });
      expect(await ask(resource)).toBe('503 unavailable.introspection');
      expect(secure.requests).toEqual([]);
      await secure.close();
    });

    it('nothing of token, secret or answer is in an event or a refusal', async () => {
      const resources = [make(), make({ authentication: { method: 'client_secret_post', secret: 'hunter2-hunter2' } })];
      const failures: Says[] = [
        (response) => response.writeHead(401).end('{"error":"invalid_client","error_description":"hunter2"}'),
        (response) => response.writeHead(200, { 'content-type': 'application/json; hunter2' }).end('hunter2'),
        (response) => response.destroy(),
        { active: false, why: 'hunter2' },
      ];
      for (const failure of failures) {
        says = failure;
        for (const resource of resources) {
          const result = await verify(resource, 'hunter2-opaque-token');
          expect(JSON.stringify([result, events])).not.toMatch(/hunter2/);
        }
      }
    });

    it('after five failures in a row the server is left alone for ten seconds; then one request tries', async () => {
      const resource = make();
      says = (response) => response.writeHead(503).end();
      for (let index = 0; index < 8; index += 1) expect(await ask(resource, `t-${index}`)).toBe('503 unavailable.introspection');
      expect(asked).toHaveLength(5);
      const result = await verify(resource, 't');
      expect(result.fields).toContainEqual(['Retry-After', '10']);
      clock.advance(10);
      expect(await Promise.all(['a', 'b', 'c'].map((token) => ask(resource, token)))).toEqual(
        Array.from({ length: 3 }, () => '503 unavailable.introspection'),
      );
      expect(asked).toHaveLength(6);
      clock.advance(10);
      says = active();
      expect([await ask(resource, 'd'), await ask(resource, 'e')]).toEqual(['granted', 'granted']);
      expect(asked).toHaveLength(8);
    });

    it('4xx, answers that cannot be used and inactive tokens do not open it', async () => {
      const resource = make({ breaker: { failures: 2 } });
      const others: Says[] = [
        (response) => response.writeHead(403).end(),
        (response) => response.writeHead(200).end('x'),
        { active: false },
      ];
      for (const [index, one] of [...others, ...others].entries()) {
        says = one;
        await ask(resource, `t-${index}`);
      }
      expect(asked).toHaveLength(6);
    });

    it('a server that cannot be found is not looked for again and again', async () => {
      issuer.locations.clear();
      const resource = make();
      for (let index = 0; index < 10; index += 1) expect(await ask(resource, `t-${index}`)).toBe('503 unavailable.introspection');
      expect(issuer.requests.length).toBe(5 * 2);
    });

    it('JWTs go on being judged here while it is away, and ready() tells that it is not found', async () => {
      delete issuer.metadata['introspection_endpoint'];
      const resource = make();
      expect(await ask(resource)).toBe('503 unavailable.introspection');
      expect(await ask(resource, await issuer.token())).toBe('granted');
      await expect(resource.ready()).rejects.toThrow(/introspection_endpoint/);
      issuer.metadata['introspection_endpoint'] = `${issuer.url}/introspect`;
      await resource.ready();
    });
  });

  describe('Answers that are remembered', () => {
    it('INT-10 never beyond exp, and 60 s at most', async () => {
      const resource = make();
      says = active({ exp: NOW + 5 });
      await ask(resource, 'short');
      clock.advance(4);
      await ask(resource, 'short');
      expect(asked).toHaveLength(1);
      clock.advance(1);
      await ask(resource, 'short');
      expect(asked).toHaveLength(2);

      says = active({ exp: NOW + 5000 });
      await ask(resource, 'long');
      clock.advance(59);
      await ask(resource, 'long');
      expect(asked).toHaveLength(3);
      clock.advance(1);
      says = { active: false };
      expect([await ask(resource, 'long'), asked.length]).toEqual(['401 token.inactive', 4]);
    });

    it('INT-10 for less time, or not at all, by option', async () => {
      for (const resource of [make({ activeFor: 0 }), make({}, { cache: false })]) {
        asked.length = 0;
        await ask(resource);
        await ask(resource);
        expect(asked).toHaveLength(2);
      }
      for (const activeFor of [-1, 61, '60', null]) expect(() => make({ activeFor: activeFor as never })).toThrow(/activeFor/);
      for (const inactiveFor of [-1, 6]) expect(() => make({ inactiveFor })).toThrow(/inactiveFor/);
    });

    it('that a token is not active, for 5 s; that it is, is never concluded from it', async () => {
      const resource = make();
      says = { active: false };
      await ask(resource);
      says = active();
      clock.advance(4);
      expect([await ask(resource), asked.length]).toEqual(['401 token.inactive', 1]);
      clock.advance(1);
      expect([await ask(resource), asked.length]).toEqual(['granted', 2]);
    });

    it('failures are not', async () => {
      const resource = make();
      says = (response) => response.writeHead(500).end();
      await ask(resource);
      says = active();
      expect(await ask(resource)).toBe('granted');
    });

    it('INT-12 under a hash of the token, for each server by itself', async () => {
      const judged = { until: NOW + 60, keyTrusted: () => true, size: 1 } as unknown as AuthenticatedToken;
      let calls = 0;
      const count = (): AuthenticatedToken => {
        calls += 1;
        return judged;
      };
      const authenticate = Object.assign(count, {
        ready: async () => {},
        close: async () => {},
        revokeKey: () => {},
      });
      const cache = cached(authenticate, { entries: 10, bytes: 100_000, maxAge: 60 });
      const token = {
        scheme: 'Bearer',
        hash: 'hash',
        get value(): string {
          throw new Error('the cache read the token');
        },
      } as unknown as PresentedToken;
      for (const selected of ['https://a.example', 'https://b.example', 'https://a.example']) {
        expect(await cache(token, NOW, selected)).toBe(judged);
      }
      expect(calls).toBe(2);
    });
  });

  describe('A JWT', () => {
    it('that failed here never falls through, in whatever spelling', async () => {
      const resource = make();
      const stranger = await generateSigningKey('ES256', issuer.keys[0]?.kid);
      const jwt = await issuer.token({}, {}, { key: stranger });
      const [header = '', payload = '', signature = ''] = jwt.split('.');
      const spaced = base64url(` \n${Buffer.from(header, 'base64url').toString()}`);
      const bom = base64url(`\u{feff}${Buffer.from(header, 'base64url').toString()}`);
      const spellings = [
        jwt,
        `${jwt}=`,
        `${header}~.${payload}.${signature}`,
        `~${header}.${payload}.${signature}`,
        `${header.slice(0, 2)}~${header.slice(2)}.${payload}.${signature}`,
        `${header}+/.${payload}.${signature}`,
        `${spaced}.${payload}.${signature}`,
        `${bom}.${payload}.${signature}`,
        `${jwt}.`,
        `.${jwt}`,
        `${jwt}.x`,
        `${jwt}.x.y`,
        `${jwt}.x.y.z`,
        await issuer.token({ exp: NOW - 100 }),
        await issuer.token({}, { typ: 'JWT' }),
        await issuer.token({}, { alg: 'none' }, { key: false }),
      ];
      for (const spelling of spellings) expect(await ask(resource, spelling)).toMatch(/^401 token\./);
      expect(asked).toEqual([]);
      // An encrypted one is for its server to read, where there is no key for it here.
      expect(await ask(resource, `${base64url('{"alg":"RSA-OAEP","enc":"A256GCM"}')}.a.b.c.d`)).toBe('granted');
    });

    it('with mode always is verified here, and asked about', async () => {
      const resource = make({ mode: 'always' });
      expect(await ask(resource, await issuer.token())).toBe('granted');
      expect(asked).toHaveLength(1);
      expect(await ask(resource, await issuer.token({ exp: NOW - 100 }))).toBe('401 token.expired');
      expect(asked).toHaveLength(1);
      says = { active: false };
      expect(await ask(resource, await issuer.token())).toBe('401 token.inactive');
      says = (response) => response.writeHead(500).end();
      expect(await ask(resource, await issuer.token())).toBe('503 unavailable.introspection');
    });

    it('with mode always: of both, the stricter stands', async () => {
      const both = (jwt: object, answered: object, more: Partial<ProtectedResourceOptions> = {}): Promise<Access | Refusal> => {
        says = active(answered);
        return issuer.token(jwt).then((token) => verify(make({ mode: 'always' }, more), token));
      };
      const owner = { certificate: () => ({ thumbprint: ONE }) };
      const cnf = { 'x5t#S256': ONE };
      expect(reasonOf(await both({ cnf }, {}))).toBe('401 certificate.no_source');
      expect(reasonOf(await both({}, { cnf }))).toBe('401 certificate.no_source');
      expect(reasonOf(await both({ cnf }, {}, owner))).toBe('granted');
      expect(reasonOf(await both({ cnf }, { cnf }, owner))).toBe('granted');
      expect(reasonOf(await both({ cnf }, { cnf: { 'x5t#S256': OTHER } }, owner))).toBe('401 certificate.mismatch');
      expect(reasonOf(await both({ cnf: { 'x5t#S256': OTHER } }, { cnf }, owner))).toBe('401 certificate.mismatch');
      expect(reasonOf(await both({ cnf }, { cnf: { jkt: ONE } }, owner))).toBe('401 cnf.presented_as_bearer');
      expect(reasonOf(await both({ cnf }, { cnf: {} }, owner))).toBe('401 cnf.not_understood');
      expect(reasonOf(await both({ cnf }, { jkt: ONE }, owner))).toBe('401 cnf.top_level');
      expect(reasonOf(await both({}, { token_type: 'DPoP' }))).toBe('401 cnf.presented_as_dpop');

      const scopes = await both({ scope: 'read write' }, { scope: 'read admin' });
      expect(scopes.granted && scopes.scopes).toEqual(['read']);
      const noScope = await both({ scope: 'read write' }, { scope: undefined });
      expect(noScope.granted && noScope.scopes).toEqual(['read', 'write']);
      expect(reasonOf(await both({}, { aud: undefined }))).toBe('granted');
      expect(reasonOf(await both({}, { aud: 'urn:other' }))).toBe('401 token.audience');
      expect(reasonOf(await both({}, { sub: 'user-2' }))).toBe('401 token.mismatch');
      expect(reasonOf(await both({}, { client_id: 'client-2' }))).toBe('401 token.mismatch');
    });

    it('with mode only is not verified, and what it says of its binding holds all the same', async () => {
      const resource = make({ mode: 'only' }, { certificate: () => ({ thumbprint: ONE }) });
      const unverifiable = (claims: object): string => rawJwt('{"alg":"HS256"}', JSON.stringify(claims), () => new Uint8Array(32));
      expect(await ask(resource, unverifiable({ iss: issuer.url }))).toBe('granted');
      expect(await ask(resource, unverifiable({ iss: issuer.url, cnf: { 'x5t#S256': ONE } }))).toBe('granted');
      expect(await ask(resource, unverifiable({ iss: issuer.url, cnf: { 'x5t#S256': OTHER } }))).toBe('401 certificate.mismatch');
      expect(await ask(resource, unverifiable({ cnf: { jkt: ONE } }))).toBe('401 cnf.presented_as_bearer');
      expect(asked).toHaveLength(4);
      expect(await ask(resource, unverifiable({ iss: 'https://other.example' }))).toBe('401 token.issuer');
      expect(asked).toHaveLength(4);
      // And it needs no keys.
      delete issuer.metadata['jwks_uri'];
      await make({ mode: 'only' }).ready();
    });
  });

  describe('Signed answers (RFC 9701)', () => {
    const signed =
      (header: object = {}, claims: object = {}, key?: SigningKeyPair, type = 'application/token-introspection+jwt'): Says =>
      (response) => {
        const payload = { aud: 'api', iat: clock.now(), token_introspection: active(), ...claims };
        const cleared = { sub: undefined, client_id: undefined, scope: undefined, exp: undefined, jti: undefined };
        void issuer
          .token({ ...cleared, ...payload }, { typ: 'token-introspection+jwt', ...header }, key && { key })
          .then((jwt) => response.writeHead(200, { 'content-type': type }).end(jwt));
      };

    it('INT-15 INT-16 are asked for, verified, and read', async () => {
      says = signed();
      const result = await verify(make({ signed: true }), 'opaque');
      expect(result.granted && result.claims.sub).toBe('user-1');
      expect(asked[0]?.headers.accept).toBe('application/token-introspection+jwt');
    });

    it.each([
      ['59 s old', -59, 'granted'],
      ['61 s old', -61, '503 unavailable.introspection'],
      ['of a second ahead', 1, '503 unavailable.introspection'],
    ])('INT-16 are good for a minute, by a clock that is the same: %s', async (_what, offset, expected) => {
      says = (response, one) => {
        const build = signed({}, { iat: clock.now() + offset });
        if (typeof build === 'function') build(response, one);
      };
      expect(await ask(make({ signed: true }, { clockTolerance: 0 }))).toBe(expected);
    });

    it.each([1, 4, 30])('INT-16 may come late, in another second than the request was made in: %i s', async (seconds) => {
      says = (response, one) => {
        clock.advance(seconds);
        const build = signed();
        if (typeof build === 'function') build(response, one);
      };
      expect(await ask(make({ signed: true, timeout: 30 }, { clockTolerance: 0 }))).toBe('granted');
    });

    it('INT-16 may be for the identifier of the resource', async () => {
      says = signed({}, { aud: [AUDIENCE] });
      expect(await ask(make({ signed: true }))).toBe('granted');
    });

    it.each<[string, () => Says | Promise<Says>]>([
      ['another typ', () => signed({ typ: 'JWT' })],
      ['no typ', () => signed({ typ: undefined })],
      ['the typ of an access token', () => signed({ typ: 'at+jwt' })],
      ['another issuer', () => signed({}, { iss: 'https://other.example' })],
      ['no issuer', () => signed({}, { iss: undefined })],
      ['another audience', () => signed({}, { aud: 'somebody' })],
      ['no audience', () => signed({}, { aud: undefined })],
      ['no iat', () => signed({}, { iat: undefined })],
      ['one of an hour ago, which somebody has kept', () => signed({}, { iat: clock.now() - 3600 })],
      ['one of the future', () => signed({}, { iat: clock.now() + 3600 })],
      ['members at the top', () => signed({}, { ...active(), token_introspection: undefined })],
      ['members of another type', () => signed({}, { token_introspection: [active()] })],
      ['alg none', () => signed({ alg: 'none' })],
      ['a key of somebody else', async () => signed({}, {}, await generateSigningKey('ES256', issuer.keys[0]?.kid))],
      ['an unknown key', async () => signed({}, {}, await generateSigningKey('ES256', 'unknown'))],
      ['no JWT', () => (response) => response.writeHead(200, { 'content-type': 'application/token-introspection+jwt' }).end('x')],
      ['another media type', () => signed({}, {}, undefined, 'application/jwt')],
    ])('INT-16 fail closed: %s', async (_what, build) => {
      says = await build();
      expect(await ask(make({ signed: true }))).toBe('503 unavailable.introspection');
    });

    it('INT-16 by a key that took the place of another of the same kid are verified once the keys are due', async () => {
      says = signed();
      const resource = make({ signed: true });
      expect(await ask(resource, 'opaque-1')).toBe('granted');
      issuer.keys.splice(0, 1, await generateSigningKey('ES256', issuer.keys[0]?.kid));
      clock.advance(30);
      expect(await ask(resource, 'opaque-2')).toBe('granted');
    });

    it('INT-17 a plain answer is refused where a signed one was asked for', async () => {
      expect(await ask(make({ signed: true }))).toBe('503 unavailable.introspection');
    });

    it('INT-17 and a signed one where a plain one was', async () => {
      says = signed();
      expect(await ask(make())).toBe('503 unavailable.introspection');
    });

    it('INT-18 one is no access token', async () => {
      const claims = { aud: AUDIENCE, token_introspection: active() };
      expect(await ask(make({ signed: true }), await issuer.token(claims, { typ: 'token-introspection+jwt' }))).toBe('401 token.typ');
      expect(await ask(make(), vectors.decode_only['rfc9701-introspection-jwt'].compact)).toMatch(/^401 token\./);
      expect(asked).toEqual([]);
    });

    it('revokeKey() also revokes what was remembered from answers that the key signed', async () => {
      const { calculateJwkThumbprint } = await import('jose');
      says = signed();
      const resource = make({ signed: true });
      expect(await ask(resource)).toBe('granted');
      resource.revokeKey(await calculateJwkThumbprint(issuer.keys[0]?.publicJwk ?? {}));
      expect(await ask(resource)).toMatch(/^503 /);
    });
  });

  describe('Several issuers', () => {
    it('a token that is no JWT goes to the one that is asked, never to several', async () => {
      const other = await startIssuer({ now: clock.now });
      const resource = make({}, { issuer: [other.url, { issuer: issuer.url, introspection: SECRET }], introspection: undefined as never });
      expect(await ask(resource)).toBe('granted');
      expect(other.requests).toEqual([]);
      expect(() =>
        make(
          {},
          {
            issuer: [
              { issuer: other.url, introspection: SECRET },
              { issuer: issuer.url, introspection: SECRET },
            ],
            introspection: undefined as never,
          },
        ),
      ).toThrow(/- issuerFor: is missing/);
      await other.close();
    });

    it('with issuerFor it goes to the selected one alone', async () => {
      const other = await startIssuer({ now: clock.now });
      const resource = make(
        {},
        {
          issuer: [{ issuer: other.url, introspection: SECRET }, { issuer: issuer.url, introspection: SECRET }, 'https://third.example'],
          issuerFor: ({ target }) => ({ '/r': issuer.url, '/third': 'https://third.example' })[target],
          introspection: undefined as never,
        },
      );
      expect(await ask(resource)).toBe('granted');
      expect(reasonOf(await verify(resource, 'opaque', 'Bearer', undefined, '/third'))).toBe('401 token.not_jwt');
      expect(reasonOf(await verify(resource, 'opaque', 'Bearer', undefined, '/x'))).toBe('401 token.tenant');
      expect(other.requests).toEqual([]);
      await other.close();
    });
  });

  describe('Options', () => {
    it.each<[string, object]>([
      ['introspection', { introspection: true }],
      ['introspection.clientId', { introspection: { authentication: SECRET.authentication } }],
      ['introspection.authentication', { introspection: { clientId: 'api' } }],
      ['introspection.authentication.method', { introspection: { clientId: 'api', authentication: { method: 'none' } } }],
      ['introspection.authentication.secret', { introspection: { clientId: 'api', authentication: { method: 'client_secret_post' } } }],
      [
        'introspection.authentication.key',
        { introspection: { clientId: 'api', authentication: { method: 'private_key_jwt', key: { kty: 'EC' } } } },
      ],
      ['introspection.fetch', { introspection: { clientId: 'api', authentication: { method: 'tls_client_auth' } } }],
      ['introspection.mode', { introspection: { ...SECRET, mode: 'never' } }],
      ['introspection.timeout', { introspection: { ...SECRET, timeout: 0 } }],
      ['introspection.breaker.failures', { introspection: { ...SECRET, breaker: { failures: 0 } } }],
      ['introspection.secret', { introspection: { ...SECRET, secret: 'hunter2' } }],
    ])('%s is refused by name', (name, more) => {
      const options = { issuer: issuer.url, audience: AUDIENCE, ...more } as unknown as ProtectedResourceOptions;
      expect(() => protectedResource(options)).toThrow(new RegExp(`- ${name.replaceAll('.', '\\.')}: `));
    });

    it('a secret in the wrong place is not repeated', () => {
      const authentication = { method: 'private_key_jwt', key: 'hunter2-hunter2' };
      const options = { issuer: issuer.url, audience: AUDIENCE, introspection: { clientId: 7, authentication } } as never;
      expect(() => protectedResource(options)).toThrow(/^(?![\s\S]*hunter2)/);
    });
  });
});
