import { createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import {
  type ConfirmedToken,
  type IsRevoked,
  type ProtectedResource,
  protectedResource,
  type ProtectedResourceOptions,
  type ResourceEvent,
} from '@holdfast/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';
const NOW = 1_800_000_000;

describe('isRevoked', () => {
  const clock = createClock(NOW);
  const resources: ProtectedResource[] = [];
  const asked: ConfirmedToken[] = [];
  const uses: string[] = [];
  const events: ResourceEvent[] = [];
  let issuer: Issuer;
  let key: DpopKey;
  let token: string;
  beforeAll(async () => {
    issuer = await startIssuer({ now: clock.now });
    key = await generateDpopKey();
    token = await issuer.token({ cnf: { jkt: key.thumbprint } });
  });
  beforeEach(() => {
    for (const list of [asked, uses, events]) list.length = 0;
  });
  afterAll(async () => {
    await Promise.all(resources.map((resource) => resource.close()));
    await issuer.close();
  });

  const make = (answer: IsRevoked, more: Partial<ProtectedResourceOptions> = {}): ProtectedResource => {
    const resource = protectedResource({
      issuer: issuer.url,
      audience: AUDIENCE,
      now: clock.now,
      onEvent: (event) => events.push(event),
      dpop: { replay: { firstUse: ({ key: used }) => uses.push(used) > 0 } },
      isRevoked: (confirmed) => {
        asked.push(confirmed);
        return answer(confirmed);
      },
      ...more,
    });
    resources.push(resource);
    return resource;
  };
  const ask = async (resource: ProtectedResource, changes: object = {}): Promise<string> => {
    const proof = makeProof({ key, token, htu: `${AUDIENCE}/`, iat: NOW, ...changes });
    const result = await resource.verify({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [`DPoP ${token}`] : name === 'dpop' ? [proof] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
    return result.granted ? 'granted' : `${result.status} ${result.rejection.rejected} ${result.body?.error ?? ''}`.trim();
  };

  it('is asked of what passed everything else, with what is known of it', async () => {
    expect(await ask(make(() => false))).toBe('granted');
    expect(asked).toEqual([
      expect.objectContaining({
        issuer: issuer.url,
        scheme: 'DPoP',
        scopes: ['read'],
        clientId: 'client-1',
        claims: expect.objectContaining({ sub: 'user-1', jti: expect.any(String) }),
        confirmations: [{ member: 'jkt', thumbprint: key.thumbprint }],
      }),
    ]);
    expect(uses).toHaveLength(1);
  });

  it('refuses what it names with 401, and uses up no proof for it', async () => {
    for (const answer of [() => true, () => Promise.resolve(true)]) {
      expect(await ask(make(answer))).toBe('401 token.revoked invalid_token');
    }
    expect(uses).toEqual([]);
  });

  it('is asked on every request, also of a token that is remembered', async () => {
    let revoked = false;
    const resource = make(() => revoked);
    expect(await ask(resource)).toBe('granted');
    revoked = true;
    expect(await ask(resource)).toBe('401 token.revoked invalid_token');
  });

  it('is not asked of what fails before it', async () => {
    const resource = make(() => false);
    for (const changes of [{ htm: 'POST' }, { iat: NOW - 1000 }, { key: await generateDpopKey() }, { token: 'another' }]) {
      expect(await ask(resource, changes)).toMatch(/^401 dpop\./);
    }
    expect(asked).toEqual([]);
  });

  it('that fails, or says neither true nor false, is 503 with no word of why, and uses up no proof', async () => {
    const answers: IsRevoked[] = [
      () => {
        throw new Error('hunter2');
      },
      () => Promise.reject(new Error('hunter2')),
      () => undefined as never,
      () => 0 as never,
      () => Promise.resolve(null) as never,
      async () => 'false' as never,
    ];
    for (const answer of answers) expect(await ask(make(answer))).toBe('503 unavailable.is_revoked');
    expect(uses).toEqual([]);
    expect(JSON.stringify(events)).not.toContain('hunter2');
  });

  it('EDG-16 the profile fapi2 without any way to know of revocation is warned about', async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error): void => void warnings.push(message);
    process.on('warning', onWarning);
    const fapi2 = { issuer: 'https://as.example', audience: AUDIENCE, profiles: ['fapi2'], dpop: false } as const;
    const introspection = { clientId: 'api', authentication: { method: 'client_secret_basic', secret: 's' } } as const;
    const made = [
      protectedResource(fapi2),
      protectedResource({ ...fapi2, introspection }),
      protectedResource({ ...fapi2, introspection: { ...introspection, mode: 'always' } }),
      protectedResource({ ...fapi2, isRevoked: () => false }),
      protectedResource({ ...fapi2, profiles: [] }),
    ];
    resources.push(...made);
    await new Promise((resolve) => void setImmediate(resolve));
    process.off('warning', onWarning);
    expect(warnings.filter((message) => message.includes('revoked'))).toHaveLength(2);
  });

  it.each([true, 'list', {}, null])('has to be a function: %j', (isRevoked) => {
    expect(() => make(() => false, { isRevoked: isRevoked as never })).toThrow(/- isRevoked: /);
  });
});
