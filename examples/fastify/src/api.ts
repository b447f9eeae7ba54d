import type { AddressInfo } from 'node:net';
import { accessOf, fromTls, holdfast, type ProtectedResourceOptions } from '@holdfast/fastify';
import fastify from 'fastify';

/** Where tokens come from, the certificate and key of this server, and who hears of decisions. */
export interface ApiOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly onEvent: NonNullable<ProtectedResourceOptions['onEvent']>;
}

/** An API in Fastify, over HTTP/1.1 and HTTP/2. */
export async function startApi({ issuer, tls, onEvent }: ApiOptions): Promise<{ port: number; close(): Promise<void> }> {
  // Clients are asked for a certificate, and Holdfast judges it.
  const app = fastify({ http2: true, https: { ...tls, allowHTTP1: true, requestCert: true, rejectUnauthorized: false } });

  const settings = { issuer, audience: 'https://api.example.com', certificate: fromTls(), onEvent };
  await app.register(holdfast, { ...settings, strictRoutes: true, awaitKeys: true });
  app.get('/accounts', { config: { holdfast: { scope: 'accounts:read' } } }, (request) => ({ owner: accessOf(request).claims.sub }));
  app.post('/accounts', { config: { holdfast: { scope: 'accounts:write' } } }, (request, reply) => {
    return reply.code(201).send({ owner: accessOf(request).claims.sub });
  });
  app.get('/health', { config: { holdfast: 'public' } }, () => 'fine');

  await app.listen({ port: 0, host: '127.0.0.1' });
  return { port: (app.server.address() as AddressInfo).port, close: () => app.close() };
}
