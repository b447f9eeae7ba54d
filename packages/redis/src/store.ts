import { clientShares, type ProofUse, type ReplayStore } from '@holdfast/core';
import { limited, type RedisCommands, RedisUnavailable } from './commands.ts';
import { eventSink, type ReplayStoreEvent, warn } from './events.ts';
import { evictionProblem } from './eviction-policy.ts';
import type { StoreSettings } from './options.ts';

/**
 * Seconds that a use is kept beyond its end. The end is counted from the clock of the instance that records it; another one, whose
 * clock is behind, still takes the proof for that long. It also covers a step of Redis' own clock.
 */
const CLOCKS_DIFFER = 60;
/** A whole day more than any proof can last. What asks for longer is a mistake, and would stay for ever. */
const LONGEST = 100_000;
/** Seconds after which the eviction policy is read again, behind a use: after a failover it is that of another server. */
const POLICY_HOLDS = 60;

/** Redis may forget proofs that can still be replayed. */
class RedisEvictsKeys extends Error {
  override readonly name = 'RedisEvictsKeys';
}

/** The replay store behind both kinds of client. */
export function redisStore(commands: RedisCommands, settings: StoreSettings): ReplayStore {
  const { environment, timeout, evictionPolicy, fallback } = settings;
  const prefix = `holdfast:replay:${environment}:`;
  const ask = limited(commands, timeout);
  const shares = clientShares(settings.usesPerClient);
  const publish = eventSink(settings.onEvent);
  let isAvailable = true;
  let warned: string | undefined;
  /** When the eviction policy was found right, or warned of; in milliseconds of the process. */
  let policyKnownAt: number | undefined;
  let reading: Promise<void> | undefined;

  function tell(state: ReplayStoreEvent['state'], detail?: string): void {
    const time = Math.floor(Date.now() / 1000);
    publish({ time, environment, state, fallback: fallback !== undefined, ...(detail !== undefined && { detail }) });
  }

  async function readPolicy(): Promise<void> {
    const problem = await evictionProblem(commands, ask);
    if (problem !== undefined && evictionPolicy === 'refuse') {
      policyKnownAt = undefined;
      throw new RedisEvictsKeys(problem);
    }
    if (problem !== undefined && problem !== warned) {
      warn(problem);
      tell('eviction', problem);
    }
    warned = problem;
    policyKnownAt = performance.now();
  }

  /** Read once for all that wait for it. */
  function policyRead(): Promise<void> {
    reading ??= readPolicy().finally(() => {
      reading = undefined;
    });
    return reading;
  }

  /** Nobody has to call `ready()` for the policy to count: the first use reads it, and later ones behind a use now and then. */
  async function trusted(): Promise<void> {
    if (policyKnownAt === undefined) return policyRead();
    if (performance.now() - policyKnownAt < POLICY_HOLDS * 1000) return;
    policyKnownAt = performance.now();
    // Where it is found wrong, the next use is refused; where Redis is away, that use finds out by itself.
    policyRead().catch(() => undefined);
  }

  async function set(name: string, milliseconds: number): Promise<boolean> {
    try {
      await trusted();
      const answer = await ask(() => commands.setIfAbsent(prefix + name, milliseconds));
      if (answer !== 'OK' && answer !== null) throw new RedisUnavailable('unknown answer');
      if (!isAvailable) tell('available');
      isAvailable = true;
      return answer === 'OK';
    } catch (error) {
      if (error instanceof RedisUnavailable) {
        if (isAvailable) tell('unavailable', error.name);
        isAvailable = false;
      }
      throw error;
    }
  }

  async function record(use: ProofUse, count: () => void): Promise<boolean> {
    const first = await set(use.key, lifetimeOf(use));
    if (first) count();
    return first;
  }

  return {
    async firstUse(use) {
      const count = shares.allow(use);
      if (count === undefined) return 'over-share';
      if (fallback === undefined) return record(use, count);
      // Both have to know every use, so that neither lets pass what the other has seen when Redis goes or comes back.
      const local = await fallback.firstUse(use);
      if (local !== true) return local;
      return record(use, count).catch(unlessUnavailable);
    },
    async ready() {
      if (fallback !== undefined) await fallback.ready?.();
      await policyRead().catch(fallback && unlessUnavailable);
      // One that is not allowed to write, or is full, is found now. Whether the key is there from before does not matter.
      await set('ready', 1000).catch(fallback && unlessUnavailable);
    },
    ...(fallback !== undefined && { perProcess: true as const }),
  };
}

/** With a fallback that Redis is away is no failure; that it is wrongly set up still is. */
function unlessUnavailable(error: unknown): true {
  if (error instanceof RedisUnavailable) return true;
  throw error;
}

/** Milliseconds, rounded up: never none, and never without an end. */
function lifetimeOf({ until, now }: ProofUse): number {
  const seconds = Math.max(0, until - now) + CLOCKS_DIFFER;
  if (!(seconds <= LONGEST)) throw new RangeError('A use lasts until a time that is no sensible one.');
  return Math.ceil(seconds * 1000);
}
