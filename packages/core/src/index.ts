export type { AccessTokenClaims, AuthorizationDetail } from './access-token/authenticated-token.ts';
export type { CacheLimits } from './access-token/cache.ts';
export type { Access } from './authorization/access.ts';
export { callerOf } from './authorization/caller.ts';
export {
  apache,
  auth0CustomerEdge,
  awsAlb,
  awsAlbPassthrough,
  azureApplicationGateway,
  azureAppService,
  caddy,
  cloudflare,
  contour,
  type EdgeOptions,
  envoy,
  type EnvoyOptions,
  f5,
  fastly,
  gcpLoadBalancer,
  type GcpOptions,
  haproxy,
  ingressNginx,
  istio,
  kong,
  nginx,
  rfc9440,
  traefik,
} from './certificate/edges.ts';
export type { ForwardedFormat } from './certificate/formats.ts';
export { type ForwardedFieldOptions, fromForwardedField, type VerifiedField } from './certificate/forwarded.ts';
export { awsApiGateway, type AwsApiGatewayOptions, cloudflareWorker, type CloudflareWorkerOptions } from './certificate/platforms.ts';
export type { ChainCertificate } from './certificate/chain.ts';
export { dangerouslyTrustEveryPeer, type EdgeTrust, type EveryPeer } from './certificate/trusted-peers.ts';
export type { XfccElements } from './certificate/xfcc.ts';
export type { ClientAuthentication } from './access-token/introspection-request.ts';
export type { IntrospectionMode } from './access-token/issuers.ts';
export { type Provider, type ProviderName, PROVIDERS } from './access-token/providers.ts';
export type { Sign, TokenShape } from './access-token/shape.ts';
export { type EveryRequirement, prepareRequirements, type PreparedRequirements, type Requirements } from './authorization/requirements.ts';
export type { ClaimRequirement, DetailRequirement, ValuesAt } from './authorization/conditions.ts';
export { type Certificate, certificateOf, type CertificateSource } from './certificate/thumbprint.ts';
export { fromTls, type FromTlsOptions } from './certificate/tls-connection.ts';
export type { ProtectedResourceMetadata, PublishedMetadata } from './challenge/metadata.ts';
export { type Answer, EXPOSED_FIELDS, type Fields, type Refusal, UNAVAILABLE, UNPROTECTED } from './challenge/refusal.ts';
export type { ConfirmedToken } from './confirmation/confirm-token.ts';
export type { Confirmation } from './confirmation/method.ts';
export type { Fetch, FetchedResponse, FetchInit } from './discovery/fetch-json.ts';
export { DECISION_CHANNEL, type ResourceEvent } from './events.ts';
export type { CertificatePolicyOptions, ChainPolicyOptions, ValidityPolicy } from './options/certificate-policy.ts';
export type { AuditableReason, AuditOptions } from './options/audit.ts';
export type { DecryptionSettings } from './options/decryption.ts';
export type { DpopOptions, NonceOptions } from './options/dpop.ts';
export type { IntrospectionSettings } from './options/introspection.ts';
export type { IssuerOptions, TokenOptions } from './options/issuers.ts';
export type { FetchedKeys, GivenJwks, GivenPem } from './options/keys.ts';
export type { MetadataOptions } from './options/metadata.ts';
export type { IsRevoked, ProtectedResourceOptions } from './options/options.ts';
export type { ProfileName } from './options/profiles.ts';
export { type ProtectedResource, protectedResource } from './protected-resource.ts';
export { fieldsToCarry, type Protection, Protections, resourceOf } from './protection.ts';
export { REDACTED_PATHS } from './redaction.ts';
export {
  type ErrorCode,
  isRejection,
  isUnavailable,
  type Reason,
  REASONS,
  type ReasonRow,
  type Rejection,
  type Scheme,
} from './rejection.ts';
export { memoryReplayStore, type MemoryReplayStoreOptions } from './replay/memory.ts';
export type { ProofUse, ReplayStore } from './replay/replay-store.ts';
export { type ClientShares, clientShares } from './replay/shares.ts';
export type { Awaitable, Connection, EpochSeconds, Peer, ProtectedResourceRequest } from './request.ts';
