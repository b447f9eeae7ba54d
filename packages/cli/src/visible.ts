/** Characters that steer a terminal, turn the direction of a text around, or do not show at all. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** What others wrote, as it may be shown on a terminal: characters that would not show as themselves are named by their number. */
export function visible(text: string): string {
  return text.replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

const MOST = 200;

/** A value that others wrote, for a sentence: as JSON, without its middle where it is long. */
export function quoted(value: unknown): string {
  const text = visible(JSON.stringify(withoutSecrets(value)) ?? 'nothing');
  return text.length <= MOST ? text : `${text.slice(0, MOST)}… (${text.length} characters)`;
}

/** The same; a text without its quotation marks, since it is a word. */
export function bare(value: unknown): string {
  const text = quoted(value);
  return typeof value === 'string' ? text.replace(/^"|"$/g, '') : text;
}

/** A few of many values that others wrote, for a sentence. */
export function listed(values: readonly unknown[]): string {
  const shown = values.slice(0, MOST_LISTED).map(quoted);
  return values.length <= MOST_LISTED ? shown.join(', ') : `${shown.join(', ')} … (${values.length})`;
}

const MOST_LISTED = 12;

/** JSON for programs, and for people whose terminal shows it: what is unseen is escaped there too. */
export function visibleJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2).replace(UNSEEN, (character) =>
    character === '\n'
      ? character
      : Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''),
  );
}

const SECRET = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv']);

/** The same without the secrets of keys (RFC 7518 §6), which have no business there and must not be shown. */
export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (depth > 32) return '… (too deep)';
  if (Array.isArray(value)) return value.map((one: unknown) => withoutSecrets(one, depth + 1));
  if (!isObject(value)) return value;
  const isKey = 'kty' in value;
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, isKey && SECRET.has(name) ? '(secret, not shown)' : withoutSecrets(one, depth + 1)]),
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
