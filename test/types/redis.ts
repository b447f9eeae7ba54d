// The clients of both packages, in both majors, are taken as their own types say; what is no such client is not.
import { memoryReplayStore, protectedResource, type ReplayStore } from '@holdfast/core';
import { ioredisReplayStore, nodeRedisReplayStore } from '@holdfast/redis';
import { Cluster, Redis } from 'ioredis';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis-5';
import { createClient, createCluster, RESP_TYPES } from 'redis';
import { createClient as createClient5, createCluster as createCluster5 } from 'redis-5';

const options = { environment: 'test' };
export const stores: readonly ReplayStore[] = [
  nodeRedisReplayStore(createClient(), options),
  nodeRedisReplayStore(createClient({ RESP: 2 }), options),
  nodeRedisReplayStore(createClient().withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer }), options),
  nodeRedisReplayStore(await createClient().connect(), options),
  nodeRedisReplayStore(createCluster({ rootNodes: [] }), options),
  nodeRedisReplayStore(createClient5(), options),
  nodeRedisReplayStore(createCluster5({ rootNodes: [] }), options),
  ioredisReplayStore(new Redis(), options),
  ioredisReplayStore(new Cluster([]), options),
  ioredisReplayStore(new Redis5(), options),
  ioredisReplayStore(new Cluster5([]), { ...options, fallback: memoryReplayStore(), timeout: 1, evictionPolicy: 'warn' }),
];
protectedResource({
  issuer: 'https://as.example',
  audience: 'https://api.example',
  dpop: { replay: nodeRedisReplayStore(createClient(), options) },
});

// @ts-expect-error: a client of the other package
nodeRedisReplayStore(new Redis(), options);
// @ts-expect-error: a client of the other package
ioredisReplayStore(createClient(), options);
// @ts-expect-error: it has to be said which environment this is
nodeRedisReplayStore(createClient(), {});
// @ts-expect-error: evicting proofs without a word is not on offer
nodeRedisReplayStore(createClient(), { ...options, evictionPolicy: 'ignore' });
// @ts-expect-error: granting while Redis is away is not on offer
nodeRedisReplayStore(createClient(), { ...options, fallback: 'grant' });
