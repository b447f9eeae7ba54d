import type { ProtectedResource, PublishedMetadata } from '@holdfast/core';
import type { HttpAdapterHost } from '@nestjs/core';
import { type Exchange, exchangeOf } from './exchange.ts';

/** A HoldfastModule, as the others of its application know it. */
export interface Member {
  readonly resource: ProtectedResource;
  readonly metadata: PublishedMetadata | undefined;
}

const applications = new WeakMap<HttpAdapterHost, Member[]>();
/** Applications that have a global module. */
const globals = new WeakSet<HttpAdapterHost>();

export function modulesOf(host: HttpAdapterHost): readonly Member[] {
  return applications.get(host) ?? [];
}

/** Makes a module one of its application: the first sees to it that requests are seen when they begin. */
export function join(host: HttpAdapterHost, module: Member, isGlobal: boolean): void {
  if (isGlobal && globals.has(host)) {
    throw new TypeError(
      'HoldfastModule: two of them are global, and it would be chance which one protects a route. Give all but one { isGlobal: false }, and import those where they are used.',
    );
  }
  if (isGlobal) globals.add(host);
  const modules = applications.get(host) ?? [];
  if (modules.push(module) > 1) return;
  applications.set(host, modules);
  // Now, before anything else is mounted there. A testing module gets its platform later: there the guard reads.
  beginEarly(host.httpAdapter, (exchange) => modules.some(({ metadata }) => publish(exchange, metadata)));
}

/**
 * Reads what a request says of its connection when it begins: parsers, guards and the client may take their time. What is answered
 * here goes no further.
 */
function beginEarly(platform: HttpAdapterHost['httpAdapter'] | null | undefined, answers: (exchange: Exchange) => boolean): void {
  // A platform without middleware (Fastify with skipMiddie) is read when the guard runs.
  const { use } = platform?.getInstance<{ use?: unknown }>() ?? {};
  if (use === undefined) return;
  platform?.use((request: object, response: object, next: () => void) => {
    const exchange = exchangeOf(request, response);
    if (exchange === undefined || !answers(exchange)) next();
  });
}

/** Answers a request for the metadata of a resource (RFC 9728), which no route of the application is for. */
function publish(exchange: Exchange, metadata: PublishedMetadata | undefined): boolean {
  const published = metadata?.answer(exchange.view);
  if (published === undefined) return false;
  if (published instanceof Promise) void published.then((known) => exchange.answer(known));
  else exchange.answer(published);
  return true;
}
