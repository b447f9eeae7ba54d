import { createServer, type Server } from 'node:http';
import { accessOf, holdfast, type ProtectedResourceOptions } from '@holdfast/express';
import type { IssuerOptions, ProtectedResourceRequest, ResourceEvent } from '@holdfast/core';
import { protectedResource } from '@holdfast/core';
import { nodeRequest } from '@holdfast/core/node';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import { listen, stop } from '@holdfast/test-support/loopback';
import { rawRequest } from '@holdfast/test-support/raw-request';
import express from 'express';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';
const NOW = 1_800_000_000;

const requestFor = (target: string, token: string): ProtectedResourceRequest => ({
  method: 'GET',
  target,
  fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
  connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
});

/** What came of a request, in one line: `200 https://…` with the issuer that the route saw, or the status and the reason. */
type Ask = (token: string, target?: string) => Promise<string>;

describe('Several issuers', () => {
  const clock = createClock(NOW);
  let one: Issuer;
  let two: Issuer;
  let stranger: Issuer;
  const servers: Server[] = [];
  const closing: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const sharedKid = { now: clock.now };
    [one, two, stranger] = await Promise.all([startIssuer(sharedKid), startIssuer(sharedKid), startIssuer(sharedKid)]);
  });
  beforeEach(() => {
    for (const { requests } of [one, two, stranger]) requests.length = 0;
  });
  afterEach(async () => {
    await Promise.all([...closing.splice(0).map((close) => close()), ...servers.splice(0).map(stop)]);
  });
  afterAll(() => Promise.all([one, two, stranger].map((issuer) => issuer.close())));

  async function start(issuer: readonly (string | IssuerOptions)[], more: Partial<ProtectedResourceOptions> = {}): Promise<Ask> {
    const events: ResourceEvent[] = [];
    const protection = holdfast({
      issuer,
      audience: AUDIENCE,
      unconstrained: 'accept',
      dpop: false,
      now: clock.now,
      onEvent: (event) => events.push(event),
      ...more,
    });
    closing.push(() => protection.close());
    const app = express();
    app.use(protection);
    app.use((request, response) => void response.json(accessOf(request).issuer));
    const server = createServer(app);
    servers.push(server);
    const origin = `http://127.0.0.1:${await listen(server)}`;
    return async (token, target = '/') => {
      events.length = 0;
      const response = await fetch(`${origin}${target}`, { headers: { authorization: `Bearer ${token}` } });
      const body = await response.text();
      return response.status === 200 ? `200 ${JSON.parse(body)}` : `${response.status} ${events.at(-1)?.reason}`;
    };
  }

  it('JWT-23 each is judged by its own keys, found by discovery', async () => {
    const ask = await start([one.url, { issuer: two.url }]);
    expect(await ask(await one.token())).toBe(`200 ${one.url}`);
    expect(await ask(await two.token())).toBe(`200 ${two.url}`);
  });

  it('JWT-06 JWT-23 a key of one never verifies a token of the other, not even under the same kid', async () => {
    const ask = await start([one.url, two.url]);
    const [key] = two.keys;
    const imitation = await generateSigningKey('ES256', one.keys[0]?.kid);
    two.keys.push(imitation);
    await ask(await two.token());
    expect(await ask(await one.token({}, { kid: key?.kid }, { key: key ?? false }))).toBe('401 token.unknown_key');
    expect(await ask(await one.token({}, { kid: one.keys[0]?.kid }, { key: imitation }))).toBe('401 token.signature');
    // And the very same key is good for the one that publishes it.
    expect(await ask(await two.token({}, {}, { key: imitation }))).toBe(`200 ${two.url}`);
    two.removeKey(imitation.kid);
  });

  it('DIS-14 INT-20 CNF-17 a token of an issuer that is not registered costs nothing outside, whatever it brings', async () => {
    const ask = await start([one.url, two.url]);
    for (const claims of [{}, { iss: `${one.url}/` }, { iss: [one.url] }, { iss: undefined }, { iss: '__proto__' }]) {
      expect(await ask(await stranger.token(claims, { jku: stranger.jwksUri }))).toBe('401 token.issuer');
    }
    expect([one.requests, two.requests, stranger.requests]).toEqual([[], [], []]);
  });

  it('what one leaves out is as for the resource; what it says is its own', async () => {
    const other = 'urn:other';
    const ask = await start([
      { issuer: one.url, audience: other, algorithms: ['ES256'], unconstrained: 'refuse' },
      { issuer: two.url, algorithms: ['PS256'] },
      stranger.url,
    ]);
    expect(await ask(await one.token())).toBe('401 token.audience');
    expect(await ask(await one.token({ aud: other }))).toBe('401 cnf.absent');
    expect(await ask(await two.token())).toBe('401 token.algorithm');
    expect(await ask(await stranger.token())).toBe(`200 ${stranger.url}`);
  });

  it('with one away the others are judged as always, and only its own tokens are 503', async () => {
    const ask = await start([one.url, two.url]);
    await two.down();
    expect(await ask(await two.token())).toBe('503 unavailable.keys');
    expect(await ask(await one.token())).toBe(`200 ${one.url}`);
    await two.up();
  });

  it('ready() resolves when tokens of one at least can be judged and warns of the others; with none it rejects', async () => {
    const warnings: string[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning.message);
    process.on('warning', onWarning);
    const make = (issuer: readonly string[]): ReturnType<typeof protectedResource> => {
      const resource = protectedResource({ issuer, audience: AUDIENCE, now: clock.now });
      closing.push(() => resource.close());
      return resource;
    };
    await two.down();
    await make([one.url, two.url]).ready();
    await expect(make([two.url]).ready()).rejects.toThrow(two.url);
    await two.up();
    await new Promise((resolve) => void setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings.filter((message) => message.includes(two.url))).toHaveLength(1);
  });

  it('revokeKey() works for the keys of all', async () => {
    const resource = protectedResource({
      issuer: [one.url, two.url],
      audience: AUDIENCE,
      unconstrained: 'accept',
      now: clock.now,
    });
    closing.push(() => resource.close());
    const key = await two.addKey('ES256');
    const token = await two.token({}, {}, { key });
    const request = (): ProtectedResourceRequest => ({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
    expect((await resource.verify(request())).granted).toBe(true);
    const { calculateJwkThumbprint } = await import('jose');
    resource.revokeKey(await calculateJwkThumbprint(key.publicJwk));
    expect((await resource.verify(request())).granted).toBe(false);
    two.removeKey(key.kid);
  });

  describe('issuerFor', () => {
    const byPath = ({ target }: ProtectedResourceRequest): string | undefined =>
      ({ '/one': one.url, '/two': two.url, '/none': undefined, '/stranger': stranger.url })[target];

    it('selects by the request: a token of one tenant is of no use to another, remembered or not', async () => {
      const ask = await start([one.url, two.url], { issuerFor: byPath });
      const [mine, theirs] = [await one.token(), await two.token()];
      expect([await ask(mine, '/one'), await ask(theirs, '/two')]).toEqual([`200 ${one.url}`, `200 ${two.url}`]);
      expect([await ask(mine, '/two'), await ask(theirs, '/one')]).toEqual(['401 token.issuer', '401 token.issuer']);
      expect([await ask(mine, '/one'), await ask(theirs, '/two')]).toEqual([`200 ${one.url}`, `200 ${two.url}`]);
    });

    it('can never make an issuer: a name that is not registered, or none, lets nobody in and calls nobody', async () => {
      const ask = await start([one.url, two.url], { issuerFor: byPath });
      expect(await ask(await stranger.token(), '/stranger')).toBe('401 token.tenant');
      expect(await ask(await one.token(), '/stranger')).toBe('401 token.tenant');
      expect(await ask(await one.token(), '/none')).toBe('401 token.tenant');
      expect(stranger.requests).toEqual([]);
    });

    it('selects for one issuer too, and may be async', async () => {
      const ask = await start([one.url], { issuerFor: (request) => Promise.resolve(byPath(request)) });
      expect([await ask(await one.token(), '/one'), await ask(await one.token(), '/two')]).toEqual([`200 ${one.url}`, '401 token.tenant']);
    });

    it('is given the request, never the token: there is nothing in it that a claim could be read from but the field itself', async () => {
      const seen: unknown[][] = [];
      const ask = await start([one.url], { issuerFor: (...given: unknown[]) => void seen.push(given) });
      await ask(await one.token());
      expect(seen).toHaveLength(1);
      expect(Object.keys(seen[0] ?? []).length).toBe(1);
    });

    const SPELLINGS = [
      ['an absolute target', 'http://api.example/b/r'],
      ['no path', '*'],
      ['an authority', 'api.example:443'],
      ['nothing', ''],
      ['a needless triplet', '/%62/r'],
      ['a needless triplet', '/a%7E/r'],
      ['an encoded dot', '/b%2Er'],
      ['dot segments', '/a/../b/r'],
      ['a dot segment', '/./b/r'],
      ['a dot segment at the end', '/a/..'],
      ['a backslash', '/a/..\\b/r'],
      ['a backslash in place of a slash', '/a\\..\\b/r'],
      ['an encoded backslash', '/a/..%5cb/r'],
      ['an encoded slash', '/a%2F..%2Fb/r'],
      ['a fragment', '/a/..#/b'],
      ['an empty segment at the beginning', '//b/r'],
      ['an empty segment', '/a//b/r'],
      ['a parameter of a segment', '/b;x/r'],
      ['a parameter of a segment', '/a/..;/b/r'],
      ['an encoded parameter', '/b%3Bx/r'],
      ['a tab', '/a/.\t./b/r'],
      ['an encoded control character', '/b%00/r'],
      ['an encoded line end', '/b%0D%0A/r'],
      ['a triplet encoded twice', '/%2562/r'],
      ['a percent sign alone', '/b%/r'],
      ['octets that are no UTF-8', '/a/..%c0%afb/r'],
      ['a character that needs a triplet', '/b\u{e4}/r'],
      ['a space', '/b /r'],
    ] as const;

    it.each(SPELLINGS)('is not asked of a target that a router could read otherwise, which is 400: %s', async (_what, target) => {
      const resource = protectedResource({
        issuer: [one.url, two.url],
        audience: AUDIENCE,
        unconstrained: 'accept',
        now: clock.now,
        issuerFor: (request) => (request.target.startsWith('/b/') ? two.url : one.url),
      });
      closing.push(() => resource.close());
      const judged = async (asked: string): Promise<string> => {
        const result = await resource.verify(requestFor(asked, await one.token()));
        return result.granted ? 'granted' : `${result.status} ${result.rejection.rejected}`;
      };
      const plain = ['/r?x=/../%62;#\\', '/%C3%A4/r', '/', '/r/', "/r/a:b@c!$&'()*+,=d", '/r/100%25', '/r/...', '/r/.well-known', '/%3F'];
      for (const ordinary of plain) expect([ordinary, await judged(ordinary)]).toEqual([ordinary, 'granted']);
      expect([await judged('/b/r'), await judged(target)]).toEqual(['401 token.issuer', '400 request.ambiguous_target']);
    });

    it('a target that can be read in two ways is of no tenant to a server that routes by the URL parser, nor to one that joins slashes', async () => {
      const protection = (issuerFor: ProtectedResourceOptions['issuerFor']): ReturnType<typeof protectedResource> => {
        const issuer = [one.url, two.url];
        const resource = protectedResource({
          issuer,
          audience: AUDIENCE,
          unconstrained: 'accept',
          now: clock.now,
          ...(issuerFor && { issuerFor }),
        });
        closing.push(() => resource.close());
        return resource;
      };
      const byTable = protection(({ target }) => ({ a: one.url, b: two.url })[target.split('/')[1] ?? '']);
      const withDefault = protection(({ target }) => (target.startsWith('/b/') ? two.url : one.url));
      const serve = async (resource: ReturnType<typeof protectedResource>, route: (target: string) => string): Promise<number> => {
        const server = createServer((request, response) => {
          void (async () => {
            const result = await resource.verify(nodeRequest(request));
            response.statusCode = result.granted ? 200 : result.status;
            response.end(result.granted ? `data of ${route(request.url ?? '')} for ${result.issuer === one.url ? 'a' : 'b'}` : '');
          })();
        });
        servers.push(server);
        return listen(server);
      };
      const parser = await serve(byTable, (target) => new URL(target, 'http://internal').pathname.split('/')[1] ?? '');
      const joiner = await serve(withDefault, (target) => target.replaceAll(/\/+/g, '/').split('/')[1] ?? '');
      const token = await one.token();
      const ask = async (port: number, target: string): Promise<string> => {
        const lines = [`GET ${target} HTTP/1.1`, 'Host: api.example', 'Connection: close', `Authorization: Bearer ${token}`];
        const { status, body, socket } = await rawRequest({ port, lines });
        socket.destroy();
        return `${status} ${body}`.trim();
      };
      expect([await ask(parser, '/a/r'), await ask(parser, '/b/r')]).toEqual(['200 data of a for a', '401']);
      for (const target of ['/a/..\\b/r', '/a\\..\\b/r', '/a/\\../\\../b/r', '/a/..#/b']) {
        expect([target, await ask(parser, target)]).toEqual([target, '400']);
      }
      expect([await ask(joiner, '/a/r'), await ask(joiner, '/b/r'), await ask(joiner, '//b/r')]).toEqual([
        '200 data of a for a',
        '401',
        '400',
      ]);
    });

    it('that throws is 503', async () => {
      const ask = await start([one.url], {
        issuerFor: () => {
          throw new Error('the table of tenants is away');
        },
      });
      expect(await ask(await one.token())).toBe('503 unavailable.internal');
    });
  });

  describe('as options', () => {
    const problems = (options: unknown): string[] => {
      try {
        void protectedResource(options as ProtectedResourceOptions).close();
      } catch (error) {
        return (error as Error).message
          .split('\n')
          .slice(1)
          .map((line) => /^- ([^:]+): /.exec(line)?.[1] ?? line);
      }
      return [];
    };
    const [A, B] = ['https://a.example', 'https://b.example'];

    it.each<[string, object, string[]]>([
      ['none', { issuer: [] }, ['issuer']],
      ['the same twice', { issuer: [A, { issuer: A }] }, ['issuer']],
      ['something else', { issuer: [A, 7] }, ['issuer[1]', 'issuer[1].issuer']],
      ['an option that does not exist', { issuer: [{ issuer: A, jwks_uri: 'x' }] }, ['issuer[0].jwks_uri']],
      [
        'everything wrong',
        {
          issuer: [
            { issuer: 'x', audience: '', algorithms: ['none'], unconstrained: 'yes', provider: 'x', clientIds: [], keys: { uri: 'x' } },
          ],
        },
        [
          'issuer[0].audience',
          'issuer[0].provider',
          'issuer[0].issuer',
          'issuer[0].algorithms',
          'issuer[0].clientIds',
          'issuer[0].unconstrained',
          'issuer[0].keys.uri',
        ],
      ],
      ['keys for all', { issuer: [A, B], keys: { uri: `${A}/jwks` } }, ['keys']],
      ['a provider for all', { issuer: [A, B], provider: 'okta' }, ['provider']],
      ['a selection that is no function', { issuer: [A], issuerFor: A }, ['issuerFor']],
    ])('%s is refused by name', (_what, options, expected) => {
      expect(problems({ audience: AUDIENCE, ...options })).toEqual(expected);
    });
  });
});
