import { accessOf } from '@holdfast/core/fetch';
import type { AuthInfo } from './auth-info.ts';
import { CREDENTIAL_FIELDS, makeBridge, RESUME_FIELD, SESSION_FIELD } from './bridge.ts';
import type { McpOptions } from './options.ts';

export { type AuthInfo, type AuthInfoExtra, TOKEN_PLACEHOLDER } from './auth-info.ts';
export type { McpOptions, SessionRefusal } from './options.ts';

/** What the SDK is handed: the request without token and proof, since it shows all fields to tools, and who calls. */
export type McpHandler = (request: Request, options: { readonly authInfo: AuthInfo }) => Promise<Response> | Response;

/** Hands a request that was protected on to the SDK. */
export interface McpBridge {
  /**
   * `handle` gets what `transport.handleRequest` takes. Its request is another one, which has no access; where the body was read
   * before, it has none. Rejects with a `HoldfastError` where there is no access.
   */
  (request: Request, handle: McpHandler): Promise<Response>;
  /** Ends a session that the application closes by itself: from now on nobody gets into it. */
  endSession(sessionId: string): void;
}

/**
 * For the web-standard transport of the MCP SDK: Hono, Workers, Deno, Bun. Tools learn who calls, a session answers only to the
 * caller it was opened for (404 to everybody else), and event streams end with the access.
 *
 * Throws one `TypeError` that lists every problem of the options.
 *
 * @example
 * const { refusal, apply } = await protect(request);
 * if (refusal) return refusal;
 * return apply(await bridge(request, (inner, caller) => transport.handleRequest(inner, caller)));
 */
export function mcp(options: McpOptions = {}): McpBridge {
  const bridge = makeBridge(options);
  const hand: (request: Request, handle: McpHandler) => Promise<Response> = async (request, handle) => {
    const access = accessOf(request);
    const line = request.headers.get(SESSION_FIELD);
    const resumes = request.headers.has(RESUME_FIELD);
    const visit = bridge.admit({ method: request.method, sessionLines: line === null ? [] : [line], resumes, access });
    if ('status' in visit) {
      const headers = new Headers();
      for (const [name, value] of visit.fields) headers.set(name, value);
      return Response.json(visit.body, { status: visit.status, headers });
    }
    try {
      const response = await handle(withoutCredentials(request), { authInfo: visit.authInfo });
      // Where the runtime says so, whoever asked has hung up meanwhile.
      if (request.signal.aborted) visit.over();
      const { status, statusText, body } = response;
      const isTold = visit.answered(status, response.headers.get(SESSION_FIELD) ?? undefined);
      const isStream = body !== null && response.headers.get('content-type')?.startsWith('text/event-stream') === true;
      if (!isStream) visit.over();
      if (isTold && !isStream) return response;
      const headers = new Headers(response.headers);
      if (!isTold) headers.delete(SESSION_FIELD);
      return new Response(isStream ? streamUntil(body, [access.signal, request.signal], () => visit.over()) : body, {
        status,
        statusText,
        headers,
      });
    } catch (error) {
      visit.over();
      throw error;
    }
  };
  return Object.assign(hand, { endSession: (sessionId: string) => bridge.end(sessionId) });
}

/** By what the request says of itself, since servers have requests of their own making. */
function withoutCredentials({ url, method, headers, body, bodyUsed, signal }: Request): Request {
  const left = new Headers(headers);
  for (const name of CREDENTIAL_FIELDS) left.delete(name);
  // A body that is a stream has to say that the answer comes after it.
  return new Request(url, { method, headers: left, signal, ...(body !== null && !bodyUsed && { body, duplex: 'half' }) });
}

/** The same stream, which ends when one of the signals aborts. */
function streamUntil(body: ReadableStream<Uint8Array>, signals: readonly AbortSignal[], over: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const ended = new AbortController();
  ended.signal.addEventListener('abort', over, { once: true });
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const stop = (): void => {
        if (ended.signal.aborted) return;
        ended.abort();
        controller.close();
        reader.cancel().catch(() => {});
      };
      for (const signal of signals) {
        if (signal.aborted) return stop();
        signal.addEventListener('abort', stop, { once: true, signal: ended.signal });
      }
    },
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (ended.signal.aborted) return;
        if (!done) return controller.enqueue(value);
        ended.abort();
        controller.close();
      } catch (error) {
        ended.abort();
        throw error;
      }
    },
    cancel(reason) {
      ended.abort();
      return reader.cancel(reason);
    },
  });
}
