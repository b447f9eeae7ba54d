import { webcrypto, X509Certificate } from 'node:crypto';

/** A certificate and its key, PEM, and the leaf as it is read. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
  readonly certificate: X509Certificate;
}

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR = 3_600_000;

/**
 * A certificate with the subject of another one, signed by its own new key: what anybody can make who has seen the other one.
 * `names` further names make it larger, by about 24 bytes each.
 */
export async function impostorOf({ raw }: X509Certificate, names = 0): Promise<Identity> {
  // Loaded here, for it takes a quarter of a second; and its polyfill first.
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
  const dns = Array.from({ length: names }, (_, i) => ({ type: 'dns' as const, value: `name-${i}.probe.example` }));
  const made = await x509.X509CertificateGenerator.createSelfSigned({
    name: new x509.X509Certificate(Uint8Array.from(raw)).subjectName,
    notBefore: new Date(Date.now() - HOUR),
    notAfter: new Date(Date.now() + HOUR),
    signingAlgorithm: EC,
    keys,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
      ...(dns.length > 0 ? [new x509.SubjectAlternativeNameExtension(dns)] : []),
    ],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const certificate = new X509Certificate(new Uint8Array(made.rawData));
  return { cert: certificate.toString(), key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`, certificate };
}
