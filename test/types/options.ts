// What cannot work cannot be written.
import {
  awsAlb,
  dangerouslyTrustEveryPeer,
  fromForwardedField,
  fromTls,
  nginx,
  protectedResource,
  type ProtectedResourceOptions,
} from '@holdfast/core';
import { holdfast, requires } from '@holdfast/express';

const issuer = 'https://as.example';
const audience = 'https://api.example';
const jwks = { keys: [] };
const pem = '-----BEGIN PUBLIC KEY-----';

export const plain: ProtectedResourceOptions = { issuer, audience };
export const complete: ProtectedResourceOptions = {
  issuer,
  audience: [audience, 'urn:api'],
  certificate: fromTls(),
  certificatePolicy: { validity: true },
  unconstrained: 'refuse',
  algorithms: ['ES256'],
  profiles: ['rfc9068'],
  clockTolerance: 5,
  keys: { uri: 'https://as.example/jwks', freshFor: 600 },
  cache: { entries: 100 },
  realm: 'api',
  queryToken: 'refuse',
  onEvent: ({ outcome, reason }) => void [outcome, reason],
  fetch: (url, init) => fetch(url, init),
  now: () => 0,
};
export const several: ProtectedResourceOptions = {
  issuer: ['https://a.example', { issuer: 'https://b.example', audience: 'urn:b', provider: 'keycloak', unconstrained: 'accept' }],
  audience,
  issuerFor: ({ target }) => (target.startsWith('/a/') ? 'https://a.example' : undefined),
};
// @ts-expect-error: a provider that is not known
protectedResource({ issuer, audience, provider: 'acme' });
// @ts-expect-error: a client that authenticates with nothing
protectedResource({ issuer, audience, introspection: { clientId: 'api', authentication: { method: 'none' } } });
// @ts-expect-error: a method without its secret
protectedResource({ issuer, audience, introspection: { clientId: 'api', authentication: { method: 'client_secret_basic' } } });
export const given: ProtectedResourceOptions = { issuer, audience, keys: { jwks } };
export const givenPem: ProtectedResourceOptions = { issuer, audience, keys: { pem: [pem] }, cache: false };

// @ts-expect-error: without an audience, tokens for any API would do
protectedResource({ issuer });
// @ts-expect-error: without an issuer, anybody could issue
protectedResource({ audience });
// @ts-expect-error: an option that does not exist
protectedResource({ issuer, audience, ignoreCnf: true });
// @ts-expect-error: a certificate source is a function: fromTls(), not a switch
protectedResource({ issuer, audience, certificate: true });
// @ts-expect-error: the source has to be made
protectedResource({ issuer, audience, certificate: fromTls });
// @ts-expect-error: accepting unbound tokens is said in a word, not switched on
protectedResource({ issuer, audience, unconstrained: true });
// @ts-expect-error: a policy that says nothing
protectedResource({ issuer, audience, certificatePolicy: {} });
// @ts-expect-error: a policy is left out, not switched off
protectedResource({ issuer, audience, certificatePolicy: { validity: false } });
// @ts-expect-error: the defaults of a cache are had by leaving it out
protectedResource({ issuer, audience, cache: true });
// @ts-expect-error: a profile that does not exist
protectedResource({ issuer, audience, profiles: ['rfc9999'] });
// @ts-expect-error: a list of keys is no JWK set
protectedResource({ issuer, audience, keys: { jwks: [] } });
// @ts-expect-error: the event is read only
protectedResource({ issuer, audience, onEvent: (event) => void (event.outcome = 'granted') });
// @ts-expect-error: undefined is not a way to leave an option out
protectedResource({ issuer, audience, realm: undefined });

const trust = { peers: ['10.1.2.3'] };
export const behindAnEdge: ProtectedResourceOptions = {
  issuer,
  audience,
  certificate: nginx({ trust: { peers: ['10.1.2.3', 'unix'], secret: { field: 'edge-secret', values: [pem] }, pinnedCertificate: pem } }),
  certificatePolicy: { anchors: [pem], isRevoked: async ({ serialNumber }) => serialNumber === '01' },
};
export const trusted = [nginx({ trust: dangerouslyTrustEveryPeer() }), awsAlb({ trust, verified: { field: 'x', values: ['yes'] } })];
// @ts-expect-error: whom to trust has no default
nginx({});
// @ts-expect-error: to trust somebody is to name a way to know them
nginx({ trust: {} });
// @ts-expect-error: everybody is trusted by one name only
nginx({ trust: { dangerouslyTrustEveryPeer: true } });
// @ts-expect-error: it has to be called
nginx({ trust: dangerouslyTrustEveryPeer });
// @ts-expect-error: one address is a list of one
nginx({ trust: { peers: '10.1.2.3' } });
// @ts-expect-error: a preset knows its format
nginx({ trust, format: 'pem' });
// @ts-expect-error: the verdict of the edge is asked for, or left out
nginx({ trust, verified: false });
// @ts-expect-error: a format that does not exist
fromForwardedField({ field: 'x', format: 'der', trust });
// @ts-expect-error: the format is not guessed
fromForwardedField({ field: 'x', trust });
// @ts-expect-error: the client is one of so many elements
fromForwardedField({ field: 'x', format: { xfcc: {} }, trust });
// @ts-expect-error: revocation belongs to a chain
protectedResource({ issuer, audience, certificatePolicy: { validity: true, isRevoked: () => false } });

// @ts-expect-error: the same holds where a framework takes the options
holdfast({ issuer, audience, unconstrained: true });
// @ts-expect-error: refusals are answered, or handed on
holdfast({ issuer, audience }, { refusals: 'ignore' });
requires({ scope: ['read', 'write'] });
// @ts-expect-error: a route that requires nothing needs no requires
requires({});
// @ts-expect-error: a requirement that does not exist
requires({ scope: 'read', role: 'admin' });
// @ts-expect-error: scopes are strings
requires({ scope: [1] });
requires({ scope: { any: ['read', 'admin'] }, acr: ['urn:mfa'], maxAge: 300, confirmation: 'jkt' });
requires({ claims: { tenant: { equals: 'a' }, age: (value) => typeof value === 'number' && value >= 18 } });
requires({ roles: { at: ['realm_access', 'roles'], all: ['teller'] }, authorizationDetails: { type: 'payment', actions: ['initiate'] } });
// @ts-expect-error: an async function would always be true
requires({ claims: { tenant: async () => true } });
// @ts-expect-error: all or any
requires({ roles: { at: ['roles'], all: ['a'], any: ['b'] } });
// @ts-expect-error: where roles stand has to be said
requires({ roles: { all: ['a'] } });
// @ts-expect-error: a confirmation that does not exist
requires({ confirmation: 'mtls' });

// Given keys and fetched ones exclude each other.
// @ts-expect-error: two sets of keys
protectedResource({ issuer, audience, keys: { jwks, pem } });
// @ts-expect-error: nothing is fetched when the keys are given
protectedResource({ issuer, audience, keys: { jwks, uri: 'https://as.example/jwks' } });
// @ts-expect-error: given keys do not get stale
protectedResource({ issuer, audience, keys: { pem, staleFor: 60 } });
