// Serves the API on Deno or Bun, with the server of the runtime or with its node:https, and tells the port.
// Arguments: the issuer; `native`, `native-tls` or `https`; the files of the key and the certificate of the server.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { fromTls } from '@holdfast/core';
import { nodeRequest } from '@holdfast/core/node';
import { api } from './api.ts';

type Handler = (request: Request) => Promise<Response>;

/** What is used of the globals of both. */
interface Globals {
  readonly Deno?: {
    serve(
      options: { port: number; hostname: string; key?: string; cert?: string; onListen: (address: { port: number }) => void },
      handler: Handler,
    ): void;
  };
  readonly Bun?: {
    serve(options: { port: number; hostname: string; tls?: object; idleTimeout: number; fetch: Handler }): { port: number };
  };
}

const [, , issuer = '', kind = '', keyFile = '', certFile = ''] = process.argv;
const { Deno, Bun } = globalThis as Globals;
const tls = kind === 'native' ? undefined : { key: readFileSync(keyFile, 'utf8'), cert: readFileSync(certFile, 'utf8') };
const handle = api(issuer, fromTls());
const tell = ({ port }: { port: number }): void => console.log(`port ${port}`);

if (kind === 'https') {
  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, async (incoming, outgoing) => {
    const request = new Request(`https://${incoming.headers.host}${incoming.url}`, { headers: incoming.headers as Record<string, string> });
    const response = await handle(request, nodeRequest(incoming));
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(await response.text());
  });
  server.listen(0, '127.0.0.1', () => tell(server.address() as { port: number }));
} else if (Deno !== undefined) {
  Deno.serve({ port: 0, hostname: '127.0.0.1', ...tls, onListen: tell }, (request) => handle(request));
} else if (Bun !== undefined) {
  const asking = tls && { ...tls, requestCert: true, rejectUnauthorized: false };
  tell(Bun.serve({ port: 0, hostname: '127.0.0.1', idleTimeout: 60, ...(asking && { tls: asking }), fetch: (request) => handle(request) }));
}
