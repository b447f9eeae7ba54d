import { keepsListenedSignals } from '#runtime';
import type { AuthenticatedToken } from '../access-token/authenticated-token.ts';
import { REASONS } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';

/** The clock is looked at again after this time at most: a machine may have slept, and Node fires `setTimeout(2 ** 31)` at once. */
const LONGEST_WAIT = 60;

interface Watched {
  readonly token: AuthenticatedToken;
  readonly until: EpochSeconds;
  readonly controller: AbortController;
}

/**
 * The signals of one resource that somebody has asked for: each aborts when its token is no longer good. Each has a timer of its
 * own, since in a worker a timer lives no longer than the request that set it.
 *
 * A signal that nobody listens to and nobody holds is given up. What is kept here is weak, and a signal that depends on another
 * lives as long as it has listeners (DOM §3.1.2), so a handler that hands its signal to `fetch` in every request leaves nothing.
 */
export class AccessSignals {
  readonly #clock: () => EpochSeconds;
  readonly #tolerance: number;
  readonly #end: EpochSeconds;
  readonly #timers = new Map<WeakRef<Watched>, ReturnType<typeof setTimeout>>();
  readonly #watched = new WeakMap<AbortSignal, Watched>();
  #closed = false;

  /**
   * @param tolerance Seconds for which a token is accepted after its `exp`.
   * @param end When what admitted the tokens is over, whatever they say.
   */
  constructor(now: () => EpochSeconds, tolerance: number, end: EpochSeconds = Number.POSITIVE_INFINITY) {
    this.#clock = now;
    this.#tolerance = tolerance;
    this.#end = end;
  }

  /** A signal for one request. A token that is accepted beyond its `exp` gets the rest of the tolerance. */
  of(token: AuthenticatedToken): AbortSignal {
    const { exp } = token.claims;
    const until = Math.min(this.#now() < exp ? exp : exp + this.#tolerance, this.#end);
    const watched: Watched = { token, until, controller: new AbortController() };
    const signal = AbortSignal.any([watched.controller.signal]);
    this.#watched.set(signal, watched);
    this.#look(new WeakRef(watched));
    return signal;
  }

  /** Looks at all of them: some key has been revoked. */
  check(): void {
    // A copy: who is looked at comes to the end of the map.
    const references = [...this.#timers.keys()];
    for (const reference of references) this.#look(reference);
  }

  /** From now on nobody looks, so nothing goes on: every signal is aborted, and so is one that is asked for later. */
  close(): void {
    this.#closed = true;
    this.check();
  }

  #look(reference: WeakRef<Watched>): void {
    clearTimeout(this.#timers.get(reference));
    this.#timers.delete(reference);
    const watched = reference.deref();
    if (watched === undefined) return;
    const left = watched.until - this.#now();
    const end = this.#endOf(watched, left);
    if (end !== undefined) return watched.controller.abort(end);
    // The last argument is only held: where signals are not kept for their listeners, the timer keeps them.
    const held = keepsListenedSignals ? undefined : watched;
    const timer = setTimeout((_held) => this.#look(reference), Math.min(left, LONGEST_WAIT) * 1000, held);
    // A number in browsers and workers, where no timer keeps a process alive.
    if (typeof timer === 'object') timer.unref();
    this.#timers.set(reference, timer);
  }

  #endOf({ token, until }: Watched, left: number): DOMException | undefined {
    // Not `left <= 0`: what cannot be compared has ended too.
    if (!(left > 0)) return new DOMException(until === this.#end ? 'Audit mode has ended.' : REASONS['token.expired'].text, 'TimeoutError');
    if (!token.keyTrusted()) return new DOMException(REASONS['token.unknown_key'].text, 'AbortError');
    return this.#closed ? new DOMException('The protected resource was closed.', 'AbortError') : undefined;
  }

  /** Where the clock fails it is not known that a token is still good, so it is not. */
  #now(): EpochSeconds {
    try {
      return this.#clock();
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }
}
