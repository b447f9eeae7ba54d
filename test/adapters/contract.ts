// The suite that every adapter runs in full: `adapterContract(name, start, traits)`.
//
// `start` builds an application with the adapter and serves it; it gets everything in a `ContractApp` and answers with a
// `RunningServer`. `serve(listener, app)` does the serving for whatever is a request listener of node:http. The application:
//
//   GET  /open             not protected: 200, the text `open`
//   ANY  /api/…            protected by `app.options`, mounted under the prefix the way the framework has it:
//   GET, POST /api/r       200, the JSON of `grantedTo(accessOf(request))`
//   OPTIONS   /api/r       204 (what a CORS preflight gets)
//   GET  /api/maybe        200, the JSON of `grantedTo(maybeAccessOf(request))`
//   GET  /api/write        requires({ scope: 'write' }), then as /api/r
//   ANY  /api/all          for every method, then as /api/r; where the traits say so
//   POST /api/upload       200, the number of bytes of the body as JSON
//   POST /api/json         200, the JSON of the body, as the framework has parsed it; where the traits say so
//   GET  /api/stream       200, `app.stream()`, a Readable of text
//   GET  /api/throws       an `Error('of the application')` is thrown
//   The metadata of `app.options`, where it has any, are served at the root.
//   GET  /twice/r          protected by `app.options`, made into ONE resource, twice in a row; then as /api/r
//   GET  /both/r           protected by `app.options` and then by `app.other`; then as /api/r
//   GET  /bare/write       not protected, requires({ scope: 'write' })
//   GET  /bare/access      not protected, the JSON of `grantedTo(accessOf(request))`
//   GET  /answered/r       something before the protection answers 408 with the text `late` and goes on all the same; as /api/r
//
// Every route of these calls `app.reached(path)` when it runs, first of all. An error that gets to the application's own error
// handler (what `/api/throws` throws; refusals, where `app.refusals` is 'handed-on') is met by one that sets the field
// `X-Own: 1` and hands the error on to the framework.
//
// What differs between frameworks is said in `traits`, and nothing else may differ: status, body bytes and challenges of every
// row of the table are the same for all.
import { once } from 'node:events';
import type { RequestListener } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, createSecureServer, type OutgoingHttpHeaders } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { Server, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { type Access, fromTls, type ProtectedResourceOptions, type Reason, type ResourceEvent, rfc9440 } from '@holdfast/core';
import { type Challenge, parseChallenges } from '@holdfast/test-support/challenges';
import { createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof, type ProofOptions } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { type RawHttp2Answer, rawHttp2Request } from '@holdfast/test-support/raw-http2';
import { rawRequest } from '@holdfast/test-support/raw-request';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';

/** The application that an adapter has to serve: see the top of this file. */
export interface ContractApp {
  readonly options: ProtectedResourceOptions;
  /** The options of another resource, with an audience of its own. */
  readonly other: ProtectedResourceOptions;
  /** What the adapter does with a refusal: answer it, or hand it on to the error handler of the application. */
  readonly refusals: 'answered' | 'handed-on';
  /** Serve HTTPS that asks for client certificates and judges none. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** Serve HTTP/2 beside HTTP/1.1. Only where the traits say so. */
  readonly http2: boolean;
  /** To be called by every route, with its path as it stands at the top of this file. */
  readonly reached: (path: string) => void;
  readonly stream: () => Readable;
}

export interface RunningServer {
  readonly port: number;
  /** Ends every connection. */
  close(): Promise<void>;
}

/** In what frameworks may differ. */
export interface Traits {
  /** Whether the framework serves HTTP/2; default no. */
  readonly http2?: boolean;
  /** Whether refusals can be handed on to an error handler of the application; default no. */
  readonly handsOn?: boolean;
  /** Whether they can also be answered by the adapter; default yes. */
  readonly answers?: boolean;
  /** Whether the application has an error handler for what its routes throw; default yes. */
  readonly errorHandler?: boolean;
  /** Whether an application starts where a route requires a scope and nothing protects it; default yes. */
  readonly bareRoutes?: boolean;
  /**
   * What becomes of a CORS preflight for a route for all methods: the adapter knows the route, and keeps it (`refused`), or the route
   * runs, and has to ask for its access (`reached`). Absent where the application has no such route.
   */
  readonly allMethods?: 'refused' | 'reached';
  /** Whether a body is parsed after the protection; absent where the application has no such route. */
  readonly parsesJson?: boolean;
  /** Whether lines of a field are joined, as Fetch does: those of WWW-Authenticate, or also those of the request; default no. */
  readonly joined?: 'answers' | 'both';
}

/** What a route says of its access. */
export function grantedTo(access: Access | undefined): object | null {
  if (access === undefined) return null;
  const { claims, scheme, confirmed, confirmations } = access;
  return { sub: claims.sub, scheme, confirmed, members: confirmations.map(({ member }) => member) };
}

/** Serves a request listener as the application asks for it. */
export async function serve(listener: RequestListener, { tls, http2 }: Pick<ContractApp, 'tls' | 'http2'>): Promise<RunningServer> {
  const options = { ...tls, requestCert: true, rejectUnauthorized: false };
  // The compatibility layer of node:http2 is what a listener of node:http can be given.
  const server = http2
    ? createSecureServer({ ...options, allowHTTP1: true }, listener as unknown as Parameters<typeof createSecureServer>[1])
    : createHttpsServer(options, listener);
  return listening(server);
}

/** Listens on a free port, and ends every connection when it is closed. */
export async function listening(server: Server): Promise<RunningServer> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const port = await listen(server);
  return {
    port,
    async close() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export type Protocol = 'HTTP/1.1' | 'HTTP/2';

/** A request, as the client writes it. */
interface Sent {
  readonly method?: string;
  readonly target: string;
  readonly fields?: readonly (readonly [name: string, value: string])[];
  readonly identity?: Identity;
  readonly body?: string;
  /** Of the body; default bytes. */
  readonly type?: string;
  /** The length of a body that is announced and not sent. */
  readonly announced?: number;
}

interface Got {
  readonly status: number;
  readonly body: string;
  readonly challenges: readonly Challenge[];
  readonly lines: (name: string) => readonly string[];
}

/** Everything a row of the table may need. */
interface Scene {
  readonly owner: Identity;
  readonly thief: Identity;
  /** Tokens: bound to the owner's certificate, to the DPoP key, to nothing, … */
  readonly tokens: Record<'certificate' | 'dpop' | 'writing' | 'unbound' | 'expired' | 'elsewhere' | 'both', string>;
  readonly proof: (changes?: Partial<ProofOptions>) => string;
}

type Fields = NonNullable<Sent['fields']>;
const bearer = (token: string): Fields => [['Authorization', `Bearer ${token}`]];
const dpop = (token: string, ...proofs: string[]): Fields => [
  ['Authorization', `DPoP ${token}`],
  ...proofs.map((proof) => ['DPoP', proof] as const),
];

/** What a row expects. Two adapters that both meet it answer alike. */
interface Expected {
  readonly status: number;
  readonly body: string;
  readonly challenges: readonly Challenge[];
  /** Why, by the last event; undefined where access was granted or nothing was decided. */
  readonly reason: Reason | undefined;
  readonly reached: boolean;
}

const ALGS = 'ES256 ES384 ES512 PS256 PS384 PS512 EdDSA Ed25519';
const REALM = { realm: AUDIENCE };
const DESCRIPTIONS: Record<string, string> = {
  invalid_request: 'The request is malformed: send one access token, in one Authorization field.',
  invalid_token: 'The access token is not valid here, or was not sent by the client it is bound to.',
  invalid_dpop_proof: 'The DPoP proof is missing, malformed, expired, used before, or not made for this request and access token.',
  use_dpop_nonce: 'This resource requires a nonce in DPoP proofs: use the one in the DPoP-Nonce field of this response.',
  insufficient_scope: 'The access token does not have the scope that this request needs.',
};

function granted(access: object | null): Expected {
  return { status: 200, body: JSON.stringify(access), challenges: [], reason: undefined, reached: true };
}

/** A refusal, whose error stands in the challenges of these schemes. */
function refused(status: number, error: string, reason: Reason, schemes: readonly string[] = ['Bearer'], scope?: string): Expected {
  const error_description = DESCRIPTIONS[error] ?? '';
  const details = { error, error_description, ...(scope !== undefined && { scope }) };
  return {
    status,
    body: JSON.stringify({ error, error_description }),
    challenges: [
      { scheme: 'Bearer', parameters: { ...(schemes.includes('Bearer') && details), ...REALM } },
      { scheme: 'DPoP', parameters: { ...(schemes.includes('DPoP') && details), ...REALM, algs: ALGS } },
    ],
    reason,
    reached: false,
  };
}

const CHALLENGED: Pick<Expected, 'body' | 'challenges'> = {
  body: '',
  challenges: [
    { scheme: 'Bearer', parameters: REALM },
    { scheme: 'DPoP', parameters: { ...REALM, algs: ALGS } },
  ],
};
const WITHOUT_CREDENTIALS: Expected = { status: 401, ...CHALLENGED, reason: 'request.no_credentials', reached: false };
const OWNER = { sub: 'user-1', scheme: 'Bearer', confirmed: true, members: ['x5t#S256'] };
const PROVEN = { sub: 'user-1', scheme: 'DPoP', confirmed: true, members: ['jkt'] };

interface Row {
  readonly title: string;
  readonly sent: (scene: Scene) => Sent;
  readonly expected: Expected;
  /** Where the other protocol cannot say it. */
  readonly only?: Protocol;
  /** The reason where the framework has joined the lines of a field before the adapter sees them. */
  readonly reasonWhereJoined?: Reason;
  /** Where only the path of the target is to be seen, as in a `Request`: no other origin can be told from `Host` there. */
  readonly expectedWhereJoined?: Expected;
}

const get = (target: string, fields: Fields = [], identity?: Identity): Sent => ({ target, fields, ...(identity && { identity }) });

/** The table. Paths are those of the application; every request names the host rs.example.com. */
const ROWS: readonly Row[] = [
  {
    title: 'what is not protected stays open',
    sent: () => get('/open'),
    expected: { status: 200, body: 'open', challenges: [], reason: undefined, reached: true },
  },
  { title: 'no credentials', sent: () => get('/api/r'), expected: WITHOUT_CREDENTIALS },
  {
    title: 'a scheme that is not offered',
    sent: () => get('/api/r', [['Authorization', 'Basic dTpw']]),
    expected: { ...WITHOUT_CREDENTIALS, reason: 'request.unsupported_scheme' },
  },
  {
    title: 'the owner of a certificate-bound token',
    sent: ({ tokens, owner }) => get('/api/r', bearer(tokens.certificate), owner),
    expected: granted(OWNER),
  },
  {
    title: 'a thief with another certificate',
    sent: ({ tokens, thief }) => get('/api/r', bearer(tokens.certificate), thief),
    expected: refused(401, 'invalid_token', 'certificate.mismatch'),
  },
  {
    title: 'a thief without a certificate',
    sent: ({ tokens }) => get('/api/r', bearer(tokens.certificate)),
    expected: refused(401, 'invalid_token', 'certificate.missing'),
  },
  {
    title: 'a token that is bound to nobody',
    sent: ({ tokens, owner }) => get('/api/r', bearer(tokens.unbound), owner),
    expected: refused(401, 'invalid_token', 'cnf.absent'),
  },
  {
    title: 'an expired token',
    sent: ({ tokens, owner }) => get('/api/r', bearer(tokens.expired), owner),
    expected: refused(401, 'invalid_token', 'token.expired'),
  },
  {
    title: 'a token for another resource',
    sent: ({ tokens, owner }) => get('/api/r', bearer(tokens.elsewhere), owner),
    expected: refused(401, 'invalid_token', 'token.audience'),
  },
  {
    title: 'no JWT',
    sent: ({ owner }) => get('/api/r', bearer('abc'), owner),
    expected: refused(401, 'invalid_token', 'token.not_jwt'),
  },
  {
    title: 'EXT-13 two lines of Authorization',
    only: 'HTTP/1.1',
    sent: ({ tokens, owner }) => get('/api/r', [...bearer(tokens.certificate), ...bearer(tokens.certificate)], owner),
    expected: refused(400, 'invalid_request', 'request.several_authorizations', ['Bearer']),
  },
  {
    title: 'two credentials in one line of Authorization',
    sent: ({ tokens, owner }) => get('/api/r', bearer(`${tokens.certificate}, Bearer ${tokens.certificate}`), owner),
    expected: refused(400, 'invalid_request', 'request.several_authorizations', ['Bearer']),
  },
  {
    title: 'a token in the query beside the field, also below a prefix',
    sent: ({ tokens, owner }) => get('/api/r?access_token=x', bearer(tokens.certificate), owner),
    expected: refused(400, 'invalid_request', 'request.token_in_query'),
  },
  {
    title: 'EDG-03 two lines of Host',
    only: 'HTTP/1.1',
    sent: ({ tokens, owner }) => get('/api/r', [...bearer(tokens.certificate), ['Host', 'evil.example']], owner),
    expected: refused(400, 'invalid_request', 'request.several_hosts'),
  },
  {
    title: 'a request in early data',
    sent: ({ tokens, owner }) => get('/api/r', [...bearer(tokens.certificate), ['Early-Data', '1']], owner),
    expected: { status: 425, body: '', challenges: [], reason: 'request.early_data', reached: false },
  },
  {
    title: 'fields with the names of members that every object has',
    sent: ({ tokens }) =>
      get('/api/r', [
        ['__proto__', `Bearer ${tokens.unbound}`],
        ['constructor', 'x'],
        ['hasOwnProperty', 'x'],
      ]),
    expected: WITHOUT_CREDENTIALS,
  },
  {
    title: 'EDG-06 a proof for the whole path, prefix included',
    sent: ({ tokens, proof }) => get('/api/r?x=1', dpop(tokens.dpop, proof())),
    expected: granted(PROVEN),
  },
  {
    title: 'EDG-06 a proof for the path without the prefix',
    sent: ({ tokens, proof }) => get('/api/r', dpop(tokens.dpop, proof({ htu: `${AUDIENCE}/r` }))),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.htu', ['DPoP']),
  },
  {
    title: 'a proof for another method',
    sent: ({ tokens, proof }) => get('/api/r', dpop(tokens.dpop, proof({ htm: 'POST' }))),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.htm', ['DPoP']),
  },
  {
    title: 'a DPoP-bound token without proof',
    sent: ({ tokens }) => get('/api/r', dpop(tokens.dpop)),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.missing', ['DPoP']),
  },
  {
    title: 'two lines of DPoP',
    sent: ({ tokens, proof }) => get('/api/r', dpop(tokens.dpop, proof(), proof())),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.several', ['DPoP']),
    reasonWhereJoined: 'dpop.malformed',
  },
  {
    title: 'two proofs in one line of DPoP',
    sent: ({ tokens, proof }) => get('/api/r', dpop(tokens.dpop, `${proof()}, ${proof()}`)),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.malformed', ['DPoP']),
  },
  {
    title: 'a DPoP-bound token as Bearer',
    sent: ({ tokens, proof }) => get('/api/r', [...bearer(tokens.dpop), ['DPoP', proof()]]),
    expected: refused(401, 'invalid_token', 'cnf.presented_as_bearer'),
  },
  {
    title: 'a token bound to a certificate and to a key, with both',
    sent: ({ tokens, proof, owner }) => get('/api/r', dpop(tokens.both, proof({ token: tokens.both })), owner),
    expected: granted({ ...PROVEN, members: ['x5t#S256', 'jkt'] }),
  },
  {
    title: 'a token bound to a certificate and to a key, without the certificate',
    sent: ({ tokens, proof }) => get('/api/r', dpop(tokens.both, proof({ token: tokens.both }))),
    expected: refused(401, 'invalid_token', 'certificate.missing', ['DPoP']),
  },
  {
    title: 'EDG-04 an absolute-form target of the origin of this resource',
    only: 'HTTP/1.1',
    sent: ({ tokens, proof }) => get(`${AUDIENCE}/api/r`, dpop(tokens.dpop, proof())),
    expected: granted(PROVEN),
  },
  {
    title: 'EDG-04 an absolute-form target of another origin, and a proof for this one',
    only: 'HTTP/1.1',
    sent: ({ tokens, proof }) => get('https://evil.example/api/r', dpop(tokens.dpop, proof())),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.htu', ['DPoP']),
    expectedWhereJoined: granted(PROVEN),
  },
  {
    title: 'EDG-04 an absolute-form target of another origin, and a proof for that one',
    only: 'HTTP/1.1',
    sent: ({ tokens, proof }) => get('https://evil.example/api/r', dpop(tokens.dpop, proof({ htu: 'https://evil.example/api/r' }))),
    expected: refused(401, 'invalid_dpop_proof', 'dpop.htu', ['DPoP']),
  },
  {
    title: 'a route that requires a scope the token lacks',
    sent: ({ tokens, owner }) => get('/api/write', bearer(tokens.certificate), owner),
    expected: refused(403, 'insufficient_scope', 'scope.insufficient', ['Bearer'], 'write'),
  },
  {
    title: 'a route that requires a scope the token has',
    sent: ({ tokens, owner }) => get('/api/write', bearer(tokens.writing), owner),
    expected: granted(OWNER),
  },
  {
    title: 'a route that requires a scope, without credentials',
    sent: () => get('/api/write'),
    expected: WITHOUT_CREDENTIALS,
  },
  {
    title: 'HEAD by the owner',
    sent: ({ tokens, owner }) => ({ ...get('/api/r', bearer(tokens.certificate), owner), method: 'HEAD' }),
    expected: { ...granted(OWNER), body: '' },
  },
  {
    title: 'HEAD by a thief',
    sent: ({ tokens, thief }) => ({ ...get('/api/r', bearer(tokens.certificate), thief), method: 'HEAD' }),
    expected: { ...refused(401, 'invalid_token', 'certificate.mismatch'), body: '' },
  },
  {
    title: 'HEAD of a route that requires a scope the token lacks',
    sent: ({ tokens, owner }) => ({ ...get('/api/write', bearer(tokens.certificate), owner), method: 'HEAD' }),
    expected: { ...refused(403, 'insufficient_scope', 'scope.insufficient', ['Bearer'], 'write'), body: '' },
  },
  {
    title: 'a CORS preflight passes, without access',
    sent: () => ({
      method: 'OPTIONS',
      target: '/api/r',
      fields: [
        ['Origin', 'https://app.example.com'],
        ['Access-Control-Request-Method', 'GET'],
      ],
    }),
    expected: { status: 204, body: '', challenges: [], reason: undefined, reached: true },
  },
  {
    title: 'an OPTIONS request that is no preflight',
    sent: () => ({ method: 'OPTIONS', target: '/api/r' }),
    expected: WITHOUT_CREDENTIALS,
  },
  {
    title: 'two resources one after the other: the token has to be for both',
    sent: ({ tokens, owner }) => get('/both/r', bearer(tokens.certificate), owner),
    expected: {
      ...refused(401, 'invalid_token', 'token.audience'),
      challenges: refused(401, 'invalid_token', 'token.audience').challenges.map(({ scheme, parameters }) => ({
        scheme,
        parameters: { ...parameters, realm: 'https://other.example.com' },
      })),
    },
  },
];

/** Runs the suite for an adapter. */
export function adapterContract(name: string, start: (app: ContractApp) => Promise<RunningServer>, traits: Traits = {}): void {
  const protocols: readonly Protocol[] = traits.http2 === true ? ['HTTP/1.1', 'HTTP/2'] : ['HTTP/1.1'];

  describe.each(protocols)(`${name} over TLS and %s`, (protocol) => {
    const clock = createClock();
    const events: ResourceEvent[] = [];
    const reached: string[] = [];
    const streams: Readable[] = [];
    let pki: Pki;
    let issuer: Issuer;
    let scene: Scene & { readonly key: DpopKey };
    let server: RunningServer;
    const open: (() => unknown)[] = [];

    const optionsOf = (audience: string): ProtectedResourceOptions => ({
      issuer: issuer.url,
      audience,
      keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
      certificate: fromTls(),
      now: clock.now,
      onEvent: (event) => events.push(event),
    });
    const appWith = (changes: Partial<ProtectedResourceOptions> = {}, refusals: ContractApp['refusals'] = 'answered'): ContractApp => ({
      options: { ...optionsOf(AUDIENCE), ...changes },
      other: optionsOf('https://other.example.com'),
      refusals,
      tls: { cert: pki.server.cert, key: pki.server.key },
      http2: traits.http2 === true,
      reached: (path) => reached.push(path),
      stream: () => streams.pop() ?? Readable.from(['one ', 'two ', 'three']),
    });
    const defaultRefusals = traits.answers === false ? 'handed-on' : 'answered';
    /** Another application, with other options, that ends with the test. */
    const serving = async (changes: Partial<ProtectedResourceOptions>, refusals?: ContractApp['refusals']): Promise<number> => {
      const running = await start(appWith(changes, refusals ?? defaultRefusals));
      open.push(() => running.close());
      return running.port;
    };

    beforeAll(async () => {
      pki = await createPki();
      issuer = await startIssuer({ now: clock.now });
      const [owner, thief, key] = [await pki.client('owner'), await pki.client('thief'), await generateDpopKey()];
      const byCertificate = { 'x5t#S256': owner.thumbprint };
      const tokens = {
        certificate: await issuer.token({ cnf: byCertificate }),
        writing: await issuer.token({ cnf: byCertificate, scope: 'read write' }),
        dpop: await issuer.token({ cnf: { jkt: key.thumbprint } }),
        both: await issuer.token({ cnf: { ...byCertificate, jkt: key.thumbprint } }),
        unbound: await issuer.token(),
        expired: await issuer.token({ cnf: byCertificate, exp: clock.now() - 60 }),
        elsewhere: await issuer.token({ cnf: byCertificate, aud: 'https://elsewhere.example.com' }),
      };
      const proof = (changes: Partial<ProofOptions> = {}): string =>
        makeProof({ key, token: tokens.dpop, htu: `${AUDIENCE}/api/r`, iat: clock.now(), ...changes });
      scene = { owner, thief, key, tokens, proof };
      server = await start(appWith({}, defaultRefusals));
    });
    afterAll(async () => {
      await server.close();
      await issuer.close();
    });
    beforeEach(() => {
      events.length = 0;
      reached.length = 0;
    });
    afterEach(async () => {
      for (const end of open.splice(0)) await end();
    });

    const tlsOf = (identity?: Identity): { ca: string; servername: string; cert?: string; key?: string } => ({
      ca: pki.ca,
      servername: 'localhost',
      ...(identity && { cert: identity.cert, key: identity.key }),
    });
    const lastReason = (): Reason | undefined => events.findLast(({ outcome }) => outcome !== 'granted')?.reason;
    const ask = async (sent: Sent, port = server.port): Promise<Got> => {
      const [answer] = await onOneConnection(protocol, port, tlsOf(sent.identity), [sent]);
      if (answer === undefined) throw new Error('no answer');
      return answer;
    };

    const rows = ROWS.filter(({ only }) => only === undefined || only === protocol).map((row) => [row.title, row] as const);
    it.each(rows)('%s', async (_title, { sent, expected: expectedElsewhere, expectedWhereJoined, reasonWhereJoined }) => {
      const expected = traits.joined === 'both' ? (expectedWhereJoined ?? expectedElsewhere) : expectedElsewhere;
      const { status, body, challenges, lines } = await ask(sent(scene));
      const reason = lastReason();
      expect({ status, body, challenges, reason, reached: reached.length > 0 }).toEqual({
        ...expected,
        reason: traits.joined === 'both' ? (reasonWhereJoined ?? expected.reason) : expected.reason,
      });
      expect(lines('www-authenticate')).toHaveLength(traits.joined !== undefined ? Math.min(1, challenges.length) : challenges.length);
      if (status >= 400 && body !== '') expect(lines('content-type')).toEqual(['application/json; charset=utf-8']);
    });

    it('EDG-15 every answer has a Date, granted or not', async () => {
      for (const identity of [scene.owner, scene.thief]) {
        const { lines } = await ask(get('/api/r', bearer(scene.tokens.certificate), identity));
        expect(lines('date').map((date) => Date.parse(date) > 0)).toEqual([true]);
      }
    });

    it('EDG-17 no TLS below 1.2 is spoken', async () => {
      const connecting = new Promise((resolve, reject) => {
        const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
        const socket = connectTls({ host: '127.0.0.1', port: server.port, ...tlsOf(), ...old }, () => resolve('connected'));
        socket.once('error', reject);
      });
      await expect(connecting).rejects.toMatchObject({ code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' });
    });

    it.each(protocol === 'HTTP/2' ? [protocol] : [])(
      'EXT-13 two fields of Authorization over %s, as no library would send them',
      async () => {
        const raw = (...lines: readonly (readonly [string, string])[]): Promise<RawHttp2Answer> =>
          rawHttp2Request({ port: server.port, path: '/api/r', authority: 'rs.example.com', lines, tls: tlsOf(scene.owner) });
        const field = ['authorization', `Bearer ${scene.tokens.certificate}`] as const;
        expect(await raw(field)).toEqual({ status: 200, body: JSON.stringify(OWNER) });
        expect(reached.splice(0)).toEqual(['/api/r']);
        const { status, body } = refused(400, 'invalid_request', 'request.several_authorizations');
        for (const second of [field, ['authorization', 'Basic dTpw'], ['authorization', '']] as const) {
          expect(await raw(field, second)).toEqual({ status, body });
        }
        expect(reached).toEqual([]);
      },
    );

    it.each(protocol === 'HTTP/1.1' && traits.joined === undefined ? [protocol] : [])(
      'EXT-13 over %s, a line behind more fields than the server keeps is not overlooked: 431',
      async () => {
        const filler = Array.from({ length: 1_500 }, () => ['a', ''] as const);
        const [line] = bearer(scene.tokens.certificate);
        for (const fields of [[...filler], [...(line ? [line] : []), ...filler, ['Authorization', 'Basic dTpw'] as const]]) {
          const { status, challenges, body, lines } = await ask(get('/api/r', fields, scene.owner));
          expect([status, challenges, body, lines('retry-after')]).toEqual([431, [], '', []]);
          expect(events.at(-1)?.reason).toBe('request.fields_cut');
        }
        expect(reached).toEqual([]);
      },
    );

    it('PRM-03 serves the metadata of the resource to anybody, where challenges say they are', async () => {
      const port = await serving({ metadata: true });
      const target = '/.well-known/oauth-protected-resource';
      const { challenges } = await ask(get('/api/r'), port);
      expect(challenges.map(({ parameters }) => parameters['resource_metadata'])).toEqual([`${AUDIENCE}${target}`, `${AUDIENCE}${target}`]);
      const answer = await ask(get(target), port);
      expect([answer.status, answer.challenges, answer.lines('content-type')]).toEqual([200, [], ['application/json; charset=utf-8']]);
      expect(JSON.parse(answer.body)).toMatchObject({ resource: AUDIENCE, authorization_servers: [issuer.url] });
      const byThief = await ask(get(target, bearer(scene.tokens.certificate), scene.thief), port);
      expect([byThief.status, byThief.body]).toEqual([200, answer.body]);
      expect((await ask({ ...get(target), method: 'POST' }, port)).status).toBe(405);
      expect((await ask(get(`${target}/other`), port)).status).toBe(404);
      expect([(await ask(get('/open'), port)).body, (await ask(get(target))).status === 200]).toEqual(['open', false]);
    });

    it.each([traits.allMethods ?? []].flat())('a CORS preflight gets nothing of a route for all methods, which is %s', async (route) => {
      const preflight = [
        ['Origin', 'https://evil.example'],
        ['Access-Control-Request-Method', 'GET'],
      ] as const;
      const { status, challenges } = await ask({ ...get('/api/all', preflight), method: 'OPTIONS' });
      expect([status, challenges]).toEqual([401, CHALLENGED.challenges]);
      expect(reached.splice(0)).toEqual(route === 'refused' ? [] : ['/api/all']);
      const owner = await ask(get('/api/all', bearer(scene.tokens.certificate), scene.owner));
      expect([owner.body, reached]).toEqual([JSON.stringify(OWNER), ['/api/all']]);
    });

    it('a proof is judged once, however often one resource protects the route', async () => {
      const { status, body } = await ask(get('/twice/r', dpop(scene.tokens.dpop, scene.proof({ htu: `${AUDIENCE}/twice/r` }))));
      expect([status, body]).toEqual([200, JSON.stringify(PROVEN)]);
      expect(events.map(({ outcome }) => outcome)).toEqual(['granted']);
    });

    it('a proof is used up by its first use', async () => {
      const fields = dpop(scene.tokens.dpop, scene.proof());
      expect((await ask(get('/api/r', fields))).status).toBe(200);
      expect(await ask(get('/api/r', fields))).toMatchObject({
        status: 401,
        body: refused(401, 'invalid_dpop_proof', 'replay.reused').body,
      });
      expect(events.at(-1)?.reason).toBe('replay.reused');
    });

    it.each(traits.bareRoutes === false ? ['/bare/access'] : ['/bare/write', '/bare/access'])(
      '%s: nothing is granted where nothing protects',
      async (target) => {
        const { status, challenges } = await ask(get(target, bearer(scene.tokens.writing), scene.owner));
        expect([status, challenges]).toEqual([401, [{ scheme: 'Bearer', parameters: { realm: 'holdfast' } }]]);
        expect(reached.filter((path) => path !== '/bare/access')).toEqual([]);
      },
    );

    it('every request of a connection is judged by its own token', async () => {
      const others = await Promise.all(
        ['user-2', 'user-3'].map((sub) => issuer.token({ sub, cnf: { 'x5t#S256': scene.owner.thumbprint } })),
      );
      const tokens = [scene.tokens.certificate, ...others, scene.tokens.expired, scene.tokens.dpop, scene.tokens.certificate];
      const requests = [...tokens.map((token) => get('/api/r', bearer(token))), get('/api/r')];
      const answers = await onOneConnection(protocol, server.port, tlsOf(scene.owner), requests);
      const users = ['user-1', 'user-2', 'user-3', undefined, undefined, 'user-1', undefined];
      expect(answers.map(({ status, body }) => [status, status === 200 ? JSON.parse(body).sub : undefined])).toEqual(
        users.map((user) => [user === undefined ? 401 : 200, user]),
      );
    });

    it('a body is handed to the route whole', async () => {
      const body = 'x'.repeat(300_000);
      const answer = await ask({ ...get('/api/upload', bearer(scene.tokens.certificate), scene.owner), method: 'POST', body });
      expect([answer.status, answer.body]).toEqual([200, '300000']);
    });

    it('a body is streamed to the client whole', async () => {
      const answer = await ask(get('/api/stream', bearer(scene.tokens.certificate), scene.owner));
      expect([answer.status, answer.body]).toEqual([200, 'one two three']);
    });

    it('an upload is refused before its body has come', async () => {
      // A gigabyte is announced and never sent: whoever waited for it would not answer.
      const request = { ...get('/api/upload', bearer(scene.tokens.certificate), scene.thief), method: 'POST', announced: 2 ** 30 };
      expect(await ask(request)).toMatchObject({ status: 401, body: refused(401, 'invalid_token', 'certificate.mismatch').body });
      expect(reached).toEqual([]);
    });

    it.each(traits.parsesJson === true ? ['application/json'] : [])(
      'a body of %s is parsed for the owner, and not waited for where the request is refused',
      async (type) => {
        const json = { ...get('/api/json', bearer(scene.tokens.certificate), scene.owner), method: 'POST', type };
        expect((await ask({ ...json, body: '{"a":[1]}' })).body).toBe('{"a":[1]}');
        expect(reached.splice(0)).toEqual(['/api/json']);
        const answer = await ask({ ...json, identity: scene.thief, announced: 1000 });
        expect(answer).toMatchObject({ status: 401, body: refused(401, 'invalid_token', 'certificate.mismatch').body });
        expect(reached).toEqual([]);
      },
    );

    it('an answer that was given before the protection stays, and the route is not reached', async () => {
      const requests = [
        get('/answered/r', bearer(scene.tokens.certificate)),
        get('/answered/r', bearer(scene.tokens.expired)),
        get('/api/r', bearer(scene.tokens.certificate)),
      ];
      const answers = await onOneConnection(protocol, server.port, tlsOf(scene.owner), requests);
      expect(answers.map(({ status, body }) => [status, body])).toEqual([
        [408, 'late'],
        [408, 'late'],
        [200, JSON.stringify(OWNER)],
      ]);
      expect(reached).toEqual(['/api/r']);
    });

    it('what the application throws is its own business: its error handler, its status', async () => {
      const { status, lines } = await ask(get('/api/throws', bearer(scene.tokens.certificate), scene.owner));
      expect([status, reached]).toEqual([500, ['/api/throws']]);
      if (traits.errorHandler !== false) expect(lines('x-own')).toEqual(['1']);
    });

    it('a client that goes while it is judged reaches no route, and breaks nothing', async () => {
      const slow = await startIssuer({ now: clock.now });
      open.push(() => slow.close());
      let answerKeys = (): void => {};
      slow.answer = (_request, response, path) => {
        if (!path.startsWith('/.well-known')) return false;
        answerKeys = () => void response.writeHead(404).end();
        return true;
      };
      const token = await slow.token({ cnf: { 'x5t#S256': scene.owner.thumbprint } });
      const port = await serving({ issuer: slow.url, keys: {} });
      const asked = slow.nextRequest(/well-known/);
      const leave = await begin(protocol, port, tlsOf(scene.owner), get('/api/r', bearer(token)));
      await asked;
      leave();
      // What comes after it is answered: the server has seen it go.
      expect((await ask(get('/open'), port)).status).toBe(200);
      slow.answer = undefined;
      answerKeys();
      await expect.poll(() => events).toHaveLength(1);
      expect((await ask(get('/open'), port)).status).toBe(200);
      expect(reached).toEqual(['/open', '/open']);
    });

    it('a client that goes in the middle of a stream or an upload breaks nothing', async () => {
      const endless = new Readable({ read: () => {} });
      endless.push('one ');
      streams.push(endless);
      const streaming = await begin(protocol, server.port, tlsOf(scene.owner), get('/api/stream', bearer(scene.tokens.certificate)));
      await expect.poll(() => reached).toEqual(['/api/stream']);
      streaming();
      const upload = { ...get('/api/upload', bearer(scene.tokens.certificate)), method: 'POST', announced: 1000 };
      const uploading = await begin(protocol, server.port, tlsOf(scene.owner), upload);
      await expect.poll(() => events).toHaveLength(2);
      uploading();
      expect((await ask(get('/open'))).status).toBe(200);
      endless.destroy();
      expect((await ask(get('/api/stream', bearer(scene.tokens.certificate), scene.owner))).body).toBe('one two three');
    });

    it("credentials: 'optional' lets a request without Authorization pass, without access, and none with a bad one", async () => {
      const port = await serving({ credentials: 'optional' });
      expect(await ask(get('/api/maybe'), port)).toMatchObject({ status: 200, body: 'null', challenges: [] });
      const owner = await ask(get('/api/maybe', bearer(scene.tokens.certificate), scene.owner), port);
      expect(owner).toMatchObject({ status: 200, body: JSON.stringify(OWNER) });
      expect(await ask(get('/api/maybe', bearer(scene.tokens.certificate), scene.thief), port)).toMatchObject({ status: 401 });
      expect(reached).toEqual(['/api/maybe', '/api/maybe']);
      // What passed was no decision: it is one where a route needs access after all.
      expect(events.map(({ outcome, reason }) => reason ?? outcome)).toEqual(['granted', 'certificate.mismatch']);
      expect(await ask(get('/api/write'), port)).toMatchObject({ status: 401, ...CHALLENGED });
      expect(reached).toEqual(['/api/maybe', '/api/maybe']);
      const { status, challenges } = await ask(get('/api/r'), port);
      expect([status, challenges]).toEqual([401, CHALLENGED.challenges]);
      expect(events.slice(2)).toEqual([
        { time: clock.now(), outcome: 'refused', reason: 'request.no_credentials', text: expect.any(String), timings: { total: 0 } },
        { time: clock.now(), outcome: 'refused', reason: 'request.no_credentials', text: expect.any(String), timings: { total: 0 } },
      ]);
    });

    it('with nonces: one DPoP-Nonce line that is not kept, and the proof with it is good', async () => {
      const port = await serving({ dpop: { nonce: 'required' } });
      const without = await ask(get('/api/r', dpop(scene.tokens.dpop, scene.proof())), port);
      const { reason: _reason, reached: _reached, ...expected } = refused(401, 'use_dpop_nonce', 'nonce.missing', ['DPoP']);
      expect(without).toMatchObject(expected);
      expect([without.lines('dpop-nonce').length, without.lines('cache-control')]).toEqual([1, ['no-store']]);
      const nonce = without.lines('dpop-nonce')[0];
      const proven = await ask(get('/api/r', dpop(scene.tokens.dpop, scene.proof({ claims: { nonce } }))), port);
      expect(proven).toMatchObject({ status: 200, body: JSON.stringify(PROVEN) });
    });

    it('with cors: scripts may read what they need, refused or not', async () => {
      const port = await serving({ cors: true });
      for (const fields of [[], bearer(scene.tokens.certificate)]) {
        const { lines } = await ask(get('/api/r', fields, scene.owner), port);
        expect(lines('access-control-expose-headers')).toEqual(['WWW-Authenticate, DPoP-Nonce']);
      }
    });

    it('behind an edge: the certificate in its field, once, and from the edge alone; responses vary by it', async () => {
      const secret = 'a-secret-of-the-edge-with-32-characters';
      const port = await serving({ certificate: rfc9440({ trust: { secret: { field: 'Edge-Secret', values: [secret] } } }) });
      const own = ['Client-Cert', `:${Buffer.from(scene.owner.der).toString('base64')}:`] as const;
      const other = ['Client-Cert', `:${Buffer.from(scene.thief.der).toString('base64')}:`] as const;
      const sent = (...fields: Fields): Promise<Got> =>
        ask(get('/api/r', [...bearer(scene.tokens.certificate), ['Edge-Secret', secret], ...fields]), port);
      const owner = await sent(own);
      expect([owner.status, owner.body]).toEqual([200, JSON.stringify(OWNER)]);
      expect(owner.lines('vary').join(', ')).toContain('client-cert');
      reached.length = 0;
      const answers = [
        await sent(other),
        await sent(),
        await sent(own, other),
        await ask(get('/api/r', [...bearer(scene.tokens.certificate), own]), port),
        await ask(get('/api/r', bearer(scene.tokens.certificate), scene.owner), port),
      ];
      expect(answers.map(({ status, challenges }) => [status, challenges[0]?.parameters['error']])).toEqual(
        answers.map(() => [401, 'invalid_token']),
      );
      expect(events.flatMap((event) => event.reason ?? [])).toEqual([
        'certificate.mismatch',
        'certificate.missing',
        traits.joined === 'both' ? 'certificate.malformed' : 'certificate.several_lines',
        'certificate.untrusted_peer',
        'certificate.missing',
      ]);
      expect(reached).toEqual([]);
    });

    it('503 with Retry-After, no challenge and no body, where the keys cannot be had', async () => {
      const gone = await startIssuer({ now: clock.now });
      const token = await gone.token({ cnf: { 'x5t#S256': scene.owner.thumbprint } });
      await gone.close();
      const port = await serving({ issuer: gone.url, keys: {} });
      const { status, body, challenges, lines } = await ask(get('/api/r', bearer(token), scene.owner), port);
      expect([status, body, challenges]).toEqual([503, '', []]);
      expect(lines('retry-after')).toEqual([expect.stringMatching(/^\d+$/)]);
      expect([lastReason(), reached]).toEqual(['unavailable.keys', []]);
    });

    if (traits.handsOn !== true) return;
    it('an error handler of the application that adds a field and hands on keeps status and challenges', async () => {
      const port = await serving({}, 'handed-on');
      for (const [sent, expected] of [
        [get('/api/r', bearer(scene.tokens.certificate), scene.thief), refused(401, 'invalid_token', 'certificate.mismatch')],
        [get('/api/r'), WITHOUT_CREDENTIALS],
        [
          get('/api/write', bearer(scene.tokens.certificate), scene.owner),
          refused(403, 'insufficient_scope', 'scope.insufficient', ['Bearer'], 'write'),
        ],
      ] as const) {
        const { status, challenges, lines } = await ask(sent, port);
        expect([status, challenges, lines('x-own')]).toEqual([expected.status, expected.challenges, ['1']]);
        expect(lines('www-authenticate')).toHaveLength(expected.challenges.length);
      }
      expect(reached).toEqual([]);
    });
  });
}

type ClientTls = Parameters<typeof rawRequest>[0]['tls'] & object;

const BYTES = 'application/octet-stream';

function linesOf({ method = 'GET', target, fields = [], body, type = BYTES, announced }: Sent): string[] {
  const length = announced ?? body?.length;
  return [
    `${method} ${target} HTTP/1.1`,
    'Host: rs.example.com',
    ...fields.map(([name, value]) => `${name}: ${value}`),
    ...(length === undefined ? [] : [`Content-Type: ${type}`, `Content-Length: ${length}`]),
  ];
}

async function overHttp1(port: number, tls: ClientTls, sent: Sent, socket?: Socket): Promise<Got & { readonly socket: Socket }> {
  const { body } = sent;
  const answer = await rawRequest({ port, lines: linesOf(sent), tls, ...(body !== undefined && { body }), ...(socket && { socket }) });
  return { ...gotOf(answer.status, answer.body, answer.headers), socket: answer.socket };
}

/** A stream of HTTP/2 with the request on it; of an announced body nothing is sent. */
function streamOf(
  session: ClientHttp2Session,
  { method = 'GET', target, fields = [], body, type = BYTES, announced }: Sent,
): ClientHttp2Stream {
  const headers: OutgoingHttpHeaders = Object.create(null);
  for (const [name, value] of fields) {
    const lower = name.toLowerCase();
    headers[lower] = lower in headers ? [headers[lower] ?? [], value].flat().map(String) : value;
  }
  const hasBody = body !== undefined || announced !== undefined;
  if (hasBody) headers['content-type'] = type;
  if (announced !== undefined) headers['content-length'] = String(announced);
  const stream = session.request(
    { ':method': method, ':path': target, ':authority': 'rs.example.com', ...headers },
    { endStream: !hasBody },
  );
  if (body !== undefined) stream.end(body);
  return stream;
}

async function overHttp2(session: ClientHttp2Session, sent: Sent): Promise<Got> {
  const stream = streamOf(session, sent);
  const received: (readonly [string, string])[] = [];
  let status = 0;
  stream.once('response', (response, _flags, raw: readonly string[] = []) => {
    status = Number(response[':status']);
    for (let i = 0; i < raw.length; i += 2) received.push([raw[i] ?? '', raw[i + 1] ?? '']);
  });
  let body = '';
  for await (const chunk of stream.setEncoding('utf8')) body += chunk;
  return gotOf(status, body, received);
}

async function onOneConnection(protocol: Protocol, port: number, tls: ClientTls, requests: readonly Sent[]): Promise<Got[]> {
  const answers: Got[] = [];
  if (protocol === 'HTTP/2') {
    const session = connect(`https://localhost:${port}`, tls);
    for (const request of requests) answers.push(await overHttp2(session, request));
    session.destroy();
    return answers;
  }
  let socket: Socket | undefined;
  for (const request of requests) {
    const answer = await overHttp1(port, tls, request, socket);
    answers.push(answer);
    socket = answer.socket;
  }
  socket?.destroy();
  return answers;
}

/** Begins a request and resolves, without waiting for the answer, with what ends the connection. */
async function begin(protocol: Protocol, port: number, tls: ClientTls, sent: Sent): Promise<() => void> {
  if (protocol === 'HTTP/2') {
    const session = connect(`https://localhost:${port}`, tls);
    streamOf(session, sent).on('error', () => {});
    return () => session.destroy();
  }
  const socket = connectTls({ host: '127.0.0.1', port, ...tls });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  socket.write(`${linesOf(sent).join('\r\n')}\r\n\r\n`);
  return () => socket.destroy();
}

function gotOf(status: number, body: string, headers: readonly (readonly [name: string, value: string])[]): Got {
  const lines = (name: string): string[] => headers.flatMap(([other, value]) => (other.toLowerCase() === name ? [value] : []));
  return { status, body, lines, challenges: parseChallenges(lines('www-authenticate')) };
}
