import {
  type Access,
  PROVIDERS,
  type ProtectedResource,
  type ProtectedResourceOptions,
  type ProviderName,
  protectedResource,
  type Refusal,
} from '@holdfast/core';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { API, CLIENT, PROVIDER_TOKENS, type ProviderJwt } from '@holdfast/test-support/provider-tokens';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const NOW = 1_800_000_000;
const NAMES = Object.keys(PROVIDERS) as ProviderName[];
const THUMBPRINT = 'A'.repeat(43);

describe('Providers', () => {
  const clock = createClock(NOW);
  let issuer: Issuer;
  const resources: ProtectedResource[] = [];
  beforeAll(async () => {
    issuer = await startIssuer({ now: clock.now });
  });
  afterAll(async () => {
    await Promise.all(resources.map((resource) => resource.close()));
    await issuer.close();
  });

  function make(more: Partial<ProtectedResourceOptions>): ProtectedResource {
    const resource = protectedResource({
      issuer: issuer.url,
      audience: API,
      unconstrained: 'accept',
      now: clock.now,
      keys: { uri: issuer.jwksUri },
      ...more,
    });
    resources.push(resource);
    return resource;
  }
  const of = (provider: ProviderName, more: Partial<ProtectedResourceOptions> = {}): ProtectedResource => {
    const { clientIds } = tokensOf(provider);
    return make({ provider, ...(clientIds && { clientIds }), ...more });
  };
  const tokensOf = (provider: ProviderName): (typeof PROVIDER_TOKENS)[string] => {
    const tokens = PROVIDER_TOKENS[provider];
    if (tokens === undefined) throw new Error(`no tokens of ${provider}`);
    return tokens;
  };
  /** Only what the fixture has: nothing of what tokens have here by default. */
  const sign = ({ header, claims }: ProviderJwt): Promise<string> =>
    issuer.token({ aud: undefined, sub: undefined, client_id: undefined, scope: undefined, jti: undefined, ...claims }, header);
  const verify = async (resource: ProtectedResource, jwt: ProviderJwt): Promise<Access | Refusal> => {
    const token = await sign(jwt);
    return resource.verify({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
  };
  const reasonOf = (result: Access | Refusal): string => (result.granted ? 'granted' : result.rejection.rejected);
  const isRelaxed = (provider: ProviderName): boolean => PROVIDERS[provider].types.some((typ) => typ !== 'at+jwt');

  it('have a fixture each, and every fixture a provider', () => {
    expect(Object.keys(PROVIDER_TOKENS).toSorted()).toEqual(NAMES.toSorted());
  });

  it('cannot be changed at run time', () => {
    expect(() => (PROVIDERS.duende.types as string[]).push('jwt')).toThrow(TypeError);
    expect(() => Object.assign(PROVIDERS.keycloak, { signs: [] })).toThrow(TypeError);
  });

  it('that relax typ or aud say how an access token shows that it is one', () => {
    for (const name of NAMES) {
      const { types, audience, signs, source } = PROVIDERS[name];
      expect([name, signs.length > 0]).toEqual([name, types.some((typ) => typ !== 'at+jwt') || audience === 'client']);
      expect(source).toMatch(/^https:\/\//);
    }
  });

  describe.each(NAMES)('%s', (name) => {
    it('has its access token accepted, with its scopes and its client', async () => {
      const { access, scopes, clientId } = tokensOf(name);
      const result = await verify(of(name), access);
      expect(reasonOf(result)).toBe('granted');
      expect(result.granted && [result.scopes, result.clientId]).toEqual([scopes, clientId]);
    });

    it('JWT-03 has it refused without the name of the provider, where it is not as RFC 9068 says', async () => {
      const expected = isRelaxed(name) ? 'token.typ' : 'granted';
      expect(reasonOf(await verify(make({}), tokensOf(name).access))).toBe(expected);
    });

    it('JWT-22 has its ID token refused', async () => {
      expect(reasonOf(await verify(of(name), tokensOf(name).id))).toMatch(/^token\.(?:typ|audience|claim)$/);
    });

    it('JWT-22 has its ID token refused even where the API is the client that it is for', async () => {
      const { header, claims } = tokensOf(name).id;
      const idTokens = [
        { header, claims: { ...claims, aud: API } },
        { header, claims: { ...claims, aud: [API, CLIENT], client_id: CLIENT, azp: CLIENT } },
        // And without what an ID token need not have.
        { header, claims: { ...claims, aud: API, nonce: undefined, at_hash: undefined, c_hash: undefined, client_id: CLIENT } },
      ];
      for (const idToken of idTokens) {
        expect(reasonOf(await verify(of(name), idToken))).toMatch(
          isRelaxed(name) ? /^token\.(?:not_an_access_token|claim)$/ : /^token\.typ$/,
        );
      }
    });

    it('has no token accepted that is for another API', async () => {
      const { header, claims } = tokensOf(name).access;
      expect(reasonOf(await verify(of(name), { header, claims: { ...claims, aud: 'https://other.example' } }))).toBe('token.audience');
    });

    it('has no token accepted that names no API, unless its client is on the list', async () => {
      const { header, claims } = tokensOf(name).access;
      const nameless = { header, claims: { ...claims, aud: undefined } };
      expect(reasonOf(await verify(of(name), nameless))).toBe(PROVIDERS[name].audience === 'client' ? 'granted' : 'token.audience');
      if (PROVIDERS[name].audience === 'client')
        expect(reasonOf(await verify(of(name, { clientIds: ['client-8'] }), nameless))).toBe('token.client');
    });

    it.each([...new Set(PROVIDERS[name].signs.flat().map(({ claim }) => claim))].map((claim) => [claim]))(
      'has a token refused that lacks every sign, or has one of another kind: %s',
      async (claim) => {
        const { header, claims } = tokensOf(name).access;
        const group = PROVIDERS[name].signs.find((signs) => signs.some((one) => one.claim === claim)) ?? [];
        const without = Object.fromEntries(group.map((one) => [one.claim, undefined]));
        for (const value of [undefined, null, '', 7, {}]) {
          const result = await verify(of(name), { header, claims: { ...claims, ...without, [claim]: value } });
          expect(reasonOf(result)).toMatch(/^token\.(?:not_an_access_token|claim)$/);
        }
      },
    );

    it('has a token refused that is bound outside of cnf, or held to that binding', async () => {
      const { header, claims } = tokensOf(name).access;
      for (const member of ['x5t#S256', 'jkt']) {
        const reason = PROVIDERS[name].topLevel.includes(member) ? 'certificate.no_source' : 'cnf.top_level';
        expect(reasonOf(await verify(of(name), { header, claims: { ...claims, [member]: THUMBPRINT } }))).toBe(reason);
      }
    });
  });

  it.each(NAMES.filter(isRelaxed))('JWT-22 %s: what only its other tokens have is refused, whatever else it shows', async (name) => {
    const { header, claims } = tokensOf(name).access;
    for (const other of PROVIDERS[name].never) {
      expect(reasonOf(await verify(of(name), { header, claims: { ...claims, [other]: 'x' } }))).toBe('token.not_an_access_token');
    }
  });

  describe('janssen', () => {
    const certificate = (thumbprint: string) => () => ({ thumbprint });
    const bound = (more: object): ProviderJwt => ({
      ...tokensOf('janssen').access,
      claims: { ...tokensOf('janssen').access.claims, ...more },
    });

    it('binds by a claim of its own: the owner passes, nobody else', async () => {
      const token = bound({ 'x5t#S256': THUMBPRINT });
      expect(reasonOf(await verify(of('janssen', { certificate: certificate(THUMBPRINT) }), token))).toBe('granted');
      expect(reasonOf(await verify(of('janssen', { certificate: certificate('B'.repeat(43)) }), token))).toBe('certificate.mismatch');
      expect(reasonOf(await verify(of('janssen', { certificate: () => undefined }), token))).toBe('certificate.missing');
    });

    it.each(['', null, 7, {}, 'a', '0'.repeat(64)])('a claim that is no thumbprint is never read as unbound: %j', async (value) => {
      const result = await verify(of('janssen', { certificate: certificate(THUMBPRINT) }), bound({ 'x5t#S256': value }));
      expect(reasonOf(result)).toMatch(/^cnf\.(?:malformed|hex_thumbprint)$/);
    });

    it('beside a cnf both must hold', async () => {
      const token = (cnf: object): ProviderJwt => bound({ 'x5t#S256': THUMBPRINT, cnf });
      const resource = of('janssen', { certificate: certificate(THUMBPRINT) });
      expect(reasonOf(await verify(resource, token({ 'x5t#S256': THUMBPRINT })))).toBe('granted');
      expect(reasonOf(await verify(resource, token({ 'x5t#S256': 'B'.repeat(43) })))).toBe('certificate.mismatch');
      expect(reasonOf(await verify(resource, token({})))).toBe('cnf.not_understood');
      expect(reasonOf(await verify(resource, token({ jkt: THUMBPRINT })))).toBe('cnf.presented_as_bearer');
    });
  });

  it('keycloak: kc-jkt-type beside x5t#S256 is ignored, and an empty scope is none', async () => {
    const { header, claims } = tokensOf('keycloak').access;
    const token = { header, claims: { ...claims, scope: '', cnf: { 'x5t#S256': THUMBPRINT, 'kc-jkt-type': 'x' } } };
    const result = await verify(of('keycloak', { certificate: () => ({ thumbprint: THUMBPRINT }) }), token);
    expect(result.granted && result.scopes).toEqual([]);
  });

  it('auth0 and ping: an issuer with a final slash or a port is compared with it', async () => {
    const slash = await startIssuer({ now: clock.now, path: '/' });
    const resource = make({ issuer: slash.url, provider: 'auth0', keys: { uri: slash.jwksUri } });
    const { header, claims } = tokensOf('auth0').access;
    const token = await slash.token(claims, header);
    const request = {
      method: 'GET',
      target: '/',
      fieldLines: (name: string) => (name === 'authorization' ? [`Bearer ${token}`] : []),
      connection: { peer: { kind: 'unknown' as const }, peerCertificate: () => undefined },
    };
    expect(reasonOf(await resource.verify(request))).toBe('granted');
    await slash.close();
  });

  describe('beside profiles: of both, the strictest', () => {
    it('rfc9068 leaves only at+jwt, and adds its claims', async () => {
      const resource = of('keycloak', { profiles: ['rfc9068'] });
      const { header, claims } = tokensOf('keycloak').access;
      expect(reasonOf(await verify(resource, { header, claims }))).toBe('token.typ');
      expect(reasonOf(await verify(resource, { header: { typ: 'at+jwt' }, claims }))).toBe('token.claim');
      expect(reasonOf(await verify(resource, { header: { typ: 'at+jwt' }, claims: { ...claims, client_id: CLIENT } }))).toBe('granted');
    });

    it.each(['rfc9068', 'mcp'] as const)('%s and cognito exclude each other, and that is said at the start', (profile) => {
      expect(() => of('cognito', { profiles: [profile] })).toThrow(/- provider: is "cognito"/);
    });

    it('cognito asks for clientIds, and no other takes them', () => {
      expect(() => make({ provider: 'cognito' })).toThrow(/- clientIds: is missing/);
      expect(() => make({ provider: 'keycloak', clientIds: [CLIENT] })).toThrow(/- clientIds: /);
      expect(() => make({ clientIds: [CLIENT] })).toThrow(/- clientIds: /);
      for (const clientIds of [[], [''], 'x', [7]] as never[])
        expect(() => make({ provider: 'cognito', clientIds })).toThrow(/- clientIds: /);
    });
  });
});
