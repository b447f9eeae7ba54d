import type { Access } from '@holdfast/core';

/** A session: whose it is, and what carries it. */
interface Session<T> {
  readonly owner: string;
  readonly transport: T;
  /** Requests that are under way, such as the stream that stays open. */
  active: number;
  /** Milliseconds of a clock that never runs backwards. */
  used: number;
}

/** How many sessions there may be. */
export interface SessionLimits {
  /** Of all clients together; beyond it no new one is opened. */
  readonly most: number;
  /** Of one client; beyond it the one that it has used least recently is ended. */
  readonly share: number;
  /** Milliseconds without a request after which one is ended. */
  readonly idle: number;
}

/**
 * Who a session belongs to: issuer, subject, client, and every key and certificate that was confirmed. Undefined where none but
 * the issuer is known, who would be everybody.
 */
export function ownerOf({ issuer, claims, clientId, confirmations }: Access): string | undefined {
  if (claims.sub === undefined && clientId === undefined && confirmations.length === 0) return undefined;
  const bound = confirmations.map(({ member, thumbprint }) => `${member}:${thumbprint}`).toSorted();
  return JSON.stringify([issuer, claims.sub ?? null, clientId ?? null, bound]);
}

/** The sessions of an endpoint, each with its owner, from the one that was used least recently on. */
export class Sessions<T extends { close(): Promise<void> }> {
  readonly #byId = new Map<string, Session<T>>();
  readonly #limits: SessionLimits;

  constructor(limits: SessionLimits) {
    this.#limits = limits;
  }

  /** Whether one more may be opened, now that those are ended which nobody uses. */
  hasRoom(): boolean {
    const until = performance.now() - this.#limits.idle;
    for (const [id, { active, used }] of this.#byId) {
      if (used > until) break;
      if (active === 0) this.end(id);
    }
    return this.#byId.size < this.#limits.most;
  }

  open(id: string, owner: string, transport: T): void {
    const own = [...this.#byId].filter(([, session]) => session.owner === owner).map(([one]) => one);
    for (const one of own.slice(0, Math.max(0, own.length - this.#limits.share + 1))) this.end(one);
    this.#byId.set(id, { owner, transport, active: 0, used: performance.now() });
  }

  /** The session, if it is there, whoever asks; {@link Session.owner} says whose it is. */
  find(id: string): Session<T> | undefined {
    const session = this.#byId.get(id);
    return session !== undefined && session.active === 0 && session.used <= performance.now() - this.#limits.idle ? undefined : session;
  }

  /** The owner has asked for it again; call what is returned when the request is over. */
  use(id: string, session: Session<T>): () => void {
    session.active++;
    this.#touch(id, session);
    return () => {
      session.active--;
      this.#touch(id, session);
    };
  }

  #touch(id: string, session: Session<T>): void {
    session.used = performance.now();
    if (this.#byId.delete(id)) this.#byId.set(id, session);
  }

  /** Ends a session, if it is there. */
  end(id: string): void {
    const session = this.#byId.get(id);
    this.#byId.delete(id);
    // A transport that fails to close has nobody left who could open it.
    session?.transport.close().catch(() => {});
  }

  endAll(): void {
    for (const id of this.#byId.keys()) this.end(id);
  }
}
