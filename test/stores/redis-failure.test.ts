import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { memoryReplayStore, type ProofUse, type ReplayStore } from '@holdfast/core';
import type { RedisReplayStoreOptions, ReplayStoreEvent } from '@holdfast/redis';
import { noRedis, type RedisServer, startRedis } from '@holdfast/test-support/redis-server';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { thumbprint } from './contract.ts';
import { CLIENTS, type Open } from './redis-clients.ts';

/*
 * Redis dies, hangs and comes back while it is asked. One promise has to hold throughout: no proof is accepted twice. Where Redis
 * itself loses what it was told, it cannot hold, and a test shows what is lost, so that the documentation says what is true.
 */
const skip = noRedis();
/** Redis writes every command to disk before it answers. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

beforeEach((context) => {
  if (skip !== undefined) context.skip(skip);
});

const now = (): number => Math.floor(Date.now() / 1000);
const use = (name: string, changes: Partial<ProofUse> = {}): ProofUse => ({
  client: thumbprint('client'),
  key: thumbprint(name),
  until: now() + 300,
  now: now(),
  ...changes,
});

async function outcome(store: ReplayStore, one: ProofUse): Promise<unknown> {
  try {
    return await store.firstUse(one);
  } catch (error) {
    return error instanceof Error ? error.name : error;
  }
}

async function server(...options: string[]): Promise<RedisServer> {
  const started = await startRedis({ options });
  onTestFinished(() => started.stop());
  return started;
}

async function storeOn(open: Open, redis: RedisServer, options: Partial<RedisReplayStoreOptions> = {}): Promise<ReplayStore> {
  const opened = await open([redis.port], { environment: 'test', ...options });
  onTestFinished(() => opened.close());
  return opened.store;
}

/** Resolves once Redis is asked and answers again. */
async function back(store: ReplayStore): Promise<void> {
  await vi.waitFor(async () => expect(await outcome(store, use(randomUUID()))).toBe(true), { timeout: 20_000 });
}

describe.each(Object.entries(CLIENTS))('with %s', (_, open) => {
  it('no proof is accepted twice while Redis is killed and started again, five times', { timeout: 60_000 }, async () => {
    const redis = await server(...DURABLE);
    const stores = await Promise.all([1, 2, 3].map(() => storeOn(open, redis)));
    const accepted = new Map<string, number>();
    const outcomes = new Set<unknown>();
    let failures = 0;
    const presented: string[] = [];
    const state = { isOver: false };
    // Each proof is presented to all instances at once, and one from before again with it.
    const present = async (): Promise<void> => {
      while (!state.isOver) {
        const fresh = randomUUID();
        const former = presented[Math.floor(Math.random() * presented.length)] ?? fresh;
        presented.push(fresh);
        await Promise.all(
          [fresh, former].flatMap((name) =>
            stores.map(async (store) => {
              const said = await outcome(store, use(name));
              outcomes.add(said);
              if (typeof said === 'string') failures += 1;
              if (said === true) accepted.set(name, (accepted.get(name) ?? 0) + 1);
            }),
          ),
        );
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const load = Array.from({ length: 5 }, present);
    for (let round = 0; round < 5; round += 1) {
      const [since, failed] = [accepted.size, failures];
      await vi.waitFor(() => expect(accepted.size).toBeGreaterThan(since + 20), { timeout: 20_000 });
      await redis.kill();
      await vi.waitFor(() => expect(failures).toBeGreaterThan(failed + 20), { timeout: 20_000 });
      await redis.restart();
    }
    await Promise.all(stores.map(back));
    state.isOver = true;
    await Promise.all(load);
    for (const name of presented)
      for (const store of stores) if ((await outcome(store, use(name))) === true) accepted.set(name, (accepted.get(name) ?? 0) + 1);
    expect([...accepted.values()].filter((times) => times !== 1)).toEqual([]);
    expect([...outcomes].filter((one) => typeof one !== 'boolean' && !String(one).startsWith('RedisUnavailable ('))).toEqual([]);
  });

  it.each(['with them', 'after the first answer'])(
    'of 1,000 copies of a proof at three instances, of which Redis dies %s, one is accepted at most, when it is back too',
    async (when) => {
      const redis = await server(...DURABLE);
      const stores = await Promise.all([1, 2, 3].map(() => storeOn(open, redis)));
      await Promise.all(stores.map(async (store) => store.ready?.()));
      const present = async (store: ReplayStore | undefined): Promise<unknown> => store && outcome(store, use('copied'));
      const copies = Array.from({ length: 1_000 }, (_item, i) => present(stores[i % 3]));
      if (when === 'after the first answer') await Promise.race(copies);
      await redis.kill();
      const said = await Promise.all(copies);
      await redis.restart();
      await Promise.all(stores.map(back));
      for (const store of stores) said.push(...(await Promise.all([1, 2, 3].map(() => present(store)))));
      expect(said.filter((one) => typeof one === 'string' && !one.startsWith('RedisUnavailable ('))).toEqual([]);
      const accepted = said.filter((one) => one === true).length;
      expect(accepted).toBeLessThanOrEqual(1);
      expect(said.slice(-8)).toEqual(Array.from({ length: 8 }, () => false));
    },
  );

  it('what Redis does not write to disk is forgotten when it is killed: the documented loss', async () => {
    const redis = await server();
    const store = await storeOn(open, redis);
    expect(await store.firstUse(use('before the crash'))).toBe(true);
    await redis.kill();
    await redis.restart();
    await back(store);
    expect(await store.firstUse(use('before the crash'))).toBe(true);
    expect(await store.firstUse(use('before the crash'))).toBe(false);
  });

  it('while Redis is away nothing waits in the queue of the client, and nothing is written late', async () => {
    const redis = await server();
    const store = await storeOn(open, redis);
    await store.ready?.();
    await redis.kill();
    await vi.waitFor(async () => expect(await outcome(store, use(randomUUID()))).toBe('RedisUnavailable (not connected)'));
    const outcomes = await Promise.all(Array.from({ length: 1_000 }, (_item, i) => outcome(store, use(`away ${i}`))));
    expect(new Set(outcomes)).toEqual(new Set(['RedisUnavailable (not connected)']));
    await redis.restart();
    await back(store);
    const written = redis.cli('--scan').split('\n');
    expect(written.filter((key) => key.endsWith(thumbprint('away 7')) || key.endsWith(thumbprint('away 999')))).toEqual([]);
    expect(written.length).toBeLessThan(10);
  });

  it('a Redis that hangs is given up after the time limit; what it does late only uses proofs up', async () => {
    const redis = await server();
    const store = await storeOn(open, redis, { timeout: 0.2 });
    expect(await store.firstUse(use('before'))).toBe(true);
    redis.pause();
    onTestFinished(() => redis.goOn());
    const names = Array.from({ length: 50 }, (_item, i) => `hanging ${i}`);
    const outcomes = await Promise.all([...names, 'before'].map((name) => outcome(store, use(name))));
    expect(new Set(outcomes)).toEqual(new Set(['RedisUnavailable (timeout)']));
    redis.goOn();
    await back(store);
    for (const name of [...names, 'before']) expect(await store.firstUse(use(name))).toBe(false);
  });

  it('a client that was never connected, or is closed, is unavailable', async () => {
    const redis = await server();
    const opened = await open([redis.port], { environment: 'test' });
    await opened.close();
    await vi.waitFor(async () => expect(await outcome(opened.store, use('a'))).toBe('RedisUnavailable (not connected)'));
    await expect(opened.store.ready?.()).rejects.toThrow(/not connected/);
  });

  describe('and a fallback', () => {
    const withFallback = async (
      redis: RedisServer,
      fallback = memoryReplayStore(),
    ): Promise<{ store: ReplayStore; events: ReplayStoreEvent[] }> => {
      const events: ReplayStoreEvent[] = [];
      return { store: await storeOn(open, redis, { fallback, onEvent: (event) => events.push(event) }), events };
    };

    it('no proof passes twice in one process, whether Redis or the memory saw it first', async () => {
      const redis = await server(...DURABLE);
      const { store, events } = await withFallback(redis);
      await store.ready?.();
      expect(await store.firstUse(use('on Redis'))).toBe(true);
      await redis.kill();
      await vi.waitFor(async () => {
        await store.firstUse(use(randomUUID()));
        expect(events.length).toBeGreaterThan(0);
      });
      expect(await store.firstUse(use('on Redis'))).toBe(false);
      expect(await store.firstUse(use('in memory'))).toBe(true);
      expect(await store.firstUse(use('in memory'))).toBe(false);
      // A health check does not take the process out of service while the fallback carries it.
      await store.ready?.();
      await redis.restart();
      await vi.waitFor(
        async () => {
          await store.firstUse(use(randomUUID()));
          expect(events).toHaveLength(2);
        },
        { timeout: 20_000 },
      );
      for (const name of ['on Redis', 'in memory']) expect(await store.firstUse(use(name))).toBe(false);
      expect(await store.firstUse(use('after'))).toBe(true);
      expect(redis.cli('exists', `holdfast:replay:test:${thumbprint('after')}`)).toBe('1');
      expect(events).toEqual([
        {
          time: expect.any(Number),
          environment: 'test',
          state: 'unavailable',
          fallback: true,
          detail: expect.stringMatching(/^RedisUnavailable \(/),
        },
        { time: expect.any(Number), environment: 'test', state: 'available', fallback: true },
      ]);
    });

    it('of 1,000 equal uses that begin as Redis dies, one passes', async () => {
      const redis = await server();
      const { store } = await withFallback(redis);
      await store.ready?.();
      const dies = redis.kill();
      const answers = await Promise.all(Array.from({ length: 1_000 }, async () => store.firstUse(use('at once'))));
      await dies;
      expect(answers.filter((answer) => answer === true)).toHaveLength(1);
    });

    it('each process has its own memory while Redis is away, and a proof passes once in each: the documented loss', async () => {
      const redis = await server();
      const [{ store: one }, { store: another }] = [await withFallback(redis), await withFallback(redis)];
      expect([one.perProcess, another.perProcess]).toEqual([true, true]);
      expect([await one.firstUse(use('a')), await another.firstUse(use('a'))]).toEqual([true, false]);
      await redis.kill();
      expect([await one.firstUse(use('b')), await another.firstUse(use('b'))]).toEqual([true, true]);
      expect([await one.firstUse(use('b')), await another.firstUse(use('b'))]).toEqual([false, false]);
    });

    it('the share and the room of the memory count, so that it never knows less than Redis', async () => {
      const redis = await server();
      const { store: shared } = await withFallback(redis, memoryReplayStore({ entries: 100, share: 0.1 }));
      for (let i = 0; i < 10; i += 1) expect(await shared.firstUse(use(`use ${i}`))).toBe(true);
      expect(await shared.firstUse(use('beyond'))).toBe('over-share');
      const { store: small } = await withFallback(redis, memoryReplayStore({ entries: 1, share: 1 }));
      expect(await small.firstUse(use('only'))).toBe(true);
      expect(await outcome(small, use('no room', { client: thumbprint('another') }))).toBe('ReplayStoreFull');
      expect(redis.cli('exists', `holdfast:replay:test:${thumbprint('no room')}`)).toBe('0');
    });

    it('does not stand in for a Redis that is wrongly set up', async () => {
      const redis = await server('--maxmemory-policy', 'allkeys-lru');
      const { store } = await withFallback(redis);
      await expect(store.ready?.()).rejects.toThrow(/noeviction/);
      expect(await outcome(store, use('a'))).toBe('RedisEvictsKeys');
    });
  });
});

describe('four processes that share one Redis', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  beforeAll(() => {
    const tsc = [`${root}node_modules/typescript/bin/tsc`, '-b', 'packages/redis'];
    const { status, stdout } = spawnSync(process.execPath, tsc, { cwd: root, encoding: 'utf8' });
    if (status !== 0) throw new Error(`packages/redis cannot be built: ${stdout}`);
  });

  interface Raced {
    readonly accepted: readonly string[];
    readonly failures: number;
  }

  async function startRacers(kind: string, redis: RedisServer, timeout: number): Promise<readonly ChildProcess[]> {
    const racers: ChildProcess[] = [];
    onTestFinished(() => {
      for (const racer of racers) racer.kill();
    });
    for (const step of [1, 3, 7, 9]) {
      const racer = fork(fileURLToPath(new URL('racer.mjs', import.meta.url)), [kind, redis.url, `${step}`, `${timeout}`], {
        execArgv: [],
      });
      racers.push(racer);
      expect(await once(racer, 'message')).toEqual(['ready', undefined]);
    }
    return racers;
  }

  /** Has all of them present these proofs, so many at a time, and go on together; `onProgress` hears how many one of them is through with. */
  function race(
    racers: readonly ChildProcess[],
    work: { readonly keys: readonly string[]; readonly together: number },
    onProgress: (judged: number) => void = () => {},
  ): Promise<readonly Raced[]> {
    const waiting: ChildProcess[] = [];
    const results = racers.map(
      (racer) =>
        new Promise<Raced>((resolve, reject) => {
          racer.on('exit', () => reject(new Error('a racer ended')));
          racer.on('message', (message: Raced | { readonly judged: number }) => {
            if (!('judged' in message)) return resolve(message);
            onProgress(message.judged);
            waiting.push(racer);
            if (waiting.length === racers.length) for (const one of waiting.splice(0)) one.send({});
          });
        }),
    );
    for (const racer of racers) racer.send(work);
    return Promise.all(results);
  }

  const keys = Array.from({ length: 1_000 }, (_, i) => thumbprint(`proof ${i}`));

  it.each(['node-redis', 'ioredis'])('accept each of 1,000 proofs once among them, with %s', async (kind) => {
    const redis = await server();
    const raced = await race(await startRacers(kind, redis, 10), { keys, together: 100 });
    expect(raced.flatMap(({ accepted }) => accepted).toSorted()).toEqual(keys.toSorted());
    // They did race: each begins somewhere else, so none of them had it all.
    expect(Math.max(...raced.map(({ accepted }) => accepted.length))).toBeLessThan(1_000);
  });

  it.each(['node-redis', 'ioredis'])(
    'accept none of 1,000 proofs twice while Redis is killed and started again, three times, with %s',
    { timeout: 120_000 },
    async (kind) => {
      const redis = await server(...DURABLE);
      const racers = await startRacers(kind, redis, 1);
      const crashes: Promise<void>[] = [];
      const raced = await race(racers, { keys, together: 10 }, (judged) => {
        // Each time as soon as one of them is through with so many, and so in the midst of what the others ask.
        const next = [200, 450, 700][crashes.length];
        if (next !== undefined && judged >= next) crashes.push(redis.kill().then(() => redis.restart()));
      });
      await Promise.all(crashes);
      expect(crashes).toHaveLength(3);
      expect(raced.reduce((sum, { failures }) => sum + failures, 0)).toBeGreaterThan(0);
      const accepted = raced.flatMap(({ accepted: some }) => some);
      expect(accepted.toSorted()).toEqual([...new Set(accepted)].toSorted());
      // What nobody was told is lost to its client, and to every thief.
      expect(accepted.length).toBeGreaterThan(800);
      const again = await race(racers, { keys, together: keys.length });
      expect(again.flatMap(({ accepted: some }) => some)).toEqual([]);
    },
  );
});
