/** One challenge of a WWW-Authenticate field; names and scheme as written. */
export interface Challenge {
  readonly scheme: string;
  readonly parameters: Record<string, string>;
}

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const PARAMETER = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+=/y;
const QUOTED = /"((?:[\t !#-[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"/y;
const SPACES = / +/y;
const COMMA = /[ \t]*,[ \t]*/y;

/**
 * The challenges of one or several WWW-Authenticate lines, by the grammar that binds a **sender** (RFC 9110 §11.6.1, §5.6.1.1):
 * no empty list elements, no space around `=`. Every line stands alone, so that joined or apart they say the same.
 * Throws on any other syntax, on a parameter twice in a challenge (§11.2), on a realm that is not quoted (§11.5), and on
 * a token68 in place of parameters, which neither Bearer nor DPoP uses.
 */
export function parseChallenges(lines: readonly string[]): Challenge[] {
  return lines.flatMap(parseLine);
}

function parseLine(line: string): Challenge[] {
  const challenges: Challenge[] = [];
  const scanner = new Scanner(line);
  do challenges.push(parseChallenge(scanner));
  while (scanner.take(COMMA));
  if (!scanner.done) scanner.fail('a comma or the end');
  return challenges;
}

function parseChallenge(scanner: Scanner): Challenge {
  const scheme = scanner.expect(TOKEN, 'an auth-scheme');
  const parameters = new Map<string, string>();
  if (scanner.take(SPACES)) {
    do parseParameter(scanner, parameters);
    while (scanner.takeBefore(COMMA, PARAMETER));
  }
  return { scheme, parameters: Object.fromEntries(parameters) };
}

function parseParameter(scanner: Scanner, parameters: Map<string, string>): void {
  const name = scanner.expect(PARAMETER, 'an auth-param').slice(0, -1);
  const same = (other: string): boolean => other.toLowerCase() === name.toLowerCase();
  if ([...parameters.keys()].some(same)) scanner.fail(`no second ${name}`);
  const quoted = scanner.take(QUOTED);
  if (quoted === undefined && same('realm')) scanner.fail('a quoted-string, as realm demands');
  parameters.set(name, quoted?.slice(1, -1).replace(/\\(.)/g, '$1') ?? scanner.expect(TOKEN, 'a token or a quoted-string'));
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at === this.#text.length;
  }

  /** What `pattern` (sticky) matches here, consumed. */
  take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const taken = pattern.exec(this.#text)?.[0];
    this.#at += taken?.length ?? 0;
    return taken;
  }

  /** Consumes `pattern` only where `next` follows it. */
  takeBefore(pattern: RegExp, next: RegExp): boolean {
    const start = this.#at;
    const follows = this.take(pattern) !== undefined && this.take(next) !== undefined;
    this.#at = start;
    return follows && this.take(pattern) !== undefined;
  }

  expect(pattern: RegExp, what: string): string {
    return this.take(pattern) ?? this.fail(what);
  }

  fail(expected: string): never {
    throw new SyntaxError(`WWW-Authenticate: expected ${expected} at ${this.#at} of ${JSON.stringify(this.#text)}`);
  }
}
