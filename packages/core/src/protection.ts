import type { AccessTokenClaims } from './access-token/authenticated-token.ts';
import type { Access } from './authorization/access.ts';
import type { PreparedRequirements } from './authorization/requirements.ts';
import { type Fields, NO_FIELDS, type Refusal, UNPROTECTED } from './challenge/refusal.ts';
import type { ProtectedResourceOptions } from './options/options.ts';
import { type ProtectedResource, protectedResource } from './protected-resource.ts';
import { slot } from './slot.ts';

/** What was decided about a request: it has access, or this is the refusal for routes that need it. */
export interface Protection {
  readonly resource: ProtectedResource;
  readonly result: Access | Refusal;
}

/**
 * What an adapter remembers of the requests that it has judged, and what it tells their routes. It is kept where nobody else can
 * write: what stands on a request (`req.auth`, a decorator) belongs to everybody, and must never count.
 *
 * Every method takes the object that was judged, or the view of it; `P` is what an adapter keeps beside the decision.
 *
 * @example
 * const protections = new Protections(HoldfastError);
 * protections.set(view, { resource, result: await resource.verify(view) });
 * protections.access(view).claims.sub;
 */
export class Protections<P extends Protection = Protection> {
  readonly #kept = slot<P>();
  readonly #error: new (
    refusal: Refusal,
  ) => Error;

  /** @param error What is thrown where access is asked for and there is none. */
  constructor(error: new (refusal: Refusal) => Error) {
    this.#error = error;
  }

  get(request: object): P | undefined {
    return this.#kept.get(request);
  }

  /** Of several protections the last counts, also where it refused: what another has granted before is no access any more. */
  set(request: object, protection: P): void {
    this.#kept.set(request, protection);
  }

  /** What was granted. Throws where nothing protects the request, and where it was refused or passed without access. */
  access<C extends AccessTokenClaims>(request: object): Access<C> {
    const result = this.authorize(request);
    if (!result.granted) throw new this.#error(result);
    // What further claims are is the application's word; iss, exp and aud were checked.
    return result as Access<C>;
  }

  /** What was granted, or `undefined` where the request passed without access. Throws where nothing protects it, and where it was refused. */
  maybeAccess<C extends AccessTokenClaims>(request: object): Access<C> | undefined {
    const { result } = this.#kept.get(request) ?? { result: UNPROTECTED };
    return !result.granted && result.mayPass !== undefined ? undefined : this.access(request);
  }

  /** What a route that needs access is told: what was granted, where it meets the requirements, or the refusal. */
  authorize(request: object, requirements?: PreparedRequirements): Access | Refusal {
    const protection = this.#kept.get(request);
    return protection === undefined ? UNPROTECTED : protection.resource.authorize(protection.result, requirements);
  }
}

/** The fields that belong on the response of a route: of a request with access, or of one that passed without. */
export function fieldsToCarry(result: Access | Refusal): Fields {
  return result.granted ? result.fields : (result.mayPass?.fields ?? NO_FIELDS);
}

/** A resource as it is, or made of its options. Throws one `TypeError` that lists every problem in them. */
export function resourceOf<C extends AccessTokenClaims = AccessTokenClaims>(
  given: ProtectedResourceOptions | ProtectedResource<C>,
): ProtectedResource<C> {
  return isResource(given) ? given : protectedResource<C>(given);
}

function isResource<C extends AccessTokenClaims>(given: ProtectedResourceOptions | ProtectedResource<C>): given is ProtectedResource<C> {
  return typeof given === 'object' && given !== null && 'verify' in given && typeof given.verify === 'function';
}
