import { type ProtectedResource, type ProtectedResourceOptions, protectedResource } from '@holdfast/core';
import type { ConfigurableModuleAsyncOptions } from '@nestjs/common';

/** Options, or a resource that is made already and shared. */
export type HoldfastOptions = ProtectedResourceOptions | ProtectedResource;

/** How the module stands in its application. */
export interface HoldfastModuleOptions {
  /**
   * Whether every module of the application can use the guard without importing this one; default yes. One module can, since
   * otherwise it would be chance which resource protects a route: with several, the others are imported where they are used.
   */
  readonly isGlobal?: boolean;
  /** Whether the application starts only when tokens can be judged; default no: until then requests are answered with 503. */
  readonly ready?: boolean;
}

/** What `useClass` and `useExisting` name. */
export interface HoldfastOptionsFactory {
  createHoldfastOptions(): HoldfastOptions | Promise<HoldfastOptions>;
}

/** `useFactory` with `inject` and `imports`, `useClass`, or `useExisting`, as in every Nest module. */
export type HoldfastAsyncOptions = ConfigurableModuleAsyncOptions<HoldfastOptions, 'createHoldfastOptions'> & HoldfastModuleOptions;

/** Resources that a module has made, and so has to close. */
const made = new WeakSet<ProtectedResource>();

export function isMade(resource: ProtectedResource): boolean {
  return made.has(resource);
}

/** The resource that was given, or one with these options. */
export function resourceOf(options: HoldfastOptions): ProtectedResource {
  if (isResource(options)) return options;
  const resource = protectedResource(options);
  made.add(resource);
  return resource;
}

function isResource(options: HoldfastOptions): options is ProtectedResource {
  return typeof options === 'object' && options !== null && 'verify' in options && typeof options.verify === 'function';
}
