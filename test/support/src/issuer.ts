import { randomUUID } from 'node:crypto';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { generateSigningKey, rawJwt, type SigningKeyPair } from './jwt.ts';
import { listen, stop } from './loopback.ts';
import type { Pki } from './pki.ts';

/** Where metadata is found: RFC 8414 §3.1; that form with the OpenID name (§5); OpenID Connect Discovery §4.1. */
export type MetadataLocation = 'rfc8414' | 'oidc-insert' | 'oidc-append';

/** What an {@link Issuer} is from the beginning; the rest can be changed while it runs. */
export interface IssuerOptions {
  /** Of the issuer identifier: `/realms/demo`; a final slash, as in `/`, stays part of it. */
  readonly path?: string;
  /** One key is made for each; by default ES256. */
  readonly algorithms?: readonly string[];
  /** Serve HTTPS with this server certificate. */
  readonly tls?: Pki;
  /** For `iat` and `exp`, in epoch seconds. */
  readonly now?: () => number;
}

/** An authorization server that says what a test tells it to, over a real socket on the loopback. */
export interface Issuer {
  /** The issuer identifier. */
  readonly url: string;
  readonly jwksUri: string;
  /** What the metadata says; change it at will. */
  readonly metadata: Record<string, unknown>;
  /** Where the metadata is served; everything else is 404. */
  readonly locations: Set<MetadataLocation>;
  /** What the key set shows, in order. */
  readonly keys: SigningKeyPair[];
  /** The request targets received, in order. */
  readonly requests: string[];
  /** Set: sees every request first, and answers those for which it returns true. */
  answer: ((request: IncomingMessage, response: ServerResponse, path: string) => boolean) | undefined;
  /** A further key, by default with a random `kid`; `{ kid: undefined }` makes one without. */
  addKey(alg: string, options?: { kid?: string | undefined }): Promise<SigningKeyPair>;
  removeKey(kid: string | undefined): void;
  /** Resolves with the path of the next request for it. */
  nextRequest(match: string | RegExp): Promise<string>;
  /** Stops listening and resets every connection. */
  down(): Promise<void>;
  /** Listens again, on the same port. */
  up(): Promise<void>;
  close(): Promise<void>;
  /**
   * An RFC 9068 access token, valid for five minutes. A claim or header parameter given as undefined is left out. Signed with `key`,
   * or the first key of the header's `alg`, or the first of all; `key: false` signs it with none.
   */
  token(claims?: object, header?: object, options?: { key?: SigningKeyPair | false }): Promise<string>;
}

/** Starts an {@link Issuer}. */
export async function startIssuer(options: IssuerOptions = {}): Promise<Issuer> {
  const { path: base = '', algorithms = ['ES256'], tls, now = () => Math.floor(Date.now() / 1000) } = options;
  const root = base.replace(/\/$/, ''); // a final slash belongs to the identifier alone
  const waiting = new Set<(path: string) => void>();
  const respond = (request: IncomingMessage, response: ServerResponse): void => {
    const path = request.url ?? '';
    issuer.requests.push(path);
    for (const arrived of waiting) arrived(path);
    if (issuer.answer?.(request, response, path)) return;
    if (path === `${root}/jwks`) return json(response, { keys: issuer.keys.map(({ publicJwk }) => publicJwk) });
    if ([...issuer.locations].some((location) => pathOf(location, root) === path)) return json(response, issuer.metadata);
    response.writeHead(404).end();
  };
  const server = tls ? createHttpsServer({ key: tls.server.key, cert: tls.server.cert }, respond) : createHttpServer(respond);
  const port = await listen(server);
  const origin = `${tls ? 'https://localhost' : 'http://127.0.0.1'}:${port}`;
  const url = `${origin}${base}`;
  const jwksUri = `${origin}${root}/jwks`;
  const issuer: Issuer = {
    url,
    jwksUri,
    metadata: {
      issuer: url,
      jwks_uri: jwksUri,
      authorization_endpoint: `${origin}${root}/authorize`,
      token_endpoint: `${origin}${root}/token`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: [...algorithms],
    },
    locations: new Set(['rfc8414', 'oidc-insert', 'oidc-append']),
    keys: await Promise.all(algorithms.map((alg) => generateSigningKey(alg, randomUUID()))),
    requests: [],
    answer: undefined,
    addKey: async (alg, named = {}) => {
      const key = await generateSigningKey(alg, 'kid' in named ? named.kid : randomUUID());
      issuer.keys.push(key);
      return key;
    },
    removeKey: (kid) => {
      const at = issuer.keys.findIndex((key) => key.kid === kid);
      if (at < 0) throw new Error(`removeKey: no key has the kid ${kid}`);
      issuer.keys.splice(at, 1);
    },
    nextRequest: (match) =>
      new Promise((resolve) => {
        const arrived = (path: string): void => {
          if (typeof match === 'string' ? path !== match : !match.test(path)) return;
          waiting.delete(arrived);
          resolve(path);
        };
        waiting.add(arrived);
      }),
    down: () => stop(server),
    up: async () => {
      await listen(server, port);
    },
    close: () => stop(server),
    token: async (claims = {}, header = {}, { key } = {}) => {
      const wanted = 'alg' in header ? header.alg : undefined;
      const signer = key ?? issuer.keys.find(({ alg }) => alg === wanted) ?? issuer.keys[0];
      if (signer === undefined) throw new Error('token: the issuer has no key; pass one, or false');
      const named = signer ? { alg: signer.alg, kid: signer.kid } : { alg: 'none' };
      const iat = now();
      const defaults = {
        iss: url,
        aud: 'https://rs.example.com',
        sub: 'user-1',
        client_id: 'client-1',
        scope: 'read',
        iat,
        exp: iat + 300,
        jti: randomUUID(),
      };
      const texts = [
        { typ: 'at+jwt', ...named, ...header },
        { ...defaults, ...claims },
      ].map((part) => JSON.stringify(part));
      return rawJwt(texts[0] ?? '', texts[1] ?? '', signer || undefined);
    },
  };
  return issuer;
}

function pathOf(location: MetadataLocation, path: string): string {
  switch (location) {
    case 'rfc8414':
      return `/.well-known/oauth-authorization-server${path}`;
    case 'oidc-insert':
      return `/.well-known/openid-configuration${path}`;
    case 'oidc-append':
      return `${path}/.well-known/openid-configuration`;
  }
}

function json(response: ServerResponse, content: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}
