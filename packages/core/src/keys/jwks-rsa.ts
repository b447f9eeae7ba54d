import { fetchKeySet as get } from './fetch-key-set.ts';

/**
 * Gets a JWK set with jwks-rsa, which only fetches here: its own caches and rate limit are off, since they do not remember
 * misses and then starve a new key. The transport is ours, for its request has neither a time limit for the whole nor a size limit.
 */
export const fetchKeySet: typeof get = async (uri, fetch, limits) => {
  const { JwksClient } = await import('jwks-rsa');
  const client = new JwksClient({
    jwksUri: uri,
    cache: false,
    rateLimit: false,
    fetcher: async (url) => ({ keys: [...(await get(url, fetch, limits))] }),
  });
  const keys: unknown = await client.getKeys();
  return Array.isArray(keys) ? keys : [];
};
