import type { ReplayStore } from '@holdfast/core';
import type { ReplayStoreEvent } from './events.ts';

/** How used proofs are kept in Redis. */
export interface RedisReplayStoreOptions {
  /**
   * Which environment this is, as `production`: part of every key, so that several can have one Redis. Letters, digits, `.`, `_`
   * and `-`, at most 64. Instances that answer the same clients must say the same.
   */
  readonly environment: string;
  /** Seconds that Redis has for an answer; then it counts as unavailable. Default 0.5, from 0.01 to 10. */
  readonly timeout?: number;
  /**
   * What happens where Redis has another eviction policy than `noeviction`, or does not tell which: by default `refuse`, so that
   * `ready()` rejects and requests get 503. `warn` only warns (process warning and event): a full Redis then forgets used proofs.
   */
  readonly evictionPolicy?: 'refuse' | 'warn';
  /**
   * Judges where Redis is unavailable, in place of 503: `memoryReplayStore()`. It is asked first on every use, so that in one
   * process no proof passes twice, whichever of the two knows it. But while Redis is away **each process has only its own
   * memory**: a proof can be used once in each. Such a store counts as `perProcess`, and the profile `fapi2` refuses it.
   */
  readonly fallback?: ReplayStore;
  /**
   * Live uses that one client may have, as each process counts what it records; beyond it 429. Default 250,000: 40 MB of Redis. A
   * whole number from 1 to a thousand million.
   */
  readonly usesPerClient?: number;
  /** Called when Redis becomes unavailable and available, and with warnings. For the whole process: the channel `holdfast:replay-store`. */
  readonly onEvent?: (event: ReplayStoreEvent) => void;
}

/** Options checked and complete. */
export interface StoreSettings {
  readonly environment: string;
  /** In milliseconds. */
  readonly timeout: number;
  readonly evictionPolicy: 'refuse' | 'warn';
  readonly fallback: ReplayStore | undefined;
  readonly usesPerClient: number;
  readonly onEvent: ((event: ReplayStoreEvent) => void) | undefined;
}

const OPTION_NAMES: Record<keyof RedisReplayStoreOptions, true> = {
  environment: true,
  timeout: true,
  evictionPolicy: true,
  fallback: true,
  usesPerClient: true,
  onEvent: true,
};

const TIMEOUT = { usual: 0.5, least: 0.01, most: 10 };
const USES_PER_CLIENT = { usual: 250_000, most: 1e9 };

/** Checks what was given, and throws one `TypeError` that lists every problem: those that were found in the client, and its own. */
export function readOptions(what: string, clientProblems: readonly string[], given: RedisReplayStoreOptions): StoreSettings {
  const problems = [...clientProblems];
  const wrong = (option: string, fix: string): void => void problems.push(`${option}: ${fix}.`);
  const isObject = typeof given === 'object' && given !== null;
  const {
    environment,
    timeout = TIMEOUT.usual,
    evictionPolicy = 'refuse',
    fallback,
    usesPerClient = USES_PER_CLIENT.usual,
    onEvent,
  }: Partial<RedisReplayStoreOptions> = isObject ? given : {};
  if (!isObject) wrong('options', `Give an object with ${Object.keys(OPTION_NAMES).join(', ')}`);
  else
    for (const name of Object.keys(given))
      if (!Object.hasOwn(OPTION_NAMES, name)) wrong(name, `is no option. There are: ${Object.keys(OPTION_NAMES).join(', ')}`);
  const isEnvironment = typeof environment === 'string' && /^[\w.-]{1,64}$/.test(environment);
  if (!isEnvironment) wrong('environment', "Say which environment this is, as 'production': letters, digits, '.', '_' and '-', at most 64");
  if (typeof timeout !== 'number' || !(timeout >= TIMEOUT.least && timeout <= TIMEOUT.most))
    wrong('timeout', `Give seconds, from ${TIMEOUT.least} to ${TIMEOUT.most}`);
  if (evictionPolicy !== 'refuse' && evictionPolicy !== 'warn') wrong('evictionPolicy', "Give 'refuse' or 'warn'");
  if (fallback !== undefined && (typeof fallback !== 'object' || fallback === null || typeof fallback.firstUse !== 'function'))
    wrong('fallback', 'Give memoryReplayStore(), or leave it out');
  if (!Number.isInteger(usesPerClient) || usesPerClient < 1 || usesPerClient > USES_PER_CLIENT.most)
    wrong('usesPerClient', `Give a whole number from 1 to ${USES_PER_CLIENT.most}`);
  if (onEvent !== undefined && typeof onEvent !== 'function') wrong('onEvent', 'Give a function');
  if (problems.length > 0) throw new TypeError(`${what} cannot start:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
  return { environment: environment ?? '', timeout: timeout * 1000, evictionPolicy, fallback, usesPerClient, onEvent };
}

/** What an object lacks of these methods, in words; `undefined` where it has them all. */
export function missing(client: unknown, methods: readonly string[]): string | undefined {
  if (typeof client !== 'object' || client === null) return 'is no object';
  const absent = methods.filter((name) => typeof Reflect.get(client, name) !== 'function');
  return absent.length === 0 ? undefined : `has no ${absent.join(', ')}`;
}
