import { type ProtectedResource, UNPROTECTED } from '@holdfast/core';
import { Inject, Injectable, type NestMiddleware } from '@nestjs/common';
import { judge } from './access.ts';
import { HoldfastException } from './exception.ts';
import { exchangeOf } from './exchange.ts';
import { HOLDFAST_RESOURCE } from './guard.ts';

/**
 * Refuses before guards do, for routes that take large bodies: a guard runs when Nest has read a JSON or form body already. It knows
 * nothing of `@Public` and `@Requires`; the guard that comes after it does not judge the request again. It knows nothing of routes
 * either: a CORS preflight passes, without access, also where an `@All` route comes after it and no guard.
 *
 * As `consumer.apply(HoldfastMiddleware).forRoutes('uploads')`: on Fastify before any body is read, on Express after JSON and forms,
 * before everything else. As `app.use('/uploads', app.get(HoldfastMiddleware).use)`, before `listen`: on both before any body is read.
 */
export class HoldfastMiddleware implements NestMiddleware<object, object> {
  readonly use: (request: object, response: object, next: (error?: unknown) => void) => Promise<void>;

  constructor(resource: ProtectedResource) {
    this.use = async (request, response, next) => {
      const exchange = exchangeOf(request, response);
      const result = exchange === undefined ? UNPROTECTED : await judge(resource, exchange);
      if (result === undefined) return;
      if (result.granted || result.mayPass !== undefined) next();
      else next(new HoldfastException(result));
    };
  }
}
Injectable()(HoldfastMiddleware);
Inject(HOLDFAST_RESOURCE)(HoldfastMiddleware, undefined, 0);
