// Runs the API with Hono on Node, over TLS, and asks it as its owner and as thieves.
import { createServer } from 'node:https';
import { fromTls, type ResourceEvent } from '@holdfast/core';
import { fetchWith } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { testAuthorizationServer, type TestClient } from '@holdfast/testing';
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
  const as = await testAuthorizationServer({ audience: 'https://api.example.com' });
  const [owner, thief] = [await as.client({ clientId: 'user-1' }), await as.client()];
  const events: ResourceEvent[] = [];
  const { app, close } = accountsApi({ ...as.options, certificate: fromTls(), onEvent: (event) => events.push(event) });
  const listener = getRequestListener(app.fetch);
  const server = createServer(as.tls, (incoming, outgoing) => void listener(incoming, outgoing));
  const port = await listen(server);

  const attempts: Attempt[] = [];
  const attempt = async (
    title: string,
    expected: number,
    headers: Record<string, string>,
    { as: client, path = '/accounts' }: { as?: TestClient; path?: string } = {},
  ): Promise<void> => {
    const fetch = fetchWith({ ca: as.tls.ca, ...client?.tls });
    events.length = 0;
    const response = await fetch(`https://localhost:${port}${path}`, { headers });
    const body = await response.text();
    const challenges = response.headers.get('www-authenticate') ?? '';
    attempts.push({ title, expected, status: response.status, body, challenges, reason: events.findLast(({ reason }) => reason)?.reason });
    await fetch.close();
  };

  const claims = { scope: 'accounts:read', branch: 'north' };
  const byCertificate = { authorization: `Bearer ${await owner.token(claims)}` };
  const token = await owner.token(claims, 'jkt');
  const dpop = (path = '/accounts'): Promise<Record<string, string>> => owner.prove(token, { url: as.audience + path });
  const exp = Date.now() / 1000 + 1;
  const short = await owner.token({ ...claims, iat: Math.floor(exp) - 60, exp });
  const used = await dpop();

  await attempt('what is not protected', 200, {}, { path: '/health' });
  await attempt('no token', 401, {});
  await attempt('the owner, with its certificate', 200, byCertificate, { as: owner });
  await attempt('a thief with the token and another certificate', 401, byCertificate, { as: thief });
  await attempt('a thief with the token and no certificate', 401, byCertificate);
  await attempt('the owner of a DPoP-bound token, with a proof', 200, used);
  await attempt('a thief with the token and the proof', 401, used);
  await attempt('a thief with the token alone', 401, { authorization: `DPoP ${token}` });
  await attempt('a proof for another path', 401, await dpop('/payments'));
  await attempt(
    'a stream, which ends when the token does',
    200,
    { authorization: `Bearer ${short}` },
    { as: owner, path: '/accounts/events' },
  );

  await stop(server);
  await close();
  return attempts;
}
