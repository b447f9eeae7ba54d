import { createHash } from 'node:crypto';
import { about, type Finding } from '../findings.ts';
import { listed, quoted } from '../visible.ts';
import { isMembers, type Members } from './decode.ts';
import type { GivenCertificate, Material } from './material.ts';
import { isDate } from './time-findings.ts';

const say = about('Binding');
const MEMBERS = ['x5t#S256', 'jkt'] as const;

/** To whom the token says that it is bound, and whether what was presented is that. */
export function bindingFindings(material: Material): readonly Finding[] {
  const { claims } = material.decoded;
  if (claims === undefined) return [];
  const topLevel = MEMBERS.filter((name) => name in claims);
  const findings = topLevel.map((name) =>
    say(
      material.provider === 'janssen' ? 'note' : 'wrong',
      `${name} is a claim of its own and not a member of cnf. Janssen writes it so: provider: 'janssen'. Of others it is refused, and never read as unbound.`,
    ),
  );
  const { cnf } = claims;
  if (cnf === undefined) {
    if (topLevel.length > 0) return [...findings, ...certificateFindings(claims['x5t#S256'], material)];
    return [
      say(
        'wrong',
        'It has no cnf: it is bound to nobody, and whoever has it can use it. The server has to issue bound tokens: to this client, for this resource.',
      ),
    ];
  }
  if (!isMembers(cnf)) return [...findings, say('wrong', `cnf is ${quoted(cnf)}, and has to be an object (RFC 7800 §3.1).`)];
  const understood = MEMBERS.filter((name) => name in cnf);
  if (understood.length === 0) {
    const names = listed(Object.keys(cnf));
    findings.push(
      say(
        'wrong',
        `cnf has ${names === '' ? 'no members' : `only ${names}`}, and what can be confirmed is x5t#S256 and jkt.${unknownMember(cnf)}`,
      ),
    );
  }
  for (const name of understood) findings.push(...spellingFindings(name, cnf[name]));
  findings.push(...schemeFindings(understood.includes('jkt'), material));
  if (understood.includes('x5t#S256')) findings.push(...certificateFindings(cnf['x5t#S256'], material));
  else if (material.certificates.length > 0)
    findings.push(say('note', 'It is bound to no certificate, so that of --cert does not matter.'));
  return findings;
}

function unknownMember(cnf: Members): string {
  if ('x5t' in cnf) return ' x5t is a hash by SHA-1, which is no binding under RFC 8705.';
  if ('jwk' in cnf || 'jwe' in cnf || 'kid' in cnf)
    return ' jwk, jwe and kid (RFC 7800) need a proof that HTTP has no common form for; DPoP has jkt.';
  return '';
}

function spellingFindings(name: string, value: unknown): Finding[] {
  if (typeof value !== 'string') return [say('wrong', `cnf ${name} is ${quoted(value)}, and has to be a text of 43 characters.`)];
  if (isThumbprint(value)) return [say('ok', `It is bound to ${name === 'jkt' ? 'a DPoP key' : 'a certificate'}: cnf ${name} ${value}`)];
  const { octets, spelling } = readThumbprint(value);
  if (octets === undefined) return [say('wrong', `cnf ${name} is ${quoted(value)}: no SHA-256 in base64url, which has 43 characters.`)];
  return [
    say(
      'wrong',
      `cnf ${name} is written ${spelling}: ${quoted(value)}. RFC 8705 §3.1 and RFC 9449 §6.1 want base64url without padding, which is ${octets}. The server has to be corrected.`,
    ),
  ];
}

function isThumbprint(text: string): boolean {
  return /^[\w-]{43}$/.test(text);
}

/** The octets of a thumbprint in any spelling that servers have been seen to use, as base64url. */
function readThumbprint(text: string): { readonly octets?: string; readonly spelling?: string } {
  const hex = text.replaceAll(':', '');
  if (/^[0-9a-f]{64}$/i.test(hex)) return { octets: Buffer.from(hex, 'hex').toString('base64url'), spelling: 'in hexadecimal' };
  const bytes = Buffer.from(text, 'base64url');
  if (!/^[\w+/-]+=*$/.test(text)) return {};
  if (bytes.length === 32) return { octets: bytes.toString('base64url'), spelling: 'in base64, with padding or with + and /' };
  const inner = bytes.toString('latin1');
  if (/^[0-9a-f]{64}$/i.test(inner))
    return { octets: Buffer.from(inner, 'hex').toString('base64url'), spelling: 'in base64url of hexadecimal' };
  return {};
}

function schemeFindings(isDpop: boolean, { scheme, proof }: Material): Finding[] {
  if (isDpop && scheme === 'Bearer')
    return [
      say(
        'wrong',
        'It is bound to a DPoP key (jkt) and presented as Bearer: the client has to send Authorization: DPoP, and a proof. With --proof it is inspected as that.',
      ),
    ];
  if (isDpop && proof === undefined) return [say('wrong', 'It is presented as DPoP without a proof: give --proof.')];
  if (!isDpop && scheme === 'DPoP')
    return [say('wrong', 'It is presented as DPoP, and bound to no DPoP key (jkt): the client did not prove one when it got the token.')];
  return [];
}

function certificateFindings(bound: unknown, { certificates, decoded }: Material): Finding[] {
  if (typeof bound !== 'string') return [];
  const expected = isThumbprint(bound) ? bound : readThumbprint(bound).octets;
  const [presented] = certificates;
  if (presented === undefined)
    return [say('wrong', 'It is bound to a certificate, and none was presented: give that of the client with --cert.')];
  const { certificate } = presented;
  const found = thumbprintOf(certificate.raw);
  const findings = [...datesOf(presented)];
  if (found === expected) {
    const isSpelt = expected === bound;
    return [
      say(
        isSpelt ? 'ok' : 'note',
        isSpelt ? 'The certificate is the one that it is bound to.' : 'It is the hash of this certificate: only the spelling is wrong.',
      ),
      ...findings,
    ];
  }
  findings.unshift(
    say('wrong', `The certificate is another one. Expected ${expected ?? quoted(bound)}, found ${found}: ${described(presented)}.`),
  );
  findings.push(otherCertificate(expected, presented, certificates, decoded.claims?.['iat']));
  return findings;
}

/** The most likely reason why it is another certificate, as far as that can be known. */
function otherCertificate(
  expected: string | undefined,
  presented: GivenCertificate,
  all: readonly GivenCertificate[],
  iat: unknown,
): Finding {
  const bound = all.find(({ certificate }) => thumbprintOf(certificate.raw) === expected);
  if (bound !== undefined) {
    const [key, other] = [spkiOf(bound), spkiOf(presented)];
    const isSameKey = key !== undefined && other !== undefined && key.equals(other);
    const isChain = bound.place.split(',')[0] === presented.place.split(',')[0];
    if (isSameKey)
      return say(
        'wrong',
        `The token is bound to ${bound.place}, over the same key: the certificate was renewed. The binding is to the certificate, not to its key, so the client has to get a new token with the new one.`,
      );
    return say(
      'wrong',
      isChain
        ? `The token is bound to ${bound.place}: another of the same file. The server hashed an authority, or the file is in the wrong order.`
        : `The token is bound to ${bound.place}, with another key: it is another client's, or the client has changed its key and has to get a new token.`,
    );
  }
  const { certificate, pem } = presented;
  const others: readonly (readonly [string, string | Buffer])[] = [
    ['its public key (SPKI), as pins of HTTP once were', spkiOf(presented) ?? ''],
    ['its PEM text', pem],
    ['its PEM text with a line end', `${pem}\n`],
    ['the base64 inside its PEM', certificate.raw.toString('base64')],
  ];
  const mistaken = others.find(([, hashed]) => thumbprintOf(hashed) === expected);
  if (mistaken !== undefined)
    return say(
      'wrong',
      `What the token has is the hash of ${mistaken[0]}, and not of the certificate in DER (RFC 8705 §3.1): the server has to be corrected.`,
    );
  const begins = Date.parse(certificate.validFrom) / 1000;
  if (isDate(iat) && begins > iat)
    return say(
      'note',
      'The certificate is younger than the token: most likely it was renewed, and the client has to get a new token with it, even where the key is the same.',
    );
  return say(
    'note',
    'Whether both are over the same key cannot be told, for the token holds a hash alone. Give the former certificate as a second --cert, and the keys are compared.',
  );
}

function datesOf({ certificate }: GivenCertificate): Finding[] {
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  if (Date.now() > to)
    return [say('note', `It expired on ${new Date(to).toISOString()}. That matters only with certificatePolicy (RFC 8705 §6.2).`)];
  if (Date.now() < from)
    return [say('note', `It is valid from ${new Date(from).toISOString()} on. That matters only with certificatePolicy.`)];
  return [];
}

function described({ certificate, place }: GivenCertificate): string {
  return `${place}, ${quoted(certificate.subject.replaceAll('\n', ', '))}, serial number ${quoted(certificate.serialNumber)}`;
}

/** The public key, where Node knows its kind. */
function spkiOf({ certificate }: GivenCertificate): Buffer | undefined {
  try {
    return certificate.publicKey.export({ type: 'spki', format: 'der' });
  } catch {
    return undefined;
  }
}

/** SHA-256 as base64url. */
export function thumbprintOf(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('base64url');
}
