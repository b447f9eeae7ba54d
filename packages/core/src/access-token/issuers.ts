import { warn } from '../events.ts';
import type { KeySet } from '../keys/key-set.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import type { AuthenticatedToken, AuthenticateToken } from './authenticated-token.ts';
import type { PresentedToken } from './extract.ts';
import { type IssuerKeyOptions, keysOfIssuer } from './issuer-keys.ts';
import { type AuthenticateJwt, type DecodedJwt, decodeJwtToken, jwtAccessToken, type JwtAccessTokenOptions } from './jwt.ts';

/** An issuer that was registered beforehand, with what judges its tokens. */
export interface TrustedIssuer {
  readonly issuer: string;
  readonly jwt: AuthenticateJwt;
  readonly keys: KeySet;
}

/** What judges the tokens of one issuer. */
export function trustedIssuer(options: IssuerKeyOptions & Omit<JwtAccessTokenOptions, 'keys'>): TrustedIssuer {
  const keys = keysOfIssuer(options);
  return { issuer: options.issuer, keys, jwt: jwtAccessToken({ ...options, keys }) };
}

/**
 * Authenticates the tokens of several issuers, each by its own keys alone: the issuer is found by the `iss` that the token claims,
 * among those that are registered, and only then judged (RFC 8725 §3.8). A token of any other is refused without a call to anybody.
 */
export function trustedIssuers(trusted: readonly TrustedIssuer[]): AuthenticateToken {
  const registered = new Map(trusted.map((one) => [one.issuer, one]));
  const [alone] = trusted.length === 1 ? trusted : [];

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
    if (token.value.split('.').length === 5) return reject('token.encrypted');
    const jwt = decodeJwtToken(token.value);
    if (isRejection(jwt)) return jwt;
    const issuer = issuerOf(jwt, selected);
    return isRejection(issuer) ? issuer : issuer.jwt(jwt, now);
  }

  return Object.assign(authenticate, {
    async ready() {
      const outcomes = await Promise.allSettled(trusted.map(({ keys }) => keys.ready()));
      const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []));
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
