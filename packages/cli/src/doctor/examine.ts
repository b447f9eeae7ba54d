import { type ExaminedLocation, examineKeys, examineLocations, type KeyOfSet } from '@holdfast/core/diagnosis';
import { type Exchange, notingFetch } from '../issuer-fetch.ts';
import { recognise, type Recognised } from './recognise.ts';

/** What is examined, and how. */
export interface DoctorOptions {
  readonly issuer: string;
  /** What tokens have to be for. */
  readonly audience: string | undefined;
  /** A further authority to trust, PEM. */
  readonly ca: string | undefined;
  /** Seconds for each document. */
  readonly timeout: number;
}

/** Everything that was seen of an issuer. */
export interface Examination {
  readonly locations: readonly ExaminedLocation[];
  /** The document that a resource takes. */
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
  readonly keys: readonly KeyOfSet[] | undefined;
  /** Why the keys could not be had. */
  readonly keysFailure: string | undefined;
  readonly exchanges: readonly Exchange[];
  readonly clock: ClockOffset | undefined;
  readonly provider: Recognised | undefined;
}

/** Seconds by which the clock of the server is ahead of ours: between these, since `Date` has whole seconds and answers take time. */
export interface ClockOffset {
  readonly least: number;
  readonly most: number;
}

/** Bytes of a document: as many as a resource reads by default. */
const LARGEST = 512 * 1024;

/** Asks an issuer for its metadata and its keys, as a protected resource asks, and nothing else. */
export async function examine({ issuer, ca, timeout }: DoctorOptions): Promise<Examination> {
  const exchanges: Exchange[] = [];
  const fetch = notingFetch(ca, exchanges);
  const limits = { timeout, largest: LARGEST };
  const locations = await examineLocations(issuer, fetch, limits);
  const metadata = locations.find(({ found }) => found === 'metadata')?.document;
  const uri = metadata?.['jwks_uri'];
  let keys: readonly KeyOfSet[] | undefined;
  let keysFailure: string | undefined;
  if (typeof uri === 'string') {
    try {
      keys = await examineKeys(uri, fetch, limits);
    } catch (error) {
      keysFailure = error instanceof Error ? error.message : 'an unexpected failure';
    }
  }
  return { locations, metadata, keys, keysFailure, exchanges, clock: clockOf(exchanges), provider: recognise(issuer, metadata) };
}

function clockOf(exchanges: readonly Exchange[]): ClockOffset | undefined {
  const told = exchanges.flatMap(({ sentAt, receivedAt, date }) =>
    date === undefined || receivedAt === undefined ? [] : [{ least: (date - receivedAt) / 1000, most: (date + 1000 - sentAt) / 1000 }],
  );
  if (told.length === 0) return undefined;
  const least = Math.max(...told.map((one) => one.least));
  const most = Math.min(...told.map((one) => one.most));
  // Several servers may answer, each with a clock of its own.
  return least <= most ? { least, most } : told[0];
}
