import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { accessOf, type Fetch, fromTls, holdfast, requires, type ResourceEvent } from '@holdfast/express';
import express from 'express';

export interface ApiOptions {
  readonly issuer: string;
  readonly audience: string;
  /** Certificate and key of this server, PEM. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** A fetch that trusts the private CA of the authorization server. */
  readonly fetch: Fetch;
  readonly unconstrained?: 'refuse' | 'accept';
}

/** The API, and what it decided of the last request. */
export interface Api {
  readonly port: number;
  lastDecision(): ResourceEvent | undefined;
  close(): Promise<void>;
}

/** An Express API over HTTPS that asks for client certificates and leaves the judgement to Holdfast. */
export async function startApi({ tls, ...options }: ApiOptions): Promise<Api> {
  let last: ResourceEvent | undefined;
  const protect = holdfast({
    ...options,
    certificate: fromTls(),
    onEvent: (event) => {
      last = event;
    },
  });

  const app = express();
  app.use(protect);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    const { claims, confirmations, scheme } = accessOf(request);
    response.json({ client: claims.client_id, scope: claims.scope, scheme, thumbprint: confirmations[0]?.thumbprint });
  });
  app.post('/accounts', requires({ scope: 'accounts:write' }), (_request, response) => {
    response.status(201).json({});
  });

  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  await protect.ready();
  return {
    port: (server.address() as AddressInfo).port,
    lastDecision: () => last,
    async close() {
      await protect.close();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
