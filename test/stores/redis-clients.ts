import type { ReplayStore } from '@holdfast/core';
import { ioredisReplayStore, nodeRedisReplayStore, type RedisReplayStoreOptions } from '@holdfast/redis';
import { Cluster, Redis } from 'ioredis';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis-5';
import { createClient, createCluster } from 'redis';
import { createClient as createClient5, createCluster as createCluster5 } from 'redis-5';

/** A connection of a real client, and the store on it. */
export interface Opened {
  readonly store: ReplayStore;
  close(): Promise<void> | void;
}

/** Connects a client to the servers at these ports, and makes a store of it. */
export type Open = (ports: readonly number[], options: RedisReplayStoreOptions) => Promise<Opened>;

const url = (port = 0): string => `redis://127.0.0.1:${port}`;
const rootNodes = (ports: readonly number[]): { url: string }[] => ports.map((port) => ({ url: url(port) }));
const hosts = (ports: readonly number[]): { host: string; port: number }[] => ports.map((port) => ({ host: '127.0.0.1', port }));
const redisOptions = { autoResendUnfulfilledCommands: false };

/** Every client that is supported, for one server. */
export const CLIENTS: Readonly<Record<string, Open>> = {
  'node-redis 6': async ([port], options) => {
    const client = createClient({ url: url(port) });
    const store = nodeRedisReplayStore(client, options);
    await client.connect();
    return { store, close: () => client.destroy() };
  },
  'node-redis 5': async ([port], options) => {
    // As the README says: with its queue this version does not always get ready again.
    const client = createClient5({ url: url(port), disableOfflineQueue: true });
    const store = nodeRedisReplayStore(client, options);
    await client.connect();
    return { store, close: () => client.destroy() };
  },
  'ioredis 6': async ([port], options) => {
    const client = new Redis(url(port), { ...redisOptions, lazyConnect: true });
    const store = ioredisReplayStore(client, options);
    await client.connect();
    return { store, close: () => client.disconnect() };
  },
  'ioredis 5': async ([port], options) => {
    const client = new Redis5(url(port), { ...redisOptions, lazyConnect: true });
    const store = ioredisReplayStore(client, options);
    await client.connect();
    return { store, close: () => client.disconnect() };
  },
};

/** Every client that is supported, for a cluster. */
export const CLUSTER_CLIENTS: Readonly<Record<string, Open>> = {
  'node-redis 6': async (ports, options) => {
    const cluster = createCluster({ rootNodes: rootNodes(ports) });
    const store = nodeRedisReplayStore(cluster, options);
    await cluster.connect();
    return { store, close: () => cluster.destroy() };
  },
  'node-redis 5': async (ports, options) => {
    const cluster = createCluster5({ rootNodes: rootNodes(ports) });
    const store = nodeRedisReplayStore(cluster, options);
    await cluster.connect();
    return { store, close: () => cluster.destroy() };
  },
  'ioredis 6': async (ports, options) => {
    const cluster = new Cluster(hosts(ports), { lazyConnect: true, redisOptions });
    const store = ioredisReplayStore(cluster, options);
    await cluster.connect();
    return { store, close: () => cluster.disconnect() };
  },
  'ioredis 5': async (ports, options) => {
    const cluster = new Cluster5(hosts(ports), { lazyConnect: true, redisOptions });
    const store = ioredisReplayStore(cluster, options);
    await cluster.connect();
    return { store, close: () => cluster.disconnect() };
  },
};
