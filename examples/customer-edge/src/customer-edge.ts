import { createClient } from '@holdfast/example-main-job/client';
import type { ReportedAnswer } from '@holdfast/example-main-job/report';
import { type OneRequest, requestOnce } from '@holdfast/test-support/clients';
import type { Identity } from '@holdfast/test-support/pki';
import { type RawResponse, rawRequest } from '@holdfast/test-support/raw-request';
import { AUDIENCE, type CustomerEdgeKind, HOSTS, type Scene, startScene } from './scene.ts';

export { type CustomerEdgeKind, HOSTS, type Scene, startScene } from './scene.ts';

/** What the client found out before it had a token, and what the route saw of it. */
export interface Story {
  readonly issuer: string;
  /** Where the token was fetched: the alias that asks for a certificate. */
  readonly tokenEndpoint: string;
  readonly answers: readonly ReportedAnswer[];
  /** What the route saw of the owner. */
  readonly body: string;
}

type Lines = readonly (readonly [name: string, value: string])[];

interface Ask {
  readonly token?: string;
  readonly identity?: Identity;
  readonly lines?: Lines;
  readonly version?: 'TLSv1.2' | 'TLSv1.3';
  readonly resumed?: boolean;
}

/** The certificate of somebody as a client writes it into the field by itself. */
function forged({ cert }: Identity): Lines {
  return [
    ['client-certificate', encodeURIComponent(cert)],
    ['client-certificate-ca-verified', 'SUCCESS'],
  ];
}

/**
 * A client gets its token through a customer edge, and uses it there; then thieves try, at the API and at the authorization server,
 * through the edge and around it.
 */
export async function runCustomerEdge(kind: CustomerEdgeKind): Promise<Story> {
  const scene = await startScene(kind);
  try {
    return await play(scene);
  } finally {
    await scene.close();
  }
}

async function play(scene: Scene): Promise<Story> {
  const { pki, owner, thief, edge, api, as } = scene;
  const answers: ReportedAnswer[] = [];
  let body = '';

  const note = (heading: string, title: string, expected: number, status: number, headers: Lines, reason?: string): void => {
    const challenges = headers.flatMap(([name, value]) => (name.toLowerCase() === 'www-authenticate' ? [value] : []));
    answers.push({ heading, step: '', title, expected: String(expected), answer: String(status), challenges, reason });
  };
  const viaEdge = ({ identity, lines = [], token, version }: Ask, host: string = HOSTS.api): OneRequest => ({
    port: edge.port,
    path: '/accounts',
    ca: pki.ca,
    servername: host,
    headers: ['Host', `${host}:${edge.port}`, ...(token === undefined ? [] : ['Authorization', `Bearer ${token}`]), ...lines.flat()],
    ...(identity && { cert: identity.cert, key: identity.key }),
    ...(version && { minVersion: version, maxVersion: version }),
  });
  const ask = async (heading: string, title: string, expected: number, request: Ask): Promise<void> => {
    const first = request.resumed === true ? await requestOnce(viaEdge({ ...request, lines: [] })) : undefined;
    api.forget();
    const response = await requestOnce({ ...viaEdge(request), session: first?.session });
    if (first !== undefined && !response.reused) throw new Error(`${title}: the session was not resumed`);
    if (body === '') ({ body } = response);
    note(heading, title, expected, response.status, response.headers, api.lastDecision()?.reason);
  };

  const client = await createClient(as.issuer, 'mtls-ca', scene.fetchAs(owner));
  const token = await client.token(AUDIENCE, 'accounts:read');

  const owners = 'The owner of the token';
  await ask(owners, 'the owner, with its certificate', 200, { token, identity: owner });
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    await ask(owners, `the owner, on a resumed ${version} session`, 200, { token, identity: owner, version, resumed: true });
  }
  await ask(owners, "the owner, with a thief's certificate in the field", 200, { token, identity: owner, lines: forged(thief) });

  const thieves = 'Thieves with the token, through the edge';
  await ask(thieves, 'no certificate', 401, { token });
  await ask(thieves, 'another certificate of the same authority', 401, { token, identity: thief });
  for (const [who, asker] of [
    ['no certificate', {}],
    ['another certificate', { identity: thief }],
  ] as const) {
    const field = forged(owner);
    const spoofs: readonly (readonly [title: string, lines: Lines])[] = [
      ["the owner's in the field", field],
      ['the field twice', [...field, ...field]],
      ['the field in capitals', field.map(([name, value]) => [name.toUpperCase(), value] as const)],
      ['the field with underscores', field.map(([name, value]) => [name.replaceAll('-', '_'), value] as const)],
      ['the field, listed in Connection', [...field, ['Connection', 'close, client-certificate, cname-api-key']]],
      ['the field, and a guessed cname-api-key', [...field, ['cname-api-key', 'x'.repeat(43)]]],
    ];
    for (const [title, lines] of spoofs) await ask(thieves, `${who}, ${title}`, 401, { ...asker, token, lines });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      await ask(thieves, `${who}, the field, on a resumed ${version} session`, 401, {
        ...asker,
        token,
        lines: field,
        version,
        resumed: true,
      });
    }
  }

  const around = 'Around the edge';
  for (const [title, key] of [
    ['the field, and no cname-api-key', []],
    ['the field, and a wrong cname-api-key', [['cname-api-key', 'x'.repeat(43)] as const]],
  ] as const) {
    const { status, headers } = await direct(api.port, 'GET /accounts', [['Authorization', `Bearer ${token}`], ...forged(owner), ...key]);
    note(around, title, 401, status, headers, api.lastDecision()?.reason);
  }

  const atTheServer = 'Thieves at the authorization server, who want a token of their own';
  const form = { grant_type: 'client_credentials', client_id: 'mtls-ca', resource: AUDIENCE, scope: 'accounts:read' };
  const content = new URLSearchParams(form).toString();
  const tokenRequest = async (title: string, request: Ask, host: string): Promise<void> => {
    const lines = [...contentFields(content), ...(request.lines ?? [])];
    const { status, headers } = await requestOnce({
      ...viaEdge({ ...request, lines }, host),
      method: 'POST',
      path: '/token',
      body: content,
    });
    note(atTheServer, title, 401, status, headers);
  };
  await tokenRequest('no certificate', {}, HOSTS.mtls);
  await tokenRequest("no certificate, the owner's in the field", { lines: forged(owner) }, HOSTS.mtls);
  await tokenRequest("another certificate, the owner's in the field", { identity: thief, lines: forged(owner) }, HOSTS.mtls);
  await tokenRequest("the owner's in the field, where no certificate is asked for", { lines: forged(owner) }, HOSTS.login);
  const { status, headers } = await direct(as.port, 'POST /token', [...contentFields(content), ...forged(owner)], content);
  note(atTheServer, 'around the edge, without cname-api-key', 401, status, headers);

  return { issuer: client.metadata.issuer, tokenEndpoint: client.visited.at(-1) ?? '', answers, body };
}

function contentFields(form: string): Lines {
  return [
    ['Content-Type', 'application/x-www-form-urlencoded'],
    ['Content-Length', String(form.length)],
  ];
}

/** A request in the clear, to a port that only the edge should reach. */
async function direct(port: number, request: string, lines: Lines, body = ''): Promise<RawResponse> {
  const fields = [['Host', '127.0.0.1'], ['X-Forwarded-Proto', 'https'], ['Connection', 'close'], ...lines];
  const response = await rawRequest({ port, lines: [`${request} HTTP/1.1`, ...fields.map((line) => line.join(': '))], body });
  response.socket.destroy();
  return response;
}
