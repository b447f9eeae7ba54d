import { createHash, X509Certificate } from 'node:crypto';
import { createServer } from 'node:https';
import { startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { fetchWith } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki } from '@holdfast/test-support/pki';
import { serveApi } from './api.ts';
import { servePage } from './page.ts';
import { serveThief } from './thief.ts';

/** Page, API, authorization server and thief, each at an origin of its own on the loopback interface, over TLS. */
export interface Scene {
  /** Where the page is. */
  readonly url: string;
  /** SHA-256 of the public key of all four servers, base64: the one key that the browser is to trust. */
  readonly spki: string;
  close(): Promise<void>;
}

/** Starts a {@link Scene}. */
export async function startScene(): Promise<Scene> {
  const pki = await createPki();
  const tls = { key: pki.server.key, cert: pki.server.cert };
  const [pageServer, apiServer, thiefServer] = [createServer(tls), createServer(tls), createServer(tls)];
  const page = `https://localhost:${await listen(pageServer)}`;
  const api = `https://localhost:${await listen(apiServer)}`;
  const thief = `https://localhost:${await listen(thiefServer)}`;

  const clients = { browser: { redirectUris: [`${page}/`] } };
  const as = await startAuthorizationServer({ pki, audience: api, clients, dpopNonce: true });
  const fetch = fetchWith({ ca: pki.ca });
  const protectedApi = await serveApi(apiServer, { issuer: as.issuer, audience: api, page, fetch });
  servePage(pageServer, { issuer: as.issuer, api, thief, clientId: 'browser' }, protectedApi.exchanges);
  serveThief(thiefServer, `${api}/accounts`, page, fetch);

  const spki = new X509Certificate(pki.server.cert).publicKey.export({ type: 'spki', format: 'der' });
  return {
    url: `${page}/`,
    spki: createHash('sha256').update(spki).digest('base64'),
    async close() {
      await Promise.all([stop(pageServer), stop(apiServer), stop(thiefServer), protectedApi.close(), as.close(), fetch.close()]);
    },
  };
}
