// The API as a Cloudflare Worker with mutual TLS.
import { accessOf, cloudflareWorker, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/core/fetch';

/** The Worker. In a real one, the options stand where they are used, and this is the default export. */
export function worker(options: Omit<ProtectedResourceOptions, 'certificate'>): { fetch(request: Request): Promise<Response> } {
  const protect = holdfast({ ...options, certificate: cloudflareWorker() });
  const reading = requires({ scope: 'accounts:read' });

  return {
    async fetch(request) {
      // What Cloudflare says of the connection: no client can write there.
      const platform = 'cf' in request ? request.cf : undefined;
      const { refusal, apply } = await protect(request, { platform });
      if (refusal) return refusal;
      return apply(reading(request) ?? Response.json({ owner: accessOf(request).claims.sub }));
    },
  };
}
