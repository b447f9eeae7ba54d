import type { Server } from 'node:https';
import { accessOf, EXPOSED_FIELDS, type Fetch, holdfast, requires } from '@holdfast/express';
import cors from 'cors';
import express, { type Response } from 'express';

export interface ApiOptions {
  readonly issuer: string;
  /** The origin of this API: what `aud` must contain, and what proofs must be made for. */
  readonly audience: string;
  /** The origin whose scripts may call it. */
  readonly page: string;
  /** A fetch that trusts the private CA of the authorization server. */
  readonly fetch: Fetch;
}

/** One request that reached the API, as those who run it see it. */
export interface Exchange {
  readonly method: string;
  readonly status: number;
  /** Why Holdfast refused, from its event. */
  readonly reason: string | undefined;
}

/** The API, and what it has answered. */
export interface Api {
  readonly exchanges: () => readonly Exchange[];
  close(): Promise<void>;
}

/** An Express API that takes DPoP-bound tokens with a nonce of its own in each proof, from scripts of another origin. */
export async function serveApi(server: Server, { issuer, audience, page, fetch }: ApiOptions): Promise<Api> {
  const seen: { readonly method: string; readonly response: Response; reason?: string }[] = [];
  const protect = holdfast({
    issuer,
    audience,
    dpop: { nonce: 'required' },
    fetch,
    onEvent: ({ reason }) => {
      const last = seen.at(-1);
      if (last !== undefined && reason !== undefined) last.reason = reason;
    },
  });

  const app = express();
  app.use((request, response, next) => {
    seen.push({ method: request.method, response });
    next();
  });
  // Before Holdfast, so that scripts can read a 401 too: without the challenge and the nonce they cannot follow it.
  // maxAge: 0 has the browser ask before every request, so that it is seen each time the page starts again; hours are usual.
  app.use(cors({ origin: page, allowedHeaders: ['Authorization', 'DPoP'], exposedHeaders: [...EXPOSED_FIELDS], maxAge: 0 }));
  app.use(protect);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    const { claims, confirmations, scheme } = accessOf(request);
    response.json({ owner: claims.sub, client: claims.client_id, scheme, confirmations });
  });

  await protect.ready();
  server.on('request', app);
  return {
    exchanges: () => seen.map(({ method, response, reason }) => ({ method, status: response.statusCode, reason })),
    close: () => protect.close(),
  };
}
