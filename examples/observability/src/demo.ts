// npm run demo:observability: what Prometheus would scrape, and the log.
import { runObservability } from './observability.js';

const { metrics, log } = await runObservability();
const counted = metrics.split('\n').filter((line) => /^holdfast_(?:decisions_total|decision_duration_(?:count|sum))/.test(line));
console.log(['What Prometheus scrapes, without the buckets:', '', ...counted, '', 'The log:', '', log.join('')].join('\n'));
