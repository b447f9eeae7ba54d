import type { EpochSeconds } from '@holdfast/core';
import { type Entry, type Outcome, OUTCOMES } from './entry.ts';

export type Counts = Record<Outcome, number>;

/** One line of a table: how often each outcome was, for one name. `null`: the events have none, as where no token was authenticated. */
export type Row = { readonly name: string | null } & Readonly<Counts>;

/** The rows with the most that was not granted, and what all others come to. */
export interface Table {
  readonly rows: readonly Row[];
  readonly others: Readonly<Counts>;
}

/** What a log comes to. */
export interface Summary {
  readonly lines: number;
  readonly events: number;
  /** Lines that are no JSON, too long, or have no event in them. Empty ones are no lines. */
  readonly notUnderstood: number;
  readonly from: EpochSeconds | undefined;
  readonly to: EpochSeconds | undefined;
  readonly outcomes: Readonly<Counts>;
  readonly reasons: Table;
  readonly clients: Table;
  readonly issuers: Table;
}

/** Names that are counted each for itself; those that come later are counted together, so that no log fills the memory. */
const MOST_NAMES = 10_000;
/** Characters of a name: whoever writes longer ones has them cut, and those that begin alike counted together. */
const LONGEST_NAME = 200;

/** Counts by name, in bounded memory. */
class Names {
  readonly #counts = new Map<string | null, Counts>();
  readonly #others = nothing();

  count(name: string | undefined, outcome: Outcome): void {
    const key = name === undefined ? null : name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME)}…` : name;
    let counts = this.#counts.get(key);
    if (counts === undefined && this.#counts.size < MOST_NAMES) {
      counts = nothing();
      this.#counts.set(key, counts);
    }
    (counts ?? this.#others)[outcome] += 1;
  }

  table(top: number): Table {
    const rows = [...this.#counts].map(([name, counts]) => Object.assign({ name }, counts)).toSorted(byWeight);
    const others = { ...this.#others };
    for (const row of rows.slice(top)) for (const outcome of OUTCOMES) others[outcome] += row[outcome];
    return { rows: rows.slice(0, top), others };
  }
}

/** Sums up entries, one after the other. */
export class Tally {
  #lines = 0;
  #events = 0;
  #from: EpochSeconds | undefined;
  #to: EpochSeconds | undefined;
  readonly #outcomes = nothing();
  readonly #reasons = new Names();
  readonly #clients = new Names();
  readonly #issuers = new Names();

  /** @param entry `undefined` for a line that was not understood. */
  add(entry: Entry | undefined): void {
    this.#lines += 1;
    if (entry === undefined) return;
    const { outcome, reason, clientId, issuer, time } = entry;
    this.#events += 1;
    this.#outcomes[outcome] += 1;
    if (outcome !== 'granted') this.#reasons.count(reason, outcome);
    this.#clients.count(clientId, outcome);
    this.#issuers.count(issuer, outcome);
    if (time === undefined) return;
    this.#from = Math.min(this.#from ?? time, time);
    this.#to = Math.max(this.#to ?? time, time);
  }

  summary(top: number): Summary {
    return {
      lines: this.#lines,
      events: this.#events,
      notUnderstood: this.#lines - this.#events,
      from: this.#from,
      to: this.#to,
      outcomes: { ...this.#outcomes },
      reasons: this.#reasons.table(top),
      clients: this.#clients.table(top),
      issuers: this.#issuers.table(top),
    };
  }
}

function nothing(): Counts {
  return { audited: 0, refused: 0, unavailable: 0, granted: 0 };
}

/** What audit mode let through comes first: that is what somebody has to do something about before it ends. */
function byWeight(one: Row, other: Row): number {
  const refused = (row: Row): number => row.refused + row.unavailable;
  return other.audited - one.audited || refused(other) - refused(one) || other.granted - one.granted || order(one.name, other.name);
}

function order(one: string | null, other: string | null): number {
  return one === other ? 0 : (one ?? '') < (other ?? '') ? -1 : 1;
}
