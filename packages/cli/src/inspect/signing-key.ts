import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';

/** A key that is made for one inspection, and forgotten. */
interface SigningKey {
  readonly publicJwk: object;
  /** The same header and claims, signed by this key. */
  readonly sign: (compact: string) => string;
}

/** A key for this `alg` (RFC 7518 §3.1), or any where that is none that a resource accepts. */
export function signingKey(alg: unknown): SigningKey {
  const name = typeof alg === 'string' ? alg : '';
  const digest = /^(?:ES|PS|RS)(256|384|512)$/.exec(name)?.[1];
  const curve = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[name] ?? 'P-256';
  const { publicKey, privateKey } = /^[PR]S/.test(name)
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : name.startsWith('Ed')
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: curve });
  return {
    publicJwk: publicKey.export({ format: 'jwk' }),
    sign(compact) {
      const signed = compact.slice(0, compact.lastIndexOf('.'));
      return `${signed}.${signatureOf(signed, digest, name, privateKey)}`;
    },
  };
}

function signatureOf(signed: string, digest: string | undefined, alg: string, key: KeyObject): string {
  const padding = alg.startsWith('PS') ? { padding: 6, saltLength: Number(digest) / 8 } : {};
  const bytes = sign(digest === undefined ? null : `sha${digest}`, Buffer.from(signed, 'latin1'), {
    key,
    dsaEncoding: 'ieee-p1363',
    ...padding,
  });
  return bytes.toString('base64url');
}
