import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { DECISION_CHANNEL, type ResourceEvent } from '@holdfast/core';
import { type Attributes, type MeterProvider, metrics, SpanStatusCode, trace, type TracerProvider } from '@opentelemetry/api';

/** What is observed, and where it goes. */
export interface ObserveOptions {
  /** Makes the meter `@holdfast/opentelemetry`. Default: the global one. */
  readonly meterProvider?: MeterProvider;
  /** Makes the tracer `@holdfast/opentelemetry`. Default: the global one. */
  readonly tracerProvider?: TracerProvider;
  /** Which decisions get a span, as a child of the span that is active where the request is judged. `refused`: all that are not plainly granted. Default: `all`. */
  readonly spans?: 'all' | 'refused' | 'none';
}

const NAME = '@holdfast/opentelemetry';
const SPANS: ReadonlySet<unknown> = new Set(['all', 'refused', 'none']);
/** Those that the semantic conventions know by default. */
const METHODS: ReadonlySet<string> = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE']);
const OPTIONS: ReadonlySet<string> = new Set(['meterProvider', 'tracerProvider', 'spans']);

/** Seconds: from a token that is known to the first one after the start, which waits for the issuer's keys. */
const DURATIONS = [0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.1, 1, 10];

/**
 * Turns every decision of every protected resource in this process into telemetry, until the function that it returns is called.
 *
 * Metrics: the counter `holdfast.decisions`, and the histogram `holdfast.decision.duration` in seconds, of what a request waited
 * for its decision. Spans: `holdfast`, as long as the decision took.
 *
 * Attributes: `holdfast.outcome` (`granted`, `refused`, `audited`, `unavailable`); `holdfast.reason` (one of the keys of `REASONS`),
 * where it was not granted, or would not have been without audit mode; `error.type`, the same, only where it was not granted;
 * `http.route` and `http.request.method`, where the option `route` names them; `holdfast.scheme`, `holdfast.issuer` (of tokens that
 * were authenticated). Spans also have `holdfast.client_id`, `holdfast.confirmations`, `holdfast.detail`, `holdfast.expected` and
 * `holdfast.received`, which are as many as there are clients and so are kept from metrics. Nothing of them is secret (see
 * `ResourceEvent`). The status of a span is an error where something of ours failed, not where a client was refused.
 *
 * Throws a `TypeError` for options that it does not know.
 *
 * @example
 * const stop = observeDecisions();
 */
export function observeDecisions(options: ObserveOptions = {}): () => void {
  const { meterProvider = metrics.getMeterProvider(), tracerProvider = trace.getTracerProvider(), spans = 'all' } = options;
  const unknown = Object.keys(options).filter((name) => !OPTIONS.has(name));
  if (unknown.length > 0 || !SPANS.has(spans)) {
    throw new TypeError(`The options of observeDecisions: ${[...OPTIONS].join(', ')}; spans is 'all', 'refused' or 'none'.`);
  }
  const meter = meterProvider.getMeter(NAME);
  const tracer = tracerProvider.getTracer(NAME);
  const decisions = meter.createCounter('holdfast.decisions', {
    unit: '{decision}',
    description: 'Requests that were granted or refused access, and refusals of single routes.',
  });
  const duration = meter.createHistogram('holdfast.decision.duration', {
    unit: 's',
    description: 'What a request waited for its decision.',
    advice: { explicitBucketBoundaries: DURATIONS },
  });

  function record(message: unknown): void {
    // Only core publishes on this channel.
    const event = message as ResourceEvent;
    const { total } = event.timings;
    const attributes = attributesOf(event);
    decisions.add(1, attributes);
    // A refusal of a single route comes after the decision about the request, and took no time of its own.
    if (total > 0) duration.record(total / 1000, attributes);
    if (spans === 'none' || (spans === 'refused' && event.outcome === 'granted')) return;
    const now = Date.now();
    const span = tracer.startSpan('holdfast', { startTime: now - total, attributes: { ...attributes, ...particularsOf(event) } });
    if (event.outcome === 'unavailable')
      span.setStatus({ code: SpanStatusCode.ERROR, ...(event.text !== undefined && { message: event.text }) });
    span.end(now);
  }

  // What a subscriber throws would end the process.
  const listener = (message: unknown): void => {
    try {
      record(message);
    } catch (error) {
      process.emitWarning(`Telemetry of a decision failed: ${error instanceof Error ? error.name : typeof error}.`, 'HoldfastWarning');
    }
  };
  subscribe(DECISION_CHANNEL, listener);
  return () => void unsubscribe(DECISION_CHANNEL, listener);
}

/** Few values each, so that they can tell series apart. */
function attributesOf({ outcome, reason, scheme, issuer, route }: ResourceEvent): Attributes {
  return {
    'holdfast.outcome': outcome,
    ...(reason !== undefined && { 'holdfast.reason': reason }),
    // By the semantic conventions only of what failed, and what audit mode lets through has not.
    ...(reason !== undefined && outcome !== 'audited' && { 'error.type': reason }),
    ...(route !== undefined && routeAttributes(route)),
    ...(scheme !== undefined && { 'holdfast.scheme': scheme }),
    ...(issuer !== undefined && { 'holdfast.issuer': issuer }),
  };
}

/** `GET /accounts/:id` as the semantic conventions of HTTP have it, which say the method by itself. */
function routeAttributes(route: string): Attributes {
  const [, method, path] = /^([A-Z]+) (\S.*)$/.exec(route) ?? [];
  if (method === undefined || path === undefined) return { 'http.route': route };
  // Whoever asks chooses the method, and so could make series without end.
  return { 'http.request.method': METHODS.has(method) ? method : '_OTHER', 'http.route': path };
}

function particularsOf({ clientId, confirmations, detail, expected, received }: ResourceEvent): Attributes {
  return {
    ...(clientId !== undefined && { 'holdfast.client_id': clientId }),
    ...(confirmations !== undefined && { 'holdfast.confirmations': [...confirmations] }),
    ...(detail !== undefined && { 'holdfast.detail': detail }),
    ...(expected !== undefined && { 'holdfast.expected': expected }),
    ...(received !== undefined && { 'holdfast.received': received }),
  };
}
