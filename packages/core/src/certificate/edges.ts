// Longer than other files because of what there is to say of each edge; the code is the table and two functions.
import { Check, isObject } from '../check.ts';
import type { ForwardedFormat } from './formats.ts';
import { type ForwardedFieldOptions, readForwardedField, type VerifiedField } from './forwarded.ts';
import type { CertificateSource } from './thumbprint.ts';

/** What is to be said of an edge that has a preset. */
export interface EdgeOptions extends Pick<ForwardedFieldOptions, 'trust' | 'longest'> {
  /** The field, where the edge is configured with another name than the preset's. */
  readonly field?: string;
  /**
   * Also ask that the edge verified the certificate against its authorities. By default it is not asked: the binding needs
   * possession of the key, not trust in a chain (RFC 8705 §6.2). `true` stands for the field and values of the preset.
   */
  readonly verified?: true | Partial<VerifiedField>;
}

/** Envoy and what is made of it. */
export interface EnvoyOptions extends Omit<EdgeOptions, 'verified'> {
  /** How many elements the field has: one for each hop that appends. The first is the client's. */
  readonly elements?: number;
  /** How Envoy writes the field: `json` with `set_client_cert_format: JSON` (Envoy ≥ 1.38). Default `text`. */
  readonly encoding?: 'text' | 'json';
}

/** The load balancer of Google Cloud. */
export interface GcpOptions extends EdgeOptions {
  /** `leaf` (default): `{client_cert_leaf}`. `fingerprint`: `{client_cert_sha256_fingerprint}`, which is also there for certificates that were not validated. */
  readonly value?: 'leaf' | 'fingerprint';
}

/** What a preset knows. */
interface Edge {
  readonly field: string;
  readonly format: ForwardedFormat;
  readonly chainField?: string;
  /** The field that says so, with the values that mean yes. */
  readonly verified?: VerifiedField;
  readonly longest?: number;
}

const NAMES = { trust: true, field: true, verified: true, longest: true } as const;
const NO_VERDICT = 'This edge has no field for it. Leave it out, or name one: { field, values }';

function fromEdge(name: string, given: unknown, edge: Edge): CertificateSource {
  const check = new Check();
  return sourceOf(check, name, check.object(name, given, NAMES), edge);
}

/** The source of an edge, from options whose names were checked. Throws where anything was noted. */
function sourceOf(check: Check, name: string, options: Readonly<Record<string, unknown>>, edge: Edge): CertificateSource {
  const { field = edge.field, trust, longest = edge.longest, verified } = options;
  const asked =
    verified === undefined || verified === true ? {} : check.object(`${name}.verified`, verified, { field: true, values: true });
  if (verified === true && edge.verified === undefined) check.wrong(`${name}.verified`, verified, NO_VERDICT);
  const source = readForwardedField(check, name, {
    field,
    format: edge.format,
    trust,
    chainField: edge.chainField,
    verified: verified === undefined ? undefined : { ...edge.verified, ...asked },
    longest,
  });
  check.done();
  return source;
}

/**
 * nginx: `proxy_set_header X-SSL-Cert $ssl_client_escaped_cert;`, `X-SSL-Verify` from `$ssl_client_verify`.
 *
 * Traps: a single `proxy_set_header` in a `location` discards all that it would inherit, and then the client's own field goes
 * through: repeat the line in every `location` that has one. `$ssl_client_cert` and `$ssl_client_raw_cert` have line ends that
 * Node refuses (400). `$ssl_client_fingerprint` is SHA-1. `underscores_in_headers` stays off.
 */
export function nginx(options: EdgeOptions): CertificateSource {
  return fromEdge('nginx', options, {
    field: 'X-SSL-Cert',
    format: 'percent-encoded-pem',
    verified: { field: 'X-SSL-Verify', values: ['SUCCESS'] },
  });
}

/**
 * ingress-nginx (Kubernetes) with the annotation `auth-tls-pass-certificate-to-upstream: "true"`: `ssl-client-cert`, and
 * `ssl-client-verify`.
 *
 * Traps: without that annotation, also on one single Ingress, it does not touch `ssl-client-cert`, and the client's own goes
 * through. The project ended in March 2026.
 */
export function ingressNginx(options: EdgeOptions): CertificateSource {
  return fromEdge('ingressNginx', options, {
    field: 'ssl-client-cert',
    format: 'percent-encoded-pem',
    verified: { field: 'ssl-client-verify', values: ['SUCCESS'] },
  });
}

/**
 * Apache httpd: `RequestHeader set X-SSL-Cert "%{SSL_CLIENT_CERT}s"`, `X-SSL-Verify` from `%{SSL_CLIENT_VERIFY}s`.
 *
 * Traps: `set` with a condition (`expr=`) leaves the client's field where the condition fails: unset it first, always. A client
 * can have Apache delete the fields by listing them in `Connection`: then the request is refused. Fields with underscores pass
 * beside those with hyphens. Under `SSLVerifyClient optional_no_ca`, `SUCCESS` proves nothing: resumed TLS 1.2 sessions say it
 * of any certificate. Expired certificates do not get through the handshake.
 */
export function apache(options: EdgeOptions): CertificateSource {
  return fromEdge('apache', options, {
    field: 'X-SSL-Cert',
    format: 'pem',
    verified: { field: 'X-SSL-Verify', values: ['SUCCESS'] },
  });
}

/**
 * HAProxy: `http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]`, `X-SSL-Client-Verify` from `%[ssl_c_verify]`.
 *
 * Traps: `set-header … if { ssl_fc_has_crt }` skips resumed sessions, on which the client's own field then goes through: set it
 * without condition, or after `del-header`. `add-header` leaves the client's first. A certificate that does not fit the buffer
 * (`tune.bufsize`, 16 kB) arrives as an empty field. `ssl_c_verify` is 0 also where there is no certificate. Fields with
 * underscores pass beside those with hyphens.
 */
export function haproxy(options: EdgeOptions): CertificateSource {
  return fromEdge('haproxy', options, {
    field: 'X-SSL-Client-Cert',
    format: 'base64-der',
    verified: { field: 'X-SSL-Client-Verify', values: ['0'] },
  });
}

/**
 * Caddy: `header_up X-Client-Cert {http.request.tls.client.certificate_der_base64}` in `reverse_proxy`.
 *
 * Traps: `request_header` in place of `header_up` is undone by a client that lists the field in `Connection`; `header_up +X-…`
 * appends after the client's. Without a certificate, versions before 2.11.2 send the placeholder as it stands.
 * `{…certificate_pem}` is answered with 502. Underscore twins pass.
 */
export function caddy(options: EdgeOptions): CertificateSource {
  return fromEdge('caddy', options, { field: 'X-Client-Cert', format: 'base64-der' });
}

/**
 * Traefik ≥ 2.9.4: the middleware `passTLSClientCert` with `pem: true` (which is base64 DER): `X-Forwarded-Tls-Client-Cert`.
 *
 * Traps: the middleware deletes nothing where there is no certificate; `forwardedHeaders` does that, so with `insecure: true`, or
 * for a client in `trustedIPs`, the client's own field goes through. The `-Info` field has names only, which bind nothing.
 */
export function traefik(options: EdgeOptions): CertificateSource {
  return fromEdge('traefik', options, { field: 'X-Forwarded-Tls-Client-Cert', format: 'base64-der-list' });
}

/**
 * Envoy with `forward_client_cert_details: SANITIZE_SET`: `x-forwarded-client-cert`, of which `Hash` is compared. With
 * `set_current_client_cert_details: { cert: true }` a chain policy has the certificate to judge.
 *
 * Traps: `APPEND_FORWARD`, `FORWARD_ONLY` and `ALWAYS_FORWARD_ONLY` pass on what the client wrote. Names in a certificate go into
 * the field unescaped, so a client can write keys and elements there: such a field is refused.
 */
export function envoy(options: EnvoyOptions): CertificateSource {
  return fromEnvoy('envoy', options, 1);
}

/**
 * Istio: the gateway sets `x-forwarded-client-cert` and the sidecar appends, so there are two elements, the client's first; with
 * other hops, say how many `elements` there are.
 *
 * Traps: the peer is always the sidecar of the API, over the loopback interface, whoever sent the request to it; and the sidecar
 * keeps the first element as it came. So every workload that reaches the sidecar without going through the gateway can write the
 * client's element itself, and `peers` alone is refused: `trust` needs a `secret` that the gateway sets. An `AuthorizationPolicy`
 * that admits the gateway alone belongs to it. Without a client certificate only the gateway's own element is there, which counts as
 * none. Look at the field of your mesh before you rely on the number: `elements` must be exactly what arrives.
 *
 * @example
 * istio({ trust: { secret: { field: 'edge-secret', values: [secret] } } })
 */
export function istio(options: EnvoyOptions): CertificateSource {
  return fromEnvoy('istio', options, 2, true);
}

/**
 * Contour: `tls.clientValidation.forwardClientCertificate` of an `HTTPProxy`, by which its Envoy sets `x-forwarded-client-cert`.
 *
 * Traps: without it nothing is forwarded. It is per virtual host: each host that reaches the API needs it.
 */
export function contour(options: EnvoyOptions): CertificateSource {
  return fromEnvoy('contour', options, 1);
}

const SIDECAR =
  'The peer is the sidecar, whoever sent the request to it: add a secret that the gateway sets; or, where a policy of the mesh admits the gateway alone, say dangerouslyTrustEveryPeer()';

function fromEnvoy(name: string, given: unknown, hops: number, hasSidecar = false): CertificateSource {
  const check = new Check();
  const options = check.object(name, given, { trust: true, field: true, longest: true, elements: true, encoding: true });
  const { trust } = options;
  const isPeersAlone = isObject(trust) && trust['peers'] !== undefined && !('secret' in trust || 'pinnedCertificate' in trust);
  if (hasSidecar && isPeersAlone) check.wrongKind(`${name}.trust`, trust, SIDECAR);
  const which = { elements: check.whole(`${name}.elements`, options['elements'], hops, 1, 10), element: 0 };
  const isJson = check.oneOf(`${name}.encoding`, options['encoding'], ['text', 'json']) === 'json';
  return sourceOf(check, name, options, { field: 'X-Forwarded-Client-Cert', format: isJson ? { xfccJson: which } : { xfcc: which } });
}

/**
 * AWS Application Load Balancer, mutual TLS in verify mode: `X-Amzn-Mtls-Clientcert-Leaf`. It only forwards what its trust store
 * verified.
 *
 * Traps: whether `X-Amzn-Mtls-*` of a client are removed on a listener without mutual TLS is not documented: take it that they are
 * not, and let no such listener reach the API. The fields can be renamed.
 */
export function awsAlb(options: EdgeOptions): CertificateSource {
  return fromEdge('awsAlb', options, { field: 'X-Amzn-Mtls-Clientcert-Leaf', format: 'percent-encoded-pem' });
}

/**
 * AWS Application Load Balancer, mutual TLS in passthrough mode: `X-Amzn-Mtls-Clientcert`, the whole chain as the client sent it,
 * verified by nobody. So it needs `certificatePolicy: { anchors }`.
 *
 * Traps: those of {@link awsAlb}; and a chain can be longer than a field may be.
 */
export function awsAlbPassthrough(options: EdgeOptions): CertificateSource {
  const source = fromEdge('awsAlbPassthrough', options, { field: 'X-Amzn-Mtls-Clientcert', format: 'percent-encoded-pem-chain' });
  return Object.assign(source, { unverified: true } as const);
}

/**
 * Google Cloud load balancers, with the custom request headers `X-Client-Cert-Leaf: {client_cert_leaf}`, or with
 * `value: 'fingerprint'` `X-Client-Cert-Hash: {client_cert_sha256_fingerprint}`, and
 * `X-Client-Cert-Chain-Verified: {client_cert_chain_verified}`.
 *
 * Traps: the leaf is empty unless the certificate was validated: use the fingerprint with self-signed ones. Written from the
 * documents and not tried on a deployment.
 */
export function gcpLoadBalancer(options: GcpOptions): CertificateSource {
  const name = 'gcpLoadBalancer';
  const check = new Check();
  const given = check.object(name, options, { ...NAMES, value: true });
  const isHash = check.oneOf(`${name}.value`, given['value'], ['leaf', 'fingerprint']) === 'fingerprint';
  const verified = { field: 'X-Client-Cert-Chain-Verified', values: ['true'] };
  const edge: Edge = isHash
    ? { field: 'X-Client-Cert-Hash', format: 'sha256-base64', verified }
    : { field: 'X-Client-Cert-Leaf', format: 'byte-sequence', verified };
  return sourceOf(check, name, given, edge);
}

/**
 * Azure App Service with client certificates required or allowed: `X-ARR-ClientCert`. The platform does not verify them.
 *
 * Traps: paths under "certificate exclusion paths" come without one. The peer is one of the platform's front ends, with addresses
 * that change: nothing but the platform can reach a worker, so trust is usually a range, and a warning.
 */
export function azureAppService(options: EdgeOptions): CertificateSource {
  return fromEdge('azureAppService', options, { field: 'X-ARR-ClientCert', format: 'base64-der' });
}

/**
 * Azure Application Gateway, with rewrite rules that set `X-Client-Certificate` to `{var_client_certificate}` and
 * `X-Client-Certificate-Verification` to `{var_client_certificate_verification}`.
 *
 * Traps: without a rewrite rule the client's own field goes through. `{var_client_certificate_fingerprint}` is SHA-1. That the
 * value is percent-encoded PEM is what users report: look at yours.
 */
export function azureApplicationGateway(options: EdgeOptions): CertificateSource {
  return fromEdge('azureApplicationGateway', options, {
    field: 'X-Client-Certificate',
    format: 'percent-encoded-pem',
    verified: { field: 'X-Client-Certificate-Verification', values: ['SUCCESS'] },
  });
}

/**
 * Cloudflare, with transform rules that remove `Client-Cert` and `Client-Cert-Chain` and then set them from
 * `cf.tls_client_auth.cert_rfc9440` and `cf.tls_client_auth.cert_chain_rfc9440`.
 *
 * Traps: `Cf-Client-Cert-Der-Base64` may come on the first request of a connection only: do not use it. A certificate over 10 KB
 * (16 KB, say newer documents) arrives as an empty field. The rule is filled for certificates that were not verified too. Anybody
 * can send through an account of theirs from the same addresses, so trust needs a `secret` that your rules set, or Authenticated
 * Origin Pulls with a certificate of your own as `pinnedCertificate`.
 */
export function cloudflare(options: EdgeOptions): CertificateSource {
  return fromEdge('cloudflare', options, { field: 'Client-Cert', format: 'byte-sequence', chainField: 'Client-Cert-Chain' });
}

/**
 * Fastly, with VCL that unsets `X-Client-Cert` and then sets it from `tls.client.certificate.raw_certificate_b64`.
 *
 * Traps: without the unset, in every service that reaches the API, the client's own field goes through. The addresses are shared
 * with every other customer: trust needs a `secret`.
 */
export function fastly(options: EdgeOptions): CertificateSource {
  return fromEdge('fastly', options, { field: 'X-Client-Cert', format: 'base64-der' });
}

/**
 * F5 BIG-IP with an iRule: `HTTP::header remove X-Client-Cert` until there is none, then
 * `HTTP::header insert X-Client-Cert [b64encode [SSL::cert 0]]`.
 *
 * Traps: nothing is removed unless the iRule does, and where several lines have a name, `value` and `replace` mean the last: remove
 * in a loop. An iRule with `X509::whole` sends PEM with spaces:
 * `fromForwardedField({ field, format: 'pem', trust })`.
 */
export function f5(options: EdgeOptions): CertificateSource {
  return fromEdge('f5', options, { field: 'X-Client-Cert', format: 'base64-der' });
}

/**
 * Kong with the plugin `tls-metadata-headers` and `inject_client_cert_details: true`: `X-Client-Cert`.
 *
 * Traps: its fingerprint is SHA-1. The plugin has to run on every route that reaches the API, with a plugin that asks for
 * certificates (`mtls-auth`, `tls-handshake-modifier`).
 */
export function kong(options: EdgeOptions): CertificateSource {
  return fromEdge('kong', options, { field: 'X-Client-Cert', format: 'percent-encoded-pem' });
}

/**
 * A customer edge in front of Auth0, or one that follows its conventions: `client-certificate`, `client-certificate-ca-verified`,
 * and the secret `cname-api-key`, by which the edge shows that it is one.
 *
 * `client-certificate-ca-verified` must be there on every request, whatever it says; with `verified: true` it must say `SUCCESS`.
 *
 * Traps: a value of more than 4,096 characters is refused, as Auth0 does. Nothing is removed unless the edge does.
 *
 * @example
 * auth0CustomerEdge({ trust: { secret: { field: 'cname-api-key', values: [secret] } } })
 */
export function auth0CustomerEdge(options: EdgeOptions): CertificateSource {
  const name = 'auth0CustomerEdge';
  const check = new Check();
  const { verified, ...given } = check.object(name, options, NAMES);
  const field = 'client-certificate-ca-verified';
  const values = verified === undefined ? ['SUCCESS', 'FAILED*', 'NONE'] : ['SUCCESS'];
  const edge: Edge = { field: 'client-certificate', format: 'percent-encoded-pem', verified: { field, values }, longest: 4096 };
  return sourceOf(check, name, { ...given, verified: verified === undefined ? true : verified }, edge);
}

/**
 * An edge that follows RFC 9440: `Client-Cert`, and `Client-Cert-Chain` for a chain policy. HAProxy, Caddy and nginx with njs can.
 *
 * Traps: the edge has to remove both fields of a client from every request (RFC 9440 §2.4), those without a certificate too.
 */
export function rfc9440(options: EdgeOptions): CertificateSource {
  return fromEdge('rfc9440', options, { field: 'Client-Cert', format: 'byte-sequence', chainField: 'Client-Cert-Chain' });
}
