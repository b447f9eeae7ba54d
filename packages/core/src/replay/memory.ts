import { LRUCache } from 'lru-cache';
import { randomSecret, toBase64url } from '#crypto';
import type { EpochSeconds } from '../request.ts';
import type { ProofUse, ReplayStore } from './replay-store.ts';
import { type Hash, HeldUses, keyedHash, SPAN, WORDS, wordsAt } from './shares.ts';

/** How much a {@link memoryReplayStore} holds. What is out of range is a `TypeError` when it is made. */
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

/** A part of a table grows by half when it is three quarters full: 21 to 32 bytes an entry. */
const FIRST_CAPACITY = 16;
const MOST_FILLED = 0.75;
const GROWTH = 1.5;
/** What grows holds up the process while it does, so it is a part. A power of two. */
const PARTS = 64;

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
  const held = new HeldUses(width);
  /** By the span in which their uses end. */
  const tables = new Map<number, Table>();
  /** Of clients that came lately: most come again. */
  const clients = new LRUCache<string, Hash>({ max: 1_000 });
  let latest = Number.NEGATIVE_INFINITY;
  let live = 0;

  function dropOver(now: EpochSeconds): void {
    if (now <= latest) return;
    const former = Math.floor(latest / SPAN);
    latest = now;
    if (Math.floor(now / SPAN) === former) return;
    for (const [span, table] of tables) {
      if ((span + 1) * SPAN > now) continue;
      live -= table.size;
      tables.delete(span);
    }
    held.dropOver(now);
  }

  function isKnown(hash: Hash): boolean {
    for (const table of tables.values()) if (table.has(hash)) return true;
    return false;
  }

  function record(hash: Hash, client: Hash, until: EpochSeconds): void {
    const span = Math.floor(until / SPAN);
    let table = tables.get(span);
    if (table === undefined) {
      table = new Table();
      tables.set(span, table);
    }
    table.add(hash);
    live += 1;
    held.add(client, span);
  }

  return {
    perProcess: true,
    firstUse({ client, key, until, now }: ProofUse): boolean | 'over-share' {
      dropOver(now);
      secret ??= toBase64url(randomSecret(32));
      const hash = keyedHash(secret, key);
      if (isKnown(hash)) return false;
      let counted = clients.get(client);
      if (counted === undefined) {
        counted = keyedHash(secret, client);
        clients.set(client, counted);
      }
      if (held.of(counted) >= mostOfClient) return 'over-share';
      if (live >= entries) throw new ReplayStoreFull(`The replay store holds ${entries} live uses, which is its limit.`);
      record(hash, counted, until);
      return true;
    },
  };
}

/** A set of 128-bit hashes. Nothing is ever taken out of it. */
class Table {
  readonly #parts: (Part | undefined)[] = Array.from({ length: PARTS });
  size = 0;

  has(hash: Hash): boolean {
    return this.#parts[partOf(hash)]?.has(hash) === true;
  }

  add(hash: Hash): void {
    (this.#parts[partOf(hash)] ??= new Part()).add(hash);
    this.size += 1;
  }
}

/** By the last word; the first one says where in a part. */
function partOf([, , , last]: Hash): number {
  return last & (PARTS - 1);
}

/** A part of a table: open addressing with linear probing. */
class Part {
  #slots: Uint32Array = new Uint32Array(FIRST_CAPACITY * WORDS);
  #capacity = FIRST_CAPACITY;
  #size = 0;

  has(hash: Hash): boolean {
    return this.#slots[this.#find(hash[0], hash[1], hash[2], hash[3])] !== 0;
  }

  add([a, b, c, d]: Hash): void {
    if (this.#size >= this.#capacity * MOST_FILLED) this.#grow();
    this.#put(a, b, c, d);
    this.#size += 1;
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

function nextPowerOfTwo(least: number): number {
  return 2 ** Math.ceil(Math.log2(least));
}
