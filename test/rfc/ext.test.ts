import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { base64url } from '@holdfast/test-support/jwt';
import { rawRequest } from '@holdfast/test-support/raw-request';
import { type Api, GRANTED, NOW, startApi, verdictOf } from './api.ts';

const NO_CREDENTIALS = '401 | Bearer | request.no_credentials';
const UNSUPPORTED = '401 | Bearer | request.unsupported_scheme';
const MALFORMED = '400 | Bearer invalid_request | request.malformed_authorization';
const SEVERAL = '400 | Bearer invalid_request | request.several_authorizations';
const IN_QUERY = '400 | Bearer invalid_request | request.token_in_query';
const TOO_LONG = '400 | Bearer invalid_request | request.token_too_long';

describe('EXT: the access token in the request (RFC 6750 §2, RFC 9110 §11)', () => {
  let api: Api;
  let token: string;

  beforeAll(async () => {
    api = await startApi();
    token = await api.issuer.token();
  });
  afterAll(() => api.close());

  describe('The scheme', () => {
    it('EXT-01 Authorization with the scheme Bearer', async () => {
      const answer = await api.ask(`Bearer ${token}`);
      expect([verdictOf(answer), answer.access?.scheme]).toEqual([GRANTED, 'Bearer']);
    });

    it.each(['bearer', 'BEARER', 'bEaReR'])('EXT-03 in any case: %s', async (scheme) => {
      const answer = await api.ask(`${scheme} ${token}`);
      expect([verdictOf(answer), answer.access?.scheme]).toEqual([GRANTED, 'Bearer']);
    });

    it.each(['authorization', 'AUTHORIZATION', 'aUthOrIzAtIoN'])('EXT-04 in a field whose name is written %s', async (name) => {
      expect(verdictOf(await api.ask([], { lines: [`${name}: Bearer ${token}`] }))).toBe(GRANTED);
    });

    it('EXT-04 while the token keeps its case: one letter of the signature in the other is another token', async () => {
      const start = token.lastIndexOf('.') + 1;
      const at = start + token.slice(start, -1).search(/[a-zA-Z]/);
      const letter = token.charAt(at);
      const other = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase();
      expect(verdictOf(await api.ask(`Bearer ${token.slice(0, at)}${other}${token.slice(at + 1)}`))).toBe(
        '401 | Bearer invalid_token | token.signature',
      );
    });

    it.each([1, 2, 3, 2000])('EXT-05 %i spaces between scheme and token', async (count) => {
      expect(verdictOf(await api.ask(`Bearer${' '.repeat(count)}${token}`))).toBe(GRANTED);
    });

    it.each([
      ['a tab', 'Bearer\t'],
      ['a space and a tab', 'Bearer \t'],
      ['a no-break space', 'Bearer\xa0'],
      ['a space and a no-break space', 'Bearer \xa0'],
      ['a colon', 'Bearer:'],
      ['a comma', 'Bearer,'],
      ['an equals sign', 'Bearer='],
      ['a slash', 'Bearer/'],
    ])('EXT-06 nothing but spaces separates them: %s is malformed', async (_what, start) => {
      expect(verdictOf(await api.ask(`${start}${token}`))).toBe(MALFORMED);
    });

    it.each(['Bearer', 'Bearer ', 'Bearer      ', 'bearer'])(
      'EXT-08 no token after the scheme is malformed, and not nothing: %j',
      async (line) => {
        expect(verdictOf(await api.ask(line))).toBe(MALFORMED);
      },
    );

    it.each([
      ['no Authorization', []],
      ['an empty one', ['']],
      ['one of white space', [' \t ']],
    ])('EXT-09 %s: challenged without an error, a description or a body', async (_what, lines) => {
      const answer = await api.ask(lines);
      expect(verdictOf(answer)).toBe(NO_CREDENTIALS);
      expect([answer.challengeLines, answer.body]).toEqual([['Bearer realm="https://rs.example.com"'], '']);
    });

    it.each([
      'Basic dTpw',
      'Digest username="u"',
      'Negotiate YII=',
      'Token x',
      'HTTPSig x',
      'Bear x',
      'Bearers x',
      'xBearer x',
      '"Bearer" x',
      '? x',
    ])('EXT-10 NEW-03 a scheme that is not offered counts as no credentials: %s', async (line) => {
      const answer = await api.ask(line);
      expect([verdictOf(answer), answer.body]).toEqual([UNSUPPORTED, '']);
    });

    it.each(['Bearers', 'DPoP', 'Basic', 'HTTPSig'])('EXT-10 also with a token that would pass: %s', async (scheme) => {
      expect(verdictOf(await api.ask(`${scheme} ${token}`))).toBe(UNSUPPORTED);
    });
  });

  describe('The token', () => {
    it.each(['a b', 'a,b', 'a=b', '=a', '"a"', '\xe9', 'a;b', '{"a":1}', "a'b", 'a\\b', 'a%20b', '<a>', 'a@b', '===', 'a=='.repeat(2)])(
      'EXT-07 what is no token68 is malformed: %j',
      async (value) => {
        expect(verdictOf(await api.ask(`Bearer ${value}`))).toBe(MALFORMED);
      },
    );

    it.each(['mF_9.B5f-4.1JqM', 'a+/==', 'a', '~', '-._~+/', `${'a'.repeat(100)}=========`])(
      'EXT-07 what is one gets judged: %s',
      async (value) => {
        const answer = await api.ask(`Bearer ${value}`);
        expect([answer.status, answer.challenges[0]?.parameters['error'], answer.access]).toEqual([401, 'invalid_token', undefined]);
        expect(answer.reason).toMatch(/^token\./);
      },
    );

    it('EXT-24 up to 16,384 characters are read', async () => {
      const short = await api.issuer.token({ pad: '' });
      const base = short.length;
      // base64url makes four characters of three bytes: what is missing is filled to the last possible character.
      const padded = await api.issuer.token({ pad: 'a'.repeat(Math.floor(((16_384 - base) * 3) / 4)) });
      expect(padded.length).toBeGreaterThan(16_380);
      expect(padded.length).toBeLessThanOrEqual(16_384);
      expect(verdictOf(await api.ask(`Bearer ${padded}`))).toBe(GRANTED);
    });

    it('EXT-24 and not one more, though the token is genuine: 400, never ignored', async () => {
      const long = await api.issuer.token({ pad: 'a'.repeat(12_288) });
      const answer = await api.ask(`Bearer ${long}`);
      expect([verdictOf(answer), long.length > 16_384]).toEqual([TOO_LONG, true]);
      expect(verdictOf(await api.ask(`Bearer ${'a'.repeat(16_385)}`))).toBe(TOO_LONG);
      expect((await api.ask(`Bearer ${'a'.repeat(16_384)}`)).reason).toBe('token.not_jwt');
    });

    it('EXT-24 20 KiB: of a token, of one with spaces before it, of a scheme, of a field that is no credentials', async () => {
      const long = 'a'.repeat(20 * 1024);
      expect(verdictOf(await api.ask(`Bearer ${long}`))).toBe(TOO_LONG);
      expect(verdictOf(await api.ask(`Bearer ${' '.repeat(20_000)}${long}`))).toBe(TOO_LONG);
      expect(verdictOf(await api.ask(`${long} ${token}`))).toBe(UNSUPPORTED);
      expect(verdictOf(await api.ask(`Bearer ${long},${' '.repeat(20_000)}x`))).toBe(MALFORMED);
    });
  });

  describe('Several', () => {
    it.each([
      ['Bearer, then DPoP', (t: string) => [`Bearer ${t}`, `DPoP ${t}`]],
      ['DPoP, then Bearer', (t: string) => [`DPoP ${t}`, `Bearer ${t}`]],
    ])('EXT-12 EXT-13 two schemes on lines of their own: %s', async (_what, make) => {
      expect(verdictOf(await api.ask(make(token)))).toBe(SEVERAL);
    });

    it.each([
      ['a good one, then another', (t: string) => [`Bearer ${t}`, 'Bearer other']],
      ['another, then a good one', (t: string) => ['Bearer other', `Bearer ${t}`]],
      ['a good one, then Basic', (t: string) => [`Bearer ${t}`, 'Basic dTpw']],
      ['Basic, then a good one', (t: string) => ['Basic dTpw', `Bearer ${t}`]],
      ['an empty one, then a good one', (t: string) => ['', `Bearer ${t}`]],
      ['a good one, then an empty one', (t: string) => [`Bearer ${t}`, '']],
      ['the same twice', (t: string) => [`Bearer ${t}`, `Bearer ${t}`]],
      ['the same ten times', (t: string) => Array.from({ length: 10 }, () => `Bearer ${t}`)],
    ])('EXT-13 EXT-14 more than one line, though Node shows the first alone: %s', async (_what, make) => {
      expect(verdictOf(await api.ask(make(token)))).toBe(SEVERAL);
    });

    it('EXT-13 EXT-14 a second line under a name in another case, and with other fields between, counts too', async () => {
      const answer = await api.ask(`Bearer ${token}`, { lines: ['X-Between: 1', `authoRization: Bearer ${token}`] });
      expect(verdictOf(answer)).toBe(SEVERAL);
    });

    it.each([
      ['Bearer A, DPoP B', (t: string) => `Bearer ${t}, DPoP ${t}`],
      ['DPoP A, Bearer B', (t: string) => `DPoP ${t}, Bearer ${t}`],
      ['Bearer A,Bearer B', (t: string) => `Bearer ${t},Bearer ${t}`],
      ['Bearer A ,\t bearer B', (t: string) => `Bearer ${t} ,\t bearer ${t}`],
      ['Basic A, Bearer B', (t: string) => `Basic dTpw, Bearer ${t}`],
      ['Bearer A, Basic B, Bearer C', (t: string) => `Bearer ${t}, Basic dTpw, Bearer ${t}`],
      ['Bearer A, Bearer', (t: string) => `Bearer ${t}, Bearer`],
    ])('EXT-15 joined on one line: %s', async (_what, make) => {
      expect(verdictOf(await api.ask(make(token)))).toBe(SEVERAL);
    });

    it.each([
      ['Bearer A, Basic B', (t: string) => `Bearer ${t}, Basic dTpw`],
      ['Bearer A,', (t: string) => `Bearer ${t},`],
      ['Bearer A, B', (t: string) => `Bearer ${t}, ${t}`],
      ['Bearer A B', (t: string) => `Bearer ${t} ${t}`],
      ['Bearer A; DPoP B', (t: string) => `Bearer ${t}; DPoP ${t}`],
      ['Bearer Bearer A', (t: string) => `Bearer Bearer ${t}`],
      ['Bearer token="A"', (t: string) => `Bearer token="${t}"`],
      ['Bearer realm="x", A', (t: string) => `Bearer realm="x", ${t}`],
    ])('EXT-15 EXT-07 and whatever else has more than one token68: %s', async (_what, make) => {
      expect(verdictOf(await api.ask(make(token)))).toBe(MALFORMED);
    });
  });

  describe('In the query', () => {
    it.each([
      ['access_token', (t: string) => `/r?access_token=${t}`],
      ['twice', (t: string) => `/r?access_token=${t}&access_token=${t}`],
      ['as a list', (t: string) => `/r?access_token[]=${t}`],
      ['percent-encoded', (t: string) => `/r?access%5Ftoken=${t}`],
      ['in an absolute target', (t: string) => `http://rs.example.com/r?access_token=${t}`],
    ])('EXT-16 NEW-06 alone it is no credentials: %s', async (_what, target) => {
      expect(verdictOf(await api.ask([], { target: target(token) }))).toBe(NO_CREDENTIALS);
    });

    it.each([
      ['another token', (t: string) => `/r?access_token=${base64url('other')}&x=${t.length}`],
      ['the same', (t: string) => `/r?access_token=${t}`],
      ['none', () => '/r?access_token='],
      ['no value', () => '/r?access_token'],
      ['at the end', () => '/r?a=1&b=2&access_token=x'],
      ['percent-encoded', () => '/r?%61ccess%5ftoken=x'],
      ['after a second question mark', () => '/r??&access_token=x'],
      ['in an absolute target', () => 'http://rs.example.com/r?access_token=x'],
    ])('EXT-17 beside the field it is a second method: %s', async (_what, target) => {
      expect(verdictOf(await api.ask(`Bearer ${token}`, { target: target(token) }))).toBe(IN_QUERY);
    });

    it.each(['/r?Access_Token=x', '/r?my_access_token=x', '/r?q=access_token=x', '/r?access_token_hint=x'])(
      'EXT-17 what only looks alike is none: %s',
      async (target) => {
        expect(verdictOf(await api.ask(`Bearer ${token}`, { target }))).toBe(GRANTED);
      },
    );

    it("EXT-17 NEW-06 queryToken: 'ignore' is what OAuth 2.1 wants: the field alone counts, with and without", async () => {
      const lax = await startApi({ issuedBy: api.issuer, queryToken: 'ignore' });
      const other = await api.issuer.token({ sub: 'somebody else' });
      const answer = await lax.ask(`Bearer ${token}`, { target: `/r?access_token=${other}` });
      expect([verdictOf(answer), answer.access?.claims.sub]).toEqual([GRANTED, 'user-1']);
      expect(verdictOf(await lax.ask([], { target: `/r?access_token=${other}` }))).toBe(NO_CREDENTIALS);
      await lax.close();
    });
  });

  it('what a connection has sent before counts for nothing: each request for itself', async () => {
    const other = await api.issuer.token({ sub: 'user-2' });
    const expired = await api.issuer.token({ sub: 'user-3', exp: NOW - 60 });
    const requests: [string[], string][] = [
      [[`Bearer ${token}`], 'user-1'],
      [[`Bearer ${other}`], 'user-2'],
      [[`bearer ${token}`], 'user-1'],
      [[`Bearer ${expired}`], '401'],
      [[], '401'],
      [[`Bearer ${token}`], 'user-1'],
      [[`Bearer ${token}`], 'user-1'],
      [[`DPoP ${token}`], '401'],
      [[`Bearer ${token}x`], '401'],
      [[`Bearer ${token.slice(0, -4)}`], '401'],
      [[`Bearer ${token}`, `Bearer ${token}`], '400'],
      [[`Bearer ${other}`], 'user-2'],
    ];
    let socket: Socket | undefined;
    const answers: string[] = [];
    for (const [credentials] of requests) {
      const lines = ['GET /r HTTP/1.1', 'Host: rs.example.com', ...credentials.map((line) => `Authorization: ${line}`)];
      const response = await rawRequest({ port: api.port, lines, ...(socket && { socket }) });
      socket = response.socket.removeAllListeners('error').on('error', () => {});
      answers.push(response.status === 200 ? (JSON.parse(response.body) as { sub: string }).sub : `${response.status}`);
    }
    socket?.destroy();
    expect(answers).toEqual(requests.map(([, expected]) => expected));
  });

  describe('Elsewhere', () => {
    it.each([
      'Proxy-Authorization: Bearer',
      'X-Authorization: Bearer',
      'X-Forwarded-Authorization: Bearer',
      'X-Original-Authorization: Bearer',
      'Authorization2: Bearer',
      'WWW-Authenticate: Bearer',
      'X-Access-Token:',
      'access_token:',
    ])('EXT-22 is never looked at: %s …', async (start) => {
      expect(verdictOf(await api.ask([], { lines: [`${start} ${token}`] }))).toBe(NO_CREDENTIALS);
    });

    it('EXT-22 Proxy-Authorization beside Authorization is neither read nor a second method', async () => {
      expect(verdictOf(await api.ask(`Bearer ${token}`, { lines: ['Proxy-Authorization: Bearer other'] }))).toBe(GRANTED);
      expect(verdictOf(await api.ask('Bearer other', { lines: [`Proxy-Authorization: Bearer ${token}`] }))).toBe(
        '401 | Bearer invalid_token | token.not_jwt',
      );
    });

    it.each(['access_token=', 'token=', 'Authorization=Bearer%20', 'Bearer='])('EXT-23 cookies are no source: %s …', async (start) => {
      expect(verdictOf(await api.ask([], { lines: [`Cookie: ${start}${token}`] }))).toBe(NO_CREDENTIALS);
    });

    it.each([
      ['form', 'application/x-www-form-urlencoded'],
      ['JSON', 'application/json'],
      ['text', 'text/plain'],
    ])('a token in a body is never read: %s', async (kind, type) => {
      const body = kind === 'JSON' ? JSON.stringify({ access_token: token }) : `access_token=${token}`;
      const lines = [`Content-Type: ${type}`, `Content-Length: ${body.length}`];
      expect(verdictOf(await api.ask([], { method: 'POST', lines, body }))).toBe(NO_CREDENTIALS);
      const other = await api.issuer.token({ sub: 'user-2' });
      const answer = await api.ask(`Bearer ${other}`, { method: 'POST', lines, body });
      expect([verdictOf(answer), answer.access?.claims.sub]).toEqual([GRANTED, 'user-2']);
    });

    it('nor one in the trailer of a chunked body', async () => {
      const lines = ['Transfer-Encoding: chunked', 'Trailer: Authorization'];
      const body = `1\r\na\r\n0\r\nAuthorization: Bearer ${token}\r\n\r\n`;
      expect(verdictOf(await api.ask([], { method: 'POST', lines, body }))).toBe(NO_CREDENTIALS);
    });

    it.each(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'QUERY'])(
      'no method is left out, and none needs anything else: %s',
      async (method) => {
        expect(verdictOf(await api.ask([], { method }))).toBe(NO_CREDENTIALS);
        expect(verdictOf(await api.ask(`Bearer ${token}`, { method }))).toBe(GRANTED);
      },
    );
  });
});
