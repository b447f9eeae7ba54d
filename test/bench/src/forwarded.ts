// What it costs to find the thumbprint of a certificate that an edge hands on: the first time that a value comes, and from then on.
// Trust by address and secret. Every value is a string of its own, as it comes from the parser. CPU time, medians of rounds.
import { generateKeyPairSync, webcrypto } from 'node:crypto';
import { type ForwardedFormat, fromForwardedField, isRejection, type ProtectedResourceRequest } from '@holdfast/core';
import { CLIENT_AUTH, type Issued, issue } from '@holdfast/test-support/authority';

const ROUNDS = 15;
const CERTIFICATES = 200;
const REPEATS = 50;
const SECRET = 'the-secret-of-the-edge-in-the-benchmark';

const FORMATS: readonly (readonly [format: ForwardedFormat, write: (issued: Issued) => string])[] = [
  ['percent-encoded-pem', ({ pem }) => encodeURIComponent(pem)],
  ['pem', ({ pem }) => pem.trim().replaceAll('\n', ' ')],
  ['byte-sequence', ({ der }) => `:${Buffer.from(der).toString('base64')}:`],
  ['base64-der', ({ der }) => Buffer.from(der).toString('base64')],
  [
    { xfcc: { elements: 1, element: 0 } },
    ({ thumbprint, pem }) => `Hash=${Buffer.from(thumbprint, 'base64url').toString('hex')};Cert="${encodeURIComponent(pem)}"`,
  ],
];

const connection = { peer: { kind: 'ip' as const, address: '10.1.2.3' }, peerCertificate: () => undefined };

function requestOf(value: string): ProtectedResourceRequest {
  const lines: Record<string, readonly string[]> = { 'x-cert': [value], 'edge-secret': [SECRET] };
  return { method: 'GET', target: '/', fieldLines: (name) => lines[name] ?? [], connection };
}

/** The same text in a string that nothing is known of yet. */
function fresh(text: string): string {
  return Buffer.from(text, 'latin1').toString('latin1');
}

function cost(requests: readonly ProtectedResourceRequest[], source: (request: ProtectedResourceRequest) => unknown): number {
  const before = process.cpuUsage();
  for (const request of requests) {
    const found = source(request);
    if (typeof found !== 'object' || found === null || isRejection(found)) throw new Error('no certificate was found');
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / requests.length;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function certificates(keys: webcrypto.CryptoKeyPair): Promise<Issued[]> {
  const now = Math.floor(Date.now() / 1000);
  const saying = { subject: 'client', notBefore: now, notAfter: now + 3600, usages: 'signatures', purposes: [CLIENT_AUTH], keys } as const;
  const list: Issued[] = [];
  for (let i = 0; i < CERTIFICATES; i += 1) list.push(await issue(saying));
  return list;
}

async function rsaKeys(): Promise<webcrypto.CryptoKeyPair> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 4096 });
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const { subtle } = webcrypto;
  return {
    privateKey: await subtle.importKey('pkcs8', privateKey.export({ type: 'pkcs8', format: 'der' }), algorithm, true, ['sign']),
    publicKey: await subtle.importKey('spki', publicKey.export({ type: 'spki', format: 'der' }), algorithm, true, ['verify']),
  };
}

const kinds: Readonly<Record<string, readonly Issued[]>> = {
  'P-256': await certificates(await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])),
  'RSA-4096': await certificates(await rsaKeys()),
};

const table: Record<string, Record<string, number>> = {};
for (const [kind, list] of Object.entries(kinds)) {
  for (const [format, write] of FORMATS) {
    const values = list.map(write);
    const first: number[] = [];
    const cached: number[] = [];
    for (let round = -3; round < ROUNDS; round += 1) {
      const source = fromForwardedField({
        field: 'X-Cert',
        format,
        trust: { peers: ['10.1.2.3'], secret: { field: 'Edge-Secret', values: [SECRET] } },
      });
      const once = cost(
        values.map((value) => requestOf(fresh(value))),
        source,
      );
      const requests = Array.from({ length: REPEATS }, () => values.map((value) => requestOf(fresh(value)))).flat();
      const again = cost(requests, source);
      if (round < 0) continue;
      first.push(once);
      cached.push(again);
    }
    const name = typeof format === 'string' ? format : 'xfcc';
    table[`${kind} ${name}`] = {
      characters: Math.round(median(values.map(({ length }) => length))),
      'first, µs': Number(median(first).toFixed(1)),
      'then, µs': Number(median(cached).toFixed(2)),
    };
  }
}
console.log(`Node ${process.version}, ${CERTIFICATES} certificates, ${ROUNDS} rounds, CPU, medians`);
console.table(table);
