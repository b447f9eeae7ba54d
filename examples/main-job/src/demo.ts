// npm run demo: runs the main job and prints it as a table.
import { printTable, style } from './table.ts';

const HEADINGS: readonly string[] = [
  'The owner of the token',
  'Thieves',
  'Thieves',
  'Bound to the certificate, not to its key',
  'Resumed TLS sessions',
  'Tokens that are not what they seem',
  'Tokens that are bound to nobody',
  'Confirmations',
  'Too little scope',
];

console.log(style('dim', 'Starting an authorization server (oidc-provider, which prints warnings of its own) and an API …'));
const { runMainJob } = await import('./main-job.js');
const { discovery, attempts } = await runMainJob();

const isRight = printTable({
  title: 'Holdfast: a certificate-bound token works for its owner and for nobody else',
  facts: [
    ['Authorization server', `${discovery.issuer}, found by discovery`],
    ['Token over mutual TLS', `${discovery.tokenEndpoint}, from mtls_endpoint_aliases`],
    ['Revocation', `${discovery.revocationEndpoint}, the plain endpoint: it has no alias`],
  ],
  rows: attempts.map((attempt) => ({ ...attempt, heading: HEADINGS[attempt.step - 1] ?? '' })),
  last: ['What the route saw of the owner', attempts[0]?.body ?? ''],
});
process.exitCode = isRight ? 0 : 1;
