import { BlockList, isIP, isIPv4 } from 'node:net';

export { watchRequests } from './tls-connection.ts';

/** An address, with the number of bits that count where it stands for a range. */
export interface AddressRange {
  readonly address: string;
  readonly prefix: number;
}

/** How many bits an address has; `undefined` where it is none. */
export function addressBits(text: string): 32 | 128 | undefined {
  if (text.includes('%')) return undefined;
  const version = isIP(text);
  return version === 4 ? 32 : version === 6 ? 128 : undefined;
}

/** Whether an address lies in one of these ranges. IPv4 addresses that are written in IPv6 are IPv4 addresses. Never throws. */
export function addressMatcher(ranges: readonly AddressRange[]): (address: string) => boolean {
  const list = new BlockList();
  for (const { address, prefix } of ranges) list.addSubnet(address, prefix, isIPv4(address) ? 'ipv4' : 'ipv6');
  return (address) => {
    // What is no address is in no list; an address of one link alone (fe80::1%eth0) is not known well enough to be trusted.
    if (address.includes('%')) return false;
    try {
      return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
    } catch {
      return false;
    }
  };
}
