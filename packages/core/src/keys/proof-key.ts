import { LRUCache } from 'lru-cache';
import { fromBase64url, type PublicJwk, sha256, toBase64url, type VerifySignature } from '#crypto';
import { reject, type Rejection } from '../rejection.ts';
import { isReasonableRsa } from './key-set.ts';

/** The key of a DPoP proof, judged by its strings alone. */
export interface ProofKey {
  readonly algorithm: string;
  readonly jwk: PublicJwk;
  /** JWK SHA-256 thumbprint (RFC 7638) of the strings as they stand: another spelling of the same key is another thumbprint. */
  readonly thumbprint: string;
}

/** A {@link ProofKey} that has been imported. */
export interface ReadyProofKey extends ProofKey {
  readonly verify: VerifySignature;
}

/** The curve of each algorithm, and the characters of one of its coordinates: all octets, leading zeros too (RFC 7518 §6.2.1.2). */
const CURVES: Readonly<Record<string, { readonly kty: 'EC' | 'OKP'; readonly crv: string; readonly length: number }>> = {
  ES256: { kty: 'EC', crv: 'P-256', length: 43 },
  ES384: { kty: 'EC', crv: 'P-384', length: 64 },
  ES512: { kty: 'EC', crv: 'P-521', length: 88 },
  EdDSA: { kty: 'OKP', crv: 'Ed25519', length: 43 },
  Ed25519: { kty: 'OKP', crv: 'Ed25519', length: 43 },
};
const SAME_ALGORITHM: Readonly<Record<string, string>> = { EdDSA: 'Ed25519' };
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];
const ZERO_OCTET = /^A[A-P]/;
const BASE64URL = /^[A-Za-z0-9_-]*$/;
/** By the characters in the last group: those whose lowest bits, which belong to no octet, are zero. One alone is never an octet. */
const LAST: readonly (string | undefined)[] = [undefined, '', 'AQgw', 'AEIMQUYcgkosw048'];

/** Whether a text is base64url without padding, and the only spelling of its bytes. */
export function isBase64url(text: unknown): text is string {
  if (typeof text !== 'string' || !BASE64URL.test(text)) return false;
  const last = LAST[text.length % 4];
  return last === undefined || last.includes(text.charAt(text.length - 1));
}

/**
 * The public key that stands in the header of a proof (RFC 9449 §4.2 `jwk`): of the kind that the algorithm needs and of a size
 * worth an import, without private members, and not marked for another use. Nothing is imported, so a huge key costs nothing.
 */
export function readProofKey(algorithm: string, jwk: unknown): ProofKey | Rejection {
  if (!isObject(jwk)) return reject('dpop.key', { detail: 'jwk is no object' });
  // (7) of RFC 9449 §4.3
  const secret = PRIVATE_MEMBERS.find((member) => Object.hasOwn(jwk, member));
  if (secret !== undefined) return reject('dpop.private_key', { detail: secret });

  const { use, key_ops: operations, alg } = jwk;
  if (use !== undefined && use !== 'sig') return reject('dpop.key', { detail: 'use' });
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) {
    return reject('dpop.key', { detail: 'key_ops' });
  }
  if (alg !== undefined && !(typeof alg === 'string' && (SAME_ALGORITHM[alg] ?? alg) === (SAME_ALGORITHM[algorithm] ?? algorithm))) {
    return reject('dpop.key', { detail: 'alg' });
  }
  const publicJwk = CURVES[algorithm] === undefined ? readRsa(jwk) : readCurve(jwk, CURVES[algorithm]);
  return typeof publicJwk === 'string'
    ? reject('dpop.key', { detail: publicJwk })
    : { algorithm, jwk: publicJwk, thumbprint: thumbprintOf(publicJwk) };
}

function readCurve(
  jwk: Record<string, unknown>,
  { kty, crv, length }: { kty: 'EC' | 'OKP'; crv: string; length: number },
): PublicJwk | string {
  const { x, y } = jwk;
  if (jwk['kty'] !== kty) return 'kty';
  if (jwk['crv'] !== crv) return 'crv';
  if (!isBase64url(x) || x.length !== length) return 'x';
  if (kty === 'OKP') return { kty, crv, x };
  return isBase64url(y) && y.length === length ? { kty, crv, x, y } : 'y';
}

function readRsa({ kty, n, e }: Record<string, unknown>): PublicJwk | string {
  if (kty !== 'RSA') return 'kty';
  // Neither may begin with a zero octet (RFC 7518 §2, Base64urlUInt), so that a key has one spelling.
  if (!isBase64url(n) || ZERO_OCTET.test(n)) return 'n';
  if (!isBase64url(e) || ZERO_OCTET.test(e)) return 'e';
  return isReasonableRsa(n, e) && isOdd(e) ? { kty, n, e } : 'size';
}

/** By the length of the last group: of its last character, this many bits belong to no octet. */
const SHIFTS = [0, 0, 4, 2];

/** Whether the last bit is set. */
function isOdd(base64url: string): boolean {
  const value = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(base64url.slice(-1));
  return ((value >> (SHIFTS[base64url.length % 4] ?? 0)) & 1) === 1;
}

/** RFC 7638 §3: the required members in order of their names. The strings are base64url or names we know, so none needs escaping. */
function thumbprintOf(jwk: PublicJwk): string {
  switch (jwk.kty) {
    case 'EC':
      return sha256(`{"crv":"${jwk.crv}","kty":"EC","x":"${jwk.x}","y":"${jwk.y}"}`);
    case 'OKP':
      return sha256(`{"crv":"${jwk.crv}","kty":"OKP","x":"${jwk.x}"}`);
    case 'RSA':
      return sha256(`{"e":"${jwk.e}","kty":"RSA","n":"${jwk.n}"}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Longest header segment that is remembered, in characters: one with an RSA key of 8192 bits, and some room. */
const LONGEST_SEGMENT = 2_048;
const MOST_KEYS = 10_000;

/**
 * Keys of proofs that have verified, found by the encoded header segment, which a client writes the same each time; it is
 * compared whole. At most one segment is kept for a key, so that a client with many spellings of its header takes no more room
 * than others. Write only after a signature verified by a key that a genuine token names.
 */
export class ProofKeys {
  readonly #bySegment: LRUCache<string, ReadyProofKey>;
  readonly #segments = new Map<string, string>();

  constructor(most: number = MOST_KEYS) {
    this.#bySegment = new LRUCache<string, ReadyProofKey>({
      max: most,
      dispose: ({ thumbprint }, segment) => {
        if (this.#segments.get(thumbprint) === segment) this.#segments.delete(thumbprint);
      },
    });
  }

  find(segment: string): ReadyProofKey | undefined {
    return segment.length > LONGEST_SEGMENT ? undefined : this.#bySegment.get(segment);
  }

  remember(segment: string, key: ReadyProofKey): void {
    if (segment.length > LONGEST_SEGMENT) return;
    const former = this.#segments.get(key.thumbprint);
    if (former === segment) return;
    // A part of a string keeps the whole alive: here the proof. So it is copied.
    const copy = toBase64url(fromBase64url(segment));
    this.#segments.set(key.thumbprint, copy);
    this.#bySegment.set(copy, key);
    if (former !== undefined) this.#bySegment.delete(former);
  }

  get size(): number {
    return this.#bySegment.size;
  }
}
