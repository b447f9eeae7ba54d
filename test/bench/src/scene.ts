import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { createPki, type Identity } from '@holdfast/test-support/pki';

/** All that the server and the clients of one run share; goes to them as JSON. */
export interface Scene {
  readonly issuer: string;
  readonly audience: string;
  readonly jwk: Record<string, unknown>;
  readonly server: Pick<Identity, 'cert' | 'key'>;
  readonly client: Pick<Identity, 'cert' | 'key'>;
  readonly tokens: readonly string[];
}

/** Where the API is reached, as the clients' Host says. */
export const ORIGIN = 'https://localhost';

/** `count` tokens of about 1.2 kB, RS256 as most providers sign, all bound to one client certificate, or to one key. */
export async function createScene(issuer: string, count: number, jkt?: string): Promise<Scene> {
  const pki = await createPki();
  const client = await pki.client('bench');
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const audience = 'https://api.example.com';
  const issue = (index: number): Promise<string> =>
    new SignJWT({
      client_id: 'bench',
      scope: 'accounts:read accounts:write payments:read',
      permissions: Array.from({ length: 16 }, (_, i) => `permission-${i}:read`),
      cnf: jkt === undefined ? { 'x5t#S256': client.thumbprint } : { jkt },
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'bench', typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(`user-${index}`)
      .setJti(`token-${index}`)
      .setIssuedAt()
      .setExpirationTime('2h')
      .sign(privateKey);
  return {
    issuer,
    audience,
    jwk: { ...(await exportJWK(publicKey)), kid: 'bench', alg: 'RS256', use: 'sig' },
    server: { cert: pki.server.cert, key: pki.server.key },
    client: { cert: client.cert, key: client.key },
    tokens: await Promise.all(Array.from({ length: count }, (_, index) => issue(index))),
  };
}

/** A client's key, and proofs by it that are made before anything is measured. */
export interface ProofMaker {
  readonly jkt: string;
  /** For `GET /accounts`, each with a `jti` of its own. */
  premake(count: number, token: string): readonly string[];
}

/** ES256, as clients mostly use. */
export async function createProofMaker(): Promise<ProofMaker> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = publicKey.export({ format: 'jwk' });
  const header = Buffer.from(JSON.stringify({ typ: 'dpop+jwt', alg: 'ES256', jwk })).toString('base64url');
  return {
    jkt: await calculateJwkThumbprint(jwk),
    premake(count, token) {
      const ath = createHash('sha256').update(token).digest('base64url');
      return Array.from({ length: count }, () => {
        const claims = { jti: randomUUID(), htm: 'GET', htu: `${ORIGIN}/accounts`, iat: Math.floor(Date.now() / 1000), ath };
        const signed = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
        const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
        return `${signed}.${signature.toString('base64url')}`;
      });
    },
  };
}
