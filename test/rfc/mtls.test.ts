import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { certificateOf, type Connection, fromTls } from '@holdfast/core';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { type Api, refusalOf, startApi } from './api.ts';

const appendixA = vectors.rfc8705_certificates.appendixA;
const INVALID = '401 | Bearer invalid_token';

describe('MTLS: confirmation by client certificate (RFC 8705 §3)', () => {
  let pki: Pki;
  let owner: Identity;
  let other: Identity;
  let api: Api;
  const bound = (identity: { thumbprint: string }): Promise<string> => api.issuer.token({ cnf: { 'x5t#S256': identity.thumbprint } });

  beforeAll(async () => {
    pki = await createPki();
    [owner, other] = [await pki.client('owner'), await pki.client('other')];
    api = await startApi({ tls: pki, certificate: fromTls() });
  });
  afterAll(() => api.close());

  it('MTLS-01 a token bound to the certificate of the connection is accepted', async () => {
    const { status, access } = await api.ask(`Bearer ${await bound(owner)}`, { identity: owner });
    expect(status).toBe(200);
    expect(access).toMatchObject({
      confirmed: true,
      scheme: 'Bearer',
      confirmations: [{ member: 'x5t#S256', thumbprint: owner.thumbprint }],
    });
  });

  it('MTLS-02 another certificate: 401 invalid_token, and the event says which was expected', async () => {
    const answer = await api.ask(`Bearer ${await bound(owner)}`, { identity: other });
    expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.mismatch']);
    expect(api.events[0]).toMatchObject({ expected: `${owner.thumbprint.slice(0, 12)}…`, received: `${other.thumbprint.slice(0, 12)}…` });
  });

  it('MTLS-03 MTLS-13 no certificate: 401 invalid_token, never 403 and never a TLS alert', async () => {
    const answer = await api.ask(`Bearer ${await bound(owner)}`);
    expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.missing']);
  });

  it('MTLS-04 a certificate is hashed once for its connection, however many requests come on it', async () => {
    let readings = 0;
    const connection: Connection = {
      peer: { kind: 'ip', address: '127.0.0.1' },
      peerCertificate: () => {
        readings += 1;
        return owner.der;
      },
    };
    const source = fromTls();
    const requests = ['/a', '/b', '/c'].map((target) => ({ method: 'GET', target, fieldLines: () => [], connection }));
    const [first, ...others] = requests.map((request) => source(request));
    expect(first).toMatchObject({ thumbprint: owner.thumbprint });
    expect([readings, others.every((one) => one === first)]).toEqual([1, true]);
  });

  it('MTLS-04 the thumbprint is base64url of SHA-256 over the DER: RFC 8705 Appendix A', () => {
    expect(certificateOf(Buffer.from(appendixA.derBase64, 'base64')).thumbprint).toBe(appendixA.cnf['x5t#S256']);
  });

  describe('with the certificate of RFC 8705 Appendix A', () => {
    const der = Buffer.from(appendixA.derBase64, 'base64');
    let seen: Api;
    beforeAll(async () => {
      seen = await startApi({ certificate: () => certificateOf(der), issuedBy: api.issuer });
    });
    afterAll(() => seen.close());

    it('MTLS-04 MTLS-08 its own thumbprint passes, though it expired in 2022', async () => {
      const { status } = await seen.ask(`Bearer ${await seen.issuer.token({ cnf: appendixA.cnf })}`);
      expect(status).toBe(200);
    });

    it.each(Object.entries(appendixA.mustNotMatch))('MTLS-05 MTLS-06 a near miss never matches: %s', async (name, value) => {
      const answer = await seen.ask(`Bearer ${await seen.issuer.token({ cnf: { 'x5t#S256': value } })}`);
      expect(refusalOf(answer)).toBe(INVALID);
      expect(answer.access).toBeUndefined();
      if (name.startsWith('hex')) expect(answer.reason).toBe('cnf.hex_thumbprint');
    });

    it.each([[123], [''], [null], [[appendixA.cnf['x5t#S256']]], [{}], [true]])(
      'MTLS-14 x5t#S256 that is no thumbprint: %j',
      async (value) => {
        const answer = await seen.ask(`Bearer ${await seen.issuer.token({ cnf: { 'x5t#S256': value } })}`);
        expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'cnf.malformed']);
      },
    );

    it.each([
      ['x5t', appendixA.mustNotMatch.sha1_x5t],
      ['x5c', appendixA.jwk.x5c],
      ['x5t#uri', 'https://example.com/cert'],
    ])('MTLS-15 %s alone never satisfies the binding', async (member, value) => {
      const answer = await seen.ask(`Bearer ${await seen.issuer.token({ cnf: { [member]: value } })}`);
      expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'cnf.not_understood']);
    });

    it('MTLS-08 with the policy on dates, the expired certificate is refused', async () => {
      const strict = await startApi({ certificate: () => certificateOf(der), certificatePolicy: { validity: true }, issuedBy: api.issuer });
      const answer = await strict.ask(`Bearer ${await api.issuer.token({ cnf: appendixA.cnf })}`);
      expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.outside_validity']);
      await strict.close();
    });

    it('MTLS-19 bytes that are no certificate are only hashed; with the policy on dates they are refused', async () => {
      const garbage = certificateOf(new TextEncoder().encode('no DER at all'));
      const strict = await startApi({ certificate: () => garbage, certificatePolicy: { validity: true }, issuedBy: api.issuer });
      const answer = await strict.ask(`Bearer ${await api.issuer.token({ cnf: { 'x5t#S256': garbage.thumbprint } })}`);
      expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.unreadable']);
      await strict.close();
    });
  });

  it('MTLS-07 a self-signed certificate is enough: possession, not trust', async () => {
    const self = await pki.selfSigned('self');
    expect((await api.ask(`Bearer ${await bound(self)}`, { identity: self })).status).toBe(200);
  });

  it('MTLS-08 the policy on dates accepts a certificate in its validity period and refuses it before and after', async () => {
    const strict = await startApi({ tls: pki, certificate: fromTls(), certificatePolicy: { validity: true } });
    const at = strict.clock.now();
    const identity = await pki.client('dated', { notBefore: new Date((at - 100) * 1000), notAfter: new Date((at + 100) * 1000) });
    const token = await strict.issuer.token({ cnf: { 'x5t#S256': identity.thumbprint }, exp: at + 1000 });
    const ask = async (): Promise<[number, string | undefined]> => {
      const { status, reason } = await strict.ask(`Bearer ${token}`, { identity });
      return [status, reason];
    };
    expect(await ask()).toEqual([200, undefined]);
    strict.clock.advance(101);
    expect(await ask()).toEqual([401, 'certificate.outside_validity']);
    await strict.close();

    const early = await startApi({ tls: pki, certificate: fromTls(), certificatePolicy: { validity: true } });
    const future = await pki.client('future', { notBefore: new Date((at + 50) * 1000), notAfter: new Date((at + 100) * 1000) });
    const answer = await early.ask(`Bearer ${await early.issuer.token({ cnf: { 'x5t#S256': future.thumbprint } })}`, { identity: future });
    expect(answer.reason).toBe('certificate.outside_validity');
    await early.close();
  });

  it('MTLS-09 a renewed certificate over the same key does not match', async () => {
    const renewed = await pki.renew(owner);
    const answer = await api.ask(`Bearer ${await bound(owner)}`, { identity: renewed });
    expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.mismatch']);
  });

  it('MTLS-10 a client without certificate and with a plain token gets through the handshake, and in where unbound tokens are accepted', async () => {
    expect((await api.ask(`Bearer ${await api.issuer.token()}`)).status).toBe(200);
  });

  it('MTLS-12 a token without cnf over mutual TLS is still a bearer token: refused by default', async () => {
    const strict = await startApi({ tls: pki, certificate: fromTls(), unconstrained: 'refuse' });
    const answer = await strict.ask(`Bearer ${await strict.issuer.token()}`, { identity: owner });
    expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'cnf.absent']);
    await strict.close();
  });

  it('MTLS-16 the error stands in the Bearer challenge', async () => {
    const { challenges } = await api.ask(`Bearer ${await bound(owner)}`, { identity: other });
    expect(challenges[0]).toMatchObject({ scheme: 'Bearer', parameters: { error: 'invalid_token' } });
  });

  it.each(['Client-Cert', 'X-SSL-Client-Cert', 'X-Client-Cert', 'ssl-client-cert', 'X-ARR-ClientCert'])(
    'TTRP-01 a certificate in a field is never read unless an edge is configured: %s',
    async (name) => {
      const value = name === 'Client-Cert' ? `:${Buffer.from(owner.der).toString('base64')}:` : encodeURIComponent(owner.cert);
      const answer = await api.ask(`Bearer ${await bound(owner)}`, { lines: [`${name}: ${value}`] });
      expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.missing']);
    },
  );

  it('a bound token at a resource without a source of certificates is refused, and the reason names the fix', async () => {
    const blind = await startApi({ tls: pki });
    const answer = await blind.ask(`Bearer ${await blind.issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } })}`, { identity: owner });
    expect([refusalOf(answer), answer.reason]).toEqual([INVALID, 'certificate.no_source']);
    expect(blind.events[0]?.text).toContain('fromTls()');
    await blind.close();
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('certificate source broke: secret');
      },
    ],
    ['rejects', () => Promise.reject(new Error('certificate source broke: secret'))],
  ])('a source of certificates that %s is our fault: 503 without a word of why', async (_how, certificate) => {
    const broken = await startApi({ certificate });
    const answer = await broken.ask(`Bearer ${await broken.issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } })}`);
    expect([answer.status, answer.reason, answer.body, answer.challengeLines]).toEqual([503, 'unavailable.certificate', '', []]);
    expect(JSON.stringify(broken.events)).not.toContain('secret');
    await broken.close();
  });
});
