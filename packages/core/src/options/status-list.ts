import { keysOfIssuer } from '../access-token/issuer-keys.ts';
import type { StatusListSettings } from '../access-token/status-list.ts';
import { type StatusIssuer, TOLERANCE } from '../access-token/status-list-token.ts';
import { Check } from '../check.ts';
import type { Fetch } from '../discovery/fetch-json.ts';
import { isSecureUrl } from '../discovery/metadata.ts';
import type { EpochSeconds } from '../request.ts';
import { readClock } from './clock.ts';
import { ALGORITHMS, readIssuer } from './issuers.ts';
import { type FetchedKeys, type GivenJwks, type GivenPem, readKeyOrigin } from './keys.ts';

/** An issuer whose access tokens point to status lists. */
export interface StatusListIssuer {
  /** The issuer identifier, as for the resource. Its keys sign the lists. */
  readonly issuer: string;
  /** Keys that are given, or how fetched ones are kept. By default they are found by discovery. */
  readonly keys?: GivenJwks | GivenPem | FetchedKeys;
  /** Origins that its lists may be at, as `https://status.example.com`. By default that of the issuer alone. */
  readonly origins?: readonly string[];
}

/** Where status lists come from, and how they are kept. Times in seconds. */
export interface StatusListOptions {
  /** The issuers whose lists are asked: all that the resource trusts. A token of another is 503. */
  readonly issuers: readonly StatusListIssuer[];
  /** What becomes of a token that points to no list: 401 by default. */
  readonly withoutStatus?: 'refuse' | 'accept';
  /** A list is fetched again when it is this old: how late a revocation may be noticed. Default 300. */
  readonly maxAge?: number;
  /** For one whole answer. Default 5. */
  readonly timeout?: number;
  /** Bytes of one answer. Default 1,048,576. */
  readonly largest?: number;
  /** Bytes of one list when it is inflated. Default 4,194,304. */
  readonly largestList?: number;
  /** Fetches lists, metadata and keys. Give your own for a private CA or a proxy. */
  readonly fetch?: Fetch;
  /** The clock, in seconds since 1970. */
  readonly now?: () => EpochSeconds;
}

const NAMES: Record<keyof StatusListOptions, true> = {
  issuers: true,
  withoutStatus: true,
  maxAge: true,
  timeout: true,
  largest: true,
  largestList: true,
  fetch: true,
  now: true,
};

/** Checks options and completes them. Throws one `TypeError` that lists every problem. */
export function readStatusList(given: StatusListOptions): StatusListSettings {
  const check = new Check();
  const o = check.object('options', given, NAMES);
  const now = readClock(check, o['now'], TOLERANCE);
  const own = check.callable<Fetch>('fetch', o['fetch'], 'a function like the global fetch') ?? ((url, init) => fetch(url, init));
  const { issuers } = o;
  const list: readonly unknown[] = Array.isArray(issuers) ? issuers : [];
  if (list.length === 0) check.wrongKind('issuers', issuers, "Give a list of issuers, as [{ issuer: 'https://as.example.com' }]");
  const read = list.map((one, index) => readStatusIssuer(check, one, `issuers[${index}].`, own, now));
  const settings = {
    withoutStatus: check.oneOf('withoutStatus', o['withoutStatus'], ['refuse', 'accept']),
    maxAge: check.number('maxAge', o['maxAge'], 300, 1, 86_400),
    timeout: check.number('timeout', o['timeout'], 5, 0.1, 60),
    largest: check.whole('largest', o['largest'], 1024 * 1024, 1024, 16 * 1024 * 1024),
    largestList: check.whole('largestList', o['largestList'], 4 * 1024 * 1024, 1024, 64 * 1024 * 1024),
  };
  check.done();
  return { ...settings, issuers: read.map((make) => make()), algorithms: ALGORITHMS, fetch: own, now };
}

/** The issuer is made when everything is known to be right. */
function readStatusIssuer(check: Check, given: unknown, at: string, fetch: Fetch, now: () => EpochSeconds): () => StatusIssuer {
  const o = check.object(at.slice(0, -1), given, { issuer: true, keys: true, origins: true });
  const issuer = readIssuer(check, `${at}issuer`, o['issuer']);
  const keys = readKeyOrigin(check, o['keys'], at);
  const { origins } = o;
  const named: readonly unknown[] = Array.isArray(origins) ? origins : [];
  const isOrigin = (one: unknown): one is string => typeof one === 'string' && isSecureUrl(one) && new URL(one).origin === one;
  if (origins !== undefined && (named.length === 0 || !named.every(isOrigin))) {
    check.wrong(`${at}origins`, origins, "Give a list of origins, as 'https://status.example.com', without a path");
  }
  return () => ({
    issuer,
    origins: origins === undefined ? [new URL(issuer).origin] : named.filter(isOrigin),
    keys: keysOfIssuer({ issuer, audience: [], keys, fetch, now }),
  });
}
