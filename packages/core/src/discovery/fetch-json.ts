/** The part of `fetch` that Holdfast uses. Give your own for a private CA, a proxy, or instrumentation. */
export type Fetch = (
  url: string,
  init: { headers: Record<string, string>; redirect: 'manual'; signal: AbortSignal },
) => Promise<FetchedResponse>;

/** The part of a `Response` that Holdfast reads. */
export interface FetchedResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}

export interface FetchLimits {
  /** Seconds for the whole answer. */
  readonly timeout: number;
  /** Bytes of body that are read. */
  readonly largest: number;
}

/** A document could not be had. The message names the URL and the cause for the people who run the API; it never leaves. */
export class FetchFailure extends Error {
  override readonly name = 'FetchFailure';
  /** Whether the server answered at all: another location on it is worth a try. */
  readonly answered: boolean;

  constructor(url: string, why: string, answered: boolean) {
    super(`${url}: ${why}`);
    this.answered = answered;
  }
}

/**
 * Gets a JSON object. Refused: any status but 200, a redirect, another media type than JSON, a body that is too large or not
 * a JSON object, an answer that takes too long (RFC 8414 §3.2).
 */
export async function fetchJson(url: string, fetch: Fetch, limits: FetchLimits): Promise<Record<string, unknown>> {
  let answered = false;
  try {
    const signal = AbortSignal.timeout(limits.timeout * 1000);
    const response = await fetch(url, { headers: { accept: 'application/json' }, redirect: 'manual', signal });
    answered = true;
    if (response.status !== 200) throw new Error(`it answered with status ${response.status}, and 200 was expected`);
    const type = response.headers.get('content-type') ?? '';
    if (!/^application\/(?:[\w.+-]+\+)?json(?:\s*;|$)/i.test(type))
      throw new Error(`its content type is ${JSON.stringify(type.slice(0, 60))}, and JSON was expected`);
    const document: unknown = JSON.parse(await readText(response, limits.largest));
    if (typeof document !== 'object' || document === null || Array.isArray(document)) throw new Error('it is JSON, but not an object');
    return document as Record<string, unknown>;
  } catch (error) {
    throw new FetchFailure(url, explain(error, limits), answered);
  }
}

async function readText({ body }: FetchedResponse, largest: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the stream.
    if (size > largest) throw new Error(`it is larger than the ${largest} bytes that are read`);
    chunks.push(chunk);
  }
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(whole);
}

function explain(error: unknown, limits: FetchLimits): string {
  if (!(error instanceof Error)) return 'it could not be fetched';
  if (error.name === 'TimeoutError') return `no whole answer within ${limits.timeout} s`;
  if (error instanceof SyntaxError) return 'it is not JSON';
  const { cause } = error;
  return cause instanceof Error ? `${error.message} (${cause.message})` : error.message;
}
