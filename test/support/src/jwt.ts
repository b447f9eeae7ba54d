import { constants, createHmac, KeyObject, sign, type webcrypto } from 'node:crypto';
import { exportJWK, generateKeyPair, type JWK } from 'jose';

/** A key that signs, and the public half as a key set shows it. */
export interface SigningKeyPair {
  /** Undefined for a key that a set shows without one. */
  readonly kid: string | undefined;
  readonly alg: string;
  readonly privateKey: webcrypto.CryptoKey;
  readonly publicJwk: JWK;
}

/** What makes the third segment: a key, by its `alg` and whatever the header says, or any function of the signing input. */
export type Sign = SigningKeyPair | ((input: string) => Uint8Array);

/** The parameters of `crypto.sign` by `alg` (RFC 7518 §3.1; RFC 8037 §3.1, RFC 9864 §2.2). */
const ALGORITHMS: Record<string, { digest: string | null; padding?: number }> = {
  ES256: { digest: 'sha256' },
  ES384: { digest: 'sha384' },
  ES512: { digest: 'sha512' },
  RS256: { digest: 'sha256', padding: constants.RSA_PKCS1_PADDING },
  RS384: { digest: 'sha384', padding: constants.RSA_PKCS1_PADDING },
  RS512: { digest: 'sha512', padding: constants.RSA_PKCS1_PADDING },
  PS256: { digest: 'sha256', padding: constants.RSA_PKCS1_PSS_PADDING },
  PS384: { digest: 'sha384', padding: constants.RSA_PKCS1_PSS_PADDING },
  PS512: { digest: 'sha512', padding: constants.RSA_PKCS1_PSS_PADDING },
  EdDSA: { digest: null },
  Ed25519: { digest: null },
};

/** A new pair for `alg`, which its JWK names; `kid: undefined` leaves the `kid` out. */
export async function generateSigningKey(alg: string, kid: string | undefined): Promise<SigningKeyPair> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const publicJwk: JWK = { ...(await exportJWK(publicKey)), use: 'sig', alg, ...(kid === undefined ? {} : { kid }) };
  return { kid, alg, privateKey, publicJwk };
}

/** An HMAC by `secret`, for what must never be taken for a signature. */
export function hmac(secret: string | Uint8Array, digest = 'sha256'): Sign {
  return (input) => createHmac(digest, secret).update(input).digest();
}

/** A JWT of these very segments, well encoded or not; without `signer` the third is empty. */
export function jwtOfSegments(header: string, payload: string, signer?: Sign): string {
  const input = `${header}.${payload}`;
  return `${input}.${signer ? base64url(signatureOf(input, signer)) : ''}`;
}

/** A JWT of these very texts: repeated members, other encodings than UTF-8, no JSON at all. */
export function rawJwt(headerText: string, payloadText: string | Uint8Array, signer?: Sign): string {
  return jwtOfSegments(base64url(headerText), base64url(payloadText), signer);
}

/** A JWT that nobody signed, with `signature` as its third segment. */
export function unsignedJwt(header: object, claims: object, signature = ''): string {
  return rawJwt(JSON.stringify(header), JSON.stringify(claims)) + signature;
}

/** Another spelling of the same bytes: sets a bit that base64url ignores. Needs a segment with ignored bits. */
export function nonCanonical(segment: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  if (segment.length % 4 === 0) throw new Error('nonCanonical: no bit is ignored in a segment of whole groups; add a byte to its text');
  return segment.slice(0, -1) + alphabet.charAt(alphabet.indexOf(segment.slice(-1)) | 1);
}

/** base64url of bytes, or of a text in UTF-8. */
export function base64url(bytes: string | Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}

function signatureOf(input: string, signer: Sign): Uint8Array {
  if (typeof signer === 'function') return signer(input);
  const parameters = ALGORITHMS[signer.alg];
  if (!parameters) throw new Error(`signatureOf: no parameters for alg ${signer.alg}`);
  const { digest, padding } = parameters;
  return sign(digest, Buffer.from(input), {
    key: KeyObject.from(signer.privateKey),
    dsaEncoding: 'ieee-p1363',
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    ...(padding === undefined ? {} : { padding }),
  });
}
