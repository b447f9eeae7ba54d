// The fetch entry: typed claims without global declarations, and no access without looking at the refusal.
import {
  type Access,
  accessOf,
  type AccessTokenClaims,
  awsApiGateway,
  cloudflareWorker,
  holdfast,
  maybeAccessOf,
  type Protect,
  protectedResource,
  requires,
} from '@holdfast/core/fetch';
import { nodeRequest } from '@holdfast/core/node';
import type { Http2Bindings, HttpBindings } from '@hono/node-server';
import { Hono } from 'hono';
import { createMiddleware } from 'hono/factory';

interface BankClaims extends AccessTokenClaims {
  readonly branch: string;
}

declare const request: Request;
declare const route: (request: Request) => Promise<Response>;

const options = { issuer: 'https://as.example', audience: 'https://api.example' };
const protect: Protect<BankClaims> = holdfast<BankClaims>(options);
export const shared: Protect<BankClaims> = holdfast(protectedResource<BankClaims>(options));
export const plain: Protect = holdfast({ ...options, certificate: cloudflareWorker() });
holdfast({ ...options, certificate: awsApiGateway({ payload: '1.0' }) });
const reading = requires({ scope: 'read' });

export async function handle(incoming: Request): Promise<Response> {
  const result = await protect(incoming, { platform: 'cf' in incoming ? incoming.cf : undefined });
  // @ts-expect-error: a refused request has no response to be applied to
  void result.apply(new Response());
  // @ts-expect-error: nothing is known of the claims before it is known that there is access
  void result.access.claims;
  if (result.refusal) return result.refusal;
  // @ts-expect-error: a preflight passes without access
  void result.access.claims;
  const branch: string | undefined = result.access?.claims.branch;
  void branch;
  const authorized: Response | undefined = reading(incoming);
  return result.apply(authorized ?? (await route(incoming)));
}

export const branch: string = accessOf<BankClaims>(request).claims.branch;
export const maybe: string | undefined = maybeAccessOf<BankClaims>(request)?.claims.branch;
// @ts-expect-error: further claims are unknown until somebody says what they are
export const unsaid: string = accessOf(request).claims['branch'];
// @ts-expect-error: there may be none
export const assumed: Access = maybeAccessOf(request);
// @ts-expect-error: access is had from the request
accessOf(new Response());
// @ts-expect-error: an unconfirmed option
holdfast({ ...options, ignoreCnf: true });
// @ts-expect-error: a route that requires nothing needs no requires
requires({});
// @ts-expect-error: the connection is made by the server: a certificate alone is none
void protect(request, { connection: { peerCertificate: () => undefined } });
// @ts-expect-error: what is known of the surroundings has two names
void protect(request, { certificate: new Uint8Array() });

// Claims flow to the variables of Hono.
interface Env {
  Bindings: HttpBindings | Http2Bindings;
  Variables: { access: Access<BankClaims> };
}
const protection = createMiddleware<Env>(async (c, next) => {
  const { refusal, access, apply } = await protect(c.req.raw, nodeRequest(c.env.incoming));
  if (refusal) return refusal;
  if (access) c.set('access', access);
  await next();
  c.res = apply(c.res);
  return undefined;
});
const app = new Hono<Env>();
app.use('/api/*', protection);
app.get('/api/branch', (c) => reading(c.req.raw) ?? c.text(c.var.access.claims.branch));
// @ts-expect-error: not one of the claims
app.get('/api/wrong', (c) => c.text(c.var.access.claims.brunch.toUpperCase()));
