import { equal } from '#crypto';
import type { Certificate, CertificateSource } from '../certificate/thumbprint.ts';
import { variesBy } from '../challenge/refusal.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';
import type { ConfirmationHeld, ConfirmationMethod } from './method.ts';

/** What a certificate must satisfy besides being the one that the token is bound to. */
export interface CertificatePolicy {
  (certificate: Certificate, now: EpochSeconds): Awaitable<Rejection | undefined>;
  /** Resolves when it can judge; rejects with what is wrong with what it was given. */
  readonly ready?: () => Promise<void>;
}

/**
 * Confirms `x5t#S256` (RFC 8705 §3): the SHA-256 of the certificate that the client authenticated with must be exactly the
 * value in the token. The binding is to the certificate, not to its key, and asks for possession, not for trust in a chain.
 */
export function mtls(source: CertificateSource | undefined, policy?: CertificatePolicy): ConfirmationMethod {
  // RFC 9440 §2.4: what was answered because of the field must not be answered from a cache to a request with another.
  const more = source?.field === undefined ? {} : { fields: variesBy(source.field) };
  const judge = (
    certificate: Certificate | Rejection | undefined,
    thumbprint: string,
    now: EpochSeconds,
  ): Awaitable<ConfirmationHeld | Rejection> => {
    if (certificate === undefined) return reject('certificate.missing', { expected: beginning(thumbprint) });
    if (isRejection(certificate)) return certificate;
    if (!equal(certificate.thumbprint, thumbprint)) {
      return reject('certificate.mismatch', { expected: beginning(thumbprint), received: beginning(certificate.thumbprint) });
    }
    const confirmation = { member: 'x5t#S256', thumbprint, ...more };
    const objection = policy?.(certificate, now);
    return objection instanceof Promise ? objection.then((awaited) => awaited ?? confirmation) : (objection ?? confirmation);
  };
  return {
    member: 'x5t#S256',
    scheme: 'Bearer',
    confirm(thumbprint, { certificate, now }) {
      if (source === undefined) return reject('certificate.no_source');
      return certificate instanceof Promise
        ? certificate.then((awaited) => judge(awaited, thumbprint, now))
        : judge(certificate, thumbprint, now);
    },
  };
}

/** Enough of a thumbprint to find the certificate by. */
function beginning(thumbprint: string): string {
  return `${thumbprint.slice(0, 12)}…`;
}
