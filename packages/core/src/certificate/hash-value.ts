import { toBase64url } from '#crypto';
import { reject, type Rejection } from '../rejection.ts';
import { fromUrlSafe } from './base64.ts';
import type { Certificate } from './thumbprint.ts';

const HEX = /^[0-9a-f]*$/i;
const COLONS = /^[0-9a-f]{2}(?::[0-9a-f]{2})+$/i;
/** SHA-256 of no bytes, which is what an edge computes where there is no certificate. */
const OF_NOTHING = '47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU';
const SHA_1 = 'is a SHA-1 hash. Only SHA-256 can be compared with x5t#S256: have the edge send that, or the certificate';
const NO_HASH = 'is not the SHA-256 of a certificate: 43 characters';

/** A SHA-256 in hexadecimal, in either case, with colons between the bytes or without. */
export function readHex(value: string): Certificate | Rejection {
  const hex = value.length < 100 && COLONS.test(value) ? value.replaceAll(':', '') : value;
  if (hex.length === 40 && HEX.test(hex)) return malformed(SHA_1);
  if (hex.length !== 64 || !HEX.test(hex)) return malformed('is not the SHA-256 of a certificate in hexadecimal: 64 digits');
  return hashed(toBase64url(Uint8Array.from({ length: 32 }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16))));
}

/** A SHA-256 in base64 or base64url, without padding. */
export function readHash(value: string, alphabet: 'base64' | 'base64url'): Certificate | Rejection {
  const others = alphabet === 'base64' ? /[-_]/ : /[+/]/;
  if (others.test(value)) return malformed(NO_HASH);
  const text = value.replaceAll('+', '-').replaceAll('/', '_');
  const bytes = fromUrlSafe(text);
  if (bytes?.length === 20) return malformed(SHA_1);
  return bytes?.length === 32 ? hashed(text) : malformed(NO_HASH);
}

function hashed(thumbprint: string): Certificate | Rejection {
  return thumbprint === OF_NOTHING ? reject('certificate.not_presented', { detail: 'is the hash of nothing' }) : { thumbprint };
}

function malformed(detail: string): Rejection {
  return reject('certificate.malformed', { detail });
}
