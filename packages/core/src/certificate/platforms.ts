import { Check, isObject } from '../check.ts';
import { reject } from '../rejection.ts';
import { readHex } from './hash-value.ts';
import { certificatesInPem } from './pem.ts';
import { type CertificateSource, certificateOf } from './thumbprint.ts';

/** What is to be said of a platform that tells of the certificate beside the request, where no client can write. */
export interface CloudflareWorkerOptions {
  /** Also ask that Cloudflare verified the certificate (`certVerified`), and that it is not revoked. Not asked by default (RFC 8705 §6.2). */
  readonly verified?: true;
}

/**
 * The certificate source for a Cloudflare Worker that is the API: `certFingerprintSHA256` of `request.cf.tlsClientAuth`. `cf` has to
 * be given as `platform`. Where the Worker stands in front of the API, it is an edge: {@link cloudflare}.
 */
export function cloudflareWorker(options: CloudflareWorkerOptions = {}): CertificateSource {
  const check = new Check();
  const { verified } = check.object('cloudflareWorker', options, { verified: true });
  if (verified !== undefined && verified !== true) check.wrong('cloudflareWorker.verified', verified, 'Give true, or leave it out');
  check.done();
  return ({ connection: { platform } }) => {
    const presented = memberAt(platform, ['tlsClientAuth', 'certPresented']);
    if (presented !== '1') return reject('certificate.missing', { detail: 'cf.tlsClientAuth has none' });
    if (verified === true && memberAt(platform, ['tlsClientAuth', 'certVerified']) !== 'SUCCESS') {
      return reject('certificate.not_verified', { detail: 'cf.tlsClientAuth.certVerified' });
    }
    if (verified === true && memberAt(platform, ['tlsClientAuth', 'certRevoked']) !== '0') {
      return reject('certificate.revoked', { detail: 'cf.tlsClientAuth.certRevoked' });
    }
    const hash = memberAt(platform, ['tlsClientAuth', 'certFingerprintSHA256']);
    return readHex(typeof hash === 'string' ? hash : '');
  };
}

/** Which kind of event an API Gateway sends to its function. */
export interface AwsApiGatewayOptions {
  /** The payload format: `2.0` for HTTP APIs (default), `1.0` for REST APIs. */
  readonly payload?: '2.0' | '1.0';
}

/**
 * The certificate source for a function behind AWS API Gateway with mutual TLS: `clientCertPem` in the event, which has to be given
 * as `platform`. Disable the default `execute-api` endpoint: it has no mutual TLS, and bound tokens are refused there.
 */
export function awsApiGateway(options: AwsApiGatewayOptions = {}): CertificateSource {
  const check = new Check();
  const { payload } = check.object('awsApiGateway', options, { payload: true });
  const version = check.oneOf('awsApiGateway.payload', payload, ['2.0', '1.0']);
  check.done();
  const path = ['requestContext', version === '2.0' ? 'authentication' : 'identity', 'clientCert', 'clientCertPem'];
  return ({ connection: { platform } }) => {
    const pem = memberAt(platform, path);
    if (typeof pem !== 'string' || pem === '') return reject('certificate.missing', { detail: 'the event has none' });
    const [der, ...others] = certificatesInPem(pem, 2) ?? [];
    if (der === undefined || others.length > 0) return reject('certificate.malformed', { detail: 'clientCertPem is not one certificate' });
    return certificateOf(der);
  };
}

function memberAt(value: unknown, path: readonly string[]): unknown {
  let at = value;
  for (const name of path) at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined;
  return at;
}
