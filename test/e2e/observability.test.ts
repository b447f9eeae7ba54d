import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { REASONS } from '@holdfast/core';
import { type Observed, runObservability } from '@holdfast/example-observability';
import { fromTls, holdfast, requires } from '@holdfast/express';
import { observeDecisions } from '@holdfast/opentelemetry';
import { type OneResponse, requestOnce } from '@holdfast/test-support/clients';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { type Attributes, context, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import express from 'express';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';

describe('@holdfast/opentelemetry', () => {
  const spans = new InMemorySpanExporter();
  const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
  const exported = new InMemoryMetricExporter(AggregationTemporality.DELTA);
  const reader = new PeriodicExportingMetricReader({ exporter: exported });
  const meterProvider = new MeterProvider({ readers: [reader] });
  let pki: Pki;
  let owner: Identity;
  let issuer: Issuer;
  let port: number;
  /** What `/named` calls its route. */
  let named: string | undefined;
  let stopServer: () => Promise<void>;

  beforeAll(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager());
    pki = await createPki();
    owner = await pki.client('owner');
    issuer = await startIssuer();
    const app = express();
    // As the instrumentation of HTTP does: a span for the request, active while it is handled.
    app.use((_request, response, next) => {
      const span = tracerProvider.getTracer('http').startSpan('GET');
      response.once('finish', () => span.end());
      context.with(trace.setSpan(context.active(), span), next);
    });
    const protect = holdfast({ issuer: issuer.url, audience: AUDIENCE, certificate: fromTls() });
    app.get('/accounts', protect, requires({ scope: 'accounts' }), (_request, response) => void response.json({}));
    const until = new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10);
    const auditing = holdfast({ issuer: issuer.url, audience: AUDIENCE, certificate: fromTls(), audit: { until } });
    app.get('/audited', auditing, (_request, response) => void response.json({}));
    const down = holdfast({ issuer: 'http://127.0.0.1:9', audience: AUDIENCE, certificate: fromTls() });
    app.get('/down', down, (_request, response) => void response.json({}));
    const naming = holdfast({ issuer: issuer.url, audience: AUDIENCE, certificate: fromTls(), route: () => named });
    app.get('/named', naming, (_request, response) => void response.json({}));
    const server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false }, app);
    port = await listen(server);
    stopServer = async () => {
      await protect.close();
      await auditing.close();
      await down.close();
      await naming.close();
      await stop(server);
    };
  });
  afterAll(async () => {
    await stopServer();
    await issuer.close();
    await meterProvider.shutdown();
    context.disable();
  });
  beforeEach(async () => {
    await reader.forceFlush();
    exported.reset();
    spans.reset();
  });

  const call = async (claims: object, path = '/accounts', identity: Identity | undefined = owner): Promise<OneResponse> =>
    requestOnce({
      port,
      path,
      ca: pki.ca,
      servername: 'localhost',
      ...(identity && { cert: identity.cert, key: identity.key }),
      headers: { authorization: `Bearer ${await issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': owner.thumbprint }, ...claims })}` },
    });

  /** Value, and for histograms count, of every series by name and attributes. */
  async function series(): Promise<Record<string, number>> {
    await reader.forceFlush();
    const all = exported.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    return Object.fromEntries(
      all.flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => [
          [descriptor.name, attributes['holdfast.outcome'], attributes['holdfast.reason']].filter(Boolean).join(' '),
          typeof value === 'number' ? value : value.count,
        ]),
      ),
    );
  }

  it('counts decisions by outcome and reason, and measures those about requests', async () => {
    const stopObserving = observeDecisions({ meterProvider, tracerProvider });
    await call({ scope: 'accounts' });
    await call({ scope: 'accounts' });
    await call({ scope: 'other' });
    await call({ scope: 'accounts' }, '/accounts', await pki.client('thief'));
    stopObserving();
    await call({ scope: 'accounts' });
    expect(await series()).toEqual({
      // Three requests were granted; one of them was refused at the route, in no time of its own.
      'holdfast.decisions granted': 3,
      'holdfast.decisions refused scope.insufficient': 1,
      'holdfast.decisions refused certificate.mismatch': 1,
      'holdfast.decision.duration granted': 3,
      'holdfast.decision.duration refused certificate.mismatch': 1,
    });
  });

  it('counts what audit mode let through by itself, with the reason, and makes spans of it among the refused', async () => {
    const stopObserving = observeDecisions({ meterProvider, tracerProvider, spans: 'refused' });
    await call({ cnf: undefined }, '/audited');
    await call({}, '/audited');
    stopObserving();
    expect(await series()).toMatchObject({ 'holdfast.decisions audited cnf.absent': 1, 'holdfast.decisions granted': 1 });
    const decisions = spans.getFinishedSpans().filter(({ name }) => name === 'holdfast');
    expect(decisions.map(({ attributes, status }) => [attributes, status.code])).toEqual([
      [expect.objectContaining({ 'holdfast.outcome': 'audited', 'holdfast.reason': 'cnf.absent' }), SpanStatusCode.UNSET],
    ]);
    // By the semantic conventions that says of an operation that it failed, and this one did not.
    expect(decisions[0]?.attributes).not.toHaveProperty('error.type');
  });

  it('makes a span of each decision in the span of the request; its status is an error only where the fault is ours', async () => {
    const stopObserving = observeDecisions({ meterProvider, tracerProvider });
    await call({ scope: 'accounts', client_id: 'app' });
    await call({ scope: 'accounts' }, '/accounts', await pki.client('thief'));
    await call({ iss: 'http://127.0.0.1:9' }, '/down');
    stopObserving();
    const finished = spans.getFinishedSpans();
    const requests = finished.filter(({ name }) => name === 'GET');
    const decisions = finished.filter(({ name }) => name === 'holdfast');
    expect(decisions.map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual(requests.map((span) => span.spanContext().spanId));
    expect(decisions.map(({ status }) => status.code)).toEqual([SpanStatusCode.UNSET, SpanStatusCode.UNSET, SpanStatusCode.ERROR]);
    expect(decisions[0]?.attributes).toEqual({
      'holdfast.outcome': 'granted',
      'holdfast.scheme': 'Bearer',
      'holdfast.issuer': issuer.url,
      'holdfast.client_id': 'app',
      'holdfast.confirmations': ['x5t#S256'],
    });
    expect(decisions[1]?.attributes).toMatchObject({
      'holdfast.reason': 'certificate.mismatch',
      'error.type': 'certificate.mismatch',
      'holdfast.expected': `${owner.thumbprint.slice(0, 12)}…`,
    });
    expect(decisions[2]?.attributes).toMatchObject({ 'holdfast.outcome': 'unavailable', 'error.type': 'unavailable.keys' });
  });

  it.each([
    ['GET /accounts/:id', { 'http.request.method': 'GET', 'http.route': '/accounts/:id' }],
    ['FORGED /accounts/:id', { 'http.request.method': '_OTHER', 'http.route': '/accounts/:id' }],
    ['accounts', { 'http.route': 'accounts' }],
    ['GET ', { 'http.route': 'GET ' }],
    [undefined, {}],
  ])('says the route that the option names as the semantic conventions do, in metrics and spans: %s', async (route, expected) => {
    const stopObserving = observeDecisions({ meterProvider, tracerProvider });
    named = route;
    await call({}, '/named');
    named = undefined;
    stopObserving();
    await reader.forceFlush();
    const points = exported.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    const attributes = points.flatMap(({ dataPoints }) => dataPoints.map((point): Attributes => point.attributes));
    attributes.push(...spans.getFinishedSpans().flatMap((span) => (span.name === 'holdfast' ? [span.attributes] : [])));
    expect(attributes).toHaveLength(3);
    const ofHttp = attributes.map((all) => Object.fromEntries(Object.entries(all).filter(([name]) => name.startsWith('http.'))));
    expect(ofHttp).toEqual([expected, expected, expected]);
  });

  it.each([
    ['refused', 1],
    ['none', 0],
  ] as const)('spans: %s leaves out the others', async (which, made) => {
    const stopObserving = observeDecisions({ meterProvider, tracerProvider, spans: which });
    await call({ scope: 'accounts' });
    await call({ scope: 'accounts' }, '/accounts', await pki.client('thief'));
    stopObserving();
    expect(spans.getFinishedSpans().filter(({ name }) => name === 'holdfast')).toHaveLength(made);
  });

  it('a meter or tracer that throws does not change what is decided', async () => {
    const broken = { getMeter: () => ({ createCounter: () => ({ add: fail }), createHistogram: () => ({ record: fail }) }) };
    function fail(): never {
      throw new Error('telemetry is down');
    }
    const stopObserving = observeDecisions({ meterProvider: broken as never, tracerProvider });
    const warned = once(process, 'warning');
    const { status } = await call({ scope: 'accounts' });
    const [warning] = await warned;
    stopObserving();
    expect(status).toBe(200);
    expect(warning).toMatchObject({ name: 'HoldfastWarning', message: 'Telemetry of a decision failed: Error.' });
  });

  it('refuses options that it does not know', () => {
    expect(() => observeDecisions({ spans: 'some' as never })).toThrow(TypeError);
    expect(() => observeDecisions({ span: 'all' } as never)).toThrow(/spans/);
  });
});

interface Panel {
  readonly title: string;
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
}
const { panels } = JSON.parse(readFileSync(new URL('../../examples/observability/grafana-dashboard.json', import.meta.url), 'utf8')) as {
  readonly panels: readonly Panel[];
};

/** The labels of every series of that name, as Prometheus would scrape them, with the job that it adds. */
function seriesIn(metrics: string, name: string): Record<string, string>[] {
  const lines = metrics.split('\n').filter((line) => line.startsWith(`${name}{`));
  const labelsOf = (line: string): string[][] => [...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, label = '', value = '']) => [label, value]);
  return lines.map((line) => Object.fromEntries([...labelsOf(line), ['job', 'api']]));
}

/** What PromQL asks of labels: a label that is absent is empty, and regular expressions match the whole. */
function matchersIn(text: string): ((labels: Readonly<Record<string, string>>) => boolean)[] {
  const matchers = [...text.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)];
  expect(matchers.map(([whole]) => whole).join(',')).toBe(text);
  return matchers.map(([, label = '', operator, value = '']) => (labels) => {
    const found = labels[label] ?? '';
    if (operator === '=~') return new RegExp(`^(?:${value === '$job' ? '.*' : value})$`).test(found);
    return (found === value) === (operator === '=');
  });
}

describe('the example', () => {
  let observed: Observed;
  beforeAll(async () => {
    observed = await runObservability();
  });

  it.each(panels.flatMap(({ title, targets }) => targets.map(({ expr, legendFormat }) => [title, expr, legendFormat] as const)))(
    'serves what the dashboard asks for: %s',
    (_, query, legend) => {
      const selectors = [...query.matchAll(/(\w+)\{([^}]*)\}/g)];
      expect(selectors.length).toBeGreaterThan(0);
      const shown = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(', ')).filter((name) => name !== 'le');
      // A legend shows what is summed by, and nothing is summed by that no legend shows.
      expect([...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, name]) => name)).toEqual(shown);
      for (const [, name = '', matchers = ''] of selectors) {
        const selected = seriesIn(observed.metrics, name).filter((labels) => matchersIn(matchers).every((fits) => fits(labels)));
        expect(selected, `${name}{${matchers}}`).not.toEqual([]);
        for (const label of shown) expect(selected.some((labels) => Object.hasOwn(labels, label))).toBe(true);
      }
    },
  );

  it('every reason and every outcome that the dashboard names is one', () => {
    const text = JSON.stringify(panels);
    const named = (label: string): string[] =>
      [...text.matchAll(new RegExp(`${label}=~?\\\\"([^"\\\\]+)`, 'g'))].flatMap(([, list = '']) => list.split('|'));
    expect(named('holdfast_reason').length).toBeGreaterThan(0);
    for (const reason of named('holdfast_reason')) expect(Object.keys(REASONS)).toContain(reason);
    expect(new Set(named('holdfast_outcome'))).toEqual(new Set(['refused', 'unavailable', 'audited', 'granted']));
  });

  it('logs no token', () => {
    const { metrics, log, token } = observed;
    expect(log.join('')).toContain('"authorization":"[Redacted]"');
    expect(log.join('') + metrics).not.toContain(token.split('.')[1]);
  });
});
