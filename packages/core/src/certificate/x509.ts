import type { Rejection } from '../rejection.ts';
import { reject } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import type { Certificate } from './thumbprint.ts';

interface Validity {
  readonly notBefore: EpochSeconds;
  readonly notAfter: EpochSeconds;
}

const validities = new WeakMap<Certificate, Validity>();

/**
 * The policy that the certificate of the client be within its validity period (RFC 5280 §4.1.2.5). Not part of the binding
 * (RFC 8705 §6.2), so off unless asked for. A certificate of which the edge hands on only the hash has no dates: refused.
 */
export async function withinValidity(certificate: Certificate, now: EpochSeconds): Promise<Rejection | undefined> {
  let validity = validities.get(certificate);
  if (validity === undefined) {
    const read = await readValidity(certificate);
    if (read === undefined) return reject('certificate.unreadable');
    validity = read;
    validities.set(certificate, validity);
  }
  const { notBefore, notAfter } = validity;
  return now >= notBefore && now <= notAfter ? undefined : reject('certificate.outside_validity', { expected: describe(validity) });
}

async function readValidity({ der }: Certificate): Promise<Validity | undefined> {
  if (der === undefined) return undefined;
  // Loaded when the first certificate is judged: it takes a quarter of a second, and needs its polyfill first.
  await import('reflect-metadata');
  const { X509Certificate } = await import('@peculiar/x509');
  try {
    const { notBefore, notAfter } = new X509Certificate(Uint8Array.from(der));
    return { notBefore: notBefore.getTime() / 1000, notAfter: notAfter.getTime() / 1000 };
  } catch {
    return undefined;
  }
}

function describe({ notBefore, notAfter }: Validity): string {
  return `${new Date(notBefore * 1000).toISOString()} to ${new Date(notAfter * 1000).toISOString()}`;
}
