import 'reflect-metadata';
import { Access, fromTls, HoldfastGuard, HoldfastMiddleware, HoldfastModule, Public, Requires } from '@holdfast/nestjs';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { Body, Controller, Get, type INestApplication, Module, Post } from '@nestjs/common';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

@Controller('accounts')
class AccountsController {
  @Get()
  @Requires({ scope: 'accounts:read' })
  list(@Access() access: Access): object {
    return { owner: access.claims.sub, scheme: access.scheme, confirmedBy: access.confirmations.map(({ member }) => member) };
  }

  @Post()
  @Requires({ scope: 'accounts:write' })
  open(@Access() access: Access, @Body() account: object): object {
    return { owner: access.claims.sub, ...account };
  }
}

@Controller('health')
@Public()
class HealthController {
  @Get()
  check(): string {
    return 'fine';
  }
}

/** Certificate and key of the server, PEM. */
export interface Tls {
  readonly cert: string;
  readonly key: string;
}

export type Platform = 'express' | 'fastify';

/** An API in NestJS that is open to nobody but the owners of tokens, save for its health check. */
export async function createApp(platform: Platform, issuer: string, tls: Tls): Promise<INestApplication> {
  @Module({
    imports: [HoldfastModule.forRoot({ issuer, audience: 'https://api.example.com', certificate: fromTls() }, { ready: true })],
    providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
    controllers: [AccountsController, HealthController],
  })
  class AppModule {}

  // Clients are asked for a certificate, and Holdfast judges it.
  const httpsOptions = { ...tls, requestCert: true, rejectUnauthorized: false };
  const adapter = platform === 'fastify' ? new FastifyAdapter({ https: httpsOptions }) : new ExpressAdapter();
  const app = await NestFactory.create(AppModule, adapter, { httpsOptions, forceCloseConnections: true, logger: ['error', 'warn'] });
  // What is posted there is not read before it is known whose it is.
  app.use('/accounts', app.get(HoldfastMiddleware).use);
  return app;
}
