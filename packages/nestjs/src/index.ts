export type {
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
export { Access, accessOf, MaybeAccess, maybeAccessOf } from './access.ts';
export { HoldfastException } from './exception.ts';
export { protectGateways } from './gateways.ts';
export { HOLDFAST_RESOURCE, HoldfastGuard, Requires } from './guard.ts';
export { HoldfastMiddleware } from './middleware.ts';
export { HoldfastModule } from './module.ts';
export type { HoldfastAsyncOptions, HoldfastModuleOptions, HoldfastOptions, HoldfastOptionsFactory } from './options.ts';
export { Public } from './policy.ts';
