import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { memoryReplayStore, type ProofUse, protectedResource, type ReplayStore } from '@holdfast/core';
import {
  ioredisReplayStore,
  type NodeRedisClient,
  nodeRedisReplayStore,
  REPLAY_STORE_CHANNEL,
  type RedisReplayStoreOptions,
  type ReplayStoreEvent,
} from '@holdfast/redis';
import { noRedis, type RedisServer, startRedis, startRedisCluster } from '@holdfast/test-support/redis-server';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { startResource } from '../rfc/resource.ts';
import { thumbprint } from './contract.ts';
import { CLIENTS, CLUSTER_CLIENTS, type Open } from './redis-clients.ts';

const skip = noRedis();
const now = (): number => Math.floor(Date.now() / 1000);
const use = (name: string, changes: Partial<ProofUse> = {}): ProofUse => ({
  client: thumbprint('client'),
  key: thumbprint(name),
  until: now() + 300,
  now: now(),
  ...changes,
});

/** What `firstUse` says, or the name of what it throws. */
async function outcome(store: ReplayStore, one: ProofUse): Promise<unknown> {
  try {
    return await store.firstUse(one);
  } catch (error) {
    return error instanceof Error ? error.name : error;
  }
}

async function server(...options: string[]): Promise<RedisServer> {
  const started = await startRedis({ options });
  onTestFinished(() => started.stop());
  return started;
}

async function storeOn(open: Open, redis: RedisServer, options: Partial<RedisReplayStoreOptions> = {}): Promise<ReplayStore> {
  const opened = await open([redis.port], { environment: 'test', ...options });
  onTestFinished(() => opened.close());
  return opened.store;
}

/** The keys of a server, with the milliseconds they have left. */
function keysOf(redis: RedisServer): Map<string, number> {
  const keys = redis.cli('--scan').split('\n').filter(Boolean);
  return new Map(keys.map((key) => [key, Number(redis.cli('pttl', key))]));
}

describe.each(Object.entries(CLIENTS))('a store in Redis with %s', (_, open) => {
  beforeEach((context) => {
    if (skip !== undefined) context.skip(skip);
  });

  it('costs one SET for each use, and nothing else', async () => {
    const redis = await server();
    const store = await storeOn(open, redis);
    await store.ready?.();
    redis.cli('config', 'resetstat');
    for (let i = 0; i < 10; i += 1) await store.firstUse(use(`use ${i}`));
    for (let i = 0; i < 10; i += 1) await store.firstUse(use(`use ${i}`));
    const called = [...redis.cli('info', 'commandstats').matchAll(/cmdstat_([\w|]+):calls=(\d+)/g)];
    expect(called.map(([, command, calls]) => [command, calls]).filter(([command]) => command !== 'config|resetstat')).toEqual([
      ['set', '20'],
    ]);
  });

  it('writes no key without an end, and none that ends before its use, by a clock that differs by a minute', async () => {
    const redis = await server();
    const store = await storeOn(open, redis);
    for (const [name, until] of Object.entries({ long: 3_600, usual: 300, second: 1, over: 0, past: -1_000 }))
      expect(await store.firstUse(use(name, { until: now() + until }))).toBe(true);
    const left = keysOf(redis);
    expect([...left.keys()].toSorted()).toEqual(
      ['long', 'over', 'past', 'second', 'usual'].map((name) => `holdfast:replay:test:${thumbprint(name)}`).toSorted(),
    );
    for (const [key, milliseconds] of left) {
      const until = { long: 3_600, usual: 300, second: 1 }[Buffer.from(key.slice(-43), 'base64url').toString().replaceAll('.', '')] ?? 0;
      expect(milliseconds, key).toBeGreaterThan((until + 50) * 1000);
      expect(milliseconds, key).toBeLessThanOrEqual((until + 60) * 1000);
    }
    for (const until of [Number.NaN, Number.POSITIVE_INFINITY, now() + 1e9])
      expect(await outcome(store, use('for ever', { until }))).toBe('RangeError');
    expect(redis.cli('dbsize')).toBe('5');
  });

  it('lets one client have no more live uses than its share, in each process, and others theirs', async () => {
    const redis = await server();
    const store = await storeOn(open, redis, { usesPerClient: 10 });
    for (let i = 0; i < 10; i += 1) expect(await store.firstUse(use(`use ${i}`))).toBe(true);
    expect(await store.firstUse(use('beyond'))).toBe('over-share');
    expect(await store.firstUse(use('use 3'))).not.toBe(true);
    expect(await store.firstUse(use('of another', { client: thumbprint('another') }))).toBe(true);
    for (let i = 0; i < 30; i += 1) expect(await store.firstUse(use('of another', { client: thumbprint('replays') }))).toBe(false);
    // Nothing was recorded for what was over the share, and what is over by the clock of the resource no longer counts.
    expect(redis.cli('dbsize')).toBe('11');
    expect(await store.firstUse(use('beyond', { now: now() + 400, until: now() + 700 }))).toBe(true);
  });

  it('keeps environments apart in one Redis', async () => {
    const redis = await server();
    const [staging, production] = [
      await storeOn(open, redis, { environment: 'staging' }),
      await storeOn(open, redis, { environment: 'production' }),
    ];
    expect(await staging.firstUse(use('a'))).toBe(true);
    expect(await production.firstUse(use('a'))).toBe(true);
    expect([await staging.firstUse(use('a')), await production.firstUse(use('a'))]).toEqual([false, false]);
  });

  it.each([
    ['full', ['config', 'set', 'maxmemory', '1'], 'RedisUnavailable (OOM)'],
    ['a replica', ['replicaof', '127.0.0.1', '1'], 'RedisUnavailable (READONLY)'],
    ['short of replicas', ['config', 'set', 'min-replicas-to-write', '1'], 'RedisUnavailable (NOREPLICAS)'],
    ['closed to this user', ['acl', 'setuser', 'default', '-set'], 'RedisUnavailable (NOPERM)'],
  ])('is unavailable where Redis is %s, and ready() says so', async (_how, command, name) => {
    const redis = await server();
    const store = await storeOn(open, redis);
    expect(await store.firstUse(use('before'))).toBe(true);
    redis.cli(...command);
    expect(await outcome(store, use('after'))).toBe(name);
    expect(await outcome(store, use('before'))).toBe(name);
    await expect(store.ready?.()).rejects.toMatchObject({ name });
  });

  it.each(['allkeys-lru', 'volatile-ttl', 'volatile-random'])(
    'refuses the eviction policy %s, whether or not ready() is called',
    async (policy) => {
      const redis = await server('--maxmemory-policy', policy);
      const store = await storeOn(open, redis);
      expect(await outcome(store, use('a'))).toBe('RedisEvictsKeys');
      expect(await outcome(store, use('a'))).toBe('RedisEvictsKeys');
      await expect(store.ready?.()).rejects.toThrow(new RegExp(`eviction policy ${policy}, .*Set maxmemory-policy to noeviction`));
      expect(redis.cli('dbsize')).toBe('0');
      // Once it is set right, nothing has to be restarted.
      redis.cli('config', 'set', 'maxmemory-policy', 'noeviction');
      await store.ready?.();
      expect(await store.firstUse(use('a'))).toBe(true);
    },
  );

  it('reads the eviction policy where CONFIG is taken away, as managed services do', async () => {
    const wrong = await storeOn(open, await server('--rename-command', 'CONFIG', '', '--maxmemory-policy', 'allkeys-lfu'));
    await expect(wrong.ready?.()).rejects.toThrow(/eviction policy allkeys-lfu/);
    const right = await storeOn(open, await server('--rename-command', 'CONFIG', ''));
    await right.ready?.();
    expect(await right.firstUse(use('a'))).toBe(true);
  });

  it('refuses a Redis that does not tell its eviction policy, or by option warns', async () => {
    const redis = await server();
    const events: ReplayStoreEvent[] = [];
    const strict = await storeOn(open, redis);
    const lenient = await storeOn(open, redis, { evictionPolicy: 'warn', onEvent: (event) => events.push(event) });
    redis.cli('acl', 'setuser', 'default', '-config', '-info');
    await expect(strict.ready?.()).rejects.toThrow(/cannot be read: .*\+config\|get or \+info/);
    expect(await outcome(strict, use('a'))).toBe('RedisEvictsKeys');
    const warnings = warningsOfTest();
    await lenient.ready?.();
    expect(await lenient.firstUse(use('a'))).toBe(true);
    await vi.waitFor(() => expect(warnings).toEqual([expect.stringContaining('cannot be read')]));
    expect(events).toMatchObject([{ state: 'eviction', environment: 'test', fallback: false, detail: warnings[0] }]);
  });

  it('needs no more rights than its documentation says', async () => {
    const redis = await server();
    const documented = readFileSync(new URL('../../packages/redis/README.md', import.meta.url), 'utf8');
    const [, rights = ''] = /ACL SETUSER holdfast on >… (.*)/.exec(documented) ?? [];
    expect(rights).not.toBe('');
    const store = await storeOn(open, redis);
    redis.cli('acl', 'setuser', 'default', 'reset', 'on', 'nopass', ...rights.split(' '), '+acl');
    await store.ready?.();
    expect([await store.firstUse(use('a')), await store.firstUse(use('a'))]).toEqual([true, false]);
    const connectedSo = await storeOn(open, redis);
    await connectedSo.ready?.();
    expect(await connectedSo.firstUse(use('a'))).toBe(false);
  });

  it('by option only warns of an eviction policy, once', async () => {
    const redis = await server('--maxmemory-policy', 'allkeys-lru');
    const events: ReplayStoreEvent[] = [];
    const warnings = warningsOfTest();
    const store = await storeOn(open, redis, { evictionPolicy: 'warn', onEvent: (event) => events.push(event) });
    expect(await store.firstUse(use('a'))).toBe(true);
    await store.ready?.();
    await store.ready?.();
    await vi.waitFor(() => expect(warnings).toEqual([expect.stringContaining('allkeys-lru')]));
    expect(events.map(({ state }) => state)).toEqual(['eviction']);
  });

  it('finds out when the policy changes later, as after a failover', async () => {
    const redis = await server();
    const store = await storeOn(open, redis);
    expect(await store.firstUse(use('a'))).toBe(true);
    redis.cli('config', 'set', 'maxmemory-policy', 'allkeys-lru');
    const later = performance.now() + 61_000;
    vi.spyOn(performance, 'now').mockImplementation(() => later);
    onTestFinished(() => void vi.restoreAllMocks());
    let i = 0;
    await vi.waitFor(async () => expect(await outcome(store, use(`later ${(i += 1)}`))).toBe('RedisEvictsKeys'));
  });

  it('tells when Redis becomes unavailable and available: on the channel, to onEvent, and not for every request', async () => {
    const redis = await server();
    const heard: unknown[] = [];
    const listen = (event: unknown): void => void heard.push(event);
    subscribe(REPLAY_STORE_CHANNEL, listen);
    onTestFinished(() => void unsubscribe(REPLAY_STORE_CHANNEL, listen));
    const events: ReplayStoreEvent[] = [];
    const store = await storeOn(open, redis, {
      onEvent: (event) => {
        events.push(event);
        throw new Error('a listener that fails');
      },
    });
    expect(await store.firstUse(use('a'))).toBe(true);
    redis.cli('config', 'set', 'maxmemory', '1');
    for (let i = 0; i < 5; i += 1) expect(await outcome(store, use(`full ${i}`))).toBe('RedisUnavailable (OOM)');
    redis.cli('config', 'set', 'maxmemory', '0');
    for (let i = 0; i < 5; i += 1) expect(await outcome(store, use(`again ${i}`))).toBe(true);
    expect(events).toEqual([
      { time: expect.any(Number), environment: 'test', state: 'unavailable', fallback: false, detail: 'RedisUnavailable (OOM)' },
      { time: expect.any(Number), environment: 'test', state: 'available', fallback: false },
    ]);
    expect(heard).toEqual(events);
  });

  it('holds nothing of jti, key and resource in clear, and is not led astray by what clients put into a jti', async () => {
    const redis = await server();
    const store = await storeOn(open, redis, { environment: 'production' });
    const rs = await startResource({ options: { dpop: { replay: store } } });
    onTestFinished(() => rs.close());
    const token = await rs.token();
    const hostile = [
      'a plain one',
      'x\r\nSET injected 1\r\n',
      '*3\r\n$3\r\nSET\r\n$8\r\ninjected\r\n$1\r\n1\r\n',
      '{tag}',
      '}{',
      '{}',
      '*',
      '\u0000',
      '\ud83d\ude00',
      '__proto__',
      'j'.repeat(2_000),
    ];
    for (const jti of hostile) {
      expect((await rs.present(token, { claims: { jti } })).outcome, jti.slice(0, 40)).toBe('200');
      expect((await rs.present(token, { claims: { jti } })).outcome, jti.slice(0, 40)).toBe('401 D:invalid_dpop_proof');
    }
    const keys = keysOf(redis);
    expect(keys.size).toBe(hostile.length);
    for (const [key, milliseconds] of keys) {
      expect(key).toMatch(/^holdfast:replay:production:[\w-]{43}$/);
      expect(key).not.toContain(rs.key.thumbprint);
      expect(milliseconds).toBeGreaterThan(300_000);
      expect(redis.cli('get', key)).toBe('1');
    }
  });

  it('takes the same proof for another use at another resource', async () => {
    const store = await storeOn(open, await server());
    const rs = await startResource({ options: { dpop: { replay: store } } });
    const other = await startResource({
      like: rs,
      options: {
        audience: ['https://rs.example.com', 'https://other.example.com'],
        publicUrl: 'https://rs.example.com',
        dpop: { replay: store },
      },
    });
    onTestFinished(async () => {
      await other.close();
      await rs.close();
    });
    const token = await rs.token();
    const proof = rs.proof(token);
    expect((await rs.send({ token, proof })).outcome).toBe('200');
    expect((await other.send({ token, proof })).outcome).toBe('200');
    for (const resource of [rs, other]) expect((await resource.send({ token, proof })).outcome).toBe('401 D:invalid_dpop_proof');
  });
});

describe.each(Object.entries(CLUSTER_CLIENTS))('a store in a Redis Cluster with %s', (_, open) => {
  it('asks every master for its policy, spreads keys over all, and is unavailable while slots are', async (context) => {
    if (skip !== undefined) return context.skip(skip);
    const cluster = await startRedisCluster();
    onTestFinished(() => cluster.stop());
    const opened = await open(
      cluster.masters.map(({ port }) => port),
      { environment: 'test' },
    );
    onTestFinished(() => opened.close());
    const { store } = opened;
    const [, second, third] = cluster.masters;
    third?.cli('config', 'set', 'maxmemory-policy', 'allkeys-lru');
    await expect(store.ready?.()).rejects.toThrow(/allkeys-lru/);
    expect(await outcome(store, use('a'))).toBe('RedisEvictsKeys');
    third?.cli('config', 'set', 'maxmemory-policy', 'noeviction');
    await store.ready?.();
    for (let i = 0; i < 60; i += 1) expect(await store.firstUse(use(`key ${i}`))).toBe(true);
    for (const master of cluster.masters) expect(keysOf(master).size).toBeGreaterThan(5);

    await second?.kill();
    const outcomes = new Set<unknown>();
    await vi.waitFor(
      async () => {
        outcomes.clear();
        await Promise.all(Array.from({ length: 30 }, async () => outcomes.add(await outcome(store, use(randomUUID())))));
        // The others stop too once they notice: a cluster that lacks slots is down.
        expect([...outcomes].filter((one) => one === true || one === false)).toEqual([]);
      },
      { timeout: 20_000 },
    );
    for (const one of outcomes) expect(one).toMatch(/^RedisUnavailable \(/);
    await second?.restart();
    await vi.waitFor(async () => expect(await outcome(store, use(randomUUID()))).toBe(true), { timeout: 20_000 });
  });
});

describe('options of a store in Redis', () => {
  const client = (set: () => unknown = () => Promise.resolve('OK')): NodeRedisClient => ({
    isReady: true,
    set: set as NodeRedisClient['set'],
    configGet: () => Promise.resolve({ 'maxmemory-policy': 'noeviction' }),
    info: () => Promise.resolve(''),
    on: () => undefined,
  });

  it('are refused with one TypeError that lists every problem', () => {
    const options = {
      environment: 'a b',
      timeout: 0,
      evictionPolicy: 'ignore',
      fallback: true,
      usesPerClient: 0,
      onEvent: 'log',
      keyPrefix: 'x',
    };
    const make = (): ReplayStore => nodeRedisReplayStore({} as NodeRedisClient, options as unknown as RedisReplayStoreOptions);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(
      /client: has no set, configGet, info, on\..*ioredisReplayStore\.\n- keyPrefix: is no option.*\n- environment: .*\n- timeout: .*\n- evictionPolicy: .*\n- fallback: .*\n- usesPerClient: .*\n- onEvent: /,
    );
  });

  it.each([
    undefined,
    null,
    'test',
    [],
    { environment: '' },
    { environment: 'x'.repeat(65) },
    { environment: '{a}' },
    { environment: 'a:b' },
  ])('are refused as %j', (options) => {
    expect(() => nodeRedisReplayStore(client(), options as RedisReplayStoreOptions)).toThrow(/environment/);
  });

  it.each([undefined, null, 'redis://localhost', {}])('with %j for a client are refused', (given) => {
    expect(() => nodeRedisReplayStore(given as never, { environment: 'test' })).toThrow(/client: .*createClient/);
    expect(() => ioredisReplayStore(given as never, { environment: 'test' })).toThrow(/client: .*ioredis/);
  });

  it('name the other function where the client is of the other package', () => {
    expect(() => ioredisReplayStore(client() as never, { environment: 'test' })).toThrow(/client: has no config\..*nodeRedisReplayStore/);
  });

  it.each([['QUEUED'], [undefined], [Buffer.from('OK')], [1], [true], [''], [['OK']]])('%j is no answer to grant by', async (answer) => {
    const store = nodeRedisReplayStore(
      client(() => Promise.resolve(answer)),
      { environment: 'test' },
    );
    expect(await outcome(store, use('a'))).toBe('RedisUnavailable (unknown answer)');
  });

  it('a failure is told by its kind alone', async () => {
    for (const [error, name] of [
      [Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:6379'), { code: 'ECONNREFUSED' }), 'RedisUnavailable (ECONNREFUSED)'],
      [new Error('MOVED 1234 10.0.0.1:6379'), 'RedisUnavailable (MOVED)'],
      [new Error('Socket closed unexpectedly'), 'RedisUnavailable (connection lost)'],
    ] as const) {
      const failing = (): Promise<never> => Promise.reject(error);
      const thrown = await Promise.resolve(nodeRedisReplayStore(client(failing), { environment: 'test' }).firstUse(use('a'))).catch(
        (caught: unknown) => caught,
      );
      expect(thrown).toMatchObject({ name });
      expect(String(thrown) + JSON.stringify(thrown)).not.toContain('10.0.0.1');
      expect(thrown).not.toHaveProperty('cause');
    }
  });

  it('a client that throws at once is unavailable', async () => {
    const throwing = (): never => {
      throw new Error('at once');
    };
    expect(await outcome(nodeRedisReplayStore(client(throwing), { environment: 'test' }), use('a'))).toBe(
      'RedisUnavailable (connection lost)',
    );
  });

  it('a Redis that answers nothing is owed 10,000 answers at most, and then not asked', async () => {
    let asked = 0;
    const silent = (): unknown => {
      asked += 1;
      return new Promise(() => {});
    };
    const store = nodeRedisReplayStore(client(silent), { environment: 'test', timeout: 0.1 });
    const first = await Promise.all(Array.from({ length: 10_000 }, (_, i) => outcome(store, use(`${i}`))));
    expect(new Set(first)).toEqual(new Set(['RedisUnavailable (timeout)']));
    expect(await outcome(store, use('one more'))).toBe('RedisUnavailable (too many commands)');
    expect(asked).toBe(10_000);
  });

  it('fapi2 takes a shared store, and not one with a fallback', () => {
    const resource = (replay: ReplayStore): unknown =>
      protectedResource({ issuer: 'https://as.example.com', audience: 'https://rs.example.com', profiles: ['fapi2'], dpop: { replay } });
    expect(() => resource(nodeRedisReplayStore(client(), { environment: 'test' }))).not.toThrow();
    const withFallback = nodeRedisReplayStore(client(), { environment: 'test', fallback: memoryReplayStore() });
    expect(() => resource(withFallback)).toThrow(/fapi2 demands a store that all instances share at all times/);
    expect(() => resource(memoryReplayStore())).toThrow(/@holdfast\/redis/);
  });

  it('ready() of the resource waits for the store, and tells what it says', async () => {
    const ready = vi.fn<() => Promise<void>>().mockRejectedValueOnce(new Error('set maxmemory-policy')).mockResolvedValueOnce();
    const resource = protectedResource({
      issuer: 'https://as.example.com',
      audience: 'https://rs.example.com',
      keys: { jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', alg: 'Ed25519' }] } },
      dpop: { replay: { firstUse: () => true, ready } },
    });
    await expect(resource.ready()).rejects.toThrow('set maxmemory-policy');
    await expect(resource.ready()).resolves.toBeUndefined();
    expect(ready).toHaveBeenCalledTimes(2);
  });
});

/** What the process warns of until the test ends. */
function warningsOfTest(): string[] {
  const warnings: string[] = [];
  const listen = ({ name, message }: Error): void => {
    if (name === 'HoldfastWarning') warnings.push(message);
  };
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  return warnings;
}

afterEach(() => {
  vi.restoreAllMocks();
});
