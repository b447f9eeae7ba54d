/** Fields that carry secrets, or the certificate of somebody. */
const REDACTED_FIELDS = [
  'authorization',
  'cookie',
  'dpop',
  'cname-api-key',
  'edge-secret',
  'client-cert',
  'client-cert-chain',
  'client-certificate',
  'ssl-client-cert',
  'x-amzn-mtls-clientcert',
  'x-amzn-mtls-clientcert-leaf',
  'x-arr-clientcert',
  'x-client-cert',
  'x-client-cert-chain',
  'x-client-cert-leaf',
  'x-client-certificate',
  'x-forwarded-client-cert',
  'x-forwarded-tls-client-cert',
  'x-ssl-cert',
  'x-ssl-client-cert',
];

/**
 * What a log of requests should leave out, as the paths that pino's option `redact` takes: fields with tokens, proofs, secrets of an
 * edge and certificates, in `headers`, `req.headers` and `request.headers`. Our own events hold none of it.
 */
export const REDACTED_PATHS: readonly string[] = Object.freeze(
  REDACTED_FIELDS.flatMap((field) => [`headers["${field}"]`, `*.headers["${field}"]`]),
);
