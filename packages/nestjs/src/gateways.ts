import type { IncomingMessage } from 'node:http';
import type { Access, ProtectedResource } from '@holdfast/core';
import { nodeRequest, upgrade } from '@holdfast/core/node';
import type { WebSocketAdapter } from '@nestjs/common';
import { grantedAt, judge, keep } from './access.ts';
import { connect, exchangeOf, member } from './exchange.ts';

type Handshake = Parameters<ReturnType<typeof upgrade>>;

/** What a server of `ws` and the engine of socket.io have in common, and document. */
interface Upgrading {
  handleUpgrade(...handshake: [...Handshake, ...then: unknown[]]): void;
}

/** The engine of socket.io: beside upgrades it serves long polling, several requests for one session. */
interface Engine extends Upgrading {
  readonly clients: Readonly<Record<string, Session>>;
  use(middleware: (request: IncomingMessage, response: object, next: (error?: Error) => void) => Promise<void>): void;
  on(event: 'connection', listener: (session: Session) => void): unknown;
}

interface Session {
  /** The handshake; none with WebTransport. */
  readonly request: IncomingMessage | null;
  close(discard: true): unknown;
  once(event: 'close', listener: () => void): unknown;
}

const judging = new WeakSet<ProtectedResource>();
const protectedServers = new WeakMap<object, ProtectedResource>();

/** Whether handshakes of gateways are judged by this resource. */
export function judgesHandshakes(resource: ProtectedResource): boolean {
  return judging.has(resource);
}

/**
 * Has the handshakes of gateways judged as requests are, before Nest sees them, and ends a connection with its access: at `exp`, when
 * the key that signed the token is revoked, when the application closes. Whoever has no access is answered as anywhere, with status
 * and challenges. {@link HoldfastGuard}, `@Requires` and `@Access()` then work for messages; `handleConnection` finds the access with
 * `accessOf(request)`.
 *
 * For `WsAdapter` and `IoAdapter`, and what extends them; another one is refused with a `TypeError`, when the application starts.
 * Every HTTP request of socket.io is judged, those of long polling too: each needs a DPoP proof of its own, and the session it names
 * has to be of the same subject, client and key.
 *
 * @example
 * app.useWebSocketAdapter(protectGateways(new IoAdapter(app), app.get(HOLDFAST_RESOURCE)));
 */
export function protectGateways<A extends WebSocketAdapter>(adapter: A, resource: ProtectedResource): A {
  const create: (port: number, options?: unknown) => unknown = adapter.create.bind(adapter);
  adapter.create = (port: number, options?: unknown) => {
    const server = create(port, options);
    protectServer(server, resource);
    judging.add(resource);
    return server;
  };
  return adapter;
}

function protectServer(server: unknown, resource: ProtectedResource): void {
  const engine = member(server, 'engine') ?? member(member(server, 'server'), 'engine');
  const target = engine ?? server;
  if (!isUpgrading(target) || (engine !== undefined && !isEngine(target))) {
    throw new TypeError(
      'protectGateways: this WebSocket adapter makes a server that is neither of ws nor of socket.io (4.6 or later), and its handshakes cannot be judged. Give a WsAdapter or an IoAdapter.',
    );
  }
  // Namespaces of socket.io share one engine.
  if (protectedServers.get(target) === resource) return;
  protectedServers.set(target, resource);
  protectUpgrades(target, resource);
  if (isEngine(target)) protectSessions(target, resource);
}

function protectUpgrades(server: Upgrading, resource: ProtectedResource): void {
  const handle = server.handleUpgrade.bind(server);
  server.handleUpgrade = (request, socket, head, ...then) => {
    const judged = upgrade(resource, (_request, _socket, _head, access: Access) => {
      const view = nodeRequest(request);
      const end = (): void => void socket.destroy();
      keep(view, access);
      endWith(access.signal, socket, end);
      // socket.io has middleware of the application run before anybody listens to errors: one would end the process.
      socket.on('error', end);
      const tell = (next: unknown): unknown =>
        typeof next !== 'function'
          ? next
          : (client: object, ...others: unknown[]): unknown => {
              connect(client, view, access.signal);
              return next(client, ...others);
            };
      handle(request, socket, head, ...then.map(tell));
    });
    judged(request, socket, head);
  };
}

function protectSessions(engine: Engine, resource: ProtectedResource): void {
  // After what the application says of CORS, so that scripts can read a refusal.
  engine.use(async (request, response, next) => {
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
  });
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

function callerOf({ issuer, claims, clientId, confirmations }: Access): string | undefined {
  if (claims.sub === undefined && clientId === undefined && confirmations.length === 0) return undefined;
  const keys = confirmations.map(({ member: name, thumbprint }) => `${name} ${thumbprint}`).toSorted();
  return JSON.stringify([issuer, claims.sub ?? null, clientId ?? null, keys]);
}

function endWith(signal: AbortSignal, connection: { once(event: 'close', listener: () => void): unknown }, end: () => void): void {
  if (signal.aborted) return end();
  signal.addEventListener('abort', end);
  connection.once('close', () => signal.removeEventListener('abort', end));
}

function isUpgrading(server: unknown): server is Upgrading {
  return typeof member(server, 'handleUpgrade') === 'function';
}

function isEngine(server: unknown): server is Engine {
  const has = (name: string): boolean => typeof member(server, name) === 'function';
  return isUpgrading(server) && has('use') && has('on') && member(server, 'clients') !== undefined;
}
