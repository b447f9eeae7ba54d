import type { JWSHeaderParameters } from 'jose';
import { outlivesRequests } from '#runtime';
import { reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import { type FittingKeys, fittingKeys, type KeySet, readKeys, type SigningKey } from './key-set.ts';

/** How keys are kept. All in seconds. */
export interface KeyRefresh {
  /** Keys are fetched again when they are this old, a little before by a timer. */
  readonly freshFor: number;
  /** While the server is away, keys are used up to this age; after it nothing can be judged: 503. */
  readonly staleFor: number;
  /** A token with an unknown key, or whose signature does not hold, makes us look again, at most once in this time. */
  readonly cooldown: number;
  /** For one whole answer. */
  readonly timeout: number;
}

/** After a failed fetch the next is tried after 1 s, 2 s, 4 s … at most the cooldown. */
const FIRST_RETRY = 1;

const NO_KEYS = 'none of the keys that the issuer publishes can verify signatures';

/** The timer is so much ahead of the end of freshness. */
const AHEAD = 0.8;

/**
 * Keys that are fetched and kept: one fetch in flight, a cooldown for unknown keys and for signatures that do not hold, fetched ahead
 * of need by a timer (which does not keep the process alive), and used while the server is away for as long as the settings say.
 *
 * A set without a key that can verify, where there were keys before, is a failed fetch: servers publish one for a moment, as they
 * start or change over, and it must not refuse everybody. To give up a key at once there is `revokeKey`. Where no key was known
 * before, no token can be told from a forged one: each is refused for its unknown key, and `ready()` says so.
 */
export function remoteKeySet(fetchKeys: () => Promise<readonly unknown[]>, now: () => EpochSeconds, settings: KeyRefresh): KeySet {
  const revoked = new Set<string>();
  let current: { readonly keys: Map<string, SigningKey[]>; readonly fetchedAt: EpochSeconds } | undefined;
  let inFlight: Promise<void> | undefined;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let failures = 0;
  let failure: unknown;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let closed = false;

  const isTrusted = (thumbprint: string): boolean => !revoked.has(thumbprint) && current?.keys.has(thumbprint) === true;
  const knowsKeys = (): boolean => current !== undefined && current.keys.size > 0;
  const hardEnd = (): EpochSeconds => (current === undefined ? Number.NEGATIVE_INFINITY : current.fetchedAt + settings.staleFor);
  const retryDelay = (): number => Math.min(FIRST_RETRY * 2 ** (failures - 1), settings.cooldown);
  const waiting = (at: EpochSeconds): number => (failures === 0 ? 0 : Math.max(0, attemptedAt + retryDelay() - at));

  /** In a worker, a fetch is cancelled with the request that began it, and its promise never settles. A clock that fails says nothing of it. */
  function isLost(): boolean {
    try {
      return now() >= attemptedAt + settings.timeout;
    } catch {
      return false;
    }
  }

  function refresh(): Promise<void> {
    if (inFlight !== undefined && (outlivesRequests || !isLost())) return inFlight;
    const mine = attempt().finally(() => {
      if (inFlight === mine) inFlight = undefined;
      schedule();
    });
    inFlight = mine;
    return mine;
  }

  /** Never rejects: the timer waits for nothing. A clock that fails is a failure like another. */
  async function attempt(): Promise<void> {
    try {
      attemptedAt = now();
      const keys = await readKeys(await fetchKeys(), isTrusted);
      if (keys.size === 0 && knowsKeys()) throw new Error(NO_KEYS);
      current = { keys, fetchedAt: attemptedAt };
      failures = 0;
      failure = undefined;
    } catch (error) {
      failures += 1;
      failure = error;
    }
  }

  function schedule(): void {
    clearTimeout(timer);
    if (closed) return;
    const seconds = failures === 0 ? settings.freshFor * AHEAD : retryDelay();
    timer = setTimeout(() => void refresh(), seconds * 1000);
    // A number in browsers and workers, where no timer keeps a process alive.
    if (typeof timer === 'object') timer.unref();
  }

  const fittingNow = (header: JWSHeaderParameters): Promise<FittingKeys> => fittingKeys(current?.keys.values() ?? [], header, hardEnd());

  /** Once in a cooldown; who comes while it is under way waits for it too. Answers whether it was done. */
  async function lookAgain(at: EpochSeconds): Promise<boolean> {
    if (at < attemptedAt + settings.cooldown && inFlight === undefined) return false;
    await refresh();
    return true;
  }

  const unavailable = (at: EpochSeconds): Rejection =>
    reject('unavailable.keys', {
      retryAfter: Math.max(1, Math.ceil(waiting(at))),
      ...(failure instanceof Error && { detail: failure.message }),
    });

  return {
    async keysFor(header, at) {
      if (at >= hardEnd() && (inFlight !== undefined || waiting(at) === 0)) await refresh();
      if (current === undefined || at >= hardEnd()) return unavailable(at);
      // The timer should have been first; after a suspended machine it was not.
      if (at >= current.fetchedAt + settings.freshFor && waiting(at) === 0) {
        const refreshed = refresh();
        if (!outlivesRequests) await refreshed;
      }

      const fitting = await fittingNow(header);
      if (fitting.keys.length > 0) return fitting;
      const found = (await lookAgain(at)) ? await fittingNow(header) : fitting;
      if (found.keys.length > 0) return found;
      return failures === 0 ? reject('token.unknown_key') : unavailable(at);
    },
    async otherKeysFor(header, at, { keys: tried }) {
      await lookAgain(at);
      // Not only where we looked: they may have changed since these were tried.
      const { keys, until } = await fittingNow(header);
      const untried = keys.filter(({ key }) => !tried.some((one) => one.key.thumbprint === key.thumbprint));
      return untried.length === 0 ? undefined : { keys: untried, until };
    },
    async ready() {
      if (now() < hardEnd() && knowsKeys()) return;
      await refresh();
      if (now() >= hardEnd()) throw failure;
      if (!knowsKeys()) throw new Error(NO_KEYS);
    },
    async close() {
      closed = true;
      clearTimeout(timer);
    },
    revokeKey: (thumbprint) => void revoked.add(thumbprint),
  };
}
