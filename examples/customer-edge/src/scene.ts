import { randomBytes } from 'node:crypto';
import { type AuthorizationServer, startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { type ClientFetch, fetchWith } from '@holdfast/test-support/clients';
import { type Change, type Edge, freePort, startEdge } from '@holdfast/test-support/edges';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { type Api, startApi } from './api.ts';
import { forwardedCertificate } from './forwarded-certificate.ts';

/** The edges that the example has. */
export type CustomerEdgeKind = 'nginx' | 'haproxy';

export const AUDIENCE = 'https://api.example.com';
/** The names of the edge, all of which lead to it. */
export const HOSTS = { login: 'login.example.com', mtls: 'mtls.login.example.com', api: 'api.example.com' } as const;

/** An edge, an authorization server and an API behind it, and their clients. */
export interface Scene {
  readonly pki: Pki;
  readonly owner: Identity;
  readonly thief: Identity;
  /** What the edge, the authorization server and the API know. */
  readonly secret: string;
  readonly edge: Edge;
  readonly as: AuthorizationServer;
  readonly api: Api;
  /** A fetch that presents this certificate, and finds every host at the edge. */
  fetchAs(identity?: Identity): ClientFetch;
  close(): Promise<void>;
}

/** How a scene differs from what it should be. */
export interface SceneOptions {
  /** To the configuration of the edge. */
  readonly changes?: readonly Change[];
  /** Another secret than the authorization server and the API know. */
  readonly secretOfEdge?: string;
}

/** Starts everything. */
export async function startScene(kind: CustomerEdgeKind, { changes = [], secretOfEdge }: SceneOptions = {}): Promise<Scene> {
  const pki = await createPki();
  const server = await pki.serverFor(Object.values(HOSTS));
  const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  const secret = randomBytes(32).toString('base64url');
  const port = await freePort();
  const issuer = `https://${HOSTS.login}:${port}`;
  const fetches: ClientFetch[] = [];
  const fetchAs = (identity?: Identity): ClientFetch => {
    const fetch = fetchWith({ ca: pki.ca, everyHostIsHere: true, ...(identity && { cert: identity.cert, key: identity.key }) });
    fetches.push(fetch);
    return fetch;
  };
  const as = await startAuthorizationServer({
    pki,
    audience: AUDIENCE,
    clients: { 'mtls-ca': owner },
    edge: { issuer, mtlsOrigin: `https://${HOSTS.mtls}:${port}`, forwarded: forwardedCertificate(secret) },
  });
  const api = await startApi({ issuer, audience: AUDIENCE, secret, fetch: fetchAs() });
  const edge = await startEdge({
    kind,
    recipe: `customer-edge/${kind}`,
    pki: { ca: pki.ca, server },
    port,
    upstreamPort: api.port,
    secret: secretOfEdge ?? secret,
    changes: [['127.0.0.1:3000', `127.0.0.1:${as.port}`], ...changes],
  });
  return {
    pki,
    owner,
    thief,
    secret,
    edge,
    as,
    api,
    fetchAs,
    async close() {
      await Promise.all(fetches.map((fetch) => fetch.close()));
      await edge.stop();
      await Promise.all([api.close(), as.close()]);
    },
  };
}
