// What happens, in order, and what should come of it.

/** @typedef {{ id: string, title: string, expected: string, limit?: true }} Step */

/** @type {{ heading: string, side: 'owner' | 'thief', steps: Step[] }[]} */
export const GROUPS = [
  {
    heading: 'The client gets a token that is bound to its key',
    side: 'owner',
    steps: [
      { id: 'key', title: 'Makes an ES256 key, non-extractable, kept in IndexedDB', expected: 'made' },
      { id: 'export', title: 'Tries to export the private key itself', expected: 'InvalidAccessError' },
      { id: 'code', title: 'Authorization request: PKCE S256, dpop_jkt; the user signs in', expected: 'code' },
      { id: 'token-nonce', title: 'Token request with a DPoP proof', expected: '400' },
      { id: 'token', title: 'Token request again, with the nonce', expected: '200' },
    ],
  },
  {
    heading: 'It calls the API, at another origin',
    side: 'owner',
    steps: [
      { id: 'preflight', title: 'CORS preflight for Authorization and DPoP', expected: '204' },
      { id: 'challenged', title: 'GET /accounts with a DPoP proof', expected: '401' },
      { id: 'granted', title: 'Again, by itself, with the nonce of the challenge', expected: '200' },
      { id: 'next', title: 'The next request: another proof, the same nonce', expected: '200' },
      { id: 'reload', title: 'After a reload: the same key, out of IndexedDB', expected: '200' },
    ],
  },
  {
    heading: 'The token is copied out of the page, and used from Node',
    side: 'thief',
    steps: [
      { id: 'take-key', title: 'A script in the page tries to take the key', expected: 'InvalidAccessError' },
      { id: 'bearer', title: 'The token, as a bearer token', expected: '401' },
      { id: 'no-proof', title: 'The token, without a proof', expected: '401' },
      { id: 'other-key', title: 'A proof of the thief’s own key', expected: '401' },
      { id: 'forged', title: 'A proof that names the owner’s key, signed by the thief’s', expected: '401' },
      { id: 'replayed', title: 'A recorded proof of the owner, replayed', expected: '401' },
      { id: 'elsewhere', title: 'A proof of the owner for a URI of the thief', expected: '401' },
      { id: 'foreign-nonce', title: 'A proof of the owner with a nonce of another origin', expected: '401' },
      { id: 'tomorrow', title: 'A proof made in advance, for tomorrow', expected: '401' },
    ],
  },
  {
    heading: 'What DPoP does not stop: a script that runs in the page',
    side: 'thief',
    steps: [
      { id: 'fresh', title: 'It has the key sign a fresh proof, which the thief sends', expected: '200', limit: true },
      { id: 'fresh-again', title: 'The same proof once more', expected: '401' },
    ],
  },
];
