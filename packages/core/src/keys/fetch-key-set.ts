import { type Fetch, fetchJson, type FetchLimits } from '../discovery/fetch-json.ts';

/** Gets a JWK set (RFC 7517 §5): the members of `keys`, whatever they are. */
export async function fetchKeySet(uri: string, fetch: Fetch, limits: FetchLimits): Promise<readonly unknown[]> {
  const { keys } = await fetchJson(uri, fetch, limits);
  if (!Array.isArray(keys)) throw new Error(`${uri}: it is no JWK set: keys is not an array (RFC 7517 §5)`);
  return keys;
}
