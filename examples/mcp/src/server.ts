import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Fetch, fromTls, holdfast, type HoldfastMiddleware, type ResourceEvent } from '@holdfast/express';
import { mcp, type SessionRefusal } from '@holdfast/mcp';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';

/** Where tokens come from, the certificate and key of this server, and who hears of what is refused. */
export interface McpServerOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  /** What the issuer is asked with. */
  readonly fetch: Fetch;
  readonly onEvent?: (event: ResourceEvent) => void;
  readonly onRefusal?: (refusal: SessionRefusal) => void;
}

/** A server of MCP over Streamable HTTP, and what it is known by. */
export interface RunningMcpServer {
  /** Where clients connect, and what their tokens are for. */
  readonly url: string;
  readonly protection: HoldfastMiddleware;
  /** Sessions whose transport is there. */
  readonly sessions: ReadonlyMap<string, unknown>;
  close(): Promise<void>;
}

/** What this server offers, to each session a server of its own. */
function createMcpServer(): McpServer {
  const server = new McpServer({ name: 'accounts', version: '1.0.0' });
  server.registerTool('whoami', { description: 'Says who calls, as the server sees it.' }, ({ authInfo }) => ({
    content: [{ type: 'text', text: JSON.stringify(authInfo) }],
  }));
  server.registerTool('balance', { description: 'The balance of the caller. Asks for the scope accounts:read.' }, ({ authInfo }) =>
    authInfo?.scopes.includes('accounts:read') === true
      ? { content: [{ type: 'text', text: `The account of ${authInfo.clientId} holds 17 EUR.` }] }
      : { content: [{ type: 'text', text: 'The token has no scope accounts:read.' }], isError: true },
  );
  return server;
}

/** Starts the server, over TLS that ends in the process. */
export async function startMcpServer({ issuer, tls, fetch, onEvent, onRefusal }: McpServerOptions): Promise<RunningMcpServer> {
  const app = express();
  // Clients are asked for a certificate, and Holdfast judges it.
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `https://localhost:${(server.address() as AddressInfo).port}/mcp`;
  const further = { fetch, dpop: { nonce: 'required' as const }, ...(onEvent && { onEvent }) };

  const transports = new Map<string, StreamableHTTPServerTransport>();
  const sessions = {
    onSessionEnd(id: string): void {
      void transports.get(id)?.close();
      transports.delete(id);
    },
    ...(onRefusal && { onRefusal }),
  };
  const protect = holdfast({ issuer, audience: url, certificate: fromTls(), profiles: ['mcp'], ...further });
  app.use(protect.metadata);
  app.all('/mcp', protect, mcp({ resource: url, ...sessions }), (request, response, next) => void answer(request, response).catch(next));

  // With the types of Node: what libraries declare `auth` of an Express request to be does not agree with each other.
  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const transport = transports.get(String(request.headers['mcp-session-id'])) ?? (await newTransport());
    await transport.handleRequest(request, response);
  }

  async function newTransport(): Promise<StreamableHTTPServerTransport> {
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void transports.set(id, transport),
    });
    await createMcpServer().connect(transport);
    return transport;
  }

  await protect.ready();
  return {
    url,
    protection: protect,
    sessions: transports,
    async close() {
      await protect.close();
      server.close();
      server.closeAllConnections();
      await Promise.all([...transports.values()].map((transport) => transport.close()));
    },
  };
}
