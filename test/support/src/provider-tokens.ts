/** A JWT as a provider writes it, without `iss`, `iat` and `exp`; `aud` is there where the provider sets it to the API or the client. */
export interface ProviderJwt {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** One kind of access token that a provider issues, for {@link API}. A member of `cnf` is {@link CERTIFICATE} or {@link KEY}. */
export interface ProviderAccessToken extends ProviderJwt {
  /** When the provider issues it. */
  readonly variant: string;
  /** Its issuer, where its form matters. */
  readonly issuer?: string;
  /** Its scopes. */
  readonly scopes: readonly string[];
  readonly clientId: string | undefined;
}

/** What a provider issues: access tokens, and an ID token for {@link CLIENT}. */
export interface ProviderTokens {
  /** The first is the usual one. */
  readonly access: readonly [ProviderAccessToken, ...ProviderAccessToken[]];
  readonly id: ProviderJwt;
  /** What the API has to be told besides the name of the provider. */
  readonly clientIds?: readonly string[];
  /** Where the shape is written. Identifiers are changed. */
  readonly source: string;
}

/** What a server says to an API that asks about tokens (RFC 7662), without `iss`, `iat` and `exp`. */
export interface ProviderAnswers {
  /** The preset, where there is one. */
  readonly provider?: string;
  /** About an access token. A binding is added as the member `cnf`. */
  readonly access: Readonly<Record<string, unknown>>;
  /** About a refresh token. */
  readonly refresh: Readonly<Record<string, unknown>>;
  /** Where it names no resource: the clients that the API has to be told. */
  readonly clientIds?: readonly string[];
  readonly scopes: readonly string[];
  readonly source: string;
}

/** The identifier of the API. */
export const API = 'https://rs.example.com';
/** The client that tokens are issued to. */
export const CLIENT = 'client-7';
/** Stands for the thumbprints of its certificate and of its DPoP key. */
export const CERTIFICATE: string = 'C'.repeat(43);
export const KEY: string = 'K'.repeat(43);

const BY_CERTIFICATE = { cnf: { 'x5t#S256': CERTIFICATE } };
const BY_KEY = { cnf: { jkt: KEY } };

/** Members that an ID token has with every provider (OpenID Connect Core §2). */
const ID = { sub: 'user-1', aud: CLIENT, auth_time: 1_799_999_000, nonce: 'n-0S6_WzA2Mj' };
const PLAIN = { header: { typ: 'JWT' }, claims: { ...ID, at_hash: 'MTIzNDU2Nzg5MDEyMzQ1Ng' } };
const RFC9068 = { sub: 'user-1', aud: API, client_id: CLIENT, scope: 'read write', jti: 'a-1' };

/** The same token in another variant. */
const but = (
  token: ProviderAccessToken,
  variant: string,
  claims: object,
  more: Partial<ProviderAccessToken> = {},
): ProviderAccessToken => ({ ...token, variant, ...more, claims: { ...token.claims, ...claims } });

/** A token, and the same bound to a certificate, and to a DPoP key. */
const withBoundOnes = (token: ProviderAccessToken): [ProviderAccessToken, ProviderAccessToken, ProviderAccessToken] => [
  token,
  but(token, 'bound to a certificate', BY_CERTIFICATE),
  but(token, 'bound to a DPoP key', BY_KEY),
];

const usual = (header: ProviderJwt['header'], claims: ProviderJwt['claims'], scopes: readonly string[]): ProviderAccessToken => ({
  variant: 'as usual',
  header,
  claims,
  scopes,
  clientId: CLIENT,
});

const AUTH0 = usual(
  { typ: 'JWT' },
  {
    sub: 'auth0|1',
    aud: [API, 'https://tenant.eu.auth0.com/userinfo'],
    azp: CLIENT,
    scope: 'openid read',
    permissions: ['read:all'],
  },
  ['openid', 'read'],
);
const COGNITO = usual(
  { typ: undefined },
  {
    sub: 'aaaaaaaa-bbbb',
    'cognito:groups': ['staff'],
    version: 2,
    client_id: CLIENT,
    origin_jti: 'o-1',
    token_use: 'access',
    scope: 'aws.cognito.signin.user.admin read',
    auth_time: 1_799_999_000,
    jti: 'a-1',
    username: 'j',
  },
  ['aws.cognito.signin.user.admin', 'read'],
);
// The client stands in none of its claims.
const CURITY = {
  ...usual(
    { typ: 'JWT' },
    { jti: 'a-1', delegationId: 'd-1', nbf: 1_799_999_990, scope: 'openid read', sub: 'j', aud: API, purpose: 'access_token' },
    ['openid', 'read'],
  ),
  clientId: undefined,
};
const ENTRA = usual(
  { typ: 'JWT' },
  {
    aud: API,
    aio: 'AWQAm/8XAAAA',
    azp: CLIENT,
    azpacr: '1',
    name: 'J',
    oid: 'o-1',
    preferred_username: 'j@example.com',
    rh: '0.ATAA',
    roles: ['Reader'],
    scp: 'read write',
    sub: 'MiVyAiU0',
    tid: 't-1',
    uti: 'u-1',
    ver: '2.0',
  },
  ['read', 'write'],
);
const JANSSEN = usual(
  { typ: 'jwt' },
  {
    sub: 'user-1',
    code: 'c-1',
    aud: API,
    client_id: CLIENT,
    username: 'J',
    token_type: 'Bearer',
    acr: 'basic',
    scope: ['openid', 'read'],
    jti: 'a-1',
  },
  ['openid', 'read'],
);
const KEYCLOAK = usual(
  { typ: 'JWT' },
  {
    jti: 'onrtac:1',
    aud: [API, 'account'],
    sub: 'f:1',
    typ: 'Bearer',
    azp: CLIENT,
    sid: 's-1',
    acr: '1',
    'allowed-origins': ['https://app.example.com'],
    realm_access: { roles: ['user'] },
    resource_access: { account: { roles: ['view-profile'] } },
    scope: 'email read',
  },
  ['email', 'read'],
);
const OKTA = usual(
  { typ: undefined },
  {
    ver: 1,
    jti: 'AT.1',
    aud: API,
    cid: CLIENT,
    uid: '00u1',
    scp: ['openid', 'read'],
    auth_time: 1_799_999_000,
    sub: 'j@example.com',
  },
  ['openid', 'read'],
);
const PING = usual(
  { typ: 'JWT' },
  {
    sub: '(usr!1)',
    cts: 'OAUTH2_STATELESS_GRANT',
    auditTrackingId: 'u-1',
    subname: '1',
    tokenName: 'access_token',
    token_type: 'Bearer',
    authGrantId: 'g-1',
    aud: API,
    grant_type: 'authorization_code',
    scope: ['openid', 'read'],
    realm: '/',
    expires_in: 300,
    jti: 'a-1',
    client_id: CLIENT,
  },
  ['openid', 'read'],
);
const SPRING = {
  ...usual({ typ: undefined }, { sub: 'j', aud: API, nbf: 1_799_999_990, scope: ['openid', 'read'], jti: 'a-1' }, ['openid', 'read']),
  clientId: undefined,
};
const WSO2 = usual(
  { typ: 'at+jwt', x5t: 'eA' },
  { ...RFC9068, aut: 'APPLICATION_USER', nbf: 1_799_999_990, azp: CLIENT, binding_type: 'certificate' },
  ['read', 'write'],
);
const STANDARD = usual({ typ: 'at+jwt' }, RFC9068, ['read', 'write']);
const DUENDE = but(STANDARD, 'as usual', { scope: ['read', 'write'], amr: ['pwd'], idp: 'local' });
const CONNECT2ID = usual({ typ: 'at+jwt' }, { sub: 'user-1', aud: API, cid: CLIENT, scp: ['read', 'write'], jti: 'a-1' }, [
  'read',
  'write',
]);

export const PROVIDER_TOKENS: Readonly<Record<string, ProviderTokens>> = {
  auth0: {
    access: [
      ...withBoundOnes(AUTH0),
      but(AUTH0, 'with the profile RFC 9068', { azp: undefined, client_id: CLIENT, jti: 'a-1' }, { header: { typ: 'at+jwt' } }),
      but(AUTH0, 'of an issuer with a final slash', {}, { issuer: 'https://tenant.eu.auth0.com/' }),
      but(
        AUTH0,
        'for client credentials',
        { sub: `${CLIENT}@clients`, aud: API, gty: 'client-credentials', scope: undefined, permissions: undefined },
        { scopes: [] },
      ),
    ],
    id: { header: { typ: 'JWT' }, claims: { ...ID, nickname: 'j', name: 'J', sid: 's-1' } },
    source: 'https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles',
  },
  authlete: {
    access: withBoundOnes(STANDARD),
    id: PLAIN,
    source: 'https://www.authlete.com/developers/definitive_guide/access_token/',
  },
  cognito: {
    access: [
      COGNITO,
      but(COGNITO, 'for client credentials', { sub: CLIENT, username: undefined, scope: 'api/read' }, { scopes: ['api/read'] }),
      but(COGNITO, 'for a resource that was asked for', { aud: API }),
    ],
    id: {
      header: { typ: undefined },
      claims: { ...ID, 'cognito:username': 'j', token_use: 'id', origin_jti: 'o-1', jti: 'i-1', at_hash: 'x', email: 'j@example.com' },
    },
    clientIds: [CLIENT],
    source: 'https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html',
  },
  connect2id: {
    access: [
      ...withBoundOnes(CONNECT2ID),
      but(CONNECT2ID, 'as RFC 9068 has it', { cid: undefined, scp: undefined, client_id: CLIENT, scope: 'read write' }),
    ],
    id: PLAIN,
    source: 'https://connect2id.com/products/server/docs/datasheet#access-tokens',
  },
  curity: {
    access: [
      ...withBoundOnes(CURITY),
      but(CURITY, 'as RFC 9068 has it', { purpose: undefined, client_id: CLIENT }, { header: { typ: 'at+jwt' }, clientId: CLIENT }),
    ],
    id: {
      header: { typ: 'JWT' },
      claims: { ...ID, purpose: 'id', azp: CLIENT, acr: 'a', delegation_id: 'd-1', s_hash: 'x', at_hash: 'x' },
    },
    source: 'https://curity.io/resources/learn/oauth-tokens-overview/',
  },
  duende: {
    access: [...withBoundOnes(DUENDE), but(DUENDE, 'with scopes in one string', { scope: 'read write' })],
    id: PLAIN,
    source: 'https://docs.duendesoftware.com/identityserver/apis/aspnetcore/jwt/',
  },
  entra: {
    access: [
      ENTRA,
      but(
        ENTRA,
        'of version 1',
        { azp: undefined, azpacr: undefined, appid: CLIENT, appidacr: '1', ver: '1.0' },
        { issuer: 'https://sts.windows.net/00000000-0000-0000-0000-000000000000/' },
      ),
      but(ENTRA, 'for an application, without a user', { scp: undefined, azpacr: '2', idtyp: 'app' }, { scopes: [] }),
    ],
    id: {
      header: { typ: 'JWT' },
      claims: {
        ...ID,
        name: 'J',
        oid: 'o-1',
        preferred_username: 'j@example.com',
        rh: '0.ATAA',
        roles: ['Reader'],
        tid: 't-1',
        uti: 'u-2',
        ver: '2.0',
      },
    },
    source: 'https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference',
  },
  janssen: {
    access: [
      JANSSEN,
      but(JANSSEN, 'bound to a certificate, in a claim of its own', { 'x5t#S256': CERTIFICATE }),
      but(JANSSEN, 'bound to a certificate, in both places', { 'x5t#S256': CERTIFICATE, ...BY_CERTIFICATE }),
      but(JANSSEN, 'bound to a DPoP key', { token_type: 'DPoP', ...BY_KEY }),
      but(JANSSEN, 'with scopes in one string', { scope: 'openid read' }),
    ],
    id: { header: { typ: 'jwt' }, claims: { ...ID, acr: 'basic', amr: ['10'], grant: 'authorization_code', jti: 'i-1', sid: 's-1' } },
    source: 'https://docs.jans.io/stable/janssen-server/auth-server/tokens/oauth-access-tokens/',
  },
  keycloak: {
    access: [
      KEYCLOAK,
      but(KEYCLOAK, 'bound to a certificate', { cnf: { 'x5t#S256': CERTIFICATE, 'kc-jkt-type': 'x' } }),
      but(KEYCLOAK, 'bound to a DPoP key', { typ: 'DPoP', ...BY_KEY }),
      but(KEYCLOAK, 'with an empty scope', { scope: '' }, { scopes: [] }),
      but(KEYCLOAK, 'with the type of RFC 9068', {}, { header: { typ: 'at+jwt' } }),
    ],
    id: {
      header: { typ: 'JWT' },
      claims: {
        ...ID,
        jti: 'i-1',
        typ: 'ID',
        azp: CLIENT,
        sid: 's-1',
        at_hash: 'x',
        acr: '1',
        realm_access: { roles: ['user'] },
        scope: 'read',
      },
    },
    source: 'https://www.keycloak.org/docs/latest/securing_apps/',
  },
  oidcProvider: {
    access: withBoundOnes(STANDARD),
    id: { header: { typ: undefined }, claims: { ...ID, at_hash: 'x' } },
    source: 'https://github.com/panva/node-oidc-provider/blob/main/docs/README.md',
  },
  okta: {
    access: [
      OKTA,
      but(OKTA, 'with a type of its own', {}, { header: { typ: 'application/okta-internal-at+jwt' } }),
      but(OKTA, 'for client credentials', { uid: undefined, auth_time: undefined, sub: CLIENT, scp: ['read'] }, { scopes: ['read'] }),
      but(OKTA, 'bound to a DPoP key', BY_KEY),
    ],
    id: { header: { typ: undefined }, claims: { ...ID, ver: 1, jti: 'ID.1', amr: ['pwd'], idp: '00o1', at_hash: 'x', name: 'J' } },
    source: 'https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/',
  },
  ping: {
    access: [
      ...withBoundOnes(PING),
      but(PING, 'of an issuer with an explicit port', {}, { issuer: 'https://am.example.com:443/am/oauth2/realms/root/realms/alpha' }),
      {
        variant: 'of PingOne',
        header: { typ: undefined },
        claims: { client_id: CLIENT, aud: [API], scope: 'read', sub: 'user-1', env: 'e-1', org: 'o-1' },
        scopes: ['read'],
        clientId: CLIENT,
      },
      {
        variant: 'of PingFederate',
        header: { typ: undefined },
        claims: { client_id: CLIENT, aud: API, scope: ['read'] },
        scopes: ['read'],
        clientId: CLIENT,
      },
    ],
    id: {
      header: { typ: 'JWT' },
      claims: {
        ...ID,
        at_hash: 'x',
        auditTrackingId: 'u-2',
        subname: '1',
        tokenName: 'id_token',
        tokenType: 'JWTToken',
        realm: '/',
        azp: CLIENT,
        s_hash: 'x',
      },
    },
    source: 'https://docs.pingidentity.com/pingoneaic/latest/am-oauth2/oauth2-introspect-endpoint.html',
  },
  spring: {
    access: [...withBoundOnes(SPRING), but(SPRING, 'for client credentials', { sub: CLIENT, scope: ['read'] }, { scopes: ['read'] })],
    id: { header: { typ: undefined }, claims: { ...ID, azp: CLIENT, sid: 's-1', jti: 'i-1' } },
    source: 'https://docs.spring.io/spring-authorization-server/reference/core-model-components.html',
  },
  wso2: {
    access: withBoundOnes(WSO2),
    id: { header: { typ: 'JWT' }, claims: { ...ID, isk: 'x', at_hash: 'x', azp: CLIENT, amr: ['BasicAuthenticator'] } },
    source: 'https://is.docs.wso2.com/en/latest/references/concepts/authorization/access-token/',
  },
};

/** What a server says of a refresh token at the least; taken also where its documentation does not tell. */
const UNSAID = { active: true, sub: 'user-1', client_id: CLIENT, scope: 'read' };

/**
 * What servers say of opaque tokens. Of some refresh tokens they say what they are, of others only less than of access tokens: neither
 * `token_type` nor `aud`.
 */
export const PROVIDER_ANSWERS: Readonly<Record<string, ProviderAnswers>> = {
  // It has no endpoint of its own: proxies answer with the attributes of the token, which calls itself BearerToken.
  apigee: {
    access: { active: true, client_id: CLIENT, scope: 'read', token_type: 'BearerToken' },
    refresh: UNSAID,
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://cloud.google.com/apigee/docs/api-platform/reference/policies/oauthv2-policy',
  },
  authlete: {
    provider: 'authlete',
    access: { ...UNSAID, aud: [API], token_type: 'Bearer' },
    refresh: UNSAID,
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://kb.authlete.com/en/s/oauth-and-openid-connect/a/use-cases-for-two-introspection-apis',
  },
  // The endpoint knows access tokens alone.
  connect2id: {
    provider: 'connect2id',
    access: { ...UNSAID, token_type: 'Bearer' },
    refresh: { active: false },
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://connect2id.com/products/server/docs/api/token-introspection',
  },
  curity: {
    provider: 'curity',
    access: { ...UNSAID, aud: API, purpose: 'access_token', token_type: 'bearer', nbf: 1_799_999_990, delegationId: 'd-1' },
    refresh: { ...UNSAID, aud: API, purpose: 'refresh_token', delegationId: 'd-1' },
    scopes: ['read'],
    source: 'https://curity.io/resources/learn/introspect-with-phantom-token/',
  },
  // An API is told of access tokens alone; a client, also of its own refresh tokens.
  duende: {
    provider: 'duende',
    access: { active: true, client_id: CLIENT, scope: 'read', jti: 'A1', nbf: 1_799_999_990, token_type: 'access_token' },
    refresh: { active: true, client_id: CLIENT, scope: 'read', token_type: 'refresh_token' },
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://docs.duendesoftware.com/identityserver/reference/endpoints/introspection',
  },
  hydra: {
    access: { ...UNSAID, aud: [API], nbf: 1_799_999_990, token_type: 'Bearer', token_use: 'access_token', ext: {} },
    refresh: { ...UNSAID, aud: [API], nbf: 1_799_999_990, token_use: 'refresh_token', ext: {} },
    scopes: ['read'],
    source: 'https://www.ory.com/docs/hydra/reference/api#tag/oAuth2/operation/introspectOAuth2Token',
  },
  'hydra 1': {
    access: { ...UNSAID, aud: [API], token_type: 'access_token' },
    refresh: { ...UNSAID, aud: [API], token_type: 'refresh_token' },
    scopes: ['read'],
    source: 'https://github.com/ory/hydra/blob/v1.0.0/oauth2/introspector.go',
  },
  // It looks for access tokens alone, and writes null for what it does not know.
  janssen: {
    provider: 'janssen',
    access: {
      sub: 'user-1',
      active: true,
      token_type: 'Bearer',
      client_id: CLIENT,
      aud: API,
      nbf: null,
      scope: 'read',
      acr_values: null,
      jti: null,
      username: null,
    },
    refresh: { active: false },
    scopes: ['read'],
    source: 'https://docs.jans.io/stable/janssen-server/auth-server/endpoints/introspection/',
  },
  keycloak: {
    provider: 'keycloak',
    access: { ...UNSAID, aud: [API, 'account'], azp: CLIENT, typ: 'Bearer', token_type: 'Bearer', username: 'j', jti: 'a-1' },
    refresh: { ...UNSAID, aud: 'https://idp.example.com/realms/r', azp: CLIENT, typ: 'Refresh', jti: 'r-1' },
    scopes: ['read'],
    source: 'https://www.keycloak.org/docs/latest/securing_apps/#token-introspection-endpoint',
  },
  oidcProvider: {
    provider: 'oidcProvider',
    access: { ...UNSAID, aud: API, token_type: 'Bearer' },
    refresh: UNSAID,
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://github.com/panva/node-oidc-provider/blob/main/lib/actions/introspection.js',
  },
  ping: {
    provider: 'ping',
    access: {
      active: true,
      scope: 'read',
      realm: '/alpha',
      client_id: CLIENT,
      user_id: 'user-1',
      username: 'user-1',
      token_type: 'Bearer',
      sub: '(usr!user-1)',
      subname: 'user-1',
      auth_level: 0,
      authGrantId: 'g-1',
      auditTrackingId: 'u-1',
    },
    refresh: UNSAID,
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://docs.pingidentity.com/pingam/8/am-oauth2/oauth2-introspect-endpoint.html',
  },
  // Of a valid refresh token it says nothing else than that it is active.
  'ping (PingFederate)': {
    provider: 'ping',
    access: { active: true, client_id: CLIENT, scope: 'read', token_type: 'Bearer' },
    refresh: { active: true, exp: undefined },
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://docs.pingidentity.com/pingfederate/latest/developers_reference_guide/pf_introspec_endpoint.html',
  },
  spring: {
    provider: 'spring',
    access: { ...UNSAID, aud: [API], nbf: 1_799_999_990, token_type: 'Bearer', jti: 'a-1' },
    refresh: { active: true, client_id: CLIENT },
    clientIds: [CLIENT],
    scopes: ['read'],
    source: 'https://docs.spring.io/spring-authorization-server/reference/protocol-endpoints.html#oauth2-token-introspection-endpoint',
  },
};
