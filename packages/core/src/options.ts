import type { JSONWebKeySet } from 'jose';
import type { CacheLimits } from './access-token/cache.ts';
import type { ExtractOptions } from './access-token/extract.ts';
import type { KeyOrigin } from './access-token/issuers.ts';
import type { CertificateSource } from './certificate/thumbprint.ts';
import type { Fetch } from './discovery/fetch-json.ts';
import { isSecureUrl } from './discovery/metadata.ts';
import type { ResourceEvent } from './events.ts';
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
  /** Sets of further requirements. `rfc9068`: also `sub`, `client_id`, `iat` and `jti` must be there (RFC 9068 §2.2). */
  readonly profiles?: readonly 'rfc9068'[];
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
  readonly onEvent: ((event: ResourceEvent) => void) | undefined;
  readonly fetch: Fetch;
  readonly now: () => EpochSeconds;
}

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA', 'Ed25519'];
const RFC9068_CLAIMS = ['sub', 'client_id', 'iat', 'jti'];
const CACHE: CacheLimits = { entries: 10_000, bytes: 32 * 1024 * 1024, maxAge: 600 };
const FETCHED_KEYS = { freshFor: 600, staleFor: 3600, cooldown: 30, timeout: 5, largest: 512 * 1024 };

/** Checks options and completes them. Throws one `TypeError` that lists every problem with the option, the value and the fix. */
export function readOptions(given: ProtectedResourceOptions): ResourceSettings {
  const check = new Check();
  const o = check.object('options', given, OPTION_NAMES);
  const audience = check.audience(o['audience']);
  const settings: ResourceSettings = {
    issuer: check.issuer(o['issuer']),
    audience,
    certificate: check.callable<CertificateSource>('certificate', o['certificate'], 'a certificate source, as fromTls()'),
    certificateValidity: check.certificatePolicy(o['certificatePolicy']),
    unconstrained: check.oneOf('unconstrained', o['unconstrained'], ['refuse', 'accept']),
    algorithms: check.list('algorithms', o['algorithms'], ALGORITHMS, ALGORITHMS),
    requiredClaims: check.list('profiles', o['profiles'], ['rfc9068'], []).length > 0 ? RFC9068_CLAIMS : [],
    clockTolerance: check.number('clockTolerance', o['clockTolerance'], 5, 0, 60),
    keys: check.keys(o['keys']),
    cache: o['cache'] === false ? undefined : check.cache(o['cache']),
    realm: check.realm(o['realm'] ?? audience[0]),
    queryToken: check.oneOf('queryToken', o['queryToken'], ['refuse', 'ignore']),
    schemes: ['Bearer'],
    onEvent: check.callable<(event: ResourceEvent) => void>('onEvent', o['onEvent'], 'a function'),
    fetch: check.callable<Fetch>('fetch', o['fetch'], 'a function like the global fetch') ?? ((url, init) => fetch(url, init)),
    now: monotone(
      check.callable<() => EpochSeconds>('now', o['now'], 'a function that returns seconds since 1970') ??
        (() => Math.floor(Date.now() / 1000)),
    ),
  };
  check.done();
  return settings;
}

const OPTION_NAMES: Record<keyof ProtectedResourceOptions, true> = {
  issuer: true,
  audience: true,
  certificate: true,
  certificatePolicy: true,
  unconstrained: true,
  algorithms: true,
  profiles: true,
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
