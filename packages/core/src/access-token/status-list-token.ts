import { decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose';
import { type Fetch, type FetchLimits, fetchText } from '../discovery/fetch-json.ts';
import { firstThatVerifies, type KeySet } from '../keys/key-set.ts';
import { isRejection } from '../rejection.ts';
import type { EpochSeconds } from '../request.ts';

/** A list could not be had, or is not what it should be: nothing can be said of the token, and so nothing is granted. */
export class StatusListFailure extends Error {
  override readonly name = 'StatusListFailure';
}

/** An issuer whose tokens point to status lists. */
export interface StatusIssuer {
  readonly issuer: string;
  /** Origins that its lists may be at. */
  readonly origins: readonly string[];
  readonly keys: KeySet;
}

/** How lists are fetched and judged. */
export interface StatusListLimits extends FetchLimits {
  readonly algorithms: readonly string[];
  /** Seconds after which a list is fetched again. */
  readonly maxAge: number;
  /** Bytes of one list, inflated. */
  readonly largestList: number;
  readonly fetch: Fetch;
}

/** A list that was verified. */
export interface StatusList {
  readonly octets: Uint8Array;
  readonly bits: number;
  readonly iat: EpochSeconds;
  /** From here on it is fetched again before it is used. */
  readonly freshUntil: EpochSeconds;
  /** From here on it says nothing any more: `exp`, or the end of `ttl`. */
  readonly until: EpochSeconds;
  readonly keyTrusted: () => boolean;
}

/** Clocks may differ by so many seconds. */
export const TOLERANCE = 5;

/** Fetches a list and verifies it. Rejects with a {@link StatusListFailure}, or the failure of the fetch. */
export async function fetchList(uri: string, issuer: StatusIssuer, now: EpochSeconds, settings: StatusListLimits): Promise<StatusList> {
  const { status, type, text } = await fetchText(uri, settings.fetch, settings, { headers: { accept: 'application/statuslist+jwt' } });
  if (status !== 200) throw new StatusListFailure(`the list was answered with status ${status}, and 200 was expected`);
  if (!/^application\/statuslist\+jwt\s*(?:;|$)/i.test(type)) throw new StatusListFailure('what came is no application/statuslist+jwt');
  const { payload, keyTrusted } = await verified(text.trim(), uri, issuer, now, settings);
  const { iat, exp, ttl, status_list: list } = payload;
  const { bits, lst } = membersOf(list);
  if (typeof iat !== 'number' || !Number.isFinite(iat) || iat > now + TOLERANCE)
    throw new StatusListFailure('the list has no iat, or one in the future');
  if (ttl !== undefined && !(typeof ttl === 'number' && ttl > 0)) throw new StatusListFailure('ttl of the list is no positive number');
  if (bits !== 1 && bits !== 2 && bits !== 4 && bits !== 8) throw new StatusListFailure('bits of the list is none of 1, 2, 4 and 8');
  if (typeof lst !== 'string' || !/^[\w-]*$/.test(lst)) throw new StatusListFailure('lst of the list is no base64url');
  const octets = await inflated(lst, settings.largestList);
  const kept = now + (typeof ttl === 'number' ? ttl : settings.maxAge);
  const until = Math.min(kept, exp ?? Number.POSITIVE_INFINITY);
  return { octets, bits, iat, until, freshUntil: Math.min(until, now + settings.maxAge), keyTrusted };
}

interface Verified {
  readonly payload: JWTPayload;
  readonly keyTrusted: () => boolean;
}

/** The claims, by a key of the issuer and for this very URI. */
async function verified(
  compact: string,
  uri: string,
  { issuer, keys }: StatusIssuer,
  now: EpochSeconds,
  { algorithms }: StatusListLimits,
): Promise<Verified> {
  const header = headerOf(compact);
  const { alg } = header;
  if (alg === undefined || !algorithms.includes(alg))
    throw new StatusListFailure('the list is signed with an algorithm that is not on the list');
  const found = await firstThatVerifies<Verified>(keys, { ...header, alg }, now, async (key, imported) => {
    const result = await jwtVerify(compact, imported, {
      algorithms: [...algorithms],
      typ: 'statuslist+jwt',
      subject: uri,
      requiredClaims: ['iat'],
      clockTolerance: TOLERANCE,
      currentDate: new Date(now * 1000),
    }).catch(() => undefined);
    return result && { payload: result.payload, keyTrusted: key.trusted };
  });
  if (found === undefined) throw new StatusListFailure('the list does not hold: its signature, typ, sub, iat or exp');
  if (isRejection(found)) throw new StatusListFailure(found.detail ?? 'the list is signed with a key that the issuer does not publish');
  const { iss } = found.payload;
  if (iss !== undefined && iss !== issuer) throw new StatusListFailure('the list is of another issuer');
  return found;
}

function headerOf(compact: string): ReturnType<typeof decodeProtectedHeader> {
  try {
    return decodeProtectedHeader(compact);
  } catch {
    throw new StatusListFailure('what came is no JWT');
  }
}

/**
 * Inflates (RFC 1950) up to a size: a list of a few bytes can stand for gigabytes. For that it is done here: the library there is for
 * status lists (`@sd-jwt/jwt-status-list`) inflates all of it, and then makes a number of every status.
 */
async function inflated(lst: string, largest: number): Promise<Uint8Array> {
  const text = atob(lst.replaceAll('-', '+').replaceAll('_', '/'));
  const compressed = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    const stream: AsyncIterable<Uint8Array> = new Blob([compressed]).stream().pipeThrough(new DecompressionStream('deflate'));
    for await (const chunk of stream) {
      size += chunk.length;
      // Leaving the loop cancels the stream.
      if (size > largest) break;
      chunks.push(chunk);
    }
  } catch {
    throw new StatusListFailure('lst of the list cannot be inflated');
  }
  if (size > largest) throw new StatusListFailure(`the list is larger than the ${largest} bytes that are kept`);
  const octets = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    octets.set(chunk, offset);
    offset += chunk.length;
  }
  return octets;
}

/** A status, from the least significant bits of each octet on; `undefined` beyond the list. */
export function statusAt({ octets, bits }: StatusList, idx: number): number | undefined {
  const perOctet = 8 / bits;
  const octet = octets[Math.floor(idx / perOctet)];
  return octet === undefined ? undefined : (octet >> ((idx % perOctet) * bits)) & (2 ** bits - 1);
}

/** The members of an object, and none of anything else. */
export function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}
