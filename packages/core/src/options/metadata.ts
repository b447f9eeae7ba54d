import type { JWK } from 'jose';
import type { MetadataSettings, ProtectedResourceMetadata } from '../challenge/metadata.ts';
import type { DpopSettings } from '../confirmation/dpop.ts';
import { isSecureUrl } from '../discovery/metadata.ts';
import { warn } from '#runtime';
import type { Scheme } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';
import { type Check, isObject, stringsIn } from '../check.ts';
import { readPrivateKey } from './introspection.ts';
import type { IssuerSettings } from './issuers.ts';

/** What the resource publishes about itself (RFC 9728), at `/.well-known/oauth-protected-resource` and the path of its identifier. */
export interface MetadataOptions {
  /** The resource identifier: https, no fragment. By default the first `audience` that is a URL. */
  readonly resource?: string;
  /**
   * Parameters by the names of RFC 9728 §2, as `scopes_supported`, `resource_name`, `resource_name#it`, `resource_documentation`,
   * `authorization_details_types_supported`; further ones are handed on. What follows from other options is computed.
   */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /**
   * A private JWK with `alg`, by which the document is also signed (`signed_metadata`). Where `parameters` name a `jwks_uri` and there
   * are keys for `decryption` too, all of them need `use` (RFC 9728 §2).
   */
  readonly signingKey?: JWK;
  /** Seconds for which the document may be kept. Default 3,600. */
  readonly maxAge?: number;
}

const NAMES: Record<keyof MetadataOptions, true> = { resource: true, parameters: true, signingKey: true, maxAge: true };

/** Parameters that follow from other options. */
const COMPUTED = [
  'resource',
  'bearer_methods_supported',
  'tls_client_certificate_bound_access_tokens',
  'dpop_signing_alg_values_supported',
  'dpop_bound_access_tokens_required',
  'signed_metadata',
];
const URLS = ['jwks_uri', 'resource_documentation', 'resource_policy_uri', 'resource_tos_uri'];
const LISTS = [
  'authorization_servers',
  'scopes_supported',
  'resource_signing_alg_values_supported',
  'authorization_details_types_supported',
];

/** What the document follows from. */
export interface Described {
  readonly audience: readonly string[];
  readonly issuers: readonly IssuerSettings[];
  /** Whether tenants have issuers of their own, whose names are nobody else's business. */
  readonly hasTenants: boolean;
  readonly certificate: boolean;
  /** The keys to which access tokens are encrypted. */
  readonly decryptionKeys: readonly JWK[];
  readonly dpop: DpopSettings | undefined;
  readonly schemes: readonly Scheme[];
  /** Whether the profile mcp is on, which cannot be had without. */
  readonly isMcp: boolean;
  readonly now: () => EpochSeconds;
}

/** `undefined` where nothing is published. */
export function readMetadata(check: Check, value: unknown, described: Described): MetadataSettings | undefined {
  const { isMcp, now } = described;
  if (value === false && isMcp) check.wrong('metadata', value, 'The profile mcp demands it (RFC 9728). Leave it out, or give { … }');
  if (value === false || (value === undefined && !isMcp)) return undefined;
  const o = value === undefined || value === true ? {} : check.object('metadata', value, NAMES);
  const resource = readResource(check, o['resource'], described.audience);
  const parameters = readParameters(check, o['parameters'], described);
  const signingKey = o['signingKey'] === undefined ? undefined : readPrivateKey(check, 'metadata.signingKey', o['signingKey']);
  if (parameters['jwks_uri'] !== undefined && signingKey !== undefined) checkUse(check, signingKey, described.decryptionKeys);
  return {
    document: withoutEmpty({ resource, ...computed(described), ...parameters }),
    maxAge: check.whole('metadata.maxAge', o['maxAge'], 3600, 0, 31_536_000),
    signingKey,
    now,
  };
}

/** RFC 9728 §2: where keys of both kinds are published, each says which it is; what is published is the public half of these. */
function checkUse(check: Check, signingKey: JWK, decryptionKeys: readonly JWK[]): void {
  const fix = (use: string): string => `Give it use: '${use}', here and at jwks_uri: keys that sign and keys that decrypt are published`;
  if (decryptionKeys.length > 0 && signingKey.use !== 'sig') check.wrong('metadata.signingKey.use', signingKey.use, fix('sig'));
  for (const [index, { use }] of decryptionKeys.entries()) if (use !== 'enc') check.wrong(`decryption.keys[${index}].use`, use, fix('enc'));
}

function readResource(check: Check, value: unknown, audience: readonly string[]): string {
  const resource = value === undefined ? audience.find((one) => isSecureUrl(one) && !one.includes('#')) : value;
  if (typeof resource !== 'string' || !isSecureUrl(resource) || resource.includes('#')) {
    check.wrong(
      'metadata.resource',
      resource,
      "Give the identifier of this API, as 'https://api.example.com': https, without fragment and user (RFC 9728 §1.2)",
    );
    return 'https://invalid.example';
  }
  if (resource.includes('?'))
    warn(`metadata.resource: ${resource} has a query, which a resource identifier should not have (RFC 9728 §1.2).`);
  return resource;
}

function computed({
  issuers,
  hasTenants,
  certificate,
  dpop,
  schemes,
}: Described): Pick<ProtectedResourceMetadata, 'bearer_methods_supported'> {
  // Nothing but a DPoP-bound token gets in: no other scheme, or no other binding and no token without one.
  const onlyDpop =
    dpop !== undefined &&
    (!schemes.includes('Bearer') || (!certificate && issuers.every(({ binding }) => binding.unconstrained === 'refuse')));
  return {
    ...(!hasTenants && { authorization_servers: issuers.map(({ issuer }) => issuer) }),
    bearer_methods_supported: schemes.includes('Bearer') ? ['header'] : [],
    ...(certificate && { tls_client_certificate_bound_access_tokens: true }),
    ...(dpop && { dpop_signing_alg_values_supported: [...dpop.algorithms] }),
    ...(onlyDpop && { dpop_bound_access_tokens_required: true }),
  };
}

function readParameters(check: Check, value: unknown, { issuers, hasTenants, isMcp }: Described): Readonly<Record<string, unknown>> {
  const given = value === undefined ? {} : copyOf(value);
  if (given === undefined) {
    check.wrongKind('metadata.parameters', value, 'Give an object of JSON values, as { scopes_supported: [ … ] }');
    return {};
  }
  const wrong = (name: string, fix: string): void => check.wrong(`metadata.parameters.${name}`, given[name], fix);
  for (const name of COMPUTED) if (given[name] !== undefined) wrong(name, 'Leave it out: it follows from other options');
  for (const name of URLS) {
    const url = given[name];
    if (url !== undefined && !(typeof url === 'string' && isSecureUrl(url))) wrong(name, 'Give an https URL');
  }
  for (const name of LISTS) {
    const list = given[name];
    if (list !== undefined && !(Array.isArray(list) && stringsIn(list) !== undefined)) wrong(name, 'Give a list of strings');
  }
  const servers = given['authorization_servers'];
  if (Array.isArray(servers) && !servers.every((server) => issuers.some(({ issuer }) => issuer === server))) {
    wrong('authorization_servers', 'Name issuers that are registered, character by character');
  }
  if (isMcp && ((hasTenants && servers === undefined) || (Array.isArray(servers) && servers.length === 0))) {
    wrong('authorization_servers', 'The profile mcp demands one at least');
  }
  const algorithms = given['resource_signing_alg_values_supported'];
  if (Array.isArray(algorithms) && algorithms.includes('none'))
    wrong('resource_signing_alg_values_supported', 'Leave none out (RFC 9728 §2)');
  const scopes = given['scopes_supported'];
  if (isMcp && Array.isArray(scopes) && scopes.includes('offline_access'))
    wrong('scopes_supported', 'Leave offline_access out: it is no scope of a resource (MCP)');
  return given;
}

/** RFC 9728 §3.2: parameters with zero elements are left out. Only that no bearer method is supported is said by an empty list. */
function withoutEmpty(document: ProtectedResourceMetadata): ProtectedResourceMetadata {
  const kept = Object.entries(document).filter(
    ([name, value]) => value !== undefined && (name === 'bearer_methods_supported' || !(Array.isArray(value) && value.length === 0)),
  );
  return { ...Object.fromEntries(kept), resource: document.resource, bearer_methods_supported: document.bearer_methods_supported };
}

/** What cannot be written as JSON cannot be published. */
function copyOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isObject(value)) return undefined;
  try {
    const copy: unknown = JSON.parse(JSON.stringify(value));
    return isObject(copy) ? copy : undefined;
  } catch {
    return undefined;
  }
}
