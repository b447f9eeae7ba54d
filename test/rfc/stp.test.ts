import { createServer } from 'node:http';
import { accessOf, holdfast, type ProtectedResourceOptions, requires, type Requirements, type ResourceEvent } from '@holdfast/express';
import { prepareRequirements } from '@holdfast/core';
import { type Challenge, parseChallenges } from '@holdfast/test-support/challenges';
import { createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import express from 'express';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conditionsOf } from '../../packages/core/src/authorization/conditions.ts';

const AUDIENCE = 'https://rs.example.com';
const NOW = 1_800_000_000;

describe('Requirements of routes', () => {
  const clock = createClock(NOW);
  const ran: string[] = [];
  let issuer: Issuer;
  let key: DpopKey;
  beforeAll(async () => {
    issuer = await startIssuer({ now: clock.now });
    key = await generateDpopKey();
  });
  afterAll(() => issuer.close());

  interface Asked {
    readonly status: number;
    /** `200`, or status, the scheme whose challenge has the error, and the reason: `403 Bearer insufficient_scope scope.insufficient`. */
    readonly verdict: string;
    readonly challenge: Challenge['parameters'];
    readonly body: string;
  }

  /** What comes of a token with these claims at a route with these requirements. */
  async function ask(
    requirements: Requirements | readonly Requirements[],
    claims: object = {},
    scheme: 'Bearer' | 'DPoP' = 'Bearer',
    more: Partial<ProtectedResourceOptions> = {},
    sent?: string,
  ): Promise<Asked> {
    const events: ResourceEvent[] = [];
    const app = express();
    const protection = holdfast({
      issuer: issuer.url,
      audience: AUDIENCE,
      unconstrained: 'accept',
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      now: clock.now,
      onEvent: (event) => events.push(event),
      ...more,
    });
    app.get('/', protection, ...[requirements].flat().map((one) => requires(one)), (request, response) => {
      ran.push(accessOf(request).claims.iss);
      response.end('the route');
    });
    const server = createServer(app);
    const port = await listen(server);
    const token = sent ?? (await issuer.token(scheme === 'DPoP' ? { cnf: { jkt: key.thumbprint }, ...claims } : claims));
    const dpop = makeProof({ key, token, htu: `${AUDIENCE}/`, iat: clock.now() });
    const response = await fetch(`http://127.0.0.1:${port}/`, {
      headers: { authorization: `${scheme} ${token}`, ...(scheme === 'DPoP' && { dpop }) },
    });
    const body = await response.text();
    const found = parseChallenges([response.headers.get('www-authenticate') ?? []].flat()).find(({ parameters }) => 'error' in parameters);
    await stop(server);
    const words = found ? [found.scheme, found.parameters['error'], events.at(-1)?.reason] : [events.at(-1)?.reason];
    const verdict = response.status === 200 ? '200' : [response.status, ...words].join(' ');
    return { status: response.status, verdict, challenge: found?.parameters ?? {}, body };
  }
  const verdict = async (...asked: Parameters<typeof ask>): Promise<string> => (await ask(...asked)).verdict;

  describe('STP: step-up (RFC 9470)', () => {
    const ACR = '401 Bearer insufficient_user_authentication step_up.acr';
    const AGE = '401 Bearer insufficient_user_authentication step_up.max_age';

    it('STP-01 an acr that is not enough', async () => {
      const { verdict: said, challenge, body } = await ask({ acr: 'myACR' }, { acr: 'low' });
      expect(said).toBe(ACR);
      expect(challenge).toMatchObject({ acr_values: 'myACR', error_description: expect.stringMatching(/authentication/) });
      expect(challenge).not.toHaveProperty('max_age');
      expect(JSON.parse(body)).toMatchObject({ error: 'insufficient_user_authentication' });
      expect(await verdict({ acr: 'myACR' }, { acr: 'myACR' })).toBe('200');
    });

    it('STP-02 STP-03 an authentication that is too old', async () => {
      expect(await verdict({ maxAge: 5 }, { auth_time: NOW - 5 })).toBe('200');
      const { verdict: said, challenge } = await ask({ maxAge: 5 }, { auth_time: NOW - 6 });
      expect([said, challenge['max_age'], 'acr_values' in challenge]).toEqual([AGE, '5', false]);
      expect(await verdict({ maxAge: 0 }, { auth_time: NOW })).toBe('200');
      expect(await verdict({ maxAge: 0 }, { auth_time: NOW - 1 })).toBe(AGE);
    });

    it.each([-1, 1.5, NaN, Infinity, '5', null])('STP-03 max_age is a whole number, 0 or more: %j', (maxAge) => {
      expect(() => requires({ maxAge } as never)).toThrow(/maxAge/);
    });

    it('STP-04 of several values one is enough, and the challenge has all, in order', async () => {
      const acr = ['a', 'b'];
      for (const value of acr) expect(await verdict({ acr }, { acr: value })).toBe('200');
      expect((await ask({ acr }, { acr: 'c' })).challenge['acr_values']).toBe('a b');
      expect((await ask({ acr: 'a b' }, { acr: 'a b' })).challenge['acr_values']).toBe('a b');
    });

    it('STP-05 both, and a scope that is missing, in one challenge', async () => {
      const { status, challenge } = await ask({ acr: 'a', maxAge: 5, scope: 'x y' }, { scope: 'x' });
      expect([status, challenge]).toEqual([
        401,
        expect.objectContaining({ error: 'insufficient_user_authentication', acr_values: 'a', max_age: '5', scope: 'x y' }),
      ]);
      // A scope that is there is not asked for again.
      expect((await ask({ acr: 'a', scope: 'x' }, { scope: 'x' })).challenge).not.toHaveProperty('scope');
      expect(await verdict({ acr: 'a', scope: 'x' }, { acr: 'a' })).toBe('403 Bearer insufficient_scope scope.insufficient');
    });

    it('STP-06 in the challenge of the scheme that was used', async () => {
      const { verdict: said, challenge } = await ask({ acr: 'a' }, {}, 'DPoP');
      expect(said).toBe('401 DPoP insufficient_user_authentication step_up.acr');
      expect(challenge).toMatchObject({ acr_values: 'a', algs: expect.stringContaining('ES256') });
    });

    it('STP-07 by introspection as by JWT', async () => {
      issuer.metadata['introspection_endpoint'] = `${issuer.url}/introspect`;
      const said = { active: true, aud: AUDIENCE, exp: NOW + 60, acr: 'a', auth_time: NOW - 6 };
      issuer.answer = (_request, response, path) => {
        if (path !== '/introspect') return false;
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(said));
        return true;
      };
      const introspection = { clientId: 'api', authentication: { method: 'client_secret_basic', secret: 's' } } as const;
      const by = (requirements: Requirements): Promise<string> => verdict(requirements, {}, 'Bearer', { introspection }, 'opaque');
      expect([await by({ acr: 'a', maxAge: 6 }), await by({ acr: 'b' }), await by({ maxAge: 5 })]).toEqual(['200', ACR, AGE]);
      issuer.answer = undefined;
    });

    it('STP-08 what the token does not say is not so', async () => {
      expect([await verdict({ acr: 'a' }), await verdict({ maxAge: 60 })]).toEqual([ACR, AGE]);
    });

    it('STP-09 is told only of a token that is valid and bound', async () => {
      ran.length = 0;
      const { verdict: said, challenge } = await ask({ acr: 'a', maxAge: 5 }, { exp: NOW - 100 });
      expect([said, 'acr_values' in challenge, 'max_age' in challenge]).toEqual(['401 Bearer invalid_token token.expired', false, false]);
      expect((await ask({ acr: 'a' }, { cnf: { jkt: key.thumbprint } })).challenge).not.toHaveProperty('acr_values');
      expect(ran).toEqual([]);
    });

    it.each([NOW + 3600, NOW + 6, `${NOW}`, null, [NOW], {}])(
      'STP-10 an auth_time in the future, or that is no number: %j',
      async (auth_time) => {
        expect(await verdict({ maxAge: 60 }, { auth_time })).toBe(AGE);
      },
    );

    it('STP-10 within the tolerance it may be', async () => {
      expect(await verdict({ maxAge: 60 }, { auth_time: NOW + 5 })).toBe('200');
    });
  });

  describe('Scopes', () => {
    it('JWT-25 any of several, and the challenge asks for the first', async () => {
      const scope = { any: ['read', 'admin'] };
      for (const one of ['read', 'x admin']) expect(await verdict({ scope }, { scope: one })).toBe('200');
      const { verdict: said, challenge } = await ask({ scope }, { scope: 'write reader' });
      expect([said, challenge['scope']]).toEqual(['403 Bearer insufficient_scope scope.insufficient', 'read']);
    });

    it.each([{ any: [] }, { any: 'read' }, { any: ['a b'] }, { all: ['a'] }, { any: ['a'], all: ['b'] }, { any: [1] }])(
      'that make no sense are refused with the route: %j',
      (scope) => {
        expect(() => requires({ scope } as never)).toThrow(/scope/);
      },
    );
  });

  describe('Claims', () => {
    const NO = '403 Bearer insufficient_scope claims.insufficient';

    it.each<[string, Requirements, object, string]>([
      ['equals', { claims: { tenant: { equals: 'a' } } }, { tenant: 'a' }, '200'],
      ['equals, another', { claims: { tenant: { equals: 'a' } } }, { tenant: 'b' }, NO],
      ['equals, another type', { claims: { level: { equals: 1 } } }, { level: '1' }, NO],
      ['equals, a list of it', { claims: { tenant: { equals: 'a' } } }, { tenant: ['a'] }, NO],
      ['equals, missing', { claims: { tenant: { equals: 'a' } } }, {}, NO],
      ['includes', { claims: { groups: { includes: 'staff' } } }, { groups: ['x', 'staff'] }, '200'],
      ['includes, not', { claims: { groups: { includes: 'staff' } } }, { groups: ['staffing'] }, NO],
      ['includes, a string that has it', { claims: { groups: { includes: 'staff' } } }, { groups: 'staff' }, NO],
      ['oneOf', { claims: { tier: { oneOf: ['gold', 1] } } }, { tier: 1 }, '200'],
      ['oneOf, not', { claims: { tier: { oneOf: ['gold', 1] } } }, { tier: 2 }, NO],
      ['a function', { claims: { age: (value) => typeof value === 'number' && value >= 18 } }, { age: 18 }, '200'],
      ['a function, not', { claims: { age: (value) => typeof value === 'number' && value >= 18 } }, { age: 17 }, NO],
      ['a function of a claim that is missing is not asked', { claims: { age: () => true } }, {}, NO],
      ['a function that compares with others', { claims: { act: (value, { sub }) => value === sub } }, { act: 'user-1' }, '200'],
      ['several, of which one fails', { claims: { a: { equals: 1 }, b: { equals: 2 } } }, { a: 1, b: 3 }, NO],
      ['what every object has', { claims: { constructor: () => true } }, {}, NO],
      ['__proto__', { claims: JSON.parse('{"__proto__":{"equals":1}}') }, {}, NO],
    ])('%s', async (_what, requirements, claims, expected) => {
      expect(await verdict(requirements, claims)).toBe(expected);
    });

    it('a function that returns anything but true grants nothing: a promise, 1, a text', async () => {
      for (const answer of [Promise.resolve(true), Promise.resolve(false), 1, 'yes', {}, undefined]) {
        expect(await verdict({ claims: { sub: () => answer as never } })).toBe(NO);
      }
    });

    it('EDG-19 a function that throws is 503, and not 500', async () => {
      const throwing = (): boolean => {
        throw new Error('the database is away');
      };
      expect(await verdict({ claims: { sub: throwing } })).toBe('503 unavailable.internal');
    });

    it.each([
      {},
      null,
      [],
      'x',
      { a: {} },
      { a: 1 },
      { a: { equals: {} } },
      { a: { oneOf: [] } },
      { a: { equals: 1, includes: 2 } },
      { a: { equals: NaN } },
    ])('that make no sense are refused with the route: %j', (claims) => {
      expect(() => requires({ claims } as never)).toThrow(/claims/);
    });
  });

  describe('Roles and permissions', () => {
    const at = ['realm_access', 'roles'];
    const claims = { realm_access: { roles: ['teller', 'user'] }, permissions: ['read:accounts'] };
    const NO = '403 Bearer insufficient_scope roles.insufficient';

    it.each<[string, Requirements, string]>([
      ['all', { roles: { at, all: ['teller', 'user'] } }, '200'],
      ['all, one missing', { roles: { at, all: ['teller', 'admin'] } }, NO],
      ['any', { roles: { at, any: ['admin', 'teller'] } }, '200'],
      ['any, none there', { roles: { at, any: ['admin', 'root'] } }, NO],
      ['in a path that leads nowhere', { roles: { at: ['resource_access', 'x', 'roles'], any: ['teller'] } }, NO],
      ['in a path through a list', { roles: { at: ['realm_access', 'roles', '0'], any: ['teller'] } }, NO],
      ['in a path that every object has', { roles: { at: ['constructor', 'name'], any: ['Object'] } }, NO],
      ['permissions', { permissions: { at: ['permissions'], all: ['read:accounts'] } }, '200'],
      [
        'permissions, missing',
        { permissions: { at: ['permissions'], all: ['write:accounts'] } },
        '403 Bearer insufficient_scope permissions.insufficient',
      ],
    ])('%s', async (_what, requirements, expected) => {
      expect(await verdict(requirements, claims)).toBe(expected);
    });

    it('are never found in what an object inherits', () => {
      const conditions = conditionsOf({ roles: { at: ['a', 'roles'], any: ['admin'] } }, () => {});
      const holdsOf = (a: unknown): boolean[] => conditions.map((condition) => condition.holds({ iss: 'x', exp: 1, a }));
      expect([holdsOf({ roles: ['admin'] }), holdsOf(Object.create({ roles: ['admin'] }))]).toEqual([[true], [false]]);
    });

    it('a name with a dot is a name', async () => {
      const roles = { at: ['https://example.com/roles'], any: ['a'] };
      expect(await verdict({ roles }, { 'https://example.com/roles': ['a'] })).toBe('200');
    });

    it.each([
      {},
      { at },
      { at, all: [] },
      { at: [], all: ['a'] },
      { at: 'roles', all: ['a'] },
      { at, all: ['a'], any: ['b'] },
      { at, any: 'a' },
      ['a'],
    ])('that make no sense are refused with the route: %j', (roles) => {
      expect(() => requires({ roles } as never)).toThrow(/roles/);
      expect(() => requires({ permissions: roles } as never)).toThrow(/permissions/);
    });
  });

  describe('authorization_details (RFC 9396)', () => {
    const NO = '403 Bearer insufficient_scope authorization_details.insufficient';
    const details = [
      { type: 'account_information', actions: ['list'], locations: ['https://a.example'] },
      { type: 'payment', actions: ['initiate', 'status'], identifier: 'x', amount: { currency: 'EUR', value: '10' } },
    ];

    it.each<[string, Requirements, string]>([
      ['type', { authorizationDetails: { type: 'payment' } }, '200'],
      ['type, another', { authorizationDetails: { type: 'Payment' } }, NO],
      ['actions', { authorizationDetails: { type: 'payment', actions: ['status'] } }, '200'],
      ['actions of another type are not added up', { authorizationDetails: { type: 'payment', actions: ['status', 'list'] } }, NO],
      ['locations that are missing', { authorizationDetails: { type: 'payment', locations: ['https://a.example'] } }, NO],
      ['identifier', { authorizationDetails: { type: 'payment', identifier: 'x' } }, '200'],
      ['identifier, another', { authorizationDetails: { type: 'payment', identifier: 'y' } }, NO],
      ['where', { authorizationDetails: { type: 'payment', where: ({ amount }) => JSON.stringify(amount).includes('EUR') } }, '200'],
      ['where, not', { authorizationDetails: { type: 'payment', where: () => false } }, NO],
      ['several', { authorizationDetails: [{ type: 'payment' }, { type: 'account_information', actions: ['list'] }] }, '200'],
      ['several, of which one fails', { authorizationDetails: [{ type: 'payment' }, { type: 'x' }] }, NO],
    ])('JWT-27 %s', async (_what, requirements, expected) => {
      expect(await verdict(requirements, { authorization_details: details })).toBe(expected);
    });

    it('JWT-27 without any, nothing is granted; and they reach the route unchanged', async () => {
      expect(await verdict({ authorizationDetails: { type: 'payment' } })).toBe(NO);
      expect(
        await verdict(
          { claims: { authorization_details: (value) => JSON.stringify(value) === JSON.stringify(details) } },
          { authorization_details: details },
        ),
      ).toBe('200');
    });

    it.each([{}, 'x', null, [1], [{}], [{ type: 1 }], [null], { type: 'payment' }])(
      'JWT-27 a token with anything but a list of them is refused: %j',
      async (value) => {
        expect(await verdict({ scope: 'read' }, { authorization_details: value })).toBe('401 Bearer invalid_token token.claim');
      },
    );

    it.each([
      {},
      [],
      { type: '' },
      { type: 'a', actions: 'b' },
      { type: 'a', amount: 1 },
      { type: 'a', where: true },
      { type: 'a', identifier: 1 },
    ])('that make no sense are refused with the route: %j', (authorizationDetails) => {
      expect(() => requires({ authorizationDetails } as never)).toThrow(/authorizationDetails/);
    });
  });

  describe('A binding', () => {
    const NO = '401 Bearer invalid_token confirmation.required';
    const thumbprint = 'A'.repeat(43);
    const certificate = { certificate: () => ({ thumbprint }) };
    const bound = { cnf: { 'x5t#S256': thumbprint } };

    it('is required route by route', async () => {
      expect(await verdict({ confirmation: 'x5t#S256' }, bound, 'Bearer', certificate)).toBe('200');
      expect(await verdict({ confirmation: 'x5t#S256' })).toBe(NO);
      expect(await verdict({ confirmation: 'jkt' }, bound, 'Bearer', certificate)).toBe(NO);
      expect(await verdict({ confirmation: 'jkt' }, {}, 'DPoP')).toBe('200');
      expect(await verdict({ confirmation: 'x5t#S256' }, {}, 'DPoP')).toBe('401 DPoP invalid_token confirmation.required');
    });

    it('any, or both', async () => {
      expect(await verdict({ confirmation: 'any' }, bound, 'Bearer', certificate)).toBe('200');
      expect(await verdict({ confirmation: 'any' })).toBe(NO);
      const both = { cnf: { 'x5t#S256': thumbprint, jkt: key.thumbprint } };
      expect(await verdict({ confirmation: ['x5t#S256', 'jkt'] }, both, 'DPoP', certificate)).toBe('200');
      expect(await verdict({ confirmation: ['x5t#S256', 'jkt'] }, bound, 'Bearer', certificate)).toBe(NO);
    });

    it.each([[], 'mtls', ['x5t#S256', 'any'], true, null])('that does not exist is refused with the route: %j', (confirmation) => {
      expect(() => requires({ confirmation } as never)).toThrow(/confirmation/);
    });
  });

  it('are values: routes share them, several hold together, and what is changed later changes nothing', async () => {
    const scope = ['read'];
    const reading = Object.freeze({ scope });
    const strict: Requirements = { ...reading, confirmation: 'any' };
    expect(await verdict([reading, { claims: { sub: { equals: 'user-1' } } }])).toBe('200');
    expect(await verdict([reading, strict])).toBe('401 Bearer invalid_token confirmation.required');
    const { scopes } = prepareRequirements(reading);
    scope.push('admin');
    expect(scopes).toEqual(['read']);
  });

  it('are told all at once where they make no sense', () => {
    expect(() => requires({ scope: '', acr: 7, maxAge: -1, role: 'x' } as never)).toThrow(
      /(?=[\s\S]*scope: )(?=[\s\S]*acr: )(?=[\s\S]*maxAge: )[\s\S]*role: /,
    );
    for (const nothing of [{}, null, undefined, 'read', []] as never[])
      expect(() => requires(nothing)).toThrow(/nothing is required|not a requirement/);
  });
});
