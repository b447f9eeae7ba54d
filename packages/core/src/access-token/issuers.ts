import { warn } from '#runtime';
import type { KeySet } from '../keys/key-set.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import { type AuthenticatedToken, authenticatedToken, type AuthenticateToken, deepFreeze } from './authenticated-token.ts';
import type { Decrypt } from './decrypt.ts';
import type { PresentedToken } from './extract.ts';
import { type Introspect, introspection, type IntrospectionOptions } from './introspection.ts';
import { type IssuerKeyOptions, keysOfIssuer } from './issuer-keys.ts';
import { type AuthenticateJwt, type DecodedJwt, decodeJwtToken, jwtAccessToken, type JwtAccessTokenOptions } from './jwt.ts';

/**
 * Which tokens are introspected. `auto`: those that are no JWT. `always`: all; a JWT is verified here first, and both must hold, so
 * that one that was revoked is refused. `only`: all, and none is verified here, for servers whose JWTs only they can read.
 */
export type IntrospectionMode = 'auto' | 'always' | 'only';

/** An issuer that was registered beforehand, with what judges its tokens. */
export interface TrustedIssuer {
  readonly issuer: string;
  readonly jwt: AuthenticateJwt;
  readonly keys: KeySet;
  readonly introspect: Introspect | undefined;
  readonly mode: IntrospectionMode;
  /** Whether keys are needed at all. */
  readonly needsKeys: boolean;
}

export interface TrustedIssuerOptions extends IssuerKeyOptions, Omit<JwtAccessTokenOptions, 'keys' | 'issuer' | 'audience'> {
  readonly introspection:
    | (Omit<IntrospectionOptions, keyof JwtAccessTokenOptions | 'fetch' | 'now'> & { readonly mode: IntrospectionMode })
    | undefined;
}

/** What judges the tokens of one issuer. */
export function trustedIssuer(options: TrustedIssuerOptions): TrustedIssuer {
  const keys = keysOfIssuer(options);
  const asking = options.introspection;
  const mode = asking?.mode ?? 'auto';
  return {
    issuer: options.issuer,
    keys,
    jwt: jwtAccessToken({ ...options, keys }),
    introspect: asking && introspection({ ...options, ...asking, keys }),
    mode,
    needsKeys: mode !== 'only' || asking?.signed === true,
  };
}

/**
 * Authenticates the tokens of several issuers, each by its own keys alone: the issuer is found by the `iss` that the token claims,
 * among those that are registered, and only then judged (RFC 8725 §3.8). A token of any other is refused without a call to anybody.
 * What is encrypted to the resource is decrypted first. A token that is no JWT belongs to the one issuer that introspects, or to the selected one.
 */
export function trustedIssuers(trusted: readonly TrustedIssuer[], decrypt?: Decrypt): AuthenticateToken {
  const registered = new Map(trusted.map((one) => [one.issuer, one]));
  const [alone] = trusted.length === 1 ? trusted : [];
  const asked = trusted.filter(({ introspect }) => introspect !== undefined);

  /** One alone judges every token, and so tells in its own words what is wrong with it. */
  function issuerOf({ claims }: DecodedJwt, selected: string | undefined): TrustedIssuer | Rejection {
    const found = alone ?? (typeof claims.iss === 'string' ? registered.get(claims.iss) : undefined);
    if (found === undefined || (selected !== undefined && found.issuer !== selected)) {
      return reject('token.issuer', { expected: selected ?? `one of ${registered.size}` });
    }
    return found;
  }

  async function authenticate(token: PresentedToken, now: EpochSeconds, selected?: string): Promise<AuthenticatedToken | Rejection> {
    if (selected !== undefined && !registered.has(selected)) return reject('token.tenant');
    const isEncrypted = decrypt !== undefined && token.value.split('.').length === 5;
    const compact = isEncrypted ? await decrypt(token.value) : token.value;
    if (typeof compact !== 'string') return compact;
    if (!isEncrypted && !looksLikeJwt(compact)) {
      const opaque = selected === undefined ? (asked.length === 1 ? asked[0] : undefined) : registered.get(selected);
      if (opaque?.introspect !== undefined) return opaque.introspect(token, now);
    }
    if (!isEncrypted && decrypt?.required === true) return reject('token.not_encrypted');
    const jwt = decodeJwtToken(compact);
    if (isRejection(jwt)) return jwt;
    const issuer = issuerOf(jwt, selected);
    return isRejection(issuer) ? issuer : judge(issuer, token, jwt, now);
  }

  return Object.assign(authenticate, {
    async ready() {
      const outcomes = await Promise.allSettled(trusted.map(readyOf));
      const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
      await decrypt?.ready();
      // With one issuer away, the tokens of the others are judged as always.
      if (failures.length === trusted.length) throw failures[0];
      for (const failure of failures) if (failure instanceof Error) warn(failure.message);
    },
    async close() {
      await Promise.all(trusted.map(({ keys }) => keys.close()));
    },
    revokeKey(thumbprint: string) {
      for (const { keys } of trusted) keys.revokeKey(thumbprint);
    },
  });
}

/**
 * Whether somebody might take a token for a JWS: three segments or more, the first of which says something like a JSON object to a
 * decoder that is as lenient as they come. A JWE has five, and says `enc`. What looks like one and fails here is asked of nobody, or
 * another spelling of a JWT that is refused here would be accepted where it is read leniently.
 */
function looksLikeJwt(token: string): boolean {
  const segments = token.split('.');
  if (segments.length < 3) return false;
  // Servers that split at dots may not count what is empty, or what comes after the third.
  const first = segments.find((segment) => segment !== '') ?? '';
  const letters = first
    .replaceAll('-', '+')
    .replaceAll('_', '/')
    .replaceAll(/[^A-Za-z0-9+/]/g, '');
  const text = atob(letters.slice(0, letters.length - (letters.length % 4)));
  return /^(?:\u00ef\u00bb\u00bf)?\s*\{/.test(text) && !(segments.length === 5 && text.includes('"enc"'));
}

async function readyOf({ introspect, keys, needsKeys }: TrustedIssuer): Promise<void> {
  await introspect?.ready();
  if (needsKeys) await keys.ready();
}

async function judge(
  issuer: TrustedIssuer,
  token: PresentedToken,
  jwt: DecodedJwt,
  now: EpochSeconds,
): Promise<AuthenticatedToken | Rejection> {
  const { introspect, mode } = issuer;
  if (introspect !== undefined && mode === 'only') {
    // Not verified, so it can only bind the token further, and never grant anything.
    return jwt.claims.iss === undefined || jwt.claims.iss === issuer.issuer
      ? introspect(token, now, { claims: jwt.claims, verified: false })
      : reject('token.issuer', { expected: issuer.issuer });
  }
  const local = await issuer.jwt(jwt, now);
  if (isRejection(local) || introspect === undefined || mode === 'auto') return local;
  const remote = await introspect(token, now, { claims: jwt.claims, verified: true });
  return isRejection(remote) ? remote : both(local, remote);
}

/** A JWT that was verified here, and that its server says is active: of what they say, the stricter stands. */
function both(local: AuthenticatedToken, remote: AuthenticatedToken): AuthenticatedToken | Rejection {
  const differ = (name: string): boolean =>
    local.claims[name] !== undefined && remote.claims[name] !== undefined && local.claims[name] !== remote.claims[name];
  const different = ['sub', 'client_id', 'jti'].find(differ);
  if (different !== undefined) return reject('token.mismatch', { detail: different });
  const saysScopes = 'scope' in remote.claims || 'scp' in remote.claims;
  return authenticatedToken({
    ...local,
    // What the server says now is newer than what it wrote into the token; when it ends is the earlier of both.
    claims: deepFreeze({ ...local.claims, ...remote.claims, exp: Math.min(local.claims.exp, remote.claims.exp) }),
    until: Math.min(local.until, remote.until),
    keyTrusted: () => local.keyTrusted() && remote.keyTrusted(),
    scopes: saysScopes ? Object.freeze(local.scopes.filter((scope) => remote.scopes.includes(scope))) : local.scopes,
    statements: [...local.statements, ...remote.statements],
    size: local.size + remote.size,
  });
}
