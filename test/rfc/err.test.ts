import { createServer, type Server } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import { accessOf, holdfast, HoldfastError, type HoldfastMiddleware, requires } from '@holdfast/express';
import { prepareRequirements, protectedResource, REASONS, type ResourceEvent } from '@holdfast/core';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import { listen, stop } from '@holdfast/test-support/loopback';
import { rawRequest, type RawResponse } from '@holdfast/test-support/raw-request';
import express, { type ErrorRequestHandler, type Express } from 'express';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Answer, type Api, AUDIENCE, NOW, refusalOf, startApi, verdictOf } from './api.ts';

const DESCRIPTION = /^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/;
const REALM = { realm: AUDIENCE };

/** Requests of every kind that is refused: what is sent, and the answer that RFC 6750 §3.1 gives it. */
const REFUSALS: [string, string, (api: Api) => Promise<Answer>][] = [
  ['nothing', '401 | Bearer', (api) => api.ask([])],
  ['another scheme', '401 | Bearer', (api) => api.ask('Basic dTpw')],
  ['no token', '400 | Bearer invalid_request', (api) => api.ask('Bearer')],
  ['two tokens', '400 | Bearer invalid_request', (api) => api.ask('Bearer a b')],
  ['two lines', '400 | Bearer invalid_request', (api) => api.ask(['Bearer a', 'Bearer a'])],
  ['two schemes', '400 | Bearer invalid_request', (api) => api.ask(['Bearer a', 'DPoP a'])],
  ['joined lines', '400 | Bearer invalid_request', (api) => api.ask('Bearer a, DPoP b')],
  ['a token in the query too', '400 | Bearer invalid_request', (api) => api.ask('Bearer a', { target: '/r?access_token=a' })],
  ['too long a token', '400 | Bearer invalid_request', (api) => api.ask(`Bearer ${'a'.repeat(20_000)}`)],
  ['no JWT', '401 | Bearer invalid_token', (api) => api.ask('Bearer a')],
  ['an encrypted one', '401 | Bearer invalid_token', (api) => api.ask('Bearer a.b.c.d.e')],
  ['garbage', '401 | Bearer invalid_token', (api) => api.ask('Bearer a.b.c')],
  ['an ID token', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({}, { typ: 'JWT' })}`)],
  ['alg none', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({}, {}, { key: false })}`)],
  ['crit', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({}, { crit: ['x'] })}`)],
  [
    'another issuer',
    '401 | Bearer invalid_token',
    async (api) => api.ask(`Bearer ${await api.issuer.token({ iss: 'https://x.example' })}`),
  ],
  ['an unknown key', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({}, { kid: 'x' })}`)],
  [
    'another signature',
    '401 | Bearer invalid_token',
    async (api) => api.ask(`Bearer ${(await api.issuer.token()).slice(0, -86)}${'A'.repeat(86)}`),
  ],
  ['an expired one', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({ exp: NOW - 60 })}`)],
  ['a future one', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({ nbf: NOW + 60 })}`)],
  ['another audience', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({ aud: 'x' })}`)],
  ['a wrong claim', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({ sub: 1 })}`)],
  ['a wrong cnf', '401 | Bearer invalid_token', async (api) => api.ask(`Bearer ${await api.issuer.token({ cnf: {} })}`)],
  [
    'a bound one',
    '401 | Bearer invalid_token',
    async (api) => api.ask(`Bearer ${await api.issuer.token({ cnf: { jkt: 'A'.repeat(43) } })}`),
  ],
  [
    'too small a scope',
    '403 | Bearer insufficient_scope',
    async (api) => api.ask(`Bearer ${await api.issuer.token({ scope: 'x' })}`, { target: '/read' }),
  ],
];

describe('ERR: errors and challenges (RFC 6750 §3, RFC 9110 §11)', () => {
  let api: Api;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api.close());

  it.each(REFUSALS)('ERR-01 ERR-02 ERR-03 ERR-04 ERR-20 %s: %s', async (_what, expected, ask) => {
    const answer = await ask(api);
    expect([refusalOf(answer), answer.access]).toEqual([expected, undefined]);
  });

  it.each(REFUSALS)('ERR-09 ERR-10 ERR-11 ERR-12 %s: one challenge, well written, with a realm', async (_what, _expected, ask) => {
    // The parser throws on a repeated parameter, on a realm that is no quoted-string, and on anything that is no challenge.
    const { challenges, challengeLines } = await ask(api);
    expect(challengeLines).toHaveLength(1);
    const { realm, error, error_description: description, scope, ...others } = challenges[0]?.parameters ?? {};
    expect([challenges[0]?.scheme, realm, others]).toEqual(['Bearer', AUDIENCE, {}]);
    if (error === undefined) expect(description).toBeUndefined();
    else expect(description).toMatch(DESCRIPTION);
    expect(scope === undefined).toBe(error !== 'insufficient_scope');
  });

  it.each(REFUSALS)('ERR-18 %s: the body says what the challenge says, as JSON, or there is none', async (_what, _expected, ask) => {
    const { challenges, body, headers } = await ask(api);
    const { error, error_description } = challenges[0]?.parameters ?? {};
    const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1];
    if (error === undefined) expect([body, type]).toEqual(['', undefined]);
    else {
      expect(JSON.parse(body)).toEqual({ error, error_description });
      expect(type).toBe('application/json; charset=utf-8');
    }
  });

  it.each([
    ['two lines of Basic', ['Basic dTpw', 'Basic dTpw']],
    ['a scheme that is not offered, without a token', 'DPoP'],
    ['a scheme that is not offered, malformed', 'DPoP a b'],
    ['two lines of a scheme that is not offered', ['DPoP a', 'DPoP a']],
  ])('ERR-18 %s: the body says what the challenge says', async (_what, lines) => {
    const { challenges, body } = await api.ask(lines);
    const { error } = challenges[0]?.parameters ?? {};
    expect(body === '' ? undefined : (JSON.parse(body) as { error: string }).error).toBe(error);
  });

  it('ERR-11 one sentence for each code: an answer tells a thief nothing about the token', async () => {
    const told = new Map<string, Set<string>>();
    for (const [, , ask] of REFUSALS) {
      const { challenges } = await ask(api);
      const { error = 'none', error_description: description = 'none' } = challenges[0]?.parameters ?? {};
      told.set(error, (told.get(error) ?? new Set()).add(description));
    }
    expect([...told].map(([error, descriptions]) => [error, descriptions.size])).toEqual([
      ['none', 1],
      ['invalid_request', 1],
      ['invalid_token', 1],
      ['insufficient_scope', 1],
    ]);
  });

  it('ERR-04 the table of reasons has the statuses of RFC 6750 §3.1, and 503 without a code', () => {
    const statuses = {
      invalid_request: 400,
      invalid_token: 401,
      insufficient_scope: 403,
      insufficient_user_authentication: 401,
      invalid_dpop_proof: 401,
      use_dpop_nonce: 401,
    };
    // What is no error of OAuth: to be sent again later, more slowly or with less (RFC 8470 §5.2, RFC 6585 §4, §5).
    const others: Record<string, number> = {
      'request.early_data': 425,
      'request.fields_cut': 431,
      'request.misdirected': 421,
      'request.no_metadata': 404,
      'replay.over_share': 429,
    };
    for (const [reason, row] of Object.entries(REASONS)) {
      const expected = 'error' in row ? statuses[row.error] : (others[reason] ?? (reason.startsWith('unavailable.') ? 503 : 401));
      expect([reason, row.status]).toEqual([reason, expected]);
    }
  });

  describe('with both schemes', () => {
    let both: Api;
    const errors = ({ status, challenges }: Answer): unknown[] => [
      status,
      ...challenges.map(({ scheme, parameters }) => [scheme, parameters['error']]),
    ];
    beforeAll(async () => {
      both = await startApi({ issuedBy: api.issuer, dpop: true });
    });
    afterAll(() => both.close());

    it('ERR-06 ERR-08 the error stands in the challenge of the scheme that was used, the other stays plain', async () => {
      expect(errors(await both.ask('Bearer a'))).toEqual([401, ['Bearer', 'invalid_token'], ['DPoP', undefined]]);
      expect(errors(await both.ask('Bearer'))).toEqual([400, ['Bearer', 'invalid_request'], ['DPoP', undefined]]);
      expect(errors(await both.ask('DPoP'))).toEqual([400, ['Bearer', undefined], ['DPoP', 'invalid_request']]);
      const { challenges } = await both.ask('DPoP a', { lines: ['DPoP: a'] });
      expect(challenges[0]?.parameters).toEqual(REALM);
      expect(challenges[1]?.parameters['algs']).toMatch(/^ES256( [A-Za-z0-9]+)+$/);
    });

    it('ERR-05 a malformed proof is 401, not 400', async () => {
      const token = await both.issuer.token({ cnf: { jkt: 'A'.repeat(43) } });
      for (const lines of [[], ['DPoP:'], ['DPoP: a'], ['DPoP: a.b.c'], ['DPoP: a', 'DPoP: b']]) {
        const answer = await both.ask(`DPoP ${token}`, { lines });
        expect(errors(answer)).toEqual([401, ['Bearer', undefined], ['DPoP', 'invalid_dpop_proof']]);
        expect(answer.access).toBeUndefined();
      }
    });

    it('ERR-07 where both were used both carry it', async () => {
      const token = await both.issuer.token();
      for (const lines of [
        [`Bearer ${token}`, `DPoP ${token}`],
        [`DPoP ${token}`, `Bearer ${token}`],
        [`Bearer ${token}, DPoP ${token}`],
      ]) {
        expect(errors(await both.ask(lines))).toEqual([400, ['Bearer', 'invalid_request'], ['DPoP', 'invalid_request']]);
      }
      // And for one only, that one.
      expect(errors(await both.ask(['DPoP a', 'DPoP a']))).toEqual([400, ['Bearer', undefined], ['DPoP', 'invalid_request']]);
    });

    it('ERR-13 two challenges on lines of their own, Bearer first; joined they say the same', async () => {
      const { challengeLines, challenges } = await both.ask([]);
      expect(challengeLines.map((line) => line.split(' ')[0])).toEqual(['Bearer', 'DPoP']);
      expect(parseChallenges([challengeLines.join(', ')])).toEqual(challenges);
    });
  });

  it('ERR-14 ERR-15 insufficient_scope names every scope that the route needs, in one challenge', async () => {
    const answer = await api.ask(`Bearer ${await api.issuer.token({ scope: 'a' })}`, { target: '/both' });
    expect(verdictOf(answer)).toBe('403 | Bearer insufficient_scope | scope.insufficient');
    expect(answer.challenges).toHaveLength(1);
    expect(answer.challenges[0]?.parameters).toMatchObject({ scope: 'a b', ...REALM });
    expect(api.events.at(-1)).toMatchObject({ expected: 'b' });
    expect((await api.ask(`Bearer ${await api.issuer.token({ scope: 'b x a' })}`, { target: '/both' })).status).toBe(200);
  });

  it.each(['read "write"', 'a\\b', 'a\u0000b', 'é', 'a\nb', '', '  ', 'a  b', ' a'])(
    'ERR-11 a scope that no challenge can carry is refused with the route: %j',
    (scope) => {
      expect(() => prepareRequirements({ scope })).toThrow(TypeError);
      expect(() => requires({ scope })).toThrow(/scope/);
      expect(() => requires({ scope: [scope] })).toThrow(/scope/);
    },
  );

  it.each(['a "quoted" realm', 'back\\slash', '\\"', '"', '\\', 'a, Basic realm="x"', 'realm="x", error="y"', "~!@#$%^&*()'<>"])(
    'ERR-12 a realm is escaped, and read back as it is: %s',
    async (realm) => {
      const named = await startApi({ issuedBy: api.issuer, realm });
      const { challenges, challengeLines } = await named.ask('Bearer a');
      expect([challengeLines.length, challenges.map(({ scheme }) => scheme), challenges[0]?.parameters['realm']]).toEqual([
        1,
        ['Bearer'],
        realm,
      ]);
      await named.close();
    },
  );

  it.each(['a\r\nSet-Cookie: x=1', 'a\u0000', 'a\tb', 'é', '\u2028', 'a\x7f'])(
    'ERR-12 one that a field cannot carry is refused at the start: %j',
    (realm) => {
      expect(() => holdfast({ issuer: 'https://as.example.com', audience: AUDIENCE, realm })).toThrow(/realm/);
    },
  );

  const hostile = [
    '\r\nX-Injected: yes',
    '", error="none',
    '\u0000\u0007',
    '\\"\\',
    '<script>alert(1)</script>',
    '\u202e\ud83d\ude08',
    'é',
    "' OR 1=1 --",
    '%0d%0aX-Injected:%20yes',
  ];
  it.each(hostile)('ERR-11 nothing of the token gets into a field: %j', async (text) => {
    const { url } = api.issuer;
    const thief = await generateSigningKey('ES256', text);
    const signed = (claims: object, header: object = {}): Promise<string> => api.issuer.token(claims, header, { key: thief });
    const tokens = [
      await signed({}),
      await signed({ iss: text }),
      await signed({ iss: `${url}${text}` }, { kid: text }),
      await signed({}, { typ: text }),
      await signed({}, { alg: text }),
      await signed({}, { crit: [text] }),
      await api.issuer.token({ aud: text }),
      await api.issuer.token({ scope: 1, [text]: text }),
      await api.issuer.token({ cnf: { [text]: text } }),
      await api.issuer.token({ cnf: { 'x5t#S256': text } }),
      await api.issuer.token({ cnf: { jkt: 'A'.repeat(43) }, client_id: text }),
    ];
    for (const token of tokens) {
      const answer = await api.ask(`Bearer ${token}`);
      expect([refusalOf(answer), answer.access]).toEqual(['401 | Bearer invalid_token', undefined]);
      expect(answer.challenges[0]?.parameters['error_description']).toMatch(DESCRIPTION);
      const sent = JSON.stringify([answer.headers, answer.body]);
      expect(sent).not.toContain(JSON.stringify(text).slice(1, -1));
      expect(sent.toLowerCase()).not.toContain('injected');
    }
    const scope = await api.ask(`Bearer ${await api.issuer.token({ scope: `x ${text}` })}`, { target: '/read' });
    expect([refusalOf(scope), JSON.stringify(scope.headers).includes(JSON.stringify(text).slice(1, -1))]).toEqual([
      '403 | Bearer insufficient_scope',
      false,
    ]);
  });

  it('ERR-16 EDG-11 no answer and no event has the token, a part of it, or a claim', async () => {
    const secrets = { sub: 'subject-5f1c', jti: 'identifier-77aa', email: 'somebody@example.com', sid: 'session-9e9e' };
    const kid = api.issuer.keys[0]?.kid ?? '';
    const cases: [object, object?, string?][] = [
      [{ ...secrets, exp: NOW - 60 }],
      [{ ...secrets, nbf: NOW + 60 }],
      [{ ...secrets, aud: 'secret-audience-1234' }],
      [{ ...secrets, iss: 'https://secret-issuer-1234.example' }],
      [{ ...secrets, client_id: ['secret-client-1234'] }],
      [{ ...secrets, cnf: { jkt: 'secret-thumbprint-1234-secret-thumbprint-12' } }],
      [{ ...secrets, cnf: { 'x5t#S256': 'x' } }],
      [{ ...secrets, cnf: { secret_member_1234: 'secret-value-1234' } }],
      [{ ...secrets, cnf: 'secret-cnf-1234' }],
      [{ ...secrets, scope: 'secret-scope-1234' }, {}, '/read'],
      [secrets, { typ: 'secret-typ-1234' }],
      [secrets, { alg: 'secret-alg-1234' }],
      [secrets, { kid: 'secret-kid-1234' }],
      [secrets, { crit: ['secret-crit-1234'] }],
    ];
    for (const [claims, header, target] of cases) {
      const token = await api.issuer.token(claims, header);
      const answer = await api.ask(`Bearer ${token}`, target === undefined ? {} : { target });
      expect([answer.status === 401 || answer.status === 403, answer.access]).toEqual([true, undefined]);
      const said = JSON.stringify([answer.headers, answer.body, api.events]);
      expect(api.events.length).toBeGreaterThan(0);
      for (const part of token.split('.'))
        for (let at = 0; at + 16 <= part.length; at += 16) expect(said).not.toContain(part.slice(at, at + 16));
      for (const secret of [...Object.values(secrets), kid, 'eyJ']) expect(said).not.toContain(secret);
      expect(said).not.toMatch(/secret.*1234/);
    }
  });

  it('ERR-16 EDG-11 nor do they have a token that is none, a query, a cookie or another field', async () => {
    const secret = 'c2VjcmV0c2VjcmV0c2VjcmV0';
    const lines = [`Cookie: s=${secret}`, `X-Api-Key: ${secret}`, `DPoP: ${secret}`, `Proxy-Authorization: Basic ${secret}`];
    for (const credentials of [
      [],
      [`Bearer ${secret}`],
      [`Basic ${secret}`],
      [`Bearer ${secret} x`],
      [`Bearer ${secret}`, `DPoP ${secret}`],
      [`${secret} x`],
    ]) {
      for (const target of ['/r', `/r?q=${secret}`, `/r?access_token=${secret}`]) {
        const answer = await api.ask(credentials, { lines, target });
        expect(answer.status).toBeGreaterThanOrEqual(400);
        expect(JSON.stringify([answer.headers, answer.body, api.events])).not.toContain(secret);
      }
    }
  });

  it('ERR-19 what is our fault is 503: no challenge, no code, no body', async () => {
    const down = await startIssuer({ now: createClock(NOW).now });
    const blind = await startApi({ issuedBy: down });
    await down.down();
    const answer = await blind.ask(`Bearer ${await down.token()}`);
    expect([verdictOf(answer), answer.body, answer.challengeLines, answer.headers.some(([name]) => name === 'Retry-After')]).toEqual([
      '503 | unavailable.keys',
      '',
      [],
      true,
    ]);
    expect(blind.events.at(-1)).toMatchObject({ outcome: 'unavailable' });
    // What needs no keys to be judged is the client's fault as before.
    expect(refusalOf(await blind.ask('Bearer a'))).toBe('401 | Bearer invalid_token');
    expect(refusalOf(await blind.ask([]))).toBe('401 | Bearer');
    await blind.close();
    await down.close();
  });

  it.each([NaN, Infinity, 'now', undefined])('ERR-19 a clock that fails (%s) is our fault too, and no 500', async (value) => {
    const broken = await startApi({ issuedBy: api.issuer, now: () => value as number });
    const answer = await broken.ask(`Bearer ${await api.issuer.token()}`);
    expect([answer.status, answer.body, answer.challengeLines, answer.access]).toEqual([503, '', [], undefined]);
    await broken.close();
  });

  it('ERR-21 a path that nobody serves: 401 behind the protection, 404 with credentials', async () => {
    expect(verdictOf(await api.ask([], { target: '/nowhere' }))).toBe('401 | Bearer | request.no_credentials');
    expect((await api.ask(`Bearer ${await api.issuer.token()}`, { target: '/nowhere' })).status).toBe(404);
  });

  it('EDG-12 a granted answer gets no field from us: nothing that makes it cacheable, nothing of the token', async () => {
    const { headers } = await api.ask(`Bearer ${await api.issuer.token()}`);
    expect(headers.map(([name]) => name.toLowerCase()).toSorted()).toEqual([
      'connection',
      'content-length',
      'content-type',
      'date',
      'etag',
      'keep-alive',
      'x-powered-by',
    ]);
  });

  it('EDG-18 what the route is given is frozen, and says only what was confirmed', async () => {
    const { access } = await api.ask(`Bearer ${await api.issuer.token()}`);
    expect(access).toMatchObject({
      granted: true,
      confirmed: false,
      scheme: 'Bearer',
      issuer: api.issuer.url,
      confirmations: [],
      fields: [],
    });
    expect([access, access?.claims, access?.confirmations, access?.fields].map((part) => Object.isFrozen(part))).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });
});

describe('ERR: in Express', () => {
  let issuer: Issuer;
  let token: string;
  const servers: Server[] = [];
  const protections: HoldfastMiddleware[] = [];

  beforeAll(async () => {
    issuer = await startIssuer({ now: createClock(NOW).now });
    token = await issuer.token();
  });
  afterEach(async () => {
    for (const protection of protections.splice(0)) await protection.close();
    for (const server of servers.splice(0)) await stop(server);
    vi.restoreAllMocks();
  });
  afterAll(() => issuer.close());

  const protect = (refusals: 'respond' | 'next' = 'respond', onEvent?: (event: ResourceEvent) => void): HoldfastMiddleware => {
    const now = createClock(NOW).now;
    const options = { issuer: issuer.url, audience: AUDIENCE, unconstrained: 'accept', dpop: false, now } as const;
    const made = holdfast({ ...options, ...(onEvent && { onEvent }) }, { refusals });
    protections.push(made);
    return made;
  };
  const serve = async (
    build: (app: Express) => void,
  ): Promise<(line?: string, target?: string) => Promise<Omit<RawResponse, 'socket'>>> => {
    const app = express();
    build(app);
    const server = createServer(app);
    servers.push(server);
    const port = await listen(server);
    return async (line, target = '/r') => {
      const { socket, ...response } = await rawRequest({
        port,
        lines: [`GET ${target} HTTP/1.1`, 'Host: rs.example.com', ...(line === undefined ? [] : [`Authorization: ${line}`])],
      });
      socket.destroy();
      return response;
    };
  };
  const challengesOf = ({ headers }: Omit<RawResponse, 'socket'>): ReturnType<typeof parseChallenges> =>
    parseChallenges(headers.flatMap(([name, value]) => (name.toLowerCase() === 'www-authenticate' ? [value] : [])));
  const fieldOf = ({ headers }: Omit<RawResponse, 'socket'>, wanted: string): string[] =>
    headers.flatMap(([name, value]) => (name.toLowerCase() === wanted ? [value] : []));

  it('ERR-21 protection of one path leaves the others alone', async () => {
    const get = await serve((app) => {
      app.use('/api', protect());
      app.get('/api/r', (_request, response) => void response.json({}));
      app.get('/open', (_request, response) => void response.json({}));
    });
    const statuses = async (line?: string): Promise<number[]> =>
      (await Promise.all(['/api/r', '/api/nowhere', '/open', '/nowhere'].map((target) => get(line, target)))).map(({ status }) => status);
    expect(await statuses()).toEqual([401, 401, 200, 404]);
    expect(await statuses(`Bearer ${token}`)).toEqual([200, 404, 200, 404]);
  });

  describe("refusals: 'next'", () => {
    it.each([
      ['no credentials', undefined, 401, undefined],
      ['a bad token', 'Bearer a.b.c', 401, 'invalid_token'],
      ['a malformed field', 'Bearer a b', 400, 'invalid_request'],
    ])('the default error handler of Express keeps status and challenge: %s', async (_what, line, status, error) => {
      let ran = false;
      const get = await serve((app) => {
        app.set('env', 'test');
        app.use(protect('next'));
        app.get('/r', () => {
          ran = true;
        });
      });
      const response = await get(line);
      expect([response.status, challengesOf(response).map(({ scheme, parameters }) => [scheme, parameters['error']]), ran]).toEqual([
        status,
        [['Bearer', error]],
        false,
      ]);
    });

    it('and so does it for a scope, with the scopes', async () => {
      const get = await serve((app) => {
        app.set('env', 'test');
        app.get('/r', protect('next'), requires({ scope: 'write admin' }), (_request, response) => void response.json({}));
      });
      const response = await get(`Bearer ${token}`);
      expect([response.status, challengesOf(response)[0]?.parameters['scope']]).toEqual([403, 'write admin']);
    });

    it('and for 503: Retry-After, no challenge, and in production no word of why', async () => {
      const away = await startIssuer({ now: createClock(NOW).now });
      const protection = holdfast({ issuer: away.url, audience: AUDIENCE, now: createClock(NOW).now }, { refusals: 'next' });
      protections.push(protection);
      const awayToken = await away.token();
      await away.close();
      const printed = vi.spyOn(console, 'error').mockImplementation(() => {});
      const get = await serve((app) => {
        app.set('env', 'production');
        app.use(protection);
      });
      const response = await get(`Bearer ${awayToken}`);
      expect([response.status, fieldOf(response, 'retry-after'), challengesOf(response)]).toEqual([503, ['1'], []]);
      expect(response.body).not.toMatch(/127\.0\.0\.1|ECONN|fetch|keys|HoldfastError/);
      // Express prints what it answers in production, and that is for those who run the API.
      await vi.waitFor(() => expect(printed).toHaveBeenCalledOnce());
      expect(inspect(printed.mock.calls, { depth: Infinity })).not.toContain(awayToken);
    });

    const handlers: [string, ErrorRequestHandler][] = [
      ['passes it on', (error, _request, _response, next) => next(error)],
      [
        'throws it again',
        (error) => {
          throw error;
        },
      ],
      [
        'throws it again, later',
        async (error) => {
          await nextTurn();
          throw error;
        },
      ],
      [
        'sets fields and passes it on',
        (error, _request, response, next) => {
          response.setHeader('X-Request-Id', '1');
          next(error);
        },
      ],
      [
        'answers with the status alone',
        (error: HoldfastError, _request, response, _next) => void response.status(error.status).json({ problem: error.message }),
      ],
      ['answers with another status', (_error, _request, response, _next) => void response.status(418).set('X-Own', '1').end()],
      [
        'sets the fields of the error itself',
        (error: HoldfastError, _request, response, _next) => void response.status(error.statusCode).set(error.headers).end(),
      ],
    ];
    it.each(handlers)('the challenge survives an error handler that %s, once', async (what, handler) => {
      const get = await serve((app) => {
        app.set('env', 'test');
        app.use(protect('next'));
        app.use(handler);
      });
      const response = await get('Bearer a.b.c');
      expect([response.status, challengesOf(response).map(({ scheme, parameters }) => `${scheme} ${parameters['error']}`)]).toEqual([
        what.includes('another status') ? 418 : 401,
        ['Bearer invalid_token'],
      ]);
    });

    it('ERR-16 the error has why, and nothing of the token: not in its message, its properties, or when it is printed', async () => {
      const errors: HoldfastError[] = [];
      const get = await serve((app) => {
        app.use(protect('next'));
        app.use(((error: HoldfastError, _request, response, _next) => {
          errors.push(error);
          response.status(error.status).end();
        }) as ErrorRequestHandler);
      });
      const tokens = [
        await issuer.token({ sub: 'subject-5f1c', exp: NOW - 60 }),
        await issuer.token({ sub: 'subject-5f1c', cnf: { jkt: 'A'.repeat(43) } }),
        await issuer.token({ sub: 'subject-5f1c' }, { kid: 'subject-5f1c' }),
      ];
      for (const bad of tokens) {
        await get(`Bearer ${bad}`);
        const error = errors.at(-1);
        const printed = [error, error?.refusal, error?.headers]
          .map((part) => inspect(part, { depth: Infinity, showHidden: true }) + JSON.stringify(part))
          .join();
        expect(printed).toContain('HOLDFAST_INVALID_TOKEN');
        expect(printed).toContain('invalid_token');
        for (const part of [bad, ...bad.split('.'), 'subject-5f1c', 'eyJ']) expect(printed).not.toContain(part);
      }
      expect(errors.map(({ refusal }) => refusal?.rejection.rejected)).toEqual(['token.expired', 'dpop.not_offered', 'token.unknown_key']);
      expect(errors[0]).toBeInstanceOf(HoldfastError);
      expect(errors[0]).toMatchObject({
        name: 'HoldfastError',
        status: 401,
        statusCode: 401,
        headers: { 'WWW-Authenticate': expect.stringContaining('Bearer') },
      });
    });

    it('a mistaken setting is refused when the middleware is made', () => {
      expect(() => protect('later' as 'next')).toThrow(/refusals/);
    });
  });

  describe('An answer is written once', () => {
    /** Resolves when the request was decided, and the middleware has done with it what it will. */
    const decision = (): { decided: Promise<void>; onEvent: () => void } => {
      let onEvent = (): void => {};
      const decided = new Promise<void>((resolve) => {
        onEvent = () => void setImmediate(resolve);
      });
      return { decided, onEvent };
    };

    /** Two requests on one connection: had the first been answered twice, the second would get the rest of it. */
    const twice = async (build: (app: Express) => void): Promise<[number, number]> => {
      const app = express();
      build(app);
      app.get('/after', (_request, response) => void response.status(204).end());
      const server = createServer(app);
      servers.push(server);
      const port = await listen(server);
      const first = await rawRequest({ port, lines: ['GET /r HTTP/1.1', 'Host: rs', 'Authorization: Bearer a.b.c'] });
      const second = await rawRequest({ port, lines: ['GET /after HTTP/1.1', 'Host: rs'], socket: first.socket });
      second.socket.destroy();
      return [first.status, second.status];
    };

    it.each(['respond', 'next'] as const)('where a time limit was faster (%s)', async (refusals) => {
      const seen: unknown[] = [];
      let ran = 0;
      const { decided, onEvent } = decision();
      const protection = protect(refusals, onEvent);
      const statuses = await twice((app) => {
        app.use('/r', (_request, response, next) => {
          next();
          response.status(504).end();
        });
        app.use('/r', protection, () => {
          ran += 1;
        });
        app.use(((error, _request, _response, next) => {
          seen.push(error);
          next(error);
        }) as ErrorRequestHandler);
      });
      await decided;
      expect([statuses, ran, seen]).toEqual([[504, 204], 0, []]);
    });

    it('and the route does not run either when the token was good', async () => {
      let ran = 0;
      const { decided, onEvent } = decision();
      const get = await serve((app) => {
        app.use((_request, response, next) => {
          next();
          response.status(504).end();
        });
        app.use(protect('respond', onEvent), () => {
          ran += 1;
        });
      });
      const { status } = await get(`Bearer ${token}`);
      await decided;
      expect([status, ran]).toEqual([504, 0]);
    });

    it('where protection is mounted twice', async () => {
      const protection = protect();
      expect(await twice((app) => void app.use('/r', protection, protection))).toEqual([401, 204]);
    });

    it('where an error handler answers, and goes on all the same', async () => {
      const statuses = await twice((app) => {
        app.set('env', 'test');
        app.use('/r', protect('next'));
        app.use(((error: HoldfastError, _request, response, next) => {
          response.status(error.status).end();
          next();
        }) as ErrorRequestHandler);
      });
      expect(statuses).toEqual([401, 204]);
    });
  });

  describe('Where nothing protects', () => {
    it.each<[string, (app: Express) => void]>([
      ['accessOf in a route', (app) => void app.get('/r', (request, response) => void response.json(accessOf(request).claims))],
      [
        'accessOf in an asynchronous route',
        (app) =>
          // oxlint-disable-next-line oxc/no-async-endpoint-handlers -- Express 5 takes them
          void app.get('/r', async (request, response) => {
            await nextTurn();
            response.json(accessOf(request).claims);
          }),
      ],
      ['requires', (app) => void app.get('/r', requires({ scope: 'read' }), (_request, response) => void response.json({}))],
      [
        'requires before the protection',
        (app) => void app.get('/r', requires({ scope: 'read' }), protect(), (_request, response) => void response.json({})),
      ],
      [
        'accessOf beside a path that is protected',
        (app) => {
          app.use('/api', protect());
          app.get('/r', (request, response) => void response.json(accessOf(request).claims));
        },
      ],
      [
        'accessOf with what others have put on the request',
        (app) => {
          app.use((request, _response, next) => {
            Object.assign(request, {
              auth: { granted: true },
              access: { granted: true, claims: {} },
              holdfast: { granted: true },
              user: {},
            });
            next();
          });
          app.get('/r', requires({ scope: 'read' }), (request, response) => void response.json(accessOf(request).claims));
        },
      ],
    ])('%s: 401 with a challenge, never 500, though the token is good', async (_what, build) => {
      const get = await serve((app) => {
        app.set('env', 'test');
        build(app);
      });
      const response = await get(`Bearer ${token}`);
      expect([response.status, challengesOf(response).map(({ scheme }) => scheme)]).toEqual([401, ['Bearer']]);
      expect(response.body).not.toContain('user-1');
    });

    it('accessOf says what to do, to those who run the API', async () => {
      const errors: unknown[] = [];
      const get = await serve((app) => {
        app.get('/r', (request, response) => void response.json(accessOf(request)));
        app.use(((error, _request, response, _next) => {
          errors.push(error);
          response.status(500).end();
        }) as ErrorRequestHandler);
      });
      await get();
      expect(errors[0]).toMatchObject({ name: 'HoldfastError', status: 401, statusCode: 401 });
      expect((errors[0] as Error).message).toMatch(/holdfast\(…\).*before/i);
    });

    it('EDG-18 nor is there access after a refusal, for a handler that runs all the same', async () => {
      const caught: unknown[] = [];
      const get = await serve((app) => {
        app.use(protect('next'));
        app.use(((_error, request, response, _next) => {
          try {
            caught.push(accessOf(request));
          } catch (error) {
            caught.push((error as HoldfastError).status);
          }
          response.status(401).end();
        }) as ErrorRequestHandler);
      });
      await get('Bearer a.b.c');
      expect(caught).toEqual([401]);
    });

    it('a resource that is given instead of options is used as it is', async () => {
      const resource = protectedResource({ issuer: issuer.url, audience: AUDIENCE, unconstrained: 'accept', now: createClock(NOW).now });
      const get = await serve((app) => {
        app.use(holdfast(resource));
        app.get('/r', (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
      });
      expect([(await get()).status, (await get(`Bearer ${token}`)).body]).toEqual([401, '{"sub":"user-1"}']);
      await resource.close();
    });
  });
});
