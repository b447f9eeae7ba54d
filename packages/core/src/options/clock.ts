import type { Check } from '../check.ts';
import type { EpochSeconds } from '../request.ts';

/** The one clock of a resource. */
export function readClock(check: Check, value: unknown): () => EpochSeconds {
  const given = check.callable<() => EpochSeconds>('now', value, 'a function that returns seconds since 1970');
  return monotone(given ?? (() => Math.floor(Date.now() / 1000)));
}

/** What was fresh once stays used up: a clock that is set back does not bring anything back to life. */
function monotone(now: () => EpochSeconds): () => EpochSeconds {
  let latest = Number.NEGATIVE_INFINITY;
  return () => {
    const value = now();
    if (!Number.isFinite(value)) throw new TypeError('now: did not return a finite number of seconds.');
    latest = Math.max(latest, value);
    return latest;
  };
}
