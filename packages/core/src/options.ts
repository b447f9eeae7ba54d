import type { JSONWebKeySet } from 'jose';
import type { CacheLimits } from './access-token/cache.ts';
import type { ExtractOptions } from './access-token/extract.ts';
import type { KeyOrigin } from './access-token/issuers.ts';
import type { CertificateSource } from './certificate/thumbprint.ts';
import type { DpopSettings } from './confirmation/dpop.ts';
import { type PublicOrigin, readOrigin } from './confirmation/htu.ts';
import { hmacNonces, type NonceSource, nonceSecret } from './confirmation/nonce.ts';
import type { Fetch } from './discovery/fetch-json.ts';
import { isSecureUrl } from './discovery/metadata.ts';
import { isOneOfSeveral, type ResourceEvent, warn } from './events.ts';
import type { Scheme } from './rejection.ts';
import { memoryReplayStore } from './replay/memory.ts';
import type { ReplayStore } from './replay/replay-store.ts';
import type { EpochSeconds } from './request.ts';

/** What an API says about itself, once. Every problem in it is reported in one `TypeError` when the resource is made. */
export interface ProtectedResourceOptions {
  /**
   * The issuer identifier of the authorization server, character by character as in its tokens (`iss`). Its metadata and keys
   * are found from it (RFC 8414, OpenID Connect Discovery). An https URL; http only on the loopback interface.
   */
  readonly issuer: string;
  /** What `aud` of a token must contain: the identifier of this API, or several. Compared exactly. */
  readonly audience: string | readonly string[];
  /** Where the certificate of the client comes from: {@link fromTls} where TLS ends in this process. Without one, certificate-bound tokens are refused. */
  readonly certificate?: CertificateSource;
  /** What a certificate must satisfy besides being the one in the token. `validity`: not expired, and valid already. Off by default (RFC 8705 §6.2). */
  readonly certificatePolicy?: { readonly validity: true };
  /** What becomes of a token without `cnf`, which anybody can use who has it: 401 `invalid_token` by default. */
  readonly unconstrained?: 'refuse' | 'accept';
  /** `alg` values of access tokens. By default ES, PS and RS with 256, 384 and 512 bits, EdDSA and Ed25519. */
  readonly algorithms?: readonly string[];
  /**
   * Sets of further requirements; of several, the strictest holds. `rfc9068`: also `sub`, `client_id`, `iat` and `jti` must be
   * there (RFC 9068 §2.2). `fapi2`: bound tokens only; ES256, PS256, EdDSA and Ed25519 only; proofs at most 60 s old and 10 s
   * early; a replay store that all instances share. `mcp`: proofs at most 300 s old or early.
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
  /** Keys that are given, or how fetched ones are kept. */
  readonly keys?: GivenJwks | GivenPem | FetchedKeys;
  /** Tokens that passed are remembered, but never what depends on the request. `false` judges each anew. */
  readonly cache?: false | Partial<CacheLimits>;
  /** The `realm` of challenges. By default the audience. */
  readonly realm?: string;
  /** An `access_token` in the query beside the field: 400 `invalid_request` (RFC 6750 §2), or ignored (OAuth 2.1 §5.1). Alone it is never read. */
  readonly queryToken?: 'refuse' | 'ignore';
  /** Called with every decision. For all resources of the process, subscribe to the channel `holdfast:decision`. */
  readonly onEvent?: (event: ResourceEvent) => void;
  /** Fetches metadata and keys. Give your own for a private CA or a proxy. */
  readonly fetch?: Fetch;
  /** The clock, in seconds since 1970. */
  readonly now?: () => EpochSeconds;
}

/** A name in `profiles`. */
export type ProfileName = 'rfc9068' | 'fapi2' | 'mcp';

/** How DPoP proofs are judged. Times in seconds. */
export interface DpopOptions {
  /** `alg` values of proofs, in the order of the challenge. By default ES and PS with 256, 384 and 512 bits, EdDSA and Ed25519; RS256 can be added. */
  readonly algorithms?: readonly string[];
  /** How far `iat` may lie in the past (default 300, at most 3,600) and in the future (default 60, at most 300). */
  readonly window?: { readonly past?: number; readonly future?: number };
  /**
   * Whether every proof must have a nonce of ours (RFC 9449 §9). `required` makes a secret for this process; several instances
   * need the same `secrets`. By default `off`, and a nonce in a proof is ignored.
   */
  readonly nonce?: 'off' | 'required' | NonceOptions;
  /** The nonce tells the age of a proof, and `iat` is not judged: for clients with wrong clocks. Needs `nonce`. */
  readonly nonceReplacesIat?: boolean;
  /** Where used proofs are remembered. By default in the memory of this process; `false` lets a proof be used again in its window. */
  readonly replay?: false | ReplayStore;
}

/** Nonces that several instances know. */
export interface NonceOptions {
  /** One or two, of 32 bytes at least, text or bytes. The first makes nonces, both are accepted: to rotate, put a new one before the old. */
  readonly secrets: readonly (string | Uint8Array)[];
  /** Seconds after which there is another nonce; one is accepted for this long at least, and twice at most. Default 120. */
  readonly rotation?: number;
}

/** Members that must not stand beside the others. */
type Without<Name extends string> = { readonly [_ in Name]?: never };

/** Keys as a JWK set (RFC 7517 §5): nothing is fetched. */
export interface GivenJwks extends Without<'pem' | keyof FetchedKeys> {
  readonly jwks: JSONWebKeySet;
}

/** Keys as PEM public keys or certificates: nothing is fetched. */
export interface GivenPem extends Without<'jwks' | keyof FetchedKeys> {
  readonly pem: string | readonly string[];
}

/** How fetched keys are kept. Times in seconds. */
export interface FetchedKeys {
  /** The JWK set, where it is not to be found by discovery. */
  readonly uri?: string;
  /** Fetched again when this old; a timer is a little ahead. Default 600. */
  readonly freshFor?: number;
  /** Used up to this age while the server is away, then 503. Default 3,600; at most 86,400. */
  readonly staleFor?: number;
  /** Unknown keys make us look again at most once in this time. Default 30. */
  readonly cooldown?: number;
  /** For one whole answer. Default 5. */
  readonly timeout?: number;
  /** Bytes of one answer. Default 524,288. */
  readonly largest?: number;
}

/** Options checked, copied and complete. */
export interface ResourceSettings extends ExtractOptions {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly certificate: CertificateSource | undefined;
  readonly certificateValidity: boolean;
  readonly unconstrained: 'refuse' | 'accept';
  readonly algorithms: readonly string[];
  readonly requiredClaims: readonly string[];
  readonly clockTolerance: number;
  readonly keys: KeyOrigin;
  readonly cache: CacheLimits | undefined;
  readonly realm: string;
  /** Absent where DPoP is not offered. */
  readonly dpop: DpopSettings | undefined;
  readonly credentials: 'required' | 'optional';
  readonly cors: boolean;
  readonly earlyData: 'refuse' | 'accept';
  readonly onEvent: ((event: ResourceEvent) => void) | undefined;
  readonly fetch: Fetch;
  readonly now: () => EpochSeconds;
}

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA', 'Ed25519'];
const PROOF_ALGORITHMS = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519'];
const PROOF_WINDOW = { past: 300, future: 60 };
const WIDEST_PROOF_WINDOW = { past: 3600, future: 300 };
const NONCE_ROTATION = 120;
const LEAST_SECRET = 32;

/** What a profile asks for; what it does not name is as without it. */
interface Profile {
  readonly claims?: readonly string[];
  readonly algorithms?: readonly string[];
  readonly window?: { readonly past: number; readonly future: number };
  readonly boundTokens?: true;
  readonly sharedReplay?: true;
}

const PROFILES: Readonly<Record<ProfileName, Profile>> = {
  rfc9068: { claims: ['sub', 'client_id', 'iat', 'jti'] },
  // FAPI 2.0 Security Profile §5.3.4, §5.4.1, §5.3.2.1
  fapi2: {
    algorithms: ['ES256', 'PS256', 'EdDSA', 'Ed25519'],
    window: { past: 60, future: 10 },
    boundTokens: true,
    sharedReplay: true,
  },
  mcp: { window: { past: 300, future: 300 } },
};

/** What several profiles ask for together. */
interface Demands {
  readonly claims: readonly string[];
  readonly allows: (algorithm: string) => boolean;
  readonly window: { readonly past: number; readonly future: number };
  readonly boundTokens: boolean;
  readonly sharedReplay: boolean;
}

function demandsOf(names: readonly ProfileName[]): Demands {
  const profiles = names.map((name) => PROFILES[name]);
  return {
    claims: profiles.flatMap(({ claims = [] }) => claims),
    allows: (algorithm) => profiles.every(({ algorithms }) => algorithms === undefined || algorithms.includes(algorithm)),
    window: {
      past: Math.min(WIDEST_PROOF_WINDOW.past, ...profiles.map(({ window = WIDEST_PROOF_WINDOW }) => window.past)),
      future: Math.min(WIDEST_PROOF_WINDOW.future, ...profiles.map(({ window = WIDEST_PROOF_WINDOW }) => window.future)),
    },
    boundTokens: profiles.some(({ boundTokens }) => boundTokens),
    sharedReplay: profiles.some(({ sharedReplay }) => sharedReplay),
  };
}

const CACHE: CacheLimits = { entries: 10_000, bytes: 32 * 1024 * 1024, maxAge: 600 };
const FETCHED_KEYS = { freshFor: 600, staleFor: 3600, cooldown: 30, timeout: 5, largest: 512 * 1024 };

/** Checks options and completes them. Throws one `TypeError` that lists every problem with the option, the value and the fix. */
export function readOptions(given: ProtectedResourceOptions): ResourceSettings {
  const check = new Check();
  const o = check.object('options', given, OPTION_NAMES);
  const audience = check.audience(o['audience']);
  const demands = demandsOf(check.profiles(o['profiles']));
  const allowed = ALGORITHMS.filter(demands.allows);
  const { dpop, schemes } = check.dpop(o, audience, demands);
  const settings: ResourceSettings = {
    issuer: check.issuer(o['issuer']),
    audience,
    certificate: check.callable<CertificateSource>('certificate', o['certificate'], 'a certificate source, as fromTls()'),
    certificateValidity: check.certificatePolicy(o['certificatePolicy']),
    unconstrained: check.oneOf('unconstrained', o['unconstrained'], demands.boundTokens ? ['refuse'] : ['refuse', 'accept']),
    algorithms: check.list('algorithms', o['algorithms'], allowed, allowed),
    requiredClaims: demands.claims,
    clockTolerance: check.number('clockTolerance', o['clockTolerance'], 5, 0, 60),
    keys: check.keys(o['keys']),
    cache: o['cache'] === false ? undefined : check.cache(o['cache']),
    realm: check.realm(o['realm'] ?? audience[0]),
    queryToken: check.oneOf('queryToken', o['queryToken'], ['refuse', 'ignore']),
    schemes,
    dpop,
    credentials: check.oneOf('credentials', o['credentials'], ['required', 'optional']),
    cors: check.flag('cors', o['cors']),
    earlyData: check.oneOf('earlyData', o['earlyData'], ['refuse', 'accept']),
    onEvent: check.callable<(event: ResourceEvent) => void>('onEvent', o['onEvent'], 'a function'),
    fetch: check.callable<Fetch>('fetch', o['fetch'], 'a function like the global fetch') ?? ((url, init) => fetch(url, init)),
    now: monotone(
      check.callable<() => EpochSeconds>('now', o['now'], 'a function that returns seconds since 1970') ??
        (() => Math.floor(Date.now() / 1000)),
    ),
  };
  check.done();
  if (isOneOfSeveral()) warnOfSeveral(settings, o['dpop']);
  return settings;
}

/** What one process keeps for itself while others answer the same clients. */
function warnOfSeveral({ dpop }: ResourceSettings, given: unknown): void {
  if (dpop?.replay?.perProcess === true) {
    warn(
      'Proofs that were used are remembered in this process alone, and it is one of several (node:cluster): a proof can be used once in each. Give a store that they share: dpop.replay.',
    );
  }
  if (dpop?.nonces !== undefined && typeof given === 'object' && given !== null && 'nonce' in given && given.nonce === 'required') {
    warn(
      'Nonces are made with a secret of this process alone, and it is one of several (node:cluster): one refuses what another gave. Give all the same: dpop.nonce.secrets.',
    );
  }
}

const OPTION_NAMES: Record<keyof ProtectedResourceOptions, true> = {
  issuer: true,
  audience: true,
  certificate: true,
  certificatePolicy: true,
  unconstrained: true,
  algorithms: true,
  profiles: true,
  publicUrl: true,
  dpop: true,
  schemes: true,
  credentials: true,
  cors: true,
  earlyData: true,
  clockTolerance: true,
  keys: true,
  cache: true,
  realm: true,
  queryToken: true,
  onEvent: true,
  fetch: true,
  now: true,
};

/** What was fresh once stays used up: a clock that is set back does not bring anything back to life. */
function monotone(now: () => EpochSeconds): () => EpochSeconds {
  let latest = Number.NEGATIVE_INFINITY;
  return () => {
    const value = now();
    if (!Number.isFinite(value)) throw new TypeError('now: did not return a finite number of seconds.');
    latest = Math.max(latest, value);
    return latest;
  };
}

/** Reads values that may be anything, notes each problem, and goes on, so that all of them are told at once. */
class Check {
  readonly #problems: string[] = [];

  done(): void {
    const count = this.#problems.length;
    if (count === 0) return;
    throw new TypeError(
      `Holdfast cannot start: ${count} ${count === 1 ? 'option is' : 'options are'} wrong.\n${this.#problems.map((problem) => `- ${problem}`).join('\n')}`,
    );
  }

  #wrong(option: string, value: unknown, fix: string): void {
    this.#problems.push(`${option}: ${value === undefined ? 'is missing' : `is ${shown(value)}`}. ${fix}.`);
  }

  object(option: string, value: unknown, known: Record<string, true>): Readonly<Record<string, unknown>> {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#wrong(option, value, `Give an object with ${Object.keys(known).join(', ')}`);
      return {};
    }
    for (const name of Object.keys(value)) {
      if (!Object.hasOwn(known, name))
        this.#problems.push(
          `${option === 'options' ? '' : `${option}.`}${name}: is no option. There are: ${Object.keys(known).join(', ')}.`,
        );
    }
    return value as Record<string, unknown>;
  }

  issuer(value: unknown): string {
    const isIssuer = typeof value === 'string' && isSecureUrl(value) && !/[?#]/.test(value);
    if (!isIssuer) {
      this.#wrong(
        'issuer',
        value,
        "Give the authorization server's issuer identifier, an https URL without query and fragment (http only on the loopback interface), as 'https://as.example.com'",
      );
      return '';
    }
    return value;
  }

  audience(value: unknown): readonly string[] {
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (list.length === 0 || !list.every((item) => typeof item === 'string' && item !== '')) {
      this.#wrong(
        'audience',
        value,
        "Say which resource tokens must be for (aud), as 'https://api.example.com'; accepting tokens for any resource is not possible",
      );
      return [''];
    }
    return list as string[];
  }

  realm(value: unknown): string {
    if (typeof value !== 'string' || !/^[\x20-\x7e]*$/.test(value)) {
      this.#wrong('realm', value, 'Give printable ASCII, since it stands in a field');
      return '';
    }
    return value;
  }

  certificatePolicy(value: unknown): boolean {
    if (value === undefined) return false;
    const { validity } = this.object('certificatePolicy', value, { validity: true });
    if (validity !== true) this.#wrong('certificatePolicy.validity', validity, 'Give true, or leave certificatePolicy out');
    return true;
  }

  profiles(value: unknown): readonly ProfileName[] {
    const names = Object.keys(PROFILES) as ProfileName[];
    const given = this.list('profiles', value, names, []);
    return names.filter((name) => given.includes(name));
  }

  /** DPoP, and the schemes that are offered with or without it. */
  dpop(
    o: Readonly<Record<string, unknown>>,
    audience: readonly string[],
    demands: Demands,
  ): { dpop: DpopSettings | undefined; schemes: readonly Scheme[] } {
    const { dpop: given, schemes: asked } = o;
    const origins = this.#origins(o['publicUrl'], audience);
    const schemes = this.list('schemes', asked, ['Bearer', 'DPoP'], ['Bearer', 'DPoP']) as readonly Scheme[];
    const wanted = asked === undefined ? given !== undefined && given !== false : schemes.includes('DPoP');
    const on = given !== false && schemes.includes('DPoP') && (origins.length > 0 || wanted);
    if (given === false && asked !== undefined && wanted) this.#wrong('dpop', given, 'Leave it out, or take DPoP out of schemes');
    if (given !== undefined && given !== false && !schemes.includes('DPoP')) this.#wrong('schemes', asked, 'Add DPoP, or set dpop: false');
    if (wanted && given !== false && origins.length === 0 && o['publicUrl'] === undefined) {
      this.#wrong(
        'publicUrl',
        undefined,
        "DPoP proofs name the URI they are for. Say where clients reach this API, as 'https://api.example.com'",
      );
    }
    if (!on) {
      if (given !== undefined && typeof given !== 'boolean') this.object('dpop', given, DPOP_OPTION_NAMES);
      return { dpop: undefined, schemes: schemes.filter((scheme) => scheme !== 'DPoP') };
    }
    const options = typeof given === 'boolean' || given === undefined ? {} : this.object('dpop', given, DPOP_OPTION_NAMES);
    const resource = JSON.stringify(audience);
    const nonces = this.#nonces(options['nonce'], resource);
    const nonceReplacesIat = this.flag('dpop.nonceReplacesIat', options['nonceReplacesIat']);
    if (nonceReplacesIat && nonces === undefined) this.#wrong('dpop.nonceReplacesIat', true, "Require nonces too: dpop.nonce: 'required'");
    const replay = this.#replay(options['replay'], demands);
    return {
      schemes: schemes.includes('Bearer') ? ['Bearer', 'DPoP'] : ['DPoP'],
      dpop: {
        algorithms: this.list(
          'dpop.algorithms',
          options['algorithms'],
          [...PROOF_ALGORITHMS, 'RS256'].filter(demands.allows),
          PROOF_ALGORITHMS.filter(demands.allows),
        ),
        window: this.#window(options['window'], demands),
        nonces,
        nonceReplacesIat,
        replay,
        origins,
        resource,
      },
    };
  }

  #origins(value: unknown, audience: readonly string[]): readonly PublicOrigin[] {
    if (value === undefined) return unique(audience.flatMap((uri) => (isSecureUrl(uri) ? [new URL(uri).origin] : []))).flatMap(originOf);
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const origins = list.map((url) => (typeof url === 'string' && isSecureUrl(url) ? readOrigin(url) : undefined));
    if (origins.length === 0 || origins.includes(undefined)) {
      this.#wrong(
        'publicUrl',
        value,
        "Give the https URL under which clients reach this API, or several, as 'https://api.example.com', with a path only where the edge strips it, without user, query and fragment (http only on the loopback interface)",
      );
      return [];
    }
    return origins.filter((origin) => origin !== undefined);
  }

  #window(value: unknown, demands: Demands): { past: number; future: number } {
    const { past, future } = this.object('dpop.window', value ?? {}, { past: true, future: true });
    const widest = demands.window;
    return {
      past: this.number('dpop.window.past', past, Math.min(PROOF_WINDOW.past, widest.past), 1, widest.past),
      future: this.number('dpop.window.future', future, Math.min(PROOF_WINDOW.future, widest.future), 0, widest.future),
    };
  }

  #nonces(value: unknown, resource: string): NonceSource | undefined {
    if (value === undefined || value === 'off') return undefined;
    if (value === 'required') return hmacNonces({ secrets: [nonceSecret()], rotation: NONCE_ROTATION, resource });
    if (typeof value !== 'object') {
      this.#wrong('dpop.nonce', value, "Give 'off', 'required', or { secrets: [ … ] } for several instances");
      return undefined;
    }
    const { secrets, rotation } = this.object('dpop.nonce', value, { secrets: true, rotation: true });
    const list: unknown[] = Array.isArray(secrets) ? secrets : [];
    const bytes = list.flatMap((secret) =>
      typeof secret === 'string' ? [new TextEncoder().encode(secret)] : secret instanceof Uint8Array ? [Uint8Array.from(secret)] : [],
    );
    const fits = bytes.length === list.length && (list.length === 1 || list.length === 2);
    if (!fits || bytes.some(({ length }) => length < LEAST_SECRET)) {
      // What was given is not shown: it is secret.
      this.#problems.push(`dpop.nonce.secrets: are not usable. Give one or two, of ${LEAST_SECRET} bytes at least: text or Uint8Array.`);
    }
    return hmacNonces({ secrets: bytes, rotation: this.number('dpop.nonce.rotation', rotation, NONCE_ROTATION, 10, 3600), resource });
  }

  #replay(value: unknown, { sharedReplay }: Demands): ReplayStore | undefined {
    if (value !== undefined && value !== false && !isReplayStore(value)) {
      this.#wrong('dpop.replay', value, 'Give a replay store, as memoryReplayStore(), or false');
      return undefined;
    }
    if (sharedReplay && (value === undefined || value === false || value.perProcess === true)) {
      this.#wrong(
        'dpop.replay',
        value,
        'The profile fapi2 demands a store that all instances share. Give one, or set dpop: false for mutual TLS alone',
      );
    }
    return value === undefined ? memoryReplayStore() : value === false ? undefined : value;
  }

  flag(option: string, value: unknown): boolean {
    if (value !== undefined && typeof value !== 'boolean') this.#wrong(option, value, 'Give true or false');
    return value === true;
  }

  /** What a function takes and returns cannot be checked here: `T` is the documented shape. */
  callable<T>(option: string, value: unknown, what: string): T | undefined {
    if (value !== undefined && typeof value !== 'function') this.#wrong(option, value, `Give ${what}`);
    return typeof value === 'function' ? (value as T) : undefined;
  }

  oneOf<T extends string>(option: string, value: unknown, [first, ...others]: readonly [T, ...T[]]): T {
    const found = [first, ...others].find((allowed) => allowed === value);
    if (found === undefined && value !== undefined)
      this.#wrong(option, value, `Give ${[first, ...others].map((allowed) => `'${allowed}'`).join(' or ')}`);
    return found ?? first;
  }

  list(option: string, value: unknown, allowed: readonly string[], fallback: readonly string[]): readonly string[] {
    if (value === undefined) return fallback;
    if (!Array.isArray(value) || value.length === 0 || !value.every((item) => allowed.includes(item))) {
      this.#wrong(option, value, `Give a list of some of ${allowed.join(', ')}`);
      return fallback;
    }
    return [...(value as string[])];
  }

  number(option: string, value: unknown, fallback: number, least: number, most: number): number {
    if (value === undefined) return fallback;
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      this.#wrong(option, value, `Give a number from ${least} to ${most}`);
      return fallback;
    }
    return value;
  }

  cache(value: unknown): CacheLimits {
    const { entries, bytes, maxAge } = this.object('cache', value ?? {}, { entries: true, bytes: true, maxAge: true });
    return {
      entries: this.number('cache.entries', entries, CACHE.entries, 1, 10_000_000),
      bytes: this.number('cache.bytes', bytes, CACHE.bytes, 65_536, 2 ** 40),
      maxAge: this.number('cache.maxAge', maxAge, CACHE.maxAge, 1, 86_400),
    };
  }

  keys(value: unknown): KeyOrigin {
    const known = {
      jwks: true,
      pem: true,
      uri: true,
      freshFor: true,
      staleFor: true,
      cooldown: true,
      timeout: true,
      largest: true,
    } as const;
    const given = this.object('keys', value ?? {}, known);
    const { jwks, pem, uri } = given;
    if ((jwks !== undefined || pem !== undefined) && Object.keys(given).length > 1) {
      this.#wrong('keys', Object.keys(given), 'Give jwks alone, or pem alone, or how fetched keys are kept');
    }
    if (jwks !== undefined) {
      if (!isKeySet(jwks)) this.#wrong('keys.jwks', jwks, 'Give a JWK set, { keys: [ … ] }');
      else return { jwks: structuredClone(jwks) };
    }
    if (pem !== undefined) {
      const list: unknown[] = Array.isArray(pem) ? pem : [pem];
      if (list.length === 0 || !list.every((item) => typeof item === 'string' && /-----BEGIN (?:PUBLIC KEY|CERTIFICATE)-----/.test(item))) {
        this.#problems.push(
          'keys.pem: is no PEM public key. Give -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----, one or a list.',
        );
      } else return { pem: list as string[] };
    }
    if (uri !== undefined && !(typeof uri === 'string' && isSecureUrl(uri)))
      this.#wrong('keys.uri', uri, 'Give an https URL (http only on the loopback interface)');
    const freshFor = this.number('keys.freshFor', given['freshFor'], FETCHED_KEYS.freshFor, 1, 86_400);
    return {
      uri: typeof uri === 'string' ? uri : undefined,
      freshFor,
      staleFor: this.number('keys.staleFor', given['staleFor'], Math.max(FETCHED_KEYS.staleFor, freshFor), freshFor, 86_400),
      cooldown: this.number('keys.cooldown', given['cooldown'], FETCHED_KEYS.cooldown, 1, 3600),
      timeout: this.number('keys.timeout', given['timeout'], FETCHED_KEYS.timeout, 0.1, 60),
      largest: this.number('keys.largest', given['largest'], FETCHED_KEYS.largest, 1024, 16 * 1024 * 1024),
    };
  }
}

const DPOP_OPTION_NAMES: Record<keyof DpopOptions, true> = {
  algorithms: true,
  window: true,
  nonce: true,
  nonceReplacesIat: true,
  replay: true,
};

function isReplayStore(value: unknown): value is ReplayStore {
  return typeof value === 'object' && value !== null && 'firstUse' in value && typeof value.firstUse === 'function';
}

function originOf(url: string): PublicOrigin[] {
  const origin = readOrigin(url);
  return origin === undefined ? [] : [origin];
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

function isKeySet(value: unknown): value is JSONWebKeySet {
  return typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys) && value.keys.length > 0;
}

/** A value as it is named in a problem: its beginning, and never what stands inside an object. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (Array.isArray(value)) return `[${value.map(shown).join(', ')}]`;
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}
