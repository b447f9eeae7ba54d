// Every piece of code in the tables of migration, compiled: what Holdfast has in the place of a line, and the lines of
// express-oauth2-jwt-bearer. test/docs.test.ts holds the tables to what stands here.
import type { Agent } from 'node:http';
import * as forExpress from '@holdfast/express';
import * as forFastify from '@holdfast/fastify';
import express, { type ErrorRequestHandler, type Request } from 'express';
import {
  auth,
  claimCheck,
  claimEquals,
  claimIncludes,
  InsufficientScopeError,
  InvalidTokenError,
  requiredScopes,
  scopeIncludesAny,
  UnauthorizedError,
} from 'express-oauth2-jwt-bearer';
import fastify, { type FastifyRequest } from 'fastify';
import type { JSONWebKeySet } from 'jose';

declare const [issuer, audience, uri, pem]: readonly [string, string, string, string];
declare const jwks: JSONWebKeySet;
declare const algorithms: readonly string[];
declare const revoked: ReadonlySet<string | undefined>;
declare const viaProxy: typeof fetch;
declare const isRecent: (iat: unknown) => boolean;
declare const isKnown: (sub: unknown) => boolean;
type Options = forExpress.ProtectedResourceOptions;

const { fromTls } = forExpress;
const both = { issuer, audience };

/** Options of a resource that stand in the place of one of theirs. */
export const options: readonly Options[] = [
  { ...both, keys: { uri } },
  { ...both, keys: { pem } },
  { ...both, keys: { jwks } },
  { ...both, keys: { freshFor: 600, cooldown: 30, timeout: 5 } },
  { ...both, algorithms: ['RS256'] },
  { audience, issuer: ['https://a.example.com', 'https://b.example.com'], issuerFor: ({ target }) => target },
  { ...both, profiles: ['rfc9068'] },
  { ...both, provider: 'keycloak' },
  { ...both, clockTolerance: 10 },
  { ...both, cache: { entries: 10_000 } },
  { ...both, fetch: viaProxy },
  { ...both, certificate: fromTls() },
  { ...both, dpop: { window: { past: 300, future: 30 } } },
  { ...both, credentials: 'optional' },
  { ...both, isRevoked: ({ claims }) => revoked.has(claims.jti) },
  { ...both, onEvent: ({ reason }) => void reason },
];

export function ofExpress(request: Request, error: unknown): unknown {
  const { accessOf, holdfast, HoldfastError, isHoldfastError, maybeAccessOf, requires } = forExpress;
  const app = express();
  const protect = holdfast({ issuer, audience, algorithms });
  app.use(protect);
  app.use(holdfast({ issuer, audience, provider: 'auth0' }), holdfast(both, { refusals: 'next' }));
  app.use(requires({ claims: { org_id: { equals: 'acme' } } }));
  app.use(
    requires({ claims: { iat: isRecent } }),
    requires({ claims: { sub: isKnown } }),
    requires({ claims: { sub: { equals: 'job' } } }),
    requires({ confirmation: 'jkt' }),
    requires({ scope: 'read write' }),
    requires({ scope: { any: ['read', 'write'] } }),
    requires({ claims: { tenant: { equals: 'acme' } } }),
    requires({ roles: { at: ['roles'], all: ['teller', 'admin'] } }),
    requires({ claims: { amount: (amount) => amount === 1 } }),
  );
  if (error instanceof HoldfastError) return error.code;
  return [accessOf(request), accessOf(request).claims, accessOf(request).claims.sub, maybeAccessOf(request), isHoldfastError(error)];
}

export async function ofFastify(request: FastifyRequest): Promise<unknown> {
  const { accessOf, holdfast, maybeAccessOf, requires } = forFastify;
  const app = fastify();
  await app.register(holdfast, { issuer, audience, algorithms });
  await app.register(holdfast, { ...both, refusals: 'throw' });
  app.get('/a', { config: { holdfast: 'public' } }, () => 'a');
  app.get('/b', { config: { holdfast: { scope: 'write' } } }, () => 'b');
  app.get('/c', { config: { holdfast: { claims: { sub: { equals: 'job' }, tenant: () => true } } } }, () => 'c');
  app.get('/d', { preHandler: requires({ claims: { iat: isRecent } }) }, () => 'd');
  return [accessOf(request), accessOf(request).claims, accessOf(request).claims.sub, maybeAccessOf(request)];
}

/** What express-oauth2-jwt-bearer calls what we replace: names that change there have to change in the table. */
export function before(request: Request, agent: Agent, issuerBaseURL: string, jwksUri: string, secret: string, publicKey: string): unknown {
  const getCertificate = (): undefined => undefined;
  const onError: ErrorRequestHandler = (error: unknown) => error instanceof UnauthorizedError;
  return [
    auth({ issuerBaseURL, audience }),
    auth({ issuer, jwksUri, tokenSigningAlg: 'RS256' }),
    auth({ issuer, audience, secret, tokenSigningAlg: 'HS256' }),
    auth({ publicKey, agent, strict: true, validators: { org_id: 'acme' }, clockTolerance: 10, maxTokenAge: 3600 }),
    auth({ cacheMaxAge: 600_000, cooldownDuration: 30_000, timeoutDuration: 5000, cache: { discovery: { maxEntries: 10 } } }),
    auth({ mcd: { issuers: ['https://a.example.com', 'https://b.example.com'] }, authRequired: false }),
    auth({ getCertificate, mtls: { enabled: true, required: true } }),
    auth({ dpop: { enabled: true, required: true, iatOffset: 300, iatLeeway: 30 } }),
    requiredScopes('read write'),
    scopeIncludesAny('read write'),
    claimEquals('tenant', 'acme'),
    claimIncludes('roles', 'teller', 'admin'),
    claimCheck(({ amount }) => amount === 1),
    [onError, InvalidTokenError, InsufficientScopeError],
    request.auth && [request.auth.payload.sub, request.auth.token, request.auth.header],
  ];
}
