import { PROOF_ALGORITHMS } from '@holdfast/core/diagnosis';
import { about, type Finding } from '../findings.ts';
import { adviceOn } from '../issuer-fetch.ts';
import { bare, listed, quoted } from '../visible.ts';
import type { DoctorOptions, Examination } from './examine.ts';
import { keyFindings } from './key-findings.ts';

/** Everything worth saying about an issuer. */
export function findingsOf(options: DoctorOptions, seen: Examination): readonly Finding[] {
  const { metadata } = seen;
  return [
    ...discoveryFindings(options, seen),
    ...(metadata === undefined ? [] : bindingFindings(metadata)),
    ...keyFindings(options, seen),
    ...(metadata === undefined ? [] : introspectionFindings(metadata)),
    ...clockFindings(seen),
    ...providerFindings(seen),
  ];
}

function discoveryFindings({ issuer, audience }: DoctorOptions, { locations, metadata, exchanges }: Examination): Finding[] {
  const say = about('Discovery');
  const findings = locations.map(({ url, found, why }): Finding => {
    const taken = locations.find((one) => one.found === 'metadata')?.url === url;
    if (found === 'metadata') return say('ok', taken ? `${url} is what Holdfast reads.` : `${url} would do as well.`);
    if (found === 'untried') return say('note', `${url} was not tried: the server did not answer before.`);
    const { code, location } = exchanges.find((one) => one.url === url) ?? {};
    const redirect = location === undefined ? '' : ` It redirects to ${quoted(location)}: redirects are not followed.`;
    const advice = adviceOn(code);
    const text = `${why ?? url}.${redirect}${advice === undefined ? '' : ` ${advice}`}`;
    return say(found === 'unanswered' ? 'unclear' : 'note', text);
  });
  if (metadata === undefined && !locations.some(({ found }) => found === 'unanswered')) {
    const others = locations.flatMap((one) => (typeof one.issuer === 'string' && one.issuer !== issuer ? [one.issuer] : []));
    findings.push(
      say(
        'wrong',
        others[0] === undefined
          ? 'No metadata can be used, so Holdfast cannot start: check the issuer, or name the keys yourself: keys: { uri: … }.'
          : `The server calls itself ${quoted(others[0])}, and identifiers are compared character by character, with a final slash or without. If that is what iss of its tokens says, it is the issuer to configure.`,
      ),
    );
  }
  const resources = metadata?.['protected_resources'];
  if (audience !== undefined && Array.isArray(resources) && !resources.includes(audience)) {
    findings.push(
      say(
        'wrong',
        `The server lists the resources that it issues tokens for (protected_resources), and ${quoted(audience)} is not among them.`,
      ),
    );
  }
  return findings;
}

function bindingFindings(metadata: Readonly<Record<string, unknown>>): Finding[] {
  const say = about('Bound tokens');
  const findings: Finding[] = [];
  const isBound = metadata['tls_client_certificate_bound_access_tokens'] === true;
  const methods = stringsIn(metadata['token_endpoint_auth_methods_supported']).filter((method) => method.endsWith('tls_client_auth'));
  const aliases = metadata['mtls_endpoint_aliases'];
  const algorithms = stringsIn(metadata['dpop_signing_alg_values_supported']);
  const common = algorithms.filter((alg) => PROOF_ALGORITHMS.includes(alg));
  findings.push(
    isBound
      ? say('ok', 'It issues certificate-bound tokens (tls_client_certificate_bound_access_tokens).')
      : say('note', 'It does not say that it issues certificate-bound tokens (tls_client_certificate_bound_access_tokens).'),
  );
  if (isBound || methods.length > 0) {
    findings.push(
      methods.length > 0
        ? say('ok', `Clients can authenticate by their certificate: ${listed(methods)}.`)
        : say(
            'note',
            'No client authenticates by its certificate (token_endpoint_auth_methods_supported); it is bound to tokens all the same (RFC 8705 §4).',
          ),
    );
    const names = typeof aliases === 'object' && aliases !== null ? Object.entries(aliases) : [];
    findings.push(
      names.length > 0
        ? say(
            'ok',
            `Clients with a certificate go elsewhere (mtls_endpoint_aliases): ${names
              .slice(0, 12)
              .map(([name, url]) => `${bare(name)} ${quoted(url)}`)
              .join(', ')}.`,
          )
        : say('note', 'There are no mtls_endpoint_aliases: the endpoints themselves have to ask for certificates.'),
    );
  }
  if (algorithms.length === 0)
    findings.push(say('note', 'It does not say that it issues DPoP-bound tokens (dpop_signing_alg_values_supported).'));
  else if (common.length > 0)
    findings.push(say('ok', `It issues DPoP-bound tokens; of its algorithms for proofs Holdfast accepts ${common.join(', ')}.`));
  else
    findings.push(
      say(
        'wrong',
        `It issues DPoP-bound tokens, by proofs that Holdfast does not accept by default: ${listed(algorithms)}. RS256 can be added: dpop: { algorithms: […] }.`,
      ),
    );
  if (!isBound && common.length === 0) {
    findings.push(
      say(
        'wrong',
        "By its metadata it issues bearer tokens alone, which Holdfast refuses (cnf.absent). Turn on DPoP or certificate-bound tokens there. If it issues them without saying so, that is all right; to begin without, there is unconstrained: 'accept'.",
      ),
    );
  }
  return findings;
}

function introspectionFindings(metadata: Readonly<Record<string, unknown>>): Finding[] {
  const say = about('Introspection');
  const endpoint = metadata['introspection_endpoint'];
  if (endpoint === undefined) return [say('note', 'There is no introspection_endpoint: tokens have to be JWTs.')];
  const methods = introspectionMethods(metadata);
  return [
    say('ok', `${quoted(endpoint)}, for tokens that are no JWT, and to notice revocation: introspection: { … }.`),
    methods.length > 0
      ? say('note', `An API can authenticate there by ${methods.join(', ')}.`)
      : say('note', 'It does not say how an API authenticates there (introspection_endpoint_auth_methods_supported).'),
  ];
}

const METHODS = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth', 'client_secret_basic', 'client_secret_post'];

/** Of those that Holdfast knows, the stronger first. */
export function introspectionMethods(metadata: Readonly<Record<string, unknown>>): readonly string[] {
  const named = metadata['introspection_endpoint_auth_methods_supported'] ?? metadata['token_endpoint_auth_methods_supported'];
  const methods = stringsIn(named);
  return METHODS.filter((method) => methods.includes(method));
}

/** Seconds that Holdfast tolerates by default. */
const TOLERANCE = 5;

function clockFindings({ clock, exchanges }: Examination): Finding[] {
  const say = about('Clock');
  if (clock === undefined) {
    const answered = exchanges.some(({ status }) => status !== undefined);
    return answered ? [say('unclear', 'The server sends no Date, or a cache answered, so the clocks could not be compared.')] : [];
  }
  const { least, most } = clock;
  if (least <= TOLERANCE && most >= -TOLERANCE)
    return [
      say(
        'ok',
        least <= 0 && most >= 0
          ? 'The clocks agree.'
          : `The clocks are ${seconds(least > 0 ? least : -most)} apart; ${TOLERANCE} s are tolerated.`,
      ),
    ];
  const [ahead, effect] =
    least > 0
      ? [`${seconds(least)} ahead of`, 'fresh tokens are refused as not valid yet (iat, nbf)']
      : [`${seconds(-most)} behind`, 'tokens are taken for expired that are not'];
  return [
    say(
      'wrong',
      `The clock of the server is ${ahead} that of this machine: ${effect}. Correct the one that is wrong; clockTolerance, 5 s by default, goes up to 60.`,
    ),
  ];
}

function seconds(value: number): string {
  return `${Math.ceil(value)} s`;
}

function providerFindings({ provider, metadata }: Examination): Finding[] {
  const say = about('Provider');
  if (provider === undefined && metadata === undefined) return [];
  if (provider === undefined)
    return [say('note', 'The product was not recognised. If its tokens are not as RFC 9068 says (typ at+jwt), name it with provider.')];
  return [say('note', `It looks like ${provider.provider}, by ${provider.by}: a guess, which you have to confirm.`)];
}

export function stringsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string').slice(0, 100) : [];
}
