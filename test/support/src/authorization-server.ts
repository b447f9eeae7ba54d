import { createHash, createPublicKey, randomBytes, randomUUID, X509Certificate } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer } from 'node:https';
import { TLSSocket } from 'node:tls';
import { exportJWK, type JWK } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';
import { fetchWith } from './clients.ts';
import { generateSigningKey, rawJwt, type SigningKeyPair } from './jwt.ts';
import { listen, stop } from './loopback.ts';
import type { Pki } from './pki.ts';
import {
  type ClientOptions,
  CODE_REDIRECT_URI,
  type ConfidentialClient,
  clientMetadata,
  generateSecrets,
  subjectOf,
} from './registered-clients.ts';
import { signIn } from './sign-in.ts';

/** The endpoints that can stand in `mtls_endpoint_aliases` (RFC 8705 §5). */
export type MtlsEndpoint = keyof typeof ENDPOINTS;

const ENDPOINTS = {
  token_endpoint: '/token',
  introspection_endpoint: '/token/introspection',
  revocation_endpoint: '/token/revocation',
} as const;

/** What an {@link AuthorizationServer} is from the beginning. */
export interface AuthorizationServerOptions {
  readonly pki: Pki;
  readonly clients?: ClientOptions;
  /** The resource that tokens are for when none is asked for; any other may be asked for. By default https://api.example.com. */
  readonly audience?: string;
  /** By default `accounts:read` and `accounts:write`. A token carries those that its request asks for, and none if it asks for none. */
  readonly scopes?: readonly string[];
  /** Demand a nonce in every DPoP proof (RFC 9449 §8). */
  readonly dpopNonce?: boolean;
  /** Resources whose tokens are opaque; those of others are JWTs. */
  readonly opaque?: readonly string[];
  /** The endpoints with an alias; by default the token endpoint alone, so that for the others clients must use the plain one. */
  readonly aliases?: readonly MtlsEndpoint[];
  /** TLS ends before it: it listens in the clear, at the origins of this edge, and takes certificates from what the edge forwards. */
  readonly edge?: AuthorizationServerEdge;
}

/** What an authorization server knows of the edge in front of it. */
export interface AuthorizationServerEdge {
  /** The origin that clients know. */
  readonly issuer: string;
  /** The origin of `mtls_endpoint_aliases`. */
  readonly mtlsOrigin: string;
  readonly forwarded: ReadCertificate;
}

/** A certificate that came with a request, and whether it was verified against the authority of the clients. */
export interface PresentedCertificate {
  readonly certificate: X509Certificate;
  readonly verified: boolean;
}

/** Where the certificate of a request comes from. */
export type ReadCertificate = (request: IncomingMessage) => PresentedCertificate | undefined;

/** A real authorization server on the loopback, over HTTPS: oidc-provider, at an origin that asks for client certificates and one that does not. */
export interface AuthorizationServer {
  /** `https://localhost:…`, where no client certificate is asked for. */
  readonly issuer: string;
  /** `https://127.0.0.1:…`, where `mtls_endpoint_aliases` leads. */
  readonly mtlsOrigin: string;
  /** Where it listens; behind an edge, in the clear. */
  readonly port: number;
  /** What to trust, PEM. */
  readonly ca: string;
  readonly audience: string;
  readonly secrets: Readonly<Record<ConfidentialClient, string>>;
  /** The private key of the client `api-jwt`, with `alg` and `kid`. */
  readonly apiKey: JWK;
  /** The requests to the introspection endpoint: at which origin (by Host), and with what. */
  readonly introspections: readonly { readonly origin: string; readonly headers: IncomingHttpHeaders }[];
  readonly publicJwk: JWK;
  /** The same key in SPKI, PEM. */
  readonly publicKeyPem: string;
  /** Signs these very claims with the server's own ES256 key; a header parameter given as undefined is left out. */
  signAs(claims: object, header?: object): Promise<string>;
  /** An ID token that a user's sign-in at the client `code` yields. */
  idToken(): Promise<string>;
  /**
   * A refresh token that a user's sign-in yields: at the confidential client `code`; or, with what makes a proof for the token endpoint,
   * at the public client `browser` (with its first redirect URI), and bound to the key of the proof (RFC 9449 §5).
   */
  refreshToken(proof?: (url: string) => string): Promise<string>;
  close(): Promise<void>;
}

/** Starts an {@link AuthorizationServer}. Its clients are `bearer`, `dpop`, `code`, and those of {@link ClientOptions}. */
export async function startAuthorizationServer(options: AuthorizationServerOptions): Promise<AuthorizationServer> {
  const { pki, clients = {}, audience = 'https://api.example.com', aliases = ['token_endpoint'], edge } = options;
  const secrets = generateSecrets();
  const signer = await generateSigningKey('ES256', randomUUID());

  const apiSigner = await generateSigningKey('ES256', randomUUID());
  const introspections: { origin: string; headers: IncomingHttpHeaders }[] = [];

  let handler: RequestListener = (_request, response) => response.writeHead(503).end();
  const listener: RequestListener = (request, response) => {
    const { url, headers } = request;
    if (url === ENDPOINTS.introspection_endpoint) introspections.push({ origin: `https://${headers.host}`, headers });
    handler(request, response);
  };
  const servers = serversOf(pki, edge, listener);
  const [port = 0, mtlsPort = 0] = await Promise.all(servers.map((server) => listen(server)));
  const { issuer, mtlsOrigin } = edge ?? { issuer: `https://localhost:${port}`, mtlsOrigin: `https://127.0.0.1:${mtlsPort}` };

  const provider = new Provider(issuer, {
    ...(await configuration(options, audience, signer)),
    clients: clientMetadata(clients, secrets, scopesOf(options), apiSigner.publicJwk),
    // oidc-provider has no switch for aliases: they are plain metadata
    discovery: { mtls_endpoint_aliases: Object.fromEntries(aliases.map((name) => [name, mtlsOrigin + ENDPOINTS[name]])) },
  });
  provider.proxy = edge !== undefined;
  provider.on('server_error', (_ctx, error) => console.error(error));
  const callback = provider.callback();
  handler = (request, response) => void callback(request, response);

  return {
    issuer,
    mtlsOrigin,
    port,
    ca: pki.ca,
    audience,
    secrets,
    apiKey: { ...(await exportJWK(apiSigner.privateKey)), alg: apiSigner.alg, ...(apiSigner.kid !== undefined && { kid: apiSigner.kid }) },
    introspections,
    publicJwk: signer.publicJwk,
    publicKeyPem: createPublicKey({ key: { ...signer.publicJwk }, format: 'jwk' })
      .export({ type: 'spki', format: 'pem' })
      .toString(),
    signAs: async (claims, header = {}) =>
      rawJwt(JSON.stringify({ alg: signer.alg, typ: 'at+jwt', kid: signer.kid, ...header }), JSON.stringify(claims), signer),
    idToken: () => signedIn(issuer, pki.ca, 'id_token', { client: 'code', secret: secrets.code, redirectUri: CODE_REDIRECT_URI }),
    refreshToken: (proof) =>
      signedIn(
        issuer,
        pki.ca,
        'refresh_token',
        proof === undefined
          ? { client: 'code', secret: secrets.code, redirectUri: CODE_REDIRECT_URI }
          : { client: 'browser', proof, redirectUri: clients.browser?.redirectUris[0] ?? CODE_REDIRECT_URI },
      ),
    close: async () => {
      await Promise.all(servers.map(stop));
    },
  };
}

function serversOf(pki: Pki, edge: AuthorizationServerEdge | undefined, listener: RequestListener): readonly Server[] {
  if (edge !== undefined) return [createHttpServer(listener)];
  const tls = { key: pki.server.key, cert: pki.server.cert };
  // unverified, so that self-signed certificates get as far as RFC 8705 §2.2
  return [createServer(tls, listener), createServer({ ...tls, ca: pki.ca, requestCert: true, rejectUnauthorized: false }, listener)];
}

function scopesOf({ scopes = ['accounts:read', 'accounts:write'] }: AuthorizationServerOptions): readonly string[] {
  return scopes;
}

async function configuration(options: AuthorizationServerOptions, audience: string, signer: SigningKeyPair): Promise<Configuration> {
  const certificateOf = options.edge?.forwarded ?? certificateOnConnection(new X509Certificate(options.pki.ca));
  const scopes = scopesOf(options);
  return {
    jwks: { keys: [{ ...(await exportJWK(signer.privateKey)), kid: signer.kid, use: 'sig', alg: signer.alg }] },
    cookies: { keys: [randomBytes(32).toString('base64url')] },
    // asked even of clients that never get such a token
    clientDefaults: { id_token_signed_response_alg: 'ES256', introspection_signed_response_alg: 'ES256' },
    scopes: ['openid', 'offline_access', ...scopes],
    ttl: { AccessToken: 300, RefreshToken: 86_400, ClientCredentials: 300, IdToken: 300, Interaction: 300, Session: 300, Grant: 300 },
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    clientBasedCORS: (_ctx, origin, client) => client.redirectUris?.some((uri) => new URL(uri).origin === origin) ?? false,
    // without the tls methods in this list their clients are refused as invalid_client_metadata, whatever features.mTLS says
    clientAuthMethods: [
      'client_secret_basic',
      'client_secret_post',
      'private_key_jwt',
      'none',
      'tls_client_auth',
      'self_signed_tls_client_auth',
    ],
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => client.clientId.startsWith('api-') || client.clientId === token.clientId,
      },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true, allowedPolicy: (_ctx, client, token) => client.clientId === token.clientId },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => options.dpopNonce ?? false },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        selfSignedTlsClientAuth: true,
        tlsClientAuth: true,
        getCertificate: (ctx) => certificateOf(ctx.req)?.certificate,
        certificateAuthorized: (ctx) => certificateOf(ctx.req)?.verified ?? false,
        certificateSubjectMatches: (ctx, property, expected) => {
          const certificate = certificateOf(ctx.req)?.certificate;
          return property === 'tls_client_auth_subject_dn' && certificate !== undefined && subjectOf(certificate) === expected;
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf ?? audience,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => ({
          audience: resource,
          scope: scopes.join(' '),
          accessTokenFormat: options.opaque?.includes(resource) ? 'opaque' : 'jwt',
          accessTokenTTL: 300,
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  };
}

function certificateOnConnection(ca: X509Certificate): ReadCertificate {
  return ({ socket }) => {
    const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    return certificate && { certificate, verified: isIssuedBy(ca, certificate) };
  };
}

/** In place of `socket.authorized`, which is not to be relied on where a session was resumed. */
function isIssuedBy(ca: X509Certificate, certificate: X509Certificate): boolean {
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) return false;
  const now = Date.now();
  return Date.parse(certificate.validFrom) <= now && now <= Date.parse(certificate.validTo);
}

/** A client at which a user signs in, and how it authenticates at the token endpoint. */
type SignInClient = { readonly client: string; readonly redirectUri: string } & (
  | { readonly secret: string }
  | { readonly proof: (url: string) => string }
);

/** Signs a user in, and resolves with one member of the token response. */
async function signedIn(issuer: string, ca: string, member: string, signingIn: SignInClient): Promise<string> {
  const { client, redirectUri } = signingIn;
  const fetch = fetchWith({ ca });
  const verifier = randomBytes(32).toString('base64url');
  const url = issuer + ENDPOINTS.token_endpoint;
  try {
    const request = new URLSearchParams({
      client_id: client,
      response_type: 'code',
      // offline_access is for clients that ask for consent (OpenID Connect Core §11).
      ...(member === 'refresh_token' ? { scope: 'openid offline_access', prompt: 'consent' } : { scope: 'openid' }),
      redirect_uri: redirectUri,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    });
    const code = (await signIn(fetch, `${issuer}/auth?${request}`)).searchParams.get('code');
    if (code === null) throw new Error(`${member}: the authorization server sent no code`);
    const response = await fetch(url, {
      method: 'POST',
      headers:
        'secret' in signingIn
          ? { authorization: `Basic ${Buffer.from(`${client}:${signingIn.secret}`).toString('base64')}` }
          : { dpop: signingIn.proof(url) },
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        redirect_uri: redirectUri,
        code_verifier: verifier,
        ...('proof' in signingIn && { client_id: client }),
      }),
    });
    const answer: unknown = await response.json();
    const token = typeof answer === 'object' && answer !== null ? new Map(Object.entries(answer)).get(member) : undefined;
    if (typeof token !== 'string') throw new Error(`${member}: the token endpoint answered ${response.status} without one`);
    return token;
  } finally {
    await fetch.close();
  }
}
