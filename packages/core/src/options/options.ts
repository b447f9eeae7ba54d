import { isOneOfSeveral, warn } from '#runtime';
import type { CacheLimits } from '../access-token/cache.ts';
import type { ExtractOptions } from '../access-token/extract.ts';
import type { MetadataSettings } from '../challenge/metadata.ts';
import type { CertificateSource } from '../certificate/thumbprint.ts';
import type { DecryptionOptions } from '../access-token/decrypt.ts';
import type { IssuerFor } from '../access-token/tenant.ts';
import type { AuditRules, ConfirmedToken } from '../confirmation/confirm-token.ts';
import type { CertificatePolicy } from '../confirmation/mtls.ts';
import type { DpopSettings } from '../confirmation/dpop.ts';
import type { Fetch } from '../discovery/fetch-json.ts';
import type { ResourceEvent } from '../events.ts';
import type { Scheme } from '../rejection.ts';
import type { Awaitable, EpochSeconds, ProtectedResourceRequest } from '../request.ts';
import { Check } from '../check.ts';
import { type AuditOptions, readAudit, warnOfAudit } from './audit.ts';
import { type DecryptionSettings, readDecryption } from './decryption.ts';
import { type CertificatePolicyOptions, readCertificatePolicy } from './certificate-policy.ts';
import { readCacheLimits } from './cache.ts';
import { readClock } from './clock.ts';
import { type DpopOptions, readDpop, warnOfSeveral } from './dpop.ts';
import { type IssuerOptions, type IssuerSettings, readAudience, readIssuers, TOKEN_OPTION_NAMES, type TokenOptions } from './issuers.ts';
import { type MetadataOptions, readMetadata } from './metadata.ts';
import { demandsOf, type ProfileName, readProfiles } from './profiles.ts';

/** Says of a token that passed everything else whether it is revoked. Must return exactly `true` or `false`. */
export type IsRevoked = (token: ConfirmedToken) => Awaitable<boolean>;

/** What an API says about itself, once. Every problem in it is reported in one `TypeError` when the resource is made. */
export interface ProtectedResourceOptions extends TokenOptions {
  /**
   * The issuer identifier of the authorization server, character by character as in its tokens (`iss`). Its metadata and keys
   * are found from it (RFC 8414, OpenID Connect Discovery). An https URL; http only on the loopback interface. Or a list of several
   * issuers, each with what is its own.
   */
  readonly issuer: string | readonly (string | IssuerOptions)[];
  /**
   * For an API with several tenants: which of the registered issuers this request may have a token from, told by the request (its
   * host, its path), never by the token. A name that is not registered, or none, is refused with 401; it makes no issuer. A
   * function that throws is 503. Take the name from a table that has exactly what routes are matched by, and no issuer for the rest:
   * Express takes `/B/` for `/b/`. It is not asked, and the request refused with 400 `invalid_request`, where routers and it could
   * read two tenants: another target than a path in normal form (RFC 3986 §6.2.2), which is one of the characters of §3.3 without
   * `;`, without dot segments and `//`, and with triplets only for what needs one and does not separate; `:authority` and `Host` that
   * differ.
   */
  readonly issuerFor?: IssuerFor;
  /** What `aud` of a token must contain: the identifier of this API, or several. Compared exactly. */
  readonly audience: string | readonly string[];
  /**
   * Where the certificate of the client comes from: {@link fromTls} where TLS ends in this process, or the edge in front of it:
   * `nginx({ trust })`, `envoy({ trust })`, … or {@link fromForwardedField}. Without one, certificate-bound tokens are refused.
   */
  readonly certificate?: CertificateSource;
  /** What a certificate must satisfy besides being the one in the token: see {@link CertificatePolicyOptions}. Off by default (RFC 8705 §6.2). */
  readonly certificatePolicy?: CertificatePolicyOptions;
  /**
   * Sets of further requirements; of several, the strictest holds. `rfc9068`: also `sub`, `client_id`, `iat` and `jti` must be
   * there (RFC 9068 §2.2). `fapi2`: bound tokens only; ES256, PS256, EdDSA and Ed25519 only; proofs at most 60 s old and 10 s
   * early; a replay store that all instances share. `mcp`: tokens must name this API, whatever the provider; metadata is published;
   * the `window` of proofs may not be wider than 300 s back and ahead, and is 300 and 60 by default.
   */
  readonly profiles?: readonly ProfileName[];
  /**
   * Where clients reach this API, which is what a DPoP proof must be made for: an origin as `https://api.example.com`, or several;
   * with a path where the edge strips one before it hands requests on. https; http only on the loopback interface. By default
   * the origins of an `audience` that is a URL. `Host` and forwarded fields are not believed.
   */
  readonly publicUrl?: string | readonly string[];
  /**
   * DPoP (RFC 9449). By default offered when the origin is known, by `publicUrl` or an `audience` that is a URL. Where it is not
   * offered, DPoP-bound tokens are refused.
   */
  readonly dpop?: boolean | DpopOptions;
  /** The schemes that are offered. `['DPoP']` leaves the Bearer challenge out, and Bearer requests count as without credentials. */
  readonly schemes?: readonly Scheme[];
  /**
   * `optional` lets a request without an `Authorization` field through to the routes, without access: what needs it still refuses.
   * A field that is there is judged as always. By default `required`. Either way a CORS preflight passes, without access.
   */
  readonly credentials?: 'required' | 'optional';
  /** `true` adds `WWW-Authenticate` and `DPoP-Nonce` to `Access-Control-Expose-Headers`, so that scripts of other origins can read them. */
  readonly cors?: boolean;
  /** A request that an edge marks as TLS early data (`Early-Data: 1`), which can be replayed: 425 by default (RFC 8470 §5.2). */
  readonly earlyData?: 'refuse' | 'accept';
  /** Seconds by which the clocks may differ when `exp`, `nbf` and `iat` are compared: 5 by default, 60 at most. */
  readonly clockTolerance?: number;
  /** Tokens that passed are remembered, but never what depends on the request. `false` judges each anew. */
  readonly cache?: false | Partial<CacheLimits>;
  /**
   * Publish metadata of this resource (RFC 9728), and name it in every challenge (`resource_metadata`). `true` says what follows from
   * the other options. By default off; on with the profile `mcp`.
   */
  readonly metadata?: boolean | MetadataOptions;
  /**
   * A list of revoked tokens of your own: asked on every request, after everything else passed and before a proof is used up. `true` is
   * 401 `invalid_token`; a failure is 503. For access whose `signal` was read it is asked again every minute, and either aborts it.
   */
  readonly isRevoked?: IsRevoked;
  /** Keys to decrypt access tokens that are encrypted to this resource (JWE around a signed JWT, RFC 9068 §2). Without it they are refused. */
  readonly decryption?: DecryptionSettings;
  /** For introducing binding: report what would be refused, and let it through for now. Never with the profile `fapi2`. */
  readonly audit?: AuditOptions;
  /** The `realm` of challenges. By default the audience. */
  readonly realm?: string;
  /** An `access_token` in the query beside the field: 400 `invalid_request` (RFC 6750 §2), or ignored (OAuth 2.1 §5.1). Alone it is never read. */
  readonly queryToken?: 'refuse' | 'ignore';
  /** Called with every decision. For all resources of the process, subscribe to the channel `holdfast:decision`. */
  readonly onEvent?: (event: ResourceEvent) => void;
  /**
   * What events call the route of a request: `GET /accounts/:id`. The path itself may hold identifiers and is in no event but that of
   * `dpop.htu`, up to where it differs, and most frameworks choose the route later, so say it here. Asked only where somebody listens; what is no text, longer than 200 characters,
   * or thrown is left out. Events of `authorize`, which has no request, have none.
   *
   * @example
   * route: ({ method, target }) => `${method} ${target.startsWith('/accounts/') ? '/accounts/:id' : 'other'}`
   */
  readonly route?: (request: ProtectedResourceRequest) => string | undefined;
  /** Fetches metadata and keys. Give your own for a private CA or a proxy. */
  readonly fetch?: Fetch;
  /** The clock, in seconds since 1970. */
  readonly now?: () => EpochSeconds;
}

/** Options checked, copied and complete. */
export interface ResourceSettings extends ExtractOptions {
  readonly issuers: readonly IssuerSettings[];
  readonly issuerFor: IssuerFor | undefined;
  readonly audience: readonly string[];
  readonly certificate: CertificateSource | undefined;
  readonly certificatePolicy: CertificatePolicy | undefined;
  readonly clockTolerance: number;
  readonly cache: CacheLimits | undefined;
  readonly realm: string;
  readonly isRevoked: IsRevoked | undefined;
  readonly decryption: DecryptionOptions | undefined;
  readonly audit: AuditRules | undefined;
  /** Absent where nothing is published. */
  readonly metadata: MetadataSettings | undefined;
  /** Absent where DPoP is not offered. */
  readonly dpop: DpopSettings | undefined;
  readonly credentials: 'required' | 'optional';
  readonly cors: boolean;
  readonly earlyData: 'refuse' | 'accept';
  readonly onEvent: ((event: ResourceEvent) => void) | undefined;
  readonly route: ((request: ProtectedResourceRequest) => unknown) | undefined;
  readonly fetch: Fetch;
  readonly now: () => EpochSeconds;
}

const OPTION_NAMES: Record<keyof ProtectedResourceOptions, true> = {
  issuer: true,
  audience: true,
  issuerFor: true,
  certificate: true,
  certificatePolicy: true,
  ...TOKEN_OPTION_NAMES,
  profiles: true,
  publicUrl: true,
  dpop: true,
  schemes: true,
  credentials: true,
  cors: true,
  earlyData: true,
  clockTolerance: true,
  cache: true,
  metadata: true,
  isRevoked: true,
  decryption: true,
  audit: true,
  realm: true,
  queryToken: true,
  onEvent: true,
  route: true,
  fetch: true,
  now: true,
};

/** Checks options and completes them. Throws one `TypeError` that lists every problem with the option, the value and the fix. */
export function readOptions(given: ProtectedResourceOptions): ResourceSettings {
  const check = new Check();
  const o = check.object('options', given, OPTION_NAMES);
  const audience = readAudience(check, 'audience', o['audience']);
  const profiles = readProfiles(check, o['profiles']);
  const demands = demandsOf(profiles);
  const { dpop, schemes } = readDpop(check, o, audience, demands);
  const issuers = readIssuers(check, o, audience, demands);
  const clockTolerance = check.number('clockTolerance', o['clockTolerance'], 5, 0, 60);
  const now = readClock(check, o['now'], clockTolerance);
  const certificate = check.callable<CertificateSource>(
    'certificate',
    o['certificate'],
    'a certificate source, as fromTls() or nginx({ trust })',
  );
  const decryption = readDecryption(check, o['decryption']);
  const settings: ResourceSettings = {
    issuers,
    issuerFor: check.callable<IssuerFor>(
      'issuerFor',
      o['issuerFor'],
      'a function that takes the request and returns the identifier of a registered issuer',
    ),
    audience,
    certificate,
    certificatePolicy: readCertificatePolicy(check, o['certificatePolicy'], certificate),
    clockTolerance,
    cache: o['cache'] === false ? undefined : readCacheLimits(check, o['cache']),
    isRevoked: check.callable<IsRevoked>('isRevoked', o['isRevoked'], 'a function that takes the token and returns true or false'),
    decryption,
    audit: readAudit(check, o['audit'], demands, now),
    metadata: readMetadata(check, o['metadata'], {
      audience,
      issuers,
      hasTenants: o['issuerFor'] !== undefined,
      certificate: o['certificate'] !== undefined,
      decryptionKeys: decryption?.keys ?? [],
      dpop,
      schemes,
      isMcp: profiles.includes('mcp'),
      now,
    }),
    realm: readRealm(check, o['realm'] === undefined ? audience[0] : o['realm']),
    queryToken: check.oneOf('queryToken', o['queryToken'], ['refuse', 'ignore']),
    schemes,
    dpop,
    credentials: check.oneOf('credentials', o['credentials'], ['required', 'optional']),
    cors: check.flag('cors', o['cors']),
    earlyData: check.oneOf('earlyData', o['earlyData'], ['refuse', 'accept']),
    route: check.callable<(request: ProtectedResourceRequest) => unknown>('route', o['route'], 'a function of the request'),
    onEvent: check.callable<(event: ResourceEvent) => void>('onEvent', o['onEvent'], 'a function'),
    fetch: check.callable<Fetch>('fetch', o['fetch'], 'a function like the global fetch') ?? ((url, init) => fetch(url, init)),
    now,
  };
  check.done();
  if (isOneOfSeveral()) warnOfSeveral(dpop, o['dpop']);
  if (settings.audit !== undefined) warnOfAudit(settings.audit, audience);
  if (demands.knowsRevocation) warnOfRevocation(settings);
  return settings;
}

function readRealm(check: Check, value: unknown): string {
  if (typeof value === 'string' && /^[\x20-\x7e]*$/.test(value)) return value;
  check.wrong('realm', value, 'Give printable ASCII, since it stands in a field');
  return '';
}

/** FAPI 2.0 Security Profile §5.3.4 counts revocation among what makes a token valid. */
function warnOfRevocation({ isRevoked, issuers }: ResourceSettings): void {
  const judgedHere = issuers.filter(({ introspection }) => introspection === undefined || introspection.mode === 'auto');
  if (isRevoked !== undefined || judgedHere.length === 0) return;
  warn(
    `The profile fapi2 asks that a token that was revoked is refused (FAPI 2.0 Security Profile §5.3.4 (3)), and a JWT of ${judgedHere.map(({ issuer }) => issuer).join(', ')} does not tell. Give isRevoked, or introspection with mode always; or have the authorization server issue tokens that live for minutes.`,
  );
}
