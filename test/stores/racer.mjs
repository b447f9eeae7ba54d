// One of several processes that share one Redis: takes the same proofs as the others, in an order of its own, and says which it
// was told to be the first of. Runs what was built, as instances do.
import { once } from 'node:events';
import { ioredisReplayStore, nodeRedisReplayStore } from '@holdfast/redis';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

const [kind, url, seed, timeout] = process.argv.slice(2);
const options = { environment: 'race', timeout: Number(timeout) };
const store =
  kind === 'ioredis'
    ? ioredisReplayStore(new Redis(url, { autoResendUnfulfilledCommands: false }), options)
    : nodeRedisReplayStore(await createClient({ url }).connect(), options);

/** As a client does that is answered 503: the same proof again, until it is judged. */
async function untilJudged(key) {
  for (let failures = 0; ; failures += 1) {
    const now = Math.floor(Date.now() / 1000);
    try {
      return { key, failures, isFirst: (await store.firstUse({ client: 'client', key, until: now + 300, now })) === true };
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

process.on('message', async ({ keys, together }) => {
  if (keys === undefined) return;
  // A rotation by a different step in each process, so that they meet everywhere.
  const order = keys.map((_, i) => keys[(i * Number(seed)) % keys.length]);
  const judged = [];
  for (;;) {
    judged.push(...(await Promise.all(order.slice(judged.length, judged.length + together).map(untilJudged))));
    if (judged.length === order.length) break;
    process.send({ judged: judged.length });
    await once(process, 'message');
  }
  process.send({
    accepted: judged.filter(({ isFirst }) => isFirst).map(({ key }) => key),
    failures: judged.reduce((sum, { failures }) => sum + failures, 0),
  });
});
for (;;) {
  try {
    await store.ready();
    break;
  } catch {
    // ioredis connects by itself, and has not yet.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
process.send('ready');
