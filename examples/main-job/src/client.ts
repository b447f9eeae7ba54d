import type { ClientFetch } from '@holdfast/test-support/clients';
import * as oauth from 'oauth4webapi';

/** A client of the authorization server, and where it went. */
export interface Client {
  readonly metadata: oauth.AuthorizationServer;
  /** An access token by client credentials, for this resource and these scopes. */
  token(resource: string, scope: string): Promise<string>;
  /** Revokes a token: an endpoint that mtls_endpoint_aliases does not list. */
  revoke(token: string): Promise<void>;
  /** Every URL that was asked, in order. */
  readonly visited: readonly string[];
}

/**
 * Finds the authorization server by discovery and follows its mtls_endpoint_aliases (RFC 8705 §5). With a secret the client
 * authenticates by it; without, by the certificate that `fetch` presents.
 */
export async function createClient(issuer: string, clientId: string, fetch: ClientFetch, secret?: string): Promise<Client> {
  const visited: string[] = [];
  const options = {
    [oauth.customFetch]: (url: string, init: oauth.CustomFetchOptions<string, unknown>) => {
      visited.push(url);
      return fetch(url, init as RequestInit);
    },
  };
  const url = new URL(issuer);
  const metadata = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, options));
  const client = { client_id: clientId, use_mtls_endpoint_aliases: true };
  const authentication = secret === undefined ? oauth.TlsClientAuth() : oauth.ClientSecretBasic(secret);
  return {
    metadata,
    visited,
    async token(resource, scope) {
      const response = await oauth.clientCredentialsGrantRequest(metadata, client, authentication, { resource, scope }, options);
      const { access_token: token } = await oauth.processClientCredentialsResponse(metadata, client, response);
      return token;
    },
    async revoke(token) {
      await oauth.processRevocationResponse(await oauth.revocationRequest(metadata, client, authentication, token, options));
    },
  };
}
