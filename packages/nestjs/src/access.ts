import {
  type Access as GrantedAccess,
  type AccessTokenClaims,
  type ProtectedResource,
  type ProtectedResourceRequest,
  type Protection,
  Protections,
  type Refusal,
  UNPROTECTED,
} from '@holdfast/core';
import { createParamDecorator } from '@nestjs/common';
import { HoldfastException } from './exception.ts';
import { type Exchange, exchangeIn, exchangeOf } from './exchange.ts';

const protections = new Protections(HoldfastException);

/**
 * Judges the request, once for each resource however often it is asked, and sets the fields that belong on the response.
 * `undefined` says that it is over: somebody has answered, the client has gone, or the access of a connection has ended.
 */
export async function judge(resource: ProtectedResource, exchange: Exchange): Promise<Access | Refusal | undefined> {
  const result = await resource.verify(exchange.view);
  if (exchange.over()) return undefined;
  keep(exchange.view, { resource, result });
  exchange.setFields(result.granted ? result.fields : (result.mayPass?.fields ?? result.fields));
  return result;
}

/** Keeps what was decided about a request with it. */
export function keep(view: ProtectedResourceRequest, protection: Protection): void {
  protections.set(view, protection);
}

/** What was granted to this request; `undefined` where nothing was, whatever the reason. */
export function grantedAt(view: ProtectedResourceRequest): Access | undefined {
  const { result } = protections.get(view) ?? { result: UNPROTECTED };
  return result.granted ? result : undefined;
}

export function refuse(refusal: Refusal, exchange: Exchange | undefined): never {
  exchange?.setFields(refusal.fields);
  throw new HoldfastException(refusal);
}

/** What a request was granted: the token is authentic, and was sent by the client it is bound to. Frozen. */
export type Access<C extends AccessTokenClaims = AccessTokenClaims> = GrantedAccess<C>;

/**
 * The parameter of a route that takes what was granted to the request. Where nothing was, as on a `@Public` route, the answer is 401.
 *
 * @example
 * list(@Access() access: Access) { return this.accounts.of(access.claims.sub); }
 */
export const Access: () => ParameterDecorator = createParamDecorator((_: unknown, context) => grantedBy(exchangeIn(context)));

/** As {@link Access}, but `undefined` where the request passed without access (`credentials: 'optional'`). */
export const MaybeAccess: () => ParameterDecorator = createParamDecorator((_: unknown, context) => maybeGrantedBy(exchangeIn(context)));

/**
 * What was granted to this request of Express, of Fastify, or of Node itself. `C` types the claims beyond the standard ones; it is
 * your word, not a check. Throws a {@link HoldfastException}, which Nest answers with 401, where no guard or middleware of Holdfast ran before, as on a
 * `@Public` route, and where the request passed without access ({@link maybeAccessOf}).
 */
export function accessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: object): Access<C> {
  return grantedBy(exchangeOf(request, undefined));
}

/**
 * What was granted to this request, or `undefined` where it passed without access (`credentials: 'optional'`, a CORS preflight).
 * Throws a {@link HoldfastException}, which Nest answers with 401, where no guard or middleware of Holdfast ran before.
 */
export function maybeAccessOf<C extends AccessTokenClaims = AccessTokenClaims>(request: object): Access<C> | undefined {
  return maybeGrantedBy(exchangeOf(request, undefined));
}

function grantedBy<C extends AccessTokenClaims>(exchange: Exchange | undefined): Access<C> {
  const result = exchange === undefined ? UNPROTECTED : protections.authorize(exchange.view);
  return result.granted ? (result as Access<C>) : refuse(result, exchange);
}

function maybeGrantedBy<C extends AccessTokenClaims>(exchange: Exchange | undefined): Access<C> | undefined {
  const { result } = (exchange && protections.get(exchange.view)) ?? { result: UNPROTECTED };
  if (result.granted) return result as Access<C>;
  return result.mayPass === undefined ? refuse(result, exchange) : undefined;
}
