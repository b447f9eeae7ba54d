import type * as x509Module from '@peculiar/x509';
import type { X509Certificate } from '@peculiar/x509';
import { isObject } from '../check.ts';
import { reject, type Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';
import { type Certificate, certificateOf } from './thumbprint.ts';

/** What a policy asks of a certificate, read once. Times in seconds. */
export interface ParsedCertificate {
  readonly thumbprint: string;
  readonly der: Uint8Array;
  readonly serialNumber: string;
  /** As text, for people and for lists of revoked certificates. */
  readonly subject: string;
  readonly issuer: string;
  /** The names as they are encoded, in hexadecimal: for comparison. */
  readonly subjectDer: string;
  readonly issuerDer: string;
  readonly notBefore: EpochSeconds;
  readonly notAfter: EpochSeconds;
  /** Basic constraints with CA:TRUE. */
  readonly isAuthority: boolean;
  readonly pathLength: number | undefined;
  /** Absent key usage allows everything (RFC 5280 §4.2.1.3). */
  readonly allowsCertSign: boolean;
  readonly allowsDigitalSignature: boolean;
  /** Absent extended key usage allows everything (RFC 5280 §4.2.1.12). */
  readonly purposes: readonly string[] | undefined;
  /** What stands in it that nobody here understands, or twice, or a key that is too weak. */
  readonly fault: string | undefined;
  /** The algorithm that it is signed with, where it is none that is accepted. No matter for an anchor, which is believed anyway. */
  readonly weakSignature: string | undefined;
  /** Whether this is signed by the key of the other. Never rejects. */
  signedBy(issuer: ParsedCertificate): Promise<boolean>;
}

const BASIC_CONSTRAINTS = '2.5.29.19';
const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const NAME_CONSTRAINTS = '2.5.29.30';
/** Names of the holder, which no policy here reads: critical where there is no subject. */
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const UNDERSTOOD: ReadonlySet<string> = new Set([BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE, SUBJECT_ALTERNATIVE_NAME]);

const SIGNATURES: ReadonlySet<string> = new Set(['ECDSA', 'RSASSA-PKCS1-v1_5', 'RSA-PSS', 'Ed25519', 'Ed448', 'EdDSA']);
const HASHES: ReadonlySet<string> = new Set(['SHA-256', 'SHA-384', 'SHA-512']);
const LEAST_RSA_BITS = 2048;

type X509 = typeof x509Module;

/** Loaded when the first certificate is judged: it takes a quarter of a second, and needs its polyfill first. */
async function load(): Promise<X509> {
  await import('reflect-metadata');
  return import('@peculiar/x509');
}

/** Reads a certificate; `undefined` where it is none that can be read. */
export async function parseCertificate(der: Uint8Array): Promise<ParsedCertificate | undefined> {
  const x509 = await load();
  try {
    return read(x509, der);
  } catch {
    return undefined;
  }
}

const parsedOf = new WeakMap<ParsedCertificate, X509Certificate>();

function read(x509: X509, der: Uint8Array): ParsedCertificate {
  const certificate = new x509.X509Certificate(Uint8Array.from(der));
  const constraints = certificate.getExtension(x509.BasicConstraintsExtension);
  const usages = certificate.getExtension(x509.KeyUsagesExtension)?.usages;
  const allows = (usage: number): boolean => usages === undefined || (usages & usage) !== 0;
  const parsed: ParsedCertificate = {
    thumbprint: certificateOf(der).thumbprint,
    der,
    serialNumber: certificate.serialNumber,
    subject: certificate.subject,
    issuer: certificate.issuer,
    subjectDer: hex(certificate.subjectName.toArrayBuffer()),
    issuerDer: hex(certificate.issuerName.toArrayBuffer()),
    notBefore: certificate.notBefore.getTime() / 1000,
    notAfter: certificate.notAfter.getTime() / 1000,
    isAuthority: constraints?.ca === true,
    pathLength: constraints?.pathLength,
    allowsCertSign: allows(x509.KeyUsageFlags.keyCertSign),
    allowsDigitalSignature: allows(x509.KeyUsageFlags.digitalSignature),
    purposes: certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages.map(String),
    fault: faultOf(certificate),
    weakSignature: weakSignatureOf(certificate),
    signedBy: (issuer) => isSignedBy(certificate, issuer),
  };
  parsedOf.set(parsed, certificate);
  return parsed;
}

async function isSignedBy(certificate: X509Certificate, issuer: ParsedCertificate): Promise<boolean> {
  const authority = parsedOf.get(issuer);
  if (authority === undefined) return false;
  try {
    return await certificate.verify({ publicKey: authority.publicKey, signatureOnly: true });
  } catch {
    return false;
  }
}

function faultOf({ extensions, publicKey }: X509Certificate): string | undefined {
  const types = extensions.map(({ type }) => type);
  if (new Set(types).size < types.length) return 'has an extension twice';
  const unknown = extensions.find(({ type, critical }) => critical && !UNDERSTOOD.has(type));
  if (unknown !== undefined) return `has a critical extension that is not understood (${unknown.type})`;
  if (types.includes(NAME_CONSTRAINTS)) return `has name constraints (${NAME_CONSTRAINTS}), which are not understood`;
  const bits = memberOf(publicKey.algorithm, 'modulusLength');
  return typeof bits === 'number' && bits < LEAST_RSA_BITS ? `has an RSA key of less than ${LEAST_RSA_BITS} bits` : undefined;
}

function weakSignatureOf({ signatureAlgorithm }: X509Certificate): string | undefined {
  const name = String(memberOf(signatureAlgorithm, 'name'));
  // Some have no hash of their own (Ed25519).
  const hash = memberOf(memberOf(signatureAlgorithm, 'hash'), 'name');
  const isAccepted = SIGNATURES.has(name) && (hash === undefined || (typeof hash === 'string' && HASHES.has(hash)));
  return isAccepted ? undefined : [name, hash].filter((part) => typeof part === 'string').join(' with ');
}

/** What WebCrypto's types say is not to be had without those of a browser. */
function memberOf(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

interface Validity {
  readonly notBefore: EpochSeconds;
  readonly notAfter: EpochSeconds;
}

const validities = new WeakMap<Certificate, Validity>();

/**
 * The policy that the certificate of the client be within its validity period (RFC 5280 §4.1.2.5). Not part of the binding
 * (RFC 8705 §6.2), so off unless asked for. A certificate of which the edge hands on only the hash has no dates: refused.
 */
export function withinValidity(certificate: Certificate, now: EpochSeconds): Awaitable<Rejection | undefined> {
  const known = validities.get(certificate);
  return known === undefined ? readValidity(certificate, now) : judgeValidity(known, now);
}

async function readValidity(certificate: Certificate, now: EpochSeconds): Promise<Rejection | undefined> {
  const parsed = certificate.der === undefined ? undefined : await parseCertificate(certificate.der);
  if (parsed === undefined) return reject('certificate.unreadable');
  validities.set(certificate, { notBefore: parsed.notBefore, notAfter: parsed.notAfter });
  return judgeValidity(parsed, now);
}

function judgeValidity(validity: Validity, now: EpochSeconds): Rejection | undefined {
  return isWithin(validity, now) ? undefined : outsideValidity(validity);
}

export function isWithin({ notBefore, notAfter }: Validity, now: EpochSeconds): boolean {
  return now >= notBefore && now <= notAfter;
}

export function outsideValidity({ notBefore, notAfter }: Validity): Rejection {
  const expected = `${new Date(notBefore * 1000).toISOString()} to ${new Date(notAfter * 1000).toISOString()}`;
  return reject('certificate.outside_validity', { expected });
}
