// One of several processes that share one Redis: takes the same proofs as the others, in an order of its own, and says which it
// was told to be the first of. Runs what was built, as instances do.
import { ioredisReplayStore, nodeRedisReplayStore } from '@holdfast/redis';
import { Redis } from 'ioredis';
import { createClient } from 'redis';

const [kind, url, seed] = process.argv.slice(2);
const options = { environment: 'race', timeout: 10 };
const store =
  kind === 'ioredis' ? ioredisReplayStore(new Redis(url), options) : nodeRedisReplayStore(await createClient({ url }).connect(), options);

process.on('message', async ({ keys }) => {
  const now = Math.floor(Date.now() / 1000);
  const accepted = [];
  // A rotation by a different step in each process, so that they meet everywhere.
  const order = keys.map((_, i) => keys[(i * Number(seed)) % keys.length]);
  await Promise.all(
    order.map(async (key) => {
      if ((await store.firstUse({ client: 'client', key, until: now + 300, now })) === true) accepted.push(key);
    }),
  );
  process.send({ accepted });
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
