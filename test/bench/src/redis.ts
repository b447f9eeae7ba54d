// What the shared replay store costs: one use against the bare command of the same client, one after the other (latency) and with
// 50 in flight (throughput), on the one connection that a process has for all its requests, and on 50. A redis-server of its own on
// the loopback, nothing written to disk. Rounds of all take turns.
import { randomBytes } from 'node:crypto';
import { ioredisReplayStore, nodeRedisReplayStore } from '@holdfast/redis';
import { startRedis } from '@holdfast/test-support/redis-server';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

const ROUNDS = 10;
const ALONE = 2_000;
const TOGETHER = 20_000;
const IN_FLIGHT = 50;

/** `one` of those that are in flight has a connection of its own, where there are several. */
type Operation = (key: string, one: number) => Promise<unknown>;

interface Figures {
  /** Microseconds. */
  readonly latencies: number[];
  /** Operations a second, of each round. */
  readonly throughputs: number[];
  /** Microseconds of this process for each operation. */
  readonly cpu: number[];
}

const newKey = (): string => randomBytes(32).toString('base64url');

async function measure(operate: Operation, { latencies, throughputs, cpu }: Figures): Promise<void> {
  for (let i = 0; i < ALONE; i += 1) {
    const key = newKey();
    const start = performance.now();
    await operate(key, 0);
    latencies.push((performance.now() - start) * 1000);
  }
  const keys = Array.from({ length: TOGETHER }, newKey);
  const before = process.cpuUsage();
  const start = performance.now();
  await Promise.all(
    Array.from({ length: IN_FLIGHT }, async (_, one) => {
      for (let key = keys.pop(); key !== undefined; key = keys.pop()) await operate(key, one);
    }),
  );
  throughputs.push(TOGETHER / ((performance.now() - start) / 1000));
  const { user, system } = process.cpuUsage(before);
  cpu.push((user + system) / TOGETHER);
}

function quantile(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)] ?? Number.NaN;
}

const redis = await startRedis();
const version = `Redis ${/redis_version:(\S+)/.exec(redis.cli('info', 'server'))?.[1]}`;
const each = <T>(make: () => T): T[] => Array.from({ length: IN_FLIGHT }, make);
const nodes = await Promise.all(each(() => createClient({ url: redis.url }).connect()));
const ios = each(() => new Redis(redis.url));
const options = { environment: 'bench', usesPerClient: 1e9 };
const now = Math.floor(Date.now() / 1000);
const uses = { client: 'bench', until: now + 300, now };
const nodeStores = nodes.map((client) => nodeRedisReplayStore(client, options));
const ioStores = ios.map((client) => ioredisReplayStore(client, options));
const keyOf = (key: string): string => `holdfast:replay:bench:${key}`;
const nodeSet: Operation = async (key, one) =>
  nodes[one]?.set(keyOf(key), '1', { condition: 'NX', expiration: { type: 'PX', value: 360_000 } });
const nodeUse: Operation = async (key, one) => nodeStores[one]?.firstUse({ ...uses, key });
const ioSet: Operation = async (key, one) => ios[one]?.set(keyOf(key), '1', 'PX', 360_000, 'NX');
const ioUse: Operation = async (key, one) => ioStores[one]?.firstUse({ ...uses, key });
const onOne =
  (operate: Operation): Operation =>
  (key) =>
    operate(key, 0);
const operations: Readonly<Record<string, Operation>> = {
  'node-redis: SET NX PX': onOne(nodeSet),
  'node-redis: firstUse': onOne(nodeUse),
  'node-redis, 50 connections: SET NX PX': nodeSet,
  'node-redis, 50 connections: firstUse': nodeUse,
  'ioredis: SET NX PX': onOne(ioSet),
  'ioredis: firstUse': onOne(ioUse),
  'ioredis, 50 connections: SET NX PX': ioSet,
  'ioredis, 50 connections: firstUse': ioUse,
};
const results = Object.fromEntries(
  Object.keys(operations).map((name): [string, Figures] => [name, { latencies: [], throughputs: [], cpu: [] }]),
);
const spare: Figures = { latencies: [], throughputs: [], cpu: [] };
for (const operate of Object.values(operations)) await measure(operate, spare);
const memoryOf = (): number => Number(/used_memory:(\d+)/.exec(redis.cli('info', 'memory'))?.[1]);
redis.cli('flushall');
const empty = memoryOf();
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [name, operate] of Object.entries(operations)) await measure(operate, results[name] ?? spare);
}
const bytes = (memoryOf() - empty) / Number(redis.cli('dbsize'));
for (const client of nodes) client.destroy();
for (const client of ios) client.disconnect();
await redis.stop();

console.log(
  `Node ${process.version}, ${version} on the loopback, ${ROUNDS} rounds: ${ALONE} one after the other, ${TOGETHER} with ${IN_FLIGHT} in flight; medians`,
);
console.table(
  Object.fromEntries(
    Object.entries(results).map(([name, { latencies, throughputs, cpu }]) => [
      name,
      {
        'alone, median µs': Math.round(quantile(latencies, 0.5)),
        'p99 µs': Math.round(quantile(latencies, 0.99)),
        [`operations/s, ${IN_FLIGHT} in flight`]: Math.round(quantile(throughputs, 0.5)),
        'CPU of the client, µs': Math.round(quantile(cpu, 0.5)),
      },
    ]),
  ),
);
console.log(`${Math.round(bytes)} bytes of Redis' memory for each use`);
