import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { listen } from './loopback.ts';
import { reasonToSkip } from './needs.ts';
import type { Identity } from './pki.ts';

const SCRIPT = fileURLToPath(new URL('../perl/renegotiate.pl', import.meta.url));

/** Why tests with {@link startRenegotiatingClient} have to be skipped, where perl or its Net::SSLeay is missing. */
export function reasonToSkipRenegotiation(): string | undefined {
  const { status } = spawnSync('perl', ['-MNet::SSLeay', '-e', '1']);
  return reasonToSkip(status === 0, 'perl with Net::SSLeay (attacks by TLS 1.2 renegotiation)', 'apt-get install libnet-ssleay-perl');
}

/** A TLS 1.2 client that can renegotiate with another certificate. Each call resolves with the client's word for what happened. */
export interface RenegotiatingClient {
  connect(port: number, identity: Identity): Promise<string>;
  send(request: string): Promise<string>;
  /** Resolves when the new handshake has ended, `renegotiated` or `refused`; never where the handshake is held back. */
  renegotiate(identity: Identity): Promise<string>;
  /** The status line of the next answer, or `closed`. */
  read(): Promise<string>;
  close(): Promise<void>;
}

/** Starts the client. */
export async function startRenegotiatingClient(): Promise<RenegotiatingClient> {
  const folder = await mkdtemp(join(tmpdir(), 'renegotiate-'));
  const child = spawn('perl', [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let files = 0;
  const file = async (content: string): Promise<string> => {
    files += 1;
    const path = join(folder, String(files));
    await writeFile(path, content);
    return path;
  };
  const tell = async (...words: readonly (string | number)[]): Promise<string> => {
    child.stdin.write(`${words.join('\t')}\n`);
    const { value } = await answers.next();
    return value ?? 'closed';
  };
  return {
    connect: async (port, { cert, key }) => tell('connect', port, await file(cert), await file(key)),
    send: async (request) => tell('send', await file(request)),
    renegotiate: async ({ cert, key }) => tell('renegotiate', await file(cert), await file(key)),
    read: () => tell('read'),
    async close() {
      child.kill();
      await rm(folder, { recursive: true });
    },
  };
}

/** A relay that a client puts between itself and the server, to hold back TLS records of its own. */
export interface HoldingRelay {
  readonly port: number;
  /** From now on only this many records of the client go through. Resolves when they have, and another one is held. */
  letThrough(records: number): Promise<void>;
  close(): Promise<void>;
}

/** Starts a relay to a port of the loopback. */
export async function startHoldingRelay(to: number): Promise<HoldingRelay> {
  let left = Number.POSITIVE_INFINITY;
  let onHeld = (): void => {};
  const open = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(to, '127.0.0.1');
    open.add(client).add(upstream);
    let buffered = Buffer.alloc(0);
    client.on('data', (chunk) => {
      buffered = Buffer.concat([buffered, chunk]);
      while (buffered.length >= 5) {
        const length = 5 + buffered.readUInt16BE(3);
        if (buffered.length < length) return;
        if (left > 0) upstream.write(buffered.subarray(0, length));
        else onHeld();
        left -= 1;
        buffered = buffered.subarray(length);
      }
    });
    upstream.on('data', (chunk) => client.write(chunk));
    for (const [socket, other] of [[client, upstream] as const, [upstream, client] as const]) {
      socket.on('error', () => {});
      socket.on('close', () => other.destroy());
    }
  });
  return {
    port: await listen(server),
    letThrough(records) {
      left = records;
      return new Promise((resolve) => {
        onHeld = resolve;
      });
    },
    async close() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}
