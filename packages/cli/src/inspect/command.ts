import { X509Certificate } from 'node:crypto';
import type { ProviderName, Scheme } from '@holdfast/core';
import { isSecureUrl, normaliseTargetUri, PROVIDER_NAMES } from '@holdfast/core/diagnosis';
import { UsageError } from '../arguments.ts';
import type { Command, Given } from '../command.ts';
import { EXIT } from '../findings.ts';
import { readAuthorities, readBounded } from '../input.ts';
import type { Terminal } from '../terminal.ts';
import { decode } from './decode.ts';
import type { GivenCertificate, Material } from './material.ts';
import { inspectionOf, jsonOf, printInspection } from './report.ts';

/** Bytes of a file with a token, a proof or certificates. More than any server takes, so that what is too long can be said. */
const LARGEST = 2 * 1024 * 1024;

/** `holdfast inspect`: why a token would be refused. */
export const inspect: Command = {
  name: 'inspect',
  summary:
    'Says in words whether a protected resource would accept an access token, and if not, everything that stands in the way: which thumbprint was expected and which was found, how far the clocks are apart, what is spelt wrongly.',
  usage: '[--token-file <file>] [--cert <file>] [--proof <file>] [options]',
  options: {
    'token-file': {
      value: 'file',
      text: 'The access token, or its Authorization field; by default, and with -, from standard input. It is never taken from the command line, which others see.',
    },
    cert: {
      value: 'file',
      several: true,
      text: 'The certificate that the client presents, PEM or DER, without its key. Given again: certificates to compare, as the one before it was renewed.',
    },
    proof: { value: 'file', text: 'The DPoP proof that the client sends; - reads it from standard input.' },
    method: { value: 'method', text: 'The method of the request, to be compared with the proof.' },
    url: { value: 'url', text: 'The URL of the request as clients know it, to be compared with the proof.' },
    scheme: { value: 'scheme', text: 'Bearer or DPoP. By default DPoP where there is a proof, and else Bearer.' },
    issuer: {
      value: 'url',
      several: true,
      text: 'The issuer that the resource trusts; may be given several times. Its keys are fetched, and the signature is checked. Without it nothing is fetched.',
    },
    audience: { value: 'audience', several: true, text: 'What aud has to contain; may be given several times.' },
    provider: { value: 'name', text: `The product of the issuer: ${PROVIDER_NAMES.join(', ')}. By default RFC 9068.` },
    ca: { value: 'file', text: 'Further authorities to trust for the issuer, PEM.' },
    timeout: { value: 'seconds', text: 'For one document of the issuer. By default 5, at most 60.' },
    json: { text: 'Prints the report as JSON.' },
  },
  notes: [
    'The verdict is that of a protected resource of Holdfast with these options and otherwise its defaults. The token never leaves this machine, and its signature is not printed. What it says of people is: mind who reads along.',
    'Exit code: 0 it would be accepted; 1 it would be refused; 2 it could not be told, for instance because the signature was not checked, or nothing was done.',
    'Example: holdfast inspect --token-file token.txt --cert client.crt --issuer https://as.example.com --audience https://api.example.com',
  ],
  notRun: EXIT.unclear,
  async run(given, terminal) {
    const material = await read(given, terminal);
    const inspection = await inspectionOf(material);
    if (given.flag('json')) terminal.out(jsonOf(inspection));
    else printInspection(inspection, terminal);
    return EXIT[inspection.outcome];
  },
};

async function read(given: Given, terminal: Terminal): Promise<Material> {
  if (given.positionals.length > 0) {
    throw new UsageError(
      'there are no arguments beside the options. A token belongs into a file (--token-file) or on standard input: arguments are seen by others and stay in the history of the shell.',
    );
  }
  const [tokenPath, proofPath] = [given.value('token-file') ?? '-', given.value('proof')];
  if (tokenPath === '-' && proofPath === '-')
    throw new UsageError('the token and the proof cannot both come from standard input: give one of them as a file.');
  if (tokenPath === '-' && terminal.ask !== undefined)
    terminal.err('Reading the token from standard input: paste it, then Enter and Ctrl-D.');
  const { token, scheme } = readToken(await readBounded(tokenPath, '--token-file', LARGEST, terminal));
  const proof = proofPath === undefined ? undefined : readProof(await readBounded(proofPath, '--proof', LARGEST, terminal));
  const certificates = await Promise.all(
    given.values('cert').map((path, i, { length }) => readCertificates(path, length > 1 ? `--cert ${i + 1}` : '--cert', terminal)),
  );
  const ca = given.value('ca');
  return {
    token,
    decoded: decode(token),
    scheme: readScheme(given.value('scheme')) ?? (proof === undefined ? (scheme ?? 'Bearer') : 'DPoP'),
    certificates: certificates.flat(),
    proof: proof === undefined ? undefined : { compact: proof, decoded: decode(proof) },
    method: readMatching(given, 'method', /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}$/, 'a method, as GET'),
    url: readUrls(given, 'url')[0],
    issuers: [...new Set(readUrls(given, 'issuer'))],
    audiences: given.values('audience').filter((one) => one !== ''),
    provider: readProvider(given.value('provider')),
    ca: ca === undefined ? undefined : await readAuthorities(ca, terminal),
    timeout: Number(readMatching(given, 'timeout', /^(?:[1-9]|[1-5]\d|60)$/, 'whole seconds from 1 to 60') ?? 5),
    now: Math.floor(Date.now() / 1000),
  };
}

/** A token, alone or as its field: with the name of the field, and the scheme. */
function readToken(text: string): { readonly token: string; readonly scheme: Scheme | undefined } {
  const [, scheme, token = ''] = /^(?:authorization\s*:\s*)?(?:(bearer|dpop)\s+)?(\S*)$/i.exec(text.trim()) ?? [];
  if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(token)) {
    throw new UsageError(
      text.trim() === ''
        ? 'there is no token: neither a file (--token-file) nor standard input has one.'
        : '--token-file: what is there is no access token (RFC 6750 §2.1): letters, digits and a few signs, on one line and nothing else.',
    );
  }
  return { token, scheme: scheme === undefined ? undefined : scheme.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer' };
}

function readProof(text: string): string {
  const [, proof = ''] = /^(?:dpop\s*:\s*)?(\S*)$/i.exec(text.trim()) ?? [];
  if (/^[\w.=-]+$/.test(proof)) return proof;
  throw new UsageError(
    '--proof: what is there is no DPoP proof: three segments of base64url with dots between them, on one line and nothing else.',
  );
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;
const MOST_CERTIFICATES = 20;

async function readCertificates(path: string, option: string, terminal: Terminal): Promise<readonly GivenCertificate[]> {
  if (path === '-') throw new UsageError('--cert: give a file.');
  const text = await readBounded(path, option, LARGEST, terminal);
  if (text.includes('PRIVATE KEY-----'))
    throw new UsageError(`${option}: there is a private key in that file, and it is not needed. Give the certificate alone.`);
  const blocks = text.match(BLOCK)?.slice(0, MOST_CERTIFICATES) ?? [];
  const given = blocks.length > 0 ? blocks.map((pem) => [pem, pem] as const) : [['', Buffer.from(text, 'latin1')] as const];
  return given.map(([pem, bytes], i) => {
    try {
      return { certificate: new X509Certificate(bytes), pem, place: blocks.length > 1 ? `${option}, certificate ${i + 1}` : option };
    } catch {
      throw new UsageError(`${option}: there is no certificate, or one that cannot be read. Give PEM or DER.`);
    }
  });
}

function readScheme(text: string | undefined): Scheme | undefined {
  if (text === undefined) return undefined;
  if (/^bearer$/i.test(text)) return 'Bearer';
  if (/^dpop$/i.test(text)) return 'DPoP';
  throw new UsageError('--scheme: give Bearer or DPoP.');
}

function readProvider(text: string | undefined): ProviderName | undefined {
  const provider = PROVIDER_NAMES.find((name) => name === text);
  if (text === undefined || provider !== undefined) return provider;
  throw new UsageError(`--provider: give one of ${PROVIDER_NAMES.join(', ')}.`);
}

function readUrls(given: Given, name: 'url' | 'issuer'): readonly string[] {
  const urls = given.values(name);
  if (urls.every((url) => isSecureUrl(url) && normaliseTargetUri(url) !== undefined && !(name === 'issuer' && /[?#]/.test(url))))
    return urls;
  throw new UsageError(
    `--${name}: give an https URL (http only on the loopback interface), without a user${name === 'issuer' ? ', query and fragment' : ''}.`,
  );
}

function readMatching(given: Given, name: string, pattern: RegExp, what: string): string | undefined {
  const text = given.value(name);
  if (text === undefined || pattern.test(text)) return text;
  throw new UsageError(`--${name}: give ${what}.`);
}
