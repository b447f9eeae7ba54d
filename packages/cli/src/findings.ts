import { wrap } from './command.ts';
import { type Look, styled, type Terminal } from './terminal.ts';
import { visible } from './visible.ts';

/** `ok`: as it should be; `note`: worth knowing; `wrong`: to be corrected; `unclear`: it could not be told. */
export type Mark = 'ok' | 'note' | 'wrong' | 'unclear';

/** One thing that was found, in a sentence. */
export interface Finding {
  readonly topic: string;
  readonly mark: Mark;
  readonly text: string;
}

/** Makes findings about one topic. */
export const about =
  (topic: string) =>
  (mark: Mark, text: string): Finding => ({ topic, mark, text });

/** Exit codes: all well, something to correct, could not tell (or did nothing). */
export const EXIT = { well: 0, wrong: 1, unclear: 2 } as const;

/** What the findings come to together. */
export type Outcome = keyof typeof EXIT;

/** What is wrong counts more than what could not be told. */
export function outcomeOf(findings: readonly Finding[]): Outcome {
  if (findings.some(({ mark }) => mark === 'wrong')) return 'wrong';
  return findings.some(({ mark }) => mark === 'unclear') ? 'unclear' : 'well';
}

const SIGNS: Readonly<Record<Mark, readonly [string, Look]>> = {
  ok: ['✓', 'green'],
  note: ['·', 'dim'],
  wrong: ['✗', 'red'],
  unclear: ['?', 'yellow'],
};

/** Prints findings below their topics. */
export function printFindings(findings: readonly Finding[], terminal: Terminal): void {
  for (const topic of new Set(findings.map((finding) => finding.topic))) {
    printHeading(topic, terminal);
    for (const { mark, text } of findings.filter((finding) => finding.topic === topic)) {
      const [sign, look] = SIGNS[mark];
      terminal.out(` ${styled(terminal, look, sign)} ${wrap(visible(text), widthOf(terminal) - 4, '   ')}`);
    }
  }
}

export function printHeading(heading: string, terminal: Terminal): void {
  terminal.out(`\n ${styled(terminal, 'bold', heading)}\n ${styled(terminal, 'dim', '─'.repeat(widthOf(terminal) - 2))}`);
}

/** Prints lines as they are, but for what would not show as itself. */
export function printLines(lines: readonly string[], terminal: Terminal): void {
  for (const line of lines) terminal.out(`   ${visible(line)}`);
}

/** The columns that are used. */
export function widthOf({ columns }: Terminal): number {
  return Math.min(Math.max(columns ?? 110, 60), 120);
}
