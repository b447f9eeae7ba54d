import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { tlsConnection } from './certificate/tls-connection.ts';
import type { Connection, ProtectedResourceRequest } from './request.ts';
import { slot } from './slot.ts';

// By the field lines and not by the message: frameworks replace its prototype, and what is added to it then costs a table of its own.
const views = slot<NodeRequest>();

/**
 * The view of a request of `node:http`, `node:https`, or `node:http2` with its compatibility layer: the same object each time,
 * so that a request is judged once. Call it when the request begins, before anything is awaited, and before its method is changed,
 * unless `originalMethod` keeps it, as method-override does.
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

/** A method that a client asks for by a field is not the one on the wire, which method-override and its like keep as `originalMethod`. */
function methodOf(message: IncomingMessage | Http2ServerRequest): string {
  const original: unknown = 'originalMethod' in message ? message.originalMethod : undefined;
  return typeof original === 'string' ? original : (message.method ?? '');
}

/** Names and values together. */
const MOST_KEPT = 2_000;
/** Before the parser has handed on twice as many at once, nothing is cut. */
const NEVER_CUT = 32;

/** node:http stops to collect field lines at a limit, and says nothing; HTTP/2 ends such a stream. */
function areFieldsCut({ rawHeaders, socket, httpVersionMajor }: IncomingMessage | Http2ServerRequest): boolean {
  if (rawHeaders.length < NEVER_CUT || httpVersionMajor > 1) return false;
  const server: unknown = Reflect.get(socket, 'server');
  const most: unknown = typeof server === 'object' && server !== null ? Reflect.get(server, 'maxHeadersCount') : undefined;
  return rawHeaders.length >= (typeof most === 'number' ? 2 * most || Number.POSITIVE_INFINITY : MOST_KEPT);
}

const NO_LINES: readonly string[] = Object.freeze([]);

class NodeRequest implements ProtectedResourceRequest {
  readonly method: string;
  readonly target: string;
  readonly connection: Connection;
  readonly fieldsCut: boolean;
  readonly #message: IncomingMessage | Http2ServerRequest;

  constructor(message: IncomingMessage | Http2ServerRequest, target: string) {
    this.#message = message;
    this.method = methodOf(message);
    this.target = target;
    this.connection = tlsConnection(message);
    this.fieldsCut = areFieldsCut(message);
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
