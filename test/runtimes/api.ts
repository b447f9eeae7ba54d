// An API in terms of Request and Response alone: what the tests of Deno, Bun and Workers serve.
import {
  accessOf,
  type CertificateSource,
  type FetchedKeys,
  holdfast,
  maybeAccessOf,
  type ProtectedResourceOptions,
  requires,
  type ResourceEvent,
  type Surroundings,
} from '@holdfast/core/fetch';

const AUDIENCE = 'https://rs.example.com';

/** Serves the API of tokens by this issuer, whose keys it fetches. `GET /events` tells and forgets what was decided, `GET /revoke` revokes a key. */
export function api(
  issuer: string,
  certificate: CertificateSource,
  keys: FetchedKeys = {},
): (request: Request, surroundings?: Surroundings) => Promise<Response> {
  const events: ResourceEvent[] = [];
  const options: ProtectedResourceOptions = {
    issuer,
    audience: AUDIENCE,
    certificate,
    keys,
    unconstrained: 'accept',
    dpop: { algorithms: ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'EdDSA', 'Ed25519'] },
    onEvent: (event) => events.push(event),
  };
  const protect = holdfast(options);
  const protectWithNonce = holdfast({ ...options, dpop: { nonce: 'required' }, cors: true });
  const writing = requires({ scope: 'write' });

  const route = (request: Request): Response => {
    const { pathname } = new URL(request.url);
    if (pathname === '/write') {
      const refusal = writing(request);
      if (refusal) return refusal;
    }
    if (pathname === '/copy') return Response.json(accessOf(new Request(request)).claims);
    if (pathname === '/redirect') return Response.redirect('https://rs.example.com/r', 303);
    if (pathname === '/events-of-time') return eventsUntilEnd(request);
    const access = maybeAccessOf(request);
    return Response.json({ path: pathname, sub: access?.claims.sub, members: access?.confirmations.map(({ member }) => member) });
  };

  return async (request, surroundings) => {
    const { pathname } = new URL(request.url);
    if (pathname === '/revoke') {
      protect.revokeKey(new URL(request.url).searchParams.get('key') ?? '');
      return new Response('revoked');
    }
    if (pathname === '/events') return Response.json(events.splice(0));
    const { refusal, apply } = await (pathname === '/nonce' ? protectWithNonce : protect)(request, surroundings);
    if (refusal) return refusal;
    try {
      return apply(route(request));
    } catch (error) {
      if (error instanceof Error && 'getResponse' in error && typeof error.getResponse === 'function') return error.getResponse();
      throw error;
    }
  };
}

/** A stream that begins, and ends with the access. */
function eventsUntilEnd(request: Request): Response {
  const { signal } = accessOf(request);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const write = (text: string): void => controller.enqueue(new TextEncoder().encode(text));
      write('data: begin\n\n');
      signal.addEventListener('abort', () => {
        write('event: expired\n\n');
        controller.close();
      });
    },
  });
  return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
}
