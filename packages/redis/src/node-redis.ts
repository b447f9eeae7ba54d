import type { ReplayStore } from '@holdfast/core';
import type { RedisCommands, RedisServer } from './commands.ts';
import { missing, type RedisReplayStoreOptions, readOptions } from './options.ts';
import { redisStore } from './store.ts';

/** What `createClient()` of node-redis 5 and 6 returns, as far as it is used here. */
export interface NodeRedisClient {
  readonly isReady: boolean;
  set(key: string, value: string, options: { condition: 'NX'; expiration: { type: 'PX'; value: number } }): Promise<unknown>;
  configGet(parameter: string): Promise<unknown>;
  info(section: string): Promise<unknown>;
  on(event: 'error', listener: (error: unknown) => void): unknown;
}

/** What `createCluster()` of node-redis 5 and 6 returns, as far as it is used here. */
export interface NodeRedisCluster extends Pick<NodeRedisClient, 'set' | 'on'> {
  readonly isOpen: boolean;
  readonly masters: readonly object[];
  nodeClient(master: object): Promise<Pick<NodeRedisClient, 'configGet' | 'info'>>;
}

/**
 * A replay store that all instances of an API share, in Redis or Valkey, through a client of node-redis 5 or 6 that is yours:
 * you connect it and close it. A cluster comes from `createCluster`. See the README of this package for what it promises.
 *
 * Throws one `TypeError` that lists every problem with the client and the options. An `error` listener is added to the client,
 * since a lost connection would otherwise end the process.
 *
 * @example
 * const client = await createClient({ url: 'redis://redis.internal' }).connect();
 * app.use(holdfast({ …, dpop: { replay: nodeRedisReplayStore(client, { environment: 'production' }) } }));
 */
export function nodeRedisReplayStore(client: NodeRedisClient | NodeRedisCluster, options: RedisReplayStoreOptions): ReplayStore {
  const settings = readOptions('nodeRedisReplayStore', problemsOf(client), options);
  client.on('error', () => {});
  return redisStore('nodeClient' in client ? commandsOfCluster(client) : commandsOf(client), settings);
}

function problemsOf(client: unknown): readonly string[] {
  const isCluster = typeof client === 'object' && client !== null && 'nodeClient' in client;
  const lacks = missing(client, isCluster ? ['set', 'nodeClient', 'on'] : ['set', 'configGet', 'info', 'on']);
  if (lacks === undefined) return [];
  return [
    `client: ${lacks}. Give what createClient() or createCluster() of the package 'redis' (5 or 6) returns; for a client of ioredis there is ioredisReplayStore.`,
  ];
}

function commandsOf(client: NodeRedisClient): RedisCommands {
  return {
    connected: () => client.isReady,
    setIfAbsent: (key, milliseconds) => setIfAbsent(client, key, milliseconds),
    masters: async () => [serverOf(client)],
  };
}

function commandsOfCluster(cluster: NodeRedisCluster): RedisCommands {
  return {
    // Single masters come and go; what is sent to one that is away is given up after the time limit.
    connected: () => cluster.isOpen,
    setIfAbsent: (key, milliseconds) => setIfAbsent(cluster, key, milliseconds),
    masters: () => Promise.all(cluster.masters.map(async (master) => serverOf(await cluster.nodeClient(master)))),
  };
}

function setIfAbsent(client: Pick<NodeRedisClient, 'set'>, key: string, value: number): Promise<unknown> {
  return client.set(key, '1', { condition: 'NX', expiration: { type: 'PX', value } });
}

function serverOf(client: Pick<NodeRedisClient, 'configGet' | 'info'>): RedisServer {
  return {
    configuredPolicy: () => client.configGet('maxmemory-policy'),
    memoryReport: () => client.info('memory'),
  };
}
