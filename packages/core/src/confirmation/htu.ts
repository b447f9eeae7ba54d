import type { ProtectedResourceRequest } from '../request.ts';

/** Where clients reach this resource, as configuration says: never as a request says. */
export interface PublicOrigin {
  /** Scheme and authority, normalised: `https://api.example.com`. */
  readonly origin: string;
  /** The path that the edge strips before it hands a request on, without a final slash; mostly empty. */
  readonly prefix: string;
}

/** The origin that a URL of the configuration names; `undefined` where it has more than scheme, authority and path. */
export function readOrigin(url: string): PublicOrigin | undefined {
  const uri = /[?#]/.test(url) ? undefined : normaliseTargetUri(url);
  if (uri === undefined) return undefined;
  const path = uri.indexOf('/', uri.indexOf('//') + 2);
  return { origin: uri.slice(0, path), prefix: uri.slice(path).replace(/\/$/, '') };
}

const ABSOLUTE = /^(https?):\/\/([^/?#]*)([^?#]*)/i;
const AUTHORITY = /^(\[[0-9a-f:.]+\]|(?:[a-z0-9\-._~!$&'()*+,;=]|%[0-9a-f]{2}|[^\0-\x7f])+)(?::(\d{0,5}))?$/i;
const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };
/** Visible ASCII without what begins a query or a fragment, and no backslash: browsers read it as a slash. */
const PATH = /^[!"$->@-[\]-~]*$/;
const LONGEST_URI = 8_192;
/** Clients resolve them before they send a target (RFC 3986 §5.2.4); a router that does not would take one path for another. */
const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|$)/i;
/** As DNS has it. What turns a name in Unicode into A-labels takes the square of its length. */
const LONGEST_HOST = 255;
const LONGEST_PORT = 5;

/**
 * A target URI without query and fragment, normalised as RFC 3986 §6.2.2 and §6.2.3 say: case of scheme, host and percent
 * triplets, triplets that need none, dot segments, the default port, an empty path. Significant stay the case of the path, a
 * final slash, `//` and `%2F`. `undefined` for what is no absolute http(s) URI, has user information, holds a backslash,
 * white space or raw text that is not ASCII (in a host it is turned into A-labels), or is too long: at most 8,192
 * characters, and 255 of host.
 *
 * On strings, and not with `URL`, which rewrites what must stay (backslashes, IPv4 forms) and leaves what must not (`%7E`).
 */
export function normaliseTargetUri(uri: string): string | undefined {
  const [, scheme, authority, path] = (uri.length <= LONGEST_URI && ABSOLUTE.exec(uri)) || [];
  if (scheme === undefined || authority === undefined || path === undefined || !PATH.test(path)) return undefined;
  const origin = normaliseOrigin(scheme.toLowerCase(), authority);
  return origin === undefined ? undefined : origin + normalisePath(path);
}

function normaliseOrigin(scheme: string, authority: string): string | undefined {
  const read = readAuthority(authority);
  return read && originOf(scheme, read);
}

interface Authority {
  readonly host: string;
  /** Empty where there is none. */
  readonly port: string;
}

function readAuthority(authority: string): Authority | undefined {
  const [, name, port = ''] = (authority.length <= LONGEST_HOST + 1 + LONGEST_PORT && AUTHORITY.exec(authority)) || [];
  const host = name === undefined || name.length > LONGEST_HOST ? undefined : normaliseHost(name);
  return host === undefined ? undefined : { host, port };
}

function originOf(scheme: string, { host, port }: Authority): string {
  return `${scheme}://${host}${port === '' || port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}`;
}

function normaliseHost(name: string): string | undefined {
  const isLiteral = name.startsWith('[');
  if (!isLiteral && /^[\0-\x7f]*$/.test(name)) return normaliseTriplets(name).toLowerCase();
  // Only the two forms that strings do not settle: an IPv6 address has many spellings, and so has a name in Unicode.
  try {
    return new URL(`https://${name}/`).hostname;
  } catch {
    return undefined;
  }
}

function normalisePath(path: string): string {
  if (path === '') return '/';
  const written = path.includes('%') ? normaliseTriplets(path) : path;
  return written.includes('/.') ? removeDotSegments(written) : written;
}

/** Letters, digits, `-`, `.`, `_` and `~` need no triplet; in others the digits are upper case. What is no triplet stays. */
function normaliseTriplets(text: string): string {
  return text.replace(/%[0-9a-f]{2}/gi, (triplet) => {
    const character = String.fromCharCode(Number.parseInt(triplet.slice(1), 16));
    return /[A-Za-z0-9\-._~]/.test(character) ? character : triplet.toUpperCase();
  });
}

/** RFC 3986 §5.2.4; empty segments are segments. */
function removeDotSegments(path: string): string {
  const kept: string[] = [];
  const segments = path.split('/').slice(1);
  for (const [index, segment] of segments.entries()) {
    const dots = segment === '.' || segment === '..';
    if (segment === '..') kept.pop();
    if (!dots) kept.push(segment);
    else if (index === segments.length - 1) kept.push('');
  }
  return `/${kept.join('/')}`;
}

/**
 * Whether `htu` names the target of the request, by RFC 9449 §4.3 (9): `undefined` where it does; else the target URIs that it
 * should have named, as {@link difference} shows them. With one origin `Host` is not looked at, since behind an edge it is often an
 * internal name; with several, where it names one of them, `htu` must name that one.
 */
export function mismatchedTarget(
  htu: string,
  request: ProtectedResourceRequest,
  origins: readonly PublicOrigin[],
): { readonly expected: string; readonly received: string } | undefined {
  const targets = targetUris(request, origins);
  // What clients send is mostly normalised already, and targets are.
  if (targets.includes(htu)) return undefined;
  const received = normaliseTargetUri(htu);
  if (received !== undefined && targets.includes(received)) return undefined;
  return difference(targets[0], received);
}

/**
 * Strings are joined, never resolved: `new URL('//evil.example/', base)` is another host. A target with dot segments is none of ours: it
 * could lead out of the prefix, or to another route than the path that they stand for.
 */
function targetUris(request: ProtectedResourceRequest, origins: readonly PublicOrigin[]): string[] {
  const { target } = request;
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  if (DOT_SEGMENT.test(path)) return [];
  // The absolute form is the target URI (RFC 9112 §3.2.2); the others, `*` and an authority, name no resource of ours.
  if (!path.startsWith('/')) {
    const absolute = normaliseTargetUri(path);
    return absolute !== undefined && origins.some(({ origin, prefix }) => absolute.startsWith(`${origin}${prefix}/`)) ? [absolute] : [];
  }
  if (!PATH.test(path)) return [];
  const uris: string[] = [];
  for (const { origin, prefix } of meant(request, origins)) uris.push(origin + normalisePath(prefix + path));
  return uris;
}

function meant(request: ProtectedResourceRequest, origins: readonly PublicOrigin[]): readonly PublicOrigin[] {
  if (origins.length === 1) return origins;
  // Over HTTP/2 a client can send both, and not the same: who routes by the other one would be somewhere else (RFC 9113 §8.3.1).
  const named = [...request.fieldLines(':authority'), ...request.fieldLines('host')]
    .map((line) => {
      const host = readAuthority(line);
      return host === undefined ? [] : origins.filter(({ origin }) => originOf(origin.slice(0, origin.indexOf(':')), host) === origin);
    })
    .filter(({ length }) => length > 0);
  return named.length === 0 ? origins : named.reduce((some, others) => some.filter((one) => others.includes(one)));
}

/** Of an event's text; the end is where two URIs differ. */
const LONGEST_SHOWN = 200;

/**
 * Says what a mismatch is about, in an event: of two URIs no more than it takes to see it, since a path may hold identifiers. The
 * origins alone where the paths are equal, or there is nothing to compare; else up to the first segment that differs.
 */
function difference(expected: string | undefined, received: string | undefined): { expected: string; received: string } {
  const [one = [], other = []] = [expected?.split('/'), received?.split('/')];
  const most = Math.max(one.length, other.length);
  let shared = ORIGIN;
  while (shared < most && one[shared] === other[shared]) shared += 1;
  const differ = shared < most && expected !== undefined && received !== undefined;
  const shown = (parts: readonly string[]): string => {
    const text = parts.slice(0, differ ? shared + 1 : ORIGIN).join('/') + (differ && parts.length > shared + 1 ? '/…' : '');
    return text.length <= LONGEST_SHOWN ? text : `${text.slice(0, LONGEST_SHOWN / 2)}…${text.slice(-LONGEST_SHOWN / 2)}`;
  };
  return {
    expected: expected === undefined ? 'no URI of this resource: the request target names another, or has dot segments' : shown(one),
    received: received === undefined ? 'no absolute http(s) URI' : shown(other),
  };
}

/** How many parts of a URI between slashes make the origin: `https:`, nothing, the authority. */
const ORIGIN = 3;
