import type { Access, ProtectedResource } from '@holdfast/core';
import { nodeRequest, upgrade } from '@holdfast/core/node';
import type { WebSocketAdapter } from '@nestjs/common';
import { keep } from './access.ts';
import { connect, endWith, member } from './exchange.ts';
import { isEngine, protectSessions } from './sessions.ts';

type Handshake = Parameters<ReturnType<typeof upgrade>>;

/** What a server of `ws` and the engine of socket.io have in common, and document. */
interface Upgrading {
  handleUpgrade(...handshake: [...Handshake, then?: (client: object, ...others: unknown[]) => void]): void;
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
 * `accessOf(request)`. `@Public` opens messages, and no connection.
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
  server.handleUpgrade = (request, socket, head, then) => {
    const judged = upgrade(resource, (_request, _socket, _head, access: Access) => {
      const view = nodeRequest(request);
      const end = (): void => void socket.destroy();
      keep(view, { resource, result: access });
      endWith(access.signal, socket, end);
      // socket.io has middleware of the application run before anybody listens to errors: one would end the process.
      socket.on('error', end);
      handle(request, socket, head, (client, ...others) => {
        connect(client, view, access.signal);
        then?.(client, ...others);
      });
    });
    judged(request, socket, head);
  };
}

function isUpgrading(server: unknown): server is Upgrading {
  return typeof member(server, 'handleUpgrade') === 'function';
}
