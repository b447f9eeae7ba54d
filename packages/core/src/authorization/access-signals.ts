import type { AuthenticatedToken } from '../access-token/authenticated-token.ts';
import { type Reason, REASONS } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';

/** The clock is looked at again after this time at most: a machine may have slept, and Node fires `setTimeout(2 ** 31)` at once. */
const LONGEST_WAIT = 60;

interface Watched {
  readonly token: AuthenticatedToken;
  readonly until: EpochSeconds;
  readonly controller: AbortController;
}

/**
 * The signals of one resource that somebody has asked for: each aborts when its token is no longer good. One timer serves all,
 * and runs only while there are any.
 *
 * A signal that nobody listens to and nobody holds is given up. What is kept here is weak, and a signal that depends on another
 * lives as long as it has listeners (DOM §3.1.2), so a handler that hands its signal to `fetch` in every request leaves nothing.
 */
export class AccessSignals {
  readonly #clock: () => EpochSeconds;
  readonly #tolerance: number;
  readonly #watched = new Set<WeakRef<Watched>>();
  readonly #held = new WeakMap<AbortSignal, Watched>();
  readonly #lost = new FinalizationRegistry<WeakRef<Watched>>((reference) => void this.#watched.delete(reference));
  #timer: ReturnType<typeof setTimeout> | undefined;
  #next: EpochSeconds = Number.POSITIVE_INFINITY;
  #closed = false;

  /** @param tolerance Seconds for which a token is accepted after its `exp`. */
  constructor(now: () => EpochSeconds, tolerance: number) {
    this.#clock = now;
    this.#tolerance = tolerance;
  }

  /** A signal for one request. A token that is accepted beyond its `exp` gets the rest of the tolerance. */
  of(token: AuthenticatedToken): AbortSignal {
    const { exp } = token.claims;
    const now = this.#now();
    const watched: Watched = { token, until: now < exp ? exp : exp + this.#tolerance, controller: new AbortController() };
    const signal = AbortSignal.any([watched.controller.signal]);
    if (this.#end(watched, now)) return signal;
    const reference = new WeakRef(watched);
    this.#held.set(signal, watched);
    this.#lost.register(watched, reference);
    this.#watched.add(reference);
    this.#wait(watched.until, now);
    return signal;
  }

  /** Looks at all of them: at the end of the first, and when a key is revoked. */
  check(): void {
    const now = this.#now();
    let next = Number.POSITIVE_INFINITY;
    for (const reference of this.#watched) {
      const watched = reference.deref();
      if (watched === undefined || this.#end(watched, now)) this.#watched.delete(reference);
      else next = Math.min(next, watched.until);
    }
    this.#stop();
    if (this.#watched.size > 0) this.#wait(next, now);
  }

  /** From now on nobody looks, so nothing goes on: every signal is aborted, and so is one that is asked for later. */
  close(): void {
    this.#closed = true;
    this.check();
  }

  /** Where the clock fails it is not known that a token is still good, so it is not. */
  #now(): EpochSeconds {
    try {
      return this.#clock();
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  #end({ token, until, controller }: Watched, now: EpochSeconds): boolean {
    if (now >= until) abort(controller, 'TimeoutError', 'token.expired');
    else if (!token.keyTrusted()) abort(controller, 'AbortError', 'token.unknown_key');
    else if (this.#closed) controller.abort(new DOMException('The protected resource was closed.', 'AbortError'));
    return controller.signal.aborted;
  }

  #wait(until: EpochSeconds, now: EpochSeconds): void {
    const next = Math.min(until, now + LONGEST_WAIT);
    if (this.#timer !== undefined && this.#next <= next) return;
    this.#stop();
    this.#next = next;
    this.#timer = setTimeout(() => this.check(), Math.max(0, next - now) * 1000);
    // A number in browsers and workers, where no timer keeps a process alive.
    if (typeof this.#timer === 'object') this.#timer.unref();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#next = Number.POSITIVE_INFINITY;
  }
}

function abort(controller: AbortController, name: 'AbortError' | 'TimeoutError', reason: Reason): void {
  controller.abort(new DOMException(REASONS[reason].text, name));
}
