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
export { EXPOSED_FIELDS, fromTls, memoryReplayStore, protectedResource } from '@holdfast/core';
export { HoldfastError, isHoldfastError, upgrade } from '@holdfast/core/node';
export { HoldfastException } from './exception.ts';
export { Access, accessOf, HOLDFAST_RESOURCE, HoldfastGuard, MaybeAccess, maybeAccessOf, Requires } from './guard.ts';
export { HoldfastMiddleware } from './middleware.ts';
export {
  type HoldfastAsyncOptions,
  HoldfastModule,
  type HoldfastModuleOptions,
  type HoldfastOptions,
  type HoldfastOptionsFactory,
} from './module.ts';
export { Public } from './policy.ts';
