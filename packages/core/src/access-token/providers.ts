import { deepFreeze } from './authenticated-token.ts';
import { STANDARD, type TokenShape } from './shape.ts';

/** What Holdfast knows of a provider: the shape of its tokens, where that is written, and what to set up there. */
export interface Provider extends TokenShape {
  /** Public documentation. */
  readonly source: string;
  readonly note?: string;
}

/** The name of a provider whose tokens are known. */
export type ProviderName =
  | 'auth0'
  | 'authlete'
  | 'cognito'
  | 'connect2id'
  | 'curity'
  | 'duende'
  | 'entra'
  | 'janssen'
  | 'keycloak'
  | 'oidcProvider'
  | 'okta'
  | 'ping'
  | 'spring'
  | 'wso2';

/**
 * How the access tokens of providers differ from RFC 9068. Where `typ` does not tell them from ID tokens, `signs` does: claims that
 * the ID tokens of that provider lack, and that its administrators cannot add to them by the usual means.
 */
export const PROVIDERS: Readonly<Record<ProviderName, Provider>> = deepFreeze({
  auth0: {
    ...STANDARD,
    types: ['at+jwt', 'jwt'],
    signs: [[{ claim: 'scope' }, { claim: 'permissions' }, { claim: 'gty' }]],
    scope: ['scope'],
    client: ['azp', 'client_id'],
    source: 'https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles',
    note: 'The issuer ends with a slash. aud also names /userinfo where openid was asked for. The profile RFC 9068 writes client_id beside azp.',
  },
  authlete: {
    ...STANDARD,
    source: 'https://www.authlete.com/developers/definitive_guide/access_token/',
    note: 'Tokens are opaque unless the service has an access token signature algorithm: use introspection.',
  },
  cognito: {
    ...STANDARD,
    types: ['', 'jwt'],
    signs: [[{ claim: 'token_use', values: ['access'] }]],
    audience: 'client',
    scope: ['scope'],
    claims: ['client_id', 'sub'],
    source: 'https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html',
    note: 'There is no aud, unless a resource was bound: list the app clients in clientIds. ID tokens have token_use id.',
  },
  connect2id: {
    ...STANDARD,
    client: ['client_id', 'cid'],
    source: 'https://connect2id.com/products/server/docs/datasheet#access-tokens',
    note: 'Tokens are JWT or identifiers, as the client is registered: identifiers need introspection.',
  },
  curity: {
    ...STANDARD,
    types: ['at+jwt', 'jwt', ''],
    signs: [[{ claim: 'purpose', values: ['access_token'] }]],
    scope: ['scope'],
    source: 'https://curity.io/resources/learn/oauth-tokens-overview/',
    note: 'Tokens are opaque by default: use introspection, or the phantom token approach. ID tokens have purpose id.',
  },
  duende: {
    ...STANDARD,
    scope: ['scope'],
    source: 'https://docs.duendesoftware.com/identityserver/apis/aspnetcore/jwt/',
    note: 'scope is a list, unless EmitScopesAsSpaceDelimitedStringInJwt is on. Reference tokens need introspection, whose answer has the cnf.',
  },
  entra: {
    ...STANDARD,
    types: ['jwt', 'at+jwt'],
    signs: [
      [{ claim: 'azpacr' }, { claim: 'appidacr' }],
      [{ claim: 'scp' }, { claim: 'roles' }],
    ],
    scope: ['scp'],
    client: ['azp', 'appid', 'client_id'],
    claims: ['tid'],
    source: 'https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference',
    note: 'Version 1 tokens have another issuer (https://sts.windows.net/…/) and appid in place of azp. The scheme MTLS_POP is not offered.',
  },
  janssen: {
    ...STANDARD,
    types: ['jwt', 'at+jwt', ''],
    signs: [[{ claim: 'token_type', values: ['Bearer', 'bearer', 'DPoP'] }], [{ claim: 'client_id' }], [{ claim: 'scope' }]],
    topLevel: ['x5t#S256'],
    scope: ['scope'],
    source: 'https://docs.jans.io/stable/janssen-server/auth-server/tokens/oauth-access-tokens/',
    note: 'The thumbprint of the certificate is a claim of its own, outside of cnf.',
  },
  keycloak: {
    ...STANDARD,
    types: ['at+jwt', 'jwt'],
    signs: [[{ claim: 'typ', values: ['Bearer', 'DPoP'] }]],
    // Older versions write nonce into access tokens too; the claim typ tells them apart.
    never: ['at_hash', 'c_hash'],
    scope: ['scope'],
    client: ['azp', 'client_id'],
    source: 'https://www.keycloak.org/docs/latest/securing_apps/#token-introspection-endpoint',
    note: 'Add an audience mapper: otherwise aud is account. ID tokens have the claim typ ID.',
  },
  oidcProvider: {
    ...STANDARD,
    scope: ['scope'],
    source: 'https://github.com/panva/node-oidc-provider/blob/main/docs/README.md#featuresresourceindicators',
    note: 'Tokens are opaque unless getResourceServerInfo says accessTokenFormat jwt.',
  },
  okta: {
    ...STANDARD,
    types: ['at+jwt', 'okta-internal-at+jwt', 'jwt', ''],
    signs: [[{ claim: 'cid' }], [{ claim: 'scp' }]],
    scope: ['scp'],
    client: ['cid', 'client_id'],
    source: 'https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/',
    note: 'Use a custom authorization server: tokens of the org server are for Okta alone.',
  },
  ping: {
    ...STANDARD,
    types: ['at+jwt', 'jwt', ''],
    signs: [[{ claim: 'client_id' }, { claim: 'tokenName', values: ['access_token'] }], [{ claim: 'scope' }]],
    scope: ['scope'],
    source: 'https://docs.pingidentity.com/pingoneaic/latest/am-oauth2/oauth2-introspect-endpoint.html',
    note: 'PingOne, PingFederate and PingAM (ForgeRock). An issuer with :443 is compared with it. scope may be a list.',
  },
  spring: {
    ...STANDARD,
    types: ['at+jwt', 'jwt', ''],
    signs: [[{ claim: 'scope' }]],
    never: [...STANDARD.never, 'azp', 'auth_time', 'sid'],
    scope: ['scope'],
    source: 'https://docs.spring.io/spring-authorization-server/reference/core-model-components.html#oauth2-token-customizer',
    note: 'aud is the client, in access tokens as in ID tokens, unless an OAuth2TokenCustomizer sets the API. scope is a list; a token without scope is refused.',
  },
  wso2: {
    ...STANDARD,
    scope: ['scope'],
    source: 'https://is.docs.wso2.com/en/latest/references/concepts/authorization/access-token/',
    note: 'A thumbprint in hexadecimal, as older documentation has it, is refused (cnf.hex_thumbprint): RFC 8705 §3.1 wants base64url.',
  },
});
