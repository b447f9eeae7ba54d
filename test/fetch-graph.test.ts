// What `@holdfast/core/fetch` reaches, as it is built, where there is no Node: every module it can load, at once or later, its
// dependencies included. Resolved with the conditions of the runtime, from the manifest that is published.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseSync, Visitor } from 'oxc-parser';
import { beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../', import.meta.url));
const core = join(root, 'packages/core');

/** What a target of `imports` and `exports` can be. */
type Target = string | null | readonly Target[] | { readonly [condition: string]: Target };

interface Manifest {
  readonly name: string;
  readonly main?: string;
  readonly exports?: Target;
  readonly publishConfig?: { readonly imports: Record<string, Target> };
}

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'packages/core', 'packages/mcp'], {
    cwd: root,
  });
}, 60_000);

function manifestOf(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest;
}

/** The first condition that holds, in the order of the manifest. */
function choose(target: Target | undefined, conditions: readonly string[]): string | undefined {
  if (typeof target === 'string' || target === null || target === undefined) return target ?? undefined;
  if (Array.isArray(target)) return target.map((one: Target) => choose(one, conditions)).find((one) => one !== undefined);
  for (const [condition, inner] of Object.entries(target)) {
    if (condition === 'default' || conditions.includes(condition)) return choose(inner, conditions);
  }
  return undefined;
}

/** CommonJS leaves endings out. */
function fileAt(path: string): string {
  const file = ['', '.js', '.cjs', '/index.js']
    .map((ending) => path + ending)
    .find((one) => statSync(one, { throwIfNoEntry: false })?.isFile());
  if (file === undefined) throw new Error(`${path} is not there`);
  return file;
}

function resolve(specifier: string, from: string, conditions: readonly string[]): string {
  if (specifier.startsWith('.')) return fileAt(join(dirname(from), specifier));
  if (specifier.startsWith('#')) {
    const target = choose(manifestOf(core).publishConfig?.imports[specifier], conditions);
    if (target === undefined) throw new Error(`${specifier} of ${from}`);
    return join(core, target);
  }
  const [, name = '', rest = ''] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier) ?? [];
  let folder = dirname(from);
  while (!existsSync(join(folder, 'node_modules', name))) {
    if (folder === dirname(folder)) throw new Error(`${specifier} of ${from}`);
    folder = dirname(folder);
  }
  const found = realpathSync(join(folder, 'node_modules', name));
  const { exports, main = 'index.js' } = manifestOf(found);
  const isMap = typeof exports === 'object' && exports !== null && '.' in exports;
  const target = choose(isMap ? (exports as Record<string, Target>)[`.${rest}`] : exports, conditions);
  return fileAt(join(found, target ?? (rest === '' ? main : rest)));
}

interface Graph {
  /** Where each module was loaded from, by its path from the root. */
  readonly modules: ReadonlyMap<string, string>;
  readonly builtins: readonly string[];
  /** Uses of what only Node has, in code of ours. */
  readonly globals: readonly string[];
}

const NODE_GLOBALS = new Set([
  'process',
  'Buffer',
  'global',
  'setImmediate',
  'clearImmediate',
  'require',
  'module',
  '__dirname',
  '__filename',
]);

function graphOf(conditions: readonly string[], entry: string = join(core, 'dist/fetch.js')): Graph {
  const modules = new Map<string, string>();
  const builtins: string[] = [];
  const globals: string[] = [];
  const open = [[entry, 'the entry']] as [path: string, from: string][];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [path, from] = next;
    const name = relative(root, path);
    if (modules.has(name)) continue;
    modules.set(name, from);
    const found = (specifier: unknown): void => {
      if (typeof specifier !== 'string') throw new Error(`${name} imports something that is not written down`);
      if (isBuiltin(specifier)) builtins.push(`${specifier} in ${name}`);
      else open.push([resolve(specifier, path, conditions), name]);
    };
    const members = new WeakSet<object>();
    const isOurs = path.startsWith(join(root, 'packages'));
    new Visitor({
      ImportDeclaration: ({ source }) => found(source.value),
      ExportNamedDeclaration: ({ source }) => void (source && found(source.value)),
      ExportAllDeclaration: ({ source }) => found(source.value),
      ImportExpression: ({ source }) => found(source.type === 'Literal' ? source.value : undefined),
      CallExpression({ callee, arguments: [first] }) {
        if (callee.type === 'Identifier' && callee.name === 'require') found(first?.type === 'Literal' ? first.value : undefined);
      },
      MemberExpression({ computed, property }) {
        if (!computed) members.add(property);
      },
      Property({ computed, key }) {
        if (!computed) members.add(key);
      },
      Identifier(node) {
        if (isOurs && NODE_GLOBALS.has(node.name) && !members.has(node)) globals.push(`${node.name} in ${name}`);
      },
    }).visit(parseSync(path, readFileSync(path, 'utf8')).program);
  }
  return { modules, builtins, globals };
}

/** What bundlers for each ask for: wrangler for Workers all three. */
const WITHOUT_NODE = [
  ['workerd', ['workerd', 'worker', 'browser', 'import']],
  ['browser', ['browser', 'import']],
] as const;

describe('The fetch entry', () => {
  test.each(WITHOUT_NODE)('under the condition %s reaches no built-in of Node, and nothing else that only Node has', (_, conditions) => {
    const { modules, builtins, globals } = graphOf(conditions);
    expect({ builtins, globals }).toEqual({ builtins: [], globals: [] });
    const reached = [...modules.keys()];
    // The walk went all the way: our web variants, and what they stand on.
    for (const part of ['crypto/web.js', 'runtime/web.js', 'certificate/peers.web.js', 'keys/fetch-key-set.js', 'certificate/x509.js'])
      expect(reached).toContain(`packages/core/dist/${part}`);
    for (const dependency of ['jose', '@noble/hashes', 'lru-cache', '@peculiar/x509', 'ipaddr.js'])
      expect(
        reached.some((path) => path.includes(`/node_modules/${dependency}/`)),
        dependency,
      ).toBe(true);
    for (const part of [
      'crypto/node.js',
      'runtime/node.js',
      'certificate/peers.node.js',
      'certificate/tls-connection.js',
      'keys/jwks-rsa.js',
    ])
      expect(reached).not.toContain(`packages/core/dist/${part}`);
  });

  test.each(WITHOUT_NODE)('of @holdfast/mcp does neither, under the condition %s', (_, conditions) => {
    const { modules, builtins, globals } = graphOf(conditions, join(root, 'packages/mcp/dist/fetch.js'));
    expect({ builtins, globals }).toEqual({ builtins: [], globals: [] });
    expect([...modules.keys()]).toEqual(expect.arrayContaining(['packages/mcp/dist/sessions.js', 'packages/core/dist/fetch.js']));
    expect([...modules.keys()]).not.toContain('packages/express/dist/index.js');
  });

  test.each(['deno', 'bun'])('under the condition %s reaches those alone that the runtime has', (condition) => {
    const { builtins, globals } = graphOf([condition, 'node', 'import']);
    const ours = builtins.filter((found) => found.includes(' in packages/'));
    expect(ours.toSorted()).toEqual([
      'node:cluster in packages/core/dist/runtime/node.js',
      'node:diagnostics_channel in packages/core/dist/runtime/node.js',
    ]);
    const theirs = builtins.filter((found) => !ours.includes(found)).map((found) => found.split(' ')[0]);
    expect(new Set(theirs)).toEqual(new Set(['node:diagnostics_channel']));
    expect(globals).toEqual(['process in packages/core/dist/runtime/node.js']);
  });

  test('on Node uses what Node has: the walk finds it', () => {
    const { builtins, globals } = graphOf(['node', 'import']);
    expect(builtins).toContain('node:crypto in packages/core/dist/crypto/node.js');
    expect(globals).toContain('Buffer in packages/core/dist/crypto/node.js');
  });
});
