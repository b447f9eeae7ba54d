import { exportJWK, generateKeyPair, SignJWT } from 'jose';
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

/** `count` certificate-bound tokens of about 1.2 kB, RS256 as most providers sign, all for one client certificate. */
export async function createScene(issuer: string, count: number): Promise<Scene> {
  const pki = await createPki();
  const client = await pki.client('bench');
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const audience = 'https://api.example.com';
  const sign = (index: number): Promise<string> =>
    new SignJWT({
      client_id: 'bench',
      scope: 'accounts:read accounts:write payments:read',
      permissions: Array.from({ length: 16 }, (_, i) => `permission-${i}:read`),
      cnf: { 'x5t#S256': client.thumbprint },
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
    tokens: await Promise.all(Array.from({ length: count }, (_, index) => sign(index))),
  };
}
