import { createServer } from 'node:http';
import { accessOf, auth0CustomerEdge, type Fetch, holdfast, requires, type ResourceEvent } from '@holdfast/express';
import { listen, stop } from '@holdfast/test-support/loopback';
import express from 'express';
import { SECRET_FIELD } from './forwarded-certificate.ts';

export interface ApiOptions {
  readonly issuer: string;
  readonly audience: string;
  /** What only the edge knows. */
  readonly secret: string;
  /** A fetch that finds the authorization server. */
  readonly fetch: Fetch;
}

/** The API, and what it decided of the last request. */
export interface Api {
  readonly port: number;
  lastDecision(): ResourceEvent | undefined;
  forget(): void;
  close(): Promise<void>;
}

/** An Express API in the clear, on a port that only the edge should reach. */
export async function startApi({ issuer, audience, secret, fetch }: ApiOptions): Promise<Api> {
  let last: ResourceEvent | undefined;
  const protect = holdfast({
    issuer,
    audience,
    fetch,
    certificate: auth0CustomerEdge({ trust: { peers: ['127.0.0.1'], secret: { field: SECRET_FIELD, values: [secret] } } }),
    onEvent: (event) => {
      last = event;
    },
  });

  const app = express();
  app.use(protect);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    const { claims, confirmations, scheme } = accessOf(request);
    response.json({ client: claims.client_id, scope: claims.scope, scheme, thumbprint: confirmations[0]?.thumbprint });
  });

  const server = createServer(app);
  const port = await listen(server);
  return {
    port,
    lastDecision: () => last,
    forget: () => {
      last = undefined;
    },
    async close() {
      await protect.close();
      await stop(server);
    },
  };
}
