// What npm would publish: packed as it is published, looked at, installed far from this workspace, and used as people use it.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { install, OLDEST_NODE, oldestNode, pack, readJson, root, run, tool, writeFiles } from './packed.ts';

const MINUTE = 60_000;

const names = readdirSync(join(root, 'packages')).filter((name) => !('private' in manifest(name)));
/** Its name has spaces, as people's folders do. */
const temporary = mkdtempSync(join(tmpdir(), 'holdfast package test '));
const consumer = join(temporary, 'a consumer');
let tarballs: ReadonlyMap<string, string> = new Map();

beforeAll(async () => {
  tarballs = await pack(names, join(temporary, 'packed'));
  for (const [name, tarball] of tarballs) await unpack(tarball, join(temporary, name));
}, MINUTE);

afterAll(() => rmSync(temporary, { recursive: true, force: true }));

describe.each(names)('The tarball of %s', (name) => {
  const unpacked = join(temporary, name, 'package');

  test('holds the sources without tests, what was built of them, the manifest and the licence, and nothing else', () => {
    const sources = filesIn(join(root, 'packages', name, 'src')).filter((file) => !file.endsWith('.test.ts'));
    const built = sources.flatMap((file) => ['.js', '.js.map', '.d.ts', '.d.ts.map'].map((ending) => `dist/${file.slice(0, -3)}${ending}`));
    const readme = existsSync(join(root, 'packages', name, 'README.md')) ? ['README.md'] : [];
    const expected = ['LICENSE', 'package.json', ...readme, ...sources.map((file) => `src/${file}`), ...built];
    // A file in dist without a source is left from an earlier build: remove dist and .tsbuildinfo, and build again.
    expect(filesIn(unpacked).toSorted()).toEqual(expected.toSorted());
  });

  test('carries the Apache licence, whole', () => {
    const licence = readFileSync(join(unpacked, 'LICENSE'), 'utf8');
    expect(licence).toBe(readFileSync(join(root, 'LICENSE'), 'utf8'));
    expect(licence).toContain('Apache License');
    expect(readJson(join(unpacked, 'package.json'))).toMatchObject({ license: 'Apache-2.0' });
  });

  test('knows nothing of the workspace: no source condition, no workspace protocol, no path', () => {
    const { dependencies, ...published } = readJson(join(unpacked, 'package.json')) as { readonly dependencies: object };
    expect(JSON.stringify(published)).not.toContain('@holdfast/source');
    for (const version of Object.values(dependencies)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    for (const file of filesIn(unpacked)) expect(readFileSync(join(unpacked, file), 'utf8'), file).not.toContain(root);
  });

  test('passes publint', async () => {
    const { buffer } = Uint8Array.from(readFileSync(tarballOf(name)));
    const { messages } = await publint({ pack: { tarball: buffer }, level: 'warning' });
    expect(messages).toEqual([]);
  });
});

// A program has nothing to import.
describe.each(names.filter(isLibrary))('The tarball of %s', (name) => {
  test('has types that every way of importing finds (are-the-types-wrong)', async () => {
    // What `#crypto` is nobody can find who does not read "imports" (module: commonjs of TypeScript 5), and there it is an inner type.
    // Where "imports" are read, the compilation below finds what attw would.
    const ignored = ['--profile', 'esm-only', '--ignore-rules', 'internal-resolution-error'];
    const args = [tool('@arethetypeswrong/cli', 'attw'), tarballOf(name), ...ignored, '--format', 'ascii', '--no-color'];
    // It ends with an error where it finds a problem, and fails the test by that.
    const report = await run(process.execPath, args, temporary);
    expect(report).toContain('node16 (from ESM): 🟢 (ESM)');
    expect(report).toContain('bundler: 🟢');
  });
});

describe('Installed with npm', () => {
  beforeAll(async () => {
    const { devDependencies } = readJson(join(root, 'package.json')) as { readonly devDependencies: Record<string, string> };
    writeFiles(consumer, {
      'package.json': JSON.stringify({
        name: 'consumer',
        private: true,
        type: 'module',
        dependencies: {
          express: '5.3.0',
          fastify: '5.12.8',
          '@types/express': devDependencies['@types/express'],
          '@types/node': devDependencies['@types/node'],
          ...Object.fromEntries(names.map((name) => [`@holdfast/${name}`, `file:${tarballOf(name)}`])),
        },
      }),
      'program.js': `import express from 'express';\nimport { SignJWT, exportJWK, generateKeyPair } from 'jose';\nimport { accessOf, holdfast, requires } from '@holdfast/express';\n${PROGRAM}`,
      'program.cjs': `const express = require('express');\nconst { SignJWT, exportJWK, generateKeyPair } = require('jose');\nconst { accessOf, holdfast, requires } = require('@holdfast/express');\n${PROGRAM}`,
      'fetch.js': FETCH_PROGRAM,
      'module.ts': TYPES,
      'commonjs.cts': TYPES.replace("import express from 'express'", "import express = require('express')"),
      'fastify.ts': FASTIFY_TYPES,
      'fastify.cjs': FASTIFY_PROGRAM,
      'tsconfig.json': JSON.stringify({
        compilerOptions: {
          module: 'nodenext',
          target: 'es2023',
          lib: ['es2023'],
          types: ['node'],
          strict: true,
          skipLibCheck: false,
          noEmit: true,
        },
      }),
    });
    await install(consumer);
  }, 2 * MINUTE);

  test.each(['program.js', 'program.cjs'])(
    '%s protects an Express app',
    async (program) => {
      expect(JSON.parse(await run(process.execPath, [program], consumer))).toEqual(ANSWERS);
    },
    20_000,
  );

  test('holdfast is a command: it says its version and its help, and refuses what it does not know', async () => {
    const { version } = readJson(join(root, 'packages', 'cli', 'package.json')) as { readonly version: string };
    expect(await run('npx', ['--no-install', 'holdfast', '--version'], consumer)).toBe(`${version}\n`);
    expect(await run('npx', ['--no-install', 'holdfast', 'probe', '--help'], consumer)).toContain('Usage: holdfast probe <url>');
    for (const command of ['doctor', 'inspect']) {
      expect(await run('npx', ['--no-install', 'holdfast', command, '--help'], consumer)).toContain(`Usage: holdfast ${command} `);
    }
    await expect(run('npx', ['--no-install', 'holdfast', 'probe', '--token', 'a'], consumer)).rejects.toThrow(
      /There is no option --token\./,
    );
  }, 20_000);

  test('fastify.cjs protects a Fastify app', async () => {
    expect(JSON.parse(await run(process.execPath, ['fastify.cjs'], consumer))).toEqual({ without: 401, public: 200, strict: true });
  }, 20_000);

  test.each([
    ['on Node', [], true],
    ['under the conditions of a worker', ['--conditions=workerd', '--conditions=browser'], false],
  ] as const)('fetch.js protects requests %s', async (_, conditions, cluster) => {
    const answers = { statuses: [401, 200], subject: 'someone', cluster };
    expect(JSON.parse(await run(process.execPath, [...conditions, 'fetch.js'], consumer))).toEqual(answers);
  });

  test(
    `both run on Node ${OLDEST_NODE}, the oldest that is supported`,
    async (context) => {
      const node = await oldestNode(temporary);
      if ('missing' in node) return context.skip(node.missing);
      expect(await run(node.path, ['--version'], consumer)).toBe(`v${OLDEST_NODE}\n`);
      for (const program of ['program.js', 'program.cjs']) {
        expect(JSON.parse(await run(node.path, [program], consumer)), program).toEqual(ANSWERS);
      }
      const command = join(consumer, 'node_modules', '@holdfast', 'cli', 'dist', 'main.js');
      expect(await run(node.path, [command, 'probe', '--help'], consumer)).toContain('Usage: holdfast probe <url>');
      await expect(run(node.path, [command, 'doctor', 'https://127.0.0.1:1'], consumer)).rejects.toThrow(/ECONNREFUSED\. Nobody/);
    },
    2 * MINUTE,
  );

  test(
    'ES modules and CommonJS in TypeScript compile against it, declarations included',
    async () => {
      await expect(run(process.execPath, [tool('typescript', 'tsc'), '-p', '.'], consumer)).resolves.toBe('');
    },
    MINUTE,
  );

  test(
    'TypeScript there sees the types, and not any',
    async () => {
      writeFiles(join(consumer, 'wrong'), {
        'wrong.ts': "import { holdfast } from '@holdfast/express';\nholdfast({ issuer: 'https://as.example', audience: 1 });\n",
        'tsconfig.json': JSON.stringify({ extends: '../tsconfig.json' }),
      });
      const compiled = run(process.execPath, [tool('typescript', 'tsc'), '-p', 'wrong'], consumer);
      await expect(compiled).rejects.toThrow(/wrong\.ts\(2,.*TS2769|wrong\.ts\(2,.*TS2322/);
    },
    MINUTE,
  );
});

/** Of the fetch entry: what it answers, and which modules of Node were loaded for it. */
const FETCH_PROGRAM = `
const before = new Set(process.moduleLoadList);
const { accessOf, holdfast } = await import('@holdfast/core/fetch');
const { SignJWT, exportJWK, generateKeyPair } = await import('jose');
const { privateKey, publicKey } = await generateKeyPair('ES256');
const [issuer, audience] = ['https://as.example', 'https://api.example'];
const jwks = { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256' }] };
const token = await new SignJWT({})
  .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
  .setIssuer(issuer).setAudience(audience).setSubject('someone').setIssuedAt().setExpirationTime('1 minute')
  .sign(privateKey);
const protect = holdfast({ issuer, audience, keys: { jwks }, unconstrained: 'accept' });
const request = new Request(audience, { headers: { authorization: 'Bearer ' + token } });
const [none, some] = [await protect(new Request(audience)), await protect(request)];
const loaded = process.moduleLoadList.filter((name) => !before.has(name) && name.startsWith('NativeModule '));
console.log(JSON.stringify({
  statuses: [none.refusal.status, some.apply(new Response()).status],
  subject: accessOf(request).claims.sub,
  cluster: loaded.some((name) => /cluster/.test(name)),
}));
`;

/** The same in both module systems: an app that is protected, and requests to it. */
const PROGRAM = `
(async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const issuer = 'https://as.example';
  const audience = 'https://api.example';
  const keys = { jwks: { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256' }] } };
  const token = await new SignJWT({ scope: 'read' })
    .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
    .setIssuer(issuer).setAudience(audience).setSubject('someone').setIssuedAt().setExpirationTime('1 minute')
    .sign(privateKey);

  const app = express();
  let reached = 0;
  app.use('/bound', holdfast({ issuer, audience, keys }));
  app.use('/unbound', holdfast({ issuer, audience, keys, unconstrained: 'accept' }));
  app.use(requires({ scope: 'read' }), (request, response) => {
    reached += 1;
    response.json(accessOf(request).claims.sub);
  });
  const server = app.listen(0, '127.0.0.1', async () => {
    const ask = async (path, headers) => {
      const response = await fetch('http://127.0.0.1:' + server.address().port + path, { headers });
      return [response.status, response.headers.get('www-authenticate'), (await response.json().catch(() => ({}))).error ?? null];
    };
    const authorization = 'Bearer ' + token;
    const answers = {
      without: await ask('/bound'),
      invalid: await ask('/bound', { authorization: 'Bearer a.b.c' }),
      notBound: await ask('/bound', { authorization }),
      reached,
      accepted: await ask('/unbound', { authorization }),
      unprotected: (await ask('/'))[0],
      reachedThen: reached,
    };
    console.log(JSON.stringify(answers));
    server.close();
  });
})();
`;

const INVALID_TOKEN = [
  401,
  expect.stringMatching(/^Bearer error="invalid_token", .*realm="https:\/\/api\.example", DPoP /),
  'invalid_token',
];
const ANSWERS = {
  without: [
    401,
    'Bearer realm="https://api.example", DPoP realm="https://api.example", algs="ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519"',
    null,
  ],
  invalid: INVALID_TOKEN,
  notBound: INVALID_TOKEN,
  reached: 0,
  accepted: [200, null, null],
  unprotected: 401,
  reachedThen: 1,
};

const TYPES = `import express from 'express';
import { type Access, accessOf, fromTls, holdfast, protectedResource, requires } from '@holdfast/express';
import { type ProtectedResource, REASONS } from '@holdfast/core';
import { type NodeRedisClient, nodeRedisReplayStore } from '@holdfast/redis';
import { holdfast as protectFetch, type Protect } from '@holdfast/core/fetch';
import { nodeRequest } from '@holdfast/core/node';
import { statusList } from '@holdfast/core/status-list';

const isRevoked = statusList({ issuers: [{ issuer: 'https://as.example' }] });
const resource: ProtectedResource = protectedResource({ issuer: 'https://as.example', audience: 'https://api.example', certificate: fromTls(), isRevoked });
export const protect: Protect = protectFetch(resource);
const app = express();
app.use(holdfast(resource));
app.get('/accounts', requires({ scope: 'accounts' }), (request, response) => {
  const access: Access = accessOf(request);
  response.json([access.claims.sub, REASONS['certificate.missing'].status]);
});
declare const client: NodeRedisClient;
protectedResource({ issuer: 'https://as.example', audience: 'https://api.example', dpop: { replay: nodeRedisReplayStore(client, { environment: 'test' }) } });
app.get('/verified', async (request, response) => {
  const result = await resource.verify(nodeRequest(request));
  response.json(result.granted ? result.claims.iss : result.rejection.rejected);
});
`;

const FASTIFY_PROGRAM = `
const fastify = require('fastify');
const { holdfast } = require('@holdfast/fastify');

(async () => {
  const options = { issuer: 'https://as.example', audience: 'https://api.example' };
  const app = fastify();
  await app.register(holdfast, options);
  app.get('/r', () => 'r');
  app.get('/public', { config: { holdfast: 'public' } }, () => 'public');
  const strict = fastify();
  await strict.register(holdfast, { ...options, strictRoutes: true });
  strict.get('/r', () => 'r');
  const failure = await strict.ready().then(() => undefined, (error) => error);
  console.log(JSON.stringify({
    without: (await app.inject('/r')).statusCode,
    public: (await app.inject('/public')).statusCode,
    strict: failure instanceof TypeError,
  }));
  await app.close();
})();
`;

const FASTIFY_TYPES = `import fastify from 'fastify';
import { type Access, accessOf, holdfast, requires } from '@holdfast/fastify';

const app = fastify();
await app.register(holdfast, { issuer: 'https://as.example', audience: 'https://api.example', strictRoutes: true });
app.get('/accounts', { config: { holdfast: { scope: 'accounts' } }, preHandler: requires({ scope: 'read' }) }, (request) => {
  const access: Access = accessOf(request);
  return access.claims.sub;
});
// @ts-expect-error: a policy that does not exist
app.get('/private', { config: { holdfast: 'private' } }, () => 'private');
`;

async function unpack(tarball: string, into: string): Promise<void> {
  writeFiles(into, {});
  await run('tar', ['-xzf', tarball, '-C', into], temporary);
}

function tarballOf(name: string): string {
  return tarballs.get(name) ?? '';
}

function isLibrary(name: string): boolean {
  const { publishConfig } = manifest(name) as { readonly publishConfig: { readonly exports: object } };
  return '.' in publishConfig.exports;
}

function manifest(name: string): object {
  return readJson(join(root, 'packages', name, 'package.json')) as object;
}

/** Files below a folder, with slashes. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
}
