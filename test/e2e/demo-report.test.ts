import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { reasonToSkip } from '@holdfast/test-support/needs';
import { describe, expect, it } from 'vitest';

// What was built runs in a program of its own: whether somebody sees it is known of a whole process.
const PROGRAM = `
import { printAnswers, printVerdict } from '@holdfast/example-main-job/report';
const answers = ['200', '401'].map((answer) => ({ heading: 'Heading', step: '1', title: 'title', expected: '200', answer, challenges: [], reason: undefined }));
printAnswers(answers);
printVerdict(answers);
`;
const TEST = fileURLToPath(new URL('..', import.meta.url));
const ESCAPE = String.fromCharCode(27);
/** Without what test runners and CI say of colours. */
const { NO_COLOR: _no, FORCE_COLOR: _force, NODE_DISABLE_COLORS: _node, CI: _ci, ...env } = process.env;

async function outputOf(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { cwd: TEST, env: { ...env, TERM: 'xterm-256color', PROGRAM }, stdio: ['ignore', 'pipe', 'inherit'] });
  const output: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => output.push(chunk));
  await once(child, 'close');
  return Buffer.concat(output).toString();
}

describe('what the demos print', () => {
  const skip = reasonToSkip(
    spawnSync('script', ['--version']).status === 0,
    'script (a terminal to test with)',
    'apt-get install bsdutils',
  );

  it('is plain where no terminal is: no escape sequence gets into a file or a pipe', async () => {
    const output = await outputOf(process.execPath, ['--input-type=module', '--eval', PROGRAM]);
    expect(output).toContain('1 of 2 answers are wrong.');
    expect(output).not.toContain(ESCAPE);
  });

  it('is coloured on a terminal', async (context) => {
    if (skip !== undefined) context.skip(skip);
    const output = await outputOf('script', ['-qec', `"${process.execPath}" --input-type=module --eval "$PROGRAM"`, '/dev/null']);
    expect(output).toContain('1 of 2 answers are wrong.');
    for (const colour of [32, 33, 31]) expect(output).toContain(`${ESCAPE}[${colour}m`);
  });
});
