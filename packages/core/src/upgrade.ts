import { type IncomingMessage, STATUS_CODES, validateHeaderValue } from 'node:http';
import type { Duplex } from 'node:stream';
import { type PreparedRequirements, prepareRequirements, type Requirements } from './authorization/requirements.ts';
import { captureCertificate } from './certificate/tls-connection.ts';
import type { Refusal } from './challenge/refusal.ts';
import { nodeRequest } from './node-request.ts';
import type { Awaitable, ProtectedResourceRequest } from './request.ts';

/** What {@link upgrade} needs of access. */
export interface UpgradeAccess {
  readonly granted: true;
  readonly signal: AbortSignal;
}

/** What {@link upgrade} needs of a protected resource. */
export interface UpgradeResource<A extends UpgradeAccess> {
  verify(request: ProtectedResourceRequest): Awaitable<A | Refusal>;
  authorize(result: A | Refusal, requirements?: PreparedRequirements): A | Refusal;
}

/**
 * A listener for the `upgrade` event of `node:http` and `node:https`, which hands on only what was granted access: a WebSocket
 * handshake is judged like the GET request that it is (RFC 6455 §4.1), a DPoP proof names its https URI. Whatever else comes is
 * refused on the socket, with the status and fields of any refusal and `Connection: close`, before anything is upgraded.
 *
 * A request without credentials is refused here also where `credentials: 'optional'`. When the access ends (the token expires, its
 * key is revoked, the resource is closed), so does the connection, by {@link endWithAccess}: what you do on `access.signal` comes
 * first, so that a WebSocket can still say why it closes.
 *
 * @param accept Gets the request, its socket, the first bytes that came after it, and the access. Called at most once, and not when
 * the client has gone in the meantime. From here on errors of the socket are yours; `ws` takes them over in `handleUpgrade`.
 * @param requirements What is required beyond access; makes no sense: throws a `TypeError`.
 *
 * @example
 * server.on('upgrade', upgrade(resource, (request, socket, head, access) => {
 *   sockets.handleUpgrade(request, socket, head, (webSocket) => {
 *     const end = () => webSocket.close(1008); // says why; upgrade then ends the connection
 *     access.signal.addEventListener('abort', end);
 *     webSocket.once('close', () => access.signal.removeEventListener('abort', end)); // else it keeps the socket
 *     sockets.emit('connection', webSocket, request, access);
 *   });
 * }));
 */
export function upgrade<A extends UpgradeAccess, H>(
  resource: UpgradeResource<A>,
  accept: (request: IncomingMessage, socket: Duplex, head: H, access: A) => void,
  requirements?: Requirements,
): (request: IncomingMessage, socket: Duplex, head: H) => void {
  const prepared = requirements && prepareRequirements(requirements);
  return (request, socket, head) => {
    captureCertificate(socket);
    const giveUp = (): void => void socket.destroy();
    // Node no longer listens to errors of the socket, and nobody else does yet: one would end the process.
    socket.on('error', giveUp);
    const carryOut = (result: A | Refusal): void => {
      if (socket.destroyed) return;
      const answer = resource.authorize(result, prepared);
      if (!answer.granted) return refuseUpgrade(socket, answer);
      socket.off('error', giveUp);
      endWithAccess(answer, socket);
      accept(request, socket, head, answer);
    };
    const result = resource.verify(nodeRequest(request));
    if (result instanceof Promise) void result.then(carryOut);
    else carryOut(result);
  };
}

/**
 * Ends a connection when the access ends that it was opened with: at once, whether the other end agrees or not, for one that
 * ignores the closing handshake of a WebSocket would otherwise stay in service. Listeners of the signal are heard before.
 * For adapters whose framework answers upgrades itself; {@link upgrade} does it by itself.
 */
export function endWithAccess({ signal }: Pick<UpgradeAccess, 'signal'>, socket: Duplex): void {
  const end = (): void => queueMicrotask(() => void socket.destroy());
  signal.addEventListener('abort', end, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', end));
  if (signal.aborted) end();
}

/**
 * Reads the certificates of connections whose first request is an upgrade, before anybody can wait, so that over TLS 1.2 they count
 * there too. For adapters whose framework answers upgrades itself, when all that answers them is in place: a server with a listener
 * of its own for upgrades answers them no longer by itself, so where there is none, none is added.
 */
export function captureUpgrades(server: UpgradeServer): void {
  if (server.listenerCount('upgrade') > 0) server.prependListener('upgrade', (_request, socket) => captureCertificate(socket));
}

/** A server of `node:http`, `node:https` or `node:http2`, as far as {@link captureUpgrades} needs it. */
export interface UpgradeServer {
  listenerCount(event: 'upgrade'): number;
  prependListener(event: 'upgrade', listener: (request: unknown, socket: Duplex) => void): unknown;
}

function refuseUpgrade(socket: Duplex, { status, fields, body }: Refusal): void {
  const content = body === undefined ? '' : JSON.stringify(body);
  const lines = [
    ...fields,
    ...(body === undefined ? [] : [['Content-Type', 'application/json; charset=utf-8'] as const]),
    ['Content-Length', String(new TextEncoder().encode(content).length)] as const,
    ['Date', new Date().toUTCString()] as const,
    ['Connection', 'close'] as const,
  ].map(([name, value]) => {
    validateHeaderValue(name, value);
    return `${name}: ${value}`;
  });
  socket.end(`HTTP/1.1 ${[status, STATUS_CODES[status], ''].join(' ').trim()}\r\n${lines.join('\r\n')}\r\n\r\n${content}`, () =>
    socket.destroy(),
  );
}
