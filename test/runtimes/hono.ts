// Serves the API of the example for Hono on Deno or Bun, in the way each serves an application, and tells the port. Argument: the issuer.
import { accountsApi } from '@holdfast/example-hono/api';

type Serve = (request: Request, env?: object) => Response | Promise<Response>;

/** What is used of the globals of both. */
interface Globals {
  readonly Deno?: {
    serve(options: { port: number; hostname: string; onListen: (address: { port: number }) => void }, handler: Serve): void;
  };
  readonly Bun?: { serve(options: { port: number; hostname: string; idleTimeout: number; fetch: Serve }): { port: number } };
}

const [, , issuer = ''] = process.argv;
const { Deno, Bun } = globalThis as Globals;
const { app } = accountsApi({ issuer, audience: 'https://rs.example.com' });
const tell = ({ port }: { port: number }): void => console.log(`port ${port}`);
const handler: Serve = (request, env) => app.fetch(request, env);

if (Deno !== undefined) Deno.serve({ port: 0, hostname: '127.0.0.1', onListen: tell }, handler);
else if (Bun !== undefined) tell(Bun.serve({ port: 0, hostname: '127.0.0.1', idleTimeout: 60, fetch: handler }));
