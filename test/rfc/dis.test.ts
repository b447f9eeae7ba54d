import { spawn } from 'node:child_process';
import { createHmac, createPublicKey, generateKeyPairSync, KeyObject, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import type { JWK } from 'jose';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { certificateOf, type Fetch, protectedResource, type ProtectedResourceOptions } from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, type IssuerOptions, startIssuer } from '@holdfast/test-support/issuer';
import { base64url, generateSigningKey, rawJwt, type SigningKeyPair, unsignedJwt } from '@holdfast/test-support/jwt';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Pki } from '@holdfast/test-support/pki';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { type Answer, type Api, type ApiOptions, AUDIENCE, GRANTED, NOW, startApi, verdictOf } from './api.ts';

const UNKNOWN_KEY = '401 | Bearer invalid_token | token.unknown_key';
const UNAVAILABLE = '503 | unavailable.keys';

/** An answer that says only that we are not able to: no challenge, no body, no word of why. */
function expectUnavailable(answer: Answer): void {
  expect([verdictOf(answer), answer.body, answer.challengeLines]).toEqual([UNAVAILABLE, '', []]);
  const names = answer.headers.map(([name]) => name.toLowerCase());
  expect(Number(answer.headers[names.indexOf('retry-after')]?.[1])).toBeGreaterThan(0);
  // Node's own, Express's own, and Retry-After: nothing that could tell more.
  expect(names.filter((name) => !['x-powered-by', 'date', 'connection', 'keep-alive', 'content-length'].includes(name))).toEqual([
    'retry-after',
  ]);
}

/** The global fetch, with a record of what was asked for. */
function recordingFetch(): { fetch: Fetch; urls: string[] } {
  const urls: string[] = [];
  return {
    urls,
    fetch: (url, init) => {
      urls.push(url);
      return fetch(url, init);
    },
  };
}

/** A program of its own runs what was built: plain Node reads no TypeScript. */
async function run(program: string, argument: string): Promise<{ output: string; code: number | null }> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program, argument], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { output: Buffer.concat(output).toString(), code };
}

describe('DIS: metadata and keys of the issuer (RFC 8414, RFC 7517)', () => {
  const open: { close(): Promise<void> }[] = [];
  const issuerOf = async (options: IssuerOptions = {}): Promise<Issuer> => {
    const issuer = await startIssuer({ now: createClock(NOW).now, ...options });
    open.push(issuer);
    return issuer;
  };
  const apiOf = async (issuer: Issuer, options: ApiOptions = {}): Promise<Api> => {
    const api = await startApi({ issuedBy: issuer, ...options });
    open.push(api);
    return api;
  };
  const ask = async (api: Api, claims?: object, header?: object, signer?: { key?: SigningKeyPair }): Promise<string> =>
    verdictOf(await api.ask(`Bearer ${await api.issuer.token(claims, header, signer)}`));
  const jwksRequests = (issuer: Issuer): number => issuer.requests.filter((path) => path.endsWith('/jwks')).length;

  afterEach(async () => {
    for (const one of open.splice(0).toReversed()) await one.close();
  });

  describe('Where the metadata is', () => {
    const wellKnown = (name: string, path: string): string => `/.well-known/${name}${path}`;
    const issuers: [string, string][] = [
      ['no path', ''],
      ['a final slash, as Auth0', '/'],
      ['Keycloak', '/realms/x'],
      ['Okta', '/oauth2/default'],
      ['Entra', '/tenant/v2.0'],
      ['a path with a final slash', '/realms/x/'],
    ];

    it.each(issuers)('DIS-01 DIS-02 of an issuer with %s: RFC 8414 first, and no other once it is there', async (_who, path) => {
      const issuer = await issuerOf({ path });
      expect(await ask(await apiOf(issuer))).toBe(GRANTED);
      const root = path.replace(/\/$/, '');
      expect(issuer.requests).toEqual([wellKnown('oauth-authorization-server', root), `${root}/jwks`]);
    });

    it.each(issuers)('DIS-02 of an issuer with %s: then the OpenID name in the same place', async (_who, path) => {
      const issuer = await issuerOf({ path });
      issuer.locations.delete('rfc8414');
      expect(await ask(await apiOf(issuer))).toBe(GRANTED);
      const root = path.replace(/\/$/, '');
      expect(issuer.requests).toEqual([
        wellKnown('oauth-authorization-server', root),
        wellKnown('openid-configuration', root),
        `${root}/jwks`,
      ]);
    });

    it.each(issuers.filter(([, path]) => path.length > 1))(
      'DIS-02 of an issuer with %s: last the one that OpenID Connect appends',
      async (_who, path) => {
        const issuer = await issuerOf({ path });
        issuer.locations.delete('rfc8414');
        issuer.locations.delete('oidc-insert');
        expect(await ask(await apiOf(issuer))).toBe(GRANTED);
        const root = path.replace(/\/$/, '');
        expect(issuer.requests).toEqual([
          wellKnown('oauth-authorization-server', root),
          wellKnown('openid-configuration', root),
          `${root}/.well-known/openid-configuration`,
          `${root}/jwks`,
        ]);
      },
    );

    it.each(Object.entries(vectors.well_known_urls).filter(([name]) => !name.startsWith('oauth-protected-resource')))(
      'DIS-01 DIS-02 the URLs that the RFCs print: %s',
      async (_name, { identifier, url }) => {
        const asked: string[] = [];
        const nowhere: Fetch = async (where) => {
          asked.push(where);
          return { status: 404, headers: new Headers(), body: null };
        };
        const resource = protectedResource({ issuer: identifier, audience: AUDIENCE, fetch: nowhere });
        await expect(resource.ready()).rejects.toThrow(identifier);
        expect(asked).toContain(url);
        await resource.close();
      },
    );

    it('DIS-05 it is asked for by GET, as JSON, without credentials', async () => {
      const issuer = await issuerOf();
      const seen: [string | undefined, string | undefined, string | undefined, string | undefined][] = [];
      issuer.answer = ({ method, headers }) => {
        seen.push([method, headers.accept, headers.authorization, headers.cookie]);
        return false;
      };
      expect(await ask(await apiOf(issuer))).toBe(GRANTED);
      expect(seen).toEqual([
        ['GET', 'application/json', undefined, undefined],
        ['GET', 'application/json', undefined, undefined],
      ]);
    });

    it('DIS-05 members that nobody knows are ignored, and so are media types of the +json kind and their parameters', async () => {
      const issuer = await issuerOf();
      issuer.metadata['unheard_of'] = [{ deep: true }];
      issuer.answer = (_request, response, path) => {
        if (path !== '/jwks') return false;
        response.writeHead(200, { 'content-type': 'application/jwk-set+json; charset=utf-8' });
        response.end(JSON.stringify({ keys: issuer.keys.map(({ publicJwk }) => publicJwk), more: 1 }));
        return true;
      };
      expect(await ask(await apiOf(issuer))).toBe(GRANTED);
    });
  });

  describe('Whose it is', () => {
    it.each([
      ['a final slash', '/realms/x', (url: string) => `${url}/`],
      ['no final slash', '/realms/x/', (url: string) => url.slice(0, -1)],
      ['another case', '/realms/x', (url: string) => url.replace('realms', 'Realms')],
      ['the scheme in another case', '', (url: string) => url.replace('http', 'HTTP')],
      ['another name of the host', '', (url: string) => url.replace('127.0.0.1', 'localhost')],
      ['another host', '', () => 'https://evil.example'],
      ['a dot segment', '/realms/x', (url: string) => url.replace('/x', '/./x')],
      ['a percent-encoding', '/realms/x', (url: string) => url.replace('/x', '/%78')],
      ['a query', '', (url: string) => `${url}?`],
      ['white space', '', (url: string) => ` ${url}`],
      ['a list', '', (url: string) => [url]],
      ['null', '', () => null],
      ['nothing', '', () => undefined],
    ])('DIS-03 issuer in the document with %s: it is not used, and no keys are fetched', async (_how, path, change) => {
      const issuer = await issuerOf({ path });
      issuer.metadata['issuer'] = change(issuer.url);
      const api = await apiOf(issuer);
      expectUnavailable(await api.ask(`Bearer ${await issuer.token()}`));
      expect(jwksRequests(issuer)).toBe(0);
      await expect(api.middleware.ready()).rejects.toThrow('which is not exactly');
    });

    it('DIS-04 é composed and é decomposed are not equal', async () => {
      const composed = '/caf\u00e9';
      const issuer = await issuerOf({ path: composed });
      issuer.answer = (_request, response, path) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(path.endsWith('/jwks') ? { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } : issuer.metadata));
        return true;
      };
      expect(await ask(await apiOf(issuer))).toBe(GRANTED);
      issuer.metadata['issuer'] = issuer.url.normalize('NFD');
      expect(issuer.metadata['issuer']).not.toBe(issuer.url);
      issuer.requests.length = 0;
      expectUnavailable(await (await apiOf(issuer)).ask(`Bearer ${await issuer.token()}`));
      expect(jwksRequests(issuer)).toBe(0);
    });

    it('DIS-03 a document that is wrong in one place does not hide a right one in the next', async () => {
      const issuer = await issuerOf({ path: '/realms/x' });
      issuer.answer = (_request, response, path) => {
        if (!path.includes('oauth-authorization-server')) return false;
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ ...issuer.metadata, issuer: 'https://evil.example', jwks_uri: 'https://evil.example/jwks' }));
        return true;
      };
      const recording = recordingFetch();
      expect(await ask(await apiOf(issuer, { fetch: recording.fetch }))).toBe(GRANTED);
      expect(recording.urls.join(' ')).not.toContain('evil');
    });

    it.each([
      'http://keys.example.com/jwks',
      'http://127.0.0.1.example.com/jwks',
      'http://localhost.example.com/jwks',
      'http://10.0.0.1/jwks',
      'http://[::ffff:127.0.0.1]/jwks',
      'http://169.254.169.254/latest/meta-data',
      'ftp://127.0.0.1/jwks',
      'file:///etc/passwd',
      'data:application/json,{"keys":[]}',
      '//keys.example.com/jwks',
      '/jwks',
      '',
      7,
      null,
      ['https://keys.example.com/jwks'],
    ])('DIS-06 jwks_uri %j is refused, and not fetched', async (jwksUri) => {
      const issuer = await issuerOf();
      issuer.metadata['jwks_uri'] = jwksUri;
      const recording = recordingFetch();
      const api = await apiOf(issuer, { fetch: recording.fetch });
      expectUnavailable(await api.ask(`Bearer ${await issuer.token()}`));
      expect(recording.urls.every((url) => url.startsWith(`${issuer.url}/.well-known/`))).toBe(true);
      expect(recording.urls.length).toBeGreaterThan(0);
    });

    it('DIS-06 http on the loopback interface is for issuers there: for one on https it is refused, and not fetched', async () => {
      const asked: string[] = [];
      const resource = protectedResource({
        issuer: 'https://as.example.com',
        audience: AUDIENCE,
        fetch: async (url) => {
          asked.push(url);
          return Response.json({ issuer: 'https://as.example.com', jwks_uri: 'http://127.0.0.1/jwks', keys: [] });
        },
      });
      await expect(resource.ready()).rejects.toThrow(/jwks_uri is not an https URL/);
      expect(asked).toEqual(
        ['oauth-authorization-server', 'openid-configuration'].map((name) => `https://as.example.com/.well-known/${name}`),
      );
      await resource.close();
    });

    it.each([
      'http://as.example.com',
      'http://127.0.0.1.example.com',
      'http://10.0.0.1',
      'ftp://localhost',
      'as.example.com',
      '//as.example.com',
    ])('DIS-06 and an issuer %s when the resource is made', (issuer) => {
      expect(() => protectedResource({ issuer, audience: AUDIENCE })).toThrow(TypeError);
    });

    it('DIS-12 what the metadata says of bound tokens and algorithms weakens nothing', async () => {
      const issuer = await issuerOf({ algorithms: ['ES256', 'ES384'] });
      Object.assign(issuer.metadata, {
        tls_client_certificate_bound_access_tokens: false,
        dpop_signing_alg_values_supported: ['none', 'HS256'],
        id_token_signing_alg_values_supported: ['none', 'HS256', 'ES384'],
      });
      const api = await apiOf(issuer, { certificate: () => undefined, algorithms: ['ES256'] });
      const { thumbprint } = certificateOf(new TextEncoder().encode('a certificate'));
      expect(await ask(api, { cnf: { 'x5t#S256': thumbprint } })).toBe('401 | Bearer invalid_token | certificate.missing');
      expect(await ask(api, { cnf: { jkt: thumbprint } })).toBe('401 | Bearer invalid_token | dpop.not_offered');
      expect(await ask(api, {}, { alg: 'ES384' })).toBe('401 | Bearer invalid_token | token.algorithm');
      expect(
        verdictOf(await api.ask(`Bearer ${unsignedJwt({ typ: 'at+jwt', alg: 'none' }, { iss: issuer.url, aud: AUDIENCE, exp: NOW + 9 })}`)),
      ).toBe('401 | Bearer invalid_token | token.algorithm');
    });

    const warnings = async (issuer: Issuer, options: ApiOptions = {}): Promise<string[]> => {
      const heard: string[] = [];
      const listener = (warning: Error): void => void (warning.name === 'HoldfastWarning' && heard.push(warning.message));
      process.on('warning', listener);
      expect(await ask(await apiOf(issuer, options))).toBe(GRANTED);
      process.off('warning', listener);
      return heard;
    };

    it('DIS-13 an issuer that publishes its resources, and not this one: a warning that names both', async () => {
      const issuer = await issuerOf();
      issuer.metadata['protected_resources'] = ['https://other.example.com', `${AUDIENCE}/`];
      const heard = await warnings(issuer);
      expect(heard).toHaveLength(1);
      expect(heard[0]).toContain(issuer.url);
      expect(heard[0]).toContain(AUDIENCE);
    });

    it.each([[[AUDIENCE]], [['https://other.example.com', AUDIENCE]], [undefined], ['https://other.example.com'], [{}], [[1]], [null]])(
      'DIS-13 none for %j',
      async (resources) => {
        const issuer = await issuerOf();
        issuer.metadata['protected_resources'] = resources;
        expect(await warnings(issuer)).toEqual([]);
      },
    );

    it('DIS-14 the issuer that a token names is never asked for anything, nor is what its header points to', async () => {
      const [issuer, evil] = [await issuerOf(), await issuerOf()];
      const recording = recordingFetch();
      const api = await apiOf(issuer, { fetch: recording.fetch });
      expect(await ask(api, { iss: evil.url })).toBe('401 | Bearer invalid_token | token.issuer');
      expect(await ask(api, {}, { jku: evil.jwksUri, x5u: evil.jwksUri, kid: evil.jwksUri })).toBe(UNKNOWN_KEY);
      expect(await ask(api)).toBe(GRANTED);
      expect([evil.requests, recording.urls.filter((url) => !url.startsWith(issuer.url))]).toEqual([[], []]);
    });
  });

  describe('What cannot be used', () => {
    type Respond = (response: ServerResponse, issuer: Issuer, request: IncomingMessage) => void;
    const json = { 'content-type': 'application/json' };
    const answers: [string, Respond][] = [
      ['404', (response) => response.writeHead(404).end()],
      ['500 with a document', (response, { metadata }) => response.writeHead(500, json).end(JSON.stringify(metadata))],
      ['204', (response) => response.writeHead(204).end()],
      ['203 with a document', (response, { metadata }) => response.writeHead(203, json).end(JSON.stringify(metadata))],
      ['401', (response) => response.writeHead(401, { 'www-authenticate': 'Bearer' }).end()],
      ['text/html', (response, { metadata }) => response.writeHead(200, { 'content-type': 'text/html' }).end(JSON.stringify(metadata))],
      ['text/json', (response, { metadata }) => response.writeHead(200, { 'content-type': 'text/json' }).end(JSON.stringify(metadata))],
      [
        'application/jsonp',
        (response, { metadata }) => response.writeHead(200, { 'content-type': 'application/jsonp' }).end(JSON.stringify(metadata)),
      ],
      ['no content type', (response, { metadata }) => response.writeHead(200).end(JSON.stringify(metadata))],
      ['an array', (response, { metadata }) => response.writeHead(200, json).end(JSON.stringify([metadata]))],
      ['a string', (response, { metadata }) => response.writeHead(200, json).end(JSON.stringify(JSON.stringify(metadata)))],
      ['null', (response) => response.writeHead(200, json).end('null')],
      ['no JSON', (response) => response.writeHead(200, json).end('<html>')],
      ['nothing', (response) => response.writeHead(200, json).end()],
      ['half of it', (response, { metadata }) => response.writeHead(200, json).end(JSON.stringify(metadata).slice(0, -1))],
      [
        'an end before the end',
        (response) => response.writeHead(200, { ...json, 'content-length': 100 }).write('{', () => response.destroy()),
      ],
      [
        'bytes that are no UTF-8, in a member that nobody reads',
        (response, { metadata }) =>
          response.writeHead(200, json).end(Buffer.from(`${JSON.stringify(metadata).slice(0, -1)},"x":"\xff"}`, 'latin1')),
      ],
      ['10 MB', (response, { metadata }) => response.writeHead(200, json).end(JSON.stringify(metadata).padEnd(10_000_000))],
      [
        '10 MB, compressed to a hundredth',
        (response, { metadata }) =>
          response
            .writeHead(200, { ...json, 'content-encoding': 'gzip' })
            .end(gzipSync(JSON.stringify(metadata).padEnd(10_000_000), { level: 1 })),
      ],
      ['a reset', (response) => response.destroy()],
    ];

    it.each(answers)('DIS-05 metadata: %s', async (_what, respond) => {
      const issuer = await issuerOf();
      issuer.answer = (request, response, path) => path.includes('.well-known') && (respond(response, issuer, request), true);
      const api = await apiOf(issuer);
      expectUnavailable(await api.ask(`Bearer ${await issuer.token()}`));
      expect(jwksRequests(issuer)).toBe(0);
      // And it is well as soon as the issuer is.
      issuer.answer = undefined;
      api.clock.advance(1);
      expect(await ask(api)).toBe(GRANTED);
    });

    it.each(answers)('DIS-05 keys: %s', async (_what, respond) => {
      const issuer = await issuerOf();
      // A good key set in the place of the metadata, in case somebody reads it in spite of what is wrong.
      const keys = { ...issuer, metadata: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } };
      issuer.answer = (request, response, path) => path === '/jwks' && (respond(response, keys, request), true);
      const api = await apiOf(issuer);
      expectUnavailable(await api.ask(`Bearer ${await issuer.token()}`));
      issuer.answer = undefined;
      api.clock.advance(1);
      expect(await ask(api)).toBe(GRANTED);
    });

    it.each([301, 302, 303, 307, 308])('DIS-05 DIS-14 a redirect (%i) is not followed, to another host or to the same', async (status) => {
      const elsewhere = await issuerOf();
      for (const where of ['/.well-known/oauth-authorization-server', '/jwks']) {
        for (const origin of [elsewhere.url, '']) {
          const issuer = await issuerOf();
          issuer.answer = (_request, response, path) => {
            if (!(where === '/jwks' ? path === where : path.startsWith('/.well-known'))) return false;
            response.writeHead(status, { location: `${origin}${path}-moved` }).end();
            return true;
          };
          expectUnavailable(await (await apiOf(issuer)).ask(`Bearer ${await issuer.token()}`));
          expect(issuer.requests.filter((path) => path.endsWith('-moved'))).toEqual([]);
        }
      }
      expect(elsewhere.requests).toEqual([]);
    });

    it.each([
      ['before it answers', () => {}],
      ['after the fields', (response: ServerResponse) => response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders()],
      [
        'in the middle',
        (response: ServerResponse) => void response.writeHead(200, { 'content-type': 'application/json' }).write('{"issuer":'),
      ],
    ])('DIS-05 an issuer that hangs %s', async (_when, hang) => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer, { keys: { timeout: 0.1 } });
      for (const where of [/\.well-known/, /\/jwks$/]) {
        issuer.answer = (_request, response, path) => where.test(path) && (hang(response), true);
        expectUnavailable(await api.ask(`Bearer ${await issuer.token()}`));
        api.clock.advance(60);
      }
      issuer.answer = undefined;
      expect(await ask(api)).toBe(GRANTED);
    });

    it.each([0.1234, 1.001])('DIS-05 keys.timeout may be any number of seconds: %d', async (timeout) => {
      expect(await ask(await apiOf(await issuerOf(), { keys: { timeout } }))).toBe(GRANTED);
    });

    it('DIS-05 an issuer that nobody can connect to, and the way back', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      await issuer.down();
      expectUnavailable(await api.ask(`Bearer ${await issuer.token()}`));
      expect(api.events[0]?.detail).toMatch(/127\.0\.0\.1:\d+\/\.well-known\/oauth-authorization-server.*ECONNREFUSED/);
      await issuer.up();
      api.clock.advance(1);
      expect(await ask(api)).toBe(GRANTED);
    });

    it('DIS-05 a server that does not speak HTTP', async () => {
      const issuer = await issuerOf();
      const babel = createTcpServer((socket) => socket.on('error', () => {}).end('SSH-2.0-babel\r\n'));
      babel.listen(0, '127.0.0.1');
      await once(babel, 'listening');
      const address = babel.address();
      const uri = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/jwks`;
      expectUnavailable(await (await apiOf(issuer, { keys: { uri } })).ask(`Bearer ${await issuer.token()}`));
      babel.close();
    });

    it.each([
      ['an error', () => Promise.reject(new Error('internal: 10.0.0.1'))],
      [
        'at once, an error',
        () => {
          throw new Error('internal: 10.0.0.1');
        },
      ],
      // eslint-disable-next-line typescript/prefer-promise-reject-errors -- what a fetch of somebody else's may do
      ['what is no error', () => Promise.reject('internal')],
      ['nothing at all', () => Promise.resolve(undefined)],
    ])('DIS-05 a fetch of the application that answers with %s', async (_what, broken) => {
      const issuer = await issuerOf();
      expectUnavailable(await (await apiOf(issuer, { fetch: broken as unknown as Fetch })).ask(`Bearer ${await issuer.token()}`));
    });

    it.each([
      ['keys that is no array', (issuer: Issuer) => ({ keys: { 0: issuer.keys[0]?.publicJwk } })],
      ['no keys', (issuer: Issuer) => issuer.keys[0]?.publicJwk],
      ['keys that is null', () => ({ keys: null })],
      ['101 keys', (issuer: Issuer) => ({ keys: Array.from({ length: 101 }, () => issuer.keys[0]?.publicJwk) })],
    ])('a key set with %s', async (_what, make) => {
      const issuer = await issuerOf();
      issuer.answer = (_request, response, path) =>
        path === '/jwks' && (response.writeHead(200, json).end(JSON.stringify(make(issuer))), true);
      expectUnavailable(await (await apiOf(issuer)).ask(`Bearer ${await issuer.token()}`));
    });

    it('a key set of 100 keys is read, and every key of it counts', async () => {
      const issuer = await issuerOf();
      const last = issuer.keys[0];
      const others = Array.from({ length: 99 }, (_, index) => ({ ...last?.publicJwk, kid: `other-${index}`, use: 'enc' }));
      issuer.answer = (_request, response, path) =>
        path === '/jwks' && (response.writeHead(200, json).end(JSON.stringify({ keys: [...others, last?.publicJwk] })), true);
      expect(await ask(await apiOf(issuer))).toBe(GRANTED);
    });

    it('a key set of as many bytes as keys.largest is read, and one more is too many', async () => {
      const issuer = await issuerOf();
      let size = 4096;
      issuer.answer = (_request, response, path) =>
        path === '/jwks' &&
        (response.writeHead(200, json).end(JSON.stringify({ keys: issuer.keys.map(({ publicJwk }) => publicJwk) }).padEnd(size)), true);
      expect(await ask(await apiOf(issuer, { keys: { largest: 4096 } }))).toBe(GRANTED);
      size += 1;
      expectUnavailable(await (await apiOf(issuer, { keys: { largest: 4096 } })).ask(`Bearer ${await issuer.token()}`));
    });
  });

  describe('Unknown keys', () => {
    const madeUp = (issuer: Issuer): string =>
      `Bearer ${unsignedJwt({ typ: 'at+jwt', alg: 'ES256', kid: randomUUID() }, { iss: issuer.url, aud: AUDIENCE, exp: NOW + 300 }, 'A'.repeat(86))}`;
    const statusWith = async (api: Api, authorization: string): Promise<number> => {
      const response = await fetch(`http://127.0.0.1:${api.port}/r`, { headers: { authorization } });
      await response.arrayBuffer();
      return response.status;
    };
    const statusOf = (api: Api): Promise<number> => statusWith(api, madeUp(api.issuer));

    it('DIS-07 a key that was added is found by the first token that it signed', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      const added = await issuer.addKey('ES256');
      api.clock.advance(30);
      expect([await ask(api, {}, {}, { key: added }), jwksRequests(issuer)]).toEqual([GRANTED, 2]);
    });

    it('DIS-07 1,000 made-up kids, one after the other: one fetch a cooldown, and a real new key is found right after', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      const fetches = jwksRequests(issuer);
      for (let count = 0; count < 500; count += 1) expect(await statusOf(api)).toBe(401);
      // The keys were fetched within the cooldown.
      expect(jwksRequests(issuer) - fetches).toBe(0);
      api.clock.advance(30);
      for (let count = 0; count < 500; count += 1) expect(await statusOf(api)).toBe(401);
      expect(jwksRequests(issuer) - fetches).toBe(1);
      const added = await issuer.addKey('ES256');
      expect(await ask(api, {}, {}, { key: added })).toBe(UNKNOWN_KEY);
      api.clock.advance(30);
      expect(await ask(api, {}, {}, { key: added })).toBe(GRANTED);
      expect(jwksRequests(issuer) - fetches).toBe(2);
    });

    it('DIS-07 300 made-up kids at once: one fetch', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      api.clock.advance(30);
      const statuses = await Promise.all(Array.from({ length: 300 }, () => statusOf(api)));
      expect([new Set(statuses), jwksRequests(issuer)]).toEqual([new Set([401]), 2]);
      const added = await issuer.addKey('ES256');
      api.clock.advance(30);
      expect(await ask(api, {}, {}, { key: added })).toBe(GRANTED);
    });

    it('DIS-07 keys.cooldown says how long', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer, { keys: { cooldown: 300 } });
      expect(await ask(api)).toBe(GRANTED);
      const added = await issuer.addKey('ES256');
      api.clock.advance(299);
      expect(await ask(api, { exp: NOW + 999 }, {}, { key: added })).toBe(UNKNOWN_KEY);
      api.clock.advance(1);
      expect(await ask(api, { exp: NOW + 999 }, {}, { key: added })).toBe(GRANTED);
    });

    const SIGNATURE = '401 | Bearer invalid_token | token.signature';
    /** Names a key that is known, and is not by it. */
    const forged = (issuer: Issuer): string =>
      `Bearer ${unsignedJwt({ typ: 'at+jwt', alg: 'ES256', kid: issuer.keys[0]?.kid }, { iss: issuer.url, aud: AUDIENCE, exp: NOW + 300, jti: randomUUID() }, 'A'.repeat(86))}`;

    it.each([['one'], [undefined]])(
      'DIS-07 DIS-10 a key that took the place of another, both with the kid %s, is found by the first token that it signed',
      async (kid) => {
        const issuer = await issuerOf({ algorithms: [] });
        const old = await issuer.addKey('ES256', { kid });
        const api = await apiOf(issuer);
        const token = await issuer.token();
        expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(GRANTED);
        issuer.keys.splice(0, 1, await generateSigningKey('ES256', kid));
        // The keys were fetched within the cooldown.
        expect([await ask(api), jwksRequests(issuer)]).toEqual([SIGNATURE, 1]);
        api.clock.advance(30);
        expect([await ask(api), jwksRequests(issuer)]).toEqual([GRANTED, 2]);
        expect([verdictOf(await api.ask(`Bearer ${token}`)), await ask(api, {}, {}, { key: old })]).toEqual([SIGNATURE, SIGNATURE]);
        expect(jwksRequests(issuer)).toBe(2);
      },
    );

    it('DIS-07 1,000 bad signatures, one after the other, cost one fetch a cooldown, and good tokens pass among them', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      for (let count = 0; count < 500; count += 1) expect((await api.ask(forged(issuer))).status).toBe(401);
      expect(jwksRequests(issuer)).toBe(1);
      api.clock.advance(30);
      for (let count = 0; count < 500; count += 1) expect((await api.ask(forged(issuer))).status).toBe(401);
      expect([await ask(api), jwksRequests(issuer)]).toEqual([GRANTED, 2]);
    });

    it('DIS-07 100 bad signatures and 100 tokens of a key that took the place of another at once: one fetch, and these pass', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      const [old] = issuer.keys;
      issuer.keys.splice(0, 1, await generateSigningKey('ES256', old?.kid));
      api.clock.advance(30);
      const statuses = async (authorizations: readonly string[]): Promise<Set<number>> =>
        new Set(await Promise.all(authorizations.map((authorization) => statusWith(api, authorization))));
      const good = await Promise.all(Array.from({ length: 100 }, async () => `Bearer ${await issuer.token()}`));
      expect(await Promise.all([statuses(Array.from({ length: 100 }, () => forged(issuer))), statuses(good)])).toEqual([
        new Set([401]),
        new Set([200]),
      ]);
      expect(jwksRequests(issuer)).toBe(2);
    });

    it('DIS-07 while a bad signature has us look again, good tokens pass, and those of the new key wait for it', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      let answer = (): void => {};
      issuer.answer = (_request, response, path) => {
        if (path !== '/jwks') return false;
        answer = () => {
          response.writeHead(200, { 'content-type': 'application/json' });
          response.end(JSON.stringify({ keys: issuer.keys.map(({ publicJwk }) => publicJwk) }));
        };
        return true;
      };
      api.clock.advance(30);
      const asked = issuer.nextRequest('/jwks');
      const bad = statusWith(api, forged(issuer));
      await asked;
      const [old] = issuer.keys;
      const twin = await generateSigningKey('ES256', old?.kid);
      const early = statusWith(api, `Bearer ${await issuer.token({}, {}, { key: twin })}`);
      expect(await statusWith(api, `Bearer ${await issuer.token()}`)).toBe(200);
      issuer.keys.push(twin);
      answer();
      expect([await bad, await early, jwksRequests(issuer)]).toEqual([401, 200, 2]);
    });

    it('DIS-07 a bad signature is a bad token also while the issuer is away', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      await api.middleware.close();
      await issuer.down();
      api.clock.advance(30);
      expect([verdictOf(await api.ask(forged(issuer))), await ask(api)]).toEqual([SIGNATURE, GRANTED]);
    });

    it('100 first requests at once: one fetch of the metadata, one of the keys', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      const token = await issuer.token();
      const responses = await Promise.all(
        Array.from({ length: 100 }, () => fetch(`http://127.0.0.1:${api.port}/r`, { headers: { authorization: `Bearer ${token}` } })),
      );
      expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
      expect(issuer.requests).toEqual(['/.well-known/oauth-authorization-server', '/jwks']);
    });
  });

  describe('Time', () => {
    const long = { exp: NOW + 1_000_000 };

    it('keys are fetched ahead of need, and a key that has gone is noticed by it', async () => {
      const issuer = await issuerOf();
      const [old] = issuer.keys;
      const api = await apiOf(issuer, { keys: { freshFor: 1 } });
      const token = await issuer.token();
      expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(GRANTED);
      const added = await issuer.addKey('ES256');
      issuer.removeKey(old?.kid);
      // The clock of the resource stands still, so it is the timer that asks.
      await issuer.nextRequest('/jwks');
      // Waits for that fetch if it is still under way.
      expect(await ask(api, {}, {}, { key: added })).toBe(GRANTED);
      expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(UNKNOWN_KEY);
    });

    it('DIS-08 while the server is away keys are used until staleFor, then 503, and all is well when it is back', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer, { keys: { freshFor: 600, staleFor: 3600 }, cache: false });
      expect(await ask(api, long)).toBe(GRANTED);
      await api.middleware.close();
      await issuer.down();
      for (const seconds of [599, 600, 1800, 3599]) {
        api.clock.set(NOW + seconds);
        expect([seconds, await ask(api, long)]).toEqual([seconds, GRANTED]);
      }
      api.clock.set(NOW + 3600);
      expectUnavailable(await api.ask(`Bearer ${await issuer.token(long)}`));
      await issuer.up();
      api.clock.advance(30);
      expect(await ask(api, long)).toBe(GRANTED);
    });

    it('DIS-08 a remembered token ends there too', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer, { keys: { freshFor: 60, staleFor: 120 }, cache: { maxAge: 86_400 } });
      const token = await issuer.token(long);
      expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(GRANTED);
      await api.middleware.close();
      await issuer.down();
      api.clock.advance(119);
      expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(GRANTED);
      api.clock.advance(1);
      expectUnavailable(await api.ask(`Bearer ${token}`));
    });

    it('DIS-08 an unknown key while the server is away cannot be judged: 503, and a known one goes on', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api)).toBe(GRANTED);
      await api.middleware.close();
      await issuer.down();
      api.clock.advance(30);
      const unknown = await generateSigningKey('ES256', 'unknown');
      expectUnavailable(await api.ask(`Bearer ${await issuer.token({}, {}, { key: unknown })}`));
      expect(await ask(api)).toBe(GRANTED);
    });

    it('after failures it waits longer and longer, up to the cooldown, and says so in Retry-After', async () => {
      const issuer = await issuerOf();
      const recording = recordingFetch();
      const api = await apiOf(issuer, { fetch: recording.fetch });
      await api.middleware.close();
      await issuer.down();
      const token = await issuer.token(long);
      const attempts = async (): Promise<[number, string | undefined]> => {
        const before = recording.urls.length;
        const answer = await api.ask(`Bearer ${token}`);
        expectUnavailable(answer);
        return [recording.urls.length - before, answer.headers.find(([name]) => name === 'Retry-After')?.[1]];
      };
      for (const delay of [1, 2, 4, 8, 16, 30, 30]) {
        expect(await attempts()).toEqual([1, `${delay}`]);
        if (delay > 1) {
          api.clock.advance(delay - 1);
          expect(await attempts()).toEqual([0, '1']);
          api.clock.advance(1);
        } else {
          expect(await attempts()).toEqual([0, '1']);
          api.clock.advance(1);
        }
      }
      await issuer.up();
      expect(await ask(api, long)).toBe(GRANTED);
      // And the next failure begins from the start.
      await issuer.down();
      api.clock.advance(3600);
      // The metadata, and the keys where they were.
      expect(await attempts()).toEqual([2, '1']);
    });

    /** The issuer says that its keys are at `/moved`, and `former` tells what becomes of the former place. */
    const move = (issuer: Issuer, former: () => unknown): void => {
      issuer.metadata['jwks_uri'] = `${issuer.url}/moved`;
      const moved = issuer.keys;
      issuer.answer = (_request, response, path) => {
        const keys = path === '/moved' ? moved.map(({ publicJwk }) => publicJwk) : path === '/jwks' ? former() : undefined;
        if (keys === undefined) return false;
        response.writeHead(keys === null ? 410 : 200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys }));
        return true;
      };
    };

    it.each([
      ['answers no more', () => null],
      ['goes on answering as before', (old: SigningKeyPair[]) => old.map(({ publicJwk }) => publicJwk)],
    ])(
      'DIS-07 keys are found where the metadata says now, and a key that was left behind verifies nothing: the former place %s',
      async (_what, former) => {
        const issuer = await issuerOf();
        const api = await apiOf(issuer);
        const token = await issuer.token(long);
        expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(GRANTED);
        await api.middleware.close();
        const old = issuer.keys.splice(0);
        const added = await issuer.addKey('ES256');
        move(issuer, () => former(old));
        const before = issuer.requests.length;
        api.clock.advance(30);
        expect(await ask(api, long, {}, { key: added })).toBe(GRANTED);
        expect(issuer.requests.slice(before)).toEqual(['/.well-known/oauth-authorization-server', '/moved']);
        expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(UNKNOWN_KEY);
      },
    );

    it('DIS-07 a move is noticed by the timer too, so that a key that was left behind is not used for long', async () => {
      const issuer = await issuerOf();
      const [old] = issuer.keys;
      const api = await apiOf(issuer, { keys: { freshFor: 1 } });
      const token = await issuer.token();
      expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(GRANTED);
      issuer.keys.splice(0);
      const added = await issuer.addKey('ES256');
      move(issuer, () => [old?.publicJwk]);
      await issuer.nextRequest('/moved');
      // Waits for that fetch if it is still under way.
      expect(await ask(api, {}, {}, { key: added })).toBe(GRANTED);
      expect(verdictOf(await api.ask(`Bearer ${token}`))).toBe(UNKNOWN_KEY);
    });

    it.each<[string, (issuer: Issuer) => unknown]>([
      ['cannot be had', (issuer) => issuer.locations.clear()],
      ['is of another', (issuer) => Object.assign(issuer.metadata, { issuer: 'https://evil.example', jwks_uri: `${issuer.url}/evil` })],
      ['names no secure place', (issuer) => (issuer.metadata['jwks_uri'] = 'http://keys.example.com/jwks')],
    ])('DIS-03 DIS-08 keys are where they were while the metadata %s', async (_what, spoil) => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      expect(await ask(api, long)).toBe(GRANTED);
      spoil(issuer);
      const added = await issuer.addKey('ES256');
      api.clock.advance(30);
      expect(await ask(api, long, {}, { key: added })).toBe(GRANTED);
      expect(issuer.requests.filter((path) => !path.includes('.well-known'))).toEqual(['/jwks', '/jwks']);
    });

    it.each([
      ['none', () => []],
      ['one that is for encryption', (issuer: Issuer) => [{ ...issuer.keys[0]?.publicJwk, use: 'enc' }]],
    ])(
      'DIS-08 a set that has no key that can verify for a moment, but %s, is a failed fetch: what is known is used on',
      async (_what, keysOf) => {
        const issuer = await issuerOf();
        const api = await apiOf(issuer, { cache: false });
        expect(await ask(api, long)).toBe(GRANTED);
        await api.middleware.close();
        issuer.answer = (_request, response, path) =>
          path === '/jwks' &&
          (response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: keysOf(issuer) })), true);
        api.clock.advance(30);
        const added = await generateSigningKey('ES256', 'added');
        expectUnavailable(await api.ask(`Bearer ${await issuer.token(long, {}, { key: added })}`));
        expect(jwksRequests(issuer)).toBe(2);
        for (const seconds of [31, 1000, 3599]) {
          api.clock.set(NOW + seconds);
          expect([seconds, await ask(api, long)]).toEqual([seconds, GRANTED]);
        }
        api.clock.set(NOW + 3600);
        expectUnavailable(await api.ask(`Bearer ${await issuer.token(long)}`));
        issuer.answer = undefined;
        issuer.keys.push(added);
        api.clock.advance(30);
        expect([await ask(api, long), await ask(api, long, {}, { key: added })]).toEqual([GRANTED, GRANTED]);
      },
    );

    it('keys are fetched before they are no longer fresh, so that no request waits for them', async () => {
      const { publicJwk } = await generateSigningKey('ES256', 'a');
      let fetches = 0;
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const resource = protectedResource({
        issuer: 'https://as.example.com',
        audience: AUDIENCE,
        keys: { uri: 'https://as.example.com/jwks', freshFor: 600 },
        now: createClock(NOW).now,
        fetch: async () => {
          fetches += 1;
          return Response.json({ keys: [publicJwk] });
        },
      });
      try {
        await resource.ready();
        await vi.advanceTimersByTimeAsync(300_000);
        expect(fetches).toBe(1);
        await vi.advanceTimersByTimeAsync(299_999);
        expect(fetches).toBe(2);
      } finally {
        await resource.close();
        vi.useRealTimers();
      }
    });

    it('a clock that fails when the timer asks it does not end the process, and keys are fetched again when it is well', async () => {
      const issuer = await issuerOf();
      const program = `
        import { protectedResource } from '@holdfast/core';
        const waiting = setInterval(() => {}, 1000);
        let [broken, failed] = [false, false];
        const resource = protectedResource({
          issuer: process.argv[1],
          audience: 'https://rs.example.com',
          keys: { freshFor: 1 },
          now: () => {
            if (!broken) return Date.now() / 1000;
            broken = false;
            failed = true;
            return NaN;
          },
          fetch: (url, init) => {
            if (failed) {
              process.stdout.write('fetched again');
              clearInterval(waiting);
            }
            return fetch(url, init);
          },
        });
        await resource.ready();
        broken = true;
      `;
      const { output, code } = await run(program, issuer.url);
      expect([output, code]).toEqual([expect.stringMatching(/^fetched again/), 0]);
    });
  });

  describe('Keys that fit', () => {
    it('DIS-09 an RSA and an EC key of the same kid', async () => {
      const issuer = await issuerOf();
      const [ec, rsa] = [await generateSigningKey('ES256', '1'), await generateSigningKey('RS256', '1')];
      for (const order of [
        [ec, rsa],
        [rsa, ec],
      ]) {
        issuer.keys.splice(0, issuer.keys.length, ...order);
        const api = await apiOf(issuer);
        expect([await ask(api, {}, {}, { key: ec }), await ask(api, {}, {}, { key: rsa })]).toEqual([GRANTED, GRANTED]);
      }
    });

    it('DIS-09 two EC keys of the same kid and curve are both tried', async () => {
      const issuer = await issuerOf();
      const twins = [await generateSigningKey('ES256', '1'), await generateSigningKey('ES256', '1')];
      issuer.keys.splice(0, issuer.keys.length, ...twins);
      const api = await apiOf(issuer);
      for (const key of twins) expect(await ask(api, {}, {}, { key })).toBe(GRANTED);
      const third = await generateSigningKey('ES256', '1');
      expect(await ask(api, {}, {}, { key: third })).toBe('401 | Bearer invalid_token | token.signature');
    });

    it('DIS-10 a token without kid: whichever key fits its alg', async () => {
      const issuer = await issuerOf({ algorithms: ['ES256', 'ES256', 'RS256', 'EdDSA'] });
      const api = await apiOf(issuer);
      for (const key of issuer.keys) expect(await ask(api, {}, { kid: undefined }, { key })).toBe(GRANTED);
      const unknown = await generateSigningKey('ES256', undefined);
      expect(await ask(api, {}, {}, { key: unknown })).toBe('401 | Bearer invalid_token | token.signature');
    });

    it('DIS-10 keys without kid verify tokens without', async () => {
      const issuer = await issuerOf({ algorithms: [] });
      const nameless = await issuer.addKey('ES256', { kid: undefined });
      const api = await apiOf(issuer);
      expect(await ask(api, {}, {}, { key: nameless })).toBe(GRANTED);
      expect(await ask(api, {}, { kid: 'some' }, { key: nameless })).toBe(UNKNOWN_KEY);
    });

    /** A key of this kind that signs, beside what the key set shows of it. */
    const shown = async (alg: string, show: (publicJwk: JWK, key: SigningKeyPair) => object): Promise<SigningKeyPair> => {
      const key = await generateSigningKey(alg, randomUUID());
      return { ...key, publicJwk: show(key.publicJwk, key) };
    };
    const left: [string, () => Promise<SigningKeyPair>][] = [
      ['use: enc', () => shown('ES256', (jwk) => ({ ...jwk, use: 'enc' }))],
      ['use: ENC', () => shown('ES256', (jwk) => ({ ...jwk, use: 'ENC' }))],
      ['key_ops without verify', () => shown('ES256', (jwk) => ({ ...jwk, use: undefined, key_ops: ['sign'] }))],
      ['key_ops that is no list', () => shown('ES256', (jwk) => ({ ...jwk, use: undefined, key_ops: 'verify' }))],
      [
        'the private part, EC',
        () => shown('ES256', (jwk, key) => ({ ...jwk, d: KeyObject.from(key.privateKey).export({ format: 'jwk' }).d })),
      ],
      [
        'the private part, RSA',
        () => shown('RS256', (jwk, key) => ({ ...jwk, ...KeyObject.from(key.privateKey).export({ format: 'jwk' }) })),
      ],
      [
        'the private part, Ed25519',
        () => shown('EdDSA', (jwk, key) => ({ ...jwk, d: KeyObject.from(key.privateKey).export({ format: 'jwk' }).d })),
      ],
      ['a member k', () => shown('ES256', (jwk) => ({ ...jwk, k: 'AAAA' }))],
      ['another alg', () => shown('ES256', (jwk) => ({ ...jwk, alg: 'ES384' }))],
      ['another kty', () => shown('ES256', (jwk) => ({ ...jwk, kty: 'OKP' }))],
      ['kty in lower case', () => shown('ES256', (jwk) => ({ ...jwk, kty: 'ec' }))],
      ['another crv', () => shown('ES256', (jwk) => ({ ...jwk, crv: 'P-384' }))],
    ];

    it.each(left)('DIS-11 a key with %s is left out', async (_what, make) => {
      const issuer = await issuerOf();
      const key = await make();
      issuer.keys.push(key);
      const api = await apiOf(issuer);
      expect([await ask(api, {}, {}, { key }), await ask(api)]).toEqual([UNKNOWN_KEY, GRANTED]);
      issuer.keys.shift();
      expect(await ask(await apiOf(issuer), {}, {}, { key })).toBe(UNKNOWN_KEY);
    });

    it('DIS-11 a symmetric key in the set verifies nothing, by any name', async () => {
      const issuer = await issuerOf();
      const secret = Buffer.from('a secret that everybody can read');
      const answer = (jwk: object): void => {
        issuer.answer = (_request, response, path) =>
          path === '/jwks' &&
          (response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys: [{ kid: 'oct', ...jwk }] })), true);
      };
      for (const alg of ['HS256', 'ES256']) {
        answer({ kty: 'oct', k: base64url(secret), alg });
        const claims = { iss: issuer.url, aud: AUDIENCE, exp: NOW + 300 };
        const token = rawJwt(JSON.stringify({ typ: 'at+jwt', alg, kid: 'oct' }), JSON.stringify(claims), (input) =>
          createHmac('sha256', secret).update(input).digest(),
        );
        const verdict = verdictOf(await (await apiOf(issuer)).ask(`Bearer ${token}`));
        expect(verdict).toBe(alg === 'HS256' ? '401 | Bearer invalid_token | token.algorithm' : UNKNOWN_KEY);
      }
    });

    const expectHarmless = async (garbage: unknown): Promise<void> => {
      const issuer = await issuerOf();
      const keys = [garbage, issuer.keys[0]?.publicJwk, garbage];
      issuer.answer = (_request, response, path) =>
        path === '/jwks' && (response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ keys })), true);
      const api = await apiOf(issuer);
      expect([await ask(api), await ask(api, {}, { kid: undefined })]).toEqual([GRANTED, GRANTED]);
    };

    it.each([
      ['null', null],
      ['a number', 5],
      ['a string', 'key'],
      ['an array', []],
      ['an empty object', {}],
      ['kty alone', { kty: 'RSA' }],
      ['kty that is no string', { kty: ['EC'] }],
      ['an unknown kty', { kty: 'AKP', alg: 'ML-DSA-44', pub: 'AAAA' }],
      ['RSA whose n is no string', { kty: 'RSA', n: 1, e: 'AQAB' }],
      ['RSA whose n is no base64url', { kty: 'RSA', n: '!!!!', e: 'AQAB' }],
      ['RSA whose n is empty', { kty: 'RSA', n: '', e: 'AQAB' }],
      ['RSA with n of zeros', { kty: 'RSA', n: 'A'.repeat(344), e: 'AQAB' }],
      ['EC without coordinates', { kty: 'EC', crv: 'P-256' }],
      ['EC with coordinates that are none', { kty: 'EC', crv: 'P-256', x: 'AA', y: '' }],
      ['EC off its curve', vectors.jwk_points['derived-off-curve'].jwk],
      ['an unknown curve', { kty: 'EC', crv: 'secp256k1', x: 'AA', y: 'AA' }],
      ['an Ed25519 key of the wrong length', { kty: 'OKP', crv: 'Ed25519', x: 'AAAA' }],
      ['Ed448', { kty: 'OKP', crv: 'Ed448', x: 'A'.repeat(76) }],
      ['X25519', { kty: 'OKP', crv: 'X25519', x: 'A'.repeat(43) }],
      ['members that are objects', { kty: 'EC', crv: {}, x: [], y: null, kid: {}, alg: [], use: 'sig' }],
      ['ext that is no boolean', { kty: 'EC', crv: 'P-256', ext: 'yes', x: 'AA', y: 'AA' }],
      ['64 KB', { kty: 'EC', crv: 'P-256', x: 'A'.repeat(65_536), y: 'AA' }],
    ])('DIS-11 garbage beside a good key does not spoil it: %s', async (_what, garbage) => {
      await expectHarmless(garbage);
    });

    it.each([
      ['n', { kty: 'RSA', n: 'A'.repeat(345), e: 'AQAB' }],
      ['e', { kty: 'RSA', n: 'A'.repeat(344), e: 'A' }],
    ])('DIS-11 nor does RSA with %s of a length that base64url has not', async (_member, garbage) => {
      await expectHarmless(garbage);
    });

    it('DIS-11 a set without any key that can verify: nothing passes, and it is not our fault', async () => {
      const issuer = await issuerOf();
      const [key] = issuer.keys.splice(0);
      const api = await apiOf(issuer);
      expect(await ask(api, {}, {}, key && { key })).toBe(UNKNOWN_KEY);
      await expect(api.middleware.ready()).rejects.toThrow(/none of the keys/);
    });
  });

  describe('Keys that are given', () => {
    let pki: Pki;
    beforeAll(async () => {
      pki = await createPki();
    });
    const silent = (): { fetch: Fetch; urls: string[] } => {
      const urls: string[] = [];
      return { urls, fetch: (url) => Promise.reject(new Error(`${urls.push(url)}`)) };
    };

    it('as a JWK set: nothing is fetched', async () => {
      const issuer = await issuerOf({ algorithms: ['ES256', 'EdDSA'] });
      const { fetch: none, urls } = silent();
      const api = await apiOf(issuer, { keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } }, fetch: none });
      await api.middleware.ready();
      expect([await ask(api), await ask(api, {}, { alg: 'EdDSA' }), await ask(api, {}, { kid: undefined })]).toEqual([
        GRANTED,
        GRANTED,
        GRANTED,
      ]);
      expect(await ask(api, {}, { kid: 'other' })).toBe(UNKNOWN_KEY);
      expect([urls, issuer.requests]).toEqual([[], []]);
    });

    it.each(['ES256', 'ES384', 'ES512', 'RS256', 'EdDSA'])('as a PEM public key for %s: nothing is fetched', async (alg) => {
      const issuer = await issuerOf({ algorithms: [alg] });
      const pem = KeyObject.from((issuer.keys[0] as SigningKeyPair).privateKey);
      const { fetch: none, urls } = silent();
      const api = await apiOf(issuer, {
        keys: { pem: createPublicKey(pem).export({ type: 'spki', format: 'pem' }).toString() },
        fetch: none,
      });
      await api.middleware.ready();
      expect(await ask(api, {}, { kid: undefined })).toBe(GRANTED);
      const other = await generateSigningKey(alg, undefined);
      expect(await ask(api, {}, {}, { key: other })).toBe('401 | Bearer invalid_token | token.signature');
      expect([urls, issuer.requests]).toEqual([[], []]);
    });

    it.each(['ES256', 'EdDSA'])('as a PEM public key for %s, though the token names a kid, which a PEM has not', async (alg) => {
      const issuer = await issuerOf({ algorithms: [alg] });
      const [key] = issuer.keys;
      const pem = createPublicKey(KeyObject.from((key as SigningKeyPair).privateKey))
        .export({ type: 'spki', format: 'pem' })
        .toString();
      expect(await ask(await apiOf(issuer, { keys: { pem } }))).toBe(GRANTED);
    });

    it('as several PEM keys', async () => {
      const issuer = await issuerOf({ algorithms: ['ES256', 'EdDSA', 'ES256'] });
      const pem = issuer.keys.map(({ privateKey }) =>
        createPublicKey(KeyObject.from(privateKey)).export({ type: 'spki', format: 'pem' }).toString(),
      );
      const api = await apiOf(issuer, { keys: { pem } });
      for (const key of issuer.keys) expect(await ask(api, {}, { kid: undefined }, { key })).toBe(GRANTED);
    });

    it('as a PEM certificate: its key counts, not its dates', async () => {
      const identity = await pki.client('signer', { notBefore: new Date(0), notAfter: new Date(1000) });
      const privateKey = await crypto.subtle.importKey(
        'pkcs8',
        Buffer.from(identity.key.replaceAll(/-----[^-]+-----|\s/g, ''), 'base64'),
        { name: 'ECDSA', namedCurve: 'P-256' },
        true,
        ['sign'],
      );
      const issuer = await issuerOf();
      const api = await apiOf(issuer, { keys: { pem: identity.cert } });
      await api.middleware.ready();
      const key = { kid: undefined, alg: 'ES256', privateKey, publicJwk: {} };
      expect([await ask(api, {}, {}, { key }), await ask(api, {}, { kid: undefined })]).toEqual([
        GRANTED,
        '401 | Bearer invalid_token | token.signature',
      ]);
      expect(issuer.requests).toEqual([]);
    });

    it.each([
      ['garbage between the lines', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'],
      ['nothing between the lines', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----'],
      [
        'a curve that signs no access token',
        generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ type: 'spki', format: 'pem' }).toString(),
      ],
      ['a key for encryption', generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()],
    ])('a PEM with %s: ready() says so, and every token is our fault', async (_what, pem) => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer, { keys: { pem } });
      await expect(api.middleware.ready()).rejects.toThrow(/PEM/);
      const answer = await api.ask(`Bearer ${await issuer.token()}`);
      expect([answer.status, answer.body, answer.challengeLines, answer.access]).toEqual([503, '', [], undefined]);
      expect(answer.reason).toMatch(/^unavailable\./);
    });

    it.each([
      ['symmetric', () => ({ kty: 'oct', k: 'AAAA' })],
      ['private', async () => KeyObject.from((await generateSigningKey('ES256', 'x')).privateKey).export({ format: 'jwk' })],
      ['for encryption', async () => ({ ...(await generateSigningKey('ES256', 'x')).publicJwk, use: 'enc' })],
    ])('a given key set whose only key is %s: ready() says so', async (_what, make) => {
      const resource = protectedResource({
        issuer: 'https://as.example.com',
        audience: AUDIENCE,
        keys: { jwks: { keys: [(await make()) as JWK] } },
      });
      await expect(resource.ready()).rejects.toThrow(/keys/);
    });
  });

  describe('ready() and close()', () => {
    it('ready() fetches once, and is done when a token can be judged', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      await Promise.all([api.middleware.ready(), api.middleware.ready()]);
      await api.middleware.ready();
      expect(await ask(api)).toBe(GRANTED);
      expect(issuer.requests).toEqual(['/.well-known/oauth-authorization-server', '/jwks']);
    });

    it.each<[string, Partial<ProtectedResourceOptions>, (issuer: Issuer) => void, (issuer: Issuer) => RegExp[]]>([
      [
        'no metadata',
        {},
        (issuer) => issuer.locations.clear(),
        ({ url }) => [new RegExp(url), /oauth-authorization-server: .*404/, /openid-configuration: .*404/],
      ],
      [
        'metadata of another',
        {},
        (issuer) => (issuer.metadata['issuer'] = 'https://other.example.com'),
        () => [/other\.example\.com/, /not exactly/],
      ],
      ['no https', {}, (issuer) => (issuer.metadata['jwks_uri'] = 'http://other.example.com'), () => [/jwks_uri/, /https/]],
      ['no keys', {}, (issuer) => (issuer.metadata['jwks_uri'] = `${issuer.url}/none`), ({ url }) => [new RegExp(`${url}/none`), /404/]],
      ['no keys at keys.uri', { keys: { uri: 'http://127.0.0.1:1/jwks' } }, () => {}, () => [/http:\/\/127\.0\.0\.1:1\/jwks/]],
      [
        'a key set that is none',
        {},
        (issuer) => {
          issuer.metadata['jwks_uri'] = `${issuer.url}/.well-known/oauth-authorization-server`;
        },
        ({ url }) => [new RegExp(`${url}/\\.well-known/oauth-authorization-server`), /JWK set/],
      ],
    ])('ready() rejects with an Error that names the URL and the cause: %s', async (_what, options, spoil, messages) => {
      const issuer = await issuerOf();
      spoil(issuer);
      const api = await apiOf(issuer, options);
      const error: unknown = await api.middleware.ready().catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(Error);
      for (const message of messages(issuer)) expect((error as Error).message).toMatch(message);
    });

    it('ready() rejects where nobody listens, and resolves once somebody does', async () => {
      const issuer = await issuerOf();
      const api = await apiOf(issuer);
      await issuer.down();
      await expect(api.middleware.ready()).rejects.toThrow(/127\.0\.0\.1:\d+\/\.well-known\/oauth-authorization-server.*ECONNREFUSED/);
      await issuer.up();
      api.clock.advance(1);
      await api.middleware.ready();
    });

    it('close() ends the timer, twice too, and what is known goes on being used', async () => {
      const [issuer, other] = [await issuerOf(), await issuerOf()];
      const api = await apiOf(issuer, { keys: { freshFor: 1 } });
      expect(await ask(api)).toBe(GRANTED);
      await api.middleware.close();
      await api.middleware.close();
      // When the timer of a younger one fires, that of the closed one would have fired before.
      expect(await ask(await apiOf(other, { keys: { freshFor: 1 } }))).toBe(GRANTED);
      await other.nextRequest('/jwks');
      expect(jwksRequests(issuer)).toBe(1);
      expect(await ask(api)).toBe(GRANTED);
    });

    it('a process that only made a resource, and got it ready, ends by itself without close()', async () => {
      const issuer = await issuerOf();
      const program = `
        import { protectedResource } from '@holdfast/core';
        const resource = protectedResource({ issuer: process.argv[1], audience: 'https://rs.example.com', keys: { freshFor: 86400, staleFor: 86400 } });
        await resource.ready();
        process.stdout.write('ready');
      `;
      expect(await run(program, issuer.url)).toEqual({ output: 'ready', code: 0 });
    });

    it('keys.uri: the keys from there, without metadata; behind an https server of a private CA by a fetch of the application', async () => {
      const issuer = await issuerOf();
      const elsewhere = createServer((_request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ keys: issuer.keys.map(({ publicJwk }) => publicJwk) }));
      });
      const port = await listen(elsewhere);
      const direct = await apiOf(issuer, { keys: { uri: `http://127.0.0.1:${port}/keys` } });
      expect([await ask(direct), issuer.requests]).toEqual([GRANTED, []]);
      const by = await apiOf(issuer, {
        keys: { uri: 'https://as.internal.example/keys' },
        fetch: (url, init) => fetch(url.replace('https://as.internal.example', `http://127.0.0.1:${port}`), init),
      });
      expect(await ask(by)).toBe(GRANTED);
      await stop(elsewhere);
    });
  });
});
