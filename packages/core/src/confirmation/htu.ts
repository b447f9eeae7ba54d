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
/** Visible ASCII, but no backslash: browsers read it as a slash. */
const PATH = /^[\x21-\x5b\x5d-\x7e]*$/;
const LONGEST_URI = 8_192;

/**
 * A target URI without query and fragment, normalised as RFC 3986 §6.2.2 and §6.2.3 say: case of scheme, host and percent
 * triplets, triplets that need none, dot segments, the default port, an empty path. Significant stay the case of the path, a
 * final slash, `//` and `%2F`. `undefined` for what is no absolute http(s) URI, has user information, or holds a backslash,
 * white space or raw text that is not ASCII (in a host it is turned into A-labels).
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
  const [, name, port = ''] = AUTHORITY.exec(authority) ?? [];
  if (name === undefined) return undefined;
  const host = normaliseHost(name);
  if (host === undefined) return undefined;
  return `${scheme}://${host}${port === '' || port === DEFAULT_PORTS[scheme] ? '' : `:${port}`}`;
}

function normaliseHost(name: string): string | undefined {
  const isLiteral = name.startsWith('[');
  if (!isLiteral && /^[\0-\x7f]*$/.test(name)) return normaliseTriplets(name).toLowerCase();
  // Only the two forms that strings do not settle: an IPv6 address has many spellings, and so has a name in Unicode.
  const url = `https://${name}/`;
  return URL.canParse(url) ? new URL(url).hostname : undefined;
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
 * should have named, none of them with a query. With one origin `Host` is not looked at, since behind an edge it is often an
 * internal name; with several, where it names one of them, `htu` must name that one.
 */
export function mismatchedTarget(
  htu: string,
  request: ProtectedResourceRequest,
  origins: readonly PublicOrigin[],
): { readonly expected: string; readonly received: string } | undefined {
  const targets = targetUris(request, origins);
  // What clients send is mostly normalised already.
  if (targets.includes(htu)) return undefined;
  const received = normaliseTargetUri(htu);
  const expected = targets.map((uri) => normaliseTargetUri(uri));
  if (received !== undefined && expected.includes(received)) return undefined;
  return {
    expected: shown(
      expected.find((uri) => uri !== undefined),
      'no URI of this resource: the request target names another',
    ),
    received: shown(received, 'no absolute http(s) URI'),
  };
}

/** Strings are joined, never resolved: `new URL('//evil.example/', base)` is another host. */
function targetUris(request: ProtectedResourceRequest, origins: readonly PublicOrigin[]): string[] {
  const { target } = request;
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  if (path.startsWith('/')) return meant(request, origins).map(({ origin, prefix }) => origin + prefix + path);
  // The absolute form is the target URI (RFC 9112 §3.2.2); the others, `*` and an authority, name no resource of ours.
  const absolute = normaliseTargetUri(path);
  return absolute !== undefined && origins.some(({ origin }) => absolute.startsWith(`${origin}/`)) ? [absolute] : [];
}

function meant(request: ProtectedResourceRequest, origins: readonly PublicOrigin[]): readonly PublicOrigin[] {
  if (origins.length === 1) return origins;
  // Over HTTP/2 a client can send both, and not the same: who routes by the other one would be somewhere else (RFC 9113 §8.3.1).
  const named = [...request.fieldLines(':authority'), ...request.fieldLines('host')]
    .map((host) => origins.filter(({ origin }) => normaliseOrigin(origin.slice(0, origin.indexOf(':')), host) === origin))
    .filter(({ length }) => length > 0);
  return named.length === 0 ? origins : named.reduce((some, others) => some.filter((one) => others.includes(one)));
}

/** Says what a mismatch is about, in an event. */
function shown(uri: string | undefined, otherwise: string): string {
  if (uri === undefined) return otherwise;
  return uri.length <= 200 ? uri : `${uri.slice(0, 200)}…`;
}
