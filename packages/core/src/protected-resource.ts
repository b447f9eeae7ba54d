import type { AccessTokenClaims } from './access-token/authenticated-token.ts';
import { cached } from './access-token/cache.ts';
import { extractAccessToken } from './access-token/extract.ts';
import { keysOfIssuer } from './access-token/issuers.ts';
import { jwtAccessToken } from './access-token/jwt.ts';
import { authorizeToken, type PreparedRequirements } from './authorization/requirements.ts';
import type { Certificate, CertificateSource } from './certificate/thumbprint.ts';
import { withinValidity } from './certificate/x509.ts';
import { type Fields, type OfferedChallenge, type Refusal, refuse } from './challenge/refusal.ts';
import { type ConfirmedToken, confirmToken } from './confirmation/confirm-token.ts';
import { dpopNotOffered } from './confirmation/dpop.ts';
import { mtls } from './confirmation/mtls.ts';
import { decisionSink, type ResourceEvent } from './events.ts';
import { type ProtectedResourceOptions, readOptions } from './options.ts';
import { isRejection, isUnavailable, REASONS, reject, type Rejection, type Scheme } from './rejection.ts';
import type { Awaitable, ProtectedResourceRequest } from './request.ts';
import { slot } from './slot.ts';

/** What a request was granted: the token is authentic, and was sent by the client it is bound to. Frozen. */
export interface Access<C extends AccessTokenClaims = AccessTokenClaims> extends ConfirmedToken<C> {
  readonly granted: true;
  /** False only for a token without `cnf` at a resource with `unconstrained: 'accept'`. */
  readonly confirmed: boolean;
  /** Fields that the response has to carry. */
  readonly fields: Fields;
}

/** An API that is protected. Shared by all its requests; several frameworks can share one. */
export interface ProtectedResource<C extends AccessTokenClaims = AccessTokenClaims> {
  /** Judges a request: once for each view of it, however often it is asked. Never rejects, and never throws. */
  verify(request: ProtectedResourceRequest): Promise<Access<C> | Refusal>;
  /** Authorizes what was granted for one route. Never verifies again. */
  authorize(access: Access<C>, requirements: PreparedRequirements): Access<C> | Refusal;
  /** Resolves when tokens can be judged (metadata and keys are there); rejects with an `Error` that says what stands in the way. */
  ready(): Promise<void>;
  /** Ends the timer that refreshes keys. */
  close(): Promise<void>;
  /** From now on nothing that the key with this JWK thumbprint (RFC 7638) signed is accepted. Lost at a restart. */
  revokeKey(thumbprint: string): void;
}

/** What is known of a request as it goes up the pipeline; for the challenge and the event. */
interface Trail {
  scheme?: Scheme;
  issuer?: string;
  clientId?: string | undefined;
}

const NO_FIELDS: Fields = Object.freeze([]);

/**
 * Makes a protected resource. Throws one `TypeError` that lists every problem in the options.
 *
 * A request is judged in a straight line, cheap before dear: extract the access token, authenticate it, confirm its sender
 * (RFC 8705 §3), and route by route authorize it. Any stage may answer a rejection, which becomes the refusal.
 */
export function protectedResource<C extends AccessTokenClaims = AccessTokenClaims>(
  options: ProtectedResourceOptions,
): ProtectedResource<C> {
  const settings = readOptions(options);
  const { now, certificate: source } = settings;
  const jwt = jwtAccessToken({ ...settings, keys: keysOfIssuer(settings) });
  const authenticate = settings.cache === undefined ? jwt : cached(jwt, settings.cache);
  const confirm = confirmToken(
    [mtls(source === undefined ? 'none' : 'configured', settings.certificateValidity ? withinValidity : undefined), dpopNotOffered],
    settings.unconstrained,
  );
  const challenges: readonly OfferedChallenge[] = [{ scheme: 'Bearer', parameters: { realm: settings.realm } }];
  const sink = decisionSink(settings.onEvent);
  const judged = slot<Promise<Access<C> | Refusal>>();

  async function judge(request: ProtectedResourceRequest, trail: Trail): Promise<ConfirmedToken<C> | Rejection> {
    const presented = extractAccessToken(request, settings);
    if (isRejection(presented)) return presented;
    trail.scheme = presented.scheme;
    // Before anything is awaited: later the connection may be gone.
    const certificate = readCertificate(source, request);
    const at = now();
    const token = await authenticate(presented.value, at);
    if (isRejection(token)) return token;
    trail.issuer = token.issuer;
    trail.clientId = token.claims.client_id;
    const presentation = { request, scheme: presented.scheme, token: presented.value, now: at, certificate };
    // The type of further claims is the application's word; iss, exp and aud were checked.
    return (await confirm(token, presentation)) as ConfirmedToken<C> | Rejection;
  }

  async function decide(request: ProtectedResourceRequest): Promise<Access<C> | Refusal> {
    const start = sink.observed() ? performance.now() : 0;
    const trail: Trail = {};
    let outcome: ConfirmedToken<C> | Rejection;
    try {
      outcome = await judge(request, trail);
    } catch (error) {
      outcome = reject('unavailable.internal', { detail: nameOf(error) });
    }
    const result = isRejection(outcome) ? refuse(outcome, challenges, trail.scheme) : grant(outcome);
    if (sink.observed()) publish(result, trail, start);
    return result;
  }

  function publish(result: Access<C> | Refusal, { scheme, issuer, clientId }: Trail, start: number): void {
    sink.publish({
      time: now(),
      ...outcomeOf(result),
      ...(scheme && { scheme }),
      ...(issuer !== undefined && { issuer }),
      ...(clientId !== undefined && { clientId }),
      timings: { total: start === 0 ? 0 : performance.now() - start },
    });
  }

  return {
    verify(request) {
      let decision = judged.get(request);
      if (decision === undefined) {
        decision = decide(request);
        judged.set(request, decision);
      }
      return decision;
    },
    authorize(access, requirements) {
      const objection = authorizeToken(access, requirements);
      if (objection === undefined) return access;
      const refusal = refuse(objection, challenges, access.scheme);
      const { scheme, issuer, claims } = access;
      if (sink.observed()) publish(refusal, { scheme, issuer, clientId: claims.client_id }, 0);
      return refusal;
    },
    ready: () => authenticate.ready(),
    close: () => authenticate.close(),
    revokeKey: (thumbprint) => authenticate.revokeKey(thumbprint),
  };
}

function grant<C extends AccessTokenClaims>({ issuer, claims, scheme, confirmations }: ConfirmedToken<C>): Access<C> {
  const granted = { granted: true, issuer, claims, scheme, confirmations, confirmed: confirmations.length > 0, fields: NO_FIELDS } as const;
  return Object.freeze(granted) as Access<C>;
}

/** What the source says, a failure of it included: a promise that is never awaited must not end the process. */
function readCertificate(
  source: CertificateSource | undefined,
  request: ProtectedResourceRequest,
): Awaitable<Certificate | Rejection | undefined> {
  const failed = (error: unknown): Rejection => reject('unavailable.certificate', { detail: nameOf(error) });
  try {
    const certificate = source?.(request);
    return certificate instanceof Promise ? certificate.catch(failed) : certificate;
  } catch (error) {
    return failed(error);
  }
}

function outcomeOf(
  result: Access | Refusal,
): Pick<ResourceEvent, 'outcome' | 'reason' | 'text' | 'detail' | 'expected' | 'received' | 'confirmations'> {
  if (result.granted) return { outcome: 'granted', confirmations: result.confirmations.map(({ member }) => member) };
  const { rejected, detail, expected, received } = result.rejection;
  return {
    outcome: isUnavailable(result.rejection) ? 'unavailable' : 'refused',
    reason: rejected,
    text: REASONS[rejected].text,
    ...(detail !== undefined && { detail }),
    ...(expected !== undefined && { expected }),
    ...(received !== undefined && { received }),
  };
}

/** The kind of a failure. Its message may hold anything, so it stays out. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
