import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { UsageError } from '../arguments.ts';
import type { Command } from '../command.ts';
import { EXIT, type Outcome, printHeading } from '../findings.ts';
import { styled, type Terminal } from '../terminal.ts';
import { visible, visibleJson } from '../visible.ts';
import { type Row, type Tally, tally } from './tally.ts';

/** Characters on standard input. Larger logs are read from files, line by line. */
const LARGEST_INPUT = 256 * 1024 * 1024;

/** `holdfast report`: what a log of events comes to, by client, reason and route. */
export const report: Command = {
  name: 'report',
  summary:
    'Sums up a log of events: which clients, for which reasons and at which routes, are let through by audit mode and will be refused when it ends; and, with --all, who is refused already.',
  usage: '[file …] [options]',
  options: {
    all: { text: 'Also shows what was refused, and what failed on our side.' },
    json: { text: 'Prints the report as JSON.' },
  },
  notes: [
    'The log has one JSON object a line: an event as onEvent gets it, or the line of a logger that holds one, as pino writes it. Other lines are counted and left out. Without a file, or for -, standard input is read. Nothing is sent anywhere.',
    'Exit code: 0 nothing would be refused; 1 something would be; 2 there was no event, or nothing was done.',
    'Example: holdfast report --all api.log',
  ],
  notRun: EXIT.unclear,
  async run(given, terminal) {
    const { positionals } = given;
    const sums = await tally(linesOf(positionals.length === 0 ? ['-'] : positionals, terminal));
    const rows = given.flag('all') ? sums.rows : sums.rows.filter(({ outcome }) => outcome === 'audited');
    const outcome = outcomeOf(sums);
    if (given.flag('json')) terminal.out(visibleJson({ outcome, ...sums, rows }));
    else print(sums, rows, outcome, terminal);
    return EXIT[outcome];
  },
};

function outcomeOf({ outcomes }: Tally): Outcome {
  if (outcomes.audited > 0) return 'wrong';
  return Object.values(outcomes).some((count) => count > 0) ? 'well' : 'unclear';
}

async function* linesOf(paths: readonly string[], terminal: Terminal): AsyncGenerator<string> {
  for (const path of paths) {
    if (path === '-') {
      const text = await terminal.input(LARGEST_INPUT);
      if (text.length > LARGEST_INPUT) throw new UsageError('standard input is longer than 256 MB: give the log as a file.');
      yield* text.split('\n');
      continue;
    }
    try {
      yield* createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY });
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
      throw new UsageError(`a log cannot be read (${code}).`);
    }
  }
}

const SENTENCES: Readonly<Record<Outcome, string>> = {
  well: 'Nothing is let through that would be refused without audit mode.',
  wrong: 'These requests will be refused when audit mode ends.',
  unclear: 'There is no event in it.',
};

function print({ outcomes, otherLines }: Tally, rows: readonly Row[], outcome: Outcome, terminal: Terminal): void {
  const { granted, audited, refused, unavailable } = outcomes;
  terminal.out(` ${granted} granted, ${audited} audited, ${refused} refused, ${unavailable} unavailable; ${otherLines} other lines`);
  for (const client of new Set(rows.map((row) => row.client))) {
    const ofClient = rows.filter((row) => row.client === client);
    printHeading(visible(client), terminal);
    const width = Math.max(...ofClient.map(({ reason }) => reason.length));
    for (const { outcome: what, reason, route, count, first, last } of ofClient) {
      const times = first === undefined || last === undefined ? '' : ` ${dayOf(first)} to ${dayOf(last)}`;
      const counted = styled(terminal, what === 'audited' ? 'yellow' : 'dim', String(count).padStart(8));
      terminal.out(` ${counted} ${what.padEnd(11)} ${visible(reason).padEnd(width)} ${visible(route)}${styled(terminal, 'dim', times)}`);
    }
  }
  terminal.out(`\n ${SENTENCES[outcome]}`);
}

function dayOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}
