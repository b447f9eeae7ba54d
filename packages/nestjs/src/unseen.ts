import { MetadataScanner, type ModulesContainer } from '@nestjs/core';
import { isOurs } from './guard.ts';
import { policyOf } from './policy.ts';

// How Nest's packages mark what they look for: they are not to be imported where they are not installed.
const GUARDS = '__guards__';
const FIELD = 'graphql:resolve_property';
const REFERENCE = 'graphql:resolve_reference';
const GATEWAY = 'websockets:is_gateway';
const MESSAGE = 'microservices:pattern';
const GRAPHQL_OPTIONS = 'GqlModuleOptions';

/**
 * Stops the start where Nest would not ask the guard for what it has to protect, with one `TypeError` that names all of it and the fix:
 * fields of GraphQL that the guard or `@Requires` stands on; reference resolvers (federation), which are an entry of their own;
 * gateways, to which anybody could connect and hear what they send. `@Public` says that it is on purpose.
 */
export function refuseUnseen(modules: ModulesContainer, handshakesAreJudged: boolean): void {
  const problems = [fieldsWithoutGuards(modules), handshakesAreJudged ? undefined : openGateways(modules)];
  const found = problems.filter((problem) => problem !== undefined);
  if (found.length > 0) throw new TypeError(`HoldfastModule: the guard would not be asked. ${found.join(' ')}`);
}

/** What to say of handlers of messages that only `APP_GUARD` can protect: in a hybrid application nobody can tell whether it is asked. */
export function unseenMessages(modules: ModulesContainer): string | undefined {
  const names = methodsIn(
    modules,
    'controllers',
    ({ method, type, policy }) => Reflect.hasMetadata(MESSAGE, method) && !isExplicit(method, type, policy),
  );
  if (names.length === 0) return undefined;
  return `${names.join(', ')}: for messages of a hybrid application Nest asks APP_GUARD only with connectMicroservice(…, { inheritAppConfig: true }). Put @UseGuards(HoldfastGuard) there, which counts either way, or @Public().`;
}

function fieldsWithoutGuards(modules: ModulesContainer): string | undefined {
  const options = [...modules.values()].flatMap(({ providers }) => providers.get(GRAPHQL_OPTIONS)?.instance ?? []);
  const asksGuards = ({ fieldResolverEnhancers = [] }: { readonly fieldResolverEnhancers?: readonly string[] }): boolean =>
    fieldResolverEnhancers.includes('guards');
  if (options.every(asksGuards)) return undefined;
  const names = methodsIn(modules, 'providers', ({ method, type, policy }) =>
    Reflect.hasMetadata(REFERENCE, method)
      ? policy !== 'public'
      : Reflect.hasMetadata(FIELD, method) && policy !== 'public' && isExplicit(method, type, policy),
  );
  if (names.length === 0) return undefined;
  return `${names.join(', ')}: guards run for fields and references only where GraphQLModule.forRoot({ fieldResolverEnhancers: ['guards'] }) says so. Add that, or @Public() on what is for everybody.`;
}

function openGateways(modules: ModulesContainer): string | undefined {
  const types = [...prototypesIn(modules, 'providers')].map(({ constructor }) => constructor);
  const names = types.filter((type) => Reflect.hasMetadata(GATEWAY, type) && policyOf(type, type) !== 'public').map(({ name }) => name);
  if (names.length === 0) return undefined;
  return `${names.join(', ')}: anybody can connect to a gateway, whatever guards say of messages. Add app.useWebSocketAdapter(protectGateways(adapter, app.get(HOLDFAST_RESOURCE))), or @Public() on the class where that is meant.`;
}

type Place = 'providers' | 'controllers';
interface Found {
  readonly method: object;
  readonly type: object;
  readonly policy: ReturnType<typeof policyOf>;
}

/** The names of methods that a filter lets through. */
function methodsIn(modules: ModulesContainer, place: Place, filter: (found: Found) => boolean): string[] {
  const scanner = new MetadataScanner();
  return [...prototypesIn(modules, place)].flatMap((prototype) => {
    const { constructor: type } = prototype;
    const names = scanner.getAllMethodNames(prototype).filter((name) => {
      const method: unknown = Reflect.get(prototype, name);
      return typeof method === 'function' && filter({ method, type, policy: policyOf(method, type) });
    });
    return names.map((name) => `${type.name}.${name}`);
  });
}

/** Whether something of ours stands on the method or its class, and not on the whole application alone. */
function isExplicit(method: object, type: object, policy: Found['policy']): boolean {
  const isGuarded = (target: object): boolean => {
    const guards: unknown = Reflect.getMetadata(GUARDS, target);
    return Array.isArray(guards) && guards.some(isOurs);
  };
  return policy === 'public' || policy.length > 0 || isGuarded(method) || isGuarded(type);
}

/** What providers or controllers are made from, each once. */
function prototypesIn(modules: ModulesContainer, place: Place): Set<object> {
  const prototypes = new Set<object>();
  for (const { [place]: wrappers } of modules.values()) {
    for (const { instance } of wrappers.values() as Iterable<{ readonly instance: unknown }>) {
      const prototype = typeof instance === 'object' && instance !== null ? Reflect.getPrototypeOf(instance) : null;
      if (prototype !== null && typeof prototype.constructor === 'function') prototypes.add(prototype);
    }
  }
  return prototypes;
}
