// Who calls the API of an example, and what each should get.
import { testAuthorizationServer } from '@holdfast/testing';
import { requestOnce } from './clients.ts';

/** What an example needs to start: its issuer, and the certificate and key of its server, PEM. */
export interface VisitedOptions {
  readonly issuer: string;
  readonly tls: { readonly cert: string; readonly key: string };
  readonly onEvent: (event: { readonly reason?: string }) => void;
}

/** An API at `https://localhost:<port>`, with `GET` and `POST /accounts` (scopes `accounts:read`, `accounts:write`) and an open `GET /health`. */
export interface Visited {
  readonly port: number;
  close(): Promise<void>;
}

/** One visit, and what came of it. */
export interface Visit {
  readonly heading: string;
  readonly step: string;
  readonly title: string;
  /** Status codes. */
  readonly expected: string;
  readonly answer: string;
  /** The lines of WWW-Authenticate. */
  readonly challenges: readonly string[];
  /** Why Holdfast refused, from its event. */
  readonly reason: string | undefined;
  readonly body: string;
}

/** A certificate and its key, PEM. */
interface Identity {
  readonly cert: string;
  readonly key: string;
}

/** What {@link visitWith} hands on: the parts of the scene. */
export interface Scene {
  readonly port: number;
  readonly ca: string;
  readonly owner: Identity;
  readonly thief: Identity;
  /** Bound to the owner's certificate, with the scope `accounts:read`. */
  readonly token: string;
}

const AUDIENCE = 'https://api.example.com';

/** Starts an API and an issuer, and lets an owner, thieves and a passer-by call it; `further` comes before the API ends. */
export async function visitWith(
  start: (options: VisitedOptions) => Promise<Visited>,
  further: (scene: Scene) => Promise<void> = async () => {},
): Promise<readonly Visit[]> {
  const as = await testAuthorizationServer({ audience: AUDIENCE, listen: true });
  const [owner, thief] = [await as.client({ clientId: 'user-1' }), await as.client()];
  let reason: string | undefined;
  const api = await start({
    issuer: as.issuer,
    tls: { cert: as.tls.cert, key: as.tls.key },
    onEvent: (event) => {
      reason = event.reason;
    },
  });

  const claims = { scope: 'accounts:read' };
  const token = await owner.token(claims);
  const proven = await owner.token(claims, 'jkt');

  const visits: Visit[] = [];
  interface Sent {
    readonly method?: string;
    readonly path?: string;
    readonly headers?: Record<string, string>;
    readonly tls?: Identity;
  }
  async function visit(title: string, expected: number, { method = 'GET', path = '/accounts', headers = {}, tls }: Sent): Promise<void> {
    reason = undefined;
    const answer = await requestOnce({ port: api.port, method, path, headers, ca: as.tls.ca, servername: 'localhost', ...tls });
    const challenges = answer.headers.flatMap(([name, line]) => (name.toLowerCase() === 'www-authenticate' ? [line] : []));
    const heading = 'Who calls, and what comes of it';
    visits.push({
      heading,
      step: '',
      title,
      expected: String(expected),
      answer: String(answer.status),
      challenges,
      reason,
      body: answer.body,
    });
  }

  try {
    const headers = { authorization: `Bearer ${token}` };
    const dpop = await owner.prove(proven, { url: `${AUDIENCE}/accounts` });
    await visit('the owner, with its certificate', 200, { headers, tls: owner.tls });
    await visit('a thief with the token and another certificate', 401, { headers, tls: thief.tls });
    await visit('a thief with the token and no certificate', 401, { headers });
    await visit('a token that is bound to nobody', 401, {
      headers: { authorization: `Bearer ${await owner.token(claims, 'none')}` },
      tls: owner.tls,
    });
    await visit('a client with a DPoP proof', 200, { headers: dpop });
    await visit('a thief with that token and that proof', 401, { headers: dpop });
    await visit('a passer-by without a token', 401, {});
    await visit('the owner, where its token has no scope for', 403, { method: 'POST', headers, tls: owner.tls });
    await visit('a passer-by, at the health check', 200, { path: '/health' });
    await further({ port: api.port, ca: as.tls.ca, owner: owner.tls, thief: thief.tls, token });
  } finally {
    await api.close();
    await as.close();
  }
  return visits;
}
