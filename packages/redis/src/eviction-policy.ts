import { type RedisCommands, type RedisServer, RedisUnavailable } from './commands.ts';

/** How what is asked of Redis is limited in time. */
type Ask = <T>(send: () => Promise<T>) => Promise<T>;

/**
 * Why Redis may forget a proof that can still be replayed; `undefined` where it may not. Every master is asked, by
 * `CONFIG GET maxmemory-policy`, or where that is not allowed, as on managed services, by `INFO memory`. Rejects where one of
 * them cannot be asked at all.
 */
export async function evictionProblem(commands: RedisCommands, ask: Ask): Promise<string | undefined> {
  const masters = await ask(() => commands.masters());
  if (masters.length === 0) return 'No master of the cluster is known, so its eviction policy cannot be read.';
  const policies = await Promise.all(masters.map((master) => policyOf(master, ask)));
  if (policies.includes(undefined)) {
    return "The eviction policy of Redis cannot be read: neither CONFIG GET maxmemory-policy nor INFO memory tells it. Allow one of them (ACL: +config|get or +info), or make sure that it is noeviction, and set evictionPolicy: 'warn'.";
  }
  const wrong = policies.find((policy) => policy !== 'noeviction');
  if (wrong === undefined) return undefined;
  return `Redis has the eviction policy ${wrong}, so that it forgets used proofs when its memory is full, and they can be replayed. Set maxmemory-policy to noeviction (CONFIG SET maxmemory-policy noeviction, and in its configuration file), on every server of a cluster and on every replica; or give Holdfast a Redis of its own.`;
}

async function policyOf(server: RedisServer, ask: Ask): Promise<string | undefined> {
  const configured = await unlessForbidden(() => ask(() => server.configuredPolicy()));
  return policyIn(configured) ?? policyInReport(await unlessForbidden(() => ask(() => server.memoryReport())));
}

/** `undefined` where Redis says that it does not do this (a renamed command, an ACL). */
async function unlessForbidden(command: () => Promise<unknown>): Promise<unknown> {
  try {
    return await command();
  } catch (error) {
    if (error instanceof RedisUnavailable && error.isForbidden) return undefined;
    throw error;
  }
}

/** A list of name and value as RESP2 has it, or a map. */
function policyIn(answer: unknown): string | undefined {
  if (Array.isArray(answer)) return word(answer[1]);
  if (answer instanceof Map) return word(answer.get('maxmemory-policy'));
  return typeof answer === 'object' && answer !== null && 'maxmemory-policy' in answer ? word(answer['maxmemory-policy']) : undefined;
}

function policyInReport(report: unknown): string | undefined {
  const lines: unknown = report;
  return typeof lines === 'string' ? /^maxmemory_policy:([a-z-]+)/m.exec(lines)?.[1] : undefined;
}

/** What Redis says becomes part of a message, so it has to be a word. */
function word(value: unknown): string | undefined {
  return typeof value === 'string' && /^[a-z-]{1,40}$/.test(value) ? value : undefined;
}
