// Each preset reads the field of its edge in the format of its edge, and nothing else.
import * as core from '@holdfast/core';
import {
  awsAlbPassthrough,
  type CertificateSource,
  type EdgeOptions,
  envoy,
  fromTls,
  gcpLoadBalancer,
  isRejection,
  istio,
  nginx,
  protectedResource,
} from '@holdfast/core';
import * as express from '@holdfast/express';
import { CLIENT_AUTH, type Issued, issue } from '@holdfast/test-support/authority';
import { startIssuer } from '@holdfast/test-support/issuer';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { beforeAll, describe, expect, it } from 'vitest';
import { GRANTED, startApi, verdictOf } from '../rfc/api.ts';
import { EDGE, viewOf } from './view.ts';

let owner: Identity;
let hop: Identity;
beforeAll(async () => {
  const pki = await createPki();
  [owner, hop] = [await pki.client('owner'), await pki.client('hop')];
});

const SECRET = 'the-edge-and-the-api-know-this-0042';
const trust = { peers: [EDGE], secret: { field: 'Edge-Secret', values: [SECRET] } };

const base64 = ({ der }: Identity): string => Buffer.from(der).toString('base64');
const byteSequence = (identity: Identity): string => `:${base64(identity)}:`;
const percentEncoded = ({ cert }: Identity): string => encodeURIComponent(cert);
const element = ({ thumbprint }: Identity): string => `Hash=${Buffer.from(thumbprint, 'base64url').toString('hex')}`;

type Preset = (options: EdgeOptions) => CertificateSource;

interface Row {
  readonly preset: Preset;
  readonly field: string;
  readonly write: (identity: Identity) => string;
  /** The field that says that the edge verified the certificate, and what it says. */
  readonly verified?: readonly [field: string, value: string];
  /** What else is always there. */
  readonly always?: readonly (readonly [string, string])[];
}

const PRESETS: Readonly<Record<string, Row>> = {
  nginx: { preset: core.nginx, field: 'X-SSL-Cert', write: percentEncoded, verified: ['X-SSL-Verify', 'SUCCESS'] },
  ingressNginx: { preset: core.ingressNginx, field: 'ssl-client-cert', write: percentEncoded, verified: ['ssl-client-verify', 'SUCCESS'] },
  apache: {
    preset: core.apache,
    field: 'X-SSL-Cert',
    write: ({ cert }) => cert.trim().replaceAll('\n', ' '),
    verified: ['X-SSL-Verify', 'SUCCESS'],
  },
  haproxy: { preset: core.haproxy, field: 'X-SSL-Client-Cert', write: base64, verified: ['X-SSL-Client-Verify', '0'] },
  caddy: { preset: core.caddy, field: 'X-Client-Cert', write: base64 },
  traefik: { preset: core.traefik, field: 'X-Forwarded-Tls-Client-Cert', write: (identity) => `${base64(identity)},${base64(hop)}` },
  envoy: { preset: core.envoy, field: 'X-Forwarded-Client-Cert', write: element },
  istio: { preset: core.istio, field: 'X-Forwarded-Client-Cert', write: (identity) => `${element(identity)},${element(hop)}` },
  contour: { preset: core.contour, field: 'X-Forwarded-Client-Cert', write: element },
  awsAlb: { preset: core.awsAlb, field: 'X-Amzn-Mtls-Clientcert-Leaf', write: ({ cert }) => encodeURI(cert) },
  awsAlbPassthrough: {
    preset: core.awsAlbPassthrough,
    field: 'X-Amzn-Mtls-Clientcert',
    write: ({ cert }) => encodeURI(`${cert}${hop.cert}`),
  },
  gcpLoadBalancer: {
    preset: core.gcpLoadBalancer,
    field: 'X-Client-Cert-Leaf',
    write: byteSequence,
    verified: ['X-Client-Cert-Chain-Verified', 'true'],
  },
  azureAppService: { preset: core.azureAppService, field: 'X-ARR-ClientCert', write: base64 },
  azureApplicationGateway: {
    preset: core.azureApplicationGateway,
    field: 'X-Client-Certificate',
    write: percentEncoded,
    verified: ['X-Client-Certificate-Verification', 'SUCCESS'],
  },
  cloudflare: { preset: core.cloudflare, field: 'Client-Cert', write: byteSequence },
  fastly: { preset: core.fastly, field: 'X-Client-Cert', write: base64 },
  f5: { preset: core.f5, field: 'X-Client-Cert', write: base64 },
  kong: { preset: core.kong, field: 'X-Client-Cert', write: percentEncoded },
  auth0CustomerEdge: {
    preset: core.auth0CustomerEdge,
    field: 'client-certificate',
    write: percentEncoded,
    verified: ['client-certificate-ca-verified', 'SUCCESS'],
    always: [['client-certificate-ca-verified', 'NONE']],
  },
  rfc9440: { preset: core.rfc9440, field: 'Client-Cert', write: byteSequence },
};

const rows = Object.entries(PRESETS);

async function seen(source: CertificateSource, fields: readonly (readonly string[])[]): Promise<string> {
  const certificate = await source(viewOf({ fields: [...fields, ['Edge-Secret', SECRET]] }));
  if (certificate === undefined) return 'nothing';
  return isRejection(certificate) ? certificate.rejected : certificate.thumbprint;
}

function problemsOf(make: () => unknown): string[] {
  try {
    make();
  } catch (error) {
    if (error instanceof TypeError) return error.message.split('\n').filter((line) => line.startsWith('- '));
    throw error;
  }
  return [];
}

describe('The presets', () => {
  it('are twenty, and all of them stand in the package of the framework too', () => {
    expect(rows).toHaveLength(20);
    for (const [name, { preset }] of rows)
      expect([name, Object.entries(express).find(([key]) => key === name)?.[1]]).toEqual([name, preset]);
    expect([express.fromForwardedField, express.dangerouslyTrustEveryPeer]).toEqual([
      core.fromForwardedField,
      core.dangerouslyTrustEveryPeer,
    ]);
  });

  it.each(rows)('%s reads its field', async (_name, { preset, field, write, always = [] }) => {
    const source = preset({ trust });
    expect(source.field).toBe(field.toLowerCase());
    expect(await seen(source, [[field, write(owner)], ...always])).toBe(owner.thumbprint);
    expect(await seen(source, [[field, write(owner)], [field, write(owner)], ...always])).toBe('certificate.several_lines');
    expect(await seen(source, [[field, ''], ...always])).toBe('certificate.not_presented');
    expect(await seen(source, always)).toBe('certificate.missing');
  });

  it.each(rows)('%s reads no field of another edge, and no twin of its own', async (_name, { preset, field, write, always = [] }) => {
    const others = rows.map(([, row]) => row).filter((row) => row.field.toLowerCase() !== field.toLowerCase());
    const fields = others.map((row) => [row.field, row.write(owner)]);
    const twins = [field.replaceAll('-', '_'), `X-${field}`, `${field}2`, field.slice(0, -1)].map((name) => [name, write(owner)]);
    expect(await seen(preset({ trust }), [...fields, ...twins, ...always])).toBe('certificate.missing');
  });

  it.each(rows)('%s does not trust without being told whom', (name, { preset }) => {
    expect(problemsOf(() => preset({} as never))).toEqual([expect.stringMatching(new RegExp(`^- ${name}\\.trust: is missing`))]);
    expect(problemsOf(() => (preset as unknown as () => unknown)())).toEqual(
      expect.arrayContaining([expect.stringMatching(new RegExp(`^- ${name}: is undefined\\. Give an object with trust`))]),
    );
    expect(problemsOf(() => preset({ trust, header: 'X' } as never))).toEqual([
      expect.stringMatching(new RegExp(`^- ${name}\\.header: is no option`)),
    ]);
  });

  it.each(rows)('%s reads another field, where the edge is configured so', async (_name, { preset, field, write, always = [] }) => {
    const source = preset({ trust, field: 'X-Other' });
    expect(await seen(source, [['X-Other', write(owner)], ...always])).toBe(owner.thumbprint);
    expect(await seen(source, [[field, write(owner)], ...always])).toBe('certificate.missing');
  });

  it.each(rows.filter(([, { verified }]) => verified !== undefined))(
    '%s asks for the verdict of the edge, where it is told so',
    async (_name, row) => {
      const { preset, field, write, verified: [verdictField, value] = ['', ''] } = row;
      const source = preset({ trust, verified: true });
      const fields = [[field, write(owner)]];
      expect(await seen(source, [...fields, [verdictField, value]])).toBe(owner.thumbprint);
      expect(await seen(source, fields)).toBe('certificate.not_verified');
      expect(await seen(source, [...fields, [verdictField, `${value}x`]])).toBe('certificate.not_verified');
      const other = preset({ trust, verified: { values: ['FAILED:*'] } });
      expect(await seen(other, [...fields, [verdictField, 'FAILED:expired']])).toBe(owner.thumbprint);
      expect(await seen(other, [...fields, [verdictField, value]])).toBe('certificate.not_verified');
    },
  );

  it.each(rows.filter(([name, { verified }]) => verified === undefined && !['envoy', 'istio', 'contour'].includes(name)))(
    '%s has no verdict by itself, and takes one that is named',
    async (name, { preset, field, write }) => {
      expect(problemsOf(() => preset({ trust, verified: true }))[0]).toMatch(
        new RegExp(`^- ${name}\\.verified: is true\\. This edge has no field for it`),
      );
      const source = preset({ trust, verified: { field: 'X-Verdict', values: ['yes'] } });
      expect(
        await seen(source, [
          [field, write(owner)],
          ['X-Verdict', 'yes'],
        ]),
      ).toBe(owner.thumbprint);
      expect(await seen(source, [[field, write(owner)]])).toBe('certificate.not_verified');
    },
  );

  it.each(rows)('the field of %s is left out of logs, and so are the secrets of the recipes', (_name, { field }) => {
    for (const name of [field, 'edge-secret', 'cname-api-key']) {
      expect(express.REDACTED_PATHS).toEqual(expect.arrayContaining([`headers["${name.toLowerCase()}"]`]));
    }
  });

  it('take the length that is read at most', async () => {
    const value = percentEncoded(owner);
    expect(await seen(nginx({ trust, longest: value.length }), [['X-SSL-Cert', value]])).toBe(owner.thumbprint);
    expect(await seen(nginx({ trust, longest: value.length - 1 }), [['X-SSL-Cert', value]])).toBe('certificate.malformed');
    const padded = `${' '.repeat(5000)}${owner.cert}`;
    const auth0 = [
      ['client-certificate', encodeURIComponent(padded)],
      ['client-certificate-ca-verified', 'NONE'],
    ];
    expect(await seen(core.auth0CustomerEdge({ trust }), auth0)).toBe('certificate.malformed');
    expect(await seen(core.auth0CustomerEdge({ trust, longest: 32_768 }), auth0)).toBe(owner.thumbprint);
  });

  it('of Envoy take the number of elements, and JSON', async () => {
    const three = `${element(owner)},${element(hop)},${element(hop)}`;
    expect(await seen(istio({ trust, elements: 3 }), [['x-forwarded-client-cert', three]])).toBe(owner.thumbprint);
    expect(await seen(istio({ trust }), [['x-forwarded-client-cert', three]])).toBe('certificate.malformed');
    expect(await seen(istio({ trust }), [['x-forwarded-client-cert', element(hop)]])).toBe('certificate.not_presented');
    const json = JSON.stringify([{ hash: Buffer.from(owner.thumbprint, 'base64url').toString('hex') }]);
    expect(await seen(envoy({ trust, encoding: 'json' }), [['x-forwarded-client-cert', json]])).toBe(owner.thumbprint);
    expect(await seen(envoy({ trust }), [['x-forwarded-client-cert', json]])).toBe('certificate.malformed');
    expect(problemsOf(() => envoy({ trust, elements: 0, encoding: 'xml' } as never))).toEqual([
      expect.stringMatching(/^- envoy\.elements: .*from 1 to 10/),
      expect.stringMatching(/^- envoy\.encoding: is "xml"\. Give 'text' or 'json'/),
    ]);
  });

  it('of Google Cloud take the fingerprint in place of the certificate', async () => {
    const hash = Buffer.from(owner.thumbprint, 'base64url').toString('base64').replace('=', '');
    const source = gcpLoadBalancer({ trust, value: 'fingerprint' });
    expect(await seen(source, [['X-Client-Cert-Hash', hash]])).toBe(owner.thumbprint);
    expect(await seen(source, [['X-Client-Cert-Leaf', byteSequence(owner)]])).toBe('certificate.missing');
    expect(problemsOf(() => gcpLoadBalancer({ trust, value: 'both' } as never))).toEqual([
      expect.stringMatching(/^- gcpLoadBalancer\.value: /),
    ]);
  });
});

describe('Certificates beside the request', () => {
  const cf = { certPresented: '1', certVerified: 'SUCCESS', certRevoked: '0', certFingerprintSHA256: '' };
  const at = async (source: CertificateSource, platform: unknown): Promise<string> => {
    const certificate = await source(viewOf({ platform }));
    return certificate === undefined ? 'nothing' : isRejection(certificate) ? certificate.rejected : certificate.thumbprint;
  };

  it('of a Worker: presented, of SHA-256, and verified where it is asked', async () => {
    const tlsClientAuth = { ...cf, certFingerprintSHA256: Buffer.from(owner.thumbprint, 'base64url').toString('hex') };
    expect(await at(core.cloudflareWorker(), { tlsClientAuth })).toBe(owner.thumbprint);
    expect(await at(core.cloudflareWorker(), { tlsClientAuth: { ...tlsClientAuth, certPresented: '0' } })).toBe('certificate.missing');
    expect(await at(core.cloudflareWorker(), { tlsClientAuth: { ...tlsClientAuth, certVerified: 'FAILED:expired' } })).toBe(
      owner.thumbprint,
    );
    const strict = core.cloudflareWorker({ verified: true });
    expect(await at(strict, { tlsClientAuth })).toBe(owner.thumbprint);
    expect(await at(strict, { tlsClientAuth: { ...tlsClientAuth, certVerified: 'FAILED:expired' } })).toBe('certificate.not_verified');
    expect(await at(strict, { tlsClientAuth: { ...tlsClientAuth, certRevoked: '1' } })).toBe('certificate.revoked');
    expect(await at(core.cloudflareWorker(), { tlsClientAuth: { ...tlsClientAuth, certFingerprintSHA256: '' } })).toBe(
      'certificate.malformed',
    );
  });

  it('of API Gateway: where the payload of the configured version has it', async () => {
    const clientCert = { clientCertPem: owner.cert };
    const two = { requestContext: { authentication: { clientCert } } };
    const one = { requestContext: { identity: { clientCert } } };
    expect([await at(core.awsApiGateway(), two), await at(core.awsApiGateway({ payload: '1.0' }), one)]).toEqual([
      owner.thumbprint,
      owner.thumbprint,
    ]);
    expect([await at(core.awsApiGateway(), one), await at(core.awsApiGateway({ payload: '1.0' }), two)]).toEqual(
      Array(2).fill('certificate.missing'),
    );
    expect(await at(core.awsApiGateway(), { requestContext: { authentication: { clientCert: { clientCertPem: 'x' } } } })).toBe(
      'certificate.malformed',
    );
    expect(
      await at(core.awsApiGateway(), { requestContext: { authentication: { clientCert: { clientCertPem: owner.cert + hop.cert } } } }),
    ).toBe('certificate.malformed');
  });

  it.each([undefined, null, 'x', 7, [], {}, { tlsClientAuth: null }, { requestContext: { authentication: null } }])(
    'are not there in %j',
    async (platform) => {
      expect([await at(core.cloudflareWorker(), platform), await at(core.awsApiGateway(), platform)]).toEqual(
        Array(2).fill('certificate.missing'),
      );
    },
  );

  it('take no options but their own', () => {
    expect(problemsOf(() => core.cloudflareWorker({ verified: false } as never))).toHaveLength(1);
    expect(problemsOf(() => core.awsApiGateway({ payload: '3.0' } as never))).toHaveLength(1);
    expect(problemsOf(() => core.awsApiGateway({ trust } as never))).toHaveLength(1);
  });
});

describe('A chain policy', () => {
  const now = 1_800_000_000;
  const valid = { notBefore: now - 100, notAfter: now + 100_000 };
  let root: Issued;
  let intermediate: Issued;
  let client: Issued;
  beforeAll(async () => {
    root = await issue({ ...valid, subject: 'Root', authority: true, usages: 'certificatesAndLists' });
    intermediate = await issue({ ...valid, subject: 'Intermediate', by: root, authority: true, usages: 'certificatesAndLists' });
    client = await issue({ ...valid, subject: 'client', by: intermediate, usages: 'signatures', purposes: [CLIENT_AUTH] });
  });
  const options = { issuer: 'https://as.example.com', audience: 'https://rs.example.com' };

  it('is demanded where the edge has verified nothing', () => {
    const problems = problemsOf(() => protectedResource({ ...options, certificate: awsAlbPassthrough({ trust }) }));
    expect(problems).toEqual([
      expect.stringMatching(/^- certificatePolicy\.anchors: is missing\. This edge hands on certificates that nobody has verified/),
    ]);
    const dates = problemsOf(() =>
      protectedResource({ ...options, certificate: awsAlbPassthrough({ trust }), certificatePolicy: { validity: true } }),
    );
    expect(dates).toEqual(problems);
    expect(
      problemsOf(
        () =>
          void protectedResource({
            ...options,
            certificate: awsAlbPassthrough({ trust }),
            certificatePolicy: { anchors: root.pem },
          }).close(),
      ),
    ).toEqual([]);
  });

  it('judges what an edge hands on, with the chain that the client sent', async () => {
    const certificate = awsAlbPassthrough({ trust: { peers: ['127.0.0.1', '::1'], secret: { field: 'k', values: ['x'.repeat(32)] } } });
    const api = await startApi({ certificate, certificatePolicy: { anchors: root.pem } });
    const ask = async (chain: string, { thumbprint }: { thumbprint: string }): Promise<string> => {
      const lines = [`X-Amzn-Mtls-Clientcert: ${encodeURI(chain)}`, `k: ${'x'.repeat(32)}`];
      return verdictOf(await api.ask(`Bearer ${await api.issuer.token({ cnf: { 'x5t#S256': thumbprint } })}`, { lines }));
    };
    expect(await ask(`${client.pem}\n${intermediate.pem}\n`, client)).toBe(GRANTED);
    expect(await ask(`${client.pem}\n`, client)).toMatch(/certificate\.untrusted_chain$/);
    expect(await ask(owner.cert, owner)).toMatch(/certificate\.(untrusted_chain|outside_validity)$/);
    await expect(api.middleware.ready()).resolves.toBeUndefined();
    await api.close();
  });

  it('goes with fromTls(), where intermediates have to be configured; revoked and unknown are two things', async () => {
    const pki = await createPki();
    const identity = await pki.client('client');
    // Its certificates are of today.
    const today = Math.floor(Date.now() / 1000);
    let revoked: boolean | Error = false;
    const isRevoked = (): boolean => {
      if (revoked instanceof Error) throw revoked;
      return revoked;
    };
    const api = await startApi({
      tls: pki,
      certificate: fromTls(),
      now: () => today,
      certificatePolicy: { anchors: [pki.ca], isRevoked, revocationFor: 1 },
    });
    const strangers = await createPki();
    const stranger = await strangers.client('client');
    const claims = { iat: today, exp: today + 1000 };
    const ask = async (one: Identity): Promise<string> =>
      verdictOf(await api.ask(`Bearer ${await api.issuer.token({ ...claims, cnf: { 'x5t#S256': one.thumbprint } })}`, { identity: one }));
    expect(await ask(identity)).toBe(GRANTED);
    expect(await ask(stranger)).toMatch(/certificate\.untrusted_chain$/);
    const other = await pki.client('other');
    revoked = true;
    expect(await ask(other)).toMatch(/^401 .*certificate\.revoked$/);
    revoked = new Error('the list is away');
    const third = await pki.client('third');
    expect(await ask(third)).toMatch(/^503 .*unavailable\.revocation$/);
    await api.close();
  });

  it('with an anchor that is no authority is not ready, and says so', async () => {
    const issuer = await startIssuer();
    const resource = protectedResource({
      ...options,
      issuer: issuer.url,
      certificate: fromTls(),
      certificatePolicy: { anchors: client.pem },
    });
    await expect(resource.ready()).rejects.toThrow(/CN=client is no authority/);
    await resource.close();
    await issuer.close();
  });

  it('takes bundles with text around the certificates', () => {
    const bundle = `# Root\n${root.pem}\n\n# Intermediate\nsubject=x\n${intermediate.pem}\n`;
    expect(
      problemsOf(
        () => void protectedResource({ ...options, certificatePolicy: { anchors: bundle, intermediates: [intermediate.pem] } }).close(),
      ),
    ).toEqual([]);
  });

  it.each<[string, object, RegExp[]]>([
    ['a name of a file', { anchors: '/etc/ca.pem' }, [/certificatePolicy\.anchors: is a string\. Give certificates in PEM/]],
    ['nothing', { anchors: [] }, [/certificatePolicy\.anchors: is a list/]],
    ['a key', { anchors: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----' }, [/certificatePolicy\.anchors/]],
    [
      'intermediates alone',
      { intermediates: 'x' },
      [/certificatePolicy\.validity/, /certificatePolicy\.intermediates: .*give anchors too/],
    ],
    ['a list of revoked ones alone', { validity: true, isRevoked: () => false }, [/certificatePolicy\.isRevoked: .*give anchors too/]],
    ['no function', { anchors: 'PEM', isRevoked: 'crl.pem' }, [/certificatePolicy\.isRevoked: is "crl\.pem"/]],
    ['a time that is none', { anchors: 'PEM', revocationFor: 0 }, [/certificatePolicy\.revocationFor: .*from 1 to 86400/]],
    ['no dates', { anchors: 'PEM', validity: false }, [/certificatePolicy\.validity: is false/]],
  ])('does not take %s', (_what, policy, messages) => {
    const certificatePolicy = Object.fromEntries(Object.entries(policy).map(([name, value]) => [name, value === 'PEM' ? root.pem : value]));
    expect(problemsOf(() => protectedResource({ ...options, certificatePolicy } as never))).toEqual(
      messages.map((message) => expect.stringMatching(message)),
    );
  });
});
