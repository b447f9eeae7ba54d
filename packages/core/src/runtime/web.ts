import type * as node from './node.ts';

// The same as node.ts where there is no Node: in browsers and workers.

export const broadcast: typeof node.broadcast = () => ({ hasSubscribers: false, publish: () => {} });

export const warn: typeof node.warn = (message) => console.warn(`HoldfastWarning: ${message}`);

/** Not known: an isolate sees no other. */
export const isOneOfSeveral: typeof node.isOneOfSeveral = () => false;

/** Workers cancel it. */
export const outlivesRequests: typeof node.outlivesRequests = false;

export const keepsListenedSignals: typeof node.keepsListenedSignals = false;
