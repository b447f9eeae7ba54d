/** What the store asks of Redis, whichever client carries it. */
export interface RedisCommands {
  /** Whether a command would be sent now. Where not, the client would keep it in a queue, for as long as Redis is away. */
  connected(): boolean;
  /** `SET key 1 NX PX milliseconds`: the answer, as it came. */
  setIfAbsent(key: string, milliseconds: number): Promise<unknown>;
  /** Every server that holds keys: the one, or the masters of a cluster. */
  masters(): Promise<readonly RedisServer[]>;
}

/** One server, for what has to be asked of each. Both resolve with the answer as it came. */
export interface RedisServer {
  /** `CONFIG GET maxmemory-policy` */
  configuredPolicy(): Promise<unknown>;
  /** `INFO memory` */
  memoryReport(): Promise<unknown>;
}

/**
 * Redis did not do what it was asked, or not in time. The name tells the kind, since that is what events say: `RedisUnavailable
 * (timeout)`, `(not connected)`, `(too many commands)`, `(unknown answer)`, the first word of what Redis answered as `(OOM)`,
 * `(READONLY)`, `(CLUSTERDOWN)`, or the code of a system error as `(ECONNRESET)`. There is no cause: those of the clients name
 * hosts, and the command.
 */
export class RedisUnavailable extends Error {
  /** Whether Redis is there, and does not carry out this command: it is renamed, or not allowed to this user. */
  readonly isForbidden: boolean;

  constructor(kind: string) {
    super(`Redis cannot be asked whether a proof was used before: ${kind}.`);
    this.name = `RedisUnavailable (${kind})`;
    this.isForbidden = kind === 'ERR' || kind === 'NOPERM';
  }
}

/** What Redis may owe an answer at most. Clients keep what they cannot send, and a server that hangs must not cost memory without end. */
const MOST_UNANSWERED = 10_000;

/**
 * Sends commands, each with a time limit in milliseconds: rejects with {@link RedisUnavailable} where one is not answered, and at
 * once where it would only wait in a queue. What was given up may still be carried out later; a `SET` only uses up a proof then.
 */
export function limited(commands: RedisCommands, timeout: number): <T>(send: () => Promise<T>) => Promise<T> {
  let unanswered = 0;
  return (send) => {
    if (!commands.connected()) return Promise.reject(new RedisUnavailable('not connected'));
    if (unanswered >= MOST_UNANSWERED) return Promise.reject(new RedisUnavailable('too many commands'));
    unanswered += 1;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new RedisUnavailable('timeout')), timeout);
      sent(send)
        .finally(() => {
          unanswered -= 1;
          clearTimeout(timer);
        })
        .then(resolve, (error: unknown) => reject(unavailable(error)));
    });
  };
}

/** A client may also throw at once. */
async function sent<T>(send: () => Promise<T>): Promise<T> {
  return send();
}

function unavailable(error: unknown): RedisUnavailable {
  if (!(error instanceof Error)) return new RedisUnavailable('unknown error');
  const [answered] = /^[A-Z]{2,20}(?= |$)/.exec(error.message) ?? [];
  if (answered !== undefined) return new RedisUnavailable(answered);
  const known = 'code' in error && typeof error.code === 'string' && /^[A-Z_]{2,30}$/.test(error.code);
  return new RedisUnavailable(known ? String(error.code) : 'connection lost');
}
