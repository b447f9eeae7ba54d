import { type EdgeKind, freePort, reasonToSkipEdge, startEdge } from '@holdfast/test-support/edges';
import { createPki, type Pki } from '@holdfast/test-support/pki';
import { beforeAll, describe, expect, it, vi } from 'vitest';

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

it('an nginx without njs is a reason to skip what needs it, with the command that installs it, and nothing else', (context) => {
  if (reasonToSkipEdge('nginx') !== undefined) context.skip('nginx is missing');
  vi.stubEnv('CI', '');
  vi.spyOn(console, 'warn').mockImplementation(() => {});
  const without = (recipe: string): string | undefined => reasonToSkipEdge('nginx', recipe, () => false);
  expect(without('edges/nginx-rfc9440')).toMatch(
    /ngx_http_js_module\.so .* is missing\. Install it with: apt-get install .*libnginx-mod-http-js$/,
  );
  expect(without('edges/nginx')).toBeUndefined();
  expect(console.warn).toHaveBeenCalledTimes(1);
  vi.stubEnv('CI', 'true');
  expect(() => without('edges/nginx-rfc9440')).toThrow('is missing');
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});
