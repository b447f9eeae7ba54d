import type { X509Certificate } from 'node:crypto';
import type { ProviderName, Scheme } from '@holdfast/core';
import type { Decoded } from './decode.ts';

/** A certificate that was given, and how its file spells it. */
export interface GivenCertificate {
  readonly certificate: X509Certificate;
  /** Its PEM block. */
  readonly pem: string;
  /** Which of the files, and which of the certificates in it, both from 1. */
  readonly place: string;
}

/** What is inspected: all that a request would carry, and what the resource is told. */
export interface Material {
  readonly token: string;
  readonly decoded: Decoded;
  readonly scheme: Scheme;
  /** The first is the one that the client presents; the others are there to be compared. */
  readonly certificates: readonly GivenCertificate[];
  readonly proof: { readonly compact: string; readonly decoded: Decoded } | undefined;
  /** Of the request. */
  readonly method: string | undefined;
  readonly url: string | undefined;
  /** None: nothing is fetched, and the signature is not checked. */
  readonly issuers: readonly string[];
  readonly audiences: readonly string[];
  readonly provider: ProviderName | undefined;
  readonly ca: string | undefined;
  /** Seconds for one document. */
  readonly timeout: number;
  /** Seconds since 1970. */
  readonly now: number;
}
