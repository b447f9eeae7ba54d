import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { tlsConnection } from './certificate/tls-connection.ts';
import type { Answer, Fields } from './challenge/refusal.ts';
import type { Connection, ProtectedResourceRequest } from './request.ts';
import { slot } from './slot.ts';

export { type Slot, slot } from './slot.ts';

// By the field lines and not by the message: frameworks replace its prototype, and what is added to it then costs a table of its own.
const views = slot<NodeRequest>();

/**
 * The view of a request of `node:http`, `node:https`, or `node:http2` with its compatibility layer: the same object each time,
 * so that a request is judged once. Call it when the request begins, before anything is awaited.
 *
 * @param target The request target as the client wrote it, where a framework has rewritten `message.url`.
 */
export function nodeRequest(message: IncomingMessage | Http2ServerRequest, target: string = message.url ?? ''): ProtectedResourceRequest {
  const { rawHeaders } = message;
  let view = views.get(rawHeaders);
  // Messages that are made by hand can share one list.
  if (view === undefined || !view.shows(message)) {
    view = new NodeRequest(message, target);
    views.set(rawHeaders, view);
  }
  return view;
}

const NO_LINES: readonly string[] = Object.freeze([]);

class NodeRequest implements ProtectedResourceRequest {
  readonly method: string;
  readonly target: string;
  readonly connection: Connection;
  readonly #message: IncomingMessage | Http2ServerRequest;

  constructor(message: IncomingMessage | Http2ServerRequest, target: string) {
    this.#message = message;
    this.method = message.method ?? '';
    this.target = target;
    this.connection = tlsConnection(message);
  }

  shows(message: IncomingMessage | Http2ServerRequest): boolean {
    return this.#message === message;
  }

  /** From `rawHeaders`: of several Authorization lines `headers` keeps only the first, and other lines it joins. */
  fieldLines(name: Lowercase<string>): readonly string[] {
    const { rawHeaders } = this.#message;
    let lines: string[] | undefined;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const field = rawHeaders[i];
      const value = rawHeaders[i + 1];
      if (field?.length === name.length && value !== undefined && field.toLowerCase() === name) {
        if (lines === undefined) lines = [value];
        else lines.push(value);
      }
    }
    return lines ?? NO_LINES;
  }
}

/** Sets fields on a response, several lines of one name as several lines. What others have exposed to scripts stays exposed. */
export function setFields(response: ServerResponse | Http2ServerResponse, fields: Fields): void {
  if (fields.length === 0) return;
  for (const [name, lines] of linesByName(fields)) {
    if (name === EXPOSE) response.setHeader(name, withoutRepeats([response.getHeader(name) ?? [], lines].flat()));
    else response.setHeader(name, lines);
  }
}

const EXPOSE = 'Access-Control-Expose-Headers';

/** The names in several lists as one list; names of fields are the same in any case. */
function withoutRepeats(lists: readonly (string | number)[]): string {
  const names = lists.flatMap((list) => String(list).split(',')).map((name) => name.trim());
  return [...new Map(names.filter(Boolean).map((name) => [name.toLowerCase(), name])).values()].join(', ');
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

/** Answers a request in the place of its route, with a refusal or with metadata: status, fields, and the body as JSON where it has one. */
export function sendRefusal(response: ServerResponse | Http2ServerResponse, refusal: Answer): void {
  response.statusCode = refusal.status;
  setFields(response, refusal.fields);
  if (refusal.body === undefined) {
    response.end();
    return;
  }
  response.setHeader('Content-Type', 'application/json; charset=utf-8');
  response.end(JSON.stringify(refusal.body));
}
