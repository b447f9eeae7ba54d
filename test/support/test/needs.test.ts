import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** Runs the tests of Redis where nothing is installed but Node. */
async function runWithoutRedis(env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  symlinkSync(process.execPath, join(folder, 'node'));
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const child = spawn(process.execPath, [vitest, 'run', 'test/stores/redis-contract.test.ts'], {
    cwd: ROOT,
    env: { PATH: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output: stripVTControlCharacters(Buffer.concat(output).toString()) };
}

it('tests of a server that is missing are skipped, and say its name and how to install it', async () => {
  const { code, output } = await runWithoutRedis({});
  expect(output).toContain('SKIPPED: redis-server is missing. Install it with: apt-get install redis-server\n');
  expect([code, /Tests +(\d+) skipped/.exec(output)?.[1]]).toEqual([0, expect.stringMatching(/^[1-9]\d+$/)]);
});

it('with CI=true nothing may be missing: it is a failure, with the same words', async () => {
  const { code, output } = await runWithoutRedis({ CI: 'true' });
  expect(output).toContain('Error: redis-server is missing. Install it with: apt-get install redis-server');
  expect(code).toBe(1);
});
