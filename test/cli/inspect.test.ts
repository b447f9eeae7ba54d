// holdfast inspect, of tokens that oidc-provider issues, that providers write, and that nobody should.
import { createHash, KeyObject } from 'node:crypto';
import { PROVIDERS, type ProviderName } from '@holdfast/core';
import { type AuthorizationServer, startAuthorizationServer } from '@holdfast/test-support/authorization-server';
import { fetchWith } from '@holdfast/test-support/clients';
import { type DpopKey, generateDpopKey, makeProof, privateJwkOf } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { base64url, rawJwt, unsignedJwt } from '@holdfast/test-support/jwt';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { API, PROVIDER_TOKENS } from '@holdfast/test-support/provider-tokens';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { build, holdfast, program, type Ran, temporaryFolder, UNSEEN } from './holdfast.ts';

interface Report {
  readonly outcome: string;
  readonly verdict: { granted: boolean; reason?: string; status?: number; expected?: string; received?: string; signature: string };
  readonly token: { kind: string; scheme: string; header?: Record<string, unknown>; claims?: Record<string, unknown> };
  readonly findings: readonly { topic: string; mark: string; text: string }[];
}

const AUDIENCE = 'https://rs.example.com';
const folder = temporaryFolder();
let pki: Pki;
let owner: Identity;
let thief: Identity;
let key: DpopKey;
let issuer: Issuer;
beforeAll(async () => {
  pki = await createPki();
  [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  key = await generateDpopKey();
  issuer = await startIssuer();
  build();
}, 120_000);
afterAll(async () => {
  await issuer.close();
  folder.remove();
});

let files = 0;
const file = (content: string | Uint8Array): string => folder.file(`file ${files++}`, content);
const now = (): number => Math.floor(Date.now() / 1000);
const bound = (identity: Identity): object => ({ cnf: { 'x5t#S256': identity.thumbprint } });
const boundToKey = (): object => ({ cnf: { jkt: key.thumbprint } });
const trusting = (): string[] => ['--issuer', issuer.url, '--audience', AUDIENCE];

async function inspect(token: string, ...args: string[]): Promise<{ ran: Ran; report: Report; wrong: string; all: string }> {
  const ran = await holdfast(['inspect', '--json', ...args], { input: token });
  expect(ran.err).toBe('');
  const report = JSON.parse(ran.out) as Report;
  const texts = (marks: RegExp): string => report.findings.flatMap(({ mark, text }) => (marks.test(mark) ? [text] : [])).join('\n');
  return { ran, report, wrong: texts(/wrong/), all: texts(/./) };
}

describe('holdfast inspect, of tokens of oidc-provider', () => {
  let as: AuthorizationServer;
  let ca: string;
  beforeAll(async () => {
    as = await startAuthorizationServer({ pki, clients: { 'mtls-ca': owner } });
    ca = file(pki.ca);
  });
  afterAll(() => as.close());

  async function request(url: string, parameters: Record<string, string>, identity?: Identity, headers: Record<string, string> = {}) {
    const fetch = fetchWith({ ca: pki.ca, ...identity });
    try {
      const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'accounts:read', ...parameters });
      const answer = (await (await fetch(url, { method: 'POST', headers, body })).json()) as { access_token: string };
      return answer.access_token;
    } finally {
      await fetch.close();
    }
  }
  const options = (): string[] => ['--issuer', as.issuer, '--ca', ca, '--audience', as.audience];

  it('accepts a certificate-bound one of its owner, with 0, and refuses it of a thief, with 1', async () => {
    const token = await request(`${as.mtlsOrigin}/token`, { client_id: 'mtls-ca' }, owner);
    const path = file(`${token}\n`);
    const accepted = await program(['inspect', '--token-file', path, '--cert', file(owner.cert), ...options()]);
    expect(accepted.err).toBe('');
    expect(accepted.out).toMatch(/✓ The signature is by a key of the issuer[^]*✓ The certificate is the one[^]*It would be accepted\./);
    expect(accepted.code).toBe(0);
    const stolen = await program(['inspect', '--token-file', path, '--cert', file(thief.cert), ...options()]);
    expect(stolen.out).toContain('It would be refused: 401 invalid_token, certificate.mismatch.');
    const out = stolen.out.replaceAll(/\s+/g, ' ');
    expect(out).toContain(`Expected ${owner.thumbprint}, found ${thief.thumbprint}`);
    expect(stolen.code).toBe(1);
  });

  it('accepts a DPoP-bound one with its proof, and refuses it as Bearer', async () => {
    const authorization = `Basic ${Buffer.from(`dpop:${as.secrets.dpop}`).toString('base64')}`;
    const tokenProof = makeProof({ key, token: '', htm: 'POST', htu: `${as.issuer}/token`, iat: now(), claims: { ath: undefined } });
    const token = await request(`${as.issuer}/token`, {}, undefined, { authorization, dpop: tokenProof });
    const proof = makeProof({ key, token, htm: 'POST', htu: 'https://api.example.com/payments', iat: now() });
    const asked = ['--method', 'POST', '--url', 'https://api.example.com/payments?id=1'];
    const accepted = await program(['inspect', '--proof', file(proof), ...asked, ...options()], token);
    expect(accepted.out).toMatch(/jkt [\w-]{43}[^]*ath is the hash of the token[^]*The signature is by its key[^]*It would be accepted\./);
    expect(accepted.code).toBe(0);
    const asBearer = await program(['inspect', ...options()], `Authorization: Bearer ${token}\n`);
    expect(asBearer.out).toContain('cnf.presented_as_bearer');
    expect(asBearer.code).toBe(1);
  });

  it('refuses its ID token, and says that it is one', async () => {
    const { report, wrong } = await inspect(await as.idToken(), ...options());
    expect(report.verdict.reason).toBe('token.typ');
    expect(wrong).toMatch(/There is no typ[^]*ID token/);
  });

  it('without --ca says what is wrong with the TLS, and ends with 2', async () => {
    const token = await request(`${as.mtlsOrigin}/token`, { client_id: 'mtls-ca' }, owner);
    const ran = await holdfast(['inspect', '--cert', file(owner.cert), '--issuer', as.issuer, '--audience', as.audience], { input: token });
    expect(ran.code).toBe(2);
    expect(ran.out).toMatch(/unavailable\.keys/);
    expect(ran.out).toMatch(/--ca/);
  });
});

describe('holdfast inspect, of the tokens of', () => {
  const NAMES = Object.keys(PROVIDERS) as ProviderName[];
  const fixture = (name: ProviderName, kind: 'access' | 'id', more: object): Promise<string> => {
    const tokens = PROVIDER_TOKENS[name];
    const { header, claims } = (kind === 'id' ? tokens?.id : tokens?.access[0]) ?? { header: {}, claims: {} };
    const nothing = { aud: undefined, sub: undefined, client_id: undefined, scope: undefined, jti: undefined };
    return issuer.token({ ...nothing, ...claims, nbf: undefined, ...more }, header);
  };

  it.each(NAMES)('%s: accepted with its name, with the signature checked and without', async (name) => {
    const member = PROVIDERS[name].topLevel.includes('x5t#S256') ? { 'x5t#S256': owner.thumbprint } : bound(owner);
    const token = await fixture(name, 'access', member);
    const options = ['--provider', name, '--cert', file(owner.cert), '--audience', API];
    const online = await inspect(token, ...options, '--issuer', issuer.url);
    expect(online.wrong).toBe('');
    expect(online.report.verdict).toEqual({ granted: true, signature: 'verified' });
    expect(online.ran.code).toBe(0);
    const offline = await inspect(token, ...options);
    expect(offline.report.verdict).toEqual({ granted: true, signature: 'unchecked' });
    expect(offline.ran.code).toBe(2);
  });

  it.each(NAMES)('%s: its name is suggested where the type of the token needs it', async (name) => {
    const { report, wrong } = await inspect(await fixture(name, 'access', {}), '--audience', API);
    if (report.verdict.reason !== 'token.typ') return expect(PROVIDER_TOKENS[name]?.access[0].header['typ']).toBe('at+jwt');
    expect(wrong).toMatch(new RegExp(`With the name of its provider it may be taken: it looks as of [^.]*\\b${name}\\b`));
  });

  it.each(NAMES)('%s: its ID token is refused, also with its name', async (name) => {
    const { report, ran } = await inspect(
      await fixture(name, 'id', { aud: API, ...bound(owner) }),
      '--provider',
      name,
      '--cert',
      file(owner.cert),
      '--audience',
      API,
    );
    expect(report.verdict.reason).toMatch(/^token\./);
    expect(ran.code).toBe(1);
  });
});

const HOUR = 3600;
/** Claims and header that differ, the reason of the resource, and what is said. */
const DEFECTS: readonly (readonly [title: string, claims: () => object, header: object, reason: string, words: RegExp])[] = [
  ['that has expired', () => ({ exp: now() - 300 }), {}, 'token.expired', /expired 30\d s \(5 min\) ago/],
  ['whose exp is in milliseconds and text', () => ({ exp: 'soon' }), {}, 'token.claim', /exp is "soon"/],
  [
    'from a server whose clock is ahead',
    () => ({ iat: now() + 37 }),
    {},
    'token.not_yet_valid',
    /iat lies 3[67] s in the future[^]*clock of its server is ahead/,
  ],
  ['that is not valid yet', () => ({ nbf: now() + HOUR }), {}, 'token.not_yet_valid', /nbf lies 3[56]\d\d s \(60 min\) in the future/],
  [
    'for another resource',
    () => ({ aud: 'https://other.example' }),
    {},
    'token.audience',
    /expected to contain "https:\/\/rs\.example\.com"/,
  ],
  ['for the resource with a slash', () => ({ aud: `${AUDIENCE}/` }), {}, 'token.audience', /final slash alone/],
  ['for the client', () => ({ aud: 'client-1' }), {}, 'token.audience', /That is its client: an ID token/],
  ['for nobody', () => ({ aud: undefined }), {}, 'token.audience', /There is no aud/],
  ['without a type', () => ({}), { typ: undefined }, 'token.typ', /There is no typ; an access token has at\+jwt/],
  ['with another type', () => ({ nonce: 'n', at_hash: 'h' }), { typ: 'JWT' }, 'token.typ', /looks like an ID token: it has nonce, at_hash/],
  ['with a critical extension', () => ({}), { crit: ['b64'], b64: true }, 'token.critical_extension', /crit lists \["b64"\]/],
  ['without cnf', () => ({ cnf: undefined }), {}, 'cnf.absent', /no cnf: it is bound to nobody/],
  ['whose cnf is no object', () => ({ cnf: owner.thumbprint }), {}, 'cnf.malformed', /cnf is "[\w-]{43}", and has to be an object/],
  ['whose cnf is not understood', () => ({ cnf: { jwk: { kty: 'EC' } } }), {}, 'cnf.not_understood', /only "jwk"[^]*DPoP has jkt/],
  ['whose cnf has SHA-1', () => ({ cnf: { x5t: 'AAAA' } }), {}, 'cnf.not_understood', /SHA-1/],
  ['whose cnf is empty', () => ({ cnf: {} }), {}, 'cnf.not_understood', /no members/],
  [
    'bound outside of cnf',
    () => ({ cnf: undefined, ...onTop() }),
    {},
    'cnf.top_level',
    /claim of its own and not a member of cnf[^]*janssen/,
  ],
  [
    'with a thumbprint in hexadecimal',
    () => spelt((hash) => hash.toString('hex')),
    {},
    'cnf.hex_thumbprint',
    /in hexadecimal[^]*The server has to be corrected/,
  ],
  [
    'with one with colons',
    () => spelt((hash) => (hash.toString('hex').match(/../g) ?? []).join(':')),
    {},
    'cnf.hex_thumbprint',
    /in hexadecimal/,
  ],
  ['with one in base64', () => spelt((hash) => hash.toString('base64')), {}, 'cnf.malformed', /in base64, with padding/],
  [
    'with one in base64url of hexadecimal',
    () => spelt((hash) => base64url(hash.toString('hex'))),
    {},
    'cnf.malformed',
    /base64url of hexadecimal/,
  ],
  ['with one that is none', () => ({ cnf: { 'x5t#S256': 'short' } }), {}, 'cnf.malformed', /no SHA-256 in base64url/],
  ['with one that is no text', () => ({ cnf: { 'x5t#S256': 7 } }), {}, 'cnf.malformed', /has to be a text of 43 characters/],
  ['bound to a DPoP key and sent as Bearer', boundToKey, {}, 'cnf.presented_as_bearer', /presented as Bearer/],
  ['bound to another certificate', () => bound(thief), {}, 'certificate.mismatch', /The certificate is another one/],
  ['bound to the public key of the certificate', () => spki(), {}, 'certificate.mismatch', /hash of its public key \(SPKI\)/],
  [
    'bound to the PEM of the certificate',
    () => ({ cnf: { 'x5t#S256': sha256(owner.cert.trim()) } }),
    {},
    'certificate.mismatch',
    /hash of its PEM text/,
  ],
];
const onTop = (): object => ({ 'x5t#S256': owner.thumbprint });
const spelt = (spell: (hash: Buffer) => string): object => ({
  cnf: { 'x5t#S256': spell(createHash('sha256').update(owner.der).digest()) },
});
const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('base64url');
const spki = (): object => ({ cnf: { 'x5t#S256': sha256(spkiDer(owner)) } });

describe('holdfast inspect, of a token', () => {
  it.each(DEFECTS)('%s', async (_, claims, header, reason, words) => {
    const token = await issuer.token({ ...bound(owner), ...claims() }, header);
    const options = ['--cert', file(owner.cert), '--audience', AUDIENCE];
    const offline = await inspect(token, ...options);
    expect(offline.report.verdict.reason).toBe(reason);
    expect(offline.all).toMatch(words);
    expect(offline.ran.code).toBe(1);
    // What is said without the keys of the issuer is what a resource says that has them.
    const online = await inspect(token, ...options, '--issuer', issuer.url);
    expect(online.report.verdict.reason).toBe(reason);
    expect(online.all).toMatch(words);
  });

  it('says everything that is wrong, and not only what a resource meets first', async () => {
    const token = await issuer.token({ aud: 'https://other.example', exp: now() - 60, iat: now() - 360, ...bound(thief) }, { typ: 'JWT' });
    const { wrong } = await inspect(token, '--cert', file(owner.cert), ...trusting());
    expect(wrong).toMatch(/typ is[^]*aud is[^]*It expired[^]*certificate is another/);
  });

  it('hexadecimal says that it is the same hash, where it is', async () => {
    const { all } = await inspect(await issuer.token(spelt((hash) => hash.toString('hex'))), '--cert', file(owner.cert));
    expect(all).toContain(owner.thumbprint);
    expect(all).toContain('only the spelling is wrong');
  });

  it('of a renewed certificate says that it was renewed, where the former is there to compare', async () => {
    const renewed = await pki.renew(owner);
    const token = await issuer.token(bound(owner));
    const { report, wrong } = await inspect(token, '--cert', file(renewed.cert), '--cert', file(owner.cert));
    expect(report.verdict.reason).toBe('certificate.mismatch');
    expect(wrong).toMatch(/bound to --cert 2, over the same key: the certificate was renewed/);
    const other = await inspect(token, '--cert', file(thief.cert), '--cert', file(owner.cert));
    expect(other.wrong).toMatch(/bound to --cert 2, with another key/);
  });

  it('without the former one says what can be known: the dates, and no more', async () => {
    const young = await pki.client('owner', { notBefore: new Date(Date.now() - 60_000) });
    const old = await pki.client('owner', { notBefore: new Date(Date.now() - 9 * HOUR * 1000) });
    const token = await issuer.token({ ...bound(owner), iat: now() - 200 });
    expect((await inspect(token, '--cert', file(young.cert))).all).toContain('younger than the token: most likely it was renewed');
    expect((await inspect(token, '--cert', file(old.cert))).all).toContain('cannot be told, for the token holds a hash alone');
  });

  it('bound to an authority in the same file says so', async () => {
    const chain = await pki.rsaUnderIntermediate('service');
    const [, second = ''] = chain.cert.match(/-----BEGIN[^]*?END CERTIFICATE-----/g) ?? [];
    const token = await issuer.token({ cnf: { 'x5t#S256': sha256(derOf(second)) } });
    expect((await inspect(token, '--cert', file(chain.cert))).wrong).toContain('another of the same file');
  });

  it('takes a certificate in DER as well', async () => {
    const { report } = await inspect(await issuer.token(bound(owner)), '--cert', file(owner.der), ...trusting());
    expect(report.outcome).toBe('well');
  });

  it('asks for a certificate where it needs one', async () => {
    const { report, wrong } = await inspect(await issuer.token(bound(owner)), ...trusting());
    expect(report.verdict.reason).toBe('certificate.missing');
    expect(wrong).toContain('--cert');
  });

  it('with a wrong signature, or one by nobody the issuer knows', async () => {
    const token = await issuer.token(bound(owner));
    const forged = `${token.slice(0, token.lastIndexOf('.') + 1)}${base64url(Buffer.alloc(64, 7))}`;
    const { report, wrong } = await inspect(forged, '--cert', file(owner.cert), ...trusting());
    expect(report.verdict).toMatchObject({ reason: 'token.signature', signature: 'wrong' });
    expect(wrong).toContain('by no key of the issuer');
    const stranger = await inspect(await issuer.token(bound(owner), { kid: 'unknown' }), '--cert', file(owner.cert), ...trusting());
    expect(stranger.report.verdict).toMatchObject({ reason: 'token.unknown_key', signature: 'unchecked' });
  });

  it.each([
    ['none', /nobody signed it/],
    ['HS256', /symmetric/],
    ['ES256K', /accepted are ES256/],
    [7, /alg is 7/],
  ])('with alg %s', async (alg, words) => {
    const { report, wrong } = await inspect(
      unsignedJwt({ typ: 'at+jwt', alg }, { iss: issuer.url, aud: AUDIENCE, ...bound(owner) }, 'AAAA'),
    );
    expect(report.verdict.reason).toBe('token.algorithm');
    expect(wrong).toMatch(words);
  });

  it.each(['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'RS384', 'RS512', 'EdDSA', 'Ed25519'])(
    'signed with %s is judged without its key up to its binding',
    async (alg) => {
      const of = await startIssuer({ algorithms: [alg] });
      onTestFinished(() => of.close());
      const { report } = await inspect(await of.token(bound(owner)), '--cert', file(owner.cert), '--audience', AUDIENCE);
      expect(report.verdict).toEqual({ granted: true, signature: 'unchecked' });
    },
  );

  it('of another issuer, in what people overlook', async () => {
    const token = await issuer.token({ iss: `${issuer.url}/`, ...bound(owner) });
    const { report, wrong } = await inspect(token, '--cert', file(owner.cert), ...trusting());
    expect(report.verdict.reason).toBe('token.issuer');
    expect(wrong).toContain('final slash alone');
  });

  it('of one of several issuers', async () => {
    const other = await startIssuer();
    onTestFinished(() => other.close());
    const { report } = await inspect(await issuer.token(bound(owner)), '--cert', file(owner.cert), '--issuer', other.url, ...trusting());
    expect(report.outcome).toBe('well');
    expect(other.requests).toEqual([]);
  });

  it('that is encrypted says what can be known', async () => {
    const jwe = [base64url(JSON.stringify({ alg: 'RSA-OAEP', enc: 'A256GCM' })), 'AAAA', 'AAAA', 'AAAA', 'AAAA'].join('.');
    const { report, all, ran } = await inspect(jwe);
    expect(report.verdict.reason).toBe('token.encrypted');
    expect(all).toMatch(/encrypted \(JWE, alg "RSA-OAEP"/);
    expect(ran.code).toBe(1);
  });

  it('that is opaque says that introspection is needed', async () => {
    const { report, all } = await inspect('2YotnFZFEjr1zCsicMWpAA');
    expect(report.verdict.reason).toBe('token.not_jwt');
    expect(all).toContain('introspection');
  });

  it('fetches nothing without --issuer, whatever the token says', async () => {
    issuer.requests.length = 0;
    await inspect(
      await issuer.token({ ...bound(owner), jku: issuer.jwksUri }, { jku: issuer.jwksUri, x5u: issuer.url }),
      '--cert',
      file(owner.cert),
    );
    expect(issuer.requests).toEqual([]);
  });
});

const HTU = 'https://api.example.com/a/b';
/** What the proof has that differs, the reason, and what is said. */
const PROOFS: readonly (readonly [
  title: string,
  proof: (token: string) => Partial<Parameters<typeof makeProof>[0]>,
  reason: string,
  words: RegExp,
])[] = [
  ['for another method', () => ({ htm: 'POST' }), 'dpop.htm', /htm is "POST", and the method is GET/],
  ['for a method in small letters', () => ({ htm: 'get' }), 'dpop.htm', /compared with their case/],
  ['for another host', () => ({ htu: 'https://internal.example.com/a/b' }), 'dpop.htu', /differ in the host\. Behind an edge/],
  ['for another scheme and port', () => ({ htu: 'http://api.example.com:8080/a/b' }), 'dpop.htu', /differ in the scheme and the port/],
  ['for another path', () => ({ htu: 'https://api.example.com/b' }), 'dpop.htu', /differ in the path/],
  ['for the path with a slash', () => ({ htu: `${HTU}/` }), 'dpop.htu', /in its final slash/],
  ['for no URI', () => ({ htu: '/a/b' }), 'dpop.htu', /absolute http\(s\) URI/],
  ['for another token', () => ({ token: 'another' }), 'dpop.ath', /the proof is for another token/],
  ['without ath', () => ({ claims: { ath: undefined } }), 'dpop.claim', /no ath/],
  [
    'with ath in hexadecimal',
    (token) => ({ claims: { ath: createHash('sha256').update(token).digest('hex') } }),
    'dpop.ath',
    /in hexadecimal/,
  ],
  ['with ath of the token and a line end', (token) => ({ token: `${token}\n` }), 'dpop.ath', /with a line end/],
  ['that is too old', () => ({ iat: now() - 4000 }), 'dpop.too_old', /made 400\d s \(67 min\) ago, and 300 s are allowed/],
  ['from the future', () => ({ iat: now() + 90 }), 'dpop.in_future', /made (?:89|90) s in the future, and 60 s are allowed/],
  ['without jti', () => ({ claims: { jti: undefined } }), 'dpop.claim', /jti is nothing/],
  ['without iat', () => ({ claims: { iat: 'now' } }), 'dpop.claim', /iat is "now"/],
  ['with an exp that is over', () => ({ claims: { exp: now() - 10 } }), 'dpop.lifetime', /exp, which was 1\d s ago/],
  ['of another type', () => ({ header: { typ: 'JWT' } }), 'dpop.typ', /typ is "JWT", and has to be dpop\+jwt/],
  ['with another algorithm', () => ({ header: { alg: 'RS256' } }), 'dpop.algorithm', /alg is "RS256"[^]*can add it/],
  ['without a key', () => ({ header: { jwk: undefined } }), 'dpop.key', /jwk is no public key/],
];

describe('holdfast inspect, of a DPoP proof', () => {
  const options = ['--method', 'GET', '--url', `${HTU}?q=1`, '--audience', AUDIENCE];

  it.each(PROOFS)('%s', async (_, more, reason, words) => {
    const token = await issuer.token(boundToKey());
    const proof = file(makeProof({ key, token, htu: HTU, iat: now(), ...more(token) }));
    for (const trust of [[], ['--issuer', issuer.url]]) {
      const { report, wrong, ran } = await inspect(token, '--proof', proof, ...options, ...trust);
      expect(report.verdict.reason).toBe(reason);
      expect(wrong).toMatch(words);
      expect(ran.code).toBe(1);
      if (trust.length > 0) expect(report.verdict.signature).toBe('verified');
    }
  });

  it('by another key', async () => {
    const other = await generateDpopKey();
    const token = await issuer.token(boundToKey());
    const { report, wrong } = await inspect(token, '--proof', file(makeProof({ key: other, token, htu: HTU, iat: now() })), ...options);
    expect(report.verdict.reason).toBe('dpop.key_mismatch');
    expect(wrong).toContain(`expected jkt "${key.thumbprint}", found ${other.thumbprint}`);
  });

  it('with a signature by another key', async () => {
    const token = await issuer.token(boundToKey());
    const proof = makeProof({ key, token, htu: HTU, iat: now(), signer: await generateDpopKey() });
    const { report, wrong } = await inspect(token, '--proof', file(proof), ...options);
    expect(report.verdict.reason).toBe('dpop.signature');
    expect(wrong).toContain('The signature is not by its key');
  });

  it('that is right: accepted, with its own token and not one that was signed anew', async () => {
    const token = await issuer.token(boundToKey());
    const proof = file(makeProof({ key, token, htu: HTU, iat: now() }));
    expect((await inspect(token, '--proof', proof, ...options)).report.verdict).toEqual({ granted: true, signature: 'unchecked' });
    const online = await inspect(token, '--proof', proof, ...options, '--issuer', issuer.url);
    expect(online.report.outcome).toBe('well');
    // Without the request there is nothing to compare htm and htu with.
    const { ran, all } = await inspect(token, '--proof', proof, '--issuer', issuer.url, '--audience', AUDIENCE);
    expect(ran.code).toBe(2);
    expect(all).toMatch(/not compared, give --method[^]*not compared, give --url/);
  });

  it('that is none, or is missing', async () => {
    const token = await issuer.token(boundToKey());
    expect((await inspect(token, '--proof', file('a.b.c'), ...options)).wrong).toContain('no JWT');
    const { report, wrong } = await inspect(token, '--scheme', 'dpop', ...options);
    expect(report.verdict.reason).toBe('dpop.missing');
    expect(wrong).toContain('give --proof');
    const { report: mtls } = await inspect(await issuer.token(bound(owner)), '--scheme', 'DPoP');
    expect(mtls.verdict.reason).toMatch(/^(?:dpop\.missing|cnf\.presented_as_dpop)$/);
  });

  it('with a private key in it: says so, and never shows it', async () => {
    const token = await issuer.token(boundToKey());
    const jwk = await privateJwkOf(key);
    const proof = file(makeProof({ key, token, htu: HTU, iat: now(), header: { jwk } }));
    for (const more of [[], ['--json']]) {
      const ran = await holdfast(['inspect', '--proof', proof, ...options, ...more], { input: token });
      expect(ran.out).toMatch(/holds the private key/);
      expect(ran.out).toContain('(secret, not shown)');
      expect(ran.out).not.toContain(jwk.d);
    }
  });
});

describe('holdfast inspect keeps secrets', () => {
  it('prints neither token nor signature, on a terminal, in JSON, or of what is wrong', async () => {
    const token = await issuer.token(boundToKey());
    const proof = makeProof({ key, token, htu: HTU, iat: now() });
    const runs = [
      await program(['inspect'], token),
      await program(['inspect', '--json'], token),
      await program(['inspect', '--proof', file(proof), '--json'], token),
      await program(['inspect', '--proof', file(proof), ...trusting()], token),
      await program(['inspect', '--token-file', file(`${token} ${token}`)]),
      await program(['inspect', '--proof', file(`${proof} x`)], token),
    ];
    for (const { out, err } of runs) {
      for (const jwt of [token, proof]) for (const segment of jwt.split('.')) expect(out + err).not.toContain(segment);
    }
  });

  it.each<[string, (token: string) => string[]]>([
    ['as an argument', (token) => [token]],
    ['as an argument with its scheme', (token) => [`Bearer ${token}`]],
    ['as an option that there is not', (token) => ['--token', token]],
    ['as an option with =', (token) => [`--token=${token}`]],
    ['as the name of a file', (token) => ['--token-file', token]],
    ['as a proof', (token) => ['--proof', token]],
    ['as an option of another kind', (token) => ['--audience', token]],
    ['as an option of another kind, with =', (token) => [`--url=${token}`]],
  ])('refuses a token %s, says why, and does not repeat it', async (_, args) => {
    const token = await issuer.token(bound(owner));
    const { code, out, err } = await program(['inspect', ...args(token)]);
    expect(err).toMatch(/looks like a token\. Arguments are seen by everybody on this machine \(ps\), and stay in the history/);
    for (const segment of token.split('.')) expect(out + err).not.toContain(segment);
    expect(code).toBe(2);
  });

  it('takes names and addresses for what they are', async () => {
    const names = [
      'https://eyewearstore-api.production-cluster.example.com',
      'eyewearstore-api.production-cluster.example.com',
      'eyes'.repeat(20),
    ];
    const { ran } = await inspect(await issuer.token(bound(owner)), ...names.flatMap((name) => ['--audience', name]));
    expect(ran.code).toBe(1);
  });

  it('refuses any other argument likewise: it may be an opaque token', async () => {
    const { code, out, err } = await program(['inspect', '2YotnFZFEjr1zCsicMWpAA']);
    expect(err).toMatch(/A token belongs into a file/);
    expect(out + err).not.toContain('2Yotn');
    expect(code).toBe(2);
    const named = await program(['inspect', '--token-file', '2YotnFZFEjr1zCsicMWpAA']);
    expect(named.err).toContain('cannot be read (ENOENT)');
    expect(named.err).not.toContain('2Yotn');
  });

  it('reads no private key: a file that has one is refused', async () => {
    const token = await issuer.token(bound(owner));
    for (const content of [owner.cert + owner.key, owner.key]) {
      const { code, out, err } = await program(['inspect', '--cert', file(content)], token);
      expect(err).toContain('there is a private key in that file');
      expect(err).not.toContain(owner.key.split('\n')[1]);
      expect([code, out]).toEqual([2, '']);
    }
  });
});

describe('holdfast inspect, of what is hostile or broken', () => {
  const ESCAPES = '\u001b]0;owned\u0007\u001b[2J\u009b31m\u202egnp.exe\u2066\ufeff\r\n';

  it('shows no control character of anybody else, on the terminal or in JSON', async () => {
    const hostile = { [ESCAPES]: ESCAPES, iss: ESCAPES, aud: [ESCAPES], client_id: ESCAPES, token_use: ESCAPES, cnf: { [ESCAPES]: 1 } };
    const token = await issuer.token(hostile, { kid: ESCAPES, typ: ESCAPES, alg: ESCAPES, crit: [ESCAPES] }, { key: false });
    const subject = await pki.client(`a\u001b[2J\u202eb`);
    const proof = makeProof({
      key,
      token,
      htu: ESCAPES,
      htm: ESCAPES,
      iat: now(),
      header: { typ: ESCAPES },
      claims: { jti: '', ath: ESCAPES },
    });
    const inputs = [token, await issuer.token({ ...bound(owner), sub: ESCAPES })];
    for (const input of inputs) {
      for (const more of [[], ['--json'], ['--proof', file(proof)]]) {
        const { out, err } = await program(['inspect', '--cert', file(subject.cert), ...more], input);
        expect([err, out.includes('gnp.exe')]).toEqual(['', true]);
        expect(out).not.toMatch(UNSEEN);
        expect(err).toBe('');
      }
    }
  });

  it('a token with a header of 1 MB: says that it is too long, and shows a part', async () => {
    const token = rawJwt(JSON.stringify({ alg: 'ES256', typ: 'at+jwt', junk: 'x'.repeat(1_000_000) }), '{}');
    const ran = await program(['inspect'], `${token}AAAA`);
    expect(ran.out).toMatch(/at most 16384 are read/);
    expect(ran.out).toContain('request.token_too_long');
    expect(ran.out.length).toBeLessThan(20_000);
    expect(ran.code).toBe(1);
  });

  it('a token nested more deeply than can be', async () => {
    for (const depth of [5_000, 200_000]) {
      const token = rawJwt('{"alg":"ES256","typ":"at+jwt"}', `{"cnf":${'['.repeat(depth)}${']'.repeat(depth)}}`);
      const ran = await program(['inspect'], `${token}AAAA`);
      expect(ran.err).toBe('');
      expect(ran.out).toContain('It would be refused');
      expect(ran.code).toBe(1);
    }
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ['nothing', '', /there is no token/],
    ['white space', ' \n\t', /there is no token/],
    ['binary', Uint8Array.from({ length: 4096 }, (_, i) => i % 256), /is no access token/],
    ['a sentence', 'this is not a token', /is no access token/],
    ['two tokens', 'abc\ndef', /is no access token/],
    ['a great deal', 'x'.repeat(3_000_000), /longer than 2097152/],
  ])('%s on standard input: says so, and ends with 2', async (_, input, words) => {
    const ran = await program(['inspect'], input);
    expect(ran.err).toMatch(words);
    expect(ran.err).not.toMatch(/\n\s+at /);
    expect([ran.code, ran.out]).toEqual([2, '']);
  });

  it.each<[string, () => string[], RegExp]>([
    ['a file that never ends', () => ['--token-file', '/dev/zero'], /longer than 2097152/],
    ['a folder', () => ['--token-file', '/'], /cannot be read \(EISDIR\)/],
    ['no certificate', () => ['--cert', file('hello')], /no certificate, or one that cannot be read/],
    [
      'half a certificate',
      () => ['--cert', file(owner.cert.replace(/[A-Za-z0-9+/]{20}\n/, '\n'))],
      /no certificate, or one that cannot be read/,
    ],
    ['both from standard input', () => ['--proof', '-'], /cannot both come from standard input/],
    ['a scheme that is none', () => ['--scheme', 'basic'], /give Bearer or DPoP/],
    ['a provider that nobody knows', () => ['--provider', 'constructor'], /give one of/],
    ['an issuer over http', () => ['--issuer', 'http://as.example.com'], /https URL/],
    ['a URL with a user', () => ['--url', 'https://me:hunter2@api.example.com'], /without a user/],
    ['a method that is none', () => ['--method', 'G E T'], /a method, as GET/],
  ])('%s: says how to mend it, and ends with 2', async (_, args, words) => {
    const ran = await program(['inspect', ...args()], 'abc');
    expect(ran.err).toMatch(words);
    expect(ran.err).not.toMatch(/hunter2|\n\s+at /);
    expect([ran.code, ran.out]).toEqual([2, '']);
  });

  it('an issuer that never answers, or answers what is not JSON: it could not be told', async () => {
    const broken = await startIssuer();
    onTestFinished(() => broken.close());
    const token = await broken.token(bound(owner));
    broken.answer = () => true;
    const options = ['inspect', '--cert', file(owner.cert), '--issuer', broken.url, '--audience', AUDIENCE, '--timeout', '1'];
    const silent = await program(options, token);
    expect(silent.out).toMatch(/503, unavailable\.keys/);
    expect(silent.code).toBe(2);
    broken.answer = (_request, response) => Boolean(response.writeHead(302, { location: 'http://169.254.169.254/' }).end());
    const redirecting = await program(options, token);
    expect(redirecting.code).toBe(2);
    expect(redirecting.out).toContain('holdfast doctor');
  });

  it('a reader that reads no further, as head', async () => {
    const path = file(await issuer.token({ ...bound(owner), list: Array.from({ length: 3000 }, () => 'x'.repeat(3)) }));
    const { code, err } = await program(['inspect', '--json', '--token-file', path], '', 'unread');
    expect([code, err]).toEqual([1, '']);
  });
});

describe('holdfast inspect', () => {
  it('shows colours on a terminal that has them, and none elsewhere', async () => {
    const token = await issuer.token(bound(owner));
    expect((await holdfast(['inspect'], { input: token })).out).not.toMatch(UNSEEN);
    expect((await holdfast(['inspect'], { input: token, colours: true })).out).toContain('\u001b[31m✗');
  });

  it('has a help that says where tokens go and what its exit code means', async () => {
    const { out, code } = await program(['inspect', '--help']);
    expect(code).toBe(0);
    expect(out.replaceAll(/\s+/g, ' ')).toMatch(
      /never taken from the command line.*never leaves this machine.*Exit code: 0 it would be accepted; 1 it would be refused; 2 it could not be told/,
    );
  });
});

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----/g, ''), 'base64');
}
function spkiDer({ keys }: Identity): Uint8Array {
  return KeyObject.from(keys.publicKey).export({ type: 'spki', format: 'der' });
}
