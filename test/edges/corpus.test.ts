// Field lines as edges really sent them, or as their documents say, each with the thumbprint that must come out, or none.
import {
  awsApiGateway,
  type CertificateSource,
  cloudflareWorker,
  type ForwardedFormat,
  fromForwardedField,
  isRejection,
} from '@holdfast/core';
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

function sourceOf({ edge, profile }: Case): CertificateSource {
  if (profile === undefined) return edge === 'cloudflare-worker' ? cloudflareWorker() : awsApiGateway();
  const { header, format: name, opts, verify } = profile;
  const format = opts === undefined ? FORMATS[name] : { xfcc: { elements: opts.elements, element: opts.pick } };
  const values = verify === undefined ? undefined : VERDICTS[verify.accept];
  if (format === undefined || (verify !== undefined && values === undefined)) throw new Error(`${name} ${verify?.accept}`);
  return fromForwardedField({
    field: header,
    format,
    trust: { peers: [EDGE] },
    longest: 32_768,
    ...(verify !== undefined && { verified: { field: verify.header, values: values ?? [] } }),
  });
}

/** The thumbprint that comes out, or the reason why none does. */
async function seenIn(one: Case): Promise<string> {
  const platform = one.event !== undefined && 'cf' in one.event ? one.event.cf : one.event;
  const certificate = await sourceOf(one)(viewOf({ fields: one.headers ?? [], platform }));
  return certificate === undefined ? 'nothing' : isRejection(certificate) ? certificate.rejected : certificate.thumbprint;
}

/** What comes out where no certificate does: which reasons are right for which verdict. */
const REASONS: Readonly<Record<string, readonly string[]>> = {
  'no-cert': ['certificate.missing', 'certificate.not_presented', 'certificate.not_verified'],
  'cert-lost': ['certificate.missing', 'certificate.not_presented'],
  reject: ['certificate.malformed', 'certificate.several_lines'],
};

describe('What edges send', () => {
  it('is in 409 cases', () => {
    expect(cases).toHaveLength(409);
  });

  const told = cases.filter(({ verdict }) => verdict !== 'undetectable-spoof');
  it.each(told.map((one) => [`${one.edge} ${one.case} (${one.source}): ${one.verdict}`, one] as const))('%s', async (_title, one) => {
    const seen = await seenIn(one);
    if (one.expected_x5tS256 === null) expect(REASONS[one.verdict]).toContain(seen);
    else expect(seen).toBe(one.expected_x5tS256);
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
