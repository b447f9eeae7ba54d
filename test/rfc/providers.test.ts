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
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import {
  API,
  CERTIFICATE,
  CLIENT,
  KEY,
  PROVIDER_ANSWERS,
  PROVIDER_TOKENS,
  type ProviderAccessToken,
  type ProviderJwt,
} from '@holdfast/test-support/provider-tokens';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const NOW = 1_800_000_000;
const NAMES = Object.keys(PROVIDERS) as ProviderName[];
const THUMBPRINT = 'A'.repeat(43);

const tokensOf = (provider: ProviderName): (typeof PROVIDER_TOKENS)[string] => {
  const tokens = PROVIDER_TOKENS[provider];
  if (tokens === undefined) throw new Error(`no tokens of ${provider}`);
  return tokens;
};
const accessOf = (provider: ProviderName): ProviderAccessToken => tokensOf(provider).access[0];
const isBound = ({ claims }: ProviderJwt): boolean => 'cnf' in claims || 'x5t#S256' in claims;

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
  /** Only what the fixture has: nothing of what tokens have here by default. */
  const sign = ({ header, claims }: ProviderJwt, iss = issuer.url): Promise<string> =>
    issuer.token({ aud: undefined, sub: undefined, client_id: undefined, scope: undefined, jti: undefined, iss, ...claims }, header);
  const present = async (resource: ProtectedResource, authorization: string, proof?: string): Promise<Access | Refusal> =>
    resource.verify({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [authorization] : name === 'dpop' && proof !== undefined ? [proof] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
  const verify = async (resource: ProtectedResource, jwt: ProviderJwt): Promise<Access | Refusal> =>
    present(resource, `Bearer ${await sign(jwt)}`);
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
    it.each(tokensOf(name).access.map((token) => [token.variant, token] as const))(
      'has its access token accepted, with its scopes and its client, and as bound as it says: %s',
      async (_variant, token) => {
        const { issuer: iss, scopes, clientId } = token;
        const keys = { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } };
        const options = { ...(iss !== undefined && { issuer: iss, keys }), unconstrained: isBound(token) ? 'refuse' : 'accept' } as const;
        const key = await generateDpopKey();
        const { cnf } = token.claims;
        const isDpop = typeof cnf === 'object' && cnf !== null && 'jkt' in cnf;
        if (isDpop) expect(cnf.jkt).toBe(KEY);
        const claims = isDpop ? { ...token.claims, cnf: { ...cnf, jkt: key.thumbprint } } : token.claims;
        const compact = await sign({ header: token.header, claims }, iss);
        const presented = (resource: ProtectedResource, scheme: string, by = key): Promise<Access | Refusal> =>
          present(resource, `${scheme} ${compact}`, makeProof({ key: by, token: compact, htu: `${API}/`, iat: NOW }));

        const scheme = isDpop ? 'DPoP' : 'Bearer';
        const owner = of(name, { ...options, certificate: () => ({ thumbprint: CERTIFICATE }) });
        const result = await presented(owner, scheme);
        expect(reasonOf(result)).toBe('granted');
        const confirmed = isDpop ? ['jkt'] : isBound(token) ? ['x5t#S256'] : [];
        expect(result.granted && [result.scopes, result.clientId, result.confirmations.map(({ member }) => member)]).toEqual([
          scopes,
          clientId,
          confirmed,
        ]);

        if (!isBound(token)) return;
        const thief = of(name, { ...options, certificate: () => ({ thumbprint: THUMBPRINT }) });
        expect(reasonOf(await presented(thief, scheme, await generateDpopKey()))).toMatch(/^(?:dpop\.key_mismatch|certificate\.mismatch)$/);
        if (isDpop) expect(reasonOf(await presented(owner, 'Bearer'))).toBe('cnf.presented_as_bearer');
      },
    );

    it('JWT-03 has it refused without the name of the provider, where it is not as RFC 9068 says', async () => {
      const expected = isRelaxed(name) ? 'token.typ' : 'granted';
      expect(reasonOf(await verify(make({}), accessOf(name)))).toBe(expected);
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
      const { header, claims } = accessOf(name);
      expect(reasonOf(await verify(of(name), { header, claims: { ...claims, aud: 'https://other.example' } }))).toBe('token.audience');
    });

    it('has no token accepted that names no API, unless its client is on the list', async () => {
      const { header, claims } = accessOf(name);
      const nameless = { header, claims: { ...claims, aud: undefined } };
      expect(reasonOf(await verify(of(name), nameless))).toBe(PROVIDERS[name].audience === 'client' ? 'granted' : 'token.audience');
      if (PROVIDERS[name].audience === 'client')
        expect(reasonOf(await verify(of(name, { clientIds: ['client-8'] }), nameless))).toBe('token.client');
    });

    it.each([...new Set(PROVIDERS[name].signs.flat().map(({ claim }) => claim))].map((claim) => [claim]))(
      'has a token refused that lacks every sign, or has one of another kind: %s',
      async (claim) => {
        const { header, claims } = accessOf(name);
        const group = PROVIDERS[name].signs.find((signs) => signs.some((one) => one.claim === claim)) ?? [];
        const without = Object.fromEntries(group.map((one) => [one.claim, undefined]));
        for (const value of [undefined, null, '', 7, {}]) {
          const result = await verify(of(name), { header, claims: { ...claims, ...without, [claim]: value } });
          expect(reasonOf(result)).toMatch(/^token\.(?:not_an_access_token|claim)$/);
        }
      },
    );

    it('has a token refused that is bound outside of cnf, or held to that binding', async () => {
      const { header, claims } = accessOf(name);
      for (const member of ['x5t#S256', 'jkt']) {
        const reason = PROVIDERS[name].topLevel.includes(member) ? 'certificate.no_source' : 'cnf.top_level';
        expect(reasonOf(await verify(of(name), { header, claims: { ...claims, [member]: THUMBPRINT } }))).toBe(reason);
      }
    });
  });

  it.each(NAMES.filter(isRelaxed))('JWT-22 %s: what only its other tokens have is refused, whatever else it shows', async (name) => {
    const { header, claims } = accessOf(name);
    for (const other of PROVIDERS[name].never) {
      expect(reasonOf(await verify(of(name), { header, claims: { ...claims, [other]: 'x' } }))).toBe('token.not_an_access_token');
    }
  });

  describe('janssen', () => {
    const certificate = (thumbprint: string) => () => ({ thumbprint });
    const bound = (more: object): ProviderJwt => ({
      ...accessOf('janssen'),
      claims: { ...accessOf('janssen').claims, ...more },
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

  describe('asked about opaque tokens', () => {
    let says: object;
    beforeAll(() => {
      issuer.metadata['introspection_endpoint'] = `${issuer.url}/introspect`;
      issuer.answer = (_request, response, path) => {
        if (path !== '/introspect') return false;
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(says));
        return true;
      };
    });

    it('have a source each', () => {
      for (const [name, { provider, source }] of Object.entries(PROVIDER_ANSWERS)) {
        expect([name, source]).toEqual([name, expect.stringMatching(/^https:\/\//)]);
        expect([undefined, ...NAMES]).toContain(provider);
      }
    });

    describe.each(Object.entries(PROVIDER_ANSWERS))('%s', (_name, { provider, access, refresh, clientIds, scopes }) => {
      const resourceWith = (more: Partial<ProtectedResourceOptions>): ProtectedResource => {
        const preset = NAMES.find((name) => name === provider);
        const introspection = { clientId: 'api', authentication: { method: 'client_secret_basic', secret: 'secret' } } as const;
        return make({ ...(preset && { provider: preset }), ...(clientIds && { clientIds }), introspection, ...more });
      };
      const asked = async (resource: ProtectedResource, members: object): Promise<Access | Refusal> => {
        says = { iss: issuer.url, iat: NOW, exp: NOW + 300, ...members };
        return present(resource, 'Bearer opaque');
      };
      const owner = { certificate: () => ({ thumbprint: CERTIFICATE }), unconstrained: 'refuse' } as const;

      it('has an access token accepted from the client it is bound to, and from nobody else', async () => {
        const bound = { ...access, cnf: { 'x5t#S256': CERTIFICATE } };
        const result = await asked(resourceWith(owner), bound);
        expect(reasonOf(result)).toBe('granted');
        expect(result.granted && [result.scopes, result.clientId]).toEqual([scopes, CLIENT]);
        expect(reasonOf(await asked(resourceWith({ ...owner, certificate: () => ({ thumbprint: THUMBPRINT }) }), bound))).toBe(
          'certificate.mismatch',
        );
        expect(reasonOf(await asked(resourceWith(owner), access))).toBe('cnf.absent');
        expect(reasonOf(await asked(resourceWith({}), access))).toBe('granted');
      });

      it('has a refresh token refused, bound or not', async () => {
        const refused = /^token\.(?:not_an_access_token|inactive|claim)$/;
        expect(reasonOf(await asked(resourceWith({}), refresh))).toMatch(refused);
        expect(reasonOf(await asked(resourceWith(owner), { ...refresh, cnf: { 'x5t#S256': CERTIFICATE } }))).toMatch(refused);
      });
    });
  });

  it('each of several issuers by its own preset and its own keys', async () => {
    const other = await startIssuer({ now: clock.now });
    const resource = make({
      issuer: [
        { issuer: issuer.url, provider: 'keycloak' },
        { issuer: other.url, provider: 'okta', keys: { jwks: { keys: other.keys.map(({ publicJwk }) => publicJwk) } } },
      ],
      keys: undefined as never,
    });
    const plain = { sub: undefined, client_id: undefined, scope: undefined };
    const results = await Promise.all([
      verify(resource, accessOf('keycloak')),
      other.token({ ...plain, ...accessOf('okta').claims }, accessOf('okta').header).then((token) => present(resource, `Bearer ${token}`)),
    ]);
    expect(results.map((result) => result.granted && [result.issuer, result.scopes, result.clientId])).toEqual([
      [issuer.url, ['email', 'read'], CLIENT],
      [other.url, ['openid', 'read'], CLIENT],
    ]);
    // A preset is of its issuer alone, as its keys are.
    expect(reasonOf(await verify(resource, accessOf('okta')))).toBe('token.typ');
    const stolen = await sign(accessOf('okta'), other.url);
    expect(reasonOf(await present(resource, `Bearer ${stolen}`))).toBe('token.unknown_key');
    // Where keys are given nobody was asked for them.
    expect(other.requests).toEqual([]);
    await other.close();
  });

  describe('beside profiles: of both, the strictest', () => {
    it('rfc9068 leaves only at+jwt, and adds its claims', async () => {
      const resource = of('keycloak', { profiles: ['rfc9068'] });
      const { header, claims } = accessOf('keycloak');
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
