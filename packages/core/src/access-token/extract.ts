import { sha256 } from '#crypto';
import { isRejection, reject, type Rejection, type Scheme } from '../rejection.ts';
import type { ProtectedResourceRequest } from '../request.ts';
import { slot } from '../slot.ts';

/** What the request carried, nothing of it judged. */
export class PresentedToken {
  readonly scheme: Scheme;
  readonly value: string;
  #hash: string | undefined;

  constructor(scheme: Scheme, value: string) {
    this.scheme = scheme;
    this.value = value;
  }

  /** SHA-256 of the token as base64url: by it the token is remembered, and a proof names it (`ath`, RFC 9449 §4.2). */
  get hash(): string {
    this.#hash ??= sha256(this.value);
    return this.#hash;
  }
}

/** The last line of a connection, and what was read in it: clients mostly send the same again. */
const latest = slot<{ readonly line: string; readonly presented: PresentedToken }>();

export interface ExtractOptions {
  /** The schemes that the resource offers. Another one counts as no credentials (RFC 6750 §3.1). */
  readonly schemes: readonly Scheme[];
  /** What an `access_token` in the query means when it stands beside the field. Alone, it is never read. */
  readonly queryToken: 'refuse' | 'ignore';
}

/** Longest access token that is read, in characters. Node's own limit for all fields together is 16 KiB. */
const LONGEST_TOKEN = 16_384;

const SCHEMES: readonly Scheme[] = ['Bearer', 'DPoP'];
const TOKEN68 = /^[A-Za-z0-9\-._~+/]+=*$/;
/** The name of one of our schemes, and not only the beginning of a longer name. */
const SCHEME = /^(?:bearer|dpop)(?![!#$%&'*+\-.^_`|~0-9A-Za-z])/i;
/** Credentials of ours behind a comma: several lines that something on the way has joined. */
const JOINED = /,[ \t]*(bearer|dpop)(?=[ \t]|$)/gi;

/**
 * Reads the access token from the `Authorization` field, the only place that is looked at (RFC 6750 §2.1, RFC 9449 §7.1):
 * exactly one line, a scheme in any case, one or more spaces, one token68.
 */
export function extractAccessToken(request: ProtectedResourceRequest, options: ExtractOptions): PresentedToken | Rejection {
  const lines = request.fieldLines('authorization');
  const [line] = lines;
  if (line === undefined || (lines.length === 1 && line === '')) return reject('request.no_credentials');
  if (lines.length > 1) return reject('request.several_authorizations', { schemes: schemesIn(lines) });

  const presented = readLine(line, request);
  const scheme = isRejection(presented) ? schemeOf(line) : presented.scheme;
  if (scheme !== undefined && !options.schemes.includes(scheme) && joinedSchemes(line).length === 0) {
    return reject('request.unsupported_scheme', { received: scheme });
  }
  if (isRejection(presented)) return presented;
  if (options.queryToken === 'refuse' && hasQueryToken(request.target)) {
    return reject('request.token_in_query', { schemes: [presented.scheme] });
  }
  return presented;
}

/**
 * Whether a request asks for nothing that needs access: a CORS preflight, which browsers send without credentials and which must
 * not be challenged (`OPTIONS` with `Origin` and `Access-Control-Request-Method`; Fetch, §3.3.2); or, where credentials are optional, any
 * that has no `Authorization` field. One that is empty is a mistake of somebody who wanted to send credentials.
 */
export function needsNoAccess(request: ProtectedResourceRequest, credentials: 'required' | 'optional'): boolean {
  if (credentials === 'required' && request.method !== 'OPTIONS') return false;
  if (request.fieldLines('authorization').length > 0) return false;
  const isPreflight =
    request.method === 'OPTIONS' &&
    request.fieldLines('origin').length > 0 &&
    request.fieldLines('access-control-request-method').length > 0;
  return isPreflight || credentials === 'optional';
}

function readLine(line: string, { connection }: ProtectedResourceRequest): PresentedToken | Rejection {
  const last = latest.get(connection);
  if (last?.line === line) return last.presented;
  const presented = readCredentials(line);
  if (!isRejection(presented)) latest.set(connection, { line, presented });
  return presented;
}

function readCredentials(line: string): PresentedToken | Rejection {
  const scheme = schemeOf(line);
  if (scheme === undefined) {
    const joined = joinedSchemes(line);
    return joined.length === 0 ? reject('request.unsupported_scheme') : reject('request.several_authorizations', { schemes: joined });
  }
  let start = scheme.length;
  while (line.charCodeAt(start) === 0x20) start += 1;
  const value = line.slice(start);
  if (start > scheme.length && TOKEN68.test(value)) {
    return value.length <= LONGEST_TOKEN
      ? new PresentedToken(scheme, value)
      : reject('request.token_too_long', {
          schemes: [scheme],
          expected: `at most ${LONGEST_TOKEN} characters`,
          received: `${value.length}`,
        });
  }
  const joined = joinedSchemes(line);
  return joined.length === 0
    ? reject('request.malformed_authorization', { schemes: [scheme] })
    : reject('request.several_authorizations', { schemes: unique([scheme, ...joined]) });
}

/** Both names differ in their first letter, in either case. */
function schemeOf(line: string): Scheme | undefined {
  if (!SCHEME.test(line)) return undefined;
  return (line.charCodeAt(0) | 0x20) === 0x62 ? 'Bearer' : 'DPoP';
}

function joinedSchemes(line: string): Scheme[] {
  return unique([...line.matchAll(JOINED)].map(([, name = '']) => schemeOf(name)));
}

function schemesIn(lines: readonly string[]): Scheme[] {
  return unique(lines.flatMap((line) => [schemeOf(line), ...joinedSchemes(line)]));
}

function unique(schemes: readonly (Scheme | undefined)[]): Scheme[] {
  return SCHEMES.filter((scheme) => schemes.includes(scheme));
}

function hasQueryToken(target: string): boolean {
  const query = target.indexOf('?');
  return query !== -1 && new URLSearchParams(target.slice(query)).has('access_token');
}
