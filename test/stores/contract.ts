import type { ProofUse, ReplayStore } from '@holdfast/core';
import { expect, it } from 'vitest';

/** What a suite needs to know of a store. */
export interface StoreUnderTest {
  /** A store that nothing has been used at; `instances` of them share what they remember. */
  readonly make: (instances?: number) => Promise<readonly ReplayStore[]> | readonly ReplayStore[];
  /** The time at which the test begins, in epoch seconds; a store with a clock of its own says that one's. */
  readonly now: () => number;
  /** Lets time pass, in seconds; given where the store has a clock of its own. */
  readonly wait?: (seconds: number) => Promise<void>;
  /** Makes the store fail, where it can. */
  readonly fail?: (store: ReplayStore) => Promise<void>;
}

/** What every replay store has to do: call it in a `describe`. */
export function replayStoreContract({ make, now, wait, fail }: StoreUnderTest): void {
  const use = (name: string, changes: Partial<ProofUse> = {}): ProofUse => ({
    client: thumbprint('client'),
    key: thumbprint(name),
    until: now() + 300,
    now: now(),
    ...changes,
  });
  const one = async (): Promise<ReplayStore> => {
    const [store] = await make();
    if (store === undefined) throw new Error('make() made no store');
    return store;
  };

  it('says true to the first use of a key, and false to every other', async () => {
    const store = await one();
    expect(await store.firstUse(use('a'))).toBe(true);
    expect(await store.firstUse(use('a'))).toBe(false);
    expect(await store.firstUse(use('b'))).toBe(true);
    expect(await store.firstUse(use('a'))).toBe(false);
  });

  it('says true exactly once to 1,000 uses of one key at the same time', async () => {
    const store = await one();
    const answers = await Promise.all(Array.from({ length: 1_000 }, async () => store.firstUse(use('at once'))));
    expect(answers.filter((answer) => answer === true)).toHaveLength(1);
    expect(answers.filter((answer) => answer === false)).toHaveLength(999);
  });

  it('says true to each of 1,000 keys at the same time', async () => {
    const store = await one();
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, async (_, i) => store.firstUse(use(`key ${i}`, { client: thumbprint(`client ${i % 50}`) }))),
    );
    expect(answers.every((answer) => answer === true)).toBe(true);
  });

  it('knows a key whatever time a later use says', async () => {
    const store = await one();
    for (const until of [120, 1, 3_600]) {
      expect(await store.firstUse(use(`with ${until}`, { until: now() + until }))).toBe(true);
      for (const later of [1, 60, 300, 3_600]) expect(await store.firstUse(use(`with ${until}`, { until: now() + later }))).toBe(false);
    }
  });

  it('knows a key whatever client it comes with', async () => {
    const store = await one();
    expect(await store.firstUse(use('shared'))).toBe(true);
    expect(await store.firstUse(use('shared', { client: thumbprint('another') }))).toBe(false);
  });

  it('remembers a use until its end, and not a second less', async () => {
    const store = await one();
    const begin = now();
    const until = begin + (wait === undefined ? 300 : 3);
    expect(await store.firstUse(use('ending', { until }))).toBe(true);
    for (let at = begin; at < until; at += wait === undefined ? 7 : 1) {
      expect(await store.firstUse(use('ending', { until, now: wait === undefined ? at : now() }))).toBe(false);
      await wait?.(0.9);
    }
    if (wait === undefined) expect(await store.firstUse(use('ending', { until, now: until - 1 }))).toBe(false);
  });

  it('shares what it knows with its other instances', async () => {
    const stores = await make(3);
    const answers = await Promise.all(Array.from({ length: 300 }, async (_, i) => stores[i % stores.length]?.firstUse(use('everywhere'))));
    expect(answers.filter((answer) => answer === true)).toHaveLength(1);
  });

  if (fail === undefined) return;
  it('throws where it cannot know', async () => {
    const store = await one();
    expect(await store.firstUse(use('before'))).toBe(true);
    await fail(store);
    await expect((async () => store.firstUse(use('after')))()).rejects.toBeInstanceOf(Error);
  });
}

/** 43 characters that stand for a hash. */
export function thumbprint(name: string): string {
  return Buffer.from(name.padEnd(32, '.').slice(0, 32)).toString('base64url');
}
