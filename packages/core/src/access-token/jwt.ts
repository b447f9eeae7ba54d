import { type CryptoKey, decodeJwt, decodeProtectedHeader, errors, type JWTPayload, jwtVerify, type ProtectedHeaderParameters } from 'jose';
import { firstThatVerifies, type KeySet, type SigningKey } from '../keys/key-set.ts';
import { isRejection, type Reason, reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import {
  type AccessTokenClaims,
  type AuthenticatedToken,
  authenticatedToken,
  type BindingRules,
  deepFreeze,
} from './authenticated-token.ts';
import { clientOf, notAnAccessToken, scopesIn, type TokenShape, typeOf } from './shape.ts';

/** A JWS in compact form (RFC 7515 §7.1), read and not verified. */
export interface DecodedJwt {
  readonly compact: string;
  readonly header: ProtectedHeaderParameters;
  /** Worth nothing until the signature holds. */
  readonly claims: JWTPayload;
}

export interface JwtAccessTokenOptions {
  /** The issuer identifier, compared exactly. */
  readonly issuer: string;
  /** One of these must be in `aud`. */
  readonly audience: readonly string[];
  /** `alg` values that are accepted. */
  readonly algorithms: readonly string[];
  /** Seconds by which `exp`, `nbf` and `iat` may be missed. */
  readonly clockTolerance: number;
  readonly shape: TokenShape;
  /** Clients whose tokens need no `aud`, where the shape allows that. */
  readonly clientIds: readonly string[];
  readonly binding: BindingRules;
  readonly keys: KeySet;
}

/** Judges the JWTs of one issuer. */
export type AuthenticateJwt = (jwt: DecodedJwt, now: EpochSeconds) => Promise<AuthenticatedToken | Rejection>;

const BASE64URL = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$/;

/** Reads three segments. What jose is lenient in is refused: padding, white space and stray bits in base64url. */
export function decodeJwtToken(compact: string): DecodedJwt | Rejection {
  const segments = compact.split('.');
  if (segments.length === 5) return reject('token.encrypted');
  if (segments.length !== 3) return reject('token.not_jwt');
  if (!segments.every((segment) => BASE64URL.test(segment))) return reject('token.malformed', { detail: 'base64url' });
  try {
    return { compact, header: decodeProtectedHeader(compact), claims: decodeJwt(compact) };
  } catch {
    return reject('token.malformed', { detail: 'JSON' });
  }
}

/**
 * Authenticates JWT access tokens of one issuer (RFC 9068 §4, RFC 8725). jose is the judge of signatures and claims; what it is
 * lenient in is refused before: `crit`, dates that are not finite.
 */
export function jwtAccessToken(options: JwtAccessTokenOptions): AuthenticateJwt {
  return async (jwt, now) => {
    const header = checkHeader(jwt, options);
    if (isRejection(header)) return header;
    const judged = await firstThatVerifies(options.keys, header, now, (key, imported, until) =>
      verify(jwt, { key, imported, until }, now, options),
    );
    return judged ?? reject('token.signature');
  };
}

/** All that can be said without a key. */
function checkHeader(
  { header, claims }: DecodedJwt,
  { issuer, algorithms, shape }: JwtAccessTokenOptions,
): (ProtectedHeaderParameters & { alg: string }) | Rejection {
  const { alg, typ } = header;
  if (typeof alg !== 'string' || !algorithms.includes(alg)) return reject('token.algorithm', { expected: algorithms.join(' ') });
  if ('crit' in header) return reject('token.critical_extension');
  const type = typeOf(typ);
  if (type === undefined || !shape.types.includes(type)) return reject('token.typ', { expected: shape.types.join(' ') });
  // Not trusted yet; it only spares the work for tokens that cannot pass.
  if (claims.iss !== issuer) return reject('token.issuer', { expected: issuer });
  return { ...header, alg };
}

/** `undefined` where the signature is not by this key. */
async function verify(
  { compact, header, claims: unverified }: DecodedJwt,
  { key, imported, until }: { readonly key: SigningKey; readonly imported: CryptoKey; readonly until: EpochSeconds },
  now: EpochSeconds,
  options: JwtAccessTokenOptions,
): Promise<AuthenticatedToken | Rejection | undefined> {
  const { issuer, audience, algorithms, clockTolerance, shape, clientIds, binding } = options;
  const namesAudience = shape.audience === 'aud' || unverified.aud !== undefined;
  try {
    const { payload } = await jwtVerify(compact, imported, {
      algorithms: [...algorithms],
      issuer,
      ...(namesAudience && { audience: [...audience] }),
      clockTolerance,
      currentDate: new Date(now * 1000),
      requiredClaims: ['exp', ...shape.claims],
    });
    const wrong = wrongClaim(payload);
    if (wrong !== undefined) return reject('token.claim', { detail: wrong });
    const claims = deepFreeze(payload) as AccessTokenClaims;
    if (claims.iat !== undefined && claims.iat > now + clockTolerance) return reject('token.not_yet_valid', { detail: 'iat' });
    const clientId = clientOf(claims, shape);
    if (!namesAudience && !(clientId !== undefined && clientIds.includes(clientId))) return reject('token.client');
    const another = notAnAccessToken(typeOf(header.typ), payload, shape);
    if (another !== undefined) return another;
    return authenticatedToken({
      issuer,
      claims,
      until: Math.min(claims.exp + clockTolerance, until),
      keyTrusted: key.trusted,
      scopes: scopesIn(claims, shape.scope),
      clientId,
      statements: [claims],
      binding,
      size: compact.length,
    });
  } catch (error) {
    return error instanceof errors.JWSSignatureVerificationFailed ? undefined : rejectionOf(error);
  }
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
  acr: isString,
  authorization_details: isAuthorizationDetails,
};

/** An array of objects, each with a type (RFC 9396 §2). */
function isAuthorizationDetails(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.every((detail: unknown) => typeof detail === 'object' && detail !== null && 'type' in detail && isString(detail.type))
  );
}

/** The first claim whose type is wrong. */
export function wrongClaim(claims: Readonly<Record<string, unknown>>): string | undefined {
  return Object.keys(CLAIM_TYPES).find((name) => claims[name] !== undefined && CLAIM_TYPES[name]?.(claims[name]) === false);
}
