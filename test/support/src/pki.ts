import 'reflect-metadata'; // @peculiar/x509 needs it, imported first
import { createHash, randomBytes, X509Certificate, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { exportJWK, type JWK } from 'jose';

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const RSA_4096 = { name: 'RSASSA-PKCS1-v1_5', modulusLength: 4096, publicExponent: Uint8Array.of(1, 0, 1), hash: 'SHA-256' };
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** A certificate, by default over P-256, its key, and the forms in which tests need them. */
export interface Identity {
  /** PEM. */
  readonly cert: string;
  /** PEM, PKCS #8. */
  readonly key: string;
  readonly der: Uint8Array<ArrayBuffer>;
  /** `x5t#S256` of the certificate (RFC 8705 §3.1). */
  readonly thumbprint: string;
  /** The public key with `x5c`, as a client registers it (RFC 8705 §2.2.2). */
  readonly jwk: JWK;
  readonly keys: webcrypto.CryptoKeyPair;
}

/** What a certificate may have of its own; by default valid for a day, over a new key. */
export interface IdentityOptions {
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly keys?: webcrypto.CryptoKeyPair;
  /** Subject alternative names, of which a thousand make a certificate large. */
  readonly dnsNames?: readonly string[];
}

/** A certification authority, and what it and others issue. */
export interface Pki {
  /** The authority's own certificate, PEM. */
  readonly ca: string;
  /** `CN=localhost`, for `localhost` and `127.0.0.1`. */
  readonly server: Identity;
  /** The same for other names. */
  serverFor(dnsNames: readonly string[]): Promise<Identity>;
  /** A certificate that the authority signs: `CN=…, O=Demo`, for clientAuth. */
  client(commonName: string, options?: IdentityOptions): Promise<Identity>;
  /** The same subject and use, signed by its own key. */
  selfSigned(commonName: string, options?: IdentityOptions): Promise<Identity>;
  /** A new certificate over the same key and subject, by the same kind of issuer: another serial number, another thumbprint. */
  renew(identity: Identity): Promise<Identity>;
  /** RSA with 4096 bits, signed by an intermediate authority under this one; `cert` holds both, as a client sends them. */
  rsaUnderIntermediate(commonName: string): Promise<Identity>;
}

/** A new P-256 pair that can be exported. */
export function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
}

/** A certification authority that lives in memory; no two are alike. */
export async function createPki(): Promise<Pki> {
  const caKeys = await generateKeys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...lifetime(),
    serialNumber: randomSerial(),
    name: nameOf('Demo CA', 'Demo'),
    signingAlgorithm: EC,
    keys: caKeys,
    extensions: [
      await x509.SubjectKeyIdentifierExtension.create(caKeys.publicKey),
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  });

  const authority: Authority = { name: ca.subjectName, keys: caKeys };
  const signedByCa = (subject: x509.Name, extensions: x509.Extension[], options: IdentityOptions): Promise<Identity> =>
    signedBy(authority, subject, extensions, options);
  const signedBySelf = async (subject: x509.Name, options: IdentityOptions): Promise<Identity> => {
    const keys = options.keys ?? (await generateKeys());
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      ...lifetime(options),
      serialNumber: randomSerial(),
      name: subject,
      signingAlgorithm: EC,
      keys,
      extensions: [await x509.SubjectKeyIdentifierExtension.create(keys.publicKey), ...clientUse(options)],
    });
    return identityOf(certificate, keys);
  };

  const serverFor = (names: x509.Extension): Promise<Identity> =>
    signedByCa(nameOf('localhost'), [names, new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth])], {});

  return {
    ca: pem('CERTIFICATE', ca.rawData),
    server: await serverFor(
      new x509.SubjectAlternativeNameExtension([
        { type: 'dns', value: 'localhost' },
        { type: 'ip', value: '127.0.0.1' },
      ]),
    ),
    serverFor: (dnsNames) => serverFor(alternativeNames(dnsNames)),
    client: (commonName, options = {}) => signedByCa(nameOf(commonName, 'Demo'), clientUse(options), options),
    selfSigned: (commonName, options = {}) => signedBySelf(nameOf(commonName, 'Demo'), options),
    renew: ({ der, keys }) => {
      const { subject, issuer, subjectName } = new x509.X509Certificate(der);
      return subject === issuer ? signedBySelf(subjectName, { keys }) : signedByCa(subjectName, clientUse(), { keys });
    },
    async rsaUnderIntermediate(commonName) {
      const intermediate = await signedByCa(
        nameOf('Demo intermediate CA', 'Demo'),
        [new x509.BasicConstraintsExtension(true, 0, true), new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true)],
        {},
      );
      const issuer = { name: nameOf('Demo intermediate CA', 'Demo'), keys: intermediate.keys };
      const keys = await webcrypto.subtle.generateKey(RSA_4096, true, ['sign', 'verify']);
      const leaf = await signedBy(issuer, nameOf(commonName, 'Demo'), clientUse(), { keys });
      return { ...leaf, cert: leaf.cert + intermediate.cert };
    },
  };
}

/** `x5t#S256`: base64url of the SHA-256 of the whole certificate in DER (RFC 8705 §3.1). */
export function thumbprintOf(certificate: Uint8Array | string): string {
  const { raw } = new X509Certificate(certificate);
  return createHash('sha256').update(raw).digest('base64url');
}

interface Authority {
  readonly name: x509.Name;
  readonly keys: webcrypto.CryptoKeyPair;
}

async function signedBy(
  authority: Authority,
  subject: x509.Name,
  extensions: x509.Extension[],
  options: IdentityOptions,
): Promise<Identity> {
  const keys = options.keys ?? (await generateKeys());
  const certificate = await x509.X509CertificateGenerator.create({
    ...lifetime(options),
    serialNumber: randomSerial(),
    subject,
    issuer: authority.name,
    signingAlgorithm: EC,
    signingKey: authority.keys.privateKey,
    publicKey: keys.publicKey,
    extensions: [
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.keys.publicKey),
      ...extensions,
    ],
  });
  return identityOf(certificate, keys);
}

async function identityOf(certificate: x509.X509Certificate, keys: webcrypto.CryptoKeyPair): Promise<Identity> {
  const der = new Uint8Array(certificate.rawData);
  return {
    cert: pem('CERTIFICATE', der),
    key: pem('PRIVATE KEY', await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)),
    der,
    thumbprint: thumbprintOf(der),
    jwk: {
      ...(await exportJWK(keys.publicKey)),
      x5c: [Buffer.from(der).toString('base64')],
      use: 'sig',
      alg: keys.publicKey.algorithm.name === EC.name ? 'ES256' : 'RS256',
    },
    keys,
  };
}

/** Typed values, since a bare string is parsed for quotes and escapes. */
function nameOf(commonName: string, organization?: string): x509.Name {
  const rest = organization === undefined ? [] : [{ O: [{ utf8String: organization }] }];
  return new x509.Name([{ CN: [{ utf8String: commonName }] }, ...rest]);
}

function alternativeNames(dnsNames: readonly string[]): x509.Extension {
  return new x509.SubjectAlternativeNameExtension(dnsNames.map((value) => ({ type: 'dns' as const, value })));
}

function clientUse({ dnsNames }: IdentityOptions = {}): x509.Extension[] {
  return [
    ...(dnsNames ? [alternativeNames(dnsNames)] : []),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
  ];
}

function lifetime({ notBefore, notAfter }: IdentityOptions = {}): { notBefore: Date; notAfter: Date } {
  return { notBefore: notBefore ?? new Date(Date.now() - MINUTE), notAfter: notAfter ?? new Date(Date.now() + DAY) };
}

/** 16 bytes, positive and without a leading zero, so that DER adds or drops none. */
function randomSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

function pem(label: string, der: ArrayBuffer | Uint8Array<ArrayBuffer>): string {
  const lines =
    Buffer.from(der instanceof Uint8Array ? der : new Uint8Array(der))
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
