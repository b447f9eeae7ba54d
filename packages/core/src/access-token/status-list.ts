import { LRUCache } from 'lru-cache';
import { isSecureUrl } from '../discovery/metadata.ts';
import type { EpochSeconds } from '../request.ts';
import {
  fetchList,
  membersOf,
  statusAt,
  type StatusIssuer,
  type StatusList,
  StatusListFailure,
  type StatusListLimits,
} from './status-list-token.ts';

export interface StatusListSettings extends StatusListLimits {
  readonly issuers: readonly StatusIssuer[];
  /** What becomes of a token that points to no list. */
  readonly withoutStatus: 'refuse' | 'accept';
  readonly now: () => EpochSeconds;
}

/** What the check reads of a token. */
export interface StatusToken {
  readonly issuer: string;
  readonly claims: Readonly<Record<string, unknown>>;
}

/** Bytes of all lists that are kept. */
const ALL_LISTS = 64 * 1024 * 1024;
/** Seconds for which a list that could not be had is not asked for again. */
const COOLDOWN = 5;
const MOST_FAILURES = 1000;
/**
 * Whether a token is revoked, by the status list that it points to (draft-ietf-oauth-status-list: Token Status List). Every status but 0
 * is; so is an index beyond the list. Rejects where the list cannot be had.
 */
export function statusCheck(settings: StatusListSettings): (token: StatusToken) => Promise<boolean> {
  const lists = new LRUCache<string, StatusList>({ maxSize: ALL_LISTS, sizeCalculation: ({ octets }) => octets.length + 1000 });
  const failures = new LRUCache<string, { readonly failure: unknown; readonly at: EpochSeconds }>({ max: MOST_FAILURES });
  const inFlight = new Map<string, Promise<StatusList>>();

  async function listOf(uri: string, issuer: StatusIssuer): Promise<StatusList> {
    const now = settings.now();
    const known = lists.get(`${issuer.issuer}\n${uri}`);
    const kept = known !== undefined && now < known.until && known.keyTrusted() ? known : undefined;
    if (kept !== undefined && now < kept.freshUntil) return kept;
    try {
      return await refreshed(uri, issuer, kept, now);
    } catch (error) {
      // What its issuer says may be kept longer is used for as long, where there is nothing newer to be had.
      if (kept?.keyTrusted() === true) return kept;
      throw error;
    }
  }

  function refreshed(uri: string, issuer: StatusIssuer, kept: StatusList | undefined, now: EpochSeconds): Promise<StatusList> {
    const key = `${issuer.issuer}\n${uri}`;
    const running = inFlight.get(key);
    if (running !== undefined) return running;
    const failed = failures.get(key);
    if (failed !== undefined && now < failed.at + COOLDOWN) return Promise.reject(failureOf(failed.failure));
    const fetched = fetchList(uri, issuer, now, settings)
      .then((list) => {
        if (kept !== undefined && list.iat < kept.iat) throw new StatusListFailure('the list is older than the one that is known');
        lists.set(key, list);
        return list;
      })
      .catch((error: unknown) => {
        failures.set(key, { failure: error, at: now });
        throw failureOf(error);
      })
      .finally(() => inFlight.delete(key));
    inFlight.set(key, fetched);
    return fetched;
  }

  return async ({ issuer: name, claims }) => {
    const issuer = settings.issuers.find((one) => one.issuer === name);
    if (issuer === undefined) throw new StatusListFailure('the issuer of the token is none of those whose lists are asked');
    if (claims['status'] === undefined) return settings.withoutStatus === 'refuse';
    const reference = referenceIn(claims['status']);
    // The token itself is at fault, and says of nothing that it is valid.
    if (reference === undefined) return true;
    if (!isListOf(reference.uri, issuer)) throw new StatusListFailure('the list is at another origin than those that are named');
    return statusAt(await listOf(reference.uri, issuer), reference.idx) !== 0;
  };
}

/** A failure that is met again must not carry the stack of the first. */
function failureOf(error: unknown): StatusListFailure {
  return new StatusListFailure(error instanceof Error ? error.message : 'an unexpected failure');
}

/** `status.status_list` of a token: `idx` and `uri`. */
function referenceIn(status: unknown): { readonly idx: number; readonly uri: string } | undefined {
  const { idx, uri } = membersOf(membersOf(status)['status_list']);
  return typeof idx === 'number' && Number.isSafeInteger(idx) && idx >= 0 && typeof uri === 'string' ? { idx, uri } : undefined;
}

function isListOf(uri: string, { issuer, origins }: StatusIssuer): boolean {
  if (!isSecureUrl(uri) || uri.includes('#') || !(uri.startsWith('https:') || issuer.startsWith('http:'))) return false;
  return origins.includes(new URL(uri).origin);
}
