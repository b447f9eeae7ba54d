import { reject, type Rejection } from '../rejection.ts';
import { andThen, type Awaitable, type ProtectedResourceRequest } from '../request.ts';

/** Which registered issuer a request may have a token from, told by the request. */
export type IssuerFor = (request: ProtectedResourceRequest) => Awaitable<string | undefined>;

/** Letters, digits, `-`, `.`, `_` and `~`, which need no triplet (RFC 3986 §2.3): some routers decode them, and others do not. */
const NEEDLESS_TRIPLET = /%(?:2[de]|3\d|[46][1-9a-f]|[57][0-9a]|5f|7e)/i;
const DOT_SEGMENT = /\/\.{1,2}(?:\/|$)/;

/**
 * Selects the issuer of a request. A request that could be of one tenant to who selects, and of another to who routes, is of none.
 */
export function selectIssuer(issuerFor: IssuerFor, request: ProtectedResourceRequest): Awaitable<string | Rejection> {
  if (namesTwoHosts(request)) return reject('request.several_hosts');
  if (!isPlain(request.target)) return reject('token.tenant', { detail: 'the request target can be read in two ways' });
  return andThen(issuerFor(request), (selected) => (typeof selected === 'string' ? selected : reject('token.tenant')));
}

/** Over HTTP/2 both can be sent, and not the same (RFC 9113 §8.3.1). */
function namesTwoHosts(request: ProtectedResourceRequest): boolean {
  const [authority] = request.fieldLines(':authority');
  const [host] = request.fieldLines('host');
  return authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase();
}

/** Routers take the path out of an absolute target (RFC 9112 §3.2.2); who compares how a target begins does not. */
function isPlain(target: string): boolean {
  const query = target.indexOf('?');
  const path = query === -1 ? target : target.slice(0, query);
  return path.startsWith('/') && !NEEDLESS_TRIPLET.test(path) && !DOT_SEGMENT.test(path);
}
