import type { webcrypto } from 'node:crypto';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { generateProof } from 'dpop';

/** A fetch, as the SDK's client takes one. */
export type McpFetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** Presents a token bound to a key: with a proof of the key for every request (RFC 9449 §7.1). */
export function withDpop(fetch: McpFetch, token: string, keys: webcrypto.CryptoKeyPair): McpFetch {
  return async (url, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `DPoP ${token}`);
    headers.set('dpop', await generateProof(keys, String(url), init.method ?? 'GET', undefined, token));
    return fetch(url, { ...init, headers });
  };
}

/** Presents a token that is bound to the certificate of the connection, or to nothing. */
export function withBearer(fetch: McpFetch, token: string): McpFetch {
  return (url, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${token}`);
    return fetch(url, { ...init, headers });
  };
}

/** The SDK's client, connected. */
export interface Connected {
  readonly sessionId: string | undefined;
  /** The text that the tool answers with. */
  accounts(): Promise<string>;
  /** Ends the session at the server. */
  end(): Promise<void>;
  close(): Promise<void>;
}

/** Connects the SDK's own client; with a session id it goes on with that session, as whoever has stolen it would. */
export async function connect(url: string, fetch: McpFetch, sessionId?: string): Promise<Connected> {
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch, ...(sessionId !== undefined && { sessionId }) });
  const client = new Client({ name: 'example', version: '1.0.0' });
  await client.connect(transport);
  return {
    sessionId: transport.sessionId,
    async accounts() {
      const { content } = await client.callTool({ name: 'accounts' });
      const [first] = Array.isArray(content) ? content : [];
      return String(first?.text);
    },
    end: () => transport.terminateSession(),
    close: () => client.close(),
  };
}
