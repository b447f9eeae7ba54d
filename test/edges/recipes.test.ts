import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const document = join(root, 'examples', 'edges', 'README.md');
const text = readFileSync(document, 'utf8');

/** The functions that the file of the presets exports. */
const PRESETS = [...readFileSync(join(root, 'packages/core/src/certificate/edges.ts'), 'utf8').matchAll(/^export function (\w+)/gm)].map(
  ([, name]) => name ?? '',
);

describe('the recipes', () => {
  it('are as many as there are presets', () => {
    expect(PRESETS.length).toBeGreaterThan(18);
  });

  it.each(PRESETS)('%s has one', (name) => {
    expect(text).toMatch(new RegExp(`\`${name}[\`(]`));
  });

  it('lead to files that are there, and none is left out', () => {
    const targets = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, target]) => join(dirname(document), target ?? ''));
    expect(targets.filter((target) => !existsSync(target))).toEqual([]);
    const folders = readdirSync(dirname(document), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of folders) expect(targets.some((target) => target.startsWith(join(dirname(document), name, '/')))).toBe(true);
  });

  it.each(['nginx', 'haproxy', 'apache', 'caddy'])('those of %s are run by a test', (kind) => {
    const suite = readFileSync(fileURLToPath(new URL(`./${kind}.test.ts`, import.meta.url)), 'utf8');
    const folders = readdirSync(dirname(document)).filter((name) => name.split('-')[0] === kind);
    expect(folders.length).toBeGreaterThan(0);
    for (const folder of folders) expect(suite).toContain(`'edges/${folder}'`);
  });

  it('replace the field in every edge that sets the secret: nobody who copies one is left with half of it', () => {
    for (const folder of readdirSync(dirname(document)).filter((name) => name !== 'README.md')) {
      const configuration = readdirSync(join(dirname(document), folder))
        .map((name) => readFileSync(join(dirname(document), folder, name), 'utf8'))
        .join('\n');
      expect(configuration).toMatch(/edge-secret/i);
      expect(configuration).toContain('change-me-change-me-change-me-42');
    }
  });
});
