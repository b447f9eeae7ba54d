import { createHash, randomUUID } from 'node:crypto';
import { certificateOf } from '@holdfast/core';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { makeCertificate } from './certificates.ts';

/** Who the client is. */
export interface TestClientOptions {
  /** `client_id` and `sub` of its tokens. Default: a random one. */
  readonly clientId?: string;
}

/** The request that a proof is made for. */
export interface PresentedRequest {
  /** Default `GET`. */
  readonly method?: string;
  /**
   * The target URI as the client knows it: an origin that the API is configured with (that of `audience` or `publicUrl`, not where a
   * test runner listens), and the path.
   */
  readonly url: string;
  /** From the `DPoP-Nonce` field of an earlier answer. */
  readonly nonce?: string;
  /** More claims of the proof, or others: `{ iat: 0 }` makes an old one. */
  readonly claims?: Readonly<Record<string, string | number>>;
}

/** A client of the authorization server of a test. What it presents is what anybody can present who has a token, its own or stolen. */
export interface TestClient {
  readonly clientId: string;
  /** Its self-signed certificate and key, PEM: for a client that uses real TLS. */
  readonly tls: { readonly cert: string; readonly key: string };
  /** `x5t#S256` of its certificate. */
  readonly thumbprint: string;
  /** `jkt` of its DPoP key. */
  readonly jkt: string;
  /**
   * A new access token for this client, valid for five minutes.
   *
   * @param claims Further claims, or others: `{ scope: 'accounts' }`, `{ exp: 0 }`.
   * @param binding What it is bound to: the certificate (default), the DPoP key, both, or nothing. Another is a `TypeError`.
   */
  token(claims?: Readonly<Record<string, unknown>>, binding?: 'x5t#S256' | 'jkt' | 'both' | 'none'): Promise<string>;
  /** Request fields with a token as Bearer, and the certificate of this client as the edge of the test forwards it. */
  present(token: string): Record<string, string>;
  /** Request fields with a token and a DPoP proof by the key of this client. A proof can be used once: make one for each request. */
  prove(token: string, request: PresentedRequest): Promise<Record<string, string>>;
  /** Both: for tokens that are bound to certificate and key. */
  presentAndProve(token: string, request: PresentedRequest): Promise<Record<string, string>>;
}

/** What a client has of its authorization server. */
interface Issuing {
  readonly sign: (claims: Record<string, unknown>) => Promise<string>;
  readonly now: () => number;
  readonly edgeFields: Record<string, string>;
}

export async function makeClient(
  { clientId = `client-${randomUUID()}` }: TestClientOptions,
  { sign, now, edgeFields }: Issuing,
): Promise<TestClient> {
  const { cert, key, der } = await makeCertificate(clientId, 'client');
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = await exportJWK(publicKey);
  const { thumbprint } = certificateOf(der);
  const jkt = await calculateJwkThumbprint(jwk);
  const bindings = { 'x5t#S256': { 'x5t#S256': thumbprint }, jkt: { jkt }, both: { 'x5t#S256': thumbprint, jkt }, none: undefined };
  const forwarded = { 'client-cert': `:${Buffer.from(der).toString('base64')}:`, ...edgeFields };

  const prove: TestClient['prove'] = async (token, { method = 'GET', url, nonce, claims }) => {
    checkToken('prove', token);
    if (!URL.canParse(url)) {
      throw new TypeError(`prove: url is ${JSON.stringify(url)}. Give the whole URL as clients know it, as 'https://api.test/accounts'.`);
    }
    const ath = createHash('sha256').update(token).digest('base64url');
    const own = {
      jti: randomUUID(),
      htm: method,
      htu: url.replace(/[?#].*$/s, ''),
      iat: now(),
      ath,
      ...(nonce !== undefined && { nonce }),
    };
    const proof = await new SignJWT({ ...own, ...claims }).setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk }).sign(privateKey);
    return { authorization: `DPoP ${token}`, dpop: proof };
  };
  return {
    clientId,
    tls: { cert, key },
    thumbprint,
    jkt,
    async token(claims = {}, binding = 'x5t#S256') {
      if (!Object.hasOwn(bindings, binding)) {
        throw new TypeError(`token: the binding is ${JSON.stringify(binding)}. Give one of '${Object.keys(bindings).join("', '")}'.`);
      }
      const cnf = bindings[binding];
      return sign({ sub: clientId, client_id: clientId, ...(cnf && { cnf }), ...claims });
    },
    present(token) {
      checkToken('present', token);
      return { authorization: `Bearer ${token}`, ...forwarded };
    },
    prove,
    presentAndProve: async (token, request) => ({ ...(await prove(token, request)), ...forwarded }),
  };
}

/** Somebody may have forgotten to await it, or handed on something else; what is no text is not shown, for it may hold one. */
function checkToken(method: string, token: unknown): void {
  if (typeof token === 'string') return;
  throw new TypeError(`${method}: the token is ${token instanceof Promise ? 'a promise: await it' : `no text: ${typeof token}`}.`);
}
