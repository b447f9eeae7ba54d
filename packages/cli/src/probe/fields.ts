import { createHash, type X509Certificate } from 'node:crypto';

/** How edges write a certificate into a field. */
export type Format = (typeof ALL_FORMATS)[number];

const ALL_FORMATS = [
  'percent-encoded PEM',
  'PEM with spaces',
  'base64 DER',
  'byte sequence',
  'XFCC',
  'hexadecimal hash',
  'base64 hash',
  'base64url hash',
] as const;

const WRITE: Readonly<Record<Format, (certificate: X509Certificate) => string>> = {
  'percent-encoded PEM': (certificate) => encodeURIComponent(pem(certificate)),
  'PEM with spaces': (certificate) => pem(certificate).trim().replaceAll('\n', ' '),
  'base64 DER': ({ raw }) => raw.toString('base64'),
  'byte sequence': ({ raw }) => `:${raw.toString('base64')}:`,
  XFCC: (certificate) => `Hash=${sha256(certificate).toString('hex')};Cert="${encodeURIComponent(pem(certificate))}"`,
  'hexadecimal hash': (certificate) => sha256(certificate).toString('hex'),
  'base64 hash': (certificate) => sha256(certificate).toString('base64').replace(/=+$/, ''),
  'base64url hash': (certificate) => sha256(certificate).toString('base64url'),
};

const PEM = ['percent-encoded PEM', 'PEM with spaces'] as const;

/**
 * Every field in which an edge is known to hand on a certificate, by the presets of Holdfast and the documents of the edges, and
 * what it is written as there.
 */
export const KNOWN_FIELDS: ReadonlyMap<string, readonly Format[]> = new Map<string, readonly Format[]>([
  ['Client-Cert', ['byte sequence']],
  ['X-SSL-Cert', PEM],
  ['X-SSL-Client-Cert', ['base64 DER', ...PEM]],
  ['X-Client-Cert', ['base64 DER', ...PEM]],
  ['SSL-Client-Cert', PEM],
  ['SSL_CLIENT_CERT', PEM],
  ['X-Forwarded-Client-Cert', ['XFCC', 'base64 DER']],
  ['X-Forwarded-Tls-Client-Cert', ['base64 DER']],
  ['X-Amzn-Mtls-Clientcert-Leaf', ['percent-encoded PEM']],
  ['X-Amzn-Mtls-Clientcert', ['percent-encoded PEM']],
  ['X-Client-Cert-Leaf', ['byte sequence']],
  ['X-Client-Cert-Hash', ['base64 hash']],
  ['X-Client-Cert-Fingerprint', ['hexadecimal hash', 'base64url hash']],
  ['X-Client-Certificate', ['percent-encoded PEM']],
  ['X-ARR-ClientCert', ['base64 DER']],
  ['Cf-Client-Cert-Der-Base64', ['base64 DER']],
  ['Cf-Client-Cert-Sha256', ['hexadecimal hash']],
  ['Client-Certificate', ['percent-encoded PEM']],
]);

/** Fields in which an edge says what it thinks of the certificate, as a client would forge them. */
export const VERIFY_FIELDS: ReadonlyMap<string, string> = new Map([
  ['X-SSL-Verify', 'SUCCESS'],
  ['X-SSL-Client-Verify', '0'],
  ['SSL-Client-Verify', 'SUCCESS'],
  ['X-Client-Cert-Chain-Verified', 'true'],
  ['X-Client-Certificate-Verification', 'SUCCESS'],
  ['Client-Certificate-CA-Verified', 'SUCCESS'],
]);

/** One field, and how the certificate is written in it. */
export interface Spoof {
  readonly name: string;
  readonly format: Format;
}

/** A line of a request. */
export type Line = readonly [name: string, value: string];

/** The known fields; or those of these names, in every format, for nobody has said what the edge writes. */
export function spoofsOf(names: readonly string[]): readonly Spoof[] {
  const fields = names.length === 0 ? [...KNOWN_FIELDS] : names.map((name) => [name, ALL_FORMATS] as const);
  return fields.flatMap(([name, all]) => all.map((format) => ({ name, format })));
}

/** The line that a client would send to pass for the holder of this certificate. */
export function lineOf({ name, format }: Spoof, certificate: X509Certificate): Line {
  return [name, WRITE[format](certificate)];
}

/**
 * Spoofs that go into one request: each name once, and no more than `size` characters, since a request that is too large would be
 * refused for its size. A single one may be larger.
 */
export function batchesOf(spoofs: readonly Spoof[], certificate: X509Certificate, size: number): readonly (readonly Spoof[])[] {
  const batches: { spoofs: Spoof[]; names: Set<string>; size: number }[] = [];
  for (const spoof of spoofs) {
    const [name, value] = lineOf(spoof, certificate);
    const length = name.length + value.length;
    const key = name.toLowerCase().replaceAll('_', '-');
    let batch = batches.find((one) => !one.names.has(key) && one.size + length <= size);
    if (batch === undefined) {
      batch = { spoofs: [], names: new Set(), size: 0 };
      batches.push(batch);
    }
    batch.spoofs.push(spoof);
    batch.names.add(key);
    batch.size += length;
  }
  return batches.map((batch) => batch.spoofs);
}

function pem(certificate: X509Certificate): string {
  const lines = certificate.raw.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function sha256(certificate: X509Certificate): Buffer {
  return createHash('sha256').update(certificate.raw).digest();
}
