import { createReadStream } from 'node:fs';
import { UsageError } from '../arguments.ts';
import type { Command } from '../command.ts';
import { EXIT, type Outcome, printHeading } from '../findings.ts';
import { unreadable } from '../input.ts';
import { styled, type Terminal } from '../terminal.ts';
import { visible, visibleJson } from '../visible.ts';
import { linesOf } from './lines.ts';
import { type Row, type Tally, tally } from './tally.ts';

/** `holdfast report`: what a log of events comes to, by client, reason and route. */
export const report: Command = {
  name: 'report',
  summary:
    'Sums up a log of events: which clients, for which reasons and at which routes, are let through by audit mode and will be refused when it ends; and, with --all, who is refused already.',
  usage: '[file …] [options]',
  options: {
    all: { text: 'Also shows what was refused, and what failed on our side.' },
    top: { value: 'number', text: 'Shows the so many most frequent rows, from 1 to 10000. By default 200.' },
    json: { text: 'Prints the report as JSON.' },
  },
  notes: [
    'The log has one JSON object a line: an event as onEvent gets it, or the line of a logger that holds one, as pino writes it. Other lines are counted and left out. Without a file, or for -, standard input is read. Nothing is sent anywhere.',
    'However long the log, the memory is not: 10,000 different rows are told apart, names are cut after 200 characters, and lines of more than 256 Ki characters count as others.',
    'Exit code: 0 nothing would be refused; 1 something would be; 2 there was no event, or nothing was done.',
    'Example: holdfast report --all api.log',
  ],
  notRun: EXIT.unclear,
  async run(given, terminal) {
    const top = readTop(given.value('top') ?? '200');
    const paths = given.positionals.length === 0 ? ['-'] : given.positionals;
    // Nobody types a log.
    if (paths.includes('-') && terminal.ask !== undefined) throw new UsageError('give files, or hand a log over on standard input.');
    const sums = await tally(linesIn(paths, terminal));
    const all = given.flag('all') ? sums.rows : sums.rows.filter(({ outcome }) => outcome === 'audited');
    const rows = all.slice(0, top);
    const outcome = outcomeOf(sums);
    const unlisted = sums.unlisted + all.slice(top).reduce((sum, { count }) => sum + count, 0);
    if (given.flag('json')) terminal.out(visibleJson({ outcome, ...sums, rows, unlisted }));
    else print({ ...sums, unlisted }, rows, outcome, terminal);
    return EXIT[outcome];
  },
};

function outcomeOf({ outcomes }: Tally): Outcome {
  if (outcomes.audited > 0) return 'wrong';
  return Object.values(outcomes).some((count) => count > 0) ? 'well' : 'unclear';
}

function readTop(text: string): number {
  const top = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  if (top < 1 || top > 10_000) throw new UsageError('--top: give a whole number from 1 to 10000.');
  return top;
}

async function* linesIn(paths: readonly string[], terminal: Terminal): AsyncGenerator<string | undefined> {
  for (const [i, path] of paths.entries()) {
    // By its number: somebody may have put there what belongs into the file.
    yield* linesOf(path === '-' ? terminal.chunks() : chunksOf(path, paths.length === 1 ? 'the log' : `log ${i + 1} of ${paths.length}`));
  }
}

async function* chunksOf(path: string, name: string): AsyncGenerator<Uint8Array> {
  try {
    const stream: AsyncIterable<unknown> = createReadStream(path);
    for await (const chunk of stream) if (chunk instanceof Uint8Array) yield chunk;
  } catch (error) {
    throw new UsageError(`${name} ${unreadable(error)}.`);
  }
}

const SENTENCES: Readonly<Record<Outcome, string>> = {
  well: 'Nothing is let through that would be refused without audit mode.',
  wrong: 'These requests will be refused when audit mode ends.',
  unclear: 'There is no event in it.',
};

function print({ outcomes, otherLines, unlisted }: Tally, rows: readonly Row[], outcome: Outcome, terminal: Terminal): void {
  const { granted, audited, refused, unavailable } = outcomes;
  terminal.out(` ${granted} granted, ${audited} audited, ${refused} refused, ${unavailable} unavailable; ${otherLines} other lines`);
  for (const client of new Set(rows.map((row) => row.client))) {
    const ofClient = rows.filter((row) => row.client === client);
    printHeading(visible(client), terminal);
    const width = Math.max(...ofClient.map(({ reason }) => reason.length));
    for (const { outcome: what, reason, route, count, first, last } of ofClient) {
      const times = first === undefined || last === undefined ? '' : ` ${daysOf(first, last)}`;
      const counted = styled(terminal, what === 'audited' ? 'yellow' : 'dim', String(count).padStart(8));
      terminal.out(` ${counted} ${what.padEnd(11)} ${visible(reason).padEnd(width)} ${visible(route)}${styled(terminal, 'dim', times)}`);
    }
  }
  if (unlisted > 0) terminal.out(`\n ${unlisted} more are in no row (--top).`);
  terminal.out(`\n ${SENTENCES[outcome]}`);
}

function daysOf(first: number, last: number): string {
  const [from, to] = [first, last].map((seconds) => new Date(seconds * 1000).toISOString().slice(0, 10));
  return from === to ? `${from}` : `${from} to ${to}`;
}
