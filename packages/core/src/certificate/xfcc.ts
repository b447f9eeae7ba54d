import { equal } from '#crypto';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import { readHex } from './hash-value.ts';
import { certificatesInPem, percentDecoded } from './pem.ts';
import { type Certificate, certificateOf } from './thumbprint.ts';

/** Which element of `x-forwarded-client-cert` is the client's. */
export interface XfccElements {
  /** How many there are when everything is right: one for each hop that appends. */
  readonly elements: number;
  /** The client's, counted from 0. */
  readonly element: number;
}

/** One element: the values of each key, which is in lower case. */
type XfccElement = ReadonlyMap<string, readonly string[]>;

/** Keys that stand once at most. A client whose certificate nobody verifies can write others into a URI or DNS name (envoy#32945). */
const SINGLE = ['hash', 'cert', 'chain', 'subject'];

/**
 * Reads Envoy's text form. Elements, keys and values are told apart by quotes and backslashes, not by splitting. The number of
 * elements must be the configured one, and the client's must have one `Hash`, which `Cert` and `Chain` agree with: names in a
 * certificate are written by its holder, and Envoy writes them as they are.
 */
export function readXfcc(which: XfccElements): (value: string) => Certificate | Rejection {
  return (value) => {
    const elements = tokenize(value);
    return elements === undefined ? malformed('is not what Envoy writes') : fromElements(elements, which);
  };
}

/** Reads the JSON form: a list of objects with the same keys, values text or lists of text. */
export function readXfccJson(which: XfccElements): (value: string) => Certificate | Rejection {
  return (value) => {
    const elements = parseJson(value);
    return elements === undefined ? malformed('is no JSON list of elements') : fromElements(elements, which);
  };
}

function fromElements(list: readonly XfccElement[], { elements, element }: XfccElements): Certificate | Rejection {
  // The hops behind the first have certificates of their own: theirs are there where the client has none.
  if (list.length < elements) return reject('certificate.not_presented', { detail: `${list.length} of ${elements} elements` });
  const client = list.length === elements ? list[element] : undefined;
  if (client === undefined) return malformed(`has ${list.length} elements, where ${elements} are configured`);
  if (list.some((one) => SINGLE.some((key) => (one.get(key)?.length ?? 0) > 1))) return malformed('repeats a key');
  const hash = readHex(client.get('hash')?.[0] ?? '');
  if (isRejection(hash)) return hash;
  const [cert] = certificates(client, 'cert');
  const [leaf, ...chain] = certificates(client, 'chain');
  const ders = [cert, leaf].filter((der) => der !== undefined);
  const isUnread = (client.has('cert') && cert === undefined) || (client.has('chain') && leaf === undefined);
  if (isUnread || ders.some((der) => !equal(certificateOf(der).thumbprint, hash.thumbprint))) {
    return malformed('has a Cert or Chain that is no certificate, or not the one of its Hash');
  }
  const der = cert ?? leaf;
  return der === undefined ? hash : { ...hash, der, ...(chain.length > 0 && { chain }) };
}

function certificates(element: XfccElement, key: 'cert' | 'chain'): readonly Uint8Array[] {
  const [value] = element.get(key) ?? [];
  const text = value === undefined ? undefined : percentDecoded(value);
  if (text === undefined) return [];
  return certificatesInPem(text, key === 'cert' ? 1 : undefined) ?? [];
}

const KEY = /([A-Za-z]+)=/y;
/** A value without quotes: ASCII, as far as nothing in it would need them. */
const BARE = /[ !#-+\--:<-[\]-~]*/y;

/** `key=value;key="value",key=…`; `undefined` where anything else stands in it. */
function tokenize(value: string): readonly XfccElement[] | undefined {
  const elements = [new Map<string, string[]>()];
  for (let at = 0; ; at += 1) {
    const key = matchAt(KEY, value, at)?.[1];
    if (key === undefined) return undefined;
    const start = KEY.lastIndex;
    const end = value[start] === '"' ? endOfQuoted(value, start) : undefined;
    const text = end === undefined ? (matchAt(BARE, value, start)?.[0] ?? '') : value.slice(start + 1, end - 1).replace(/\\([^])/g, '$1');
    add(elements.at(-1), key, text);
    at = end ?? start + text.length;
    if (at === value.length) return elements;
    if (value[at] === ',') elements.push(new Map<string, string[]>());
    else if (value[at] !== ';') return undefined;
  }
}

/** Behind the quote that ends what begins here: a backslash takes the meaning of the character after it. */
function endOfQuoted(text: string, start: number): number | undefined {
  for (let i = start + 1; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === '"') return i + 1;
  }
  return undefined;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at;
  return pattern.exec(text) ?? undefined;
}

function add(element: Map<string, string[]> | undefined, key: string, value: string): void {
  const name = key.toLowerCase();
  const values = element?.get(name);
  if (values === undefined) element?.set(name, [value]);
  else values.push(value);
}

const ESCAPED_LETTER = /\\u00[4-7]/i;

function parseJson(value: string): readonly XfccElement[] | undefined {
  let list: unknown;
  try {
    list = JSON.parse(value);
  } catch {
    return undefined;
  }
  if (!Array.isArray(list)) return undefined;
  const elements: Map<string, string[]>[] = [];
  for (const one of list as readonly unknown[]) {
    if (typeof one !== 'object' || one === null || Array.isArray(one)) return undefined;
    const element = new Map<string, string[]>();
    for (const [key, given] of Object.entries(one)) {
      const values: readonly unknown[] = Array.isArray(given) ? given : [given];
      for (const text of values) {
        if (typeof text !== 'string') return undefined;
        add(element, key, text);
      }
    }
    elements.push(element);
  }
  // Of a repeated key JSON.parse keeps the last, unseen. No letter needs an escape, by which a key could hide.
  if (ESCAPED_LETTER.test(value)) return undefined;
  for (const key of SINGLE) {
    const written = value.match(new RegExp(`"${key}"\\s*:`, 'gi'))?.length ?? 0;
    if (written !== elements.filter((element) => element.has(key)).length) return undefined;
  }
  return elements;
}

function malformed(detail: string): Rejection {
  return reject('certificate.malformed', { detail });
}
