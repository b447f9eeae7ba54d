import { fromBase64url, randomSecret, sha256, toBase64url } from '#crypto';
import type { EpochSeconds } from '../request.ts';
import type { ProofUse, ReplayStore } from './replay-store.ts';

export interface MemoryReplayStoreOptions {
  /** Uses that are remembered at most. A full store throws (503), until some are over. Default 1,000,000: 32 MB when full. */
  readonly entries?: number;
  /** The part of them that one client may hold, 0.01 to 1; beyond it 429. Default 0.25. */
  readonly share?: number;
}

/** The store holds as many live uses as it may. */
class ReplayStoreFull extends Error {
  override readonly name = 'ReplayStoreFull';
}

/** Uses that end within the same time are kept together, so that they are dropped together: in seconds. */
const SPAN = 60;
/** 128 bits of a keyed hash, as four words: 16 bytes. */
const WORDS = 4;
/** A table grows by half when it is three quarters full: 21 to 32 bytes an entry. */
const FIRST_CAPACITY = 256;
const MOST_FILLED = 0.75;
const GROWTH = 1.5;
/** Rows of counters; with four, an estimate is too high by more than its bound for one client in 50. */
const ROWS = 4;

/**
 * A replay store in the memory of this process: for one process, or where each process has its own clients. Nothing in it ticks:
 * what is over is dropped by the next use. It never forgets a live use; what does not fit is refused.
 *
 * Uses lie in open-addressing tables by the time they end, 16 bytes each; all tables are looked at, since the same `jti` may come
 * again in a proof with another time. Positions come from a hash with a secret of this process, so nobody can choose proofs that
 * collide. What each client holds is estimated (count-min sketch, with the same secret): never too low, and for 98 % of clients
 * at most 1 % of the share too high.
 */
export function memoryReplayStore({ entries = 1_000_000, share = 0.25 }: MemoryReplayStoreOptions = {}): ReplayStore {
  if (!Number.isInteger(entries) || entries < 1) throw new TypeError('memoryReplayStore: entries: Give a whole number from 1.');
  if (!(share >= 0.01 && share <= 1)) throw new TypeError('memoryReplayStore: share: Give a number from 0.01 to 1.');
  // Not before it is needed: a Worker may draw random numbers only while it handles a request.
  let secret: string | undefined;
  const mostOfClient = Math.max(1, Math.floor(entries * share));
  // The error of a count-min sketch is e/width of all entries: this many counters make it a hundredth of the share.
  const width = Math.min(nextPowerOfTwo(272 / share), Math.max(1024, nextPowerOfTwo(entries)));
  const generations = new Map<number, Generation>();
  let latest = Number.NEGATIVE_INFINITY;
  let live = 0;

  function dropOver(now: EpochSeconds): void {
    if (now <= latest) return;
    const former = Math.floor(latest / SPAN);
    latest = now;
    if (Math.floor(now / SPAN) === former) return;
    for (const [span, { table }] of generations) {
      if ((span + 1) * SPAN > now) continue;
      live -= table.size;
      generations.delete(span);
    }
  }

  function isKnown(hash: Hash): boolean {
    for (const { table } of generations.values()) if (table.has(hash)) return true;
    return false;
  }

  function heldBy(client: Hash): number {
    let least = Number.POSITIVE_INFINITY;
    for (let row = 0; row < ROWS; row += 1) {
      const at = counterOf(client, row, width);
      let held = 0;
      for (const { counters } of generations.values()) held += counters[at] ?? 0;
      least = Math.min(least, held);
    }
    return least;
  }

  function record(hash: Hash, client: Hash, until: EpochSeconds): void {
    const span = Math.floor(until / SPAN);
    let generation = generations.get(span);
    if (generation === undefined) {
      generation = { table: new Table(), counters: new Uint32Array(ROWS * width) };
      generations.set(span, generation);
    }
    generation.table.add(hash);
    live += 1;
    for (let row = 0; row < ROWS; row += 1) {
      const at = counterOf(client, row, width);
      generation.counters[at] = (generation.counters[at] ?? 0) + 1;
    }
  }

  return {
    perProcess: true,
    firstUse({ client, key, until, now }: ProofUse): boolean | 'over-share' {
      dropOver(now);
      secret ??= toBase64url(randomSecret(32));
      const hash = keyedHash(secret, key);
      if (isKnown(hash)) return false;
      const counted = keyedHash(secret, client);
      if (heldBy(counted) >= mostOfClient) return 'over-share';
      if (live >= entries) throw new ReplayStoreFull(`The replay store holds ${entries} live uses, which is its limit.`);
      record(hash, counted, until);
      return true;
    },
  };
}

interface Generation {
  readonly table: Table;
  /** How often each counter was counted up by uses of this table. */
  readonly counters: Uint32Array;
}

/** A set of 128-bit hashes: open addressing with linear probing. Nothing is ever taken out of it. */
class Table {
  #slots: Uint32Array = new Uint32Array(FIRST_CAPACITY * WORDS);
  #capacity = FIRST_CAPACITY;
  size = 0;

  has(hash: Hash): boolean {
    return this.#slots[this.#find(hash[0], hash[1], hash[2], hash[3])] !== 0;
  }

  add([a, b, c, d]: Hash): void {
    if (this.size >= this.#capacity * MOST_FILLED) this.#grow();
    this.#put(a, b, c, d);
    this.size += 1;
  }

  #put(a: number, b: number, c: number, d: number): void {
    const at = this.#find(a, b, c, d);
    this.#slots[at] = a;
    this.#slots[at + 1] = b;
    this.#slots[at + 2] = c;
    this.#slots[at + 3] = d;
  }

  /** Where this hash is, or the empty place where it belongs. */
  #find(a: number, b: number, c: number, d: number): number {
    const slots = this.#slots;
    let at = Math.floor((a / 2 ** 32) * this.#capacity) * WORDS;
    while (slots[at] !== 0 && !(slots[at] === a && slots[at + 1] === b && slots[at + 2] === c && slots[at + 3] === d)) {
      at += WORDS;
      if (at === slots.length) at = 0;
    }
    return at;
  }

  #grow(): void {
    const former = this.#slots;
    this.#capacity = Math.ceil(this.#capacity * GROWTH);
    this.#slots = new Uint32Array(this.#capacity * WORDS);
    for (let at = 0; at < former.length; at += WORDS) {
      const [a, b, c, d] = wordsAt(former, at);
      if (a !== 0) this.#put(a, b, c, d);
    }
  }
}

/** 128 bits. The first word is never 0, which marks an empty place. */
type Hash = readonly [number, number, number, number];

function wordsAt(words: Uint32Array, at: number): Hash {
  return [words[at] ?? 0, words[at + 1] ?? 0, words[at + 2] ?? 0, words[at + 3] ?? 0];
}

/** The beginning of SHA-256 of secret and text. */
function keyedHash(secret: string, text: string): Hash {
  const { buffer, byteOffset } = fromBase64url(sha256(secret + text));
  const [a, b, c, d] = wordsAt(new Uint32Array(buffer.slice(byteOffset, byteOffset + 4 * WORDS)), 0);
  return [a || 1, b, c, d];
}

/** `width` is a power of two, and each row has its own word of the hash. */
function counterOf(client: Hash, row: number, width: number): number {
  return row * width + ((client[row] ?? 0) & (width - 1));
}

function nextPowerOfTwo(least: number): number {
  return 2 ** Math.ceil(Math.log2(least));
}
