import { type ChainCertificate, trustedChain } from '../certificate/chain.ts';
import { certificatesInBundle } from '../certificate/pem.ts';
import type { CertificateSource } from '../certificate/thumbprint.ts';
import { withinValidity } from '../certificate/x509.ts';
import { type Check, isObject, stringsIn } from '../check.ts';
import type { CertificatePolicy } from '../confirmation/mtls.ts';
import type { Awaitable } from '../request.ts';

/** What a certificate must satisfy besides being the one in the token. */
export type CertificatePolicyOptions = ValidityPolicy | ChainPolicyOptions;

/** Not expired, and valid already. */
export interface ValidityPolicy {
  readonly validity: true;
  readonly anchors?: never;
  readonly intermediates?: never;
  readonly isRevoked?: never;
  readonly revocationFor?: never;
}

/** Issued by an authority that you name, along a chain that is judged by RFC 5280: dates, CA:TRUE, keyCertSign, path lengths, clientAuth. */
export interface ChainPolicyOptions {
  /** The dates are part of the chain. */
  readonly validity?: true;
  /** Certificates of the authorities that are believed: PEM, a bundle or several. Each must be an authority (CA:TRUE). */
  readonly anchors: string | readonly string[];
  /** Certificates of authorities between them and the clients, where clients do not send them or the edge does not hand them on. */
  readonly intermediates?: string | readonly string[];
  /**
   * Asked of each certificate below the anchor, the client's first; `true` refuses. What it throws is 503: a list that cannot be had
   * must not let anybody in.
   */
  readonly isRevoked?: (certificate: ChainCertificate) => Awaitable<boolean>;
  /** Seconds for which its answers are remembered. Default 300. */
  readonly revocationFor?: number;
}

const NAMES = { validity: true, anchors: true, intermediates: true, isRevoked: true, revocationFor: true } as const;
const REVOCATION_FOR = 300;

export function readCertificatePolicy(check: Check, value: unknown, source: CertificateSource | undefined): CertificatePolicy | undefined {
  const policy = value === undefined ? {} : check.object('certificatePolicy', value, NAMES);
  const { validity, anchors, intermediates, isRevoked, revocationFor } = policy;
  if (source?.unverified === true && anchors === undefined) {
    check.wrong(
      'certificatePolicy.anchors',
      undefined,
      'This edge hands on certificates that nobody has verified. Name the authorities of your clients: certificatePolicy: { anchors: pem }',
    );
  }
  if (validity !== true && (validity !== undefined || (isObject(value) && anchors === undefined))) {
    check.wrong('certificatePolicy.validity', validity, 'Give true, or anchors');
  }
  if (anchors === undefined) {
    for (const [name, given] of Object.entries({ intermediates, isRevoked, revocationFor })) {
      if (given !== undefined) check.wrongKind(`certificatePolicy.${name}`, given, 'It belongs to a chain: give anchors too');
    }
    return value === undefined ? undefined : withinValidity;
  }
  return trustedChain({
    anchors: readCertificates(check, 'certificatePolicy.anchors', anchors),
    intermediates: intermediates === undefined ? [] : readCertificates(check, 'certificatePolicy.intermediates', intermediates),
    isRevoked: check.callable<NonNullable<ChainPolicyOptions['isRevoked']>>(
      'certificatePolicy.isRevoked',
      isRevoked,
      'a function that says whether a certificate is revoked',
    ),
    revocationFor: check.number('certificatePolicy.revocationFor', revocationFor, REVOCATION_FOR, 1, 86_400),
  });
}

function readCertificates(check: Check, option: string, value: unknown): readonly Uint8Array[] {
  const bundles = stringsIn(value)?.map(certificatesInBundle) ?? [];
  if (bundles.length === 0 || bundles.includes(undefined)) {
    check.wrongKind(option, value, 'Give certificates in PEM: the text of a file, or a list of texts. A name of a file is none');
  }
  return bundles.flatMap((ders) => ders ?? []);
}
