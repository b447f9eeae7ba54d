// npm run demo: runs the main job and prints it as a table.
import { printAnswers, printHeading, printVerdict, style, wrap } from './report.ts';

const HEADINGS: Record<number, string> = {
  1: 'The owner of the token',
  2: 'Thieves',
  4: 'Bound to the certificate, not to its key',
  5: 'Resumed TLS sessions',
  6: 'Tokens that are not what they seem',
  7: 'Tokens that are bound to nobody',
  8: 'Confirmations',
  9: 'Too little scope',
};

console.log(style('dim', 'Starting an authorization server (oidc-provider, which prints warnings of its own) and an API …'));
const { runMainJob } = await import('./main-job.ts');
const { discovery, attempts } = await runMainJob();

console.log(`
 ${style('bold', 'Holdfast: a certificate-bound token works for its owner and for nobody else')}

 Authorization server   ${discovery.issuer}, found by discovery
 Token over mutual TLS  ${discovery.tokenEndpoint}, from mtls_endpoint_aliases
 Revocation             ${discovery.revocationEndpoint}, the plain endpoint: it has no alias`);

let heading = '';
const answers = attempts.map(({ step, title, expected, status, challenges, reason }) => {
  heading = HEADINGS[step] ?? heading;
  return { heading, step: String(step), title, expected: String(expected), answer: String(status), challenges, reason };
});
printAnswers(answers);
printHeading('What the route saw of the owner');
console.log(` ${wrap(attempts[0]?.body ?? '', ' ')}`);
printVerdict(answers);
