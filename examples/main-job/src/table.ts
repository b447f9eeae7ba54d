import { styleText } from 'node:util';

/** One request, and what it led to. */
export interface Row {
  /** Rows with the same one after the other stand under it. */
  readonly heading: string;
  readonly step: number;
  readonly title: string;
  /** Status codes. */
  readonly expected: number;
  readonly status: number;
  /** The lines of WWW-Authenticate, in full. */
  readonly challenges: readonly string[];
  /** Why Holdfast refused, from its event. */
  readonly reason: string | undefined;
}

/** What {@link printTable} prints. */
export interface Table {
  readonly title: string;
  /** What is to be known before: a name and a text each. */
  readonly facts: readonly (readonly [name: string, text: string])[];
  readonly rows: readonly Row[];
  /** A last paragraph. */
  readonly last: readonly [heading: string, text: string];
}

const isTerminal = process.stdout.isTTY;
const width = Math.min(Math.max(process.stdout.columns ?? 110, 96), 120);
const titleWidth = width - 42;

type Look = Parameters<typeof styleText>[0];

/** The text as it looks on a terminal; elsewhere plain. */
export function style(look: Look, text: string): string {
  return isTerminal ? styleText(look, text) : text;
}

/** Prints requests as a table, and says whether each led to what was expected. */
export function printTable({ title, facts, rows, last: [lastHeading, lastText] }: Table): boolean {
  const nameWidth = Math.max(...facts.map(([name]) => name.length)) + 3;
  console.log(`\n ${style('bold', title)}\n\n${facts.map(([name, text]) => ` ${name.padEnd(nameWidth)}${text}`).join('\n')}`);

  // The same challenges come back many times: each answer's are printed once, in full, under a letter.
  const answers = [...new Set(rows.map(({ challenges }) => challenges.join('\n')))].filter((lines) => lines !== '');
  const letter = (lines: string): string => (lines === '' ? '' : `[${String.fromCharCode(97 + answers.indexOf(lines))}]`);

  let under = '';
  for (const { heading, step, title: rowTitle, expected, status, challenges, reason } of rows) {
    if (heading !== under) printHeading(heading);
    under = heading;
    const answer = `${status} ${letter(challenges.join('\n'))}`.padEnd(8);
    const verdict = status === expected ? style('green', '✓') : style(['red', 'bold'], `✗ ${expected} was expected`);
    console.log(
      ` ${step}  ${rowTitle.padEnd(titleWidth)} ${style(status < 300 ? 'green' : 'yellow', answer)} ${verdict} ${style('dim', reason ?? '')}`,
    );
  }

  printHeading('WWW-Authenticate, in full');
  for (const lines of answers) {
    const wrapped = lines.split('\n').map((line) => wrap(line, '       '));
    console.log(` ${letter(lines)} ${wrapped.join('\n     ')}`);
  }
  printHeading(lastHeading);
  console.log(` ${wrap(lastText, ' ')}`);

  const wrong = rows.filter(({ status, expected }) => status !== expected).length;
  console.log(
    wrong === 0
      ? style(['green', 'bold'], `\n All ${rows.length} answers are as they should be.\n`)
      : style(['red', 'bold'], `\n ${wrong} of ${rows.length} answers are wrong.\n`),
  );
  return wrong === 0;
}

function printHeading(heading: string): void {
  console.log(`\n ${style('bold', heading)}\n ${style('dim', '─'.repeat(width - 2))}`);
}

/** Text in lines of the width, all but the first behind the indent. */
function wrap(text: string, indent: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && indent.length + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join(`\n${indent}`);
}
