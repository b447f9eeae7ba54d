// What a NestJS application writes, and what must not compile there.
import 'reflect-metadata';
import {
  Access,
  type AccessTokenClaims,
  accessOf,
  fromTls,
  HOLDFAST_RESOURCE,
  HoldfastException,
  HoldfastGuard,
  HoldfastMiddleware,
  HoldfastModule,
  type HoldfastOptionsFactory,
  MaybeAccess,
  maybeAccessOf,
  type ProtectedResource,
  type ProtectedResourceOptions,
  protectedResource,
  Public,
  Requires,
} from '@holdfast/nestjs';
import {
  type CanActivate,
  Controller,
  Get,
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestMiddleware,
  Req,
  type Type,
} from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import type { Request } from 'express';
import type { FastifyRequest } from 'fastify';

const options: ProtectedResourceOptions = { issuer: 'https://as.example', audience: 'https://api.example', certificate: fromTls() };

interface Claims extends AccessTokenClaims {
  readonly tenant: string;
}

@Controller()
@Requires({ scope: 'accounts' })
class Accounts {
  readonly resource: ProtectedResource;

  constructor(@Inject(HOLDFAST_RESOURCE) resource: ProtectedResource) {
    this.resource = resource;
  }

  @Get('accounts')
  @Requires({ scope: ['accounts', 'read'] })
  list(@Access() access: Access): string | undefined {
    return access.claims.sub;
  }

  @Get('typed')
  typed(@Access() access: Access<Claims>): string {
    return access.claims.tenant;
  }

  @Get('maybe')
  @Public()
  maybe(@MaybeAccess() access: Access | undefined): boolean | undefined {
    return access?.confirmed;
  }

  @Get('express')
  express(@Req() request: Request): string | undefined {
    return accessOf(request).claims.sub;
  }

  @Get('fastify')
  fastify(@Req() request: FastifyRequest): string | undefined {
    return maybeAccessOf(request)?.claims.sub;
  }
}

class Settings implements HoldfastOptionsFactory {
  async createHoldfastOptions(): Promise<ProtectedResourceOptions> {
    return options;
  }
}

@Module({
  imports: [
    HoldfastModule.forRoot(options),
    HoldfastModule.forRoot(protectedResource(options), { isGlobal: false, ready: true }),
    HoldfastModule.forRootAsync({ useClass: Settings }),
    HoldfastModule.forRootAsync({ useExisting: Settings, isGlobal: false }),
    HoldfastModule.forRootAsync({ inject: [Settings], useFactory: (settings: Settings) => settings.createHoldfastOptions(), ready: true }),
  ],
  providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
  controllers: [Accounts],
})
class Application {
  configure(consumer: MiddlewareConsumer): void {
    consumer.apply(HoldfastMiddleware).forRoutes('uploads');
  }
}

const app = await NestFactory.create(Application);
app.use('/uploads', app.get(HoldfastMiddleware).use);
app.useGlobalGuards(new HoldfastGuard(app.get(HOLDFAST_RESOURCE)));

export const guard: Type<CanActivate> = HoldfastGuard;
export const middleware: Type<NestMiddleware> = HoldfastMiddleware;
export const statusOf = (error: unknown): number => (error instanceof HoldfastException ? error.refusal.status : 500);

// @ts-expect-error: an option that does not exist
HoldfastModule.forRoot({ ...options, certificates: fromTls() });
// @ts-expect-error: what tokens must be for has to be said
HoldfastModule.forRoot({ issuer: 'https://as.example' });
// @ts-expect-error: how the module stands in its application is said beside the options, not among them
HoldfastModule.forRoot({ ...options, isGlobal: false });
// @ts-expect-error: a factory that makes something else
HoldfastModule.forRootAsync({ useFactory: () => ({ issuer: 1 }) });
// @ts-expect-error: a requirement that does not exist
Requires({ role: 'admin' });
// @ts-expect-error: a guard without a resource
export const unguarded: HoldfastGuard = new HoldfastGuard();
