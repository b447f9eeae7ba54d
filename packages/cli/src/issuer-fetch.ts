import { type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent, request as requestHttps } from 'node:https';
import { rootCertificates } from 'node:tls';
import type { Fetch } from '@holdfast/core';

/** One request to an issuer, and what can be told of it beside the document. Times in milliseconds since 1970. */
export interface Exchange {
  readonly url: string;
  readonly sentAt: number;
  receivedAt?: number;
  status?: number;
  /** Where a redirect leads. It is not followed. */
  location?: string | undefined;
  /** Of the response; absent where a cache answered. */
  date?: number;
  /** The code of the failure. */
  code?: string;
}

/** A fetch for `core`, with a further authority to trust (PEM), that notes every exchange. It follows no redirect. */
export function notingFetch(ca: string | undefined, exchanges: Exchange[]): Fetch {
  const agent = new Agent(ca === undefined ? {} : { ca: [...rootCertificates, ca] });
  return async (url, { headers, signal }) => {
    const exchange: Exchange = { url, sentAt: Date.now() };
    exchanges.push(exchange);
    try {
      const request = url.startsWith('https:') ? requestHttps(url, { headers, signal, agent }) : requestHttp(url, { headers, signal });
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.once('response', resolve).once('error', reject).end();
      });
      const { statusCode: status = 0, headers: fields } = response;
      const date = Date.parse(fields.date ?? '');
      Object.assign(exchange, { receivedAt: Date.now(), status, location: status >= 300 && status <= 399 ? fields.location : undefined });
      if (Number.isFinite(date) && fields.age === undefined) exchange.date = date;
      // Only the body of a 200 is read; another would keep the connection.
      if (status !== 200) response.destroy();
      return {
        status,
        headers: { get: (name) => [fields[name.toLowerCase()] ?? null].flat()[0] ?? null },
        body: status === 200 ? response : null,
      };
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (typeof code === 'string') exchange.code = code;
      throw error;
    }
  };
}

const UNTRUSTED =
  'The certificate of the server is by an authority that this machine does not know: a private one, mostly, or the server leaves out its intermediate. Give it with --ca; the application needs it too, by fetch of its own or NODE_EXTRA_CA_CERTS.';

/** What to do about failures, by their code. */
const ADVICE: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  CERT_HAS_EXPIRED: 'The certificate of the server has expired, or the clock of this machine is wrong.',
  CERT_NOT_YET_VALID: 'The certificate of the server is not valid yet, or the clock of this machine is wrong.',
  ERR_TLS_CERT_ALTNAME_INVALID: 'The certificate of the server is for another name: the issuer has to be called as the certificate says.',
  EPROTO: 'It does not speak TLS there: is it the port of http, or of a proxy?',
  ENOTFOUND: 'There is no such name, from this machine at least.',
  EAI_AGAIN: 'The name could not be looked up: is there a network, and does it lead there?',
  ECONNREFUSED: 'Nobody listens there.',
  ECONNRESET: 'The connection was reset: a firewall, or a server that wants a client certificate at once.',
  EHOSTUNREACH: 'The network does not lead there.',
  ENETUNREACH: 'The network does not lead there.',
  HPE_HEADER_OVERFLOW: 'Its header is larger than Node reads.',
};

/** What to do about a failure; `undefined` where nothing is known of it. */
export function adviceOn(code: string | undefined): string | undefined {
  return code === undefined ? undefined : (ADVICE[code] ?? (code.startsWith('ERR_SSL') ? ADVICE['EPROTO'] : undefined));
}
