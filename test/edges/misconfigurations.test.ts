// What goes wrong in practice, on real edges: each test changes a recipe and shows what then gets in. The field that arrives is byte
// for byte what the edge itself would have sent, so no parser can tell; `holdfast probe` can, from outside.
import { apache, caddy, dangerouslyTrustEveryPeer, haproxy, nginx } from '@holdfast/express';
import { type Edge, type EdgeKind, type EdgeOptions, reasonToSkipEdge, startEdge } from '@holdfast/test-support/edges';
import type { Identity } from '@holdfast/test-support/pki';
import { describe, expect, it, onTestFinished, type TestContext } from 'vitest';
import { type Api, LANES, SECRET, startApi, WRITE } from './contract.ts';
import { WRONG_EDGES } from './wrong.ts';

const TRUST = { peers: ['127.0.0.1'], secret: { field: 'edge-secret', values: [SECRET] } };
const KINDS: readonly EdgeKind[] = ['nginx', 'haproxy', 'apache', 'caddy'];
const skipped = new Map(KINDS.map((kind) => [kind, reasonToSkipEdge(kind)]));

interface Scene {
  readonly api: Api;
  readonly edge: Edge;
  readonly owner: Identity;
  readonly thief: Identity;
  readonly token: string;
}

async function scene(
  source: Parameters<typeof startApi>[0],
  edgeOptions: Pick<EdgeOptions, 'kind' | 'recipe' | 'changes'>,
): Promise<Scene> {
  const api = await startApi(source);
  onTestFinished(() => api.close());
  const edge = await startEdge({ ...edgeOptions, pki: api.pki, upstreamPort: api.port, secret: SECRET });
  onTestFinished(() => edge.stop());
  const owner = await api.pki.client('owner');
  return { api, edge, owner, thief: await api.pki.client('thief'), token: await api.tokenFor(owner) };
}

/** Skips the test where the edge is not installed. */
function needs(context: TestContext, kind: EdgeKind): void {
  const reason = skipped.get(kind);
  if (reason !== undefined) context.skip(reason);
}

describe('the attack gets in where', () => {
  it.for(WRONG_EDGES)('$title', async ({ source, field, write, thief: kindOfThief, owner: isServed, ...options }, context) => {
    needs(context, options.kind);
    const { api, edge, owner, thief, token } = await scene(source({ trust: TRUST }), options);
    const lines = [[field, write(owner)]] as const;
    const isResumed = kindOfThief === 'enrolled, resumed';
    for (const lane of LANES) {
      expect((await api.ask(edge.port, { lane, token, identity: owner })).status).toBe(isServed ? 200 : 401);
      const attack = isResumed ? { lane, token, lines, identity: thief, resumed: true } : { lane, token, lines };
      const got = await api.ask(edge.port, attack);
      expect([got.status, got.body]).toEqual([200, owner.thumbprint]);
      // On a new session the same thief is refused: whoever tries only that believes that all is well.
      if (isResumed) expect((await api.ask(edge.port, { ...attack, resumed: false })).status).toBe(401);
    }
  });

  it('the API trusts every peer, and can be reached around the edge', async (context) => {
    needs(context, 'nginx');
    const { api, owner, token } = await scene(nginx({ trust: dangerouslyTrustEveryPeer() }), { kind: 'nginx', recipe: 'edges/nginx' });
    const headers = { authorization: `Bearer ${token}`, 'X-SSL-Cert': WRITE.percentEncodedPem(owner) };
    const response = await fetch(`http://127.0.0.1:${api.port}/accounts`, { headers });
    expect([response.status, await response.text()]).toEqual([200, owner.thumbprint]);
  });

  it("the API asks Apache for SUCCESS under optional_no_ca: a resumed TLS 1.2 session says it of anybody's certificate", async (context) => {
    needs(context, 'apache');
    const { api, edge } = await scene(apache({ trust: TRUST, verified: true }), {
      kind: 'apache',
      recipe: 'edges/apache',
      changes: [['RequestHeader unset X-SSL-Verify', 'RequestHeader set X-SSL-Verify "%{SSL_CLIENT_VERIFY}s"']],
    });
    const stranger = await api.pki.selfSigned('stranger');
    const request = { token: await api.tokenFor(stranger), identity: stranger, lane: { http: '1.1', tls: 'TLSv1.2' } } as const;
    const [first, resumed] = [await api.ask(edge.port, request), await api.ask(edge.port, { ...request, resumed: true })];
    expect([first.status, first.reason]).toEqual([401, 'certificate.not_verified']);
    expect(resumed.status).toBe(200);
    const onTls13 = await api.ask(edge.port, { ...request, resumed: true, lane: { http: '1.1', tls: 'TLSv1.3' } });
    expect([onTls13.status, onTls13.reason]).toEqual([401, 'certificate.not_verified']);
  });
});

describe('the attack is refused all the same, and the owner may be too, where', () => {
  it.for([
    {
      edge: 'HAProxy adds',
      kind: 'haproxy',
      source: haproxy,
      from: 'set-header X-SSL-Client-Cert',
      to: 'add-header X-SSL-Client-Cert',
      field: 'X-SSL-Client-Cert',
    },
    {
      edge: 'Caddy adds',
      kind: 'caddy',
      source: caddy,
      from: 'header_up X-Client-Cert',
      to: 'header_up +X-Client-Cert',
      field: 'X-Client-Cert',
    },
  ] as const)(
    '$edge the field behind that of the client: more than one line is believed by nobody',
    async ({ kind, source, from, to, field }, context) => {
      needs(context, kind);
      const { api, edge, owner, thief, token } = await scene(source({ trust: TRUST }), {
        kind,
        recipe: `edges/${kind}`,
        changes: [[from, to]],
      });
      for (const lane of LANES) {
        for (const identity of [undefined, thief]) {
          const spoofed = await api.ask(edge.port, { lane, token, identity, lines: [[field, WRITE.base64(owner)]] });
          expect([spoofed.status, spoofed.reason]).toEqual([401, 'certificate.several_lines']);
        }
        expect((await api.ask(edge.port, { lane, token, identity: owner })).status).toBe(200);
        const beside = await api.ask(edge.port, { lane, token, identity: owner, lines: [[field, WRITE.base64(thief)]] });
        expect([beside.status, beside.reason]).toEqual([401, 'certificate.several_lines']);
      }
    },
  );

  it('Caddy sets the field by request_header: a client that lists it in Connection has it removed, and refuses itself', async (context) => {
    needs(context, 'caddy');
    const set = 'header_up X-Client-Cert {http.request.tls.client.certificate_der_base64}';
    const { api, edge, owner, token } = await scene(caddy({ trust: TRUST }), {
      kind: 'caddy',
      recipe: 'edges/caddy',
      changes: [
        [`\t\t${set}\n`, ''],
        ['\treverse_proxy', `\t${set.replace('header_up', 'request_header')}\n\treverse_proxy`],
      ],
    });
    const lines = [['Connection', 'close, X-Client-Cert']] as const;
    expect((await api.ask(edge.port, { token, identity: owner })).status).toBe(200);
    const listed = await api.ask(edge.port, { token, identity: owner, lines });
    expect([listed.status, listed.reason]).toEqual([401, 'certificate.missing']);
  });

  it('nginx does not ask for certificates: there is none, for anybody', async (context) => {
    needs(context, 'nginx');
    const { api, edge, owner, token } = await scene(nginx({ trust: TRUST }), {
      kind: 'nginx',
      recipe: 'edges/nginx',
      changes: [['ssl_verify_client optional_no_ca;', 'ssl_verify_client off;']],
    });
    for (const lines of [[], [['X-SSL-Cert', WRITE.percentEncodedPem(owner)]] as [string, string][]]) {
      const response = await api.ask(edge.port, { token, identity: owner, lines });
      expect([response.status, response.reason]).toEqual([401, 'certificate.missing']);
    }
  });

  it('nginx hands on PEM with its line ends, which Node does not take: 400, and never a certificate', async (context) => {
    needs(context, 'nginx');
    const { api, edge, owner, token } = await scene(nginx({ trust: TRUST }), {
      kind: 'nginx',
      recipe: 'edges/nginx',
      changes: [['$ssl_client_escaped_cert', '$ssl_client_cert']],
    });
    expect((await api.ask(edge.port, { token, identity: owner })).status).toBe(400);
    expect((await api.ask(edge.port, { token })).status).toBe(401);
  });

  it('Caddy does not ask for certificates: there is none, for anybody', async (context) => {
    needs(context, 'caddy');
    const { api, edge, owner, token } = await scene(caddy({ trust: TRUST }), {
      kind: 'caddy',
      recipe: 'edges/caddy',
      changes: [['\t\tclient_auth {\n\t\t\tmode request\n\t\t}\n', '']],
    });
    for (const lane of LANES) {
      for (const lines of [[], [['X-Client-Cert', WRITE.base64(owner)]] as [string, string][]]) {
        const response = await api.ask(edge.port, { lane, token, identity: owner, lines });
        // Before 2.11.2 it sends the text of its placeholder, and afterwards nothing.
        expect([response.status, response.reason]).toEqual([401, 'certificate.not_presented']);
      }
    }
  });

  it('Caddy hands on PEM with its line ends, which it does not send itself: 502 for the owner, and nobody gets in', async (context) => {
    needs(context, 'caddy');
    const { api, edge, owner, thief, token } = await scene(caddy({ trust: TRUST }), {
      kind: 'caddy',
      recipe: 'edges/caddy',
      changes: [['certificate_der_base64', 'certificate_pem']],
    });
    const lines = [['X-Client-Cert', WRITE.base64(owner)]] as const;
    for (const identity of [owner, thief]) expect((await api.ask(edge.port, { token, identity, lines })).status).toBe(502);
    const without = await api.ask(edge.port, { token, lines });
    expect([without.status, without.reason]).toEqual([401, 'certificate.not_presented']);
  });

  it('nginx hands on the raw PEM, which Node does not take: 400, and never a certificate', async (context) => {
    needs(context, 'nginx');
    const { api, edge, owner, token } = await scene(nginx({ trust: TRUST }), {
      kind: 'nginx',
      recipe: 'edges/nginx',
      changes: [['$ssl_client_escaped_cert', '$ssl_client_raw_cert']],
    });
    const lines = [['X-SSL-Cert', WRITE.percentEncodedPem(owner)]] as const;
    expect((await api.ask(edge.port, { token, identity: owner, lines })).status).toBe(400);
    expect((await api.ask(edge.port, { token, lines })).status).toBe(401);
  });

  it('nginx lets names with underscores through: the API does not take them for those with hyphens', async (context) => {
    needs(context, 'nginx');
    const { api, edge, owner, thief, token } = await scene(nginx({ trust: TRUST }), {
      kind: 'nginx',
      recipe: 'edges/nginx',
      changes: [['    server_name api.example.com;\n', '    server_name api.example.com;\n    underscores_in_headers on;\n']],
    });
    const lines = [['X_SSL_Cert', WRITE.percentEncodedPem(owner)]] as const;
    for (const lane of LANES) {
      const without = await api.ask(edge.port, { lane, token, lines });
      expect([without.status, without.reason]).toEqual([401, 'certificate.missing']);
      const another = await api.ask(edge.port, { lane, token, lines, identity: thief });
      expect([another.status, another.reason]).toEqual([401, 'certificate.mismatch']);
      expect((await api.ask(edge.port, { lane, token, lines, identity: owner })).status).toBe(200);
    }
  });
});
