import type { EpochSeconds } from '../request.ts';

/** When a server that does not answer is left alone, and for how long. */
export interface BreakerSettings {
  /** Failures in a row after which it is not asked any more. */
  readonly failures: number;
  /** Seconds until one call tries again. */
  readonly cooldown: number;
}

/**
 * A circuit breaker: after some failures in a row nothing is asked for a while, then one call tries. A library would bring its own
 * clock, and this one has to be the resource's.
 */
export class Breaker {
  readonly #settings: BreakerSettings;
  #failures = 0;
  #openUntil = Number.NEGATIVE_INFINITY;

  constructor(settings: BreakerSettings) {
    this.#settings = settings;
  }

  /** Seconds for which nothing may be asked; 0 where a call may be made. The first call after a while holds the others back. */
  wait(now: EpochSeconds): number {
    if (this.#failures < this.#settings.failures) return 0;
    if (now < this.#openUntil) return this.#openUntil - now;
    this.#openUntil = now + this.#settings.cooldown;
    return 0;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  failed(now: EpochSeconds): void {
    this.#failures += 1;
    this.#openUntil = now + this.#settings.cooldown;
  }
}
