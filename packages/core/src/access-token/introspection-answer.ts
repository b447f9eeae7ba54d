import type { JWTPayload } from 'jose';
import { reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import {
  type AccessTokenClaims,
  type AuthenticatedToken,
  authenticatedToken,
  type BindingRules,
  deepFreeze,
} from './authenticated-token.ts';
import { wrongClaim } from './jwt.ts';
import { clientOf, scopesIn, type TokenShape } from './shape.ts';

type Members = Readonly<Record<string, unknown>>;

/** What the server said of a token, and whether the key that it signed this with is still trusted. */
export interface Said {
  readonly members: Members;
  readonly size: number;
  readonly keyTrusted: () => boolean;
}

/** What a token that is a JWT says itself. Its binding must hold as well. */
export interface KnownJwt {
  readonly claims: Members;
  /** Whether it was verified here, so that its `aud` names the API and it is no other kind of token. */
  readonly verified: boolean;
}

/** What an answer is judged by. */
export interface AnswerRules {
  readonly issuer: string;
  /** `aud` of the answer must name one of these. */
  readonly audience: readonly string[];
  /** Clients whose tokens are accepted where the answer has no `aud`. */
  readonly clientIds: readonly string[];
  readonly shape: TokenShape;
  readonly binding: BindingRules;
  readonly clockTolerance: number;
  /** Seconds for which the answer that a token is active may be used again. */
  readonly activeFor: number;
}

/** RFC 7662 §2.2. What is there is checked as in a JWT. */
export function judgeAnswer(
  { members: all, size, keyTrusted }: Said,
  now: EpochSeconds,
  jwt: KnownJwt | undefined,
  { issuer, audience, clientIds, shape, binding, clockTolerance, activeFor }: AnswerRules,
): AuthenticatedToken | Rejection {
  const members = withoutNulls(all);
  if (members['active'] !== true) return reject('token.inactive');
  const wrong = wrongClaim(members);
  if (wrong !== undefined) return reject('token.claim', { detail: wrong });
  const { iss, aud, exp, nbf, iat } = members as JWTPayload;
  const kind = kindOf(members);
  if (kind.otherThanAccess !== undefined) return reject('token.not_an_access_token', { received: kind.otherThanAccess });
  if (iss !== undefined && iss !== issuer) return reject('token.issuer', { expected: issuer });
  if (exp === undefined) return reject('token.claim', { detail: 'exp' });
  if (exp + clockTolerance <= now) return reject('token.expired');
  if ((nbf ?? now) > now + clockTolerance) return reject('token.not_yet_valid', { detail: 'nbf' });
  if ((iat ?? now) > now + clockTolerance) return reject('token.not_yet_valid', { detail: 'iat' });
  const clientId = clientOf(members, shape);
  if (aud === undefined && jwt?.verified !== true) {
    if (clientIds.length === 0) return reject('token.audience', { detail: 'aud is missing in the answer' });
    if (clientId === undefined || !clientIds.includes(clientId)) return reject('token.client');
  }
  const named = [aud ?? []].flat().filter((resource) => audience.includes(resource));
  if (aud !== undefined && named.length === 0) return reject('token.audience');
  if (jwt?.verified !== true && !kind.isAccess) {
    const foreign = shape.never.find((name) => [members, jwt?.claims].some((said) => said?.[name] !== undefined));
    if (foreign !== undefined) return reject('token.not_an_access_token', { received: foreign });
    // A resource that is named is a sign too; but aud of an ID token is the client.
    if (!named.some((resource) => resource !== clientId)) return reject('token.not_an_access_token', { expected: KIND_NAMES });
  }

  const claims = deepFreeze({ ...members, iss: issuer, exp }) as AccessTokenClaims;
  return authenticatedToken({
    issuer,
    claims,
    until: Math.min(exp, now + activeFor),
    keyTrusted,
    scopes: scopesIn(claims, shape.scope),
    clientId,
    statements: jwt === undefined ? [claims] : [claims, jwt.claims],
    binding,
    size,
  });
}

/** Members that say to whom a token is bound. One that holds nothing is a defect, and no token is read as unbound for it. */
const BINDING: ReadonlySet<string> = new Set(['cnf', 'x5t#S256', 'jkt']);

/** Some servers write `null` for what they do not know. */
function withoutNulls(members: Members): Members {
  return Object.fromEntries(Object.entries(members).filter(([name, value]) => value !== null || BINDING.has(name)));
}

/** A member by which servers tell the kinds of their tokens apart. */
interface KindMember {
  readonly member: string;
  /** What it says of an access token. */
  readonly access: RegExp;
  /** What it says of another token. Without it, all that it does not say of an access token. */
  readonly other?: RegExp;
}

const OTHER_TOKENS = /^(?:id|refresh|offline|logout|(?:id|refresh)_token)$/i;

/** The last two may as well be about something else. */
const KINDS: readonly KindMember[] = [
  // RFC 7662 §2.2; Duende writes access_token, Apigee BearerToken.
  { member: 'token_type', access: /^(?:bearer|dpop|access_token|bearertoken)$/i },
  // Hydra, Cognito
  { member: 'token_use', access: /^access(?:_token)?$/ },
  // Ping
  { member: 'tokenName', access: /^access_token$/ },
  // Keycloak
  { member: 'typ', access: /^(?:bearer|dpop|(?:application\/)?at\+jwt)$/i, other: OTHER_TOKENS },
  // Curity
  { member: 'purpose', access: /^access_token$/, other: OTHER_TOKENS },
];

const KIND_NAMES = KINDS.map(({ member }) => member).join(' or ');

/**
 * Servers answer for refresh tokens too, and those last for months; for ID tokens, and some for authorization codes. What says that
 * it is one of them is no access token; what says nothing is one only where something else shows it.
 */
function kindOf(members: Members): { readonly isAccess: boolean; readonly otherThanAccess: string | undefined } {
  const says = (member: string, values: RegExp): boolean => {
    const value = members[member];
    return typeof value === 'string' && values.test(value);
  };
  const said = KINDS.filter(({ member }) => members[member] !== undefined);
  const isOther = ({ member, access, other }: KindMember): boolean => (other === undefined ? !says(member, access) : says(member, other));
  return { isAccess: said.some(({ member, access }) => says(member, access)), otherThanAccess: said.find(isOther)?.member };
}
