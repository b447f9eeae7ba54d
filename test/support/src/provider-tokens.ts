/** A JWT as a provider writes it, without `iss`, `iat` and `exp`; `aud` is there where the provider sets it to the API or the client. */
export interface ProviderJwt {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** What a provider issues: an access token for {@link API}, and an ID token for {@link CLIENT}. */
export interface ProviderTokens {
  readonly access: ProviderJwt;
  readonly id: ProviderJwt;
  /** What the API has to be told besides the name of the provider. */
  readonly clientIds?: readonly string[];
  /** The scopes of the access token. */
  readonly scopes: readonly string[];
  readonly clientId: string | undefined;
  /** Where the shape is written. Identifiers are changed. */
  readonly source: string;
}

/** The identifier of the API. */
export const API = 'https://rs.example.com';
/** The client that tokens are issued to. */
export const CLIENT = 'client-7';

/** Members that an ID token has with every provider (OpenID Connect Core §2). */
const ID = { sub: 'user-1', aud: CLIENT, auth_time: 1_799_999_000, nonce: 'n-0S6_WzA2Mj' };
const PLAIN = { header: { typ: 'JWT' }, claims: { ...ID, at_hash: 'MTIzNDU2Nzg5MDEyMzQ1Ng' } };
const RFC9068 = { sub: 'user-1', aud: API, client_id: CLIENT, scope: 'read write', jti: 'a-1' };

export const PROVIDER_TOKENS: Readonly<Record<string, ProviderTokens>> = {
  auth0: {
    access: {
      header: { typ: 'JWT' },
      claims: {
        sub: 'auth0|1',
        aud: [API, 'https://tenant.eu.auth0.com/userinfo'],
        azp: CLIENT,
        scope: 'openid read',
        permissions: ['read:all'],
      },
    },
    id: { header: { typ: 'JWT' }, claims: { ...ID, nickname: 'j', name: 'J', sid: 's-1' } },
    scopes: ['openid', 'read'],
    clientId: CLIENT,
    source: 'https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles',
  },
  authlete: {
    access: { header: { typ: 'at+jwt' }, claims: RFC9068 },
    id: PLAIN,
    scopes: ['read', 'write'],
    clientId: CLIENT,
    source: 'https://www.authlete.com/developers/definitive_guide/access_token/',
  },
  cognito: {
    access: {
      header: { typ: undefined },
      claims: {
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
    },
    id: {
      header: { typ: undefined },
      claims: { ...ID, 'cognito:username': 'j', token_use: 'id', origin_jti: 'o-1', jti: 'i-1', at_hash: 'x', email: 'j@example.com' },
    },
    clientIds: [CLIENT],
    scopes: ['aws.cognito.signin.user.admin', 'read'],
    clientId: CLIENT,
    source: 'https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html',
  },
  connect2id: {
    access: { header: { typ: 'at+jwt' }, claims: { ...RFC9068, scope: undefined, scp: ['read', 'write'] } },
    id: PLAIN,
    scopes: ['read', 'write'],
    clientId: CLIENT,
    source: 'https://connect2id.com/products/server/docs/datasheet#access-tokens',
  },
  curity: {
    access: {
      header: { typ: 'JWT' },
      claims: { jti: 'a-1', delegationId: 'd-1', nbf: 1_799_999_990, scope: 'openid read', sub: 'j', aud: API, purpose: 'access_token' },
    },
    id: {
      header: { typ: 'JWT' },
      claims: { ...ID, purpose: 'id', azp: CLIENT, acr: 'a', delegation_id: 'd-1', s_hash: 'x', at_hash: 'x' },
    },
    scopes: ['openid', 'read'],
    clientId: undefined,
    source: 'https://curity.io/resources/learn/oauth-tokens-overview/',
  },
  duende: {
    access: { header: { typ: 'at+jwt' }, claims: { ...RFC9068, scope: ['read', 'write'], amr: ['pwd'], idp: 'local' } },
    id: PLAIN,
    scopes: ['read', 'write'],
    clientId: CLIENT,
    source: 'https://docs.duendesoftware.com/identityserver/apis/aspnetcore/jwt/',
  },
  entra: {
    access: {
      header: { typ: 'JWT' },
      claims: {
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
    },
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
    scopes: ['read', 'write'],
    clientId: CLIENT,
    source: 'https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference',
  },
  janssen: {
    access: {
      header: { typ: 'jwt' },
      claims: {
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
    },
    id: { header: { typ: 'jwt' }, claims: { ...ID, acr: 'basic', amr: ['10'], grant: 'authorization_code', jti: 'i-1', sid: 's-1' } },
    scopes: ['openid', 'read'],
    clientId: CLIENT,
    source: 'https://docs.jans.io/stable/janssen-server/auth-server/tokens/oauth-access-tokens/',
  },
  keycloak: {
    access: {
      header: { typ: 'JWT' },
      claims: {
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
    },
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
    scopes: ['email', 'read'],
    clientId: CLIENT,
    source: 'https://www.keycloak.org/docs/latest/securing_apps/',
  },
  oidcProvider: {
    access: { header: { typ: 'at+jwt' }, claims: RFC9068 },
    id: { header: { typ: undefined }, claims: { ...ID, at_hash: 'x' } },
    scopes: ['read', 'write'],
    clientId: CLIENT,
    source: 'https://github.com/panva/node-oidc-provider/blob/main/docs/README.md',
  },
  okta: {
    access: {
      header: { typ: undefined },
      claims: {
        ver: 1,
        jti: 'AT.1',
        aud: API,
        cid: CLIENT,
        uid: '00u1',
        scp: ['openid', 'read'],
        auth_time: 1_799_999_000,
        sub: 'j@example.com',
      },
    },
    id: { header: { typ: undefined }, claims: { ...ID, ver: 1, jti: 'ID.1', amr: ['pwd'], idp: '00o1', at_hash: 'x', name: 'J' } },
    scopes: ['openid', 'read'],
    clientId: CLIENT,
    source: 'https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/',
  },
  ping: {
    access: {
      header: { typ: 'JWT' },
      claims: {
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
    },
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
    scopes: ['openid', 'read'],
    clientId: CLIENT,
    source: 'https://docs.pingidentity.com/pingoneaic/latest/am-oauth2/oauth2-introspect-endpoint.html',
  },
  spring: {
    access: { header: { typ: undefined }, claims: { sub: 'j', aud: API, nbf: 1_799_999_990, scope: ['openid', 'read'], jti: 'a-1' } },
    id: { header: { typ: undefined }, claims: { ...ID, azp: CLIENT, sid: 's-1', jti: 'i-1' } },
    scopes: ['openid', 'read'],
    clientId: undefined,
    source: 'https://docs.spring.io/spring-authorization-server/reference/core-model-components.html',
  },
  wso2: {
    access: {
      header: { typ: 'at+jwt', x5t: 'eA' },
      claims: { ...RFC9068, aut: 'APPLICATION_USER', nbf: 1_799_999_990, azp: CLIENT, binding_type: 'certificate' },
    },
    id: { header: { typ: 'JWT' }, claims: { ...ID, isk: 'x', at_hash: 'x', azp: CLIENT, amr: ['BasicAuthenticator'] } },
    scopes: ['read', 'write'],
    clientId: CLIENT,
    source: 'https://is.docs.wso2.com/en/latest/references/concepts/authorization/access-token/',
  },
};
