import type { ResourceEvent } from '@holdfast/core';

type Outcome = ResourceEvent['outcome'];

/** Requests of one client, to one route, with one outcome for one reason. */
export interface Row {
  readonly client: string;
  readonly reason: string;
  readonly route: string;
  readonly outcome: Outcome;
  count: number;
  /** Epoch seconds; absent where no event has a time. */
  first?: number;
  last?: number;
}

/** What a log comes to. */
export interface Tally {
  readonly outcomes: Record<Outcome, number>;
  /** Lines that are no event. */
  otherLines: number;
  /** All but what was granted, the most frequent first. */
  readonly rows: readonly Row[];
  /** Events that were not granted and stand in no row: there were too many different ones before them. */
  unlisted: number;
}

/** Stands for what an event does not say: the token was not authenticated, or nobody named the route. */
const UNKNOWN = '-';

/** Rows that are kept, so that no log fills the memory. What would be one more is counted, and not told apart. */
const MOST_ROWS = 10_000;
/** Characters of a name that are kept. */
const LONGEST_NAME = 200;
/** Not the keys of `REASONS`: a log may be older or newer than this program. */
const REASON = /^[a-z_]{1,40}\.[a-z_]{1,60}$/;

/** How deep below the line of a logger an event may stand: `{ "msg": …, "event": { … } }`. */
const DEEPEST = 3;
const OUTCOMES: ReadonlySet<unknown> = new Set<Outcome>(['granted', 'refused', 'audited', 'unavailable']);

/** Counts the events in lines of JSON, each an event, or a logger's line that holds one; `undefined` stands for a line that is too long. */
export async function tally(lines: AsyncIterable<string | undefined>): Promise<Tally> {
  const outcomes: Record<Outcome, number> = { granted: 0, refused: 0, audited: 0, unavailable: 0 };
  const rows = new Map<string, Row>();
  let otherLines = 0;
  let unlisted = 0;
  for await (const line of lines) {
    if (line?.trim() === '') continue;
    const event = line === undefined ? undefined : eventIn(parse(line));
    if (event === undefined) {
      otherLines++;
      continue;
    }
    outcomes[event.outcome]++;
    if (event.outcome !== 'granted' && !count(rows, event)) unlisted++;
  }
  return { outcomes, otherLines, unlisted, rows: [...rows.values()].toSorted((a, b) => b.count - a.count) };
}

/** What is read of an event. */
interface Found {
  readonly outcome: Outcome;
  readonly client: string;
  readonly reason: string;
  readonly route: string;
  readonly time: number | undefined;
}

/** Whether there was a row for it, or room for one. */
function count(rows: Map<string, Row>, { outcome, client, reason, route, time }: Found): boolean {
  const key = JSON.stringify([outcome, client, reason, route]);
  if (rows.size >= MOST_ROWS && !rows.has(key)) return false;
  const row = rows.get(key) ?? { client, reason, route, outcome, count: 0 };
  row.count++;
  if (time !== undefined) {
    row.first = Math.min(row.first ?? time, time);
    row.last = Math.max(row.last ?? time, time);
  }
  rows.set(key, row);
  return true;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function eventIn(value: unknown, depth = 0): Found | undefined {
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return undefined;
  if ('outcome' in value && isOutcome(value.outcome) && isEvent(value.outcome, value)) return read(value.outcome, value);
  for (const inner of Object.values(value)) {
    const found = eventIn(inner, depth + 1);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A logger may have been given some members of an event alone. */
function isEvent(outcome: Outcome, value: object): boolean {
  if ('timings' in value || outcome === 'granted') return true;
  return 'reason' in value && typeof value.reason === 'string' && REASON.test(value.reason);
}

function isOutcome(value: unknown): value is Outcome {
  return OUTCOMES.has(value);
}

function read(outcome: Outcome, event: object): Found {
  const member = (name: string): unknown => Object.getOwnPropertyDescriptor(event, name)?.value;
  const text = (name: string): string => {
    const value = member(name);
    if (typeof value !== 'string' || value === '') return UNKNOWN;
    return value.length <= LONGEST_NAME ? value : `${value.slice(0, LONGEST_NAME)}…`;
  };
  return {
    outcome,
    client: clientOf(text('issuer'), text('clientId')),
    reason: text('reason'),
    route: text('route'),
    time: secondsOf(member('time')),
  };
}

/** A client is known by its issuer too: two can give out the same name. */
function clientOf(issuer: string, client: string): string {
  return issuer === UNKNOWN ? client : `${client} (${issuer})`;
}

/** Loggers that merge an event into their line may put their own time there, in milliseconds. */
function secondsOf(time: unknown): number | undefined {
  if (typeof time !== 'number' || !Number.isFinite(time) || time < 0) return undefined;
  const seconds = time > 1e11 ? time / 1000 : time;
  return seconds < 8.64e12 ? seconds : undefined;
}
