import { compactDecrypt, type CryptoKey, decodeProtectedHeader, importJWK, type JWK } from 'jose';
import { reject, type Rejection } from '../rejection.ts';
import { typeOf } from './shape.ts';

export interface DecryptionOptions {
  /** Private keys with `alg`. */
  readonly keys: readonly JWK[];
  /** Whether a JWT that is not encrypted is refused. */
  readonly required: boolean;
}

/** `alg` of JWEs that are read: to a public key of ours. By password, or with a key that others have as well, anybody can encrypt. */
export const KEY_MANAGEMENT: readonly string[] = [
  'RSA-OAEP',
  'RSA-OAEP-256',
  'RSA-OAEP-384',
  'RSA-OAEP-512',
  'ECDH-ES',
  'ECDH-ES+A128KW',
  'ECDH-ES+A192KW',
  'ECDH-ES+A256KW',
];
const CONTENT_ENCRYPTION = ['A128GCM', 'A192GCM', 'A256GCM', 'A128CBC-HS256', 'A192CBC-HS384', 'A256CBC-HS512'];

/** Reads encrypted access tokens. */
export interface Decrypt {
  /** The JWS inside a JWE (nested JWT, RFC 7519 §5.2). Says nothing of who wrote it: anybody can encrypt to a public key. */
  (compact: string): Promise<string | Rejection>;
  readonly required: boolean;
  /** Resolves when the keys can be used. */
  ready(): Promise<void>;
}

/** Decrypts JWEs by keys of ours. Only what says that it holds a JWT is read; compressed content is not, nor are critical extensions. */
export function decryption({ keys, required }: DecryptionOptions): Decrypt {
  const imported = keys.map(({ kid, alg = '', ...jwk }) => ({ kid, alg, key: importKey(jwk, alg) }));
  const decrypt = async (compact: string): Promise<string | Rejection> => {
    const header = headerOf(compact);
    const isRead =
      header !== undefined && !('zip' in header) && !('crit' in header) && ['jwt', 'at+jwt'].includes(typeOf(header.cty) ?? '');
    if (!isRead) return reject('token.decryption');
    for (const { kid, alg, key } of imported) {
      if (alg !== header.alg || (kid !== undefined && header.kid !== undefined && kid !== header.kid)) continue;
      const options = { keyManagementAlgorithms: [alg], contentEncryptionAlgorithms: CONTENT_ENCRYPTION };
      const opened = await key.then((known) => compactDecrypt(compact, known, options)).catch(() => undefined);
      if (opened !== undefined) return textOf(opened.plaintext) ?? reject('token.malformed', { detail: 'UTF-8' });
    }
    return reject('token.decryption');
  };
  const ready = async (): Promise<void> => {
    await Promise.all(imported.map(({ key }) => key));
  };
  return Object.assign(decrypt, { required, ready });
}

function importKey(jwk: JWK, alg: string): Promise<CryptoKey | Uint8Array> {
  const key = importJWK(jwk, alg).catch(() => {
    // The message of the cause may hold anything.
    throw new Error(`decryption.keys: a key for ${alg} is not a usable private key`);
  });
  // Told by ready(); a token for it cannot be decrypted.
  key.catch(() => {});
  return key;
}

function headerOf(compact: string): ReturnType<typeof decodeProtectedHeader> | undefined {
  try {
    return decodeProtectedHeader(compact);
  } catch {
    return undefined;
  }
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
