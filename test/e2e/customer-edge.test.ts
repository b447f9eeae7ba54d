import { createClient } from '@holdfast/example-main-job/client';
import { type CustomerEdgeKind, HOSTS, runCustomerEdge, type Scene, startScene, type Story } from '@holdfast/example-customer-edge';
import { type OneResponse, requestOnce } from '@holdfast/test-support/clients';
import { type Change, reasonToSkipEdge } from '@holdfast/test-support/edges';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';

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

  it('whose secret is another one is not believed: the owner gets no token', async () => {
    const scene = await startScene(kind, { secretOfEdge: 'an-older-secret-of-the-edge-000042' });
    onTestFinished(() => scene.close());
    const client = await createClient(scene.as.issuer, 'mtls-ca', scene.fetchAs(scene.owner));
    await expect(client.token('https://api.example.com', 'accounts:read')).rejects.toMatchObject({ error: 'invalid_client' });
  });
});
