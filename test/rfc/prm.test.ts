import { createServer, type Server } from 'node:http';
import { holdfast, type ProtectedResourceOptions, requires } from '@holdfast/express';
import { protectedResource } from '@holdfast/core';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { createClock } from '@holdfast/test-support/clock';
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import { listen, stop } from '@holdfast/test-support/loopback';
import { rawRequest } from '@holdfast/test-support/raw-request';
import express, { type Express } from 'express';
import { createLocalJWKSet, exportJWK, type JWK, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const RESOURCE = 'https://rs.example.com';
const WELL_KNOWN = '/.well-known/oauth-protected-resource';
const NOW = 1_800_000_000;

describe('PRM: protected resource metadata (RFC 9728)', () => {
  const clock = createClock(NOW);
  let issuer: Issuer;
  const servers: Server[] = [];
  beforeAll(async () => {
    issuer = await startIssuer({ now: clock.now });
  });
  afterEach(async () => {
    await Promise.all(servers.splice(0).map(stop));
  });
  afterAll(() => issuer.close());

  const options = (more: Partial<ProtectedResourceOptions> = {}): ProtectedResourceOptions => ({
    issuer: issuer.url,
    audience: RESOURCE,
    metadata: true,
    now: clock.now,
    ...more,
  });

  async function serve(build: (app: Express) => void): Promise<number> {
    const app = express();
    build(app);
    const server = createServer(app);
    servers.push(server);
    return listen(server);
  }
  const start = (more: Partial<ProtectedResourceOptions> = {}): Promise<number> =>
    serve((app) => {
      app.use(holdfast(options(more)));
      app.use((_request, response) => void response.end('the route'));
    });

  interface Got {
    readonly status: number;
    readonly body: string;
    readonly header: (name: string) => string | undefined;
    readonly json: Record<string, unknown>;
    readonly challenges: ReturnType<typeof parseChallenges>;
  }
  async function get(port: number, target: string, method = 'GET', lines: readonly string[] = []): Promise<Got> {
    const { status, headers, body, socket } = await rawRequest({
      port,
      lines: [`${method} ${target} HTTP/1.1`, 'Host: evil.example', 'Connection: close', ...lines],
    });
    socket.destroy();
    const values = (name: string): string[] => headers.flatMap(([one, value]) => (one.toLowerCase() === name ? [value] : []));
    return {
      status,
      body,
      header: (name) => values(name)[0],
      get json() {
        return JSON.parse(body) as Record<string, unknown>;
      },
      challenges: parseChallenges(values('www-authenticate')),
    };
  }
  const documentOf = (more: Partial<ProtectedResourceOptions> = {}): Record<string, unknown> => {
    const { metadata } = protectedResource(options(more));
    return { ...metadata?.document };
  };

  it.each([
    [RESOURCE, WELL_KNOWN],
    [`${RESOURCE}/`, WELL_KNOWN],
    [`${RESOURCE}/a/b`, `${WELL_KNOWN}/a/b`],
    [`${RESOURCE}/a/`, `${WELL_KNOWN}/a/`],
    ['https://rs.example.com:8443/mcp', `${WELL_KNOWN}/mcp`],
    [`${RESOURCE}/api?t=1`, `${WELL_KNOWN}/api?t=1`],
  ])('PRM-01 PRM-04 PRM-18 %s is described at %s, and named as it is', async (resource, target) => {
    const port = await start({ metadata: { resource } });
    const { status, json } = await get(port, target);
    expect([status, json['resource']]).toEqual([200, resource]);
    const { challenges } = await get(port, '/');
    expect(challenges[0]?.parameters['resource_metadata']).toBe(new URL(resource).origin + target);
  });

  it.each(['http://rs.example.com', `${RESOURCE}#x`, 'rs.example.com', 'urn:rs', '', 7, 'https://u:p@rs.example.com'])(
    'PRM-02 a resource that is no https URL without fragment is refused at the start: %j',
    (resource) => {
      expect(() => protectedResource(options({ metadata: { resource: resource as string } }))).toThrow(/- metadata\.resource: /);
    },
  );

  it('PRM-02 nor can one be guessed where no audience is a URL; a query is warned about', async () => {
    expect(() => protectedResource(options({ audience: 'urn:rs' }))).toThrow(/- metadata\.resource: is missing/);
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', onWarning);
    protectedResource(options({ metadata: { resource: `${RESOURCE}/api?t=1` } }));
    await new Promise((resolve) => void setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings.filter((message) => message.includes('?t=1'))).toHaveLength(1);
  });

  it('PRM-03 PRM-19 PRM-22 anybody may read it, from any origin, and keep it for a while', async () => {
    const port = await start();
    for (const lines of [[], ['Authorization: Bearer nonsense'], ['Authorization: Bearer a', 'Authorization: DPoP b']]) {
      const answer = await get(port, WELL_KNOWN, 'GET', lines);
      expect([answer.status, answer.header('content-type'), answer.challenges]).toEqual([200, 'application/json; charset=utf-8', []]);
      expect(answer.header('access-control-allow-origin')).toBe('*');
      expect(answer.header('cache-control')).toBe('public, max-age=3600');
    }
    expect((await get(port, `${WELL_KNOWN}?x=1`)).status).toBe(200);
    const head = await get(port, WELL_KNOWN, 'HEAD');
    expect([head.status, head.body]).toEqual([200, '']);
  });

  it('PRM-22 a preflight for it, with fields of MCP clients, is answered', async () => {
    const lines = [
      'Origin: https://app.example',
      'Access-Control-Request-Method: GET',
      'Access-Control-Request-Headers: mcp-protocol-version',
    ];
    const { status, header } = await get(await start(), WELL_KNOWN, 'OPTIONS', lines);
    expect([status, header('access-control-allow-origin'), header('access-control-allow-headers')]).toEqual([204, '*', '*']);
    expect(header('access-control-allow-methods')).toContain('GET');
  });

  it('PRM-21 another method is 405, and another path below it 404, with or without a token', async () => {
    const port = await start();
    for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
      const { status, header } = await get(port, WELL_KNOWN, method, ['Content-Length: 0']);
      expect([status, header('allow')]).toEqual([405, 'GET, HEAD, OPTIONS']);
    }
    for (const target of ['/nope', '/', '/../x', '/%2e%2e/admin', '?']) {
      const { status, body } = await get(port, WELL_KNOWN + target);
      expect([target, status, body]).toEqual([target, target === '?' ? 200 : 404, expect.not.stringContaining('the route')]);
    }
    // What only begins like it is a route like any other.
    expect((await get(port, `${WELL_KNOWN}-x`)).status).toBe(401);
    expect((await get(port, `/x${WELL_KNOWN}`)).status).toBe(401);
  });

  it('PRM-04 PRM-18 two resources in one application have a document each, served at the root', async () => {
    const accounts = holdfast(options({ metadata: { resource: `${RESOURCE}/accounts` } }));
    const mcp = holdfast(options({ metadata: { resource: `${RESOURCE}/mcp` } }));
    const port = await serve((app) => {
      app.use(accounts.metadata, mcp.metadata);
      app.use('/accounts', accounts);
      app.use('/mcp', mcp);
    });
    for (const path of ['/accounts', '/mcp']) {
      const { challenges } = await get(port, path);
      const url = challenges[0]?.parameters['resource_metadata'] ?? '';
      expect(url).toBe(`${RESOURCE}${WELL_KNOWN}${path}`);
      expect((await get(port, new URL(url).pathname)).json['resource']).toBe(RESOURCE + path);
    }
    expect((await get(port, `${WELL_KNOWN}/other`)).status).toBe(404);
    expect((await get(port, WELL_KNOWN)).status).toBe(404);
  });

  it('PRM-05 what is empty is left out, but that no bearer method is supported', () => {
    const parameters = { scopes_supported: [], authorization_details_types_supported: [] };
    expect(documentOf({ metadata: { parameters }, schemes: ['DPoP'] })).toEqual({
      resource: RESOURCE,
      authorization_servers: [issuer.url],
      bearer_methods_supported: [],
      dpop_signing_alg_values_supported: expect.any(Array),
      dpop_bound_access_tokens_required: true,
    });
  });

  it('PRM-06 the issuers, character by character; those of tenants only where they are named', () => {
    const [one, two] = ['https://a.example/', 'https://b.example/realms/x'];
    const several = { issuer: [one, two] };
    expect(documentOf(several)['authorization_servers']).toEqual([one, two]);
    expect(documentOf({ ...several, issuerFor: () => one })).not.toHaveProperty('authorization_servers');
    const named = { metadata: { parameters: { authorization_servers: [two] } } };
    expect(documentOf({ ...several, ...named })['authorization_servers']).toEqual([two]);
    for (const unknown of [['https://a.example'], ['https://c.example'], 'x']) {
      const metadata = { parameters: { authorization_servers: unknown } };
      expect(() => documentOf({ ...several, metadata })).toThrow(/metadata\.parameters\.authorization_servers/);
    }
  });

  it('PRM-07 PRM-14 PRM-15 scopes, types of authorization_details and names in several languages are handed on', () => {
    const parameters = {
      scopes_supported: ['read', 'write'],
      authorization_details_types_supported: ['payment'],
      resource_name: 'Accounts',
      'resource_name#it': 'Conti',
      resource_documentation: 'https://rs.example.com/docs',
      further: { a: 1 },
    };
    expect(documentOf({ metadata: { parameters } })).toMatchObject(parameters);
  });

  it('PRM-07 NEW-01 with the profile mcp it is on, needs an authorization server, and names no offline_access', async () => {
    const mcp = { profiles: ['mcp'] as const };
    expect(documentOf({ ...mcp, metadata: true })).toMatchObject({ resource: RESOURCE, authorization_servers: [issuer.url] });
    const resource = protectedResource({ issuer: issuer.url, audience: RESOURCE, ...mcp });
    expect(resource.metadata?.url).toBe(RESOURCE + WELL_KNOWN);
    expect(() => documentOf({ ...mcp, metadata: false })).toThrow(/- metadata: is false/);
    expect(() => documentOf({ ...mcp, issuer: [issuer.url], issuerFor: () => issuer.url })).toThrow(/authorization_servers/);
    const metadata = { parameters: { scopes_supported: ['read', 'offline_access'] } };
    expect(() => documentOf({ ...mcp, metadata })).toThrow(/scopes_supported/);
    expect(documentOf({ metadata })).toMatchObject(metadata.parameters);
  });

  it('PRM-08 PRM-10 PRM-11 the methods, algorithms and demands are those of the resource', () => {
    const [mixed, onlyDpop] = [documentOf({ unconstrained: 'accept' }), documentOf({ unconstrained: 'accept', schemes: ['DPoP'] })];
    expect([mixed['bearer_methods_supported'], onlyDpop['bearer_methods_supported']]).toEqual([['header'], []]);
    expect([mixed['dpop_bound_access_tokens_required'], onlyDpop['dpop_bound_access_tokens_required']]).toEqual([undefined, true]);
    expect(documentOf({ dpop: { algorithms: ['ES256'] } })['dpop_signing_alg_values_supported']).toEqual(['ES256']);
    expect(documentOf({ dpop: false })).not.toHaveProperty('dpop_signing_alg_values_supported');
  });

  it('PRM-10 the algorithms are those of the challenge', async () => {
    const port = await start();
    const { challenges } = await get(port, '/');
    const algs = challenges.find(({ scheme }) => scheme === 'DPoP')?.parameters['algs'];
    expect((await get(port, WELL_KNOWN)).json['dpop_signing_alg_values_supported']).toEqual(algs?.split(' '));
    expect(algs).not.toMatch(/none|HS/);
  });

  it('PRM-11 where DPoP is required, nothing else gets in', async () => {
    const key = await generateDpopKey();
    for (const more of [{}, { schemes: ['DPoP'], unconstrained: 'accept' }] as const) {
      const port = await start(more);
      expect((await get(port, WELL_KNOWN)).json['dpop_bound_access_tokens_required']).toBe(true);
      const plain = await issuer.token();
      expect((await get(port, '/', 'GET', [`Authorization: Bearer ${plain}`])).status).toBe(401);
      const certificateBound = await issuer.token({ cnf: { 'x5t#S256': 'A'.repeat(43) } });
      expect((await get(port, '/', 'GET', [`Authorization: Bearer ${certificateBound}`])).status).toBe(401);
      const token = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const proof = makeProof({ key, token, htu: `${RESOURCE}/`, iat: NOW });
      expect((await get(port, '/', 'GET', [`Authorization: DPoP ${token}`, `DPoP: ${proof}`])).body).toBe('the route');
    }
  });

  it('PRM-09 certificates, only where there is a source of them', () => {
    expect(documentOf()).not.toHaveProperty('tls_client_certificate_bound_access_tokens');
    expect(documentOf({ certificate: () => undefined })['tls_client_certificate_bound_access_tokens']).toBe(true);
    expect(documentOf({ certificate: () => undefined })).not.toHaveProperty('dpop_bound_access_tokens_required');
  });

  it.each<[string, Record<string, unknown>]>([
    ['PRM-12 jwks_uri', { jwks_uri: 'http://rs.example.com/jwks' }],
    ['resource_documentation', { resource_documentation: 'docs' }],
    ['PRM-13 resource_signing_alg_values_supported', { resource_signing_alg_values_supported: ['ES256', 'none'] }],
    ['resource', { resource: 'https://other.example' }],
    ['dpop_bound_access_tokens_required', { dpop_bound_access_tokens_required: false }],
    ['tls_client_certificate_bound_access_tokens', { tls_client_certificate_bound_access_tokens: true }],
    ['bearer_methods_supported', { bearer_methods_supported: ['query'] }],
    ['PRM-16 signed_metadata', { signed_metadata: 'a.b.c' }],
    ['scopes_supported', { scopes_supported: 'read' }],
  ])('PRM-12 PRM-13 PRM-16 what would be wrong, or could contradict what is enforced, is refused at the start: %s', (_what, parameters) => {
    const [name = ''] = Object.keys(parameters);
    expect(() => documentOf({ metadata: { parameters } })).toThrow(new RegExp(`- metadata\\.parameters\\.${name}: `));
  });

  it('PRM-12 where keys that sign and keys that decrypt are published, each has to say which it is', async () => {
    const [signing, encrypting] = await Promise.all([generateSigningKey('ES256', 'metadata'), generateSigningKey('ES256', 'tokens')]);
    const jwk = { ...(await exportJWK(signing.privateKey)), alg: 'ES256' };
    const key = { ...(await exportJWK(encrypting.privateKey)), alg: 'ECDH-ES' };
    const jwksUri = { jwks_uri: `${RESOURCE}/jwks` };
    const made = (signingKey: JWK | undefined, keys: readonly JWK[], parameters: object = jwksUri): Record<string, unknown> =>
      documentOf({
        metadata: { parameters: { ...parameters }, ...(signingKey && { signingKey }) },
        ...(keys.length > 0 && { decryption: { keys } }),
      });
    expect(made({ ...jwk, use: 'sig' }, [{ ...key, use: 'enc' }])['jwks_uri']).toBe(jwksUri.jwks_uri);
    expect(() => made({ ...jwk, use: 'sig' }, [{ ...key, use: 'enc' }, key])).toThrow(
      /1 option[^]*- decryption\.keys\[1\]\.use: is missing/,
    );
    expect(() => made(jwk, [{ ...key, use: 'enc' }])).toThrow(/- metadata\.signingKey\.use: is missing/);
    expect(() => made({ ...jwk, use: 'enc' }, [{ ...key, use: 'sig' }])).toThrow(/2 options[^]*signingKey\.use: is "enc"[^]*use: is "sig"/);
    // Nothing to tell apart: keys of one kind, or none that are published.
    for (const document of [made(jwk, []), made(undefined, [key]), made(jwk, [key], {})]) expect(document['resource']).toBe(RESOURCE);
  });

  it('PRM-16 signed, it says the same, is by the key, and holds no other', async () => {
    const key = await generateSigningKey('ES256', 'metadata');
    const signingKey = { ...(await exportJWK(key.privateKey)), alg: 'ES256', kid: 'metadata' };
    const port = await start({ metadata: { signingKey, parameters: { resource_name: 'Accounts' } } });
    const { json } = await get(port, WELL_KNOWN);
    const { signed_metadata: signed, ...plain } = json;
    const { payload, protectedHeader } = await jwtVerify(String(signed), createLocalJWKSet({ keys: [key.publicJwk] }), {
      issuer: RESOURCE,
      currentDate: new Date(NOW * 1000),
    });
    const { iss, iat, ...claims } = payload;
    expect([claims, iss, iat, protectedHeader]).toEqual([plain, RESOURCE, NOW, { alg: 'ES256', kid: 'metadata' }]);
    expect(JSON.stringify(json)).not.toContain(signingKey.d);
    expect(await get(port, WELL_KNOWN).then((again) => again.json['signed_metadata'])).toBe(signed);
  });

  it('PRM-16 a key that cannot sign stops ready(), and is 503, not 500', async () => {
    for (const signingKey of [{}, { kty: 'EC' }, 'key'] as never[]) {
      expect(() => documentOf({ metadata: { signingKey } })).toThrow(/- metadata\.signingKey: /);
    }
    const more = { metadata: { signingKey: { kty: 'EC', crv: 'P-256', alg: 'ES256', d: 'hunter2', x: 'a', y: 'b' } } };
    const resource = protectedResource(options(more));
    await expect(resource.ready()).rejects.toThrow(/^(?![\s\S]*hunter2)/);
    await resource.close();
    const { status, body } = await get(await start(more), WELL_KNOWN);
    expect([status, body]).toEqual([503, '']);
  });

  it('PRM-17 PRM-20 STP-11 stands in every challenge, never by the Host of the request', async () => {
    const port = await serve((app) => {
      app.use(holdfast(options({ unconstrained: 'accept' })));
      app.get('/scope', requires({ scope: 'admin' }));
      app.get('/acr', requires({ acr: 'urn:mfa' }));
    });
    const token = await issuer.token();
    const asked: [string, string[]][] = [
      ['/', []],
      ['/', ['Authorization: Bearer nonsense']],
      ['/', ['Authorization: DPoP nonsense']],
      ['/', ['Authorization: Bearer']],
      ['/', ['X-Forwarded-Host: evil.example', 'Forwarded: host=evil.example']],
      ['/scope', [`Authorization: Bearer ${token}`]],
      ['/acr', [`Authorization: Bearer ${token}`]],
    ];
    for (const [target, lines] of asked) {
      const { challenges } = await get(port, target, 'GET', lines);
      expect(challenges.map(({ scheme, parameters }) => [scheme, parameters['resource_metadata']])).toEqual([
        ['Bearer', RESOURCE + WELL_KNOWN],
        ['DPoP', RESOURCE + WELL_KNOWN],
      ]);
    }
    const { challenges } = await get(port, '/acr', 'GET', [`Authorization: Bearer ${token}`]);
    expect(challenges[0]?.parameters).toMatchObject({ error: 'insufficient_user_authentication', acr_values: 'urn:mfa' });
    const insufficient = await get(port, '/scope', 'GET', [`Authorization: Bearer ${token}`]);
    expect(insufficient.challenges[0]?.parameters).toMatchObject({ error: 'insufficient_scope', scope: 'admin' });
  });

  it('NEW-01 a client finds the authorization server from a challenge by oauth4webapi', async () => {
    const server = createServer();
    const port = await listen(server);
    servers.push(server);
    const resource = `http://127.0.0.1:${port}/mcp`;
    const app = express();
    app.use(holdfast(options({ audience: resource, profiles: ['mcp'] })));
    server.on('request', app);
    const refused = await fetch(resource);
    const url = parseChallenges([refused.headers.get('www-authenticate') ?? ''])[0]?.parameters['resource_metadata'];
    // oxlint-disable-next-line typescript/no-deprecated -- It is marked so to stand out.
    const found = await oauth.resourceDiscoveryRequest(new URL(resource), { [oauth.allowInsecureRequests]: true });
    expect(found.url).toBe(url);
    expect((await oauth.processResourceDiscoveryResponse(new URL(resource), found)).authorization_servers).toEqual([issuer.url]);
  });

  it('is off unless it is asked for: no document, and no word of one', async () => {
    const port = await start({ metadata: false });
    const { status, challenges } = await get(port, WELL_KNOWN);
    expect([status, challenges[0]?.parameters['resource_metadata']]).toEqual([401, undefined]);
    expect(protectedResource({ issuer: issuer.url, audience: RESOURCE }).metadata).toBeUndefined();
    for (const metadata of ['yes', 1, null, [], { scopes_supported: ['a'] }, { maxAge: -1 }] as never[]) {
      expect(() => protectedResource(options({ metadata }))).toThrow(/- metadata/);
    }
  });
});
