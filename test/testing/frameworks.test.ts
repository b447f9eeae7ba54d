import 'reflect-metadata';
import { holdfast, requires } from '@holdfast/fastify';
import { Access, HoldfastGuard, HoldfastModule, Requires } from '@holdfast/nestjs';
import { requestOnce } from '@holdfast/test-support/clients';
import { testAuthorizationServer, type TestAuthorizationServer, type TestClient } from '@holdfast/testing';
import { Controller, Get, UseGuards } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import Fastify from 'fastify';
import request from 'supertest';
import { beforeAll, describe, expect, it } from 'vitest';

describe('@holdfast/testing', () => {
  let as: TestAuthorizationServer;
  let owner: TestClient;
  let thief: TestClient;
  beforeAll(async () => {
    as = await testAuthorizationServer();
    [owner, thief] = [await as.client({ clientId: 'owner' }), await as.client()];
  });

  it('with fastify.inject, where there is no socket at all', async () => {
    const app = Fastify();
    await app.register(holdfast, as.options);
    app.get('/accounts', { preHandler: requires({ scope: 'accounts' }) }, async () => 'accounts');
    const get = async (headers: Record<string, string>): Promise<number> =>
      (await app.inject({ method: 'GET', url: '/accounts', headers })).statusCode;

    const token = await owner.token({ scope: 'accounts' });
    expect(await get(owner.present(token))).toBe(200);
    expect(await get(thief.present(token))).toBe(401);
    expect(await get({ authorization: `Bearer ${token}` })).toBe(401);
    const proven = await owner.token({ scope: 'accounts' }, 'jkt');
    expect(await get(await owner.prove(proven, { url: 'https://api.test/accounts' }))).toBe(200);
    expect(await get(await thief.prove(proven, { url: 'https://api.test/accounts' }))).toBe(401);
    await app.close();
  });

  it('with the testing module of NestJS', async () => {
    class Accounts {
      list(access: Access): string | undefined {
        return access.claims.sub;
      }
    }
    Access()(Accounts.prototype, 'list', 0);
    for (const decorate of [Get('accounts'), Requires({ scope: 'accounts' }), UseGuards(HoldfastGuard)])
      decorate(Accounts.prototype, 'list', Object.getOwnPropertyDescriptor(Accounts.prototype, 'list') as PropertyDescriptor);
    Controller()(Accounts);

    const module = await Test.createTestingModule({ imports: [HoldfastModule.forRoot(as.options)], controllers: [Accounts] }).compile();
    const app = module.createNestApplication();
    await app.init();
    const token = await owner.token({ scope: 'accounts' });
    const server = app.getHttpServer();
    await request(server).get('/accounts').set(owner.present(token)).expect(200, 'owner');
    await request(server).get('/accounts').set(thief.present(token)).expect(401);
    await app.close();
  });

  it('with an application that is configured with an issuer alone: it listens, until it is closed', async () => {
    const listening = await testAuthorizationServer({ listen: true });
    const client = await listening.client();
    const app = Fastify({ https: listening.tls });
    await app.register(holdfast, { issuer: listening.issuer, audience: listening.audience, certificate: listening.certificate });
    app.get('/', async () => 'in');
    const answer = await app.inject({ method: 'GET', url: '/', headers: client.present(await client.token()) });
    expect(answer.body).toBe('in');
    await app.close();
    await listening.close();
    const port = Number(new URL(listening.issuer).port);
    await expect(requestOnce({ port, ca: listening.tls.ca })).rejects.toThrow('ECONNREFUSED');
  });
});
