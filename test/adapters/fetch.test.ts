// What a Request can be, and what is done about it: the fetch entry by itself, without a server.
import {
  type Access,
  accessOf,
  awsApiGateway,
  cloudflareWorker,
  type Connection,
  holdfast,
  maybeAccessOf,
  type Protect,
  protectedResource,
  type ProtectedResourceOptions,
  requires,
  type ResourceEvent,
} from '@holdfast/core/fetch';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { type Clock, createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof, type ProofOptions } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import { mount } from 'hono/mount';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';

let issuer: Issuer;
let key: DpopKey;
let owner: Identity;
let thief: Identity;
let plain: string;
let byKey: string;
let byCertificate: string;
const clock: Clock = createClock();
const events: ResourceEvent[] = [];

beforeAll(async () => {
  [issuer, key] = [await startIssuer({ now: clock.now }), await generateDpopKey()];
  const pki = await createPki();
  [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
  plain = await issuer.token();
  byKey = await issuer.token({ cnf: { jkt: key.thumbprint } });
  byCertificate = await issuer.token({ cnf: { 'x5t#S256': owner.thumbprint } });
});
beforeEach(() => {
  events.length = 0;
});
afterAll(() => issuer.close());

const options = (changes: Partial<ProtectedResourceOptions> = {}): ProtectedResourceOptions => ({
  issuer: issuer.url,
  audience: AUDIENCE,
  keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
  unconstrained: 'accept',
  now: clock.now,
  onEvent: (event) => events.push(event),
  ...changes,
});
const PREFLIGHT = { origin: 'https://evil.example', 'access-control-request-method': 'GET' };
const requestWith = (fields: Record<string, string> = {}, url = `${AUDIENCE}/r`): Request => new Request(url, { headers: fields });
const bearer = (token: string): Request => requestWith({ authorization: `Bearer ${token}` });
const proofOf = (changes: Partial<ProofOptions> = {}): string => makeProof({ key, token: byKey, iat: clock.now(), ...changes });
const dpop = (changes: Partial<ProofOptions> = {}, url?: string): Request =>
  requestWith({ authorization: `DPoP ${byKey}`, dpop: proofOf(changes) }, url);

async function reasonOf(protect: Protect, request: Request, surroundings?: Parameters<Protect>[1]): Promise<string | undefined> {
  const { refusal } = await protect(request, surroundings);
  return refusal && `${refusal.status} ${events.at(-1)?.reason}`;
}

describe('Access belongs to the very request that was judged', () => {
  it('a copy of it has none, in whichever way it is made', async () => {
    const protect = holdfast(options());
    const reading = requires({ scope: 'read' });
    const request = requestWith({ authorization: `Bearer ${await issuer.token({ scope: 'read' })}` });
    expect((await protect(request)).access?.claims.sub).toBe('user-1');
    expect([accessOf(request).confirmed, reading(request)]).toEqual([false, undefined]);
    for (const copy of [request.clone(), new Request(request), new Proxy(request, {}), Object.create(request) as Request]) {
      expect(() => accessOf(copy)).toThrow(expect.objectContaining({ name: 'HoldfastError', status: 401 }));
      expect(() => maybeAccessOf(copy)).toThrow(expect.objectContaining({ status: 401 }));
      expect(reading(copy)?.status).toBe(401);
    }
  });

  it('requires() asks for access and nothing more; what is undefined by mistake is refused', async () => {
    const protect = holdfast(options());
    const needed = requires();
    const [preflight, sent] = [new Request(`${AUDIENCE}/r`, { method: 'OPTIONS', headers: PREFLIGHT }), bearer(plain)];
    expect([(await protect(preflight)).refusal, (await protect(sent)).refusal]).toEqual([undefined, undefined]);
    expect([needed(preflight)?.status, needed(sent), needed(bearer(plain))?.status]).toEqual([401, undefined, 401]);
    expect(() => requires(undefined as never)).toThrow(TypeError);
  });

  it('is the same however often one resource is asked, and its proof is used up once', async () => {
    const resource = protectedResource(options());
    const [one, other] = [holdfast(resource), holdfast(resource)];
    const request = dpop();
    const [first, second] = await Promise.all([one(request), other(request)]);
    expect([first.access?.scheme, second.access === first.access, events.length]).toEqual(['DPoP', true, 1]);
  });

  it('of two resources the last decides: where it refuses, nothing of the first is left', async () => {
    const request = bearer(plain);
    expect((await holdfast(options())(request)).refusal).toBeUndefined();
    const { refusal } = await holdfast(options({ audience: 'https://other.example.com' }))(request);
    expect(refusal?.status).toBe(401);
    expect(() => accessOf(request)).toThrow(expect.objectContaining({ status: 401 }));
    expect(() => maybeAccessOf(request)).toThrow(expect.objectContaining({ status: 401 }));
    expect(requires({ scope: 'read' })(request)?.status).toBe(401);
  });

  it('whoever goes on after a refusal has no access to ask for', async () => {
    const request = bearer(byKey);
    const { refusal, access, apply } = await holdfast(options())(request);
    expect([refusal?.status, access, apply]).toEqual([401, undefined, undefined]);
    expect(() => accessOf(request)).toThrow(expect.objectContaining({ status: 401 }));
  });

  it('passes without access where none is asked for, and routes that need it refuse', async () => {
    const protect = holdfast(options({ credentials: 'optional' }));
    const request = requestWith();
    const { access, refusal } = await protect(request);
    expect([access, refusal, maybeAccessOf(request)]).toEqual([undefined, undefined, undefined]);
    expect(() => accessOf(request)).toThrow(expect.objectContaining({ status: 401 }));
    expect(requires({ scope: 'read' })(request)?.status).toBe(401);
  });

  it('what a framework or an attacker writes on the request is no access', () => {
    const forged = { granted: true, claims: { sub: 'root' }, scheme: 'Bearer', confirmed: true, fields: [] };
    const request = Object.assign(requestWith(), { auth: forged, access: forged, user: forged, result: forged });
    expect(() => accessOf(request)).toThrow(expect.objectContaining({ status: 401 }));
  });

  it('of a proxy of a request, what stands behind it has none', async () => {
    const request = bearer(plain);
    // Where a Request does not work behind a proxy, this rejects, and nothing is granted at all.
    await holdfast(options())(new Proxy(request, {})).catch(() => {});
    expect(() => accessOf(request)).toThrow(expect.objectContaining({ status: 401 }));
  });
});

describe('Fields of a request come joined', () => {
  it.each([
    ['two lines of Authorization', () => [`Bearer ${plain}`, `Bearer ${plain}`], '400 request.several_authorizations'],
    ['of two schemes', () => [`Bearer ${plain}`, `DPoP ${byKey}`], '400 request.several_authorizations'],
    ['the second unknown', () => [`Bearer ${plain}`, 'Basic dTpw'], '400 request.malformed_authorization'],
    ['the first unknown', () => ['Basic dTpw', `Bearer ${plain}`], '400 request.several_authorizations'],
    ['the second empty', () => [`Bearer ${plain}`, ''], '400 request.malformed_authorization'],
    ['the first empty', () => ['', `Bearer ${plain}`], '400 request.several_authorizations'],
  ])('and are never split: %s', async (_title, values, expected) => {
    const headers = new Headers();
    for (const value of values()) headers.append('Authorization', value);
    expect(await reasonOf(holdfast(options()), new Request(`${AUDIENCE}/r`, { headers }))).toBe(expected);
  });

  it('two proofs, two hosts', async () => {
    const protect = holdfast(options());
    const headers = new Headers({ authorization: `DPoP ${byKey}`, dpop: proofOf() });
    headers.append('dpop', proofOf());
    expect(await reasonOf(protect, new Request(`${AUDIENCE}/r`, { headers }))).toBe('401 dpop.malformed');
    // A browser would not, a server does.
    const hosts = new Headers({ authorization: `Bearer ${plain}` });
    hosts.append('host', 'rs.example.com');
    hosts.append('host', 'evil.example');
    expect(await reasonOf(protect, new Request(`${AUDIENCE}/r`, { headers: hosts }))).toBe('400 request.several_hosts');
  });
});

describe('The target is the path that the routes see, of an origin that configuration names', () => {
  const rows: readonly (readonly [url: string, htu: string, granted: boolean])[] = [
    ['http://internal:8080/r', `${AUDIENCE}/r`, true],
    ['http://evil.example/r', 'http://evil.example/r', false],
    ['https://rs.example.com//evil.example/r', 'https://evil.example/r', false],
    ['https://rs.example.com//evil.example/r', `${AUDIENCE}//evil.example/r`, true],
    ['https://rs.example.com/a/%2e%2e/r', `${AUDIENCE}/r`, true],
    ['https://rs.example.com/a/../r', `${AUDIENCE}/r`, true],
    ['https://rs.example.com/a/../r', `${AUDIENCE}/a/../r`, true],
    ['https://rs.example.com/a/../r', `${AUDIENCE}/a/r`, false],
    ['https://rs.example.com/%2e%2e%2fr', `${AUDIENCE}/r`, false],
    ['https://rs.example.com\\r', `${AUDIENCE}/r`, true],
    ['https://rs.example.com/r?x=1#f', `${AUDIENCE}/r`, true],
    ['https://rs.example.com/r#?x', `${AUDIENCE}/r`, true],
    ['https://rs.example.com/R', `${AUDIENCE}/r`, false],
    ['https://user:pw@rs.example.com/r', `${AUDIENCE}/r`, true],
    ['https://rs.example.com@evil.example/r', 'https://evil.example/r', false],
    ['https://rs.example.com', `${AUDIENCE}/`, true],
    ['https://rs.example.com?x=1', AUDIENCE, true],
  ];
  it.each(rows)('%s with a proof for %s: %s', async (url, htu, granted) => {
    // Credentials in a URL cannot be given to Request, but a server could have put them there.
    const request = url.includes('@') ? Object.defineProperty(dpop({ htu }), 'url', { value: url }) : dpop({ htu }, url);
    expect(await reasonOf(holdfast(options()), request)).toBe(granted ? undefined : '401 dpop.htu');
  });

  it('with several origins, Host chooses among them, and the URL where there is no Host', async () => {
    const protect = holdfast(options({ publicUrl: [AUDIENCE, 'https://other.example.com'] }));
    const other = 'https://other.example.com/r';
    expect(await reasonOf(protect, dpop({ htu: other }, other))).toBeUndefined();
    expect(await reasonOf(protect, dpop({ htu: other }, `${AUDIENCE}/r`))).toBe('401 dpop.htu');
    const request = dpop({ htu: other }, `${AUDIENCE}/r`);
    request.headers.set('host', 'other.example.com');
    expect(await reasonOf(protect, request)).toBeUndefined();
  });
});

describe('The metadata of the resource', () => {
  const url = `${AUDIENCE}/.well-known/oauth-protected-resource`;

  it('PRM-03 is answered to anybody, instead of a route, and grants nothing', async () => {
    const protect = holdfast(options({ metadata: true }));
    for (const request of [new Request(url), new Request(url, { headers: { authorization: `Bearer ${plain}` } })]) {
      const { refusal: answer, access } = await protect(request);
      expect([answer?.status, answer?.headers.get('content-type'), access]).toEqual([200, 'application/json; charset=utf-8', undefined]);
      expect(await answer?.json()).toMatchObject({ resource: AUDIENCE, authorization_servers: [issuer.url] });
      expect(() => accessOf(request)).toThrow(/Nothing protects this route/);
    }
    expect((await protect(new Request(url, { method: 'POST' }))).refusal?.status).toBe(405);
    expect((await protect(new Request(`${url}/nope`))).refusal?.status).toBe(404);
    const { refusal } = await protect(requestWith());
    expect(refusal?.headers.get('www-authenticate')).toContain(`resource_metadata="${url}"`);
  });
});

describe('apply', () => {
  const rotating = { dpop: { nonce: { secrets: ['0123456789abcdef0123456789abcdef'], rotation: 10 } }, cors: true } as const;

  /** A request with a nonce that is good, but not the newest. */
  async function oldNonce(protect: Protect): Promise<Request> {
    const { refusal } = await protect(dpop());
    const nonce = refusal?.headers.get('dpop-nonce');
    clock.advance(10);
    return dpop({ claims: { nonce } });
  }

  it.each([
    ['a redirect', () => Response.redirect('https://rs.example.com/other', 303), 303],
    ['what was fetched', async () => fetch(issuer.jwksUri), 200],
    ['no content', () => new Response(null, { status: 204 }), 204],
    ['a text with fields', () => new Response('text', { status: 201, statusText: 'Made', headers: { 'x-own': '1' } }), 201],
  ] as const)('puts the fields of a success on %s, whose headers may be immutable', async (_title, make, status) => {
    const protect = holdfast(options(rotating));
    const { apply } = await protect(await oldNonce(protect));
    const original = await make();
    const { headers } = original;
    const before = [...headers];
    const response = apply?.(original);
    expect(response?.status).toBe(status);
    expect(response?.headers.get('dpop-nonce')).toMatch(/^[\w-]{43}$/);
    expect(response?.headers.get('cache-control')).toBe('no-store');
    for (const [name, value] of before) expect(response?.headers.get(name)).toBe(value);
    expect([...headers]).toEqual(before);
  });

  it('leaves a response alone that has nothing to carry, whatever it is', async () => {
    const { apply } = await holdfast(options())(bearer(plain));
    const response = new Response('text');
    expect(apply?.(response)).toBe(response);
    // With fields: nobody can make these again.
    const { apply: applyFields } = await holdfast(options({ cors: true }))(bearer(plain));
    const error = Response.error();
    expect(applyFields?.(error)).toBe(error);
  });

  it('streams the body on, and does not read it', async () => {
    const protect = holdfast(options(rotating));
    const { apply } = await protect(await oldNonce(protect));
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode('one')),
      cancel: () => {
        cancelled = true;
      },
    });
    const reader = apply?.(new Response(body)).body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe('one');
    await reader?.cancel();
    expect(cancelled).toBe(true);
  });

  it('adds to what others expose, and twice is once', async () => {
    const { apply } = await holdfast(options({ cors: true }))(bearer(plain));
    const theirs = new Response('', { headers: { 'access-control-expose-headers': 'X-Total, www-authenticate' } });
    const response = apply?.(apply(theirs));
    expect(response?.headers.get('access-control-expose-headers')).toBe('X-Total, WWW-Authenticate, DPoP-Nonce');
  });
});

describe('A refusal', () => {
  it('is a response that can be returned as it is: challenges in one line, one nonce, a body of its own', async () => {
    const protect = holdfast(options({ dpop: { nonce: 'required' }, cors: true }));
    const request = dpop();
    const [one, other] = [await protect(request), await protect(request)];
    const { refusal } = one;
    expect(parseChallenges([refusal?.headers.get('www-authenticate') ?? '']).map(({ scheme }) => scheme)).toEqual(['Bearer', 'DPoP']);
    expect(refusal?.headers.get('dpop-nonce')).toMatch(/^[\w-]{43}$/);
    expect([await refusal?.json(), await other.refusal?.json()]).toEqual([
      expect.objectContaining({ error: 'use_dpop_nonce' }),
      expect.objectContaining({ error: 'use_dpop_nonce' }),
    ]);
  });

  it('leaves the body of the request unread', async () => {
    const request = new Request(`${AUDIENCE}/r`, { method: 'POST', body: 'x'.repeat(1000) });
    expect((await holdfast(options())(request)).refusal?.status).toBe(401);
    expect(request.bodyUsed).toBe(false);
  });

  it('as an error shows no field: it ends up in logs', () => {
    try {
      accessOf(requestWith());
      expect.unreachable();
    } catch (error) {
      expect(JSON.stringify(error)).not.toMatch(/Bearer|realm/);
    }
  });

  it('as an error says nothing of what is broken here', async () => {
    const failing = (): never => {
      throw new Error('secret');
    };
    const request = bearer(byCertificate);
    expect(await reasonOf(holdfast(options({ certificate: failing })), request)).toBe('503 unavailable.certificate');
    expect(() => accessOf(request)).toThrow(
      expect.objectContaining({ message: 'Unavailable for the moment.', expose: false, status: 503 }),
    );
  });

  describe('in Hono, where something puts another request in the place of c.req.raw', () => {
    interface Env {
      Variables: { request: Request };
    }
    const withBody = (): Request =>
      new Request(`${AUDIENCE}/r`, {
        method: 'POST',
        headers: { authorization: `Bearer ${plain}` },
        body: new Blob(['text']).stream(),
        duplex: 'half',
      } as RequestInit);
    const protection = createMiddleware<Env>(async (c, next) => {
      const { refusal } = await holdfast(options())(c.req.raw);
      if (refusal) return refusal;
      c.set('request', c.req.raw);
      return next();
    });
    const answer = async (build: (app: Hono<Env>) => void, request = withBody()): Promise<string> => {
      const app = new Hono<Env>();
      build(app);
      const response = await app.request(request);
      return `${response.status} ${await response.text()}`;
    };
    const ofRaw = (c: Context<Env>): Response => c.text(accessOf(c.req.raw).claims.sub ?? '');
    const limit = bodyLimit({ maxSize: 100 });

    it('bodyLimit after the protection: the new one has no access, and the one that was protected has', async () => {
      expect(await answer((app) => app.use(protection, limit).post('/r', ofRaw))).toMatch(/^401 /);
      const kept = async (c: Context<Env>): Promise<Response> =>
        requires({ scope: 'read' })(c.var.request) ?? c.text(`${accessOf(c.var.request).claims.sub} ${await c.req.text()}`);
      expect(await answer((app) => app.use(protection, limit).post('/r', kept))).toBe('200 user-1 text');
      expect(await answer((app) => app.use(limit, protection).post('/r', ofRaw))).toBe('200 user-1');
    });

    it('mount: a request of its own, unless it is told to hand on the one that was protected', async () => {
      const mounted = (request: Request): Response => new Response(requires({ scope: 'read' })(request)?.status === 401 ? 'none' : 'some');
      const get = (): Request => new Request(`${AUDIENCE}/sub/r`, { headers: { authorization: `Bearer ${plain}` } });
      expect(await answer((app) => app.use(protection).all('/sub/*', mount(mounted)), get())).toBe('200 none');
      expect(await answer((app) => app.use(protection).all('/sub/*', mount(mounted, { replaceRequest: false })), get())).toBe('200 some');
    });
  });

  it('thrown by accessOf in a route of Hono is answered by Hono', async () => {
    const app = new Hono();
    app.get('/r', (c) => c.json(accessOf(c.req.raw).claims));
    const response = await app.request('/r');
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="holdfast"']);
  });
});

describe('The certificate comes from the server, never from the request', () => {
  const derOf = (identity: Identity): Uint8Array => Buffer.from(identity.cert.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const hexOf = (identity: Identity): string => Buffer.from(identity.thumbprint, 'base64url').toString('hex');
  const cf = (identity: Identity, changes: object = {}): object => ({
    tlsClientAuth: { certPresented: '1', certVerified: 'SUCCESS', certFingerprintSHA256: hexOf(identity), ...changes },
  });

  it('cloudflareWorker: cf as the platform, and not cf on the request', async () => {
    const protect = holdfast(options({ certificate: cloudflareWorker() }));
    const request = (): Request => Object.assign(bearer(byCertificate), { cf: cf(owner), platform: cf(owner) });
    expect((await protect(request(), { platform: cf(owner) })).access?.confirmed).toBe(true);
    expect(await reasonOf(protect, request(), { platform: cf(thief) })).toBe('401 certificate.mismatch');
    expect(await reasonOf(protect, request())).toBe('401 certificate.missing');
    for (const platform of [null, 'cf', 1, [], {}, { tlsClientAuth: null }, { tlsClientAuth: 'x' }, Object.create(cf(owner)) as object])
      expect(await reasonOf(protect, request(), { platform })).toBe('401 certificate.missing');
  });

  describe.each([
    ['2.0', 'authentication'],
    ['1.0', 'identity'],
  ] as const)('awsApiGateway, payload %s', (payload, place) => {
    const eventWith = (clientCertPem: unknown): object => ({
      version: payload,
      requestContext: { [place]: { clientCert: { clientCertPem } } },
    });

    it('reads the certificate of the event, and refuses what is nearly one', async () => {
      const protect = holdfast(options({ certificate: awsApiGateway({ payload }) }));
      const asked = (event: unknown): Promise<string | undefined> => reasonOf(protect, bearer(byCertificate), { platform: event });
      expect(await asked(eventWith(owner.cert))).toBeUndefined();
      expect(await asked(eventWith(owner.cert.replaceAll('\n', '\r\n')))).toBeUndefined();
      expect(await asked(eventWith(thief.cert))).toBe('401 certificate.mismatch');
      for (const none of [undefined, null, '', 1, {}])
        expect([none, await asked(eventWith(none))]).toEqual([none, '401 certificate.missing']);
      const base64 = Buffer.from(derOf(owner)).toString('base64');
      const near = [
        base64,
        encodeURIComponent(owner.cert),
        `${owner.cert}${thief.cert}`,
        `${thief.cert}${owner.cert}`,
        `x${owner.cert}`,
        owner.cert.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE'),
        owner.cert.slice(0, -40),
        '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----',
      ];
      for (const pem of near)
        expect([pem.slice(0, 40), await asked(eventWith(pem))]).toEqual([pem.slice(0, 40), '401 certificate.malformed']);
    });

    it('does not look in the place of the other payload, nor in what a client can send', async () => {
      const protect = holdfast(options({ certificate: awsApiGateway({ payload }) }));
      const other = place === 'identity' ? 'authentication' : 'identity';
      const event = {
        requestContext: { [other]: { clientCert: { clientCertPem: owner.cert } } },
        headers: { 'x-amzn-mtls-clientcert': owner.cert },
        body: JSON.stringify({ requestContext: { [place]: { clientCert: { clientCertPem: owner.cert } } } }),
      };
      expect(await reasonOf(protect, bearer(byCertificate), { platform: event })).toBe('401 certificate.missing');
    });
  });

  it('a connection is used as it is given, and one with a platform beside it for its peer and certificate too', async () => {
    const connection: Connection = { peer: { kind: 'ip', address: '10.1.2.3' }, peerCertificate: () => derOf(owner) };
    const seen: Connection[] = [];
    const protect = holdfast(options({ certificate: ({ connection: shown }) => void seen.push(shown) }));
    await protect(bearer(byCertificate), { connection });
    await protect(bearer(byCertificate), { connection, platform: 'p' });
    await protect(bearer(byCertificate));
    expect(seen[0]).toBe(connection);
    expect([seen[1]?.platform, seen[1]?.peer, seen[1]?.peerCertificate()]).toEqual(['p', connection.peer, derOf(owner)]);
    expect(seen[1]?.hidesCertificates).toBe(false);
    expect([seen[2]?.peer.kind, seen[2]?.peerCertificate(), seen[2]?.hidesCertificates]).toEqual(['unknown', undefined, true]);
  });
});

it('claims of the application are typed from the resource to the variables of Hono', async () => {
  interface BankClaims {
    readonly iss: string;
    readonly exp: number;
    readonly aud: string | readonly string[];
    readonly branch: string;
    readonly [claim: string]: unknown;
  }
  const protect = holdfast<BankClaims>(options());
  const app = new Hono<{ Variables: { access: Access<BankClaims> } }>();
  app.use(async (c, next) => {
    const { refusal, access } = await protect(c.req.raw);
    if (refusal) return refusal;
    if (access) c.set('access', access);
    return next();
  });
  app.get('/r', (c) => c.text(c.get('access').claims.branch.toUpperCase()));
  const response = await app.request('/r', { headers: { authorization: `Bearer ${await issuer.token({ branch: 'north' })}` } });
  expect(await response.text()).toBe('NORTH');
});

it('has everything of the main entry but what belongs to Node and to other adapters', async () => {
  const names = Object.keys(await import('@holdfast/core/fetch'));
  const missing = Object.keys(await import('@holdfast/core')).filter((name) => !names.includes(name));
  const ofNode = ['fromTls', 'DECISION_CHANNEL', 'REDACTED_PATHS'];
  const ofAdapters = ['Protections', 'UNAVAILABLE', 'UNPROTECTED', 'fieldsToCarry', 'isRejection', 'prepareRequirements', 'resourceOf'];
  expect(missing.toSorted()).toEqual([...ofNode, ...ofAdapters].toSorted());
});
