import { type Fetch, FetchFailure, fetchJson, type FetchLimits } from './fetch-json.ts';

/** What Holdfast reads of an authorization server's metadata (RFC 8414 §2). It informs; no policy is weakened by it. */
export interface AuthorizationServerMetadata {
  readonly issuer: string;
  /** What was looked for, `jwks_uri` or `introspection_endpoint`. */
  readonly url: string;
  /** The same endpoints for clients that authenticate by mutual TLS (RFC 8705 §5). */
  readonly mtls_endpoint_aliases?: { readonly introspection_endpoint?: string };
  /** Resources that the server issues tokens for (RFC 9728 §4). */
  readonly protected_resources?: readonly string[];
}

/**
 * Where the metadata of an issuer can be, in the order in which it is looked for. Without a path the two well-known names of
 * RFC 8414 and OpenID Connect; with one also the form that OpenID Connect appends (RFC 8414 §3.1 and §5).
 */
function metadataUrls(issuer: string): string[] {
  const { origin, pathname, search } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  const inserted = ['oauth-authorization-server', 'openid-configuration'].map((name) => `${origin}/.well-known/${name}${path}${search}`);
  return path === '' ? inserted : [...inserted, `${origin}${path}/.well-known/openid-configuration`];
}

/** Whether a URL may carry metadata or keys: https, or http on the loopback interface, without a user. */
export function isSecureUrl(url: string): boolean {
  // What the parser would mend or drop: white space, backslashes, missing slashes.
  if (!/^https?:\/\/[^\s\\]+$/i.test(url) || !URL.canParse(url)) return false;
  const { protocol, hostname, username, password } = new URL(url);
  if (username !== '' || password !== '') return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname);
}

/** The metadata of an issuer could not be had. The message says where it was looked for, and what was wrong there. */
export class DiscoveryFailure extends Error {
  override readonly name = 'DiscoveryFailure';
}

/**
 * Finds the metadata of an issuer. A document whose `issuer` is not the one asked for, compared code point by code point, is
 * not used, and neither is one without a secure URL for what is needed (RFC 8414 §3.3).
 */
export async function discover(
  issuer: string,
  needed: 'jwks_uri' | 'introspection_endpoint',
  fetch: Fetch,
  limits: FetchLimits,
): Promise<AuthorizationServerMetadata> {
  const failures: string[] = [];
  for (const url of metadataUrls(issuer)) {
    try {
      return readMetadata(url, issuer, needed, await fetchJson(url, fetch, limits));
    } catch (error) {
      if (!(error instanceof FetchFailure)) throw error;
      failures.push(error.message);
      if (!error.answered) break;
    }
  }
  throw new DiscoveryFailure(`No usable metadata of the issuer ${issuer} was found. ${failures.join('. ')}.`);
}

function readMetadata(
  url: string,
  issuer: string,
  needed: 'jwks_uri' | 'introspection_endpoint',
  document: Record<string, unknown>,
): AuthorizationServerMetadata {
  const { protected_resources: resources, mtls_endpoint_aliases: aliases } = document;
  if (document['issuer'] !== issuer) {
    throw new FetchFailure(
      url,
      `its issuer is ${JSON.stringify(document['issuer'])}, which is not exactly ${JSON.stringify(issuer)}`,
      true,
    );
  }
  // What belongs to an issuer on https comes by https, also where it would come from the loopback interface.
  const secure = (value: unknown): value is string =>
    typeof value === 'string' && isSecureUrl(value) && (value.startsWith('https:') || issuer.startsWith('http:'));
  const found = document[needed];
  if (!secure(found)) throw new FetchFailure(url, `its ${needed} is not an https URL`, true);
  const isList = Array.isArray(resources) && resources.every((resource) => typeof resource === 'string');
  const alias =
    typeof aliases === 'object' && aliases !== null && 'introspection_endpoint' in aliases ? aliases.introspection_endpoint : undefined;
  // One that cannot be used is no reason to go where no certificate is asked for.
  if (needed === 'introspection_endpoint' && alias !== undefined && !secure(alias)) {
    throw new FetchFailure(url, 'its mtls_endpoint_aliases.introspection_endpoint is not an https URL', true);
  }
  return {
    issuer,
    url: found,
    ...(isList && { protected_resources: resources }),
    ...(secure(alias) && { mtls_endpoint_aliases: { introspection_endpoint: alias } }),
  };
}
