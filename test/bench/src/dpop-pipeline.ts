// What a whole DPoP request costs in the pipeline, against the one thing that cannot be spared: verifying the signature.
// Warm token, warm key, replay store in memory, ES256; every proof is used once. CPU time, medians of interleaved rounds.
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign, verify } from 'node:crypto';
import { type ProtectedResourceRequest, protectedResource } from '@holdfast/core';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';

const ROUNDS = 15;
const PROOFS = 2_000;
const ISSUER = 'https://as.example.com';
const ORIGIN = 'https://api.example.com';
const TARGET = '/accounts/17/transactions';

interface Signed {
  readonly proof: string;
  readonly input: Buffer;
  readonly signature: Buffer;
}

function premake(count: number, privateKey: KeyObject, jwk: object, token: string): Signed[] {
  const header = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk })).toString('base64url');
  const ath = createHash('sha256').update(token).digest('base64url');
  return Array.from({ length: count }, () => {
    const claims = { jti: randomUUID(), htm: 'GET', htu: ORIGIN + TARGET, iat: Math.floor(Date.now() / 1000), ath };
    const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
    const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    const der = sign('sha256', Buffer.from(input), privateKey);
    return { proof: `${input}.${signature.toString('base64url')}`, input: Buffer.from(input), signature: der };
  });
}

/** All on one connection that is kept alive. */
const connection = { peer: { kind: 'unknown' as const }, peerCertificate: () => undefined };

function requestOf(token: string, proof: string): ProtectedResourceRequest {
  const lines: Record<string, readonly string[]> = { authorization: [`DPoP ${token}`], dpop: [proof] };
  return {
    method: 'GET',
    target: TARGET,
    fieldLines: (name) => lines[name] ?? [],
    connection,
  };
}

/** CPU microseconds of each of a number of operations. */
async function cost(count: number, operate: (i: number) => unknown): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < count; i += 1) await operate(i);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwk = publicKey.export({ format: 'jwk' });
const signer = await generateKeyPair('ES256', { extractable: true });
const issuerKey = { ...(await exportJWK(signer.publicKey)), kid: 'bench', alg: 'ES256' };
const token = await new SignJWT({ client_id: 'bench', scope: 'accounts:read', cnf: { jkt: await calculateJwkThumbprint(jwk) } })
  .setProtectedHeader({ alg: 'ES256', kid: 'bench', typ: 'at+jwt' })
  .setIssuer(ISSUER)
  .setAudience(ORIGIN)
  .setSubject('user')
  .setExpirationTime('2h')
  .sign(signer.privateKey);
const resource = protectedResource({ issuer: ISSUER, audience: ORIGIN, keys: { jwks: { keys: [issuerKey] } } });

const bare: number[] = [];
const whole: number[] = [];
const ratios: number[] = [];
for (let round = -2; round < ROUNDS; round += 1) {
  const signed = premake(PROOFS, privateKey, jwk, token);
  const requests = signed.map(({ proof }) => requestOf(token, proof));
  const one = await cost(PROOFS, (i) => verify('sha256', signed[i]?.input ?? Buffer.of(), publicKey, signed[i]?.signature ?? Buffer.of()));
  let refused = 0;
  const all = await cost(PROOFS, async (i) => {
    const request = requests[i];
    if (request !== undefined && !(await resource.verify(request)).granted) refused += 1;
  });
  if (refused > 0) throw new Error(`${refused} proofs were refused`);
  if (round < 0) continue;
  bare.push(one);
  whole.push(all);
  ratios.push(all / one);
}
console.log(`Node ${process.version}, ES256, ${ROUNDS} rounds of ${PROOFS} proofs, CPU, medians`);
console.log(`bare crypto.verify ${median(bare).toFixed(1)} µs, the whole pipeline ${median(whole).toFixed(1)} µs`);
console.log(`the whole pipeline / bare crypto.verify: ${median(ratios).toFixed(2)} (aim: at most 1.40)`);
