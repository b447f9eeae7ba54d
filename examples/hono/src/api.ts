// The API: what an application with Hono writes.
import { type Access, accessOf, type AccessTokenClaims, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/core/fetch';
import { nodeRequest } from '@holdfast/core/node';
import type { HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { createMiddleware } from 'hono/factory';

/** What our tokens hold beyond the standard claims. The type is our word; Holdfast checks issuer, signature and sender. */
interface BankClaims extends AccessTokenClaims {
  readonly branch?: string;
}

interface Env {
  // Of Node alone: on Deno, Bun and Workers there is no `incoming`, and nothing to hand on.
  Bindings: Partial<HttpBindings>;
  Variables: { access: Access<BankClaims> };
}

/** A service with accounts. `close` ends its timers. */
export function accountsApi(options: ProtectedResourceOptions): { app: Hono<Env>; close: () => Promise<void> } {
  const protect = holdfast<BankClaims>(options);
  const reading = requires({ scope: 'accounts:read' });

  const protection = createMiddleware<Env>(async (c, next) => {
    const { refusal, access, apply } = await protect(c.req.raw, c.env.incoming && nodeRequest(c.env.incoming));
    if (refusal) return refusal;
    if (access) c.set('access', access);
    await next();
    c.res = apply(c.res);
    return undefined;
  });

  const app = new Hono<Env>();
  app.get('/health', (c) => c.text('ok'));
  app.use('/accounts/*', protection);
  app.get('/accounts', (c) => reading(c.req.raw) ?? c.json({ owner: c.var.access.claims.sub, branch: c.var.access.claims.branch }));
  app.get('/accounts/events', (c) => {
    const { signal } = accessOf(c.req.raw);
    let end = (): void => {};
    const events = new ReadableStream<string>({
      start(controller) {
        controller.enqueue('data: balance 17\n\n');
        // The stream ends with the access: when the token expires, or its key is revoked.
        end = () => controller.close();
        signal.addEventListener('abort', end);
      },
      // The client has gone: what still listened would keep the stream until then.
      cancel: () => signal.removeEventListener('abort', end),
    });
    return c.body(events.pipeThrough(new TextEncoderStream()), 200, { 'Content-Type': 'text/event-stream' });
  });
  return { app, close: () => protect.close() };
}
