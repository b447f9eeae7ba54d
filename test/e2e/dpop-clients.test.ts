import { createServer, type Server } from 'node:https';
import { accessOf, holdfast, type HoldfastMiddleware, requires, type ResourceEvent } from '@holdfast/express';
import { type AuthorizationServer, startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki } from '@holdfast/test-support/pki';
import * as dpop from 'dpop';
import express from 'express';
import { calculateJwkThumbprint, exportJWK } from 'jose';
import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

/*
 * Real clients, tokens that a real authorization server has bound to their keys, and an API over TLS that asks for nonces of its
 * own. Authorization server and API have different nonces; each client has to learn both.
 */
let as: AuthorizationServer;
let api: string;
let server: Server;
let protection: HoldfastMiddleware;
let http: ClientFetch;
const events: ResourceEvent[] = [];
/** Status and URL of each exchange with the API. */
const exchanges: string[] = [];

beforeAll(async () => {
  const pki = await createPki();
  http = fetchWith({ ca: pki.ca });
  const app = express();
  server = createServer({ key: pki.server.key, cert: pki.server.cert }, app);
  api = `https://localhost:${await listen(server)}`;
  as = await startAuthorizationServer({ pki, audience: api, dpopNonce: true });
  protection = holdfast({
    issuer: as.issuer,
    audience: api,
    dpop: { nonce: 'required' },
    fetch: http,
    onEvent: (event) => events.push(event),
  });
  app.use((request, response, next) => {
    response.on('finish', () => exchanges.push(`${response.statusCode} ${request.method} ${request.originalUrl}`));
    next();
  });
  app.use(protection);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    const { claims, confirmations, scheme } = accessOf(request);
    response.json({ client: claims.client_id, scheme, confirmations });
  });
  app.post('/accounts', requires({ scope: 'accounts:write' }), (_request, response) => response.status(201).end());
});
afterAll(async () => {
  await protection.close();
  await http.close();
  await stop(server);
  await as.close();
});

const thumbprintOf = async ({ publicKey }: { publicKey: CryptoKey }): Promise<string> => calculateJwkThumbprint(await exportJWK(publicKey));

/** `fetch` with the types of these clients. */
const clientFetch = (url: string, init: { readonly body?: unknown }): Promise<Response> => http(url, init as RequestInit);

/** What the API has answered since. */
function roundTrip(from: number): string[] {
  return exchanges.slice(from);
}

describe('clients complete the nonce round trip by themselves', () => {
  it.each(['ES256', 'Ed25519'])('oauth4webapi with %s', async (algorithm) => {
    const options = { [oauth.customFetch]: clientFetch };
    const issuer = new URL(as.issuer);
    const metadata = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
    const client: oauth.Client = { client_id: 'dpop' };
    const keys = await oauth.generateKeyPair(algorithm, { extractable: true });
    const handle = oauth.DPoP(client, keys);
    const secret = oauth.ClientSecretBasic(as.secrets.dpop);
    const parameters = { scope: 'accounts:read', resource: api };
    const grant = async (): Promise<oauth.TokenEndpointResponse> =>
      oauth.processClientCredentialsResponse(
        metadata,
        client,
        await oauth.clientCredentialsGrantRequest(metadata, client, secret, parameters, { ...options, DPoP: handle }),
      );
    const retried = async <T>(call: () => Promise<T>): Promise<T> => {
      try {
        return await call();
      } catch (error) {
        if (!oauth.isDPoPNonceError(error)) throw error;
        return call();
      }
    };
    const { access_token: token } = await retried(grant);

    const from = exchanges.length;
    const call = (method: string): Promise<Response> =>
      retried(() =>
        oauth.protectedResourceRequest(token, method, new URL(`${api}/accounts?page=1`), undefined, undefined, {
          ...options,
          DPoP: handle,
        }),
      );
    const response = await call('GET');
    expect(await response.json()).toEqual({
      client: 'dpop',
      scheme: 'DPoP',
      confirmations: [{ member: 'jkt', thumbprint: await thumbprintOf(keys) }],
    });
    expect((await call('GET')).status).toBe(200);
    expect(roundTrip(from)).toEqual(['401 GET /accounts?page=1', '200 GET /accounts?page=1', '200 GET /accounts?page=1']);

    // It has the scope to read, and is told so in the challenge of its scheme.
    const refused = await call('POST').catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(oauth.WWWAuthenticateChallengeError);
    expect(refused).toMatchObject({
      status: 403,
      cause: [{ scheme: 'bearer' }, { scheme: 'dpop', parameters: { error: 'insufficient_scope', scope: 'accounts:write' } }],
    });
  });

  it('openid-client', async () => {
    const config = await oidc.discovery(new URL(as.issuer), 'dpop', undefined, oidc.ClientSecretBasic(as.secrets.dpop), {
      [oidc.customFetch]: clientFetch,
    });
    config[oidc.customFetch] = clientFetch;
    const keys = await oidc.randomDPoPKeyPair('ES256', { extractable: true });
    const DPoP = oidc.getDPoPHandle(config, keys);
    const { access_token: token } = await oidc.clientCredentialsGrant(config, { scope: 'accounts:read', resource: api }, { DPoP });
    const from = exchanges.length;
    for (let i = 0; i < 2; i += 1) {
      const response = await oidc.fetchProtectedResource(config, token, new URL(`${api}/accounts`), 'GET', undefined, undefined, { DPoP });
      expect(await response.json()).toMatchObject({ scheme: 'DPoP', confirmations: [{ thumbprint: await thumbprintOf(keys) }] });
    }
    expect(roundTrip(from)).toEqual(['401 GET /accounts', '200 GET /accounts', '200 GET /accounts']);
  });

  it.each(['ES256', 'Ed25519'] as const)('dpop with %s', async (algorithm) => {
    const keys = await dpop.generateKeyPair(algorithm, { extractable: true });
    const nonces = new Map<string, string>();
    /** The rule of RFC 9449 §8.2, and nothing of Holdfast's: keep the newest nonce of each origin, try once more when told to. */
    const send = async (url: string, init: RequestInit, token?: string): Promise<Response> => {
      for (let attempt = 0; ; attempt += 1) {
        const { origin, pathname } = new URL(url);
        const proof = await dpop.generateProof(keys, `${origin}${pathname}`, init.method ?? 'GET', nonces.get(origin), token);
        const response = await http(url, {
          ...init,
          headers: new Headers([
            ...new Headers(init.headers),
            ['dpop', proof],
            ...(token === undefined ? [] : [['authorization', `DPoP ${token}`] as [string, string]]),
          ]),
        });
        const nonce = response.headers.get('dpop-nonce');
        if (nonce !== null) nonces.set(origin, nonce);
        const asked = response.headers.get('www-authenticate')?.includes('use_dpop_nonce') || (response.status === 400 && nonce !== null);
        if (!asked || attempt > 0) return response;
      }
    };
    const granted = await send(`${as.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`dpop:${as.secrets.dpop}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'accounts:read', resource: api }),
    });
    const { access_token: token } = (await granted.json()) as { access_token: string };
    const from = exchanges.length;
    const response = await send(`${api}/accounts`, {}, token);
    expect(await response.json()).toMatchObject({ scheme: 'DPoP', confirmations: [{ thumbprint: await thumbprintOf(keys) }] });
    expect((await send(`${api}/accounts`, {}, token)).status).toBe(200);
    expect(roundTrip(from)).toEqual(['401 GET /accounts', '200 GET /accounts', '200 GET /accounts']);

    // The token alone, as a thief has it, is worth nothing.
    for (const scheme of ['Bearer', 'DPoP'])
      expect((await http(`${api}/accounts`, { headers: { authorization: `${scheme} ${token}` } })).status).toBe(401);
    const thief = await dpop.generateKeyPair('ES256');
    const proof = await dpop.generateProof(thief, `${api}/accounts`, 'GET', nonces.get(api), token);
    const stolen = await http(`${api}/accounts`, { headers: { authorization: `DPoP ${token}`, dpop: proof } });
    expect(stolen.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });

  it('every refusal was for one of the reasons that were provoked', () => {
    const reasons = new Set(events.flatMap(({ reason }) => reason ?? []));
    expect([...reasons].toSorted()).toEqual([
      'cnf.presented_as_bearer',
      'dpop.key_mismatch',
      'dpop.missing',
      'nonce.missing',
      'scope.insufficient',
    ]);
  });
});
