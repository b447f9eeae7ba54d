import { createClient } from '@holdfast/example-main-job/client';
import type { ReportedAnswer } from '@holdfast/example-main-job/report';
import type { AuthInfo } from '@holdfast/mcp';
import { startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith } from '@holdfast/test-support/clients';
import { createPki } from '@holdfast/test-support/pki';
import {
  discoverAuthorizationServerMetadata,
  discoverOAuthProtectedResourceMetadata,
  extractWWWAuthenticateParams,
} from '@modelcontextprotocol/sdk/client/auth.js';
import * as dpop from 'dpop';
import { callTool, connect, type Connected, dpopFetch, mtlsFetch, recording, toolCall } from './clients.ts';
import { startMcpServer } from './server.ts';

/** One thing that somebody tried, with what came back. */
export interface McpAttempt extends ReportedAnswer {
  readonly body: string;
}

/**
 * Runs the example on real parts: an authorization server (oidc-provider) that binds tokens, a server of MCP behind Holdfast, the
 * SDK's own client with a DPoP-bound and with a certificate-bound token; then thieves.
 */
export async function runMcp(): Promise<readonly McpAttempt[]> {
  const pki = await createPki();
  const [partner, thief] = [await pki.client('partner'), await pki.selfSigned('thief')];
  const as = await startAuthorizationServer({ pki, dpopNonce: true, clients: { 'mtls-ca': partner, 'mtls-self': thief } });
  const fetches: ClientFetch[] = [];
  const fetchAs = (tls: Partial<typeof partner> = {}): ((url: string | URL, init?: RequestInit) => Promise<Response>) => {
    const fetch = fetchWith({ ca: pki.ca, ...tls });
    fetches.push(fetch);
    return (url, init) => fetch(url, init);
  };
  let reason: string | undefined;
  const server = await startMcpServer({
    issuer: as.issuer,
    tls: pki.server,
    fetch: fetchAs(),
    onEvent: (event) => {
      reason = event.reason;
    },
    onRefusal: (refusal) => {
      reason = refusal.reason;
    },
  });

  const attempts: McpAttempt[] = [];
  const note = (heading: string, title: string, expected: string, answer: string, body: string, remark: string | undefined): void =>
    void attempts.push({ heading, step: '', title, expected, answer, body, challenges: [], reason: remark });
  const whoami = async (heading: string, { client }: Connected): Promise<void> => {
    const body = await callTool(client, 'whoami');
    const { clientId, extra } = JSON.parse(body) as AuthInfo;
    note(heading, 'calls the tool whoami', 'answered', 'answered', body, `${clientId}, by ${extra.confirmations[0]?.member}`);
  };
  const balance = async (heading: string, title: string, { client }: Connected): Promise<void> => {
    const body = await callTool(client, 'balance');
    note(heading, title, 'answered', 'answered', body, body);
  };
  const steal = async (heading: string, title: string, expected: number, response: Promise<Response>): Promise<void> => {
    const answer = await response;
    const challenges = answer.headers.get('www-authenticate')?.split(/, (?=DPoP )/) ?? [];
    const body = await answer.text();
    attempts.push({ heading, step: '', title, expected: String(expected), answer: String(answer.status), body, challenges, reason });
  };

  try {
    // A client that knows nothing but the URL finds out, with what the SDK has for it, where to get a token.
    const anonymous = fetchAs();
    const blind = 'A client that knows only the URL';
    const first = await anonymous(server.url, toolCall('whoami', undefined));
    const { resourceMetadataUrl } = extractWWWAuthenticateParams(first);
    const about = await discoverOAuthProtectedResourceMetadata(server.url, resourceMetadataUrl && { resourceMetadataUrl }, anonymous);
    const issuer = about.authorization_servers?.[0] ?? '';
    const discovered = await discoverAuthorizationServerMetadata(issuer, { fetchFn: anonymous });
    await steal(blind, 'calls a tool', 401, Promise.resolve(first));
    note(blind, 'finds the authorization server', as.issuer, issuer, JSON.stringify(about), 'by resource_metadata');

    // The agent of a user: its token is bound to the key that it makes here.
    const keys = await dpop.generateKeyPair('ES256');
    const granted = await dpopFetch(fetchAs(), keys)(discovered?.token_endpoint ?? '', {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`dpop:${as.secrets.dpop}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'accounts:read', resource: server.url }),
    });
    const { access_token: token } = (await granted.json()) as { access_token: string };
    const wire = recording(fetchAs());
    const agent = await connect(server.url, dpopFetch(wire.fetch, keys, token));
    const byKey = 'The SDK’s client, with a DPoP-bound token';
    const opened = agent.transport.sessionId === undefined ? 'no session' : 'connected';
    note(byKey, 'connects and opens a session', 'connected', opened, '', undefined);
    await whoami(byKey, agent);
    await balance(byKey, 'calls the tool balance', agent);
    const recorded = wire.exchanges.findLast(({ init, response }) => init.method === 'POST' && response.ok);

    // A service of a partner: its token is bound to its certificate.
    const partnerToken = await (await createClient(as.issuer, 'mtls-ca', asClient(fetchAs(partner)))).token(server.url, 'accounts:read');
    const service = await connect(server.url, mtlsFetch(fetchAs(partner), partnerToken));
    const byCertificate = 'The SDK’s client, with a certificate-bound token';
    await whoami(byCertificate, service);
    await balance(byCertificate, 'calls the tool balance', service);

    const { sessionId } = agent.transport;
    const byToken = 'A thief with the token';
    const call = toolCall('balance', sessionId);
    await steal(byToken, 'as Bearer', 401, mtlsFetch(fetchAs(), token)(server.url, call));
    await steal(byToken, 'with a key of its own', 401, dpopFetch(fetchAs(), await dpop.generateKeyPair('ES256'), token)(server.url, call));
    await steal(byToken, 'a recorded request, once more', 401, fetchAs()(server.url, recorded?.init));
    await steal(byToken, 'bound to a certificate: without it', 401, mtlsFetch(fetchAs(), partnerToken)(server.url, call));
    await steal(byToken, 'bound to a certificate: with its own', 401, mtlsFetch(fetchAs(thief), partnerToken)(server.url, call));

    // The thief is a client itself, with a valid token of its own.
    const own = await (await createClient(as.issuer, 'mtls-self', asClient(fetchAs(thief)))).token(server.url, 'accounts:read');
    const send = mtlsFetch(fetchAs(thief), own);
    const bySession = 'A thief with the session id, and a valid token of its own';
    const session = { 'mcp-session-id': sessionId ?? '' };
    await steal(bySession, 'calls a tool', 404, send(server.url, call));
    await steal(
      bySession,
      'listens to what the server sends',
      404,
      send(server.url, { headers: { ...session, accept: 'text/event-stream' } }),
    );
    await steal(bySession, 'ends the session', 404, send(server.url, { method: 'DELETE', headers: session }));
    await steal(bySession, 'an id that nobody has', 404, send(server.url, toolCall('balance', 'nobody')));

    await balance(byKey, 'after all that, calls the tool balance', agent);
    await agent.transport.terminateSession();
    await steal(byKey, 'ends the session; it is gone', 404, dpopFetch(fetchAs(), keys, token)(server.url, call));
    await Promise.all([agent.client.close(), service.client.close()]);
    return attempts;
  } finally {
    await server.close();
    await Promise.all([...fetches.map((fetch) => fetch.close()), as.close()]);
  }
}

/** With the type that the OAuth client of the main job takes. */
function asClient(fetch: (url: string | URL, init?: RequestInit) => Promise<Response>): ClientFetch {
  return Object.assign((url: string | URL, init?: object) => fetch(url, init as RequestInit), { close: () => Promise.resolve() });
}
