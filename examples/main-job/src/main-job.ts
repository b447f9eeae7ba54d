import { startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith, type OneResponse, requestOnce } from '@holdfast/test-support/clients';
import { hmac, rawJwt, unsignedJwt } from '@holdfast/test-support/jwt';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { type Api, startApi } from './api.ts';
import { createClient } from './client.ts';

/** One request of the main job, what it should lead to, and what came back. */
export interface Attempt {
  /** 1 to 9, as in the README. */
  readonly step: number;
  readonly title: string;
  readonly expected: number;
  readonly status: number;
  /** The lines of WWW-Authenticate, in full. */
  readonly challenges: readonly string[];
  readonly body: string;
  /** Why Holdfast refused, from its event. */
  readonly reason: string | undefined;
  /** Of the certificate that the client has: SHA-256 of its DER, as base64url. */
  readonly thumbprint: string | undefined;
  /** Whether the TLS session was resumed, and its version. */
  readonly tls: { readonly protocol: string | null; readonly resumed: boolean };
}

/** What the client found out before it had a token. */
export interface Discovery {
  readonly issuer: string;
  /** Where the token was fetched: the alias that asks for a certificate. */
  readonly tokenEndpoint: string;
  /** An endpoint without an alias: the plain one. */
  readonly revocationEndpoint: string;
}

interface Ask {
  readonly token: string;
  readonly identity?: Identity;
  readonly api?: Api;
  readonly method?: string;
  readonly version?: 'TLSv1.2' | 'TLSv1.3';
  readonly session?: Buffer | undefined;
}

/**
 * Runs the main job on real parts: an authorization server (oidc-provider), a client (oauth4webapi) that gets its token over
 * mutual TLS, an Express API over HTTPS behind Holdfast; then its owner and thieves use the token.
 */
export async function runMainJob(): Promise<{ readonly discovery: Discovery; readonly attempts: readonly Attempt[] }> {
  const pki = await createPki();
  const [owner, thief, self] = [await pki.client('owner'), await pki.client('thief'), await pki.selfSigned('self-signed')];
  const audience = 'https://api.example.com';
  const as = await startAuthorizationServer({ pki, audience, clients: { 'mtls-ca': owner, 'mtls-self': self } });
  const fetches: ClientFetch[] = [];
  const fetchAs = (identity?: Identity): ClientFetch => {
    const fetch = fetchWith({ ca: pki.ca, ...identity });
    fetches.push(fetch);
    return fetch;
  };
  const options = { issuer: as.issuer, audience, tls: pki.server, fetch: fetchAs() };
  const strict = await startApi(options);
  const lenient = await startApi({ ...options, unconstrained: 'accept' });

  const attempts: Attempt[] = [];
  const attempt = async (
    step: number,
    title: string,
    expected: number,
    { token, identity, api = strict, method = 'GET', version, session }: Ask,
  ): Promise<OneResponse> => {
    const response = await requestOnce({
      port: api.port,
      method,
      path: '/accounts',
      ca: pki.ca,
      servername: 'localhost',
      headers: { authorization: `Bearer ${token}` },
      session,
      ...(identity && { cert: identity.cert, key: identity.key }),
      ...(version && { minVersion: version, maxVersion: version }),
    });
    const { status, headers, body, protocol, reused } = response;
    attempts.push({
      step,
      title,
      expected,
      status,
      challenges: headers.flatMap(([name, value]) => (name.toLowerCase() === 'www-authenticate' ? [value] : [])),
      body,
      reason: api.lastDecision()?.reason,
      thumbprint: identity?.thumbprint,
      tls: { protocol, resumed: reused },
    });
    return response;
  };

  try {
    const client = await createClient(as.issuer, 'mtls-ca', fetchAs(owner));
    const token = await client.token(audience, 'accounts:read');
    const plainClient = await createClient(as.issuer, 'bearer', fetchAs(), as.secrets.bearer);
    const plain = await plainClient.token(audience, 'accounts:read');
    await plainClient.revoke('a token that nobody has');
    const discovery = {
      issuer: client.metadata.issuer,
      tokenEndpoint: client.visited.at(-1) ?? '',
      revocationEndpoint: plainClient.visited.at(-1) ?? '',
    };

    await attempt(1, 'the owner, with its certificate', 200, { token, identity: owner });
    const selfSigned = await createClient(as.issuer, 'mtls-self', fetchAs(self));
    await attempt(1, 'an owner with a self-signed certificate', 200, {
      token: await selfSigned.token(audience, 'accounts:read'),
      identity: self,
    });
    await attempt(2, 'a thief with the token and no certificate', 401, { token });
    await attempt(3, 'a thief with the token and another certificate', 401, { token, identity: thief });
    await attempt(4, 'the owner with a renewed certificate over the same key', 401, { token, identity: await pki.renew(owner) });

    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const { session } = await attempt(5, `the owner on a new ${version} session`, 200, { token, identity: owner, version });
      await attempt(5, `the owner on the resumed ${version} session`, 200, { token, identity: owner, version, session });
    }
    const { session } = await attempt(5, 'no certificate, on a new TLSv1.3 session', 401, { token, version: 'TLSv1.3' });
    await attempt(5, 'no certificate, on the resumed TLSv1.3 session', 401, { token, version: 'TLSv1.3', session });

    const now = Math.floor(Date.now() / 1000);
    const cnf = { 'x5t#S256': owner.thumbprint };
    const claims = {
      iss: as.issuer,
      aud: audience,
      sub: 'mtls-ca',
      client_id: 'mtls-ca',
      scope: 'accounts:read',
      iat: now,
      exp: now + 300,
      cnf,
    };
    const header = { typ: 'at+jwt', kid: as.publicJwk.kid };
    const [tokenHeader = '', tokenPayload = '', tokenSignature = ''] = token.split('.');
    const tampered = JSON.stringify({
      ...JSON.parse(Buffer.from(tokenPayload, 'base64url').toString()),
      scope: 'accounts:read accounts:write',
    });
    const badTokens: [title: string, token: string][] = [
      ['an expired token', await as.signAs({ ...claims, exp: now - 60 })],
      ['a tampered token: more scope', [tokenHeader, Buffer.from(tampered).toString('base64url'), tokenSignature].join('.')],
      ['a token for another audience', await client.token('https://other.example.com', 'accounts:read')],
      ['a token of another issuer', await as.signAs({ ...claims, iss: 'https://other.example.com' })],
      ['an ID token', await as.idToken()],
      ['alg: none', unsignedJwt({ ...header, alg: 'none' }, claims)],
      [
        'HS256, keyed with the public key',
        rawJwt(JSON.stringify({ ...header, alg: 'HS256' }), JSON.stringify(claims), hmac(as.publicKeyPem)),
      ],
    ];
    for (const [title, bad] of badTokens) await attempt(6, title, 401, { token: bad, identity: owner });

    await attempt(7, 'a token without cnf', 401, { token: plain });
    await attempt(7, "the same, where unconstrained: 'accept'", 200, { token: plain, api: lenient });

    for (const odd of [{ 'urn:example': 1 }, {}, null, 'a string']) {
      const oddToken = await as.signAs({ ...claims, cnf: odd });
      await attempt(8, `cnf: ${JSON.stringify(odd)}`, 401, { token: oddToken, identity: owner, api: lenient });
    }
    const beside = await as.signAs({ ...claims, cnf: { ...cnf, 'urn:example': 1 } });
    await attempt(8, 'x5t#S256 beside an unknown member, the owner', 200, { token: beside, identity: owner });
    await attempt(8, 'x5t#S256 beside an unknown member, a thief', 401, { token: beside, identity: thief });

    await attempt(9, 'the owner, where the route requires more scope', 403, { token, identity: owner, method: 'POST' });
    return { discovery, attempts };
  } finally {
    await Promise.all([strict.close(), lenient.close(), ...fetches.map((fetch) => fetch.close()), as.close()]);
  }
}
