import { reject, type Rejection } from '../rejection.ts';
import { andThen, type Awaitable, type ProtectedResourceRequest } from '../request.ts';

/** Which registered issuer a request may have a token from, told by the request. */
export type IssuerFor = (request: ProtectedResourceRequest) => Awaitable<string | undefined>;

/** A path of segments that are not empty, but for the last (RFC 3986 §3.3), without `;`: some routers end a segment there, or the path. */
const PATH = /^\/(?:(?:[\w.~!$&'()*+,=:@-]|%[\da-f]{2})+\/)*(?:[\w.~!$&'()*+,=:@-]|%[\da-f]{2})*$/i;
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;
/** Triplets that some routers decode before they match, and others do not. */
const AMBIGUOUS_TRIPLETS: readonly RegExp[] = [
  // Letters, digits, `-`, `.`, `_` and `~`, which need none (RFC 3986 §2.3).
  /%(?:2[de]|3\d|[46][1-9a-f]|[57][0-9a]|5f|7e)/i,
  // What separates: `/`, `\` and `;`.
  /%(?:2f|5c|3b)/i,
  // Control characters.
  /%(?:[01][\da-f]|7f)/i,
  // A triplet that is encoded once more.
  /%25[\da-f]{2}/i,
];

/**
 * Selects the issuer of a request. A request that could be of one tenant to who selects, and of another to who routes, is of none.
 */
export function selectIssuer(issuerFor: IssuerFor, request: ProtectedResourceRequest): Awaitable<string | Rejection> {
  if (namesTwoHosts(request)) return reject('request.several_hosts');
  if (!isPlain(request.target)) return reject('request.ambiguous_target');
  return andThen(issuerFor(request), (selected) => (typeof selected === 'string' ? selected : reject('token.tenant')));
}

/** Over HTTP/2 both can be sent, and not the same (RFC 9113 §8.3.1). */
function namesTwoHosts(request: ProtectedResourceRequest): boolean {
  const [authority] = request.fieldLines(':authority');
  const [host] = request.fieldLines('host');
  return authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase();
}

/**
 * Whether everybody reads the same path out of a target. Routers differ in what they do with an absolute one (RFC 9112 §3.2.2), dot
 * segments, `//`, `\`, `#`, `;` and triplets, of which the URL parser of browsers and Node is one reader among others.
 */
function isPlain(target: string): boolean {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  return PATH.test(path) && !DOT_SEGMENT.test(path) && !AMBIGUOUS_TRIPLETS.some((triplet) => triplet.test(path)) && isUtf8(path);
}

/** Lenient decoders read `/` out of octets that are none of UTF-8, as `%C0%AF`. */
function isUtf8(path: string): boolean {
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}
