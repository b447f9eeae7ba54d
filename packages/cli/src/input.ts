import { createReadStream } from 'node:fs';
import { UsageError } from './arguments.ts';
import type { Terminal } from './terminal.ts';

/**
 * The text of a file, or of standard input where the path is `-`. Not more than so many bytes are read, so that a device that never
 * ends does not either. The path is not repeated: somebody may have put there what belongs into the file.
 */
export async function readBounded(path: string, option: string, most: number, terminal: Terminal): Promise<string> {
  const text = path === '-' ? (await terminal.input(most)).replace(/^\uFEFF/, '') : await readFileBounded(path, option, most);
  if (text.length > most)
    throw new UsageError(`${option}: what is there is longer than ${most} bytes, and so it is nothing that belongs there.`);
  return text;
}

async function readFileBounded(path: string, option: string, most: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const stream: AsyncIterable<unknown> = createReadStream(path);
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array)) continue;
      chunks.push(chunk);
      size += chunk.length;
      if (size > most) break;
    }
  } catch (error) {
    throw new UsageError(`${option}: the file ${unreadable(error)}.`);
  }
  return textOf(Buffer.concat(chunks));
}

/** Editors and PowerShell write a mark first (U+FEFF), and PowerShell, where it is an old one, UTF-16. */
function textOf(bytes: Buffer): string {
  if (bytes.subarray(0, 2).equals(Buffer.of(0xff, 0xfe))) return bytes.subarray(2).toString('utf16le');
  return bytes.subarray(bytes.subarray(0, 3).equals(Buffer.of(0xef, 0xbb, 0xbf)) ? 3 : 0).toString('latin1');
}

const WHY_UNREADABLE: Readonly<Record<string, string>> = {
  EACCES: 'this user may not read it',
  EISDIR: 'it is a directory',
  ENOENT: 'there is none of that name',
  EPERM: 'this user may not read it',
};

/** That a file cannot be read, and why, as the end of a sentence. */
export function unreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
  const why = WHY_UNREADABLE[code];
  return `cannot be read (${code})${why === undefined ? '' : `: ${why}`}`;
}

/** Bytes of a file of certificates. */
const LARGEST_PEM = 1024 * 1024;

/** Certificates to trust. A key that stands among them is none of our business, and a mistake. */
export async function readAuthorities(path: string, terminal: Terminal): Promise<string> {
  const text = await readBounded(path, '--ca', LARGEST_PEM, terminal);
  if (/PRIVATE KEY-----/.test(text)) throw new UsageError('--ca: there is a private key in that file. Give the certificates alone.');
  if (!text.includes('-----BEGIN CERTIFICATE-----')) throw new UsageError('--ca: give certificates in PEM.');
  return text;
}
