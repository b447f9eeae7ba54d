import { decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify, type ProtectedHeaderParameters } from 'jose';
import type { FittingKeys, KeySet } from '../keys/key-set.ts';
import { isRejection, type Reason, reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import {
  type AccessTokenClaims,
  type AuthenticatedToken,
  authenticatedToken,
  type AuthenticateToken,
  deepFreeze,
} from './authenticated-token.ts';
import type { PresentedToken } from './extract.ts';

export interface JwtAccessTokenOptions {
  /** The issuer identifier, compared exactly. */
  readonly issuer: string;
  /** One of these must be in `aud`. */
  readonly audience: readonly string[];
  /** `alg` values that are accepted. */
  readonly algorithms: readonly string[];
  /** Seconds by which `exp`, `nbf` and `iat` may be missed. */
  readonly clockTolerance: number;
  /** Claims that must be there besides `iss`, `exp` and `aud`. */
  readonly requiredClaims: readonly string[];
  readonly keys: KeySet;
}

const BASE64URL = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$/;

/**
 * Authenticates JWT access tokens (RFC 9068 §4, RFC 8725). jose is the judge of signatures and claims; what it is lenient in
 * is refused before: padding, white space and stray bits in base64url, `crit`, dates that are not finite.
 */
export function jwtAccessToken(options: JwtAccessTokenOptions): AuthenticateToken {
  const { keys } = options;
  const authenticate = async ({ value: token }: PresentedToken, now: EpochSeconds): Promise<AuthenticatedToken | Rejection> => {
    const header = readHeader(token, options);
    if (isRejection(header)) return header;
    const fitting = await keys.keysFor(header, now);
    if (isRejection(fitting)) return fitting;
    return verify(token, fitting, now, options);
  };
  return Object.assign(authenticate, {
    ready: () => keys.ready(),
    close: () => keys.close(),
    revokeKey: (thumbprint: string) => keys.revokeKey(thumbprint),
  });
}

/** All that can be said without a key. */
function readHeader(
  token: string,
  { issuer, algorithms }: JwtAccessTokenOptions,
): (ProtectedHeaderParameters & { alg: string }) | Rejection {
  const segments = token.split('.');
  if (segments.length === 5) return reject('token.encrypted');
  if (segments.length !== 3) return reject('token.not_jwt');
  if (!segments.every((segment) => BASE64URL.test(segment))) return reject('token.malformed', { detail: 'base64url' });

  let header: ProtectedHeaderParameters;
  let claims: JWTPayload;
  try {
    header = decodeProtectedHeader(token);
    claims = decodeJwt(token);
  } catch {
    return reject('token.malformed', { detail: 'JSON' });
  }
  const { alg, typ } = header;
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return reject('token.algorithm', { expected: algorithms.join(' ') });
  if ('crit' in header) return reject('token.critical_extension');
  if (!isAccessTokenType(typ)) return reject('token.typ', { expected: 'at+jwt' });
  // Not trusted yet; it only spares the work for tokens that cannot pass.
  if (claims.iss !== issuer) return reject('token.issuer', { expected: issuer });
  return { ...header, alg };
}

/** A media type: in any case, and `application/` may be left out (RFC 7515 §4.1.9). */
function isAccessTokenType(typ: unknown): boolean {
  return typeof typ === 'string' && typ.toLowerCase().replace(/^application\//, '') === 'at+jwt';
}

async function verify(
  token: string,
  { keys, until }: FittingKeys,
  now: EpochSeconds,
  options: JwtAccessTokenOptions,
): Promise<AuthenticatedToken | Rejection> {
  const { issuer, audience, algorithms, clockTolerance, requiredClaims } = options;
  for (const { key, imported } of keys) {
    try {
      const { payload } = await jwtVerify(token, imported, {
        algorithms: [...algorithms],
        issuer,
        audience: [...audience],
        clockTolerance,
        currentDate: new Date(now * 1000),
        requiredClaims: ['exp', ...requiredClaims],
      });
      const wrong = wrongClaim(payload);
      if (wrong !== undefined) return reject('token.claim', { detail: wrong });
      const claims = deepFreeze(payload) as AccessTokenClaims;
      if (claims.iat !== undefined && claims.iat > now + clockTolerance) return reject('token.not_yet_valid', { detail: 'iat' });
      return authenticatedToken({ issuer, claims, until: Math.min(claims.exp + clockTolerance, until), keyTrusted: key.trusted });
    } catch (error) {
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) return rejectionOf(error);
    }
  }
  return reject('token.signature');
}

const CLAIM_REASONS: Record<string, Reason> = { aud: 'token.audience', iss: 'token.issuer', nbf: 'token.not_yet_valid' };

function rejectionOf(error: unknown): Rejection {
  if (error instanceof errors.JWTExpired) return reject('token.expired');
  if (error instanceof errors.JWTClaimValidationFailed) {
    const { claim, reason } = error;
    return reject((reason === 'check_failed' && CLAIM_REASONS[claim]) || (claim === 'aud' ? 'token.audience' : 'token.claim'), {
      detail: claim,
    });
  }
  return reject('token.malformed', error instanceof errors.JOSEError ? { detail: error.code } : undefined);
}

const isDate = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value);
const isString = (value: unknown): boolean => typeof value === 'string';
const isStrings = (value: unknown): boolean => isString(value) || (Array.isArray(value) && value.every(isString));

const CLAIM_TYPES: Record<string, (value: unknown) => boolean> = {
  iss: isString,
  aud: isStrings,
  exp: isDate,
  nbf: isDate,
  iat: isDate,
  sub: isString,
  client_id: isString,
  jti: isString,
  scope: isStrings,
  scp: isStrings,
};

function wrongClaim(claims: JWTPayload): string | undefined {
  return Object.keys(CLAIM_TYPES).find((name) => claims[name] !== undefined && CLAIM_TYPES[name]?.(claims[name]) === false);
}
