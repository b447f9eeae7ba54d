import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listen } from './loopback.ts';
import { reasonToSkip } from './needs.ts';

/** A `redis-server` process of the test's own, on the loopback interface. */
export interface RedisServer {
  readonly port: number;
  readonly url: string;
  /** What `redis-cli` prints. */
  cli(...command: string[]): string;
  /** Ends the process with SIGKILL, as a crash does: nothing is written any more. */
  kill(): Promise<void>;
  /** Starts it again with the same port, folder and configuration. */
  restart(): Promise<void>;
  /** The process stands still, with its connections open, until it may go on. */
  pause(): void;
  goOn(): void;
  /** Ends it for good and removes its folder. */
  stop(): Promise<void>;
}

/** Redis, or Valkey, which goes on from it; the commands and the protocol are the same. */
export type RedisProgram = 'redis-server' | 'valkey-server';

export interface RedisSetup {
  /** Default `redis-server`. */
  readonly program?: RedisProgram;
  /** Lines of its configuration, as `--maxmemory 2mb`. Nothing is written to disk unless said. */
  readonly options?: readonly string[];
  readonly port?: number;
}

const INSTALL: Record<RedisProgram, string> = {
  'redis-server': 'apt-get install redis-server',
  'valkey-server': 'apt-get install valkey-server redis-tools (Debian 12: from bookworm-backports)',
};

/** Why tests with Redis or Valkey cannot run here; `undefined` where they can. */
export function noRedis(program: RedisProgram = 'redis-server'): string | undefined {
  const available = spawnSync(program, ['--version']).status === 0 && spawnSync('redis-cli', ['--version']).status === 0;
  return reasonToSkip(available, program, INSTALL[program]);
}

export async function startRedis({ program = 'redis-server', options = [], port: wanted }: RedisSetup = {}): Promise<RedisServer> {
  const port = wanted ?? (await freePort());
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-redis-'));
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no', ...options];
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const started = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    child = started;
    const said: string[] = [];
    await new Promise<void>((resolve, reject) => {
      started.once('error', reject);
      started.once('exit', () => reject(new Error(`${program} ended: ${said.join('')}`)));
      started.stdout.on('data', (chunk: Buffer) => {
        said.push(String(chunk));
        if (said.join('').includes('Ready to accept connections')) resolve();
      });
    });
  }

  async function kill(): Promise<void> {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const over = once(child, 'exit');
    child.kill('SIGKILL');
    await over;
  }

  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    cli(...command) {
      const { status, stdout, stderr } = spawnSync('redis-cli', ['-p', `${port}`, ...command], { encoding: 'utf8' });
      if (status !== 0) throw new Error(`redis-cli ${command.join(' ')} failed: ${stdout}${stderr}`);
      return stdout.trim();
    },
    kill,
    restart: start,
    pause: () => void child?.kill('SIGSTOP'),
    goOn: () => void child?.kill('SIGCONT'),
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Three masters that have the slots among them, and no replicas. */
export interface RedisCluster {
  readonly masters: readonly RedisServer[];
  stop(): Promise<void>;
}

export async function startRedisCluster(options: readonly string[] = [], program?: RedisProgram): Promise<RedisCluster> {
  const masters: RedisServer[] = [];
  for (let i = 0; i < 3; i += 1) {
    const port = await freePort(BUS);
    masters.push(
      await startRedis({
        ...(program && { program }),
        port,
        options: ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', ...options],
      }),
    );
  }
  const addresses = masters.map(({ port }) => `127.0.0.1:${port}`);
  const made = spawnSync('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-yes'], { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`the cluster was not made: ${made.stdout}${made.stderr}`);
  while (!masters.every((master) => master.cli('cluster', 'info').includes('cluster_state:ok'))) await turn();
  return {
    masters,
    stop: async () => {
      await Promise.all(masters.map((master) => master.stop()));
    },
  };
}

/** Servers of a cluster talk to each other on a port that much higher. */
const BUS = 10_000;

/** A port that nobody has, and with `also`, whose neighbour at that distance nobody has either. */
async function freePort(also = 0): Promise<number> {
  for (;;) {
    const servers = [createServer(), createServer()];
    const [first, second] = servers;
    try {
      const port = first === undefined ? 0 : await listen(first);
      if (port + also > 65_535) continue;
      if (also > 0 && second !== undefined) await listen(second, port + also);
      return port;
    } catch {
      // The neighbour is taken: another pair.
    } finally {
      await Promise.all(servers.filter(({ listening }) => listening).map((server) => once(server.close(), 'close')));
    }
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 20);
  });
}
