// An entry of its own: only those who use status lists load it.
import { statusCheck, type StatusToken } from './access-token/status-list.ts';
import { readStatusList, type StatusListOptions } from './options/status-list.ts';

export type { StatusListIssuer, StatusListOptions } from './options/status-list.ts';
export type { StatusToken } from './access-token/status-list.ts';

/** For `isRevoked` of a protected resource. */
export interface StatusListCheck {
  /** Resolves with whether the token is revoked or suspended. Rejects where that cannot be known, which is 503. */
  (token: StatusToken): Promise<boolean>;
  /** Ends the timers that refresh the keys of issuers. */
  close(): Promise<void>;
}

/**
 * Asks the status list that an access token points to (`status.status_list`, Token Status List, draft-ietf-oauth-status-list). The list is a JWT
 * (`typ: statuslist+jwt`) by a key of the issuer, whose `sub` is its own URI; it is kept until its `ttl` or `exp`, and fetched again
 * after `maxAge`. Any status but 0 (valid) is refused, and so are an index beyond the list and a reference that is none. A list that
 * cannot be had, or does not hold, is 503. Throws one `TypeError` that lists every problem in the options.
 *
 * `isRevoked: statusList({ issuers: [{ issuer: 'https://as.example.com' }] })`
 */
export function statusList(options: StatusListOptions): StatusListCheck {
  const settings = readStatusList(options);
  const close = async (): Promise<void> => {
    await Promise.all(settings.issuers.map(({ keys }) => keys.close()));
  };
  return Object.assign(statusCheck(settings), { close });
}
