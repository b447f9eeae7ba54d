import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fromTls, prepareRequirements, type ProtectedResourceOptions, protectedResource } from '@holdfast/core';
import { nodeRequest, sendRefusal, setFields, upgrade } from '@holdfast/core/node';
import { WebSocketServer } from 'ws';

/** Where tokens come from, the certificate and key of this server, and who hears of decisions. */
export interface ApiOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly onEvent: NonNullable<ProtectedResourceOptions['onEvent']>;
}

const READ = prepareRequirements({ scope: 'accounts:read' });
const WRITE = prepareRequirements({ scope: 'accounts:write' });

/** An API without a framework, with WebSockets. */
export async function startApi({ issuer, tls, onEvent }: ApiOptions): Promise<{ port: number; close(): Promise<void> }> {
  const resource = protectedResource({ issuer, audience: 'https://api.example.com', certificate: fromTls(), metadata: true, onEvent });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.url === '/health') return void response.end('fine');
    // What this API is (RFC 9728), for anybody who asks.
    const metadata = resource.metadata?.answer(nodeRequest(request));
    if (metadata !== undefined) return sendRefusal(response, await metadata);

    const result = await resource.verify(nodeRequest(request));
    if (result.granted) setFields(response, result.fields);
    const access = resource.authorize(result, request.method === 'GET' ? READ : WRITE);
    if (!access.granted) return sendRefusal(response, access);
    response.setHeader('Content-Type', 'application/json').end(JSON.stringify({ owner: access.claims.sub }));
  }
  // Clients are asked for a certificate, and Holdfast judges it.
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, (request, response) => {
    void answer(request, response);
  });

  const sockets = new WebSocketServer({ noServer: true });
  server.on(
    'upgrade',
    upgrade(resource, (request, socket, head, access) => {
      sockets.handleUpgrade(request, socket, head, (webSocket) => {
        const end = (): void => webSocket.close(1008); // says why; upgrade then ends the connection
        access.signal.addEventListener('abort', end);
        webSocket.once('close', () => access.signal.removeEventListener('abort', end)); // else it keeps the socket
        webSocket.send(`welcome ${access.claims.sub}`);
      });
    }),
  );

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await resource.ready();
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      await resource.close();
      for (const client of sockets.clients) client.terminate();
      server.close();
      server.closeAllConnections();
    },
  };
}
