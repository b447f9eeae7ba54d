// holdfast doctor, against a real authorization server, and against servers that say what they like.
import dns from 'node:dns';
import type { ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { runInThisContext } from 'node:vm';
import * as core from '@holdfast/core';
import { recognise } from '@holdfast/cli/recognise';
import { fromTls } from '@holdfast/express';
import { type AuthorizationServer, startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { fetchWith } from '@holdfast/test-support/clients';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Pki } from '@holdfast/test-support/pki';
import { PROVIDER_METADATA, type ProviderMetadata } from '@holdfast/test-support/provider-metadata';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { build, holdfast, program, type Ran, temporaryFolder, UNSEEN } from './holdfast.ts';

interface Report {
  readonly outcome: string;
  readonly locations: readonly { url: string; found: string; why?: string }[];
  readonly metadata?: Record<string, unknown>;
  readonly keys?: readonly { kty: string; kid?: string; algorithms: string[]; unusable?: string; thumbprint?: string }[];
  readonly clock?: { least: number; most: number };
  readonly provider?: { provider: string; by: string };
  readonly findings: readonly { topic: string; mark: string; text: string }[];
  readonly configuration?: string;
}

const reportOf = ({ out }: Ran): Report => JSON.parse(out) as Report;
const saying = (report: Report, mark: string, topic: string): string =>
  report.findings.flatMap((one) => (one.mark === mark && one.topic === topic ? [one.text] : [])).join('\n');

const folder = temporaryFolder();
let pki: Pki;
let ca: string;
beforeAll(async () => {
  pki = await createPki();
  ca = folder.file('ca.crt', pki.ca);
  build();
}, 120_000);
afterAll(() => folder.remove());

/** An issuer that issues bound tokens by its own account; everything in it can be changed. */
async function issuerWith(change: (issuer: Issuer) => void, options: Parameters<typeof startIssuer>[0] = {}): Promise<Issuer> {
  const issuer = await startIssuer(options);
  onTestFinished(() => issuer.close());
  Object.assign(issuer.metadata, { tls_client_certificate_bound_access_tokens: true, dpop_signing_alg_values_supported: ['ES256'] });
  change(issuer);
  return issuer;
}

async function doctor(issuer: Issuer | string, ...more: string[]): Promise<{ ran: Ran; report: Report }> {
  const ran = await holdfast(['doctor', typeof issuer === 'string' ? issuer : issuer.url, '--json', ...more]);
  return { ran, report: reportOf(ran) };
}

describe('holdfast doctor, of oidc-provider', () => {
  let as: AuthorizationServer;
  beforeAll(async () => {
    as = await startAuthorizationServer({ pki, aliases: ['token_endpoint', 'introspection_endpoint'] });
  });
  afterAll(() => as.close());

  it('finds everything, says that all is well, and ends with 0', async () => {
    const ran = await program(['doctor', as.issuer, '--ca', ca, '--json']);
    expect(ran.err).toBe('');
    expect(ran.code).toBe(0);
    const report = reportOf(ran);
    expect(report.outcome).toBe('well');
    expect(report.locations.map(({ url, found }) => [url.slice(as.issuer.length), found])).toEqual([
      ['/.well-known/oauth-authorization-server', 'metadata'],
      ['/.well-known/openid-configuration', 'metadata'],
    ]);
    expect(saying(report, 'ok', 'Bound tokens')).toMatch(
      /certificate-bound tokens[^]*tls_client_auth[^]*mtls_endpoint_aliases[^]*DPoP-bound/,
    );
    expect(report.keys).toMatchObject([
      { kty: 'EC', kid: as.publicJwk.kid, alg: 'ES256', use: 'sig', algorithms: ['ES256'], size: ' P-256' },
    ]);
    expect(saying(report, 'ok', 'Introspection')).toContain(`${as.issuer}/token/introspection`);
    expect(saying(report, 'ok', 'Clock')).toBe('The clocks agree.');
    expect(report.provider?.provider).toBe('oidcProvider');
  });

  it('prints options that can be pasted: Holdfast starts with them, and finds the keys', async () => {
    const { out } = await program(['doctor', as.issuer, '--ca', ca, '--audience', "https://api.example.com/it's"]);
    const [, text = ''] = /(holdfast\(\{[^]*?\n\s*\}\))/.exec(out) ?? [];
    expect(text).toContain(`issuer: '${as.issuer}'`);
    // What people paste is run as they run it.
    const pasted = runInThisContext(`(holdfast, fromTls) => ${text}`) as (...given: unknown[]) => unknown;
    const options = pasted((given: object) => given, fromTls) as core.ProtectedResourceOptions;
    expect(options).toMatchObject({ audience: "https://api.example.com/it's", provider: 'oidcProvider' });
    expect(options.certificate).toBeTypeOf('function');
    const trusting = fetchWith({ ca: pki.ca });
    onTestFinished(() => trusting.close());
    const resource = core.protectedResource({ ...options, fetch: (url, init) => trusting(url, init) });
    onTestFinished(() => resource.close());
    await expect(resource.ready()).resolves.toBeUndefined();
  });

  it('explains a certificate by a private authority, and ends with 2', async () => {
    const ran = await program(['doctor', as.issuer]);
    expect(ran.code).toBe(2);
    expect(ran.out).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE[^]*--ca/);
    expect(ran.out + ran.err).not.toMatch(/\n\s+at /);
  });

  it('says which resources the server lists, where the audience is not among them', async () => {
    const issuer = await issuerWith(({ metadata }) => {
      metadata['protected_resources'] = ['https://other.example.com'];
    });
    const { ran, report } = await doctor(issuer, '--audience', 'https://api.example.com');
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Discovery')).toContain('protected_resources');
  });
});

describe('holdfast doctor', () => {
  it('DIS-01 DIS-02 tries every location, says what each said, and which of them a resource takes', async () => {
    const issuer = await issuerWith(({ locations }) => locations.delete('rfc8414'), { path: '/realms/demo' });
    const { ran, report } = await doctor(issuer);
    const { origin } = new URL(issuer.url);
    expect(report.locations).toEqual([
      {
        url: `${origin}/.well-known/oauth-authorization-server/realms/demo`,
        found: 'unusable',
        why: expect.stringContaining('answered with status 404'),
      },
      { url: `${origin}/.well-known/openid-configuration/realms/demo`, found: 'metadata' },
      { url: `${origin}/realms/demo/.well-known/openid-configuration`, found: 'metadata' },
    ]);
    expect(saying(report, 'ok', 'Discovery')).toMatch(/openid-configuration\/realms\/demo is what Holdfast reads[^]*would do as well/);
    expect(ran.code).toBe(0);
  });

  it('DIS-03 names the issuer that the server calls itself, where that is another', async () => {
    const issuer = await issuerWith(({ metadata, url }) => void (metadata['issuer'] = `${url}/`));
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Discovery')).toMatch(/calls itself "http:\/\/127\.0\.0\.1:\d+\/"[^]*final slash/);
    expect(report.configuration).toBeUndefined();
  });

  it('says where nothing leads to the keys', async () => {
    const { ran, report } = await doctor(await issuerWith(({ locations }) => locations.clear()));
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Discovery')).toContain('keys: { uri: … }');
  });

  it('says where the metadata promises no bound tokens', async () => {
    const issuer = await issuerWith(({ metadata }) => {
      delete metadata['tls_client_certificate_bound_access_tokens'];
      delete metadata['dpop_signing_alg_values_supported'];
    });
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Bound tokens')).toContain('cnf.absent');
  });

  it('says where proofs of the server are by algorithms that are not accepted', async () => {
    const issuer = await issuerWith(({ metadata }) => void (metadata['dpop_signing_alg_values_supported'] = ['RS256']));
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Bound tokens')).toContain('dpop: { algorithms');
  });

  const EC = {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  };
  it.each([
    ['for encryption', { ...EC, use: 'enc' }, 'note', /not for signatures \(use\)/],
    ['only to sign', { ...EC, key_ops: ['sign'] }, 'note', /key_ops/],
    ['private', { ...EC, d: 'jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI' }, 'wrong', /can make tokens/],
    ['symmetric', { kty: 'oct', k: 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0' }, 'wrong', /can make tokens/],
    ['RSA of 1024 bits', { kty: 'RSA', n: Buffer.alloc(128, 0xff).toString('base64url'), e: 'AQAB' }, 'note', /2048 to 8192/],
    ['of a kind that nobody knows', { kty: 'AKP', alg: 'ML-DSA-65', pub: 'AAAA' }, 'note', /none of RSA, EC and OKP/],
    ['off its curve', { ...EC, y: EC.x }, 'note', /fits no algorithm/],
    ['for an algorithm that is not accepted', { ...EC, alg: 'ECDH-ES' }, 'note', /fits no algorithm/],
    ['no object', 7, 'note', /no object/],
    ['without a member that it needs', { kty: 'EC', crv: 'P-256', x: EC.x }, 'note', /missing/],
  ])('DIS-11 says of a key that is %s why it is not used, and never shows its secret', async (_, jwk, mark, why) => {
    const issuer = await issuerWith((one) => {
      one.answer = (_request, response, path) => path === '/jwks' && json(response, { keys: [one.keys[0]?.publicJwk, jwk] });
    });
    const { ran, report } = await doctor(issuer);
    expect(saying(report, mark, 'Keys')).toMatch(why);
    expect(report.keys?.[1]?.algorithms).toEqual([]);
    expect(report.keys?.[0]?.algorithms).toEqual(['ES256']);
    expect(ran.code).toBe(mark === 'wrong' ? 1 : 0);
    expect(ran.out).not.toMatch(/jpsQnnGQ|c2VjcmV0/);
  });

  it('sees keys as a resource does: what is called usable verifies, and nothing else', async () => {
    const issuer = await issuerWith(() => {}, { algorithms: ['ES256', 'RS256', 'PS512', 'Ed25519'] });
    const rsa = issuer.keys[1];
    if (rsa !== undefined) Reflect.deleteProperty(rsa.publicJwk, 'alg');
    const { report } = await doctor(issuer);
    expect(report.keys?.map(({ algorithms }) => algorithms)).toEqual([
      ['ES256'],
      ['PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512'],
      ['PS512'],
      ['Ed25519'],
    ]);
    const resource = core.protectedResource({ issuer: issuer.url, audience: 'https://rs.example.com', unconstrained: 'accept' });
    onTestFinished(() => resource.close());
    for (const key of issuer.keys) {
      const token = await issuer.token({}, {}, { key });
      const result = await resource.verify({
        method: 'GET',
        target: '/',
        fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
      expect([key.alg, result.granted]).toEqual([key.alg, true]);
    }
  });

  it('says where no key is left', async () => {
    const { ran, report } = await doctor(await issuerWith(({ keys }) => void keys.splice(0)));
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Keys')).toContain('With none of its keys');
  });

  it.each([
    [3600, 1, /ahead of that of this machine[^]*not valid yet/],
    [-3600, 1, /behind that of this machine[^]*expired/],
    [3, 0, /The clocks agree|are \d s apart/],
  ])('compares the clocks by Date: %d s', async (offset, code, words) => {
    const issuer = await issuerWith((one) => {
      one.answer = (_request, response) => {
        response.setHeader('date', new Date(Date.now() + offset * 1000).toUTCString());
        return false;
      };
    });
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(code);
    expect(saying(report, code === 0 ? 'ok' : 'wrong', 'Clock')).toMatch(words);
    const { least = Number.NaN, most = Number.NaN } = report.clock ?? {};
    expect(least).toBeLessThanOrEqual(offset);
    expect(most).toBeGreaterThanOrEqual(offset);
  });

  it('does not believe the Date of a cache', async () => {
    const issuer = await issuerWith((one) => {
      one.answer = (_request, response) => {
        response.setHeader('date', new Date(0).toUTCString());
        response.setHeader('age', '60');
        return false;
      };
    });
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(2);
    expect(saying(report, 'unclear', 'Clock')).toContain('could not be compared');
  });

  it('shows colours on a terminal that has them, and none elsewhere', async () => {
    const issuer = await issuerWith(() => {});
    const [plain, coloured] = [await holdfast(['doctor', issuer.url]), await holdfast(['doctor', issuer.url], { colours: true })];
    expect(plain.out).not.toMatch(UNSEEN);
    expect(coloured.out).toContain('\u001b[32m✓');
  });
});

describe('holdfast doctor, of what each provider says of itself', () => {
  const NAMES = Object.keys(core.PROVIDERS);
  const hosts = new Set(Object.values(PROVIDER_METADATA).map(({ issuer }) => new URL(issuer).hostname));
  let server: Server;
  let port: number;
  let issuer: Issuer;
  /** With the port that is ours: names of hosts stay those of the providers, since products are recognised by them too. */
  const here = (text: string): string =>
    text.replaceAll(/https:\/\/([\w.-]+)/g, (url, host: string) => (hosts.has(host) ? `${url}:${port}` : url));
  beforeAll(async () => {
    const { lookup } = dns;
    vi.spyOn(dns, 'lookup').mockImplementation(((name: string, options: dns.LookupOptions, done: (...answer: unknown[]) => void) => {
      if (!hosts.has(name)) return lookup(name, options, done);
      return options.all === true ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
    }) as typeof dns.lookup);
    issuer = await startIssuer({ algorithms: ['RS256', 'ES256'] });
    const { cert, key } = await pki.serverFor([...hosts]);
    server = createServer({ cert, key }, ({ url, headers: { host } }, response) => {
      const { issuer: identifier, path, document } = asked;
      if (host !== new URL(here(identifier)).host) return response.writeHead(421).end();
      if (url === path) return json(response, JSON.parse(here(JSON.stringify({ issuer: identifier, ...document }))));
      if (url !== new URL(String(document['jwks_uri'])).pathname) return response.writeHead(404).end();
      return json(response, { keys: issuer.keys.map(({ publicJwk }) => publicJwk) });
    });
    port = await listen(server);
  });
  afterAll(async () => {
    vi.restoreAllMocks();
    await Promise.all([stop(server), issuer.close()]);
  });
  /** The one that is served now: several have the same host. */
  let asked: ProviderMetadata;

  it('there is a fixture of every provider, with its source', () => {
    expect(Object.keys(PROVIDER_METADATA).toSorted()).toEqual(NAMES.toSorted());
    expect(Object.values(PROVIDER_METADATA).filter(({ source }) => !URL.canParse(source))).toEqual([]);
  });

  it.each(NAMES)('%s: finds its metadata and keys, knows it, and says what to configure', async (name) => {
    const provider = PROVIDER_METADATA[name];
    if (provider === undefined) throw new Error(`There is no metadata of ${name}.`);
    asked = provider;
    const { issuer: identifier, document, path } = provider;
    const ran = await holdfast(['doctor', here(identifier), '--ca', ca, '--audience', 'https://api.example.com', '--json']);
    expect(ran.err).toBe('');
    const report = reportOf(ran);
    expect(report.locations.filter(({ found }) => found === 'metadata').map(({ url }) => new URL(url).pathname)).toEqual([path]);
    expect(report.keys?.map(({ algorithms }) => algorithms)).toEqual([['RS256'], ['ES256']]);
    expect(report.provider?.provider).toBe(name);
    // Where no bound token is promised, that has to be corrected, and nothing else.
    const isBound = 'tls_client_certificate_bound_access_tokens' in document || 'dpop_signing_alg_values_supported' in document;
    expect(report.findings.filter(({ mark }) => mark === 'wrong').map(({ topic }) => topic)).toEqual(isBound ? [] : ['Bound tokens']);
    expect(ran.code).toBe(isBound ? 0 : 1);
    const pasted = runInThisContext(`(holdfast, fromTls) => ${report.configuration}`) as (...given: unknown[]) => unknown;
    const options = pasted((given: object) => given, fromTls) as core.ProtectedResourceOptions;
    expect(options).toMatchObject({ issuer: here(identifier), provider: name });
    const resource = core.protectedResource({ certificate: fromTls(), ...options });
    await resource.close();
  });
});

describe('holdfast doctor recognises', () => {
  const AT = 'https://as.example.com';
  it.each<[string, string, Record<string, string>]>([
    ['auth0', 'https://tenant.eu.auth0.com/', {}],
    ['okta', 'https://dev-1.okta.com/oauth2/default', {}],
    ['entra', 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0', {}],
    ['cognito', 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc', {}],
    ['ping', 'https://auth.pingone.eu/1111/as', {}],
    ['ping', AT, { token_endpoint: `${AT}/as/token.oauth2` }],
    [
      'ping',
      `${AT}/am/oauth2/alpha`,
      { token_endpoint: `${AT}/am/oauth2/alpha/access_token`, jwks_uri: `${AT}/am/oauth2/alpha/connect/jwk_uri` },
    ],
    ['keycloak', `${AT}/realms/a`, { authorization_endpoint: `${AT}/realms/a/protocol/openid-connect/auth` }],
    ['janssen', AT, { token_endpoint: `${AT}/jans-auth/restv1/token` }],
    ['authlete', AT, { authorization_endpoint: `${AT}/api/authorization`, token_endpoint: `${AT}/api/token`, jwks_uri: `${AT}/api/jwks` }],
    ['connect2id', AT, { token_endpoint: `${AT}/token`, jwks_uri: `${AT}/jwks.json`, introspection_endpoint: `${AT}/token/introspect` }],
    ['curity', `${AT}/oauth/v2/oauth-anonymous`, { token_endpoint: `${AT}/oauth/v2/oauth-token` }],
    ['duende', AT, { token_endpoint: `${AT}/connect/token`, jwks_uri: `${AT}/.well-known/openid-configuration/jwks` }],
    [
      'wso2',
      `${AT}/oauth2/token`,
      { token_endpoint: `${AT}/oauth2/token`, jwks_uri: `${AT}/oauth2/jwks`, userinfo_endpoint: `${AT}/oauth2/userinfo` },
    ],
    ['spring', AT, { token_endpoint: `${AT}/oauth2/token`, jwks_uri: `${AT}/oauth2/jwks`, userinfo_endpoint: `${AT}/userinfo` }],
    [
      'oidcProvider',
      AT,
      { authorization_endpoint: `${AT}/auth`, token_endpoint: `${AT}/token`, jwks_uri: `${AT}/jwks`, userinfo_endpoint: `${AT}/me` },
    ],
  ])('%s', (provider, issuer, metadata) => {
    expect(recognise(issuer, metadata)?.provider).toBe(provider);
  });

  it('nobody by a name that only looks like one of theirs, or by metadata of the wrong type', () => {
    expect(recognise('https://auth0.com.example.com')).toBeUndefined();
    expect(recognise('https://evilokta.com')).toBeUndefined();
    expect(recognise(AT, { token_endpoint: 7, jwks_uri: {} })).toBeUndefined();
  });
});

describe('holdfast doctor, of a server that is hostile or broken', () => {
  const ESCAPES = '\u001b]0;owned\u0007\u001b[2J\u009b31m\u202egnp.exe\u2066\ufeff\r';

  it('shows no control character of anybody else, on the terminal or in JSON', async () => {
    const issuer = await issuerWith((one) => {
      Object.assign(one.metadata, {
        introspection_endpoint: ESCAPES,
        token_endpoint_auth_methods_supported: [`${ESCAPES}tls_client_auth`],
        mtls_endpoint_aliases: { [ESCAPES]: ESCAPES },
        dpop_signing_alg_values_supported: [ESCAPES],
        protected_resources: [ESCAPES],
      });
      one.answer = (_request, response, path) =>
        path === '/jwks' &&
        json(response, {
          keys: [
            { ...one.keys[0]?.publicJwk, kid: ESCAPES },
            { kty: ESCAPES, alg: ESCAPES, use: ESCAPES },
          ],
        });
    });
    for (const more of [[], ['--json']]) {
      const { out, err } = await program(['doctor', issuer.url, ...more]);
      expect(out).toContain('gnp.exe');
      expect(out).not.toMatch(UNSEEN);
      expect(err).toBe('');
    }
    // And where the document is refused for its issuer.
    issuer.metadata['issuer'] = ESCAPES;
    const { out } = await holdfast(['doctor', issuer.url]);
    expect(out).toContain('gnp.exe');
    expect(out).not.toMatch(UNSEEN);
  });

  it('DIS-14 follows no redirect, and says where it leads', async () => {
    const issuer = await issuerWith((one) => {
      one.answer = (_request, response) => Boolean(response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end());
    });
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(1);
    expect(report.findings.map(({ text }) => text).join('\n')).toMatch(
      /redirects to "http:\/\/169\.254\.169\.254[^"]*": redirects are not followed/,
    );
    expect(issuer.requests).toHaveLength(2);
  });

  it('DIS-06 does not fetch keys from where http leads', async () => {
    const issuer = await issuerWith(({ metadata }) => void (metadata['jwks_uri'] = 'http://169.254.169.254/keys'));
    const { ran, report } = await doctor(issuer);
    expect(ran.code).toBe(1);
    expect(report.locations.map(({ why }) => why)).toEqual(Array(2).fill(expect.stringContaining('its jwks_uri is not an https URL')));
  });

  it.each<[string, (response: ServerResponse) => void, number, RegExp]>([
    ['HTML', (response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), 1, /JSON was expected/],
    ['no JSON', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('\u0000\u0001{'), 1, /not a JSON object/],
    ['a list', (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('[]'), 1, /not a JSON object/],
    [
      'deep JSON',
      (response) => response.writeHead(200, { 'content-type': 'application/json' }).end('['.repeat(200_000)),
      1,
      /not a JSON object/,
    ],
    [
      'more than is read',
      (response) => response.writeHead(200, { 'content-type': 'application/json' }).end(`{"a":"${'x'.repeat(600_000)}"}`),
      1,
      /larger than the 524288 bytes/,
    ],
    ['an error', (response) => response.writeHead(500).end('x'.repeat(100_000)), 1, /status 500/],
    ['an error that never ends', (response) => void response.writeHead(500).write('x'), 1, /status 500/],
    [
      'half an answer',
      (response) => void response.writeHead(200, { 'content-type': 'application/json' }).write('{'),
      2,
      /no whole answer within 1 s/,
    ],
    ['nothing', () => {}, 2, /no whole answer within 1 s/],
    ['no HTTP', (response) => void response.socket?.end('\u0007hello'), 2, /could not be fetched: HPE_/],
    ['a huge header', (response) => response.writeHead(200, { 'x-large': 'x'.repeat(100_000) }).end(), 2, /HPE_HEADER_OVERFLOW/],
    ['a reset', (response) => void response.socket?.resetAndDestroy(), 2, /ECONNRESET/],
  ])('that answers with %s: says so and ends', async (_, answer, code, words) => {
    const issuer = await issuerWith((one) => {
      one.answer = (_request, response) => {
        answer(response);
        return true;
      };
    });
    const ran = await program(['doctor', issuer.url, '--timeout', '1']);
    expect(ran.out.replaceAll(/\s+/g, ' ')).toMatch(words);
    expect(ran.code).toBe(code);
    expect(ran.out + ran.err).not.toMatch(/\n\s+at /);
  });

  it('whose keys cannot be had, or are too many', async () => {
    const away = await issuerWith((one) => {
      one.answer = (_request, response, path) => path === '/jwks' && Boolean(response.socket?.resetAndDestroy());
    });
    expect((await doctor(away)).ran.code).toBe(2);
    const many = await issuerWith((one) => {
      one.answer = (_request, response, path) => path === '/jwks' && json(response, { keys: Array(101).fill(one.keys[0]?.publicJwk) });
    });
    const { ran, report } = await doctor(many);
    expect(ran.code).toBe(1);
    expect(saying(report, 'wrong', 'Keys')).toContain('101 keys');
  });
});

describe('holdfast doctor, called wrongly', () => {
  it.each<[string, string[], RegExp]>([
    ['without an issuer', [], /Give one issuer/],
    ['with two', ['https://a.example', 'https://b.example'], /Give one issuer/],
    ['with http', ['http://as.example.com'], /https URL/],
    ['with a user in the URL', ['https://me:hunter2@as.example.com'], /without user/],
    ['with no URL', ['as.example.com'], /https URL/],
    ['with a query', ['https://as.example.com/?a'], /https URL/],
    [
      'with the address of the metadata',
      ['https://as.example.com/.well-known/openid-configuration'],
      /Give the issuer alone: https:\/\/as\.example\.com\n/,
    ],
    [
      'with the address of the metadata of a path',
      ['https://as.example.com/.well-known/oauth-authorization-server/a'],
      /Give the issuer alone: https:\/\/as\.example\.com\/a\n/,
    ],
    ['with a file that is not there', ['https://as.example.com', '--ca', '/nowhere'], /cannot be read \(ENOENT\)/],
    ['with no certificate', ['https://as.example.com', '--ca', '/dev/null'], /give certificates in PEM/],
    ['with a file that never ends', ['https://as.example.com', '--ca', '/dev/zero'], /longer than 1048576/],
    ['with no time', ['https://as.example.com', '--timeout', '0'], /1 to 60/],
  ])('%s: says how to mend it, and ends with 2', async (_, args, words) => {
    const ran = await program(['doctor', ...args]);
    expect(ran.err).toMatch(words);
    expect(ran.err).not.toMatch(/hunter2|\n\s+at /);
    expect(ran.out).toBe('');
    expect(ran.code).toBe(2);
  });

  it('takes no private key for an authority', async () => {
    const path = folder.file('both.pem', pki.server.key + pki.ca);
    const ran = await holdfast(['doctor', 'https://as.example.com', '--ca', path]);
    expect(ran.err).toContain('private key');
    expect(ran.code).toBe(2);
  });

  it('has a help that says what it sends and what its exit code means', async () => {
    const ran = await program(['doctor', '--help']);
    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(/Usage: holdfast doctor <issuer>[^]*without credentials[^]*Exit code: 0[^]*2 it could not be told/);
  });
});

function json(response: ServerResponse, content: unknown): true {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(content));
  return true;
}
