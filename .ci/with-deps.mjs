// Installs the workspace with the pnpm version of package.json, fetched by npx, so that Node and npm are all one needs.
// A stamp of the lockfile and the Node version makes the second run free.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { packageManager } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const stamp = `${root}node_modules/.holdfast-installed`;
const state = createHash('sha256')
  .update(readFileSync(`${root}pnpm-lock.yaml`))
  .update(process.version)
  .digest('hex');

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== state) {
  console.log(`Installing with ${packageManager} (once; about half a minute) …`);
  const { status, error } = spawnSync('npx', ['--yes', packageManager, 'install', '--frozen-lockfile', '--reporter=silent'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(stamp, state);
}
