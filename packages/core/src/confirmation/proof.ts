import { fromBase64url } from '#crypto';
import { isBase64url, type ProofKey, type ProofKeys, type ReadyProofKey, readProofKey } from '../keys/proof-key.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds, ProtectedResourceRequest } from '../request.ts';

/** A DPoP proof whose form is right. Nothing in it is confirmed yet. */
export interface DpopProof {
  /** Ready where this very header has come before with a signature that verified. */
  readonly key: ProofKey | ReadyProofKey;
  readonly claims: ProofClaims;
  /** The encoded header: what the key is remembered by. */
  readonly headerSegment: string;
  /** What the signature is over (RFC 7515 §5.1). */
  readonly signed: string;
  readonly signature: Uint8Array;
}

/** RFC 9449 §4.2. `nonce` is judged where nonces are required, and ignored elsewhere. */
export interface ProofClaims {
  readonly jti: string;
  readonly htm: string;
  readonly htu: string;
  readonly iat: EpochSeconds;
  readonly ath: string;
  readonly nonce: unknown;
  readonly exp: EpochSeconds | undefined;
  readonly nbf: EpochSeconds | undefined;
}

/** Longest proof that is read, in characters; a proof by an RSA key of 8192 bits has about 4,000. */
const LONGEST_PROOF = 8_192;
/** Longest header in it. */
const LONGEST_HEADER = 4_096;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the proof of a request: whatever RFC 9449 §4.3 lets one say without the access token and without a key. Lines are
 * numbered as there; (6) and (8) to (12) follow in `dpop.ts`. No more is done here than a client without a token may cost.
 */
export function readProof(request: ProtectedResourceRequest, keys: ProofKeys, algorithms: readonly string[]): DpopProof | Rejection {
  const lines = request.fieldLines('dpop');
  const [proof] = lines;
  // (1) There is not more than one DPoP HTTP request header field.
  if (proof === undefined) return reject('dpop.missing');
  if (lines.length > 1) return reject('dpop.several', { received: `${lines.length}` });

  // (2) The DPoP HTTP request header field value is a single and well-formed JWT.
  if (proof.length > LONGEST_PROOF) return tooLong(LONGEST_PROOF, proof.length);
  const segments = proof.split('.');
  const [headerSegment, payloadSegment, signatureSegment] = segments;
  if (segments.length !== 3 || headerSegment === undefined || !isBase64url(payloadSegment) || !isBase64url(signatureSegment)) {
    return reject('dpop.malformed', { detail: segments.length === 3 ? 'base64url' : 'three segments' });
  }
  if (headerSegment.length > LONGEST_HEADER) return tooLong(LONGEST_HEADER, headerSegment.length);

  const key = keys.find(headerSegment) ?? readHeader(headerSegment, algorithms);
  if (isRejection(key)) return key;
  const claims = readClaims(payloadSegment);
  if (isRejection(claims)) return claims;
  return {
    key,
    claims,
    headerSegment,
    signed: proof.slice(0, headerSegment.length + 1 + payloadSegment.length),
    signature: fromBase64url(signatureSegment),
  };
}

function readHeader(segment: string, algorithms: readonly string[]): ProofKey | Rejection {
  const header = isBase64url(segment) ? readObject(segment) : undefined;
  if (header === undefined) return reject('dpop.malformed', { detail: 'header' });
  const { typ, alg, jwk } = header;
  // (4) The typ JOSE Header Parameter has the value dpop+jwt: a media type, so in any case, and application/ may be left out.
  if (typeof typ !== 'string' || typ.toLowerCase().replace(/^application\//, '') !== 'dpop+jwt') {
    return reject('dpop.typ', { expected: 'dpop+jwt' });
  }
  // (5) The alg JOSE Header Parameter indicates a registered asymmetric digital signature algorithm, is not none, is supported by
  // the application, and is acceptable per local policy.
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return reject('dpop.algorithm', { expected: algorithms.join(' ') });
  if (Object.hasOwn(header, 'crit')) return reject('dpop.critical_extension');
  // (7) The jwk JOSE Header Parameter does not contain a private key.
  return readProofKey(alg, jwk);
}

/** (3) All required claims per Section 4.2 are contained in the JWT, each of the right type. */
function readClaims(segment: string): ProofClaims | Rejection {
  const claims = readObject(segment);
  if (claims === undefined) return reject('dpop.malformed', { detail: 'claims' });
  const { jti, htm, htu, iat, ath, nonce, exp, nbf } = claims;
  if (typeof jti !== 'string' || jti === '') return reject('dpop.claim', { detail: 'jti' });
  if (typeof htm !== 'string') return reject('dpop.claim', { detail: 'htm' });
  if (typeof htu !== 'string') return reject('dpop.claim', { detail: 'htu' });
  if (!isDate(iat)) return reject('dpop.claim', { detail: 'iat' });
  if (typeof ath !== 'string') return reject('dpop.claim', { detail: 'ath' });
  // Not of RFC 9449, but where a client sets them it means them (RFC 7519 §4.1.4, §4.1.5).
  if (exp !== undefined && !isDate(exp)) return reject('dpop.claim', { detail: 'exp' });
  if (nbf !== undefined && !isDate(nbf)) return reject('dpop.claim', { detail: 'nbf' });
  return { jti, htm, htu, iat, ath, nonce, exp, nbf };
}

function isDate(value: unknown): value is EpochSeconds {
  return typeof value === 'number' && Number.isFinite(value);
}

function readObject(segment: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(utf8.decode(fromBase64url(segment)));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function tooLong(most: number, length: number): Rejection {
  return reject('dpop.too_long', { expected: `at most ${most} characters`, received: `${length}` });
}
