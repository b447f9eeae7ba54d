// Whether signals that nobody holds still abort for those who listen, on a runtime that collects its garbage in between. Prints how
// many of ten were heard, on revokeKey; and how many of ten that nobody listens to were left.
import { type Access, protectedResource } from '@holdfast/core/fetch';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';

interface Globals {
  readonly gc?: () => void;
  readonly Bun?: { gc(force: boolean): void };
}

const { gc, Bun } = globalThis as Globals;
const collect = gc ?? (() => Bun?.gc(true));

const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
const jwk = { ...(await exportJWK(publicKey)), alg: 'ES256' };
const [issuer, audience] = ['https://as.example', 'https://api.example'];
const resource = protectedResource({ issuer, audience, keys: { jwks: { keys: [jwk] } }, unconstrained: 'accept' });
const token = await new SignJWT({})
  .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
  .setIssuer(issuer)
  .setAudience(audience)
  .setIssuedAt()
  .setExpirationTime('1 hour')
  .sign(privateKey);

async function access(): Promise<Access> {
  const result = await resource.verify({
    method: 'GET',
    target: '/',
    fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
    connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
  });
  if (!result.granted) throw new Error(result.rejection.rejected);
  return result;
}

let heard = 0;
const left: WeakRef<AbortSignal>[] = [];
for (let i = 0; i < 10; i += 1) {
  (await access()).signal.addEventListener('abort', () => void (heard += 1));
  left.push(new WeakRef((await access()).signal));
}
for (let i = 0; i < 10; i += 1) {
  collect();
  await new Promise((resolve) => setTimeout(resolve, 10));
}
const kept = left.filter((reference) => reference.deref() !== undefined).length;
resource.revokeKey(await calculateJwkThumbprint(jwk));
console.log(JSON.stringify({ heard, kept: kept > 1 ? 'some' : 'none' }));
