// One server process: Express over TLS, unprotected or protected by the middleware that is named.
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { accessOf, fromTls, holdfast } from '@holdfast/express';
import express, { type RequestHandler } from 'express';
import { auth } from 'express-oauth2-jwt-bearer';
import { ORIGIN, type Scene } from './scene.js';

export type Variant = 'unprotected' | 'holdfast' | 'express-oauth2-jwt-bearer';

/** How the sender is confirmed. */
export type Method = 'mtls' | 'dpop';

/** Tells that the server listens, or what CPU time the process has used. */
export type FromServer = { readonly port: number } | { readonly cpu: number };

const protections: Record<Variant, (scene: Scene, method: Method) => Promise<RequestHandler>> = {
  unprotected: async () => (_request, _response, next) => next(),
  holdfast: async ({ issuer, audience, jwk }) =>
    holdfast({ issuer, audience, publicUrl: ORIGIN, certificate: fromTls(), keys: { jwks: { keys: [jwk] } } }),
  'express-oauth2-jwt-bearer': async ({ issuer, audience, jwk }, method) =>
    auth({
      issuer,
      audience,
      jwksUri: await serveKeys(jwk),
      tokenSigningAlg: 'RS256',
      ...(method === 'dpop'
        ? { dpop: { enabled: true, required: true, iatOffset: 300, iatLeeway: 60 } }
        : { mtls: { enabled: true, required: true }, getCertificate: (request) => (request.socket as TLSSocket).getPeerCertificate().raw }),
    }),
};

const subjectOf: Record<Variant, RequestHandler> = {
  unprotected: (_request, response) => void response.json({ sub: 'user-0' }),
  holdfast: (request, response) => void response.json({ sub: accessOf(request).claims.sub }),
  'express-oauth2-jwt-bearer': (request, response) => void response.json({ sub: request.auth?.payload.sub }),
};

process.on('message', (message: { variant: Variant; method: Method; scene: Scene } | 'cpu') => {
  if (message === 'cpu') {
    const { user, system } = process.cpuUsage();
    send({ cpu: user + system });
  } else void start(message.variant, message.method, message.scene);
});

async function start(variant: Variant, method: Method, scene: Scene): Promise<void> {
  const app = express().disable('x-powered-by').disable('etag');
  app.use(await protections[variant](scene, method));
  app.get('/accounts', subjectOf[variant]);
  const server = createServer({ ...scene.server, requestCert: true, rejectUnauthorized: false, keepAliveTimeout: 600_000 }, app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  send({ port: (server.address() as AddressInfo).port });
}

async function serveKeys(jwk: Record<string, unknown>): Promise<string> {
  const server = createHttpServer((_request, response) => {
    response.setHeader('Content-Type', 'application/json');
    response.end(JSON.stringify({ keys: [jwk] }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
}

function send(message: FromServer): void {
  process.send?.(message);
}
