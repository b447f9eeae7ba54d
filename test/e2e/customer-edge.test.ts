import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { createClient } from '@holdfast/example-main-job/client';
import { type CustomerEdgeKind, HOSTS, runCustomerEdge, type Scene, startScene, type Story } from '@holdfast/example-customer-edge';
import { type OneResponse, requestOnce, requestOnceHttp2 } from '@holdfast/test-support/clients';
import { type Change, reasonToSkipEdge } from '@holdfast/test-support/edges';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { type RawHttp2Answer, rawHttp2Request } from '@holdfast/test-support/raw-http2';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { ATTACKS, type Lane, LANES, WRITE } from '../edges/contract.ts';

describe.each(['nginx', 'haproxy'] as const)('a customer edge on %s, in front of an authorization server and an API', (kind) => {
  const skip = reasonToSkipEdge(kind);
  let story: Story;
  beforeAll(async () => {
    if (skip === undefined) story = await runCustomerEdge(kind);
  });
  beforeEach((context) => {
    if (skip !== undefined) context.skip(skip);
  });

  it('the client finds the server on the custom domain and its mtls_endpoint_aliases, and gets a token that is bound to its certificate', () => {
    expect(new URL(story.issuer).hostname).toBe(HOSTS.login);
    expect(story.tokenEndpoint).toBe(story.issuer.replace(HOSTS.login, HOSTS.mtls) + '/token');
    expect(JSON.parse(story.body)).toEqual({
      client: 'mtls-ca',
      scope: 'accounts:read',
      scheme: 'Bearer',
      thumbprint: expect.stringMatching(/^[\w-]{43}$/),
    });
  });

  it('the owner is served, on resumed sessions too, whatever it writes into the field; nobody else is, through the edge or around it', () => {
    expect(story.answers.filter(({ answer, expected }) => answer !== expected)).toEqual([]);
    expect(story.answers.map(({ expected, reason }) => `${expected} ${reason ?? ''}`.trim())).toEqual([
      ...Array.from({ length: 4 }, () => '200'),
      '401 certificate.missing',
      '401 certificate.mismatch',
      ...Array.from({ length: 8 }, () => '401 certificate.missing'),
      ...Array.from({ length: 8 }, () => '401 certificate.mismatch'),
      ...Array.from({ length: 2 }, () => '401 certificate.untrusted_peer'),
      ...Array.from({ length: 5 }, () => '401'),
    ]);
  });

  describe('a stranger, with a certificate of its own making that has the subject of the owner', () => {
    /** Asks for a token; without an answer where the handshake is refused. */
    async function tokenFor(scene: Scene, stranger: Identity): Promise<OneResponse | undefined> {
      const body = new URLSearchParams({ grant_type: 'client_credentials', client_id: 'mtls-ca', scope: 'accounts:read' }).toString();
      try {
        return await requestOnce({
          port: scene.edge.port,
          ca: scene.pki.ca,
          servername: HOSTS.mtls,
          cert: stranger.cert,
          key: stranger.key,
          method: 'POST',
          path: '/token',
          headers: { host: `${HOSTS.mtls}:${scene.edge.port}`, 'content-type': 'application/x-www-form-urlencoded' },
          body,
        });
      } catch {
        return undefined;
      }
    }
    async function sceneOf(changes: readonly Change[]): Promise<Scene> {
      const scene = await startScene(kind, { changes });
      onTestFinished(() => scene.close());
      return scene;
    }

    it('gets nowhere: the edge knows its authority', async () => {
      const scene = await sceneOf([]);
      const stranger = await (await createPki()).client('owner');
      const answer = await tokenFor(scene, stranger);
      expect(answer?.status).toBe(kind === 'nginx' ? 400 : undefined);
    });

    /** The edge lets any certificate in, and says of each that it was verified, or what came of it. */
    const LENIENT: Record<CustomerEdgeKind, readonly Change[]> = {
      nginx: [['ssl_verify_client optional;', 'ssl_verify_client optional_no_ca;']],
      haproxy: [['certificates.list ssl-min-ver', 'certificates.list ca-ignore-err all crt-ignore-err all ssl-min-ver']],
    };
    const UNCHECKED: Record<CustomerEdgeKind, readonly Change[]> = {
      nginx: [...LENIENT.nginx, ['client-certificate-ca-verified $ssl_client_verify', 'client-certificate-ca-verified SUCCESS']],
      haproxy: [...LENIENT.haproxy, [' { ssl_c_verify 0 }', '']],
    };

    it('gets no token where the edge admits it and says what it thinks of the certificate', async () => {
      const scene = await sceneOf(LENIENT[kind]);
      const stranger = await (await createPki()).client('owner');
      expect(await tokenFor(scene, stranger)).toMatchObject({ status: 401, body: expect.stringContaining('invalid_client') });
    });

    it('gets a token of the owner where the edge admits it and says SUCCESS of everybody: such an edge is no edge', async () => {
      const scene = await sceneOf(UNCHECKED[kind]);
      const stranger = await (await createPki()).client('owner');
      expect((await tokenFor(scene, stranger))?.status).toBe(200);
    });
  });

  it('a handshake with one name and a request to another get nobody in', async () => {
    const scene = await startScene(kind);
    onTestFinished(() => scene.close());
    const { owner, thief, edge, pki } = scene;
    const client = await createClient(scene.as.issuer, 'mtls-ca', scene.fetchAs(owner));
    const token = await client.token('https://api.example.com', 'accounts:read');
    const ask = async (servername: string, identity?: Identity): Promise<number> => {
      const { status } = await requestOnce({
        port: edge.port,
        path: '/accounts',
        ca: pki.ca,
        servername,
        headers: {
          host: `${HOSTS.api}:${edge.port}`,
          authorization: `Bearer ${token}`,
          'client-certificate': encodeURIComponent(owner.cert),
          'client-certificate-ca-verified': 'SUCCESS',
        },
        ...(identity && { cert: identity.cert, key: identity.key }),
      });
      return status;
    };
    // At login nobody is asked for a certificate, so that of the owner does not count either.
    expect(await ask(HOSTS.login)).toBeOneOf([401, 421]);
    expect(await ask(HOSTS.login, owner)).toBeOneOf([401, 421]);
    expect(await ask(HOSTS.mtls, thief)).toBeOneOf([401, 421]);
    expect(await ask(HOSTS.api, owner)).toBe(200);
  });

  describe('under the attacks of every edge', () => {
    let scene: Scene;
    let token: string;
    let others: Readonly<Record<'rsa' | 'large' | 'expired', Identity>>;
    beforeAll(async () => {
      if (skip !== undefined) return;
      scene = await startScene(kind);
      const client = await createClient(scene.as.issuer, 'mtls-ca', scene.fetchAs(scene.owner));
      token = await client.token('https://api.example.com', 'accounts:read');
      const names = Array.from({ length: 186 }, (_, i) => `name-${String(i).padStart(4, '0')}.example.com`);
      const past = Date.now() - 3_600_000;
      others = {
        rsa: await scene.pki.rsaUnderIntermediate('owner'),
        large: await scene.pki.client('owner', { dnsNames: names }),
        expired: await scene.pki.client('owner', { notBefore: new Date(past - 3_600_000), notAfter: new Date(past) }),
      };
    });
    afterAll(() => scene?.close());

    interface Ask {
      readonly identity?: Identity | undefined;
      readonly lines?: readonly (readonly [string, string])[];
      readonly resumed?: boolean;
      readonly servername?: string;
    }

    async function send(
      { http, tls }: Lane,
      { identity, lines = [], servername = HOSTS.api }: Ask,
      session?: Buffer,
    ): Promise<OneResponse> {
      const host = `${HOSTS.api}:${scene.edge.port}`;
      const all = [['Authorization', `Bearer ${token}`] as const, ...lines];
      const request = {
        port: scene.edge.port,
        path: '/accounts',
        ca: scene.pki.ca,
        servername,
        minVersion: tls,
        maxVersion: tls,
        ...(identity && { cert: identity.cert, key: identity.key }),
        ...(session && { session }),
      };
      if (http === '1.1') return requestOnce({ ...request, headers: ['Host', host, ...all.flat()] });
      const fields: Record<string, string[]> = {};
      for (const [name, value] of all) (fields[name.toLowerCase()] ??= []).push(value);
      const single = Object.entries(fields).map(([name, values]) => [name, values.length === 1 ? values[0] : values]);
      return requestOnceHttp2({ ...request, headers: { ':authority': host, ...Object.fromEntries(single) } });
    }

    /** Status and reason; of a grant, which certificate was confirmed. */
    async function outcome(lane: Lane, ask: Ask): Promise<readonly unknown[]> {
      const first = ask.resumed === true ? await send(lane, { ...ask, lines: [] }) : undefined;
      scene.api.forget();
      const response = await send(lane, ask, first?.session);
      expect(response.reused).toBe(first !== undefined);
      if (response.status !== 200) return [response.status, scene.api.lastDecision()?.reason];
      const { thumbprint }: { thumbprint?: unknown } = JSON.parse(response.body);
      return [200, thumbprint];
    }

    describe.each(LANES)('HTTP/$http over $tls', (lane) => {
      it.each(ATTACKS)('the field %s gets nobody in, and changes nothing for the owner', async (_title, linesOf) => {
        const { owner, thief } = scene;
        const lines = linesOf('client-certificate', WRITE.percentEncodedPem(owner));
        for (const resumed of [false, true]) {
          expect(await outcome(lane, { resumed, lines })).toEqual([401, 'certificate.missing']);
          expect(await outcome(lane, { resumed, lines, identity: thief })).toEqual([401, 'certificate.mismatch']);
          const beside = linesOf('client-certificate', WRITE.percentEncodedPem(thief));
          expect(await outcome(lane, { resumed, lines: beside, identity: owner })).toEqual([200, owner.thumbprint]);
        }
      });

      const forged = (): [string, string][] => [
        ['client-certificate', WRITE.percentEncodedPem(scene.owner)],
        ['client-certificate-ca-verified', 'SUCCESS'],
      ];

      it('RSA with 4096 bits under an intermediate is read; 4.7 KB are more than the 4,096 characters of the convention', async () => {
        for (const lines of [[], forged()]) {
          for (const resumed of [false, true]) {
            expect(await outcome(lane, { resumed, lines, identity: others.rsa })).toEqual([401, 'certificate.mismatch']);
            expect(await outcome(lane, { resumed, lines, identity: others.large })).toEqual([401, 'certificate.malformed']);
          }
        }
      });

      it('an expired certificate does not get as far as the API', async () => {
        const asked = outcome(lane, { identity: others.expired, lines: forged() });
        if (kind === 'nginx') expect(await asked).toEqual([400, undefined]);
        else await expect(asked).rejects.toThrow(/certificate|alert|ECONNRESET|socket/i);
      });

      it('a handshake with the name where nobody is asked for a certificate, and a request to the API', async () => {
        for (const resumed of [false, true]) {
          const got = await outcome(lane, { resumed, identity: scene.owner, servername: HOSTS.login, lines: forged() });
          expect(got).toEqual(kind === 'nginx' ? [421, undefined] : [401, 'certificate.missing']);
        }
      });
    });

    it.each(['TLSv1.2', 'TLSv1.3'] as const)('the field listed in Connection over HTTP/2 and %s gets nobody in', async (tls) => {
      const raw = (identity: Identity | undefined, lines: readonly (readonly [string, string])[]): Promise<RawHttp2Answer> =>
        rawHttp2Request({
          port: scene.edge.port,
          path: '/accounts',
          authority: `${HOSTS.api}:${scene.edge.port}`,
          lines: [['authorization', `Bearer ${token}`], ...lines],
          tls: {
            ca: scene.pki.ca,
            servername: HOSTS.api,
            minVersion: tls,
            maxVersion: tls,
            ...(identity && { cert: identity.cert, key: identity.key }),
          },
        });
      expect(await raw(scene.owner, [])).toMatchObject({ status: 200 });
      for (const identity of [undefined, scene.thief]) {
        const got = await raw(identity, [
          ['client-certificate', WRITE.percentEncodedPem(scene.owner)],
          ['client-certificate-ca-verified', 'SUCCESS'],
          ['connection', 'close, client-certificate, cname-api-key'],
        ]);
        expect(got).toMatchObject(kind === 'nginx' ? { status: 401 } : { reset: 1 });
      }
    });
  });

  it('whose secret is another one is not believed: the owner gets no token', async () => {
    const scene = await startScene(kind, { secretOfEdge: 'an-older-secret-of-the-edge-000042' });
    onTestFinished(() => scene.close());
    const client = await createClient(scene.as.issuer, 'mtls-ca', scene.fetchAs(scene.owner));
    await expect(client.token('https://api.example.com', 'accounts:read')).rejects.toMatchObject({ error: 'invalid_client' });
  });
});

describe('npm run demo:edge', () => {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  const reasons = (['nginx', 'haproxy'] as const).flatMap((kind) => reasonToSkipEdge(kind) ?? []);

  it('prints both edges as a table each, that every answer is as it should be, and ends with 0', async (context) => {
    if (reasons.length > 0) context.skip(reasons.join(' '));
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const [command, file = ''] = scripts['demo:edge']?.split(' ') ?? [];
    expect(command).toBe('node');
    const demo = spawn(process.execPath, [file], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
    const [out, , [code]] = await Promise.all([text(demo.stdout), text(demo.stderr), once(demo, 'exit')]);
    for (const name of ['nginx', 'HAProxy']) expect(out).toContain(`${name} ends mutual TLS on a custom domain`);
    expect(out).toMatch(/All 58 answers are as they should be\.\s*$/);
    expect(code).toBe(0);
  });
});
