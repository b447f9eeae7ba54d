import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Answer, Fields, ProtectedResourceRequest } from '@holdfast/core';
import { type FieldTarget, isOver, nodeRequest, sendRefusal, setFields, slot } from '@holdfast/core/node';
import type { ExecutionContext } from '@nestjs/common';

type Message = (IncomingMessage | Http2ServerRequest) & { readonly originalUrl?: string };

/** A request, as it is known to Nest's platforms, and what can be done with its response. */
export interface Exchange {
  readonly view: ProtectedResourceRequest;
  /** Whether a refusal is an answer to this request, and not to a message that came long after it. */
  readonly answerable: boolean;
  /** Whether somebody has answered already, the client has gone, or the access of its connection has ended. */
  over(): boolean;
  setFields(fields: Fields): void;
  /** Answers in the place of a route, past the framework. */
  answer(answer: Answer): void;
}

const connections = slot<Exchange>();

/** Lets messages of this client (of `ws`, or of engine.io) be those of the handshake that opened its connection, until the signal aborts. */
export function connect(client: object, view: ProtectedResourceRequest, signal: AbortSignal): void {
  connections.set(client, { view, answerable: false, over: () => signal.aborted, setFields: () => {}, answer: () => {} });
}

/** Ends a connection with its access. */
export function endWith(signal: AbortSignal, connection: { once(event: 'close', listener: () => void): unknown }, end: () => void): void {
  if (signal.aborted) return end();
  signal.addEventListener('abort', end);
  connection.once('close', () => signal.removeEventListener('abort', end));
}

/**
 * The HTTP exchange of an execution context: of a route, of a GraphQL operation that came in an HTTP request, or of the handshake
 * before a message, where that was judged. `undefined` where there is none: messages of other gateways and of microservices, GraphQL
 * operations that come in over a WebSocket, contexts nobody knows.
 */
export function exchangeIn(context: ExecutionContext): Exchange | undefined {
  const type: string = context.getType();
  const parts: readonly unknown[] = context.getArgs();
  if (type === 'http') return exchangeOf(parts[0], parts[1]);
  // A client of socket.io keeps that of engine.io, whose connection it is one of, in `conn`.
  if (type === 'ws') return connectionOf(parts[0]);
  if (type !== 'graphql') return undefined;
  // Resolvers of references have no arguments of their own, so the context that all resolvers share comes one place sooner.
  const shared = parts.length === 3 ? parts[1] : parts[2];
  const request = member(shared, 'req');
  // The request that opened a WebSocket says nothing about operations that come hours later.
  if (member(messageOf(request), 'upgrade') === true) return undefined;
  return exchangeOf(request, member(shared, 'res') ?? member(shared, 'reply'));
}

/** A client of socket.io keeps that of engine.io, whose connection it is one of, in `conn`. */
function connectionOf(client: unknown): Exchange | undefined {
  const below = member(client, 'conn');
  const own = isObject(client) ? connections.get(client) : undefined;
  return own ?? (isObject(below) ? connections.get(below) : undefined);
}

/** The exchange of a request and response of Express, of Fastify, or of Node itself. */
export function exchangeOf(request: unknown, response: unknown): Exchange | undefined {
  const view = viewOf(request);
  if (view === undefined) return undefined;
  const raw = [response, member(response, 'raw')].find(isResponse);
  const over = (): boolean => raw !== undefined && isOver(raw);
  const target = isReply(response) ? { ...fieldsOf(response), ...(raw && { raw }) } : raw;
  return {
    view,
    answerable: true,
    over,
    setFields: (fields) => (target === undefined || over() ? undefined : setFields(target, fields)),
    answer: (answer) => (raw === undefined ? undefined : sendRefusal(raw, answer)),
  };
}

/** The view of a request: the same for the request of a framework and for the message of Node inside it. */
function viewOf(request: unknown): ProtectedResourceRequest | undefined {
  const message = messageOf(request);
  return message && nodeRequest(message, message.originalUrl);
}

function messageOf(request: unknown): Message | undefined {
  if (isMessage(request)) return request;
  const raw = member(request, 'raw');
  return isMessage(raw) ? raw : undefined;
}

/** What a client sent can be an object with these members, but none of its members is a function: it never passes for a request. */
function isMessage(value: unknown): value is Message {
  return typeof member(value, 'pipe') === 'function' && Array.isArray(member(value, 'rawHeaders')) && member(value, 'socket') !== undefined;
}

function isResponse(value: unknown): value is ServerResponse | Http2ServerResponse {
  return typeof member(value, 'writeHead') === 'function' && typeof member(value, 'setHeader') === 'function';
}

/** Fastify keeps the fields of a reply itself, and would replace what stands on Node's response. */
interface Reply {
  getHeader(name: string): number | string | string[] | undefined;
  header(name: string, value: unknown): unknown;
}

function isReply(value: unknown): value is Reply {
  return typeof member(value, 'header') === 'function' && member(value, 'raw') !== undefined;
}

function fieldsOf(reply: Reply): FieldTarget {
  return { getHeader: (name) => reply.getHeader(name), setHeader: (name, lines) => reply.header(name, lines) };
}

export function member(object: unknown, name: string): unknown {
  return isObject(object) ? Reflect.get(object, name) : undefined;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
