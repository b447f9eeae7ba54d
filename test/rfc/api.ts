import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type ExpressOptions, accessOf, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/express';
import type { Access, ResourceEvent } from '@holdfast/core';
import { parseChallenges } from '@holdfast/test-support/challenges';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import type { Identity, Pki } from '@holdfast/test-support/pki';
import { rawRequest } from '@holdfast/test-support/raw-request';
import express from 'express';

/** The resource identifier of every API under test. */
export const AUDIENCE = 'https://rs.example.com';

/** The moment at which every test begins. */
export const NOW = 1_800_000_000;

export interface Answer {
  readonly status: number;
  /** The parsed challenges of all WWW-Authenticate lines. */
  readonly challenges: ReturnType<typeof parseChallenges>;
  /** The lines as they came. */
  readonly challengeLines: readonly string[];
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  /** What the route was granted; undefined where it did not run. */
  readonly access: Access | undefined;
  /** The reason in the last event, where it was no grant. */
  readonly reason: string | undefined;
}

export interface Ask {
  readonly method?: string;
  readonly target?: string;
  /** Further field lines, as `Name: value`. */
  readonly lines?: readonly string[];
  /** Sent after the fields, as it is; needs its own Content-Length or Transfer-Encoding among `lines`. */
  readonly body?: string;
  /** The certificate to present; needs an API with `tls`. */
  readonly identity?: Identity;
}

export interface Api {
  readonly port: number;
  readonly issuer: Issuer;
  readonly clock: ReturnType<typeof createClock>;
  readonly events: ResourceEvent[];
  readonly middleware: ReturnType<typeof holdfast>;
  /** Sends exactly these Authorization lines, none for an empty list. */
  ask(authorization: string | readonly string[], ask?: Ask): Promise<Answer>;
  close(): Promise<void>;
}

export interface ApiOptions extends Partial<ProtectedResourceOptions> {
  readonly tls?: Pki;
  readonly adapter?: ExpressOptions;
  /** Serve an issuer that is there already; it is not closed with the API. */
  readonly issuedBy?: Issuer;
}

/**
 * An Express API on a real socket before a real issuer: `/r` (any token that passes), `/read` and `/both` (which require scopes).
 * Unlike the default it accepts tokens without cnf and offers no DPoP, unless options say otherwise.
 */
export async function startApi({ tls, adapter, issuedBy, ...options }: ApiOptions = {}): Promise<Api> {
  const clock = createClock(NOW);
  const issuer = issuedBy ?? (await startIssuer({ now: clock.now }));
  const events: ResourceEvent[] = [];
  const middleware = holdfast(
    {
      issuer: issuer.url,
      audience: AUDIENCE,
      unconstrained: 'accept',
      // The rows of DPoP have an API of their own.
      dpop: false,
      now: clock.now,
      onEvent: (event) => events.push(event),
      ...options,
    },
    adapter,
  );
  let access: Access | undefined;
  const app = express();
  app.use(middleware);
  app.all('/r', (request, response) => {
    access = accessOf(request);
    response.json({ sub: access.claims.sub });
  });
  app.get('/read', requires({ scope: 'read' }), (_request, response) => void response.json({}));
  app.get('/both', requires({ scope: ['a', 'b'] }), (_request, response) => void response.json({}));
  const server = tls
    ? createTlsServer({ ...tls.server, requestCert: true, rejectUnauthorized: false }, app)
    : createServer({ maxHeaderSize: 64 * 1024 }, app);
  const port = await listen(server);

  return {
    port,
    issuer,
    clock,
    events,
    middleware,
    async ask(authorization, { method = 'GET', target = '/r', lines = [], body: sent, identity } = {}) {
      access = undefined;
      events.length = 0;
      const credentials = typeof authorization === 'string' ? [authorization] : authorization;
      const { status, headers, body, socket } = await rawRequest({
        port,
        lines: [`${method} ${target} HTTP/1.1`, 'Host: rs.example.com', ...credentials.map((line) => `Authorization: ${line}`), ...lines],
        ...(sent !== undefined && { body: sent }),
        ...(tls && { tls: { ca: tls.ca, servername: 'localhost', ...(identity && { cert: identity.cert, key: identity.key }) } }),
      });
      socket.destroy();
      const challengeLines = headers.flatMap(([name, value]) => (name.toLowerCase() === 'www-authenticate' ? [value] : []));
      return {
        status,
        challenges: parseChallenges(challengeLines),
        challengeLines,
        headers,
        body,
        access,
        reason: events.findLast(({ outcome }) => outcome !== 'granted')?.reason,
      };
    },
    async close() {
      await middleware.close();
      await stop(server);
      if (issuedBy === undefined) await issuer.close();
    },
  };
}

/** The part of an answer that says which refusal it is: `401 Bearer invalid_token`. */
export function refusalOf({ status, challenges }: Answer): string {
  return [status, ...challenges.map(({ scheme, parameters }) => [scheme, parameters['error']].filter(Boolean).join(' '))].join(' | ');
}

/** What a granted answer is, in the words of {@link verdictOf}. */
export const GRANTED = 'the route ran: 200';

/** All that is to be said of an answer in one line: the refusal, and the reason that only the event tells; or that the route ran. */
export function verdictOf(answer: Answer): string {
  if (answer.access !== undefined) return `the route ran: ${answer.status}`;
  return `${refusalOf(answer)} | ${answer.reason ?? 'no reason'}`;
}
