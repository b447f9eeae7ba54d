/** Seconds since 1970-01-01T00:00:00Z, as in a NumericDate (RFC 7519 §2). */
export type EpochSeconds = number;

/** A value, or the promise of one. */
export type Awaitable<T> = T | Promise<T>;

/** Goes on with a value: at once where it is there already, since to await it would cost a promise and a turn of the event loop's queue. */
export function andThen<T, U>(value: Awaitable<T>, step: (value: T) => Awaitable<U>): Awaitable<U> {
  return value instanceof Promise ? value.then(step) : step(value);
}

/** Who is at the other end of the transport connection: the client itself, or the edge in front of us. */
export type Peer =
  | { readonly kind: 'ip'; readonly address: string }
  | { readonly kind: 'unix' }
  /** Not to be known any more, for instance after a reset. Never trusted. */
  | { readonly kind: 'unknown' };

/** The transport connection that a request came in on: one object per connection, so that what it holds can be remembered by it. */
export interface Connection {
  /** The immediate peer, captured when the request began. */
  readonly peer: Peer;
  /**
   * The certificate that the peer authenticated with in the TLS handshake, in DER; `undefined` where there is none.
   * The same for the whole life of the connection: an implementation must not return a certificate of a handshake that has
   * not ended, nor one that a later handshake replaced.
   */
  peerCertificate(): Uint8Array | undefined;
  /** Set where the server does not show which certificate a client has, whether it has one or not: `Bun.serve`, `Deno.serve`. */
  readonly hidesCertificates?: boolean;
  /** The host that the client named in the TLS handshake (SNI, RFC 6066 §3), in lower case; `undefined` where it named none. */
  readonly serverName?: string | undefined;
  /** What the platform says of the connection, for sources that read it: `cf` of Workers, the event of API Gateway. */
  readonly platform?: unknown;
}

/**
 * What Holdfast reads of an HTTP request. A view: nothing is copied, and only what is asked for is looked up.
 * One object per request, and extensible: what was decided of a request is kept with it.
 */
export interface ProtectedResourceRequest {
  /** The method as it stands on the request line; case-sensitive (RFC 9110 §9.1). */
  readonly method: string;
  /** The request target as the client wrote it, before any mounting or rewriting (RFC 9112 §3.2). */
  readonly target: string;
  /** Every line of a field, in order and unjoined. `name` is in lower case. */
  fieldLines(name: Lowercase<string>): readonly string[];
  readonly connection: Connection;
  /** Set where the server has kept some of the field lines alone, since there were too many. Such a request is refused (431). */
  readonly fieldsCut?: boolean;
}
