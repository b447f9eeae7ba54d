import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import {
  Access,
  fromTls,
  HoldfastGuard,
  HoldfastMiddleware,
  HoldfastModule,
  type ProtectedResourceOptions,
  Public,
  Requires,
} from '@holdfast/nestjs';
import { Body, Controller, Get, Module, Post } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

@Controller('accounts')
class AccountsController {
  @Get()
  @Requires({ scope: 'accounts:read' })
  list(@Access() access: Access): object {
    return { owner: access.claims.sub };
  }

  @Post()
  @Requires({ scope: 'accounts:write' })
  open(@Access() access: Access, @Body() account: object): object {
    return { ...account, owner: access.claims.sub };
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

/** Where tokens come from, the certificate and key of this server, and who hears of decisions. */
export interface ApiOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly onEvent: NonNullable<ProtectedResourceOptions['onEvent']>;
}

/** An API in NestJS, on Express or on Fastify. */
export async function startApi(
  { issuer, tls, onEvent }: ApiOptions,
  platform: 'express' | 'fastify' = 'express',
): Promise<{ port: number; close(): Promise<void> }> {
  const audience = 'https://api.example.com';

  @Module({
    imports: [HoldfastModule.forRoot({ issuer, audience, certificate: fromTls(), onEvent }, { ready: true })],
    providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
    controllers: [AccountsController, HealthController],
  })
  class AppModule {}

  // Clients are asked for a certificate, and Holdfast judges it.
  const httpsOptions = { ...tls, requestCert: true, rejectUnauthorized: false };
  const adapter = platform === 'fastify' ? new FastifyAdapter({ https: httpsOptions }) : new ExpressAdapter();
  const app = await NestFactory.create(AppModule, adapter, { httpsOptions, forceCloseConnections: true, logger: ['error', 'warn'] });
  // What is posted here is not read before it is known whose it is.
  app.use('/accounts', app.get(HoldfastMiddleware).use);

  await app.listen(0, '127.0.0.1');
  return { port: (app.getHttpServer().address() as AddressInfo).port, close: () => app.close() };
}
