import type { JWK } from 'jose';
import { type DecryptionOptions, KEY_MANAGEMENT } from '../access-token/decrypt.ts';
import { type Check, isObject } from '../check.ts';

/** How encrypted access tokens are read. */
export interface DecryptionSettings {
  /**
   * One to four private JWKs with `alg`: RSA-OAEP, RSA-OAEP-256, -384, -512, ECDH-ES, or ECDH-ES with A128KW, A192KW or A256KW; with
   * `kid`, a key is used only for tokens that name it. To rotate, have both for a while.
   */
  readonly keys: readonly JWK[];
  /** Refuse JWTs that are not encrypted: where encryption was agreed with the issuer (RFC 9068 §4). */
  readonly required?: boolean;
}

const MOST_KEYS = 4;

/** `undefined` where encrypted tokens are refused. */
export function readDecryption(check: Check, value: unknown): DecryptionOptions | undefined {
  if (value === undefined) return undefined;
  const { keys, required } = check.object('decryption', value, { keys: true, required: true });
  const list: readonly unknown[] = Array.isArray(keys) ? keys : [];
  const copies = list.flatMap((key) => (isDecryptionKey(key) ? [{ ...key }] : []));
  if (copies.length === 0 || copies.length !== list.length || copies.length > MOST_KEYS) {
    check.wrongKind('decryption.keys', keys, `Give one to ${MOST_KEYS} private JWKs with alg, one of ${KEY_MANAGEMENT.join(', ')}`);
  }
  return { keys: copies, required: check.flag('decryption.required', required) };
}

function isDecryptionKey(value: unknown): value is JWK {
  return isObject(value) && typeof value['d'] === 'string' && typeof value['alg'] === 'string' && KEY_MANAGEMENT.includes(value['alg']);
}
