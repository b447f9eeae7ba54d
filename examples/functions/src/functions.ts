// Calls both functions as their platforms do, as the owner of a token and as thieves.
import type { ResourceEvent } from '@holdfast/core/fetch';
import { testAuthorizationServer, type TestClient } from '@holdfast/testing';
import { type HttpApiEvent, lambdaHandler } from './lambda.ts';
import { worker } from './worker.ts';

/** One request, what it should be answered, and what it was. */
export interface Attempt {
  readonly platform: 'AWS Lambda' | 'Cloudflare Workers';
  readonly title: string;
  readonly expected: number;
  readonly status: number;
  readonly body: string;
  /** The one line of WWW-Authenticate, with all challenges. */
  readonly challenges: string;
  /** Why Holdfast refused; from its event. */
  readonly reason: string | undefined;
}

/** Calls both functions. */
export async function runFunctions(): Promise<readonly Attempt[]> {
  const as = await testAuthorizationServer({ audience: 'https://api.example.com' });
  const [owner, thief] = [await as.client({ clientId: 'user-1' }), await as.client()];
  const events: ResourceEvent[] = [];
  const options = { issuer: as.issuer, audience: as.audience, fetch: as.fetch, onEvent: (event: ResourceEvent) => void events.push(event) };
  const [lambda, cloudflare] = [lambdaHandler(options), worker(options)];
  const tokenWith = async (scope: string): Promise<Record<string, string>> => ({
    authorization: `Bearer ${await owner.token({ scope })}`,
  });
  const [reading, other] = [await tokenWith('accounts:read'), await tokenWith('payments')];

  const rows: readonly (readonly [title: string, expected: number, headers: Record<string, string>, client?: TestClient])[] = [
    ['no token', 401, {}],
    ['the owner, with its certificate', 200, reading, owner],
    ['a thief with the token and another certificate', 401, reading, thief],
    ['a thief with the token and no certificate', 401, reading],
    ['a thief who sends the certificate of the owner in a field', 401, { ...reading, 'client-cert': encodeURIComponent(owner.tls.cert) }],
    ['the owner, with too little scope', 403, other, owner],
  ];
  const attempts: Attempt[] = [];
  for (const [title, expected, headers, client] of rows) {
    events.length = 0;
    const { statusCode, headers: fields, body } = await lambda(eventOf(headers, client));
    const challenges = fields['www-authenticate'] ?? '';
    attempts.push({ platform: 'AWS Lambda', title, expected, status: statusCode, body, challenges, reason: events.at(-1)?.reason });
  }
  for (const [title, expected, headers, client] of rows) {
    events.length = 0;
    const response = await cloudflare.fetch(requestOf(headers, client));
    const challenges = response.headers.get('www-authenticate') ?? '';
    const answer = { status: response.status, body: await response.text(), challenges, reason: events.at(-1)?.reason };
    attempts.push({ platform: 'Cloudflare Workers', title, expected, ...answer });
  }
  return attempts;
}

/** The event that API Gateway makes of a request. */
function eventOf(headers: Record<string, string>, client: TestClient | undefined): HttpApiEvent {
  const authentication = client && { clientCert: { clientCertPem: client.tls.cert } };
  return {
    rawPath: '/accounts',
    rawQueryString: '',
    headers: { host: 'api.example.com', ...headers },
    requestContext: { domainName: 'api.example.com', http: { method: 'GET' }, ...(authentication && { authentication }) },
    isBase64Encoded: false,
  };
}

/** The request that a Worker gets. */
function requestOf(headers: Record<string, string>, client: TestClient | undefined): Request {
  const hex = client === undefined ? '' : Buffer.from(client.thumbprint, 'base64url').toString('hex');
  const tlsClientAuth = {
    certPresented: client === undefined ? '0' : '1',
    certVerified: client === undefined ? 'NONE' : 'SUCCESS',
    certFingerprintSHA256: hex,
  };
  return Object.assign(new Request('https://api.example.com/accounts', { headers }), { cf: { tlsClientAuth } });
}
