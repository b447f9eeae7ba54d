import type { Awaitable, EpochSeconds } from '../request.ts';

/** One use of a proof. */
export interface ProofUse {
  /** The client: the JWK thumbprint of its key. What it may take of the store is counted by it. */
  readonly client: string;
  /** The proof: SHA-256 of resource, thumbprint and `jti`, as base64url. Never the proof itself, whose signature has other spellings. */
  readonly key: string;
  /** Until then the use has to be remembered; from then on the proof is refused for its age, whatever a store says. A whole number. */
  readonly until: EpochSeconds;
  /** The clock of the resource, read as the store is asked: always before `until`. */
  readonly now: EpochSeconds;
}

/**
 * Remembers which proofs have been used (RFC 9449 §11.1). One verb, because looking first and writing then lets two equal
 * requests through: there is no look-up.
 */
export interface ReplayStore {
  /**
   * Whether this is the first use, in one atomic step: of any number of calls with the same `key`, at the same time and on any
   * instance, exactly one is told `true` until `until` has passed. `over-share`: not recorded, since the client holds more than
   * its share; answered 429. Throwing, or rejecting, means that it cannot be known; answered 503. A store that is full throws:
   * it never forgets a use to make room.
   *
   * A use may be forgotten once `now` of any use has reached its `until`, since no proof that old gets this far: the resource reads
   * its clock after everything else that a request has to wait for, just before it asks, and again when an answer was waited for,
   * and lets nothing pass whose time is over by then. A store that goes by another clock than `now`, or is shared by instances
   * whose clocks differ, has to keep uses for longer by as much as they can differ.
   */
  firstUse(use: ProofUse): Awaitable<boolean | 'over-share'>;
  /** Resolves when uses can be recorded; rejects with an `Error` that says what stands in the way. Part of `ready()` of the resource. */
  ready?(): Promise<void>;
  /** Set where the store knows one process alone, always or while another store is away, so that what another has seen passes. */
  readonly perProcess?: true;
}
