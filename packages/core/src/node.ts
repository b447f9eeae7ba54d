import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { type Answer, EXPOSE, type Fields, namesIn, type Refusal, SHARED_LISTS } from './challenge/refusal.ts';
import { isUnavailable, REASONS } from './rejection.ts';
import { slot } from './slot.ts';

export { nodeRequest } from './node-request.ts';
export { type Slot, slot } from './slot.ts';
export { captureUpgrades, endWithAccess, upgrade, type UpgradeAccess, type UpgradeResource, type UpgradeServer } from './upgrade.ts';

/** Where fields are set: the responses of `node:http` and `node:http2`, and what a framework puts in their place. */
export interface FieldTarget {
  getHeader(name: string): number | string | readonly string[] | undefined;
  setHeader(name: string, lines: string | readonly string[]): unknown;
  /** The response of Node behind it, where it is not that itself. */
  readonly raw?: ServerResponse | Http2ServerResponse;
}

/**
 * Sets fields on a response, several lines of one name as several lines. What others have put into a list that is not ours alone stays
 * there. With a nonce comes `Cache-Control: no-store` (RFC 9449 §8.2), which holds whatever a route sets later.
 */
export function setFields(response: FieldTarget, fields: Fields): void {
  if (fields.length === 0) return;
  for (const [name, lines] of linesByName(fields)) {
    if (SHARED_LISTS.has(name)) response.setHeader(name, namesIn([response.getHeader(name) ?? [], lines].flat()));
    else response.setHeader(name, lines);
    if (name === 'DPoP-Nonce') neverStored(response.raw ?? response);
  }
}

const uncached = slot<true>();

/** The route runs after us, and may think that everybody can keep its answer: so the last word is spoken as the head is written. */
function neverStored(response: FieldTarget): void {
  const write: unknown = Reflect.get(response, 'writeHead');
  if (typeof write !== 'function' || uncached.get(response) === true) return;
  uncached.set(response, true);
  Reflect.set(response, 'writeHead', (...head: unknown[]): unknown => {
    response.setHeader('Cache-Control', 'no-store');
    const written: unknown = Reflect.apply(write, response, head.map(withoutCacheControl));
    return written;
  });
}

/** What `writeHead` is given: status, text, and fields as an object, a list of pairs, or of names and values in turn. */
function withoutCacheControl(given: unknown): unknown {
  if (typeof given !== 'object' || given === null) return given;
  const isOther = (name: unknown): boolean => String(name).toLowerCase() !== 'cache-control';
  if (!Array.isArray(given)) return Object.fromEntries(Object.entries(given).filter(([name]) => isOther(name)));
  const list: readonly unknown[] = given;
  return list.filter((item, i) => isOther(Array.isArray(item) ? item[0] : list[i - (i % 2)]));
}

/** The lines of each name, in the form that `setHeader` takes. */
export function linesByName(fields: Fields): Map<string, string | string[]> {
  const byName = new Map<string, string | string[]>();
  for (const [name, value] of fields) {
    const lines = byName.get(name);
    byName.set(name, lines === undefined ? value : [lines, value].flat());
  }
  return byName;
}

/**
 * Fields as the headers of an error, for frameworks that set them on the response. Without what is exposed to scripts: that is on
 * the response already, together with what others have exposed, and would be replaced.
 */
export function errorHeaders(fields: Fields): Record<string, string | string[]> {
  return Object.fromEntries(linesByName(fields.filter(([name]) => name !== EXPOSE)));
}

/**
 * A refusal as an error, for the error handlers of frameworks: Express and Fastify answer it by themselves with the right status
 * and fields. A handler of your own finds `statusCode`, `code`, `headers`, and why in `refusal.rejection`.
 */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly status: number;
  readonly statusCode: number;
  /** `HOLDFAST_` and the OAuth error code in capitals; `HOLDFAST_REFUSED` where there is none. */
  readonly code: string;
  /** Whether the message may be sent to the client. */
  readonly expose: boolean;
  // Loggers and error pages copy what they see of an error, and a field may hold a nonce.
  readonly #refusal: Refusal;

  constructor(refusal: Refusal) {
    const ours = isUnavailable(refusal.rejection);
    // Frameworks send the message to the client, and what is broken here is none of its business.
    super(refusal.body?.error_description ?? (ours ? 'Unavailable for the moment.' : REASONS[refusal.rejection.rejected].text));
    this.status = refusal.status;
    this.statusCode = refusal.status;
    this.code = `HOLDFAST_${refusal.body?.error.toUpperCase() ?? 'REFUSED'}`;
    this.expose = !ours;
    this.#refusal = refusal;
  }

  get refusal(): Refusal {
    return this.#refusal;
  }

  /** The fields of the refusal, as {@link errorHeaders} gives them. */
  get headers(): Readonly<Record<string, string | string[]>> {
    return errorHeaders(this.#refusal.fields);
  }
}

/** Whether an error is a {@link HoldfastError}, whichever copy of this package made it. */
export function isHoldfastError(error: unknown): error is HoldfastError {
  return error instanceof Error && error.name === 'HoldfastError' && 'refusal' in error;
}

/** Whether nothing is left to answer: somebody has begun to, or the client has gone. */
export function isOver(response: ServerResponse | Http2ServerResponse): boolean {
  return response.headersSent || ('stream' in response ? response.stream.destroyed : response.destroyed);
}

/**
 * Answers a request in the place of its route, with a refusal or with the metadata of the resource: status, fields, and the body as
 * JSON where it has one. Does nothing where that {@link isOver}.
 */
export function sendRefusal(response: ServerResponse | Http2ServerResponse, refusal: Answer): void {
  if (isOver(response)) return;
  response.statusCode = refusal.status;
  setFields(response, refusal.fields);
  if (refusal.body === undefined) {
    response.end();
    return;
  }
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.end(JSON.stringify(refusal.body));
}
