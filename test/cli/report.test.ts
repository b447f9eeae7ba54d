// holdfast report, on the events of a real resource in audit mode, as a logger writes them.
import { createReadStream } from 'node:fs';
import { protectedResource, REASONS, type ResourceEvent } from '@holdfast/core';
import { startIssuer } from '@holdfast/test-support/issuer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, endless, holdfast, program, temporaryFolder, UNSEEN } from './holdfast.ts';

interface Sums {
  readonly outcomes: Record<string, number>;
  readonly otherLines: number;
  readonly unlisted: number;
  readonly rows: readonly { readonly client: string; readonly count: number }[];
}

const DAY = 86_400;
const folder = temporaryFolder();
const events: ResourceEvent[] = [];
let log = '';

beforeAll(async () => {
  build();
  const issuer = await startIssuer();
  const resource = protectedResource({
    issuer: issuer.url,
    audience: 'https://rs.example.com',
    certificate: () => undefined,
    audit: { until: new Date((Math.floor(Date.now() / 1000) + 30 * DAY) * 1000).toISOString().slice(0, 10) },
    keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
    route: ({ method, target }) => {
      if (target === '/throws') throw new Error('/throws');
      return target === '/long' ? 'x'.repeat(201) : `${method} ${target.replace(/\d+/, ':id')}`;
    },
    onEvent: (event) => events.push(event),
  });
  const send = async (target: string, claims: object): Promise<void> => {
    const authorization = `Bearer ${await issuer.token(claims)}`;
    await resource.verify({
      method: 'GET',
      target,
      fieldLines: (name) => (name === 'authorization' ? [authorization] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
  };
  for (const id of [1, 2, 3]) await send(`/accounts/${id}`, { client_id: 'old-job' });
  await send('/accounts/4', { client_id: 'old-job', cnf: { 'x5t#S256': 'A'.repeat(43) } });
  await send('/payments', { client_id: 'batch' });
  await send('/payments', { client_id: 'batch', aud: 'urn:other' });
  for (const target of ['/throws', '/long']) await send(target, { client_id: 'odd' });
  await resource.close();
  await issuer.close();
  log = events.map((event) => JSON.stringify(event)).join('\n');
}, 120_000);
afterAll(() => folder.remove());

const rowsOf = (out: string): unknown[] =>
  (JSON.parse(out) as { rows: { client: string; outcome: string; reason: string; route: string; count: number }[] }).rows.map(
    ({ client, outcome, reason, route, count }) => [client.split(' ')[0], outcome, reason, route, count],
  );
const AUDITED = [
  ['old-job', 'audited', 'cnf.absent', 'GET /accounts/:id', 3],
  ['odd', 'audited', 'cnf.absent', '-', 2],
  ['old-job', 'audited', 'certificate.missing', 'GET /accounts/:id', 1],
  ['batch', 'audited', 'cnf.absent', 'GET /payments', 1],
];

describe('holdfast report', () => {
  it('sums up what audit mode let through, by client, reason and route, without the path of any request', async () => {
    const { code, out } = await holdfast(['report', '--json'], { input: log });
    expect(code).toBe(1);
    expect(rowsOf(out)).toEqual(expect.arrayContaining(AUDITED));
    expect(rowsOf(out)).toHaveLength(AUDITED.length);
    expect(JSON.parse(out)).toMatchObject({
      outcome: 'wrong',
      outcomes: { granted: 0, audited: 7, refused: 1, unavailable: 0 },
      otherLines: 0,
    });
    expect(log).not.toMatch(/accounts\/\d|throws|xxx/);
  });

  it('a route that is no function is refused at the start', () => {
    const options = { issuer: 'https://as.example.com', audience: 'https://rs.example.com', route: '/accounts' };
    expect(() => protectedResource(options as never)).toThrow(/- route: /);
  });

  it('with --all also what was refused', async () => {
    const { out } = await holdfast(['report', '--all', '--json'], { input: log });
    expect(rowsOf(out)).toContainEqual(['-', 'refused', 'token.audience', 'GET /payments', 1]);
  });

  it('reads what pino makes of an event, merged or as a member, in several files', async () => {
    const wrapped = events.map((event, i) =>
      JSON.stringify(i % 2 === 0 ? { level: 30, msg: 'decision', ...event } : { level: 30, time: Date.now(), event }),
    );
    // What pino writes where its own time comes last.
    const merged = events.slice(0, 1).map((event) => JSON.stringify({ ...event, time: event.time * 1000 }));
    const one = folder.file('api 1.log', `listening\n${wrapped.join('\r\n')}\n{"level":30,"msg":"other"}\n`);
    const two = folder.file('api 2.log', merged.join(''));
    const { code, out } = await program(['report', '--json', one, two]);
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({ otherLines: 2, outcomes: { audited: 8, refused: 1 } });
    const times = (JSON.parse(out) as { rows: { first: number; last: number }[] }).rows.flatMap(({ first: from, last }) => [from, last]);
    expect(times.every((time) => Math.abs(time - Date.now() / 1000) < DAY)).toBe(true);
  });

  it('is a table for people, whom what a client is called cannot deceive', async () => {
    const evil = JSON.stringify({ ...events[0], clientId: '\u001b[2Jevil\u202e' });
    const { code, out } = await program(['report'], `${log}\n${evil}\n`);
    expect(code).toBe(1);
    expect(out).toMatch(/0 granted, 8 audited, 1 refused, 0 unavailable; 0 other lines/);
    expect(out).toMatch(/3 audited {5}cnf\.absent +GET \/accounts\/:id \d{4}-\d\d-\d\d(?: to \d{4}-\d\d-\d\d)?\n/);
    expect(out).toContain('These requests will be refused when audit mode ends.');
    expect(out.replaceAll('\n', '')).not.toMatch(UNSEEN);
  });

  it('says the day, or the first and the last', async () => {
    const on = (time: number, clientId: string): string => JSON.stringify({ ...events[0], outcome: 'audited', time, clientId });
    const { out } = await holdfast(['report'], {
      input: [on(1_800_000_000, 'a'), on(1_800_000_000, 'b'), on(1_800_086_400, 'b')].join('\n'),
    });
    expect([...out.matchAll(/2027-.*/g)].map(([days]) => days).toSorted()).toEqual(['2027-01-15', '2027-01-15 to 2027-01-16']);
  });

  it('exits with 0 where nothing would be refused, and 2 where there is nothing, or no such file', async () => {
    const granted = JSON.stringify({ ...events[0], outcome: 'granted' });
    expect((await holdfast(['report'], { input: granted })).code).toBe(0);
    expect((await holdfast(['report'], { input: 'no event\n[]\nnull\n{"outcome":"audited"}\n{"outcome":"odd","timings":{}}' })).code).toBe(
      2,
    );
    const missing = await program(['report', '/nowhere/at.log']);
    expect([missing.code, missing.err]).toEqual([2, expect.stringMatching(/cannot be read \(ENOENT\)/)]);
  });

  it('is not led astray by what is too deep, or called as a member of every object is', async () => {
    const deep = JSON.stringify({ a: { b: { c: { d: events[0] } } } });
    const odd = '{"outcome":"audited","timings":{},"clientId":"__proto__","reason":"constructor","time":1e300}';
    const { out } = await holdfast(['report', '--json'], { input: `${deep}\n${odd}` });
    expect(JSON.parse(out)).toMatchObject({ otherLines: 1, rows: [{ client: '__proto__', reason: 'constructor', route: '-', count: 1 }] });
  });

  const line = (more: object): string => JSON.stringify({ outcome: 'audited', reason: 'cnf.absent', timings: { total: 1 }, ...more });
  const sum = async (lines: readonly string[], ...more: string[]): Promise<Sums> =>
    JSON.parse((await holdfast(['report', '--json', ...more], { input: lines.join('\n') })).out) as Sums;

  it('reads what the README has loggers write, and every reason there is', async () => {
    const lines = Object.keys(REASONS).map((reason) => JSON.stringify({ level: 30, outcome: 'refused', reason, text: 'x', clientId: 'c' }));
    const { outcomes, otherLines } = await sum([
      ...lines,
      '{"outcome":"granted"}',
      '{"outcome":"refused","reason":"because"}',
      '{"outcome":"success"}',
    ]);
    expect([outcomes, otherLines]).toEqual([{ granted: 1, refused: lines.length, audited: 0, unavailable: 0 }, 2]);
  });

  it.each<[string, string]>([
    ['half a line', line({}).slice(0, -1)],
    ['nested without end', '['.repeat(100_000)],
    ['a line that is too long', line({ clientId: 'c'.repeat(300_000) })],
  ])('counts a line that it does not understand, and goes on: %s', async (_what, wrong) => {
    expect(await sum([line({}), wrong, '', line({})])).toMatchObject({ otherLines: 1, outcomes: { audited: 2 } });
  });

  it('tells 10,000 rows apart and counts the others: no log fills the memory', async () => {
    const lines = Array.from({ length: 10_050 }, (_, i) => line({ clientId: `c${i}` }));
    const late = Array.from({ length: 3 }, () => line({ clientId: 'c10049' }));
    const { outcomes, rows, unlisted } = await sum([...lines, line({ clientId: 'c0' }), ...late], '--top', '1');
    expect([outcomes['audited'], rows.map(({ client, count }) => [client, count]), unlisted]).toEqual([10_054, [['c0', 2]], 10_052]);
    expect((await sum(lines, '--top', '10000')).unlisted).toBe(50);
    expect((await sum([line({ clientId: 'c'.repeat(5_000) })])).rows[0]?.client).toBe(`${'c'.repeat(200)}…`);
  });

  it('holds one line at most: 256 MB without an end of line fit into 64', async () => {
    const ran = await endless(['report', '--json'], 256);
    expect(JSON.parse(ran.out)).toMatchObject({ otherLines: 1, outcomes: { granted: 1 } });
  }, 60_000);

  it.each([65_300, 65_301])('a character whose bytes come in two chunks is one character: %i', async (before) => {
    const path = folder.file('apart.log', line({ detail: 'x'.repeat(before), clientId: 'é'.repeat(150) }));
    expect(createReadStream(path).readableHighWaterMark).toBe(65_536);
    const { out } = await holdfast(['report', path, '--json']);
    expect((JSON.parse(out) as Sums).rows.map(({ client }) => client)).toEqual(['é'.repeat(150)]);
  });

  it.each(['0', '10001', 'x'])('--top %s is refused', async (top) => {
    expect((await holdfast(['report', '--top', top])).code).toBe(2);
  });
});
