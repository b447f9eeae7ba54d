import { findChromium, INSTALL_CHROMIUM, openBrowser, runBrowser, type Step } from '@holdfast/example-browser';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { requestOnce } from '@holdfast/test-support/clients';
import { reasonToSkip } from '@holdfast/test-support/needs';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

const chromium = findChromium();
const missing = reasonToSkip(chromium !== undefined, 'Chromium', INSTALL_CHROMIUM);

/** What the finished page shows, and what a script in it finds. */
interface Shown {
  readonly rows: readonly string[];
  readonly text: string;
  readonly token: string;
  readonly key: { readonly type: string; readonly extractable: boolean; readonly usages: readonly string[]; readonly json: string };
}

const SHOWN = `import('/client.js').then(async ({ keyPair }) => {
  const { privateKey } = await keyPair();
  return {
    rows: [...document.querySelectorAll('.row')].map((row) => row.innerText),
    text: document.body.textContent,
    token: sessionStorage.getItem('token'),
    key: {
      type: privateKey.type,
      extractable: privateKey.extractable,
      usages: privateKey.usages,
      json: JSON.stringify(privateKey),
    },
  };
})`;

describe('a page in Chromium with a DPoP-bound token, and its thief', () => {
  let steps: readonly Step[];
  let shown: Shown;
  const requested: string[] = [];
  beforeAll(async () => {
    if (chromium === undefined) return;
    steps = await runBrowser(chromium, {
      before: (page) => page.on('request', (request) => requested.push(request.url())),
      after: async (page) => {
        shown = await page.evaluate<Shown>(SHOWN);
      },
    });
  });
  beforeEach(({ skip }) => {
    if (missing !== undefined) skip(missing);
  });

  const step = (id: string): Step => {
    const found = steps.find((one) => one.id === id);
    if (found === undefined) throw new Error(`There is no step ${id}.`);
    return found;
  };
  const outcomes = (...ids: string[]): unknown[] =>
    ids.map(step).map(({ id, answer, challenges, reason }) => {
      const errors = challenges === '' ? [] : parseChallenges([challenges]);
      return [id, answer, errors.map(({ scheme, parameters }) => [scheme, parameters['error']].filter(Boolean).join(' ')), reason];
    });
  /** `jkt …` as the step says it. */
  const jktIn = (id: string): string | undefined => /jkt [\w-]{12}/.exec(step(id).note ?? '')?.[0];

  it('makes a key that WebCrypto exports in no format, and of which nothing can be read', () => {
    expect(outcomes('key', 'export', 'take-key')).toEqual([
      ['key', 'made', [], undefined],
      ['export', 'InvalidAccessError', [], undefined],
      ['take-key', 'InvalidAccessError', [], undefined],
    ]);
    expect(shown.key).toEqual({ type: 'private', extractable: false, usages: ['sign'], json: '{}' });
  });

  it('gets a token bound to that key by authorization code, PKCE and dpop_jkt, and follows the nonce of the authorization server', () => {
    expect(outcomes('code', 'token-nonce', 'token')).toEqual([
      ['code', 'code', [], undefined],
      ['token-nonce', '400', [], undefined],
      ['token', '200', [], undefined],
    ]);
    const authorization = requested.map((url) => new URL(url)).filter(({ searchParams }) => searchParams.has('response_type'));
    expect(authorization.map(({ searchParams }) => Object.fromEntries(searchParams))).toEqual([
      {
        response_type: 'code',
        client_id: 'browser',
        redirect_uri: expect.stringMatching(/^https:/),
        scope: 'accounts:read',
        resource: expect.stringMatching(/^https:/),
        state: expect.any(String),
        code_challenge: expect.stringMatching(/^[\w-]{43}$/),
        code_challenge_method: 'S256',
        dpop_jkt: expect.stringMatching(/^[\w-]{43}$/),
      },
    ]);
    const [request] = authorization;
    expect(`jkt ${request?.searchParams.get('dpop_jkt')?.slice(0, 12)}`).toBe(jktIn('key'));
    expect(
      new Set(requested.map((url) => new URL(url)).flatMap(({ hostname, origin }) => (hostname === 'localhost' ? origin : []))).size,
    ).toBe(4);
    expect(step('token').note).toMatch(/^token_type DPoP, cnf jkt /);
    expect(jktIn('token')).toBe(jktIn('key'));
    expect(jktIn('key')).toBeDefined();
  });

  it('calls the API at another origin after a preflight, and follows its nonce by itself', () => {
    expect(outcomes('preflight', 'challenged', 'granted', 'next')).toEqual([
      ['preflight', '204', [], undefined],
      ['challenged', '401', ['Bearer', 'DPoP use_dpop_nonce'], 'nonce.missing'],
      ['granted', '200', [], undefined],
      ['next', '200', [], undefined],
    ]);
    expect(step('challenged').note).toMatch(/^DPoP-Nonce: ./);
    expect(step('granted').note).toMatch(/^DPoP, sub alice, jkt /);
  });

  it('has the same key after a reload', () => {
    expect(outcomes('reload')).toEqual([['reload', '200', [], undefined]]);
    expect(jktIn('reload')).toBe(jktIn('key'));
  });

  it('the token is worthless in Node: as a bearer token, without proof, with another key, with a proof that another key signed', () => {
    expect(outcomes('bearer', 'no-proof', 'other-key', 'forged')).toEqual([
      ['bearer', '401', ['Bearer invalid_token', 'DPoP'], 'cnf.presented_as_bearer'],
      ['no-proof', '401', ['Bearer', 'DPoP invalid_dpop_proof'], 'dpop.missing'],
      ['other-key', '401', ['Bearer', 'DPoP invalid_token'], 'dpop.key_mismatch'],
      ['forged', '401', ['Bearer', 'DPoP invalid_dpop_proof'], 'dpop.signature'],
    ]);
  });

  it('so are proofs of the owner: a recorded one, one for another URI, one with the nonce of another origin, one for tomorrow', () => {
    expect(outcomes('replayed', 'elsewhere', 'foreign-nonce', 'tomorrow')).toEqual([
      ['replayed', '401', ['Bearer', 'DPoP invalid_dpop_proof'], 'replay.reused'],
      ['elsewhere', '401', ['Bearer', 'DPoP invalid_dpop_proof'], 'dpop.htu'],
      ['foreign-nonce', '401', ['Bearer', 'DPoP use_dpop_nonce'], 'nonce.unknown'],
      ['tomorrow', '401', ['Bearer', 'DPoP invalid_dpop_proof'], 'dpop.in_future'],
    ]);
  });

  it('what is not protected against: a script in the page has the key sign a proof, which is good once', () => {
    expect(outcomes('fresh', 'fresh-again')).toEqual([
      ['fresh', '200', [], undefined],
      ['fresh-again', '401', ['Bearer', 'DPoP invalid_dpop_proof'], 'replay.reused'],
    ]);
  });

  it('shows every step, each as it should be, and no token', () => {
    expect(steps.filter(({ answer, expected }) => answer !== expected)).toEqual([]);
    expect(steps).toHaveLength(21);
    expect(shown.rows.map((row) => row.split('\n').map((line) => line.trim()))).toEqual(
      steps.map(({ title, answer, id }) => {
        const mark = id === 'fresh' ? '!' : '✓';
        return expect.arrayContaining([mark, title, answer]);
      }),
    );
    expect(shown.text).toContain('All 21 answers are as they should be.');
    expect(shown.token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    expect(shown.text).not.toContain(shown.token.split('.')[2]);
  });
});

describe('left open for a person', () => {
  it('says where the page is and which browser trusts it, serves it under a policy of its own, and ends', async () => {
    const lines: string[] = [];
    const log = vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line));
    let end = (): void => {};
    const opened = openBrowser(
      undefined,
      new Promise<void>((resolve) => {
        end = resolve;
      }),
    );
    await expect.poll(() => lines.join('\n'), { timeout: 10_000 }).toContain('The page is at ');
    log.mockRestore();
    const said = lines.join('\n');
    expect(said).toMatch(/--ignore-certificate-errors-spki-list=[\w+/]{43}=/);
    const port = Number(/https:\/\/localhost:(\d+)\//.exec(said)?.[1]);
    const request = { port, rejectUnauthorized: false };
    const { status, headers, body } = await requestOnce({ ...request, path: '/' });
    expect(status).toBe(200);
    expect(body).toContain('<title>Holdfast in a browser</title>');
    expect(new Headers(headers.map(([name, value]) => [name, value])).get('content-security-policy')).toMatch(
      /^default-src 'none'; script-src 'self' 'sha256-/,
    );
    end();
    await opened;
    await expect(requestOnce({ ...request, path: '/' })).rejects.toThrow(/ECONNREFUSED/);
  });
});
