import { fromBase64url, toBase64url } from '#crypto';
import { isCertificate } from './der.ts';

const STANDARD = /^[A-Za-z0-9+/]+={0,2}$/;
const URL_SAFE = /^[A-Za-z0-9_-]+$/;

/** The bytes of standard base64 (RFC 4648 §4) in its one spelling: padded, without stray bits, white space or other characters. */
function fromBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !STANDARD.test(text)) return undefined;
  return fromUrlSafe(text.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_'));
}

/** The bytes of base64url without padding (RFC 7515 §2), in its one spelling. */
export function fromUrlSafe(text: string): Uint8Array | undefined {
  if (!URL_SAFE.test(text)) return undefined;
  const bytes = fromBase64url(text);
  return toBase64url(bytes) === text ? bytes : undefined;
}

/** One certificate in base64 DER. */
export function certificateFrom(base64: string): Uint8Array | undefined {
  const der = fromBase64(base64);
  return der !== undefined && isCertificate(der) ? der : undefined;
}
