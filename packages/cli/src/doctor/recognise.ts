import type { ProviderName } from '@holdfast/core';

/** A guess which product an issuer runs, and what it was told by. */
export interface Recognised {
  readonly provider: ProviderName;
  readonly by: string;
}

interface Mark {
  readonly provider: ProviderName;
  /** Its own cloud, by the host of the issuer. */
  readonly host?: RegExp;
  /** How its endpoints are called: the path of each, below its origin. All of them must be so. */
  readonly paths?: Readonly<Record<string, RegExp>>;
}

/** What products call their hosts and endpoints unless somebody has changed it. The more particular come first. */
const MARKS: readonly Mark[] = [
  { provider: 'auth0', host: /\.auth0\.com$/ },
  { provider: 'okta', host: /\.(?:okta|oktapreview|okta-emea|okta-gov)\.com$/ },
  { provider: 'entra', host: /^(?:login\.microsoftonline\.(?:com|us)|sts\.windows\.net|.+\.ciamlogin\.com)$/ },
  { provider: 'cognito', host: /^cognito-idp\.[\w-]+\.amazonaws\.com$/ },
  { provider: 'ping', host: /(?:^|\.)pingone\.(?:com|eu|ca|asia|com\.au|sg)$|\.forgeblocks\.com$/ },
  { provider: 'keycloak', paths: { authorization_endpoint: /\/realms\/[^/]+\/protocol\/openid-connect\/auth$/ } },
  {
    provider: 'connect2id',
    paths: { token_endpoint: /\/token$/, jwks_uri: /\/jwks\.json$/, introspection_endpoint: /\/token\/introspect$/ },
  },
  // The server is written by its owner, around an API; these are the names in Authlete's documentation and in its open-source servers.
  {
    provider: 'authlete',
    paths: { authorization_endpoint: /\/api\/authorization$/, token_endpoint: /\/api\/token$/, jwks_uri: /\/api\/jwks$/ },
  },
  { provider: 'janssen', paths: { token_endpoint: /\/jans-auth\/restv1\/token$/ } },
  { provider: 'curity', paths: { token_endpoint: /\/oauth\/v2\/oauth-token$/ } },
  { provider: 'duende', paths: { token_endpoint: /\/connect\/token$/, jwks_uri: /\/\.well-known\/openid-configuration\/jwks$/ } },
  { provider: 'ping', paths: { token_endpoint: /\/as\/token\.oauth2$/ } },
  { provider: 'ping', paths: { token_endpoint: /\/oauth2\/(?:.+\/)?access_token$/, jwks_uri: /\/connect\/jwk_uri$/ } },
  {
    provider: 'wso2',
    paths: { token_endpoint: /\/oauth2\/token$/, jwks_uri: /\/oauth2\/jwks$/, userinfo_endpoint: /\/oauth2\/userinfo$/ },
  },
  { provider: 'spring', paths: { token_endpoint: /\/oauth2\/token$/, jwks_uri: /\/oauth2\/jwks$/, userinfo_endpoint: /\/userinfo$/ } },
  {
    provider: 'oidcProvider',
    paths: { authorization_endpoint: /\/auth$/, token_endpoint: /\/token$/, jwks_uri: /\/jwks$/, userinfo_endpoint: /\/me$/ },
  },
];

/** Guesses the product, by the issuer and, where there is some, its metadata. Nothing but the advice depends on it. */
export function recognise(issuer: string, metadata: Readonly<Record<string, unknown>> = {}): Recognised | undefined {
  const { hostname } = new URL(issuer);
  for (const { provider, host, paths } of MARKS) {
    if (host?.test(hostname) === true) return { provider, by: `the host ${hostname}` };
    if (paths === undefined) continue;
    const names = Object.keys(paths);
    if (names.every((name) => paths[name]?.test(pathOf(metadata[name])) === true)) return { provider, by: `its ${names.join(', ')}` };
  }
  return undefined;
}

function pathOf(url: unknown): string {
  return typeof url === 'string' && URL.canParse(url) ? new URL(url).pathname : '';
}
