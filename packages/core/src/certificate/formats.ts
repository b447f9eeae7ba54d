import { reject, type Rejection } from '../rejection.ts';
import { certificateFrom } from './base64.ts';
import { readHex, readHash } from './hash-value.ts';
import { certificatesInPem, MOST_CERTIFICATES, percentDecoded } from './pem.ts';
import { type Certificate, certificateOf } from './thumbprint.ts';
import { readXfcc, readXfccJson, type XfccElements } from './xfcc.ts';

/**
 * How an edge writes the certificate of the client into a field.
 *
 * - `byte-sequence`: `:base64 DER:`, RFC 9440 §2.2. No parameters, no list.
 * - `base64-der`: base64 of the DER.
 * - `base64-der-list`: several of them behind each other, `,` between, the client's first (Traefik).
 * - `pem`: one PEM block in a line, its line ends written as spaces (Apache, F5).
 * - `percent-encoded-pem`: one PEM block, percent-encoded (nginx, AWS).
 * - `percent-encoded-pem-chain`: several blocks, the client's first, percent-encoded (AWS, passthrough).
 * - `sha256-hex`, `sha256-base64`, `sha256-base64url`: only the SHA-256 of the DER. Hexadecimal in either case, with colons or
 *   without; base64 with its padding or without. SHA-1 is no use, and refused.
 * - `{ xfcc }`: Envoy's `x-forwarded-client-cert`. It has exactly `elements` elements, of which `element` (from 0) is the client's.
 * - `{ xfccJson }`: the same as JSON (Envoy ≥ 1.38, `set_client_cert_format`).
 */
export type ForwardedFormat = FormatName | { readonly xfcc: XfccElements } | { readonly xfccJson: XfccElements };

/** A format that needs nothing more to be said. */
export type FormatName =
  | 'byte-sequence'
  | 'base64-der'
  | 'base64-der-list'
  | 'pem'
  | 'percent-encoded-pem'
  | 'percent-encoded-pem-chain'
  | 'sha256-hex'
  | 'sha256-base64'
  | 'sha256-base64url';

/**
 * Reads a value: one line of the field. Pure, and linear in the length of the value.
 *
 * No library for structured fields reads `byte-sequence`. `structured-headers` 2.1.0, the one that is kept, does as RFC 9651 §4.2.7
 * advises: it takes `:YWI:` (no padding), `:YWJ=:` (stray bits), `::`, white space around and parameters behind. Here one certificate
 * has one spelling, which is what edges send, so all of that would have to be refused once more; and then nothing is left but base64,
 * which the other formats need as strictly.
 */
export type ReadForwarded = (value: string) => Certificate | Rejection;

export const FORMATS: Readonly<Record<FormatName, ReadForwarded>> = {
  'byte-sequence': (value) =>
    value.length > 2 && value.startsWith(':') && value.endsWith(':')
      ? fromDer(certificateFrom(value.slice(1, -1)))
      : malformed('is no byte sequence (RFC 9440 §2.2), alone and without parameters'),
  'base64-der': (value) => fromDer(certificateFrom(value)),
  'base64-der-list': (value) => fromChain(certificatesIn(value.split(',', MOST_CERTIFICATES + 1))),
  pem: (value) => fromSingle(certificatesInPem(value)),
  'percent-encoded-pem': (value) => fromSingle(fromPercentEncoded(value)),
  'percent-encoded-pem-chain': (value) => fromChain(fromPercentEncoded(value)),
  'sha256-hex': readHex,
  'sha256-base64': (value) => readHash(value.endsWith('=') ? value.slice(0, -1) : value, 'base64'),
  'sha256-base64url': (value) => readHash(value, 'base64url'),
};

/** The reader of a format. */
export function readerOf(format: ForwardedFormat): ReadForwarded {
  if (typeof format === 'string') return FORMATS[format];
  return 'xfcc' in format ? readXfcc(format.xfcc) : readXfccJson(format.xfccJson);
}

/** What edges send in place of a certificate where the client presented none, or one that did not fit. */
const PLACEHOLDERS: ReadonlySet<string> = new Set(['', '(null)', '::', '""', '""""']);
const CADDY_PLACEHOLDER = /^:?\{http\.request\.tls\.client\.[a-z0-9_.]+\}:?$/;

export function saysNone(value: string): boolean {
  return PLACEHOLDERS.has(value) || CADDY_PLACEHOLDER.test(value);
}

function fromPercentEncoded(value: string): readonly Uint8Array[] | undefined {
  const text = percentDecoded(value);
  return text === undefined ? undefined : certificatesInPem(text);
}

/** Every one a certificate, or none of them. */
export function certificatesIn(list: readonly string[]): readonly Uint8Array[] | undefined {
  if (list.length > MOST_CERTIFICATES) return undefined;
  const ders = list.flatMap((base64) => certificateFrom(base64) ?? []);
  return ders.length === list.length ? ders : undefined;
}

function fromDer(der: Uint8Array | undefined): Certificate | Rejection {
  return der === undefined ? malformed('is not the base64 of exactly one certificate') : certificateOf(der);
}

function fromSingle(ders: readonly Uint8Array[] | undefined): Certificate | Rejection {
  const [der, ...others] = ders ?? [];
  if (der === undefined || others.length > 0) return malformed('is not exactly one CERTIFICATE block');
  return certificateOf(der);
}

function fromChain(ders: readonly Uint8Array[] | undefined): Certificate | Rejection {
  const [der, ...chain] = ders ?? [];
  return der === undefined ? malformed('is not a list of certificates and nothing else') : { ...certificateOf(der), chain };
}

function malformed(detail: string): Rejection {
  return reject('certificate.malformed', { detail });
}
