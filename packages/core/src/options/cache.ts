import type { CacheLimits } from '../access-token/cache.ts';
import type { Check } from '../check.ts';

const CACHE: CacheLimits = { entries: 10_000, bytes: 32 * 1024 * 1024, maxAge: 600 };

/** How much is remembered of tokens that passed, and for how long. */
export function readCacheLimits(check: Check, value: unknown): CacheLimits {
  const { entries, bytes, maxAge } = check.object('cache', value === undefined ? {} : value, { entries: true, bytes: true, maxAge: true });
  return {
    entries: check.whole('cache.entries', entries, CACHE.entries, 1, 10_000_000),
    bytes: check.whole('cache.bytes', bytes, CACHE.bytes, 65_536, 2 ** 40),
    maxAge: check.number('cache.maxAge', maxAge, CACHE.maxAge, 1, 86_400),
  };
}
