import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type CertificateSource, type Fetch, rfc9440 } from '@holdfast/core';
import { calculateJwkThumbprint, type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { makeCertificate } from './certificates.ts';
import { makeClient, type TestClient, type TestClientOptions } from './client.ts';

/** What the authorization server is to say; by default nothing has to be given. */
export interface TestAuthorizationServerOptions {
  /** Default `https://as.test`. Nothing is sent there. */
  readonly issuer?: string;
  /**
   * `true` listens on a free port of 127.0.0.1, and the issuer is the URL of that: for applications that are configured with an
   * issuer and nothing else. Call `close()` in the end.
   */
  readonly listen?: boolean;
  /** What the tokens are for. Default `https://api.test`. */
  readonly audience?: string;
  /** Of the access tokens. Default `ES256`. */
  readonly algorithm?: string;
  /** The clock that `iat` and `exp` are read from, in epoch seconds. Give `holdfast(…)` the same. */
  readonly now?: () => number;
}

/** Certificate and key of a TLS server for the tests, with the options that `fromTls()` asks for. `ca` is for its clients. */
export interface ServerTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly requestCert: true;
  readonly rejectUnauthorized: false;
}

/** An authorization server inside the test: it has keys and clients, and listens nowhere unless it is told to. */
export interface TestAuthorizationServer {
  readonly issuer: string;
  readonly audience: string;
  /** Answers discovery and the key set: the option `fetch` of `holdfast(…)`. Everything else it answers with 404. */
  readonly fetch: Fetch;
  /**
   * Finds the certificates that {@link TestClient.present} sends, as from an edge: the option `certificate` of `holdfast(…)`, for
   * tests without TLS. It believes only fields with the secret of this authorization server, which is new each time.
   */
  readonly certificate: CertificateSource;
  /** What `holdfast(…)` needs of all that: issuer, audience, fetch and certificate. */
  readonly options: {
    readonly issuer: string;
    readonly audience: string;
    readonly fetch: Fetch;
    readonly certificate: CertificateSource;
  };
  /** For `https.createServer`, where the test uses real TLS and `fromTls()`. */
  readonly tls: ServerTls;
  /** A client with a certificate and a DPoP key of its own. Make two for an owner and a thief. */
  client(options?: TestClientOptions): Promise<TestClient>;
  /**
   * From now on tokens are signed by a new key; the key set shows both, or with `drop` only the new one. An application that has
   * fetched keys asks for an unknown one after `keys.cooldown` (30 s), as in production: move its `now`, or make another.
   */
  rotateKey(options?: { readonly drop?: boolean }): Promise<void>;
  /** Ends the listening server, where there is one. */
  close(): Promise<void>;
}

/** Field by which the certificate source knows the clients of this authorization server. */
const SECRET_FIELD = 'test-edge-secret';

/** What metadata say of a server that binds tokens (RFC 8705 §3.3, RFC 9449 §5.1). */
const BINDS = { tls_client_certificate_bound_access_tokens: true, dpop_signing_alg_values_supported: ['ES256'] };

/**
 * Makes an authorization server for tests. Throws one `TypeError` that lists every problem of the options.
 *
 * @example
 * const as = await testAuthorizationServer();
 * const [owner, thief] = [await as.client(), await as.client()];
 * const app = buildApp(as.options);
 * const token = await owner.token({ scope: 'accounts' });
 * await request(app).get('/accounts').set(owner.present(token)).expect(200);
 * await request(app).get('/accounts').set(thief.present(token)).expect(401);
 */
export async function testAuthorizationServer(options: TestAuthorizationServerOptions = {}): Promise<TestAuthorizationServer> {
  checkOptions(options);
  const { listen = false, audience = 'https://api.test', algorithm = 'ES256', now = () => Math.floor(Date.now() / 1000) } = options;
  const secret = randomBytes(32).toString('base64url');
  let current = await makeSigningKey(algorithm);
  let shown: readonly JWK[] = [current.publicJwk];
  const listening = listen ? await startListening((url) => fetch(url)) : undefined;
  const issuer = listening?.url ?? options.issuer ?? 'https://as.test';

  const fetch = async (url: string): Promise<Response> => {
    if (url === `${issuer}/jwks`) return Response.json({ keys: shown });
    const isMetadata = /\/\.well-known\/(?:openid-configuration|oauth-authorization-server)/.test(url);
    return isMetadata ? Response.json({ issuer, jwks_uri: `${issuer}/jwks`, ...BINDS }) : new Response(null, { status: 404 });
  };
  const sign = async (claims: Record<string, unknown>): Promise<string> => {
    const iat = now();
    const all = { iss: issuer, aud: audience, iat, exp: iat + 300, jti: randomUUID(), ...claims };
    const header = { alg: algorithm, typ: 'at+jwt', ...(current.publicJwk.kid !== undefined && { kid: current.publicJwk.kid }) };
    return new SignJWT(all).setProtectedHeader(header).sign(current.privateKey);
  };

  const certificate = rfc9440({ trust: { secret: { field: SECRET_FIELD, values: [secret] } } });
  const server = await makeCertificate('localhost', 'server');
  return {
    issuer,
    audience,
    fetch,
    certificate,
    options: { issuer, audience, fetch, certificate },
    tls: { ca: server.cert, cert: server.cert, key: server.key, requestCert: true, rejectUnauthorized: false },
    client: (clientOptions = {}) => makeClient(clientOptions, { sign, now, edgeFields: { [SECRET_FIELD]: secret } }),
    async rotateKey({ drop = false } = {}) {
      current = await makeSigningKey(algorithm);
      shown = drop ? [current.publicJwk] : [...shown, current.publicJwk];
    },
    close: async () => listening?.close(),
  };
}

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA', 'Ed25519'];

/** What each option has to be, for those who write JavaScript. */
const OPTIONS: Readonly<Record<string, { readonly fits: (value: unknown) => boolean; readonly fix: string }>> = {
  issuer: { fits: (value) => typeof value === 'string' && URL.canParse(value), fix: "a URL, as 'https://as.test'" },
  listen: { fits: (value) => typeof value === 'boolean', fix: 'true or false' },
  audience: { fits: (value) => typeof value === 'string' && value !== '', fix: "a text, as 'https://api.test'" },
  algorithm: { fits: (value) => ALGORITHMS.some((one) => one === value), fix: `one of ${ALGORITHMS.join(', ')}` },
  now: { fits: (value) => typeof value === 'function', fix: 'a function that returns epoch seconds' },
};

function checkOptions(options: object): void {
  const problems = Object.entries(options).flatMap(([name, value]) => {
    const option = Object.hasOwn(OPTIONS, name) ? OPTIONS[name] : undefined;
    if (option === undefined) return [`${name}: is not an option. Known: ${Object.keys(OPTIONS).join(', ')}`];
    return value === undefined || option.fits(value) ? [] : [`${name}: is ${JSON.stringify(value)}. Give ${option.fix}`];
  });
  if (problems.length > 0) throw new TypeError(`testAuthorizationServer: ${problems.join('; ')}.`);
}

async function startListening(answer: (url: string) => Promise<Response>): Promise<{ readonly url: string; close(): Promise<void> }> {
  const respond = async (path: string, response: ServerResponse): Promise<void> => {
    const found = await answer(url + path);
    response.writeHead(found.status, { 'Content-Type': 'application/json' }).end(await found.text());
  };
  const server = createServer((request, response) => void respond(request.url ?? '', response));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : ''}`;
  return {
    url,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

async function makeSigningKey(algorithm: string): Promise<{ readonly privateKey: CryptoKey; readonly publicJwk: JWK }> {
  const { privateKey, publicKey } = await generateKeyPair(algorithm);
  const jwk = await exportJWK(publicKey);
  return { privateKey, publicJwk: { ...jwk, alg: algorithm, use: 'sig', kid: await calculateJwkThumbprint(jwk) } };
}
