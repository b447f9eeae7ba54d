import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Access } from '@holdfast/core';
import { accessOf, type Next } from '@holdfast/express';
import { authInfoOf, type McpAuthInfo } from './auth-info.ts';
import { ownerOf, Sessions } from './sessions.ts';

/** The SDK's `StreamableHTTPServerTransport`, by shape. */
export interface McpTransport {
  handleRequest(request: IncomingMessage & { auth?: McpAuthInfo }, response: ServerResponse, parsedBody?: unknown): Promise<void>;
  close(): Promise<void>;
}

/** What the transport of a session has to be made with. */
export interface TransportOptions {
  sessionIdGenerator: () => string;
  onsessioninitialized: (id: string) => void;
  onsessionclosed: (id: string) => void;
}

export interface McpEndpointOptions<T extends McpTransport = McpTransport> {
  /**
   * Makes the transport of a new session, with these options beside your own, and connects a server of its own to it. An event
   * store belongs in here too: one that sessions share would replay the events of one client to another.
   */
  readonly connect: (options: TransportOptions, access: Access) => Promise<T>;
  /** Sessions of all clients together, by default 10,000. Beyond it new ones are answered 503. */
  readonly sessions?: number;
  /** Sessions of one client, by default 100. Beyond it the one it has used least recently is ended. */
  readonly sessionsPerClient?: number;
  /** Seconds without a request after which a session is ended, by default 3600. An open stream is a request. */
  readonly idle?: number;
  /** Told when somebody else than its owner has asked for a session: its id has got out. The access is that of whoever asked. */
  readonly onForeignSession?: (access: Access) => void;
}

/** The handler of an MCP endpoint, for `app.all('/mcp', …)`. */
export interface McpEndpoint {
  (request: IncomingMessage & { readonly originalUrl?: string; readonly body?: unknown }, response: ServerResponse, next: Next): void;
  /** Ends every session. */
  close(): void;
}

const LIMITS = { sessions: 10_000, sessionsPerClient: 100, idle: 3600 } as const;
const KNOWN = new Set(['connect', 'onForeignSession', ...Object.keys(LIMITS)]);

/**
 * An MCP endpoint over Streamable HTTP in Express, behind `holdfast(…)`. It sets `request.auth` for the SDK, and binds every session
 * to the client that opened it, by issuer, subject, client and confirmed key or certificate: a session id alone opens nothing.
 * To anybody else the session is not there: 404, byte for byte as an id that was never given out, so that an answer says nothing
 * of the session and a client begins anew. A stream that is open when the access ends, ends with it.
 *
 * Without `holdfast(…)` before it every request is refused with 401. Throws one `TypeError` that lists every problem.
 *
 * @example
 * app.all('/mcp', holdfast({ issuer, audience: 'https://mcp.example.com/mcp', profiles: ['mcp'] }), mcpEndpoint({
 *   async connect(options) {
 *     const transport = new StreamableHTTPServerTransport(options);
 *     await makeServer().connect(transport);
 *     return transport;
 *   },
 * }));
 */
export function mcpEndpoint<T extends McpTransport>(options: McpEndpointOptions<T>): McpEndpoint {
  const { connect, onForeignSession, most, share, idle } = readOptions(options);
  const sessions = new Sessions<McpTransport>({ most, share, idle: idle * 1000 });

  async function handle(request: Parameters<McpEndpoint>[0], response: ServerResponse): Promise<void> {
    const access = accessOf(request);
    const owner = ownerOf(access);
    if (owner === undefined) return answer(response, 403, -32_000, 'Forbidden: the access token names neither subject nor client');
    const ids = linesOf(request, 'mcp-session-id');
    if (ids.length > 1) return answer(response, 400, -32_000, 'Bad Request: several Mcp-Session-Id fields');
    const serve = async (transport: McpTransport): Promise<void> => {
      endWith(access.signal, request, response);
      await transport.handleRequest(withAuth(request, authInfoOf(access)), response, request.body);
    };

    const [id] = ids;
    if (id !== undefined) {
      const session = sessions.find(id);
      if (session === undefined || session.owner !== owner) {
        if (session !== undefined) tell(onForeignSession, access);
        return answer(response, 404, -32_001, 'Session not found');
      }
      response.once('close', sessions.use(id, session));
      return serve(session.transport);
    }
    if (request.method !== 'POST') return answer(response, 400, -32_000, 'Bad Request: Mcp-Session-Id header is required');
    if (!sessions.hasRoom()) {
      response.setHeader('Retry-After', '60');
      return answer(response, 503, -32_000, 'Service Unavailable: too many sessions');
    }
    let opened = false;
    const transport: T = await connect(
      {
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized(one) {
          opened = true;
          sessions.open(one, owner, transport);
        },
        onsessionclosed: (one) => sessions.end(one),
      },
      access,
    );
    // Of a request that opens no session nothing may stay behind.
    response.once('close', () => void (opened || transport.close().catch(() => {})));
    return serve(transport);
  }

  const endpoint = (request: Parameters<McpEndpoint>[0], response: ServerResponse, next: Next): void => {
    handle(request, response).catch(next);
  };
  return Object.assign(endpoint, { close: () => sessions.endAll() });
}

/** Ours, whatever others have put there, and whether or not it could be assigned. */
function withAuth(request: IncomingMessage, auth: McpAuthInfo): IncomingMessage & { auth: McpAuthInfo } {
  Object.defineProperty(request, 'auth', { value: auth, writable: true, configurable: true, enumerable: true });
  return request as IncomingMessage & { auth: McpAuthInfo };
}

/** The stream that a client keeps open may not outlive its access. An answer to a POST belongs to a request that had access. */
function endWith(signal: AbortSignal, { method }: IncomingMessage, response: ServerResponse): void {
  if (method !== 'GET') return;
  const end = (): void => void response.destroy();
  if (signal.aborted) return end();
  signal.addEventListener('abort', end, { once: true });
  response.once('close', () => signal.removeEventListener('abort', end));
}

/** Every line of a field: Node joins those it does not know, and a joined id would be none. */
function linesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_line, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
}

/** As the SDK's own transport answers. */
function answer(response: ServerResponse, status: number, code: number, message: string): void {
  response.statusCode = status;
  response.setHeader('Content-Type', 'application/json');
  response.end(JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id: null }));
}

function tell(listener: ((access: Access) => void) | undefined, access: Access): void {
  try {
    listener?.(access);
  } catch {
    // What a listener throws decides nothing.
  }
}

function readOptions<T extends McpTransport>(
  options: McpEndpointOptions<T>,
): {
  connect: McpEndpointOptions<T>['connect'];
  onForeignSession: ((access: Access) => void) | undefined;
  most: number;
  share: number;
  idle: number;
} {
  const problems = Object.keys(options)
    .filter((name) => !KNOWN.has(name))
    .map((name) => `${name}: is no option. There are: ${[...KNOWN].join(', ')}.`);
  const { connect, onForeignSession } = options;
  const [most, share, idle] = (['sessions', 'sessionsPerClient', 'idle'] as const).map((name) => {
    const value = options[name] ?? LIMITS[name];
    if (!Number.isSafeInteger(value) || value < 1) problems.push(`${name}: Give a whole number from 1 on.`);
    return value;
  }) as [number, number, number];
  if (typeof connect !== 'function') problems.push('connect: Give a function that makes and connects the transport of a session.');
  if (onForeignSession !== undefined && typeof onForeignSession !== 'function') problems.push('onForeignSession: Give a function.');
  if (problems.length > 0) throw new TypeError(['mcpEndpoint:', ...problems.map((problem) => `- ${problem}`)].join('\n'));
  return { connect, onForeignSession, most, share, idle };
}
