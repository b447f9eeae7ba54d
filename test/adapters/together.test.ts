// One program with Holdfast, express-oauth2-jwt-bearer and the MCP SDK. The latter two both say for everybody what req.auth is,
// and not the same: they compile together only where declarations of libraries are not checked. Holdfast says nothing of it, and
// reads nothing of it.
import { createServer } from 'node:http';
import { accessOf, holdfast } from '@holdfast/express';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki } from '@holdfast/test-support/pki';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import type { AuthInfo } from '@modelcontextprotocol/sdk/server/auth/types.js';
import express from 'express';
import { auth } from 'express-oauth2-jwt-bearer';
import { afterAll, beforeAll, expect, it } from 'vitest';

const audience = 'https://rs.example.com';
let issuer: Issuer;
beforeAll(async () => {
  issuer = await startIssuer();
});
afterAll(() => issuer.close());

it('stands in one program with express-oauth2-jwt-bearer and the MCP SDK, and what they put on the request grants nothing', async () => {
  const [pki, jwks] = [await createPki(), { keys: issuer.keys.map(({ publicJwk }) => publicJwk) }];
  const verifyAccessToken = async (token: string): Promise<AuthInfo> => ({
    token,
    clientId: 'client',
    scopes: ['read'],
    expiresAt: Math.floor(Date.now() / 1000) + 60,
  });
  const theirs = [
    auth({ issuer: issuer.url, audience, jwksUri: issuer.jwksUri, tokenSigningAlg: 'ES256' }),
    requireBearerAuth({ verifier: { verifyAccessToken } }),
  ];
  const app = express();
  app.use('/theirs', ...theirs, (request, response) => void response.json(Object.keys(request.auth ?? {})));
  app.use('/ours', ...theirs, holdfast({ issuer: issuer.url, audience, keys: { jwks } }), (request, response) => {
    response.json(accessOf(request).claims.sub);
  });
  app.use('/unprotected', ...theirs, (request, response) => void response.json(accessOf(request).claims.sub));

  const server = createServer(app);
  const port = await listen(server);
  const stolen = await issuer.token({ cnf: { 'x5t#S256': (await pki.client('owner')).thumbprint } });
  const statusOf = async (path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}${path}`, { headers: { authorization: `Bearer ${stolen}` } })).status;
  // Both take the token for a bearer token. What they found is not access.
  expect([await statusOf('/theirs'), await statusOf('/ours'), await statusOf('/unprotected')]).toEqual([200, 401, 401]);
  await stop(server);
});
