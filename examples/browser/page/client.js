// The client: a public OAuth client that is a web page. Authorization code with PKCE (RFC 7636), DPoP (RFC 9449).
import * as oauth from 'oauth4webapi';

/** @typedef {{ url: string, response: Response }} Exchange */

/** The key pair of this origin: made once, non-extractable, and kept in IndexedDB, so that a reload keeps it. */
export async function keyPair() {
  /** @type {IDBDatabase} */
  const database = await promise(
    Object.assign(indexedDB.open('client', 1), {
      /** @param {any} event */
      onupgradeneeded: (event) => event.target.result.createObjectStore('keys'),
    }),
  );
  const keys = () => database.transaction('keys', 'readwrite').objectStore('keys');
  try {
    /** @type {CryptoKeyPair | undefined} */
    const kept = await promise(keys().get('dpop'));
    if (kept !== undefined) return kept;
    const made = await oauth.generateKeyPair('ES256', { extractable: false });
    await promise(keys().put(made, 'dpop'));
    return made;
  } finally {
    database.close();
  }
}

/**
 * @param {{ issuer: string, api: string, clientId: string }} config
 * @param {(exchange: Exchange) => Promise<void>} watch is told of every exchange that carries a proof
 */
export async function createClient({ issuer, api, clientId }, watch) {
  /** @type {oauth.Client} */
  const client = { client_id: clientId };
  const redirectUri = new URL('/', location.href).href;
  const DPoP = oauth.DPoP(client, await keyPair());
  const options = {
    DPoP,
    /** @param {string} url @param {any} init */
    [oauth.customFetch]: async (url, init) => {
      const response = await fetch(url, init);
      if (new Headers(init.headers).has('dpop')) await watch({ url, response: response.clone() });
      return response;
    },
  };
  const as = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer)));

  return {
    thumbprint: await DPoP.calculateThumbprint(),

    /** Sends the user to the authorization server. The page is gone afterwards; what must last is kept until it comes back. */
    async signIn() {
      const verifier = oauth.generateRandomCodeVerifier();
      const state = oauth.generateRandomState();
      sessionStorage.setItem('sign-in', JSON.stringify({ verifier, state }));
      const url = new URL(as.authorization_endpoint ?? '');
      url.search = new URLSearchParams({
        response_type: 'code',
        client_id: clientId,
        redirect_uri: redirectUri,
        scope: 'accounts:read',
        resource: api,
        state,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        dpop_jkt: await DPoP.calculateThumbprint(),
      }).toString();
      location.assign(url);
    },

    /** Whether the authorization server has sent the user back to `url`. Throws where it is not this sign-in that has ended. @param {URL} url */
    codeIn(url) {
      const kept = sessionStorage.getItem('sign-in');
      if (kept === null || !(url.searchParams.has('code') || url.searchParams.has('error'))) return undefined;
      sessionStorage.removeItem('sign-in');
      const { verifier, state } = JSON.parse(kept);
      return { verifier, parameters: oauth.validateAuthResponse(as, client, url, state) };
    },

    /** An access token for the code. @param {{ verifier: string, parameters: URLSearchParams }} code */
    redeem({ verifier, parameters }) {
      return followingNonce(async () => {
        const none = oauth.None();
        const response = await oauth.authorizationCodeGrantRequest(as, client, none, parameters, redirectUri, verifier, options);
        const { access_token: token, token_type: type } = await oauth.processAuthorizationCodeResponse(as, client, response);
        return { token, type };
      });
    },

    /** Calls the API. @param {string} token */
    call(token) {
      const target = new URL('/accounts', api);
      return followingNonce(() => oauth.protectedResourceRequest(token, 'GET', target, undefined, undefined, options));
    },
  };
}

/**
 * Once more where only the nonce was missing: by now the handle knows it (RFC 9449 §8, §9).
 * @template T
 * @param {() => Promise<T>} request
 */
async function followingNonce(request) {
  try {
    return await request();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return request();
  }
}

/** @param {IDBRequest} request @returns {Promise<any>} */
function promise(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener('success', () => resolve(request.result));
    request.addEventListener('error', () => reject(request.error ?? new Error('IndexedDB failed.')));
  });
}
