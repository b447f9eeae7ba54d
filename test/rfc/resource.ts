import { randomUUID } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { holdfast, maybeAccessOf, type ProtectedResourceOptions, type ResourceEvent } from '@holdfast/express';
import { type Challenge, parseChallenges } from '@holdfast/test-support/challenges';
import { type Clock, createClock } from '@holdfast/test-support/clock';
import { type DpopKey, generateDpopKey, makeProof, type ProofOptions } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import type { Pki } from '@holdfast/test-support/pki';
import { type RawResponse, rawRequest } from '@holdfast/test-support/raw-request';
import express, { type Express } from 'express';

/** RS-MIX unless said: accepts Bearer, DPoP and, over TLS, certificates; the public origin is https://rs.example.com. */
export interface ResourceSetup {
  readonly options?: Partial<ProtectedResourceOptions>;
  /** Serve HTTPS, and ask for certificates. */
  readonly tls?: Pki;
  /** Routes and middleware in place of the one route that says what it was given. */
  readonly build?: (app: Express, options: ProtectedResourceOptions) => void;
  /** Share what another resource has. */
  readonly like?: Resource;
}

export interface Sent {
  readonly method?: string;
  readonly target?: string;
  readonly scheme?: string;
  readonly token?: string;
  /** Lines of the DPoP field. */
  readonly proof?: string | readonly string[];
  readonly host?: string;
  readonly lines?: readonly string[];
  /** Sent as it is; needs its own Content-Length among `lines`. */
  readonly body?: string;
  readonly tls?: ConnectionOptions;
  /** Kept open, and used again by the next request that names it. Made with the `tls` of the first. */
  readonly connection?: { socket?: Socket };
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly challenges: readonly Challenge[];
  lines(name: string): string[];
  /**
   * `200`, or the status and where its error stands: `401 D:invalid_dpop_proof`, `401 NONE`, `400 BD:invalid_request`. Whether
   * the route ran is part of it, so that a refusal after the route never passes for one.
   */
  readonly outcome: string;
}

export interface Resource {
  readonly issuer: Issuer;
  readonly clock: Clock;
  readonly key: DpopKey;
  readonly events: ResourceEvent[];
  send(sent: Sent): Promise<Answer>;
  /** A token that is bound to the key, or has the claims given. */
  token(claims?: object): Promise<string>;
  /** A proof by the key for `GET /r`, made now. */
  proof(token: string, changes?: Partial<ProofOptions>): string;
  /** The token as DPoP with a proof; `proof` is what to change in it. */
  present(token: string, proof?: Partial<ProofOptions>, sent?: Sent): Promise<Answer>;
  close(): Promise<void>;
}

export async function startResource({ options = {}, tls, build = oneRoute, like }: ResourceSetup = {}): Promise<Resource> {
  const clock = like?.clock ?? createClock();
  const issuer = like?.issuer ?? (await startIssuer({ now: clock.now }));
  const key = like?.key ?? (await generateDpopKey());
  const events: ResourceEvent[] = [];
  const app = express();
  // The requests that a route ran for.
  const reached = new Set<string>();
  app.set('reached', reached);
  build(app, {
    issuer: issuer.url,
    audience: 'https://rs.example.com',
    keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
    unconstrained: 'accept',
    now: clock.now,
    onEvent: (event) => events.push(event),
    ...options,
  });
  const server = tls
    ? createHttpsServer({ key: tls.server.key, cert: tls.server.cert, requestCert: true, rejectUnauthorized: false }, app)
    : createHttpServer(app);
  const port = await listen(server);

  async function send({
    method = 'GET',
    target = '/r',
    scheme = 'DPoP',
    token,
    proof = [],
    host = 'rs.example.com',
    lines = [],
    body,
    tls: client,
    connection,
  }: Sent): Promise<Answer> {
    const id = randomUUID();
    const response = await rawRequest({
      port,
      lines: [
        `${method} ${target} HTTP/1.1`,
        `Host: ${host}`,
        `Connection: ${connection === undefined ? 'close' : 'keep-alive'}`,
        `X-Request-Id: ${id}`,
        ...(token === undefined ? [] : [`Authorization: ${scheme} ${token}`]),
        ...[proof].flat().map((line) => `DPoP: ${line}`),
        ...lines,
      ],
      ...(body !== undefined && { body }),
      ...(connection?.socket && { socket: connection.socket }),
      ...(tls && { tls: { ca: tls.ca, servername: 'localhost', ...client } }),
    });
    if (connection === undefined) response.socket.destroy();
    else connection.socket = response.socket.removeAllListeners('error').on('error', () => {});
    return answerOf(response, reached.has(id));
  }

  const resource: Resource = {
    issuer,
    clock,
    key,
    events,
    send,
    token: (claims = { cnf: { jkt: key.thumbprint } }) => issuer.token(claims),
    proof: (token, changes = {}) => makeProof({ key, token, iat: clock.now(), ...changes }),
    present: (token, changes, sent = {}) => send({ token, proof: resource.proof(token, changes), ...sent }),
    close: async () => {
      await stop(server);
      if (like === undefined) await issuer.close();
    },
  };
  return resource;
}

/** Says what access the request has, on every path and method. */
export function oneRoute(app: Express, options: ProtectedResourceOptions): void {
  app.use(holdfast(options));
  app.use(answerWithAccess(app));
}

export function answerWithAccess(app: Express): express.RequestHandler {
  return (request, response) => {
    const reached: Set<unknown> = app.get('reached');
    reached.add(request.get('x-request-id'));
    const access = maybeAccessOf(request);
    response.json(
      access && { sub: access.claims.sub, scheme: access.scheme, confirmed: access.confirmed, confirmations: access.confirmations },
    );
  };
}

function answerOf({ status, headers, body }: RawResponse, reached: boolean): Answer {
  const lines = (name: string): string[] => headers.flatMap(([other, value]) => (other.toLowerCase() === name ? [value] : []));
  const challenges = parseChallenges(lines('www-authenticate'));
  return { status, body, challenges, lines, outcome: outcomeOf(status, challenges, reached) };
}

function outcomeOf(status: number, challenges: readonly Challenge[], reached: boolean): string {
  if (reached) return status === 200 ? '200' : `${status} after the route ran`;
  if (challenges.length === 0) return `${status}`;
  const schemes = challenges.map(({ scheme }) => scheme).join();
  if (!['Bearer,DPoP', 'DPoP', 'Bearer'].includes(schemes)) return `${status} with the challenges ${schemes}`;
  for (const { scheme, parameters } of challenges) {
    if (parameters['realm'] === undefined || (scheme === 'DPoP') !== (parameters['algs'] !== undefined))
      return `${status} with a ${scheme} challenge that lacks a parameter`;
  }
  const failed = challenges.filter(({ parameters }) => parameters['error'] !== undefined);
  const [error, ...others] = new Set(failed.map(({ parameters }) => parameters['error']));
  if (error === undefined) return `${status} NONE`;
  if (others.length > 0) return `${status} with several errors`;
  return `${status} ${failed.map(({ scheme }) => scheme.slice(0, 1)).join('')}:${error}`;
}
