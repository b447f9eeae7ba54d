import { wrap } from '../command.ts';
import { printHeading, widthOf } from '../findings.ts';
import { styled, type Terminal } from '../terminal.ts';
import { visible } from '../visible.ts';
import { OUTCOMES } from './entry.ts';
import type { Counts, Summary, Table } from './tally.ts';

/** Columns of a number: as wide as the widest heading, and two between. */
const COLUMN = 13;

/** Prints what a log comes to, as tables. Names in it are by others: they are shown, and steer no terminal. */
export function printSummary(summary: Summary, terminal: Terminal): void {
  const { lines, events, notUnderstood, from, to, outcomes, reasons, clients, issuers } = summary;
  terminal.out(`\n ${styled(terminal, 'bold', `${events} ${events === 1 ? 'decision' : 'decisions'}`)}${periodOf(from, to)}`);
  if (events > 0) {
    printTable('All', { rows: [{ name: 'decisions', ...outcomes }], others: none() }, terminal);
    printTable('Reasons', reasons, terminal);
    printTable('Clients', clients, terminal);
    printTable('Issuers', issuers, terminal);
  }
  const width = widthOf(terminal) - 2;
  if (notUnderstood > 0) {
    const text = `${notUnderstood} of ${lines} lines were not understood: no JSON, too long, or no decision of Holdfast.`;
    terminal.out(`\n ${styled(terminal, 'yellow', wrap(text, width, ' '))}`);
  }
  if (outcomes.audited > 0) {
    const text = `${outcomes.audited} were let through by audit mode and will be refused when it ends.`;
    terminal.out(`\n ${styled(terminal, ['yellow', 'bold'], wrap(text, width, ' '))}`);
  }
  terminal.out('');
}

function printTable(heading: string, { rows, others }: Table, terminal: Terminal): void {
  if (rows.length === 0) return;
  const width = widthOf(terminal) - 2 - OUTCOMES.length * COLUMN;
  printHeading(
    heading +
      OUTCOMES.map((outcome) => outcome.padStart(COLUMN))
        .join('')
        .padStart(widthOf(terminal) - 2 - heading.length),
    terminal,
  );
  for (const { name, ...counts } of rows) terminal.out(` ${fitted(name ?? '(none)', width)}${numbersOf(counts)}`);
  if (OUTCOMES.some((outcome) => others[outcome] > 0)) {
    terminal.out(styled(terminal, 'dim', ` ${fitted('all others', width)}${numbersOf(others)}`));
  }
}

/** What would not show as itself is named before it is cut, so that no half of it is left. */
function fitted(name: string, width: number): string {
  const text = visible(name);
  return (text.length < width ? text : `${text.slice(0, Math.max(width - 2, 1))}…`).padEnd(width);
}

function numbersOf(counts: Readonly<Counts>): string {
  return OUTCOMES.map((outcome) => (counts[outcome] === 0 ? '·' : String(counts[outcome])).padStart(COLUMN)).join('');
}

function periodOf(from: number | undefined, to: number | undefined): string {
  return from === undefined || to === undefined ? '' : `, ${shown(from)} to ${shown(to)}`;
}

function shown(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`;
}

function none(): Counts {
  return { audited: 0, refused: 0, unavailable: 0, granted: 0 };
}
