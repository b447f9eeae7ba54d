// What the edge says of a certificate, where the API asks for it: on real edges, and under the hands of clients who forge it.
import type { CertificateSource, EdgeOptions } from '@holdfast/core';
import { apache, haproxy, nginx } from '@holdfast/express';
import { type Change, type Edge, type EdgeKind, reasonToSkipEdge, startEdge } from '@holdfast/test-support/edges';
import type { Identity } from '@holdfast/test-support/pki';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Api, type Ask, LANES, SECRET, startApi } from './contract.ts';

interface EdgeWithVerdict {
  readonly edge: string;
  readonly kind: EdgeKind;
  readonly source: (options: EdgeOptions) => CertificateSource;
  /** The recipe, and what makes the edge judge by the authority of the clients and let strangers through all the same. */
  readonly changes: readonly Change[];
  readonly field: string;
  /** As the edge says yes. */
  readonly yes: string;
  /** Why a request without a certificate is refused. */
  readonly without: string;
  /** Why the owner is, who lists the verdict in `Connection`, if that has an effect. */
  readonly listed?: 'certificate.not_verified';
}

const EDGES: readonly EdgeWithVerdict[] = [
  {
    edge: 'nginx',
    kind: 'nginx',
    source: nginx,
    changes: [
      ['ssl_verify_client optional_no_ca;', 'ssl_verify_client optional_no_ca;\n    ssl_client_certificate /etc/holdfast/clients-ca.crt;'],
    ],
    field: 'X-SSL-Verify',
    yes: 'SUCCESS',
    without: 'certificate.missing',
  },
  {
    edge: 'HAProxy',
    kind: 'haproxy',
    source: haproxy,
    changes: [],
    field: 'X-SSL-Client-Verify',
    yes: '0',
    // It says 0 there too: the certificate is what is missing.
    without: 'certificate.not_presented',
  },
  {
    edge: 'Apache, which admits its authority only',
    kind: 'apache',
    source: apache,
    changes: [
      ['SSLVerifyClient optional_no_ca', 'SSLVerifyClient optional\n    SSLCACertificateFile /etc/holdfast/clients-ca.crt'],
      ['RequestHeader unset X-SSL-Verify', 'RequestHeader set X-SSL-Verify "%{SSL_CLIENT_VERIFY}s"'],
    ],
    field: 'X-SSL-Verify',
    yes: 'SUCCESS',
    without: 'certificate.not_verified',
    // It removes what Connection lists after it has set it: the client refuses itself.
    listed: 'certificate.not_verified',
  },
];

describe.each(EDGES)('The verdict of $edge, asked for by verified: true', ({ kind, source, changes, field, yes, without, listed }) => {
  const skip = reasonToSkipEdge(kind);
  let api: Api;
  let edge: Edge;
  let enrolled: Identity;
  let stranger: Identity;
  beforeAll(async () => {
    if (skip !== undefined) return;
    api = await startApi(source({ trust: { peers: ['127.0.0.1'], secret: { field: 'edge-secret', values: [SECRET] } }, verified: true }));
    edge = await startEdge({ kind, recipe: `edges/${kind}`, pki: api.pki, upstreamPort: api.port, secret: SECRET, changes });
    [enrolled, stranger] = [await api.pki.client('enrolled'), await api.pki.selfSigned('stranger')];
  });
  afterAll(async () => {
    await edge?.stop();
    await api?.close();
  });
  beforeEach((context) => {
    if (skip !== undefined) context.skip(skip);
  });

  /** What becomes of a token of this client's own: its status, or where there was no handshake, that. */
  async function outcome(identity: Identity, ask: Omit<Ask, 'token' | 'identity'> & { readonly anonymous?: true }): Promise<string> {
    const { anonymous, ...rest } = ask;
    const token = await api.tokenFor(identity);
    try {
      const { status, reason = '' } = await api.ask(edge.port, { ...rest, token, identity: anonymous === true ? undefined : identity });
      return `${status} ${reason}`.trim();
    } catch (error) {
      if (kind === 'apache' && error instanceof Error && /alert|ECONNRESET|socket/i.test(error.message)) return 'no handshake';
      throw error;
    }
  }

  const FORGED: readonly (readonly [title: string, lines: readonly (readonly [string, string])[]])[] = [
    ['as it is', []],
    ['forged', [[field, yes]]],
    [
      'forged twice',
      [
        [field, yes],
        [field, yes],
      ],
    ],
    [
      'forged, with its twin',
      [
        [field, yes],
        [field.replaceAll('-', '_'), yes],
      ],
    ],
  ];

  describe.each(LANES)('HTTP/$http over $tls', (lane) => {
    it.each(FORGED)('%s: who is enrolled is served, a stranger and who has no certificate are not', async (_title, lines) => {
      for (const resumed of [false, true]) {
        expect(await outcome(enrolled, { lane, resumed, lines })).toBe('200');
        expect(await outcome(enrolled, { lane, resumed, lines, anonymous: true })).toBe(`401 ${without}`);
        if (kind !== 'apache') expect(await outcome(stranger, { lane, resumed, lines })).toBe('401 certificate.not_verified');
      }
      if (kind === 'apache') expect(await outcome(stranger, { lane, lines })).toBe('no handshake');
    });
  });

  // Over HTTP/2 it is forbidden: see contract.ts.
  describe.each(LANES.filter(({ http }) => http === '1.1'))('HTTP/$http over $tls', (lane) => {
    it('listed in Connection: nobody is served who would not be without', async () => {
      for (const resumed of [false, true]) {
        for (const lines of [
          [['Connection', `close, ${field}`]],
          [
            ['Connection', `close, ${field}`],
            [field, yes],
          ],
        ] as [string, string][][]) {
          expect(await outcome(enrolled, { lane, resumed, lines })).toBe(listed === undefined ? '200' : `401 ${listed}`);
          if (kind !== 'apache') expect(await outcome(stranger, { lane, resumed, lines })).toBe('401 certificate.not_verified');
        }
      }
    });
  });
});
