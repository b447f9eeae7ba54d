export { REPLAY_STORE_CHANNEL, type ReplayStoreEvent } from './events.ts';
export { type IoredisClient, type IoredisCluster, ioredisReplayStore } from './ioredis.ts';
export { type NodeRedisClient, type NodeRedisCluster, nodeRedisReplayStore } from './node-redis.ts';
export type { RedisReplayStoreOptions } from './options.ts';
