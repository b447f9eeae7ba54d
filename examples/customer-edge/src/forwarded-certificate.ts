import { timingSafeEqual, X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { ReadCertificate } from '@holdfast/test-support/authorization-server';

/** The field by which the edge shows that it is the edge. */
export const SECRET_FIELD = 'cname-api-key';

/**
 * What the edge says of the client of a request to the authorization server: nothing, where the secret is not there, once and
 * exactly. On the API's side `auth0CustomerEdge()` of Holdfast does the same, and more.
 */
export function forwardedCertificate(secret: string): ReadCertificate {
  return (request) => {
    const [sent, ...others] = linesOf(request, SECRET_FIELD);
    if (sent === undefined || others.length > 0 || !isSame(sent, secret)) return undefined;
    const [pem, ...more] = linesOf(request, 'client-certificate');
    if (pem === undefined || more.length > 0) return undefined;
    const verified = linesOf(request, 'client-certificate-ca-verified');
    try {
      const body = decodeURIComponent(pem).replace(/-----(?:BEGIN|END) CERTIFICATE-----|\s/g, '');
      return { certificate: new X509Certificate(Buffer.from(body, 'base64')), verified: verified.join() === 'SUCCESS' };
    } catch {
      return undefined;
    }
  };
}

/** Unjoined: of two lines neither is believed. */
function linesOf({ rawHeaders }: IncomingMessage, name: string): string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
}

function isSame(sent: string, secret: string): boolean {
  const [a, b] = [Buffer.from(sent), Buffer.from(secret)];
  return a.length === b.length && timingSafeEqual(a, b);
}
