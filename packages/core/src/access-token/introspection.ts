import { decodeProtectedHeader, jwtVerify } from 'jose';
import { LRUCache } from 'lru-cache';
import { type FetchedText, isJson, jsonObject } from '../discovery/fetch-json.ts';
import { firstThatVerifies, type KeySet } from '../keys/key-set.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import type { AuthenticatedToken } from './authenticated-token.ts';
import { Breaker, type BreakerSettings } from './breaker.ts';
import type { PresentedToken } from './extract.ts';
import { type AnswerRules, judgeAnswer, type KnownJwt, type Said } from './introspection-answer.ts';
import { IntrospectionFailure, introspectionRequest, type IntrospectionRequestOptions } from './introspection-request.ts';

export interface IntrospectionOptions extends IntrospectionRequestOptions, AnswerRules {
  /** `alg` values of signed answers. */
  readonly algorithms: readonly string[];
  /** The keys of the issuer, for signed answers. */
  readonly keys: KeySet;
  /** Seconds for which the answer that a token is not active may be used again. */
  readonly inactiveFor: number;
  readonly breaker: BreakerSettings;
}

/** Judges tokens by asking their issuer. */
export interface Introspect {
  (token: PresentedToken, now: EpochSeconds, jwt?: KnownJwt): Promise<AuthenticatedToken | Rejection>;
  ready(): Promise<void>;
}

const INACTIVE_ENTRIES = 10_000;
/** Different tokens that are asked for at the same time. Beyond it 503, so that made-up tokens do not bring the server down. */
const MOST_IN_FLIGHT = 200;

/**
 * Authenticates tokens by introspection (RFC 7662; signed answers RFC 9701). The server says whether a token is active, for whom, and
 * to which key or certificate it is bound; the API confirms the binding itself, on every request. Where the server cannot be
 * asked, or answers with anything but what was asked for, the token is neither good nor bad: 503.
 */
export function introspection(options: IntrospectionOptions): Introspect {
  const request = introspectionRequest(options);
  const breaker = new Breaker(options.breaker);
  const inFlight = new Map<string, Promise<AuthenticatedToken | Rejection>>();
  const inactive = new LRUCache<string, EpochSeconds>({ max: INACTIVE_ENTRIES });

  const unavailable = (retryAfter: number, detail: string): Rejection =>
    reject('unavailable.introspection', { retryAfter: Math.max(1, Math.ceil(retryAfter)), detail });

  async function judge(token: PresentedToken, now: EpochSeconds, jwt: KnownJwt | undefined): Promise<AuthenticatedToken | Rejection> {
    const wait = breaker.wait(now);
    if (wait > 0) return unavailable(wait, 'the server did not answer several times, and is left alone for a while');
    try {
      const answer = await request.ask(token.value);
      breaker.succeeded();
      // The answer is younger than the request, and says when it was made.
      const answeredAt = options.now();
      const said = await read(answer, answeredAt, options);
      return isRejection(said) ? said : judgeAnswer(said, answeredAt, jwt, options);
    } catch (error) {
      const isAway = error instanceof IntrospectionFailure && error.away;
      if (isAway) breaker.failed(options.now());
      else breaker.succeeded();
      return unavailable(isAway ? 1 : options.breaker.cooldown, error instanceof IntrospectionFailure ? error.message : 'unexpected');
    }
  }

  function ask(token: PresentedToken, now: EpochSeconds, jwt: KnownJwt | undefined): Promise<AuthenticatedToken | Rejection> {
    const running = inFlight.get(token.hash);
    if (running !== undefined) return running;
    if (inFlight.size >= MOST_IN_FLIGHT) return Promise.resolve(unavailable(1, `${MOST_IN_FLIGHT} tokens are being asked for`));
    const judged = judge(token, now, jwt).finally(() => inFlight.delete(token.hash));
    inFlight.set(token.hash, judged);
    return judged;
  }

  const introspect = async (token: PresentedToken, now: EpochSeconds, jwt?: KnownJwt): Promise<AuthenticatedToken | Rejection> => {
    const inactiveUntil = inactive.get(token.hash);
    if (inactiveUntil !== undefined && now < inactiveUntil) return reject('token.inactive');
    const judged = await ask(token, now, jwt);
    if (isRejection(judged) && judged.rejected === 'token.inactive') inactive.set(token.hash, now + options.inactiveFor);
    return judged;
  };
  return Object.assign(introspect, { ready: () => request.ready() });
}

/** What the answer says. One that is not what was asked for is thrown as a failure: it says nothing of the token. */
async function read(answer: FetchedText, now: EpochSeconds, options: IntrospectionOptions): Promise<Said | Rejection> {
  const { type, text } = answer;
  if (options.signed) return readSigned(answer, now, options);
  const members = isJson(type) ? jsonObject(text) : undefined;
  if (members === undefined) throw new IntrospectionFailure('the answer is not a JSON object', false);
  return { members, size: text.length, keyTrusted: () => true };
}

/** Seconds after which a signed answer is one that somebody has kept: from before the token was revoked, or to another question. */
const FRESH_FOR = 60;

const SIGNED_TYPE = /^application\/token-introspection\+jwt\s*(?:;|$)/i;

/** RFC 9701 §5. A plain answer is refused where a signed one was asked for: whoever can change it would choose it. */
async function readSigned({ type, text }: FetchedText, now: EpochSeconds, options: IntrospectionOptions): Promise<Said | Rejection> {
  const { issuer, clientId, audience, algorithms, clockTolerance, keys } = options;
  if (!SIGNED_TYPE.test(type)) throw new IntrospectionFailure('the answer is not signed (RFC 9701), and a signed one was asked for', false);
  const { alg, ...header } = headerOf(text);
  if (typeof alg !== 'string' || !algorithms.includes(alg))
    throw new IntrospectionFailure('the answer is signed with an algorithm that is not on the list', false);
  const said = await firstThatVerifies<Said>(keys, { ...header, alg }, now, async (key, imported) => {
    const verified = await jwtVerify(text, imported, {
      algorithms: [...algorithms],
      typ: 'token-introspection+jwt',
      issuer,
      audience: [clientId, ...audience],
      requiredClaims: ['iat'],
      maxTokenAge: FRESH_FOR,
      clockTolerance,
      currentDate: new Date(now * 1000),
    }).catch(() => undefined);
    const members: unknown = verified?.payload['token_introspection'];
    return isMembers(members) ? { members, size: text.length, keyTrusted: key.trusted } : undefined;
  });
  if (said !== undefined) {
    if (!isRejection(said) || said.rejected === 'unavailable.keys') return said;
    throw new IntrospectionFailure('the answer is signed with a key that the issuer does not publish', false);
  }
  throw new IntrospectionFailure(
    'the signed answer is not what RFC 9701 §5 says: signature, typ, iss, aud, iat, token_introspection',
    false,
  );
}

function headerOf(jwt: string): ReturnType<typeof decodeProtectedHeader> {
  try {
    return decodeProtectedHeader(jwt);
  } catch {
    throw new IntrospectionFailure('the signed answer is no JWT', false);
  }
}

function isMembers(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
