import { type Attempt, runMainJob } from '@holdfast/example-main-job';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { beforeAll, describe, expect, it } from 'vitest';

describe('the main job: a certificate-bound token works for its owner and for nobody else', () => {
  let job: Awaited<ReturnType<typeof runMainJob>>;
  beforeAll(async () => {
    job = await runMainJob();
  });
  const step = (number: number): readonly Attempt[] => job.attempts.filter((attempt) => attempt.step === number);
  const outcome = ({ title, status, challenges, reason }: Attempt): unknown[] => [
    title,
    status,
    parseChallenges(challenges).map(({ scheme, parameters }) => [scheme, parameters['error']].filter(Boolean).join(' ')),
    reason,
  ];
  const refused = (title: string, reason: string): unknown[] => [title, 401, ['Bearer invalid_token', 'DPoP'], reason];
  const granted = (title: string): unknown[] => [title, 200, [], undefined];

  it('the client finds the server by discovery, follows mtls_endpoint_aliases to another host and port, and falls back to the plain endpoint', () => {
    const { issuer, tokenEndpoint, revocationEndpoint } = job.discovery;
    expect(new URL(tokenEndpoint).hostname).not.toBe(new URL(issuer).hostname);
    expect(new URL(tokenEndpoint).port).not.toBe(new URL(issuer).port);
    expect(new URL(revocationEndpoint).origin).toBe(new URL(issuer).origin);
  });

  it('1 the owner, with its certificate: 200, and the route sees claims, thumbprint and scheme', () => {
    expect(step(1).map(outcome)).toEqual([granted('the owner, with its certificate'), granted('an owner with a self-signed certificate')]);
    const [owner, self] = step(1).map(({ thumbprint }) => thumbprint);
    expect([owner, self, owner === self]).toEqual([expect.stringMatching(/^[\w-]{43}$/), expect.stringMatching(/^[\w-]{43}$/), false]);
    expect(step(1).map(({ body }) => JSON.parse(body))).toEqual([
      { client: 'mtls-ca', scope: 'accounts:read', scheme: 'Bearer', thumbprint: owner },
      { client: 'mtls-self', scope: 'accounts:read', scheme: 'Bearer', thumbprint: self },
    ]);
  });

  it('2 a thief with the token and no certificate: 401', () => {
    expect(step(2).map(outcome)).toEqual([refused('a thief with the token and no certificate', 'certificate.missing')]);
  });

  it('3 a thief with the token and another certificate: 401', () => {
    expect(step(3).map(outcome)).toEqual([refused('a thief with the token and another certificate', 'certificate.mismatch')]);
  });

  it('4 the owner with a renewed certificate over the same key: 401', () => {
    expect(step(4).map(outcome)).toEqual([refused('the owner with a renewed certificate over the same key', 'certificate.mismatch')]);
  });

  it('5 MTLS-11 the owner on a resumed session of TLS 1.2 and 1.3: 200; without certificate on a resumed TLS 1.3 session: 401', () => {
    expect(step(5).map(outcome)).toEqual([
      granted('the owner on a new TLSv1.2 session'),
      granted('the owner on the resumed TLSv1.2 session'),
      granted('the owner on a new TLSv1.3 session'),
      granted('the owner on the resumed TLSv1.3 session'),
      refused('no certificate, on a new TLSv1.3 session', 'certificate.missing'),
      refused('no certificate, on the resumed TLSv1.3 session', 'certificate.missing'),
    ]);
    expect(step(5).map(({ tls }) => tls)).toEqual(
      ['TLSv1.2', 'TLSv1.3', 'TLSv1.3'].flatMap((protocol) => [
        { protocol, resumed: false },
        { protocol, resumed: true },
      ]),
    );
  });

  it('6 an expired, tampered, wrong-audience, wrong-issuer token, an ID token, alg none, HS256 keyed with the public key: 401', () => {
    expect(step(6).map(outcome)).toEqual([
      refused('an expired token', 'token.expired'),
      refused('a tampered token: more scope', 'token.signature'),
      refused('a token for another audience', 'token.audience'),
      refused('a token of another issuer', 'token.issuer'),
      refused('an ID token', 'token.typ'),
      refused('alg: none', 'token.algorithm'),
      refused('HS256, keyed with the public key', 'token.algorithm'),
    ]);
  });

  it("7 a plain token without cnf: 401 by default, 200 only with unconstrained: 'accept'", () => {
    expect(step(7).map(outcome)).toEqual([
      refused('a token without cnf', 'cnf.absent'),
      granted("the same, where unconstrained: 'accept'"),
    ]);
  });

  it('8 a cnf of unknown members only, {}, null, a string: 401; x5t#S256 beside an unknown member is judged by x5t#S256', () => {
    expect(step(8).map(outcome)).toEqual([
      refused('cnf: {"urn:example":1}', 'cnf.not_understood'),
      refused('cnf: {}', 'cnf.not_understood'),
      refused('cnf: null', 'cnf.malformed'),
      refused('cnf: "a string"', 'cnf.malformed'),
      granted('x5t#S256 beside an unknown member, the owner'),
      refused('x5t#S256 beside an unknown member, a thief', 'certificate.mismatch'),
    ]);
  });

  it('9 a token whose scope is too small for the route: 403 insufficient_scope with scope', () => {
    const [attempt] = step(9);
    expect(attempt).toMatchObject({ status: 403, reason: 'scope.insufficient' });
    expect(parseChallenges(attempt?.challenges ?? [])).toMatchObject([
      { scheme: 'Bearer', parameters: { error: 'insufficient_scope', scope: 'accounts:write' } },
      { scheme: 'DPoP' },
    ]);
  });

  it('every attempt led to what the demo says it should', () => {
    expect(job.attempts.filter(({ status, expected }) => status !== expected)).toEqual([]);
    expect(job.attempts).toHaveLength(27);
  });
});
