import type { EpochSeconds, ResourceEvent } from '@holdfast/core';

export type Outcome = ResourceEvent['outcome'];

/** In the order of the columns: first what will be refused one day. */
export const OUTCOMES: readonly Outcome[] = ['audited', 'refused', 'unavailable', 'granted'];

/** What is summed up of one event in a log. */
export interface Entry {
  readonly outcome: Outcome;
  readonly reason: string | undefined;
  readonly clientId: string | undefined;
  readonly issuer: string | undefined;
  readonly time: EpochSeconds | undefined;
}

/** Not the keys of `REASONS`: a log may be older or newer than this program. */
const REASON = /^[a-z_]{1,40}\.[a-z_]{1,60}$/;

/**
 * The event in a line of a log: JSON that is a `ResourceEvent`, has its members among its own as pino and bunyan write them, or has one
 * under a key. `undefined` for anything else.
 */
export function entryOf(line: string): Entry | undefined {
  const value = parsed(line);
  if (!isObject(value)) return undefined;
  const event = [value, ...Object.values(value)].filter(isObject).find(isEvent);
  const outcome = OUTCOMES.find((one) => one === event?.['outcome']);
  if (event === undefined || outcome === undefined) return undefined;
  return {
    outcome,
    reason: textOf(event['reason']),
    clientId: textOf(event['clientId']),
    issuer: textOf(event['issuer']),
    time: timeOf(event['time'] ?? value['time']),
  };
}

function isEvent({ outcome, reason }: Readonly<Record<string, unknown>>): boolean {
  if (outcome === 'granted') return reason === undefined;
  return OUTCOMES.some((one) => one === outcome) && typeof reason === 'string' && REASON.test(reason);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** A logger that writes a time of its own over that of the event writes milliseconds (pino), or a date (bunyan). */
function timeOf(value: unknown): EpochSeconds | undefined {
  const time = typeof value === 'string' ? Date.parse(value) / 1000 : value;
  if (typeof time !== 'number' || !(time >= 0)) return undefined;
  const seconds = time > 1e11 ? time / 1000 : time;
  return seconds < 1e11 ? seconds : undefined;
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
