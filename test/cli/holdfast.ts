// The command line, in this process with a terminal of ours, and as people start it.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '@holdfast/cli/commands';

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line with a terminal that nobody sits at. */
export async function holdfast(
  args: readonly string[],
  setup: { readonly input?: string; readonly colours?: boolean; readonly columns?: number } = {},
): Promise<Ran> {
  let [out, err] = ['', ''];
  const code = await run(args, {
    out: (text) => void (out += `${text}\n`),
    err: (text) => void (err += `${text}\n`),
    input: async () => setup.input ?? '',
    ask: undefined,
    columns: setup.columns,
    hasColours: setup.colours ?? false,
  });
  return { code, out, err };
}

const root = fileURLToPath(new URL('../../', import.meta.url));

/** Compiles the program, where that is not done. */
export function build(): void {
  execFileSync(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b', 'packages/cli'], { cwd: root });
}

/** Runs the program itself, after {@link build}. `unread`: nobody reads what it prints. */
export function program(args: readonly string[], input: string | Uint8Array = '', output: 'read' | 'unread' = 'read'): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [join(root, 'packages', 'cli', 'dist', 'main.js'), ...args],
      { maxBuffer: 32 * 1024 * 1024, timeout: 25_000 },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err }),
    );
    if (output === 'unread') child.stdout?.destroy();
    // It may end without reading all of it.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** A folder for files, whose name has a space, as people's folders do. */
export function temporaryFolder(): { file(name: string, content: string | Uint8Array): string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast cli '));
  return {
    file(name, content) {
      const path = join(folder, name);
      writeFileSync(path, content);
      return path;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** Anything that a terminal would obey, or not show. */
// oxlint-disable-next-line no-control-regex
export const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;
