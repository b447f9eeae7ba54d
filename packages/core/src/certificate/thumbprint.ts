import { sha256 } from '#crypto';
import { nameOf, reject, type Rejection } from '../rejection.ts';
import type { Awaitable, ProtectedResourceRequest } from '../request.ts';

/** A certificate as far as the binding needs it. Some edges hand on only the hash. */
export interface Certificate {
  /** SHA-256 of the DER as base64url without padding (`x5t#S256`, RFC 8705 §3.1): 43 characters. */
  readonly thumbprint: string;
  readonly der?: Uint8Array;
  /** The certificates that came with it, in DER. They say nothing about the binding (RFC 9440 §2.3): only a chain policy reads them. */
  readonly chain?: readonly Uint8Array[];
}

/**
 * Where the certificate of the client comes from: the TLS connection ({@link fromTls}), or the edge that ends TLS.
 * `undefined` says that the client presented none. Called once per request, synchronously when the request begins.
 */
export interface CertificateSource {
  (request: ProtectedResourceRequest): Awaitable<Certificate | Rejection | undefined>;
  /** The field that it reads, where it reads one: responses vary by it. */
  readonly field?: string;
  /** The edge passes on any certificate and leaves the judgement of its chain to us: a chain policy is required. */
  readonly unverified?: true;
}

/** The certificate of these DER bytes. They are hashed as they are, never parsed. */
export function certificateOf(der: Uint8Array): Certificate {
  return { thumbprint: sha256(der), der };
}

/** What the source says, a failure of it included: a promise that is never awaited must not end the process. */
export function readCertificate(
  source: CertificateSource | undefined,
  request: ProtectedResourceRequest,
): Awaitable<Certificate | Rejection | undefined> {
  const failed = (error: unknown): Rejection => reject('unavailable.certificate', { detail: nameOf(error) });
  try {
    const certificate = source?.(request);
    return certificate instanceof Promise ? certificate.catch(failed) : certificate;
  } catch (error) {
    return failed(error);
  }
}
