import { MetadataScanner, type ModulesContainer } from '@nestjs/core';
import { isOurs } from './guard.ts';
import { policyOf } from './policy.ts';

// How Nest's packages mark what they look for. Their own constants are not to be imported where they are not installed.
const GUARDS = '__guards__';
const FIELD = 'graphql:resolve_property';
const REFERENCE = 'graphql:resolve_reference';
const GATEWAY = 'websockets:is_gateway';
const GRAPHQL_OPTIONS = 'GqlModuleOptions';

/**
 * Stops the start where Nest would not ask the guard for what it has to protect, with one `TypeError` that names all of it and the fix:
 * fields of GraphQL that the guard or `@Requires` stands on; reference resolvers (federation), which are an entry of their own;
 * gateways, to which anybody could connect and hear what they send. `@Public` says that it is on purpose.
 */
export function refuseUnseen(modules: ModulesContainer, handshakesAreJudged: boolean): void {
  const problems = [...fieldsWithoutGuards(modules), ...(handshakesAreJudged ? [] : openGateways(modules))];
  if (problems.length > 0) throw new TypeError(`HoldfastModule: the guard would not be asked. ${problems.join(' ')}`);
}

function fieldsWithoutGuards(modules: ModulesContainer): string[] {
  const options = [...modules.values()].flatMap(({ providers }) => providers.get(GRAPHQL_OPTIONS)?.instance ?? []);
  if (
    options.every(({ fieldResolverEnhancers = [] }: { fieldResolverEnhancers?: readonly string[] }) =>
      fieldResolverEnhancers.includes('guards'),
    )
  )
    return [];
  const scanner = new MetadataScanner();
  const names = [...prototypesOf(modules)].flatMap((prototype) =>
    scanner
      .getAllMethodNames(prototype)
      .filter((name) => {
        const method: unknown = Reflect.get(prototype, name);
        if (typeof method !== 'function') return false;
        const policy = policyOf(method, prototype.constructor);
        if (policy === 'public') return false;
        if (Reflect.hasMetadata(REFERENCE, method)) return true;
        return Reflect.hasMetadata(FIELD, method) && (policy.length > 0 || [method, prototype.constructor].some(isGuarded));
      })
      .map((name) => `${prototype.constructor.name}.${name}`),
  );
  if (names.length === 0) return [];
  return [
    `${names.join(', ')}: guards run for fields and references only where GraphQLModule.forRoot({ fieldResolverEnhancers: ['guards'] }) says so. Add that, or @Public() on what is for everybody.`,
  ];
}

function openGateways(modules: ModulesContainer): string[] {
  const names = [...prototypesOf(modules)]
    .map(({ constructor }) => constructor)
    .filter((type) => Reflect.hasMetadata(GATEWAY, type) && policyOf(type, type) !== 'public')
    .map(({ name }) => name);
  if (names.length === 0) return [];
  return [
    `${names.join(', ')}: anybody can connect to a gateway, whatever guards say of messages. Add app.useWebSocketAdapter(protectGateways(adapter, app.get(HOLDFAST_RESOURCE))), or @Public() on the class where that is meant.`,
  ];
}

function isGuarded(target: object): boolean {
  const guards: unknown = Reflect.getMetadata(GUARDS, target);
  return Array.isArray(guards) && guards.some(isOurs);
}

/** What providers are made from, each once. */
function prototypesOf(modules: ModulesContainer): Set<object> {
  const prototypes = new Set<object>();
  for (const { providers } of modules.values()) {
    for (const { instance } of providers.values() as Iterable<{ readonly instance: unknown }>) {
      const prototype = typeof instance === 'object' && instance !== null ? Reflect.getPrototypeOf(instance) : null;
      if (prototype !== null && typeof prototype.constructor === 'function') prototypes.add(prototype);
    }
  }
  return prototypes;
}
