import { type EdgeKind, freePort, reasonToSkipEdge, startEdge } from '@holdfast/test-support/edges';
import { createPki, type Pki } from '@holdfast/test-support/pki';
import { beforeAll, describe, expect, it } from 'vitest';

const KINDS: readonly EdgeKind[] = ['nginx', 'haproxy', 'apache', 'caddy'];
const SECRET = 's'.repeat(32);

describe.each(KINDS)('%s', (kind) => {
  const skip = reasonToSkipEdge(kind);
  let pki: Pki;
  beforeAll(async () => {
    pki = await createPki();
  });
  const options = async (): Promise<Omit<Parameters<typeof startEdge>[0], 'changes'>> => ({
    kind,
    recipe: `edges/${kind}`,
    pki,
    upstreamPort: await freePort(),
    secret: SECRET,
  });

  it('does not start with a certificate that is not there, and says why', async (context) => {
    if (skip !== undefined) context.skip(skip);
    const broken = startEdge({ ...(await options()), changes: [['/etc/holdfast/server', '/etc/holdfast/no-such-file']] });
    await expect(broken).rejects.toThrow(/did not start[\s\S]*no-such-file/);
  });

  it('does not start where a text that is to be changed is not there', async () => {
    const changed = startEdge({ ...(await options()), changes: [['a text that no recipe has', '']] });
    await expect(changed).rejects.toThrow('"a text that no recipe has" is not in the configuration');
  });

  it('is gone when it is stopped, with its port', async (context) => {
    if (skip !== undefined) context.skip(skip);
    const edge = await startEdge(await options());
    await edge.stop();
    await expect(fetch(`https://127.0.0.1:${edge.port}/`)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
  });
});
