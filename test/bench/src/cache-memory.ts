// What the cache of verified tokens takes: 10,000 tokens of about 1.2 kB, each verified once by a resource with room for them.
import { type ProtectedResourceRequest, protectedResource } from '@holdfast/core';
import { createScene } from './scene.js';

const TOKENS = 10_000;

function usedBytes(): number {
  if (globalThis.gc === undefined) throw new Error('run with: node --expose-gc');
  for (let i = 0; i < 3; i += 1) globalThis.gc();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

function bearing(token: string): ProtectedResourceRequest {
  return {
    method: 'GET',
    target: '/accounts',
    fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
    connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
  };
}

const { issuer, audience, jwk, tokens } = await createScene('https://as.example.com', TOKENS);
const resource = protectedResource({ issuer, audience, keys: { jwks: { keys: [jwk] } } });
await resource.ready();
const verifyAll = async (): Promise<number> => {
  const start = performance.now();
  // They are bound to a certificate that is not there, so all are refused in the end; what is cached is that they are authentic.
  for (const token of tokens) await resource.verify(bearing(token));
  return performance.now() - start;
};
const before = usedBytes();
const cold = await verifyAll();
const after = usedBytes();
const warm = await verifyAll();

const megabytes = (after - before) / 1024 / 1024;
console.log(`Node ${process.version}: ${TOKENS.toLocaleString('en')} tokens of ${tokens[0]?.length ?? 0} characters in the cache`);
console.log(`${megabytes.toFixed(1)} MB in all, ${Math.round((after - before) / TOKENS)} bytes a token`);
console.log(`judged anew ${((cold / TOKENS) * 1000).toFixed(0)} µs, out of the cache ${((warm / TOKENS) * 1000).toFixed(0)} µs each`);
