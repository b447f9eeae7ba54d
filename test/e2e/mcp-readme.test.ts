import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { callTool, connect, dpopFetch, mtlsFetch } from '@holdfast/example-mcp/clients';
import { type ClientFetch, fetchWith } from '@holdfast/test-support/clients';
import { testAuthorizationServer } from '@holdfast/testing';
import * as dpop from 'dpop';
import { calculateJwkThumbprint } from 'jose';
import { afterAll, expect, it, onTestFinished } from 'vitest';

// Beside the packages it imports, where git does not look.
const folder = fileURLToPath(new URL('../node_modules/.mcp-readme/', import.meta.url));
let child: ChildProcess | undefined;
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('the quick start of packages/mcp runs as it stands: the SDK’s client calls it with either binding, and a thief does not', async () => {
  const readme = readFileSync(new URL('../../packages/mcp/README.md', import.meta.url), 'utf8');
  const [, block = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
  const as = await testAuthorizationServer({ listen: true, audience: 'https://mcp.example.com/mcp' });
  const fetches: ClientFetch[] = [];
  onTestFinished(async () => {
    // First the server, whose streams to its clients would not end.
    child?.kill();
    await Promise.all([as.close(), ...fetches.map((fetch) => fetch.close())]);
  });
  const [owner, thief] = [await as.client({ clientId: 'owner' }), await as.client({ clientId: 'thief' })];
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}server.key`, as.tls.key);
  writeFileSync(`${folder}server.crt`, as.tls.cert);
  // Only what belongs to a place is changed: the issuer and the port.
  const local = block
    .replace("'https://as.example.com'", JSON.stringify(as.issuer))
    .replace('.listen(8443);', ".listen(0, function () { console.log('port ' + this.address().port); });");
  expect(local.length).toBeGreaterThan(block.length);
  writeFileSync(`${folder}server.mjs`, local);
  child = spawn(process.execPath, ['server.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise<number>((resolve, reject) => {
    child?.once('exit', () => reject(new Error('the quick start ended by itself')));
    child?.stdout?.once('data', (line: Buffer) => resolve(Number(/port (\d+)/.exec(String(line))?.[1])));
  });
  const url = `https://localhost:${port}/mcp`;
  const over = (tls: object): ((target: string | URL, init?: RequestInit) => Promise<Response>) => {
    const fetch = fetchWith({ ca: as.tls.ca, ...tls });
    fetches.push(fetch);
    return (target, init) => fetch(target, init);
  };

  const token = await owner.token();
  const byCertificate = await connect(url, mtlsFetch(over(owner.tls), token));
  expect(await callTool(byCertificate.client, 'whoami')).toBe('owner, by owner');
  await expect(connect(url, mtlsFetch(over(thief.tls), token))).rejects.toThrow(/invalid_token/);

  // Its proofs name the URL as clients know it, which here is another than the one that leads there.
  const keys = await dpop.generateKeyPair('ES256');
  const jkt = await calculateJwkThumbprint(await crypto.subtle.exportKey('jwk', keys.publicKey));
  const proven = await owner.token({ cnf: { jkt } });
  const sendTo = over({});
  const byKey = await connect(
    'https://mcp.example.com/mcp',
    dpopFetch((_target, init) => sendTo(url, init), keys, proven),
  );
  expect(await callTool(byKey.client, 'whoami')).toBe('owner, by owner');

  const { sessionId = '' } = byCertificate.transport;
  const stealing = { headers: { accept: 'text/event-stream', 'mcp-session-id': sessionId } };
  expect((await mtlsFetch(over(thief.tls), await thief.token())(url, stealing)).status).toBe(404);
  const about = await over({})(`https://localhost:${port}/.well-known/oauth-protected-resource/mcp`);
  expect(await about.json()).toMatchObject({ resource: 'https://mcp.example.com/mcp', authorization_servers: [as.issuer] });
  await Promise.all([byCertificate.client.close(), byKey.client.close()]);
});
