import type { JSONWebKeySet } from 'jose';
import type { KeyOrigin } from '../access-token/issuer-keys.ts';
import { isSecureUrl } from '../discovery/metadata.ts';
import { type Check, isObject, stringsIn } from '../check.ts';

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

/**
 * How fetched keys are kept. Times in seconds. Each time that keys are fetched, the metadata is asked first where they are, unless
 * `uri` says it. A set without a key that can verify is a failed fetch where keys are known: those are used, up to `staleFor`.
 */
export interface FetchedKeys {
  /** The JWK set, where it is not to be found by discovery. */
  readonly uri?: string;
  /** Fetched again when this old; a timer is a little ahead. Default 600. */
  readonly freshFor?: number;
  /** Used up to this age while the server is away, or publishes no key that can verify; then 503. Default 3,600; at most 86,400. */
  readonly staleFor?: number;
  /** Unknown keys, and signatures that do not hold, make us look again at most once in this time. Default 30. */
  readonly cooldown?: number;
  /** For one whole answer. Default 5. */
  readonly timeout?: number;
  /** Bytes of one answer. Default 524,288. */
  readonly largest?: number;
}

const FETCHED_KEYS = { freshFor: 600, staleFor: 3600, cooldown: 30, timeout: 5, largest: 512 * 1024 };

const KEY_OPTION_NAMES: Record<keyof GivenJwks | keyof GivenPem | keyof FetchedKeys, true> = {
  jwks: true,
  pem: true,
  uri: true,
  freshFor: true,
  staleFor: true,
  cooldown: true,
  timeout: true,
  largest: true,
};

/** Where keys come from: they are given, or fetched. `at`: what stands before the name of the option. */
export function readKeyOrigin(check: Check, value: unknown, at = ''): KeyOrigin {
  const option = `${at}keys`;
  const given = check.object(option, value === undefined ? {} : value, KEY_OPTION_NAMES);
  const { jwks, pem } = given;
  const names = Object.keys(given).filter((name) => given[name] !== undefined);
  if ((jwks !== undefined || pem !== undefined) && names.length > 1) {
    check.wrong(option, names, 'Give jwks alone, or pem alone, or how fetched keys are kept');
  }
  return readJwks(check, option, jwks) ?? readPem(check, option, pem) ?? readFetchedKeys(check, option, given);
}

function readJwks(check: Check, option: string, jwks: unknown): KeyOrigin | undefined {
  if (jwks === undefined) return undefined;
  const copy = copyOfKeySet(jwks);
  if (copy === undefined) check.wrongKind(`${option}.jwks`, jwks, 'Give a JWK set, { keys: [ … ] }');
  return copy && { jwks: copy };
}

function readPem(check: Check, option: string, pem: unknown): KeyOrigin | undefined {
  if (pem === undefined) return undefined;
  const list = stringsIn(pem);
  const isPublic = list !== undefined && list.length > 0 && list.every((item) => /-----BEGIN (?:PUBLIC KEY|CERTIFICATE)-----/.test(item));
  if (!isPublic) check.wrongKind(`${option}.pem`, pem, 'Give -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----, one or a list');
  return isPublic ? { pem: list } : undefined;
}

function readFetchedKeys(
  check: Check,
  option: string,
  { uri, freshFor, staleFor, cooldown, timeout, largest }: Readonly<Record<string, unknown>>,
): KeyOrigin {
  if (uri !== undefined && !(typeof uri === 'string' && isSecureUrl(uri))) {
    check.wrong(`${option}.uri`, uri, 'Give an https URL (http only on the loopback interface)');
  }
  const fresh = check.number(`${option}.freshFor`, freshFor, FETCHED_KEYS.freshFor, 1, 86_400);
  return {
    uri: typeof uri === 'string' ? uri : undefined,
    freshFor: fresh,
    staleFor: check.number(`${option}.staleFor`, staleFor, Math.max(FETCHED_KEYS.staleFor, fresh), fresh, 86_400),
    cooldown: check.number(`${option}.cooldown`, cooldown, FETCHED_KEYS.cooldown, 1, 3600),
    timeout: check.number(`${option}.timeout`, timeout, FETCHED_KEYS.timeout, 0.1, 60),
    largest: check.whole(`${option}.largest`, largest, FETCHED_KEYS.largest, 1024, 16 * 1024 * 1024),
  };
}

/** What cannot be written as JSON is no JWK set. */
function copyOfKeySet(value: unknown): JSONWebKeySet | undefined {
  if (!isObject(value) || !Array.isArray(value['keys']) || value['keys'].length === 0 || !value['keys'].every(isObject)) return undefined;
  try {
    return JSON.parse(JSON.stringify(value)) as JSONWebKeySet;
  } catch {
    return undefined;
  }
}
