import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { accessOf, fromTls, holdfast, REDACTED_PATHS } from '@holdfast/express';
import { observeDecisions } from '@holdfast/opentelemetry';
import { fetchWith } from '@holdfast/test-support/clients';
import { startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki } from '@holdfast/test-support/pki';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import express from 'express';
import { pino } from 'pino';

const AUDIENCE = 'https://api.example.com';

/** What a run left behind: what Prometheus would scrape, and the log. */
export interface Observed {
  readonly metrics: string;
  readonly log: readonly string[];
  /** Sent as the owner's token; it must be in neither. */
  readonly token: string;
}

/** An API with metrics for Prometheus and a log without secrets; its owner calls, and two thieves. */
export async function runObservability(): Promise<Observed> {
  const pki = await createPki();
  const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  const issuer = await startIssuer();

  // What an application of yours has: a meter provider whose reader Prometheus scrapes …
  const exporter = new PrometheusExporter({ preventServerStart: true });
  const stopObserving = observeDecisions({ meterProvider: new MeterProvider({ readers: [exporter] }), spans: 'none' });
  const scraped = createHttpServer((request, response) => exporter.getMetricsRequestHandler(request, response));

  // … and a log, to which no token or proof goes, whoever logs a request.
  const log: string[] = [];
  const logger = pino({ redact: { paths: [...REDACTED_PATHS] } }, { write: (line: string) => void log.push(line) });

  const protect = holdfast({
    issuer: issuer.url,
    audience: AUDIENCE,
    certificate: fromTls(),
    onEvent: (decision) => logger.info({ decision }, 'decided'),
  });
  const app = express();
  app.use((request, _response, next) => {
    logger.info({ req: { method: request.method, url: request.originalUrl, headers: request.headers } }, 'asked');
    next();
  });
  app.use(protect);
  app.get('/accounts', (request, response) => void response.json({ sub: accessOf(request).claims.sub }));
  const server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, app);
  const port = await listen(server);
  const metricsPort = await listen(scraped);

  const token = await issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': owner.thumbprint } });
  for (const identity of [owner, owner, owner, thief, undefined]) {
    const fetch = fetchWith({ ca: pki.ca, ...(identity && { cert: identity.cert, key: identity.key }) });
    await (await fetch(`https://localhost:${port}/accounts`, { headers: { authorization: `Bearer ${token}` } })).text();
  }
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();

  stopObserving();
  await protect.close();
  await issuer.close();
  await Promise.all([stop(server), stop(scraped)]);
  return { metrics, log, token };
}
