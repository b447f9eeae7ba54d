import { randomBytes, X509Certificate } from 'node:crypto';
import type { JWK } from 'jose';
import type { ClientMetadata } from 'oidc-provider';
import type { Identity } from './pki.ts';

/** The clients with a secret: for client_secret_basic, but `api-post`. `api-…` are APIs, which only introspect. */
export type ConfidentialClient = 'bearer' | 'dpop' | 'code' | 'api-basic' | 'api-post';

/**
 * What a test chooses about the clients; `bearer`, `dpop`, `code`, `api-basic`, `api-post` and `api-jwt` are always there, these only
 * where they are given.
 */
export interface ClientOptions {
  /** tls_client_auth: the client is known by this certificate's subject, whichever certificate of the CA carries it. */
  readonly 'mtls-ca'?: Identity;
  /** self_signed_tls_client_auth: the client is known by these very certificates. */
  readonly 'mtls-self'?: Identity | readonly Identity[];
  /** APIs that introspect by mutual TLS: self_signed_tls_client_auth and tls_client_auth. */
  readonly 'api-mtls-self'?: Identity;
  readonly 'api-mtls-ca'?: Identity;
  /** A public client: authorization code with PKCE, with or without DPoP. CORS allows it from the origins of its redirect URIs. */
  readonly browser?: { readonly redirectUris: readonly string[] };
}

/** Where the `code` client is sent back to; nothing listens there. */
export const CODE_REDIRECT_URI = 'https://client.example.com/callback';

/** New secrets, so that none is worth keeping. */
export function generateSecrets(): Record<ConfidentialClient, string> {
  const secret = (): string => randomBytes(32).toString('base64url');
  return { bearer: secret(), dpop: secret(), code: secret(), 'api-basic': secret(), 'api-post': secret() };
}

/** The client metadata (RFC 7591, RFC 8705 §2.1.2 and §3.4, RFC 9449 §5.2) of every registered client. */
export function clientMetadata(
  clients: ClientOptions,
  secrets: Record<ConfidentialClient, string>,
  scopes: readonly string[],
  apiKey: JWK,
): ClientMetadata[] {
  const { 'mtls-ca': byCa, 'mtls-self': bySelf = [], 'api-mtls-self': apiBySelf, 'api-mtls-ca': apiByCa, browser } = clients;
  const scope = scopes.join(' ');
  const service: Partial<ClientMetadata> = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [], scope };
  const web: Partial<ClientMetadata> = { grant_types: ['authorization_code', 'refresh_token'], scope: `openid offline_access ${scope}` };
  const withSecret = (client: ConfidentialClient): ClientMetadata => ({
    client_id: client,
    client_secret: secrets[client],
    token_endpoint_auth_method: 'client_secret_basic',
  });
  const selfSigned = [bySelf].flat();
  const introspecting: Partial<ClientMetadata> = { grant_types: [], response_types: [], redirect_uris: [] };
  return [
    { ...introspecting, ...withSecret('api-basic') },
    { ...introspecting, ...withSecret('api-post'), token_endpoint_auth_method: 'client_secret_post' },
    {
      ...introspecting,
      client_id: 'api-jwt',
      token_endpoint_auth_method: 'private_key_jwt',
      token_endpoint_auth_signing_alg: 'ES256',
      jwks: { keys: [apiKey] },
    },
    ...(apiByCa
      ? [
          {
            ...introspecting,
            client_id: 'api-mtls-ca',
            token_endpoint_auth_method: 'tls_client_auth' as const,
            tls_client_auth_subject_dn: subjectOf(new X509Certificate(apiByCa.cert)),
          },
        ]
      : []),
    ...(apiBySelf
      ? [
          {
            ...introspecting,
            client_id: 'api-mtls-self',
            token_endpoint_auth_method: 'self_signed_tls_client_auth' as const,
            jwks: { keys: [apiBySelf.jwk] },
          },
        ]
      : []),
    { ...service, ...withSecret('bearer') },
    { ...service, ...withSecret('dpop'), dpop_bound_access_tokens: true },
    { ...web, ...withSecret('code'), redirect_uris: [CODE_REDIRECT_URI] },
    ...(byCa
      ? [
          {
            ...service,
            client_id: 'mtls-ca',
            token_endpoint_auth_method: 'tls_client_auth' as const,
            tls_client_auth_subject_dn: subjectOf(new X509Certificate(byCa.cert)),
            tls_client_certificate_bound_access_tokens: true,
          },
        ]
      : []),
    ...(selfSigned.length > 0
      ? [
          {
            ...service,
            client_id: 'mtls-self',
            token_endpoint_auth_method: 'self_signed_tls_client_auth' as const,
            jwks: { keys: selfSigned.map(({ jwk }) => jwk) },
            tls_client_certificate_bound_access_tokens: true,
          },
        ]
      : []),
    ...(browser
      ? [{ ...web, client_id: 'browser', token_endpoint_auth_method: 'none' as const, redirect_uris: [...browser.redirectUris] }]
      : []),
  ];
}

/** The subject as RFC 4514 writes it, from the last relative name to the first. */
export function subjectOf(certificate: X509Certificate): string {
  return certificate.subject.split('\n').toReversed().join(',');
}
