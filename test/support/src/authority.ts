import 'reflect-metadata'; // @peculiar/x509 needs it, imported first
import { randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { thumbprintOf } from './pki.ts';

/** A certificate, and the key that can issue others. */
export interface Issued {
  readonly subject: string;
  readonly der: Uint8Array<ArrayBuffer>;
  readonly pem: string;
  readonly thumbprint: string;
  readonly serialNumber: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

const { KeyUsageFlags, KeyUsagesExtension } = x509;

type Usages = 'certificatesAndLists' | 'listsAndSignatures' | 'signatures' | 'encipherment';

const USAGES: Readonly<Record<Usages, () => x509.Extension>> = {
  certificatesAndLists: () => new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  listsAndSignatures: () => new KeyUsagesExtension(KeyUsageFlags.cRLSign | KeyUsageFlags.digitalSignature, true),
  signatures: () => new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
  encipherment: () => new KeyUsagesExtension(KeyUsageFlags.keyEncipherment, true),
};

/** What a certificate says; all of it can be wrong. Times in seconds. */
export interface Saying {
  readonly subject: string;
  /** By itself where nobody is named. */
  readonly by?: Issued;
  /** `false`: basic constraints with CA:FALSE; `undefined`: none. */
  readonly authority?: boolean;
  readonly pathLength?: number;
  /** `undefined`: no key usage. */
  readonly usages?: Usages;
  /** Extended key usage; `undefined`: none. */
  readonly purposes?: readonly string[];
  readonly notBefore: number;
  readonly notAfter: number;
  /** Of the signature on this certificate. */
  readonly hash?: string;
  readonly algorithm?: 'EC' | 'RSA-1024' | 'RSA-2048' | 'RSA-PSS' | 'Ed25519';
  readonly keys?: webcrypto.CryptoKeyPair;
  /** Others, as they are. */
  readonly extensions?: readonly x509.Extension[];
}

export const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
export const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

const KEYS: Readonly<
  Record<NonNullable<Saying['algorithm']>, webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | { name: string }>
> = {
  EC: { name: 'ECDSA', namedCurve: 'P-256' },
  'RSA-1024': { name: 'RSASSA-PKCS1-v1_5', modulusLength: 1024, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' },
  'RSA-2048': { name: 'RSASSA-PKCS1-v1_5', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' },
  'RSA-PSS': { name: 'RSA-PSS', modulusLength: 2048, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' },
  Ed25519: { name: 'Ed25519' },
};

/** An extension that nobody understands. */
export function extension(type: string, critical: boolean, value: Uint8Array<ArrayBuffer> = Uint8Array.of(5, 0)): x509.Extension {
  return new x509.Extension(type, critical, value);
}

/** Issues a certificate that says this, whether it may or not. */
export async function issue(saying: Saying): Promise<Issued> {
  const { subject, by, authority, pathLength, usages, purposes, notBefore, notAfter, hash = 'SHA-256', algorithm = 'EC' } = saying;
  const keys = saying.keys ?? ((await webcrypto.subtle.generateKey(KEYS[algorithm], true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair);
  const signer = (by?.keys ?? keys).privateKey;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `40${randomBytes(8).toString('hex')}`,
    subject: nameOf(subject),
    issuer: nameOf(by?.subject ?? subject),
    notBefore: new Date(notBefore * 1000),
    notAfter: new Date(notAfter * 1000),
    publicKey: keys.publicKey,
    signingKey: signer,
    // A salt as long as the hash, for RSA-PSS.
    signingAlgorithm: Object.assign({ ...signer.algorithm, hash }, { saltLength: 32 }),
    extensions: [
      ...(authority === undefined ? [] : [new x509.BasicConstraintsExtension(authority, pathLength, true)]),
      ...(usages === undefined ? [] : [USAGES[usages]()]),
      ...(purposes === undefined ? [] : [new x509.ExtendedKeyUsageExtension([...purposes])]),
      ...(saying.extensions ?? []),
    ],
  });
  const der = new Uint8Array(certificate.rawData);
  return {
    subject,
    der,
    pem: certificate.toString('pem'),
    thumbprint: thumbprintOf(der),
    serialNumber: certificate.serialNumber,
    keys,
  };
}

function nameOf(commonName: string): x509.Name {
  return new x509.Name([{ CN: [{ utf8String: commonName }] }]);
}
