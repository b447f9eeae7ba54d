// The story on the page: does one step after the other, and keeps what came of it.
import { createClient, keyPair } from './client.js';
import { listenIn, sendOut, takeKey } from './injected.js';
import { offer, show } from './table.js';

/** @typedef {import('./table.js').Outcome} Outcome */

const config = await (await fetch('/config.json')).json();
/** Outcomes by step; they outlast the redirect and the reload. @type {Record<string, Outcome>} */
const outcomes = JSON.parse(sessionStorage.getItem('outcomes') ?? '{}');
/** The steps that the next exchanges with a proof belong to. @type {(string | undefined)[]} */
let ahead = [];
/** How many requests the API had when it was last asked. */
let counted = 0;

const client = await createClient(config, async ({ url, response }) => {
  const step = ahead.shift();
  const exchanges = url.startsWith(config.api) ? await newExchanges() : [];
  if (step === undefined) return;
  if (step === 'challenged') {
    const preflight = exchanges.find(({ method }) => method === 'OPTIONS');
    record('preflight', { answer: String(preflight?.status ?? 'none'), note: 'answered before Holdfast, by cors' });
  }
  record(step, {
    answer: String(response.status),
    challenges: response.headers.get('www-authenticate') ?? '',
    note: await noteOf(response),
    reason: exchanges.at(-1)?.reason,
  });
});

show(config, client.thumbprint, outcomes);
await newExchanges();
try {
  await arrive();
} catch (error) {
  offer('Start again', String(error), startAgain);
  throw error;
}

/** Goes on after the page was loaded: for the first time, by the redirect of the authorization server, or again. */
async function arrive() {
  const url = new URL(location.href);
  history.replaceState(null, '', '/');
  const code = client.codeIn(url);
  const token = sessionStorage.getItem('token');
  if (code !== undefined) {
    await getAccess(code);
    offer('Reload the page', 'The key stays where it is.', async () => location.reload());
  } else if (token === null) {
    record('key', { answer: 'made', note: `jkt ${short(client.thumbprint)}` });
    await exportKey();
    offer('Sign in', 'Any name and password will do.', () => client.signIn());
  } else {
    // The nonce is gone with the page: the API is asked for it once more.
    ahead = [undefined, 'reload'];
    await client.call(token);
    if (outcomes['fresh'] === undefined) offer('Let the token be stolen', 'By a script in this page.', () => steal(token));
    else offer('Start again', 'With another key.', startAgain);
  }
}

async function exportKey() {
  const { privateKey } = await keyPair();
  const [result] = await Promise.allSettled([crypto.subtle.exportKey('jwk', privateKey)]);
  record('export', { answer: result.status === 'rejected' ? result.reason.name : 'exported', note: 'crypto.subtle.exportKey' });
}

/** @param {{ verifier: string, parameters: URLSearchParams }} code */
async function getAccess(code) {
  record('code', { answer: 'code', note: `redirected by ${new URL(config.issuer).host}` });
  ahead = ['token-nonce', 'token'];
  const { token, type } = await client.redeem(code);
  const [, payload = ''] = token.split('.');
  const { cnf } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')));
  record('token', {
    answer: outcomes['token']?.answer ?? '',
    note: `token_type ${type === 'dpop' ? 'DPoP' : type}, cnf jkt ${short(cnf.jkt)}`,
  });
  sessionStorage.setItem('token', token);
  ahead = ['challenged', 'granted'];
  await client.call(token);
  ahead = ['next'];
  await client.call(token);
}

/** @param {string} token */
async function steal(token) {
  record('take-key', { answer: [...new Set(await takeKey())].join(', '), note: 'crypto.subtle: exportKey pkcs8, jwk; wrapKey' });
  const recorded = listenIn();
  await client.call(token);
  const attempts = await sendOut(config, token, recorded());
  const exchanges = await newExchanges();
  for (const [index, { id, status, challenges }] of attempts.entries()) {
    const note = status === 200 ? 'good for this one request' : undefined;
    record(id, { answer: String(status), challenges, note, reason: exchanges[index]?.reason });
  }
  offer('Start again', 'With another key.', startAgain);
}

async function startAgain() {
  sessionStorage.clear();
  indexedDB.deleteDatabase('client');
  location.assign('/');
}

/** @param {string} step @param {Outcome} outcome */
function record(step, outcome) {
  outcomes[step] = outcome;
  sessionStorage.setItem('outcomes', JSON.stringify(outcomes));
  show(config, client.thumbprint, outcomes);
}

/** The nonce that came with the answer, or what the route saw of the client. @param {Response} response */
async function noteOf(response) {
  const nonce = response.headers.get('dpop-nonce');
  if (nonce !== null) return `DPoP-Nonce: ${short(nonce)}`;
  const { scheme, owner, confirmations } = await response.json();
  return confirmations && `${scheme}, sub ${owner}, ${confirmations[0].member} ${short(confirmations[0].thumbprint)}`;
}

/** What the API has had since. @returns {Promise<{ method: string, status: number, reason?: string }[]>} */
async function newExchanges() {
  const exchanges = await (await fetch('/exchanges.json')).json();
  const later = exchanges.slice(counted);
  counted = exchanges.length;
  return later;
}

/** @param {string} text */
function short(text) {
  return `${text.slice(0, 12)}…`;
}
