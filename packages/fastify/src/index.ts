export type {
  Access,
  AccessTokenClaims,
  Fetch,
  ProtectedResource,
  ProtectedResourceOptions,
  Refusal,
  ReplayStore,
  Requirements,
  ResourceEvent,
} from '@holdfast/core';
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
  dangerouslyTrustEveryPeer,
  envoy,
  EXPOSED_FIELDS,
  f5,
  fastly,
  fromForwardedField,
  fromTls,
  gcpLoadBalancer,
  haproxy,
  ingressNginx,
  istio,
  kong,
  memoryReplayStore,
  nginx,
  protectedResource,
  REDACTED_PATHS,
  rfc9440,
  traefik,
} from '@holdfast/core';
export { HoldfastError, isHoldfastError, upgrade } from '@holdfast/core/node';
export { holdfastMetadata, type HoldfastMetadataOptions } from './metadata.ts';
export { accessOf, type FastifyOptions, holdfast, type HoldfastOptions, maybeAccessOf, requires } from './plugin.ts';
export type { HoldfastReply, HoldfastRequest, RouteHook } from './reply.ts';
export type { RoutePolicy } from './route-policy.ts';
