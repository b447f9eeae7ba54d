import type { EpochSeconds } from '@holdfast/core';

/** How the bridge works. Everything has a default. */
export interface McpOptions {
  /** What `AuthInfo.resource` says: the URL of this server as clients name it in `resource` (RFC 8707), without fragment. */
  readonly resource?: string;
  /** Names of further claims that tools get to see, in `AuthInfo.extra.claims`. By default none. */
  readonly claims?: readonly string[];
  /** Seconds without a request and without an open stream after which a session ends: 10 to 86,400, by default 1,800. */
  readonly idleSeconds?: number;
  /** Sessions of all callers together: 1 to 1,000,000, by default 10,000. Where there is room for no other, opening one is 503. */
  readonly maxSessions?: number;
  /**
   * Sessions of one user, by default a tenth of all, whichever clients, keys and certificates it has; of one client where tokens name
   * no user. With one more, the one that was not used for longest ends.
   */
  readonly maxSessionsPerUser?: number;
  /** Is told that a session has ended, or was not opened (no room, or its client had hung up): close its transport. Idle sessions are found when the next request comes. */
  readonly onSessionEnd?: (sessionId: string) => void;
  /** Is told of every request that is refused for its session. `session.of_another` is somebody who has a session id that is not its own. */
  readonly onRefusal?: (refusal: SessionRefusal) => void;
  /** The clock, in epoch seconds. */
  readonly now?: () => EpochSeconds;
}

/** Why a session was refused, and to whom. Holds no session id and no token. */
export interface SessionRefusal {
  /** `unknown`: never opened here, or over. `of_another`: opened by another caller. `no_room`: there are as many as there may be. */
  readonly reason: 'session.unknown' | 'session.of_another' | 'session.no_room';
  readonly issuer: string;
  readonly subject: string | undefined;
  readonly clientId: string | undefined;
}

/** Options that were checked, with defaults. */
export interface McpSettings {
  readonly resource: string | undefined;
  readonly claims: readonly string[];
  readonly idleSeconds: number;
  readonly maxSessions: number;
  readonly maxSessionsPerUser: number;
  readonly onSessionEnd: (sessionId: string) => void;
  readonly onRefusal: (refusal: SessionRefusal) => void;
  readonly now: () => EpochSeconds;
}

/** Copies and checks options. Throws one `TypeError` that lists every problem, with its fix. */
export function mcpSettings(options: McpOptions): McpSettings {
  const {
    resource,
    claims = [],
    idleSeconds = 1800,
    maxSessions = 10_000,
    maxSessionsPerUser = Math.max(1, Math.floor(maxSessions / 10)),
    onSessionEnd = nothing,
    onRefusal = nothing,
    now = systemClock,
    ...unknown
  } = options;
  const problems = [
    ...Object.keys(unknown).map((name) => `${name}: is not an option. Known: ${KNOWN.join(', ')}`),
    ...(resource === undefined || isResource(resource)
      ? []
      : [`resource: is ${JSON.stringify(resource)}. Give the URL of this server, without fragment, as 'https://mcp.example.com/mcp'`]),
    ...(isListOfNames(claims) ? [] : [`claims: is ${JSON.stringify(claims)}. Give names of claims, as ['email']`]),
    ...whole('idleSeconds', idleSeconds, 10, 86_400),
    ...whole('maxSessions', maxSessions, 1, 1_000_000),
    ...whole('maxSessionsPerUser', maxSessionsPerUser, 1, 1_000_000),
    ...Object.entries({ onSessionEnd, onRefusal, now }).flatMap(([name, value]) =>
      typeof value === 'function' ? [] : [`${name}: is ${JSON.stringify(value)}. Give a function`],
    ),
  ];
  if (problems.length > 0) throw new TypeError(`mcp: ${problems.join('; ')}.`);
  return { resource, claims: [...claims], idleSeconds, maxSessions, maxSessionsPerUser, onSessionEnd, onRefusal, now };
}

const KNOWN = ['resource', 'claims', 'idleSeconds', 'maxSessions', 'maxSessionsPerUser', 'onSessionEnd', 'onRefusal', 'now'];

function nothing(): void {}

function systemClock(): EpochSeconds {
  return Math.floor(Date.now() / 1000);
}

function isResource(resource: unknown): boolean {
  return typeof resource === 'string' && URL.canParse(resource) && /^https?:/.test(resource) && !resource.includes('#');
}

function isListOfNames(names: unknown): boolean {
  return Array.isArray(names) && names.every((name) => typeof name === 'string' && name !== '');
}

function whole(name: string, value: unknown, least: number, most: number): string[] {
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most;
  return fits ? [] : [`${name}: is ${JSON.stringify(value)}. Give a whole number from ${least} to ${most}`];
}
