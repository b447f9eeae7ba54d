// npm run demo: runs the main job and prints it as a table.
import { styleText } from 'node:util';

const isTerminal = process.stdout.isTTY;
const width = Math.min(Math.max(process.stdout.columns ?? 110, 96), 120);
const titleWidth = width - 42;

function style(format: Parameters<typeof styleText>[0], text: string): string {
  return isTerminal ? styleText(format, text) : text;
}

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

/** Text in lines of the width, all but the first behind the indent. */
function wrap(text: string, indent: string): string {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && indent.length + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines.join(`\n${indent}`);
}

console.log(style('dim', 'Starting an authorization server (oidc-provider, which prints warnings of its own) and an API …'));
const { runMainJob } = await import('./main-job.js');
const { discovery, attempts } = await runMainJob();

console.log(`
 ${style('bold', 'Holdfast: a certificate-bound token works for its owner and for nobody else')}

 Authorization server   ${discovery.issuer}, found by discovery
 Token over mutual TLS  ${discovery.tokenEndpoint}, from mtls_endpoint_aliases
 Revocation             ${discovery.revocationEndpoint}, the plain endpoint: it has no alias`);

// The same challenges come back many times: each answer's are printed once, in full, under a letter.
const answers = [...new Set(attempts.map(({ challenges }) => challenges.join('\n')))].filter((lines) => lines !== '');
const letter = (lines: string): string => (lines === '' ? '' : `[${String.fromCharCode(97 + answers.indexOf(lines))}]`);

let heading = '';
for (const { step, title, expected, status, challenges, reason } of attempts) {
  const next = HEADINGS[step] ?? heading;
  if (next !== heading) console.log(`\n ${style('bold', next)}\n ${style('dim', '─'.repeat(width - 2))}`);
  heading = next;
  const answer = `${status} ${letter(challenges.join('\n'))}`.padEnd(8);
  const colour = status < 300 ? 'green' : 'yellow';
  const verdict = status === expected ? style('green', '✓') : style(['red', 'bold'], `✗ ${expected} was expected`);
  console.log(` ${step}  ${title.padEnd(titleWidth)} ${style(colour, answer)} ${verdict} ${style('dim', reason ?? '')}`);
}

console.log(`\n ${style('bold', 'WWW-Authenticate, in full')}\n ${style('dim', '─'.repeat(width - 2))}`);
for (const lines of answers) {
  const wrapped = lines.split('\n').map((line) => wrap(line, '       '));
  console.log(` ${letter(lines)} ${wrapped.join('\n     ')}`);
}
console.log(
  `\n ${style('bold', 'What the route saw of the owner')}\n ${style('dim', '─'.repeat(width - 2))}\n ${wrap(attempts[0]?.body ?? '', ' ')}`,
);

const wrong = attempts.filter(({ status, expected }) => status !== expected).length;
console.log(
  wrong === 0
    ? style(['green', 'bold'], `\n All ${attempts.length} answers are as they should be.\n`)
    : style(['red', 'bold'], `\n ${wrong} of ${attempts.length} answers are wrong.\n`),
);
process.exitCode = wrong === 0 ? 0 : 1;
