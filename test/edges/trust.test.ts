// Who is believed about certificates, and how weak trust is told of.
import { createServer, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CertificateSource,
  dangerouslyTrustEveryPeer,
  type EdgeTrust,
  istio,
  nginx,
  rfc9440,
  type EveryPeer,
  fromForwardedField,
  isRejection,
  type Peer,
} from '@holdfast/core';
import { nodeRequest } from '@holdfast/core/node';
import { requestOnce } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import * as fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import * as node from '../../packages/core/src/certificate/peers.node.ts';
import * as web from '../../packages/core/src/certificate/peers.web.ts';
import { type ViewSetup, viewOf } from './view.ts';

const SECRET = 'a-secret-of-the-edge-with-32-characters';
const NEXT = 'another-secret-of-32-characters-to-rotate';
const THUMBPRINT = 'A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0';
const FIELD = ['X-Cert-Hash', THUMBPRINT] as const;

let pki: Pki;
let edge: Identity;
let other: Identity;
beforeAll(async () => {
  pki = await createPki();
  [edge, other] = [await pki.client('edge'), await pki.client('other')];
});

const warned: string[] = [];
beforeEach(() => {
  warned.length = 0;
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void warned.push(String(warning)));
});
afterEach(() => {
  vi.restoreAllMocks();
});

const trusting = (trust: EdgeTrust | EveryPeer): CertificateSource =>
  fromForwardedField({ field: 'X-Cert-Hash', format: 'sha256-base64url', trust });

/** `trusted`, or what did not hold and who it was. */
async function verdictOf(trust: EdgeTrust | EveryPeer, setup: ViewSetup): Promise<string> {
  const certificate = await trusting(trust)(viewOf({ ...setup, fields: [FIELD, ...(setup.fields ?? [])] }));
  if (certificate === undefined) return 'nothing';
  return isRejection(certificate) ? [certificate.rejected, certificate.detail, certificate.received].join(' ') : 'trusted';
}

const ip = (address: string): ViewSetup => ({ peer: { kind: 'ip', address } });

describe('Peers', () => {
  const peers = ['10.1.2.3', '10.2.0.0/16', '2001:db8::/32', 'fd00::7', '192.0.2.1'];

  it.each([
    '10.1.2.3',
    '::ffff:10.1.2.3',
    '::FFFF:a01:203',
    '10.2.255.255',
    '::ffff:10.2.0.1',
    '2001:DB8::1',
    '2001:db8:ffff::',
    'fd00:0:0:0:0:0:0:7',
    '192.0.2.1',
  ])('%s is one of them', async (address) => {
    expect(await verdictOf({ peers }, ip(address))).toBe('trusted');
  });

  it.each([
    '10.1.2.4',
    '10.3.0.0',
    '::10.1.2.3',
    '64:ff9b::10.1.2.3',
    '2001:db9::1',
    'fd00::8',
    '127.0.0.1',
    '::1',
    '',
    'localhost',
    '10.1.2.3, 10.9.9.9',
    '10.1.2.3:443',
    '010.001.002.003',
    '10.1.515',
    '167838211',
    '0x0a010203',
    'fd00::7%eth0',
  ])('%j is none', async (address) => {
    expect(await verdictOf({ peers }, ip(address))).toBe(`certificate.untrusted_peer peers ${address}`);
  });

  it('that are not known any more are never trusted, and never taken for a Unix socket', async () => {
    const unknown: Peer = { kind: 'unknown' };
    for (const trust of [{ peers: ['unix'] }, { peers: ['unix', '10.1.2.3'] }, { peers: ['8000::/1', '0.0.0.0/1', '128.0.0.0/1'] }]) {
      expect(await verdictOf(trust, { peer: unknown })).toBe('certificate.untrusted_peer peers unknown');
    }
  });

  it('over a Unix socket are trusted where that is said, and nowhere else', async () => {
    expect(await verdictOf({ peers: ['unix'] }, { peer: { kind: 'unix' } })).toBe('trusted');
    expect(await verdictOf({ peers: ['10.1.2.3'] }, { peer: { kind: 'unix' } })).toBe('certificate.untrusted_peer peers unix');
    expect(await verdictOf({ peers: ['unix'] }, ip('10.1.2.3'))).toBe('certificate.untrusted_peer peers 10.1.2.3');
  });

  it.each(['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'True-Client-IP', 'CF-Connecting-IP', 'X-Client-IP'])(
    'are never read from %s',
    async (name) => {
      const fields = [[name, name === 'Forwarded' ? 'for=10.1.2.3' : '10.1.2.3']];
      expect(await verdictOf({ peers: ['10.1.2.3'] }, { ...ip('10.9.9.9'), fields })).toBe('certificate.untrusted_peer peers 10.9.9.9');
      expect(await verdictOf({ peers: ['10.1.2.3'] }, { ...ip('10.1.2.3'), fields: [[name, '10.9.9.9']] })).toBe('trusted');
    },
  );

  it('are the same ranges for node:net and where there is none', () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const v4 = fc.tuple(octet, octet, octet, octet).map((octets) => octets.join('.'));
    const near = fc.tuple(fc.constantFrom('10.1.', '10.2.', '192.168.'), octet, octet).map(([net, a, b]) => `${net}${a}.${b}`);
    const group = fc.oneof(
      fc.constant('0'),
      fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16)),
    );
    const v6 = fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => groups.join(':'));
    const mapped = fc.oneof(v4, near).map((address) => `::ffff:${address}`);
    const address = fc.oneof(
      v4,
      near,
      v6,
      mapped,
      fc.constantFrom('::', '::1', 'fe80::1%eth0', '', 'x', '1.2.3', '01.2.3.4', '1.2.3.4.', '0x1.2.3.4', '::ffff:0:1.2.3.4'),
    );
    const range = fc
      .oneof(v4, near, v6)
      .chain((one) => fc.integer({ min: 1, max: one.includes(':') ? 128 : 32 }).map((prefix) => ({ address: one, prefix })))
      // Trust takes no range of IPv6 that has IPv4 in it.
      .filter((one) => !one.address.includes(':') || !node.addressMatcher([one])('::ffff:0:0'));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 3 }), fc.array(address, { minLength: 1, maxLength: 5 }), (ranges, addresses) => {
        const [byNode, byWeb] = [node.addressMatcher(ranges), web.addressMatcher(ranges)];
        for (const one of addresses) {
          expect([one, web.addressBits(one)]).toEqual([one, node.addressBits(one)]);
          expect([one, ranges, byWeb(one)]).toEqual([one, ranges, byNode(one)]);
        }
      }),
      { numRuns: 3000, seed: 8705 },
    );
  });
});

describe('A secret', () => {
  const secret = { field: 'CName-API-Key', values: [SECRET, NEXT] };

  it.each([SECRET, NEXT])('is one of two, so that it can be changed', async (value) => {
    expect(await verdictOf({ secret }, { fields: [['cname-api-key', value]] })).toBe('trusted');
  });

  it.each<[string, string[][]]>([
    ['is missing', []],
    ['is empty', [['cname-api-key', '']]],
    ['is another', [['cname-api-key', `${SECRET.slice(0, -1)}x`]]],
    ['is the beginning', [['cname-api-key', SECRET.slice(0, -1)]]],
    ['goes on', [['cname-api-key', `${SECRET}x`]]],
    ['is in another case', [['cname-api-key', SECRET.toUpperCase()]]],
    [
      'comes twice',
      [
        ['cname-api-key', SECRET],
        ['cname-api-key', SECRET],
      ],
    ],
    ['comes joined', [['cname-api-key', `${SECRET}, ${SECRET}`]]],
    ['comes in another field', [['cname_api_key', SECRET]]],
  ])('that %s is none', async (_how, fields) => {
    expect(await verdictOf({ secret }, { fields })).toBe('certificate.untrusted_peer secret 10.1.2.3');
  });

  it('stands in no rejection and no error', async () => {
    const rejection = await trusting({ secret })(viewOf({ fields: [FIELD, ['cname-api-key', 'wrong-value-of-the-client']] }));
    expect(JSON.stringify(rejection)).not.toMatch(/a-secret|another-secret|wrong-value/);
    expect(() => trusting({ secret: { field: 'x y', values: [SECRET, 'short-secret'] } })).toThrow(
      expect.not.stringContaining('secret-of'),
    );
  });

  it('stays what it was when the list is changed', async () => {
    const values = [SECRET];
    const source = trusting({ secret: { field: 'k', values } });
    values[0] = NEXT;
    expect(isRejection((await source(viewOf({ fields: [FIELD, ['k', SECRET]] }))) ?? {})).toBe(false);
  });
});

describe('The certificate of the edge', () => {
  it.each<[string, (identity: Identity) => string]>([
    ['PEM', ({ cert }) => cert],
    ['x5t#S256', ({ thumbprint }) => thumbprint],
    ['hexadecimal', ({ thumbprint }) => Buffer.from(thumbprint, 'base64url').toString('hex')],
    [
      'hexadecimal with colons, as openssl prints it',
      ({ thumbprint }) => Buffer.from(thumbprint, 'base64url').toString('hex').toUpperCase().match(/../g)?.join(':') ?? '',
    ],
  ])('is pinned by %s', async (_how, write) => {
    for (const pinnedCertificate of [write(edge), [write(other), write(edge)]]) {
      expect(await verdictOf({ pinnedCertificate }, { der: edge.der })).toBe('trusted');
    }
    expect(await verdictOf({ pinnedCertificate: write(edge) }, { der: other.der })).toBe(
      'certificate.untrusted_peer pinnedCertificate 10.1.2.3',
    );
    expect(await verdictOf({ pinnedCertificate: write(edge) }, {})).toBe('certificate.untrusted_peer pinnedCertificate 10.1.2.3');
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('is asked for on its real connection to us: %s', async (version) => {
    const source = trusting({ pinnedCertificate: edge.cert });
    const seen: unknown[] = [];
    const server = createTlsServer(
      { ...pki.server, requestCert: true, rejectUnauthorized: false, maxVersion: version, minVersion: version },
      (message, response) => {
        seen.push(source(nodeRequest(message)));
        response.end();
      },
    );
    const port = await listen(server);
    const request = { port, path: '/', ca: pki.ca, servername: 'localhost', headers: { 'x-cert-hash': THUMBPRINT } };
    await requestOnce({ ...request, cert: edge.cert, key: edge.key });
    await requestOnce({ ...request, cert: other.cert, key: other.key });
    await requestOnce(request);
    await stop(server);
    expect(seen).toEqual([
      { thumbprint: THUMBPRINT },
      expect.objectContaining({ rejected: 'certificate.untrusted_peer' }),
      expect.objectContaining({ rejected: 'certificate.untrusted_peer' }),
    ]);
  });

  it('is hashed once for a connection', async () => {
    const source = trusting({ pinnedCertificate: edge.cert });
    let asked = 0;
    const { connection, ...request } = viewOf({ fields: [FIELD] });
    const peerCertificate = (): Uint8Array => {
      asked += 1;
      return edge.der;
    };
    const counting = { ...connection, peerCertificate };
    for (let i = 0; i < 3; i += 1) expect(await source({ ...request, connection: counting })).toEqual({ thumbprint: THUMBPRINT });
    expect(asked).toBe(1);
  });

  it('is no certificate of a client: it never stands in for the field', async () => {
    const source = trusting({ pinnedCertificate: edge.cert });
    expect(await source(viewOf({ der: edge.der }))).toMatchObject({ rejected: 'certificate.missing' });
  });
});

describe('All that are given must hold', () => {
  const trust = (): EdgeTrust => ({ peers: ['10.1.2.3'], secret: { field: 'k', values: [SECRET] }, pinnedCertificate: edge.cert });

  it('together they do', async () => {
    expect(await verdictOf(trust(), { der: edge.der, fields: [['k', SECRET]] })).toBe('trusted');
  });

  it.each<[string, () => ViewSetup]>([
    ['peers', () => ({ ...ip('10.1.2.4'), der: edge.der, fields: [['k', SECRET]] })],
    ['secret', () => ({ der: edge.der, fields: [['k', NEXT]] })],
    ['pinnedCertificate', () => ({ der: other.der, fields: [['k', SECRET]] })],
  ])('without %s they do not', async (name, setup) => {
    expect(await verdictOf(trust(), setup())).toMatch(new RegExp(`^certificate\\.untrusted_peer ${name} `));
  });

  it('dangerouslyTrustEveryPeer() trusts whoever comes', async () => {
    for (const peer of [{ kind: 'unknown' }, { kind: 'ip', address: '203.0.113.9' }] as const) {
      expect(await verdictOf(dangerouslyTrustEveryPeer(), { peer })).toBe('trusted');
    }
  });
});

describe('On real sockets', () => {
  /** What the source says of the requests that a server gets; `begin` decides when it is asked. */
  async function serve(
    source: CertificateSource,
    at: number | string,
    begin: (message: IncomingMessage) => Promise<void> = () => Promise.resolve(),
  ): Promise<{ seen: unknown[]; port: number; close: () => Promise<void> }> {
    const seen: unknown[] = [];
    const server = createServer((message, response) => {
      void begin(message).then(async () => {
        seen.push(await source(nodeRequest(message)));
        response.end();
      });
    });
    if (typeof at === 'string') await new Promise<void>((resolve) => void server.listen(at, resolve));
    const port = typeof at === 'string' ? 0 : await listen(server);
    return { seen, port, close: () => stop(server) };
  }

  const get = (options: object): Promise<void> =>
    new Promise((resolve, reject) => {
      httpRequest(
        { ...options, headers: { 'X-Cert-Hash': THUMBPRINT, Connection: 'close' } },
        (response) => void response.resume().once('end', resolve),
      )
        .once('error', reject)
        .end();
    });

  it('a Unix socket is one, and no address', async () => {
    const path = join(tmpdir(), `holdfast-${process.pid}.sock`);
    const trusted = await serve(trusting({ peers: ['unix'] }), path);
    await get({ socketPath: path });
    await trusted.close();
    expect(trusted.seen).toEqual([{ thumbprint: THUMBPRINT }]);
    const untrusted = await serve(trusting({ peers: ['127.0.0.1'] }), path);
    await get({ socketPath: path });
    await untrusted.close();
    expect(untrusted.seen).toEqual([expect.objectContaining({ rejected: 'certificate.untrusted_peer', received: 'unix' })]);
  });

  it('an address is one, and no Unix socket', async () => {
    const untrusted = await serve(trusting({ peers: ['unix'] }), 0);
    await get({ port: untrusted.port, host: '127.0.0.1' });
    await untrusted.close();
    expect(untrusted.seen).toEqual([expect.objectContaining({ received: expect.stringMatching(/127\.0\.0\.1$/) })]);
  });

  it('a connection that was reset before anybody looked is unknown, for peers and Unix sockets alike', async () => {
    const sockets: Socket[] = [];
    const reset = async (message: IncomingMessage): Promise<void> => {
      const gone = new Promise((resolve) => message.socket.once('close', resolve));
      sockets[0]?.resetAndDestroy();
      await gone;
    };
    const server = await serve(trusting({ peers: ['unix', '127.0.0.1', '::1'] }), 0, reset);
    const socket = connect(server.port, '127.0.0.1');
    sockets.push(socket);
    socket.on('error', () => {});
    socket.write(`GET / HTTP/1.1\r\nHost: x\r\nX-Cert-Hash: ${THUMBPRINT}\r\n\r\n`);
    await vi.waitFor(() => expect(server.seen).toHaveLength(1), { timeout: 5000 });
    await server.close();
    expect(server.seen).toEqual([expect.objectContaining({ rejected: 'certificate.untrusted_peer', received: 'unknown' })]);
  });
});

describe('Over HTTP/2', () => {
  it('a session that ended before anybody looked is unknown', async () => {
    const source = trusting({ peers: ['unix', '127.0.0.1', '::1'] });
    const seen: unknown[] = [];
    const server = createHttp2Server((message) => {
      const gone = new Promise((resolve) => message.stream.session?.once('close', resolve));
      message.stream.session?.destroy();
      void gone.then(async () => seen.push(await source(nodeRequest(message))));
    });
    const port = await listen(server);
    const session = connectHttp2(`http://127.0.0.1:${port}`);
    session.on('error', () => {});
    session.request({ ':path': '/', 'x-cert-hash': THUMBPRINT }).on('error', () => {});
    await vi.waitFor(() => expect(seen).toHaveLength(1), { timeout: 5000 });
    session.destroy();
    await new Promise((resolve) => void server.close(resolve));
    expect(seen).toEqual([expect.objectContaining({ rejected: 'certificate.untrusted_peer', received: 'unknown' })]);
  });
});

describe('Weak trust is warned about when it is made', () => {
  it.each<[string, EdgeTrust, RegExp]>([
    ['a range', { peers: ['10.0.0.0/8'] }, /everybody in 10\.0\.0\.0\/8 is trusted.*secret or a pinnedCertificate/],
    ['a range of IPv6', { peers: ['fd00::/8'] }, /everybody in fd00::\/8/],
    ['a small range', { peers: ['10.1.2.2/31'] }, /everybody in 10\.1\.2\.2\/31/],
    ['loopback', { peers: ['127.0.0.1'] }, /every user of this host/],
    ['another loopback', { peers: ['127.9.9.9'] }, /every user of this host/],
    ['loopback of IPv6', { peers: ['::1'] }, /every user of this host/],
  ])('%s', (_what, trust, message) => {
    trusting(trust);
    expect(warned).toEqual([expect.stringMatching(message)]);
    warned.length = 0;
    trusting({ ...trust, secret: { field: 'k', values: [SECRET] } });
    trusting({ ...trust, pinnedCertificate: edge.cert });
    expect(warned).toEqual([]);
  });

  it('every peer', () => {
    trusting(dangerouslyTrustEveryPeer());
    expect(warned).toEqual([expect.stringMatching(/every peer is trusted/)]);
  });

  it('and single hosts, Unix sockets, secrets and pinned certificates are not', () => {
    trusting({ peers: ['10.1.2.3', 'unix', '2001:db8::1', '10.1.2.4/32'] });
    trusting({ secret: { field: 'k', values: [SECRET] } });
    trusting({ pinnedCertificate: edge.thumbprint });
    expect(warned).toEqual([]);
  });
});

describe('Bad options', () => {
  function problemsOf(make: () => unknown): string[] {
    try {
      make();
    } catch (error) {
      if (error instanceof TypeError) return error.message.split('\n').filter((line) => line.startsWith('- '));
      throw error;
    }
    return [];
  }
  const of = (trust: unknown): string[] => problemsOf(() => trusting(trust as EdgeTrust));

  it.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /trust: is missing\. Say how a request shows/],
    ['null', null, /trust: is null/],
    ['true', true, /trust: is true/],
    ['a list', ['10.1.2.3'], /trust: is a list/],
    ['an empty object', {}, /trust: is an object\. Say how a request shows/],
    ['what every peer looks like', { ...dangerouslyTrustEveryPeer() }, /trust: is an object\. Say how/],
    ['an unknown name', { peers: ['10.1.2.3'], ips: [] }, /trust\.ips: is no option/],
    ['no peers', { peers: [] }, /trust\.peers: is \[\]/],
    ['a peer alone', { peers: '10.1.2.3' }, /trust\.peers: is "10\.1\.2\.3"/],
    ['a name', { peers: ['edge.example.com'] }, /names are not resolved/],
    ['localhost', { peers: ['localhost'] }, /names are not resolved/],
    ['a bad address', { peers: ['10.1.2.300'] }, /Give IP addresses/],
    ['leading zeros', { peers: ['010.1.2.3'] }, /Give IP addresses/],
    ['a bad range', { peers: ['10.0.0.0/33'] }, /Give IP addresses/],
    ['another bad range', { peers: ['10.0.0.0/8/8'] }, /Give IP addresses/],
    ['a scoped address', { peers: ['fe80::1%eth0'] }, /Give IP addresses/],
    ['everybody', { peers: ['0.0.0.0/0'] }, /say trust: dangerouslyTrustEveryPeer\(\)/],
    ['everybody of IPv6', { peers: ['::/0'] }, /say trust: dangerouslyTrustEveryPeer\(\)/],
    ['everybody of IPv4, in IPv6', { peers: ['::/1'] }, /say trust: dangerouslyTrustEveryPeer\(\)/],
    ['a range that IPv4 in IPv6 is in', { peers: ['::/80'] }, /say trust: dangerouslyTrustEveryPeer\(\)/],
    ['IPv4 in IPv6', { peers: ['::ffff:10.1.2.3'] }, /IPv4 not written in IPv6/],
    ['a range of IPv4 in IPv6', { peers: ['::ffff:a01:200/120'] }, /IPv4 not written in IPv6/],
    ['no string', { peers: [7] }, /trust\.peers/],
    ['a secret alone', { secret: SECRET }, /trust\.secret: is a string/],
    ['no secrets', { secret: { field: 'k', values: [] } }, /trust\.secret\.values: is a list\. Give a list of one or two/],
    ['three secrets', { secret: { field: 'k', values: [SECRET, SECRET, SECRET] } }, /one or two/],
    ['a short secret', { secret: { field: 'k', values: ['x'.repeat(31)] } }, /32 characters at least/],
    ['a secret with a space', { secret: { field: 'k', values: [`${SECRET} x`] } }, /without spaces/],
    ['a secret that is no list', { secret: { field: 'k', values: SECRET } }, /trust\.secret\.values/],
    [
      'the secret of the recipes',
      { secret: { field: 'k', values: [SECRET, 'change-me-change-me-change-me-42'] } },
      /is that of the recipes/,
    ],
    ['one secret twice', { secret: { field: 'k', values: [SECRET, SECRET] } }, /Both are the same/],
    ['no field', { secret: { values: [SECRET] } }, /trust\.secret\.field: is missing/],
    ['a bad field', { secret: { field: 'a b', values: [SECRET] } }, /Give the name of a field/],
    ['a bad pin', { pinnedCertificate: 'edge.pem' }, /trust\.pinnedCertificate: is a string\. Give the edge's own/],
    ['no pin', { pinnedCertificate: [] }, /trust\.pinnedCertificate/],
    ['a SHA-1 pin', { pinnedCertificate: 'c61733d8c629e679c71c4e3af3aa5cd8886a8bfb' }, /SHA-256/],
  ])('in place of trust: %s', (_what, trust, message) => {
    const problems = of(trust);
    expect(problems).toEqual([expect.stringMatching(message)]);
    expect(problems.join('\n')).toMatch(/^- fromForwardedField\.trust/);
  });

  it('every problem is told at once', () => {
    const options = {
      field: 'X Cert',
      format: 'der',
      trust: { peers: ['x'], secret: {} },
      verified: {},
      longest: 0,
      chainField: '',
      cert: 1,
    };
    expect(problemsOf(() => fromForwardedField(options as never)).map((line) => line.split(':')[0])).toEqual([
      '- fromForwardedField.cert',
      '- fromForwardedField.field',
      '- fromForwardedField.chainField',
      '- fromForwardedField.format',
      '- fromForwardedField.trust.peers',
      '- fromForwardedField.trust.secret.field',
      '- fromForwardedField.trust.secret.values',
      '- fromForwardedField.verified.field',
      '- fromForwardedField.verified.values',
      '- fromForwardedField.longest',
    ]);
  });

  const secret = (field: string): EdgeTrust => ({ secret: { field, values: [SECRET] } });
  const verdict = (field: string): object => ({ field, values: ['yes'] });
  const twice = (option: string): RegExp => new RegExp(`That is fromForwardedField\\.${option} already`);
  it.each<[string, object, string, RegExp]>([
    ['the chain is in the field of the certificate', { chainField: 'x-cert' }, 'chainField', twice('field')],
    ['the verdict is', { verified: verdict('X-CERT') }, 'verified.field', twice('field')],
    ['the secret is', { trust: secret('X-Cert') }, 'trust.secret.field', twice('field')],
    [
      'the secret is in the field of the verdict',
      { verified: verdict('X-V'), trust: secret('x-v') },
      'trust.secret.field',
      twice('verified.field'),
    ],
    [
      'the secret is in the field of the chain',
      { chainField: 'X-Chain', trust: secret('x-chain') },
      'trust.secret.field',
      twice('chainField'),
    ],
    ...['Authorization', 'DPoP', 'Host', 'Cookie', 'Connection'].map((field): [string, object, string, RegExp] => [
      `the certificate is in ${field}`,
      { field },
      'field',
      /Requests have that field for something else/,
    ]),
    ['the secret is in Authorization', { trust: secret('authorization') }, 'trust.secret.field', /Requests have that field/],
  ])('fields that are read as something else too: %s', (_what, options, at, message) => {
    const problems = problemsOf(() =>
      fromForwardedField({ field: 'X-Cert', format: 'pem', trust: { peers: ['10.1.2.3'] }, ...options } as never),
    );
    expect(problems).toEqual([expect.stringMatching(message)]);
    expect(problems[0]).toContain(`- fromForwardedField.${at}: is `);
    expect(problems[0]).not.toContain(SECRET);
  });

  it('fields that presets read are among them', () => {
    const trust = { peers: ['10.1.2.3'] };
    expect(problemsOf(() => rfc9440({ trust, field: 'client-cert-chain' }))).toEqual([expect.stringContaining('rfc9440.field already')]);
    expect(problemsOf(() => nginx({ trust, field: 'X-SSL-Verify', verified: true }))).toEqual([
      expect.stringContaining('nginx.field already'),
    ]);
  });

  it('of Istio, the peers alone: the peer is the sidecar, whoever sent the request to it', () => {
    const problems = (trust: EdgeTrust): string[] => problemsOf(() => istio({ trust }));
    expect(problems({ peers: ['127.0.0.1'] })).toEqual([expect.stringMatching(/^- istio\.trust: is an object\. The peer is the sidecar/)]);
    expect(problems({ peers: ['127.0.0.1'], secret: { field: 'k', values: [SECRET] } })).toEqual([]);
    expect(problems(secret('k'))).toEqual([]);
    expect(problemsOf(() => istio({ trust: dangerouslyTrustEveryPeer() }))).toEqual([]);
  });

  it.each([[['*']], [['']], [[]], ['SUCCESS'], [undefined], [[7]]])('in place of the values of a verdict: %j', (values) => {
    const verified = { field: 'X-Verify', values };
    const problems = problemsOf(() => fromForwardedField({ field: 'X', format: 'pem', trust: { peers: ['10.1.2.3'] }, verified } as never));
    expect(problems).toEqual([expect.stringMatching(/verified\.values: .*Give a list of the values that say so/)]);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a format that is none', 'der'],
    ['what all objects have', 'toString'],
    ['two formats', { xfcc: { elements: 1, element: 0 }, xfccJson: { elements: 1, element: 0 } }],
    ['no format', {}],
  ])('in place of a format: %s', (_what, format) => {
    const problems = problemsOf(() => fromForwardedField({ field: 'X', format, trust: { peers: ['10.1.2.3'] } } as never));
    expect(problems).toEqual([expect.stringMatching(/format: .*Give one of byte-sequence, base64-der/)]);
  });

  it.each([
    { elements: 0, element: 0 },
    { elements: 1, element: 1 },
    { elements: 2, element: -1 },
    { elements: 1.5, element: 0 },
    { elements: '1', element: 0 },
  ])('in place of elements: %j', (xfcc) => {
    const problems = problemsOf(() => fromForwardedField({ field: 'X', format: { xfcc }, trust: { peers: ['10.1.2.3'] } } as never));
    expect(problems).toEqual([expect.stringMatching(/format\.xfcc\.element/)]);
  });
});
