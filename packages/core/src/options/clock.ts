import { warn } from '#runtime';
import type { Check } from '../check.ts';
import type { EpochSeconds } from '../request.ts';

/** The one clock of a resource. `tolerance`: seconds that it may run behind what it has said before, without a warning. */
export function readClock(check: Check, value: unknown, tolerance: number): () => EpochSeconds {
  const given = check.callable<() => EpochSeconds>('now', value, 'a function that returns seconds since 1970');
  return monotone(given ?? (() => Math.floor(Date.now() / 1000)), tolerance);
}

/**
 * What was fresh once stays used up: a clock that is set back does not bring anything back to life. One that was wrong only once, and
 * ahead, is taken at its word until it has caught up; whoever runs the process is told, since good tokens look expired meanwhile.
 */
function monotone(now: () => EpochSeconds, tolerance: number): () => EpochSeconds {
  let latest = Number.NEGATIVE_INFINITY;
  let warned = false;
  return () => {
    const value = now();
    if (!Number.isFinite(value)) throw new TypeError('now: did not return a finite number of seconds.');
    if (!warned && value < latest - tolerance) {
      warned = true;
      warn(
        `now: the clock is ${Math.round(latest - value)} s behind what it has said before. The later time stands until it has caught up, so that nothing that was used up comes back; good tokens and proofs can look expired meanwhile. If the later time was wrong, restart the process.`,
      );
    }
    latest = Math.max(latest, value);
    return latest;
  };
}
