import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requestOnce } from '@holdfast/test-support/clients';
import { startIssuer } from '@holdfast/test-support/issuer';
import { createPki } from '@holdfast/test-support/pki';
import { afterAll, describe, expect, it } from 'vitest';
import { titlesIn } from './titles.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');

describe('the quick start of the README', () => {
  // Beside the packages it imports, where git does not look.
  const folder = `${root}test/node_modules/.quick-start`;
  let child: ChildProcess | undefined;
  afterAll(() => {
    child?.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  it('runs as it stands, lets the owner in and keeps a thief out', async () => {
    const [, block = ''] = /```js\n(import \{ readFileSync[\s\S]*?)```/.exec(read('README.md')) ?? [];
    const pki = await createPki();
    const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
    const issuer = await startIssuer();
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/server.key`, pki.server.key);
    writeFileSync(`${folder}/server.crt`, pki.server.cert);
    // Only what belongs to a place is changed: the issuer and the port.
    const local = block
      .replace("'https://as.example.com'", JSON.stringify(issuer.url))
      .replace('.listen(8443);', ".listen(0, function () { console.log('port ' + this.address().port); });");
    expect(local.length).toBeGreaterThan(block.length);
    writeFileSync(`${folder}/api.mjs`, local);

    child = spawn(process.execPath, ['api.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
    const port = await new Promise<number>((resolve, reject) => {
      child?.once('exit', () => reject(new Error('the quick start ended by itself')));
      child?.stdout?.once('data', (line: Buffer) => resolve(Number(/port (\d+)/.exec(String(line))?.[1])));
    });
    const claims = { aud: 'https://api.example.com', scope: 'accounts:read', cnf: { 'x5t#S256': owner.thumbprint } };
    const headers = { authorization: `Bearer ${await issuer.token(claims)}` };
    const request = { port, path: '/accounts', ca: pki.ca, servername: 'localhost', headers };
    const granted = await requestOnce({ ...request, cert: owner.cert, key: owner.key });
    expect([granted.status, granted.body]).toEqual([200, '{"owner":"user-1"}']);
    expect((await requestOnce({ ...request, cert: thief.cert, key: thief.key })).status).toBe(401);
    expect((await requestOnce(request)).status).toBe(401);
    await issuer.close();
  });
});

const titles = new Map<string, readonly string[]>();

/** Whether a file has a test, a group of them or a row of a table whose title has this in it. Folders, and files of types, are named without. */
function isThere(file: string, title: string | undefined): boolean {
  if (!existsSync(`${root}${file}`)) return false;
  if (title === undefined) return !file.endsWith('.test.ts');
  let known = titles.get(file);
  if (known === undefined) {
    const { tests, groups, rows } = titlesIn(file, read(file));
    known = [...tests, ...groups, ...rows];
    titles.set(file, known);
  }
  return known.some((one) => one.includes(title));
}

describe('the documents', () => {
  it.each([
    'README.md',
    'SECURITY.md',
    'CONTRIBUTING.md',
    'examples/browser/README.md',
    'examples/functions/README.md',
    'examples/hono/README.md',
    'packages/cli/README.md',
    'packages/core/README.md',
    'packages/express/README.md',
    'packages/fastify/README.md',
    'packages/mcp/README.md',
    'packages/nestjs/README.md',
    'packages/opentelemetry/README.md',
    'packages/testing/README.md',
    'examples/mcp/README.md',
    'examples/nestjs/README.md',
    'examples/observability/README.md',
  ])('%s links to nothing that is not there', (document) => {
    const targets = [...read(document).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, target]) => target ?? '');
    expect(targets.filter((target) => !existsSync(posix.join(root, posix.dirname(document), target)))).toEqual([]);
  });

  it.each(['core', 'express', 'fastify', 'mcp', 'nestjs', 'opentelemetry'])(
    'the code in the README of %s is compiled as it stands there',
    (name) => {
      // Decorated classes stand in a file of their own.
      const [, part] = new RegExp(`// readme: ${name}\\n([^]*?)\\n}\\n`).exec(read('test/types/readme.ts')) ?? [];
      const section = part ?? read(`test/types/${name}-readme.ts`);
      const compiled = new Set(section.split('\n').map((line) => line.trim()));
      const shown = [...read(`packages/${name}/README.md`).matchAll(/```ts\n([^]*?)```/g)].flatMap(([, block = '']) => block.split('\n'));
      const lines = shown.map((line) => line.trim()).filter((line) => line !== '');
      expect(lines.length).toBeGreaterThan(4);
      expect(lines.filter((line) => !compiled.has(line))).toEqual([]);
    },
  );

  it.each(['express', 'fastify'])('every piece of code in the tables of migration of %s is compiled', (name) => {
    const flat = (text: string): string => text.replace(/\s+/g, ' ');
    const compiled = flat(read('test/types/migration.ts'));
    const [, ...tables] = read(`packages/${name}/README.md`).split('| before | with Holdfast |\n|---|---|\n');
    const [, theirs = ''] = /### express-oauth2-jwt-bearer\n([^]*?)\n### /.exec(read('packages/express/README.md')) ?? [];
    const rows = tables.flatMap((table) => table.split('\n\n', 1)[0]?.split('\n') ?? []);
    const missing = rows.flatMap((row) => {
      const [before = '', after = ''] = row.slice(2, -2).split(' | ');
      // Of the others the neighbour is not installed. Names of variables, and what a token says, are no code.
      const shown = theirs.includes(row) ? `${before} ${after}` : after;
      const code = [...shown.matchAll(/`([^`]+)`/g)]
        .map(([, span = '']) => span)
        .filter((span) => !/^[A-Z_]+$|process\.env|^(?:iss|typ|typ: JWT|at\+jwt)$/.test(span));
      return code.filter((span) => !compiled.includes(flat(span)));
    });
    expect(rows.length).toBeGreaterThan(15);
    expect(missing).toEqual([]);
  });

  it('EDG-13 SECURITY.md says what only the deployment can see to', () => {
    const [, duties = ''] = /## What the deployment has to see to\n([^]*?)\n## /.exec(read('SECURITY.md')) ?? [];
    expect(duties).toMatch(/TLS also between an edge and the API/);
    expect(duties).toMatch(/TLS 1\.2 or later/);
  });

  it('SECURITY.md names a test for every line, and whatever it names is there: a title, and not just any words', () => {
    const lines = read('SECURITY.md').split('\n');
    const held = lines.filter((line) => line.startsWith('| ') && !line.startsWith('| attempt'));
    expect(held.length).toBeGreaterThan(25);
    expect(held.filter((line) => !/`test\//.test(line.split(' | ').at(-1) ?? ''))).toEqual([]);
    // In brackets where the line is no row of a table.
    const references = [...lines.join('\n').matchAll(/`(test\/[^`]+)`(?:: ([^,|)\n]+))?/g)];
    expect(references.length).toBeGreaterThan(100);
    const missing = references.filter(([, file = '', title]) => !isThere(file, title?.trim()));
    expect(missing.map(([reference]) => reference)).toEqual([]);
  });
});
