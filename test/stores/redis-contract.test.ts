import { randomUUID } from 'node:crypto';
import type { ReplayStore } from '@holdfast/core';
import { noRedis, type RedisProgram, type RedisServer, startRedis, startRedisCluster } from '@holdfast/test-support/redis-server';
import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { replayStoreContract } from './contract.ts';
import { CLIENTS, CLUSTER_CLIENTS, type Open, type Opened } from './redis-clients.ts';

/** The contract on servers that are started for it; in the end they are killed, and it cannot be known any more. */
function contractOf(open: Open, program: RedisProgram, start: () => Promise<readonly RedisServer[]>): void {
  const skip = noRedis(program);
  let servers: readonly RedisServer[] = [];
  const opened: Opened[] = [];
  const make = async (instances = 1): Promise<readonly ReplayStore[]> => {
    // Another environment: nothing has been used at it.
    const options = { environment: randomUUID() };
    const ports = servers.map(({ port }) => port);
    const made = await Promise.all(Array.from({ length: instances }, () => open(ports, options)));
    opened.push(...made);
    return made.map(({ store }) => store);
  };
  beforeAll(async () => {
    if (skip === undefined) servers = await start();
  });
  beforeEach((context) => {
    if (skip !== undefined) context.skip(skip);
  });
  afterAll(async () => {
    await Promise.all(opened.map(async (one) => one.close()));
    await Promise.all(servers.map((server) => server.stop()));
  });
  replayStoreContract({
    make,
    now: () => Math.floor(Date.now() / 1000),
    wait: (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
    fail: async () => {
      await Promise.all(servers.map((server) => server.kill()));
    },
  });
}

describe.each(['redis-server', 'valkey-server'] as const)('%s', (program) => {
  describe.each(Object.entries(CLIENTS))('with %s', (_, open) => {
    contractOf(open, program, async () => [await startRedis({ program })]);
  });

  describe.each(Object.entries(CLUSTER_CLIENTS))('as a cluster, with %s', (_, open) => {
    contractOf(open, program, async () => (await startRedisCluster([], program)).masters);
  });
});
