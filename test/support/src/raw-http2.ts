import { connect, type ConnectionOptions } from 'node:tls';

const TIMEOUT = 10_000;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** Frame types (RFC 9113 §6), and the flags END_STREAM and END_HEADERS. */
const DATA = 0;
const HEADERS = 1;
const RST_STREAM = 3;
const SETTINGS = 4;
const GOAWAY = 7;
const ENDS = 5;

/** A request over HTTP/2 that no HTTP library would send. */
export interface RawHttp2Request {
  readonly port: number;
  readonly path: string;
  readonly authority: string;
  /** Sent as they are: names in capitals, and fields that HTTP/2 forbids. */
  readonly lines: readonly (readonly [name: string, value: string])[];
  readonly tls: ConnectionOptions;
}

/** What came back: a status and what of the body came at once; or the error code (RFC 9113 §7) of the end of the stream or connection. */
export type RawHttp2Answer = { readonly status: number; readonly body: string } | { readonly reset: number } | { readonly goaway: number };

/** Sends one GET on a connection of its own. Rejects if the connection ends without an answer, or after 10 s. */
export function rawHttp2Request({ port, path, authority, lines, tls }: RawHttp2Request): Promise<RawHttp2Answer> {
  const socket = connect({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], ...tls });
  const fields = [[':method', 'GET'], [':scheme', 'https'], [':path', path], [':authority', authority], ...lines] as const;
  const block = Buffer.concat(fields.map(([name, value]) => literal(name, value)));
  return new Promise<RawHttp2Answer>((resolve, reject) => {
    let [received, status, body] = [Buffer.alloc(0), 0, ''];
    const timer = setTimeout(() => socket.destroy(new Error(`rawHttp2Request: no answer within ${TIMEOUT} ms`)), TIMEOUT);
    const settle = (answer: RawHttp2Answer): void => {
      resolve(answer);
      socket.destroy();
    };
    socket.once('secureConnect', () => socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0), frame(HEADERS, ENDS, 1, block)])));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (let length = frameLength(received); length <= received.length; length = frameLength(received)) {
        const [type, flags, payload] = [received[3], received[4] ?? 0, received.subarray(9, length)];
        if (type === RST_STREAM) settle({ reset: payload.readUInt32BE(0) });
        // A graceful end (0) may stand before the answer.
        if (type === GOAWAY && payload.readUInt32BE(4) !== 0) settle({ goaway: payload.readUInt32BE(4) });
        if (type === HEADERS) status = statusIn(payload);
        if (type === DATA) body += payload.toString();
        if ((type === HEADERS || type === DATA) && (flags & 1) === 1) settle({ status, body });
        received = received.subarray(length);
      }
    });
    socket.once('error', reject);
    socket.once('close', () => {
      clearTimeout(timer);
      reject(new Error('rawHttp2Request: the connection ended without an answer'));
    });
  });
}

/** Of the first frame; more than there can be while its header has not come. */
function frameLength(received: Buffer): number {
  return received.length < 9 ? Number.POSITIVE_INFINITY : 9 + received.readUIntBE(0, 3);
}

function frame(type: number, flags: number, stream: number, payload = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A field line without indexing, name and value as they are (RFC 7541 §6.2.2). */
function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), ...[name, value].flatMap((text) => [integer(text.length, 7), Buffer.from(text, 'latin1')])]);
}

/** RFC 7541 §5.1. */
function integer(value: number, bits: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([value]);
  const bytes = [most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

/** Indices 8 to 14 of the static table (RFC 7541, appendix A). */
const STATUSES = [200, 204, 206, 304, 400, 404, 500] as const;

/** The status, which stands first in a block; 0 where it is written in a way that is not expected. */
function statusIn(block: Buffer): number {
  let at = 0;
  // Updates of the size of the dynamic table.
  while (((block[at] ?? 0) & 0xe0) === 0x20) at += 1;
  const first = block[at] ?? 0;
  if (first >= 0x80) return STATUSES[(first & 0x7f) - 8] ?? 0;
  const length = block[at + 1] ?? 0;
  const text = block.subarray(at + 2, at + 2 + (length & 0x7f));
  return Number(length >= 0x80 ? digits(text) : text.toString());
}

/** Three digits in the Huffman code (RFC 7541, appendix B): 0 to 2 have five bits there, 3 to 9 six. */
function digits(bytes: Buffer): string {
  let bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  let text = '';
  while (text.length < 3) {
    const short = Number.parseInt(bits.slice(0, 5), 2);
    text += short < 3 ? short : Number.parseInt(bits.slice(0, 6), 2) - 22;
    bits = bits.slice(short < 3 ? 5 : 6);
  }
  return text;
}
