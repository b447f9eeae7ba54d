import { isSecureUrl } from '@holdfast/core/diagnosis';
import { UsageError } from '../arguments.ts';
import type { Command, Given } from '../command.ts';
import { EXIT, type Finding, type Outcome, outcomeOf, printFindings, printHeading, printLines } from '../findings.ts';
import { readAuthorities } from '../input.ts';
import { styled, type Terminal } from '../terminal.ts';
import { visible, visibleJson } from '../visible.ts';
import { configurationOf } from './configuration.ts';
import { type DoctorOptions, examine, type Examination } from './examine.ts';
import { findingsOf } from './findings.ts';
import { kindOf, member } from './key-findings.ts';

const SENTENCES: Readonly<Record<Outcome, string>> = {
  well: 'Nothing stands in the way.',
  wrong: 'There is something to correct: ✗.',
  unclear: 'Not everything could be told: ?.',
};

/** `holdfast doctor`: what Holdfast sees of an issuer. */
export const doctor: Command = {
  name: 'doctor',
  summary:
    'Examines an authorization server as a protected resource sees it: where its metadata is, whether it issues bound tokens, which of its keys count, whether the clocks agree; and prints what to configure.',
  usage: '<issuer> [options]',
  options: {
    ca: { value: 'file', text: 'Further authorities to trust for the server, PEM.' },
    audience: { value: 'audience', text: 'The identifier of your API, for the configuration that is printed.' },
    timeout: { value: 'seconds', text: 'For one document. By default 5, at most 60.' },
    json: { text: 'Prints the report as JSON.' },
  },
  notes: [
    'The issuer is what iss of its tokens says, character by character: an https URL (http only on this machine). Its metadata and its keys are fetched, without credentials, and nothing else; redirects are not followed.',
    'Exit code: 0 all is well; 1 there is something to correct; 2 it could not be told, or nothing was done.',
    'Example: holdfast doctor https://as.example.com --audience https://api.example.com',
  ],
  notRun: EXIT.unclear,
  async run(given, terminal) {
    const options = await read(given, terminal);
    const seen = await examine(options);
    const findings = findingsOf(options, seen);
    const outcome = outcomeOf(findings);
    const configuration = configurationOf(options, seen);
    if (given.flag('json')) terminal.out(visibleJson(reportOf(options, seen, findings, configuration)));
    else print(options, findings, configuration, terminal);
    return EXIT[outcome];
  },
};

async function read(given: Given, terminal: Terminal): Promise<DoctorOptions> {
  const [issuer, ...more] = given.positionals;
  if (issuer === undefined || more.length > 0) throw new UsageError('Give one issuer, as https://as.example.com.');
  const wellKnown = /^(.*?)\/\.well-known\/(?:openid-configuration|oauth-authorization-server)(.*)$/.exec(issuer);
  if (wellKnown !== null) {
    throw new UsageError(
      `That is the address of the metadata. Give the issuer alone: ${visible(`${wellKnown[1] ?? ''}${wellKnown[2] ?? ''}`)}`,
    );
  }
  if (!isSecureUrl(issuer) || /[?#]/.test(issuer)) {
    throw new UsageError('The issuer has to be an https URL (http only on the loopback interface), without user, query and fragment.');
  }
  const ca = given.value('ca');
  const timeout = given.value('timeout') ?? '5';
  if (!/^(?:[1-9]|[1-5]\d|60)$/.test(timeout)) throw new UsageError('--timeout: give whole seconds from 1 to 60.');
  return {
    issuer,
    audience: given.value('audience'),
    ca: ca === undefined ? undefined : await readAuthorities(ca, terminal),
    timeout: Number(timeout),
  };
}

function print({ issuer }: DoctorOptions, findings: readonly Finding[], configuration: readonly string[], terminal: Terminal): void {
  terminal.out(`\n ${styled(terminal, 'bold', visible(issuer))}`);
  printFindings(findings, terminal);
  if (configuration.length > 0) {
    printHeading('To configure', terminal);
    printLines(configuration, terminal);
  }
  const outcome = outcomeOf(findings);
  terminal.out(
    `\n ${styled(terminal, [outcome === 'well' ? 'green' : outcome === 'wrong' ? 'red' : 'yellow', 'bold'], SENTENCES[outcome])}\n`,
  );
}

/** The report for programs. Its shape is stable: members are added, never changed. */
function reportOf(
  { issuer }: DoctorOptions,
  { locations, metadata, keys, clock, provider }: Examination,
  findings: readonly Finding[],
  configuration: readonly string[],
): object {
  const shown = [
    'jwks_uri',
    'tls_client_certificate_bound_access_tokens',
    'dpop_signing_alg_values_supported',
    'mtls_endpoint_aliases',
    'token_endpoint_auth_methods_supported',
    'introspection_endpoint',
    'introspection_endpoint_auth_methods_supported',
    'protected_resources',
  ];
  return {
    issuer,
    outcome: outcomeOf(findings),
    locations: locations.map(({ url, found, why }) => ({ url, found, why })),
    metadata: metadata && Object.fromEntries(shown.flatMap((name) => (name in metadata ? [[name, metadata[name]]] : []))),
    keys: keys?.map(({ jwk, thumbprint, algorithms, unusable }) => ({
      ...kindOf(jwk),
      kid: member(jwk, 'kid'),
      alg: member(jwk, 'alg'),
      use: member(jwk, 'use'),
      thumbprint,
      algorithms,
      unusable,
    })),
    clock,
    provider,
    findings,
    configuration: configuration.length === 0 ? undefined : configuration.join('\n'),
  };
}
