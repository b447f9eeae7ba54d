import { connect, type ConnectionOptions } from 'node:tls';

const TIMEOUT = 10_000;

/** What came back: the status, where HPACK has one byte for it (200, 204, 400, 404, 500), and the body. */
export interface RawHttp2Response {
  readonly status: number;
  readonly body: string;
}

/** RFC 7541 Appendix A. */
const STATUSES: Readonly<Record<number, number>> = { 0x88: 200, 0x89: 204, 0x8c: 400, 0x8d: 404, 0x8e: 500 };
const [DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY] = [0, 1, 3, 4, 7];
const END_STREAM = 1;

/**
 * Sends one request over HTTP/2 whose fields are what no HTTP library would send, as two lines of Authorization. Rejects for a stream
 * or a connection that is reset, for a status that is not one of those, and after 10 s.
 *
 * @param fields Every field, pseudo-fields first, in order.
 */
export function rawHttp2(
  port: number,
  tls: ConnectionOptions,
  fields: readonly (readonly [name: string, value: string])[],
): Promise<RawHttp2Response> {
  const socket = connect({ host: '127.0.0.1', port, ...tls, ALPNProtocols: ['h2'] });
  const request = [
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(SETTINGS, 0, 0, []),
    frame(HEADERS, 0x4 | END_STREAM, 1, fields.flatMap(literal)),
  ];
  return new Promise<RawHttp2Response>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('rawHttp2: no answer')), TIMEOUT);
    socket.once('close', () => clearTimeout(timer));
    let received = Buffer.alloc(0);
    let [status, body] = [0, ''];
    const read = (type: number, flags: number, payload: Buffer): void => {
      if (type === RST_STREAM || type === GOAWAY) reject(new Error(`rawHttp2: frame ${type}, ${payload.toString('hex')}`));
      if (type === HEADERS) status = STATUSES[payload[0] ?? 0] ?? 0;
      if (type === DATA) body += payload.toString();
      if ((type !== HEADERS && type !== DATA) || (flags & END_STREAM) === 0) return;
      if (status === 0) reject(new Error('rawHttp2: a status that HPACK has no byte for'));
      else resolve({ status, body });
    };
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 9 && received.length >= 9 + received.readUIntBE(0, 3)) {
        const length = received.readUIntBE(0, 3);
        read(received[3] ?? 0, received[4] ?? 0, received.subarray(9, 9 + length));
        received = received.subarray(9 + length);
      }
    });
    socket.once('error', reject);
    socket.once('end', () => reject(new Error('rawHttp2: the connection ended')));
    socket.write(Buffer.concat(request));
  }).finally(() => socket.destroy());
}

/** RFC 9113 §4.1. */
function frame(type: number, flags: number, stream: number, payload: readonly number[]): Buffer {
  const { length } = payload;
  return Buffer.from([(length >> 16) & 255, (length >> 8) & 255, length & 255, type, flags, 0, 0, 0, stream, ...payload]);
}

/** A field without indexing, its name and value as they are (RFC 7541 §6.2.2). */
function literal([name, value]: readonly [string, string]): number[] {
  return [0, ...integer(name.length), ...Buffer.from(name), ...integer(value.length), ...Buffer.from(value)];
}

/** RFC 7541 §5.1, with a prefix of seven bits. */
function integer(value: number): number[] {
  if (value < 127) return [value];
  const bytes = [127];
  let rest = value - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}
