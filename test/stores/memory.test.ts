import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memoryReplayStore, type ReplayStore } from '@holdfast/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { replayStoreContract, thumbprint } from './contract.ts';

const NOW = 1_800_000_000;

describe('memory', () => {
  replayStoreContract({
    // In one process there is one.
    make: (instances = 1) => {
      const store = memoryReplayStore();
      return Array.from({ length: instances }, () => store);
    },
    now: () => NOW,
  });

  const use = (store: ReplayStore, key: string, client: string, now: number, until = now + 301): unknown =>
    store.firstUse({ key: thumbprint(key), client: thumbprint(client), now, until });

  it('agrees with a plain map of what is live, whatever comes in what order', () => {
    expect.hasAssertions();
    const step = fc.record({
      key: fc.integer({ min: 0, max: 40 }),
      client: fc.integer({ min: 0, max: 3 }),
      pass: fc.integer({ min: 0, max: 90 }),
      lasts: fc.integer({ min: 1, max: 400 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const store = memoryReplayStore({ share: 1 });
        const model = new Map<number, number>();
        let now = NOW;
        for (const { key, client, pass, lasts } of steps) {
          now += pass;
          const known = (model.get(key) ?? 0) > now;
          const first = use(store, `${key}`, `${client}`, now, now + lasts);
          // A live use is never forgotten; one that is over may still be known until its span ends.
          if (known) expect(first).toBe(false);
          else if (!model.has(key)) expect(first).toBe(true);
          if (first === true) model.set(key, now + lasts);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('forgets what is over, and has room again, without a timer', () => {
    const store = memoryReplayStore({ entries: 100, share: 1 });
    for (let round = 0; round < 50; round += 1) {
      const now = NOW + round * 400;
      for (let i = 0; i < 100; i += 1) expect(use(store, `${round} ${i}`, 'client', now)).toBe(true);
    }
  });

  it('a full store throws, and still knows what it knew', () => {
    const store = memoryReplayStore({ entries: 100, share: 1 });
    for (let i = 0; i < 100; i += 1) expect(use(store, `${i}`, `client ${i}`, NOW)).toBe(true);
    expect(() => use(store, 'one more', 'another', NOW)).toThrow(/100 live uses/);
    for (let i = 0; i < 100; i += 1) expect(use(store, `${i}`, 'any', NOW)).toBe(false);
    expect(use(store, 'one more', 'another', NOW + 400)).toBe(true);
  });

  it('one client gets no more than its share, and what it used is still known', () => {
    const store = memoryReplayStore({ entries: 1_000, share: 0.1 });
    for (let i = 0; i < 100; i += 1) expect(use(store, `greedy ${i}`, 'greedy', NOW)).toBe(true);
    expect(use(store, 'greedy 100', 'greedy', NOW)).toBe('over-share');
    expect(use(store, 'greedy 99', 'greedy', NOW)).toBe(false);
    for (let i = 0; i < 500; i += 1) expect(use(store, `modest ${i}`, `modest ${i % 100}`, NOW)).toBe(true);
    // Nothing was recorded for what was over the share.
    expect(use(store, 'greedy 100', 'greedy', NOW + 400)).toBe(true);
  });

  it('a clock that is set back brings nothing back', () => {
    const store = memoryReplayStore();
    expect(use(store, 'a', 'c', NOW)).toBe(true);
    expect(use(store, 'a', 'c', NOW - 10_000, NOW - 9_000)).toBe(false);
  });

  it('a million live uses of 10,000 clients take less than 50 MB, and none is taken for another', { timeout: 120_000 }, () => {
    const store = memoryReplayStore({ entries: 1_000_000 });
    const before = held();
    const clients = Array.from({ length: 10_000 }, () => randomBytes(32).toString('base64url'));
    for (let i = 0; i < 1_000_000; i += 1) {
      const now = NOW + Math.floor(i / 3_334);
      const key = `${i}`.padStart(43, 'k');
      if (store.firstUse({ key, client: clients[i % 10_000] ?? '', now, until: now + 301 }) !== true)
        throw new Error(`use ${i} was not the first`);
    }
    expect(held() - before).toBeLessThan(50e6);
    for (let i = 0; i < 1_000_000; i += 9_973) {
      expect(store.firstUse({ key: `${i}`.padStart(43, 'k'), client: clients[0] ?? '', now: NOW + 300, until: NOW + 601 })).toBe(false);
    }
  });

  /** Bytes of array buffers that are still in use. */
  function held(): number {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    collect();
    return process.memoryUsage().arrayBuffers;
  }

  it.each([{ entries: 0 }, { entries: 1.5 }, { share: 0 }, { share: 2 }, { share: Number.NaN }])('does not start with %j', (options) => {
    expect(() => memoryReplayStore(options)).toThrow(TypeError);
  });
});
