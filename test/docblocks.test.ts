// Whatever a package exports says what it is: an editor shows the docblock of a name, and nothing else.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync, type Program } from 'oxc-parser';
import { describe, expect, it } from 'vitest';

const PACKAGES = fileURLToPath(new URL('../packages/', import.meta.url));

/** The sources of the public entries of a package, by what imports them. What has no types is not for others. */
function entriesOf(folder: string): [specifier: string, path: string][] {
  const { name, exports = {} } = JSON.parse(readFileSync(join(PACKAGES, folder, 'package.json'), 'utf8'));
  return Object.entries<string | Record<string, string>>(exports).flatMap(([subpath, target]) => {
    if (typeof target === 'string' || target['types'] === undefined) return [];
    return [[join(name, subpath), join(PACKAGES, folder, target['@holdfast/source'] ?? '')]];
  });
}

const ENTRIES = new Map(
  readdirSync(PACKAGES)
    .filter((folder) => existsSync(join(PACKAGES, folder, 'package.json')))
    .flatMap(entriesOf),
);

/** A name that a module exports: its own, or one that it hands on from another. */
interface Exported {
  readonly name: string;
  readonly from: string | undefined;
  /** What it is called there. */
  readonly original: string;
}

interface Module {
  readonly exported: readonly Exported[];
  /** Where the statements are that declare a name. */
  readonly declared: ReadonlyMap<string, readonly number[]>;
  /** Whether a docblock stands right before a place. */
  readonly isDescribed: (place: number) => boolean;
}

const modules = new Map<string, Module>();

function moduleAt(path: string): Module {
  const known = modules.get(path);
  if (known !== undefined) return known;
  const read = readModule(path, readFileSync(path, 'utf8'));
  modules.set(path, read);
  return read;
}

function readModule(path: string, text: string): Module {
  const { program, module, comments, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path} cannot be parsed`);
  const entries = module.staticExports.flatMap((one) => one.entries);
  // As `export *` has: then it is not to be seen here what is exported.
  if (entries.some(({ exportName }) => exportName.name === null)) throw new Error(`${path} exports what has no name of its own`);
  const exported = entries.map(({ exportName, importName, localName, moduleRequest }) => ({
    name: exportName.name ?? '',
    from: moduleRequest?.value,
    original: (moduleRequest === null ? localName : importName).name ?? '',
  }));
  const docblocks = comments.filter(({ type, value }) => type === 'Block' && value.startsWith('*'));
  const isDescribed = (place: number): boolean => docblocks.some(({ end }) => end <= place && text.slice(end, place).trim() === '');
  return { exported, declared: declarationsIn(program), isDescribed };
}

function declarationsIn({ body }: Program): Map<string, number[]> {
  const declared = new Map<string, number[]>();
  for (const statement of body) {
    const declaration = statement.type === 'ExportNamedDeclaration' ? (statement.declaration ?? statement) : statement;
    const named = 'declarations' in declaration ? declaration.declarations : [declaration];
    for (const one of named) {
      if ('id' in one && one.id?.type === 'Identifier') declared.set(one.id.name, [...(declared.get(one.id.name) ?? []), statement.start]);
    }
  }
  return declared;
}

/** Where a name is declared that a module exports; `undefined` where that is in no package of ours. */
function origin(path: string, { from, original }: Exported): { path: string; name: string } | undefined {
  if (from === undefined) return { path, name: original };
  const next = from.startsWith('.') ? join(dirname(path), from) : ENTRIES.get(from);
  if (next === undefined) return undefined;
  const there = moduleAt(next).exported.find(({ name }) => name === original);
  if (there === undefined) throw new Error(`${next} does not export ${original}`);
  return origin(next, there);
}

/** The names that a module exports and that nothing is said of. */
function undescribed(path: string): string[] {
  return moduleAt(path).exported.flatMap((exported) => {
    const found = origin(path, exported);
    if (found === undefined) return [];
    const { declared, isDescribed } = moduleAt(found.path);
    const places = declared.get(found.name) ?? [];
    return places.length > 0 && places.every(isDescribed) ? [] : [`${exported.name} (${relative(PACKAGES, found.path)})`];
  });
}

describe('Every name that a package exports has a docblock', () => {
  it.each([...ENTRIES])('%s', (_specifier, path) => {
    expect(moduleAt(path).exported.length).toBeGreaterThan(0);
    expect(undescribed(path)).toEqual([]);
  });

  it('and one without is found, wherever it is declared', () => {
    const source = `
      import { imported } from './issuer.ts';
      /** Said. */
      export const said = 1;
      // Not a docblock.
      export interface Silent {}
      function late(): void {}
      export { imported, late as later };
    `;
    const { exported, declared, isDescribed } = readModule('x.ts', source);
    expect(exported.map(({ name, from, original }) => [name, from, original])).toEqual([
      ['imported', './issuer.ts', 'imported'],
      ['said', undefined, 'said'],
      ['Silent', undefined, 'Silent'],
      ['later', undefined, 'late'],
    ]);
    expect(['said', 'Silent', 'late'].map((name) => declared.get(name)?.map(isDescribed))).toEqual([[true], [false], [false]]);
  });
});
