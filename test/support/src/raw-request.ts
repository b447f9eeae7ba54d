import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

const TIMEOUT = 10_000;

/** A request that no HTTP library would send. */
export interface RawRequest {
  readonly port: number;
  /** By default 127.0.0.1. */
  readonly host?: string;
  /** The request line and the field lines, sent exactly so (latin1); nothing is added but line ends. */
  readonly lines: readonly string[];
  readonly body?: string | Uint8Array;
  /** Given: TLS, with these options. */
  readonly tls?: ConnectionOptions;
  /** A connection that an earlier answer left open, used instead of a new one. */
  readonly socket?: Socket;
}

/** What came back, unjoined and in order. */
export interface RawResponse {
  readonly status: number;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** Still open unless the server closed it; the caller destroys it or sends the next request on it. */
  readonly socket: Socket;
}

/** Sends one HTTP/1.1 request as written and reads one answer. Rejects if the connection fails or ends before the answer does, or after 10 s. */
export function rawRequest({ port, host = '127.0.0.1', lines, body, tls, socket: open }: RawRequest): Promise<RawResponse> {
  const socket = open ?? (tls ? connectTls({ host, port, ...tls }) : connectTcp({ host, port }));
  const bodiless = lines[0]?.startsWith('HEAD ') ?? false;
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const settle = (end: () => void): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onError);
      socket.on('error', () => {}); // a reset after the answer is nobody's failure
      end();
    };
    const fail = (error: Error): void =>
      settle(() => {
        socket.destroy();
        reject(error);
      });
    const read = (ended: boolean): void => {
      try {
        const answer = parseResponse(received, { bodiless, ended });
        if (answer) settle(() => resolve({ ...answer, socket }));
        else if (ended) fail(new Error(`rawRequest: the connection ended within the answer, after ${received.length} bytes`));
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      read(false);
    };
    const onEnd = (): void => read(true);
    const onError = (error: Error): void => fail(error);
    const timer = setTimeout(() => fail(new Error(`rawRequest: no whole answer within ${TIMEOUT} ms`)), TIMEOUT);
    socket.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onError);
    socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
    if (body !== undefined && body.length > 0) socket.write(body);
  });
}

type Parsed = Omit<RawResponse, 'socket'>;

/** The first final response in `received`, or undefined while it is incomplete. */
function parseResponse(received: Buffer, { bodiless, ended }: { bodiless: boolean; ended: boolean }): Parsed | undefined {
  const headEnd = received.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [statusLine = '', ...fieldLines] = received.toString('latin1', 0, headEnd).split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(statusLine)?.[1]);
  if (!status) throw new Error(`rawRequest: not a status line: ${JSON.stringify(statusLine)}`);
  const headers = fieldLines.map(parseFieldLine);
  const rest = received.subarray(headEnd + 4);
  if (status < 200) return parseResponse(rest, { bodiless, ended });

  const content = bodiless || status === 204 || status === 304 ? Buffer.alloc(0) : readContent(rest, headers, ended);
  return content && { status, headers, body: content.toString() };
}

function parseFieldLine(line: string): [name: string, value: string] {
  const colon = line.indexOf(':');
  if (colon < 1) throw new Error(`rawRequest: not a field line: ${JSON.stringify(line)}`);
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')];
}

/** Framing as in RFC 9112 §6.3. */
function readContent(rest: Buffer, headers: Parsed['headers'], ended: boolean): Buffer | undefined {
  const value = (name: string): string | undefined => headers.find(([other]) => other.toLowerCase() === name)?.[1];
  if (value('transfer-encoding')?.toLowerCase() === 'chunked') return readChunks(rest);
  const length = value('content-length');
  if (length === undefined) return ended ? rest : undefined;
  return rest.length >= Number(length) ? rest.subarray(0, Number(length)) : undefined;
}

function readChunks(rest: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = rest.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const size = Number.parseInt(rest.toString('latin1', at, lineEnd), 16);
    if (!(size >= 0)) throw new Error('rawRequest: not a chunk size');
    if (size === 0) return endsTrailers(rest, lineEnd) ? Buffer.concat(chunks) : undefined;
    at = lineEnd + 2 + size + 2;
    if (rest.length < at) return undefined;
    chunks.push(rest.subarray(lineEnd + 2, at - 2));
  }
}

function endsTrailers(rest: Buffer, lastChunkEnd: number): boolean {
  return rest.indexOf('\r\n\r\n', lastChunkEnd) >= 0;
}
