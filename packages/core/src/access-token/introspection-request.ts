import type { JWK } from 'jose';
import type * as Oauth from 'oauth4webapi';
import { DiscoveryFailure, discover } from '../discovery/metadata.ts';
import { type Fetch, FetchFailure, type FetchedText, type FetchLimits, fetchText } from '../discovery/fetch-json.ts';
import type { EpochSeconds } from '../request.ts';

/** How the API authenticates to the introspection endpoint, by the names of RFC 7591 and RFC 8705 §2. */
export type ClientAuthentication =
  | { readonly method: 'client_secret_basic' | 'client_secret_post'; readonly secret: string }
  /** `key` is a private JWK with `alg`, and `kid` where the server wants one. */
  | { readonly method: 'private_key_jwt'; readonly key: JWK }
  /** The certificate is presented by the fetch that is given. */
  | { readonly method: 'tls_client_auth' | 'self_signed_tls_client_auth' };

export interface IntrospectionRequestOptions extends FetchLimits {
  readonly issuer: string;
  readonly clientId: string;
  readonly authentication: ClientAuthentication;
  /** Without it, the endpoint of the issuer's metadata. */
  readonly endpoint: string | undefined;
  /** Ask for a signed answer (RFC 9701 §4). */
  readonly signed: boolean;
  /** Finds the endpoint. */
  readonly fetch: Fetch;
  /** Asks there, with a client certificate for example. By default `fetch`. */
  readonly postWith: Fetch | undefined;
  readonly now: () => EpochSeconds;
}

/** The server could not be asked. */
export class IntrospectionFailure extends Error {
  override readonly name = 'IntrospectionFailure';
  /** Whether it is away: a transport error, no answer in time, or 5xx. */
  readonly away: boolean;

  constructor(message: string, away: boolean) {
    super(message);
    this.away = away;
  }
}

/** Asks for one token. */
export interface IntrospectionRequest {
  /** Resolves with an answer of status 200; rejects with an {@link IntrospectionFailure}. */
  ask(token: string): Promise<FetchedText>;
  /** Resolves when it is known where to ask. */
  ready(): Promise<void>;
}

interface Endpoint {
  readonly url: string;
  readonly mtls_endpoint_aliases?: { readonly introspection_endpoint?: string };
}

/** Introspection requests (RFC 7662 §2.1) of one issuer: oauth4webapi writes and authenticates them, our fetch limits them. */
export function introspectionRequest(options: IntrospectionRequestOptions): IntrospectionRequest {
  const { issuer, clientId, authentication, signed, fetch, postWith = fetch, now } = options;
  const isMutualTls = authentication.method === 'tls_client_auth' || authentication.method === 'self_signed_tls_client_auth';
  let endpoint: Promise<Endpoint> | undefined;
  let authenticate: Promise<Authenticate> | undefined;

  /** Looked for once; again, where it could not be found or did not answer. */
  function findEndpoint(): Promise<Endpoint> {
    endpoint ??= options.endpoint === undefined ? discover(issuer, 'introspection_endpoint', fetch, options) : given(options.endpoint);
    endpoint.catch(() => {
      endpoint = undefined;
    });
    return endpoint;
  }

  async function ask(token: string): Promise<FetchedText> {
    const oauth = await import('oauth4webapi');
    const client = {
      client_id: clientId,
      use_mtls_endpoint_aliases: isMutualTls,
      [oauth.clockSkew]: Math.round(now() - Date.now() / 1000),
    };
    const { url: introspection_endpoint, ...others } = await findEndpoint();
    let answer: FetchedText | undefined;
    await oauth.introspectionRequest(
      { issuer, introspection_endpoint, ...others },
      client,
      await (authenticate ??= authenticator(oauth, authentication)),
      token,
      {
        requestJwtResponse: signed,
        additionalParameters: { token_type_hint: 'access_token' },
        // Only https, or http on the loopback interface: that was checked where the URL was read.
        // oxlint-disable-next-line typescript/no-deprecated -- It is marked so to stand out.
        [oauth.allowInsecureRequests]: true,
        [oauth.customFetch]: async (url, { body, headers }) => {
          answer = await fetchText(url, postWith, options, { method: 'POST', body: String(body), headers });
          return new Response();
        },
      },
    );
    if (answer === undefined) throw new IntrospectionFailure('no request was made', false);
    return answer;
  }

  return {
    async ask(token) {
      try {
        const answer = await ask(token);
        if (answer.status === 200) return answer;
        throw new IntrospectionFailure(
          `the introspection endpoint of ${issuer} answered with status ${answer.status}`,
          Math.floor(answer.status / 100) === 5,
        );
      } catch (error) {
        if (error instanceof IntrospectionFailure) throw error;
        if (error instanceof FetchFailure && !error.answered) endpoint = undefined;
        // The message of another error may hold anything: the token, the secret.
        const isOurs = error instanceof FetchFailure || error instanceof DiscoveryFailure;
        // An issuer that cannot be found is as good as away: looking for it costs more than asking.
        const isAway = isOurs && !(error instanceof FetchFailure && error.answered);
        throw new IntrospectionFailure(isOurs ? error.message : 'the request could not be made', isAway);
      }
    },
    ready: async () => {
      await findEndpoint();
      await authenticator(await import('oauth4webapi'), authentication);
    },
  };
}

async function given(url: string): Promise<Endpoint> {
  return { url };
}

type Authenticate = ReturnType<typeof Oauth.None>;

async function authenticator(oauth: typeof Oauth, authentication: ClientAuthentication): Promise<Authenticate> {
  switch (authentication.method) {
    case 'client_secret_basic':
      return oauth.ClientSecretBasic(authentication.secret);
    case 'client_secret_post':
      return oauth.ClientSecretPost(authentication.secret);
    case 'private_key_jwt': {
      const { importJWK } = await import('jose');
      const { kid, alg } = authentication.key;
      const key = await importJWK(authentication.key, alg);
      if (key instanceof Uint8Array) throw new IntrospectionFailure('the key for private_key_jwt is not a private key', false);
      return oauth.PrivateKeyJwt({ key, ...(kid !== undefined && { kid }) });
    }
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      return oauth.TlsClientAuth();
  }
}
