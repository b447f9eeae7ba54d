// Opaque tokens of a real authorization server (oidc-provider), introspected with every client authentication, over real TLS.
import { createServer, type Server } from 'node:https';
import { accessOf, fromTls, holdfast, type ProtectedResourceOptions } from '@holdfast/express';
import type { IntrospectionSettings, ResourceEvent } from '@holdfast/core';
import { type AuthorizationServer, startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith, requestOnce } from '@holdfast/test-support/clients';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import express from 'express';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

const OPAQUE = 'https://opaque.example.com';

describe('Opaque tokens of oidc-provider', () => {
  let pki: Pki;
  let as: AuthorizationServer;
  let owner: Identity;
  let thief: Identity;
  let apiBySelf: Identity;
  let apiByCa: Identity;
  let key: DpopKey;
  let events: ResourceEvent[];
  const open: ClientFetch[] = [];
  const servers: Server[] = [];
  const closing: (() => Promise<void>)[] = [];

  const client = (identity?: Identity): ClientFetch => {
    const made = fetchWith({ ca: pki.ca, ...identity });
    open.push(made);
    return made;
  };

  beforeAll(async () => {
    pki = await createPki();
    [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
    [apiBySelf, apiByCa] = [await pki.selfSigned('api'), await pki.client('api')];
    key = await generateDpopKey();
    as = await startAuthorizationServer({
      pki,
      clients: {
        'mtls-ca': owner,
        'api-mtls-self': apiBySelf,
        'api-mtls-ca': apiByCa,
        browser: { redirectUris: ['https://browser.example.com/callback'] },
      },
      opaque: [OPAQUE],
      aliases: ['token_endpoint', 'introspection_endpoint'],
    });
  });
  afterEach(async () => {
    await Promise.all([...closing.splice(0).map((close) => close()), ...servers.splice(0).map(stop)]);
  });
  afterAll(async () => {
    await Promise.all(open.map((one) => one.close()));
    await as.close();
  });

  async function start(introspection: IntrospectionSettings, more: Partial<ProtectedResourceOptions> = {}): Promise<number> {
    events = [];
    const trusting = client();
    const protection = holdfast({
      issuer: as.issuer,
      audience: OPAQUE,
      certificate: fromTls(),
      introspection,
      fetch: (url, init) => trusting(url, init),
      onEvent: (event) => events.push(event),
      ...more,
    });
    closing.push(() => protection.close());
    await protection.ready();
    const app = express();
    app.use(protection, (request, response) => {
      const { claims, scopes, clientId, confirmations } = accessOf(request);
      response.json({ iss: claims.iss, scopes, clientId, confirmations });
    });
    const server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, app);
    servers.push(server);
    return listen(server);
  }

  /** A bound token for the resource. */
  async function tokenOf(who: 'mtls-ca' | 'dpop' | 'bearer', resource = OPAQUE): Promise<string> {
    const url = who === 'mtls-ca' ? `${as.mtlsOrigin}/token` : `${as.issuer}/token`;
    const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'accounts:read', resource });
    const headers: Record<string, string> = {};
    if (who === 'mtls-ca') body.set('client_id', who);
    else headers['authorization'] = `Basic ${btoa(`${who}:${as.secrets[who]}`)}`;
    if (who === 'dpop') {
      const iat = Math.floor(Date.now() / 1000);
      headers['dpop'] = makeProof({ key, token: '', htm: 'POST', htu: url, iat, claims: { ath: undefined } });
    }
    const response = await client(who === 'mtls-ca' ? owner : undefined)(url, { method: 'POST', headers, body });
    const answer: { access_token?: string } = await response.json();
    if (answer.access_token === undefined) throw new Error(`no token: ${JSON.stringify(answer)}`);
    return answer.access_token;
  }

  const ask = async (port: number, token: string, identity?: Identity): Promise<[number, string]> => {
    const headers = { authorization: `Bearer ${token}` };
    const tls = { ca: pki.ca, servername: 'localhost', ...(identity && { cert: identity.cert, key: identity.key }) };
    const { status, body } = await requestOnce({ port, headers, ...tls });
    return [status, status === 200 ? body : (events.at(-1)?.reason ?? '')];
  };

  const methods = (): Record<string, IntrospectionSettings> => ({
    client_secret_basic: { clientId: 'api-basic', authentication: { method: 'client_secret_basic', secret: as.secrets['api-basic'] } },
    client_secret_post: { clientId: 'api-post', authentication: { method: 'client_secret_post', secret: as.secrets['api-post'] } },
    private_key_jwt: { clientId: 'api-jwt', authentication: { method: 'private_key_jwt', key: as.apiKey } },
    self_signed_tls_client_auth: {
      clientId: 'api-mtls-self',
      authentication: { method: 'self_signed_tls_client_auth' },
      fetch: (url, init) => client(apiBySelf)(url, init),
    },
    tls_client_auth: {
      clientId: 'api-mtls-ca',
      authentication: { method: 'tls_client_auth' },
      fetch: (url, init) => client(apiByCa)(url, init),
    },
  });

  it.each(['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'self_signed_tls_client_auth', 'tls_client_auth'])(
    'INT-02 with %s: the owner gets in, a thief does not; with signed answers too',
    async (method) => {
      for (const signed of [false, true]) {
        const settings = methods()[method];
        if (settings === undefined) throw new Error(method);
        const port = await start({ ...settings, signed });
        const token = await tokenOf('mtls-ca');
        expect(token.split('.')).toHaveLength(1);
        const asked = as.introspections.length;
        const [status, body] = await ask(port, token, owner);
        expect([status, JSON.parse(body)]).toEqual([
          200,
          {
            iss: as.issuer,
            scopes: ['accounts:read'],
            clientId: 'mtls-ca',
            confirmations: [{ member: 'x5t#S256', thumbprint: owner.thumbprint }],
          },
        ]);
        expect(await ask(port, token, thief)).toEqual([401, 'certificate.mismatch']);
        expect(await ask(port, token)).toEqual([401, 'certificate.missing']);
        const [call, ...others] = as.introspections.slice(asked);
        expect(others).toEqual([]);
        // MTLS-18: by the alias for mutual TLS alone.
        expect(call?.origin).toBe(method.endsWith('tls_client_auth') ? as.mtlsOrigin : as.issuer);
        expect([call?.headers['dpop'], call?.headers.accept]).toEqual([
          undefined,
          signed ? 'application/token-introspection+jwt' : 'application/json',
        ]);
      }
    },
  );

  it('CNF-02 a DPoP-bound one: with a proof by the key, and not as Bearer', async () => {
    const settings = methods()['private_key_jwt'];
    if (settings === undefined) throw new Error('private_key_jwt');
    const port = await start(settings);
    const token = await tokenOf('dpop');
    expect(await ask(port, token)).toEqual([401, 'cnf.presented_as_bearer']);
    const send = async (by: DpopKey): Promise<number> => {
      const dpop = makeProof({ key: by, token, htu: `${OPAQUE}/`, iat: Math.floor(Date.now() / 1000) });
      const headers = { authorization: `DPoP ${token}`, dpop };
      return (await requestOnce({ port, path: '/', ca: pki.ca, servername: 'localhost', headers })).status;
    };
    expect([await send(key), await send(await generateDpopKey())]).toEqual([200, 401]);
  });

  it('one that was revoked, made up, is unbound, or for another resource', async () => {
    const settings = methods()['client_secret_basic'];
    if (settings === undefined) throw new Error('client_secret_basic');
    const port = await start(settings);
    expect(await ask(port, 'made-up', owner)).toEqual([401, 'token.inactive']);
    expect(await ask(port, await tokenOf('bearer'))).toEqual([401, 'cnf.absent']);
    const token = await tokenOf('mtls-ca');
    const revoked = await client(owner)(`${as.mtlsOrigin}/token/revocation`, {
      method: 'POST',
      body: new URLSearchParams({ token, client_id: 'mtls-ca' }),
    });
    expect(revoked.status).toBe(200);
    expect(await ask(port, token, owner)).toEqual([401, 'token.inactive']);
    const elsewhere = await start(settings, { audience: 'https://other.example.com' });
    expect(await ask(elsewhere, await tokenOf('mtls-ca'), owner)).toEqual([401, 'token.audience']);
  });

  it('a refresh token is no access token, whatever accepts its client: unbound as Bearer, and bound with a proof by its key', async () => {
    const settings = methods()['client_secret_basic'];
    if (settings === undefined) throw new Error('client_secret_basic');
    const proofFor = (htu: string, token: string, htm: string): string => {
      const claims = token === '' ? { ath: undefined } : {};
      return makeProof({ key, token, htm, htu, iat: Math.floor(Date.now() / 1000), claims });
    };
    const unbound = await as.refreshToken();
    const bound = await as.refreshToken((url) => proofFor(url, '', 'POST'));
    const send = async (port: number, token: string): Promise<[number, string]> => {
      const headers = { authorization: `DPoP ${token}`, dpop: proofFor(`${OPAQUE}/`, token, 'GET') };
      const { status } = await requestOnce({ port, path: '/', ca: pki.ca, servername: 'localhost', headers });
      return [status, events.at(-1)?.reason ?? ''];
    };
    const lenient = { clientIds: ['code', 'browser'], unconstrained: 'accept' } as const;
    for (const signed of [false, true]) {
      const port = await start({ ...settings, signed }, lenient);
      expect(await ask(port, unbound)).toEqual([401, 'token.not_an_access_token']);
      expect(await send(port, bound)).toEqual([401, 'token.not_an_access_token']);
      expect(events.at(-1)?.expected).toMatch(/token_type/);
    }
    const strict = await start(settings);
    expect([await ask(strict, unbound), await send(strict, bound)]).toEqual([
      [401, 'token.audience'],
      [401, 'token.audience'],
    ]);
    // What was asked about was active: the server calls both so.
    expect(await ask(await start(settings, lenient), 'made-up')).toEqual([401, 'token.inactive']);
  });

  it('JWTs of the same server are verified here, and nobody is asked', async () => {
    const settings = methods()['client_secret_basic'];
    if (settings === undefined) throw new Error('client_secret_basic');
    const port = await start(settings, { audience: [OPAQUE, as.audience] });
    const asked = as.introspections.length;
    const [status] = await ask(port, await tokenOf('mtls-ca', as.audience), owner);
    expect([status, as.introspections.length]).toEqual([200, asked]);
  });

  it('INT-09 with a wrong secret it is 503, and the event says where to look', async () => {
    const port = await start({ clientId: 'api-basic', authentication: { method: 'client_secret_basic', secret: 'wrong' } });
    expect(await ask(port, await tokenOf('mtls-ca'), owner)).toEqual([503, 'unavailable.introspection']);
    expect(events.at(-1)?.detail).toMatch(/answered with status 401/);
  });
});
