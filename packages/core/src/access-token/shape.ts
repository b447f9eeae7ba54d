import type { JWTPayload } from 'jose';
import { reject, type Rejection } from '../rejection.ts';

/** A claim by which an access token is told from the other tokens of its server. */
export interface Sign {
  readonly claim: string;
  /** The values that count. Without them, any string that is not empty, or any list. */
  readonly values?: readonly string[];
}

/** What the access tokens of a server look like. Data: {@link PROVIDERS} has one for each provider that is known. */
export interface TokenShape {
  /** Values of `typ` that are accepted: in lower case, without `application/`; `''` stands for a header without it. */
  readonly types: readonly string[];
  /**
   * Of each group, one sign must be there wherever `typ` is not `at+jwt` or `aud` is absent: by itself, a server's ID token would
   * be as good.
   */
  readonly signs: readonly (readonly Sign[])[];
  /** Claims that a token must not have then: other tokens of this server have them. */
  readonly never: readonly string[];
  /** Claims that scopes are read from. */
  readonly scope: readonly string[];
  /** `client` lets tokens without `aud` pass where their client is on a list of the API. One that has `aud` must name the API all the same. */
  readonly audience: 'aud' | 'client';
  /** Claims with the identifier of the client, of which the first that is there counts: versions of a server differ. */
  readonly client: readonly string[];
  /** Members of `cnf` that this server writes as claims of their own. They bind like the others. */
  readonly topLevel: readonly string[];
  /** Claims that must be there besides `iss` and `exp`. */
  readonly claims: readonly string[];
}

/** RFC 9068. */
export const STANDARD: TokenShape = {
  types: ['at+jwt'],
  signs: [],
  never: ['at_hash', 'c_hash', 'nonce'],
  scope: ['scope', 'scp'],
  audience: 'aud',
  client: ['client_id'],
  topLevel: [],
  claims: [],
};

/** A media type: in any case, and `application/` may be left out (RFC 7515 §4.1.9). `undefined` for what is none. */
export function typeOf(typ: unknown): string | undefined {
  if (typ === undefined) return '';
  return typeof typ === 'string' && typ !== '' ? typ.toLowerCase().replace(/^application\//, '') : undefined;
}

/**
 * Whether a token that might as well be another one of its server shows that it is an access token. One whose `typ` says so and
 * that names its audience needs nothing more.
 */
export function notAnAccessToken(typ: string | undefined, claims: JWTPayload, { signs, never }: TokenShape): Rejection | undefined {
  if (typ === 'at+jwt' && claims.aud !== undefined) return undefined;
  const foreign = never.find((name) => claims[name] !== undefined);
  if (foreign !== undefined) return reject('token.not_an_access_token', { received: foreign });
  const missing = signs.find((group) => !group.some((sign) => shows(claims, sign)));
  if (missing === undefined && signs.length > 0) return undefined;
  return reject('token.not_an_access_token', { expected: (missing ?? []).map(({ claim }) => claim).join(' or ') });
}

function shows(claims: JWTPayload, { claim, values }: Sign): boolean {
  const value = claims[claim];
  if (values !== undefined) return typeof value === 'string' && values.includes(value);
  return (typeof value === 'string' && value !== '') || Array.isArray(value);
}

/** The scopes of a token, wherever its server writes them: a string with spaces or a list. */
export function scopesIn(claims: Readonly<Record<string, unknown>>, names: readonly string[]): readonly string[] {
  const scopes = names.flatMap((name) => {
    const value = claims[name];
    if (typeof value === 'string') return value.split(' ');
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
  });
  return Object.freeze(scopes.filter((scope) => scope !== ''));
}

/** The identifier of the client, where it is a string. */
export function clientOf(claims: Readonly<Record<string, unknown>>, { client }: TokenShape): string | undefined {
  const name = client.find((one) => claims[one] !== undefined);
  const value = name === undefined ? undefined : claims[name];
  return typeof value === 'string' ? value : undefined;
}
