// Runs the API with Hono on Node, over TLS, and asks it as its owner and as thieves.
import { createServer } from 'node:https';
import { fromTls, type ResourceEvent } from '@holdfast/core';
import { fetchWith } from '@holdfast/test-support/clients';
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { getRequestListener } from '@hono/node-server';
import { accountsApi } from './api.ts';

/** One request, what it should be answered, and what it was. */
export interface Attempt {
  readonly title: string;
  readonly expected: number;
  readonly status: number;
  readonly body: string;
  /** The one line of WWW-Authenticate, with all challenges. */
  readonly challenges: string;
  /** Why Holdfast refused; from its event. */
  readonly reason: string | undefined;
}

/** Starts everything, makes the requests, stops everything. */
export async function runHono(): Promise<readonly Attempt[]> {
  const [pki, issuer, key] = [await createPki(), await startIssuer(), await generateDpopKey()];
  const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  const audience = 'https://api.example.com';
  const events: ResourceEvent[] = [];
  const { app, close } = accountsApi({
    issuer: issuer.url,
    audience,
    certificate: fromTls(),
    onEvent: (event) => events.push(event),
  });
  const listener = getRequestListener(app.fetch);
  const tls = { cert: pki.server.cert, key: pki.server.key, requestCert: true, rejectUnauthorized: false };
  const server = createServer(tls, (incoming, outgoing) => void listener(incoming, outgoing));
  const port = await listen(server);

  const attempts: Attempt[] = [];
  const attempt = async (
    title: string,
    expected: number,
    headers: Record<string, string>,
    { as, path = '/accounts' }: { as?: Identity; path?: string } = {},
  ): Promise<void> => {
    const client = fetchWith({ ca: pki.ca, ...(as && { cert: as.cert, key: as.key }) });
    events.length = 0;
    const response = await client(`https://localhost:${port}${path}`, { headers });
    const body = await response.text();
    const challenges = response.headers.get('www-authenticate') ?? '';
    attempts.push({ title, expected, status: response.status, body, challenges, reason: events.findLast(({ reason }) => reason)?.reason });
    await client.close();
  };

  const claims = { aud: audience, scope: 'accounts:read', branch: 'north' };
  const byCertificate = { authorization: `Bearer ${await issuer.token({ ...claims, cnf: { 'x5t#S256': owner.thumbprint } })}` };
  const token = await issuer.token({ ...claims, cnf: { jkt: key.thumbprint } });
  const dpop = (htu = `${audience}/accounts`): Record<string, string> => ({
    authorization: `DPoP ${token}`,
    dpop: makeProof({ key, token, htu, iat: Math.floor(Date.now() / 1000) }),
  });
  const exp = Date.now() / 1000 + 1;
  const short = await issuer.token({ ...claims, iat: Math.floor(exp) - 60, exp, cnf: { 'x5t#S256': owner.thumbprint } });
  const used = dpop();

  await attempt('what is not protected', 200, {}, { path: '/health' });
  await attempt('no token', 401, {});
  await attempt('the owner, with its certificate', 200, byCertificate, { as: owner });
  await attempt('a thief with the token and another certificate', 401, byCertificate, { as: thief });
  await attempt('a thief with the token and no certificate', 401, byCertificate);
  await attempt('the owner of a DPoP-bound token, with a proof', 200, used);
  await attempt('a thief with the token and the proof', 401, used);
  await attempt('a thief with the token alone', 401, { authorization: `DPoP ${token}` });
  await attempt('a proof for another path', 401, dpop(`${audience}/payments`));
  await attempt(
    'a stream, which ends when the token does',
    200,
    { authorization: `Bearer ${short}` },
    { as: owner, path: '/accounts/events' },
  );

  await stop(server);
  await close();
  await issuer.close();
  return attempts;
}
