// holdfast report, of logs that real resources and a real logger write, and of logs that somebody hostile wrote into.
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { PassThrough } from 'node:stream';
import { type ProtectedResource, protectedResource, REASONS, type ResourceEvent } from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import Fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, endless, holdfast, program, type Ran, temporaryFolder, UNSEEN } from './holdfast.ts';

interface Row {
  readonly name: string | null;
  readonly audited: number;
  readonly refused: number;
  readonly unavailable: number;
  readonly granted: number;
}
interface Table {
  readonly rows: readonly Row[];
  readonly others: Omit<Row, 'name'>;
}
interface Summary {
  readonly lines: number;
  readonly events: number;
  readonly notUnderstood: number;
  readonly from?: number;
  readonly to?: number;
  readonly outcomes: Omit<Row, 'name'>;
  readonly reasons: Table;
  readonly clients: Table;
  readonly issuers: Table;
}

const NONE = { audited: 0, refused: 0, unavailable: 0, granted: 0 };
const NOW = Date.parse('2027-01-15T12:00:00Z') / 1000;
const folder = temporaryFolder();
beforeAll(() => build(), 120_000);
afterAll(() => folder.remove());

const summaryOf = ({ out }: Ran): Summary => JSON.parse(out) as Summary;
const sum = async (lines: readonly string[], ...more: string[]): Promise<Summary> =>
  summaryOf(await holdfast(['report', '--json', ...more], { input: lines.join('\n') }));
const event = (more: object = {}): string =>
  JSON.stringify({ time: NOW, outcome: 'refused', reason: 'cnf.absent', timings: { total: 1 }, ...more });

describe('holdfast report, of what a resource in audit mode says', () => {
  let issuer: Issuer;
  let resource: ProtectedResource;
  const events: ResourceEvent[] = [];

  beforeAll(async () => {
    const clock = createClock(NOW);
    issuer = await startIssuer({ now: clock.now });
    resource = protectedResource({
      issuer: issuer.url,
      audience: 'https://rs.example.com',
      certificate: () => ({ thumbprint: 'A'.repeat(43) }),
      audit: { until: '2027-03-01' },
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      now: clock.now,
      onEvent: (one) => events.push(one),
    });
    const send = async (claims: object): Promise<void> => {
      const authorization = `Bearer ${await issuer.token(claims)}`;
      await resource.verify({
        method: 'GET',
        target: '/',
        fieldLines: (name) => (name === 'authorization' ? [authorization] : []),
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
    };
    await send({ client_id: 'mobile' });
    await send({ client_id: 'mobile' });
    clock.advance(60);
    await send({ client_id: 'batch', cnf: { 'x5t#S256': 'B'.repeat(43) } });
    await send({ client_id: 'batch', cnf: { 'x5t#S256': 'A'.repeat(43) } });
    await send({ exp: 1 });
  });
  afterAll(async () => {
    await resource.close();
    await issuer.close();
  });

  const expected = (): Partial<Summary> => ({
    events: 5,
    outcomes: { audited: 2, refused: 2, unavailable: 0, granted: 1 },
    reasons: {
      rows: [
        { name: 'cnf.absent', ...NONE, audited: 2 },
        { name: 'certificate.mismatch', ...NONE, refused: 1 },
        { name: 'token.expired', ...NONE, refused: 1 },
      ],
      others: NONE,
    },
    clients: {
      rows: [
        { name: 'mobile', ...NONE, audited: 2 },
        { name: 'batch', ...NONE, refused: 1, granted: 1 },
        { name: null, ...NONE, refused: 1 },
      ],
      others: NONE,
    },
    issuers: {
      rows: [
        { name: issuer.url, ...NONE, audited: 2, refused: 1, granted: 1 },
        { name: null, ...NONE, refused: 1 },
      ],
      others: NONE,
    },
  });

  it('sums it up by reason, client and issuer, by the program itself: from files and from standard input', async () => {
    const log = `${events.map((one) => JSON.stringify(one)).join('\n')}\n`;
    const [first, second] = [folder.file('one.log', log), folder.file('two.log', `${event({ clientId: 'mobile' })}\r\n`)];
    const piped = await program(['report', '--json'], log);
    expect([piped.code, piped.err]).toEqual([0, '']);
    expect(summaryOf(piped)).toEqual({ lines: 5, notUnderstood: 0, from: NOW, to: NOW + 60, ...expected() });
    const both = await program(['report', first, second, '--json']);
    expect(summaryOf(both)).toMatchObject({ events: 6, clients: { rows: [{ name: 'mobile', audited: 2, refused: 1 }, {}, {}] } });
    const mixed = await program(['report', first, '-', '--json'], log);
    expect(summaryOf(mixed)).toMatchObject({ events: 10 });
  });

  it('prints tables that people can read', async () => {
    const { code, out } = await program(['report'], events.map((one) => JSON.stringify(one)).join('\n'));
    expect(code).toBe(0);
    expect(out).toMatch(/5 decisions, 2027-01-15T12:00:00Z to 2027-01-15T12:01:00Z/);
    expect(out).toMatch(/Clients +audited +refused +unavailable +granted\n.*\n mobile +2 +· +· +·\n batch +· +1 +· +1\n \(none\) +· +1/);
    expect(out).toMatch(/2 were let through by audit mode and will be refused when it ends/);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(110);
  });

  it.each<[string, (log: ReturnType<typeof Fastify>['log'], one: ResourceEvent) => void]>([
    ['as its members', (log, one) => log.info(one, 'decision')],
    ['under a key', (log, one) => log.info({ req: { id: 7 }, decision: one }, 'decision')],
    [
      'some of its members, as the README shows',
      (log, { outcome, reason, clientId, issuer: from }) => log.info({ outcome, reason, clientId, issuer: from }),
    ],
  ])('reads the log of pino: %s', async (_what, write) => {
    const stream = new PassThrough();
    const chunks: string[] = [];
    stream.on('data', (chunk) => chunks.push(String(chunk)));
    const app = Fastify({ logger: { stream } });
    for (const one of events) write(app.log, one);
    app.log.info('something else');
    stream.end();
    await once(stream, 'end');
    expect(await sum([chunks.join('')])).toMatchObject({ lines: 6, notUnderstood: 1, ...expected() });
  });
});

describe('holdfast report', () => {
  it('knows every reason', async () => {
    const lines = Object.keys(REASONS).map((reason) => event({ reason }));
    expect(await sum(lines)).toMatchObject({ events: lines.length, notUnderstood: 0 });
  });

  it('reads seconds as events have them, and milliseconds as pino has them', async () => {
    expect(await sum([event(), event({ time: (NOW + 60) * 1000 }), event({ time: 'x' }), event({ time: -1 })])).toMatchObject({
      events: 4,
      from: NOW,
      to: NOW + 60,
    });
  });

  it('reads the log of bunyan, whose time is a date', async () => {
    const line = (more: object): string =>
      JSON.stringify({ name: 'api', hostname: 'h', pid: 1, level: 30, ...more, msg: 'decision', time: '2027-01-15T12:00:00.000Z', v: 0 });
    const given = { outcome: 'audited', reason: 'certificate.missing', clientId: 'c' };
    expect(await sum([line(given), line({ event: given })])).toMatchObject({ events: 2, from: NOW, to: NOW, outcomes: { audited: 2 } });
  });

  it.each<[string, string]>([
    ['no JSON', 'GET / 200'],
    ['half a line', event().slice(0, -1)],
    ['another object', '{"level":30,"msg":"hello"}'],
    ['an outcome of something else', '{"outcome":"success"}'],
    ['refused without a reason', '{"outcome":"refused"}'],
    ['a reason that is none', '{"outcome":"refused","reason":"because"}'],
    ['a reason that is an object', '{"outcome":"refused","reason":{"toString":1}}'],
    ['granted with a reason', '{"outcome":"granted","reason":"cnf.absent"}'],
    ['a list', `[${event()}]`],
    ['an event two keys deep', `{"a":{"b":${event()}}}`],
    ['null', 'null'],
    ['nested without end', '['.repeat(100_000)],
    ['a line that is too long', event({ clientId: 'c'.repeat(300_000) })],
    ['the names of objects', '{"__proto__":{"outcome":"granted"},"constructor":1}'.replace('granted', 'x')],
  ])('counts a line that it does not understand, and goes on: %s', async (_what, line) => {
    expect(await sum([event(), line, '', event()])).toMatchObject({ lines: 3, events: 2, notUnderstood: 1 });
  });

  it('says so where there is no decision at all, and ends with 1', async () => {
    const ran = await program(['report'], 'hello\n');
    expect([ran.code, ran.out]).toEqual([1, expect.stringMatching(/0 decisions\n[^]*1 of 1 lines were not understood/)]);
    expect((await program(['report'], '')).code).toBe(1);
  });

  it.each([['--top', '0'], ['--top', '1001'], ['--top', 'x'], ['-', '-'], ['/nowhere/a.log'], ['--nothing']])(
    'ends with 3 and does nothing: %s %s',
    async (...args) => {
      const ran = await program(['report', ...args], event());
      expect([ran.code, ran.out]).toEqual([3, '']);
      expect(ran.err).not.toContain('nowhere');
    },
  );

  it('what somebody wrote into a log steers no terminal', async () => {
    const hostile = ['\u001b]0;owned\u0007', '\u001b[2J\u001b[31m', '\u202egnp.exe', '\u009b2J', 'a\nb\rc', '\u2028', '\ud800', '\u200b'];
    const lines = hostile.flatMap((text) => [event({ clientId: text, issuer: text }), event({ reason: text })]);
    const plain = await program(['report', '--top', '100'], lines.join('\n'));
    const json = await program(['report', '--json'], lines.join('\n'));
    for (const { out, err } of [plain, json]) expect(out + err).not.toMatch(UNSEEN);
    expect(plain.out).toContain(String.raw`\u{1b}]0;owned\u{7}`);
    expect(summaryOf(json)).toMatchObject({ events: hostile.length, notUnderstood: hostile.length });
    expect(summaryOf(json).clients.rows.map(({ name }) => name)).toContain(hostile[0]);
  });

  it('cuts names that are long, also in the middle of what had to be named by its number', async () => {
    const { out } = await holdfast(['report'], { input: event({ clientId: '\u001b'.repeat(5_000) }) });
    expect(out).not.toMatch(UNSEEN);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(110);
    expect((await sum([event({ clientId: 'c'.repeat(5_000) })])).clients.rows[0]?.name).toBe(`${'c'.repeat(200)}…`);
  });

  it('names of objects are names like others', async () => {
    const names = ['__proto__', 'constructor', 'toString', 'others'];
    const { clients } = await sum(names.map((clientId) => event({ clientId })));
    expect(new Set(clients.rows.map(({ name }) => name))).toEqual(new Set(names));
  });

  it('--top rows are shown, those with the most in audit mode first, and the others are summed up', async () => {
    const lines = ['a', 'b', 'b', 'c', 'c', 'c'].map((clientId) => event({ clientId }));
    const { clients } = await sum([...lines, event({ clientId: 'z', outcome: 'audited' })], '--top', '2');
    expect(clients).toEqual({
      rows: [
        { name: 'z', ...NONE, audited: 1 },
        { name: 'c', ...NONE, refused: 3 },
      ],
      others: { ...NONE, refused: 3 },
    });
  });

  it('counts 10,000 names each for itself, and what comes later together: no log fills the memory', async () => {
    const lines = Array.from({ length: 10_050 }, (_, i) => event({ clientId: `c${i}` }));
    const { clients, events } = await sum([...lines, event({ clientId: 'c0' })], '--top', '1');
    expect(events).toBe(10_051);
    expect(clients).toEqual({ rows: [{ name: 'c0', ...NONE, refused: 2 }], others: { ...NONE, refused: 10_049 } });
  });

  it('holds one line at most: 256 MB without an end of line fit into 64', async () => {
    const ran = await endless(['report', '--json'], 256);
    expect(summaryOf(ran)).toMatchObject({ lines: 2, events: 1, notUnderstood: 1 });
  }, 60_000);

  it.each([65_300, 65_301])('a character whose bytes come in two chunks is one character: %i', async (before) => {
    const path = folder.file('apart.log', event({ detail: 'x'.repeat(before), clientId: 'é'.repeat(150) }));
    expect(createReadStream(path).readableHighWaterMark).toBe(65_536);
    expect(summaryOf(await holdfast(['report', path, '--json'])).clients.rows).toEqual([{ name: 'é'.repeat(150), ...NONE, refused: 1 }]);
  });
});
