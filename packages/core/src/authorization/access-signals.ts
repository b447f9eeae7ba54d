import { keepsListenedSignals } from '#runtime';
import type { AuthenticatedToken } from '../access-token/authenticated-token.ts';
import type { ConfirmedToken } from '../confirmation/confirm-token.ts';
import { type Reason, REASONS, type Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';

/**
 * The clock is looked at again after this time at most, and the list of revoked tokens asked: a machine may have slept, and Node fires
 * `setTimeout(2 ** 31)` at once.
 */
const LONGEST_WAIT = 60;

interface Watched {
  readonly token: AuthenticatedToken;
  readonly confirmed: ConfirmedToken;
  readonly until: EpochSeconds;
  readonly controller: AbortController;
  /** Whether the list of revoked tokens was asked, and has not answered yet. */
  asking: boolean;
}

/** When tokens are no longer good. */
export interface SignalRules {
  readonly now: () => EpochSeconds;
  /** Seconds for which a token is accepted after its `exp`. */
  readonly tolerance: number;
  /** When what admitted the tokens is over, whatever they say. */
  readonly end?: EpochSeconds;
  /** What the list of revoked tokens says against one. Never throws, and never rejects: that it cannot be asked is an objection too. */
  readonly objection?: ((token: ConfirmedToken) => Awaitable<Rejection | undefined>) | undefined;
}

/**
 * The signals of one resource that somebody has asked for: each aborts when its token is no longer good. Each has a timer of its
 * own, since in a worker a timer lives no longer than the request that set it.
 *
 * A signal that nobody listens to and nobody holds is given up. What is kept here is weak, and a signal that depends on another
 * lives as long as it has listeners (DOM §3.1.2), so a handler that hands its signal to `fetch` in every request leaves nothing.
 */
export class AccessSignals {
  readonly #rules: SignalRules;
  readonly #end: EpochSeconds;
  readonly #timers = new Map<WeakRef<Watched>, ReturnType<typeof setTimeout>>();
  readonly #watched = new WeakMap<AbortSignal, Watched>();
  #closed = false;

  constructor(rules: SignalRules) {
    this.#rules = rules;
    this.#end = rules.end ?? Number.POSITIVE_INFINITY;
  }

  /** A signal for one request. A token that is accepted beyond its `exp` gets the rest of the tolerance. */
  of(token: AuthenticatedToken, confirmed: ConfirmedToken): AbortSignal {
    const { exp } = token.claims;
    const until = Math.min(this.#now() < exp ? exp : exp + this.#rules.tolerance, this.#end);
    const watched: Watched = { token, confirmed, until, controller: new AbortController(), asking: false };
    const signal = AbortSignal.any([watched.controller.signal]);
    this.#watched.set(signal, watched);
    const end = this.#endOf(watched);
    if (end === undefined) this.#wait(new WeakRef(watched), watched);
    else watched.controller.abort(end);
    return signal;
  }

  /** Looks at all of them: some key has been revoked. Nobody is asked for it, and all are asked when they would have been. */
  check(): void {
    for (const reference of this.#timers.keys()) {
      const watched = reference.deref();
      const end = watched && this.#endOf(watched);
      if (watched === undefined || end !== undefined) this.#giveUp(reference, end);
    }
  }

  /** From now on nobody looks, so nothing goes on: every signal is aborted, and so is one that is asked for later. */
  close(): void {
    this.#closed = true;
    this.check();
  }

  #wait(reference: WeakRef<Watched>, watched: Watched): void {
    // The last argument is only held: where signals are not kept for their listeners, the timer keeps them.
    const held = keepsListenedSignals ? undefined : watched;
    const wait = Math.min(watched.until - this.#now(), LONGEST_WAIT);
    const timer = setTimeout((_held) => this.#look(reference), wait * 1000, held);
    // A number in browsers and workers, where no timer keeps a process alive.
    if (typeof timer === 'object') timer.unref();
    this.#timers.set(reference, timer);
  }

  #look(reference: WeakRef<Watched>): void {
    const watched = reference.deref();
    const end = watched && this.#endOf(watched);
    if (watched === undefined || end !== undefined) return this.#giveUp(reference, end);
    this.#wait(reference, watched);
    this.#ask(reference, watched);
  }

  /** A stream ends where a request would be refused: at what is revoked, and at what cannot be known. */
  #ask(reference: WeakRef<Watched>, watched: Watched): void {
    const { objection } = this.#rules;
    if (objection === undefined) return;
    if (watched.asking) return this.#giveUp(reference, endFor('unavailable.is_revoked'));
    const answer = objection(watched.confirmed);
    if (!(answer instanceof Promise)) {
      if (answer !== undefined) this.#giveUp(reference, endFor(answer.rejected));
      return;
    }
    watched.asking = true;
    void this.#hear(reference, answer);
  }

  /** Nothing is held for as long as the answer takes. */
  async #hear(reference: WeakRef<Watched>, answer: Promise<Rejection | undefined>): Promise<void> {
    const objected = await answer;
    const asked = reference.deref();
    if (asked !== undefined) asked.asking = false;
    if (objected !== undefined) this.#giveUp(reference, endFor(objected.rejected));
  }

  /** Looks no more, and ends what was watched. */
  #giveUp(reference: WeakRef<Watched>, end: DOMException | undefined): void {
    clearTimeout(this.#timers.get(reference));
    this.#timers.delete(reference);
    if (end !== undefined) reference.deref()?.controller.abort(end);
  }

  #endOf({ token, until }: Watched): DOMException | undefined {
    const left = until - this.#now();
    // Not `left <= 0`: what cannot be compared has ended too.
    if (!(left > 0)) return new DOMException(until === this.#end ? 'Audit mode has ended.' : REASONS['token.expired'].text, 'TimeoutError');
    if (!token.keyTrusted()) return endFor('token.unknown_key');
    return this.#closed ? new DOMException('The protected resource was closed.', 'AbortError') : undefined;
  }

  /** Where the clock fails it is not known that a token is still good, so it is not. */
  #now(): EpochSeconds {
    try {
      return this.#rules.now();
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }
}

function endFor(reason: Reason): DOMException {
  return new DOMException(REASONS[reason].text, 'AbortError');
}
