import type { PreparedRequirements } from '@holdfast/core';

const PUBLIC = 'holdfast:public';
const REQUIREMENTS = 'holdfast:requirements';

type Decorator = ClassDecorator & MethodDecorator;

/** What a route asks for: nothing, or access that meets all of these. */
export type Policy = 'public' | readonly PreparedRequirements[];

/**
 * Opens a route, or the routes of a controller, to requests without access: the guard looks at nothing there.
 *
 * On a controller it counts for that class alone, not for classes that extend it, and not for routes that have `@Requires` of their
 * own. Beside `@Requires` on the same class or method it is a `TypeError`.
 */
export function Public(): Decorator {
  return mark(PUBLIC, REQUIREMENTS, () => true);
}

/** Adds requirements to those that a class or method has. */
export function addRequirements(requirements: PreparedRequirements): Decorator {
  return mark(REQUIREMENTS, PUBLIC, (target) => [...requirementsOn(target), requirements]);
}

function mark(key: string, opposite: string, valueFor: (target: object) => unknown): Decorator {
  return (target: object, _name?: string | symbol, descriptor?: { readonly value?: unknown }) => {
    const method = descriptor?.value;
    const marked = typeof method === 'function' ? method : target;
    if (Reflect.hasOwnMetadata(opposite, marked)) {
      throw new TypeError(`@Public() and @Requires(…) stand on the same ${marked === method ? 'method' : 'class'}: remove one of them.`);
    }
    // Nest's own place for it: decorators that wrap a method copy what stands there, and a WeakMap they would not.
    Reflect.defineMetadata(key, valueFor(marked), marked);
  };
}

function requirementsOn(target: object): readonly PreparedRequirements[] {
  return (Reflect.getOwnMetadata(REQUIREMENTS, target) ?? []) as readonly PreparedRequirements[];
}

/**
 * The policy of a route. What stands on the method decides whether it is public; else what stands on the class itself. All
 * requirements count together: of the method, the class, and the classes it extends.
 */
export function policyOf(handler: object, controller: object): Policy {
  if (Reflect.hasOwnMetadata(PUBLIC, handler)) return 'public';
  const ofMethod = requirementsOn(handler);
  if (ofMethod.length === 0 && Reflect.hasOwnMetadata(PUBLIC, controller)) return 'public';
  const all = [...ofMethod];
  for (let type: object | null = controller; type !== null; type = Reflect.getPrototypeOf(type)) all.push(...requirementsOn(type));
  return all;
}
