import type { DpopSettings } from '../confirmation/dpop.ts';
import { type PublicOrigin, readOrigin } from '../confirmation/htu.ts';
import { hmacNonces, type NonceSource } from '../confirmation/nonce.ts';
import { isSecureUrl } from '../discovery/metadata.ts';
import { warn } from '#runtime';
import type { Scheme } from '../rejection.ts';
import { memoryReplayStore } from '../replay/memory.ts';
import type { ReplayStore } from '../replay/replay-store.ts';
import type { Check } from '../check.ts';
import type { Demands } from './profiles.ts';

/**
 * How DPoP proofs are judged. Times in seconds. A proof has at most 8,192 characters, its header 4,096, and the host in its `htu` 255;
 * a longer one is refused (`dpop.too_long`, `dpop.htu`).
 */
export interface DpopOptions {
  /** `alg` values of proofs, in the order of the challenge. By default ES and PS with 256, 384 and 512 bits, EdDSA and Ed25519; RS256 can be added. */
  readonly algorithms?: readonly string[];
  /** How far `iat` may lie in the past (default 300, at most 3,600) and in the future (default 60, at most 300). */
  readonly window?: { readonly past?: number; readonly future?: number };
  /**
   * Whether every proof must have a nonce of ours (RFC 9449 §9). `required` makes a secret for this process, the same for all its
   * resources; several instances need the same `secrets`. By default `off`, and a nonce in a proof is ignored.
   */
  readonly nonce?: 'off' | 'required' | NonceOptions;
  /**
   * The nonce tells the age of a proof, by our clock, and `iat` is not judged (RFC 9449 §11.1): for clients whose clocks are wrong by
   * more than the window. A proof is then good for as long as its nonce. Needs `nonce`. By default `false`.
   */
  readonly nonceReplacesIat?: boolean;
  /**
   * Where used proofs are remembered. By default in the memory of this process, a store for each resource, which a restart empties;
   * several processes share one of `@holdfast/redis`. Resources that judge the same request, one inside of the other, may share one:
   * a request is one use for all of them, and an inner one must not accept proofs for longer than an outer one (503). `false` lets a
   * proof be used again in its window.
   */
  readonly replay?: false | ReplayStore;
}

/** Nonces that several instances know. */
export interface NonceOptions {
  /**
   * One or two, of 32 bytes at least, text or bytes. The first makes nonces, both are accepted. To change it, give all instances
   * `[old, new]`, then all `[new, old]`, and two rotations later `[new]`.
   */
  readonly secrets: readonly (string | Uint8Array)[];
  /** Seconds after which there is another nonce, 10 to 3,600; one is accepted for this long at least, and twice as long at most. Default 120. */
  readonly rotation?: number;
}

/** `alg` values of proofs that are accepted by default. */
export const PROOF_ALGORITHMS: readonly string[] = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519'];
/** Seconds by which `iat` of a proof may lie in the past and in the future by default. */
export const PROOF_WINDOW: { readonly past: number; readonly future: number } = { past: 300, future: 60 };
const NONCE_ROTATION = 120;
const LEAST_SECRET = 32;

const DPOP_OPTION_NAMES: Record<keyof DpopOptions, true> = {
  algorithms: true,
  window: true,
  nonce: true,
  nonceReplacesIat: true,
  replay: true,
};

/** DPoP, and the schemes that are offered with or without it. */
export function readDpop(
  check: Check,
  o: Readonly<Record<string, unknown>>,
  audience: readonly string[],
  demands: Demands,
): { dpop: DpopSettings | undefined; schemes: readonly Scheme[] } {
  const { dpop: given, schemes: asked } = o;
  const origins = readOrigins(check, o['publicUrl'], audience);
  const schemes = check.list<Scheme>('schemes', asked, ['Bearer', 'DPoP'], ['Bearer', 'DPoP']);
  const wanted = asked === undefined ? given !== undefined && given !== false : schemes.includes('DPoP');
  const on = given !== false && schemes.includes('DPoP') && (origins.length > 0 || wanted);
  if (given === false && asked !== undefined && wanted) check.wrong('dpop', given, 'Leave it out, or take DPoP out of schemes');
  if (given !== undefined && given !== false && !schemes.includes('DPoP')) check.wrong('schemes', asked, 'Add DPoP, or set dpop: false');
  if (wanted && given !== false && origins.length === 0 && o['publicUrl'] === undefined) {
    check.wrong(
      'publicUrl',
      undefined,
      "DPoP proofs name the URI they are for. Say where clients reach this API, as 'https://api.example.com'",
    );
  }
  if (!on) {
    if (given !== undefined && typeof given !== 'boolean') check.object('dpop', given, DPOP_OPTION_NAMES);
    return { dpop: undefined, schemes: schemes.filter((scheme) => scheme !== 'DPoP') };
  }
  const options = typeof given === 'boolean' || given === undefined ? {} : check.object('dpop', given, DPOP_OPTION_NAMES);
  const resource = JSON.stringify(audience);
  const nonces = readNonces(check, options['nonce'], resource);
  const nonceReplacesIat = check.flag('dpop.nonceReplacesIat', options['nonceReplacesIat']);
  if (nonceReplacesIat && nonces === undefined) check.wrong('dpop.nonceReplacesIat', true, "Require nonces too: dpop.nonce: 'required'");
  const replay = readReplay(check, options['replay'], demands);
  return {
    schemes: schemes.includes('Bearer') ? ['Bearer', 'DPoP'] : ['DPoP'],
    dpop: {
      algorithms: check.list(
        'dpop.algorithms',
        options['algorithms'],
        [...PROOF_ALGORITHMS, 'RS256'].filter(demands.allows),
        PROOF_ALGORITHMS.filter(demands.allows),
      ),
      window: readWindow(check, options['window'], demands),
      nonces,
      nonceReplacesIat,
      replay,
      origins,
      resource,
    },
  };
}

function readOrigins(check: Check, value: unknown, audience: readonly string[]): readonly PublicOrigin[] {
  if (value === undefined) return unique(audience.flatMap((uri) => (isSecureUrl(uri) ? [new URL(uri).origin] : []))).flatMap(originOf);
  const list: unknown[] = Array.isArray(value) ? value : [value];
  const origins = list.map((url) => (typeof url === 'string' && isSecureUrl(url) ? readOrigin(url) : undefined));
  if (origins.length === 0 || origins.includes(undefined)) {
    check.wrong(
      'publicUrl',
      value,
      "Give the https URL under which clients reach this API, or several, as 'https://api.example.com', with a path only where the edge strips it, without user, query and fragment (http only on the loopback interface)",
    );
    return [];
  }
  return origins.filter((origin) => origin !== undefined);
}

function readWindow(check: Check, value: unknown, demands: Demands): { past: number; future: number } {
  const { past, future } = check.object('dpop.window', value === undefined ? {} : value, { past: true, future: true });
  const widest = demands.window;
  return {
    past: check.number('dpop.window.past', past, Math.min(PROOF_WINDOW.past, widest.past), 1, widest.past),
    future: check.number('dpop.window.future', future, Math.min(PROOF_WINDOW.future, widest.future), 0, widest.future),
  };
}

function readNonces(check: Check, value: unknown, resource: string): NonceSource | undefined {
  if (value === undefined || value === 'off') return undefined;
  if (value === 'required') return hmacNonces({ secrets: 'random', rotation: NONCE_ROTATION, resource });
  if (typeof value !== 'object') {
    check.wrong('dpop.nonce', value, "Give 'off', 'required', or { secrets: [ … ] } for several instances");
    return undefined;
  }
  const { secrets, rotation } = check.object('dpop.nonce', value, { secrets: true, rotation: true });
  const list: unknown[] = Array.isArray(secrets) ? secrets : [];
  const bytes = list.flatMap((secret) =>
    typeof secret === 'string' ? [new TextEncoder().encode(secret)] : secret instanceof Uint8Array ? [Uint8Array.from(secret)] : [],
  );
  const fits = bytes.length === list.length && (list.length === 1 || list.length === 2);
  if (!fits || bytes.some(({ length }) => length < LEAST_SECRET)) {
    check.wrongKind('dpop.nonce.secrets', secrets, `Give one or two, of ${LEAST_SECRET} bytes at least: text or Uint8Array`);
  }
  return hmacNonces({ secrets: bytes, rotation: check.number('dpop.nonce.rotation', rotation, NONCE_ROTATION, 10, 3600), resource });
}

function readReplay(check: Check, value: unknown, { sharedReplay }: Demands): ReplayStore | undefined {
  if (value !== undefined && value !== false && !isReplayStore(value)) {
    check.wrong('dpop.replay', value, 'Give a replay store, as memoryReplayStore(), or false');
    return undefined;
  }
  if (sharedReplay && (value === undefined || value === false || value.perProcess === true)) {
    check.wrong(
      'dpop.replay',
      value,
      'The profile fapi2 demands a store that all instances share at all times. Give one of @holdfast/redis, without fallback, or set dpop: false for mutual TLS alone',
    );
  }
  return value === undefined ? memoryReplayStore() : value === false ? undefined : value;
}

function isReplayStore(value: unknown): value is ReplayStore {
  if (typeof value !== 'object' || value === null || !('firstUse' in value) || typeof value.firstUse !== 'function') return false;
  return !('ready' in value) || value.ready === undefined || typeof value.ready === 'function';
}

function originOf(url: string): PublicOrigin[] {
  const origin = readOrigin(url);
  return origin === undefined ? [] : [origin];
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

/** What one process keeps for itself while others answer the same clients. */
export function warnOfSeveral(dpop: DpopSettings | undefined, given: unknown): void {
  if (dpop?.replay?.perProcess === true) {
    warn(
      'Proofs that were used are remembered in this process alone (always, or by a fallback while Redis is away), and it is one of several (node:cluster): a proof can be used once in each. Give a store that they share: dpop.replay, with @holdfast/redis.',
    );
  }
  if (dpop?.nonces !== undefined && typeof given === 'object' && given !== null && 'nonce' in given && given.nonce === 'required') {
    warn(
      'Nonces are made with a secret of this process alone, and it is one of several (node:cluster): one refuses what another gave. Give all the same: dpop.nonce.secrets.',
    );
  }
}
