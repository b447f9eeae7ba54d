import { wrap } from '../command.ts';
import { type Look, styled, type Terminal } from '../terminal.ts';
import type { Attempt, Report } from './probe.ts';
import type { Verdict } from './verdict.ts';

const LOOKS: Readonly<Record<Verdict, Look | readonly Look[]>> = {
  granted: 'green',
  refused: 'green',
  discarded: 'green',
  'got in': ['red', 'bold'],
  unclear: 'yellow',
  'not offered': 'dim',
};

const SENTENCES: Readonly<Record<Report['outcome'], readonly [Look, string]>> = {
  closed: ['green', 'Every attack was refused.'],
  open: ['red', 'Something got in: the edge hands on what clients send, or the API believes it. Nobody should rely on bound tokens here.'],
  unclear: ['yellow', 'Nothing got in, but not everything could be told.'],
};

/** Prints a report as a table. */
export function printReport(url: URL, { attempts, outcome, requests, milliseconds }: Report, terminal: Terminal): void {
  const width = Math.min(Math.max(terminal.columns ?? 110, 80), 120);
  const titleWidth = Math.max(...attempts.map(({ title }) => title.length)) + 2;
  // Origin and path alone: a query may hold what is nobody's business.
  terminal.out(`\n ${styled(terminal, 'bold', `${url.origin}${url.pathname}`)}`);
  let heading = '';
  for (const attempt of attempts) {
    if (attempt.lane !== heading)
      terminal.out(`\n ${styled(terminal, 'bold', attempt.lane)}\n ${styled(terminal, 'dim', '─'.repeat(width - 2))}`);
    heading = attempt.lane;
    terminal.out(rowOf(attempt, titleWidth, width, terminal));
  }
  const [look, sentence] = SENTENCES[outcome];
  terminal.out(`\n ${styled(terminal, [look, 'bold'], wrap(sentence, width - 2, ' '))}`);
  terminal.out(` ${styled(terminal, 'dim', `Requests: ${requests}, in ${(milliseconds / 1000).toFixed(1)} s.`)}\n`);
}

function rowOf({ title, verdict, statuses, fields, note }: Attempt, titleWidth: number, width: number, terminal: Terminal): string {
  const more = [fields.join(', '), note ?? ''].filter((text) => text !== '');
  const indent = ' '.repeat(5);
  return [
    ` ${title.padEnd(titleWidth)}${styled(terminal, LOOKS[verdict], verdict.padEnd(13))}${styled(terminal, 'dim', statuses.join(', '))}`.trimEnd(),
    ...more.map((text) => styled(terminal, verdict === 'got in' ? 'red' : 'dim', indent + wrap(text, width - indent.length, indent))),
  ].join('\n');
}

/** The report for programs. Its shape is stable: members are added, never changed. */
export function jsonOf(url: URL, report: Report): string {
  return JSON.stringify({ url: `${url.origin}${url.pathname}`, ...report }, undefined, 2);
}
