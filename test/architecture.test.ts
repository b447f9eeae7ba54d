// Where things stand, and what may know what. The tables are the rules; they say exactly what is there today, so that a new
// dependency shows in review as a new line here.
//
// Read with oxc-parser: the parser that the linter and the test runner already use, so it keeps up with the syntax, and one that
// gives the whole tree, types included, where an import lexer would miss `import('x').T` and know nothing of the code.
import { readdirSync, readFileSync } from 'node:fs';
import { STATUS_CODES } from 'node:http';
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Node, parseSync, Visitor } from 'oxc-parser';
import { describe, expect, test } from 'vitest';

/** A room of core is a folder, or a file beside them; what each may import. No room but `index` may import `protected-resource`. */
const ROOMS: Record<string, readonly string[]> = {
  rejection: [],
  request: [],
  check: [],
  slot: [],
  runtime: [],
  crypto: ['request'],
  discovery: [],
  events: ['rejection', 'request', 'runtime'],
  redaction: [],
  challenge: ['rejection', 'request'],
  keys: ['crypto', 'discovery', 'rejection', 'request', 'runtime'],
  replay: ['crypto', 'request'],
  certificate: ['check', 'crypto', 'rejection', 'request', 'runtime'],
  // The stages, each below the next.
  'access-token': ['crypto', 'discovery', 'keys', 'rejection', 'request', 'runtime', 'slot'],
  confirmation: ['access-token', 'certificate', 'challenge', 'crypto', 'keys', 'rejection', 'replay', 'request', 'slot'],
  authorization: ['access-token', 'challenge', 'confirmation', 'rejection', 'request', 'runtime'],
  // What puts the stages together.
  options: [
    'access-token',
    'certificate',
    'challenge',
    'check',
    'confirmation',
    'discovery',
    'events',
    'rejection',
    'replay',
    'request',
    'runtime',
  ],
  'protected-resource': [
    'access-token',
    'authorization',
    'certificate',
    'challenge',
    'confirmation',
    'events',
    'keys',
    'options',
    'rejection',
    'request',
    'slot',
  ],
  // What adapters keep of requests.
  protection: ['access-token', 'authorization', 'challenge', 'options', 'protected-resource', 'slot'],
  // Public entries.
  'node-request': ['certificate', 'request', 'slot'],
  upgrade: ['authorization', 'certificate', 'challenge', 'node-request', 'request'],
  fetch: [
    'access-token',
    'authorization',
    'certificate',
    'challenge',
    'events',
    'options',
    'protected-resource',
    'protection',
    'rejection',
    'replay',
    'request',
    'slot',
  ],
  'status-list': ['access-token', 'options'],
  diagnosis: ['access-token', 'confirmation', 'discovery', 'keys', 'options'],
  node: ['challenge', 'node-request', 'rejection', 'slot', 'upgrade'],
  index: [
    'access-token',
    'authorization',
    'certificate',
    'challenge',
    'confirmation',
    'discovery',
    'events',
    'options',
    'protected-resource',
    'protection',
    'redaction',
    'rejection',
    'replay',
    'request',
  ],
};

/** What has a variant for Node and one for the web; the names stand for the first. */
const INNER: Readonly<Record<string, string>> = {
  '#crypto': 'crypto/node.ts',
  '#fetch-key-set': 'keys/jwks-rsa.ts',
  '#peers': 'certificate/peers.node.ts',
  '#runtime': 'runtime/node.ts',
};

/** How a module is imported: for its types alone, when it is asked for, or at once. */
type Kind = 'type' | 'dynamic' | 'static';

/** What is not ours: in which files (or folders) of core, and how at most. */
const DEPENDENCIES: Record<string, Record<string, Kind>> = {
  jose: {
    'access-token/': 'static',
    'keys/': 'static',
    'crypto/web.ts': 'static',
    'options/keys.ts': 'type',
    'options/introspection.ts': 'type',
    'options/decryption.ts': 'type',
    'options/metadata.ts': 'type',
    'challenge/metadata.ts': 'dynamic',
  },
  '@noble/hashes/hmac.js': { 'crypto/web.ts': 'static' },
  '@noble/hashes/sha2.js': { 'crypto/web.ts': 'static' },
  '@noble/hashes/utils.js': { 'crypto/web.ts': 'static' },
  'jwks-rsa': { 'keys/jwks-rsa.ts': 'dynamic' },
  '@peculiar/x509': { 'certificate/x509.ts': 'dynamic' },
  'reflect-metadata': { 'certificate/x509.ts': 'dynamic' },
  'ipaddr.js': { 'certificate/peers.web.ts': 'static' },
  'lru-cache': {
    'access-token/cache.ts': 'static',
    'access-token/introspection.ts': 'static',
    'access-token/status-list.ts': 'static',
    'certificate/chain.ts': 'static',
    'certificate/forwarded.ts': 'static',
    'keys/proof-key.ts': 'static',
    'replay/memory.ts': 'static',
  },
  oauth4webapi: { 'access-token/introspection-request.ts': 'dynamic' },
  'node:cluster': { 'runtime/node.ts': 'static' },
  'node:crypto': { 'crypto/node.ts': 'static' },
  'node:diagnostics_channel': { 'runtime/node.ts': 'static', 'certificate/tls-connection.ts': 'static' },
  'node:http': { 'node.ts': 'type', 'node-request.ts': 'type', 'upgrade.ts': 'static' },
  'node:http2': { 'node.ts': 'type', 'node-request.ts': 'type' },
  'node:stream': { 'upgrade.ts': 'type' },
  'node:net': { 'certificate/peers.node.ts': 'static' },
  'node:tls': { 'certificate/tls-connection.ts': 'type' },
};

/** Files that may use what only Node has without an import: of core, and of the packages that only run there. */
const NODE_GLOBALS: ReadonlyMap<string, readonly string[]> = new Map([
  [
    'process',
    ['runtime/node.ts', 'fastify/route-policy.ts', 'opentelemetry/index.ts', 'redis/events.ts', 'cli/main.ts', 'cli/terminal.ts'],
  ],
  ['Buffer', ['crypto/node.ts', 'testing/client.ts', 'cli/']],
]);

/** What adapters may import: they decide nothing, so they need nothing else. */
const ADAPTERS: Record<string, Kind> = {
  '@holdfast/core': 'static',
  '@holdfast/core/node': 'static',
  'node:http': 'type',
  'node:http2': 'type',
};

/** And beside that each the framework it is for, as far as it has to. */
const FRAMEWORKS: Record<string, Record<string, Kind>> = {
  fastify: { fastify: 'type', 'fastify-plugin': 'static' },
  nestjs: { '@nestjs/common': 'static', '@nestjs/core': 'static' },
};

/** What a package that is no adapter may import. Clients of Redis are the application's own: not even their types are imported. */
const PACKAGES: Record<string, Record<string, Kind>> = {
  cli: {
    '@holdfast/core': 'static',
    '@holdfast/core/diagnosis': 'static',
    '@peculiar/x509': 'dynamic',
    'node:crypto': 'static',
    'node:events': 'static',
    'node:fs': 'static',
    'node:fs/promises': 'static',
    'node:http': 'static',
    'node:http2': 'static',
    'node:https': 'static',
    'node:net': 'static',
    'node:path': 'static',
    'node:readline/promises': 'static',
    'node:tls': 'static',
    'node:util': 'static',
    'reflect-metadata': 'dynamic',
  },
  // The SDK is the application's own: what it needs of it is structural, and the same in both versions.
  mcp: {
    '@holdfast/core': 'type',
    '@holdfast/core/fetch': 'static',
    '@holdfast/core/node': 'static',
    '@holdfast/express': 'static',
    'node:http': 'type',
    'on-headers': 'static',
  },
  opentelemetry: { '@holdfast/core': 'static', '@opentelemetry/api': 'static', 'node:diagnostics_channel': 'static' },
  redis: { '@holdfast/core': 'static', 'node:diagnostics_channel': 'static' },
  testing: {
    '@holdfast/core': 'static',
    '@peculiar/x509': 'static',
    jose: 'static',
    'node:crypto': 'static',
    'node:events': 'static',
    'node:http': 'static',
    'reflect-metadata': 'static',
  },
};

/** Files that may know status numbers and OAuth error codes: of core, and where answers are of another protocol (that of sessions in MCP). */
const ANSWERS = ['rejection.ts', 'challenge/', 'node.ts', 'upgrade.ts', 'testing/authorization-server.ts', 'cli/probe/', 'mcp/answers.ts'];
const ERROR_CODES = /^(?:invalid_(?:request|token|dpop_proof)|insufficient_(?:scope|user_authentication)|use_dpop_nonce)$/;
const STATUSES = new Set(Object.keys(STATUS_CODES).filter((status) => status >= '400'));

/** Names of fields, and the files of core that may know them. */
const FIELDS: Record<string, readonly string[]> = {
  // The bridge of MCP takes it out.
  authorization: ['access-token/extract.ts', 'redaction.ts', 'certificate/forwarded.ts', 'cli/inspect/verdict.ts', 'mcp/bridge.ts'],
  'content-type': ['node.ts', 'challenge/response.ts', 'discovery/fetch-json.ts', 'mcp/'],
  'retry-after': ['challenge/', 'mcp/answers.ts'],
  'www-authenticate': ['challenge/'],
};
/** The files that know how edges call their fields: to read them, and to keep them out of logs. */
const EDGES = ['certificate/edges.ts', 'redaction.ts'];
const LIKE_A_FIELD = /^(?:x-[a-z-]+|[A-Z][a-z]+(?:-[A-Z][a-z]+)+)$/;

interface Source {
  /** From the root of the repository, with slashes. */
  readonly path: string;
  readonly text: string;
}

interface Import {
  readonly from: string;
  readonly specifier: string;
  readonly kind: Kind;
  readonly line: number;
}

interface Reading {
  readonly imports: readonly Import[];
  readonly faults: readonly string[];
}

/** Everything that the sources of published packages do against the tables. */
function faultsIn(sources: readonly Source[]): string[] {
  const readings = sources.map(read);
  const imports = readings.flatMap((reading) => reading.imports);
  return [...readings.flatMap(({ faults }) => faults), ...imports.flatMap(faultsOfImport), ...circles(edgesOf(imports))];
}

function read({ path, text }: Source): Reading {
  const imports: Import[] = [];
  const faults: string[] = [];
  const { program, errors } = parseSync(path, text);
  for (const { message } of errors) faults.push(`${path}: ${message}`);

  const lineOf = ({ start }: { readonly start: number }): number => text.slice(0, start).split('\n').length;
  const fault = (node: Node, why: string): void => void faults.push(`${path}:${lineOf(node)} ${why}`);
  const found = (node: Node, source: Node, kind: Kind): void => {
    const specifier = stringOf(source);
    if (specifier === undefined) fault(node, 'imports something that is not written down');
    else imports.push({ from: path, specifier, kind, line: lineOf(node) });
  };
  const inCore = (places: readonly string[]): boolean => placed(path, places);

  /** Names after a dot, which are not what they would be alone. */
  const members = new WeakSet<Node>();
  new Visitor({
    ImportDeclaration(node) {
      const types =
        node.importKind === 'type' ||
        (node.specifiers.length > 0 && node.specifiers.every((one) => one.type === 'ImportSpecifier' && one.importKind === 'type'));
      found(node, node.source, types ? 'type' : 'static');
    },
    ExportNamedDeclaration(node) {
      if (node.source === null) return;
      const types = node.exportKind === 'type' || (node.specifiers.length > 0 && node.specifiers.every((one) => one.exportKind === 'type'));
      found(node, node.source, types ? 'type' : 'static');
    },
    ExportAllDeclaration(node) {
      found(node, node.source, node.exportKind === 'type' ? 'type' : 'static');
      fault(node, 'exports whatever another module has: name what is exported');
    },
    ExportDefaultDeclaration: (node) => fault(node, 'exports without a name'),
    ImportExpression: (node) => found(node, node.source, 'dynamic'),
    TSImportType: (node) => found(node, node.source, 'type'),
    TSImportEqualsDeclaration: (node) => fault(node, 'imports as CommonJS does'),

    MemberExpression(node) {
      if (!node.computed) members.add(node.property);
      const name = nameOfMember(node);
      if (name === 'authorized' || name === 'authorizationError') fault(node, `reads .${name}, which lies on resumed TLS 1.3 sessions`);
      if ((name === 'authorization' || name === 'dpop') && lastName(node.object) === 'headers')
        fault(node, `reads headers.${name}, of which Node drops or joins lines: use fieldLines`);
      if (name === 'env' && ['process', 'meta'].includes(lastName(node.object) ?? '')) fault(node, 'reads the environment');
    },
    ObjectPattern(node) {
      for (const property of node.properties) {
        const name = property.type === 'Property' ? (property.key.type === 'Identifier' ? property.key.name : stringOf(property.key)) : '';
        if (name === 'authorized' || name === 'authorizationError') fault(node, `reads .${name}, which lies on resumed TLS 1.3 sessions`);
        if (name === 'authorization') fault(node, 'reads headers.authorization, of which Node drops lines: use fieldLines');
        if (name === 'env') fault(node, 'reads the environment');
      }
    },
    CallExpression(node) {
      const name = lastName(node.callee);
      const [first, second] = node.arguments;
      if (name === 'require') fault(node, 'imports as CommonJS does');
      if (name === 'getPeerCertificate' && first !== undefined)
        fault(node, 'asks for the chain of a certificate, which is built from what the client sent');
      if (name === 'get' && /^(?:authorization|dpop)$/i.test((first && stringOf(first)) ?? ''))
        fault(node, 'reads a field with its lines joined: use fieldLines');
      if ((name === 'parse' || name === 'canParse') && second !== undefined && node.callee.type === 'MemberExpression')
        if (lastName(node.callee.object) === 'URL') fault(node, 'resolves a URL against another, which can change its host');
    },
    NewExpression(node) {
      if (lastName(node.callee) === 'URL' && node.arguments.length > 1)
        fault(node, 'resolves a URL against another, which can change its host');
    },
    Identifier(node) {
      if (members.has(node)) return;
      const places = NODE_GLOBALS.get(node.name);
      if (places !== undefined && !inCore(places)) fault(node, `uses ${node.name}, which only Node has`);
      if (node.name === 'console' && !inCore(['runtime/web.ts'])) fault(node, 'writes to the console');
    },
    Literal(node) {
      const { value } = node;
      if (inCore(ANSWERS)) return;
      if (typeof value === 'number' && STATUSES.has(String(value))) fault(node, `knows the status ${value}: rejection.ts has the table`);
      if (typeof value === 'string' && ERROR_CODES.test(value)) fault(node, `knows the error code ${value}: rejection.ts has the table`);
      if (typeof value === 'string' && (Object.hasOwn(FIELDS, value.toLowerCase()) || LIKE_A_FIELD.test(value)))
        if (!inCore([...EDGES, ...(FIELDS[value.toLowerCase()] ?? [])])) fault(node, `knows the field ${value}`);
    },
    TemplateElement(node) {
      const { cooked } = node.value;
      if (cooked !== null && LIKE_A_FIELD.test(cooked) && !inCore(ANSWERS)) fault(node, `knows the field ${cooked}`);
    },
  }).visit(program);
  return { imports, faults };
}

function stringOf(node: Node): string | undefined {
  if (node.type === 'Literal' && typeof node.value === 'string') return node.value;
  return node.type === 'TemplateLiteral' && node.expressions.length === 0 ? (node.quasis[0]?.value.cooked ?? undefined) : undefined;
}

function nameOfMember(node: Node): string | undefined {
  if (node.type !== 'MemberExpression') return undefined;
  if (node.computed) return stringOf(node.property);
  return node.property.type === 'Identifier' ? node.property.name : undefined;
}

/** `c` of `a.b.c`, `a?.b?.["c"]` and `c`. */
function lastName(node: Node): string | undefined {
  if (node.type === 'Identifier') return node.name;
  if (node.type === 'MetaProperty') return node.property.name;
  if (node.type === 'ChainExpression' || node.type === 'ParenthesizedExpression' || node.type === 'TSNonNullExpression')
    return lastName(node.expression);
  return nameOfMember(node);
}

/** Whether a file is one of some places in core: files, or folders that end with a slash. In another package, its name comes first. */
function placed(path: string, places: readonly string[]): boolean {
  const inside = insideCore(path) ?? path.replace(/^packages\/([^/]+)\/src\//, '$1/');
  return places.some((place) => (place.endsWith('/') ? inside.startsWith(place) : inside === place));
}

function insideCore(path: string): string | undefined {
  return path.startsWith('packages/core/src/') ? path.slice('packages/core/src/'.length) : undefined;
}

/** `redis` of `packages/redis/src/store.ts`. */
function packageOf(path: string): string {
  return path.split('/')[1] ?? '';
}

/** The room of a file of core; the name of another package. */
function roomOf(path: string): string {
  const [room = ''] = (insideCore(path) ?? path.replace('packages/', '@')).split('/');
  return room.replace(/\.ts$/, '');
}

/** The file that a specifier leads to, if it is one of the same package. */
function targetOf({ from, specifier }: Import): string | undefined {
  const inner = INNER[specifier];
  if (inner !== undefined) return `packages/core/src/${inner}`;
  return specifier.startsWith('.') ? posix.join(posix.dirname(from), specifier) : undefined;
}

const KINDS: readonly Kind[] = ['type', 'dynamic', 'static'];

function faultsOfImport(one: Import): string[] {
  const { from, specifier, kind, line } = one;
  const fault = (why: string): string[] => [`${from}:${line} ${why}`];
  const atMost = (allowed: Kind | undefined): string[] => {
    if (allowed === undefined) return fault(`imports ${specifier}`);
    return KINDS.indexOf(kind) <= KINDS.indexOf(allowed) ? [] : fault(`imports ${specifier} (${kind}), and may only (${allowed})`);
  };

  const target = targetOf(one);
  const core = insideCore(from);
  if (target !== undefined && target.split('/')[1] !== from.split('/')[1]) return fault(`reaches into another package (${specifier})`);
  if (core === undefined) {
    // A client that attacks from outside knows nothing of what it attacks.
    if (specifier.startsWith('@holdfast/') && placed(from, ['cli/probe/'])) return atMost(undefined);
    const allowed = PACKAGES[packageOf(from)] ?? { ...ADAPTERS, ...FRAMEWORKS[packageOf(from)] };
    return target === undefined ? atMost(allowed[specifier]) : [];
  }
  if (target === undefined) {
    if (isBuiltin(specifier) && !specifier.startsWith('node:')) return fault(`imports ${specifier} without node:`);
    return atMost(Object.entries(DEPENDENCIES[specifier] ?? {}).find(([place]) => placed(from, [place]))?.[1]);
  }
  const room = roomOf(from);
  const wanted = roomOf(target);
  if (!Object.hasOwn(ROOMS, room)) return fault(`is in ${room}, which is no room`);
  if (room === wanted) return [];
  if (['crypto', 'runtime'].includes(wanted) && !specifier.startsWith('#'))
    return fault(`imports ${wanted} past #${wanted}, so that there would be no other variant`);
  return (ROOMS[room] ?? []).includes(wanted) ? [] : fault(`imports ${wanted}, which ${room} must not know`);
}

/** Which rooms import which. */
function edgesOf(imports: readonly Import[]): Map<string, Set<string>> {
  const edges = new Map<string, Set<string>>();
  for (const one of imports) {
    const target = targetOf(one);
    const room = roomOf(one.from);
    if (target === undefined || room === roomOf(target)) continue;
    edges.set(room, (edges.get(room) ?? new Set()).add(roomOf(target)));
  }
  return edges;
}

function circles(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const left = new Set<string>();
  const visit = (room: string, trail: readonly string[]): string[] => {
    if (trail.includes(room)) return [`rooms in a circle: ${[...trail.slice(trail.indexOf(room)), room].join(' → ')}`];
    if (left.has(room)) return [];
    const found = [...(edges.get(room) ?? [])].flatMap((next) => visit(next, [...trail, room]));
    left.add(room);
    return found;
  };
  return [...edges.keys()].flatMap((room) => visit(room, []));
}

const root = fileURLToPath(new URL('../', import.meta.url));

function publishedSources(): Source[] {
  return readdirSync(`${root}packages`).flatMap((name) =>
    readdirSync(`${root}packages/${name}/src`, { recursive: true, encoding: 'utf8' })
      .map((file) => `packages/${name}/src/${file.replaceAll('\\', '/')}`)
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
      .map((path) => ({ path, text: readFileSync(root + path, 'utf8') })),
  );
}

describe('The sources of published packages', () => {
  const sources = publishedSources();
  const imports = sources.flatMap((source) => read(source).imports);

  test('import, know and call only what the tables allow', () => {
    expect(faultsIn(sources)).toEqual([]);
  });

  test('have every room, and every import between rooms, that the table names', () => {
    const edges = edgesOf(imports);
    const rooms = new Set(sources.filter(({ path }) => insideCore(path) !== undefined).map(({ path }) => roomOf(path)));
    expect([...rooms].toSorted()).toEqual(Object.keys(ROOMS).toSorted());
    for (const [room, allowed] of Object.entries(ROOMS)) {
      expect([...(edges.get(room) ?? [])].toSorted(), `what ${room} imports`).toEqual([...allowed].toSorted());
    }
  });

  test('have every dependency that the tables name', () => {
    for (const [specifier, places] of Object.entries(DEPENDENCIES)) {
      for (const place of Object.keys(places)) {
        const used = imports.some((one) => one.specifier === specifier && placed(one.from, [place]));
        expect(used, `${specifier} in ${place}`).toBe(true);
      }
    }
    for (const specifier of Object.keys(ADAPTERS)) {
      const used = imports.some(
        (one) => one.specifier === specifier && insideCore(one.from) === undefined && PACKAGES[packageOf(one.from)] === undefined,
      );
      expect(used, `${specifier} in an adapter`).toBe(true);
    }
    for (const [name, specifiers] of [...Object.entries(FRAMEWORKS), ...Object.entries(PACKAGES)]) {
      for (const specifier of Object.keys(specifiers)) {
        const used = imports.some((one) => one.specifier === specifier && packageOf(one.from) === name);
        expect(used, `${specifier} in ${name}`).toBe(true);
      }
    }
  });
});

describe('The tables', () => {
  test('lead in one direction', () => {
    expect(circles(new Map(Object.entries(ROOMS).map(([room, allowed]) => [room, new Set(allowed)])))).toEqual([]);
  });

  test('let no room but the public entries, and what adapters keep, know the whole pipeline', () => {
    const knowing = Object.keys(ROOMS).filter((room) => ROOMS[room]?.includes('protected-resource'));
    expect(knowing).toEqual(['protection', 'fetch', 'index']);
  });

  test.each([
    ['request', 'access-token'],
    ['access-token', 'confirmation'],
    ['confirmation', 'authorization'],
    ['authorization', 'protected-resource'],
    ['certificate', 'confirmation'],
    ['keys', 'access-token'],
    ['challenge', 'confirmation'],
  ])('keep %s from knowing %s, which stands above it', (below, above) => {
    const known = new Set<string>([below]);
    for (const room of known) for (const next of ROOMS[room] ?? []) known.add(next);
    expect(known).not.toContain(above);
  });
});

/** Faults that were planted: where, what, and what is said of it. */
const PLANTED: readonly (readonly [title: string, path: string, text: string, fault: RegExp])[] = [
  [
    'a stage that imports the one above it',
    'core/src/access-token/jwt.ts',
    "import { mtls } from '../confirmation/mtls.ts';",
    /must not know/,
  ],
  ['a type of the stage above', 'core/src/keys/key-set.ts', "import type { A } from '../access-token/cache.ts';", /must not know/],
  ['a type in an expression', 'core/src/keys/key-set.ts', "let a: import('../access-token/cache.ts').A;", /must not know/],
  ['an export of the stage above', 'core/src/keys/key-set.ts', "export { a } from '../access-token/cache.ts';", /must not know/],
  ['a dynamic import of it', 'core/src/keys/key-set.ts', "await import('../access-token/cache.ts');", /must not know/],
  ['a room that imports the pipeline', 'core/src/challenge/refusal.ts', "import '../protected-resource.ts';", /must not know/],
  ['a room that is none', 'core/src/utils/misc.ts', "import '../request.ts';", /utils, which is no room/],
  ['crypto without its name', 'core/src/keys/key-set.ts', "import { sha256 } from '../crypto/node.ts';", /past #crypto/],
  ['the runtime without its name', 'core/src/events.ts', "import { warn } from './runtime/node.ts';", /past #runtime/],
  ['an import that is computed', 'core/src/keys/key-set.ts', 'await import(name);', /not written down/],
  ['require', 'core/src/keys/key-set.ts', "const a = require('jose');", /CommonJS/],
  ['import = require', 'core/src/keys/key-set.ts', "import a = require('jose');", /CommonJS/],
  ['an export of everything', 'core/src/index.ts', "export * from './request.ts';", /name what is exported/],
  ['an export without a name', 'core/src/request.ts', 'export default 1;', /without a name/],
  ['jose in a check', 'core/src/confirmation/dpop.ts', "import { jwtVerify } from 'jose';", /imports jose/],
  ['jose as a value in the options', 'core/src/options/keys.ts', "import { jwtVerify } from 'jose';", /may only \(type\)/],
  ['jwks-rsa beside its file', 'core/src/keys/key-set.ts', "await import('jwks-rsa');", /imports jwks-rsa/],
  ['jwks-rsa at once', 'core/src/keys/jwks-rsa.ts', "import { JwksClient } from 'jwks-rsa';", /may only \(dynamic\)/],
  ['x509 at once', 'core/src/certificate/x509.ts', "import * as x509 from '@peculiar/x509';", /may only \(dynamic\)/],
  ['x509 on the way of the thumbprint', 'core/src/certificate/thumbprint.ts', "await import('@peculiar/x509');", /imports @peculiar/],
  ['the polyfill at once', 'core/src/certificate/x509.ts', "import 'reflect-metadata';", /may only \(dynamic\)/],
  ['lru-cache elsewhere', 'core/src/keys/key-set.ts', "import { LRUCache } from 'lru-cache';", /imports lru-cache/],
  [
    'addresses of Node where there is a variant',
    'core/src/certificate/trusted-peers.ts',
    "import { isIP } from 'node:net';",
    /imports node:net/,
  ],
  ['ipaddr.js beside its file', 'core/src/certificate/trusted-peers.ts', "import ipaddr from 'ipaddr.js';", /imports ipaddr/],
  ['the field of an edge beside the presets', 'core/src/certificate/forwarded.ts', "const a = 'Client-Cert';", /knows the field/],
  ['a dependency that nobody knows', 'core/src/request.ts', "import lodash from 'lodash';", /imports lodash/],
  ['a built-in elsewhere', 'core/src/keys/key-set.ts', "import { createHash } from 'node:crypto';", /imports node:crypto/],
  ['a built-in without node:', 'core/src/crypto/node.ts', "import { createHash } from 'crypto';", /without node:/],
  ['a built-in as a value', 'core/src/node.ts', "import { createServer } from 'node:http';", /may only \(type\)/],
  ['what only Node has', 'core/src/keys/key-set.ts', 'const a = Buffer.alloc(1);', /only Node has/],
  ['the process', 'core/src/keys/key-set.ts', "process.on('exit', stop);", /only Node has/],
  ['an adapter that goes past the entries', 'express/src/index.ts', "import '@holdfast/core/src/options.ts';", /imports @holdfast/],
  ['an adapter that reaches into core', 'express/src/index.ts', "import '../../core/src/options.ts';", /another package/],
  ['an adapter with a dependency', 'express/src/index.ts', "import { jwtVerify } from 'jose';", /imports jose/],
  ['an adapter that needs Node', 'express/src/index.ts', "import { createHash } from 'node:crypto';", /imports node:crypto/],
  ['a client of Redis in its store', 'redis/src/node-redis.ts', "import { createClient } from 'redis';", /imports redis/],
  ['the types of a client of Redis', 'redis/src/ioredis.ts', "import type { Redis } from 'ioredis';", /imports ioredis/],
  ['the process elsewhere in a package', 'redis/src/store.ts', "process.on('exit', stop);", /only Node has/],
  ['the probe, which knows core', 'cli/src/probe/fields.ts', "import { nginx } from '@holdfast/core';", /imports @holdfast/],
  ['the command line with x509 at once', 'cli/src/probe/impostor.ts', "import * as x509 from '@peculiar/x509';", /may only \(dynamic\)/],
  ['the command line, which reads the environment', 'cli/src/terminal.ts', 'use(process.env.TOKEN);', /the environment/],
  ['the command line, which writes past its terminal', 'cli/src/probe/report.ts', "console.log('…');", /the console/],
  ['an adapter with the framework of another', 'express/src/index.ts', "import { Injectable } from '@nestjs/common';", /imports @nestjs/],
  ['metadata by way of another package', 'nestjs/src/policy.ts', "import 'reflect-metadata';", /imports reflect-metadata/],
  ['socket.authorized', 'core/src/certificate/tls-connection.ts', 'if (socket.authorized) accept();', /lies on resumed/],
  ['socket?.["authorized"]', 'core/src/certificate/tls-connection.ts', 'if (socket?.["authorized"]) accept();', /lies on resumed/],
  ['{ authorized } of a socket', 'core/src/certificate/tls-connection.ts', 'const { authorized } = socket;', /lies on resumed/],
  ['headers.authorization', 'express/src/index.ts', 'use(request.headers.authorization);', /use fieldLines/],
  ['headers["authorization"]', 'core/src/access-token/extract.ts', "use(request.headers['authorization']);", /use fieldLines/],
  ['headers.dpop', 'core/src/confirmation/dpop.ts', 'use(request.headers.dpop);', /use fieldLines/],
  ['{ authorization } of headers', 'core/src/access-token/extract.ts', 'const { authorization } = request.headers;', /use fieldLines/],
  ['request.get(field)', 'express/src/index.ts', "use(request.get('DPoP'));", /use fieldLines/],
  ['getPeerCertificate(true)', 'core/src/certificate/tls-connection.ts', 'socket.getPeerCertificate(true);', /chain of a certificate/],
  ['process.env', 'core/src/events.ts', 'use(process.env.HOLDFAST);', /the environment/],
  ['{ env } of the process', 'core/src/events.ts', 'const { env } = process;', /the environment/],
  ['import.meta.env', 'core/src/events.ts', 'use(import.meta.env);', /the environment/],
  ['new URL with a base', 'core/src/discovery/metadata.ts', 'new URL(target, base);', /change its host/],
  ['URL.parse with a base', 'core/src/discovery/metadata.ts', 'URL.parse(target, base);', /change its host/],
  ['console', 'core/src/events.ts', "console.warn('…');", /the console/],
  ['a status in a check', 'core/src/confirmation/mtls.ts', 'const status = 401;', /the status 401/],
  ['a status in an adapter', 'express/src/index.ts', 'response.statusCode = 403;', /the status 403/],
  ['an error code in a check', 'core/src/authorization/requirements.ts', "const error = 'insufficient_scope';", /the error code/],
  ['an error code in an adapter', 'express/src/index.ts', "const error = 'invalid_token';", /the error code/],
  ['a field in a check', 'core/src/confirmation/mtls.ts', "fields.push(['www-authenticate', '']);", /the field www-authenticate/],
  ['a field in an adapter', 'express/src/index.ts', "response.setHeader('Retry-After', 1);", /the field Retry-After/],
  ['a field that nobody knows', 'core/src/certificate/thumbprint.ts', "request.fieldLines('x-client-cert');", /the field x-client-cert/],
  ['authorization read elsewhere', 'core/src/confirmation/dpop.ts', "request.fieldLines('authorization');", /the field authorization/],
  ['code that cannot be parsed', 'core/src/request.ts', 'export const = ;', /packages\/core\/src\/request\.ts: /],
];

describe('A planted fault is found', () => {
  test.each(PLANTED)('%s', (_, path, text, fault) => {
    expect(faultsIn([{ path: `packages/${path}`, text }])).toEqual(expect.arrayContaining([expect.stringMatching(fault)]));
  });

  test('rooms in a circle, by way of a third', () => {
    const faults = faultsIn([
      { path: 'packages/core/src/keys/a.ts', text: "import type { B } from '../crypto/b.ts';" },
      { path: 'packages/core/src/crypto/b.ts', text: "import { c } from '../discovery/c.ts';" },
      { path: 'packages/core/src/discovery/c.ts', text: "export type { A } from '../keys/a.ts';" },
    ]);
    expect(faults).toContain('rooms in a circle: keys → crypto → discovery → keys');
  });

  test('and its line is said', () => {
    expect(faultsIn([{ path: 'packages/core/src/request.ts', text: '\n\nconsole.log(1);\n' }])).toEqual([
      'packages/core/src/request.ts:3 writes to the console',
    ]);
  });

  test('while comments, and words in sentences, are none', () => {
    const text = '// socket.authorized, process.env, 401\nexport const text = ["Retry-After: 503 for headers.authorization", a.console];';
    expect(faultsIn([{ path: 'packages/core/src/request.ts', text }])).toEqual([]);
  });
});
