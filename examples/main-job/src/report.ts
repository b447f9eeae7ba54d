// How the examples print what came of their requests.
import { styleText } from 'node:util';

/** One answer, what it should be, and why it is what it is. */
export interface ReportedAnswer {
  /** Stands above the first answer of a group. */
  readonly heading: string;
  /** Stands before the title: a number, or nothing. */
  readonly step: string;
  readonly title: string;
  readonly expected: string;
  /** A status code, or what else came of it. */
  readonly answer: string;
  /** The lines of WWW-Authenticate, in full. */
  readonly challenges: readonly string[];
  /** Why Holdfast refused, from its event; or another remark. */
  readonly reason: string | undefined;
}

const isTerminal = process.stdout.isTTY;
const width = Math.min(Math.max(process.stdout.columns ?? 110, 96), 120);

/** Styles text where somebody sees it. */
export function style(format: Parameters<typeof styleText>[0], text: string): string {
  return isTerminal ? styleText(format, text) : text;
}

/** Prints a heading with a line under it. */
export function printHeading(text: string): void {
  console.log(`\n ${style('bold', text)}\n ${style('dim', '─'.repeat(width - 2))}`);
}

/** Text in lines of the width, all but the first behind the indent. */
export function wrap(text: string, indent: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && indent.length + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join(`\n${indent}`);
}

/** Prints answers as a table, and every challenge once, in full, under a letter: the same ones come back many times. */
export function printAnswers(answers: readonly ReportedAnswer[]): void {
  const challenges = [...new Set(answers.map((answer) => answer.challenges.join('\n')))].filter((lines) => lines !== '');
  const letter = (lines: string): string => (lines === '' ? '' : `[${String.fromCharCode(97 + challenges.indexOf(lines))}]`);
  const answerOf = (row: ReportedAnswer): string => `${row.answer} ${letter(row.challenges.join('\n'))}`.trimEnd();
  const answerWidth = Math.max(8, ...answers.map((row) => answerOf(row).length));
  const titleWidth = Math.max(width - 34 - answerWidth, ...answers.map(({ title }) => title.length));

  let heading = '';
  for (const row of answers) {
    if (row.heading !== heading) printHeading(row.heading);
    heading = row.heading;
    const { answer, expected, reason, step, title } = row;
    const colour = /^[45]/.test(answer) ? 'yellow' : 'green';
    const verdict = answer === expected ? style('green', '✓') : style(['red', 'bold'], `✗ ${expected} was expected`);
    const prefix = step === '' ? '' : `${step}  `;
    console.log(
      ` ${prefix}${title.padEnd(titleWidth)} ${style(colour, answerOf(row).padEnd(answerWidth))} ${verdict} ${style('dim', reason ?? '')}`,
    );
  }

  printHeading('WWW-Authenticate, in full');
  for (const lines of challenges) {
    const wrapped = lines.split('\n').map((line) => wrap(line, '       '));
    console.log(` ${letter(lines)} ${wrapped.join('\n     ')}`);
  }
}

/** Prints whether all is well, and ends with exit code 1 where it is not. */
export function printVerdict(answers: readonly ReportedAnswer[]): void {
  const wrong = answers.filter(({ answer, expected }) => answer !== expected).length;
  console.log(
    wrong === 0
      ? style(['green', 'bold'], `\n All ${answers.length} answers are as they should be.\n`)
      : style(['red', 'bold'], `\n ${wrong} of ${answers.length} answers are wrong.\n`),
  );
  process.exitCode = wrong === 0 ? 0 : 1;
}
