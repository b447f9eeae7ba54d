import type { ReplayStore } from '@holdfast/core';
import type { RedisCommands, RedisServer } from './commands.ts';
import { missing, type RedisReplayStoreOptions, readOptions } from './options.ts';
import { redisStore } from './store.ts';

/** A `Redis` of ioredis 5 and 6, as far as it is used here. */
export interface IoredisClient {
  readonly status: string;
  set(key: string, value: string, px: 'PX', milliseconds: number, nx: 'NX'): Promise<unknown>;
  config(subcommand: 'GET', parameter: string): Promise<unknown>;
  info(section: string): Promise<unknown>;
  on(event: 'error', listener: (error: unknown) => void): unknown;
}

/** A `Cluster` of ioredis 5 and 6, as far as it is used here. */
export interface IoredisCluster extends IoredisClient {
  nodes(role: 'master'): readonly IoredisClient[];
}

/**
 * A replay store that all instances of an API share, in Redis or Valkey, through a `Redis` or `Cluster` of ioredis 5 or 6 that is
 * yours. See the README of this package for what it promises.
 *
 * Give the client `autoResendUnfulfilledCommands: false`: ioredis otherwise repeats a command whose answer was lost with the
 * connection, finds the use that it has itself recorded, and a request is refused as a replay that should have got 503.
 *
 * Throws one `TypeError` that lists every problem with the client and the options. An `error` listener is added to the client, in
 * place of what ioredis writes to the console.
 *
 * @example
 * const client = new Redis('redis://redis.internal', { autoResendUnfulfilledCommands: false });
 * app.use(holdfast({ …, dpop: { replay: ioredisReplayStore(client, { environment: 'production' }) } }));
 */
export function ioredisReplayStore(client: IoredisClient | IoredisCluster, options: RedisReplayStoreOptions): ReplayStore {
  const settings = readOptions('ioredisReplayStore', problemsOf(client), options);
  client.on('error', () => {});
  return redisStore(commandsOf(client), settings);
}

function problemsOf(client: unknown): readonly string[] {
  const lacks = missing(client, ['set', 'config', 'info', 'on']);
  if (lacks === undefined) return [];
  return [
    `client: ${lacks}. Give a Redis or a Cluster of the package 'ioredis' (5 or 6); for a client of node-redis there is nodeRedisReplayStore.`,
  ];
}

function commandsOf(client: IoredisClient | IoredisCluster): RedisCommands {
  return {
    // `wait` is a client with lazyConnect, which the first command connects.
    connected: () => client.status === 'ready' || client.status === 'wait',
    setIfAbsent: (key, milliseconds) => client.set(key, '1', 'PX', milliseconds, 'NX'),
    masters: async () => ('nodes' in client ? client.nodes('master') : [client]).map(serverOf),
  };
}

function serverOf(client: IoredisClient): RedisServer {
  return {
    configuredPolicy: () => client.config('GET', 'maxmemory-policy'),
    memoryReport: () => client.info('memory'),
  };
}
