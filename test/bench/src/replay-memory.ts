// What the replay store in memory costs: a million live uses of 1,000 clients, in a store that is full with them, spread over 300 s as
// a busy API has them, and all of one minute. Bytes for each, CPU time for each, and the most that one of them took at once, which is
// how long it holds up the process. CPU time of all threads, since what else runs on the machine is no cost of the store.
import { randomBytes } from 'node:crypto';
import { memoryReplayStore, type ReplayStore } from '@holdfast/core';

const USES = 1_000_000;
const ROUNDS = 3;
const LASTS = 301;
const BEGIN = 1_800_000_000;

function usedBytes(): number {
  if (globalThis.gc === undefined) throw new Error('run with: node --expose-gc');
  for (let i = 0; i < 3; i += 1) globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Microseconds. */
function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const newKeys = (count: number): readonly string[] => Array.from({ length: count }, () => randomBytes(32).toString('base64url'));
const clients = newKeys(1_000);
const ends = newKeys(1_000).map((key) => key.slice(0, 36));

function use(store: ReplayStore, i: number, seconds: number): unknown {
  const now = BEGIN + Math.floor((i * seconds) / USES);
  const key = `${String(i).padStart(7, '0')}${ends[i % 1_000] ?? ''}`;
  return store.firstUse({ client: clients[i % 1_000] ?? '', key, now, until: now + LASTS });
}

function newStore(): ReplayStore {
  return memoryReplayStore({ entries: USES, share: 1 });
}

/** Bytes, and microseconds, for each. */
function fill(seconds: number): { bytes: number; cpu: number } {
  const before = usedBytes();
  const store = newStore();
  const start = cpuTime();
  for (let i = 0; i < USES; i += 1) if (use(store, i, seconds) !== true) throw new Error(`use ${i} was not the first`);
  const cpu = (cpuTime() - start) / USES;
  const bytes = (usedBytes() - before) / USES;
  for (let i = 0; i < USES; i += 997) if (use(store, i, seconds) !== false) throw new Error(`use ${i} was forgotten`);
  return { bytes, cpu };
}

/** The most that one of them took, in milliseconds, and how many took more than one. */
function pauses(seconds: number): { longest: number; many: number } {
  const store = newStore();
  let longest = 0;
  let many = 0;
  for (let i = 0; i < USES; i += 1) {
    const start = cpuTime();
    use(store, i, seconds);
    const took = (cpuTime() - start) / 1000;
    longest = Math.max(longest, took);
    if (took > 1) many += 1;
  }
  return { longest, many };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

fill(300);
console.log(`Node ${process.version}: ${USES.toLocaleString('en')} live uses, medians of ${ROUNDS} rounds`);
console.table(
  Object.fromEntries(
    Object.entries({ 'over 300 s': 300, 'in one minute': 30 }).map(([name, seconds]) => {
      const fills = Array.from({ length: ROUNDS }, () => fill(seconds));
      const waits = Array.from({ length: ROUNDS }, () => pauses(seconds));
      return [
        name,
        {
          'bytes each': Math.round(median(fills.map(({ bytes }) => bytes))),
          'µs each': Number(median(fills.map(({ cpu }) => cpu)).toFixed(1)),
          'longest, ms': Number(median(waits.map(({ longest }) => longest)).toFixed(1)),
          'longer than 1 ms': median(waits.map(({ many }) => many)),
        },
      ];
    }),
  ),
);
