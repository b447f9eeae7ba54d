import { PresentedToken } from '../../packages/core/src/access-token/extract.ts';
import { createServer } from 'node:http';
import type { ProtectedResourceRequest } from '@holdfast/core';
import { athOf, generateDpopKey, makeProof, privateJwkOf } from '@holdfast/test-support/dpop';
import { base64url, hmac, jwtOfSegments, nonCanonical, rawJwt, unsignedJwt } from '@holdfast/test-support/jwt';
import { listen, stop } from '@holdfast/test-support/loopback';
import { rawRequest } from '@holdfast/test-support/raw-request';
import express from 'express';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { oneRoute, type Resource, startResource } from './resource.ts';

const BAD_PROOF = '401 D:invalid_dpop_proof';
let rs: Resource;
let token: string;

beforeAll(async () => {
  rs = await startResource();
  token = await rs.token();
});
afterAll(() => rs.close());

const header = (changes: object) => rs.present(token, { header: changes }).then(({ outcome }) => outcome);
const claims = (changes: object) => rs.present(token, { claims: changes }).then(({ outcome }) => outcome);
const sent = (proof: string | readonly string[]) => rs.send({ token, proof }).then(({ outcome }) => outcome);
const lastReason = () => rs.events.at(-1)?.reason;

describe('the form of a proof', () => {
  it('EXT-02 accepts a bound token with the DPoP scheme and a proof', async () => {
    const answer = await rs.present(token);
    expect(answer.outcome).toBe('200');
    expect(JSON.parse(answer.body)).toEqual({
      sub: 'user-1',
      scheme: 'DPoP',
      confirmed: true,
      confirmations: [{ member: 'jkt', thumbprint: rs.key.thumbprint }],
    });
  });

  it.each(['dpop', 'DPOP', 'dPoP'])('EXT-03 accepts the scheme as %s', async (scheme) => {
    expect((await rs.present(token, {}, { scheme })).outcome).toBe('200');
  });

  it.each(['dpop', 'DPOP'])('EXT-04 accepts the field name %s', async (name) => {
    expect((await rs.send({ token, lines: [`${name}: ${rs.proof(token)}`] })).outcome).toBe('200');
  });

  it('EXT-05 accepts several spaces after the scheme', async () => {
    expect((await rs.send({ lines: [`Authorization: DPoP   ${token}`], proof: rs.proof(token) })).outcome).toBe('200');
  });

  it('EXT-06, EXT-08 refuse DPoP credentials that are malformed', async () => {
    expect((await rs.send({ lines: [`Authorization: DPoP\t${token}`] })).outcome).toBe('400 D:invalid_request');
    expect((await rs.send({ lines: ['Authorization: DPoP'] })).outcome).toBe('400 D:invalid_request');
  });

  it('EXT-12 answers two Authorization lines with 400, and the error stands in both challenges', async () => {
    const answer = await rs.send({ token, proof: rs.proof(token), lines: [`Authorization: Bearer ${token}`] });
    expect(answer.outcome).toBe('400 BD:invalid_request');
  });

  it('EXT-16, EXT-21 reads no token from a query or a form, with or without a proof', async () => {
    const parsing = await startResource({
      like: rs,
      build: (app, options) => {
        // The form is there to be read.
        app.use(express.urlencoded({ extended: false }));
        oneRoute(app, options);
      },
    });
    const body = `access_token=${token}`;
    const form = { method: 'POST', lines: ['Content-Type: application/x-www-form-urlencoded', `Content-Length: ${body.length}`], body };
    for (const proof of [[], rs.proof(token, { htm: 'POST' })]) {
      expect((await parsing.send({ ...form, proof })).outcome).toBe('401 NONE');
      expect((await parsing.send({ target: `/r?access_token=${token}`, proof })).outcome).toBe('401 NONE');
    }
    // Where a token stands in the field too, it is that alone which counts.
    expect((await parsing.send({ ...form, token, proof: rs.proof(token, { htm: 'POST' }) })).outcome).toBe('200');
    await parsing.close();
    expect((await rs.present(token, {}, { target: '/r?access_token=x' })).outcome).toBe('400 D:invalid_request');
  });

  it('EXT-22 does not read Proxy-Authorization', async () => {
    expect((await rs.send({ lines: [`Proxy-Authorization: DPoP ${token}`], proof: rs.proof(token) })).outcome).toBe('401 NONE');
  });

  it('DPOP-01 refuses the DPoP scheme without a DPoP field', async () => {
    expect((await rs.send({ token })).outcome).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.missing');
  });

  it('DPOP-02 refuses more than one DPoP field, equal ones and joined ones too', async () => {
    const [one, other] = [rs.proof(token), rs.proof(token)];
    expect(await sent([one, other])).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.several');
    expect(await sent([one, one])).toBe(BAD_PROOF);
    expect(await sent(`${one}, ${other}`)).toBe(BAD_PROOF);
    expect(await sent(one)).toBe('200');
  });

  it.each([
    'abc',
    'a.b',
    'a.b.c.d.e',
    '',
    '..',
    '.',
    '{"payload":"e30","signatures":[]}',
    'null',
    'e30.e30.',
    'bnVsbA.bnVsbA.AAAA',
    'W10.W10.AAAA',
  ])('DPOP-03 refuses %j as a proof', async (proof) => {
    expect(await sent(proof)).toBe(BAD_PROOF);
  });

  it.each([
    ...['jti', 'htm', 'htu', 'iat', 'ath'].map((name) => ({ [name]: undefined })),
    { jti: 1 },
    { jti: '' },
    { jti: null },
    { htm: 1 },
    { htm: ['GET'] },
    { htu: [] },
    { htu: null },
    { iat: '1' },
    { iat: null },
    { ath: 1 },
    { ath: [] },
  ])('DPOP-04 refuses a proof with the claims %j', async (changes) => {
    expect(await claims(changes)).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.claim');
  });

  it('DPOP-04 refuses an iat that is no finite number', async () => {
    const text = (iat: string): string => `{"jti":"a","htm":"GET","htu":"https://rs.example.com/r","iat":${iat},"ath":"x"}`;
    for (const iat of ['1e999', '-1e999', '{}', '[1]', 'true']) {
      const proof = rawJwt(JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: rs.key.publicJwk }), text(iat), rs.key);
      expect(await sent(proof)).toBe(BAD_PROOF);
    }
  });

  it.each(['JWT', undefined, 'at+jwt', 'dpop', '', 1, 'dpop+jwt ', 'text/dpop+jwt'])('DPOP-05 refuses typ %j', async (typ) => {
    expect(await header({ typ })).toBe(BAD_PROOF);
  });
  it.each(['dpop+jwt', 'DPoP+JWT', 'application/dpop+jwt', 'Application/DPOP+jwt'])('DPOP-05 accepts typ %s', async (typ) => {
    expect(await header({ typ })).toBe('200');
  });

  it.each(['none', 'HS256', 'ECDH-ES', 'RS256', 'ES256K', 'es256', 'XX', '', undefined, 1, null])(
    'DPOP-06 refuses alg %j and lists those allowed',
    async (alg) => {
      const answer = await rs.present(token, { header: { alg } });
      expect(answer.outcome).toBe(BAD_PROOF);
      const [, dpop] = answer.challenges;
      expect(dpop?.parameters['algs']).toBe('ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519');
    },
  );

  it('DPOP-06 refuses a proof that is signed with none or with HMAC, the published JWS of each kind too', async () => {
    const { key, clock } = rs;
    const unsigned = { typ: 'dpop+jwt', alg: 'none', jwk: key.publicJwk };
    const claimed = { jti: 'n', htm: 'GET', htu: 'https://rs.example.com/r', iat: clock.now(), ath: 'x' };
    expect(await sent(unsignedJwt(unsigned, claimed))).toBe(BAD_PROOF);
    expect(await sent(rs.proof(token, { header: { alg: 'HS256' }, signer: hmac(JSON.stringify(key.publicJwk)) }))).toBe(BAD_PROOF);
    expect(await sent(rs.proof(token, { header: { alg: 'HS256', jwk: { kty: 'oct', k: 'AAAA' } }, signer: hmac(Buffer.alloc(3)) }))).toBe(
      BAD_PROOF,
    );
    for (const { compact } of Object.values(vectors.jws)) expect(await sent(compact)).toBe(BAD_PROOF);
  });

  it('DPOP-07 refuses a signature with a bit flipped, and one by another key than the jwk', async () => {
    const proof = rs.proof(token);
    const [head = '', body = '', signature = ''] = proof.split('.');
    const flipped = Buffer.from(signature, 'base64url');
    for (const at of [0, 31, 32, 63]) {
      flipped[at] = (flipped[at] ?? 0) ^ 1;
      expect(await sent(`${head}.${body}.${base64url(flipped)}`)).toBe(BAD_PROOF);
      expect(lastReason()).toBe('dpop.signature');
      flipped[at] = (flipped[at] ?? 0) ^ 1;
    }
    expect(await sent(rs.proof(token, { signer: await generateDpopKey() }))).toBe(BAD_PROOF);
    expect(await sent(proof)).toBe('200');
  });

  it.each(['ES256', 'Ed25519', 'PS256'])(
    'DPOP-08 refuses a jwk of %s with private members, although the signature is right',
    async (alg) => {
      const key = await generateDpopKey(alg);
      const bound = await rs.token({ cnf: { jkt: key.thumbprint } });
      const secret = await privateJwkOf(key);
      const members = Object.keys(secret).filter((name) => !(name in key.publicJwk) && name !== 'kty');
      expect(members.length).toBeGreaterThan(0);
      for (const name of [...members, 'k', 'oth', 'priv']) {
        const jwk = { ...key.publicJwk, [name]: (secret as Record<string, unknown>)[name] ?? 'AAAA' };
        expect(
          (await rs.send({ token: bound, proof: makeProof({ key, token: bound, iat: rs.clock.now(), header: { jwk } }) })).outcome,
        ).toBe(BAD_PROOF);
        expect(lastReason()).toBe('dpop.private_key');
      }
      expect((await rs.send({ token: bound, proof: makeProof({ key, token: bound, iat: rs.clock.now() }) })).outcome).toBe('200');
    },
  );

  it('DPOP-09 refuses a jwk that is missing, no object, of another kind, or off the curve', async () => {
    const { publicJwk } = rs.key;
    const p384 = await generateDpopKey('ES384');
    const off = vectors.jwk_points['derived-off-curve'].jwk;
    for (const jwk of [
      undefined,
      null,
      [publicJwk],
      JSON.stringify(publicJwk),
      {},
      p384.publicJwk,
      off,
      { ...publicJwk, y: undefined },
      { ...publicJwk, x: 1 },
      { ...publicJwk, kty: 'OKP' },
    ]) {
      const outcome = await header({ jwk });
      expect(outcome).toBe(jwk === off ? '401 D:invalid_token' : BAD_PROOF);
    }
    // A token that is bound to a point off the curve leads as far as the import, and no further.
    const { calculateJwkThumbprint } = await import('jose');
    const bound = await rs.token({ cnf: { jkt: await calculateJwkThumbprint(off) } });
    expect((await rs.present(bound, { header: { jwk: off } })).outcome).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.key');
  });

  it('DPOP-24 ignores header parameters and claims that it does not know', async () => {
    expect(await rs.present(token, { header: { foo: 1 }, claims: { content_digest: 'x' } }).then(({ outcome }) => outcome)).toBe('200');
  });

  it('DPOP-25 refuses crit', async () => {
    for (const crit of [['foo'], ['b64'], [], null]) expect(await header({ crit, b64: false, foo: 1 })).toBe(BAD_PROOF);
  });

  it('DPOP-26 does not follow jku, x5u, or choose the key by kid or x5c', async () => {
    let calls = 0;
    const server = createServer((_request, response) => {
      calls += 1;
      response.end('{"keys":[]}');
    });
    const url = `http://127.0.0.1:${await listen(server)}/jwks`;
    expect(await header({ jku: url, x5u: url, kid: 'other', x5c: ['AAAA'] })).toBe('200');
    expect(await header({ jku: url, x5u: url, jwk: undefined })).toBe(BAD_PROOF);
    await stop(server);
    expect(calls).toBe(0);
  });

  it('DPOP-27 refuses a jwk that is marked for another use or algorithm', async () => {
    const { publicJwk } = rs.key;
    for (const mark of [{ use: 'enc' }, { key_ops: ['sign'] }, { key_ops: [] }, { key_ops: 'verify' }, { alg: 'ES384' }, { alg: 1 }]) {
      expect(await header({ jwk: { ...publicJwk, ...mark } })).toBe(BAD_PROOF);
    }
    expect(await header({ jwk: { ...publicJwk, use: 'sig', alg: 'ES256', key_ops: ['verify'], kid: 'mine' } })).toBe('200');
  });

  it.each(Object.entries(vectors.rfc9449_malleability))(
    'DPOP-34 judges the %s spelling of the published proof',
    async (name, { compact }) => {
      const [, , signature = ''] = compact.split('.');
      const strict = name === 's-negated' ? 'dpop.key_mismatch' : 'dpop.malformed';
      expect(await sent(compact)).toBe(name === 's-negated' ? '401 D:invalid_token' : BAD_PROOF);
      expect(lastReason()).toBe(strict);
      expect(signature).not.toBe('');
    },
  );

  it('DPOP-34 refuses segments that are no canonical base64url', async () => {
    const { key, clock } = rs;
    const parts = rs.proof(token).split('.');
    for (const at of [0, 1, 2]) {
      const padded = parts.map((part, i) => (i === at ? `${part}=` : part)).join('.');
      expect(await sent(padded)).toBe(BAD_PROOF);
    }
    const head = base64url(`${JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.publicJwk })} `);
    const body = base64url(JSON.stringify({ jti: 'canonical', htm: 'GET', htu: 'https://rs.example.com/r', iat: clock.now(), ath: 'x' }));
    for (const [h, b] of [
      [nonCanonicalOf(head), body],
      [head, nonCanonicalOf(body)],
    ]) {
      expect(await sent(jwtOfSegments(h ?? '', b ?? '', key))).toBe(BAD_PROOF);
      expect(lastReason()).toBe('dpop.malformed');
    }
    const [h = '', b = '', s = ''] = parts;
    expect(await sent(`${h}.${b}.${nonCanonical(s)}`)).toBe(BAD_PROOF);
    expect(await sent(parts.map((part) => part.replaceAll('-', '+').replaceAll('_', '/')).join('.'))).toBe(
      parts.some((part) => /[-_]/.test(part)) ? BAD_PROOF : '200',
    );
  });

  it('DPOP-36 refuses white space within a proof', async () => {
    const [h, b, s] = rs.proof(token).split('.');
    for (const gap of [' ', '\t']) {
      for (const proof of [
        `${h}${gap}.${b}.${s}`,
        `${h}.${gap}${b}.${s}`,
        `${h}.${b}.${s?.slice(0, 9)}${gap}${s?.slice(9)}`,
        `${h}.${b}.${gap}${s}`,
      ]) {
        expect(await sent(proof)).toBe(BAD_PROOF);
      }
    }
    expect(await sent(` ${rs.proof(token)}  `)).toBe('200');
  });

  it('DPOP-35 reads UTF-8 only, and JSON objects only', async () => {
    const { key, clock } = rs;
    const head = JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk: key.publicJwk });
    const body = JSON.stringify({ jti: 'in UTF-8', htm: 'GET', htu: 'https://rs.example.com/r', iat: clock.now(), ath: athOf(token) });
    const broken = Buffer.from(body.replace('UTF-8', 'UTF-?'), 'latin1');
    broken[broken.indexOf('?')] = 0xff;
    for (const [first, second] of [
      [`\ufeff${head}`, body],
      [head, `\ufeff${body}`],
      [head, broken],
      [head, '[]'],
      [head, '"x"'],
      [head, `${body} x`],
      ['[]', body],
    ] as const) {
      expect(await sent(rawJwt(first, second, key))).toBe(BAD_PROOF);
      expect(lastReason()).toBe('dpop.malformed');
    }
    expect(await sent(rawJwt(head, body, key))).toBe('200');
  });
});

describe('what a proof is for', () => {
  it.each(['POST', 'get', ' GET', 'GET ', '', 'HEAD'])('DPOP-10 refuses htm %j for GET', async (htm) => {
    expect(await claims({ htm })).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.htm');
  });

  it('DPOP-11 compares with the method on the wire', async () => {
    const override = ['X-HTTP-Method-Override: DELETE', 'X-Method-Override: DELETE', 'Content-Length: 0'];
    expect((await rs.present(token, { htm: 'HEAD' }, { method: 'HEAD' })).outcome).toBe('200');
    expect((await rs.present(token, { htm: 'GET' }, { method: 'HEAD' })).outcome).toBe(BAD_PROOF);
    expect((await rs.present(token, { htm: 'DELETE' }, { method: 'POST', lines: override })).outcome).toBe(BAD_PROOF);
    expect((await rs.present(token, { htm: 'POST' }, { method: 'POST', lines: override })).outcome).toBe('200');
  });

  it('DPOP-11 holds with method-override before it, which keeps the method on the wire as originalMethod', async () => {
    let methods: unknown[] = [];
    const overriding = await startResource({
      like: rs,
      build: (app, options) => {
        // What method-override 3 does.
        app.use((request: express.Request & { originalMethod?: string }, _response, next) => {
          request.originalMethod ||= request.method;
          const other = request.get('x-http-method-override');
          if (request.originalMethod === 'POST' && other !== undefined) request.method = other.toUpperCase();
          methods = [request.originalMethod, request.method];
          next();
        });
        oneRoute(app, options);
      },
    });
    const overridden = { method: 'POST', lines: ['X-HTTP-Method-Override: delete', 'Content-Length: 0'] };
    expect((await overriding.present(token, { htm: 'DELETE' }, overridden)).outcome).toBe(BAD_PROOF);
    expect(overriding.events.at(-1)).toMatchObject({ reason: 'dpop.htm', expected: 'POST', received: 'DELETE' });
    expect((await overriding.present(token, { htm: 'POST' }, overridden)).outcome).toBe('200');
    expect(methods).toEqual(['POST', 'DELETE']);
    await overriding.close();
  });

  it('DPOP-12, DPOP-13 ignore query and fragment, of the request and of htu', async () => {
    expect((await rs.present(token, {}, { target: '/r?x=1' })).outcome).toBe('200');
    for (const htu of [
      'https://rs.example.com/r?x=1#f',
      'https://rs.example.com/r#f',
      'https://rs.example.com/r?',
      'https://rs.example.com/r?/../../x',
    ]) {
      expect(await claims({ htu })).toBe('200');
    }
  });

  it.each(Object.values(vectors.uri_normalisation).filter((vector) => 'htu' in vector))(
    'DPOP-14, DPOP-15 $htu for $requestUri: $match',
    async ({ htu, requestUri, match }) => {
      const { origin } = new URL(requestUri);
      const own = await startResource({ like: rs, options: { publicUrl: origin } });
      const bound = await own.token();
      expect((await own.present(bound, { htu }, { target: requestUri.slice(origin.length) })).outcome).toBe(match ? '200' : BAD_PROOF);
      await own.close();
    },
  );

  it('DPOP-14 takes the three spellings of RFC 9110 §4.2.3 for one', async () => {
    const own = await startResource({ like: rs, options: { publicUrl: 'https://example.com' } });
    const bound = await own.token();
    for (const spelling of vectors.uri_normalisation['rfc9110-4.2.3'].equivalent) {
      const htu = spelling.replace('http:', 'https:').replace(':80/', ':443/');
      for (const target of ['/~smith/home.html', '/%7Esmith/home.html', '/%7esmith/home.html']) {
        expect((await own.present(bound, { htu }, { target })).outcome).toBe('200');
      }
    }
    await own.close();
  });

  it.each([
    '/r',
    'rs.example.com/r',
    '//rs.example.com/r',
    'https://u:p@rs.example.com/r',
    'https://rs.example.com@evil.example/r',
    'https:\\\\rs.example.com\\r',
    'https:/rs.example.com/r',
    'https:rs.example.com/r',
    'urn:x',
    'wss://rs.example.com/r',
    'https://',
    'https://rs.example.com:443:443/r',
    'https://rs.example.com:x/r',
    ' https://rs.example.com/r',
    'https://rs.example.com/r ',
    'https://rs.example.com./r',
    'https://rs.example.com\\@evil.example/r',
    'https://rs.example.com/\u00e9',
    '',
  ])('DPOP-16 refuses htu %j', async (htu) => {
    expect(await claims({ htu })).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.htu');
  });
  it('DPOP-16 refuses an htu of 10 KiB', async () => {
    expect(await claims({ htu: `https://rs.example.com/${'a'.repeat(10_240)}` })).toBe(BAD_PROOF);
  });

  it('DPOP-17 takes the origin from the configuration, not from Host or forwarded fields', async () => {
    const spoofed = {
      host: 'evil.example',
      lines: ['X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: https', 'Forwarded: host=evil.example;proto=https'],
    };
    expect((await rs.present(token, { htu: 'https://evil.example/r' }, spoofed)).outcome).toBe(BAD_PROOF);
    expect((await rs.present(token, {}, spoofed)).outcome).toBe('200');
  });

  it('tells in the event which htu was expected and which received, as far as they differ, and never a query, a fragment or a user', async () => {
    const told = async (htu: string, target: string): Promise<unknown> => {
      await rs.present(token, { htu }, { target });
      const event = rs.events.at(-1);
      expect(event?.reason).toBe('dpop.htu');
      return [event?.expected, event?.received];
    };
    const origin = 'https://rs.example.com';
    expect(await told('http://RS.example.com:80/users/hush?hush=1#hush', '/users/hush?hush=2')).toEqual([origin, 'http://rs.example.com']);
    expect(await told(`${origin}/v1/users/hush`, '/users/hush')).toEqual([`${origin}/users/…`, `${origin}/v1/…`]);
    expect(await told(`${origin}/users/1/`, '/users/1')).toEqual([`${origin}/users/1`, `${origin}/users/1/`]);
    expect(await told(`${origin}/users/1/reset/hush`, '/users/2/reset/hush')).toEqual([`${origin}/users/2/…`, `${origin}/users/1/…`]);
    expect(await told('https://evil.example/a?hush#hush', '/b?hush')).toEqual([`${origin}/b`, 'https://evil.example/a']);
    expect(await told('https://user:hush@rs.example.com/r', '/hush')).toEqual([origin, 'no absolute http(s) URI']);
    expect(await told(`${origin}/hush`, '*')).toEqual([
      'no URI of this resource: the request target names another, or has dot segments',
      origin,
    ]);
    const long = 'a'.repeat(300);
    const cut = `${origin}/${'a'.repeat(77)}…${'a'.repeat(98)}`;
    expect(await told(`${origin}/${long}/1`, `/${long}/2`)).toEqual([`${cut}/2`, `${cut}/1`]);
    expect(JSON.stringify(rs.events)).not.toContain('hush');
  });

  it('ALG-09, DPOP-16 refuses an authority that is longer than any, in htu and in Host, and spends nothing on it', async () => {
    const { mismatchedTarget, normaliseTargetUri, readOrigin } = await import('../../packages/core/src/confirmation/htu.ts');
    let parsed = 0;
    vi.stubGlobal(
      'URL',
      class extends URL {
        constructor(url: string) {
          parsed += 1;
          super(url);
        }
        static override canParse(url: string): boolean {
          parsed += 1;
          return super.canParse(url);
        }
      },
    );
    onTestFinished(() => void vi.unstubAllGlobals());
    // Letters of a name that all differ: what turns them into A-labels takes the square of their number.
    const letters = (count: number): string => Array.from({ length: count }, (_, i) => String.fromCharCode(0x4e00 + i * 7)).join('');
    expect(normaliseTargetUri(`https://${letters(10)}/r`)).toMatch(/^https:\/\/xn--/);
    expect(parsed).toBe(1);
    for (const name of [letters(256), letters(2_600), `${letters(10)}.`.repeat(24), 'a'.repeat(262), `a:${'0'.repeat(300)}`]) {
      expect(normaliseTargetUri(`https://${name}/r`)).toBeUndefined();
    }
    const origins = ['https://a.example', 'https://b.example', 'https://c.example']
      .map((url) => readOrigin(url))
      .filter((one) => one !== undefined);
    expect(origins).toHaveLength(3);
    const request = (host: string): ProtectedResourceRequest => ({
      method: 'GET',
      target: '/r',
      fieldLines: (name) => (name === 'host' ? [host] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
    expect(mismatchedTarget('https://b.example/r', request('\u00e9'.repeat(12_000)), origins)).toBeUndefined();
    expect(parsed).toBe(1);
    // Once for the line, not for each origin.
    expect(mismatchedTarget('https://b.example/r', request('\u00e9'.repeat(100)), origins)).toBeUndefined();
    expect(parsed).toBe(2);
    expect((await rs.present(token, { htu: `https://${letters(1_500)}/r` })).outcome).toBe(BAD_PROOF);
    expect(rs.events.at(-1)).toMatchObject({ reason: 'dpop.htu', received: 'no absolute http(s) URI' });
  });

  it('DPOP-16 a target that no URI can have is met by no htu, not by the same text either', async () => {
    for (const target of ['/a\\b', '/a\\..\\r', '/a#b']) {
      for (const htu of [`https://rs.example.com${target}`, 'https://rs.example.com/a', 'https://rs.example.com/a/b']) {
        expect((await rs.present(token, { htu }, { target })).outcome).toBe(BAD_PROOF);
      }
    }
  });

  it.each([
    [-300, '200'],
    [-299, '200'],
    [-301, BAD_PROOF],
    [59, '200'],
    [60, '200'],
    [61, BAD_PROOF],
    [-300.5, BAD_PROOF],
    [0.5, '200'],
  ])('DPOP-18 with iat %d seconds from now: %s', async (seconds, outcome) => {
    expect(await claims({ iat: rs.clock.now() + seconds })).toBe(outcome);
  });
  it('DPOP-18 says in the event how far off the clock is', async () => {
    await claims({ iat: rs.clock.now() - 400 });
    expect(rs.events.at(-1)).toMatchObject({ reason: 'dpop.too_old', received: '400 s before it' });
    await claims({ iat: rs.clock.now() + 75 });
    expect(rs.events.at(-1)).toMatchObject({ reason: 'dpop.in_future', received: '75 s after it' });
  });
  it('DPOP-18 follows dpop.window', async () => {
    const own = await startResource({ like: rs, options: { dpop: { window: { past: 10, future: 0 } } } });
    for (const [seconds, outcome] of [
      [-10, '200'],
      [-11, BAD_PROOF],
      [1, BAD_PROOF],
    ] as const) {
      expect((await own.present(token, { iat: rs.clock.now() + seconds })).outcome).toBe(outcome);
    }
    await own.close();
  });

  it.each([[['rfc9068']], [['mcp']], [['fapi2']], [['fapi2', 'mcp', 'rfc9068']]] as const)(
    'DPOP-19 with the profiles %j accepts NOW+10 and refuses NOW+301',
    async (profiles) => {
      const shared = { firstUse: () => true };
      const own = await startResource({ like: rs, options: { profiles, unconstrained: 'refuse', dpop: { replay: shared } } });
      const at = (seconds: number) => own.present(token, { iat: rs.clock.now() + seconds }).then(({ outcome }) => outcome);
      expect(await at(10)).toBe('200');
      expect(await at(301)).toBe(BAD_PROOF);
      const strict = (profiles as readonly string[]).includes('fapi2');
      expect(await at(11)).toBe(strict ? BAD_PROOF : '200');
      expect(await at(-60)).toBe('200');
      expect(await at(-61)).toBe(strict ? BAD_PROOF : '200');
      await own.close();
    },
  );

  it('DPOP-19 with the profile mcp the window is 300 s back and 60 s ahead, and can be made up to 300 s each, and no wider', async () => {
    const accepted = async (window: object | undefined): Promise<number[]> => {
      const own = await startResource({ like: rs, options: { profiles: ['mcp'], ...(window && { dpop: { window } }) } });
      const passing: number[] = [];
      for (const seconds of [-301, -300, -299, -61, -60, 60, 61, 299, 300, 301]) {
        const { outcome } = await own.present(token, { iat: rs.clock.now() + seconds });
        if (outcome === '200') passing.push(seconds);
        else expect(outcome).toBe(BAD_PROOF);
      }
      await own.close();
      return passing;
    };
    expect(await accepted(undefined)).toEqual([-300, -299, -61, -60, 60]);
    expect(await accepted({ future: 300 })).toEqual([-300, -299, -61, -60, 60, 61, 299, 300]);
    expect(await accepted({ past: 60, future: 60 })).toEqual([-60, 60]);
    await expect(accepted({ past: 301 })).rejects.toThrow(/dpop\.window\.past/);
    await expect(accepted({ future: 301 })).rejects.toThrow(/dpop\.window\.future/);
  });

  it('DPOP-20 honours exp and nbf of a proof', async () => {
    const now = rs.clock.now();
    for (const late of [{ exp: now - 1 }, { exp: now }, { exp: 'x' }, { nbf: now + 61 }, { nbf: 'x' }])
      expect(await claims(late)).toBe(BAD_PROOF);
    expect(await claims({ exp: now + 1, nbf: now })).toBe('200');
  });

  it.each(Object.entries(vectors.rfc9449_values['ath-must-not-match'].bad))('DPOP-21 refuses ath as %s', async (_name, ath) => {
    expect(await claims({ ath })).toBe(BAD_PROOF);
    expect(lastReason()).toBe('dpop.ath');
  });
  it('DPOP-21 refuses every wrong spelling of the right hash', async () => {
    const { createHash } = await import('node:crypto');
    const digest = (text: string, encoding: 'base64' | 'hex' | 'base64url'): string => createHash('sha256').update(text).digest(encoding);
    const right = digest(token, 'base64url');
    for (const ath of [
      `${right}=`,
      digest(token, 'hex'),
      digest(`DPoP ${token}`, 'base64url'),
      digest(`${token}\n`, 'base64url'),
      right.toLowerCase(),
      nonCanonicalOf(right),
      `${right} `,
    ]) {
      expect(await claims({ ath })).toBe(BAD_PROOF);
    }
    expect(await claims({ ath: right })).toBe('200');
  });
  it('DPOP-21 refuses the token-endpoint proof of RFC 9449 Figure 2, which has no ath', async () => {
    expect(await sent(vectors.rfc9449_dpop_proofs['fig2-fig5-token-request-proof'].compact)).toBe(BAD_PROOF);
    expect(rs.events.at(-1)).toMatchObject({ reason: 'dpop.claim', detail: 'ath' });
  });

  it('DPOP-22 answers invalid_token where the proof is by another key', async () => {
    const other = await generateDpopKey();
    expect((await rs.present(token, { key: other })).outcome).toBe('401 D:invalid_token');
    expect(rs.events.at(-1)).toMatchObject({
      reason: 'dpop.key_mismatch',
      expected: `${rs.key.thumbprint.slice(0, 12)}…`,
      received: `${other.thumbprint.slice(0, 12)}…`,
    });
  });

  it.each(Object.entries(vectors.jwk_thumbprints))('DPOP-23 takes the thumbprint of %s as RFC 7638 says', async (_name, { jwk, jkt }) => {
    const { readProofKey } = await import('../../packages/core/src/keys/proof-key.ts');
    const { alg: _alg, ...publicJwk } = jwk as Record<string, unknown>;
    expect(readProofKey(jwk.kty === 'RSA' ? 'PS256' : 'EdDSA', publicJwk)).toMatchObject({ thumbprint: jkt });
  });

  it('DPOP-30 asks each request on a connection for a proof of its own', async () => {
    const app = express();
    app.set('reached', new Set());
    const { issuer, clock } = rs;
    oneRoute(app, {
      issuer: issuer.url,
      audience: 'https://rs.example.com',
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      now: clock.now,
    });
    const server = createServer(app);
    const port = await listen(server);
    const lines = ['GET /r HTTP/1.1', 'Host: x', `Authorization: DPoP ${token}`];
    const first = await rawRequest({ port, lines: [...lines, `DPoP: ${rs.proof(token)}`] });
    const second = await rawRequest({ port, lines, socket: first.socket });
    expect([first.status, second.status]).toEqual([200, 401]);
    second.socket.destroy();
    await stop(server);
  });

  it('DPOP-31 takes http for nothing but the loopback interface', async () => {
    expect(await claims({ htu: 'http://rs.example.com/r' })).toBe(BAD_PROOF);
    await expect(startResource({ like: rs, options: { publicUrl: 'http://rs.example.com' } })).rejects.toThrow(/publicUrl/);
  });

  it('DPOP-28 grants nothing for a proof alone', async () => {
    expect((await rs.send({ proof: rs.proof(token) })).outcome).toBe('401 NONE');
  });

  it('DPOP-32 asks that the token be valid in all other respects', async () => {
    const now = rs.clock.now();
    const expired = await rs.token({ exp: now - 60, cnf: { jkt: rs.key.thumbprint } });
    expect((await rs.present(expired)).outcome).toBe('401 D:invalid_token');
    const foreign = await rs.token({ aud: 'https://other.example', cnf: { jkt: rs.key.thumbprint } });
    expect((await rs.present(foreign)).outcome).toBe('401 D:invalid_token');
  });

  it('DPOP-33 hashes the token exactly as presented, with its padding', async () => {
    const padded = 'b3BhcXVlLXRva2Vu==';
    const { issuer } = rs;
    issuer.metadata['introspection_endpoint'] = `${issuer.url}/introspect`;
    issuer.answer = (_request, response, path) => {
      if (path !== '/introspect') return false;
      const said = { active: true, aud: 'https://rs.example.com', exp: rs.clock.now() + 300, cnf: { jkt: rs.key.thumbprint } };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
      return true;
    };
    const authentication = { method: 'client_secret_basic', secret: 'hunter2-hunter2' } as const;
    const asking = await startResource({ like: rs, options: { introspection: { clientId: 'api', authentication } } });
    const reasonFor = async (hashed: string): Promise<string | undefined> => {
      expect((await asking.send({ token: padded, proof: rs.proof(hashed) })).outcome).toBe(BAD_PROOF);
      return asking.events.at(-1)?.reason;
    };
    expect((await asking.present(padded)).outcome).toBe('200');
    expect([await reasonFor(padded.replaceAll('=', '')), await reasonFor(padded.slice(0, -1)), await reasonFor(`${padded}=`)]).toEqual([
      'dpop.ath',
      'dpop.ath',
      'dpop.ath',
    ]);
    await asking.close();
    issuer.answer = undefined;
  });

  it('accepts RFC 9449 Figure 13 at its own time, for its own token and key, up to the token itself', async () => {
    // Its access token is opaque, so what is left is the confirmation: run as it stands, with the token that it names.
    const { dpop } = await import('../../packages/core/src/confirmation/dpop.ts');
    const { readProof } = await import('../../packages/core/src/confirmation/proof.ts');
    const { ProofKeys } = await import('../../packages/core/src/keys/proof-key.ts');
    const { memoryReplayStore } = await import('@holdfast/core');
    const { compact, jkt, request: given } = vectors.rfc9449_dpop_proofs['fig13-protected-resource-proof'];
    const keys = new ProofKeys();
    let clock = 0;
    const method = dpop(
      {
        algorithms: ['ES256'],
        window: { past: 300, future: 60 },
        nonces: undefined,
        nonceReplacesIat: false,
        replay: memoryReplayStore(),
        origins: [{ origin: 'https://resource.example.org', prefix: '' }],
        resource: 'x',
      },
      keys,
      () => clock,
    );
    const confirm = async (proofText: string, now: number): Promise<unknown> => {
      clock = now;
      const request = {
        method: given.method,
        target: '/protectedresource',
        fieldLines: (name: string) => (name === 'dpop' ? [proofText] : []),
        connection: { peer: { kind: 'unknown' as const }, peerCertificate: () => undefined },
      };
      const proof = readProof(request, keys, ['ES256']);
      if ('rejected' in proof) return proof.rejected;
      const presented = given.authorization.slice('DPoP '.length);
      const result = await method.confirm(jkt, {
        request,
        token: new PresentedToken('DPoP', presented),
        now,
        certificate: undefined,
        proof,
      });
      if ('rejected' in result) return result.rejected;
      return (await result.last?.())?.rejected ?? result.thumbprint;
    };
    expect(await confirm(compact, 1562262618)).toBe(jkt);
    expect(await confirm(compact, 1562262618)).toBe('replay.reused');
    expect(await confirm(vectors.rfc9449_malleability['s-negated'].compact, 1562262618)).toBe('replay.reused');
    expect(await confirm(compact, 1562262618 + 301)).toBe('dpop.too_old');
  });
});

describe('whatever a client puts into a proof', () => {
  const json = fc.jsonValue({ maxDepth: 3 });

  it('DPOP-29 DPOP-35 any single member of header or claims that is changed is refused with 401, never accepted and never 500', async () => {
    const member = fc.constantFrom(
      'typ',
      'alg',
      'jwk',
      'crit',
      'jti',
      'htm',
      'htu',
      'iat',
      'ath',
      'jwk.kty',
      'jwk.crv',
      'jwk.x',
      'jwk.y',
      'jwk.d',
      'jwk.use',
      'jwk.key_ops',
    );
    await fc.assert(
      fc.asyncProperty(member, json, async (name, value) => {
        fc.pre(!(name === 'jti' && typeof value === 'string' && value !== ''));
        const [outer, inner] = name.split('.');
        const jwk = inner === undefined ? {} : { jwk: { ...rs.key.publicJwk, [inner]: value } };
        const inHeader = ['typ', 'alg', 'jwk', 'crit'].includes(outer ?? '');
        const changes = inHeader ? { header: { [name]: value, ...jwk } } : { claims: { [name]: value } };
        const { outcome } = await rs.present(token, changes);
        expect([BAD_PROOF, '401 D:invalid_token']).toContain(outcome);
      }),
      { numRuns: 300 },
    );
  });

  it('any proof of any segments is refused with 401', async () => {
    const segment = fc.oneof(
      fc.string({ unit: 'grapheme-ascii', maxLength: 60 }),
      json.map((value) => base64url(JSON.stringify(value))),
      fc.constantFrom(...publishedSegments()),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { minLength: 0, maxLength: 5 }), async (segments) => {
        const outcome = await sent(
          segments
            .join('.')
            .replace(/[^\x20-\x7e]/g, '')
            .trim(),
        );
        expect([BAD_PROOF, '401 D:invalid_token']).toContain(outcome);
      }),
      { numRuns: 200 },
    );
  });
});

function publishedSegments(): string[] {
  return vectors.rfc9449_dpop_proofs['fig13-protected-resource-proof'].compact.split('.');
}

/** The same bytes otherwise spelled, for a text of any length. */
function nonCanonicalOf(segment: string): string {
  return segment.length % 4 === 0 ? `${segment}A` : nonCanonical(segment);
}
