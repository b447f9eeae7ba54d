// What the README of @holdfast/nestjs shows, compiled. test/docs.test.ts holds it to these lines.
/* oxlint-disable import/no-duplicates -- as they stand there, one after the other */
import 'reflect-metadata';
import { Access, fromTls, HoldfastGuard, HoldfastModule, Public, Requires } from '@holdfast/nestjs';
import { HoldfastMiddleware } from '@holdfast/nestjs';
import { HOLDFAST_RESOURCE, protectGateways } from '@holdfast/nestjs';
import { Controller, Get, Module } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { IoAdapter } from '@nestjs/platform-socket.io';

@Controller('accounts')
export class AccountsController {
  @Get()
  @Requires({ scope: 'accounts:read' })
  list(@Access() access: Access) {
    return { owner: access.claims.sub };
  }
}

@Controller('health')
@Public()
export class HealthController {
  @Get()
  check() {
    return 'fine';
  }
}

@Module({
  imports: [HoldfastModule.forRoot({ issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() })],
  providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
  controllers: [AccountsController, HealthController],
})
export class AppModule {}

export async function uploads() {
  const app = await NestFactory.create(AppModule);
  app.use('/uploads', app.get(HoldfastMiddleware).use); // refused before a byte of the body is read, on both platforms
  await app.listen(3000);
}

export async function gateways() {
  const app = await NestFactory.create(AppModule);
  app.useWebSocketAdapter(protectGateways(new IoAdapter(app), app.get(HOLDFAST_RESOURCE)));
  await app.listen(3000);
}

/** As that of `@nestjs/config`. */
class ConfigService {
  getOrThrow(name: string): string {
    return name;
  }
}

@Module({
  imports: [
    HoldfastModule.forRootAsync({
      inject: [ConfigService],
      useFactory: (config: ConfigService) => ({
        issuer: config.getOrThrow('ISSUER'),
        audience: config.getOrThrow('AUDIENCE'),
        algorithms: ['RS256'],
        certificate: fromTls(),
        unconstrained: 'accept', // until every client has a bound token
      }),
    }),
  ],
  providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
})
export class MigratingModule {}
