import { type Fetch, fetchJson, type FetchLimits } from '../discovery/fetch-json.ts';

/**
 * Gets a JWK set with jwks-rsa, which only fetches here: its own caches and rate limit are off, since they do not remember
 * misses and then starve a new key. The transport is ours, for its request has neither a time limit for the whole nor a size limit.
 */
export async function fetchKeySet(uri: string, fetch: Fetch, limits: FetchLimits): Promise<readonly unknown[]> {
  const { JwksClient } = await import('jwks-rsa');
  const client = new JwksClient({
    jwksUri: uri,
    cache: false,
    rateLimit: false,
    fetcher: async (url) => {
      const { keys } = await fetchJson(url, fetch, limits);
      if (!Array.isArray(keys)) throw new Error(`${url}: it is no JWK set: keys is not an array (RFC 7517 §5)`);
      return { keys };
    },
  });
  const keys: unknown = await client.getKeys();
  return Array.isArray(keys) ? keys : [];
}
