import type { Access } from '@holdfast/core';
import type { McpSettings } from './options.ts';

/** A session, and to whom it answers. */
export interface Session {
  readonly id: string;
  readonly caller: string;
  /** With whose sessions it is counted. */
  readonly share: string;
  /** Requests and streams that are under way: while there are any, it is not idle. */
  open: number;
  usedAt: number;
}

type Limits = Pick<McpSettings, 'idleSeconds' | 'maxSessions' | 'maxSessionsPerUser' | 'onSessionEnd' | 'now'>;

/**
 * Which session was opened by whom: bounded, and in memory, as the transports of the SDK are, so that what one process forgets or
 * never knew is refused. A session is never given to another caller.
 */
export class Sessions {
  /** Those used longest ago first. */
  readonly #sessions = new Map<string, Session>();
  /** The ids of each share, in the same order. */
  readonly #ids = new Map<string, Set<string>>();
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** The session with this id, of whomever; not one that has been idle for too long. */
  find(id: string): Session | undefined {
    this.#endIdle();
    return this.#sessions.get(id);
  }

  /** Whether there may be another of a share: in a room that is free, or in that of a session of its own. */
  hasRoom(share: string): boolean {
    this.#endIdle();
    return this.#sessions.size < this.#limits.maxSessions || this.#isUsedUp(share);
  }

  /** Opens a session to a caller, or finds the one it has. `undefined` where the id is another's, the caller nobody, or there is no room. */
  open(id: string, caller: string | undefined, share: string): Session | undefined {
    const known = this.find(id);
    if (known !== undefined) return known.caller === caller ? known : undefined;
    if (caller === undefined || !this.hasRoom(share)) return undefined;
    const own = this.#ids.get(share) ?? new Set();
    const [oldest] = own;
    if (oldest !== undefined && this.#isUsedUp(share)) this.end(oldest);
    const session = { id, caller, share, open: 0, usedAt: this.#limits.now() };
    this.#sessions.set(id, session);
    this.#ids.set(share, own.add(id));
    return session;
  }

  /** Tells that nobody will get to a transport that there is already, where it was not opened to anybody. */
  discard(id: string): void {
    if (!this.#sessions.has(id)) this.#limits.onSessionEnd(id);
  }

  /** Something of the session begins: +1, or is over: −1. */
  use(session: Session, change: 1 | -1): void {
    session.open += change;
    // It may have ended in the meantime.
    if (this.#sessions.get(session.id) === session) this.#touch(session);
  }

  end(id: string): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    this.#sessions.delete(id);
    const own = this.#ids.get(session.share);
    own?.delete(id);
    if (own?.size === 0) this.#ids.delete(session.share);
    this.#limits.onSessionEnd(id);
  }

  #isUsedUp(share: string): boolean {
    return (this.#ids.get(share)?.size ?? 0) >= this.#limits.maxSessionsPerUser;
  }

  #touch(session: Session): void {
    const { id, share } = session;
    session.usedAt = this.#limits.now();
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
    const own = this.#ids.get(share);
    own?.delete(id);
    own?.add(id);
  }

  #endIdle(): void {
    const { idleSeconds, now } = this.#limits;
    const time = now();
    // Those that have something under way go to the end, where the loop stops.
    for (const session of this.#sessions.values()) {
      if (time - session.usedAt < idleSeconds) return;
      if (session.open > 0) this.#touch(session);
      else this.end(session.id);
    }
  }
}

/**
 * Whose sessions are counted together: all of one user, or of one client where the token names no user. Anybody can make keys, get
 * certificates and (where clients register themselves, as those of MCP do) clients without end, and must not get a share for each.
 */
export function shareOf({ issuer, claims, clientId }: Access): string {
  return JSON.stringify(claims.sub === undefined ? [issuer, null, clientId ?? null] : [issuer, claims.sub]);
}
