import { inspect } from 'node:util';
import type { JWK } from 'jose';
import { certificateOf, prepareRequirements, type ProtectedResourceOptions, protectedResource } from '@holdfast/core';
import { holdfast } from '@holdfast/express';
import { createClock } from '@holdfast/test-support/clock';
import { startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import { exportPKCS8, generateKeyPair } from 'jose';
import { describe, expect, it } from 'vitest';
import { type ApiOptions, AUDIENCE, GRANTED, NOW, startApi, verdictOf } from './api.ts';

const GOOD = { issuer: 'https://as.example.com', audience: AUDIENCE };
const PEM = '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----';
const JWK_SET = { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'GbB9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE' }] };

/** What is thrown for these options, which need not have the type of options. */
function thrownBy(options: unknown): unknown {
  try {
    void protectedResource(options as ProtectedResourceOptions).close();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** The lines of the message that name a problem. */
function problemsOf(options: unknown): string[] {
  const error = thrownBy(options);
  if (!(error instanceof TypeError)) throw new Error(`a TypeError was expected, and this came: ${inspect(error)}`);
  return error.message.split('\n').filter((line) => line.startsWith('- '));
}

describe('Options', () => {
  it('are complete with issuer and audience', () => {
    expect(thrownBy(GOOD)).toBeUndefined();
  });

  const bad: [option: string, values: unknown[], fix: RegExp][] = [
    [
      'issuer',
      [
        undefined,
        null,
        '',
        'as.example.com',
        'http://as.example.com',
        'http://10.0.0.1',
        'ftp://as.example.com',
        'https://as.example.com?x',
        'https://as.example.com#x',
        'https://',
        7,
        {},
        [],
        new URL('https://as.example.com'),
      ],
      /https URL/,
    ],
    ['audience', [undefined, null, '', [], [''], [AUDIENCE, ''], [AUDIENCE, 1], [null], 7, {}, true, [[AUDIENCE]]], /aud/],
    ['certificate', [null, true, 'tls', {}, 7, []], /fromTls\(\)/],
    ['certificatePolicy', [null, true, 'validity', [], () => {}], /validity/],
    ['certificatePolicy.validity', [{}, { validity: false }, { validity: 'true' }, { validity: 1 }], /true/],
    ['unconstrained', ['allow', 'Accept', '', true, false, null, [], ['accept'], {}], /'refuse' or 'accept'/],
    [
      'algorithms',
      [[], ['HS256'], ['none'], ['ES256', 'HS256'], ['es256'], 'ES256', null, {}, [null], [['ES256']], new Set(['ES256'])],
      /ES256, ES384/,
    ],
    ['profiles', [['fapi3'], 'rfc9068', ['RFC9068'], ['rfc9068', 'x'], null, {}, [1]], /rfc9068, fapi2, mcp/],
    [
      'publicUrl',
      [
        '',
        'api.example.com',
        'http://api.example.com',
        'https://u:p@api.example.com',
        'https://api.example.com?x',
        'https://api.example.com#x',
        [],
        [''],
        7,
        null,
        {},
      ],
      /https URL/,
    ],
    ['dpop', [null, 'required', 7, [], () => {}], /algorithms, window/],
    ['dpop.algorithms', [[], ['HS256'], ['none'], ['ES256', 'RS384'], 'ES256', null].map((algorithms) => ({ algorithms })), /ES256/],
    ['dpop.window', ['300', 7, [], true].map((window) => ({ window })), /past, future/],
    ['dpop.window.past', [0, 3601, -1, NaN, '300', null].map((past) => ({ window: { past } })), /from 1 to 3600/],
    ['dpop.window.future', [301, -1, NaN, '60', null].map((future) => ({ window: { future } })), /from 0 to 300/],
    ['dpop.nonce', ['on', true, false, 7].map((nonce) => ({ nonce })), /'off', 'required'/],
    [
      'dpop.nonce.rotation',
      [0, 9, 3601, NaN, '120', null].map((rotation) => ({ nonce: { secrets: ['s'.repeat(32)], rotation } })),
      /from 10 to 3600/,
    ],
    ['dpop.nonceReplacesIat', [1, 'true', null].map((nonceReplacesIat) => ({ nonce: 'required', nonceReplacesIat })), /true or false/],
    ['dpop.replay', [true, 'redis', {}, { firstUse: true }, null, []].map((replay) => ({ replay })), /replay store/],
    ['schemes', [[], ['Basic'], ['bearer'], 'Bearer', null, {}, ['Bearer', 'Basic']], /Bearer, DPoP/],
    ['credentials', ['none', 'Optional', '', true, null, {}], /'required' or 'optional'/],
    ['cors', [1, 'true', null, {}, []], /true or false/],
    ['earlyData', ['allow', '', true, false, null, {}], /'refuse' or 'accept'/],
    ['clockTolerance', [-1, 61, 60.0001, NaN, Infinity, '5', null, [], [5], {}, true, 5n], /from 0 to 60/],
    [
      'keys',
      [
        true,
        'https://as.example.com/jwks',
        7,
        [],
        [{}],
        () => {},
        { jwks: JWK_SET, pem: PEM },
        { jwks: JWK_SET, uri: 'https://x.example' },
        { pem: PEM, freshFor: 1 },
      ],
      /jwks/,
    ],
    ['keys.jwks', [null, [], {}, { keys: [] }, { keys: {} }, 'x', 7, JWK_SET.keys].map((jwks) => ({ jwks })), /\{ keys: \[ … \] \}/],
    [
      'keys.pem',
      ['', 'PUBLIC KEY', [], [PEM, ''], [PEM, 7], null, 7, {}, PEM.replaceAll('PUBLIC', 'PRIVATE')].map((pem) => ({ pem })),
      /BEGIN PUBLIC KEY/,
    ],
    [
      'keys.uri',
      ['', 'as.example.com/jwks', 'http://as.example.com/jwks', 'file:///jwks', 7, null, {}, []].map((uri) => ({ uri })),
      /https URL/,
    ],
    ['keys.freshFor', [0, -1, 86_401, NaN, Infinity, '600', null, {}, true].map((freshFor) => ({ freshFor })), /from 1 to 86400/],
    ['keys.staleFor', [0, 599, 86_401, NaN, Infinity, '3600', null, {}, true].map((staleFor) => ({ staleFor })), /from 600 to 86400/],
    ['keys.cooldown', [0, -1, 3601, NaN, Infinity, '30', null, {}, true].map((cooldown) => ({ cooldown })), /from 1 to 3600/],
    ['keys.timeout', [0, -1, 61, NaN, Infinity, '5', null, {}, true].map((timeout) => ({ timeout })), /from 0\.1 to 60/],
    ['keys.largest', [0, 1023, 2 ** 30, NaN, Infinity, '1e6', null, {}, true].map((largest) => ({ largest })), /from 1024 to/],
    ['cache', [true, 'memory', 7, [], () => {}], /entries, bytes, maxAge/],
    ['cache.entries', [0, -1, 1e9, NaN, Infinity, '10', null, {}, true].map((entries) => ({ entries })), /from 1 to/],
    ['cache.bytes', [0, 65_535, 2 ** 50, NaN, Infinity, '10', null, {}, true].map((bytes) => ({ bytes })), /from 65536 to/],
    ['cache.maxAge', [0, -1, 86_401, NaN, Infinity, '10', null, {}, true].map((maxAge) => ({ maxAge })), /from 1 to 86400/],
    ['realm', ['é', 'a\r\nb', 'a\u0000b', '\t', 7, {}, true, [], false], /ASCII/],
    ['queryToken', ['accept', 'Ignore', '', true, false, null, {}], /'refuse' or 'ignore'/],
    ['onEvent', [null, true, 'log', {}, []], /function/],
    ['fetch', [null, true, 'fetch', {}, 'https://x.example'], /fetch/],
    ['now', [null, true, 0, NOW, 'now', new Date()], /seconds since 1970/],
  ];
  const cases = bad.flatMap(([option, values, fix]) => values.map((value) => [option, value, fix] as const));

  it.each(cases)('%s: %o is refused by name, with its value and what to write', (option, value, fix) => {
    const [name = ''] = option.split('.');
    const problems = problemsOf({ ...GOOD, [name]: value });
    const about = problems.filter((problem) => problem.startsWith(`- ${option}: `));
    expect(about).toHaveLength(1);
    expect(problems.filter((problem) => !problem.startsWith(`- ${option}`))).toEqual([]);
    expect(about[0]).toMatch(
      /: (?:is|are) (?:missing|no|"|'|\[|an object|a (?:function|string|list)|null|true|false|-?[\d.]|NaN|-?Infinity)/,
    );
    expect(about[0]).toMatch(fix);
  });

  it.each([undefined, null, 'https://as.example.com', 7, [], () => {}])('that are no object: %o', (options) => {
    expect(problemsOf(options).join('\n')).toMatch(/options: .*issuer, audience/);
    expect(() => holdfast(options as unknown as ProtectedResourceOptions)).toThrow(TypeError);
  });

  it.each([
    'isuer',
    'Issuer',
    'audiences',
    'allowBearer',
    'ignoreCnf',
    'acceptBoundAsBearer',
    'allowedTypes',
    'typ',
    'requireEncrypted',
    '__proto__x',
    'toString',
    'constructor',
  ])('JWT-03 CNF-07 CNF-11 that do not exist are refused, and with them every switch that would turn a check off: %s', (name) => {
    const problems = problemsOf({ ...GOOD, [name]: true });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^- ${name}: is no option\\. There are: issuer, audience, `));
  });

  it.each([
    ['keys', 'ttl'],
    ['cache', 'ttl'],
    ['certificatePolicy', 'chain'],
  ])('that do not exist within %s: %s', (option, name) => {
    const value = { [name]: 1, ...(option === 'certificatePolicy' && { validity: true }) };
    expect(problemsOf({ ...GOOD, [option]: value })).toEqual([expect.stringMatching(new RegExp(`^- ${option}\\.${name}: is no option`))]);
  });

  it('every problem is told at once, in one TypeError', () => {
    const wrong = Object.fromEntries(bad.filter(([option]) => !option.includes('.')).map(([option, values]) => [option, values.at(-1)]));
    const nested = { keys: { uri: 'x', freshFor: 0, cooldown: 0, timeout: 0, largest: 0 }, cache: { entries: 0, bytes: 0, maxAge: 0 } };
    const problems = problemsOf({ ...wrong, ...nested, isuer: 1, audiences: 2 });
    const names = problems.map((problem) => /^- ([\w.]+): /.exec(problem)?.[1] ?? problem);
    const expected = [
      'issuer',
      'audience',
      'certificate',
      'certificatePolicy',
      'unconstrained',
      'algorithms',
      'profiles',
      'clockTolerance',
      'keys.uri',
      'keys.freshFor',
      'keys.cooldown',
      'keys.timeout',
      'keys.largest',
      'cache.entries',
      'cache.bytes',
      'cache.maxAge',
      'realm',
      'queryToken',
      'publicUrl',
      'dpop',
      'schemes',
      'credentials',
      'cors',
      'earlyData',
      'onEvent',
      'fetch',
      'now',
      'isuer',
      'audiences',
    ];
    // A policy that is no object has no validity either, and may be told twice.
    expect(new Set(names.map((name) => name.replace('certificatePolicy.validity', 'certificatePolicy')))).toEqual(new Set(expected));
    expect((thrownBy({ ...GOOD, ...nested, isuer: 1 }) as Error).message).toMatch(/^Holdfast cannot start: 9 options are wrong\.\n- /);
    expect((thrownBy({ ...GOOD, isuer: 1 }) as Error).message).toMatch(/^Holdfast cannot start: 1 option is wrong\.\n- /);
  });

  it.each<[string, object]>([
    ['certificate', { certificate: undefined }],
    ['certificatePolicy', { certificatePolicy: undefined }],
    ['unconstrained', { unconstrained: undefined }],
    ['algorithms', { algorithms: undefined }],
    ['profiles', { profiles: undefined }],
    ['clockTolerance', { clockTolerance: undefined }],
    ['keys', { keys: undefined }],
    ['keys, member by member', { keys: { uri: undefined, freshFor: undefined, staleFor: undefined } }],
    ['cache', { cache: undefined }],
    ['cache, member by member', { cache: { entries: undefined, bytes: undefined, maxAge: undefined } }],
    ['realm', { realm: undefined }],
    ['queryToken', { queryToken: undefined }],
    ['onEvent', { onEvent: undefined }],
    ['fetch', { fetch: undefined }],
    ['now', { now: undefined }],
  ])('undefined is as good as left out: %s', (_what, more) => {
    expect(thrownBy({ ...GOOD, ...more })).toBeUndefined();
  });

  it.each<[string, object]>([
    [
      'the smallest',
      {
        clockTolerance: 0,
        keys: { freshFor: 1, staleFor: 1, cooldown: 1, timeout: 0.1, largest: 1024 },
        cache: { entries: 1, bytes: 65_536, maxAge: 1 },
      },
    ],
    [
      'the largest',
      {
        clockTolerance: 60,
        keys: { freshFor: 86_400, staleFor: 86_400, cooldown: 3600, timeout: 60, largest: 2 ** 24 },
        cache: { maxAge: 86_400 },
      },
    ],
    ['freshFor over the usual staleFor', { keys: { freshFor: 7200 } }],
    ['issuers on the loopback', { issuer: 'http://localhost:8080/realms/x' }],
    ['an issuer with a path, a port and a final slash', { issuer: 'https://as.example.com:8443/x/' }],
    ['several audiences', { audience: [AUDIENCE, 'urn:x', 'api'] }],
    ['an empty realm', { realm: '' }],
  ])('%s values are fine', (_what, more) => {
    expect(thrownBy({ ...GOOD, ...more })).toBeUndefined();
  });

  it.each<[string, object, string]>([
    ['cache.entries: 1.5', { cache: { entries: 1.5 } }, 'cache.entries'],
    ['cache.bytes: 65536.5', { cache: { bytes: 65_536.5 } }, 'cache.bytes'],
    ['cache: null', { cache: null }, 'cache'],
    ['keys: null', { keys: null }, 'keys'],
    ['realm: null', { realm: null }, 'realm'],
    ['dpop.window: null', { dpop: { window: null } }, 'dpop.window'],
    ['a key set that cannot be copied', { keys: { jwks: { keys: [() => {}] } } }, 'keys.jwks'],
    ['an issuer with a password', { issuer: 'https://user:hunter2@as.example.com' }, 'issuer'],
    ['an issuer with white space', { issuer: ' https://as.example.com' }, 'issuer'],
    ['an issuer that only looks like a URL', { issuer: 'https:as.example.com' }, 'issuer'],
    ['an issuer with a backslash', { issuer: 'https:\\\\as.example.com' }, 'issuer'],
  ])('%s is refused by name', (_what, more, option) => {
    expect(problemsOf({ ...GOOD, ...more })).toEqual([expect.stringContaining(`- ${option}: `)]);
  });

  it.each([[null], ['next'], [7], [[]], [{ refusals: 'throw' }], [{ refusals: null }], [{ refusals: 'next', more: 1 }]])(
    'a second argument of holdfast that is %j is told together with what is wrong with the first, in one TypeError',
    (second) => {
      const make = (first: object) => (): unknown =>
        holdfast(first as ProtectedResourceOptions, second as unknown as { refusals?: 'next' });
      expect(make(GOOD)).toThrow(
        new TypeError("The second argument of holdfast: Give { refusals: 'respond' } or { refusals: 'next' }, and nothing else."),
      );
      const both = /- issuer: .*\n- cors: .*\nThe second argument of holdfast: Give/s;
      expect(make({ ...GOOD, issuer: 7, cors: 7 })).toThrow(both);
      expect(make({ ...GOOD, issuer: 7, cors: 7 })).toThrow(TypeError);
    },
  );

  it('a member verify does not make options a resource', () => {
    expect(() => holdfast({ ...GOOD, verify: true } as ProtectedResourceOptions)).toThrow(TypeError);
  });

  it.each([
    ['keys.jwks', { jwks: { keys: 'hunter2', k: 'hunter2' } }],
    ['keys.jwks as a list', { jwks: [{ kty: 'oct', k: 'hunter2' }] }],
    ['keys.pem', { pem: '-----BEGIN PRIVATE KEY-----\nhunter2' }],
    ['keys.pem in a list', { pem: ['-----BEGIN PRIVATE KEY-----\nhunter2'] }],
    ['a member that does not exist', { secret: 'hunter2' }],
    ['an object', [{ secret: 'hunter2' }]],
  ])('a secret in the wrong place is not repeated: %s', (_where, keys) => {
    const error = thrownBy({ ...GOOD, keys });
    expect(error).toBeInstanceOf(TypeError);
    expect(inspect(error)).not.toContain('hunter2');
  });

  it.each([
    [
      'a private key as keys',
      async () => ({ keys: await exportPKCS8((await generateKeyPair('ES256', { extractable: true })).privateKey) }),
    ],
    ['a key set as text', async () => ({ keys: { jwks: '{"keys":[{"kty":"oct","k":"MIGHAgEAMBMGByqGSM49"}]}' } })],
    ['the address of a cache', async () => ({ cache: 'redis://default:MIGHAgEAMBMGByqGSM49@cache' })],
  ])('nor is %s', async (_what, make) => {
    const error = thrownBy({ ...GOOD, ...(await make()) });
    expect(error).toBeInstanceOf(TypeError);
    expect((error as Error).message).not.toMatch(/MIGHAgEAMBMGByqGSM49/);
  });

  it.each([
    [[]],
    [['short']],
    [['hunter2'.repeat(4)]],
    [Array.from({ length: 3 }, () => 'hunter2'.repeat(9))],
    [['hunter2'.repeat(9), 7]],
    ['hunter2'.repeat(9)],
    [undefined],
    [null],
  ])('secrets of nonces that are not usable are refused, and not repeated: %j', (secrets) => {
    const problems = problemsOf({ ...GOOD, dpop: { nonce: { secrets } } });
    expect(problems).toEqual([expect.stringMatching(/^- dpop\.nonce\.secrets: .*32 bytes/)]);
    expect(problems[0]).not.toContain('hunter2');
  });

  it.each<[string, object, string]>([
    ['dpop without an origin', { audience: 'urn:x', dpop: true }, 'publicUrl'],
    ['the scheme DPoP without an origin', { audience: 'urn:x', schemes: ['DPoP'] }, 'publicUrl'],
    ['dpop: false and the scheme DPoP', { dpop: false, schemes: ['DPoP'] }, 'dpop'],
    ['dpop and no scheme DPoP', { dpop: {}, schemes: ['Bearer'] }, 'schemes'],
    ['nonceReplacesIat without nonces', { dpop: { nonceReplacesIat: true } }, 'dpop.nonceReplacesIat'],
    ['fapi2 with a memory of its own', { profiles: ['fapi2'] }, 'dpop.replay'],
    ['fapi2 with tokens without cnf', { profiles: ['fapi2'], dpop: false, unconstrained: 'accept' }, 'unconstrained'],
    ['fapi2 with RS256', { profiles: ['fapi2'], dpop: false, algorithms: ['RS256'] }, 'algorithms'],
  ])('that contradict each other are refused: %s', (_what, more, option) => {
    expect(problemsOf({ ...GOOD, ...more })).toEqual([expect.stringContaining(`- ${option}: `)]);
  });

  it('EDG-16 fapi2 warns that nothing tells of tokens that were revoked', async () => {
    const warnings: string[] = [];
    const listen = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', listen);
    protectedResource({ ...GOOD, dpop: false });
    protectedResource({ ...GOOD, dpop: false, profiles: ['fapi2'] });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', listen);
    expect(warnings).toEqual([expect.stringContaining('revoked')]);
  });

  it('a value of any length is shown by its beginning', () => {
    const [problem = ''] = problemsOf({ ...GOOD, issuer: 'x'.repeat(100_000) });
    expect(problem.length).toBeLessThan(400);
  });

  it('nothing is fetched, and no clock is read, when a resource is made', async () => {
    const issuer = await startIssuer();
    const calls: string[] = [];
    const made = holdfast({
      issuer: issuer.url,
      audience: AUDIENCE,
      fetch: () => Promise.reject(new Error(`${calls.push('fetch')}`)),
      certificate: () => void calls.push('certificate'),
      onEvent: () => void calls.push('onEvent'),
    });
    await made.close();
    expect([issuer.requests, calls]).toEqual([[], []]);
    await issuer.close();
  });

  describe('are copied: what happens to them afterwards changes nothing', () => {
    const changed = async (
      options: ApiOptions & Record<string, unknown>,
      change: (options: Record<string, unknown>) => void,
      claims: object,
      header: object = {},
      algorithms: readonly string[] = ['ES256'],
    ): Promise<[string, string]> => {
      const issuer = await startIssuer({ now: createClock(NOW).now, algorithms });
      const api = await startApi({ issuedBy: issuer, ...options });
      const before = verdictOf(await api.ask(`Bearer ${await issuer.token(claims, header)}`));
      change(options);
      const after = verdictOf(await api.ask(`Bearer ${await issuer.token(claims, header)}`));
      await api.close();
      await issuer.close();
      return [before, after];
    };

    it('algorithms', async () => {
      const algorithms = ['ES256'];
      const verdicts = await changed({ algorithms }, () => algorithms.splice(0, 1, 'RS256'), {}, { alg: 'RS256' }, ['ES256', 'RS256']);
      expect(verdicts).toEqual(Array.from({ length: 2 }, () => '401 | Bearer invalid_token | token.algorithm'));
    });

    it('profiles', async () => {
      const profiles: 'rfc9068'[] = ['rfc9068'];
      expect(await changed({ profiles }, () => profiles.pop(), { sub: undefined })).toEqual(
        Array.from({ length: 2 }, () => '401 | Bearer invalid_token | token.claim'),
      );
    });

    it('certificatePolicy', async () => {
      const certificatePolicy = { validity: true as const };
      const garbage = certificateOf(new TextEncoder().encode('no certificate'));
      const verdicts = await changed(
        { certificatePolicy, certificate: () => garbage },
        () => Object.assign(certificatePolicy, { validity: false }),
        { cnf: { 'x5t#S256': garbage.thumbprint } },
      );
      expect(verdicts).toEqual(Array.from({ length: 2 }, () => '401 | Bearer invalid_token | certificate.unreadable'));
    });

    it('cache', async () => {
      const cache = { maxAge: 1 };
      const issuer = await startIssuer({ now: createClock(NOW).now });
      const api = await startApi({ issuedBy: issuer, cache });
      cache.maxAge = 86_400;
      const token = await issuer.token();
      const first = (await api.ask(`Bearer ${token}`)).access?.claims;
      api.clock.advance(1);
      expect((await api.ask(`Bearer ${token}`)).access?.claims).not.toBe(first);
      await api.close();
      await issuer.close();
    });

    it('a key set, down to its members', async () => {
      const issuer = await startIssuer({ now: createClock(NOW).now });
      const thief = await generateSigningKey('ES256', issuer.keys[0]?.kid);
      const jwk: JWK = { ...issuer.keys[0]?.publicJwk };
      const jwks = { keys: [jwk] };
      const api = await startApi({ issuedBy: issuer, keys: { jwks } });
      Object.assign(jwk, thief.publicJwk);
      jwks.keys.push(thief.publicJwk);
      jwks.keys = [thief.publicJwk];
      expect(verdictOf(await api.ask(`Bearer ${await issuer.token()}`))).toBe(GRANTED);
      expect(verdictOf(await api.ask(`Bearer ${await issuer.token({}, {}, { key: thief })}`))).toBe(
        '401 | Bearer invalid_token | token.signature',
      );
      await api.close();
      await issuer.close();
    });

    it('the object itself', async () => {
      const issuer = await startIssuer({ now: createClock(NOW).now });
      const options: Record<string, unknown> = {
        issuer: issuer.url,
        audience: AUDIENCE,
        now: createClock(NOW).now,
        keys: { uri: issuer.jwksUri },
      };
      const resource = protectedResource(options as unknown as ProtectedResourceOptions);
      Object.assign(options, { unconstrained: 'accept', audience: 'x', issuer: 'https://evil.example', clockTolerance: 60 });
      (options['keys'] as { uri: string }).uri = 'https://evil.example/jwks';
      const token = await issuer.token();
      const result = await resource.verify({
        method: 'GET',
        target: '/r',
        fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
      expect(result.granted ? 'granted' : result.rejection.rejected).toBe('cnf.absent');
      await resource.close();
      await issuer.close();
    });

    it('audience', async () => {
      const audience = [AUDIENCE];
      const refused = '401 | Bearer invalid_token | token.audience';
      expect(await changed({ audience }, () => audience.push('https://other.example.com'), { aud: 'https://other.example.com' })).toEqual([
        refused,
        refused,
      ]);
    });

    it('the scopes of a route', () => {
      const scope = ['admin'];
      const { scopes } = prepareRequirements({ scope });
      scope.pop();
      expect(scopes).toEqual(['admin']);
    });

    it('and they are not changed either: frozen ones will do', async () => {
      const issuer = await startIssuer({ now: createClock(NOW).now });
      const frozen = Object.freeze({
        audience: Object.freeze([AUDIENCE]),
        algorithms: Object.freeze(['ES256']),
        keys: Object.freeze({ jwks: Object.freeze({ keys: [Object.freeze({ ...issuer.keys[0]?.publicJwk })] }) }),
        cache: Object.freeze({ entries: 1 }),
      });
      const api = await startApi({ issuedBy: issuer, ...frozen });
      expect(verdictOf(await api.ask(`Bearer ${await issuer.token()}`))).toBe(GRANTED);
      await api.close();
      await issuer.close();
    });
  });
});
