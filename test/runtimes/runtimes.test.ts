// The fetch entry, as built, on the runtimes it is for: each in a process of its own, asked over real sockets.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { FetchedKeys, ResourceEvent } from '@holdfast/core';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { type DpopKey, generateDpopKey, makeProof, type ProofOptions } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { reasonToSkip } from '@holdfast/test-support/needs';
import type { SigningKeyPair } from '@holdfast/test-support/jwt';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { type RawRequest, rawRequest } from '@holdfast/test-support/raw-request';
import { calculateJwkThumbprint } from 'jose';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';
const root = fileURLToPath(new URL('../../', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));
const temporary = mkdtempSync(join(tmpdir(), 'holdfast-runtimes-'));
const require = createRequire(import.meta.url);

/** The binary that came for this platform. */
function binary(names: Readonly<Record<string, string>>): string | undefined {
  try {
    return require.resolve(names[`${process.platform}-${process.arch}`] ?? 'none');
  } catch {
    return undefined;
  }
}

const deno = binary({
  'linux-x64': '@deno/linux-x64-glibc/deno',
  'linux-arm64': '@deno/linux-arm64-glibc/deno',
  'darwin-arm64': '@deno/darwin-arm64/deno',
});
const bun = binary({
  'linux-x64': '@oven/bun-linux-x64/bin/bun',
  'linux-arm64': '@oven/bun-linux-aarch64/bin/bun',
  'darwin-arm64': '@oven/bun-darwin-aarch64/bin/bun',
});
const workerd = binary({
  'linux-x64': '@cloudflare/workerd-linux-64/bin/workerd',
  'linux-arm64': '@cloudflare/workerd-linux-arm64/bin/workerd',
  'darwin-arm64': '@cloudflare/workerd-darwin-arm64/bin/workerd',
});
const RUNTIMES = [
  {
    name: 'Deno',
    collecting: ['--v8-flags=--expose-gc'],
    https: 'shows it: the owner gets in, a thief does not',
    command: [deno ?? '', 'run', '--allow-all', '--no-config', '--node-modules-dir=manual'],
    path: deno,
  },
  { name: 'Bun', collecting: [], https: 'does not show it either', command: [bun ?? '', 'run'], path: bun },
] as const;

const INSTALL = 'npx pnpm@12.21.0 install (the binaries are optional dependencies, for Linux and macOS)';

let pki: Pki;
let issuer: Issuer;
let owner: Identity;
let key: DpopKey;
/** Of the issuer, there from the beginning: keys are not looked for again at once. */
let revocable: SigningKeyPair;
const children: ChildProcess[] = [];

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'packages/core', 'examples/hono'], {
    cwd: root,
  });
  [pki, issuer, key] = [await createPki(), await startIssuer(), await generateDpopKey()];
  owner = await pki.client('owner');
  revocable = await issuer.addKey('ES256');
  writeFileSync(join(temporary, 'key.pem'), pki.server.key);
  writeFileSync(join(temporary, 'cert.pem'), pki.server.cert);
}, 60_000);
afterAll(async () => {
  await Promise.all(children.map((child) => stopped(child)));
  await issuer.close();
  rmSync(temporary, { recursive: true, force: true });
});

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, DENO_NO_UPDATE_CHECK: '1', DENO_DIR: join(temporary, 'deno') };
}

/** Starts a server that tells its port in a line. */
async function start(command: readonly string[], args: readonly string[]): Promise<number> {
  const [file = '', ...rest] = command;
  const child = spawn(file, [...rest, ...args], { cwd: here, env: environment(), stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) {
    const port = /^port (\d+)$|"port":(\d+)/.exec(line)?.slice(1).find(Boolean);
    if (port !== undefined) {
      child.stdout.resume();
      return Number(port);
    }
  }
  throw new Error(`${file} ended before it listened`);
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill();
  await ended;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly lines: (name: string) => string[];
}

async function ask(port: number, first: string, fields: readonly string[] = [], more: Partial<RawRequest> = {}): Promise<Answer> {
  const lines = [`${first} HTTP/1.1`, 'Host: rs.example.com', 'Connection: close', ...fields];
  const { status, body, headers, socket } = await rawRequest({ port, lines, ...more });
  socket.destroy();
  return { status, body, lines: (name) => headers.filter(([other]) => other.toLowerCase() === name).map(([, value]) => value) };
}

const proofOf = (token: string, changes: Partial<ProofOptions> = {}): string =>
  makeProof({ key, token, iat: Math.floor(Date.now() / 1000), ...changes });
const dpop = (token: string, ...proofs: string[]): string[] => [`Authorization: DPoP ${token}`, ...proofs.map((proof) => `DPoP: ${proof}`)];
const aud = AUDIENCE;

/** `200`, or the status and the code of the error, and why. */
async function outcome(port: number, first: string, fields: readonly string[] = [], more: Partial<RawRequest> = {}): Promise<string> {
  const answer = await ask(port, first, fields, more);
  const told = JSON.parse((await ask(port, 'GET /events', [], more)).body) as ResourceEvent[];
  const challenges = parseChallenges(answer.lines('www-authenticate'));
  const code = challenges.map(({ parameters }) => parameters['error']).find((error) => error !== undefined) ?? '';
  const reason = told.at(-1)?.reason ?? '';
  if (answer.status === 401) {
    expect(answer.lines('www-authenticate')).toHaveLength(1);
    expect(challenges.map(({ scheme }) => scheme)).toEqual(reason === '' ? ['Bearer'] : ['Bearer', 'DPoP']);
  }
  if (code !== '') expect(JSON.parse(answer.body)).toMatchObject({ error: code });
  return [answer.status, code, reason].filter((part) => part !== '').join(' ');
}

/** What every runtime has to answer, whatever it is. */
function contractOfRuntime(port: () => number): void {
  let token: string;
  beforeAll(async () => {
    token = await issuer.token({ aud, cnf: { jkt: key.thumbprint } });
  });

  it('grants what is confirmed, and refuses the rest, for the reason it is refused for everywhere', async () => {
    const good = proofOf(token);
    const plain = await issuer.token({ aud });
    const rows: readonly (readonly [expected: string, first: string, fields: readonly string[]])[] = [
      ['401 request.no_credentials', 'GET /r', []],
      ['401 request.unsupported_scheme', 'GET /r', ['Authorization: Basic dTpw']],
      ['200', 'GET /r', dpop(token, good)],
      ['401 invalid_dpop_proof replay.reused', 'GET /r', dpop(token, good)],
      ['200', 'GET /r?x=1', dpop(token, proofOf(token))],
      ['401 invalid_dpop_proof dpop.missing', 'GET /r', dpop(token)],
      ['401 invalid_dpop_proof dpop.htm', 'GET /r', dpop(token, proofOf(token, { htm: 'POST' }))],
      ['401 invalid_dpop_proof dpop.htu', 'GET /r', dpop(token, proofOf(token, { htu: `${AUDIENCE}/other` }))],
      ['401 invalid_dpop_proof dpop.ath', 'GET /r', dpop(token, proofOf('another'))],
      ['401 invalid_dpop_proof dpop.signature', 'GET /r', dpop(token, `${proofOf(token).slice(0, -8)}AAAAAAAA`)],
      ['401 invalid_dpop_proof dpop.malformed', 'GET /r', dpop(token, proofOf(token), proofOf(token))],
      ['401 invalid_token cnf.presented_as_bearer', 'GET /r', [`Authorization: Bearer ${token}`, `DPoP: ${proofOf(token)}`]],
      ['400 invalid_request request.several_authorizations', 'GET /r', [...dpop(token, proofOf(token)), `Authorization: DPoP ${token}`]],
      ['400 invalid_request request.several_authorizations', 'GET /r', [`Authorization: Bearer ${plain}, DPoP ${token}`]],
      ['400 invalid_request request.malformed_authorization', 'GET /r', [`Authorization: Bearer ${plain}, Basic dTpw`]],
      ['400 invalid_request request.token_in_query', 'GET /r?access_token=x', [`Authorization: Bearer ${plain}`]],
      ['425 request.early_data', 'GET /r', [`Authorization: Bearer ${plain}`, 'Early-Data: 1']],
      ['401 invalid_token token.not_jwt', 'GET /r', ['Authorization: Bearer abc']],
      ['200', 'GET /r', [`Authorization: Bearer ${plain}`]],
      ['403 insufficient_scope scope.insufficient', 'GET /write', [`Authorization: Bearer ${plain}`]],
      ['200', 'GET /write', [`Authorization: Bearer ${await issuer.token({ aud, scope: 'write' })}`]],
      ['200', 'OPTIONS /r', ['Origin: https://app.example.com', 'Access-Control-Request-Method: GET']],
      // A copy of the request was judged by nobody.
      ['401', 'GET /copy', [`Authorization: Bearer ${plain}`]],
    ];
    for (const [expected, first, fields] of rows)
      expect([first, fields.length, await outcome(port(), first, fields)]).toEqual([first, fields.length, expected]);
  });

  it.each(['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'EdDSA', 'Ed25519'])(
    'verifies proofs by %s, and only good ones',
    async (alg) => {
      const other = await generateDpopKey(alg);
      const bound = await issuer.token({ aud, cnf: { jkt: other.thumbprint } });
      expect(await outcome(port(), 'GET /r', dpop(bound, proofOf(bound, { key: other })))).toBe('200');
      // A second one, by the key that is remembered now.
      expect(await outcome(port(), 'GET /r', dpop(bound, proofOf(bound, { key: other })))).toBe('200');
      const [header = '', claims = ''] = proofOf(bound, { key: other }).split('.');
      const signature = proofOf(bound, { key: other }).split('.')[2] ?? '';
      expect(await outcome(port(), 'GET /r', dpop(bound, `${header}.${claims}.${signature}`))).toBe(
        '401 invalid_dpop_proof dpop.signature',
      );
    },
  );

  it('one DPoP-Nonce, not kept, and exposed; the proof with it is good', async () => {
    const without = await ask(port(), 'GET /nonce', dpop(token, proofOf(token, { htu: `${AUDIENCE}/nonce` })));
    expect([without.status, without.lines('dpop-nonce').length, without.lines('cache-control')]).toEqual([401, 1, ['no-store']]);
    const claims = { nonce: without.lines('dpop-nonce')[0] };
    const proven = await ask(port(), 'GET /nonce', dpop(token, proofOf(token, { htu: `${AUDIENCE}/nonce`, claims })));
    expect([proven.status, proven.lines('access-control-expose-headers')]).toEqual([200, ['WWW-Authenticate, DPoP-Nonce']]);
  });

  it('a path is what the routes see: dot segments are taken out before either looks, or are refused, and no host comes of it', async () => {
    const proof = (htu: string): string[] => dpop(token, proofOf(token, { htu }));
    const r = `${AUDIENCE}/r`;
    const answers = async (target: string, htu: string): Promise<unknown> => {
      const { status, body } = await ask(port(), `GET ${target}`, proof(htu));
      return status === 200 ? (JSON.parse(body) as { path: string }).path : status;
    };
    // Some runtimes leave them in the URL of the request, where some routers do too.
    expect(['/r', 401]).toContain(await answers('/a/../r', r));
    expect(['/r', 401]).toContain(await answers('/a/%2e%2e/r', r));
    expect(await answers('/a/%2e%2e/r', `${AUDIENCE}/a/r`)).toBe(401);
    expect(await answers('/r/', r)).toBe(401);
    expect(await answers('/a%2Fr', `${AUDIENCE}/a/r`)).toBe(401);
    // Two slashes at the beginning stay a path, on whichever host. Some servers take the first segment for a host and answer 400.
    expect([401, 400]).toContain(await answers('//evil.example/r', r));
    expect([401, 400]).toContain(await answers('//evil.example/r', 'https://evil.example/r'));
  });

  it('a stream ends when another request has the key of its token revoked', async () => {
    const thumbprint = await calculateJwkThumbprint(revocable.publicJwk);
    const long = await issuer.token({ aud }, { kid: revocable.kid }, { key: revocable });
    // Some runtimes hold back the head of a response until its body ends: that the route ran is told by the event.
    await ask(port(), 'GET /events');
    const streaming = ask(port(), 'GET /events-of-time', [`Authorization: Bearer ${long}`]);
    await expect.poll(async () => JSON.parse((await ask(port(), 'GET /events')).body) as unknown[]).toHaveLength(1);
    expect((await ask(port(), `GET /revoke?key=${thumbprint}`)).body).toBe('revoked');
    expect((await streaming).body).toBe('data: begin\n\nevent: expired\n\n');
    expect(await outcome(port(), 'GET /r', [`Authorization: Bearer ${long}`])).toBe('401 invalid_token token.unknown_key');
  });

  it('a stream ends with the token', async () => {
    const exp = Date.now() / 1000 + 1;
    const short = await issuer.token({ aud, iat: Math.floor(exp) - 10, exp });
    const { status, body } = await ask(port(), 'GET /events-of-time', [`Authorization: Bearer ${short}`]);
    expect([status, body]).toEqual([200, 'data: begin\n\nevent: expired\n\n']);
  });
}

describe.each(RUNTIMES)('$name', ({ name, collecting, https, command, path }) => {
  const missing = reasonToSkip(path !== undefined, name, INSTALL);
  beforeEach((context) => context.skip(missing !== undefined, missing));
  const args = (kind: string): string[] => ['serve.ts', issuer.url, kind, join(temporary, 'key.pem'), join(temporary, 'cert.pem')];

  describe('with its own server', () => {
    let port = 0;
    beforeAll(async () => {
      if (missing === undefined) port = await start(command, args('native'));
    });
    contractOfRuntime(() => port);
  });

  it('a signal that nobody holds aborts for those who listen, and is given up where nobody does', async () => {
    const [file = '', ...rest] = command;
    const { stdout } = await promisify(execFile)(file, [...rest, ...collecting, 'signals.ts'], { cwd: here, env: environment() });
    expect(JSON.parse(stdout)).toEqual({ heard: 10, kept: 'none' });
  });

  it('the example for Hono, on its own server: the owner gets in, a thief does not, and a stream ends with the token', async () => {
    const port = await start(command, ['hono.ts', issuer.url]);
    const claims = { aud, scope: 'accounts:read', branch: 'north', cnf: { jkt: key.thumbprint } };
    const token = await issuer.token(claims);
    const proof = proofOf(token, { htu: `${AUDIENCE}/accounts` });
    const told = async (target: string, ...fields: string[]): Promise<unknown> => {
      const { status, body, lines } = await ask(port, `GET ${target}`, fields);
      const errors = parseChallenges(lines('www-authenticate')).map(({ parameters }) => parameters['error']);
      return status === 200 ? body : [status, errors];
    };
    expect(await told('/health')).toBe('ok');
    expect(await told('/accounts')).toEqual([401, [undefined, undefined]]);
    expect(await told('/accounts', ...dpop(token, proof))).toBe('{"owner":"user-1","branch":"north"}');
    expect(await told('/accounts', ...dpop(token, proof))).toEqual([401, [undefined, 'invalid_dpop_proof']]);
    expect(await told('/accounts', `Authorization: Bearer ${token}`)).toEqual([401, ['invalid_token', undefined]]);
    const other = await issuer.token({ ...claims, scope: 'payments' });
    const second = proofOf(other, { htu: `${AUDIENCE}/accounts` });
    expect(await told('/accounts', ...dpop(other, second))).toEqual([403, [undefined, 'insufficient_scope']]);
    const exp = Date.now() / 1000 + 1;
    const short = await issuer.token({ ...claims, iat: Math.floor(exp) - 10, exp });
    const third = proofOf(short, { htu: `${AUDIENCE}/accounts/events` });
    expect(await told('/accounts/events', ...dpop(short, third))).toBe('data: balance 17\n\n');
  });

  it('its own server shows no certificate of its clients: a certificate-bound token is refused, and that is why', async () => {
    const port = await start(command, args('native-tls'));
    const tls = { ca: pki.ca, servername: 'localhost', cert: owner.cert, key: owner.key };
    const bound = await issuer.token({ aud, cnf: { 'x5t#S256': owner.thumbprint } });
    expect(await outcome(port, 'GET /r', [`Authorization: Bearer ${bound}`], { tls })).toBe('401 invalid_token certificate.hidden');
  });

  it(`node:https of ${name} ${https}`, async () => {
    const port = await start(command, args('https'));
    const bound = await issuer.token({ aud, cnf: { 'x5t#S256': owner.thumbprint } });
    const thief = await pki.client('thief');
    const as = (identity?: Identity): Promise<string> => {
      const client = identity && { cert: identity.cert, key: identity.key };
      return outcome(port, 'GET /r', [`Authorization: Bearer ${bound}`, `X: ${randomUUID()}`], {
        tls: { ca: pki.ca, servername: 'localhost', ...client },
      });
    };
    const hidden = '401 invalid_token certificate.hidden';
    expect([await as(owner), await as(thief), await as()]).toEqual(
      name === 'Deno'
        ? ['200', '401 invalid_token certificate.mismatch', '401 invalid_token certificate.missing']
        : [hidden, hidden, hidden],
    );
  });
});

describe('Workers (workerd)', () => {
  const missing = reasonToSkip(workerd !== undefined, 'workerd', INSTALL);
  beforeEach((context) => context.skip(missing !== undefined, missing));
  /** Where the edge of Cloudflare says what it knows of the connection; here the tests are the edge. */
  const CF = 'X-Cf';
  let port = 0;

  /** A Worker for tokens of this issuer. */
  async function startWorker(issuerUrl: string, name: string, keys: FetchedKeys = {}): Promise<number> {
    const bundle = await rolldown({
      input: join(here, 'worker.ts'),
      platform: 'browser',
      resolve: { conditionNames: ['workerd', 'worker', 'browser', 'import'] },
      transform: { define: { ISSUER: JSON.stringify(issuerUrl), KEYS: JSON.stringify(keys) } },
    });
    await bundle.write({ file: join(temporary, `${name}.js`), format: 'esm', codeSplitting: false });
    // No nodejs_compat: an import of a built-in would not load.
    writeFileSync(
      join(temporary, `${name}.capnp`),
      `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "api", worker = .api), (name = "internet", network = (allow = ["private", "local"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (cfBlobHeader = "${CF}"), service = "api")]
);
const api :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "${name}.js")],
  compatibilityDate = "2025-09-01"
);
`,
    );
    return start([workerd ?? '', 'serve', join(temporary, `${name}.capnp`), '--control-fd=1'], []);
  }

  beforeAll(async () => {
    if (missing === undefined) port = await startWorker(issuer.url, 'api');
  });
  contractOfRuntime(() => port);

  it('the certificate is what request.cf says, and nothing else: not a field, and no near miss of it', async () => {
    const bound = await issuer.token({ aud, cnf: { 'x5t#S256': owner.thumbprint } });
    const thief = await pki.client('thief');
    const hex = (thumbprint: string): string => Buffer.from(thumbprint, 'base64url').toString('hex');
    const asked = (tlsClientAuth?: object, ...fields: string[]): Promise<string> =>
      outcome(port, 'GET /r', [
        `Authorization: Bearer ${bound}`,
        ...(tlsClientAuth === undefined ? [] : [`${CF}: ${JSON.stringify({ tlsClientAuth })}`]),
        ...fields,
      ]);
    const presented = { certPresented: '1', certVerified: 'FAILED:self signed certificate', certFingerprintSHA256: hex(owner.thumbprint) };
    expect(await asked(presented)).toBe('200');
    expect(await asked({ ...presented, certFingerprintSHA256: hex(thief.thumbprint) })).toBe('401 invalid_token certificate.mismatch');
    const without = { certPresented: '0', certVerified: 'NONE', certFingerprintSHA256: '' };
    expect(await asked(without)).toBe('401 invalid_token certificate.missing');
    expect(await asked({ ...presented, certPresented: '0' })).toBe('401 invalid_token certificate.missing');
    expect(await asked()).toBe('401 invalid_token certificate.missing');
    // What a client can send is not looked at.
    for (const field of ['Cf-Client-Cert-Sha256', 'X-Client-Cert-Sha256'])
      expect(await asked(without, `${field}: ${hex(owner.thumbprint)}`)).toBe('401 invalid_token certificate.missing');
    const near = [
      owner.thumbprint,
      hex(owner.thumbprint).slice(2),
      `${hex(owner.thumbprint)}00`,
      ` ${hex(owner.thumbprint)}`,
      hex(owner.thumbprint).slice(0, 40),
      // SHA-256 of nothing.
      'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      '',
      1,
      null,
      [hex(owner.thumbprint)],
    ];
    for (const certFingerprintSHA256 of near) {
      expect([certFingerprintSHA256, await asked({ ...presented, certFingerprintSHA256 })]).toEqual([
        certFingerprintSHA256,
        expect.stringMatching(/^401 invalid_token certificate\./),
      ]);
    }
  });

  it('a client that goes while the keys are fetched does not take them with it for everybody else', async () => {
    const slow = await startIssuer();
    const other = await startWorker(slow.url, 'slow');
    const token = await slow.token({ aud });
    const held: (() => void)[] = [];
    slow.answer = (_request, response) => {
      held.push(() => void response.destroy());
      return true;
    };
    const asked = slow.nextRequest(/./);
    const socket = connect(other, '127.0.0.1');
    socket.write(`GET /r HTTP/1.1\r\nHost: rs.example.com\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    await asked;
    socket.destroy();
    slow.answer = undefined;
    await expect.poll(async () => (await ask(other, 'GET /r', [`Authorization: Bearer ${token}`])).status, { timeout: 20_000 }).toBe(200);
    for (const end of held) end();
    await slow.close();
  });

  it('keys are fetched again by a request that waits for them, since what it leaves behind is cancelled', async () => {
    const slow = await startIssuer();
    slow.answer = (_request, response) => {
      setTimeout(() => {
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify({ keys: slow.keys.map(({ publicJwk }) => publicJwk) }));
      }, 200);
      return true;
    };
    const other = await startWorker(slow.url, 'refreshing', { uri: slow.jwksUri, freshFor: 1, staleFor: 2, cooldown: 1 });
    const fields = [`Authorization: Bearer ${await slow.token({ aud })}`];
    const statuses = new Set<number>();
    const again = async (): Promise<number> => {
      statuses.add((await ask(other, 'GET /r', fields)).status);
      return slow.requests.length;
    };
    await expect.poll(again, { interval: 300, timeout: 20_000 }).toBeGreaterThan(4);
    expect([...statuses]).toEqual([200]);
    await slow.close();
  });
});
