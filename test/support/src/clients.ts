import { once } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import { connect as connectTls, type ConnectionOptions, TLSSocket } from 'node:tls';
import { Agent } from 'undici';

/** What a client trusts, and how it identifies itself; PEM. An `Identity` may be spread into it. */
export interface ClientTls {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  /** Connect to the loopback, whatever the host is called. */
  readonly everyHostIsHere?: boolean;
}

/** As `RequestInit`, but a body may also be undefined, as OAuth client libraries send it. */
export type ClientRequest = Omit<RequestInit, 'body'> & { readonly body?: RequestInit['body'] | undefined };

/** A fetch with connections of its own. */
export interface ClientFetch {
  (url: string | URL, init?: ClientRequest): Promise<Response>;
  /** Ends its connections, which would otherwise stay open. */
  close(): Promise<void>;
}

/** A fetch that trusts `ca` and, with `cert` and `key`, presents a client certificate when asked. */
export function fetchWith({ ca, cert, key, everyHostIsHere = false }: ClientTls): ClientFetch {
  const dispatcher = new Agent({ connect: { ca, cert, key, ...(everyHostIsHere && { lookup: loopback }) } });
  const clientFetch = (url: string | URL, init: ClientRequest = {}): Promise<Response> => {
    const request: RequestInit & { dispatcher: Agent } = { ...init, body: init.body ?? null, dispatcher };
    return fetch(url, request); // the platform's own, so that its Response is the one that clients know
  };
  return Object.assign(clientFetch, { close: () => dispatcher.close() });
}

const loopback: LookupFunction = (_host, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]);

/** The answer to {@link requestOnce}. */
export interface OneResponse {
  readonly status: number;
  /** Name and value of each field line, as received. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** `TLSv1.2` or `TLSv1.3`. */
  readonly protocol: string | null;
  /** Whether this connection resumed the session that was passed in. */
  readonly reused: boolean;
  /**
   * The newest session that the server offered: pass it as `session` to resume. On TLS 1.3 it comes after the handshake,
   * and Node's server offers none on a resumed connection: pass the first one again.
   */
  readonly session?: Buffer;
}

/** Whatever `https.request` takes: `port`, `ca`, `cert`, `minVersion`, …; the host is 127.0.0.1 by default. */
export interface OneRequest extends https.RequestOptions {
  /** One that an earlier answer held, to resume. */
  readonly session?: Buffer | undefined;
  readonly body?: string | Uint8Array;
}

/** One HTTPS request on a connection of its own. */
export async function requestOnce(options: OneRequest): Promise<OneResponse> {
  const { body: content, ...requestOptions } = options;
  let session: Buffer | undefined;
  const request = https.request({ host: '127.0.0.1', ...requestOptions, agent: false });
  request.once('socket', (socket) => {
    socket.on('session', (offered: Buffer) => {
      session = offered;
    });
  });
  request.end(content);

  const response = await new Promise<IncomingMessage>((resolve, reject) => request.once('response', resolve).once('error', reject));
  const { socket } = response;
  if (!(socket instanceof TLSSocket)) throw new Error('requestOnce: the connection is not TLS');
  const connection = { protocol: socket.getProtocol(), reused: socket.isSessionReused() };
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(Buffer.from(chunk));
  return {
    status: response.statusCode ?? 0,
    headers: pairs(response.rawHeaders),
    body: Buffer.concat(chunks).toString(),
    ...connection,
    ...(session && { session }),
  };
}

function pairs(rawHeaders: readonly string[]): [name: string, value: string][] {
  return rawHeaders.flatMap((name, i) => (i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? '']] : []));
}

/** Whatever `tls.connect` takes; the host is 127.0.0.1 by default, and `localhost` the server name. */
export interface OneHttp2Request extends Omit<ConnectionOptions, 'port' | 'path'> {
  readonly port: number;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
}

/** One request over HTTP/2 on a connection of its own. Field names are sent in lower case; an array is several lines. */
export async function requestOnceHttp2(options: OneHttp2Request): Promise<OneResponse> {
  const { port, path = '/', method = 'GET', headers = {}, servername = 'localhost', ...tls } = options;
  let offered: Buffer | undefined;
  const socket = connectTls({ host: '127.0.0.1', ...tls, servername, port, ALPNProtocols: ['h2'] });
  socket.on('session', (session: Buffer) => {
    offered = session;
  });
  await once(socket, 'secureConnect');
  if (socket.alpnProtocol !== 'h2') throw new Error('requestOnceHttp2: the server does not speak HTTP/2');
  const session = connectHttp2(`https://${servername}:${port}`, { createConnection: () => socket });
  try {
    const stream = session.request({ ':path': path, ':method': method, ...headers });
    stream.end();
    const answer = new Promise<IncomingHttpHeaders & { ':status'?: number }>((resolve, reject) =>
      stream.once('response', resolve).once('error', reject),
    );
    session.once('error', (error) => stream.destroy(error));
    const { ':status': status = 0, ...fields } = await answer;
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(Buffer.from(chunk));
    return {
      status,
      headers: Object.entries(fields).flatMap(([name, value]) => [value ?? []].flat().map((line): [string, string] => [name, line])),
      body: Buffer.concat(chunks).toString(),
      protocol: socket.getProtocol(),
      reused: socket.isSessionReused(),
      ...(offered && { session: offered }),
    };
  } finally {
    session.destroy();
  }
}
