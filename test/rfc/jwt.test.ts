import { X509Certificate } from 'node:crypto';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { CompactEncrypt, calculateJwkThumbprint, exportSPKI } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { certificateOf } from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import {
  base64url,
  generateSigningKey,
  hmac,
  jwtOfSegments,
  nonCanonical,
  rawJwt,
  type SigningKeyPair,
  unsignedJwt,
} from '@holdfast/test-support/jwt';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { type Api, AUDIENCE, GRANTED, NOW, startApi, verdictOf } from './api.ts';

/** The verdict for a token that is refused for this reason. */
const refused = (reason: string): string => `401 | Bearer invalid_token | ${reason}`;

describe('JWT: access tokens (RFC 9068 §4, RFC 8725)', () => {
  let api: Api;
  let key: SigningKeyPair;
  const ask = async (claims?: object, header?: object): Promise<string> =>
    verdictOf(await api.ask(`Bearer ${await api.issuer.token(claims, header)}`));
  const askRaw = async (token: string): Promise<string> => verdictOf(await api.ask(`Bearer ${token}`));
  const claims = (more: object = {}): object => ({ iss: api.issuer.url, aud: AUDIENCE, sub: 'user-1', exp: NOW + 300, ...more });
  const header = (more: object = {}): object => ({ typ: 'at+jwt', alg: 'ES256', kid: key.kid, ...more });

  beforeAll(async () => {
    api = await startApi({ clockTolerance: 10 });
    key = api.issuer.keys[0] ?? (await api.issuer.addKey('ES256'));
  });
  afterAll(() => api.close());

  describe('The header', () => {
    it.each(['at+jwt', 'application/at+jwt'])('JWT-01 typ %j says that this is an access token', async (typ) => {
      expect(await ask({}, { typ })).toBe(GRANTED);
    });

    it.each(['at+JWT', 'AT+JWT', 'Application/AT+JWT', 'APPLICATION/at+jwt'])(
      'JWT-02 typ is a media type, in any case: %j',
      async (typ) => {
        expect(await ask({}, { typ })).toBe(GRANTED);
      },
    );

    it.each([
      ['JWT'],
      [undefined],
      ['dpop+jwt'],
      ['id_token'],
      ['id+jwt'],
      ['application/jwt'],
      ['application/application/at+jwt'],
      ['text/at+jwt'],
      ['at+jwt '],
      [' at+jwt'],
      ['at+jwt;v=1'],
      ['at+jwts'],
      ['xat+jwt'],
      ['at jwt'],
      [''],
      [null],
      [['at+jwt']],
      [{ 0: 'at+jwt' }],
      [1],
      [true],
    ])('JWT-01 JWT-03 any other typ is refused, and there is no default that takes JWT: %j', async (typ) => {
      expect(await ask({}, { typ })).toBe(refused('token.typ'));
    });

    it('JWT-07 alg none: RFC 7519 §6.1', async () => {
      expect(await askRaw(vectors.jws['rfc7519-6.1-none'].compact)).toBe(refused('token.algorithm'));
    });

    it.each(['none', 'None', 'NONE', 'nOnE'])('JWT-07 alg %j, with and without a signature', async (alg) => {
      expect(await askRaw(unsignedJwt(header({ alg }), claims()))).toBe(refused('token.algorithm'));
      expect(await askRaw(unsignedJwt(header({ alg }), claims(), 'AAAA'))).toBe(refused('token.algorithm'));
      expect(await askRaw(rawJwt(JSON.stringify(header({ alg })), JSON.stringify(claims()), key))).toBe(refused('token.algorithm'));
    });

    it.each([
      [undefined],
      [null],
      [''],
      ['ES256 '],
      ['es256'],
      [['ES256']],
      [{ toString: 'ES256' }],
      [256],
      ['__proto__'],
      ['constructor'],
    ])('JWT-07 JWT-15 alg that is no name on the list: %j', async (alg) => {
      expect(await ask({}, { alg })).toBe(refused('token.algorithm'));
    });

    it('JWT-07 the empty signature verifies with no algorithm', async () => {
      expect(await askRaw(unsignedJwt(header(), claims()))).toBe(refused('token.signature'));
    });

    it.each([[['x']], [[]], ['x'], [['exp']], [['b64']], [['crit']], [null], [{}], [0], [false]])('JWT-19 crit %j', async (crit) => {
      expect(await ask({}, { crit, exp: 1, x: 1 })).toBe(refused('token.critical_extension'));
      expect(await ask({}, { crit, b64: true })).toBe(refused('token.critical_extension'));
    });

    it('JWT-19 b64: false without crit changes nothing: the payload is base64url all the same', async () => {
      expect(await ask({}, { b64: false })).toBe(GRANTED);
    });
  });

  describe('The claims', () => {
    it.each([
      ['a final slash', (iss: string) => `${iss}/`],
      ['upper case', (iss: string) => iss.toUpperCase()],
      ['the scheme in upper case', (iss: string) => iss.replace('http', 'HTTP')],
      ['another name of the host', (iss: string) => iss.replace('127.0.0.1', 'localhost')],
      ['another spelling of the host', (iss: string) => iss.replace('127.0.0.1', '127.1')],
      ['another port', (iss: string) => iss.replace(/\d+$/, '443')],
      ['no port', (iss: string) => iss.replace(/:\d+$/, '')],
      ['a path', (iss: string) => `${iss}/realms/x`],
      ['a dot segment', (iss: string) => `${iss}/.`],
      ['a query', (iss: string) => `${iss}?`],
      ['a fragment', (iss: string) => `${iss}#`],
      ['credentials', (iss: string) => iss.replace('//', '//user@')],
      ['a space', (iss: string) => `${iss} `],
      ['more behind it', (iss: string) => `${iss}.evil.example`],
      ['nothing', () => ''],
      ['a list', (iss: string) => [iss]],
      ['null', () => null],
      ['missing', () => undefined],
    ])('JWT-04 iss is compared exactly: %s', async (_how, change) => {
      expect(await ask({ iss: change(api.issuer.url) })).toBe(refused('token.issuer'));
    });

    it.each([[AUDIENCE], [[AUDIENCE]], [['x', AUDIENCE]], [[AUDIENCE, 'x', AUDIENCE]]])(
      'JWT-05 aud %j contains this resource',
      async (aud) => {
        expect(await ask({ aud })).toBe(GRANTED);
      },
    );

    it.each([
      [undefined],
      ['https://other.example.com'],
      [`${AUDIENCE}.evil`],
      [`${AUDIENCE}/`],
      [`${AUDIENCE}:443`],
      [` ${AUDIENCE}`],
      [AUDIENCE.toUpperCase()],
      ['https://RS.example.com'],
      ['rs.example.com'],
      [''],
      [[]],
      [['x']],
      [[[AUDIENCE]]],
      [[`x ${AUDIENCE}`]],
      [`${AUDIENCE} x`],
      [{}],
      [{ 0: AUDIENCE, length: 1 }],
      [{ [AUDIENCE]: true }],
      [null],
      [true],
    ])('JWT-05 aud %j does not', async (aud) => {
      expect(await ask({ aud })).toBe(refused('token.audience'));
    });

    it('JWT-05 aud with something beside this resource that is no string', async () => {
      expect(await ask({ aud: [AUDIENCE, 1] })).toBe(refused('token.claim'));
    });

    it('JWT-05 one of several identifiers of the resource is enough', async () => {
      const several = await startApi({ issuedBy: api.issuer, audience: [AUDIENCE, 'urn:rs'] });
      const verdict = async (aud: unknown): Promise<string> => verdictOf(await several.ask(`Bearer ${await api.issuer.token({ aud })}`));
      expect([await verdict('urn:rs'), await verdict(AUDIENCE), await verdict(['x', 'urn:rs']), await verdict('urn')]).toEqual([
        GRANTED,
        GRANTED,
        GRANTED,
        refused('token.audience'),
      ]);
      await several.close();
    });

    it.each([
      [-1, refused('token.expired')],
      [0, refused('token.expired')],
      [1, GRANTED],
    ])('JWT-08 exp = now %i without tolerance', async (seconds, verdict) => {
      const exact = await startApi({ issuedBy: api.issuer, clockTolerance: 0 });
      expect(verdictOf(await exact.ask(`Bearer ${await api.issuer.token({ exp: NOW + seconds })}`))).toBe(verdict);
      await exact.close();
    });

    it.each([
      [9, GRANTED],
      [10, GRANTED],
      [11, refused('token.not_yet_valid')],
      [61, refused('token.not_yet_valid')],
      [120, refused('token.not_yet_valid')],
    ])('JWT-09 JWT-10 nbf and iat %i s ahead, with a tolerance of 10 s', async (seconds, verdict) => {
      expect(await ask({ nbf: NOW + seconds })).toBe(verdict);
      expect(await ask({ iat: NOW + seconds })).toBe(verdict);
    });

    it('JWT-10 by default 5 s', async () => {
      const usual = await startApi({ issuedBy: api.issuer });
      const verdict = async (more: object): Promise<string> => verdictOf(await usual.ask(`Bearer ${await api.issuer.token(more)}`));
      expect([await verdict({ iat: NOW + 5 }), await verdict({ nbf: NOW + 5 }), await verdict({ exp: NOW - 4 })]).toEqual([
        GRANTED,
        GRANTED,
        GRANTED,
      ]);
      expect([await verdict({ iat: NOW + 6 }), await verdict({ nbf: NOW + 6 }), await verdict({ exp: NOW - 5 })]).toEqual([
        refused('token.not_yet_valid'),
        refused('token.not_yet_valid'),
        refused('token.expired'),
      ]);
      await usual.close();
    });

    it.each([
      [-59, GRANTED],
      [-60, refused('token.expired')],
      [-61, refused('token.expired')],
    ])('JWT-28 exp = now %i s with the largest tolerance, 60 s', async (seconds, verdict) => {
      const lax = await startApi({ issuedBy: api.issuer, clockTolerance: 60 });
      expect(verdictOf(await lax.ask(`Bearer ${await api.issuer.token({ exp: NOW + seconds })}`))).toBe(verdict);
      await lax.close();
    });

    it('JWT-28 a clock that is set back brings no token back to life', async () => {
      const set = await startApi({ issuedBy: api.issuer, cache: false });
      const token = await api.issuer.token();
      set.clock.advance(400);
      expect(verdictOf(await set.ask(`Bearer ${token}`))).toBe(refused('token.expired'));
      set.clock.set(NOW);
      expect(verdictOf(await set.ask(`Bearer ${token}`))).toBe(refused('token.expired'));
      await set.close();
    });

    it('JWT-28 a clock that falls behind what it has said is a warning, once, where it is more than the tolerance', async () => {
      const heard: string[] = [];
      const listener = (warning: Error): void => void (warning.name === 'HoldfastWarning' && heard.push(warning.message));
      process.on('warning', listener);
      const set = await startApi({ issuedBy: api.issuer });
      const counts: number[] = [];
      for (const seconds of [100, 95, 500, 100, 99]) {
        set.clock.set(NOW + seconds);
        await set.ask('Bearer a');
        await new Promise(setImmediate);
        counts.push(heard.length);
      }
      process.off('warning', listener);
      expect(counts).toEqual([0, 0, 0, 1, 1]);
      expect(heard).toEqual([expect.stringMatching(/^now: the clock is 400 s behind .*restart the process/)]);
      await set.close();
    });

    it.each(['iss', 'exp', 'aud'])('JWT-08 JWT-11 %s is always required', async (name) => {
      expect(await ask({ [name]: undefined })).toMatch(/^401 \| Bearer invalid_token \| token\.(?:issuer|audience|claim)$/);
    });

    it.each(['sub', 'client_id', 'iat', 'jti'])("JWT-11 %s by profiles: ['rfc9068'] only", async (name) => {
      const strict = await startApi({ issuedBy: api.issuer, profiles: ['rfc9068'] });
      const token = await api.issuer.token({ [name]: undefined });
      expect(verdictOf(await strict.ask(`Bearer ${token}`))).toBe(refused('token.claim'));
      expect(strict.events[0]).toMatchObject({ detail: name });
      expect(verdictOf(await strict.ask(`Bearer ${await api.issuer.token()}`))).toBe(GRANTED);
      expect(await askRaw(token)).toBe(GRANTED);
      await strict.close();
    });

    it.each(['iss', 'exp', 'aud'])("JWT-11 with profiles: ['rfc9068'] %s is required as before", async (name) => {
      const strict = await startApi({ issuedBy: api.issuer, profiles: ['rfc9068'] });
      const answer = await strict.ask(`Bearer ${await api.issuer.token({ [name]: undefined })}`);
      expect([answer.status, answer.challenges[0]?.parameters['error'], answer.access]).toEqual([401, 'invalid_token', undefined]);
      await strict.close();
    });

    const types: [string, unknown[]][] = [
      ['exp', ['1', `${NOW + 300}`, null, [], {}, true]],
      ['nbf', ['1', null, [], {}, false]],
      ['iat', ['1', null, [], {}, false]],
      ['sub', [1, null, [], {}, true, ['user-1']]],
      ['client_id', [1, null, ['c'], {}]],
      ['jti', [1, null, ['j'], {}]],
      ['scope', [1, null, {}, true, [1], ['read', null], [['read']]]],
      ['scp', [1, null, {}, true, [1], ['read', null], [['read']]]],
    ];
    it.each(types.flatMap(([name, values]) => values.map((value) => [name, value] as const)))(
      'JWT-11 a claim of the wrong type: %s %j',
      async (name, value) => {
        expect(await ask({ [name]: value })).toBe(refused('token.claim'));
      },
    );

    it.each([
      ['exp', NOW + 10.5],
      ['exp', NOW + 0.25],
      ['nbf', NOW - 0.5],
      ['iat', NOW - 10.75],
    ])('JWT-12 a date may have a fraction: %s %d', async (name, value) => {
      expect(await ask({ [name]: value })).toBe(GRANTED);
    });

    it.each([
      ['exp', '1e400'],
      ['exp', '99999999999999999999999999e999'],
      ['nbf', '-1e400'],
      ['iat', '-1e400'],
    ])('JWT-12 but has to be finite: %s %s', async (name, value) => {
      const { [name]: _, ...others } = claims() as Record<string, unknown>;
      const payload = `${JSON.stringify(others).slice(0, -1)},"${name}":${value}${name === 'exp' ? '' : `,"exp":${NOW + 300}`}}`;
      expect(await askRaw(rawJwt(JSON.stringify(header()), payload, key))).toBe(refused('token.claim'));
    });

    it.each(['exp', 'iat'])('JWT-12 a date far beyond what a Date can hold is a number like others: %s', async (name) => {
      expect(await ask({ [name]: 1e300 })).toBe(name === 'exp' ? GRANTED : refused('token.not_yet_valid'));
      expect(await ask({ [name]: -1e300 })).toBe(name === 'exp' ? refused('token.expired') : GRANTED);
    });

    it('JWT-24 a client that acts for itself: sub and client_id stay apart, as they are', async () => {
      const answer = await api.ask(`Bearer ${await api.issuer.token({ sub: 'client-1', client_id: 'client-1' })}`);
      expect(answer.access?.claims).toMatchObject({ sub: 'client-1', client_id: 'client-1' });
      const without = await api.ask(`Bearer ${await api.issuer.token({ sub: undefined, client_id: 'client-1' })}`);
      expect([without.access?.claims.sub, without.access?.claims.client_id]).toEqual([undefined, 'client-1']);
    });

    it.each([
      [{ scope: 'read' }],
      [{ scope: 'write read' }],
      [{ scope: 'read write' }],
      [{ scope: ['write', 'read'] }],
      [{ scope: undefined, scp: 'write read' }],
      [{ scope: undefined, scp: ['read'] }],
      [{ scope: 'write', scp: ['read'] }],
    ])('JWT-26 %j has the scope read', async (scopes) => {
      const answer = await api.ask(`Bearer ${await api.issuer.token(scopes)}`, { target: '/read' });
      expect(answer.status).toBe(200);
    });

    it.each([
      [{ scope: 'Read' }],
      [{ scope: 'READ' }],
      [{ scope: 'reader' }],
      [{ scope: 'read:all' }],
      [{ scope: 'read,write' }],
      [{ scope: 'write\tread' }],
      [{ scope: '' }],
      [{ scope: [] }],
      [{ scope: ['write read'] }],
      [{ scope: undefined }],
      [{ scope: undefined, scopes: 'read', permissions: ['read'] }],
    ])('JWT-25 JWT-26 %j has not: 403 insufficient_scope, request by request', async (scopes) => {
      const answer = await api.ask(`Bearer ${await api.issuer.token(scopes)}`, { target: '/read' });
      expect(verdictOf(answer)).toBe('403 | Bearer insufficient_scope | scope.insufficient');
      expect(answer.challenges[0]?.parameters['scope']).toBe('read');
    });
  });

  describe('The form', () => {
    const text = (value: unknown): string => JSON.stringify(value);

    it('JWT-13 an encrypted token, where nothing to decrypt it is configured', async () => {
      const inner = await api.issuer.token();
      const jwe = await new CompactEncrypt(new TextEncoder().encode(inner))
        .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', typ: 'at+jwt', cty: 'JWT' })
        .encrypt(new Uint8Array(32));
      expect(await askRaw(jwe)).toBe(refused('token.encrypted'));
      expect(await askRaw('a.b.c.d.e')).toBe(refused('token.encrypted'));
    });

    it.each([
      ['UTF-16, little-endian', () => Buffer.from(text(claims()), 'utf16le')],
      ['UTF-16, with its mark', () => Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text(claims()), 'utf16le')])],
      [
        'bytes that are no UTF-8, in a claim',
        () => Buffer.concat([Buffer.from(text(claims()).slice(0, -1)), Buffer.from(',"x":"\xff\xfe"}', 'latin1')]),
      ],
      ['Latin-1', () => Buffer.from(text(claims({ name: 'Zoë' })), 'latin1')],
      [
        'surrogates written as UTF-8',
        () => Buffer.concat([Buffer.from(text(claims()).slice(0, -1)), Buffer.from(',"x":"\xed\xa0\x80"}', 'latin1')]),
      ],
      ['no JSON', () => Buffer.from('sub=user-1')],
      ['JSON and more', () => Buffer.from(`${text(claims())}x`)],
      ['two objects', () => Buffer.from(text(claims()).repeat(2))],
      ['JSON with a comment', () => Buffer.from(`${text(claims())}//`)],
      ['nothing', () => Buffer.alloc(0)],
      ['an array', () => Buffer.from(text([claims()]))],
      ['a string', () => Buffer.from(text(text(claims())))],
      ['a number', () => Buffer.from('1')],
      ['null', () => Buffer.from('null')],
    ])('JWT-20 the payload is a JSON object in UTF-8: not %s', async (_what, payload) => {
      expect(await askRaw(rawJwt(text(header()), payload(), key))).toBe(refused('token.malformed'));
    });

    it.each(['[]', '"at+jwt"', 'null', '1', '', '{', '{"alg":"ES256"', '\ufeff\ufeff{}', '{"alg":"ES256"}{}'])(
      'JWT-20 and so is the header: not %j',
      async (head) => {
        expect(await askRaw(rawJwt(head, text(claims()), key))).toBe(refused('token.malformed'));
      },
    );

    it.each([
      ['padding', (h: string, p: string, s: string) => `${h}.${p}.${s}==`, 'token.malformed'],
      ['a segment more', (h: string, p: string, s: string) => `${h}.${p}.${s}.`, 'token.not_jwt'],
      ['a segment before', (h: string, p: string, s: string) => `.${h}.${p}.${s}`, 'token.not_jwt'],
      ['a segment less', (h: string, p: string) => `${h}.${p}`, 'token.not_jwt'],
      ['only the payload', (_h: string, p: string) => p, 'token.not_jwt'],
      ['dots alone', () => '..', 'token.malformed'],
      ['a character of plain base64, +', (h: string, p: string, s: string) => `${h}.${p}.${s}+abc`, 'token.malformed'],
      ['a character of plain base64, /', (h: string, p: string, s: string) => `${h}.${p}.${s}/abc`, 'token.malformed'],
      ['a tilde', (h: string, p: string, s: string) => `${h}.~${p}.${s}`, 'token.malformed'],
      ['a character that is no byte', (h: string, p: string, s: string) => `${h}.${p}.${s.slice(0, -1)}`, 'token.malformed'],
      ['bits that nobody reads', (h: string, p: string, s: string) => `${h}.${p}.${nonCanonical(s)}`, 'token.malformed'],
    ])('JWT-20 a genuine token with %s is none', async (_what, change, reason) => {
      const [h = '', p = '', s = ''] = (await api.issuer.token()).split('.');
      expect(await askRaw(change(h, p, s))).toBe(refused(reason));
    });

    it('JWT-20 a header or payload in another spelling of its bytes is refused although it was signed so', async () => {
      const open = (value: string): string => (value.length % 3 === 0 ? `${value} ` : value);
      const [h, p] = [base64url(open(text(header()))), base64url(open(text(claims())))];
      expect(await askRaw(jwtOfSegments(h, p, key))).toBe(GRANTED);
      expect(await askRaw(jwtOfSegments(nonCanonical(h), p, key))).toBe(refused('token.malformed'));
      expect(await askRaw(jwtOfSegments(h, nonCanonical(p), key))).toBe(refused('token.malformed'));
    });

    it('JWT-20 a JWS in its JSON serialization is not even a token68', async () => {
      const [h = '', p = '', s = ''] = (await api.issuer.token()).split('.');
      const malformed = '400 | Bearer invalid_request | request.malformed_authorization';
      expect(await askRaw(text({ payload: p, protected: h, signature: s }))).toBe(malformed);
      expect(await askRaw(text({ payload: p, signatures: [{ protected: h, signature: s }] }))).toBe(malformed);
      expect(await askRaw(base64url(text({ payload: p, protected: h, signature: s })))).toBe(refused('token.not_jwt'));
    });

    it('JWT-21 of repeated members the last counts, for every reader and every time', async () => {
      const head = (first: string, second: string): string => `{"typ":"at+jwt","kid":"${key.kid}","alg":"${first}","alg":"${second}"}`;
      for (let time = 0; time < 3; time += 1) {
        expect(await askRaw(rawJwt(head('none', 'ES256'), text(claims()), key))).toBe(GRANTED);
        expect(await askRaw(rawJwt(head('ES256', 'none'), text(claims()), key))).toBe(refused('token.algorithm'));
        expect(await askRaw(rawJwt(head('none', 'ES256'), text(claims())))).toBe(refused('token.signature'));
      }
    });

    it('JWT-21 for claims too: the one that is judged is the one that is handed on', async () => {
      const twice = (name: string, first: unknown, second: unknown): string => {
        const { [name]: _, ...others } = claims() as Record<string, unknown>;
        return rawJwt(text(header()), `{"${name}":${text(first)},${text(others).slice(1, -1)},"${name}":${text(second)}}`, key);
      };
      expect(await askRaw(twice('iss', 'https://evil.example', api.issuer.url))).toBe(GRANTED);
      expect(await askRaw(twice('iss', api.issuer.url, 'https://evil.example'))).toBe(refused('token.issuer'));
      expect(await askRaw(twice('aud', AUDIENCE, 'x'))).toBe(refused('token.audience'));
      expect(await askRaw(twice('exp', NOW + 300, NOW - 300))).toBe(refused('token.expired'));
      const answer = await api.ask(`Bearer ${twice('sub', 'first', 'second')}`);
      expect(answer.access?.claims.sub).toBe('second');
    });

    it('JWT-21 a member __proto__ gives nothing to the object it stands in', async () => {
      const inherit = `{"__proto__":{"iss":"${api.issuer.url}","aud":"${AUDIENCE}","exp":${NOW + 300}}}`;
      expect(await askRaw(rawJwt(text(header()), inherit, key))).toBe(refused('token.issuer'));
      const audience = `{"iss":"${api.issuer.url}","__proto__":{"aud":"${AUDIENCE}"},"exp":${NOW + 300}}`;
      expect(await askRaw(rawJwt(text(header()), audience, key))).toBe(refused('token.audience'));
      expect(await askRaw(rawJwt(`{"__proto__":{"alg":"ES256","typ":"at+jwt"}}`, text(claims()), key))).toBe(refused('token.algorithm'));
    });

    it.each([
      ['introspection JWT, RFC 9701 §5', vectors.decode_only['rfc9701-introspection-jwt'].compact],
      ['access token without typ, RFC 9449 Figure 8', vectors.decode_only['rfc9449-fig8-access-token'].compact],
      ['JWS without typ, RFC 7515 A.3', vectors.jws['rfc7515-A3-es256'].compact],
      ['DPoP proof, RFC 9449 Figure 13', vectors.rfc9449_dpop_proofs['fig13-protected-resource-proof'].compact],
      ['workload identity token', vectors.wimse_wpt.example.wit],
      ['workload proof token', vectors.wimse_wpt.example.wpt],
    ])('JWT-22 NEW-04 another kind of JWT is no access token: %s', async (_what, jwt) => {
      expect(await askRaw(jwt)).toBe(refused('token.typ'));
    });

    it.each([
      ['ID token', 'JWT', { nonce: 'n', at_hash: 'x' }],
      ['ID token without typ', undefined, { nonce: 'n' }],
      ['introspection JWT', 'token-introspection+jwt', { token_introspection: { active: true }, active: true }],
      ['logout token', 'logout+jwt', { events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }],
      ['security event', 'secevent+jwt', {}],
      ['DPoP proof', 'dpop+jwt', { htm: 'GET', htu: AUDIENCE }],
      ['request object', 'oauth-authz-req+jwt', {}],
      ['client assertion', 'JWT', {}],
    ])('JWT-22 nor is one that the same server signed: %s', async (_what, typ, more) => {
      expect(await ask(more, { typ })).toBe(refused('token.typ'));
    });
  });

  describe('The key', () => {
    let other: Issuer;
    beforeAll(async () => {
      other = await startIssuer({ now: createClock(NOW).now });
    });
    afterAll(() => other.close());

    it('JWT-06 a key that nobody knows', async () => {
      const unknown = await generateSigningKey('ES256', 'unknown');
      expect(await askRaw(await api.issuer.token({}, {}, { key: unknown }))).toBe(refused('token.unknown_key'));
    });

    it('JWT-06 JWT-23 another issuer, with its own key, is nobody here', async () => {
      expect(await askRaw(await other.token())).toBe(refused('token.issuer'));
    });

    it('JWT-06 JWT-23 the key of another issuer does not sign for this one, under no kid', async () => {
      const [foreign] = other.keys;
      expect(await askRaw(await other.token({ iss: api.issuer.url }))).toBe(refused('token.unknown_key'));
      expect(await askRaw(await other.token({ iss: api.issuer.url }, { kid: key.kid }))).toBe(refused('token.signature'));
      expect(await askRaw(await other.token({ iss: api.issuer.url }, { kid: undefined }))).toBe(refused('token.signature'));
      // The other way round it is the same.
      const there = await startApi({ issuedBy: other });
      const stolen = await api.issuer.token({ iss: other.url }, { kid: foreign?.kid });
      expect(verdictOf(await there.ask(`Bearer ${stolen}`))).toBe(refused('token.signature'));
      await there.close();
    });

    it('JWT-15 an algorithm that is not on the list is refused before keys are even fetched', async () => {
      const issuer = await startIssuer({ algorithms: ['RS256', 'ES256'], now: createClock(NOW).now });
      const only = await startApi({ issuedBy: issuer, algorithms: ['ES256'] });
      expect(verdictOf(await only.ask(`Bearer ${await issuer.token({}, { alg: 'RS256' })}`))).toBe(refused('token.algorithm'));
      expect(issuer.requests).toEqual([]);
      expect(verdictOf(await only.ask(`Bearer ${await issuer.token({}, { alg: 'ES256' })}`))).toBe(GRANTED);
      expect(issuer.requests).toContain('/jwks');
      await only.close();
      await issuer.close();
    });

    it.each([
      ['typ', async (issuer: Issuer) => issuer.token({}, { typ: 'JWT' })],
      ['crit', async (issuer: Issuer) => issuer.token({}, { crit: ['x'] })],
      ['iss', async (issuer: Issuer) => issuer.token({ iss: 'https://evil.example' })],
      ['form', async () => 'a.b.c'],
    ])('JWT-15 neither are they for what else needs no key to be refused: %s', async (_what, make) => {
      const issuer = await startIssuer({ now: createClock(NOW).now });
      const fresh = await startApi({ issuedBy: issuer });
      const answer = await fresh.ask(`Bearer ${await make(issuer)}`);
      expect([answer.status, issuer.requests]).toEqual([401, []]);
      await fresh.close();
      await issuer.close();
    });

    it('JWT-16 a key whose JWK names an algorithm verifies no other', async () => {
      const rsa = await api.issuer.addKey('RS256');
      const refreshed = await startApi({ issuedBy: api.issuer });
      const verdict = async (alg: string): Promise<string> => {
        const token = await api.issuer.token({}, { alg }, { key: { ...rsa, alg } });
        return verdictOf(await refreshed.ask(`Bearer ${token}`));
      };
      expect(await verdict('RS256')).toBe(GRANTED);
      for (const alg of ['PS256', 'RS384', 'PS384', 'RS512']) expect(await verdict(alg)).toBe(refused('token.unknown_key'));
      api.issuer.removeKey(rsa.kid);
      await refreshed.close();
    });

    it('JWT-16 nor one of another kind', async () => {
      for (const alg of ['RS256', 'PS256', 'ES384', 'EdDSA']) expect(await ask({}, { alg })).toBe(refused('token.unknown_key'));
    });

    it('JWT-17 a MAC with the public key as secret, in whatever form', async () => {
      const publicKey = await exportSPKI(
        await crypto.subtle.importKey('jwk', key.publicJwk as JsonWebKey, { name: 'ECDSA', namedCurve: 'P-256' }, true, ['verify']),
      );
      const der = Buffer.from(publicKey.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
      const secrets = [
        publicKey,
        publicKey.trim(),
        der,
        JSON.stringify(key.publicJwk),
        key.publicJwk.x ?? 'x',
        Buffer.from(key.publicJwk.x ?? '', 'base64url'),
        '',
      ];
      for (const [alg, digest] of [
        ['HS256', 'sha256'],
        ['HS384', 'sha384'],
        ['HS512', 'sha512'],
      ] as const) {
        for (const secret of secrets) {
          expect(await askRaw(rawJwt(JSON.stringify(header({ alg })), JSON.stringify(claims()), hmac(secret, digest)))).toBe(
            refused('token.algorithm'),
          );
        }
      }
      // And such a MAC in the place of the signature that the header names.
      expect(await askRaw(rawJwt(JSON.stringify(header()), JSON.stringify(claims()), hmac(publicKey)))).toBe(refused('token.signature'));
    });

    it('JWT-18 jku and x5u in the header are never followed', async () => {
      let connections = 0;
      const listener = createServer((socket) => {
        connections += 1;
        socket.end();
      });
      listener.listen(0, '127.0.0.1');
      await once(listener, 'listening');
      const address = listener.address();
      const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/jwks`;
      const thief = await generateSigningKey('ES256', 'thief');
      for (const kid of ['thief', key.kid, undefined, url]) {
        const token = await api.issuer.token({}, { kid, jku: url, x5u: url, x5t: 'x', iss: url, 'x5t#S256': 'x' }, { key: thief });
        expect(await askRaw(token)).toMatch(/^401 \| Bearer invalid_token \| token\.(?:unknown_key|signature)$/);
      }
      expect(connections).toBe(0);
      listener.close();
    });

    it('JWT-18 a key that the token brings along is not used', async () => {
      const thief = await generateSigningKey('ES256', 'thief');
      const { derBase64 } = vectors.rfc8705_certificates.appendixA;
      expect(new X509Certificate(Buffer.from(derBase64, 'base64')).subject).toBe('CN=mtls');
      for (const kid of ['thief', key.kid, undefined]) {
        const token = await api.issuer.token(
          {},
          { kid, jwk: thief.publicJwk, x5c: [derBase64], jwks: { keys: [thief.publicJwk] } },
          { key: thief },
        );
        expect(await askRaw(token)).toMatch(/^401 \| Bearer invalid_token \| token\.(?:unknown_key|signature)$/);
      }
      // While one that says nothing about it passes beside such a header.
      expect(await ask({}, { jwk: thief.publicJwk, jku: 'https://evil.example' })).toBe(GRANTED);
    });

    it.each([
      ['../../jwks'],
      ['/dev/null'],
      ["' OR '1'='1"],
      ['__proto__'],
      ['constructor'],
      ['keys'],
      ['0'],
      ['*'],
      [''],
      ['\u0000'],
      ['k'.repeat(5000)],
      [0],
      [null],
      [true],
      [{}],
      [[]],
      [{ $ne: '' }],
    ])('JWT-18 kid %j finds nothing', async (kid) => {
      expect(await ask({}, { kid })).toBe(refused('token.unknown_key'));
    });
  });

  describe('Remembered judgements', () => {
    it('are the same object as long as they hold, and frozen to the bottom', async () => {
      const token = await api.issuer.token({ roles: ['user'], realm_access: { roles: [{ name: 'user' }] }, cnf: undefined });
      const first = (await api.ask(`Bearer ${token}`)).access;
      const second = (await api.ask(`Bearer ${token}`)).access;
      expect(first?.claims).toBeDefined();
      expect(second?.claims).toBe(first?.claims);
      const changed = first?.claims as unknown as {
        sub: string;
        added: boolean;
        roles: string[];
        realm_access: { roles: { name: string }[] };
      };
      expect(() => (changed.sub = 'admin')).toThrow(TypeError);
      expect(() => (changed.added = true)).toThrow(TypeError);
      expect(() => changed.roles.push('admin')).toThrow(TypeError);
      expect(() => changed.realm_access.roles.push({ name: 'admin' })).toThrow(TypeError);
      expect(() => Object.assign(changed.realm_access.roles[0] ?? {}, { name: 'admin' })).toThrow(TypeError);
      expect(() => Object.assign(first ?? {}, { confirmed: true })).toThrow(TypeError);
      expect((await api.ask(`Bearer ${token}`)).access?.claims).toMatchObject({ sub: 'user-1', roles: ['user'] });
    });

    it('end with the token', async () => {
      const timed = await startApi({ issuedBy: api.issuer, clockTolerance: 0, cache: { maxAge: 3600 } });
      const token = await api.issuer.token({ exp: NOW + 100 });
      timed.clock.advance(99);
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(GRANTED);
      timed.clock.advance(1);
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(refused('token.expired'));
      await timed.close();
    });

    it('end exactly where the tolerance ends', async () => {
      const timed = await startApi({ issuedBy: api.issuer, clockTolerance: 60 });
      const token = await api.issuer.token({ exp: NOW + 100 });
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(GRANTED);
      timed.clock.advance(159);
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(GRANTED);
      timed.clock.advance(1);
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(refused('token.expired'));
      await timed.close();
    });

    it('are judged anew after cache.maxAge', async () => {
      const timed = await startApi({ issuedBy: api.issuer, cache: { maxAge: 60 } });
      const token = await api.issuer.token();
      const claimsNow = async (): Promise<unknown> => (await timed.ask(`Bearer ${token}`)).access?.claims;
      const first = await claimsNow();
      timed.clock.advance(59);
      expect(await claimsNow()).toBe(first);
      timed.clock.advance(1);
      const second = await claimsNow();
      expect(second).toEqual(first);
      expect(second).not.toBe(first);
      await timed.close();
    });

    it('do not exist with cache: false', async () => {
      const none = await startApi({ issuedBy: api.issuer, cache: false });
      const token = await api.issuer.token();
      const [first, second] = [(await none.ask(`Bearer ${token}`)).access?.claims, (await none.ask(`Bearer ${token}`)).access?.claims];
      expect(first).toEqual(second);
      expect(first).not.toBe(second);
      expect(Object.isFrozen(first)).toBe(true);
      await none.close();
    });

    it.each([
      ['entries', { entries: 2 }, 0],
      // 700 bytes and its length are what a token is counted with: four of 16,000 characters are over 65,536.
      ['bytes', { bytes: 65_536 }, 11_500],
    ])('give way to newer ones beyond the limit: %s', async (_what, cache, size) => {
      const small = await startApi({ issuedBy: api.issuer, cache });
      const pad = 'a'.repeat(size);
      const tokens = await Promise.all([1, 2, 3, 4, 5].map((number) => api.issuer.token({ number, pad })));
      const judged = async (token: string): Promise<unknown> => (await small.ask(`Bearer ${token}`)).access?.claims;
      const first: unknown[] = [];
      for (const token of tokens) first.push(await judged(token));
      // The last two are still there, the first is not.
      expect(await judged(tokens[4] ?? '')).toBe(first[4]);
      expect(await judged(tokens[3] ?? '')).toBe(first[3]);
      expect(await judged(tokens[0] ?? '')).not.toBe(first[0]);
      await small.close();
    });

    it('are counted with what an entry takes beside its token: as many small ones are kept as fit, and no more', async () => {
      const small = await startApi({ issuedBy: api.issuer, cache: { bytes: 65_536 } });
      const judged = async (token: string): Promise<unknown> => (await small.ask(`Bearer ${token}`)).access?.claims;
      const tokens = await Promise.all(Array.from({ length: 80 }, () => api.issuer.token()));
      const kept = Math.floor(65_536 / (700 + (tokens[0]?.length ?? 0)));
      expect([new Set(tokens.map(({ length }) => length)).size, kept > 10, kept < 79]).toEqual([1, true, true]);
      const first: unknown[] = [];
      for (const token of tokens) first.push(await judged(token));
      expect(await judged(tokens.at(-kept) ?? '')).toBe(first.at(-kept));
      expect(await judged(tokens.at(-kept - 1) ?? '')).not.toBe(first.at(-kept - 1));
      await small.close();
    });

    it('are found by the whole token: the same header and payload with another signature is another token', async () => {
      const token = await api.issuer.token();
      const [h = '', p = '', s = ''] = token.split('.');
      const first = (await api.ask(`Bearer ${token}`)).access?.claims;
      const wrong = Buffer.from(s, 'base64url');
      wrong.writeUInt8(wrong.readUInt8(10) ^ 1, 10);
      expect(await askRaw(`${h}.${p}.${wrong.toString('base64url')}`)).toBe(refused('token.signature'));
      expect(await askRaw(`${h}.${p}.`)).toBe(refused('token.signature'));
      // ECDSA knows a second signature for each: n − s. It verifies, and is judged for itself.
      const order = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
      const bytes = Buffer.from(s, 'base64url');
      const negated = (order - BigInt(`0x${bytes.subarray(32).toString('hex')}`)).toString(16).padStart(64, '0');
      const twin = `${h}.${p}.${Buffer.concat([bytes.subarray(0, 32), Buffer.from(negated, 'hex')]).toString('base64url')}`;
      const second = (await api.ask(`Bearer ${twin}`)).access?.claims;
      expect(second).toEqual(first);
      expect(second).not.toBe(first);
    });

    it('are never of refusals: what becomes right is accepted', async () => {
      const timed = await startApi({ issuedBy: api.issuer });
      const early = await api.issuer.token({ nbf: NOW + 100 });
      expect(verdictOf(await timed.ask(`Bearer ${early}`))).toBe(refused('token.not_yet_valid'));
      timed.clock.advance(100);
      expect(verdictOf(await timed.ask(`Bearer ${early}`))).toBe(GRANTED);

      const late = await generateSigningKey('ES256', 'late');
      const token = await api.issuer.token({}, {}, { key: late });
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(refused('token.unknown_key'));
      api.issuer.keys.push(late);
      timed.clock.advance(30);
      expect(verdictOf(await timed.ask(`Bearer ${token}`))).toBe(GRANTED);
      api.issuer.removeKey('late');
      await timed.close();
    });

    it('never stand for the binding: it is confirmed on every request', async () => {
      const [mine, others] = ['mine', 'others'].map((name) => certificateOf(new TextEncoder().encode(name)));
      let presented = mine;
      const bound = await startApi({ issuedBy: api.issuer, certificate: () => presented });
      const token = await api.issuer.token({ cnf: { 'x5t#S256': mine?.thumbprint } });
      const verdict = async (): Promise<string> => verdictOf(await bound.ask(`Bearer ${token}`));
      expect(await verdict()).toBe(GRANTED);
      presented = others;
      expect(await verdict()).toBe(refused('certificate.mismatch'));
      presented = undefined;
      expect(await verdict()).toBe(refused('certificate.missing'));
      presented = mine;
      expect(await verdict()).toBe(GRANTED);
      await bound.close();
    });

    it('are private to one resource', async () => {
      const token = await api.issuer.token();
      expect(await askRaw(token)).toBe(GRANTED);
      const elsewhere = await startApi({ issuedBy: api.issuer, audience: 'https://elsewhere.example.com' });
      expect(verdictOf(await elsewhere.ask(`Bearer ${token}`))).toBe(refused('token.audience'));
      await elsewhere.close();
    });
  });

  describe('A key that is no longer trusted', () => {
    let issuer: Issuer;
    let mine: Api;
    let old: SigningKeyPair;
    let token: string;
    const verdict = async (jwt: string): Promise<string> => verdictOf(await mine.ask(`Bearer ${jwt}`));
    /** A token by a new key makes the resource look at the keys again, once the cooldown has passed. */
    const notice = async (): Promise<void> => {
      const fresh = await issuer.addKey('ES256');
      mine.clock.advance(30);
      expect(await verdict(await issuer.token({}, {}, { key: fresh }))).toBe(GRANTED);
    };
    const scenario = async (run: () => Promise<void>): Promise<void> => {
      issuer = await startIssuer({ now: createClock(NOW).now });
      mine = await startApi({ issuedBy: issuer });
      old = issuer.keys[0] ?? (await issuer.addKey('ES256'));
      token = await issuer.token({}, {}, { key: old });
      expect(await verdict(token)).toBe(GRANTED);
      await run();
      await mine.close();
      await issuer.close();
    };

    it('takes with it what it signed, remembered or not, once its absence was noticed', () =>
      scenario(async () => {
        issuer.removeKey(old.kid);
        expect(await verdict(token)).toBe(GRANTED);
        await notice();
        expect(await verdict(token)).toBe(refused('token.unknown_key'));
        expect(await verdict(await issuer.token({}, {}, { key: old }))).toBe(refused('token.unknown_key'));
      }));

    it('is known by its thumbprint: under another kid it is still the same key', () =>
      scenario(async () => {
        const before = (await mine.ask(`Bearer ${token}`)).access?.claims;
        issuer.keys[0] = { ...old, kid: 'renamed', publicJwk: { ...old.publicJwk, kid: 'renamed' } };
        await notice();
        const after = await mine.ask(`Bearer ${token}`);
        expect([verdictOf(after), after.access?.claims === before]).toEqual([GRANTED, true]);
      }));

    it('and another key under the same kid is another', () =>
      scenario(async () => {
        issuer.keys[0] = await generateSigningKey('ES256', old.kid);
        await notice();
        expect(await verdict(token)).toBe(refused('token.signature'));
      }));

    it('revokeKey acts at once, on remembered tokens and new ones, and on no other key', () =>
      scenario(async () => {
        const second = await issuer.addKey('ES256');
        mine.clock.advance(30);
        const safe = await issuer.token({}, {}, { key: second });
        expect(await verdict(safe)).toBe(GRANTED);
        mine.middleware.revokeKey(await calculateJwkThumbprint(old.publicJwk));
        expect(await verdict(token)).toBe(refused('token.unknown_key'));
        expect(await verdict(await issuer.token({}, {}, { key: old }))).toBe(refused('token.unknown_key'));
        expect(await verdict(safe)).toBe(GRANTED);
        // It stays revoked though the issuer goes on to publish it.
        await notice();
        expect(await verdict(token)).toBe(refused('token.unknown_key'));
      }));

    it('revokeKey before the keys were fetched, of given keys, and of what is no thumbprint', () =>
      scenario(async () => {
        const thumbprint = await calculateJwkThumbprint(old.publicJwk);
        const early = await startApi({ issuedBy: issuer });
        early.middleware.revokeKey(thumbprint);
        expect(verdictOf(await early.ask(`Bearer ${token}`))).toBe(refused('token.unknown_key'));
        await early.close();
        const given = await startApi({ issuedBy: issuer, keys: { jwks: { keys: [old.publicJwk] } } });
        expect(verdictOf(await given.ask(`Bearer ${token}`))).toBe(GRANTED);
        given.middleware.revokeKey('no thumbprint');
        expect(verdictOf(await given.ask(`Bearer ${token}`))).toBe(GRANTED);
        given.middleware.revokeKey(thumbprint);
        expect(verdictOf(await given.ask(`Bearer ${token}`))).toBe(refused('token.unknown_key'));
        await given.close();
      }));
  });
});
