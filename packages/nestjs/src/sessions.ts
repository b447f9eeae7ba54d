import type { IncomingMessage } from 'node:http';
import { type Access, callerOf, type ProtectedResource } from '@holdfast/core';
import { nodeRequest } from '@holdfast/core/node';
import { grantedAt, judge } from './access.ts';
import { connect, endWith, exchangeOf, member } from './exchange.ts';

/** The engine of socket.io: beside upgrades it serves long polling, several requests for one session. */
export interface Engine {
  readonly clients: Readonly<Record<string, Session>>;
  use(middleware: (request: IncomingMessage, response: object, next: (error?: Error) => void) => void): void;
  on(event: 'connection', listener: (session: Session) => void): unknown;
}

interface Session {
  /** The handshake; none with WebTransport. */
  readonly request: IncomingMessage | null;
  close(discard: true): unknown;
  once(event: 'close', listener: () => void): unknown;
}

/** Has every HTTP request of socket.io judged, and each session end with the access that began it. */
export function protectSessions(engine: Engine, resource: ProtectedResource): void {
  const judgeRequest = async (request: IncomingMessage, response: object, next: (error?: Error) => void): Promise<void> => {
    const exchange = exchangeOf(request, response);
    const query = member(request, '_query');
    if (exchange === undefined || query === undefined) return next(new Error('no request of socket.io'));
    const result = await judge(resource, exchange);
    if (result === undefined) return;
    if (!result.granted) return exchange.answer(result);
    const sid = String(member(query, 'sid'));
    const session = Object.hasOwn(engine.clients, sid) ? engine.clients[sid] : undefined;
    // The name of a session stands in URLs, and so in logs: it proves nothing.
    if (session === undefined || isOfOne(accessIn(session), result)) next();
    else next(new Error('the session of another client'));
  };
  // After what the application says of CORS, so that scripts can read a refusal.
  engine.use((request, response, next) => void judgeRequest(request, response, next));
  engine.on('connection', (session) => {
    const access = accessIn(session);
    if (access === undefined || session.request === null) return void session.close(true);
    connect(session, nodeRequest(session.request), access.signal);
    endWith(access.signal, session, () => session.close(true));
  });
}

function accessIn({ request }: Session): Access | undefined {
  return request === null ? undefined : grantedAt(nodeRequest(request));
}

/** Whether both are of the same subject, client, and keys or certificates. Of nobody, where nothing says whose they are. */
function isOfOne(one: Access | undefined, other: Access): boolean {
  return one !== undefined && callerOf(one) === callerOf(other) && callerOf(one) !== undefined;
}

export function isEngine(server: unknown): server is Engine {
  const has = (name: string): boolean => typeof member(server, name) === 'function';
  return has('handleUpgrade') && has('use') && has('on') && member(server, 'clients') !== undefined;
}
