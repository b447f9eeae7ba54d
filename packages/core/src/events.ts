import { broadcast, warn } from '#runtime';
import { type Reason, REASONS, type Rejection, type Scheme } from './rejection.ts';
import type { EpochSeconds, ProtectedResourceRequest } from './request.ts';

/**
 * One decision of a protected resource. Holds no secret: no token, proof, header, query or key, and of thumbprints only the
 * beginning where they differ.
 */
export interface ResourceEvent {
  readonly time: EpochSeconds;
  /**
   * `unavailable`: refused because something of ours failed, not because of the client. `audited`: let through in audit mode, for a
   * reason for which it will be refused later.
   */
  readonly outcome: 'granted' | 'refused' | 'audited' | 'unavailable';
  readonly reason?: Reason;
  /** What the reason means, in a sentence; with `detail`, `expected` and `received` where the case has them. */
  readonly text?: string;
  readonly detail?: string;
  readonly expected?: string;
  readonly received?: string;
  readonly scheme?: Scheme;
  /** Of a token that was authenticated. */
  readonly issuer?: string;
  readonly clientId?: string;
  /** What the option `route` called it. */
  readonly route?: string;
  /** Members of `cnf` that were confirmed. */
  readonly confirmations?: readonly string[];
  /** Milliseconds. */
  readonly timings: { readonly total: number };
}

/**
 * The name of the `node:diagnostics_channel` on which every decision of every resource in the process is published: on Node, Deno
 * and Bun. Where there is none, in Workers, `onEvent` hears them.
 *
 * A subscriber that throws changes no decision, but ends the process as any uncaught exception does: that is Node's rule for
 * channels, whoever publishes. What `onEvent` throws is a warning.
 */
export const DECISION_CHANNEL = 'holdfast:decision';

/** Where the decisions of one resource go. */
export interface DecisionSink {
  /** Whether anybody listens; where nobody does, no event is made. */
  readonly observed: () => boolean;
  publish(event: ResourceEvent): void;
}

/** The channel, and the `onEvent` of one resource. What a listener throws cannot change or break the decision. */
export function decisionSink(onEvent: ((event: ResourceEvent) => void) | undefined): DecisionSink {
  const decisions = broadcast(DECISION_CHANNEL);
  return {
    observed: () => onEvent !== undefined || decisions.hasSubscribers,
    publish(event) {
      decisions.publish(event);
      try {
        // It may be an async function: what it rejects with must not end the process.
        const heard: unknown = onEvent?.(event);
        if (heard instanceof Promise) heard.catch(warnOfListener);
      } catch (error) {
        warnOfListener(error);
      }
    },
  };
}

function warnOfListener(error: unknown): void {
  warn(`onEvent threw ${error instanceof Error ? error.name : 'a value that is no error'}. Decisions do not depend on it.`);
}

/** An event is better without its route than a request without its answer. */
export function routeOf(route: (request: ProtectedResourceRequest) => unknown, request: ProtectedResourceRequest): string | undefined {
  try {
    const name = route(request);
    return typeof name === 'string' && name.length <= 200 ? name : undefined;
  } catch {
    return undefined;
  }
}

/** What a rejection says in an event. */
export function whyOf({
  rejected,
  detail,
  expected,
  received,
}: Rejection): Pick<ResourceEvent, 'reason' | 'text' | 'detail' | 'expected' | 'received'> {
  return {
    reason: rejected,
    text: REASONS[rejected].text,
    ...(detail !== undefined && { detail }),
    ...(expected !== undefined && { expected }),
    ...(received !== undefined && { received }),
  };
}
