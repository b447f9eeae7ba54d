import type { AccessTokenClaims } from './access-token/authenticated-token.ts';
import type { Access } from './authorization/access.ts';
import { prepareRequirements, type Requirements } from './authorization/requirements.ts';
import type { Refusal } from './challenge/refusal.ts';
import { responseOf, withFields } from './challenge/response.ts';
import type { ProtectedResourceOptions } from './options/options.ts';
import type { ProtectedResource } from './protected-resource.ts';
import { fieldsToCarry, Protections, resourceOf } from './protection.ts';
import { isUnavailable, REASONS } from './rejection.ts';
import type { Connection, ProtectedResourceRequest } from './request.ts';
import { slot } from './slot.ts';

export type { AccessTokenClaims } from './access-token/authenticated-token.ts';
export { type ProviderName, PROVIDERS } from './access-token/providers.ts';
export type { Access } from './authorization/access.ts';
export { callerOf } from './authorization/caller.ts';
export type { Requirements } from './authorization/requirements.ts';
export {
  apache,
  auth0CustomerEdge,
  awsAlb,
  awsAlbPassthrough,
  azureApplicationGateway,
  azureAppService,
  caddy,
  cloudflare,
  contour,
  type EdgeOptions,
  envoy,
  type EnvoyOptions,
  f5,
  fastly,
  gcpLoadBalancer,
  type GcpOptions,
  haproxy,
  ingressNginx,
  istio,
  kong,
  nginx,
  rfc9440,
  traefik,
} from './certificate/edges.ts';
export type { ForwardedFormat } from './certificate/formats.ts';
export { type ForwardedFieldOptions, fromForwardedField, type VerifiedField } from './certificate/forwarded.ts';
export { awsApiGateway, type AwsApiGatewayOptions, cloudflareWorker, type CloudflareWorkerOptions } from './certificate/platforms.ts';
export { type Certificate, certificateOf, type CertificateSource } from './certificate/thumbprint.ts';
export { dangerouslyTrustEveryPeer, type EdgeTrust } from './certificate/trusted-peers.ts';
export { EXPOSED_FIELDS, type Refusal } from './challenge/refusal.ts';
export type { ResourceEvent } from './events.ts';
export type { FetchedKeys, GivenJwks, GivenPem } from './options/keys.ts';
export type { ProtectedResourceOptions } from './options/options.ts';
export { type ProtectedResource, protectedResource } from './protected-resource.ts';
export { isUnavailable, type Reason, REASONS, type Rejection } from './rejection.ts';
export { memoryReplayStore, type MemoryReplayStoreOptions } from './replay/memory.ts';
export type { ProofUse, ReplayStore } from './replay/replay-store.ts';
export { type ClientShares, clientShares } from './replay/shares.ts';
export type { Connection, ProtectedResourceRequest } from './request.ts';

/**
 * What a `Request` does not say of itself. It comes from the server, and never from the request. Where the server is one of
 * `node:http`, `node:https` or `node:http2`, the whole of it is there: give `nodeRequest(incoming)` of `@holdfast/core/node`.
 */
export interface Surroundings {
  /** The transport connection. Without one nothing is known of the peer, nor of its certificate. */
  readonly connection?: Connection;
  /** What the platform says beside the request: `request.cf` of Workers for `cloudflareWorker()`, the event for `awsApiGateway()`. */
  readonly platform?: unknown;
}

/** A request that may go on, to routes that ask for their access. */
export interface Protected<C extends AccessTokenClaims = AccessTokenClaims> {
  /**
   * `undefined` where the request passed without access: a CORS preflight, which anybody can send, or `credentials: 'optional'`. A
   * route that looks at the path alone runs for it: let it ask for its access ({@link accessOf}, {@link requires}).
   */
  readonly access: Access<C> | undefined;
  readonly refusal?: undefined;
  /** The response with the fields that it has to carry, as a new nonce: the same object where there are none. Its body is not read. */
  readonly apply: (response: Response) => Response;
}

/** A request that is refused, or that is answered with the metadata of the resource (RFC 9728). */
export interface Refused {
  readonly access?: undefined;
  /** To be returned as it is. Where WWW-Authenticate has several challenges, they are in one line. */
  readonly refusal: Response;
  readonly apply?: undefined;
}

/** Protects requests of one resource: made by {@link holdfast}. */
export interface Protect<C extends AccessTokenClaims = AccessTokenClaims> {
  /** Judges a request, once however often it is asked. Call it when the request begins, before anything is awaited. */
  (request: Request, surroundings?: Surroundings | ProtectedResourceRequest): Promise<Protected<C> | Refused>;
  /** Resolves when tokens can be judged; rejects with what stands in the way. For start-up and health checks. */
  ready(): Promise<void>;
  /** Ends timers, and what goes on for as long as access lasts. */
  close(): Promise<void>;
  /** From now on nothing that the key with this JWK thumbprint (RFC 7638) signed is accepted. */
  revokeKey(thumbprint: string): void;
}

/** Thrown by {@link accessOf}: a refusal of somebody who asked too late. Hono answers with `getResponse()`; elsewhere, catch and return it. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly status: number;
  /** Whether the message may be sent to the client. */
  readonly expose: boolean;
  // Loggers and error pages copy what they see of an error, and a field may hold a nonce.
  readonly #refusal: Refusal;

  constructor(refusal: Refusal) {
    const ours = isUnavailable(refusal.rejection);
    // What is broken here is none of the client's business, and some send it the message.
    super(refusal.body?.error_description ?? (ours ? 'Unavailable for the moment.' : REASONS[refusal.rejection.rejected].text));
    this.status = refusal.status;
    this.expose = !ours;
    this.#refusal = refusal;
  }

  get refusal(): Refusal {
    return this.#refusal;
  }

  getResponse(): Response {
    return responseOf(this.#refusal);
  }
}

// On the very object that was judged: a copy (new Request(request)) was judged by nobody, and has no access.
const views = slot<ProtectedResourceRequest>();
const protections = new Protections(HoldfastError);

/**
 * Protects what speaks in `Request` and `Response`: Hono, Deno, Bun, Workers, functions. Takes the options, or a resource that is
 * made already and shared. Throws one `TypeError` that lists every problem.
 *
 * `C` types the claims beyond the standard ones; it is your word, not a check.
 *
 * @example
 * const protect = holdfast({ issuer: 'https://as.example.com', audience: 'https://api.example.com' });
 * const reading = requires({ scope: 'accounts:read' });
 * const { refusal, apply } = await protect(request);
 * if (refusal) return refusal;
 * return apply(reading(request) ?? (await route(request)));
 */
export function holdfast<C extends AccessTokenClaims = AccessTokenClaims>(
  options: ProtectedResourceOptions | ProtectedResource<C>,
): Protect<C> {
  const resource = resourceOf(options);
  const protect = async (request: Request, surroundings: Surroundings | ProtectedResourceRequest = {}): Promise<Protected<C> | Refused> => {
    const view = views.get(request) ?? ('fieldLines' in surroundings ? surroundings : new FetchRequest(request, surroundings));
    views.set(request, view);
    const published = resource.metadata?.answer(view);
    if (published !== undefined) return { refusal: responseOf(await published) };
    const result = await resource.verify(view);
    protections.set(request, { resource, result });
    if (!result.granted && result.mayPass === undefined) return { refusal: responseOf(result) };
    const fields = fieldsToCarry(result);
    return { access: result.granted ? result : undefined, apply: (response) => withFields(response, fields) };
  };
  return Object.assign(protect, {
    ready: () => resource.ready(),
    close: () => resource.close(),
    revokeKey: (thumbprint: string) => resource.revokeKey(thumbprint),
  });
}

/**
 * Authorizes one route: answers the refusal (403 `insufficient_scope` where the token lacks a scope, 401 where the request was not
 * protected), or `undefined` where the route may go on. Without an argument any access is enough, and there has to be one. Throws a
 * `TypeError` when the requirements make no sense, `undefined` included.
 *
 * @example
 * const reading = requires({ scope: 'accounts:read' });
 * return reading(request) ?? Response.json(accounts);
 */
export function requires(...requirements: readonly [] | readonly [Requirements]): (request: Request) => Response | undefined {
  const prepared = requirements.length === 0 ? undefined : prepareRequirements(requirements[0]);
  return (request) => {
    const authorized = protections.authorize(request, prepared);
    return authorized.granted ? undefined : responseOf(authorized);
  };
}

/**
 * What was granted to this very request, not to a copy of it. `C` types the claims beyond the standard ones; it is your word, not a
 * check. Throws a {@link HoldfastError} where it was not protected, and where it passed without access ({@link maybeAccessOf}), as any
 * CORS preflight does: where nobody catches errors (Workers, functions, `Deno.serve`, `Bun.serve`), let {@link requires} come first.
 */
export function accessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: Request): Access<C> {
  return protections.access(request);
}

/**
 * What was granted to this request, or `undefined` where it passed without access (`credentials: 'optional'`, a CORS preflight).
 * Throws a {@link HoldfastError} where it was not protected, or was refused.
 */
export function maybeAccessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: Request): Access<C> | undefined {
  return protections.maybeAccess(request);
}

const NO_LINES: readonly string[] = Object.freeze([]);
/** `https://rs.example.com` and `/r?x=1`. */
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)([^#]*)/i;

/**
 * The view of a `Request`. The server has made its URL, with the authority of `Host` or one of its own, and the parser of URLs has
 * taken dot segments and backslashes out of the path: so the target is the path and query that the routes see too, and never an
 * origin.
 */
class FetchRequest implements ProtectedResourceRequest {
  readonly method: string;
  readonly target: string;
  readonly connection: Connection;
  readonly #authority: string;
  readonly #headers: Headers;

  constructor(request: Request, { connection, platform }: Surroundings) {
    const [, authority = '', target = ''] = ABSOLUTE.exec(request.url) ?? [];
    this.method = request.method;
    this.target = target;
    this.#authority = authority;
    this.#headers = request.headers;
    this.connection = connection !== undefined && platform === undefined ? connection : connectionWith(connection, platform);
  }

  /** The lines of a field come joined, and are never split: what cannot stand in one line is refused. Two hosts are told by the space. */
  fieldLines(name: Lowercase<string>): readonly string[] {
    if (name === ':authority') return this.#headers.has('host') ? NO_LINES : [this.#authority];
    const value = this.#headers.get(name);
    if (value === null) return NO_LINES;
    return name === 'host' ? value.split(', ') : [value];
  }
}

/** One for this request alone: what the platform says is of the request, and of a connection that is not told nothing is known. */
function connectionWith(connection: Connection | undefined, platform: unknown): Connection {
  const { peer, hidesCertificates = false } = connection ?? { peer: { kind: 'unknown' }, hidesCertificates: true };
  return { peer, hidesCertificates, platform, peerCertificate: () => connection?.peerCertificate() };
}
