import { createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import {
  type Access,
  type AuditOptions,
  prepareRequirements,
  type ProtectedResource,
  protectedResource,
  type ProtectedResourceOptions,
  type Refusal,
  type ResourceEvent,
} from '@holdfast/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';
const NOW = Date.parse('2027-01-15T12:00:00Z') / 1000;
const UNTIL = '2027-03-01';
const ONE = 'A'.repeat(43);

describe('Audit mode', () => {
  const clock = createClock(NOW);
  const events: ResourceEvent[] = [];
  const warnings: string[] = [];
  const resources: ProtectedResource[] = [];
  const onWarning = ({ message }: Error): void => void warnings.push(message);
  let issuer: Issuer;
  let key: DpopKey;
  beforeAll(async () => {
    issuer = await startIssuer({ now: clock.now });
    key = await generateDpopKey();
    process.on('warning', onWarning);
  });
  beforeEach(() => {
    clock.set(NOW);
    events.length = 0;
    warnings.length = 0;
  });
  afterAll(async () => {
    process.off('warning', onWarning);
    await Promise.all(resources.map((resource) => resource.close()));
    await issuer.close();
  });

  const make = (audit: Partial<AuditOptions> = {}, more: Partial<ProtectedResourceOptions> = {}): ProtectedResource => {
    const resource = protectedResource({
      issuer: issuer.url,
      audience: AUDIENCE,
      certificate: () => undefined,
      now: clock.now,
      audit: { until: UNTIL, ...audit },
      onEvent: (event) => events.push(event),
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      ...more,
    });
    resources.push(resource);
    return resource;
  };
  const verify = async (resource: ProtectedResource, claims: object, scheme = 'Bearer', header: object = {}): Promise<Access | Refusal> => {
    const token = await issuer.token(claims, header);
    const proof = makeProof({ key, token, htu: `${AUDIENCE}/`, iat: clock.now() });
    return resource.verify({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [`${scheme} ${token}`] : name === 'dpop' && scheme === 'DPoP' ? [proof] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
  };
  const ask = async (...asked: Parameters<typeof verify>): Promise<string> => {
    const result = await verify(...asked);
    if (result.granted) return `${events.at(-1)?.outcome} ${result.confirmed} ${events.at(-1)?.reason ?? ''}`.trim();
    return `${result.status} ${result.rejection.rejected}`;
  };

  it('lets through, unconfirmed, and reports: no certificate, no cnf', async () => {
    const resource = make();
    expect(await ask(resource, { cnf: { 'x5t#S256': ONE } })).toBe('audited false certificate.missing');
    expect(await ask(resource, {})).toBe('audited false cnf.absent');
    const result = await verify(resource, {});
    expect(result.granted && [result.confirmations, result.audited?.rejected]).toEqual([[], 'cnf.absent']);
    expect(events.at(-1)).toMatchObject({ outcome: 'audited', clientId: 'client-1', text: expect.stringMatching(/bound to no client/) });
  });

  it('is of no concern to whoever is confirmed', async () => {
    const resource = make({}, { certificate: () => ({ thumbprint: ONE }) });
    expect(await ask(resource, { cnf: { 'x5t#S256': ONE } })).toBe('granted true');
    expect(await ask(resource, { cnf: { jkt: key.thumbprint } }, 'DPoP')).toBe('granted true');
  });

  it.each<[string, object, string, object, string]>([
    ['a certificate that is another', { cnf: { 'x5t#S256': 'B'.repeat(43) } }, 'Bearer', {}, '401 certificate.mismatch'],
    ['a DPoP-bound token as Bearer', { cnf: { jkt: ONE } }, 'Bearer', {}, '401 cnf.presented_as_bearer'],
    ['a token without cnf as DPoP', {}, 'DPoP', {}, '401 cnf.absent'],
    ['a token that calls itself DPoP', { token_type: 'DPoP' }, 'Bearer', {}, '401 cnf.presented_as_dpop'],
    ['another DPoP key', { cnf: { jkt: ONE } }, 'DPoP', {}, '401 dpop.key_mismatch'],
    ['an empty cnf', { cnf: {} }, 'Bearer', {}, '401 cnf.not_understood'],
    ['a cnf that is null', { cnf: null }, 'Bearer', {}, '401 cnf.malformed'],
    ['a binding outside of cnf', { 'x5t#S256': ONE }, 'Bearer', {}, '401 cnf.top_level'],
    ['an expired token', { exp: 1 }, 'Bearer', {}, '401 token.expired'],
    ['another audience', { aud: 'urn:other' }, 'Bearer', {}, '401 token.audience'],
    ['an ID token', {}, 'Bearer', { typ: 'JWT' }, '401 token.typ'],
  ])('what is wrong, and not only missing, stays refused: %s', async (_what, claims, scheme, header, expected) => {
    const resource = make({}, { certificate: () => ({ thumbprint: ONE }) });
    expect(await ask(resource, claims, scheme, header)).toBe(expected);
  });

  it('a replay stays refused, and a token bound to both still needs its proof', async () => {
    const resource = make();
    const cnf = { jkt: key.thumbprint, 'x5t#S256': ONE };
    expect(await ask(resource, { cnf })).toBe('401 cnf.presented_as_bearer');
    expect(await ask(resource, { cnf }, 'DPoP')).toBe('audited false certificate.missing');
    const token = await issuer.token({ cnf });
    const proof = makeProof({ key, token, htu: `${AUDIENCE}/`, iat: NOW });
    const send = (): Promise<Access | Refusal> | Access | Refusal =>
      resource.verify({
        method: 'GET',
        target: '/',
        fieldLines: (name) => (name === 'authorization' ? [`DPoP ${token}`] : name === 'dpop' ? [proof] : []),
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
    const [first, second] = [await send(), await send()];
    expect([first.granted, second.granted || second.rejection.rejected]).toEqual([true, 'replay.reused']);
  });

  it('never satisfies a required binding, and other requirements hold as always', async () => {
    const resource = make();
    const both = await verify(resource, { cnf: { jkt: key.thumbprint, 'x5t#S256': ONE } }, 'DPoP');
    if (!both.granted) throw new Error('not granted');
    for (const confirmation of ['any', 'jkt', 'x5t#S256'] as const) {
      const result = resource.authorize(both, prepareRequirements({ confirmation }));
      expect(result.granted || result.rejection.rejected).toBe('confirmation.required');
    }
    expect(resource.authorize(both, prepareRequirements({ scope: 'admin' })).granted).toBe(false);
    expect(resource.authorize(both, prepareRequirements({ scope: 'read' })).granted).toBe(true);
  });

  it('relaxes only the reasons that are listed', async () => {
    const resource = make({ reasons: ['cnf.absent'] });
    expect(await ask(resource, {})).toBe('audited false cnf.absent');
    expect(await ask(resource, { cnf: { 'x5t#S256': ONE } })).toBe('401 certificate.missing');
  });

  it('ends by itself, in the middle of the life of a token', async () => {
    const resource = make();
    const end = Date.parse(`${UNTIL}T00:00:00Z`) / 1000;
    clock.set(end - 1);
    expect(await ask(resource, {})).toBe('audited false cnf.absent');
    clock.set(end);
    expect(await ask(resource, {})).toBe('401 cnf.absent');
  });

  it('is said aloud at the start, and so is that it is over', async () => {
    make();
    make({ until: '2027-01-01' });
    await new Promise((resolve) => void setImmediate(resolve));
    expect(warnings).toEqual([
      expect.stringMatching(/AUDIT MODE until 2027-03-01: .*cnf\.absent/),
      expect.stringMatching(/ended on 2027-01-01, so everything is enforced/),
    ]);
    expect(await ask(make({ until: '2027-01-01' }), {})).toBe('401 cnf.absent');
  });

  it.each<[string, object]>([
    ['audit.until', { audit: {} }],
    ['audit.until', { audit: { until: '2027-04-16' } }],
    ['audit.until', { audit: { until: 'tomorrow' } }],
    ['audit.until', { audit: { until: '2027-02-31T00:00:00Z' } }],
    ['audit.until', { audit: { until: NOW + 60 } }],
    ['audit.reasons', { audit: { until: UNTIL, reasons: [] } }],
    ['audit.reasons', { audit: { until: UNTIL, reasons: ['certificate.mismatch'] } }],
    ['audit.reasons', { audit: { until: UNTIL, reasons: ['replay.reused', 'cnf.absent'] } }],
    ['audit', { audit: true }],
    ['audit', { profiles: ['fapi2'], dpop: false }],
  ])('%s that makes no sense is refused at the start: %j', (name, more) => {
    expect(() => make({}, more as never)).toThrow(new RegExp(`- ${name.replace('.', '\\.')}: `));
  });
});
