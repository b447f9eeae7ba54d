import cluster from 'node:cluster';
import { channel } from 'node:diagnostics_channel';

/** Where everybody in the process can listen. */
export interface Broadcast {
  readonly hasSubscribers: boolean;
  publish(message: object): void;
}

/** The `node:diagnostics_channel` of this name. */
export function broadcast(name: string): Broadcast {
  return channel(name);
}

/** Tells the people who run the process. */
export function warn(message: string): void {
  process.emitWarning(message, 'HoldfastWarning');
}

/** Whether this process is known to be one of several that answer the same clients. */
export function isOneOfSeveral(): boolean {
  return cluster.isWorker;
}

/** Whether what is under way goes on when the request that began it is answered. */
export const outlivesRequests: boolean = true;

/** Whether a signal that depends on another is kept for as long as it has listeners (DOM §3.1.2). Deno 2.9 lets it go. */
export const keepsListenedSignals: boolean = !('Deno' in globalThis);
