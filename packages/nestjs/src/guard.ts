import { prepareRequirements, type ProtectedResource, type Requirements } from '@holdfast/core';
import { applyDecorators, type CanActivate, type ExecutionContext, Inject, Injectable, RequestMethod, UseGuards } from '@nestjs/common';
import { judge, refuse } from './access.ts';
import { exchangeIn } from './exchange.ts';
import { addRequirements, policyOf } from './policy.ts';

/** The token of the {@link ProtectedResource} that a {@link HoldfastModule} provides; the one to override in tests. */
export const HOLDFAST_RESOURCE: unique symbol = Symbol('HOLDFAST_RESOURCE');

const guarded = new WeakSet<ProtectedResource>();

/** Whether any guard was made for this resource. */
export function isGuarded(resource: ProtectedResource): boolean {
  return guarded.has(resource);
}

/** Whether a guard, a class or an instance of one, is ours. */
export function isOurs(guard: unknown): boolean {
  return guard === HoldfastGuard || guard instanceof HoldfastGuard;
}

/**
 * Lets a request through only with an access token that was sent by the client it is bound to, and that meets what `@Requires`
 * asks for. Everything else is refused with a {@link HoldfastException}: 401 with challenges, 403 `insufficient_scope`, 400 for
 * ambiguous credentials, 425 for early data, 429 for a client over its share of proofs, 503 where a part of ours failed.
 * Routes with `@Public` are not looked at. A CORS preflight passes, without access, to `@Options` routes alone: what `enableCors`
 * answers never comes to a guard, and an `@All` route would run for anybody who writes two fields.
 *
 * For one route or controller with `@UseGuards(HoldfastGuard)`, for all as `APP_GUARD`, with a resource of its own as
 * `new HoldfastGuard(resource)`. Works in HTTP, in GraphQL over HTTP, and for messages of gateways whose handshakes were judged
 * ({@link protectGateways}), for as long as that access lasts. Messages of other gateways and of microservices carry no access token
 * of their own: they are refused (`Forbidden resource`), as is everything that the guard does not know.
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
      if (!authorized.granted) return exchange.answerable ? refuse(authorized, exchange) : false;
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
