/** An OAuth error code of a refusal (RFC 6750 §3.1, RFC 9449 §7.1 and §9, RFC 9470 §3). */
export type ErrorCode =
  | 'invalid_request'
  | 'invalid_token'
  | 'insufficient_scope'
  | 'insufficient_user_authentication'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce';

/** What a reason means to the client (status, code) and to the people who run the API (text). */
export interface ReasonRow {
  readonly status: number;
  /** Absent where the client presented nothing to judge, or where the fault is ours. */
  readonly error?: ErrorCode;
  /** Why, and where it helps what to do. For events and logs: it is never sent to the client. */
  readonly text: string;
}

/** Every reason for which a request can be refused, with its one HTTP answer. */
export const REASONS = {
  'request.unprotected': {
    status: 401,
    text: 'Nothing protects this route: no holdfast(…) ran before it, so nothing was granted. Mount it before the route.',
  },
  'request.no_credentials': { status: 401, text: 'No access token stands in an Authorization field.' },
  'request.unsupported_scheme': { status: 401, text: 'The Authorization field uses a scheme that this resource does not offer.' },
  'request.malformed_authorization': {
    status: 400,
    error: 'invalid_request',
    text: 'The Authorization field is not a scheme, spaces and one token68 (RFC 6750 §2.1).',
  },
  'request.several_authorizations': {
    status: 400,
    error: 'invalid_request',
    text: 'More than one set of credentials was sent, so it is not clear which is meant (RFC 9110 §5.3).',
  },
  'request.token_in_query': {
    status: 400,
    error: 'invalid_request',
    text: 'An access_token stands in the query beside the one in the Authorization field (RFC 6750 §2).',
  },
  'request.several_hosts': {
    status: 400,
    error: 'invalid_request',
    text: 'More than one host was named, so it is not clear which origin is meant (RFC 9112 §3.2, RFC 9113 §8.3.1).',
  },
  'request.ambiguous_target': {
    status: 400,
    error: 'invalid_request',
    text: 'The path of the request can be read in two ways, so it is not clear which tenant it is of (issuerFor). Clients send it in normal form (RFC 3986 §6.2.2): no dot segments, //, \\, ; or #, no triplets for what needs none, nor for these.',
  },
  'request.fields_cut': {
    status: 431,
    text: 'The request has more fields than the server keeps (maxHeadersCount of node:http, 1,000 by default), so what is missing cannot be judged: a second Authorization line, or one that the edge added. Nobody needs as many (RFC 6585 §5).',
  },
  'request.early_data': {
    status: 425,
    text: "The request came in TLS early data (Early-Data: 1), which can be replayed (RFC 8470). The client repeats it after the handshake; or set earlyData: 'accept'.",
  },
  'request.no_metadata': {
    status: 404,
    text: 'The request is for metadata of a resource (RFC 9728) that is not published here. With several resources in one application, mount the metadata of each before them.',
  },
  'request.misdirected': {
    status: 421,
    text: "The request names another host than the TLS connection that it came on, and fromTls({ misdirected: 'refuse' }) asks for the same: what was negotiated for one name does not count for another (RFC 9110 §7.4). The client repeats it on a connection of its own.",
  },
  'request.token_too_long': { status: 400, error: 'invalid_request', text: 'The access token is longer than this resource reads.' },

  'token.not_jwt': {
    status: 401,
    error: 'invalid_token',
    text: 'The access token is no JWT: three base64url segments without padding are expected (RFC 7515 §7.1).',
  },
  'token.encrypted': {
    status: 401,
    error: 'invalid_token',
    text: 'The access token is encrypted (JWE), and no key to decrypt it is configured.',
  },
  'token.malformed': {
    status: 401,
    error: 'invalid_token',
    text: 'A segment of the access token is not what RFC 7515 and RFC 7519 say: canonical base64url of a JSON object.',
  },
  'token.typ': {
    status: 401,
    error: 'invalid_token',
    text: 'The header says that this JWT is no access token: typ must be at+jwt (RFC 9068 §4). Some servers write something else: name yours with provider.',
  },
  'token.not_an_access_token': {
    status: 401,
    error: 'invalid_token',
    text: 'Neither typ and aud nor the claims of the token show that it is an access token, and not an ID token, a refresh token or another token of its server. To introspection a server shows it by token_type, or an aud that names the API.',
  },
  'token.algorithm': { status: 401, error: 'invalid_token', text: 'The algorithm is not on the list of this issuer (RFC 8725 §3.1).' },
  'token.critical_extension': {
    status: 401,
    error: 'invalid_token',
    text: 'The header lists a critical extension that is not understood (RFC 7515 §4.1.11).',
  },
  'token.issuer': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is not from the issuer that this resource trusts; issuers are compared exactly (RFC 9068 §4).',
  },
  'token.tenant': {
    status: 401,
    error: 'invalid_token',
    text: 'issuerFor named no issuer that is registered, so no token is accepted for this request.',
  },
  'token.unknown_key': { status: 401, error: 'invalid_token', text: 'No key of the issuer fits the header of the token (kid, alg).' },
  'token.signature': { status: 401, error: 'invalid_token', text: 'The signature does not verify with the key of the issuer.' },
  'token.inactive': {
    status: 401,
    error: 'invalid_token',
    text: 'The authorization server says that the token is not active (RFC 7662 §2.2): expired, revoked, or never issued by it.',
  },
  'token.revoked': { status: 401, error: 'invalid_token', text: 'isRevoked said that the token is revoked.' },
  'token.decryption': {
    status: 401,
    error: 'invalid_token',
    text: 'The access token is encrypted (JWE) and cannot be decrypted: by another key or algorithm than those of this resource, or altered.',
  },
  'token.not_encrypted': {
    status: 401,
    error: 'invalid_token',
    text: 'The access token is not encrypted, and this resource requires that it is (RFC 9068 §4).',
  },
  'token.mismatch': {
    status: 401,
    error: 'invalid_token',
    text: 'The token and what the authorization server says of it are about different subjects or clients.',
  },
  'token.expired': { status: 401, error: 'invalid_token', text: 'The token has expired (exp).' },
  'token.not_yet_valid': { status: 401, error: 'invalid_token', text: 'The token is not valid yet (nbf or iat lie in the future).' },
  'token.audience': { status: 401, error: 'invalid_token', text: 'The token is for another resource (aud), or does not say for which.' },
  'token.client': {
    status: 401,
    error: 'invalid_token',
    text: 'The token names no resource (aud), and its client is not on the list of those whose tokens are for this one (clientIds).',
  },
  'token.claim': {
    status: 401,
    error: 'invalid_token',
    text: 'A claim that is required is missing, or one has the wrong type (RFC 9068 §2.2).',
  },

  'cnf.absent': {
    status: 401,
    error: 'invalid_token',
    text: "The token is bound to no client: it has no cnf claim. Have the authorization server issue bound tokens, or set unconstrained: 'accept'.",
  },
  'cnf.malformed': {
    status: 401,
    error: 'invalid_token',
    text: 'The cnf claim, or a member of it, is not what RFC 7800 §3.1 says: an object with thumbprints of 43 characters.',
  },
  'cnf.not_understood': {
    status: 401,
    error: 'invalid_token',
    text: 'The cnf claim has no member that Holdfast can confirm, and a token with a cnf is never a bearer token.',
  },
  'cnf.hex_thumbprint': {
    status: 401,
    error: 'invalid_token',
    text: 'The thumbprint in cnf is written in hexadecimal. RFC 8705 §3.1 wants base64url: the authorization server has to be corrected.',
  },
  'cnf.top_level': {
    status: 401,
    error: 'invalid_token',
    text: 'The token has x5t#S256 or jkt outside of cnf. It is meant to be bound, and is not read as unbound.',
  },

  'cnf.presented_as_bearer': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is bound to a DPoP key (cnf jkt) and was presented with the Bearer scheme, without proof of that key (RFC 9449 §7.2).',
  },
  'cnf.presented_as_dpop': {
    status: 401,
    error: 'invalid_token',
    text: 'The token was presented with the DPoP scheme, or calls itself a DPoP token, and names no DPoP key (cnf jkt) that a proof could be by (RFC 9449 §7.1).',
  },

  'certificate.no_source': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is bound to a certificate (cnf x5t#S256), and no source of certificates is configured. Say where TLS ends: certificate: fromTls(), or the edge: nginx({ trust: … }), envoy({ trust: … }), …',
  },
  'certificate.missing': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is bound to a certificate, and the client presented none. The server has to ask for one: requestCert: true, rejectUnauthorized: false. An edge has to ask for one too, and set its field on every request.',
  },
  'certificate.hidden': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is bound to a certificate, and this server does not show those of its clients (Bun, Deno.serve), or protect() was not told of the connection. End TLS in front of it, as nginx({ trust: … }), or in node:https of Node or Deno.',
  },
  'certificate.not_presented': {
    status: 401,
    error: 'invalid_token',
    text: 'The edge sent its field, and says in it that there is no certificate. Some edges send the same where a certificate does not fit into their buffer.',
  },
  'certificate.several_lines': {
    status: 401,
    error: 'invalid_token',
    text: 'The field of the edge came more than once: one line may be by the client. Have the edge replace the field on every request, and never append to it.',
  },
  'certificate.malformed': {
    status: 401,
    error: 'invalid_token',
    text: 'The field of the edge holds something else than the configured format: check the format, and that the edge removes what clients send.',
  },
  'certificate.not_verified': {
    status: 401,
    error: 'invalid_token',
    text: 'The edge did not say that it verified the certificate: the field for it is missing, came more than once, or says something else.',
  },
  'certificate.untrusted_peer': {
    status: 401,
    error: 'invalid_token',
    text: 'A field for certificates came from a peer that is not the trusted edge, and was not read: the request went around the edge, or trust does not name it. detail says what did not hold, received who it was.',
  },
  'certificate.mismatch': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is bound to another certificate. A renewed certificate needs a new token, even over the same key.',
  },
  'certificate.outside_validity': {
    status: 401,
    error: 'invalid_token',
    text: 'The certificate of the client has expired or is not valid yet, and the policy asks for one in its validity period.',
  },
  'certificate.unreadable': {
    status: 401,
    error: 'invalid_token',
    text: 'The certificate of the client cannot be parsed, or the edge sent only its hash, and the policy asks for what is in it.',
  },

  'certificate.untrusted_chain': {
    status: 401,
    error: 'invalid_token',
    text: 'There is no chain from the certificate of the client to an anchor of certificatePolicy that holds. detail says what stood in the way.',
  },
  'certificate.revoked': {
    status: 401,
    error: 'invalid_token',
    text: 'The certificate of the client, or one of its issuers, has been revoked: certificatePolicy.isRevoked or the platform says so.',
  },

  'dpop.not_offered': {
    status: 401,
    error: 'invalid_token',
    text: 'The token is bound to a DPoP key (cnf jkt), and this resource does not offer DPoP. Say where clients reach it: publicUrl, or an audience that is a URL.',
  },
  'dpop.missing': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The DPoP scheme was used without a DPoP header (RFC 9449 §7.1). Proxies and CORS settings sometimes drop it: let it through.',
  },
  'dpop.several': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'More than one DPoP header was sent (RFC 9449 §4.3 (1)).',
  },
  'dpop.too_long': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof, or its header, is longer than this resource reads.',
  },
  'dpop.malformed': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof is no well-formed JWT (RFC 9449 §4.3 (2)): three segments of canonical base64url, header and claims JSON objects.',
  },
  'dpop.claim': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'A claim of the proof is missing or has the wrong type (RFC 9449 §4.3 (3)).',
  },
  'dpop.typ': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The header does not say that this JWT is a proof: typ must be dpop+jwt (RFC 9449 §4.3 (4)).',
  },
  'dpop.algorithm': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The algorithm of the proof is not on the list of this resource, which stands in algs of its challenge (RFC 9449 §4.3 (5)).',
  },
  'dpop.critical_extension': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The header of the proof lists a critical extension, and none is understood (RFC 7515 §4.1.11).',
  },
  'dpop.private_key': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The jwk of the proof has a member of a private or secret key (RFC 9449 §4.3 (7)). The client is leaking its key: replace it.',
  },
  'dpop.key': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The jwk of the proof is no public key for its algorithm: of the right kind, size and spelling, and marked for no other use.',
  },
  'dpop.key_mismatch': {
    status: 401,
    error: 'invalid_token',
    text: 'The proof is by another key than the one that the token is bound to (RFC 9449 §4.3 (12)).',
  },
  'dpop.signature': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The signature of the proof does not verify with its jwk (RFC 9449 §4.3 (6)).',
  },
  'dpop.htm': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof is for another method (RFC 9449 §4.3 (8)).',
  },
  'dpop.htu': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof is for another URI (RFC 9449 §4.3 (9)). Where clients reach this API is told by publicUrl: check scheme, host, port, and a path that the edge strips.',
  },
  'dpop.too_old': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof was made too long ago (RFC 9449 §4.3 (11)). One of the two clocks is wrong, or the proof was kept and sent late.',
  },
  'dpop.in_future': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof says that it was made in the future (RFC 9449 §4.3 (11)). One of the two clocks is wrong.',
  },
  'dpop.lifetime': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof has an exp or nbf of its own, and is past the one or before the other (RFC 7519 §4.1).',
  },
  'dpop.ath': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof is for another access token (RFC 9449 §4.3 (12), ath).',
  },

  'nonce.missing': {
    status: 401,
    error: 'use_dpop_nonce',
    text: 'The proof has no nonce, and this resource requires one (RFC 9449 §9). The client gets one with this answer, and tries again.',
  },
  'nonce.unknown': {
    status: 401,
    error: 'use_dpop_nonce',
    text: 'The nonce of the proof is not of this resource, or too old (RFC 9449 §4.3 (10)). The client gets a new one with this answer. If it happens again and again, several instances have different secrets: set dpop.nonce.secrets.',
  },

  'replay.reused': {
    status: 401,
    error: 'invalid_dpop_proof',
    text: 'The proof was used before (RFC 9449 §11.1): replayed by somebody, or sent twice by a client that retries without making a new one.',
  },
  'replay.over_share': {
    status: 429,
    text: 'This client sends more proofs than its share of the replay store, and the oldest are not over yet. Raise entries or share of the memory store, or usesPerClient of the one in Redis, or shorten dpop.window.',
  },

  'scope.insufficient': { status: 403, error: 'insufficient_scope', text: 'The token lacks a scope that the route requires.' },

  'claims.insufficient': { status: 403, error: 'insufficient_scope', text: 'A claim is missing, or is not what the route requires.' },
  'roles.insufficient': { status: 403, error: 'insufficient_scope', text: 'The token lacks a role that the route requires.' },
  'permissions.insufficient': { status: 403, error: 'insufficient_scope', text: 'The token lacks a permission that the route requires.' },
  'authorization_details.insufficient': {
    status: 403,
    error: 'insufficient_scope',
    text: 'No element of authorization_details (RFC 9396) grants what the route requires.',
  },
  'confirmation.required': {
    status: 401,
    error: 'invalid_token',
    text: 'The route requires a token that is bound in another way, to a certificate (x5t#S256) or a DPoP key (jkt).',
  },
  'step_up.acr': {
    status: 401,
    error: 'insufficient_user_authentication',
    text: 'The route requires that the user authenticated in another way (acr, RFC 9470).',
  },
  'step_up.max_age': {
    status: 401,
    error: 'insufficient_user_authentication',
    text: 'The route requires that the user authenticated more recently (auth_time, RFC 9470), or the token does not say when.',
  },

  'unavailable.keys': { status: 503, text: 'The keys of the issuer cannot be had, so no token can be judged.' },
  'unavailable.introspection': {
    status: 503,
    text: 'The authorization server could not be asked about the token, or gave no answer that can be used. detail says what happened.',
  },
  'unavailable.is_revoked': {
    status: 503,
    text: 'isRevoked failed, or returned neither true nor false, so it cannot be known whether the token is revoked.',
  },
  'unavailable.certificate': { status: 503, text: 'The source of certificates failed.' },
  'unavailable.revocation': {
    status: 503,
    text: 'certificatePolicy.isRevoked failed, so it cannot be known whether a certificate was revoked.',
  },
  'unavailable.replay': {
    status: 503,
    text: 'The replay store failed or is full, so it cannot be known whether a proof was used before. detail names the kind of failure.',
  },
  'unavailable.internal': { status: 503, text: 'An unexpected failure while judging the request. It is refused.' },
} as const;

/** Names one reason; stable, for events, alerts and tests. */
export type Reason = keyof typeof REASONS;

/** Why a request is refused: a value, handed up the pipeline instead of a grant. Holds no secret. */
export interface Rejection {
  readonly rejected: Reason;
  /** More about this one case: the name of a claim, an option, a limit. Never a token, header value or key. */
  readonly detail?: string;
  /** What was required, where one value was: the beginning of a thumbprint, an algorithm. */
  readonly expected?: string;
  /** What was found in its place. */
  readonly received?: string;
  /** Scopes that the route requires, space-separated (RFC 6750 §3). */
  readonly scope?: string;
  /** Ways of authenticating the user of which the route requires one, space-separated, and seconds since then at most (RFC 9470 §3). */
  readonly acrValues?: string;
  readonly maxAge?: number;
  /** Schemes whose challenge carries the error, where it is not simply the one the client used. */
  readonly schemes?: readonly Scheme[];
  /** Seconds after which another attempt makes sense, where the fault is ours. */
  readonly retryAfter?: number;
}

/** An authentication scheme that access tokens are presented with (RFC 6750 §2.1). */
export type Scheme = 'Bearer' | 'DPoP';

/** Makes a {@link Rejection}. */
export function reject(rejected: Reason, more?: Omit<Rejection, 'rejected'>): Rejection {
  return more === undefined ? { rejected } : { rejected, ...more };
}

/** Tells a {@link Rejection} from what a stage hands on when it found nothing wrong. */
export function isRejection(value: object): value is Rejection {
  return 'rejected' in value;
}

/** Whether a refusal is our fault and not the client's. */
export function isUnavailable({ rejected }: Rejection): boolean {
  return REASONS[rejected].status === 503;
}

/** The kind of a failure, as `detail` of a rejection. Its message may hold anything, so it stays out. */
export function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
