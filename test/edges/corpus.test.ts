// Field lines as edges really sent them, or as their documents say, each with the thumbprint that must come out, or none.
import * as core from '@holdfast/core';
import { type CertificateSource, type EdgeOptions, type ForwardedFormat, fromForwardedField, isRejection } from '@holdfast/core';
import { describe, expect, it } from 'vitest';
import corpus from '../vectors/edge-corpus.json' with { type: 'json' };
import { EDGE, viewOf } from './view.ts';

interface Profile {
  readonly header: string;
  readonly format: string;
  readonly opts?: { readonly elements: number; readonly pick: number };
  readonly verify?: { readonly header: string; readonly accept: string };
}

interface Case {
  readonly edge: string;
  readonly case: string;
  readonly source: string;
  readonly verdict: string;
  readonly expected_x5tS256: string | null;
  readonly parser_sees_x5tS256?: string;
  readonly profile?: Profile;
  readonly headers?: readonly (readonly string[])[];
  readonly event?: object;
}

const cases: readonly Case[] = corpus;

const FORMATS: Readonly<Record<string, ForwardedFormat>> = {
  rfc9440: 'byte-sequence',
  'url-pem': 'percent-encoded-pem',
  pem: 'pem',
  'der-b64': 'base64-der',
  'der-b64-list': 'base64-der-list',
  'sha256-hex': 'sha256-hex',
  'sha256-b64': 'sha256-base64',
};

/** The patterns of the corpus as lists of values. */
const VERDICTS: Readonly<Record<string, readonly string[]>> = {
  '^SUCCESS$': ['SUCCESS'],
  '^true$': ['true'],
  '^(SUCCESS|FAILED.*|NONE)$': ['SUCCESS', 'FAILED*', 'NONE'],
  '^(SUCCESS|FAILED.*)$': ['SUCCESS', 'FAILED*'],
};

const SECRET = 'the-edge-and-the-api-know-this-0042';
const trust = { peers: [EDGE], secret: { field: 'edge-secret', values: [SECRET] } };

/** The preset of an edge, by the name of the edge or what it begins with; the longest fits. */
const PRESETS: Readonly<Record<string, (options: EdgeOptions) => CertificateSource>> = {
  nginx: core.nginx,
  'nginx-njs-rfc9440': core.rfc9440,
  'ingress-nginx': core.ingressNginx,
  apache: core.apache,
  'apache-rfc9440': core.rfc9440,
  haproxy: core.haproxy,
  'haproxy-rfc9440': core.rfc9440,
  caddy: core.caddy,
  'caddy-rfc9440': core.rfc9440,
  traefik: core.traefik,
  envoy: core.envoy,
  istio: core.istio,
  contour: core.contour,
  'aws-alb': core.awsAlb,
  'gcp-alb': core.gcpLoadBalancer,
  'azure-app-service': core.azureAppService,
  'azure-app-gateway': core.azureApplicationGateway,
  cloudflare: core.cloudflare,
  fastly: core.fastly,
  f5: core.f5,
  'auth0-customer-edge': core.auth0CustomerEdge,
  rfc9440: core.rfc9440,
  'aws-apigw': () => core.awsApiGateway(),
  'cloudflare-worker': () => core.cloudflareWorker(),
};

/** Cases that no preset reads as it stands, and why. */
const WITHOUT_PRESET: Readonly<Record<string, (one: Case) => boolean>> = {
  'nginx writes PEM with its line ends, which no Node takes': ({ edge }) => edge === 'nginx-legacy',
  'Caddy writes PEM with its line ends, which it does not send': ({ edge }) => edge === 'caddy-pem',
  'F5 with X509::whole writes PEM with spaces': ({ edge, profile }) => edge === 'f5' && profile?.format === 'pem',
  'the fingerprint of Azure is SHA-1': ({ edge, profile }) => edge === 'azure-app-gateway' && profile?.format === 'sha256-hex',
  'there is none for this edge': ({ edge }) => ['cloudfoundry-gorouter', 'akamai', 'synthetic'].includes(edge),
};

/** Cases that a preset reads with an option, and why. */
const OPTIONS: readonly (readonly [why: string, is: (one: Case) => boolean, options: object])[] = [
  [
    'Apache is configured with the name that Keycloak reads',
    ({ edge }) => edge === 'apache-keycloak-underscore',
    { field: 'SSL_CLIENT_CERT' },
  ],
  [
    'a certificate of 18 KB is more than Node takes by default',
    (one) => one.edge === 'apache-s-pem' && one.case === 'b-big18k',
    { longest: 32_768 },
  ],
  ['Google hands on the hash', ({ profile }) => profile?.header === 'x-client-cert-hash', { value: 'fingerprint' }],
];

function presetOf({ edge }: Case): ((options: EdgeOptions) => CertificateSource) | undefined {
  const [name = ''] = Object.keys(PRESETS)
    .filter((one) => edge.startsWith(one))
    .toSorted((one, other) => other.length - one.length);
  return PRESETS[name];
}

function verifiedOf({ edge, profile }: Case): object {
  const { verify } = profile ?? {};
  if (verify === undefined || edge === 'auth0-customer-edge') return {};
  const values = VERDICTS[verify.accept];
  if (values === undefined) throw new Error(verify.accept);
  return { verified: { field: verify.header, values } };
}

function sourceOf(one: Case): CertificateSource {
  const { profile } = one;
  if (Object.values(WITHOUT_PRESET).every((is) => !is(one))) {
    const options = OPTIONS.flatMap(([, is, more]) => (is(one) ? [more] : []));
    const preset = presetOf(one);
    if (preset === undefined) throw new Error(`there is no preset for ${one.edge}`);
    return preset(Object.assign({ trust }, verifiedOf(one), ...options));
  }
  if (profile === undefined) throw new Error(`${one.edge} has no profile`);
  const format =
    profile.opts === undefined ? FORMATS[profile.format] : { xfcc: { elements: profile.opts.elements, element: profile.opts.pick } };
  if (format === undefined) throw new Error(profile.format);
  return fromForwardedField({ field: profile.header, format, trust, ...verifiedOf(one) });
}

/** The thumbprint that comes out, or the reason why none does. */
async function seenIn(one: Case): Promise<string> {
  const platform = one.event !== undefined && 'cf' in one.event ? one.event.cf : one.event;
  const certificate = await sourceOf(one)(viewOf({ fields: [...(one.headers ?? []), ['edge-secret', SECRET]], platform }));
  return certificate === undefined ? 'nothing' : isRejection(certificate) ? certificate.rejected : certificate.thumbprint;
}

/** Why no certificate comes out: no line, several, another verdict, a placeholder, anything else. */
function reasonFor(one: Case): string {
  const { headers = [], profile, verdict } = one;
  const linesOf = (name: string | undefined): string[] =>
    headers.flatMap(([field = '', value = '']) => (field.toLowerCase() === name?.toLowerCase() ? [value] : []));
  const lines = linesOf(profile?.header);
  if (lines.length !== 1) return lines.length === 0 ? 'certificate.missing' : 'certificate.several_lines';
  const accept = profile?.verify?.accept;
  if (accept !== undefined && !new RegExp(accept).test(linesOf(profile?.verify?.header).join('\n'))) return 'certificate.not_verified';
  return verdict === 'reject' ? 'certificate.malformed' : 'certificate.not_presented';
}

describe('What edges send', () => {
  it('is in 409 cases', () => {
    expect(cases).toHaveLength(409);
  });

  it('and every exception that is made here is one of some case, and of few', () => {
    const exceptions = [...Object.entries(WITHOUT_PRESET), ...OPTIONS.map(([why, is]) => [why, is] as const)];
    expect(exceptions.filter(([, is]) => !cases.some(is)).map(([why]) => why)).toEqual([]);
    expect(cases.filter((one) => exceptions.some(([, is]) => is(one))).length).toBeLessThan(45);
  });

  const told = cases.filter(({ verdict }) => verdict !== 'undetectable-spoof');
  it.each(told.map((one) => [`${one.edge} ${one.case} (${one.source}): ${one.verdict}`, one] as const))('%s', async (_title, one) => {
    const seen = await seenIn(one);
    expect(seen).toBe(one.expected_x5tS256 ?? reasonFor(one));
  });

  // The reason for the probe: the edge let through what the client wrote, and that is what the edge would have written itself.
  const spoofed = cases.filter(({ verdict }) => verdict === 'undetectable-spoof');
  it.each(spoofed.map((one) => [`${one.edge} ${one.case}`, one] as const))(
    '%s is a spoof that nothing in the request gives away',
    async (_title, one) => {
      expect(one.parser_sees_x5tS256).toBeDefined();
      expect(await seenIn(one)).toBe(one.parser_sees_x5tS256);
    },
  );
});
