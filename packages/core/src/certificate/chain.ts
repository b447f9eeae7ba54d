import { LRUCache } from 'lru-cache';
import { isRejection, nameOf, reject, type Rejection } from '../rejection.ts';
import type { Awaitable, EpochSeconds } from '../request.ts';
import type { Certificate } from './thumbprint.ts';
import { isWithin, outsideValidity, type ParsedCertificate, parseCertificate } from './x509.ts';

/** A certificate of a chain, for {@link ChainPolicy.isRevoked}. */
export interface ChainCertificate {
  /** `x5t#S256`. */
  readonly thumbprint: string;
  readonly der: Uint8Array;
  /** In hexadecimal, as in a list of revoked certificates. */
  readonly serialNumber: string;
  readonly issuer: string;
  readonly subject: string;
}

/** Who may have issued the certificates of clients. Certificates in DER. */
export interface ChainPolicy {
  readonly anchors: readonly Uint8Array[];
  readonly intermediates: readonly Uint8Array[];
  readonly isRevoked: ((certificate: ChainCertificate) => Awaitable<boolean>) | undefined;
  /** Seconds for which what `isRevoked` said is remembered. */
  readonly revocationFor: number;
}

/** Judges chains. `ready` rejects where an anchor or intermediate is none. */
export interface JudgeChain {
  (certificate: Certificate, now: EpochSeconds): Awaitable<Rejection | undefined>;
  ready(): Promise<void>;
}

interface Verdict {
  readonly objection: Rejection | undefined;
  readonly until: EpochSeconds;
}

interface Authorities {
  readonly anchors: readonly ParsedCertificate[];
  readonly intermediates: readonly ParsedCertificate[];
}

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_PURPOSE = '2.5.29.37.0';
/** Certificates below the anchor, the client's among them. */
const LONGEST_PATH = 6;
/** Signatures that one judgement may cost, however many authorities have the same name. */
const MOST_SIGNATURES = 32;
/** Seconds for which a refusal is remembered, for the same certificate from the same source. */
const REFUSED_FOR = 60;
/** Verdicts that are remembered. */
const REMEMBERED = 10_000;

/**
 * The policy that there be a chain from the certificate of the client to one of the configured anchors (RFC 5280 §6). Each
 * certificate is judged, and not only found: dates, CA:TRUE and keyCertSign of every issuer, path lengths, clientAuth, critical
 * extensions that nobody understands, signature algorithms, keys; and `isRevoked`, for each below the anchor. Name constraints are
 * not understood, so an authority that has them is refused.
 *
 * A verdict is remembered with the certificate, and carries its own end.
 */
export function trustedChain(policy: ChainPolicy): JudgeChain {
  // A chain that a client sends is part of what is judged; without one the certificate is all there is.
  const keyOf = (certificate: Certificate): string | Certificate =>
    certificate.chain === undefined ? certificate.thumbprint : certificate;
  const verdicts = new LRUCache<string | Certificate, Verdict>({ max: REMEMBERED });
  const judging = new Map<string | Certificate, Promise<Verdict>>();
  let loading: Promise<Authorities> | undefined;
  const loaded = (): Promise<Authorities> => (loading ??= loadAuthorities(policy));

  const judgeOnce = async (certificate: Certificate, now: EpochSeconds): Promise<Rejection | undefined> => {
    const key = keyOf(certificate);
    let verdict = judging.get(key);
    if (verdict === undefined) {
      verdict = loaded().then((authorities) => judgeCertificate(certificate, authorities, policy, now));
      judging.set(key, verdict);
    }
    try {
      const judged = await verdict;
      verdicts.set(key, judged);
      return judged.objection;
    } finally {
      judging.delete(key);
    }
  };
  const judge = (certificate: Certificate, now: EpochSeconds): Awaitable<Rejection | undefined> => {
    const known = verdicts.get(keyOf(certificate));
    return known !== undefined && now <= known.until ? known.objection : judgeOnce(certificate, now);
  };
  const ready = async (): Promise<void> => {
    const { anchors, intermediates } = await loaded();
    const missing = policy.anchors.length - anchors.length + policy.intermediates.length - intermediates.length;
    if (missing > 0) throw new Error(`certificatePolicy: ${missing} of the anchors and intermediates cannot be read as certificates.`);
    for (const one of [...anchors, ...intermediates]) {
      const objection = objectionToAuthority(one, 0);
      if (objection !== undefined)
        throw new Error(`certificatePolicy: ${one.subject} ${objection}, so it cannot have issued certificates of clients.`);
    }
  };
  return Object.assign(judge, { ready });
}

async function loadAuthorities({ anchors, intermediates }: ChainPolicy): Promise<Authorities> {
  return { anchors: await parseAll(anchors), intermediates: await parseAll(intermediates) };
}

async function parseAll(ders: readonly Uint8Array[]): Promise<readonly ParsedCertificate[]> {
  const parsed = await Promise.all(ders.map((der) => parseCertificate(der)));
  return parsed.filter((one) => one !== undefined);
}

async function judgeCertificate(
  certificate: Certificate,
  authorities: Authorities,
  policy: ChainPolicy,
  now: EpochSeconds,
): Promise<Verdict> {
  const path = await findPath(certificate, authorities, now);
  if (isRejection(path)) return { objection: path, until: now + REFUSED_FOR };
  const until = Math.min(...path.map(({ notAfter }) => notAfter));
  if (policy.isRevoked === undefined) return { objection: undefined, until };
  const objection = await findRevoked(path.slice(0, -1), policy.isRevoked);
  // That it cannot be known is not remembered.
  const remembered = objection?.rejected === 'unavailable.revocation' ? -1 : policy.revocationFor;
  return { objection, until: Math.min(until, now + remembered) };
}

async function findRevoked(
  path: readonly ParsedCertificate[],
  isRevoked: NonNullable<ChainPolicy['isRevoked']>,
): Promise<Rejection | undefined> {
  for (const { thumbprint, der, serialNumber, issuer, subject } of path) {
    let answer: unknown;
    try {
      answer = await isRevoked({ thumbprint, der, serialNumber, issuer, subject });
    } catch (error) {
      return reject('unavailable.revocation', { detail: nameOf(error) });
    }
    if (answer === true) return reject('certificate.revoked', { detail: `serial number ${serialNumber}` });
    if (answer !== false) return reject('unavailable.revocation', { detail: 'neither true nor false' });
  }
  return undefined;
}

/** The chain, the client's certificate first and the anchor last. */
async function findPath(
  { der, chain = [] }: Certificate,
  authorities: Authorities,
  now: EpochSeconds,
): Promise<readonly ParsedCertificate[] | Rejection> {
  const leaf = der === undefined ? undefined : await parseCertificate(der);
  if (leaf === undefined) return reject('certificate.unreadable');
  const objection = objectionToLeaf(leaf);
  if (objection !== undefined) return reject('certificate.untrusted_chain', { detail: `the certificate ${objection}` });
  if (!isWithin(leaf, now)) return outsideValidity(leaf);
  const sent = await parseAll(chain);
  const search = new Search({ ...authorities, intermediates: [...authorities.intermediates, ...sent] }, now);
  return (await search.from([leaf])) ?? reject('certificate.untrusted_chain', { detail: search.why });
}

function objectionToLeaf({ fault, weakSignature, purposes, allowsDigitalSignature }: ParsedCertificate): string | undefined {
  if (fault !== undefined) return fault;
  if (weakSignature !== undefined) return `is signed with an algorithm that is not accepted (${weakSignature})`;
  if (purposes?.includes(CLIENT_AUTH) === false) return 'is not for clientAuth';
  return allowsDigitalSignature ? undefined : 'may not be used for signatures';
}

/** Why this certificate cannot have issued others, with so many authorities below it; `undefined` where it can. */
function objectionToAuthority(
  { fault, isAuthority, allowsCertSign, pathLength, purposes }: ParsedCertificate,
  below: number,
): string | undefined {
  if (fault !== undefined) return fault;
  if (!isAuthority) return 'is no authority (CA:TRUE)';
  if (!allowsCertSign) return 'may not sign certificates (keyCertSign)';
  if (pathLength !== undefined && below > pathLength) return 'allows fewer authorities below it (path length)';
  if (purposes !== undefined && !purposes.includes(CLIENT_AUTH) && !purposes.includes(ANY_PURPOSE)) return 'is not for clientAuth';
  return undefined;
}

/** Depth first, from the client's certificate towards the anchors. */
class Search {
  /** What stood in the way, where anything but a missing issuer did. */
  why = 'there is no chain to an anchor';
  readonly #authorities: Authorities;
  readonly #now: EpochSeconds;
  #signatures = 0;

  constructor(authorities: Authorities, now: EpochSeconds) {
    this.#authorities = authorities;
    this.#now = now;
  }

  async from(path: readonly ParsedCertificate[]): Promise<readonly ParsedCertificate[] | undefined> {
    const { anchors, intermediates } = this.#authorities;
    for (const anchor of anchors) {
      if (await this.#isIssuer(anchor, path)) return [...path, anchor];
    }
    if (path.length === LONGEST_PATH) {
      this.why = `the chain has more than ${LONGEST_PATH} certificates below the anchor`;
      return undefined;
    }
    for (const next of intermediates) {
      // The same certificate, or the same authority again, leads nowhere but in a circle.
      if (path.some(({ thumbprint }) => thumbprint === next.thumbprint)) continue;
      if (next.weakSignature !== undefined) {
        this.why = `${next.subject} is signed with an algorithm that is not accepted (${next.weakSignature})`;
        continue;
      }
      const found = (await this.#isIssuer(next, path)) ? await this.from([...path, next]) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async #isIssuer(candidate: ParsedCertificate, path: readonly ParsedCertificate[]): Promise<boolean> {
    const last = path.at(-1);
    if (last === undefined || candidate.subjectDer !== last.issuerDer || candidate.thumbprint === last.thumbprint) return false;
    // Self-issued ones, by which an authority changes its key, do not count (RFC 5280 §6.1.4 (l)).
    const below = path.slice(1).filter(({ subjectDer, issuerDer }) => subjectDer !== issuerDer).length;
    const objection =
      objectionToAuthority(candidate, below) ?? (isWithin(candidate, this.#now) ? undefined : 'has expired, or is not valid yet');
    if (objection !== undefined) {
      this.why = `${candidate.subject} ${objection}`;
      return false;
    }
    if (this.#signatures === MOST_SIGNATURES) {
      this.why = `more than ${MOST_SIGNATURES} signatures would have to be verified`;
      return false;
    }
    this.#signatures += 1;
    if (await last.signedBy(candidate)) return true;
    this.why = `the signature is not by the key of ${candidate.subject}`;
    return false;
  }
}
