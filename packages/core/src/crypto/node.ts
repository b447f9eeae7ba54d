import { hash, timingSafeEqual } from 'node:crypto';

/** SHA-256 of the bytes, or of the UTF-8 form of the text, as base64url without padding: 43 characters. */
export function sha256(input: string | Uint8Array): string {
  return hash('sha256', input, 'base64url');
}

const LONGEST_COMPARED = 256;
const left = Buffer.alloc(LONGEST_COMPARED);
const right = Buffer.alloc(LONGEST_COMPARED);

/** Compares two ASCII strings of at most 256 characters in time that depends on their lengths alone. Longer ones are not equal. */
export function equal(a: string, b: string): boolean {
  if (a.length !== b.length || a.length > LONGEST_COMPARED) return false;
  left.fill(0).write(a, 'latin1');
  right.fill(0).write(b, 'latin1');
  return timingSafeEqual(left, right);
}
