import { createServer, type Server } from 'node:http';
import type { CertificateSource, EdgeTrust } from '@holdfast/core';
import { accessOf, holdfast, type ResourceEvent } from '@holdfast/express';
import { type OneResponse, requestOnce, requestOnceHttp2 } from '@holdfast/test-support/clients';
import { type Edge, type EdgeKind, reasonToSkipEdge, startEdge } from '@holdfast/test-support/edges';
import { startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { type RawHttp2Answer, rawHttp2Request } from '@holdfast/test-support/raw-http2';
import express from 'express';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

/** For the secret of the recipes. */
export const SECRET = 'the-edge-and-the-api-know-this-0042';
const AUDIENCE = 'https://api.example.com';

/** How an edge is known to write a certificate: as a thief writes it too. */
export const WRITE = {
  percentEncodedPem: (identity: Identity): string => encodeURIComponent(leafOf(identity)),
  pemWithSpaces: (identity: Identity): string => leafOf(identity).trim().replaceAll('\n', ' '),
  base64: ({ der }: Identity): string => Buffer.from(der).toString('base64'),
  byteSequence: ({ der }: Identity): string => `:${Buffer.from(der).toString('base64')}:`,
};

function leafOf({ cert }: Identity): string {
  return cert.slice(0, cert.indexOf('-----END CERTIFICATE-----') + 26);
}

/** The certificates of clients: what they are bound to has to arrive, whatever they are. */
export interface Certificates {
  /** P-256, signed by itself. */
  readonly ec: Identity;
  /** RSA with 4096 bits, under an intermediate authority that is sent along. */
  readonly rsa: Identity;
  /** 4.7 KB. */
  readonly large: Identity;
  /** 18 KB: more than some edges have buffers for, and more than Node takes in a field. */
  readonly oversize: Identity;
  readonly expired: Identity;
  /** Of the thief. */
  readonly other: Identity;
}

/** One set for all edges of a test file: it takes a second or two, and no edge has to know who issued them. */
let certificatesOfThisFile: Promise<Certificates> | undefined;

async function createCertificates(): Promise<Certificates> {
  const pki = await createPki();
  const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `name-${String(i).padStart(4, '0')}.example.com`);
  const past = Date.now() - 3_600_000;
  return {
    ec: await pki.selfSigned('owner "ec"; x=1'),
    rsa: await pki.rsaUnderIntermediate('owner rsa'),
    large: await pki.selfSigned('owner large', { dnsNames: names(186) }),
    oversize: await pki.selfSigned('owner oversize', { dnsNames: names(800) }),
    expired: await pki.selfSigned('owner expired', { notBefore: new Date(past - 3_600_000), notAfter: new Date(past) }),
    other: await pki.selfSigned('thief'),
  };
}

/** A way to the API. */
export interface Lane {
  readonly http: '1.1' | '2';
  readonly tls: 'TLSv1.2' | 'TLSv1.3';
}

export const LANES: readonly Lane[] = [
  { http: '1.1', tls: 'TLSv1.2' },
  { http: '1.1', tls: 'TLSv1.3' },
  { http: '2', tls: 'TLSv1.2' },
  { http: '2', tls: 'TLSv1.3' },
];

/** A request to the API through its edge. */
export interface Ask {
  readonly lane?: Lane;
  readonly token?: string;
  readonly identity?: Identity | undefined;
  readonly lines?: readonly (readonly [name: string, value: string])[];
  /** Get a session with this client's certificate first, and resume it. */
  readonly resumed?: boolean;
}

/** What came back, and why. */
export interface Outcome extends OneResponse {
  readonly reason: string | undefined;
}

/** An API on the loopback over plain HTTP, as it stands behind an edge. */
export interface Api {
  readonly port: number;
  readonly pki: Pki;
  /** An access token that is bound to the certificate. */
  tokenFor(owner: Identity): Promise<string>;
  /** Asks through a port where TLS ends. */
  ask(port: number, ask: Ask): Promise<Outcome>;
  lastDecision(): ResourceEvent | undefined;
  close(): Promise<void>;
}

/** Starts an Express API with this source of certificates; it answers with the thumbprint that was confirmed. */
export async function startApi(source: CertificateSource): Promise<Api> {
  const pki = await createPki();
  const issuer = await startIssuer();
  let last: ResourceEvent | undefined;
  const lastDecision = (): ResourceEvent | undefined => last;
  const protect = holdfast({ issuer: issuer.url, audience: AUDIENCE, certificate: source, onEvent: (event) => void (last = event) });
  const app = express();
  app.use(protect);
  app.get('/accounts', (request, response) => void response.send(accessOf(request).confirmations[0]?.thumbprint));
  const server: Server = createServer(app);
  const port = await listen(server);

  async function send(
    edge: number,
    { lane = { http: '1.1', tls: 'TLSv1.3' }, identity, token, lines = [] }: Ask,
    session?: Buffer,
  ): Promise<OneResponse> {
    const authorization = token === undefined ? [] : [['Authorization', `Bearer ${token}`] as const];
    const tls = {
      port: edge,
      path: '/accounts',
      ca: pki.ca,
      servername: 'localhost',
      minVersion: lane.tls,
      maxVersion: lane.tls,
      ...(identity && { cert: identity.cert, key: identity.key }),
      ...(session && { session }),
    };
    if (lane.http === '1.1') {
      return requestOnce({ ...tls, headers: ['Host', `localhost:${edge}`, ...[...authorization, ...lines].flat()] });
    }
    const headers: Record<string, string[]> = {};
    for (const [name, value] of [...authorization, ...lines]) (headers[name.toLowerCase()] ??= []).push(value);
    const single = Object.entries(headers).map(([name, values]) => [name, values.length === 1 ? values[0] : values]);
    return requestOnceHttp2({ ...tls, headers: Object.fromEntries(single) });
  }

  return {
    port,
    pki,
    tokenFor: ({ thumbprint }) => issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': thumbprint } }),
    lastDecision,
    async ask(edge, ask) {
      const first = ask.resumed === true ? await send(edge, { ...ask, lines: [] }) : undefined;
      last = undefined;
      const response = await send(edge, ask, first?.session);
      if (first !== undefined && !response.reused) throw new Error('the edge did not resume the session');
      return { ...response, reason: lastDecision()?.reason };
    },
    async close() {
      await protect.close();
      await Promise.all([stop(server), issuer.close()]);
    },
  };
}

/** What is particular about an edge. */
export interface EdgeUnderTest {
  readonly kind: EdgeKind;
  /** Below `examples`. */
  readonly recipe: string;
  readonly source: (options: { readonly trust: EdgeTrust }) => CertificateSource;
  /** The field, and how a certificate stands in it. */
  readonly field: string;
  readonly write: (identity: Identity) => string;
  /** The reason of a refusal where the client presents no certificate. */
  readonly without: 'certificate.missing' | 'certificate.not_presented';
  /** What becomes of an expired certificate: handed on, answered by the edge, or refused in the handshake. */
  readonly expired: 'granted' | 400 | 'handshake';
  /** What becomes of a certificate of 18 KB. */
  readonly oversize: 401 | 431;
  /** The reason where the client lists the field in `Connection`, with and without a certificate of its own, if that has an effect. */
  readonly listed?: 'certificate.missing';
  /** The reason of that refusal, where it comes from the API. */
  readonly oversizeReason?: 'certificate.not_presented';
  /** What becomes of a field of 20 KB: the status, over HTTP/1.1 and over HTTP/2, where some edges end the connection in place of it. */
  readonly longField: Readonly<Record<Lane['http'], number | RegExp>>;
  /** What becomes of the field listed in `Connection` over HTTP/2, where that is forbidden (RFC 9113 §8.2.2): a status, or an error code. */
  readonly listedInHttp2: { readonly status: 400 | 401 } | { readonly reset: 1 };
}

/** How a client may send the field, each so that an API would read what is in it; whoever does has to be refused all the same. */
export const ATTACKS: readonly (readonly [title: string, lines: (field: string, value: string) => [string, string][]])[] = [
  ['spoofed', (field, value) => [[field, value]]],
  ['in the other case', (field, value) => [[field === field.toLowerCase() ? field.toUpperCase() : field.toLowerCase(), value]]],
  [
    'doubled',
    (field, value) => [
      [field, value],
      [field, value],
    ],
  ],
  [
    'behind a wrong one',
    (field, value) => [
      [field, 'nothing'],
      [field, value],
    ],
  ],
  ['with underscores', (field, value) => [[field.replaceAll('-', '_'), value]]],
  [
    'with underscores beside itself',
    (field, value) => [
      [field, value],
      [field.replaceAll('-', '_'), value],
    ],
  ],
  [
    'beside a forged verdict',
    (field, value) => [
      [field, value],
      ['X-SSL-Verify', 'SUCCESS'],
      ['X-SSL-Client-Verify', '0'],
      ['client-certificate-ca-verified', 'SUCCESS'],
    ],
  ],
  [
    'beside a forged address',
    (field, value) => [
      [field, value],
      ['X-Forwarded-For', '127.0.0.1'],
      ['Forwarded', 'for=127.0.0.1'],
    ],
  ],
  [
    'beside a guessed secret',
    (field, value) => [
      [field, value],
      ['Edge-Secret', 'x'.repeat(SECRET.length)],
      ['cname-api-key', 'x'.repeat(SECRET.length)],
    ],
  ],
  [
    'beside 7 KB of something else',
    (field, value) => [
      [field, value],
      ['X-Filler', 'x'.repeat(7000)],
    ],
  ],
];

/** What every edge with its recipe has to do: the right certificate arrives, and nothing that a client writes. Call it in a `describe`. */
export function edgeContract(spec: EdgeUnderTest): void {
  const skip = reasonToSkipEdge(spec.kind, spec.recipe);
  let api: Api;
  let edge: Edge;
  let certificates: Certificates;
  let token: string;
  beforeAll(async () => {
    if (skip !== undefined) return;
    api = await startApi(spec.source({ trust: { peers: ['127.0.0.1'], secret: { field: 'edge-secret', values: [SECRET] } } }));
    certificates = await (certificatesOfThisFile ??= createCertificates());
    token = await api.tokenFor(certificates.ec);
    edge = await startEdge({ kind: spec.kind, recipe: spec.recipe, pki: api.pki, upstreamPort: api.port, secret: SECRET });
  });
  afterAll(async () => {
    await edge?.stop();
    await api?.close();
  });
  beforeEach((context) => {
    if (skip !== undefined) context.skip(skip);
  });
  const ask = (request: Ask): Promise<Outcome> => api.ask(edge.port, { token, ...request });
  const outcome = ({ status, body, reason }: Outcome): unknown[] => [status, status === 200 ? body : reason];

  describe.each(LANES)('HTTP/$http over $tls', (lane) => {
    it.each(['ec', 'rsa', 'large'] as const)('the certificate %s arrives, on a new session and on a resumed one', async (name) => {
      const identity = certificates[name];
      const bound = await api.tokenFor(identity);
      for (const resumed of [false, true]) {
        const response = await ask({ lane, identity, token: bound, resumed });
        expect(outcome(response)).toEqual([200, identity.thumbprint]);
        expect(response).toMatchObject({ protocol: lane.tls, reused: resumed });
      }
    });

    it(`an expired certificate: ${spec.expired}`, async () => {
      const identity = certificates.expired;
      const asked = ask({ lane, identity, token: await api.tokenFor(identity) });
      if (spec.expired === 'handshake') await expect(asked).rejects.toThrow(/certificate|alert|ECONNRESET|socket/i);
      else expect((await asked).status).toBe(spec.expired === 'granted' ? 200 : spec.expired);
    });

    it('the token is refused without a certificate, and with another one, on new and resumed sessions', async () => {
      for (const resumed of [false, true]) {
        expect(outcome(await ask({ lane, resumed }))).toEqual([401, spec.without]);
        expect(outcome(await ask({ lane, resumed, identity: certificates.other }))).toEqual([401, 'certificate.mismatch']);
      }
    });

    it.each(ATTACKS)('the field %s gets nobody in', async (_title, linesOf) => {
      const lines = linesOf(spec.field, spec.write(certificates.ec));
      for (const resumed of [false, true]) {
        expect(outcome(await ask({ lane, resumed, lines }))).toEqual([401, spec.without]);
        expect(outcome(await ask({ lane, resumed, lines, identity: certificates.other }))).toEqual([401, 'certificate.mismatch']);
      }
    });

    it.each(ATTACKS)('the field %s, with another certificate in it, changes nothing for the owner', async (_title, linesOf) => {
      const lines = linesOf(spec.field, spec.write(certificates.other));
      for (const resumed of [false, true]) {
        const response = await ask({ lane, resumed, lines, identity: certificates.ec });
        expect(outcome(response)).toEqual([200, certificates.ec.thumbprint]);
      }
    });
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('the field listed in Connection gets nobody in, over %s', async (tls) => {
    const lane = { http: '1.1', tls } as const;
    const value = spec.write(certificates.ec);
    for (const resumed of [false, true]) {
      for (const listed of [spec.field, `${spec.field}, Edge-Secret`, spec.field.toLowerCase()]) {
        const lines = [
          [spec.field, value],
          ['Connection', `close, ${listed}`],
        ] as const;
        const refused = await Promise.all([ask({ lane, resumed, lines }), ask({ lane, resumed, lines, identity: certificates.other })]);
        expect(refused.map(({ status }) => status)).toEqual([401, 401]);
      }
      const reasons = [];
      for (const identity of [undefined, certificates.other]) {
        reasons.push((await ask({ lane, resumed, identity, lines: [['Connection', `close, ${spec.field}`]] })).reason);
      }
      expect(reasons).toEqual(spec.listed === undefined ? [spec.without, 'certificate.mismatch'] : [spec.listed, spec.listed]);
    }
  });

  it('the large certificate is one of 4.7 KB', () => {
    expect(Math.round(certificates.large.der.length / 100)).toBe(47);
  });

  describe.each(LANES)('what is too large, HTTP/$http over $tls', (lane) => {
    it(`a certificate of 18 KB is refused (${spec.oversize}), and the field of its client with it`, async () => {
      const identity = certificates.oversize;
      expect(identity.der.length).toBeGreaterThan(18_000);
      const own = await ask({ lane, identity, token: await api.tokenFor(identity) });
      expect([own.status, own.reason]).toEqual([spec.oversize, spec.oversizeReason]);
      const spoofed = await ask({ lane, identity, lines: [[spec.field, spec.write(certificates.ec)]] });
      expect([spoofed.status, spoofed.reason]).toEqual([spec.oversize, spec.oversizeReason]);
    });

    it(`a field of 20 KB gets nobody in (${spec.longField[lane.http]})`, async () => {
      const expected = spec.longField[lane.http];
      for (const identity of [undefined, certificates.other]) {
        const lines = [[spec.field, spec.write(certificates.ec).padEnd(20_000, 'A')]] as const;
        const asked = ask({ lane, lines, identity });
        if (typeof expected === 'number') expect((await asked).status).toBe(expected);
        else await expect(asked).rejects.toThrow(expected);
      }
    });
  });

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('what HTTP/2 forbids, over %s', (tls) => {
    const raw = (identity: Identity | undefined, lines: readonly (readonly [string, string])[]): Promise<RawHttp2Answer> =>
      rawHttp2Request({
        port: edge.port,
        path: '/accounts',
        authority: `localhost:${edge.port}`,
        lines: [['authorization', `Bearer ${token}`], ...lines],
        tls: {
          ca: api.pki.ca,
          servername: 'localhost',
          minVersion: tls,
          maxVersion: tls,
          ...(identity && { cert: identity.cert, key: identity.key }),
        },
      });
    const name = spec.field.toLowerCase();

    it('without it, the owner is served', async () => {
      expect(await raw(certificates.ec, [])).toEqual({ status: 200, body: certificates.ec.thumbprint });
    });

    it(`the field listed in Connection gets nobody in (${JSON.stringify(spec.listedInHttp2)})`, async () => {
      for (const identity of [undefined, certificates.other]) {
        for (const listed of [name, `close, ${name}`]) {
          const lines = [
            [name, spec.write(certificates.ec)],
            ['connection', listed],
          ] as const;
          expect(await raw(identity, lines)).toMatchObject(spec.listedInHttp2);
        }
      }
    });

    it('the field in capitals gets nobody in: the edge resets the stream', async () => {
      for (const identity of [undefined, certificates.other]) {
        expect(await raw(identity, [[name.toUpperCase(), spec.write(certificates.ec)]])).toEqual({ reset: 1 });
      }
    });
  });

  it('around the edge, the field gets nobody in: without its secret the API does not read it', async () => {
    for (const secret of [[], [['Edge-Secret', 'x'.repeat(SECRET.length)]]] as [string, string][][]) {
      const headers = Object.fromEntries([['authorization', `Bearer ${token}`], [spec.field, spec.write(certificates.ec)], ...secret]);
      const response = await fetch(`http://127.0.0.1:${api.port}/accounts`, { headers });
      expect([response.status, api.lastDecision()?.reason]).toEqual([401, 'certificate.untrusted_peer']);
    }
  });
}
