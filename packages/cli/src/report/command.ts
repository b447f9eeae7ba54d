import { createReadStream } from 'node:fs';
import { UsageError } from '../arguments.ts';
import type { Command } from '../command.ts';
import type { Terminal } from '../terminal.ts';
import { visibleJson } from '../visible.ts';
import { entryOf } from './entry.ts';
import { linesOf } from './lines.ts';
import { printSummary } from './print.ts';
import { Tally } from './tally.ts';

/** `holdfast report`: who was refused and why, and who will be when audit mode ends. */
export const report: Command = {
  name: 'report',
  summary:
    'Sums a log of decisions up, by reason, client and issuer: who is refused and why, and whom audit mode lets through that will be refused when it ends.',
  usage: '[<file> …] [options]',
  options: {
    top: { value: 'number', text: 'Rows of each table, from 1 to 1000. By default 20.' },
    json: { text: 'Prints the sums as JSON.' },
  },
  notes: [
    'A log is lines of JSON, in files or (without one, or as -) on standard input: the events of onEvent or of the channel holdfast:decision, as a logger such as pino or bunyan writes them, among other members or under a key. Other lines are counted, and left out.',
    'Of each table 10,000 names are counted each for itself, and what comes later together, so that no log fills the memory. Names are cut after 200 characters, and lines of more than 256 Ki characters are not read.',
    'Exit code: 0 there were decisions; 1 there were none; 3 nothing was done.',
    'Example: holdfast report /var/log/api.log',
  ],
  async run(given, terminal) {
    const top = readTop(given.value('top') ?? '20');
    const paths = given.positionals.length === 0 ? ['-'] : given.positionals;
    if (paths.filter((path) => path === '-').length > 1) throw new UsageError('Standard input can be read once: give - once.');
    // Nobody types a log.
    if (paths.includes('-') && terminal.ask !== undefined) throw new UsageError('Give files, or hand a log over on standard input.');
    const tally = new Tally();
    for (const [i, path] of paths.entries()) await readLog(path === '-' ? terminal.chunks() : chunksOf(path, i + 1), tally);
    const summary = tally.summary(top);
    if (given.flag('json')) terminal.out(visibleJson(summary));
    else printSummary(summary, terminal);
    return summary.events > 0 ? 0 : 1;
  },
};

function readTop(text: string): number {
  const top = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0;
  if (top < 1 || top > 1000) throw new UsageError('--top: give a whole number from 1 to 1000.');
  return top;
}

async function readLog(chunks: ReturnType<Terminal['chunks']>, tally: Tally): Promise<void> {
  for await (const line of linesOf(chunks)) {
    if (line === undefined || line.trim() !== '') tally.add(line === undefined ? undefined : entryOf(line));
  }
}

async function* chunksOf(path: string, number: number): AsyncGenerator<Uint8Array> {
  try {
    const stream: AsyncIterable<unknown> = createReadStream(path);
    for await (const chunk of stream) if (chunk instanceof Uint8Array) yield chunk;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new UsageError(`File ${number} cannot be read (${code}).`);
  }
}
