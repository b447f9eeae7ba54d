import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Answer } from '@holdfast/core';
import { type FieldTarget, setFields } from '@holdfast/core/node';

/** A request of Fastify 5, over HTTP/1.1 or HTTP/2, as far as Holdfast reads it. */
export interface HoldfastRequest {
  readonly raw: IncomingMessage | Http2ServerRequest;
  readonly originalUrl: string;
}

/** A reply of Fastify 5, as far as Holdfast writes it. */
export interface HoldfastReply {
  readonly raw: ServerResponse | Http2ServerResponse;
  readonly sent: boolean;
  code(status: number): HoldfastReply;
  getHeader(name: string): number | string | string[] | undefined;
  header(name: string, value: unknown): unknown;
  type(contentType: string): unknown;
  send(payload?: string): unknown;
}

/** Goes on with the next hook, or to the error handler. */
export type Done = (error?: Error) => void;

/** A hook of Fastify 5. */
export type RouteHook = (request: HoldfastRequest, reply: HoldfastReply, done: Done) => void;

/** The fields of a reply. Unlike those of its raw response, they are seen by other plugins, and several lines are a list. */
export function fieldsOf(reply: HoldfastReply): FieldTarget {
  return { raw: reply.raw, getHeader: (name) => reply.getHeader(name), setHeader: (name, lines) => reply.header(name, lines) };
}

/** Answers in the place of the route. */
export function respond({ status, fields, body }: Answer, reply: HoldfastReply): void {
  reply.code(status);
  setFields(fieldsOf(reply), fields);
  if (body === undefined) return void reply.send();
  // As text: the schema that a route has for its answers is not for this one.
  reply.type('application/json; charset=utf-8');
  reply.send(JSON.stringify(body));
}
