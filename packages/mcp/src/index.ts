import type { IncomingMessage, ServerResponse } from 'node:http';
import { nodeRequest, sendRefusal } from '@holdfast/core/node';
import { accessOf, type ExpressRequest, type Middleware } from '@holdfast/express';
import onHeaders from 'on-headers';
import { CREDENTIAL_FIELDS, makeBridge, RESUME_FIELD, SESSION_FIELD } from './bridge.ts';
import type { McpOptions } from './options.ts';

export { type AuthInfo, type AuthInfoExtra, TOKEN_PLACEHOLDER } from './auth-info.ts';
export type { McpOptions, SessionRefusal } from './options.ts';

/** The middleware between `holdfast(…)` and the transport of the SDK. */
export interface McpMiddleware extends Middleware {
  /** Ends a session that the application closes by itself: from now on nobody gets into it. */
  endSession(sessionId: string): void;
}

/**
 * Stands after `holdfast(…)` and before the Streamable HTTP transport of the MCP SDK. Tools learn who calls (`req.auth`, which is
 * written and never read) and not by which token (the fields with the token and the proof are taken out), a session answers only to the caller it was opened for (404 to everybody else), and event streams end
 * with the access. Where there is no access, 401.
 *
 * Throws one `TypeError` that lists every problem of the options.
 *
 * @example
 * app.use('/mcp', holdfast({ issuer, audience: 'https://mcp.example.com/mcp', profiles: ['mcp'] }), mcp());
 */
export function mcp(options: McpOptions = {}): McpMiddleware {
  const bridge = makeBridge(options);
  const middleware: Middleware = (request, response, next) => {
    try {
      if (letIn(request, response)) next();
    } catch (error) {
      next(error);
    }
  };

  function letIn(request: ExpressRequest, response: ServerResponse): boolean {
    const access = accessOf(request);
    const view = nodeRequest(request, request.originalUrl);
    const sessionLines = view.fieldLines(SESSION_FIELD);
    const visit = bridge.admit({ method: view.method, sessionLines, resumes: view.fieldLines(RESUME_FIELD).length > 0, access });
    if ('status' in visit) {
      sendRefusal(response, visit);
      return false;
    }
    hideCredentials(request);
    // Defined, not assigned: what another has put there, be it a setter, must not decide what tools see.
    Object.defineProperty(request, 'auth', { value: visit.authInfo, writable: true, configurable: true, enumerable: true });
    const end = (): void => {
      // Who still writes finds that it is over; without a listener that would end the process.
      response.on('error', () => {});
      response.end();
    };
    const closed = new AbortController();
    response.once('close', () => {
      closed.abort();
      visit.over();
    });
    onHeaders(response, () => {
      if (!visit.answered(response.statusCode, textOf(response, SESSION_FIELD))) response.removeHeader(SESSION_FIELD);
      if (textOf(response, 'content-type')?.startsWith('text/event-stream') !== true) return;
      const { signal } = access;
      // Not at once: these very headers are still to be written.
      if (signal.aborted) queueMicrotask(end);
      else signal.addEventListener('abort', end, { once: true, signal: closed.signal });
    });
    return true;
  }

  return Object.assign(middleware, { endSession: (sessionId: string) => bridge.end(sessionId) });
}

/** In place: the SDK reads `rawHeaders`, others `headers`, and what was judged belongs to that very list. */
function hideCredentials(request: IncomingMessage): void {
  // Read first: Node makes both of as many lines as have come.
  const [headers, headersDistinct]: readonly (object | undefined)[] = [request.headers, request.headersDistinct];
  for (const name of CREDENTIAL_FIELDS) {
    for (const fields of [headers, headersDistinct]) if (fields !== undefined) Reflect.deleteProperty(fields, name);
  }
  const { rawHeaders } = request;
  for (let i = rawHeaders.length - 2; i >= 0; i -= 2) {
    if (CREDENTIAL_FIELDS.includes(rawHeaders[i]?.toLowerCase() ?? '')) rawHeaders.splice(i, 2);
  }
}

function textOf(response: ServerResponse, name: string): string | undefined {
  const value = response.getHeader(name);
  return value === undefined ? undefined : String(value);
}
