import { createInterface } from 'node:readline/promises';
import { styleText } from 'node:util';

/** Where a command reads and writes. */
export interface Terminal {
  /** What was asked for. */
  readonly out: (text: string) => void;
  /** Questions, progress and problems, so that what was asked for can be piped. */
  readonly err: (text: string) => void;
  /** Everything on standard input; where it is more than so many characters, only somewhat more than these. */
  readonly input: (most?: number) => Promise<string>;
  /** The answer to a question; undefined where nobody sits there. */
  readonly ask: ((question: string) => Promise<string>) | undefined;
  /** The columns of standard output; undefined where it is no terminal. */
  readonly columns: number | undefined;
  /** Whether standard output shows colours: a terminal that can, and nobody has set NO_COLOR (no-color.org). */
  readonly hasColours: boolean;
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  // Whoever reads no further, as head does, has read enough.
  stdout.on('error', (error: Error) => {
    if (!('code' in error && error.code === 'EPIPE')) throw error;
  });
  return {
    out: (text) => void stdout.write(`${text}\n`),
    err: (text) => void stderr.write(`${text}\n`),
    async input(most = Number.POSITIVE_INFINITY) {
      let text = '';
      for await (const chunk of stdin) {
        text += String(chunk);
        if (text.length > most) break;
      }
      return text;
    },
    ask: stdin.isTTY && stderr.isTTY ? ask : undefined,
    columns: stdout.isTTY ? stdout.columns : undefined,
    hasColours: stdout.isTTY && stdout.hasColors(),
  };
}

async function ask(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(question);
  } finally {
    lines.close();
  }
}

/** How a text looks on a terminal. */
export type Look = 'bold' | 'dim' | 'green' | 'yellow' | 'red';

/** The text with a look, where it is shown. */
export function styled({ hasColours }: Pick<Terminal, 'hasColours'>, look: Look | readonly Look[], text: string): string {
  return hasColours ? styleText([look].flat(), text) : text;
}
