import { createServer, type Server } from 'node:https';
import { accessOf, holdfast, type HoldfastMiddleware, requires, type ResourceEvent } from '@holdfast/express';
import { ioredisReplayStore, nodeRedisReplayStore } from '@holdfast/redis';
import { type AuthorizationServer, startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith, type OneResponse, requestOnce } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Pki } from '@holdfast/test-support/pki';
import { noRedis, type RedisServer, startRedis } from '@holdfast/test-support/redis-server';
import * as dpop from 'dpop';
import express from 'express';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

/*
 * One API that runs twice, behind one name, with one Redis: once with node-redis and once with ioredis. The token is of a real
 * authorization server, the proofs are of a real client. A thief has captured a whole request and sends it to the other instance.
 */
const API = 'https://api.example.com';
const skip = noRedis();

interface Instance {
  readonly port: number;
  readonly server: Server;
  readonly protection: HoldfastMiddleware;
  readonly events: ResourceEvent[];
}

let pki: Pki;
let as: AuthorizationServer;
let http: ClientFetch;
let redis: RedisServer;
let token: string;
let keys: dpop.KeyPair;
const clients: (() => void)[] = [];
const instances: Instance[] = [];

async function startInstance(replay: Parameters<typeof holdfastOptions>[0]): Promise<Instance> {
  const events: ResourceEvent[] = [];
  const protection = holdfast({ ...holdfastOptions(replay), onEvent: (event) => events.push(event) });
  const app = express();
  app.use(protection);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    response.json({ client: accessOf(request).claims.client_id });
  });
  const server = createServer({ key: pki.server.key, cert: pki.server.cert }, app);
  return { port: await listen(server), server, protection, events };
}

function holdfastOptions(replay: ReturnType<typeof ioredisReplayStore>): Parameters<typeof holdfast>[0] & object {
  return { issuer: as.issuer, audience: API, profiles: ['fapi2'], dpop: { replay }, fetch: http };
}

beforeAll(async () => {
  if (skip !== undefined) return;
  pki = await createPki();
  http = fetchWith({ ca: pki.ca });
  as = await startAuthorizationServer({ pki, audience: API });
  redis = await startRedis({ options: ['--appendonly', 'yes', '--appendfsync', 'always'] });
  const one = createClient({ url: redis.url });
  const other = new Redis(redis.url, { autoResendUnfulfilledCommands: false });
  clients.push(
    () => one.destroy(),
    () => other.disconnect(),
  );
  instances.push(await startInstance(nodeRedisReplayStore(one, { environment: 'production' })));
  instances.push(await startInstance(ioredisReplayStore(other, { environment: 'production' })));
  await one.connect();
  for (const { protection } of instances) await vi.waitFor(() => protection.ready(), { timeout: 10_000 });

  keys = await dpop.generateKeyPair('ES256');
  const granted = await http(`${as.issuer}/token`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`dpop:${as.secrets.dpop}`).toString('base64')}`,
      dpop: await dpop.generateProof(keys, `${as.issuer}/token`, 'POST'),
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'accounts:read', resource: API }),
  });
  ({ access_token: token } = (await granted.json()) as { access_token: string });
});
afterAll(async () => {
  for (const close of clients) close();
  for (const { server, protection } of instances) {
    await protection.close();
    await stop(server);
  }
  await http?.close();
  await as?.close();
  await redis?.stop();
});
beforeEach((context) => {
  if (skip !== undefined) context.skip(skip);
});

const prove = (): Promise<string> => dpop.generateProof(keys, `${API}/accounts`, 'GET', undefined, token);

async function send(instance: Instance | undefined, proof: string): Promise<OneResponse> {
  return requestOnce({
    port: instance?.port,
    path: '/accounts',
    ca: pki.ca,
    servername: 'localhost',
    headers: { authorization: `DPoP ${token}`, dpop: proof },
  });
}

const linesOf = ({ headers }: OneResponse, name: string): string[] =>
  headers.flatMap(([line, value]) => (line.toLowerCase() === name ? [value] : []));

describe('two instances with one Redis', () => {
  it('RPL-02 a proof that was used at one is refused at the other', async () => {
    const [one, other] = instances;
    for (const [first, second] of [
      [one, other],
      [other, one],
    ]) {
      const proof = await prove();
      expect(await send(first, proof)).toMatchObject({ status: 200, body: '{"client":"dpop"}' });
      const replayed = await send(second, proof);
      expect(replayed.status).toBe(401);
      expect(linesOf(replayed, 'www-authenticate').join()).toContain('DPoP error="invalid_dpop_proof"');
      expect(second?.events.at(-1)?.reason).toBe('replay.reused');
    }
  });

  it('RPL-08 of 20 copies that arrive at both at the same time, one is granted', async () => {
    const proof = await prove();
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => send(instances[i % 2], proof)));
    expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(['200', ...Array.from({ length: 19 }, () => '401')]);
  });

  it('RPL-10 where Redis dies, both answer 503 with Retry-After and nothing of the inside; when it is back, they grant', async () => {
    const before = await prove();
    expect((await send(instances[0], before)).status).toBe(200);
    await redis.kill();
    for (const instance of instances) {
      const answer = await send(instance, await prove());
      expect([answer.status, answer.body]).toEqual([503, '']);
      expect(linesOf(answer, 'retry-after')).toEqual(['1']);
      expect(linesOf(answer, 'www-authenticate')).toEqual([]);
      expect(JSON.stringify(answer.headers)).not.toMatch(/redis|127\.0\.0\.1|ECONN/i);
      expect(instance.events.at(-1)).toMatchObject({
        outcome: 'unavailable',
        reason: 'unavailable.replay',
        detail: expect.stringMatching(/^RedisUnavailable \(/),
      });
      await expect(instance.protection.ready()).rejects.toThrow(/Redis cannot be asked/);
    }
    await redis.restart();
    for (const instance of instances) {
      await vi.waitFor(async () => expect((await send(instance, await prove())).status).toBe(200), { timeout: 20_000 });
      expect((await send(instance, before)).status).toBe(401);
      await instance.protection.ready();
    }
  });
});
