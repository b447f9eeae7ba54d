// Bound tokens, Express over TLS keep-alive, 50 connections, tokens and connections warm: what protection costs. Bound to a
// certificate, or with the argument `dpop` to a key, with proofs that were made before.
// Each server is a process of its own, with one core where taskset is there; the clients have another. In every heat each is
// started anew, warmed up and measured; figures are medians of all rounds.
import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Load, requestWith } from './load.js';
import { createProofMaker, createScene, type Scene } from './scene.js';
import type { FromServer, Method, Variant } from './server.js';

const VARIANTS: readonly Variant[] = ['unprotected', 'holdfast', 'express-oauth2-jwt-bearer'];
const CONNECTIONS = 50;
const TOKENS = 50;
const HEATS = 5;
const ROUNDS = 5;
/** A server on one core gets faster for eight seconds; in the second one it answers about four fifths of what it will. */
const WARM_UP_MS = 10_000;
const ROUND_MS = 1000;
/** More than a server that judges them answers in a heat: each can be used once. */
const PROOFS = 180_000;
const METHOD: Method = process.argv[2] === 'dpop' ? 'dpop' : 'mtls';

interface Round {
  readonly throughput: number;
  readonly cpu: number;
}

interface Contestant {
  readonly child: ChildProcess;
  readonly load: Load;
}

/** Clients on the second core, so that the first is left to the servers. */
const isPinned = availableParallelism() > 1 && spawnSync('taskset', ['-a', '-cp', '1', String(process.pid)]).status === 0;

async function receive(child: ChildProcess): Promise<FromServer> {
  const [message] = (await once(child, 'message')) as [FromServer];
  return message;
}

/** For each heat anew, since proofs age; then for each server: the requests of its clients, in order. */
type Requests = () => () => (connection: number) => Buffer;

async function start(variant: Variant, scene: Scene, requests: ReturnType<Requests>): Promise<Contestant> {
  const onOneCore = isPinned ? { execPath: 'taskset', execArgv: ['-c', '0', process.execPath] } : {};
  const child = fork(fileURLToPath(new URL('server.js', import.meta.url)), onOneCore);
  child.send({ variant, method: METHOD, scene: { ...scene, tokens: [] } });
  const started = await receive(child);
  if (!('port' in started)) throw new Error('the server did not say its port');
  const load = await Load.connect(started.port, scene, CONNECTIONS, requests());
  await load.run(WARM_UP_MS, isPinned);
  return { child, load };
}

async function cpuOf({ child }: Contestant): Promise<number> {
  child.send('cpu');
  const answer = await receive(child);
  return 'cpu' in answer ? answer.cpu : Number.NaN;
}

async function measure(contestant: Contestant): Promise<Round> {
  const before = await cpuOf(contestant);
  const { answers, seconds } = await contestant.load.run(ROUND_MS, isPinned);
  const after = await cpuOf(contestant);
  return { throughput: answers / seconds, cpu: (after - before) / answers };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function heat(scene: Scene, requests: Requests, results: Record<Variant, Round[]>): Promise<void> {
  const ofHeat = requests();
  for (const variant of VARIANTS) {
    const contestant = await start(variant, scene, ofHeat);
    for (let round = 0; round < ROUNDS; round += 1) results[variant].push(await measure(contestant));
    contestant.load.close();
    contestant.child.kill();
  }
}

async function prepare(): Promise<{ scene: Scene; requests: Requests }> {
  const issuer = 'https://as.example.com';
  if (METHOD === 'mtls') {
    const scene = await createScene(issuer, TOKENS);
    const prepared = scene.tokens.map((token) => requestWith(`Authorization: Bearer ${token}`));
    return { scene, requests: () => () => (connection) => prepared[connection % prepared.length] ?? Buffer.of() };
  }
  const maker = await createProofMaker();
  const scene = await createScene(issuer, 1, maker.jkt);
  const [token = ''] = scene.tokens;
  const requests: Requests = () => {
    const prepared = maker.premake(PROOFS, token).map((proof) => requestWith(`Authorization: DPoP ${token}\r\nDPoP: ${proof}`));
    return () => {
      let used = 0;
      return () => prepared[used++ % prepared.length] ?? Buffer.of();
    };
  };
  return { scene, requests };
}

const { scene, requests } = await prepare();
const results: Record<Variant, Round[]> = { unprotected: [], holdfast: [], 'express-oauth2-jwt-bearer': [] };
for (let i = 0; i < HEATS; i += 1) await heat(scene, requests, results);

/** The median over the rounds of one variant's figure divided by the other's in the same round of the same heat. */
function ratio(of: Variant, to: Variant, figure: keyof Round): string {
  return median(results[of].map((round, i) => round[figure] / (results[to][i]?.[figure] ?? Number.NaN))).toFixed(2);
}

console.log(
  `${METHOD}, Node ${process.version}, Express over TLS 1.3, ${CONNECTIONS} connections, ${HEATS} heats of ${ROUNDS} rounds of ${ROUND_MS / 1000} s after ${WARM_UP_MS / 1000} s, ${isPinned ? 'one core for the server' : 'servers not bound to a core'}, medians`,
);
console.table(
  Object.fromEntries(
    VARIANTS.map((variant) => [
      variant,
      {
        'requests/s': Math.round(median(results[variant].map(({ throughput }) => throughput))),
        'server CPU, µs/request': Math.round(median(results[variant].map(({ cpu }) => cpu))),
      },
    ]),
  ),
);
console.log(
  `holdfast / unprotected: ${ratio('holdfast', 'unprotected', 'throughput')} of the throughput${METHOD === 'mtls' ? ' (aim: 0.90)' : ''}`,
);
console.log(
  `holdfast / express-oauth2-jwt-bearer: ${ratio('holdfast', 'express-oauth2-jwt-bearer', 'throughput')} times the throughput (aim: 2.0 on Node 20, 2.4 on Node 24)`,
);
