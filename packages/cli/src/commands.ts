import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, runCommandLine } from './command.ts';
import { doctor } from './doctor/command.ts';
import { inspect } from './inspect/command.ts';
import { probe } from './probe/command.ts';
import { providers } from './providers/command.ts';
import { report } from './report/command.ts';
import type { Terminal } from './terminal.ts';

const COMMANDS: readonly Command[] = [probe, doctor, inspect, report, providers];

/** Runs `holdfast` with these arguments, and resolves with the exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  return runCommandLine(COMMANDS, version(), args, terminal);
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8'));
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'unknown';
}
