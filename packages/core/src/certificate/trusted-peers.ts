import { equal } from '#crypto';
import { addressBits, addressMatcher, type AddressRange, watchRequests } from '#peers';
import { warn } from '#runtime';
import { type Check, isObject, stringsIn } from '../check.ts';
import { isRejection, reject, type Rejection } from '../rejection.ts';
import type { Connection, Peer, ProtectedResourceRequest } from '../request.ts';
import { readHex } from './hash-value.ts';
import { certificatesInPem } from './pem.ts';
import { certificateOf } from './thumbprint.ts';

/** The immediate peers that are the edge: its address, or that it comes over a Unix socket. */
interface TrustedPeers {
  /**
   * IP addresses (`'10.1.2.3'`), ranges (`'10.1.2.0/28'`), and `'unix'`. Never what `X-Forwarded-For` says. An IPv4 address that a
   * socket tells in IPv6 is that IPv4 address; one of a single link (`fe80::1%eth0`) is never trusted, and nor is a peer that is
   * not known any more.
   */
  readonly peers: readonly string[];
}

/** What only the edge knows, in a field that it sets and clients never see. */
interface SharedSecret {
  /** One or two different values of 32 characters at least: to rotate, accept the old and the new one for a while. */
  readonly secret: { readonly field: string; readonly values: readonly string[] };
}

/** The edge authenticates itself by mutual TLS on its connection to us. */
interface PinnedCertificate {
  /** The edge's own client certificate, or several: PEM, or its SHA-256 as `x5t#S256` or in hexadecimal. */
  readonly pinnedCertificate: string | readonly string[];
}

/** How a request shows that it comes from the edge. At least one; all that are given must hold. */
export type EdgeTrust = Partial<TrustedPeers & SharedSecret & PinnedCertificate> & (TrustedPeers | SharedSecret | PinnedCertificate);

const everyPeer: unique symbol = Symbol('every peer');

/** See {@link dangerouslyTrustEveryPeer}. */
export interface EveryPeer {
  readonly [everyPeer]: true;
}

const EVERY_PEER: EveryPeer = Object.freeze<EveryPeer>({ [everyPeer]: true });

/**
 * Trusts whoever can open a connection to this process: anybody who reaches it can send a certificate of somebody else in a field
 * and use that client's stolen token. For a network that only the edge can reach, and for trying things out.
 */
export function dangerouslyTrustEveryPeer(): EveryPeer {
  return EVERY_PEER;
}

/** Why a request is not from the edge, or `undefined` where it is. */
export type DistrustOf = (request: ProtectedResourceRequest) => Rejection | undefined;

const TRUST_NAMES = { peers: true, secret: true, pinnedCertificate: true } as const;
const LEAST_SECRET = 32;
/** What stands in the recipes, for everybody to read. */
const SECRET_OF_RECIPES = 'change-me-change-me-change-me-42';
const FIX =
  "Say how a request shows that it comes from the edge: trust: { peers: ['10.1.2.3'] }, { secret: { field, values } } or { pinnedCertificate }, or several of them";

/** Reads `trust`, and warns where it is weak. */
export function readTrust(check: Check, option: string, value: unknown): DistrustOf {
  if (value === EVERY_PEER) {
    warn(`${option}: every peer is trusted. Who can reach this process around the edge can use any stolen certificate-bound token.`);
    return () => undefined;
  }
  if (!isObject(value)) {
    if (value === undefined) check.wrong(option, value, FIX);
    else check.wrongKind(option, value, FIX);
    return nobody;
  }
  const { peers, secret, pinnedCertificate } = check.object(option, value, TRUST_NAMES);
  if (peers === undefined && secret === undefined && pinnedCertificate === undefined) {
    check.wrongKind(option, value, FIX);
    return nobody;
  }
  const isWeak = secret === undefined && pinnedCertificate === undefined;
  const tests = [
    ...(peers === undefined ? [] : [readPeers(check, `${option}.peers`, peers, isWeak)]),
    ...(pinnedCertificate === undefined ? [] : [readPinned(check, `${option}.pinnedCertificate`, pinnedCertificate)]),
    ...(secret === undefined ? [] : [readSecret(check, `${option}.secret`, secret)]),
  ];
  return (request) => {
    const { peer } = request.connection;
    for (const { name, holds } of tests) {
      if (!holds(request)) return reject('certificate.untrusted_peer', { detail: name, received: nameOf(peer) });
    }
    return undefined;
  };
}

interface Test {
  readonly name: keyof typeof TRUST_NAMES;
  readonly holds: (request: ProtectedResourceRequest) => boolean;
}

function nobody({ connection: { peer } }: ProtectedResourceRequest): Rejection {
  return reject('certificate.untrusted_peer', { received: nameOf(peer) });
}

function nameOf(peer: Peer): string {
  return peer.kind === 'ip' ? peer.address : peer.kind;
}

function readPeers(check: Check, option: string, value: unknown, isWeak: boolean): Test {
  const given = stringsIn(value) ?? [];
  const ranges = given.map((entry) => (entry === 'unix' ? undefined : readRange(entry)));
  for (const [i, range] of ranges.entries()) {
    if (range === 'wrong')
      check.wrong(
        option,
        given[i],
        "Give IP addresses ('10.1.2.3'), ranges ('10.1.2.0/28') and 'unix', IPv4 not written in IPv6; names are not resolved",
      );
    if (range === 'everybody') check.wrong(option, given[i], 'That is everybody: if you mean it, say trust: dangerouslyTrustEveryPeer()');
  }
  if (given.length === 0 || !Array.isArray(value)) check.wrong(option, value, "Give a list, as ['10.1.2.3', 'unix']");
  const known = ranges.filter((range) => typeof range === 'object');
  if (isWeak) warnOfWeak(option, known);
  const isKnown = addressMatcher(known);
  const unix = given.includes('unix');
  // A connection is judged once: its peer stays the same.
  return {
    name: 'peers',
    holds: oncePerConnection(({ peer }) => (peer.kind === 'ip' ? isKnown(peer.address) : peer.kind === 'unix' && unix)),
  };
}

interface Range extends AddressRange {
  /** Of the address: with as many as these it is a single host. */
  readonly bits: number;
}

function readRange(entry: string): Range | 'wrong' | 'everybody' {
  const [, address = '', length] = /^([0-9a-f:.]+)(?:\/(\d{1,3}))?$/i.exec(entry) ?? [];
  const bits = addressBits(address);
  const prefix = length === undefined ? bits : Number(length);
  // IPv4 in IPv6 is how peers may be told of, and no way to write a range: what a short prefix of it means nobody agrees on.
  if (bits === undefined || prefix === undefined || prefix > bits || (bits === 128 && isMapped(address))) return 'wrong';
  const holdsIPv4 = bits === 128 && addressMatcher([{ address, prefix }])('::ffff:0:0');
  return prefix === 0 || holdsIPv4 ? 'everybody' : { address, prefix, bits };
}

const isMapped = addressMatcher([{ address: '0.0.0.0', prefix: 0 }]);
const isLoopback = addressMatcher([
  { address: '127.0.0.0', prefix: 8 },
  { address: '::1', prefix: 128 },
]);

function warnOfWeak(option: string, ranges: readonly Range[]): void {
  for (const { address, prefix, bits } of ranges) {
    const beyond = prefix < bits ? `everybody in ${address}/${prefix}` : isLoopback(address) ? 'every user of this host' : undefined;
    if (beyond === undefined) continue;
    warn(`${option}: ${beyond} is trusted to say which certificate a client has. Add a secret or a pinnedCertificate to trust.`);
  }
}

function readSecret(check: Check, option: string, value: unknown): Test {
  const { field, values } = check.object(option, value, { field: true, values: true });
  if (!isObject(value)) return { name: 'secret', holds: () => false };
  const name = readField(check, `${option}.field`, field);
  const given = stringsIn(values) ?? [];
  const isSecret = (text: string): boolean => text.length >= LEAST_SECRET && /^[\x21-\x7e]+$/.test(text);
  if (!Array.isArray(values) || given.length < 1 || given.length > 2 || !given.every(isSecret)) {
    check.wrongKind(
      `${option}.values`,
      values,
      `Give a list of one or two, each of ${LEAST_SECRET} characters at least, printable ASCII without spaces`,
    );
  } else if (given.includes(SECRET_OF_RECIPES)) {
    check.wrongKind(`${option}.values`, values, 'One is that of the recipes, which everybody can read: make your own, in the edge too');
  } else if (new Set(given).size < given.length) {
    check.wrongKind(`${option}.values`, values, 'Both are the same: give the old one and the new one, or one alone');
  }
  const holds = (request: ProtectedResourceRequest): boolean => {
    const [line, ...others] = request.fieldLines(name);
    if (line === undefined || others.length > 0) return false;
    // Each is compared, whether another one fits or not.
    return given.filter((secret) => equal(line, secret)).length > 0;
  };
  return { name: 'secret', holds };
}

function readPinned(check: Check, option: string, value: unknown): Test {
  const given = stringsIn(value) ?? [];
  const thumbprints = given.map(thumbprintIn);
  if (given.length === 0 || thumbprints.includes(undefined)) {
    check.wrongKind(
      option,
      value,
      "Give the edge's own client certificate: PEM, or its SHA-256 in base64url (43 characters) or hexadecimal (64)",
    );
  }
  watchRequests();
  return {
    name: 'pinnedCertificate',
    holds: oncePerConnection((connection) => {
      const der = connection.peerCertificate();
      if (der === undefined) return false;
      const { thumbprint } = certificateOf(der);
      return thumbprints.some((pinned) => pinned !== undefined && equal(pinned, thumbprint));
    }),
  };
}

function thumbprintIn(text: string): string | undefined {
  if (/^[A-Za-z0-9_-]{43}$/.test(text)) return text;
  const hash = readHex(text.trim());
  if (!isRejection(hash)) return hash.thumbprint;
  const [der, ...others] = certificatesInPem(text, 2) ?? [];
  return der === undefined || others.length > 0 ? undefined : certificateOf(der).thumbprint;
}

function oncePerConnection(judge: (connection: Connection) => boolean): Test['holds'] {
  const judged = new WeakMap<Connection, boolean>();
  return ({ connection }) => {
    let holds = judged.get(connection);
    if (holds === undefined) {
      holds = judge(connection);
      judged.set(connection, holds);
    }
    return holds;
  };
}

const FIELD_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;

/** The name of a field, in lower case. */
export function readField(check: Check, option: string, value: unknown): Lowercase<string> {
  const name = typeof value === 'string' && FIELD_NAME.test(value) ? value.toLowerCase() : '';
  if (name !== '' && isLowercase(name)) return name;
  check.wrong(option, value, "Give the name of a field, as 'X-SSL-Cert'");
  return '';
}

function isLowercase(text: string): text is Lowercase<string> {
  return text === text.toLowerCase();
}
