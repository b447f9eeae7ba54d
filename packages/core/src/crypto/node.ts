import { hash, timingSafeEqual } from 'node:crypto';

/** SHA-256 of the bytes, or of the UTF-8 form of the text, as base64url without padding: 43 characters. */
export function sha256(input: string | Uint8Array): string {
  return hash('sha256', input, 'base64url');
}

/** Compares two ASCII strings in time that depends on their lengths alone. */
export function equal(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'));
}
