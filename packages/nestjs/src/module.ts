import type { ProtectedResource, PublishedMetadata } from '@holdfast/core';
import {
  type BeforeApplicationShutdown,
  ConfigurableModuleBuilder,
  type ConfigurableModuleCls,
  type DynamicModule,
  Inject,
  Logger,
  Module,
  type OnApplicationBootstrap,
  type Provider,
} from '@nestjs/common';
import { HttpAdapterHost, ModuleRef, ModulesContainer } from '@nestjs/core';
import { join, modulesOf } from './application.ts';
import { judgesHandshakes } from './gateways.ts';
import { HOLDFAST_RESOURCE, isGuarded } from './guard.ts';
import { HoldfastMiddleware } from './middleware.ts';
import { type HoldfastAsyncOptions, type HoldfastModuleOptions, type HoldfastOptions, isMade, resourceOf } from './options.ts';
import { refuseUnseen, unseenMessages } from './unseen.ts';

const IS_GLOBAL: unique symbol = Symbol('HOLDFAST_IS_GLOBAL');
const READY: unique symbol = Symbol('HOLDFAST_READY');
const DEFAULTS: Required<HoldfastModuleOptions> = { isGlobal: true, ready: false };

const built = new ConfigurableModuleBuilder<HoldfastOptions>()
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createHoldfastOptions')
  .setExtras(DEFAULTS, (definition, { isGlobal, ready }) => ({
    ...definition,
    global: isGlobal,
    providers: [
      ...(definition.providers ?? []),
      { provide: IS_GLOBAL, useValue: isGlobal },
      { provide: READY, useValue: ready },
      RESOURCE,
      HoldfastMiddleware,
    ],
    exports: [HOLDFAST_RESOURCE, HoldfastMiddleware],
  }))
  .build();
const Configurable: ConfigurableModuleCls<HoldfastOptions, 'forRoot', 'createHoldfastOptions', HoldfastModuleOptions> =
  built.ConfigurableModuleClass;
const RESOURCE: Provider = { provide: HOLDFAST_RESOURCE, inject: [built.MODULE_OPTIONS_TOKEN], useFactory: resourceOf };

/**
 * Provides the protected resource to {@link HoldfastGuard}, which protects what it stands on: the module alone protects nothing.
 * Takes the options, or a resource that is made already and shared; a resource that it made it closes with the application.
 * Options with problems stop the start with one `TypeError` that lists all of them.
 *
 * @example
 * imports: [HoldfastModule.forRoot({ issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() })],
 * providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
 */
export class HoldfastModule extends Configurable implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #references: ModuleRef;
  readonly #host: HttpAdapterHost;
  readonly #ready: boolean;
  #metadata: PublishedMetadata | undefined;

  constructor(references: ModuleRef, host: HttpAdapterHost, isGlobal: boolean, ready: boolean) {
    super();
    this.#references = references;
    this.#host = host;
    this.#ready = ready;
    join(host, this, isGlobal);
  }

  /** With options, or a resource that is made already. */
  static override forRoot(options: HoldfastOptions, module: HoldfastModuleOptions = {}): DynamicModule {
    return super.forRootAsync({ ...module, useFactory: () => options });
  }

  /** With options, or a resource, that providers of the application make. They have to be there once, not for each request. */
  static override forRootAsync(options: HoldfastAsyncOptions): DynamicModule {
    return super.forRootAsync(options);
  }

  async onApplicationBootstrap(): Promise<void> {
    const { resource } = this;
    const warning = isGuarded(resource)
      ? this.#checkUnseen()
      : 'No HoldfastGuard is in use: no route is protected by one. Provide { provide: APP_GUARD, useClass: HoldfastGuard }, or put @UseGuards(HoldfastGuard) on controllers.';
    if (warning !== undefined) new Logger(HoldfastModule.name).warn(warning);
    this.#metadata = resource.metadata;
    if (this.#ready) await resource.ready();
  }

  /** Stops the start for what guards would not see; answers with what nobody can tell. */
  #checkUnseen(): string | undefined {
    const modules = this.#references.get(ModulesContainer, { strict: false });
    const handshakesAreJudged = modulesOf(this.#host).some((one) => judgesHandshakes(one.resource));
    refuseUnseen(modules, handshakesAreJudged);
    const { httpAdapter: platform }: { readonly httpAdapter: unknown } = this.#host;
    // A microservice has none, and its messages are all that APP_GUARD is for.
    return platform === undefined || platform === null ? undefined : unseenMessages(modules);
  }

  /** Before connections are closed: what waits for `access.signal` ends now, and would keep them open. */
  async beforeApplicationShutdown(): Promise<void> {
    const { resource } = this;
    if (!isMade(resource)) return;
    await resource.close();
    // A turn for streams to end: a connection that is idle then is closed at once, and otherwise when its keep-alive time is over.
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  /** The metadata of the resource (RFC 9728), from when the application is ready. */
  get metadata(): PublishedMetadata | undefined {
    return this.#metadata;
  }

  /** Nest refuses to give one of request scope, and so to start: each request would have used up proofs of its own. */
  get resource(): ProtectedResource {
    return this.#references.get<ProtectedResource>(HOLDFAST_RESOURCE);
  }
}
Module({})(HoldfastModule);
[ModuleRef, HttpAdapterHost, IS_GLOBAL, READY].forEach((token, index) => Inject(token)(HoldfastModule, undefined, index));
