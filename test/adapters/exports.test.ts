// What each adapter has of core, so that an application imports from one package; and how much code each is.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as core from '@holdfast/core';
import * as forFetch from '@holdfast/core/fetch';
import * as express from '@holdfast/express';
import * as fastify from '@holdfast/fastify';
import * as nestjs from '@holdfast/nestjs';
import { describe, expect, it } from 'vitest';

const source = (path: string): string => readFileSync(new URL(`../../packages/${path}`, import.meta.url), 'utf8');

/** The presets for edges, as they stand in their file: a new one has to be everywhere. */
const PRESETS = [...source('core/src/certificate/edges.ts').matchAll(/^export function (\w+)/gm)].flatMap(([, name]) => name ?? []);

/** What the options of a resource are made of. */
const OPTIONS = [...PRESETS, 'dangerouslyTrustEveryPeer', 'EXPOSED_FIELDS', 'fromForwardedField', 'memoryReplayStore', 'protectedResource'];
/** What a route and an error handler need, by the same names in every adapter. */
const ROUTES = ['accessOf', 'holdfast', 'HoldfastError', 'maybeAccessOf', 'requires'];
const ON_NODE = ['fromTls', 'isHoldfastError', 'REDACTED_PATHS', 'upgrade'];

describe('What an adapter exports', () => {
  it.each([
    ['@holdfast/express', express, [...OPTIONS, ...ROUTES, ...ON_NODE]],
    ['@holdfast/fastify', fastify, [...OPTIONS, ...ROUTES, ...ON_NODE, 'holdfastMetadata']],
  ] as const)('%s: what options, routes and error handlers need, and nothing else', (_name, entry, expected) => {
    expect(Object.keys(entry).toSorted()).toEqual([...new Set<string>(expected)].toSorted());
  });

  it('@holdfast/nestjs: the same for options and error handlers; routes are guarded by decorators', () => {
    expect([...OPTIONS, ...ON_NODE, 'accessOf', 'maybeAccessOf'].filter((name) => !(name in nestjs))).toEqual([]);
  });

  it('@holdfast/core/fetch has the same, but for what belongs to Node', () => {
    expect([...OPTIONS, ...ROUTES].filter((name) => !(name in forFetch))).toEqual([]);
    expect(ON_NODE.filter((name) => name in forFetch)).toEqual([]);
  });

  it('and core has every preset', () => {
    expect(PRESETS.length).toBeGreaterThan(15);
    expect(PRESETS.filter((name) => !(name in core))).toEqual([]);
  });
});

/** Lines of code: without docblocks and comments, imports, and lists of what is handed on from elsewhere. */
function linesOf(path: string): number {
  const code = source(path)
    .replace(/\/\*\*[^]*?\*\//g, '')
    .replace(/^(?:import|export)(?: type)? \{[^}]*\} from .*;$/gm, '')
    .replace(/^import .*;$/gm, '');
  return code.split('\n').filter((line) => line.trim() !== '' && !line.trim().startsWith('//')).length;
}

const filesOf = (name: string): string[] =>
  readdirSync(fileURLToPath(new URL(`../../packages/${name}/src/`, import.meta.url))).map((file) => `${name}/src/${file}`);

describe('An adapter is thin', () => {
  it.each([
    ['express', filesOf('express'), 120],
    ['fetch', ['core/src/fetch.ts'], 120],
    // The plugin, and beside it the policies of routes, the document of the resource, and what is known of replies.
    ['fastify', filesOf('fastify'), 200],
  ] as const)('%s: in all', (_name, files, limit) => {
    expect(files.reduce((sum, file) => sum + linesOf(file), 0)).toBeLessThan(limit);
  });

  it.each(['express', 'fastify', 'nestjs'].flatMap(filesOf))('%s: under 120 lines of code', (file) => {
    expect(linesOf(file)).toBeLessThan(120);
  });
});
