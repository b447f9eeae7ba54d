import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type Fetch, fromTls, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/express';
import { accessOfTool, mcpEndpoint, type McpEndpoint } from '@holdfast/mcp';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import express from 'express';

/** Where tokens come from, the certificate and key of this server, and who hears of decisions. */
export interface McpServerOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  /** A fetch that trusts the private CA of the authorization server. */
  readonly fetch: Fetch;
  readonly onEvent: NonNullable<ProtectedResourceOptions['onEvent']>;
  /** Told when a session is asked for by somebody else than its owner. */
  readonly onForeignSession: (thief: string) => void;
}

/** An MCP server with one tool, over Streamable HTTP and TLS. */
export async function startMcpServer({ issuer, tls, fetch, onEvent, onForeignSession }: McpServerOptions): Promise<{
  url: string;
  endpoint: McpEndpoint;
  close(): Promise<void>;
}> {
  const app = express();
  // Clients are asked for a certificate, and Holdfast judges it.
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `https://localhost:${(server.address() as AddressInfo).port}/mcp`;

  const protect = holdfast({ issuer, audience: url, certificate: fromTls(), profiles: ['mcp'], fetch, onEvent });
  const endpoint = mcpEndpoint({
    async connect(options) {
      const transport = new StreamableHTTPServerTransport(options);
      await makeServer().connect(transport);
      return transport;
    },
    onForeignSession: ({ claims }) => onForeignSession(claims.sub ?? ''),
  });
  app.use(protect);
  app.all('/mcp', requires({ scope: 'accounts:read' }), endpoint);

  await protect.ready();
  return {
    url,
    endpoint,
    async close() {
      endpoint.close();
      await protect.close();
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Every session has a server of its own. */
function makeServer(): McpServer {
  const server = new McpServer({ name: 'accounts', version: '1.0.0' });
  server.registerTool('accounts', { description: 'Whose accounts these are' }, (extra) => {
    const { claims, scheme, confirmations } = accessOfTool(extra);
    const seen = { owner: claims.sub, scheme, thumbprint: confirmations[0]?.thumbprint, authInfo: extra.authInfo };
    return { content: [{ type: 'text', text: JSON.stringify(seen) }] };
  });
  return server;
}
