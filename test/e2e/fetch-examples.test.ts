import { readFileSync } from 'node:fs';
import { accessOf, cloudflareWorker, holdfast, requires } from '@holdfast/core/fetch';
import { runFunctions } from '@holdfast/example-functions';
import { runHono } from '@holdfast/example-hono';
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { createPki } from '@holdfast/test-support/pki';
import { Hono } from 'hono';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

it('Hono on Node: every request of the example is answered as it should be, and for the right reason', async () => {
  const attempts = await runHono();
  expect(attempts.map(({ title, status, reason }) => [title, status, reason])).toEqual([
    ['what is not protected', 200, undefined],
    ['no token', 401, 'request.no_credentials'],
    ['the owner, with its certificate', 200, undefined],
    ['a thief with the token and another certificate', 401, 'certificate.mismatch'],
    ['a thief with the token and no certificate', 401, 'certificate.missing'],
    ['the owner of a DPoP-bound token, with a proof', 200, undefined],
    ['a thief with the token and the proof', 401, 'replay.reused'],
    ['a thief with the token alone', 401, 'dpop.missing'],
    ['a proof for another path', 401, 'dpop.htu'],
    ['a stream, which ends when the token does', 200, undefined],
  ]);
  for (const { status, expected } of attempts) expect(status).toBe(expected);
  expect(attempts[2]?.body).toBe('{"owner":"user-1","branch":"north"}');
  expect(attempts.at(-1)?.body).toBe('data: balance 17\n\n');
});

it('AWS Lambda and Cloudflare Workers: the certificate is the one that the platform tells of, and no field is one', async () => {
  const attempts = await runFunctions();
  const expected = [
    ['no token', 401, 'request.no_credentials'],
    ['the owner, with its certificate', 200, undefined],
    ['a thief with the token and another certificate', 401, 'certificate.mismatch'],
    ['a thief with the token and no certificate', 401, 'certificate.missing'],
    ['a thief who sends the certificate of the owner in a field', 401, 'certificate.missing'],
    ['the owner, with too little scope', 403, 'scope.insufficient'],
  ];
  for (const platform of ['AWS Lambda', 'Cloudflare Workers']) {
    const answers = attempts.filter((attempt) => attempt.platform === platform);
    expect(answers.map(({ title, status, reason }) => [title, status, reason])).toEqual(expected);
    expect(answers[1]?.body).toBe('{"owner":"user-1"}');
  }
});

describe('the quick start of the README, as it stands', () => {
  let issuer: Issuer;
  beforeAll(async () => {
    issuer = await startIssuer();
  });
  afterAll(() => issuer.close());

  /** Only the issuer is changed. */
  function quickStart(example: string): string {
    const readme = readFileSync(new URL(`../../examples/${example}/README.md`, import.meta.url), 'utf8');
    const [, block = ''] = /```js\n([\s\S]*?)```/.exec(readme) ?? [];
    expect(block).toContain("'https://as.example.com'");
    return block.replace("'https://as.example.com'", JSON.stringify(issuer.url));
  }
  const run = (block: string, names: Record<string, unknown>): Promise<unknown> => {
    const AsyncFunction = async function () {}.constructor as new (...parts: string[]) => (...values: unknown[]) => Promise<unknown>;
    return new AsyncFunction(...Object.keys(names), block)(...Object.values(names));
  };
  const aud = 'https://api.example.com';

  it('of Hono', async () => {
    const app = new Hono();
    await run(quickStart('hono'), { app, holdfast, accessOf });
    expect((await app.request('/accounts')).status).toBe(401);
    const unbound = { authorization: `Bearer ${await issuer.token({ aud })}` };
    expect((await app.request('/accounts', { headers: unbound })).status).toBe(401);
    const key = await generateDpopKey();
    const token = await issuer.token({ aud, cnf: { jkt: key.thumbprint } });
    const dpop = makeProof({ key, token, htu: `${aud}/accounts`, iat: Math.floor(Date.now() / 1000) });
    const response = await app.request('/accounts', { headers: { authorization: `DPoP ${token}`, dpop } });
    expect([response.status, await response.text()]).toEqual([200, '{"owner":"user-1"}']);
  });

  it('of functions, also for a CORS preflight, whose error nobody would catch', async () => {
    const pki = await createPki();
    const [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
    const block = quickStart('functions');
    const names = (request: Request): Record<string, unknown> => ({ request, holdfast, accessOf, cloudflareWorker, requires });
    const asked = async (as: typeof owner, more: RequestInit = {}): Promise<[number, string]> => {
      const certFingerprintSHA256 = Buffer.from(as.thumbprint, 'base64url').toString('hex');
      const headers = {
        authorization: `Bearer ${await issuer.token({ aud, scope: 'accounts:read', cnf: { 'x5t#S256': owner.thumbprint } })}`,
      };
      const request = Object.assign(new Request('https://api.example.com/accounts', { headers, ...more }), {
        cf: { tlsClientAuth: { certPresented: '1', certVerified: 'SUCCESS', certFingerprintSHA256 } },
      });
      const response = (await run(`${block}\nreturn handle(request);`, names(request))) as Response;
      return [response.status, await response.text()];
    };
    expect(await asked(owner)).toEqual([200, '{"owner":"user-1"}']);
    expect((await asked(thief))[0]).toBe(401);
    const preflight = { origin: 'https://evil.example', 'access-control-request-method': 'GET' };
    expect((await asked(owner, { method: 'OPTIONS', headers: preflight }))[0]).toBe(401);
  });
});
