import { createHmac, createPublicKey, hash, type KeyObject, randomBytes, verify } from 'node:crypto';
import type { Awaitable } from '../request.ts';

export { equal } from './equal.ts';

/** SHA-256 of the bytes, or of the UTF-8 form of the text, as base64url without padding: 43 characters. */
export function sha256(input: string | Uint8Array): string {
  return hash('sha256', input, 'base64url');
}

/** SHA-256 of the UTF-8 form of the text: a character for each of the 32 octets. Cheaper than bytes, which need a buffer of their own. */
export function sha256Octets(text: string): string {
  return hash('sha256', text, 'binary');
}

/** HMAC-SHA-256 (RFC 2104) of the UTF-8 form of the text: 32 bytes. */
export function hmacSha256(secret: Uint8Array, text: string): Uint8Array {
  return createHmac('sha256', secret).update(text).digest();
}

/** Bytes that nobody can foretell. */
export function randomSecret(length: number): Uint8Array {
  return randomBytes(length);
}

/** The bytes of canonical base64url; what is not canonical has been refused before. */
export function fromBase64url(text: string): Uint8Array {
  return Buffer.from(text, 'base64url');
}

/** Base64url without padding (RFC 7515 §2). */
export function toBase64url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64url');
}

/** A public key: the members that RFC 7638 §3.2 requires, and no other. */
export type PublicJwk =
  | { readonly kty: 'EC'; readonly crv: string; readonly x: string; readonly y: string }
  | { readonly kty: 'OKP'; readonly crv: string; readonly x: string }
  | { readonly kty: 'RSA'; readonly n: string; readonly e: string };

/** Whether this is the signature of the key over the ASCII text: a JWS signature as RFC 7518 §3 writes it. Never throws. */
export type VerifySignature = (signed: string, signature: Uint8Array) => Awaitable<boolean>;

interface Algorithm {
  readonly digest: 'sha256' | 'sha384' | 'sha512' | null;
  /** Bytes of a coordinate, where the signature is `r ‖ s`. */
  readonly coordinate?: number;
  /** Bytes of the salt, which is as long as the digest (RFC 7518 §3.5). */
  readonly salt?: number;
}

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  ES256: { digest: 'sha256', coordinate: 32 },
  ES384: { digest: 'sha384', coordinate: 48 },
  ES512: { digest: 'sha512', coordinate: 66 },
  PS256: { digest: 'sha256', salt: 32 },
  PS384: { digest: 'sha384', salt: 48 },
  PS512: { digest: 'sha512', salt: 64 },
  RS256: { digest: 'sha256' },
  EdDSA: { digest: null },
  Ed25519: { digest: null },
};

/**
 * The key, ready to verify signatures of this algorithm and no other; `undefined` where it is none, as a point off the curve.
 * The key always goes to `verify` bare: inside an options object Node 24 spends 40 to 100 µs more on it.
 */
export function importKey(algorithm: string, jwk: PublicJwk): Awaitable<VerifySignature | undefined> {
  const known = ALGORITHMS[algorithm];
  if (known === undefined) return undefined;
  const { digest, coordinate, salt } = known;
  let key: KeyObject;
  try {
    key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    if (digest !== null && salt !== undefined) key = pssKey(key, digest, salt);
  } catch {
    return undefined;
  }
  const length = signatureLength(jwk, coordinate);
  return (signed, signature) => {
    if (signature.length !== length) return false;
    try {
      const written = coordinate === undefined ? signature : ecdsaToDer(signature, coordinate);
      return verify(digest, Buffer.from(signed, 'latin1'), key, written);
    } catch {
      return false;
    }
  };
}

/**
 * Octets of a signature by this key. OpenSSL takes a signature by RSASSA-PSS that lacks its leading zeros, which RFC 8017 §8.1.2
 * refuses in its first step: it would be the same signature in another spelling.
 */
function signatureLength(jwk: PublicJwk, coordinate = 32): number {
  return jwk.kty === 'RSA' ? fromBase64url(jwk.n).length : 2 * coordinate;
}

/**
 * `r ‖ s` (RFC 7518 §3.4) as the DER that OpenSSL reads: SEQUENCE { INTEGER r, INTEGER s }. From Node's pool, and byte by byte:
 * a buffer of its own, and views of the parts, cost more than what is done with them.
 */
function ecdsaToDer(signature: Uint8Array, coordinate: number): Uint8Array {
  const r = startOf(signature, 0, coordinate);
  const s = startOf(signature, coordinate, 2 * coordinate);
  const lengthOfR = coordinate - r + padding(signature, r);
  const lengthOfS = 2 * coordinate - s + padding(signature, s);
  const length = 4 + lengthOfR + lengthOfS;
  const long = length >= 0x80;
  const written = Buffer.allocUnsafe((long ? 3 : 2) + length);
  written[0] = 0x30;
  if (long) written[1] = 0x81;
  written[long ? 2 : 1] = length;
  const at = writeInteger(written, long ? 3 : 2, lengthOfR, signature, r, coordinate);
  writeInteger(written, at, lengthOfS, signature, s, 2 * coordinate);
  return written;
}

/** Where the digits of an INTEGER begin: DER has no leading zeros. */
function startOf(bytes: Uint8Array, from: number, end: number): number {
  let start = from;
  while (start < end - 1 && bytes[start] === 0) start += 1;
  return start;
}

/** Octets that have to stand before the digits, so that the number is not read as negative. */
function padding(bytes: Uint8Array, start: number): 0 | 1 {
  return (bytes[start] ?? 0) < 0x80 ? 0 : 1;
}

/** Writes an INTEGER; answers where the next value stands. */
function writeInteger(written: Uint8Array, at: number, length: number, bytes: Uint8Array, start: number, end: number): number {
  let next = at;
  written[next++] = 0x02;
  written[next++] = length;
  if (length > end - start) written[next++] = 0;
  for (let i = start; i < end; i += 1) written[next++] = bytes[i] ?? 0;
  return next;
}

const HASH_OIDS = { sha256: '608648016503040201', sha384: '608648016503040202', sha512: '608648016503040203' };
const RSASSA_PSS = '2a864886f70d01010a';
const MGF1 = '2a864886f70d010108';

/**
 * The same RSA key, marked as good for RSASSA-PSS alone with this digest and exactly this salt (RFC 4055 §3.1), so that no
 * signature of another padding or salt verifies, and no option has to say so at each use.
 */
function pssKey(key: KeyObject, digest: keyof typeof HASH_OIDS, salt: number): KeyObject {
  const hashAlgorithm = der(0x30, oid(HASH_OIDS[digest]), der(0x05));
  const parameters = der(
    0x30,
    der(0xa0, hashAlgorithm),
    der(0xa1, der(0x30, oid(MGF1), hashAlgorithm)),
    der(0xa2, der(0x02, Uint8Array.of(salt))),
  );
  const algorithm = der(0x30, oid(RSASSA_PSS), parameters);
  const spki = der(0x30, algorithm, der(0x03, Uint8Array.of(0), key.export({ type: 'pkcs1', format: 'der' })));
  return createPublicKey({ key: spki, format: 'der', type: 'spki' });
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const octets = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Uint8Array.from([tag, ...octets]), ...parts]);
}
