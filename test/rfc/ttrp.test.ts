// Certificates from a proxy that ends TLS (RFC 9440). Where edges.md and the row differ, what edges really send decides: no
// parameters, one spelling. Every refusal is 401 invalid_token (RFC 6750 §3.1); only the event tells the reasons apart.
import { createServer } from 'node:http';
import {
  apache,
  auth0CustomerEdge,
  azureAppService,
  type CertificateSource,
  envoy,
  fromForwardedField,
  fromTls,
  isRejection,
  nginx,
  rfc9440,
} from '@holdfast/core';
import { holdfast } from '@holdfast/express';
import { extension, issue } from '@holdfast/test-support/authority';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EDGE, viewOf } from '../edges/view.ts';
import vectors from '../vectors/vectors.json' with { type: 'json' };
import { type Api, type ApiOptions, AUDIENCE, GRANTED, refusalOf, startApi, verdictOf } from './api.ts';

const { appendixA } = vectors.rfc9440_client_cert;
const CLIENT_CERT = `Client-Cert: ${appendixA.clientCert}`;
const LEAF = appendixA['x5t#S256'].leaf;
const base64 = appendixA.clientCert.slice(1, -1);

const KEY = 'the-key-of-the-edge-that-clients-never-see';
const trust = { peers: ['127.0.0.1', '::1'], secret: { field: 'Edge-Key', values: [KEY] } };
const FROM_EDGE = `Edge-Key: ${KEY}`;

let pki: Pki;
let owner: Identity;
let api: Api;
beforeAll(async () => {
  pki = await createPki();
  owner = await pki.client('owner');
  api = await startApi({ certificate: rfc9440({ trust }) });
});
afterAll(() => api.close());

/** A request of the edge, with a token that is bound to this thumbprint. */
async function ask(lines: readonly string[], thumbprint: string = LEAF, of: Api = api): Promise<string> {
  const answer = await of.ask(`Bearer ${await of.issuer.token({ cnf: { 'x5t#S256': thumbprint } })}`, { lines: [FROM_EDGE, ...lines] });
  if (answer.access === undefined) expect(refusalOf(answer)).toBe('401 | Bearer invalid_token');
  return answer.access === undefined ? (answer.reason ?? 'no reason') : verdictOf(answer);
}

/** The same at another API, for once. */
async function askAt(options: ApiOptions, lines: readonly string[], thumbprint: string): Promise<string> {
  const other = await startApi({ ...options, issuedBy: api.issuer });
  try {
    return await ask(lines, thumbprint, other);
  } finally {
    await other.close();
  }
}

describe('TTRP: the certificate in a field of the edge (RFC 9440)', () => {
  it('TTRP-01 is not read unless an edge is configured', async () => {
    expect(await askAt({}, [CLIENT_CERT], LEAF)).toBe('certificate.no_source');
    expect(await askAt({ certificate: fromTls() }, [CLIENT_CERT], LEAF)).toBe('certificate.missing');
  });

  it('TTRP-02 is read from the trusted edge, and from nobody else', async () => {
    expect(await ask([CLIENT_CERT])).toBe(GRANTED);
    const elsewhere = rfc9440({ trust: { ...trust, peers: ['10.1.2.3'] } });
    expect(await askAt({ certificate: elsewhere }, [CLIENT_CERT], LEAF)).toBe('certificate.untrusted_peer');
  });

  it('TTRP-02 an untrusted peer is named in the event, and without the field there is nothing to distrust', async () => {
    const token = await api.issuer.token({ cnf: { 'x5t#S256': LEAF } });
    const { reason } = await api.ask(`Bearer ${token}`, { lines: [CLIENT_CERT, 'Edge-Key: guessed-by-a-client-that-goes-around-it'] });
    expect(reason).toBe('certificate.untrusted_peer');
    expect(api.events[0]).toMatchObject({ detail: 'secret', received: expect.stringMatching(/127\.0\.0\.1$|^::1$/) });
    expect(JSON.stringify(api.events)).not.toMatch(/guessed|the-key-of/);
    expect((await api.ask(`Bearer ${token}`)).reason).toBe('certificate.missing');
  });

  it('TTRP-03 is refused where it comes twice, as where the edge appends to what the client sent', async () => {
    const theirs = `Client-Cert: :${Buffer.from(owner.der).toString('base64')}:`;
    for (const lines of [
      [CLIENT_CERT, theirs],
      [theirs, CLIENT_CERT],
      [CLIENT_CERT, CLIENT_CERT],
      ['Client-Cert:', CLIENT_CERT],
      [CLIENT_CERT, 'client-CERT: '],
    ]) {
      expect(await ask(lines)).toBe('certificate.several_lines');
    }
  });

  it('TTRP-04 is a byte sequence: RFC 9440 Appendix A', async () => {
    expect(await ask([CLIENT_CERT], 'v68ffgcPn6jdYpBfFY2nP4ShE2Yk-6_Mk5PI9yh6aes')).toBe(GRANTED);
  });

  it.each([', ', ',', ' , '])('TTRP-05 is no list: two with %j between them', async (separator) => {
    const theirs = `:${Buffer.from(owner.der).toString('base64')}:`;
    for (const value of [`${appendixA.clientCert}${separator}${theirs}`, `${theirs}${separator}${appendixA.clientCert}`]) {
      expect(await ask([`Client-Cert: ${value}`])).toBe('certificate.malformed');
      expect(await ask([`Client-Cert: ${value}`], owner.thumbprint)).toBe('certificate.malformed');
    }
  });

  it.each([
    ['without colons', base64],
    ['without the first colon', `${base64}:`],
    ['without the last colon', `:${base64}`],
    ['a space inside', `:${base64.slice(0, 8)} ${base64.slice(8)}:`],
    ['base64url', `:${base64.replaceAll('+', '-').replaceAll('/', '_')}:`],
    ['a quoted string', `"${base64}"`],
    ['a token', base64.replace(/[^A-Za-z]/g, '')],
    ['characters of no alphabet', `:${base64.slice(0, 8)}!${base64.slice(9)}:`],
    ['too short', ':MIIB:'],
  ])('TTRP-06 fails where it is not written as one: %s', async (_how, value) => {
    expect(await ask([`Client-Cert: ${value}`])).toBe('certificate.malformed');
  });

  it('TTRP-07 without padding, or with stray bits, is refused: RFC 9651 would take it, and no edge writes it', async () => {
    const unpadded = Buffer.from(appendixA.clientCert.slice(1, -1), 'base64').toString('base64').replace(/=+$/, '');
    expect(unpadded.length).toBeLessThan(base64.length);
    expect(await ask([`Client-Cert: :${unpadded}:`])).toBe('certificate.malformed');
    expect(base64).toMatch(/k=$/);
    expect(await ask([`Client-Cert: :${base64.replace(/k=$/, 'l=')}:`])).toBe('certificate.malformed');
  });

  it('TTRP-08 may have white space around it; with parameters, which RFC 9440 does not know, it is refused', async () => {
    expect(await ask([`Client-Cert:  \t ${appendixA.clientCert} \t `])).toBe(GRANTED);
    for (const parameters of [';x=1', '; x', ';', ' ;x=1'])
      expect(await ask([`Client-Cert: ${appendixA.clientCert}${parameters}`])).toBe('certificate.malformed');
  });

  it('TTRP-09 is alone in its field', async () => {
    for (const value of [
      `${appendixA.clientCert} foo`,
      `${appendixA.clientCert}foo`,
      `foo ${appendixA.clientCert}`,
      `${appendixA.clientCert}${appendixA.clientCert}`,
    ]) {
      expect(await ask([`Client-Cert: ${value}`])).toBe('certificate.malformed');
    }
  });

  it('TTRP-10 that is empty says that there is none; bytes that are no certificate are refused', async () => {
    expect(await ask(['Client-Cert: ::'])).toBe('certificate.not_presented');
    expect(await ask(['Client-Cert:'])).toBe('certificate.not_presented');
    const der = Buffer.from(base64, 'base64');
    for (const bytes of [
      Buffer.concat([der, Buffer.of(0)]),
      Buffer.concat([der, der]),
      der.subarray(1),
      Buffer.from('hello'),
      Buffer.of(0x30, 0),
    ]) {
      expect(await ask([`Client-Cert: :${bytes.toString('base64')}:`])).toBe('certificate.malformed');
    }
  });

  it('TTRP-11 may be long, where Node and `longest` are told so; beyond `longest` it is refused unread', async () => {
    const now = Math.floor(Date.now() / 1000);
    const extensions = [extension('1.2.3.4', false, new Uint8Array(16_384))];
    const large = await issue({ subject: 'large', notBefore: now, notAfter: now + 60, extensions });
    const line = `Client-Cert: :${Buffer.from(large.der).toString('base64')}:`;
    expect(line.length).toBeGreaterThan(16_384 * (4 / 3));
    expect(await askAt({ certificate: rfc9440({ trust, longest: 32_768 }) }, [line], large.thumbprint)).toBe(GRANTED);
    expect(await ask([line], large.thumbprint)).toBe('certificate.malformed');
  });

  describe('with Client-Cert-Chain', () => {
    const source = rfc9440({ trust: { peers: [EDGE] } });
    const read = async (...chain: readonly string[]): Promise<string[] | string> => {
      const certificate = await source(
        viewOf({ fields: [['Client-Cert', appendixA.clientCert], ...chain.map((line) => ['Client-Cert-Chain', line])] }),
      );
      if (certificate === undefined || isRejection(certificate)) return certificate?.rejected ?? 'nothing';
      expect(certificate.thumbprint).toBe(LEAF);
      return (certificate.chain ?? []).map((der) => Buffer.from(der).toString('base64'));
    };
    const [first = '', second = ''] = appendixA.clientCertFieldLines_equivalentChainSplit;
    const chain = [first, second].map((value) => value.slice(1, -1));

    it('TTRP-12 it is a list that may go over several lines, in the order of TLS and without the leaf', async () => {
      expect(await read(appendixA.clientCertChain)).toEqual(chain);
      expect(await read(first, second)).toEqual(chain);
      expect(await read(`${first},${second}`)).toEqual(chain);
      expect(await read(`${first}\t ,  ${second}`)).toEqual(chain);
      expect(await read(first)).toEqual(chain.slice(0, 1));
      expect(await read()).toEqual([]);
      expect(await read('')).toEqual([]);
      expect(await read(first, '')).toBe('certificate.malformed');
    });

    it('TTRP-13 and without Client-Cert it counts for nothing', async () => {
      expect(await ask([`Client-Cert-Chain: ${appendixA.clientCertChain}`])).toBe('certificate.missing');
      expect(await ask([`Client-Cert-Chain: ${appendixA.clientCert}`])).toBe('certificate.missing');
    });

    it.each([
      ['a comma at the end', `${first},`],
      ['a comma in front', `,${first}`],
      ['an inner list', `(${first})`],
      ['a string', `"${first}"`],
      ['a token', 'x'],
      ['a byte sequence that is no certificate', ':aGVsbG8=:'],
      ['parameters', `${first};x=1`],
      ['a dictionary', `a=${first}`],
      ['eleven', Array.from({ length: 11 }, () => first).join(',')],
    ])('TTRP-14 %s in it is refused', async (_what, value) => {
      expect(await read(value)).toBe('certificate.malformed');
      expect(await read(first, value)).toBe('certificate.malformed');
      expect(await ask([CLIENT_CERT, `Client-Cert-Chain: ${value}`])).toBe('certificate.malformed');
    });

    it('TTRP-14 and so is a list that is longer than a value may be', async () => {
      const short = rfc9440({ trust: { peers: [EDGE] }, longest: appendixA.clientCert.length + 10 });
      const view = (...lines: readonly string[]): ReturnType<typeof viewOf> =>
        viewOf({ fields: [['Client-Cert', appendixA.clientCert], ...lines.map((line) => ['Client-Cert-Chain', line])] });
      expect(await short(view(appendixA.clientCert))).toMatchObject({ thumbprint: LEAF });
      expect(await short(view(first, second))).toMatchObject({ rejected: 'certificate.malformed' });
    });

    it('TTRP-15 only the leaf is what a token is bound to', async () => {
      for (const thumbprint of [appendixA['x5t#S256'].intermediate, appendixA['x5t#S256'].root]) {
        expect(await ask([CLIENT_CERT, `Client-Cert-Chain: ${appendixA.clientCertChain}`], thumbprint)).toBe('certificate.mismatch');
      }
      expect(await ask([CLIENT_CERT, `Client-Cert-Chain: ${appendixA.clientCertChain}`])).toBe(GRANTED);
    });
  });

  it('TTRP-16 never stands in a response', async () => {
    const token = await api.issuer.token({ cnf: { 'x5t#S256': LEAF } });
    for (const lines of [[FROM_EDGE, CLIENT_CERT], [CLIENT_CERT], [FROM_EDGE, 'Client-Cert: :x:']]) {
      const { headers, body } = await api.ask(`Bearer ${token}`, { lines: [...lines, `Client-Cert-Chain: ${appendixA.clientCertChain}`] });
      expect(headers.map(([name]) => name.toLowerCase())).not.toEqual(expect.arrayContaining([expect.stringMatching(/^client-cert/)]));
      expect(body).not.toContain(base64.slice(0, 40));
    }
  });

  it('TTRP-17 what it is granted is not answered from a cache to another: Vary names the field, beside what others have put there', async () => {
    const { headers } = await api.ask(`Bearer ${await api.issuer.token({ cnf: { 'x5t#S256': LEAF } })}`, {
      lines: [FROM_EDGE, CLIENT_CERT],
    });
    expect(headers.flatMap(([name, value]) => (name.toLowerCase() === 'vary' ? [value] : []))).toEqual(['client-cert']);
    const app = express();
    app.use((_request, response, next) => {
      response.vary('Origin');
      next();
    });
    app.use(holdfast({ issuer: api.issuer.url, audience: AUDIENCE, dpop: false, now: api.clock.now, certificate: rfc9440({ trust }) }));
    app.get('/r', (_request, response) => void response.vary('Accept').json({}));
    const server = createServer(app);
    const response = await fetch(`http://127.0.0.1:${await listen(server)}/r`, {
      headers: {
        authorization: `Bearer ${await api.issuer.token({ cnf: { 'x5t#S256': LEAF } })}`,
        'edge-key': KEY,
        'client-cert': appendixA.clientCert,
      },
    });
    expect([response.status, response.headers.get('vary')]).toEqual([200, 'Origin, client-cert, Accept']);
    await stop(server);
  });

  it('TTRP-18 is the one source: the certificate of the edge on its TLS connection to us never stands in, nor the other way', async () => {
    const proxy = await pki.client('proxy');
    const behind = await startApi({ tls: pki, certificate: rfc9440({ trust }), issuedBy: api.issuer });
    const token = (identity: { thumbprint: string }): Promise<string> => api.issuer.token({ cnf: { 'x5t#S256': identity.thumbprint } });
    const line = `Client-Cert: :${Buffer.from(owner.der).toString('base64')}:`;
    const sent = async (identity: Identity, lines: string[]): Promise<string> =>
      verdictOf(await behind.ask(`Bearer ${await token(identity)}`, { identity: proxy, lines: [FROM_EDGE, ...lines] }));
    expect(await sent(proxy, [line])).toMatch(/certificate\.mismatch$/);
    expect(await sent(proxy, [])).toMatch(/certificate\.missing$/);
    expect(await sent(owner, [line])).toBe(GRANTED);
    await behind.close();
    expect(await askAt({ tls: pki, certificate: fromTls() }, [line], owner.thumbprint)).toBe('certificate.missing');
  });

  it.each<[string, CertificateSource, string, (identity: Identity) => string]>([
    ['X-SSL-Cert, percent-encoded PEM', nginx({ trust }), 'X-SSL-Cert', ({ cert }) => encodeURIComponent(cert)],
    ['X-SSL-Cert, PEM with spaces', apache({ trust }), 'X-SSL-Cert', ({ cert }) => cert.trim().replaceAll('\n', ' ')],
    ['X-ARR-ClientCert', azureAppService({ trust }), 'X-ARR-ClientCert', ({ der }) => Buffer.from(der).toString('base64')],
    [
      'XFCC',
      envoy({ trust }),
      'X-Forwarded-Client-Cert',
      ({ thumbprint }) => `Hash=${Buffer.from(thumbprint, 'base64url').toString('hex')}`,
    ],
  ])(
    'TTRP-19 other fields are read by their preset, under the same rules, and by no other: %s',
    async (_name, certificate, field, write) => {
      const line = `${field}: ${write(owner)}`;
      expect(await askAt({ certificate }, [line], owner.thumbprint)).toBe(GRANTED);
      expect(await askAt({ certificate }, [line, line], owner.thumbprint)).toBe('certificate.several_lines');
      expect(await askAt({ certificate }, [line], LEAF)).toBe('certificate.mismatch');
      expect(await ask([line], owner.thumbprint)).toBe('certificate.missing');
    },
  );

  it('TTRP-19 RFC 8705 Appendix A as nginx writes it', async () => {
    const { xfccUrlEncodedPem, cnf } = vectors.rfc8705_certificates.appendixA;
    expect(await askAt({ certificate: nginx({ trust }) }, [`X-SSL-Cert: ${xfccUrlEncodedPem}`], cnf['x5t#S256'])).toBe(GRANTED);
  });
});

describe('What the edge says of the certificate', () => {
  const line = (): string => `X-SSL-Cert: ${encodeURIComponent(owner.cert)}`;

  it('is not asked by default: the binding is possession, not trust (RFC 8705 §6.2)', async () => {
    expect(await askAt({ certificate: nginx({ trust }) }, [line(), 'X-SSL-Verify: FAILED:self-signed certificate'], owner.thumbprint)).toBe(
      GRANTED,
    );
    expect(await askAt({ certificate: nginx({ trust }) }, [line()], owner.thumbprint)).toBe(GRANTED);
  });

  it.each([
    ['SUCCESS', GRANTED],
    ['FAILED:certificate has expired', 'certificate.not_verified'],
    ['NONE', 'certificate.not_verified'],
    ['success', 'certificate.not_verified'],
    ['SUCCESS!', 'certificate.not_verified'],
    ['NOT SUCCESS', 'certificate.not_verified'],
    ['', 'certificate.not_verified'],
    [undefined, 'certificate.not_verified'],
  ])('where it is asked, must be there and be so to the letter: %j', async (value, verdict) => {
    const certificate = nginx({ trust, verified: true });
    const lines = value === undefined ? [line()] : [line(), `X-SSL-Verify: ${value}`];
    expect(await askAt({ certificate }, lines, owner.thumbprint)).toBe(verdict);
    if (value !== undefined)
      expect(await askAt({ certificate }, [...lines, 'X-SSL-Verify: SUCCESS'], owner.thumbprint)).toBe('certificate.not_verified');
  });

  it('may be another field with other values, and a star stands for what follows', async () => {
    const certificate = nginx({ trust, verified: { field: 'X-Verdict', values: ['OK', 'FAILED:self*'] } });
    const verdict = (value: string): Promise<string> => askAt({ certificate }, [line(), `X-Verdict: ${value}`], owner.thumbprint);
    expect(await Promise.all(['OK', 'FAILED:self-signed', 'FAILED:expired', 'OK, OK', 'SUCCESS', 'NOT FAILED:self'].map(verdict))).toEqual([
      GRANTED,
      GRANTED,
      ...['', '', '', ''].map(() => 'certificate.not_verified'),
    ]);
  });

  it('is always there from an edge of Auth0, whatever it says', async () => {
    const cert = `client-certificate: ${encodeURIComponent(owner.cert)}`;
    const verdict = (more: string[], verified?: true): Promise<string> =>
      askAt({ certificate: auth0CustomerEdge({ trust, ...(verified && { verified }) }) }, [cert, ...more], owner.thumbprint);
    for (const word of ['SUCCESS', 'FAILED:self-signed certificate', 'NONE']) {
      expect(await verdict([`client-certificate-ca-verified: ${word}`])).toBe(GRANTED);
    }
    expect(await verdict([])).toBe('certificate.not_verified');
    expect(await verdict(['client-certificate-ca-verified: maybe'])).toBe('certificate.not_verified');
    expect(await verdict(['client-certificate-ca-verified: SUCCESS'], true)).toBe(GRANTED);
    expect(await verdict(['client-certificate-ca-verified: NONE'], true)).toBe('certificate.not_verified');
  });
});

describe('A forwarded value', () => {
  it('is read once, and trust and verdict are asked on every request', async () => {
    const certificate = nginx({ trust, verified: true });
    const behind = await startApi({ certificate, issuedBy: api.issuer });
    const line = `X-SSL-Cert: ${encodeURIComponent(owner.cert)}`;
    expect(await ask([line, 'X-SSL-Verify: SUCCESS'], owner.thumbprint, behind)).toBe(GRANTED);
    expect(await ask([line, 'X-SSL-Verify: FAILED:revoked'], owner.thumbprint, behind)).toBe('certificate.not_verified');
    const token = await api.issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } });
    const around = await behind.ask(`Bearer ${token}`, { lines: [line, 'X-SSL-Verify: SUCCESS'] });
    expect(around.reason).toBe('certificate.untrusted_peer');
    await behind.close();
  });

  it('is the same object again, so that what is judged of a certificate is judged once; what is refused is not kept', async () => {
    const source = fromForwardedField({ field: 'X-Cert', format: 'base64-der', trust: { peers: [EDGE] } });
    const view = (value: string): ReturnType<typeof viewOf> => viewOf({ fields: [['X-Cert', value]] });
    const value = Buffer.from(owner.der).toString('base64');
    expect(await source(view(value))).toBe(await source(view(`${value} `.trim())));
    expect(await source(view('x'))).not.toBe(await source(view('x')));
  });

  it('a chain is part of what is remembered: the same certificate with another chain is another', async () => {
    const source = rfc9440({ trust: { peers: [EDGE] } });
    const view = (chain: string): ReturnType<typeof viewOf> =>
      viewOf({
        fields: [
          ['Client-Cert', appendixA.clientCert],
          ['Client-Cert-Chain', chain],
        ],
      });
    const [first = '', second = ''] = appendixA.clientCertFieldLines_equivalentChainSplit;
    expect(await source(view(first))).not.toEqual(await source(view(second)));
    expect(await source(view(first))).toBe(await source(view(first)));
    expect(await source(view(':x:'))).toMatchObject({ rejected: 'certificate.malformed' });
  });
});
