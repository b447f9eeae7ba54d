// The chain policy against OpenSSL: chains that are good, or bad in one of many ways, and what both say of them.
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CLIENT_AUTH, extension, type Issued, issue, type Saying, SERVER_AUTH } from '@holdfast/test-support/authority';
import { reasonToSkip } from '@holdfast/test-support/needs';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { trustedChain } from '../../packages/core/src/certificate/chain.ts';
import { certificateOf } from '../../packages/core/src/certificate/thumbprint.ts';

const NOW = 1_800_000_000;
const DAY = 86_400;
const skip = reasonToSkip(spawnSync('openssl', ['version']).status === 0, 'openssl', 'apt-get install openssl');

/** Ways in which a certificate can be bad, or unusual and good. */
const FLAWS: Readonly<Record<string, Partial<Saying>>> = {
  none: {},
  expired: { notAfter: NOW - DAY },
  'not valid yet': { notBefore: NOW + DAY },
  'for servers': { purposes: [SERVER_AUTH] },
  'for clients and servers': { purposes: [CLIENT_AUTH, SERVER_AUTH] },
  'signed with SHA-1': { hash: 'SHA-1' },
  'signed with SHA-512': { hash: 'SHA-512' },
  'critical, unknown': { extensions: [extension('1.2.3.4', true)] },
  unknown: { extensions: [extension('1.2.3.4', false)] },
  'no authority': { authority: false },
  'no path below': { authority: true, usages: 'certificatesAndLists', pathLength: 0 },
  'one below': { authority: true, usages: 'certificatesAndLists', pathLength: 1 },
  'no keyCertSign': { authority: true, usages: 'listsAndSignatures' },
  encipherment: { usages: 'encipherment' },
};

const flaw = fc.oneof({ weight: 5, arbitrary: fc.constant('none') }, { weight: 3, arbitrary: fc.constantFrom(...Object.keys(FLAWS)) });
const scene = fc.record({
  root: flaw,
  intermediates: fc.array(flaw, { maxLength: 3 }),
  leaf: flaw,
  /** Which certificate is signed by a namesake of its issuer, which is not sent, or not among the anchors. */
  forged: fc.oneof({ weight: 6, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat({ max: 3 }) }),
  missing: fc.oneof({ weight: 6, arbitrary: fc.constant(-1) }, { weight: 1, arbitrary: fc.nat({ max: 3 }) }),
});

type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never;

async function build({
  root: rootFlaw,
  intermediates,
  leaf: leafFlaw,
  forged,
}: Scene): Promise<{ root: Issued; chain: Issued[]; leaf: Issued }> {
  const authority = { notBefore: NOW - 10 * DAY, notAfter: NOW + 10 * DAY, authority: true, usages: 'certificatesAndLists' } as const;
  const root = await issue({ ...authority, subject: 'Root', ...FLAWS[rootFlaw], hash: 'SHA-256' });
  const chain: Issued[] = [];
  let by = root;
  const signer = async (level: number): Promise<Issued> => (level === forged ? issue({ ...authority, subject: by.subject }) : by);
  for (const [level, name] of intermediates.entries()) {
    by = await issue({ ...authority, subject: `Authority ${level}`, by: await signer(level), ...FLAWS[name] });
    chain.push(by);
  }
  const client = { notBefore: NOW - DAY, notAfter: NOW + DAY, usages: 'signatures', purposes: [CLIENT_AUTH], subject: 'client' } as const;
  const leaf = await issue({ ...client, by: await signer(intermediates.length), ...FLAWS[leafFlaw] });
  return { root, chain, leaf };
}

describe.skipIf(skip !== undefined)('Chains', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-chains-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function saysOpenssl(root: Issued, chain: readonly Issued[], leaf: Issued): Promise<string> {
    const file = (name: string, list: readonly Issued[]): string => {
      writeFileSync(join(folder, name), list.map(({ pem }) => `${pem}\n`).join(''));
      return join(folder, name);
    };
    const untrusted = chain.length === 0 ? [] : ['-untrusted', file('chain.pem', chain)];
    const policy = ['-attime', String(NOW), '-purpose', 'sslclient', '-auth_level', '2', '-no-CApath', '-no-CAstore'];
    const args = ['verify', ...policy, '-CAfile', file('root.pem', [root]), ...untrusted, file('leaf.pem', [leaf])];
    return new Promise((resolve) =>
      execFile('openssl', args, (error, stdout, stderr) => resolve(error === null ? 'trusted' : stdout + stderr)),
    );
  }

  it('that Holdfast trusts are those that OpenSSL trusts, of 200', { timeout: 120_000 }, async () => {
    let trusted = 0;
    for (const one of fc.sample(scene, { numRuns: 200, seed: 5280 })) {
      const { root, chain, leaf } = await build(one);
      const sent = chain.filter((_, level) => level !== one.missing);
      const policy = trustedChain({ anchors: [root.der], intermediates: [], isRevoked: undefined, revocationFor: 300 });
      const objection = await policy({ ...certificateOf(leaf.der), chain: sent.map(({ der }) => der) }, NOW);
      const openssl = await saysOpenssl(root, sent, leaf);
      const ours = objection === undefined ? 'trusted' : `refused: ${objection.detail ?? objection.rejected}`;
      expect([one, ours, openssl]).toEqual([one, ours, objection === undefined ? 'trusted' : expect.stringContaining('error')]);
      if (objection === undefined) trusted += 1;
    }
    expect(trusted).toBeGreaterThan(30);
  });
});
