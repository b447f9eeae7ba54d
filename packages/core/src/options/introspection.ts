import type { JWK } from 'jose';
import type { ClientAuthentication } from '../access-token/introspection-request.ts';
import type { IntrospectionMode, TrustedIssuerOptions } from '../access-token/issuers.ts';
import type { Fetch } from '../discovery/fetch-json.ts';
import { isSecureUrl } from '../discovery/metadata.ts';
import { type Check, isObject } from '../check.ts';

/** How an issuer is asked about tokens (RFC 7662). Times in seconds. */
export interface IntrospectionSettings {
  /** The client that this API is at the authorization server. */
  readonly clientId: string;
  /** How it authenticates there. For mutual TLS, `fetch` presents the certificate, and `mtls_endpoint_aliases` are followed (RFC 8705 §5). */
  readonly authentication: ClientAuthentication;
  /**
   * Which tokens are asked about. `auto` (default): those that are no JWT; a JWT is verified here alone. `always`: all, JWTs after they
   * were verified here, so that revocation is noticed. `only`: all, and nothing is verified here.
   */
  readonly mode?: IntrospectionMode;
  /** The endpoint, where discovery does not name it. An https URL; http only on the loopback interface. */
  readonly endpoint?: string;
  /** Ask for signed answers, and take no others (RFC 9701). */
  readonly signed?: boolean;
  /** For how long the answer that a token is active may be used again: 60 at most, by default 60, 0 for not at all; never beyond `exp`. */
  readonly activeFor?: number;
  /** The same for the answer that it is not: 5 at most, by default 5. */
  readonly inactiveFor?: number;
  /** For one whole answer. Default 5. */
  readonly timeout?: number;
  /** After so many failures in a row (no answer, or 5xx; default 5) the server is left alone for a while (default 10 s): 503. */
  readonly breaker?: { readonly failures?: number; readonly cooldown?: number };
  /** Presents a client certificate, for example. By default the `fetch` of the resource. */
  readonly fetch?: Fetch;
}

const NAMES: Record<keyof IntrospectionSettings, true> = {
  clientId: true,
  authentication: true,
  mode: true,
  endpoint: true,
  signed: true,
  activeFor: true,
  inactiveFor: true,
  timeout: true,
  breaker: true,
  fetch: true,
};

/** Bytes of an answer. */
const LARGEST = 64 * 1024;

const METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'] as const;

export type IntrospectionOfIssuer = NonNullable<TrustedIssuerOptions['introspection']>;

/** `undefined` where the issuer is not asked. */
export function readIntrospection(check: Check, option: string, value: unknown): IntrospectionOfIssuer | undefined {
  if (value === undefined) return undefined;
  const o = check.object(option, value, NAMES);
  const { clientId, endpoint } = o;
  if (typeof clientId !== 'string' || clientId === '')
    check.wrongKind(`${option}.clientId`, clientId, 'Give the client_id of this API at the authorization server');
  if (endpoint !== undefined && !(typeof endpoint === 'string' && isSecureUrl(endpoint))) {
    check.wrong(`${option}.endpoint`, endpoint, 'Give an https URL (http only on the loopback interface)');
  }
  const { failures, cooldown } = check.object(`${option}.breaker`, o['breaker'] === undefined ? {} : o['breaker'], {
    failures: true,
    cooldown: true,
  });
  const authentication = readAuthentication(check, `${option}.authentication`, o['authentication']);
  const postWith = check.callable<Fetch>(`${option}.fetch`, o['fetch'], 'a function like the global fetch');
  if (authentication.method.endsWith('tls_client_auth') && postWith === undefined) {
    check.wrongKind(`${option}.fetch`, o['fetch'], 'Give a fetch that presents the client certificate: the global one has none');
  }
  return {
    clientId: typeof clientId === 'string' ? clientId : '',
    authentication,
    mode: check.oneOf(`${option}.mode`, o['mode'], ['auto', 'always', 'only']),
    endpoint: typeof endpoint === 'string' ? endpoint : undefined,
    signed: check.flag(`${option}.signed`, o['signed']),
    activeFor: check.number(`${option}.activeFor`, o['activeFor'], 60, 0, 60),
    inactiveFor: check.number(`${option}.inactiveFor`, o['inactiveFor'], 5, 0, 5),
    timeout: check.number(`${option}.timeout`, o['timeout'], 5, 0.1, 60),
    largest: LARGEST,
    breaker: {
      failures: check.whole(`${option}.breaker.failures`, failures, 5, 1, 1000),
      cooldown: check.number(`${option}.breaker.cooldown`, cooldown, 10, 1, 600),
    },
    postWith,
  };
}

function readAuthentication(check: Check, option: string, value: unknown): ClientAuthentication {
  const fix = `Give { method, … } with one of ${METHODS.join(', ')}`;
  const none: ClientAuthentication = { method: 'client_secret_basic', secret: '' };
  if (!isObject(value)) {
    check.wrongKind(option, value, fix);
    return none;
  }
  const method = METHODS.find((one) => one === value['method']);
  switch (method) {
    case undefined:
      check.wrong(`${option}.method`, value['method'], fix);
      return none;
    case 'client_secret_basic':
    case 'client_secret_post': {
      const { secret } = check.object(option, value, { method: true, secret: true });
      if (typeof secret !== 'string' || secret === '') check.wrongKind(`${option}.secret`, secret, 'Give the client_secret');
      return { method, secret: typeof secret === 'string' ? secret : '' };
    }
    case 'private_key_jwt':
      return { method, key: readPrivateKey(check, `${option}.key`, check.object(option, value, { method: true, key: true })['key']) };
    case 'tls_client_auth':
    case 'self_signed_tls_client_auth':
      check.object(option, value, { method: true });
      return { method };
  }
}

/** A copy of a private JWK (RFC 7517) that signs. */
export function readPrivateKey(check: Check, option: string, value: unknown): JWK {
  const isKey = isObject(value) && typeof value['kty'] === 'string' && typeof value['alg'] === 'string' && typeof value['d'] === 'string';
  if (isKey) return { ...value };
  check.wrongKind(option, value, 'Give a private JWK with alg, as { kty, crv, x, y, d, alg, kid }');
  return {};
}
