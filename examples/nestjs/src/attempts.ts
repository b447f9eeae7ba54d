import type { AddressInfo } from 'node:net';
import { requestOnce } from '@holdfast/test-support/clients';
import { startIssuer } from '@holdfast/test-support/issuer';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { createApp, type Platform } from './app.ts';

/** What was tried, and what it came to. */
export interface Attempt {
  readonly title: string;
  readonly status: number;
  readonly expected: number;
  readonly body: string;
}

/** Starts the API and an issuer, and tries what an owner, a thief and a passer-by would. */
export async function attemptsOn(platform: Platform): Promise<readonly Attempt[]> {
  const pki = await createPki();
  const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  const issuer = await startIssuer();
  const app = await createApp(platform, issuer.url, { cert: pki.server.cert, key: pki.server.key });
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const cnf = { 'x5t#S256': owner.thumbprint };
  const claims = { aud: 'https://api.example.com', scope: 'accounts:read', cnf };
  const [token, unbound] = [await issuer.token(claims), await issuer.token({ ...claims, cnf: undefined })];

  const attempts: Attempt[] = [];
  async function attempt(
    title: string,
    expected: number,
    sent: { method?: string; path?: string; token?: string; as?: Identity },
  ): Promise<void> {
    const { method = 'GET', path = '/accounts', as } = sent;
    const { status, body } = await requestOnce({
      port,
      method,
      path,
      ca: pki.ca,
      servername: 'localhost',
      ...(as && { cert: as.cert, key: as.key }),
      ...(sent.token !== undefined && { headers: { authorization: `Bearer ${sent.token}` } }),
    });
    attempts.push({ title, status, expected, body });
  }

  try {
    await attempt('the owner, with its certificate', 200, { token, as: owner });
    await attempt('a thief with the token and another certificate', 401, { token, as: thief });
    await attempt('a thief with the token and no certificate', 401, { token });
    await attempt('a token that is bound to nobody', 401, { token: unbound, as: owner });
    await attempt('a passer-by without a token', 401, {});
    await attempt('the owner, on a route its token has no scope for', 403, { token, as: owner, method: 'POST' });
    await attempt('a passer-by, at the health check', 200, { path: '/health' });
  } finally {
    await app.close();
    await issuer.close();
  }
  return attempts;
}
