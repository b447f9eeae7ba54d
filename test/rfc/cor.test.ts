import { EXPOSED_FIELDS, holdfast, requires } from '@holdfast/express';
import cors from 'cors';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerWithAccess, oneRoute, type Resource, type Sent, startResource } from './resource.ts';

const ORIGIN = 'https://app.example.com';
const PREFLIGHT: Sent = {
  method: 'OPTIONS',
  lines: [`Origin: ${ORIGIN}`, 'Access-Control-Request-Method: GET', 'Access-Control-Request-Headers: authorization, dpop'],
};
let base: Resource;
let rs: Resource;
const open: Resource[] = [];

beforeAll(async () => {
  base = await startResource();
  rs = await withCors({ cors: true, dpop: { nonce: 'required' } });
});
afterAll(async () => {
  await Promise.all(open.map((resource) => resource.close()));
  await base.close();
});

/** An application with the middleware `cors` before Holdfast. */
async function withCors(
  options: object,
  exposedHeaders: string | string[] = [],
  refusals: 'respond' | 'next' = 'respond',
): Promise<Resource> {
  const resource = await startResource({
    like: base,
    options,
    build: (app, given) => {
      app.use(cors({ origin: [ORIGIN], allowedHeaders: ['Authorization', 'DPoP'], exposedHeaders }));
      app.use(holdfast(given, { refusals }), answerWithAccess(app));
    },
  });
  open.push(resource);
  return resource;
}

const exposed = (answer: { lines(name: string): string[] }) => answer.lines('access-control-expose-headers');
const cross = { lines: [`Origin: ${ORIGIN}`] };

describe('CORS', () => {
  it('COR-01, COR-02, COR-06, COR-09 a cross-origin 401 and 200 expose what the client needs', async () => {
    const refused = await rs.present(await rs.token(), {}, cross);
    expect(refused.outcome).toBe('401 D:use_dpop_nonce');
    expect(exposed(refused)).toEqual(['WWW-Authenticate, DPoP-Nonce']);
    expect(refused.lines('access-control-allow-origin')).toEqual([ORIGIN]);
    expect(refused.lines('vary').join()).toMatch(/Origin/);
    const [nonce] = refused.lines('dpop-nonce');
    const granted = await rs.present(await rs.token(), { claims: { nonce } }, cross);
    expect(granted.outcome).toBe('200');
    expect(exposed(granted)).toEqual(['WWW-Authenticate, DPoP-Nonce']);
  });

  it('COR-03, COR-05 a preflight reaches the CORS middleware, which allows Authorization and DPoP', async () => {
    const answer = await rs.send(PREFLIGHT);
    expect(answer.status).toBe(204);
    expect(answer.lines('access-control-allow-headers')).toEqual(['Authorization,DPoP']);
  });

  it('COR-03 a preflight passes Holdfast where CORS is handled after it, without access', async () => {
    const answer = await base.send(PREFLIGHT);
    expect(answer.outcome).toBe('200');
    expect(answer.body).toBe('');
  });

  it('COR-03 a preflight is no way around what a route requires', async () => {
    const scoped = await startResource({
      like: base,
      build: (app, options) => app.use(holdfast(options), requires({ scope: 'read' }), answerWithAccess(app)),
    });
    open.push(scoped);
    expect((await scoped.send(PREFLIGHT)).outcome).toBe('401 NONE');
  });

  it('COR-04 protects every other OPTIONS', async () => {
    expect((await base.send({ method: 'OPTIONS' })).outcome).toBe('401 NONE');
    expect((await base.send({ method: 'OPTIONS', lines: [`Origin: ${ORIGIN}`] })).outcome).toBe('401 NONE');
    expect((await base.send({ method: 'OPTIONS', lines: ['Access-Control-Request-Method: GET'] })).outcome).toBe('401 NONE');
    expect((await base.send({ ...PREFLIGHT, method: 'GET' })).outcome).toBe('401 NONE');
    expect((await base.send({ ...PREFLIGHT, scheme: 'Bearer', token: 'x' })).outcome).toBe('401 B:invalid_token');
  });

  it('COR-07 adds to what is exposed, without replacing or repeating, also through the error handler', async () => {
    const cases: [string | string[], string][] = [
      ['X-A', 'X-A, WWW-Authenticate, DPoP-Nonce'],
      [['X-A', 'dpop-nonce'], 'X-A, DPoP-Nonce, WWW-Authenticate'],
      [[...EXPOSED_FIELDS, 'X-A'], 'WWW-Authenticate, DPoP-Nonce, X-A'],
    ];
    for (const [given, expected] of cases) {
      for (const refusals of ['respond', 'next'] as const) {
        const resource = await withCors({ cors: true }, given, refusals);
        expect(exposed(await resource.send(cross))).toEqual([expected]);
        expect(exposed(await resource.present(await base.token(), {}, cross))).toEqual([expected]);
      }
    }
  });

  it('COR-07 exposes nothing by itself, and the list serves those who do', async () => {
    expect(exposed(await base.send(cross))).toEqual([]);
    const listed = await withCors({}, [...EXPOSED_FIELDS]);
    expect(exposed(await listed.send(cross))).toEqual(['WWW-Authenticate,DPoP-Nonce']);
  });

  it('COR-08 judges tokens whatever the origin is', async () => {
    const bad = { lines: ['Origin: https://evil.example'] };
    expect((await rs.send(bad)).outcome).toBe('401 NONE');
    expect((await base.present(await base.token(), {}, bad)).outcome).toBe('200');
  });
});

describe('optional credentials', () => {
  it('lets a request through without access only where it has no Authorization at all', async () => {
    const optional = await startResource({ like: base, options: { credentials: 'optional' } });
    open.push(optional);
    const anonymous = await optional.send({});
    expect([anonymous.outcome, anonymous.body]).toEqual(['200', '']);
    expect((await optional.send({ lines: ['Authorization:'] })).outcome).toBe('401 NONE');
    expect((await optional.send({ lines: ['Authorization: Basic dTpw'] })).outcome).toBe('401 NONE');
    expect((await optional.send({ token: 'x', proof: 'x' })).outcome).toBe('401 D:invalid_dpop_proof');
    expect((await optional.send({ scheme: 'Bearer', token: 'x' })).outcome).toBe('401 B:invalid_token');
    expect((await optional.send({ lines: ['Host: other'] })).outcome).toBe('400 B:invalid_request');
    expect(JSON.parse((await optional.present(await optional.token())).body)).toMatchObject({ sub: 'user-1' });
  });

  it('requires and accessOf refuse what passed without access, with every challenge', async () => {
    const { accessOf } = await import('@holdfast/express');
    for (const refusals of ['respond', 'next'] as const) {
      const optional = await startResource({
        like: base,
        options: { credentials: 'optional', cors: true },
        build: (app, options) => {
          app.use(cors({ exposedHeaders: 'X-A' }), holdfast(options, { refusals }));
          app.get('/scoped', requires({ scope: 'read' }), answerWithAccess(app));
          app.get('/needs', (request, response) => response.json(accessOf(request).claims));
          oneRoute(app, options);
        },
      });
      open.push(optional);
      expect((await optional.send({ target: '/scoped' })).outcome).toBe('401 NONE');
      expect((await optional.send({ target: '/needs' })).outcome).toBe('401 NONE');
      expect(exposed(await optional.send({ target: '/needs' }))).toEqual(['X-A, WWW-Authenticate, DPoP-Nonce']);
      expect(
        (await optional.present(await optional.token(), { htu: 'https://rs.example.com/scoped' }, { target: '/scoped' })).outcome,
      ).toBe('200');
    }
  });
});
