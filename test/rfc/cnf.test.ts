import { generateDpopKey } from '@holdfast/test-support/dpop';
import { generateSigningKey } from '@holdfast/test-support/jwt';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { fromTls } from '@holdfast/express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Resource, startResource } from './resource.ts';

const BEARER = '401 B:invalid_token';
const DPOP = '401 D:invalid_token';
let pki: Pki;
let c1: Identity;
let c2: Identity;
let rs: Resource;
const open: Resource[] = [];

beforeAll(async () => {
  pki = await createPki();
  [c1, c2] = [await pki.client('one'), await pki.client('two')];
  rs = await startResource({ tls: pki, options: { certificate: fromTls() } });
});
afterAll(async () => {
  await Promise.all(open.map((resource) => resource.close()));
  await rs.close();
});

async function start(options: object): Promise<Resource> {
  const resource = await startResource({ like: rs, tls: pki, options: { certificate: fromTls(), ...options } });
  open.push(resource);
  return resource;
}

const certificate = ({ cert, key }: Identity) => ({ tls: { cert, key } });
const bearer = (token: string, sent: object = {}) => rs.send({ scheme: 'Bearer', token, ...sent }).then(({ outcome }) => outcome);
const dpop = (token: string, changes: object = {}, sent: object = {}) => rs.present(token, changes, sent).then(({ outcome }) => outcome);

describe('binding', () => {
  it('CNF-01 refuses a DPoP-bound token as Bearer, with and without a proof', async () => {
    const token = await rs.token();
    expect(await bearer(token)).toBe(BEARER);
    expect(rs.events.at(-1)?.reason).toBe('cnf.presented_as_bearer');
    expect(await bearer(token, { proof: rs.proof(token) })).toBe(BEARER);
    const refused = await rs.send({ scheme: 'Bearer', token });
    expect(refused.challenges.map(({ parameters }) => parameters['error'])).toEqual(['invalid_token', undefined]);
  });

  it('CNF-03 refuses an unbound token with the DPoP scheme, although unbound tokens are accepted', async () => {
    const token = await rs.token({});
    expect(await bearer(token)).toBe('200');
    expect(await dpop(token)).toBe(DPOP);
    expect(rs.events.at(-1)?.reason).toBe('cnf.presented_as_dpop');
  });

  it('CNF-03 refuses a token that calls itself DPoP and names no key', async () => {
    for (const type of ['DPoP', 'dpop']) {
      expect(await bearer(await rs.token({ token_type: type }))).toBe(BEARER);
      expect(await bearer(await rs.token({ token_type: type, cnf: { 'x5t#S256': c1.thumbprint } }), certificate(c1))).toBe(BEARER);
    }
    expect(await bearer(await rs.token({ token_type: 'Bearer' }))).toBe('200');
    expect(await dpop(await rs.token({ token_type: 'DPoP', cnf: { jkt: rs.key.thumbprint } }))).toBe('200');
  });

  it('CNF-04 refuses a certificate-bound token with the DPoP scheme', async () => {
    const token = await rs.token({ cnf: { 'x5t#S256': c1.thumbprint } });
    expect(await bearer(token, certificate(c1))).toBe('200');
    expect(await dpop(token, {}, certificate(c1))).toBe(DPOP);
  });

  it('CNF-05 with both bindings both must hold, and the scheme must be DPoP', async () => {
    const token = await rs.token({ cnf: { jkt: rs.key.thumbprint, 'x5t#S256': c1.thumbprint } });
    expect(await dpop(token, {}, certificate(c1))).toBe('200');
    expect(await dpop(token)).toBe(DPOP);
    expect(rs.events.at(-1)?.reason).toBe('certificate.missing');
    expect(await dpop(token, {}, certificate(c2))).toBe(DPOP);
    expect(rs.events.at(-1)?.reason).toBe('certificate.mismatch');
    expect(await dpop(token, { key: await generateDpopKey() }, certificate(c1))).toBe(DPOP);
    expect(await dpop(token, { htm: 'POST' }, certificate(c1))).toBe('401 D:invalid_dpop_proof');
    expect((await rs.send({ token, ...certificate(c1) })).outcome).toBe('401 D:invalid_dpop_proof');
    expect(await bearer(token, certificate(c1))).toBe(BEARER);
  });

  it('CNF-05 a certificate that is wrong does not use up the proof', async () => {
    const token = await rs.token({ cnf: { jkt: rs.key.thumbprint, 'x5t#S256': c1.thumbprint } });
    const proof = rs.proof(token);
    expect((await rs.send({ token, proof, ...certificate(c2) })).outcome).toBe(DPOP);
    expect((await rs.send({ token, proof, ...certificate(c1) })).outcome).toBe('200');
  });

  it('CNF-06 ignores members that it does not know beside one that it does', async () => {
    expect(await dpop(await rs.token({ cnf: { jkt: rs.key.thumbprint, foo: 1, 'kc-jkt-type': 'x' } }))).toBe('200');
  });

  it.each([{ jwk: { kty: 'EC' } }, { htsk: {} }, { kid: 'k' }, { jku: 'https://x' }, { foo: 1 }, { JKT: 'x' }, { 'x5t#s256': 'x' }])(
    'CNF-07 refuses cnf %j',
    async (cnf) => {
      const token = await rs.token({ cnf });
      expect(await bearer(token)).toBe(BEARER);
      expect(await dpop(token)).toBe(DPOP);
    },
  );

  it.each(['x', [], null, true, {}, 1])('CNF-08 refuses cnf %j', async (cnf) => {
    const token = await rs.token({ cnf });
    expect(await bearer(token)).toBe(BEARER);
    expect(await dpop(token)).toBe(DPOP);
  });

  it('CNF-09 refuses a jkt that is no thumbprint, and never reads it as unbound', async () => {
    const { thumbprint } = rs.key;
    for (const jkt of [
      '',
      null,
      {},
      [thumbprint],
      `${thumbprint}A`,
      thumbprint.slice(1),
      `${thumbprint.slice(1)}=`,
      `${thumbprint} `,
      1,
      false,
    ]) {
      const token = await rs.token({ cnf: { jkt } });
      expect(await bearer(token)).toBe(BEARER);
      expect(await dpop(token)).toBe(DPOP);
    }
  });

  it('CNF-09 refuses a jkt outside of cnf', async () => {
    const token = await rs.token({ jkt: rs.key.thumbprint });
    expect(await bearer(token)).toBe(BEARER);
    expect(await dpop(token)).toBe(DPOP);
  });

  it('CNF-10 refuses unbound tokens by default', async () => {
    const strict = await start({ unconstrained: 'refuse' });
    expect((await strict.send({ scheme: 'Bearer', token: await rs.token({}) })).outcome).toBe(BEARER);
    expect((await strict.present(await rs.token({}))).outcome).toBe(DPOP);
    expect((await strict.present(await rs.token())).outcome).toBe('200');
  });

  it('CNF-11 refuses DPoP-bound tokens where DPoP is not offered, and says how to offer it', async () => {
    for (const options of [{ dpop: false }, { audience: ['https://rs.example.com', 'api'], dpop: false }]) {
      const plain = await start(options);
      const token = await rs.token();
      const bearerAnswer = await plain.send({ scheme: 'Bearer', token });
      expect(bearerAnswer.outcome).toBe(BEARER);
      expect(bearerAnswer.challenges).toHaveLength(1);
      expect(plain.events.at(-1)).toMatchObject({ reason: 'dpop.not_offered', text: expect.stringContaining('publicUrl') });
      expect((await plain.present(token)).outcome).toBe('401 NONE');
    }
  });

  it('CNF-12 ignores a stray DPoP field beside an unbound Bearer token, whatever it holds', async () => {
    const token = await rs.token({});
    for (const proof of [rs.proof(token), 'nonsense', ['a', 'b'], '']) expect(await bearer(token, { proof })).toBe('200');
  });

  it('CNF-13, ERR-01 a resource of DPoP alone has no Bearer challenge, and Bearer counts as nothing', async () => {
    const only = await start({ schemes: ['DPoP'] });
    const answer = await only.send({ scheme: 'Bearer', token: await rs.token() });
    expect(answer.outcome).toBe('401 NONE');
    expect(answer.challenges.map(({ scheme }) => scheme)).toEqual(['DPoP']);
    expect((await only.present(await rs.token())).outcome).toBe('200');
    const both = await only.send({ token: await rs.token(), lines: ['Authorization: Bearer x'] });
    expect(both.outcome).toBe('400 D:invalid_request');
  });

  it('CNF-14 compares thumbprints of any length without throwing, on both kinds of crypto', async () => {
    const node = await import('../../packages/core/src/crypto/node.ts');
    const web = await import('../../packages/core/src/crypto/web.ts');
    const samples = ['', 'a', 'b', 'ab', '\u0161', 'x'.repeat(256), 'x'.repeat(257), 'x'.repeat(255) + 'y', '\ud800', '\udc00'];
    for (const { equal } of [node, web]) {
      for (const a of samples) for (const b of samples) expect(equal(a, b)).toBe(a === b);
    }
  });

  it('CNF-15 believes no cnf of a token whose signature is wrong', async () => {
    const forged = await rs.issuer.token(
      { cnf: { jkt: rs.key.thumbprint } },
      {},
      { key: await generateSigningKey('ES256', rs.issuer.keys[0]?.kid) },
    );
    expect(await dpop(forged)).toBe(DPOP);
    expect(rs.events.at(-1)?.reason).toBe('token.signature');
  });

  it('CNF-16 does not take the proof of one token for another with the same key', async () => {
    const [one, other] = [await rs.token(), await rs.token({ sub: 'user-2', cnf: { jkt: rs.key.thumbprint } })];
    expect((await rs.send({ token: other, proof: rs.proof(one) })).outcome).toBe('401 D:invalid_dpop_proof');
    expect(rs.events.at(-1)?.reason).toBe('dpop.ath');
  });

  it('CNF-17 does not take the token of an issuer that it does not trust, with the key of a victim', async () => {
    const token = await rs.token({ iss: 'https://attacker.example', cnf: { jkt: rs.key.thumbprint } });
    expect(await dpop(token)).toBe(DPOP);
  });

  it('ERR-08, ERR-13 sends the challenges on lines of their own, Bearer first, with algs', async () => {
    const answer = await rs.send({});
    expect(answer.lines('www-authenticate')).toEqual([
      'Bearer realm="https://rs.example.com"',
      'DPoP realm="https://rs.example.com", algs="ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519"',
    ]);
    expect(answer.body).toBe('');
  });

  it('ERR-14 puts insufficient_scope into the DPoP challenge of a DPoP client', async () => {
    const { holdfast, requires } = await import('@holdfast/express');
    const { answerWithAccess } = await import('./resource.ts');
    const scoped = await startResource({
      like: rs,
      build: (app, options) => app.use(holdfast(options), requires({ scope: 'write' }), answerWithAccess(app)),
    });
    open.push(scoped);
    const answer = await scoped.present(await rs.token());
    expect(answer.outcome).toBe('403 D:insufficient_scope');
    expect(answer.challenges[1]?.parameters).toMatchObject({ scope: 'write', algs: expect.any(String) });
  });

  it('ERR-16, EDG-11 keeps token, proof and their parts out of answers and events', async () => {
    const token = await rs.token();
    const proof = rs.proof(token, { htm: 'POST' });
    const answer = await rs.send({ token, proof });
    const told = JSON.stringify([answer.body, answer.challenges, rs.events]);
    for (const part of [...token.split('.'), ...proof.split('.')].slice(1)) expect(told).not.toContain(part);
    expect(told).not.toMatch(/eyJ/);
  });
});

describe('options of DPoP', () => {
  const wrong: [string, object, RegExp][] = [
    ['DPoP without an origin', { audience: 'api', dpop: true }, /publicUrl: is missing/],
    ['DPoP as an object without an origin', { audience: 'api', dpop: {} }, /publicUrl: is missing/],
    ['only DPoP without an origin', { audience: 'api', schemes: ['DPoP'] }, /publicUrl: is missing/],
    ['a publicUrl with a query', { publicUrl: 'https://rs.example.com?x' }, /publicUrl/],
    ['a publicUrl with a user', { publicUrl: 'https://u:p@rs.example.com' }, /publicUrl/],
    ['a publicUrl that is no list of URLs', { publicUrl: [] }, /publicUrl/],
    ['a publicUrl of http', { publicUrl: 'http://rs.example.com' }, /publicUrl/],
    ['DPoP on and not among the schemes', { dpop: true, schemes: ['Bearer'] }, /schemes/],
    ['DPoP off and among the schemes', { dpop: false, schemes: ['DPoP'] }, /dpop/],
    ['an unknown scheme', { schemes: ['Basic'] }, /schemes/],
    ['an unknown member of dpop', { dpop: { windows: {} } }, /dpop\.windows: is no option/],
    ['a window too wide', { dpop: { window: { past: 86_400 } } }, /dpop\.window\.past/],
    ['a window wider than a profile', { profiles: ['mcp'], dpop: { window: { past: 301 } } }, /dpop\.window\.past/],
    ['a store that is none', { dpop: { replay: {} } }, /dpop\.replay/],
    ['true as a store', { dpop: { replay: true } }, /dpop\.replay/],
    ['fapi2 with memory alone', { profiles: ['fapi2'], unconstrained: 'refuse' }, /dpop\.replay: .*share/],
    ['fapi2 without a replay check', { profiles: ['fapi2'], unconstrained: 'refuse', dpop: { replay: false } }, /dpop\.replay/],
    ['fapi2 with unbound tokens', { profiles: ['fapi2'], dpop: false }, /unconstrained/],
    ['cors that is no boolean', { cors: 'yes' }, /cors/],
    ['credentials unknown', { credentials: 'none' }, /credentials/],
  ];
  it.each(wrong)('refuses %s', async (_name, options, problem) => {
    await expect(startResource({ like: rs, options })).rejects.toThrow(problem);
  });

  it('tells every problem at once', async () => {
    const failure = await startResource({
      like: rs,
      options: { dpop: { algorithms: ['HS256'], window: { future: -1 } }, cors: 1 } as object,
    }).catch(String);
    for (const problem of [/dpop\.algorithms/, /dpop\.window\.future/, /cors/]) expect(failure).toMatch(problem);
  });

  it('fapi2 is satisfied with mutual TLS alone', async () => {
    const mtls = await start({ profiles: ['fapi2'], unconstrained: 'refuse', dpop: false });
    const token = await rs.token({ cnf: { 'x5t#S256': c1.thumbprint } });
    expect((await mtls.send({ scheme: 'Bearer', token, ...certificate(c1) })).outcome).toBe('200');
  });

  it('offers DPoP by itself where an audience is a URL, and not where none is', async () => {
    const plain = await start({ audience: ['https://rs.example.com', 'api'] });
    expect((await plain.send({})).challenges).toHaveLength(2);
    const unknown = await start({ audience: 'api' });
    expect((await unknown.send({})).challenges).toHaveLength(1);
  });
});
