// Which of the 313 requirements a test holds, and why the others are held by none. Titles are the only place where a test says so.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { titlesIn } from '../titles.ts';

/** The areas, and how many requirements each has: EXT-01 to EXT-24, and so on. */
const AREAS: Record<string, number> = {
  EXT: 24, // token extraction
  JWT: 28, // JWT access tokens
  MTLS: 19, // confirmation by certificate
  TTRP: 20, // certificates from a proxy that ends TLS
  DPOP: 36, // proofs
  NON: 17, // nonces
  RPL: 13, // replay
  CNF: 17, // binding and downgrade
  INT: 20, // introspection
  DIS: 14, // discovery and keys
  PRM: 22, // protected resource metadata
  ERR: 21, // errors and challenges
  STP: 11, // step-up
  EDG: 21, // edges
  ALG: 13, // keys and algorithms
  COR: 9, // CORS
  NEW: 8, // newer documents
};

/** Requirements that no test holds, with the reason: by area, by range (`EXT-18..21`, both ends included) or one by one. */
const NOT_COVERED: Record<string, string> = {
  'EXT-11': 'tokens in query or body are never read (decision)',
  'EXT-18..20': 'tokens in query or body are never read (decision)',
  'TTRP-20': 'signatures by the edge (RFC 9421) are not offered; RFC 9440 §4 leaves them open',
  'ERR-17': 'asks nothing of us',
  'NEW-02': 'says what DPOP and CNF say',
  'NEW-05': 'says what ALG, JWT-15, JWT-16 and JWT-20 say',
  'NEW-07': 'out of scope',
  'NEW-08': 'asks nothing of us',
};

const IDS = Object.entries(AREAS).flatMap(([area, count]) => Array.from({ length: count }, (_, index) => idOf(area, index + 1)));

function idOf(area: string, number: number): string {
  return `${area}-${String(number).padStart(2, '0')}`;
}

/** The requirements that an entry of the table stands for. */
function expand(entry: string): string[] {
  const [, area = entry, first = '1', last = first] = /^([A-Z]+)-(\d\d)(?:\.\.(\d\d))?$/.exec(entry) ?? [];
  const end = area === entry ? (AREAS[area] ?? 0) : Number(last);
  return Array.from({ length: end - Number(first) + 1 }, (_, index) => idOf(area, Number(first) + index));
}

/** Whatever looks like the ID of a requirement, known or not. */
function idsIn(title: string): string[] {
  return title.match(/\b[A-Z]{3,4}-\d{2}\b(?!\d)/g) ?? [];
}

const root = fileURLToPath(new URL('..', import.meta.url));
const titles = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !/(?:^|[\\/])(?:node_modules|dist)[\\/]/.test(path))
  .flatMap((path) => titlesIn(path, readFileSync(`${root}${path}`, 'utf8')).tests);
const covered = new Set(titles.flatMap(idsIn));
const excused = Object.keys(NOT_COVERED).flatMap(expand);

describe('The requirements', () => {
  it('are 313', () => {
    expect([IDS.length, new Set(IDS).size]).toEqual([313, 313]);
  });

  it('stand in the title of a test each, or in the table with a reason', () => {
    expect(IDS.filter((id) => !covered.has(id) && !excused.includes(id))).toEqual([]);
  });

  it('never stand in both: what a test holds needs no excuse', () => {
    expect(excused.filter((id) => covered.has(id))).toEqual([]);
  });

  it('stand in the table once, and with a reason', () => {
    expect(excused.filter((id, index) => excused.indexOf(id) !== index)).toEqual([]);
    expect(Object.keys(NOT_COVERED).filter((entry) => expand(entry).length === 0)).toEqual([]);
    expect(Object.values(NOT_COVERED).filter((reason) => reason.trim() === '')).toEqual([]);
  });

  it('are all that titles and the table name', () => {
    expect([...covered, ...excused].filter((id) => !IDS.includes(id))).toEqual([]);
  });
});

describe('Titles', () => {
  it('are found wherever a test is written', () => {
    const source = `
      it('EXT-01 plain', () => {});
      test("EXT-02 with test", () => {});
      it.each([1])('EXT-03 EXT-04 %s', () => {});
      it.fails.each(table)('EXT-05', () => {});
      it.each\`a\`('EXT-06', () => {});
      it(\`EXT-07 \${name}\`, () => {});
      describe.each(x)('EXT-08', () => { it.concurrent('EXT-09', () => {}); });
      it.skip('EXT-10', () => {});
      it.todo('EXT-11');
      it.skip.each([1])('EXT-12', () => {});
      other('EXT-13');
      // it('EXT-14')
    `;
    expect(titlesIn('x.test.ts', source).tests.flatMap(idsIn)).toEqual([1, 2, 3, 4, 5, 6, 7, 9].map((number) => idOf('EXT', number)));
  });

  it('name an ID that does not exist only to be found', () => {
    expect(['EXT-25', 'DPOP-37', 'JTW-01', 'EXT-1', 'SHA-256', 'P-384', 'EXT-001'].flatMap(idsIn)).toEqual(['EXT-25', 'DPOP-37', 'JTW-01']);
  });
});
