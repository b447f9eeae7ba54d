import { PROVIDERS, type ProviderName } from '@holdfast/core';
import { ALGORITHMS, isSecureUrl, notAnAccessToken, PROVIDER_NAMES, typeOf } from '@holdfast/core/diagnosis';
import { recognise } from '../doctor/recognise.ts';
import { about, type Finding } from '../findings.ts';
import { listed, quoted } from '../visible.ts';
import type { Members } from './decode.ts';
import type { Material } from './material.ts';
import { timeFindings } from './time-findings.ts';
import type { Verdict } from './verdict.ts';

const say = about('Access token');

/** Characters of a token that are read. */
const LONGEST_TOKEN = 16_384;

/** What the token says, compared with what a resource accepts; each by itself, whatever else is wrong. */
export function tokenFindings(material: Material, verdict: Verdict): readonly Finding[] {
  const { token, decoded, now } = material;
  const tooLong =
    token.length > LONGEST_TOKEN ? [say('wrong', `It has ${token.length} characters, and at most ${LONGEST_TOKEN} are read.`)] : [];
  switch (decoded.kind) {
    case 'opaque':
      return [
        ...tooLong,
        say(
          'unclear',
          'It is no JWT, so nothing in it can be read here. Its server knows what it is for and to whom it is bound: introspection (RFC 7662).',
        ),
      ];
    case 'jwe':
      return [
        ...tooLong,
        say(
          'unclear',
          `It is encrypted (JWE, alg ${quoted(decoded.header?.['alg'])}, enc ${quoted(decoded.header?.['enc'])}): only who has the key can read it. Without one, the resource refuses it.`,
        ),
      ];
    case 'jws': {
      const { header, claims } = decoded;
      return [
        ...tooLong,
        ...(header === undefined
          ? [say('wrong', 'Its first segment is no JSON object in base64url.')]
          : headerFindings(header, claims ?? {}, material)),
        ...(claims === undefined
          ? [say('wrong', 'Its second segment is no JSON object in base64url.')]
          : [...issuerFindings(claims, material), ...audienceFindings(claims, material), ...timeFindings(claims, now)]),
        signatureFinding(material, verdict),
      ];
    }
  }
}

function headerFindings(header: Members, claims: Members, { provider }: Material): Finding[] {
  const { alg, typ } = header;
  const findings: Finding[] = [];
  if (typeof alg === 'string' && ALGORITHMS.includes(alg)) findings.push(say('ok', `alg ${alg} is accepted.`));
  else if (typeof alg === 'string' && /^none$/i.test(alg)) findings.push(say('wrong', 'alg none: nobody signed it.'));
  else if (typeof alg === 'string' && /^HS/i.test(alg))
    findings.push(
      say('wrong', `alg ${quoted(alg)} is symmetric: whoever can verify such a token can make one. Have the server sign with a key pair.`),
    );
  else findings.push(say('wrong', `alg is ${quoted(alg)}; accepted are ${ALGORITHMS.join(', ')}.`));
  if ('crit' in header) findings.push(say('wrong', `crit lists ${quoted(header['crit'])}: no extension is understood (RFC 7515 §4.1.11).`));
  const type = typeOf(typ);
  const shape = provider === undefined ? undefined : PROVIDERS[provider];
  const accepted = shape?.types ?? ['at+jwt'];
  const isAccepted = type !== undefined && accepted.includes(type);
  const shown = typ === undefined ? 'There is no typ' : `typ is ${quoted(typ)}`;
  if (isAccepted) findings.push(say('ok', `${shown}, which is accepted${provider === undefined ? '' : ` of ${provider}`}.`));
  else findings.push(say('wrong', `${shown}; an access token has at+jwt (RFC 9068 §2.1)${advice(claims, type, provider)}.`));
  const looks = idTokenSigns(claims);
  if (looks.length > 0 && type !== 'at+jwt')
    findings.push(say('wrong', `It looks like an ID token: it has ${looks.join(', ')}. Those are for the client, and no API takes them.`));
  else if (!isAccepted && ['client_id', 'scope', 'scp', 'azp', 'cid'].every((name) => claims[name] === undefined))
    findings.push(
      say('wrong', 'Nothing in it is as in an access token, neither client_id nor scope: it may be an ID token, which no API takes.'),
    );
  const another = isAccepted && shape !== undefined ? notAnAccessToken(type, claims, shape) : undefined;
  if (another !== undefined) {
    findings.push(
      say(
        'wrong',
        `Nothing shows that it is an access token${another.expected === undefined ? '' : `: of ${provider ?? ''} one has ${another.expected}`}${another.received === undefined ? '' : `: it has ${another.received}`}.`,
      ),
    );
  }
  return findings;
}

/** Claims that ID tokens have (OpenID Connect Core §2, §3.3.2.11), or that say so. */
function idTokenSigns({ nonce, at_hash, c_hash, s_hash, token_use: use, typ, purpose }: Members): readonly string[] {
  const claims = Object.entries({ nonce, at_hash, c_hash, s_hash }).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  const words = Object.entries({ token_use: use, typ, purpose }).flatMap(([name, value]) =>
    typeof value === 'string' && /^id(?:_token)?$/i.test(value) ? [`${name} ${value}`] : [],
  );
  return [...claims, ...words];
}

/** Which provider, if it were named, would make the type of this token acceptable. */
function advice(claims: Members, type: string | undefined, named: ProviderName | undefined): string {
  const { iss } = claims;
  const fits = (name: ProviderName): boolean =>
    type !== undefined && PROVIDERS[name].types.includes(type) && notAnAccessToken(type, claims, PROVIDERS[name]) === undefined;
  const guess = typeof iss === 'string' && isSecureUrl(iss) ? recognise(iss)?.provider : undefined;
  if (guess !== undefined && guess !== named && fits(guess))
    return `. Its issuer looks like ${guess}: with provider: '${guess}' it would be taken`;
  const names = PROVIDER_NAMES.filter((name) => name !== named && fits(name));
  return names.length === 0 ? '' : `. With the name of its provider it may be taken: it looks as of ${names.join(', ')}`;
}

function issuerFindings({ iss }: Members, { issuers }: Material): Finding[] {
  if (typeof iss !== 'string') return [say('wrong', 'There is no iss, so it is of no issuer.')];
  if (issuers.length === 0) {
    const isIssuer = isSecureUrl(iss) && !/[?#]/.test(iss);
    return [
      isIssuer
        ? say('note', `iss is ${quoted(iss)}.`)
        : say('wrong', `iss is ${quoted(iss)}, and an issuer is an https URL without query and fragment.`),
    ];
  }
  if (issuers.includes(iss)) return [say('ok', `iss is ${quoted(iss)}, as configured.`)];
  return [say('wrong', `iss is ${quoted(iss)}, and was expected to be ${issuers.map(quoted).join(' or ')}.${nearMiss(iss, issuers)}`)];
}

function audienceFindings({ aud, client_id: client, azp }: Members, { audiences, provider }: Material): Finding[] {
  const named = [aud ?? []].flat().filter((one): one is string => typeof one === 'string');
  const shown = listed(named);
  if (named.length === 0) {
    if (provider !== undefined && PROVIDERS[provider].audience === 'client')
      return [say('note', `There is no aud, as with ${provider}: the resource has to list the client ${quoted(client)} in clientIds.`)];
    return [say('wrong', 'There is no aud: it says for no resource that it is for it.')];
  }
  const isForClient = named.every((one) => one === client || one === azp);
  const hint = isForClient ? ' That is its client: an ID token, or a server that has to be told which API the token is for.' : '';
  if (audiences.length === 0)
    return [say('unclear', `aud is ${shown}. Whether that is your API was not compared: give --audience.${hint}`)];
  if (named.some((one) => audiences.includes(one))) return [say('ok', `aud is ${shown}, as configured.`)];
  return [
    say(
      'wrong',
      `aud is ${shown}, and was expected to contain ${audiences.map(quoted).join(' or ')}.${nearMiss(named[0] ?? '', audiences)}${hint}`,
    ),
  ];
}

/** Where two identifiers differ in what people overlook. */
function nearMiss(found: string, expected: readonly string[]): string {
  for (const one of expected) {
    if (found.replace(/\/$/, '') === one.replace(/\/$/, ''))
      return ' They differ in the final slash alone, and are compared character by character.';
    if (found.toLowerCase() === one.toLowerCase())
      return ' They differ in upper and lower case alone, and are compared character by character.';
    if (found.replace(/^https?:/, '') === one.replace(/^https?:/, '')) return ' They differ in http and https.';
  }
  return '';
}

function signatureFinding({ issuers }: Material, { signature }: Verdict): Finding {
  switch (signature) {
    case 'verified':
      return say('ok', 'The signature is by a key of the issuer.');
    case 'wrong':
      return say('wrong', 'The signature is by no key of the issuer: the token was changed, or somebody else made it.');
    case 'unchecked':
      return say(
        'unclear',
        issuers.length === 0
          ? 'The signature was not checked, and nothing was fetched: give --issuer to check it with the keys of the issuer.'
          : 'The signature was not checked: something stood in the way before, see the verdict.',
      );
  }
}
