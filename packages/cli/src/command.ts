import { parseArgs } from 'node:util';
import { refuseTokens, UsageError } from './arguments.ts';
import type { Terminal } from './terminal.ts';

/** What a command takes, and how its help describes it. */
export interface CommandOption {
  /** How its value is called in the help; a flag without one. */
  readonly value?: string;
  readonly short?: string;
  /** It may be given several times. */
  readonly several?: true;
  readonly text: string;
}

/** One command: a file or folder of its own, and its name in `commands.ts`. */
export interface Command {
  readonly name: string;
  /** One line, for the list of commands. */
  readonly summary: string;
  /** What stands after the name: `<url> [options]`. */
  readonly usage: string;
  readonly options: Readonly<Record<string, CommandOption>>;
  /** Paragraphs after the options. */
  readonly notes: readonly string[];
  /** The exit code where it has not run at all; {@link NOT_RUN} unless it says otherwise. */
  readonly notRun?: number;
  /** Runs, and resolves with the exit code. Throws a {@link UsageError} for what whoever called it can mend. */
  run(given: Given, terminal: Terminal): Promise<number>;
}

/** What was given on the command line. */
export interface Given {
  readonly positionals: readonly string[];
  /** The value of an option; the last, where it was given several times. */
  value(name: string): string | undefined;
  values(name: string): readonly string[];
  flag(name: string): boolean;
}

/** The exit code where a command has not run at all: wrong options, a file that cannot be read, no permission. */
export const NOT_RUN = 3;

const HELP: CommandOption = { short: 'h', text: 'Shows this, and does nothing else.' };

/** Runs what a command line asks for, and resolves with the exit code. */
export async function runCommandLine(
  commands: readonly Command[],
  version: string,
  args: readonly string[],
  terminal: Terminal,
): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const text = overview(commands, terminal.columns);
    if (name === undefined) terminal.err(text);
    else terminal.out(text);
    return name === undefined ? NOT_RUN : 0;
  }
  if (name === '--version' || name === '-v') {
    terminal.out(version);
    return 0;
  }
  const command = commands.find((one) => one.name === name);
  if (command === undefined) {
    // The word itself is not repeated: whoever mixes up the order may have put a secret there.
    terminal.err(`There is no such command. There is: ${commands.map((one) => one.name).join(', ')}. See: holdfast --help`);
    return NOT_RUN;
  }
  try {
    refuseTokens(rest);
    const given = parse(command, rest);
    if (given.flag('help')) {
      terminal.out(helpOf(command, terminal.columns));
      return 0;
    }
    return await command.run(given, terminal);
  } catch (error) {
    // What else is thrown may quote what was read, which may be a secret or steer the terminal.
    const message = error instanceof UsageError ? error.message : `a failure that nobody expected (${nameOf(error)}). Please report it.`;
    terminal.err(`holdfast ${command.name}: ${message}\nSee: holdfast ${command.name} --help`);
    return command.notRun ?? NOT_RUN;
  }
}

function nameOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? ` ${error.code}` : '';
  return error instanceof Error ? `${error.name}${code}` : typeof error;
}

function parse(command: Command, args: readonly string[]): Given {
  const options = Object.fromEntries(
    Object.entries({ ...command.options, help: HELP }).map(([name, { value, short }]) => [
      name,
      { type: value === undefined ? ('boolean' as const) : ('string' as const), multiple: true, ...(short !== undefined && { short }) },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
    const all = (name: string): (string | boolean)[] => [values[name] ?? []].flat();
    const texts = (name: string): string[] => all(name).filter((one) => typeof one === 'string');
    return { positionals, value: (name) => texts(name).at(-1), values: texts, flag: (name) => all(name).includes(true) };
  } catch (error) {
    // Not in Node's words, which repeat the value behind an option that it does not know.
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') throw new UsageError(`There is no option ${nameOfUnknown(args, options)}.`);
    if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE' && error instanceof Error) throw new UsageError(wrongValue(error.message));
    throw error;
  }
}

function nameOfUnknown(args: readonly string[], options: object): string {
  const names = args.filter((arg) => arg.startsWith('--')).map((arg) => arg.slice(2).split('=')[0] ?? '');
  const unknown = names.find((name) => !Object.hasOwn(options, name));
  if (unknown === undefined) return 'of that letter';
  const bare = (name: string): string => name.replace(/[^a-z]/gi, '').toLowerCase();
  const meant = Object.keys(options).find((name) => bare(name) === bare(unknown) || (bare(unknown).length > 2 && name.startsWith(unknown)));
  return `--${unknown}${meant === undefined ? '' : `. It is --${meant}`}`;
}

/** The option that Node complains of, in our words: it has no value where it needs one, or one where it takes none. */
function wrongValue(message: string): string {
  const [, name = 'an option'] = /'(?:-\w, )?(--[\w-]+)/.exec(message) ?? [];
  return /does not take an argument/.test(message)
    ? `${name}: takes no value.`
    : `${name}: give a value. Where it begins with a dash: ${name}=<value>.`;
}

function overview(commands: readonly Command[], columns?: number): string {
  const indent = Math.max(...commands.map(({ name }) => name.length)) + 5;
  const width = widthOf(columns) - indent;
  return [
    'Usage: holdfast <command> [options]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(indent - 2)}${wrap(summary, width, ' '.repeat(indent))}\n`),
    'holdfast <command> --help says more about one.',
  ].join('\n');
}

/** The columns that a help takes. */
function widthOf(columns = 100): number {
  return Math.min(Math.max(columns, 60), 110);
}

/** The help of a command, made of the same table that its options are parsed by. */
function helpOf({ name, summary, usage, options, notes }: Command, columns?: number): string {
  const width = widthOf(columns);
  const rows = Object.entries({ ...options, help: HELP }).map(([option, { value, short, text }]) => {
    const left = `${short === undefined ? '    ' : `-${short}, `}--${option}${value === undefined ? '' : ` <${value}>`}`;
    return { left, text };
  });
  const indent = Math.max(...rows.map(({ left }) => left.length)) + 4;
  return [
    wrapWords(['Usage:', 'holdfast', name, ...(usage.match(/\[[^\]]*\]|--\S+ <[^>]*>|\S+/g) ?? [])], width, ' '.repeat(9)),
    '',
    wrap(summary, width, ''),
    '',
    'Options:',
    ...rows.map(({ left, text }) => `  ${left.padEnd(indent - 2)}${wrap(text, width - indent, ' '.repeat(indent))}`),
    ...notes.flatMap((note) => ['', wrap(note, width, '')]),
  ].join('\n');
}

/** Text in lines of the width, all but the first behind the indent. */
export function wrap(text: string, width: number, indent: string): string {
  return wrapWords(text.split(' '), width, indent);
}

function wrapWords(words: readonly string[], width: number, indent: string): string {
  const lines = [''];
  for (const word of words) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join(`\n${indent}`);
}
