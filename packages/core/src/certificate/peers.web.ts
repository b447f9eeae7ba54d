import ipaddr from 'ipaddr.js';
import type * as node from './peers.node.ts';

// The same as peers.node.ts where there is no node:net.

export const addressBits: typeof node.addressBits = (text) => {
  if (text.includes('%')) return undefined;
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return 32;
  return ipaddr.IPv6.isValid(text) && text.includes(':') ? 128 : undefined;
};

export const addressMatcher: typeof node.addressMatcher = (ranges) => {
  const list = ranges.map(({ address, prefix }) => ({ range: ipaddr.parse(address), prefix }));
  return (address) => {
    if (addressBits(address) === undefined) return false;
    const given = ipaddr.parse(address);
    const real = ipaddr.process(address);
    return list.some(({ range, prefix }) => [given, real].some((one) => one.kind() === range.kind() && one.match(range, prefix)));
  };
};

/** TLS of other runtimes does not renegotiate. */
export const watchRequests: typeof node.watchRequests = () => {};
