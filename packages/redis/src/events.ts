import { channel } from 'node:diagnostics_channel';

/** What becomes of a replay store in Redis. Holds no secret, no key and no address. */
export interface ReplayStoreEvent {
  /** In epoch seconds. */
  readonly time: number;
  readonly environment: string;
  /**
   * `unavailable`: a use could not be asked of Redis, and before it could; until it is `available` again, requests get 503, or
   * with `fallback: true` the memory of the process judges, so that a proof can be used once in each process.
   * `eviction`: with `evictionPolicy: 'warn'`, Redis may forget used proofs, or does not tell.
   */
  readonly state: 'unavailable' | 'available' | 'eviction';
  readonly fallback: boolean;
  /** The kind of failure, or the warning. */
  readonly detail?: string;
}

/** The name of the `node:diagnostics_channel` on which the events of every store in the process are published. */
export const REPLAY_STORE_CHANNEL = 'holdfast:replay-store';

/** Publishes on the channel, and to the `onEvent` of one store. What a listener throws cannot change what is decided. */
export function eventSink(onEvent: ((event: ReplayStoreEvent) => void) | undefined): (event: ReplayStoreEvent) => void {
  const events = channel(REPLAY_STORE_CHANNEL);
  return (event) => {
    events.publish(event);
    try {
      // It may be an async function: what it rejects with must not end the process.
      const heard: unknown = onEvent?.(event);
      if (heard instanceof Promise) heard.catch(warnOfListener);
    } catch {
      warnOfListener();
    }
  };
}

/** Tells the people who run the process. */
export function warn(message: string): void {
  process.emitWarning(message, 'HoldfastWarning');
}

function warnOfListener(): void {
  warn('onEvent of the replay store threw. Decisions do not depend on it.');
}
