import { protectedResource } from '@holdfast/core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

const cluster = vi.hoisted(() => ({ isWorker: true }));
vi.mock(import('node:cluster'), async (original) => ({
  ...(await original()),
  default: Object.assign(Object.create(null), cluster) as never,
}));

describe('in a worker of node:cluster', () => {
  const warnings: string[] = [];
  const listen = (warning: Error): void => void warnings.push(warning.message);
  beforeEach(() => {
    warnings.length = 0;
    process.on('warning', listen);
  });
  afterEach(() => void process.off('warning', listen));

  const start = async (dpop: object | boolean): Promise<string[]> => {
    protectedResource({ issuer: 'https://as.example.com', audience: 'https://rs.example.com', dpop });
    await new Promise((resolve) => setImmediate(resolve));
    return warnings;
  };

  it('RPL-08 warns that used proofs are remembered by each process alone', async () => {
    expect(await start(true)).toEqual([expect.stringMatching(/dpop\.replay, with @holdfast\/redis/)]);
  });

  it('NON-15 warns that nonces are made with a secret of each process alone', async () => {
    expect(await start({ nonce: 'required', replay: { firstUse: () => true } })).toEqual([expect.stringContaining('dpop.nonce.secrets')]);
  });

  it('is silent where the instances share both, and where DPoP is off', async () => {
    expect(await start({ nonce: { secrets: ['x'.repeat(32)] }, replay: { firstUse: () => true } })).toEqual([]);
    expect(await start({ replay: false })).toEqual([]);
    expect(await start(false)).toEqual([]);
  });
});
