import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, type RequestOptions, request as requestHttp } from 'node:http';
import { type ClientHttp2Session, connect as connectHttp2, type IncomingHttpHeaders, type IncomingHttpStatusHeader } from 'node:http2';
import { Agent, request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import { connect as connectTls, type ConnectionOptions, TLSSocket } from 'node:tls';
import type { Line } from './fields.ts';

/** The versions of TLS that are tried, in order. */
export const TLS_VERSIONS = ['TLSv1.3', 'TLSv1.2'] as const;
export type TlsVersion = (typeof TLS_VERSIONS)[number];

/** How one request is sent. */
export interface Sending {
  readonly url: URL;
  readonly method: string;
  /** All of them, in order, in this case, but `Host`. */
  readonly lines: readonly Line[];
  readonly http: '1.1' | '2';
  readonly tls: TlsVersion;
  /** The authorities to trust in place of the usual ones, PEM. */
  readonly ca: string | undefined;
  /** What the client presents, if it is asked. */
  readonly identity: { readonly cert: string; readonly key: string } | undefined;
  /** To be resumed. */
  readonly session: Buffer | undefined;
  /** Milliseconds. */
  readonly timeout: number;
}

/** What came back. */
export type Answer =
  | { readonly kind: 'answer'; readonly status: number; readonly resumed: boolean; readonly session: Buffer | undefined }
  /** The other side ended the handshake or the connection. */
  | { readonly kind: 'closed'; readonly reason: string }
  /** It does not speak this version of TLS or HTTP. */
  | { readonly kind: 'unsupported'; readonly reason: string }
  /** Nobody listens there, or lets us through. */
  | { readonly kind: 'unreachable'; readonly reason: string }
  /** It did not answer in time, or is not who it should be, or has no such name. */
  | { readonly kind: 'failed'; readonly reason: string };

/** Sends one request on a connection of its own. Redirects are not followed, and bodies are not kept. */
export async function send(sending: Sending): Promise<Answer> {
  const signal = AbortSignal.timeout(sending.timeout);
  try {
    if (sending.url.protocol === 'http:') return await overHttp(requestHttp(plainOptions(sending, signal)));
    if (sending.http === '2') return await overHttp2(sending, signal);
    return await overHttp(requestHttps({ ...plainOptions(sending, signal), ...tlsOptions(sending) }));
  } catch (error) {
    return failure(error, signal);
  }
}

/** Sends the same request twice on one connection. The second answer is `unsupported` where the other side ended it between them. */
export async function sendTwice(sending: Sending): Promise<readonly [Answer, Answer]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const answers: Answer[] = [];
  try {
    const signal = AbortSignal.timeout(sending.timeout);
    for (let i = 0; i < 2; i++) {
      const lines = [...sending.lines, ['Connection', 'keep-alive'] as const];
      try {
        const request = requestHttps({ ...plainOptions({ ...sending, lines }, signal), ...tlsOptions(sending), agent });
        const answer = await overHttp(request, true);
        const isOther = i === 1 && !request.reusedSocket;
        answers.push(isOther ? { kind: 'unsupported', reason: 'connections are not kept' } : answer);
      } catch (error) {
        answers.push(failure(error, signal));
      }
    }
  } finally {
    agent.destroy();
  }
  const [first = NOT_SENT, second = NOT_SENT] = answers;
  return [first, second];
}

const NOT_SENT: Answer = { kind: 'failed', reason: 'not sent' };

function plainOptions({ url, method, lines }: Sending, signal: AbortSignal): RequestOptions {
  const headers = ['Host', url.host, ...lines.flat()];
  const path = url.pathname + url.search;
  return { host: hostOf(url), port: portOf(url), path, method, headers, agent: false, signal };
}

function tlsOptions({ url, ca, identity, session, tls }: Sending): ConnectionOptions {
  return {
    // An address has no server name (RFC 6066 §3).
    servername: isIP(hostOf(url)) === 0 ? hostOf(url) : '',
    minVersion: tls,
    maxVersion: tls,
    ...(ca !== undefined && { ca }),
    ...(identity && { cert: identity.cert, key: identity.key }),
    ...(session && { session }),
  };
}

/** The host without the brackets of IPv6. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, '');
}

function portOf({ port, protocol }: URL): number {
  return port === '' ? (protocol === 'http:' ? 80 : 443) : Number(port);
}

async function overHttp(request: ClientRequest, keep = false): Promise<Answer> {
  let session: Buffer | undefined;
  let isConnected = false;
  request.once('socket', (socket) => {
    socket.on('session', (offered: Buffer) => void (session = offered));
    isConnected = !socket.connecting;
    socket.once('connect', () => void (isConnected = true));
  });
  request.end();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request.once('response', resolve).once('error', (error) => {
      // Where a packet filter drops what is sent, there is no other error than that time is up.
      reject(isConnected || !('code' in error && error.code === 'ABORT_ERR') ? error : Object.assign(error, { code: 'ETIMEDOUT' }));
    });
  });
  const { socket, statusCode: status = 0 } = response;
  const resumed = socket instanceof TLSSocket && socket.isSessionReused();
  await skim(response, keep);
  return { kind: 'answer', status, resumed, session };
}

async function overHttp2(sending: Sending, signal: AbortSignal): Promise<Answer> {
  const { url, method, lines } = sending;
  let session: Buffer | undefined;
  let http2: ClientHttp2Session | undefined;
  const socket = connectTls({ ...tlsOptions(sending), host: hostOf(url), port: portOf(url), ALPNProtocols: ['h2', 'http/1.1'] });
  socket.on('session', (offered: Buffer) => void (session = offered));
  signal.addEventListener('abort', () => socket.destroy(new Error('timeout')));
  try {
    await once(socket, 'secureConnect');
    if (socket.alpnProtocol !== 'h2') return { kind: 'unsupported', reason: 'HTTP/2 is not spoken' };
    const opened = connectHttp2(url.origin, { createConnection: () => socket });
    http2 = opened;
    const fields: Record<string, string[]> = {};
    for (const [name, value] of lines) (fields[name.toLowerCase()] ??= []).push(value);
    const headers = Object.fromEntries(Object.entries(fields).map(([name, all]) => [name, all.length === 1 ? all[0] : all]));
    const stream = opened.request({ ':method': method, ':path': url.pathname + url.search, ...headers });
    const answered = new Promise<IncomingHttpHeaders & IncomingHttpStatusHeader>((resolve, reject) => {
      stream.once('response', resolve).once('error', reject);
      stream.once('close', () => reject(new Error('the stream was closed')));
      opened.once('error', reject);
    });
    stream.end();
    const { ':status': status = 0 } = await answered;
    const resumed = socket.isSessionReused();
    await skim(stream, false);
    return { kind: 'answer', status, resumed, session };
  } finally {
    http2?.destroy();
    socket.destroy();
  }
}

const ENOUGH = 65_536;

/** Reads a body to its end, or as far as it is of a reasonable size, so that what the server sends before it has arrived. */
async function skim(body: AsyncIterable<unknown>, keep: boolean): Promise<void> {
  let read = 0;
  for await (const chunk of body) {
    read += Buffer.isBuffer(chunk) ? chunk.length : 0;
    if (read > ENOUGH && !keep) return;
  }
}

const VERSION = /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|WRONG_VERSION|NO_PROTOCOLS/;
/** The same in words, as OpenSSL has them: where a request was already on its way, the code is a mere EPROTO. */
const VERSION_IN_WORDS =
  /:SSL routines:[^:]*:(?:tlsv1 alert protocol version|unsupported protocol|wrong version number|no protocols available):/;
const UNREACHABLE = /^(?:ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT)$/;
const NOT_FOUND = /^(?:ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL|EACCES|EPERM)$/;
/** What Node says of a server certificate: it is not ours to ignore, for the token goes there. */
const NOT_TRUSTED = /CERT|SELF_SIGNED|ISSUER|UNABLE_TO|ALTNAME/;

function failure(error: unknown, signal: AbortSignal): Answer {
  // Of the message nothing is shown: it may repeat what was sent.
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'closed';
  const isOfVersion = VERSION.test(code) || (code === 'EPROTO' && error instanceof Error && VERSION_IN_WORDS.test(error.message));
  if (isOfVersion) return { kind: 'unsupported', reason: 'this version of TLS is not spoken' };
  if (UNREACHABLE.test(code)) return { kind: 'unreachable', reason: `not reached (${code})` };
  if (signal.aborted) return { kind: 'failed', reason: 'no answer in time' };
  if (NOT_FOUND.test(code)) return { kind: 'failed', reason: `not reached (${code})` };
  if (code.startsWith('ERR_SSL_') || !NOT_TRUSTED.test(code)) return { kind: 'closed', reason: `closed (${code})` };
  return { kind: 'failed', reason: `the certificate of the server is not trusted (${code}); name its authority with --ca` };
}
