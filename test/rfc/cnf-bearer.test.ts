import { calculateJwkThumbprint } from 'jose';
import { certificateOf } from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey, rawJwt, type SigningKeyPair } from '@holdfast/test-support/jwt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { type Api, AUDIENCE, GRANTED, NOW, startApi, verdictOf } from './api.ts';

const refused = (reason: string): string => `401 | Bearer invalid_token | ${reason}`;
const mine = certificateOf(new TextEncoder().encode('my certificate'));
const thief = certificateOf(new TextEncoder().encode('the certificate of a thief'));
const { jkt } = vectors.rfc9449_values.jkt;

/** The mildest resource there is accepts tokens without `cnf`; the strict one is the default. Both see the same certificate. */
describe.each(['accept', 'refuse'] as const)(
  "CNF: what cnf means where tokens without it are subject to unconstrained: '%s' (RFC 7800 §3.1)",
  (unconstrained) => {
    let api: Api;
    let key: SigningKeyPair;
    const ask = async (claims: object, lines: string[] = []): Promise<string> =>
      verdictOf(await api.ask(`Bearer ${await api.issuer.token(claims)}`, { lines }));
    /** A token whose payload is this very text, with `…` for the claims that every token needs. */
    const askText = async (text: string): Promise<string> => {
      const needed = `"iss":"${api.issuer.url}","aud":"${AUDIENCE}","sub":"user-1","exp":${NOW + 300}`;
      return verdictOf(
        await api.ask(`Bearer ${rawJwt(JSON.stringify({ typ: 'at+jwt', alg: 'ES256', kid: key.kid }), text.replace('…', needed), key)}`),
      );
    };

    beforeAll(async () => {
      api = await startApi({ unconstrained, certificate: () => mine });
      key = api.issuer.keys[0] ?? (await api.issuer.addKey('ES256'));
    });
    afterAll(() => api.close());

    it('CNF-10 a token without cnf', async () => {
      expect(await ask({})).toBe(unconstrained === 'accept' ? GRANTED : refused('cnf.absent'));
      expect(await ask({ cnf: undefined })).toBe(unconstrained === 'accept' ? GRANTED : refused('cnf.absent'));
    });

    it('the certificate of the connection binds the token that names it', async () => {
      expect(await ask({ cnf: { 'x5t#S256': mine.thumbprint } })).toBe(GRANTED);
      expect(await ask({ cnf: { 'x5t#S256': thief.thumbprint } })).toBe(refused('certificate.mismatch'));
    });

    it.each([
      ['alone', []],
      ['with a proof', [`DPoP: ${vectors.rfc9449_dpop_proofs['fig13-protected-resource-proof'].compact}`]],
      ['with a field that is no proof', ['DPoP: x']],
      ['with several', ['DPoP: x', 'DPoP: y']],
    ])('CNF-01 CNF-11 a DPoP-bound token as Bearer is refused, %s', async (_how, lines) => {
      expect(await ask({ cnf: { jkt } }, lines)).toBe(refused('dpop.not_offered'));
      expect(await ask({ cnf: { jkt }, token_type: 'Bearer' }, lines)).toBe(refused('dpop.not_offered'));
    });

    it('CNF-01 also when the certificate that it names too is right: both must hold', async () => {
      expect(await ask({ cnf: { 'x5t#S256': mine.thumbprint, jkt } })).toBe(refused('dpop.not_offered'));
      expect(await ask({ cnf: { jkt, 'x5t#S256': mine.thumbprint } })).toBe(refused('dpop.not_offered'));
      expect(await ask({ cnf: { 'x5t#S256': thief.thumbprint, jkt } })).toBe(refused('certificate.mismatch'));
    });

    it.each([
      [{ foo: 1 }],
      [{ 'kc-jkt-type': 'x' }],
      [{ jwk: { kty: 'oct', k: 'AAAA' } }],
      [{ kid: 'x', jku: 'https://evil.example' }],
      [{ x5t: 'x', x5c: [] }],
      [{ 'x5t#s256': 'x' }],
      [{ JKT: jkt }],
    ])('CNF-06 unknown members beside one that is understood are ignored: %j', async (more) => {
      expect(await ask({ cnf: { ...more, 'x5t#S256': mine.thumbprint } })).toBe(GRANTED);
      expect(await ask({ cnf: { 'x5t#S256': thief.thumbprint, ...more } })).toBe(refused('certificate.mismatch'));
    });

    it.each<[object]>([
      [{ jwk: vectors.jwk_points['rfc7800-cnf-jwk'].jwk }],
      [{ jwe: 'eyJ' }],
      [{ htsk: { kty: 'EC' } }],
      [{ kid: 'x' }],
      [{ jku: 'https://evil.example', kid: 'x' }],
      [{ foo: 1 }],
      [{ '': '' }],
      [{ 'x5t#s256': mine.thumbprint }],
      [{ 'X5T#S256': mine.thumbprint }],
      [{ x5t: mine.thumbprint }],
      [{ 'x5t#S256 ': mine.thumbprint }],
      [{ 'x5t%23S256': mine.thumbprint }],
      [{ JKT: jkt }],
      [{ cnf: { 'x5t#S256': mine.thumbprint } }],
      [{ constructor: { 'x5t#S256': mine.thumbprint } }],
      [{ toString: 'x', valueOf: 'x', hasOwnProperty: 'x' }],
    ])('CNF-07 NEW-03 a cnf without a member that is understood is never a bearer token: %j', async (cnf) => {
      expect(await ask({ cnf })).toBe(refused('cnf.not_understood'));
    });

    it.each([['x'], [''], [mine.thumbprint], [[]], [[{ 'x5t#S256': mine.thumbprint }]], [null], [true], [false], [0], [1]])(
      'CNF-08 a cnf that is no object: %j',
      async (cnf) => {
        expect(await ask({ cnf })).toBe(refused('cnf.malformed'));
      },
    );

    it('CNF-08 the empty cnf', async () => {
      expect(await ask({ cnf: {} })).toBe(refused('cnf.not_understood'));
    });

    const thumbprints = (right: string): [unknown][] => [
      [''],
      [null],
      [{}],
      [[right]],
      [true],
      [0],
      [right.slice(1)],
      [`${right}A`],
      [`${right}=`],
      [`${right} `],
      [` ${right}`],
      [`${right}\n`],
      [right.replace(/.$/, '=')],
      [right.replace(/^./, '+')],
      [right.replace(/^./, '/')],
      [right.replace(/^./, 'é')],
      [{ toString: right }],
    ];
    it.each(thumbprints(jkt))('CNF-09 jkt %j is no thumbprint, and the token is not unbound', async (value) => {
      expect(await ask({ cnf: { jkt: value } })).toBe(refused('cnf.malformed'));
      expect(await ask({ cnf: { jkt: value, 'x5t#S256': mine.thumbprint } })).toBe(refused('cnf.malformed'));
    });

    it.each(thumbprints(mine.thumbprint))('CNF-09 nor is x5t#S256 %j', async (value) => {
      expect(await ask({ cnf: { 'x5t#S256': value } })).toBe(refused('cnf.malformed'));
    });

    it.each([
      ['x5t#S256', mine.thumbprint],
      ['x5t#S256', thief.thumbprint],
      ['x5t#S256', null],
      ['x5t#S256', ''],
      ['jkt', jkt],
      ['jkt', null],
      ['jkt', false],
    ])('a top-level %s (%j) is never read as unbound, nor as bound', async (member, value) => {
      expect(await ask({ [member]: value })).toBe(refused('cnf.top_level'));
      expect(await ask({ [member]: value, cnf: { 'x5t#S256': mine.thumbprint } })).toBe(refused('cnf.top_level'));
      expect(await ask({ [member]: value, cnf: {} })).toBe(refused('cnf.top_level'));
    });

    it.each([
      [
        'cnf in __proto__ binds nothing',
        `{…,"__proto__":{"cnf":{"x5t#S256":"${mine.thumbprint}"}}}`,
        unconstrained === 'accept' ? GRANTED : refused('cnf.absent'),
      ],
      ['__proto__ in cnf gives it nothing', `{…,"cnf":{"__proto__":{"x5t#S256":"${mine.thumbprint}"}}}`, refused('cnf.not_understood')],
      ['__proto__ in cnf takes nothing from it', `{…,"cnf":{"x5t#S256":"${mine.thumbprint}","__proto__":{"jkt":"${jkt}"}}}`, GRANTED],
      ['__proto__ as cnf of an array', `{…,"cnf":{"__proto__":[],"length":0}}`, refused('cnf.not_understood')],
      ['constructor in cnf', `{…,"cnf":{"constructor":{"prototype":{"x5t#S256":"${mine.thumbprint}"}}}}`, refused('cnf.not_understood')],
      [
        'constructor beside a member',
        `{…,"cnf":{"x5t#S256":"${mine.thumbprint}","constructor":1,"toString":2,"hasOwnProperty":3}}`,
        GRANTED,
      ],
      [
        'a member written with escapes is that member',
        `{…,"cnf":{"x5t\\u0023S256":"${thief.thumbprint}"}}`,
        refused('certificate.mismatch'),
      ],
      ['cnf written with escapes is cnf', `{…,"c\\u006ef":{}}`, refused('cnf.not_understood')],
      ['cnf twice, the right one last', `{"cnf":{"x5t#S256":"${thief.thumbprint}"},…,"cnf":{"x5t#S256":"${mine.thumbprint}"}}`, GRANTED],
      [
        'cnf twice, the right one first',
        `{"cnf":{"x5t#S256":"${mine.thumbprint}"},…,"cnf":{"x5t#S256":"${thief.thumbprint}"}}`,
        refused('certificate.mismatch'),
      ],
      ['cnf twice, then null', `{"cnf":{"x5t#S256":"${mine.thumbprint}"},…,"cnf":null}`, refused('cnf.malformed')],
      ['cnf twice, then empty', `{"cnf":{"x5t#S256":"${mine.thumbprint}"},…,"cnf":{}}`, refused('cnf.not_understood')],
      [
        'a member twice, the right one first',
        `{…,"cnf":{"x5t#S256":"${mine.thumbprint}","x5t#S256":"${thief.thumbprint}"}}`,
        refused('certificate.mismatch'),
      ],
      ['a member twice, then null', `{…,"cnf":{"x5t#S256":"${mine.thumbprint}","x5t#S256":null}}`, refused('cnf.malformed')],
      ['a deep cnf', `{…,"cnf":${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}}`, refused('cnf.not_understood')],
    ])('CNF-15 the claims say what their JSON says: %s', async (_what, text, verdict) => {
      expect(await askText(text)).toBe(verdict);
      // And the same from memory.
      expect(await askText(text)).toBe(verdict);
    });

    it('nothing was left on Object.prototype by all that', () => {
      expect(['cnf', 'jkt', 'x5t#S256', 'aud', 'iss'].filter((name) => name in {})).toEqual([]);
    });

    it('CNF-12 a stray DPoP field beside a token that is bound to no DPoP key is ignored, whatever it holds', async () => {
      const expected = unconstrained === 'accept' ? GRANTED : refused('cnf.absent');
      for (const lines of [
        ['DPoP: x'],
        ['DPoP:'],
        ['DPoP: x', 'DPoP: y'],
        [`DPoP: ${vectors.rfc9449_dpop_proofs['fig13-protected-resource-proof'].compact}`],
      ]) {
        expect(await ask({}, lines)).toBe(expected);
        expect(await ask({ cnf: { 'x5t#S256': mine.thumbprint } }, lines)).toBe(GRANTED);
      }
    });
  },
);

describe('CNF: whom to believe', () => {
  let api: Api;
  let presented: ReturnType<typeof certificateOf> | undefined;
  beforeAll(async () => {
    api = await startApi({ certificate: () => presented });
  });
  afterAll(() => api.close());

  it('CNF-15 the cnf of a token that nobody signed counts as little as the token', async () => {
    presented = thief;
    const token = await api.issuer.token({ cnf: { 'x5t#S256': mine.thumbprint } });
    const [header = '', , signature = ''] = token.split('.');
    const [, forged = ''] = (await api.issuer.token({ cnf: { 'x5t#S256': thief.thumbprint } })).split('.');
    expect(verdictOf(await api.ask(`Bearer ${header}.${forged}.${signature}`))).toBe(refused('token.signature'));
    const own = await generateSigningKey('ES256', api.issuer.keys[0]?.kid);
    expect(verdictOf(await api.ask(`Bearer ${await api.issuer.token({ cnf: { 'x5t#S256': thief.thumbprint } }, {}, { key: own })}`))).toBe(
      refused('token.signature'),
    );
    // In the header it means nothing at all.
    expect(
      verdictOf(
        await api.ask(
          `Bearer ${await api.issuer.token({ cnf: { 'x5t#S256': mine.thumbprint } }, { cnf: { 'x5t#S256': thief.thumbprint }, 'x5t#S256': thief.thumbprint })}`,
        ),
      ),
    ).toBe(refused('certificate.mismatch'));
  });

  it.each([
    `Client-Cert: :${Buffer.from('my certificate').toString('base64')}:`,
    'X-Client-Cert: my certificate',
    `X-Forwarded-Client-Cert: Hash=${Buffer.from(mine.thumbprint, 'base64url').toString('hex')}`,
    'X-SSL-Client-Verify: SUCCESS',
    `X-ARR-ClientCert: ${Buffer.from('my certificate').toString('base64')}`,
  ])('CNF-15 nor does a field say which certificate the client has, where nobody configured that: %s', async (line) => {
    const token = await api.issuer.token({ cnf: { 'x5t#S256': mine.thumbprint } });
    for (const [certificate, reason] of [
      [thief, 'certificate.mismatch'],
      [undefined, 'certificate.missing'],
    ] as const) {
      presented = certificate;
      expect(verdictOf(await api.ask(`Bearer ${token}`, { lines: [line] }))).toBe(refused(reason));
    }
  });

  it.each([
    ['shorter', mine.thumbprint.slice(1)],
    ['longer', `${mine.thumbprint}A`],
    ['empty', ''],
    ['much longer', mine.thumbprint.repeat(100)],
    ['not ASCII', 'é'.repeat(43)],
    ['of 43 characters and more bytes', `${'\u{1f512}'.repeat(21)}A`],
    ['in another case', mine.thumbprint.toLowerCase()],
    ['different in the first character', mine.thumbprint.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))],
    ['different in the last character', mine.thumbprint.replace(/.$/, (last) => (last === 'A' ? 'E' : 'A'))],
    ['a beginning of it, filled with zero bytes', `${mine.thumbprint.slice(0, 42)}\0`],
    ['it, and a zero byte', `${mine.thumbprint}\0`],
  ])('CNF-14 a thumbprint from the edge that is %s is compared, and is not it', async (_how, thumbprint) => {
    presented = { thumbprint };
    const token = await api.issuer.token({ cnf: { 'x5t#S256': mine.thumbprint } });
    expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(refused('certificate.mismatch'));
  });

  it('CNF-14 nor is one whose characters only end in the same bytes', async () => {
    presented = { thumbprint: mine.thumbprint.replaceAll(/./g, (character) => String.fromCharCode(character.charCodeAt(0) + 256)) };
    expect(presented.thumbprint).not.toBe(mine.thumbprint);
    const token = await api.issuer.token({ cnf: { 'x5t#S256': mine.thumbprint } });
    expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(refused('certificate.mismatch'));
  });

  it.each([[{}], [{ thumbprint: undefined }], [{ thumbprint: 1 }], [{ thumbprint: null }], ['thumbprint'], [1], [null], [true], [[]]])(
    'a source of certificates that answers with %j grants nothing',
    async (answer) => {
      presented = answer as unknown as typeof presented;
      const token = await api.issuer.token({ cnf: { 'x5t#S256': mine.thumbprint } });
      const result = await api.ask(`Bearer ${token}`);
      expect(result.access).toBeUndefined();
      expect([401, 503]).toContain(result.status);
    },
  );

  describe('CNF-17 another issuer', () => {
    let evil: Issuer;
    beforeAll(async () => {
      evil = await startIssuer({ now: createClock(NOW).now });
    });
    afterAll(() => evil.close());

    it('CNF-17 a token of an issuer that is not trusted, bound to the certificate of the victim', async () => {
      presented = mine;
      expect(verdictOf(await api.ask(`Bearer ${await evil.token({ cnf: { 'x5t#S256': mine.thumbprint } })}`))).toBe(
        refused('token.issuer'),
      );
      const posing = await evil.token({ iss: api.issuer.url, cnf: { 'x5t#S256': mine.thumbprint } }, { kid: api.issuer.keys[0]?.kid });
      expect(verdictOf(await api.ask(`Bearer ${posing}`))).toBe(refused('token.signature'));
      expect(evil.requests).toEqual([]);
    });
  });

  it('CNF-11 a resource that knows no way to confirm refuses what is bound, and says in the event what it lacks', async () => {
    const bare = await startApi({ issuedBy: api.issuer });
    const verdict = async (cnf: object): Promise<string> => verdictOf(await bare.ask(`Bearer ${await api.issuer.token({ cnf })}`));
    expect(await verdict({ 'x5t#S256': mine.thumbprint })).toBe(refused('certificate.no_source'));
    expect(bare.events[0]?.text).toContain('fromTls()');
    const { publicJwk } = await generateSigningKey('ES256', undefined);
    expect(await verdict({ jkt: await calculateJwkThumbprint(publicJwk) })).toBe(refused('dpop.not_offered'));
    await bare.close();
  });
});
