import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Server } from 'node:https';
import { fileURLToPath } from 'node:url';
import express from 'express';
import type { Exchange } from './api.ts';

/** Where everything is: the page asks for it at `/config.json`. */
export interface PageConfig {
  readonly issuer: string;
  readonly api: string;
  readonly thief: string;
  readonly clientId: string;
}

const FOLDER = fileURLToPath(new URL('../page/', import.meta.url));
const LIBRARIES = ['oauth4webapi', 'dpop'];

/** Serves the page as it stands, and the libraries it imports out of node_modules. */
export function servePage(server: Server, config: PageConfig, exchanges: () => readonly Exchange[]): void {
  const resolve = createRequire(import.meta.url).resolve;
  const html = readFileSync(`${FOLDER}index.html`, 'utf8');
  const [, importMap = ''] = /<script type="importmap">([\s\S]*?)<\/script>/.exec(html) ?? [];
  const policy = [
    "default-src 'none'",
    `script-src 'self' 'sha256-${createHash('sha256').update(importMap).digest('base64')}'`,
    "style-src 'self'",
    "img-src 'self'",
    // A page in earnest would not list the thief here. That makes it harder to get a token out, and is no reason to rely on it.
    `connect-src 'self' ${config.issuer} ${config.api} ${config.thief}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');

  const app = express();
  app.use((_request, response, next) => {
    response.set({ 'content-security-policy': policy, 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' });
    next();
  });
  app.get('/config.json', (_request, response) => {
    response.json(config);
  });
  // What those who run the API read in its events, shown beside what the client got. No client ever sees it.
  app.get('/exchanges.json', (_request, response) => {
    response.json(exchanges());
  });
  for (const library of LIBRARIES) {
    app.get(`/${library}.js`, (_request, response) => {
      response.type('js').send(readFileSync(resolve(library)));
    });
  }
  app.use(express.static(FOLDER));
  server.on('request', app);
}
