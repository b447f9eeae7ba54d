import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { UsageError } from '../arguments.ts';
import { type Command, type Given, NOT_RUN } from '../command.ts';
import type { Terminal } from '../terminal.ts';
import { type Identity, impostorOf } from './impostor.ts';
import { plannedRequests, type ProbeOptions, type Report, runProbe } from './probe.ts';
import { jsonOf, printReport } from './report.ts';
import { hostOf } from './request.ts';

/** What the exit code says. */
const EXIT: Readonly<Record<Report['outcome'], number>> = { closed: 0, open: 1, unclear: 2 };

/** What a request takes where a round trip takes a tenth of a second: TCP, TLS, HTTP, and some time in the server. */
const USUAL_SECONDS = 0.4;
const LEAST_SECONDS = 120;

/** Further names of a certificate that is too large for the buffers of some edges: 18 KB. */
const MANY_NAMES = 700;

/** `holdfast probe`: what no parser can find, whether the edge lets the fields of clients through. */
export const probe: Command = {
  name: 'probe',
  summary:
    'Attacks a deployed API with a certificate-bound token of yours, as a thief of the token would who forges the fields in which an edge hands on certificates, and prints what was refused and what got in.',
  usage: '<url> --token-file <file> --cert <file> --key <file> [options]',
  options: {
    'token-file': {
      value: 'file',
      text: 'The access token, bound to the certificate; - reads it from standard input. It is never taken from the command line.',
    },
    cert: { value: 'file', text: "The owner's certificate, PEM, followed by its intermediates." },
    key: { value: 'file', text: 'Its private key, PEM. It never leaves this machine.' },
    ca: { value: 'file', text: 'The authorities to trust for the server, PEM, in place of the usual ones.' },
    header: {
      value: 'name',
      several: true,
      text: 'The field to spoof, in every format; may be given several times. By default all fields that edges are known to use, as they write them.',
    },
    'other-cert': {
      value: 'file',
      text: 'A second client that the edge knows, PEM, for edges that admit certificates of one authority only. By default one is made that signs itself.',
    },
    'other-key': { value: 'file', text: 'Its private key, PEM.' },
    direct: { value: 'url', text: 'The address of the API behind the edge, to be tried around it; http is allowed here.' },
    method: { value: 'method', text: 'The method of all requests. By default GET.' },
    'max-requests': {
      value: 'number',
      text: 'Not more requests than these. By default twice as many as are planned: some 200 with a small certificate, 1000 with a large one.',
    },
    'max-seconds': { value: 'seconds', text: 'Not longer than this. By default a second for each planned request, and 120 at least.' },
    timeout: { value: 'seconds', text: 'For one request. By default 10.' },
    json: { text: 'Prints the report as JSON.' },
    yes: { short: 'y', text: 'Does not ask before it goes to a host that is not this machine.' },
  },
  notes: [
    'The URL has to answer the owner with 2xx, and to ask for the token. The token is sent there (and to --direct) and nowhere else, and is never printed. Redirects are not followed.',
    'Exit code: 0 every attack was refused; 1 something got in; 2 it could not be told, for instance because the owner itself is refused; 3 nothing was done.',
    'Example: holdfast probe https://api.example.com/accounts --token-file token.txt --cert client.crt --key client.key',
  ],
  async run(given, terminal) {
    const { options, hosts } = await read(given, terminal);
    const strangers = hosts.filter((url) => !isLoopback(hostOf(url)));
    // Where standard input was the token, there is nothing left to answer with.
    const ask = given.value('token-file') === '-' ? undefined : terminal.ask;
    if (strangers.length > 0 && !given.flag('yes') && !(await confirmed(strangers, options, { ...terminal, ask }))) return NOT_RUN;
    const report = await runProbe(options, (title) => terminal.err(`${title} …`));
    if (given.flag('json')) terminal.out(jsonOf(options.url, report));
    else printReport(options.url, report, terminal);
    return EXIT[report.outcome];
  },
};

async function confirmed(urls: readonly URL[], options: ProbeOptions, { ask, err }: Terminal): Promise<boolean> {
  const requests = Math.min(plannedRequests(options), options.maxRequests);
  const minutes = Math.ceil(Math.min(requests * USUAL_SECONDS, options.maxTime / 1000) / 60);
  const where = urls.map(({ host }) => host).join(' and ');
  if (ask === undefined) {
    throw new UsageError(`${where} is not this machine, and nobody is here to be asked. If you may attack it, say so with --yes.`);
  }
  const answer = await ask(
    `About ${requests} requests, one after the other, that carry the access token and attack ${where}: ` +
      `${minutes} min or less where it is no more than 100 ms away. Do you own it, or may you do this? [y/N] `,
  );
  if (/^y(?:es)?$/i.test(answer.trim())) return true;
  err('Nothing was sent.');
  return false;
}

async function read(given: Given, terminal: Terminal): Promise<{ readonly options: ProbeOptions; readonly hosts: readonly URL[] }> {
  const [address, ...more] = given.positionals;
  if (address === undefined || more.length > 0) throw new UsageError('Give one URL, of something that the owner of the token may read.');
  const url = readUrl(address, ['https:']);
  const direct = given.value('direct');
  const directUrl = direct === undefined ? undefined : readUrl(direct, ['https:', 'http:']);
  const owner = await readIdentity(given, 'cert', 'key');
  if (owner === undefined) throw new UsageError("Give the owner's certificate and its key: --cert and --key.");
  const token = await readToken(given, terminal, owner);
  const ca = given.value('ca');
  const other = await readIdentity(given, 'other-cert', 'other-key');
  if (other?.certificate.fingerprint256 === owner.certificate.fingerprint256) {
    throw new UsageError('--other-cert is the certificate of the owner: give that of another client.');
  }
  const fields = readFields(given);
  const planned = plannedRequests({ fields, owner, direct: directUrl });
  const options: ProbeOptions = {
    url,
    direct: directUrl,
    method: readPattern(given, 'method', 'GET', /^[A-Z]{1,20}$/, 'a method in capitals, as GET'),
    token,
    owner,
    impostor: other ?? (await impostorOf(owner.certificate)),
    largeImpostor: await impostorOf(owner.certificate, MANY_NAMES),
    ca: ca === undefined ? undefined : await readText(ca, '--ca'),
    fields,
    maxRequests: readNumber(given, 'max-requests', 2 * planned),
    maxTime: readNumber(given, 'max-seconds', Math.max(planned, LEAST_SECONDS)) * 1000,
    timeout: readNumber(given, 'timeout', 10) * 1000,
  };
  return { options, hosts: [url, ...(directUrl === undefined ? [] : [directUrl])] };
}

function readUrl(text: string, protocols: readonly string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isUsable = url !== undefined && protocols.includes(url.protocol) && url.username === '' && url.password === '';
  if (isUsable) return url;
  throw new UsageError(
    `The address has to be a URL that begins with ${protocols.map((one) => `${one}//`).join(' or ')}, without a user in it.`,
  );
}

async function readIdentity(given: Given, certName: string, keyName: string): Promise<Identity | undefined> {
  const [certPath, keyPath] = [given.value(certName), given.value(keyName)];
  if (certPath === undefined && keyPath === undefined) return undefined;
  if (certPath === undefined || keyPath === undefined) throw new UsageError(`--${certName} and --${keyName} belong together: give both.`);
  const [cert, key] = [await readText(certPath, `--${certName}`), await readText(keyPath, `--${keyName}`)];
  const certificate = attempt(() => new X509Certificate(cert));
  if (certificate === undefined) throw new UsageError(`--${certName}: ${certPath} does not begin with a certificate in PEM.`);
  const privateKey = attempt(() => createPrivateKey(key));
  if (privateKey === undefined)
    throw new UsageError(`--${keyName}: ${keyPath} is not a private key in PEM, or it is encrypted: decrypt it first.`);
  if (!certificate.checkPrivateKey(privateKey))
    throw new UsageError(`--${keyName}: ${keyPath} is not the key of the certificate in ${certPath}.`);
  return { cert, key, certificate };
}

async function readToken(given: Given, terminal: Terminal, { certificate }: Identity): Promise<string> {
  const path = given.value('token-file');
  if (path === undefined) throw new UsageError('Say where the token is: --token-file <file>, or - for standard input.');
  const token = (path === '-' ? await terminal.input() : await readText(path, '--token-file')).trim();
  if (!/^[\w.~+/-]+=*$/.test(token))
    throw new UsageError('--token-file: what is there is not an access token (RFC 6750 §2.1), on one line and nothing else.');
  const claims = claimsOf(token);
  if (claims === undefined) return token; // opaque: the answers will tell
  const { cnf, exp } = claims;
  const bound = typeof cnf === 'object' && cnf !== null && 'x5t#S256' in cnf ? cnf['x5t#S256'] : undefined;
  if (bound === undefined)
    throw new UsageError('The token is not bound to a certificate (it has no cnf with x5t#S256): there is nothing to probe.');
  const thumbprint = createHash('sha256').update(certificate.raw).digest('base64url');
  if (bound !== thumbprint) throw new UsageError('The token is bound to another certificate than that of --cert.');
  if (typeof exp === 'number' && exp <= Date.now() / 1000) throw new UsageError('The token has expired: get a new one.');
  return token;
}

/** The claims, unverified; undefined where it is no JWT that can be read. */
function claimsOf(token: string): { readonly cnf?: unknown; readonly exp?: unknown } | undefined {
  const [, payload, signature, ...more] = token.split('.');
  if (payload === undefined || signature === undefined || more.length > 0) return undefined;
  const claims: unknown = attempt((): unknown => JSON.parse(Buffer.from(payload, 'base64url').toString()));
  return typeof claims === 'object' && claims !== null ? claims : undefined;
}

function readFields(given: Given): readonly string[] {
  const names = given.values('header');
  const wrong = names.find((name) => !/^[\w!#$%&'*+.^`|~-]{1,100}$/.test(name));
  if (wrong !== undefined) throw new UsageError('--header: give the name of a field alone, as X-SSL-Cert.');
  return [...new Set(names)];
}

function readNumber(given: Given, name: string, preset: number): number {
  return Number(readPattern(given, name, String(preset), /^[1-9]\d{0,5}$/, 'a whole number from 1 on'));
}

function readPattern(given: Given, name: string, preset: string, pattern: RegExp, what: string): string {
  const text = given.value(name) ?? preset;
  if (!pattern.test(text)) throw new UsageError(`--${name}: give ${what}.`);
  return text;
}

async function readText(path: string, option: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new UsageError(`${option}: the file cannot be read (${code}): ${path}`);
  }
}

function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

/** Whether a host is this machine, by its name or address alone: what a name resolves to may change. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
