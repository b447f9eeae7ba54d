import { LRUCache } from 'lru-cache';
import { Check, isObject, stringsIn } from '../check.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { ProtectedResourceRequest } from '../request.ts';
import { certificatesIn, type FormatName, FORMATS, type ForwardedFormat, readerOf, saysNone } from './formats.ts';
import { MOST_CERTIFICATES } from './pem.ts';
import type { Certificate, CertificateSource } from './thumbprint.ts';
import { type EdgeTrust, type EveryPeer, readField, readTrust } from './trusted-peers.ts';

/** A field in which an edge hands on the certificate of the client. */
export interface ForwardedFieldOptions {
  /** The name of the field. This one is read and no other. */
  readonly field: string;
  /** How the certificate is written. Nothing is guessed: a value in another format is refused. */
  readonly format: ForwardedFormat;
  /** How a request shows that it comes from the edge. Required: a client can write any field. */
  readonly trust: EdgeTrust | EveryPeer;
  /** The field with the further certificates, a list of byte sequences (RFC 9440 §2.3); read for a chain policy. */
  readonly chainField?: string;
  /** A field in which the edge says that it verified the certificate: it must be there, once, with one of these values. */
  readonly verified?: VerifiedField;
  /** Characters of a value that are read at most. Default 16,384; Node itself takes no more, unless `maxHeaderSize` is raised. */
  readonly longest?: number;
}

/** A field that says what the edge thinks of the certificate. */
export interface VerifiedField {
  readonly field: string;
  /** Whole values, as `'SUCCESS'`; a `*` at the end stands for anything that follows. */
  readonly values: readonly string[];
}

const OPTION_NAMES: Record<keyof ForwardedFieldOptions, true> = {
  field: true,
  format: true,
  trust: true,
  chainField: true,
  verified: true,
  longest: true,
};

/** Characters of a value, by default, and at most. */
const LONGEST = 16 * 1024;
const MOST = 256 * 1024;
/** Certificates that are remembered, and the characters of their values: a few megabytes in all. */
const REMEMBERED = { entries: 1000, characters: 2 * 1024 * 1024 };

/**
 * The certificate source for an API behind an edge that ends TLS and hands the certificate on in a field. For edges with a name
 * there are presets: `nginx()`, `envoy()`, `rfc9440()`, …
 *
 * The field is believed only where `trust` holds. It must be there once, in exactly this format. Absent, a placeholder and anything
 * else are three different reasons (`certificate.missing`, `.not_presented`, `.malformed`), each 401 for a bound token. No other
 * field, and never the TLS connection of the edge, stands in for it.
 *
 * Nothing here can see that an edge lets the field of a client through: test the edge, from outside.
 *
 * Throws one `TypeError` that lists every problem in the options.
 *
 * @example
 * fromForwardedField({ field: 'X-Client-Cert', format: 'base64-der', trust: { peers: ['10.1.2.3'] } })
 */
export function fromForwardedField(options: ForwardedFieldOptions): CertificateSource {
  const check = new Check();
  const source = readForwardedField(check, 'fromForwardedField', options);
  check.done();
  return source;
}

/** The same, with the problems noted under the name of the function that was called. */
export function readForwardedField(check: Check, name: string, options: unknown): CertificateSource {
  const o = check.object(name, options, OPTION_NAMES);
  const field = readField(check, `${name}.field`, o['field']);
  const chainField = o['chainField'] === undefined ? undefined : readField(check, `${name}.chainField`, o['chainField']);
  const read = readerOf(readFormat(check, `${name}.format`, o['format']));
  const distrustOf = readTrust(check, `${name}.trust`, o['trust']);
  const verify = o['verified'] === undefined ? undefined : readVerified(check, `${name}.verified`, o['verified']);
  const longest = check.whole(`${name}.longest`, o['longest'], LONGEST, 1, MOST);
  refuseCollisions(check, name, o);
  // Only what trusted peers sent and what was a certificate gets in here, so that nobody else can fill it.
  const remembered = new LRUCache<string, Certificate>({
    max: REMEMBERED.entries,
    maxSize: REMEMBERED.characters,
    sizeCalculation: (_certificate, key) => key.length,
  });

  const source = (request: ProtectedResourceRequest): Certificate | Rejection => {
    const lines = request.fieldLines(field);
    const [value, ...others] = lines;
    if (value === undefined) return reject('certificate.missing', { detail: `no ${field}` });
    const objection =
      distrustOf(request) ?? (others.length > 0 ? reject('certificate.several_lines', { detail: field }) : verify?.(request));
    if (objection !== undefined) return objection;
    if (value.length > longest) return malformed(field, `is longer than ${longest} characters`);
    const chainLines = chainField === undefined ? NONE : request.fieldLines(chainField);
    const key = chainLines.length === 0 ? value : `${value}\n${chainLines.join('\n')}`;
    const known = remembered.get(key);
    if (known !== undefined) return known;
    if (saysNone(value)) return reject('certificate.not_presented', { detail: field });
    const certificate = withChain(read(value), chainLines, longest);
    if (isRejection(certificate)) return { ...certificate, detail: `${field} ${certificate.detail ?? ''}` };
    remembered.set(key, certificate);
    return certificate;
  };
  return Object.assign(source, { field });
}

/** What every request has of its own, whoever sends it: an edge that writes there breaks what it is for. */
const TAKEN: ReadonlySet<string> = new Set([
  'authorization',
  'dpop',
  'host',
  'connection',
  'cookie',
  'content-length',
  'transfer-encoding',
]);

/** One field says one thing: where two are the same, what is meant for one would be read as the other. */
function refuseCollisions(check: Check, name: string, options: Readonly<Record<string, unknown>>): void {
  const paths = [['field'], ['chainField'], ['verified', 'field'], ['trust', 'secret', 'field']];
  const seen = new Map<string, string>();
  for (const path of paths) {
    const field = textAt(options, path)?.toLowerCase();
    if (field === undefined) continue;
    const option = `${name}.${path.join('.')}`;
    const other = seen.get(field);
    if (TAKEN.has(field)) check.wrong(option, field, 'Requests have that field for something else: give one of the edge alone');
    if (other !== undefined) check.wrong(option, field, `That is ${other} already: each needs a field of its own`);
    seen.set(field, option);
  }
}

function textAt(value: unknown, path: readonly string[]): string | undefined {
  let at = value;
  for (const name of path) at = isObject(at) ? at[name] : undefined;
  return typeof at === 'string' ? at : undefined;
}

const NONE: readonly string[] = Object.freeze([]);

/** The further certificates, as RFC 9440 §2.3 writes them: a list, which may go over several lines, of byte sequences. */
function withChain(certificate: Certificate | Rejection, lines: readonly string[], longest: number): Certificate | Rejection {
  if (isRejection(certificate) || lines.length === 0) return certificate;
  const list = lines.join(',');
  // An empty list, which some edges send where the client sent no more than its own.
  if (list === '') return certificate;
  if (list.length > longest) return reject('certificate.malformed', { detail: `has a chain of more than ${longest} characters` });
  const members = list.split(',', MOST_CERTIFICATES + 1).map((member) => /^[ \t]*:([^:]*):[ \t]*$/.exec(member)?.[1] ?? '');
  const chain = certificatesIn(members);
  return chain === undefined
    ? reject('certificate.malformed', { detail: 'has a chain that is no list of byte sequences of certificates (RFC 9440 §2.3)' })
    : { ...certificate, chain };
}

function malformed(field: string, why: string): Rejection {
  return reject('certificate.malformed', { detail: `${field} ${why}` });
}

function readFormat(check: Check, option: string, value: unknown): ForwardedFormat {
  if (isFormatName(value)) return value;
  if (typeof value === 'object' && value !== null) {
    const kinds = check.object(option, value, { xfcc: true, xfccJson: true });
    const [[kind, given] = [], ...others] = Object.entries(kinds);
    if ((kind === 'xfcc' || kind === 'xfccJson') && others.length === 0) {
      const o = check.object(`${option}.${kind}`, given, { elements: true, element: true });
      const elements = check.whole(`${option}.${kind}.elements`, o['elements'], 1, 1, 10);
      const which = { elements, element: check.whole(`${option}.${kind}.element`, o['element'], 0, 0, elements - 1) };
      return kind === 'xfcc' ? { xfcc: which } : { xfccJson: which };
    }
  }
  check.wrong(option, value, `Give one of ${Object.keys(FORMATS).join(', ')}, or { xfcc: { elements: 1, element: 0 } }`);
  return 'byte-sequence';
}

function isFormatName(value: unknown): value is FormatName {
  return typeof value === 'string' && Object.hasOwn(FORMATS, value);
}

function readVerified(check: Check, option: string, value: unknown): (request: ProtectedResourceRequest) => Rejection | undefined {
  const o = check.object(option, value, { field: true, values: true });
  const field = readField(check, `${option}.field`, o['field']);
  const values = stringsIn(o['values']) ?? [];
  if (!Array.isArray(o['values']) || values.length === 0 || values.some((one) => one === '' || one === '*')) {
    check.wrong(`${option}.values`, o['values'], "Give a list of the values that say so, as ['SUCCESS']");
  }
  const fits = (line: string): boolean => values.some((one) => (one.endsWith('*') ? line.startsWith(one.slice(0, -1)) : line === one));
  return (request) => {
    const [line, ...others] = request.fieldLines(field);
    return line !== undefined && others.length === 0 && fits(line) ? undefined : reject('certificate.not_verified', { detail: field });
  };
}
