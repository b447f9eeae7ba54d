import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { FetchLike } from '@modelcontextprotocol/sdk/shared/transport.js';
import * as dpop from 'dpop';

/** One request as it went over the wire, for whoever records it, and its answer. */
export interface Exchange {
  readonly url: string;
  readonly init: RequestInit;
  readonly response: Response;
}

/**
 * A fetch that adds the access token and a DPoP proof for each request, keeps the newest nonce of each origin, and tries once more
 * when it is told to use one (RFC 9449 §8, §9). Give it to the transport of the SDK. Without a token, it is for the token endpoint.
 */
export function dpopFetch(fetch: FetchLike, keys: dpop.KeyPair, token?: string): FetchLike {
  const nonces = new Map<string, string>();
  return async (input, init = {}) => {
    const { origin, pathname } = new URL(input);
    for (let attempt = 1; ; attempt += 1) {
      const headers = new Headers(init.headers);
      headers.set('dpop', await dpop.generateProof(keys, origin + pathname, init.method ?? 'GET', nonces.get(origin), token));
      if (token !== undefined) headers.set('authorization', `DPoP ${token}`);
      const response = await fetch(input, { ...init, headers });
      const nonce = response.headers.get('dpop-nonce');
      const isNew = nonce !== null && nonce !== nonces.get(origin);
      if (nonce !== null) nonces.set(origin, nonce);
      const mayHelp = isNew && (response.status === 400 || response.headers.get('www-authenticate')?.includes('use_dpop_nonce') === true);
      if (!mayHelp || attempt > 1) return response;
      await response.body?.cancel();
    }
  };
}

/** A fetch that adds the access token; the certificate it is bound to is that of the connection, which is the business of `fetch`. */
export function mtlsFetch(fetch: FetchLike, token: string): FetchLike {
  return (input, init = {}) => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${token}`);
    return fetch(input, { ...init, headers });
  };
}

/** A fetch that keeps every exchange. */
export function recording(fetch: FetchLike): { readonly fetch: FetchLike; readonly exchanges: Exchange[] } {
  const exchanges: Exchange[] = [];
  return {
    exchanges,
    fetch: async (input, init = {}) => {
      const response = await fetch(input, init);
      exchanges.push({ url: String(input), init, response });
      return response;
    },
  };
}

/** The SDK's own client, connected. */
export interface Connected {
  readonly client: Client;
  readonly transport: StreamableHTTPClientTransport;
}

/** Connects the SDK's own client. */
export async function connect(url: string, fetch: FetchLike): Promise<Connected> {
  const client = new Client({ name: 'example', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(url), { fetch });
  await client.connect(transport);
  return { client, transport };
}

/** The text that a tool answers with. */
export async function callTool(client: Client, name: string): Promise<string> {
  const { content } = await client.callTool({ name });
  const [first] = Array.isArray(content) ? (content as { readonly text?: unknown }[]) : [];
  return typeof first?.text === 'string' ? first.text : '';
}

/** A call of a tool as it goes over the wire, for those who do not use the SDK. */
export function toolCall(name: string, sessionId: string | undefined): RequestInit {
  return {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2025-06-18',
      ...(sessionId !== undefined && { 'mcp-session-id': sessionId }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } }),
  };
}
