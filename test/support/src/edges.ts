import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, cpSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type EdgeKind, FRAMES } from './edge-frames.ts';
import { listen } from './loopback.ts';
import { reasonToSkip } from './needs.ts';
import type { Pki } from './pki.ts';

export type { EdgeKind };

const EXAMPLES = fileURLToPath(new URL('../../../examples/', import.meta.url));

/** The secret that stands in the recipes, to be replaced. */
const SECRET_IN_RECIPES = 'change-me-change-me-change-me-42';
const START_MS = 15_000;

/** A text of a configuration file, and what stands in its place. The text has to be there. */
export type Change = readonly [text: string, replacement: string];

/** What an {@link Edge} is made of. */
export interface EdgeOptions {
  readonly kind: EdgeKind;
  /** The folder with its configuration, below `examples`: `edges/nginx`. */
  readonly recipe: string;
  /** Certificate and key of the edge (`server`), and the authority of its clients (`ca`). */
  readonly pki: Pick<Pki, 'ca' | 'server'>;
  /** Where the API listens, for the port 8080 of the recipe. */
  readonly upstreamPort: number;
  /** For the secret of the recipe. */
  readonly secret: string;
  /** What else is different from the recipe. */
  readonly changes?: readonly Change[];
  /** By default a free one. */
  readonly port?: number;
}

/** A real edge on the loopback that ends TLS in front of an API. */
export interface Edge {
  readonly port: number;
  /** What it has written. */
  log(): string;
  /** Ends the process, and removes its files. */
  stop(): Promise<void>;
}

/** Why tests with such an edge have to be skipped, where it is not installed, or lacks a module that the recipe needs. */
export function reasonToSkipEdge(kind: EdgeKind, recipe?: string, isThere: (path: string) => boolean = existsSync): string | undefined {
  const { command, packages, version, module } = FRAMES[kind];
  const { status } = spawnSync(command, version, { env: WITH_SBIN });
  const install = `apt-get install ${packages}`;
  if (status !== 0 || recipe === undefined || module === undefined) {
    return reasonToSkip(status === 0, `${command} (an edge to test with)`, install);
  }
  const folder = join(EXAMPLES, recipe);
  const isNeeded = configurationIn(folder, kind).some((path) => readFileSync(path, 'utf8').includes(module.neededFor));
  return reasonToSkip(!isNeeded || isThere(module.file), `${module.file} (for the recipe ${recipe})`, install);
}

function configurationIn(folder: string, kind: EdgeKind): string[] {
  const { configuration } = FRAMES[kind];
  return readdirSync(folder).flatMap((name) => (configuration.test(name) ? [join(folder, name)] : []));
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  await once(server, 'close');
  return port;
}

/** Makes changes in files. Throws where a text to be changed is in none of them: the recipe has changed, and nobody has told the test. */
function fillIn(paths: readonly string[], changes: readonly Change[]): void {
  const texts = new Map(paths.map((path) => [path, readFileSync(path, 'utf8')]));
  for (const [from, to] of changes) {
    const found = [...texts].filter(([, text]) => text.includes(from));
    if (found.length === 0) throw new Error(`startEdge: ${JSON.stringify(from)} is not in the configuration`);
    for (const [path, text] of found)
      texts.set(
        path,
        text.replaceAll(from, () => to),
      );
  }
  for (const [path, text] of texts) writeFileSync(path, text);
}

/**
 * Starts an edge in a folder of its own, in the foreground, with the configuration files of a recipe: only what belongs to a place
 * (ports, paths, the secret) is filled in. Rejects with what the edge says where it does not start.
 */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { kind, port = await freePort() } = options;
  const frame = FRAMES[kind];
  const folder = mkdtempSync(join(tmpdir(), `holdfast-${kind}-`));
  try {
    layOut(folder, options, port);
  } catch (error) {
    rmSync(folder, { recursive: true });
    throw error;
  }
  // A file, and no pipe: Apache opens /dev/stderr, which it cannot where that is a socket.
  const log = join(folder, 'edge.log');
  const output = openSync(log, 'w');
  const child = spawn(frame.command, frame.start(folder), {
    cwd: folder,
    stdio: ['ignore', output, output],
    env: { ...WITH_SBIN, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  });
  closeSync(output);
  const kill = (): void => void child.kill();
  process.once('exit', kill);
  const edge: Edge = {
    port,
    log: () => readFileSync(log, 'utf8'),
    async stop() {
      process.off('exit', kill);
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
  try {
    await untilItListens(child, port);
  } catch (error) {
    const said = edge.log();
    await edge.stop();
    throw new Error(`${frame.command} did not start (${String(error)}):\n${said}`, { cause: error });
  }
  return edge;
}

/** Everything that a recipe names, in one folder. */
function layOut(folder: string, { kind, recipe, pki, upstreamPort, secret, changes = [] }: EdgeOptions, port: number): void {
  const { local } = FRAMES[kind];
  cpSync(join(EXAMPLES, recipe), folder, { recursive: true });
  fillIn(configurationIn(folder, kind), [
    ...changes,
    ['/etc/holdfast/', `${folder}/`],
    ['127.0.0.1:8080', `127.0.0.1:${upstreamPort}`],
    [SECRET_IN_RECIPES, secret],
    ...local(port),
  ]);
  const { cert, key } = pki.server;
  const pems = { 'server.crt': cert, 'server.key': key, 'server.pem': cert + key, 'clients-ca.crt': pki.ca };
  for (const [name, content] of Object.entries(pems)) writeFileSync(join(folder, name), content, { mode: 0o600 });
}

/** Debian keeps servers where users do not look. */
const WITH_SBIN = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };

async function untilItListens(child: ChildProcess, port: number): Promise<void> {
  const until = Date.now() + START_MS;
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  while (Date.now() < until) {
    if (failure !== undefined) throw failure;
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    if (await accepts(port)) return;
  }
  throw new Error(`it did not listen on ${port} within ${START_MS} ms`);
}

/** Whether somebody accepts connections; takes a moment where nobody does, so that asking again is no busy loop. */
function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => void setTimeout(() => resolve(false), 20));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
