import type { webcrypto } from 'node:crypto';
import type { ReportedAnswer } from '@holdfast/example-main-job/report';
import { startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith } from '@holdfast/test-support/clients';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { discoverOAuthProtectedResourceMetadata } from '@modelcontextprotocol/sdk/client/auth.js';
import * as oauth from 'oauth4webapi';
import { connect, type Connected, type McpFetch, withBearer, withDpop } from './client.ts';
import { startMcpServer } from './server.ts';

const SCOPE = 'accounts:read';

/** What somebody did, what the server answered, and what the tool saw. */
export interface McpAttempt extends ReportedAnswer {
  readonly body: string;
}

/**
 * Real parts: an authorization server (oidc-provider), an MCP server of the TypeScript SDK behind Holdfast, and the SDK's own client,
 * with a token bound to a key and with one bound to a certificate; then thieves, with the tokens and with the sessions.
 */
export async function runMcp(): Promise<{
  attempts: readonly McpAttempt[];
  foreignSessions: readonly string[];
  tokens: readonly string[];
}> {
  const pki = await createPki();
  const owner = await pki.client('owner');
  const as = await startAuthorizationServer({ pki, clients: { 'mtls-ca': owner } });
  const fetches: ClientFetch[] = [];
  const fetchAs = (identity?: Identity): McpFetch => {
    const fetch = fetchWith({ ca: pki.ca, ...identity });
    fetches.push(fetch);
    return (url, init) => fetch(url, init);
  };
  let reason: string | undefined;
  const foreignSessions: string[] = [];
  const server = await startMcpServer({
    issuer: as.issuer,
    tls: pki.server,
    fetch: fetchAs(),
    onEvent: (event) => {
      reason = event.reason;
    },
    onForeignSession: (thief) => foreignSessions.push(thief),
  });

  const clients: Connected[] = [];
  const attempts: McpAttempt[] = [];
  const attempt = async (
    heading: string,
    title: string,
    expected: string,
    fetch: McpFetch,
    act: (fetch: McpFetch) => Promise<string>,
  ): Promise<void> => {
    let last: Response | undefined;
    const recording: McpFetch = async (url, init) => {
      const response = await fetch(url, init);
      // The stream of the server's own messages is opened beside, and may be refused later.
      if (init?.method !== 'GET') last = response;
      return response;
    };
    const body = await act(recording).catch((error: unknown) => String(error));
    const challenge = last?.headers.get('www-authenticate') ?? '';
    const challenges = challenge === '' ? [] : challenge.split(/, (?=(?:Bearer|DPoP) )/);
    attempts.push({
      heading,
      step: '',
      title,
      expected,
      answer: String(last?.status),
      challenges,
      reason: last?.ok === true ? undefined : reason,
      body,
    });
  };
  const openAndCall = async (fetch: McpFetch): Promise<Connected & { body: string }> => {
    const client = await connect(server.url, fetch);
    clients.push(client);
    return { ...client, body: await client.accounts() };
  };

  try {
    // The client knows the URL of the server and nothing else: its metadata name the authorization server.
    const resource = await discoverOAuthProtectedResourceMetadata(server.url, {}, fetchAs());
    const issuer = resource.authorization_servers?.[0] ?? '';
    const tokenFor = async (
      clientId: string,
      fetch: McpFetch,
      authentication: oauth.ClientAuth,
      keys?: webcrypto.CryptoKeyPair,
    ): Promise<string> => {
      const client: oauth.Client = { client_id: clientId, use_mtls_endpoint_aliases: true };
      const options = {
        [oauth.customFetch]: (url: string, init: oauth.CustomFetchOptions<string, unknown>) => fetch(url, init as RequestInit),
        ...(keys && { DPoP: oauth.DPoP(client, keys) }),
      };
      const metadata = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), options));
      const parameters = { resource: resource.resource, scope: SCOPE };
      const response = await oauth.clientCredentialsGrantRequest(metadata, client, authentication, parameters, options);
      return (await oauth.processClientCredentialsResponse(metadata, client, response)).access_token;
    };
    const [keys, thiefKeys] = [await oauth.generateKeyPair('ES256'), await oauth.generateKeyPair('ES256')];
    const secret = oauth.ClientSecretBasic(as.secrets.dpop);
    const token = await tokenFor('dpop', fetchAs(), secret, keys);
    const thiefToken = await tokenFor('dpop', fetchAs(), secret, thiefKeys);
    const certified = fetchAs(owner);
    const mtlsToken = await tokenFor('mtls-ca', certified, oauth.TlsClientAuth());
    const plainToken = await tokenFor('bearer', fetchAs(), oauth.ClientSecretBasic(as.secrets.bearer));

    const byKey = withDpop(fetchAs(), token, keys);
    const byCertificate = withBearer(certified, mtlsToken);
    const sessions: string[] = [];
    const open = async (fetch: McpFetch): Promise<string> => {
      const { sessionId = '', body } = await openAndCall(fetch);
      sessions.push(sessionId);
      return body;
    };
    await attempt('Owners', 'a token bound to a key, with a proof for every request', '200', byKey, open);
    await attempt('Owners', 'a token bound to a certificate, over mutual TLS', '200', byCertificate, open);

    const heading = 'A thief with the token';
    const call = async (fetch: McpFetch): Promise<string> => (await openAndCall(fetch)).body;
    await attempt(heading, 'bound to a key, presented as Bearer', '401', withBearer(fetchAs(), token), call);
    await attempt(heading, "bound to a key, with proofs of the thief's own key", '401', withDpop(fetchAs(), token, thiefKeys), call);
    await attempt(heading, 'bound to a certificate, without one', '401', withBearer(fetchAs(), mtlsToken), call);
    const stranger = fetchAs(await pki.client('thief'));
    await attempt(heading, "bound to a certificate, with the thief's own", '401', withBearer(stranger, mtlsToken), call);
    await attempt(heading, 'bound to nothing', '401', withBearer(fetchAs(), plainToken), call);

    const [ofKey = '', ofCertificate = ''] = sessions;
    const goOn =
      (session: string, act: 'accounts' | 'end' = 'accounts') =>
      async (fetch: McpFetch): Promise<string> => {
        const client = await connect(server.url, fetch, session);
        clients.push(client);
        return String(await client[act]());
      };
    const theft = 'A thief with the session id, and a good token of its own';
    await attempt(theft, 'another client', '404', byCertificate, goOn(ofKey));
    await attempt(theft, 'the same client with another key', '404', withDpop(fetchAs(), thiefToken, thiefKeys), goOn(ofKey));
    await attempt(theft, 'another client, which ends the session', '404', byCertificate, goOn(ofKey, 'end'));
    await attempt(theft, 'a session that never was', '404', byCertificate, goOn('00000000-0000-4000-8000-000000000000'));
    await attempt('A thief with the session id alone', 'no token', '401', fetchAs(), goOn(ofKey));

    const after = 'Owners, after all that';
    await attempt(after, 'goes on with its session: key', '200', byKey, goOn(ofKey));
    await attempt(after, 'goes on with its session: certificate', '200', byCertificate, goOn(ofCertificate));
    await attempt(after, 'ends its session', '200', byKey, goOn(ofKey, 'end'));
    await attempt(after, 'asks for the session that it has ended', '404', byKey, goOn(ofKey));
    return { attempts, foreignSessions, tokens: [token, mtlsToken] };
  } finally {
    await Promise.all(clients.map((client) => client.close()));
    await server.close();
    await Promise.all([...fetches.map((fetch) => fetch.close()), as.close()]);
  }
}
