import type { AccessTokenClaims, AuthenticatedToken } from './access-token/authenticated-token.ts';
import { cached } from './access-token/cache.ts';
import { decryption } from './access-token/decrypt.ts';
import { extractAccessToken, needsNoAccess } from './access-token/extract.ts';
import { trustedIssuer, trustedIssuers } from './access-token/issuers.ts';
import { selectIssuer } from './access-token/tenant.ts';
import { type Access, grantAccess } from './authorization/access.ts';
import { AccessSignals } from './authorization/access-signals.ts';
import { authorizeToken } from './authorization/authorize-token.ts';
import type { PreparedRequirements } from './authorization/requirements.ts';
import { readCertificate } from './certificate/thumbprint.ts';
import { type PublishedMetadata, publishMetadata } from './challenge/metadata.ts';
import { EXPOSE_FIELDS, type Fields, NO_FIELDS, nonceFields, type OfferedChallenge, type Refusal, refuse } from './challenge/refusal.ts';
import { type ConfirmedToken, confirmToken } from './confirmation/confirm-token.ts';
import { dpop, dpopNotOffered } from './confirmation/dpop.ts';
import type { Presentation } from './confirmation/method.ts';
import { mtls } from './confirmation/mtls.ts';
import { type DpopProof, readProof } from './confirmation/proof.ts';
import { decisionSink, type ResourceEvent, routeOf, whyOf } from './events.ts';
import { ProofKeys } from './keys/proof-key.ts';
import { type IsRevoked, type ProtectedResourceOptions, readOptions } from './options/options.ts';
import { isRejection, isUnavailable, nameOf, type Reason, reject, type Rejection, type Scheme } from './rejection.ts';
import { andThen, type Awaitable, type EpochSeconds, type ProtectedResourceRequest } from './request.ts';
import { slot } from './slot.ts';

/** An API that is protected. Shared by all its requests; several frameworks can share one. */
export interface ProtectedResource<C extends AccessTokenClaims = AccessTokenClaims> {
  /**
   * Judges a request: once for each view of it, however often it is asked. Never rejects, and never throws. The answer is there at
   * once where nothing has to be waited for: a token that was judged before, from a client whose certificate is known.
   */
  verify(request: ProtectedResourceRequest): Awaitable<Access<C> | Refusal>;
  /**
   * Says whether a route that needs access may go on: with what `verify` answered to the request, and what the route requires beyond
   * access. Never verifies again. A refusal stays what it is; of one that could have passed ({@link Refusal.mayPass}) this is the
   * decision, and it has its event now, once however often it is asked. So an adapter asks for every route that needs access.
   */
  authorize(result: Access<C> | Refusal, requirements?: PreparedRequirements): Access<C> | Refusal;
  /** Resolves when requests can be judged (metadata, keys and the replay store are there); rejects with an `Error` that says what stands in the way. */
  ready(): Promise<void>;
  /** Ends timers, and what goes on for as long as access lasts ({@link Access.signal}). */
  close(): Promise<void>;
  /** From now on nothing that the key with this JWK thumbprint (RFC 7638) signed is accepted. Lost at a restart. */
  revokeKey(thumbprint: string): void;
  /** How many requests audit mode has let through since the start, by the reason for which they would have been refused. Empty without audit mode. */
  audited(): Readonly<Partial<Record<Reason, number>>>;
  /** What is published about the resource (RFC 9728); absent where nothing is. An adapter asks it before `verify` for its answer. */
  readonly metadata: PublishedMetadata | undefined;
}

/** What is known of a request as it goes up the pipeline; for the challenge and the event. */
interface Trail {
  readonly request?: ProtectedResourceRequest;
  scheme?: Scheme;
  issuer?: string;
  clientId?: string | undefined;
  /** Where it was authenticated. */
  token?: AuthenticatedToken;
}

/**
 * Makes a protected resource. Throws one `TypeError` that lists every problem in the options.
 *
 * A request is judged in a straight line, cheap before dear: extract the access token, authenticate it, confirm its sender
 * (RFC 8705 §3, RFC 9449 §4.3), and route by route authorize it. Any stage may answer a rejection, which becomes the refusal.
 */
export function protectedResource<C extends AccessTokenClaims = AccessTokenClaims>(
  options: ProtectedResourceOptions,
): ProtectedResource<C> {
  const settings = readOptions(options);
  const { now, certificate: source, dpop: dpopSettings } = settings;
  const { issuerFor, cache } = settings;
  const trusted = settings.issuers.map((one) => trustedIssuer({ ...settings, ...one }));
  const uncached = trustedIssuers(trusted, settings.decryption && decryption(settings.decryption));
  const authenticate = cache === undefined ? uncached : cached(uncached, cache);
  const proofKeys = new ProofKeys();
  const ofRevoked = settings.isRevoked && revocation(settings.isRevoked);
  const confirm = confirmToken(
    // What costs little comes first: where both are bound, the certificate before the proof.
    [mtls(source, settings.certificatePolicy), dpopSettings === undefined ? dpopNotOffered : dpop(dpopSettings, proofKeys, now)],
    { audit: settings.audit, lastly: ofRevoked },
  );
  const metadata = settings.metadata && publishMetadata(settings.metadata);
  const challenges: readonly OfferedChallenge[] = settings.schemes.map((scheme) => ({
    scheme,
    parameters: {
      realm: settings.realm,
      algs: scheme === 'DPoP' ? dpopSettings?.algorithms.join(' ') : undefined,
      resource_metadata: metadata?.url,
    },
  }));
  const always: Fields = settings.cors ? EXPOSE_FIELDS : NO_FIELDS;
  const sink = decisionSink(settings.onEvent);
  const signalRules = { now, tolerance: settings.clockTolerance, objection: ofRevoked };
  const signals = new AccessSignals(signalRules);
  // What audit mode admits ends with it, streams too.
  const auditSignals = settings.audit && new AccessSignals({ ...signalRules, end: settings.audit.until });
  const audited = new Map<Reason, number>();
  const judged = slot<Awaitable<Access<C> | Refusal>>();
  // Refusals of requests that may pass, until one comes to a route that needs access: then it was refused.
  const passages = slot<Trail | undefined>();

  /** `undefined` says that nothing was asked for that needs access. */
  function judge(request: ProtectedResourceRequest, trail: Trail): Awaitable<ConfirmedToken | Rejection | undefined> {
    if (request.fieldsCut === true) return reject('request.fields_cut');
    if (request.fieldLines('host').length > 1) return reject('request.several_hosts');
    if (metadata?.isElsewhere(request) === true) return reject('request.no_metadata');
    if (needsNoAccess(request, settings.credentials)) return undefined;
    const presented = extractAccessToken(request, settings);
    if (isRejection(presented)) return presented;
    trail.scheme = presented.scheme;
    if (settings.earlyData === 'refuse' && request.fieldLines('early-data').length > 0) return reject('request.early_data');
    const proof = readPresentedProof(request, presented.scheme);
    if (proof !== undefined && isRejection(proof)) return proof;
    // Before anything is awaited: later the connection may be gone.
    const certificate = readCertificate(source, request);
    const presentation = { request, token: presented, now: now(), certificate, proof };
    if (issuerFor === undefined) return judgeSender(presentation, undefined, trail);
    return andThen(selectIssuer(issuerFor, request), (selected) =>
      typeof selected === 'string' ? judgeSender(presentation, selected, trail) : selected,
    );
  }

  /** A proof beside another scheme than DPoP is not looked at. */
  function readPresentedProof(request: ProtectedResourceRequest, scheme: Scheme): DpopProof | Rejection | undefined {
    return scheme === 'DPoP' && dpopSettings ? readProof(request, proofKeys, dpopSettings.algorithms) : undefined;
  }

  function judgeSender(presentation: Presentation, selected: string | undefined, trail: Trail): Awaitable<ConfirmedToken | Rejection> {
    return andThen(authenticate(presentation.token, presentation.now, selected), (token) => {
      if (isRejection(token)) return token;
      trail.issuer = token.issuer;
      trail.clientId = token.clientId;
      trail.token = token;
      return confirm(token, presentation);
    });
  }

  function decide(request: ProtectedResourceRequest): Awaitable<Access<C> | Refusal> {
    const start = sink.observed() ? performance.now() : 0;
    const trail: Trail = { request };
    let outcome: Awaitable<ConfirmedToken | Rejection | undefined>;
    try {
      const judgement = judge(request, trail);
      outcome = judgement instanceof Promise ? judgement.catch(internal) : judgement;
    } catch (error) {
      outcome = internal(error);
    }
    return andThen(outcome, (known) => conclude(known, trail, start));
  }

  function conclude(outcome: ConfirmedToken | Rejection | undefined, trail: Trail, start: number): Access<C> | Refusal {
    if (outcome === undefined) return passage(trail);
    const result = isRejection(outcome) ? refusal(outcome, trail.scheme) : grant(outcome, trail.token);
    if (sink.observed()) publish(result, trail, start);
    return result;
  }

  /** What a function of the application throws is our fault, as a clock is that fails. */
  function objectionTo(access: Access<C>, requirements: PreparedRequirements): Rejection | undefined {
    try {
      return authorizeToken(access, requirements, settings);
    } catch (error) {
      return internal(error);
    }
  }

  function grant(confirmed: ConfirmedToken, token: AuthenticatedToken | undefined): Access<C> | Refusal {
    if (token === undefined) return refusal(reject('unavailable.internal', { detail: 'confirmed, and not authenticated' }), undefined);
    const { fields: own } = confirmed;
    const fields = own.length + always.length === 0 ? NO_FIELDS : Object.freeze([...own, ...always]);
    const { audited: lacking } = confirmed;
    if (lacking !== undefined) audited.set(lacking.rejected, (audited.get(lacking.rejected) ?? 0) + 1);
    const watch = lacking === undefined ? signals : (auditSignals ?? signals);
    // The type of further claims is the application's word; iss, exp and aud were checked.
    return grantAccess(confirmed, fields, token, watch) as Access<C>;
  }

  function refusal(rejection: Rejection, scheme: Scheme | undefined): Refusal {
    const nonce = (): Fields => (dpopSettings?.nonces ? nonceFields(dpopSettings.nonces.issue(now())) : NO_FIELDS);
    try {
      return refuse(rejection, challenges, scheme, { always, nonce });
    } catch (error) {
      // A nonce that cannot be made, since the clock fails: then the client cannot do what it would be asked to.
      return refuse(internal(error), challenges, scheme, { always, nonce: () => NO_FIELDS });
    }
  }

  function passage(trail: Trail): Refusal {
    const preflight = settings.credentials === 'required' && ({ preflight: true } as const);
    const refused = { ...refusal(reject('request.no_credentials'), undefined), mayPass: { fields: always, ...preflight } };
    passages.set(refused, trail);
    return refused;
  }

  /** The event of a passage that came to its end. What was refused at once has had its own. */
  function tellOfPassage(refused: Refusal): void {
    const trail = passages.get(refused);
    if (trail === undefined) return;
    passages.set(refused, undefined);
    if (sink.observed()) publish(refused, trail, 0);
  }

  /** A clock that fails is why requests are refused, and the event has to tell. */
  function timeOfEvent(): EpochSeconds {
    try {
      return now();
    } catch {
      return Math.floor(Date.now() / 1000);
    }
  }

  function publish(result: Access<C> | Refusal, { scheme, issuer, clientId, request }: Trail, start: number): void {
    const route = settings.route && request && routeOf(settings.route, request);
    sink.publish({
      time: timeOfEvent(),
      ...outcomeOf(result),
      ...(scheme && { scheme }),
      ...(issuer !== undefined && { issuer }),
      ...(clientId !== undefined && { clientId }),
      ...(route !== undefined && { route }),
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
      if (!access.granted) {
        tellOfPassage(access);
        return access;
      }
      const objection = requirements && objectionTo(access, requirements);
      if (objection === undefined) return access;
      const { scheme, issuer, clientId } = access;
      const result = refusal(objection, scheme);
      if (sink.observed()) publish(result, { scheme, issuer, clientId }, 0);
      return result;
    },
    async ready() {
      const store = async (): Promise<void> => dpopSettings?.replay?.ready?.();
      await Promise.all([authenticate.ready(), metadata?.ready(), settings.certificatePolicy?.ready?.(), store()]);
    },
    async close() {
      signals.close();
      auditSignals?.close();
      await authenticate.close();
    },
    revokeKey(thumbprint) {
      authenticate.revokeKey(thumbprint);
      signals.check();
      auditSignals?.check();
    },
    audited: () => Object.fromEntries(audited),
    metadata,
  };
}

/** What the list of the API says of a token. Anything but `false` refuses, and what is neither that nor `true` is our fault. */
function revocation(isRevoked: IsRevoked): (token: ConfirmedToken) => Awaitable<Rejection | undefined> {
  const failed = (error: unknown): Rejection => reject('unavailable.is_revoked', { detail: nameOf(error) });
  const judge = (answer: unknown): Rejection | undefined =>
    answer === false ? undefined : reject(answer === true ? 'token.revoked' : 'unavailable.is_revoked');
  return (token) => {
    try {
      const answer = isRevoked(token);
      return answer instanceof Promise ? answer.then(judge, failed) : judge(answer);
    } catch (error) {
      return failed(error);
    }
  };
}

function outcomeOf(
  result: Access | Refusal,
): Pick<ResourceEvent, 'outcome' | 'reason' | 'text' | 'detail' | 'expected' | 'received' | 'confirmations'> {
  if (!result.granted) {
    return { outcome: isUnavailable(result.rejection) ? 'unavailable' : 'refused', ...whyOf(result.rejection) };
  }
  const confirmations = result.confirmations.map(({ member }) => member);
  return result.audited === undefined
    ? { outcome: 'granted', confirmations }
    : { outcome: 'audited', confirmations, ...whyOf(result.audited) };
}

/** What is thrown where nothing should be is our fault. */
function internal(error: unknown): Rejection {
  return reject('unavailable.internal', { detail: nameOf(error) });
}
