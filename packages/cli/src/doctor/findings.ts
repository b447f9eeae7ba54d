import { type KeyOfSet, PROOF_ALGORITHMS } from '@holdfast/core/diagnosis';
import type { Finding, Mark } from '../findings.ts';
import { adviceOn } from '../issuer-fetch.ts';
import { quoted } from '../visible.ts';
import type { DoctorOptions, Examination } from './examine.ts';

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

const about =
  (topic: string) =>
  (mark: Mark, text: string): Finding => ({ topic, mark, text });

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
        ? say('ok', `Clients can authenticate by their certificate: ${methods.map(shown).join(', ')}.`)
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
            `Clients with a certificate go elsewhere (mtls_endpoint_aliases): ${names.map(([name, url]) => `${shown(name)} ${quoted(url)}`).join(', ')}.`,
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
        `It issues DPoP-bound tokens, by proofs that Holdfast does not accept by default: ${algorithms.map(shown).join(', ')}. RS256 can be added: dpop: { algorithms: […] }.`,
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

function keyFindings({ issuer }: DoctorOptions, { keys, keysFailure, metadata, exchanges }: Examination): Finding[] {
  const say = about('Keys');
  const uri = metadata?.['jwks_uri'];
  if (typeof uri !== 'string') return [];
  const findings: Finding[] = [];
  if (new URL(uri).origin !== new URL(issuer).origin)
    findings.push(say('note', `They come from another host than the issuer: ${quoted(uri)}.`));
  if (keys === undefined) {
    const { code, status } = exchanges.find((one) => one.url === uri) ?? {};
    const advice = adviceOn(code);
    return [
      ...findings,
      say(status === undefined ? 'unclear' : 'wrong', `${keysFailure ?? uri}.${advice === undefined ? '' : ` ${advice}`}`),
    ];
  }
  for (const key of keys) findings.push(keyFinding(key, say));
  const usable = keys.filter(({ unusable }) => unusable === undefined);
  if (usable.length === 0) findings.push(say('wrong', 'With none of its keys tokens can be verified: every token would be refused.'));
  const kids = usable.map(({ jwk }) => member(jwk, 'kid'));
  if (kids.length > 1 && kids.includes(undefined)) findings.push(say('note', 'A key has no kid: tokens have to be tried with several.'));
  if (new Set(kids).size < kids.length && !kids.includes(undefined))
    findings.push(say('note', 'Several keys have the same kid: tokens have to be tried with each.'));
  return findings;
}

function keyFinding({ jwk, unusable, algorithms, thumbprint }: KeyOfSet, say: (mark: Mark, text: string) => Finding): Finding {
  const { kty, size } = kindOf(jwk);
  const kid = member(jwk, 'kid');
  const name = `${kty}${size}, ${kid === undefined ? 'no kid' : `kid ${quoted(kid)}`}, alg ${quotedOr(jwk, 'alg')}, use ${quotedOr(jwk, 'use')}`;
  if (unusable === undefined)
    return say('ok', `${name}: verifies ${algorithms.join(', ')}. Its thumbprint, for revokeKey: ${thumbprint ?? ''}`);
  const isSecret = member(jwk, 'd') !== undefined || member(jwk, 'k') !== undefined;
  return say(isSecret ? 'wrong' : 'note', `${name}: not used, since ${unusable}.`);
}

/** What a key is, without its octets. */
export function kindOf(jwk: unknown): { readonly kty: string; readonly size: string } {
  const n = member(jwk, 'n');
  const crv = member(jwk, 'crv');
  const bits = typeof n === 'string' ? ` ${Buffer.from(n, 'base64url').length * 8} bits` : '';
  return { kty: shown(member(jwk, 'kty') ?? 'no kty'), size: typeof crv === 'string' ? ` ${shown(crv)}` : bits };
}

/** A member of something that may be anything. */
export function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
}

function quotedOr(jwk: unknown, name: string): string {
  const value = member(jwk, name);
  return value === undefined ? '-' : quoted(value);
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

function providerFindings({ provider }: Examination): Finding[] {
  const say = about('Provider');
  if (provider === undefined)
    return [say('note', 'The product was not recognised. If its tokens are not as RFC 9068 says (typ at+jwt), name it with provider.')];
  return [say('note', `It looks like ${provider.provider}, by ${provider.by}: a guess, which you have to confirm.`)];
}

export function stringsIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((one) => typeof one === 'string').slice(0, 100) : [];
}

/** A word that others wrote, without the quotation marks. */
function shown(value: unknown): string {
  const text = quoted(value);
  return typeof value === 'string' ? text.replace(/^"|"$/g, '') : text;
}
