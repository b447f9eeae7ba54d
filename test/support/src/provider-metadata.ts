/** What a provider says of itself: the members that a protected resource, or whoever sets one up, looks at. */
export interface ProviderMetadata {
  readonly issuer: string;
  /** Where the document is, below the origin of the issuer. */
  readonly path: string;
  readonly document: Readonly<Record<string, unknown>>;
  /** Where that is written. Names of hosts and tenants are changed; what is switched on in a deployment differs. */
  readonly source: string;
}

const CERTIFICATES = {
  tls_client_certificate_bound_access_tokens: true,
  token_endpoint_auth_methods_supported: ['client_secret_basic', 'private_key_jwt', 'tls_client_auth'],
};
const DPOP = { dpop_signing_alg_values_supported: ['ES256', 'PS256'] };

/** Endpoints below one base. */
function below(base: string, endpoints: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(endpoints).map(([name, path]) => [name, `${base}${path}`]));
}

const AS = 'https://as.example.com';

export const PROVIDER_METADATA: Readonly<Record<string, ProviderMetadata>> = {
  auth0: {
    issuer: 'https://tenant.eu.auth0.com/',
    path: '/.well-known/openid-configuration',
    document: {
      ...below('https://tenant.eu.auth0.com', {
        authorization_endpoint: '/authorize',
        token_endpoint: '/oauth/token',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/.well-known/jwks.json',
      }),
      ...CERTIFICATES,
      mtls_endpoint_aliases: { token_endpoint: 'https://mtls.auth.example.com/oauth/token' },
    },
    source: 'https://auth0.com/docs/get-started/authentication-and-authorization-flow/authenticate-with-mtls',
  },
  authlete: {
    issuer: AS,
    path: '/.well-known/openid-configuration',
    document: {
      ...below(`${AS}/api`, {
        authorization_endpoint: '/authorization',
        token_endpoint: '/token',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/jwks',
      }),
      ...CERTIFICATES,
      ...DPOP,
    },
    source: 'https://www.authlete.com/kb/oauth-and-openid-connect/metadata/openid-connect-discovery',
  },
  cognito: {
    issuer: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc123',
    path: '/eu-central-1_abc123/.well-known/openid-configuration',
    document: {
      ...below('https://tenant.auth.eu-central-1.amazoncognito.com/oauth2', {
        authorization_endpoint: '/authorize',
        token_endpoint: '/token',
        userinfo_endpoint: '/userInfo',
      }),
      jwks_uri: 'https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc123/.well-known/jwks.json',
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
    },
    source: 'https://docs.aws.amazon.com/cognito/latest/developerguide/federation-endpoints.html',
  },
  connect2id: {
    issuer: AS,
    path: '/.well-known/oauth-authorization-server',
    document: {
      ...below(AS, {
        authorization_endpoint: '/login',
        token_endpoint: '/token',
        introspection_endpoint: '/token/introspect',
        userinfo_endpoint: '/userinfo',
        registration_endpoint: '/clients',
        jwks_uri: '/jwks.json',
      }),
      ...CERTIFICATES,
      ...DPOP,
    },
    source: 'https://connect2id.com/products/server/docs/api/discovery',
  },
  curity: {
    issuer: `${AS}/oauth/v2/oauth-anonymous`,
    path: '/oauth/v2/oauth-anonymous/.well-known/openid-configuration',
    document: {
      ...below(`${AS}/oauth/v2`, {
        authorization_endpoint: '/oauth-authorize',
        token_endpoint: '/oauth-token',
        introspection_endpoint: '/oauth-introspect',
        userinfo_endpoint: '/oauth-userinfo',
        jwks_uri: '/oauth-anonymous/jwks',
      }),
      ...CERTIFICATES,
      ...DPOP,
    },
    source: 'https://curity.io/resources/learn/oauth-tools-add-environment/',
  },
  duende: {
    issuer: AS,
    path: '/.well-known/openid-configuration',
    document: {
      ...below(AS, {
        authorization_endpoint: '/connect/authorize',
        token_endpoint: '/connect/token',
        introspection_endpoint: '/connect/introspect',
        userinfo_endpoint: '/connect/userinfo',
        jwks_uri: '/.well-known/openid-configuration/jwks',
      }),
      ...CERTIFICATES,
      mtls_endpoint_aliases: { token_endpoint: `${AS}/connect/mtls/token` },
    },
    source: 'https://docs.duendesoftware.com/identityserver/reference/endpoints/discovery/',
  },
  entra: {
    issuer: 'https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0',
    path: '/11111111-2222-3333-4444-555555555555/v2.0/.well-known/openid-configuration',
    document: {
      ...below('https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555', {
        authorization_endpoint: '/oauth2/v2.0/authorize',
        token_endpoint: '/oauth2/v2.0/token',
        jwks_uri: '/discovery/v2.0/keys',
      }),
      userinfo_endpoint: 'https://graph.microsoft.com/oidc/userinfo',
      token_endpoint_auth_methods_supported: ['client_secret_post', 'private_key_jwt', 'client_secret_basic'],
    },
    source: 'https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc',
  },
  janssen: {
    issuer: AS,
    path: '/.well-known/openid-configuration',
    document: {
      ...below(`${AS}/jans-auth/restv1`, {
        authorization_endpoint: '/authorize',
        token_endpoint: '/token',
        introspection_endpoint: '/introspection',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/jwks',
      }),
      ...CERTIFICATES,
      ...DPOP,
      mtls_endpoint_aliases: { token_endpoint: `${AS}/jans-auth/restv1/mtls/token` },
    },
    source: 'https://docs.jans.io/stable/janssen-server/auth-server/endpoints/configuration/',
  },
  keycloak: {
    issuer: `${AS}/realms/a`,
    path: '/realms/a/.well-known/openid-configuration',
    document: {
      ...below(`${AS}/realms/a/protocol/openid-connect`, {
        authorization_endpoint: '/auth',
        token_endpoint: '/token',
        introspection_endpoint: '/token/introspect',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/certs',
      }),
      ...CERTIFICATES,
      ...DPOP,
      mtls_endpoint_aliases: { token_endpoint: `${AS}/realms/a/protocol/openid-connect/token` },
    },
    source: 'https://www.keycloak.org/securing-apps/oidc-layers',
  },
  oidcProvider: {
    issuer: AS,
    path: '/.well-known/openid-configuration',
    document: {
      ...below(AS, {
        authorization_endpoint: '/auth',
        token_endpoint: '/token',
        introspection_endpoint: '/token/introspection',
        userinfo_endpoint: '/me',
        jwks_uri: '/jwks',
      }),
      ...CERTIFICATES,
      ...DPOP,
    },
    source: 'https://github.com/panva/node-oidc-provider/blob/main/docs/README.md#routes',
  },
  okta: {
    issuer: 'https://dev-1.okta.com/oauth2/default',
    path: '/oauth2/default/.well-known/openid-configuration',
    document: {
      ...below('https://dev-1.okta.com/oauth2/default/v1', {
        authorization_endpoint: '/authorize',
        token_endpoint: '/token',
        introspection_endpoint: '/introspect',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/keys',
      }),
      dpop_signing_alg_values_supported: ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'],
    },
    source: 'https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS/',
  },
  ping: {
    issuer: `${AS}/am/oauth2/alpha`,
    path: '/am/oauth2/alpha/.well-known/openid-configuration',
    document: {
      ...below(`${AS}/am/oauth2/alpha`, {
        authorization_endpoint: '/authorize',
        token_endpoint: '/access_token',
        introspection_endpoint: '/introspect',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/connect/jwk_uri',
      }),
      ...CERTIFICATES,
    },
    source: 'https://docs.pingidentity.com/pingam/latest/am-oauth2/oauth2-connect-well-known-endpoint.html',
  },
  spring: {
    issuer: AS,
    path: '/.well-known/oauth-authorization-server',
    document: {
      ...below(AS, {
        authorization_endpoint: '/oauth2/authorize',
        token_endpoint: '/oauth2/token',
        introspection_endpoint: '/oauth2/introspect',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/oauth2/jwks',
      }),
      ...CERTIFICATES,
      ...DPOP,
    },
    source: 'https://docs.spring.io/spring-authorization-server/reference/protocol-endpoints.html',
  },
  wso2: {
    issuer: `${AS}/oauth2/token`,
    path: '/oauth2/token/.well-known/openid-configuration',
    document: {
      ...below(`${AS}/oauth2`, {
        authorization_endpoint: '/authorize',
        token_endpoint: '/token',
        introspection_endpoint: '/introspect',
        userinfo_endpoint: '/userinfo',
        jwks_uri: '/jwks',
      }),
      ...CERTIFICATES,
    },
    source: 'https://is.docs.wso2.com/en/latest/guides/authentication/oidc/discover-oidc-configs/',
  },
};
