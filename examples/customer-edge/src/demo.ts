// npm run demo:edge: a customer edge on nginx, then on HAProxy, in front of an authorization server and an API; as a table each.
import { printAnswers, printHeading, printVerdict, style, wrap } from '@holdfast/example-main-job/report';
import { reasonToSkipEdge } from '@holdfast/test-support/edges';

const NAMES = { nginx: 'nginx', haproxy: 'HAProxy' } as const;

console.log(style('dim', 'Starting authorization servers (oidc-provider, which prints warnings of its own), APIs and their edges …'));
const { runCustomerEdge } = await import('./customer-edge.ts');
const answers = [];
for (const kind of ['nginx', 'haproxy'] as const) {
  // Says itself what is missing, and how it is installed.
  if (reasonToSkipEdge(kind) !== undefined) continue;
  const story = await runCustomerEdge(kind);
  console.log(`
 ${style('bold', `${NAMES[kind]} ends mutual TLS on a custom domain: a certificate-bound token works for its owner and for nobody else`)}

 Authorization server   ${story.issuer}, found by discovery
 Token over mutual TLS  ${story.tokenEndpoint}, from mtls_endpoint_aliases`);
  printAnswers(story.answers);
  printHeading('What the route saw of the owner');
  console.log(` ${wrap(story.body, ' ')}`);
  answers.push(...story.answers);
}
if (answers.length > 0) printVerdict(answers);
else process.exitCode = 1;
