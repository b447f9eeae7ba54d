import { sha256 } from '#crypto';
import type { Rejection } from '../rejection.ts';
import type { Awaitable, ProtectedResourceRequest } from '../request.ts';

/** A certificate as far as the binding needs it. Some edges hand on only the hash. */
export interface Certificate {
  /** SHA-256 of the DER as base64url without padding (`x5t#S256`, RFC 8705 §3.1): 43 characters. */
  readonly thumbprint: string;
  readonly der?: Uint8Array;
}

/**
 * Where the certificate of the client comes from: the TLS connection ({@link fromTls}), or the edge that ends TLS.
 * `undefined` says that the client presented none. Called once per request, synchronously when the request begins.
 */
export type CertificateSource = (request: ProtectedResourceRequest) => Awaitable<Certificate | Rejection | undefined>;

/** The certificate of these DER bytes. They are hashed as they are, never parsed. */
export function certificateOf(der: Uint8Array): Certificate {
  return { thumbprint: sha256(der), der };
}
