import 'reflect-metadata';
import { Controller, Get, Inject, Injectable, Module } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { Access, HoldfastGuard, HoldfastModule, Public, Requires } from '@holdfast/nestjs';
import { it, expect } from 'vitest';
import { startIssuer } from '@holdfast/test-support/issuer';

it('runs', async () => {
  const issuer = await startIssuer();
  @Controller('r')
  class Routes {
    @Get() list(@Access() access: Access): object { return { sub: access.claims.sub }; }
    @Public() @Get('public') open(): string { return 'open'; }
    @Public() @Get('none') none(@Access() access: Access): object { return access; }
    @Requires({ scope: 'write' }) @Get('write') write(): string { return 'open'; }
  }
  @Module({ imports: [HoldfastModule.forRoot({ issuer: issuer.url, audience: 'https://rs.example.com', unconstrained: 'accept' })], controllers: [Routes], providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }] })
  class App {}
  const app = await NestFactory.create(App, { abortOnError: false });
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  const token = await issuer.token();
  for (const path of ['/r', '/r/public', '/r/none', '/r/write']) for (const headers of [{}, { authorization: 'Bearer ' + token }] as Record<string,string>[]) {
    const r = await fetch(url + path, { headers });
    console.log(path, r.status, await r.text(), Object.fromEntries(r.headers));
  }
  await app.close();
  await issuer.close();
});
