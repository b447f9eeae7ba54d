import { createHash, createPrivateKey, KeyObject, randomUUID } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, type JWK } from 'jose';
import { generateSigningKey, rawJwt, type Sign, type SigningKeyPair } from './jwt.ts';

/** The key of a DPoP client. */
export interface DpopKey extends SigningKeyPair {
  /** The required members alone, as a proof carries them. */
  readonly publicJwk: JWK;
  /** `jkt` (RFC 9449 §6.1). */
  readonly thumbprint: string;
}

/** A new key for `alg`, by default ES256. */
export async function generateDpopKey(alg = 'ES256'): Promise<DpopKey> {
  const pair = await generateSigningKey(alg, undefined);
  const { use: _use, alg: _alg, ...publicJwk } = pair.publicJwk;
  return { ...pair, publicJwk, thumbprint: await calculateJwkThumbprint(publicJwk) };
}

/** The private key as a JWK. */
export async function privateJwkOf({ privateKey }: DpopKey): Promise<JWK> {
  return exportJWK(createPrivateKey(KeyObject.from(privateKey).export({ type: 'pkcs8', format: 'pem' })));
}

/** What a proof is of; every member of header and claims can be overridden, and is left out where it is given as undefined. */
export interface ProofOptions {
  readonly key: DpopKey;
  /** The access token that `ath` is of. */
  readonly token: string;
  readonly htm?: string;
  readonly htu?: string;
  readonly iat: number;
  readonly header?: object;
  readonly claims?: object;
  /** By default the key itself. */
  readonly signer?: Sign;
}

/** A DPoP proof (RFC 9449 §4.2). */
export function makeProof({
  key,
  token,
  htm = 'GET',
  htu = 'https://rs.example.com/r',
  iat,
  header,
  claims,
  signer = key,
}: ProofOptions): string {
  const fullHeader = { typ: 'dpop+jwt', alg: key.alg, jwk: key.publicJwk, ...header };
  const fullClaims = { jti: randomUUID(), htm, htu, iat, ath: athOf(token), ...claims };
  return rawJwt(JSON.stringify(fullHeader), JSON.stringify(fullClaims), signer);
}

/** `ath`: base64url of the SHA-256 of the access token. */
export function athOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}
