import {
  type Access as GrantedAccess,
  type AccessTokenClaims,
  prepareRequirements,
  type ProtectedResource,
  type Refusal,
  type Requirements,
  UNPROTECTED,
} from '@holdfast/core';
import { slot } from '@holdfast/core/node';
import {
  applyDecorators,
  type CanActivate,
  createParamDecorator,
  type ExecutionContext,
  Inject,
  Injectable,
  RequestMethod,
  UseGuards,
} from '@nestjs/common';
import { HoldfastException } from './exception.ts';
import { type Exchange, exchangeIn, exchangeOf } from './exchange.ts';
import { addRequirements, policyOf } from './policy.ts';

/** The token of the {@link ProtectedResource} that a {@link HoldfastModule} provides; the one to override in tests. */
export const HOLDFAST_RESOURCE: unique symbol = Symbol('HOLDFAST_RESOURCE');

// Kept where nobody else can write: request.user belongs to everybody, and what another has put there must never count.
const protections = slot<{ readonly resource: ProtectedResource; readonly result: Access | Refusal }>();

const guarded = new WeakSet<ProtectedResource>();

/** Whether any guard was made for this resource. */
export function isGuarded(resource: ProtectedResource): boolean {
  return guarded.has(resource);
}

/**
 * Judges the request, once for each resource however often it is asked, and sets the fields that belong on the response.
 * `undefined` says that it is over: somebody has answered, or the client has gone.
 */
export async function judge(resource: ProtectedResource, exchange: Exchange): Promise<Access | Refusal | undefined> {
  const result = await resource.verify(exchange.view);
  if (exchange.over()) return undefined;
  protections.set(exchange.view, { resource, result });
  exchange.setFields(result.granted ? result.fields : (result.mayPass?.fields ?? result.fields));
  return result;
}

/**
 * Lets a request through only with an access token that was sent by the client it is bound to, and that meets what `@Requires`
 * asks for. Everything else is refused with a {@link HoldfastException}: 401 with challenges, 403 `insufficient_scope`, 400 for
 * ambiguous credentials, 425 for early data, 429 for a client over its share of proofs, 503 where a part of ours failed.
 * Routes with `@Public` are not looked at. A CORS preflight passes, without access, to `@Options` routes alone: what `enableCors`
 * answers never comes to a guard, and an `@All` route would run for anybody who writes two fields.
 *
 * For one route or controller with `@UseGuards(HoldfastGuard)`, for all as `APP_GUARD`, with a resource of its own as
 * `new HoldfastGuard(resource)`. Works in HTTP and in GraphQL over HTTP. Messages of gateways and of microservices carry no access
 * token of their own: they are refused (`Forbidden resource`), as is everything that the guard does not know.
 */
export class HoldfastGuard implements CanActivate {
  readonly #resource: ProtectedResource;

  constructor(resource: ProtectedResource) {
    this.#resource = resource;
    guarded.add(resource);
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const policy = policyOf(context.getHandler(), context.getClass());
    if (policy === 'public') return true;
    const exchange = exchangeIn(context);
    if (exchange === undefined) return false;
    const result = await judge(this.#resource, exchange);
    if (result === undefined) return false;
    const mayPass = result.granted ? undefined : result.mayPass;
    if (mayPass !== undefined && policy.length === 0 && (mayPass.preflight !== true || answersOptions(context))) return true;
    for (const requirements of policy.length === 0 ? [undefined] : policy) {
      const authorized = this.#resource.authorize(result, requirements);
      if (!authorized.granted) return refuse(authorized, exchange);
    }
    return true;
  }
}
Injectable()(HoldfastGuard);
Inject(HOLDFAST_RESOURCE)(HoldfastGuard, undefined, 0);

/** Whether a route is for OPTIONS and no other method. */
function answersOptions(context: ExecutionContext): boolean {
  return Reflect.getMetadata('method', context.getHandler()) === RequestMethod.OPTIONS;
}

function refuse(refusal: Refusal, exchange: Exchange | undefined): never {
  exchange?.setFields(refusal.fields);
  throw new HoldfastException(refusal);
}

/**
 * What a route, or every route of a controller, requires of the access token; brings {@link HoldfastGuard} with it. Requirements add
 * up: of the method, the controller, and the classes it extends all must be met. Throws a `TypeError` when they make no sense.
 *
 * @example
 * @Requires({ scope: 'accounts:read' })
 */
export function Requires(requirements: Requirements): ClassDecorator & MethodDecorator {
  return applyDecorators(addRequirements(prepareRequirements(requirements)), UseGuards(HoldfastGuard));
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
  const { resource, result } = protectionOf(exchange);
  const authorized = resource.authorize(result);
  return authorized.granted ? (authorized as Access<C>) : refuse(authorized, exchange);
}

function maybeGrantedBy<C extends AccessTokenClaims>(exchange: Exchange | undefined): Access<C> | undefined {
  const { result } = protectionOf(exchange);
  if (result.granted) return result as Access<C>;
  return result.mayPass === undefined ? refuse(result, exchange) : undefined;
}

function protectionOf(exchange: Exchange | undefined): { readonly resource: ProtectedResource; readonly result: Access | Refusal } {
  return (exchange && protections.get(exchange.view)) ?? refuse(UNPROTECTED, exchange);
}
