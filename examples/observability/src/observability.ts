import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { accessOf, fromTls, holdfast, type ProtectedResourceOptions, REDACTED_PATHS } from '@holdfast/express';
import { observeDecisions } from '@holdfast/opentelemetry';
import { fetchWith } from '@holdfast/test-support/clients';
import { startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki } from '@holdfast/test-support/pki';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import express, { type RequestHandler } from 'express';
import { pino } from 'pino';

const AUDIENCE = 'https://api.example.com';

/** What a run left behind: what Prometheus would scrape, and the log. */
export interface Observed {
  readonly metrics: string;
  readonly log: readonly string[];
  /** Sent as the owner's token; it must be in neither. */
  readonly token: string;
}

/** An API with metrics for Prometheus and a log without secrets; its owner calls, two thieves, one without a bound token, and a partner. */
export async function runObservability(): Promise<Observed> {
  const pki = await createPki();
  const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  const issuer = await startIssuer();
  // The authorization server of a partner, which is down.
  const partner = await startIssuer();
  await partner.close();

  // What an application of yours has: a meter provider whose reader Prometheus scrapes …
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const stopObserving = observeDecisions({ meterProvider: new MeterProvider({ readers: [exporter] }), spans: 'none' });
  const scraped = createHttpServer((request, response) => exporter.getMetricsRequestHandler(request, response));

  // … and a log, to which no token or proof goes, whoever logs a request.
  const log: string[] = [];
  const logger = pino({ redact: { paths: [...REDACTED_PATHS] } }, { write: (line: string) => void log.push(line) });

  const routes = new Set(['/accounts', '/reports']);
  const options = {
    issuer: [issuer.url, partner.url],
    audience: AUDIENCE,
    certificate: fromTls(),
    // A name for each route, and one for all others: as many series there are.
    route: ({ method, target }) => (routes.has(target) ? `${method} ${target}` : 'other'),
    onEvent: (decision) => logger.info({ decision }, 'decided'),
  } satisfies ProtectedResourceOptions;
  const protect = holdfast(options);
  // Binding is being introduced here: what has none is let in for another month, and counted.
  const until = new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10);
  const auditing = holdfast({ ...options, audit: { until } });
  const app = express();
  app.use((request, _response, next) => {
    logger.info({ req: { method: request.method, url: request.originalUrl, headers: request.headers } }, 'asked');
    next();
  });
  const answer: RequestHandler = (request, response) => void response.json({ sub: accessOf(request).claims.sub });
  app.get('/accounts', protect, answer);
  app.get('/reports', auditing, answer);
  const server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, app);
  const port = await listen(server);
  const metricsPort = await listen(scraped);

  const token = await issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': owner.thumbprint } });
  const unbound = await issuer.token({ aud: AUDIENCE });
  const ofPartner = await issuer.token({ aud: AUDIENCE, iss: partner.url, cnf: { 'x5t#S256': owner.thumbprint } });
  const call = async (path: string, presented: string, identity: Partial<typeof owner> = {}): Promise<void> => {
    const fetch = fetchWith({ ca: pki.ca, ...identity });
    await (await fetch(`https://localhost:${port}${path}`, { headers: { authorization: `Bearer ${presented}` } })).text();
    await fetch.close();
  };
  for (const identity of [owner, owner, owner, thief, undefined]) await call('/accounts', token, identity);
  await call('/reports', token, owner);
  await call('/reports', unbound);
  await call('/accounts', ofPartner, owner);
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();

  stopObserving();
  await Promise.all([protect.close(), auditing.close()]);
  await issuer.close();
  await Promise.all([stop(server), stop(scraped)]);
  return { metrics, log, token };
}
