import { constants, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request as requestHttp } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { run } from '@holdfast/cli/commands';
import { KNOWN_FIELDS, type Line, VERIFY_FIELDS } from '@holdfast/cli/fields';
import type { Terminal } from '@holdfast/cli/terminal';
import * as core from '@holdfast/core';
import { apache, caddy, dangerouslyTrustEveryPeer, haproxy, nginx, rfc9440 } from '@holdfast/express';
import { type Change, type Edge, type EdgeKind, freePort, reasonToSkipEdge, startEdge } from '@holdfast/test-support/edges';
import { unsignedJwt } from '@holdfast/test-support/jwt';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext } from 'vitest';
import { type Api, SECRET, startApi } from '../edges/contract.ts';
import { WRONG_EDGES } from '../edges/wrong.ts';
import { viewOf } from '../edges/view.ts';
import { Client } from '../../packages/cli/src/probe/client.ts';

const TRUST = { peers: ['127.0.0.1'], secret: { field: 'edge-secret', values: [SECRET] } };
const folder = mkdtempSync(join(tmpdir(), 'holdfast probe '));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

interface Report {
  readonly outcome: string;
  readonly requests: number;
  readonly attempts: readonly { lane: string; title: string; verdict: string; statuses: number[]; fields: string[]; note?: string }[];
}

/** Runs the command line with a terminal that nobody sits at, unless there is an answer to its question. */
async function holdfast(args: readonly string[], setup: { readonly input?: string; readonly answer?: string } = {}): Promise<Ran> {
  let [out, err] = ['', ''];
  const terminal: Terminal = {
    out: (text) => void (out += `${text}\n`),
    err: (text) => void (err += `${text}\n`),
    input: async () => setup.input ?? '',
    async *chunks() {
      yield new TextEncoder().encode(setup.input ?? '');
    },
    ask:
      setup.answer === undefined
        ? undefined
        : async (question) => {
            err += question;
            return setup.answer ?? '';
          },
    columns: undefined,
    hasColours: false,
  };
  const code = await run(args, terminal);
  return { code, out, err };
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The options that name the files of an owner and its token. */
function filesOf(owner: Identity, token: string, ca: string): string[] {
  mkdirSync(folder, { recursive: true });
  return [
    '--token-file',
    file('token', `${token}\n`),
    '--cert',
    file('cert', owner.cert),
    '--key',
    file('key', owner.key),
    '--ca',
    file('ca', ca),
  ];
}

function reportOf({ out }: Ran): Report {
  const report: unknown = JSON.parse(out);
  return report as Report;
}

const gotIn = ({ attempts }: Report): string[] =>
  attempts.flatMap(({ lane, title, verdict, fields }) => (verdict === 'got in' ? [`${lane}: ${title}: ${fields.join(' ')}`] : []));

/** The ways through an edge with everything, in order. */
const WAYS = ['HTTP/1.1', 'HTTP/2'].flatMap((http) =>
  ['TLS 1.3', 'TLS 1.2'].flatMap((tls) => [`${http} over ${tls}`, `${http} on a resumed session of ${tls}`]),
);
const ONE_CONNECTION = 'Two requests on one connection';

const KINDS: readonly EdgeKind[] = ['nginx', 'haproxy', 'apache', 'caddy'];
const skipped = new Map(KINDS.map((kind) => [kind, reasonToSkipEdge(kind)]));

interface Scene {
  readonly api: Api;
  readonly edge: Edge;
  readonly owner: Identity;
  readonly token: string;
  readonly args: string[];
}

async function scene(
  context: TestContext,
  source: Parameters<typeof startApi>[0],
  options: Pick<Parameters<typeof startEdge>[0], 'kind' | 'recipe' | 'changes'>,
): Promise<Scene> {
  const reason = skipped.get(options.kind);
  if (reason !== undefined) context.skip(reason);
  const api = await startApi(source);
  onTestFinished(() => api.close());
  const edge = await startEdge({ ...options, pki: api.pki, upstreamPort: api.port, secret: SECRET });
  onTestFinished(() => edge.stop());
  const owner = await api.pki.client('owner');
  const token = await api.tokenFor(owner);
  return { api, edge, owner, token, args: ['probe', `https://localhost:${edge.port}/accounts`, ...filesOf(owner, token, api.pki.ca)] };
}

describe('holdfast probe, of an edge that is configured as its recipe says', () => {
  it.for([
    ['nginx', 'edges/nginx', nginx],
    ['nginx', 'edges/nginx-rfc9440', rfc9440],
    ['haproxy', 'edges/haproxy', haproxy],
    ['haproxy', 'edges/haproxy-rfc9440', rfc9440],
    ['apache', 'edges/apache', apache],
    ['caddy', 'edges/caddy', caddy],
    ['caddy', 'edges/caddy-rfc9440', rfc9440],
  ] as const)('%s, %s: every attack is refused, exit code 0', async ([kind, recipe, source], context) => {
    const { api, args } = await scene(context, source({ trust: TRUST }), { kind, recipe });
    const ran = await holdfast([...args, '--json', '--direct', `http://127.0.0.1:${api.port}/accounts`]);
    const report = reportOf(ran);
    expect(gotIn(report)).toEqual([]);
    expect(report.attempts.filter(({ verdict }) => verdict === 'unclear')).toEqual([]);
    expect([ran.code, report.outcome]).toEqual([0, 'closed']);
    // Every way was there, and the owner was served on each.
    expect(report.attempts.filter(({ verdict }) => verdict === 'granted').map(({ lane }) => lane)).toEqual([...WAYS, ONE_CONNECTION]);
    expect(report.attempts.filter(({ lane }) => lane === 'Around the edge')).toHaveLength(3);
  });

  it('the bounds fit the certificate: one of 4.7 KB takes more requests than a small one', async (context) => {
    const dnsNames = Array.from({ length: 186 }, (_, i) => `name-${String(i).padStart(4, '0')}.example.com`);
    const { api, edge } = await scene(context, caddy({ trust: TRUST }), { kind: 'caddy', recipe: 'edges/caddy' });
    const owner = await api.pki.client('owner', { dnsNames });
    const args = ['probe', `https://localhost:${edge.port}/accounts`, ...filesOf(owner, await api.tokenFor(owner), api.pki.ca)];
    const fields = ['X-Client-Cert', 'X-SSL-Cert', 'Client-Cert', 'X-My-Cert', 'X-Other-Cert'].flatMap((name) => ['--header', name]);
    const ran = await holdfast([...args, '--json', ...fields]);
    expect(reportOf(ran).attempts.filter(({ verdict }) => verdict === 'unclear')).toEqual([]);
    expect([ran.code, gotIn(reportOf(ran))]).toEqual([0, []]);
    expect(reportOf(ran).requests).toBeGreaterThan(1000);
  });

  it('prints a table, without colours where it is no terminal, and no token', async (context) => {
    const { args, token } = await scene(context, nginx({ trust: TRUST }), { kind: 'nginx', recipe: 'edges/nginx' });
    const { code, out, err } = await holdfast(args);
    expect(code).toBe(0);
    expect(out).toMatch(/ HTTP\/1\.1 over TLS 1\.3\n ─+\n the owner +granted +200\n no certificate +refused +401\n/);
    expect(out).toMatch(/ Every attack was refused\.\n Requests: \d+, in \d+\.\d s\.\n/);
    expect(out + err).not.toContain('\u001B');
    for (const part of token.split('.')) expect(out + err).not.toContain(part);
  });

  it('takes the token from standard input, and only the field that is named', async (context) => {
    const { args, token } = await scene(context, nginx({ trust: TRUST }), { kind: 'nginx', recipe: 'edges/nginx' });
    const withInput = args.map((arg) => (arg.endsWith('/token') ? '-' : arg));
    const ran = await holdfast([...withInput, '--json', '--header', 'X-SSL-Cert'], { input: `${token}\n` });
    expect([ran.code, gotIn(reportOf(ran))]).toEqual([0, []]);
  });
});

/** The recipes with one version of TLS only. */
const ONLY: Readonly<Record<EdgeKind, Readonly<Record<'TLS 1.2' | 'TLS 1.3', Change>>>> = {
  nginx: {
    'TLS 1.2': ['ssl_protocols TLSv1.2 TLSv1.3;', 'ssl_protocols TLSv1.2;'],
    'TLS 1.3': ['ssl_protocols TLSv1.2 TLSv1.3;', 'ssl_protocols TLSv1.3;'],
  },
  haproxy: {
    'TLS 1.2': ['ssl-min-ver TLSv1.2', 'ssl-min-ver TLSv1.2 ssl-max-ver TLSv1.2'],
    'TLS 1.3': ['ssl-min-ver TLSv1.2', 'ssl-min-ver TLSv1.3'],
  },
  apache: { 'TLS 1.2': ['-all +TLSv1.2 +TLSv1.3', '-all +TLSv1.2'], 'TLS 1.3': ['-all +TLSv1.2 +TLSv1.3', '-all +TLSv1.3'] },
  caddy: {
    'TLS 1.2': ['\t\tclient_auth {', '\t\tprotocols tls1.2 tls1.2\n\t\tclient_auth {'],
    'TLS 1.3': ['\t\tclient_auth {', '\t\tprotocols tls1.3\n\t\tclient_auth {'],
  },
};

describe.each(['TLS 1.2', 'TLS 1.3'] as const)('holdfast probe, where only %s is spoken', (version) => {
  it.for([
    ['nginx', nginx],
    ['haproxy', haproxy],
    ['apache', apache],
    ['caddy', caddy],
  ] as const)('by %s: the other version is not offered, everything is tried, exit code 0', async ([kind, source], context) => {
    const { args } = await scene(context, source({ trust: TRUST }), { kind, recipe: `edges/${kind}`, changes: [ONLY[kind][version]] });
    const ran = await holdfast([...args, '--json']);
    const { attempts } = reportOf(ran);
    expect([ran.code, gotIn(reportOf(ran))]).toEqual([0, []]);
    const ways = (verdict: string): string[] => attempts.flatMap((one) => (one.verdict === verdict ? [one.lane] : []));
    expect(ways('granted')).toEqual([...WAYS.filter((way) => way.includes(version)), ONE_CONNECTION]);
    expect(ways('not offered')).toEqual(WAYS.filter((way) => !way.includes(version)));
    const titles = new Set(attempts.map(({ title }) => title));
    for (const shape of ['twice', 'other case', 'underscores', 'listed in Connection', 'beside much else']) {
      expect(titles).toContain(`no certificate, the field spoofed, ${shape}`);
      expect(titles).toContain(`another certificate, the field spoofed, ${shape}`);
    }
    expect(titles).toContain('another, very large certificate, the field spoofed');
  });

  const limits = { minVersion: version.replace(' ', 'v'), maxVersion: version.replace(' ', 'v') } as SecureContextOptions;

  /** Ends TLS in front of an API. `fields` is given those of the client, in order, and what stands in them goes on. */
  async function front(api: Api, asksForCertificate: boolean, fields: (lines: Line[], socket: TLSSocket) => Line[]): Promise<number> {
    const options = { ...api.pki.server, ...limits, requestCert: asksForCertificate, rejectUnauthorized: false };
    const server = createHttpsServer(options, ({ rawHeaders, socket, method, url }, response) => {
      const lines = rawHeaders.flatMap((name, i): Line[] => (i % 2 === 0 ? [[name, rawHeaders[i + 1] ?? '']] : []));
      const headers = fields(lines, socket as TLSSocket).flat();
      const forwarded = requestHttp({ port: api.port, host: '127.0.0.1', path: url, method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 0);
        answer.pipe(response);
      });
      forwarded.once('error', () => void socket.destroy()).end();
    });
    onTestFinished(() => stop(server));
    return listen(server);
  }

  it('by an edge that removes the last line of the field alone: who sends two gets in, exit code 1', async () => {
    const api = await startApi(nginx({ trust: TRUST }));
    onTestFinished(() => api.close());
    const port = await front(api, true, (lines, socket) => {
      const kept = lines.filter(([name]) => !/^(?:connection|edge-secret)$/i.test(name));
      const last = kept.findLastIndex(([name]) => name.toLowerCase() === 'x-ssl-cert');
      if (last >= 0) kept.splice(last, 1);
      const own = socket.getPeerX509Certificate();
      return [...kept, ['Edge-Secret', SECRET], ...(own === undefined ? [] : [['X-SSL-Cert', encodeURIComponent(own.toString())] as Line])];
    });
    const owner = await api.pki.client('owner');
    const ran = await holdfast([
      'probe',
      `https://localhost:${port}/accounts`,
      ...filesOf(owner, await api.tokenFor(owner), api.pki.ca),
      '--json',
    ]);
    expect([ran.code, gotIn(reportOf(ran))]).toEqual([
      1,
      [`HTTP/1.1 over ${version}: no certificate, the field spoofed, twice: X-SSL-Cert`],
    ]);
  });

  it('by the API itself, around its edge: it is attacked there all the same', async (context) => {
    const { api, args } = await scene(context, nginx({ trust: dangerouslyTrustEveryPeer() }), { kind: 'nginx', recipe: 'edges/nginx' });
    const port = await front(api, false, (lines) => lines);
    const ran = await holdfast([...args, '--json', '--direct', `https://localhost:${port}/accounts`]);
    expect([ran.code, gotIn(reportOf(ran))]).toEqual([
      1,
      ['Around the edge: the field spoofed: X-SSL-Cert', 'Around the edge: the field spoofed, with X-Forwarded-For: X-SSL-Cert'],
    ]);
  });

  it('where nobody needs a token: said at once, and nothing is sent that could be taken for something that got in', async () => {
    const pki = await createPki();
    let requests = 0;
    const server = createHttpsServer({ ...pki.server, ...limits }, (_request, response) => {
      requests += 1;
      response.end();
    });
    onTestFinished(() => stop(server));
    const owner = await pki.client('owner');
    const ran = await holdfast(['probe', `https://localhost:${await listen(server)}/`, ...filesOf(owner, 'opaque', pki.ca), '--json']);
    expect([ran.code, requests, gotIn(reportOf(ran))]).toEqual([2, 1, []]);
    expect(reportOf(ran).attempts).toMatchObject([{ note: expect.stringContaining('choose a URL that asks for the token') }]);
  });
});

describe('a session that is to be resumed', () => {
  it.each([
    [4, 'answer', 6],
    [1_000, 'unsupported', 6],
  ] as const)('is asked for more than once: from the connection %i on there is one, and the lane is %s', async (from, kind, requests) => {
    const pki = await createPki();
    const issued = await pki.client('owner');
    const owner = { ...issued, certificate: new X509Certificate(issued.cert) };
    const tickets = { ...pki.server, requestCert: true, rejectUnauthorized: false, maxVersion: 'TLSv1.2' } as const;
    const server = createHttpsServer(
      { ...tickets, secureOptions: constants.SSL_OP_NO_TICKET },
      (_request, response) => void response.end(),
    );
    let connections = 0;
    server.on('secureConnection', () => {
      connections += 1;
      if (connections === from) server.setSecureContext(tickets);
    });
    onTestFinished(() => stop(server));
    const url = new URL(`https://localhost:${await listen(server)}/`);
    const identities = { owner, impostor: owner, largeImpostor: owner };
    const client = new Client({
      url,
      method: 'GET',
      token: 't',
      ...identities,
      ca: pki.ca,
      maxRequests: 50,
      maxTime: 60_000,
      timeout: 10_000,
    });
    const lane = { http: '1.1', tls: 'TLSv1.2', resumed: true, title: 'resumed' } as const;
    const answer = await client.attempt(lane, 'owner', []);
    expect([answer.kind, client.requests]).toEqual([kind, requests]);
    // From then on it is known: one request where it is resumed, none where it never is.
    expect((await client.attempt(lane, 'owner', [])).kind).toBe(kind);
    expect(client.requests).toBe(kind === 'answer' ? requests + 1 : requests);
  });
});

describe('holdfast probe, of an edge that is configured wrongly: something got in, exit code 1', () => {
  it.for(WRONG_EDGES)('$title', async ({ source, field, thief, owner, ...options }, context) => {
    const { args } = await scene(context, source({ trust: TRUST }), options);
    const ran = await holdfast([...args, '--json']);
    const report = reportOf(ran);
    expect([ran.code, report.outcome]).toEqual([1, 'open']);
    const found = gotIn(report);
    if (thief === 'nobody') {
      for (const lane of WAYS) {
        expect(found).toContain(`${lane}: no certificate, the field spoofed: ${field}`);
      }
      expect(found.every((line) => line.endsWith(`: ${field}`))).toBe(true);
      if (!owner) expect(report.attempts[0]).toMatchObject({ title: 'the owner', verdict: 'unclear' });
    } else {
      // No second client is at hand: what the owner itself can do there shows what any other could.
      expect(found).toEqual(
        WAYS.filter((way) => way.includes('resumed')).map((way) => `${way}: the owner, who writes its certificate itself: ${field}`),
      );
    }
  });

  it('an edge that admits one authority only, given a second client of it: that one gets in on a resumed session', async (context) => {
    const wrong = WRONG_EDGES.find(({ thief }) => thief === 'enrolled, resumed');
    if (wrong === undefined) throw new Error('there is no such edge');
    const { args, api } = await scene(context, wrong.source({ trust: TRUST }), wrong);
    const other = await api.pki.client('other');
    const ran = await holdfast([...args, '--json', '--other-cert', file('other', other.cert), '--other-key', file('other-key', other.key)]);
    expect(ran.code).toBe(1);
    expect(gotIn(reportOf(ran)).filter((line) => line.includes('another certificate'))).toEqual(
      WAYS.filter((way) => way.includes('resumed')).map((way) => `${way}: another certificate, the field spoofed: X-SSL-Client-Cert`),
    );
  });

  it('HAProxy adds the field behind that of the client: no thief gets in, but what the owner sends reaches the API', async (context) => {
    const changes = [['set-header X-SSL-Client-Cert', 'add-header X-SSL-Client-Cert']] as const;
    const { args } = await scene(context, haproxy({ trust: TRUST }), { kind: 'haproxy', recipe: 'edges/haproxy', changes });
    const ran = await holdfast([...args, '--json']);
    expect(ran.code).toBe(1);
    const found = gotIn(reportOf(ran));
    expect(found).toContain('HTTP/1.1 over TLS 1.3: the owner, who spoofs another certificate: X-SSL-Client-Cert');
    expect(found.filter((line) => !line.includes('the owner, who spoofs'))).toEqual([]);
  });

  it('the API can be reached around the edge', async (context) => {
    const { args, api } = await scene(context, nginx({ trust: dangerouslyTrustEveryPeer() }), { kind: 'nginx', recipe: 'edges/nginx' });
    const ran = await holdfast([...args, '--json', '--direct', `http://127.0.0.1:${api.port}/accounts`]);
    expect(ran.code).toBe(1);
    expect(gotIn(reportOf(ran))).toEqual([
      'Around the edge: the field spoofed: X-SSL-Cert',
      'Around the edge: the field spoofed, with X-Forwarded-For: X-SSL-Cert',
    ]);
  });

  it('around the edge nobody listens, which is as it should be; a name that does not exist says nothing', async (context) => {
    const { args } = await scene(context, nginx({ trust: TRUST }), { kind: 'nginx', recipe: 'edges/nginx' });
    const direct = async (url: string): Promise<[code: number, rows: object[]]> => {
      const ran = await holdfast([...args, '--json', '--yes', '--direct', url]);
      return [ran.code, reportOf(ran).attempts.filter(({ lane }) => lane === 'Around the edge')];
    };
    const closed = await direct(`http://127.0.0.1:${await freePort()}/`);
    expect(closed).toMatchObject([0, [{ verdict: 'refused', note: 'not reached (ECONNREFUSED)' }]]);
    const nowhere = await direct('http://api.example.invalid/');
    expect(nowhere).toMatchObject([2, [{ verdict: 'unclear', note: expect.stringMatching(/: not reached \((?:ENOTFOUND|EAI_AGAIN)\)$/) }]]);
  });

  it.for(['http', 'https'])(
    'around the edge %s connections end without an answer: nothing was attacked, so nothing is told',
    async (scheme, context) => {
      const { args } = await scene(context, nginx({ trust: TRUST }), { kind: 'nginx', recipe: 'edges/nginx' });
      const server = createTcpServer((socket) => void socket.once('data', () => socket.destroy()));
      onTestFinished(() => void server.close());
      const ran = await holdfast([...args, '--json', '--direct', `${scheme}://127.0.0.1:${await listen(server)}/`]);
      expect(ran.code).toBe(2);
      expect(reportOf(ran).attempts.filter(({ lane }) => lane === 'Around the edge')).toMatchObject([
        { title: 'the token alone', verdict: 'unclear', note: expect.stringContaining('no answer to attack: closed (ECONNRESET)') },
      ]);
    },
  );

  it('what has got in when the bounds are reached has got in', async (context) => {
    const [wrong] = WRONG_EDGES;
    if (wrong === undefined) throw new Error('there is no such edge');
    const { args } = await scene(context, wrong.source({ trust: TRUST }), wrong);
    const ran = await holdfast([...args, '--json', '--max-requests', '8']);
    expect([ran.code, reportOf(ran).requests]).toEqual([1, 8]);
    expect(gotIn(reportOf(ran))).toEqual(['HTTP/1.1 over TLS 1.3: no certificate, the field spoofed: X-SSL-Cert']);
  });

  it('says so in the table, with the field', async (context) => {
    const [wrong] = WRONG_EDGES;
    if (wrong === undefined) throw new Error('there is no such edge');
    const { args } = await scene(context, wrong.source({ trust: TRUST }), wrong);
    const { code, out } = await holdfast(args);
    expect(code).toBe(1);
    expect(out).toMatch(/ no certificate, the field spoofed +got in +200, 401\n {5}X-SSL-Cert\n/);
    expect(out).toMatch(/ Something got in: /);
  });
});

describe('holdfast probe, where nothing can be told: exit code 2', () => {
  let pki: Pki;
  let owner: Identity;
  beforeAll(async () => {
    pki = await createPki();
    owner = await pki.client('owner');
  });

  /** A server that answers everybody like this, and the requests that it saw. */
  async function server(
    answer: (status: (code: number, headers?: Record<string, string>) => void) => void,
  ): Promise<{ port: number; seen: string[] }> {
    const seen: string[] = [];
    const listening = createHttpsServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, (request, response) => {
      seen.push(request.headers.authorization ?? '');
      answer((code, headers = {}) => void response.writeHead(code, headers).end());
    });
    onTestFinished(() => stop(listening));
    return { port: await listen(listening), seen };
  }

  const probeOf = (port: number, token = 'opaque', ca = pki.ca): string[] => [
    'probe',
    `https://localhost:${port}/`,
    ...filesOf(owner, token, ca),
  ];

  it('the owner itself is refused', async () => {
    const { port } = await server((answer) => answer(401));
    const { code, out } = await holdfast(probeOf(port));
    expect(code).toBe(2);
    expect(out).toMatch(/the owner +unclear +401\n +the owner itself is answered 401: has the token expired/);
    expect(out).toContain('Nothing got in, but not everything could be told.');
  });

  it('the owner is served without a token: the URL is not protected', async () => {
    const { port, seen } = await server((answer) => answer(200));
    const ran = await holdfast([...probeOf(port), '--json']);
    expect([ran.code, reportOf(ran).requests, seen]).toEqual([2, 1, ['']]);
    expect(reportOf(ran).attempts).toMatchObject([
      { verdict: 'unclear', note: expect.stringContaining('choose a URL that asks for the token') },
    ]);
  });

  it('a single 502 is asked about again, and does not stand for an answer', async () => {
    const outcome = async (isBroken: (request: number) => boolean): Promise<unknown[]> => {
      let requests = 0;
      const { port } = await server((answer) => answer((requests += 1) === 1 ? 401 : isBroken(requests) ? 502 : 200));
      const ran = await holdfast([...probeOf(port), '--json', '--header', 'X-SSL-Cert']);
      return reportOf(ran)
        .attempts.slice(0, 2)
        .map(({ title, verdict }) => `${title}: ${verdict}`);
    };
    expect(await outcome((request) => request === 2)).toEqual(['the owner: granted', 'no certificate: got in']);
    expect(await outcome((request) => request === 2 || request === 3)).toEqual(['the owner: unclear', 'no certificate: got in']);
  });

  it.each([429, 503])('%d says nothing', async (status) => {
    let requests = 0;
    const { port } = await server((answer) => answer((requests += 1) === 1 ? 401 : requests === 2 ? 200 : status));
    const ran = await holdfast([...probeOf(port), '--json', '--header', 'X-SSL-Cert']);
    expect([ran.code, gotIn(reportOf(ran))]).toEqual([2, []]);
  });

  it('a redirect is not followed: the token goes to the URL that was given, and nowhere else', async () => {
    const elsewhere = await server((answer) => answer(200));
    const { port } = await server((answer) => answer(302, { location: `https://localhost:${elsewhere.port}/` }));
    const ran = await holdfast(probeOf(port));
    expect([ran.code, elsewhere.seen]).toEqual([2, []]);
  });

  it('the server is not trusted: the token is not sent', async () => {
    const { port, seen } = await server((answer) => answer(401));
    const stranger = await createPki();
    const ran = await holdfast(probeOf(port, 'opaque', stranger.ca));
    expect([ran.code, seen]).toEqual([2, []]);
    expect(ran.out).toContain('\n Requests: 1, in ');
    expect(ran.out).toMatch(/the certificate of the server is not trusted \([A-Z_]+\); name its\s+authority with\s+--ca/);
  });

  it('nobody is there', async () => {
    const ran = await holdfast([...probeOf(await freePort()), '--json']);
    expect(ran.code).toBe(2);
    expect(reportOf(ran).attempts[0]).toMatchObject({ verdict: 'unclear', note: 'not reached (ECONNREFUSED)' });
  });

  it('the owner is no longer served after a while: that its field is refused then means nothing', async () => {
    let requests = 0;
    const isOwner = (): boolean => (requests += 1) > 1 && requests < 40;
    const { port } = await server((answer) => answer(isOwner() ? 200 : 401));
    const ran = await holdfast([...probeOf(port), '--json', '--header', 'X-SSL-Cert']);
    const { attempts } = reportOf(ran);
    expect(attempts.filter(({ title, verdict }) => title.startsWith('the owner') && verdict === 'got in')).toEqual([]);
    expect(attempts).toContainEqual(
      expect.objectContaining({ verdict: 'unclear', note: expect.stringContaining('the owner is no longer served') }),
    );
  });

  it('the token expires in between: the attacks were refused, but who knows why', async () => {
    const listening = createHttpsServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, (request, response) => {
      requests += 1;
      const isServed = request.headers.authorization !== undefined && requests < 20 && 'getPeerX509Certificate' in request.socket;
      const certificate = isServed ? (request.socket as TLSSocket).getPeerX509Certificate() : undefined;
      response.writeHead(certificate?.fingerprint256 === new X509Certificate(owner.cert).fingerprint256 ? 200 : 401).end();
    });
    let requests = 0;
    onTestFinished(() => stop(listening));
    const ran = await holdfast([...probeOf(await listen(listening)), '--json']);
    const report = reportOf(ran);
    expect([ran.code, gotIn(report)]).toEqual([2, []]);
    expect(report.attempts).toContainEqual(
      expect.objectContaining({
        title: 'the owner, at last',
        verdict: 'unclear',
        note: expect.stringContaining('the owner is no longer served'),
      }),
    );
  });

  it('no more requests are sent than --max-requests says', async () => {
    const { port, seen } = await server((answer) => answer(seenRequests() === 1 ? 401 : 200));
    const seenRequests = (): number => seen.length;
    const ran = await holdfast([...probeOf(port), '--json', '--max-requests', '7']);
    expect([seen.length, reportOf(ran).requests]).toEqual([7, 7]);
    expect(reportOf(ran).attempts.at(-1)).toMatchObject({
      verdict: 'unclear',
      note: 'not tried: the bound on requests or time is reached',
    });
  });

  it('a server that never answers is waited for as long as --timeout and --max-seconds say', async () => {
    let requests = 0;
    const { port } = await server((answer) => void ((requests += 1) === 1 && answer(401)));
    const ran = await holdfast([...probeOf(port), '--json', '--timeout', '1', '--max-seconds', '2']);
    expect(ran.code).toBe(2);
    expect(reportOf(ran).requests).toBeLessThanOrEqual(4);
    expect(reportOf(ran).attempts.map(({ note }) => note)).toContain('not tried: the bound on requests or time is reached');
  });
});

describe('holdfast probe does nothing, exit code 3, where', () => {
  let pki: Pki;
  let owner: Identity;
  let thief: Identity;
  beforeAll(async () => {
    pki = await createPki();
    [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  });
  const bound = (claims: object = {}): string =>
    unsignedJwt({ alg: 'ES256' }, { cnf: { 'x5t#S256': owner.thumbprint }, ...claims }, 'c2lnbmF0dXJl');
  const args = (changes: Record<string, string | undefined> = {}, url = 'https://api.example.invalid/accounts'): string[] => {
    const options: Record<string, string | undefined> = {
      'token-file': file('token', bound()),
      cert: file('cert', owner.cert),
      key: file('key', owner.key),
      ...changes,
    };
    return ['probe', url, ...Object.entries(options).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value]))];
  };

  it('the host is not this machine, and nobody is here to be asked', async () => {
    const { code, err, out } = await holdfast(args());
    expect([code, out]).toEqual([3, '']);
    expect(err).toContain('api.example.invalid is not this machine, and nobody is here to be asked.');
  });

  it('standard input was the token, so that nobody can answer', async () => {
    const { code, err } = await holdfast(args({ 'token-file': '-' }), { input: bound(), answer: 'y' });
    expect(code).toBe(3);
    expect(err).toContain('nobody is here to be asked');
  });

  it.each(['', 'n', 'no', 'yesterday'])('the answer to its question is %j', async (answer) => {
    const { code, err } = await holdfast(args(), { answer });
    expect(code).toBe(3);
    expect(err).toMatch(
      /^About 219 requests, one after the other, that carry the access token and attack api\.example\.invalid: 2 min or less .* \[y\/N\] Nothing was sent\.\n/,
    );
  });

  it.each([
    ['yes', 'https://api.example.invalid/'],
    ['Y', 'https://127.0.0.1.example.invalid/'],
    ['y', 'https://localhost.example.invalid/'],
  ])('while the answer %s goes on', async (answer, url) => {
    const ran = await holdfast([...args({}, url), '--json'], { answer });
    expect(ran.err).toContain('[y/N]');
    expect([ran.code, reportOf(ran).outcome]).toEqual([2, 'unclear']);
  });

  it('--direct is another host: it is asked about too', async () => {
    const url = `https://localhost:${await freePort()}/`;
    const { code, err } = await holdfast([...args({}, url), '--direct', 'http://10.255.255.1/']);
    expect(code).toBe(3);
    expect(err).toContain('10.255.255.1 is not this machine');
  });

  it.each<[string, () => string[], RegExp]>([
    ['there is no command', () => [], /Usage: holdfast <command>/],
    ['the command is another', () => ['prove'], /There is no such command\. There is: probe, doctor, inspect, report, providers\./],
    ['there is no URL', () => ['probe', '--json'], /Give one URL/],
    ['there are two URLs', () => [...args(), 'https://b.example'], /Give one URL/],
    ['the URL is http', () => args({}, 'http://127.0.0.1/'), /URL that begins with https:\/\//],
    ['the URL holds a password', () => args({}, 'https://a:b@127.0.0.1/'), /without a user/],
    ['an option is unknown', () => [...args(), '--token', 'a'], /There is no option --token\./],
    ['a token is an argument', () => [...args(), '--token', bound()], /an argument looks like a token/],
    ['an option has no value', () => ['probe', 'https://127.0.0.1/', '--cert'], /--cert/],
    ['there is no token', () => args({ 'token-file': undefined }), /Say where the token is: --token-file/],
    ['the token file is not there', () => args({ 'token-file': '/does/not/exist' }), /--token-file: the file cannot be read \(ENOENT\)/],
    ['the token file holds something else', () => args({ 'token-file': file('odd', 'a token\nand more') }), /not an access token/],
    ['the token is not bound', () => args({ 'token-file': file('odd', bound({ cnf: undefined })) }), /not bound to a certificate/],
    ['the token is bound to a key', () => args({ 'token-file': file('odd', bound({ cnf: { jkt: 'x' } })) }), /not bound to a certificate/],
    [
      'the token is bound to another certificate',
      () => args({ cert: file('odd', thief.cert), key: file('odd2', thief.key) }),
      /bound to another certificate/,
    ],
    ['the token has expired', () => args({ 'token-file': file('odd', bound({ exp: 1 })) }), /has expired/],
    ['there is no certificate', () => args({ cert: undefined, key: undefined }), /Give the owner's certificate and its key/],
    ['there is no key', () => args({ key: undefined }), /belong together/],
    ['the certificate is none', () => args({ cert: file('odd', 'nothing') }), /does not begin with a certificate in PEM/],
    ['the key is none', () => args({ key: file('odd', 'nothing') }), /is not a private key in PEM, or it is encrypted/],
    ['the key is another', () => args({ key: file('odd', thief.key) }), /is not the key of the certificate/],
    [
      'the other certificate is the same',
      () => args({ 'other-cert': file('cert', owner.cert), 'other-key': file('key', owner.key) }),
      /is the certificate of the owner/,
    ],
    ['the field is no name', () => args({ header: 'X-SSL-Cert: a' }), /--header: give the name of a field alone/],
    ['the method is none', () => args({ method: 'get /' }), /--method: give a method in capitals/],
    ['a number is none', () => args({ 'max-requests': '0' }), /--max-requests: give a whole number/],
  ])('%s', async (_title, commandLine, message) => {
    const { code, out, err } = await holdfast(commandLine());
    expect([code, out]).toEqual([3, '']);
    expect(err).toMatch(message);
    // Not even where somebody puts it on the command line.
    expect(err).not.toContain(bound());
    expect(err).not.toContain('PRIVATE KEY');
  });
});

describe('holdfast', () => {
  it.each([[['--help']], [['-h']], [['help']]])('%j lists the commands', async (args) => {
    expect(await holdfast(args)).toMatchObject({ code: 0, out: expect.stringMatching(/Usage: holdfast <command>[\s\S]* {2}probe {3}/) });
  });

  it('probe --help says every option, the bounds and the exit codes', async () => {
    const { code, out } = await holdfast(['probe', '--help']);
    expect(code).toBe(0);
    for (const text of [
      '--token-file <file>',
      '-y, --yes',
      '--max-requests <number>',
      'By default twice as many as are',
      'By default a second for each planned request,',
      'Exit code: 0',
    ]) {
      expect(out).toContain(text);
    }
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
  });

  it('--version is that of the package', async () => {
    expect((await holdfast(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('the fields that are spoofed by default', () => {
  const trust = core.dangerouslyTrustEveryPeer();
  it('are those of every preset', () => {
    const sources = [
      ...[core.nginx, core.ingressNginx, core.apache, core.haproxy, core.gcpLoadBalancer, core.azureApplicationGateway].map((edge) =>
        edge({ trust, verified: true }),
      ),
      ...[core.caddy, core.traefik, core.awsAlb, core.awsAlbPassthrough, core.azureAppService, core.cloudflare, core.fastly].map((edge) =>
        edge({ trust }),
      ),
      ...[core.f5, core.kong, core.auth0CustomerEdge, core.rfc9440].map((edge) => edge({ trust })),
      ...[core.envoy, core.istio, core.contour].map((edge) => edge({ trust })),
      core.gcpLoadBalancer({ trust, value: 'fingerprint' }),
    ];
    const asked = new Set<string>();
    for (const source of sources) {
      const view = viewOf({});
      // Every field is there, so that a source goes on to the next one that it reads.
      const fieldLines = (name: string): string[] => {
        asked.add(name);
        return ['value'];
      };
      void source({ ...view, fieldLines });
    }
    asked.delete('client-cert-chain');
    const known = new Set([...KNOWN_FIELDS.keys(), ...VERIFY_FIELDS.keys()].map((name) => name.toLowerCase()));
    expect(asked.size).toBeGreaterThan(15);
    expect([...asked].filter((name) => !known.has(name))).toEqual([]);
  });
});
