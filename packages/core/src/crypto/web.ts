import { hmac } from '@noble/hashes/hmac.js';
import { sha256 as digest } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import { base64url, flattenedVerify, importJWK } from 'jose';
import type * as node from './node.ts';

export { equal } from './equal.ts';

// The same as node.ts where there is no node:crypto. WebCrypto has no synchronous digest, and a token's hash, a thumbprint and
// a nonce are needed at once, so they are computed by @noble/hashes; keys and signatures are WebCrypto's, through jose.

export const sha256: typeof node.sha256 = (input) => base64url.encode(digest(typeof input === 'string' ? utf8ToBytes(input) : input));

export const sha256Octets: typeof node.sha256Octets = (text) => String.fromCharCode(...digest(utf8ToBytes(text)));

export const hmacSha256: typeof node.hmacSha256 = (secret, text) => hmac(digest, secret, utf8ToBytes(text));

export const randomSecret: typeof node.randomSecret = (length) => crypto.getRandomValues(new Uint8Array(length));

export const fromBase64url: typeof node.fromBase64url = (text) => base64url.decode(text);

export const toBase64url: typeof node.toBase64url = (bytes) => base64url.encode(bytes);

export const importKey: typeof node.importKey = async (algorithm, jwk) => {
  const key = await importJWK({ ...jwk }, algorithm).catch(() => undefined);
  if (key === undefined) return undefined;
  // The same as in node.ts: RSASSA-PSS is lenient here too. The other lengths WebCrypto checks.
  const length = jwk.kty === 'RSA' ? base64url.decode(jwk.n).length : undefined;
  return async (signed, signature) => {
    if (length !== undefined && signature.length !== length) return false;
    const dot = signed.indexOf('.');
    const jws = { protected: signed.slice(0, dot), payload: signed.slice(dot + 1), signature: base64url.encode(signature) };
    // What goes wrong here comes from the proof, and a signature that cannot be verified is not one.
    return flattenedVerify(jws, key, { algorithms: [algorithm] }).then(
      () => true,
      () => false,
    );
  };
};
