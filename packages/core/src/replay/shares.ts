import { randomSecret, sha256Octets, toBase64url } from '#crypto';
import type { EpochSeconds } from '../request.ts';
import type { ProofUse } from './replay-store.ts';

/** Uses that end within the same time are kept together, so that they are dropped together: in seconds. */
export const SPAN = 60;
/** 128 bits of a keyed hash, as four words: 16 bytes. */
export const WORDS = 4;
/** Rows of counters; with four, an estimate is too high by more than its bound for one client in 50. */
const ROWS = 4;

/** 128 bits. The first word is never 0, which marks an empty place. */
export type Hash = readonly [number, number, number, number];

/** The beginning of SHA-256 of secret and text. */
export function keyedHash(secret: string, text: string): Hash {
  const octets = sha256Octets(secret + text);
  return [wordIn(octets, 0) || 1, wordIn(octets, 4), wordIn(octets, 8), wordIn(octets, 12)];
}

function wordIn(octets: string, at: number): number {
  const high = (octets.charCodeAt(at) << 24) | (octets.charCodeAt(at + 1) << 16);
  return (high | (octets.charCodeAt(at + 2) << 8) | octets.charCodeAt(at + 3)) >>> 0;
}

export function wordsAt(words: Uint32Array, at: number): Hash {
  return [words[at] ?? 0, words[at + 1] ?? 0, words[at + 2] ?? 0, words[at + 3] ?? 0];
}

/**
 * How many live uses each client has, estimated (count-min sketch over a keyed hash): never too low, and for 98 % of clients too
 * high by at most e/width of all of them. Uses that end in the same span of time are counted together, and forgotten together.
 */
export class HeldUses {
  readonly #width: number;
  readonly #spans = new Map<number, Uint32Array>();

  /** The number of counters in a row: a power of two. */
  constructor(width: number) {
    this.#width = width;
  }

  of(client: Hash): number {
    let least = Number.POSITIVE_INFINITY;
    for (let row = 0; row < ROWS; row += 1) {
      const at = this.#counterOf(client, row);
      let held = 0;
      for (const counters of this.#spans.values()) held += counters[at] ?? 0;
      least = Math.min(least, held);
    }
    return least;
  }

  add(client: Hash, span: number): void {
    let counters = this.#spans.get(span);
    if (counters === undefined) {
      counters = new Uint32Array(ROWS * this.#width);
      this.#spans.set(span, counters);
    }
    for (let row = 0; row < ROWS; row += 1) {
      const at = this.#counterOf(client, row);
      counters[at] = (counters[at] ?? 0) + 1;
    }
  }

  /** Forgets what is over. */
  dropOver(now: EpochSeconds): void {
    for (const span of this.#spans.keys()) if ((span + 1) * SPAN <= now) this.#spans.delete(span);
  }

  /** Each row has its own word of the hash. */
  #counterOf(client: Hash, row: number): number {
    return row * this.#width + ((client[row] ?? 0) & (this.#width - 1));
  }
}

/** What clients may take of a store that cannot count by itself. */
export interface ClientShares {
  /** What counts this use once it is recorded; `undefined` where the client may have no more of them. */
  allow(use: ProofUse): (() => void) | undefined;
}

/** Counters in a row: the estimate is too high by at most 0.07 % of all live uses. 64 KiB for each minute of live uses. */
const WIDTH = 4096;

/**
 * Lets each client have so many live uses, as this process sees them: for a store that is shared by processes, and counts nothing
 * itself. Of several processes, each counts what it records.
 */
export function clientShares(most: number): ClientShares {
  const secret = toBase64url(randomSecret(32));
  const held = new HeldUses(WIDTH);
  return {
    allow({ client, until, now }) {
      held.dropOver(now);
      const hash = keyedHash(secret, client);
      return held.of(hash) < most ? () => held.add(hash, Math.floor(until / SPAN)) : undefined;
    },
  };
}
