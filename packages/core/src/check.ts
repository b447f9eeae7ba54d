/** Reads values that may be anything, notes each problem, and goes on, so that all of them are told at once. */
export class Check {
  readonly #problems: string[] = [];

  /** Throws one `TypeError` where anything was noted. */
  done(): void {
    const count = this.#problems.length;
    if (count === 0) return;
    throw new TypeError(
      `Holdfast cannot start: ${count} ${count === 1 ? 'option is' : 'options are'} wrong.\n${this.#problems.map((problem) => `- ${problem}`).join('\n')}`,
    );
  }

  /** Notes a problem with a value that may be shown. */
  wrong(option: string, value: unknown, fix: string): void {
    this.#problems.push(`${option}: ${value === undefined ? 'is missing' : `is ${shown(value)}`}. ${fix}.`);
  }

  /** Notes a problem with a value that may be, or hold, a secret: only its kind is told. */
  wrongKind(option: string, value: unknown, fix: string): void {
    this.#problems.push(`${option}: is ${kindOf(value)}. ${fix}.`);
  }

  object(option: string, value: unknown, known: Readonly<Record<string, true>>): Readonly<Record<string, unknown>> {
    const names = Object.keys(known).join(', ');
    if (!isObject(value)) {
      this.wrongKind(option, value, `Give an object with ${names}`);
      return {};
    }
    for (const name of Object.keys(value)) {
      const path = option === 'options' ? name : `${option}.${name}`;
      if (!Object.hasOwn(known, name)) this.#problems.push(`${path}: is no option. There are: ${names}.`);
    }
    return value;
  }

  flag(option: string, value: unknown): boolean {
    if (value !== undefined && typeof value !== 'boolean') this.wrong(option, value, 'Give true or false');
    return value === true;
  }

  /** What a function takes and returns cannot be checked here: `T` is the documented shape. */
  callable<T>(option: string, value: unknown, what: string): T | undefined {
    if (value !== undefined && typeof value !== 'function') this.wrong(option, value, `Give ${what}`);
    return typeof value === 'function' ? (value as T) : undefined;
  }

  oneOf<T extends string>(option: string, value: unknown, [first, ...others]: readonly [T, ...T[]]): T {
    const found = [first, ...others].find((allowed) => allowed === value);
    if (found === undefined && value !== undefined)
      this.wrong(option, value, `Give ${[first, ...others].map((allowed) => `'${allowed}'`).join(' or ')}`);
    return found ?? first;
  }

  /** Some of a few words. */
  list<T extends string>(option: string, value: unknown, allowed: readonly T[], fallback: readonly T[]): readonly T[] {
    if (value === undefined) return fallback;
    const given: readonly unknown[] = Array.isArray(value) ? value : [];
    const list = given.flatMap((item) => allowed.filter((one) => one === item));
    if (list.length > 0 && list.length === given.length) return list;
    this.wrong(option, value, `Give a list of some of ${allowed.join(', ')}`);
    return fallback;
  }

  number(option: string, value: unknown, fallback: number, least: number, most: number): number {
    if (value === undefined) return fallback;
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      this.wrong(option, value, `Give a number from ${least} to ${most}`);
      return fallback;
    }
    return value;
  }

  /** A number of things. */
  whole(option: string, value: unknown, fallback: number, least: number, most: number): number {
    if (value === undefined || (Number.isInteger(value) && this.number(option, value, fallback, least, most) === value)) {
      return typeof value === 'number' ? value : fallback;
    }
    if (typeof value !== 'number' || !Number.isInteger(value)) this.wrong(option, value, `Give a whole number from ${least} to ${most}`);
    return fallback;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A copy of a list of strings, or of one string as a list; `undefined` for anything else. */
export function stringsIn(value: unknown): readonly string[] | undefined {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  return list.every((item) => typeof item === 'string') ? [...list] : undefined;
}

/** A value as it is named in a problem: its beginning, without the credentials of a URL, and never what stands inside an object. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (typeof value !== 'string') return kindOf(value);
  const text = value.replace(/\/\/[^/@]*@/, '//…@');
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' || typeof value === 'string' ? `a ${typeof value}` : String(value);
}
