import { subscribe } from 'node:diagnostics_channel';
import type { TLSSocket } from 'node:tls';
import { reject } from '../rejection.ts';
import type { Connection, Peer, ProtectedResourceRequest } from '../request.ts';
import { type Certificate, type CertificateSource, certificateOf } from './thumbprint.ts';

// Until TLS 1.2 a client can renegotiate. While it does, Node already reports the certificate of the new handshake although
// the client has not proved that it holds its key: the certificate of somebody else would do. So the certificate is read when
// the first request of a connection begins, before any handler can wait, and renegotiation is refused from then on.
const certificates = new WeakMap<object, Uint8Array | undefined>();
let watching = false;

/** Sees to it that the certificate of a connection is read when its first request begins. */
export function watchRequests(): void {
  if (watching) return;
  watching = true;
  subscribe('http.server.request.start', (message) => {
    const { socket } = message as { readonly socket: object };
    if (isTls(socket)) capture(socket, socket);
  });
}

function isTls(socket: object): socket is TLSSocket {
  return 'encrypted' in socket && socket.encrypted === true;
}

function capture(key: object, socket: TLSSocket): Uint8Array | undefined {
  if (certificates.has(key)) return certificates.get(key);
  let der: Uint8Array | undefined;
  try {
    socket.disableRenegotiation();
    // Node answers {}, null or undefined where there is no certificate, and HTTP/2 throws after the session has gone.
    der = socket.getPeerCertificate()?.raw;
  } catch {
    der = undefined;
  }
  certificates.set(key, der);
  return der;
}

/**
 * Reads the certificate of a connection whose first request is an HTTP upgrade, of which `http.server.request.start` says nothing.
 * To be called when the request begins, like it.
 */
export function captureCertificate(socket: object): void {
  if (isTls(socket)) capture(socket, socket);
}

/** What {@link tlsConnection} needs to know of a request of `node:http`, `node:https` or the compatibility layer of `node:http2`. */
export interface NodeMessage {
  readonly socket: object;
  readonly stream?: { readonly session?: object | undefined } | undefined;
}

const connections = new WeakMap<object, Connection>();

/** The connection of a request: the same object for every request on it. */
export function tlsConnection(message: NodeMessage): Connection {
  const session = message.stream?.session;
  const key = session ?? message.socket;
  let connection = connections.get(key);
  if (connection === undefined) {
    connection = new NodeConnection(key, message.socket, session !== undefined);
    connections.set(key, connection);
  }
  return connection;
}

class NodeConnection implements Connection {
  readonly peer: Peer;
  readonly hidesCertificates: boolean;
  readonly serverName: string | undefined;
  readonly #key: object;

  constructor(key: object, socket: object, http2: boolean) {
    this.#key = key;
    this.peer = peerOf(socket);
    this.serverName = serverNameOf(socket);
    // As the TLS sockets of Bun do, which lack most of what a socket of Node has.
    this.hidesCertificates = isTls(socket) && typeof socket.getProtocol !== 'function';
    // Where the beginning of the request went unseen (a server that is not node:http's), the certificate can be read late only
    // where no renegotiation can be under way: TLS 1.3 has none, and node:http2 forbids it.
    if (isTls(socket) && !this.hidesCertificates && (http2 || socket.getProtocol() === 'TLSv1.3')) capture(key, socket);
  }

  peerCertificate(): Uint8Array | undefined {
    return certificates.get(this.#key);
  }
}

function peerOf(socket: object): Peer {
  const { remoteAddress, server } = socket as { remoteAddress?: string | undefined; server?: { address?: () => unknown } };
  if (remoteAddress !== undefined) return { kind: 'ip', address: remoteAddress };
  return typeof server?.address?.() === 'string' ? { kind: 'unix' } : { kind: 'unknown' };
}

/** The name is `false` or `null` where a client gave none. */
function serverNameOf(socket: object): string | undefined {
  return 'servername' in socket && typeof socket.servername === 'string' ? socket.servername.toLowerCase() : undefined;
}

const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i;

/** Whether a request names the host that its connection was made for, and no other, in whatever ways it does. */
function isFor({ serverName }: Connection, request: ProtectedResourceRequest): boolean {
  const [, ofTarget] = ABSOLUTE.exec(request.target) ?? [];
  const named = [ofTarget, ...request.fieldLines(':authority'), ...request.fieldLines('host')].filter((one) => one !== undefined);
  return named.length > 0 && named.every((authority) => authority.toLowerCase().replace(/:\d*$/, '') === serverName);
}

/** What {@link fromTls} can be told. */
export interface FromTlsOptions {
  /**
   * What becomes of a certificate-bound token in a request for another host than the one that the client named when it connected
   * (SNI). Clients of HTTP/2 send requests for several hosts on one connection where its certificate is good for all of them
   * (RFC 9113 §9.1.1), and then present the certificate that they chose for the first. `refuse` answers 421, after which they use
   * a connection of its own (RFC 9110 §15.5.20); it holds for HTTP/1.1 too, and for a client that named no host. `ignore` (default)
   * looks at the certificate alone.
   */
  readonly misdirected?: 'refuse' | 'ignore';
}

/**
 * The certificate source for servers where TLS ends in this process: `node:https`, `node:http2`.
 *
 * The server has to ask for certificates and leave the judgement to Holdfast: `requestCert: true, rejectUnauthorized: false`
 * (RFC 8705 §6.2: binding needs possession of the key, not trust in a chain). `socket.authorized` is not read.
 *
 * The certificate is read once per connection, when its first request begins. From then on a client that tries to renegotiate
 * (TLS 1.2) loses the connection; this holds for every TLS server of `node:https` in the process. Make the middleware before
 * the server takes its first request, or the clients that were faster are refused until they reconnect.
 *
 * Throws a `TypeError` for options that it does not know.
 *
 * @example
 * holdfast({ issuer, audience, certificate: fromTls() })
 */
export function fromTls(options: FromTlsOptions = {}): CertificateSource {
  const { misdirected = 'ignore', ...others } = options;
  if ((misdirected !== 'refuse' && misdirected !== 'ignore') || Object.keys(others).length > 0) {
    throw new TypeError("fromTls: Give { misdirected: 'refuse' }, { misdirected: 'ignore' } or nothing, and nothing else.");
  }
  watchRequests();
  const remembered = new WeakMap<Connection, Certificate>();
  return (request) => {
    const { connection } = request;
    if (misdirected === 'refuse' && !isFor(connection, request)) return reject('request.misdirected');
    const known = remembered.get(connection);
    if (known !== undefined) return known;
    const der = connection.peerCertificate();
    if (der === undefined) return connection.hidesCertificates === true ? reject('certificate.hidden') : undefined;
    const certificate = certificateOf(der);
    remembered.set(connection, certificate);
    return certificate;
  };
}
