import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { accessOf, fromTls, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/express';
import express from 'express';

/** Where tokens come from, the certificate and key of this server, and who hears of decisions. */
export interface ApiOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly onEvent: NonNullable<ProtectedResourceOptions['onEvent']>;
}

/** An API in Express; it would be the same in Express 4. */
export async function startApi({ issuer, tls, onEvent }: ApiOptions): Promise<{ port: number; close(): Promise<void> }> {
  const app = express();
  app.get('/health', (_request, response) => void response.send('fine'));

  const protect = holdfast({ issuer, audience: 'https://api.example.com', certificate: fromTls(), onEvent });
  app.use(protect);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    response.json({ owner: accessOf(request).claims.sub });
  });
  app.post('/accounts', requires({ scope: 'accounts:write' }), express.json(), (request, response) => {
    response.status(201).json({ owner: accessOf(request).claims.sub });
  });

  // Clients are asked for a certificate, and Holdfast judges it.
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await protect.ready();
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      await protect.close();
      server.close();
      server.closeAllConnections();
    },
  };
}
