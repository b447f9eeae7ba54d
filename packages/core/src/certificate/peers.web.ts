import ipaddr from 'ipaddr.js';
import type * as node from './peers.node.ts';

// The same as peers.node.ts where there is no node:net.

export const addressBits: typeof node.addressBits = (text) => {
  if (text.includes('%')) return undefined;
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return 32;
  return ipaddr.IPv6.isValid(text) && text.includes(':') ? 128 : undefined;
};

export const addressMatcher: typeof node.addressMatcher = (ranges) => {
  const list = ranges.map(({ address, prefix }) => rangeOf(address, prefix));
  return (address) => {
    if (addressBits(address) === undefined) return false;
    const one = ipaddr.process(address);
    return list.some(([range, prefix]) => range.kind() === one.kind() && one.match(range, prefix));
  };
};

/** Where IPv4 is written in IPv6, the last 32 bits count. */
function rangeOf(address: string, prefix: number): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const range = ipaddr.parse(address);
  const isMapped = range.kind() === 'ipv6' && prefix >= 96 && ipaddr.process(address).kind() === 'ipv4';
  return isMapped ? [ipaddr.process(address), prefix - 96] : [range, prefix];
}

/** TLS of other runtimes does not renegotiate. */
export const watchRequests: typeof node.watchRequests = () => {};
