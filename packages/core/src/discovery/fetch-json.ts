/** The part of `fetch` that Holdfast uses. Give your own for a private CA, a proxy, or instrumentation. */
export type Fetch = (url: string, init: FetchInit) => Promise<FetchedResponse>;

/** What Holdfast asks of a fetch: GET without more, for metadata and keys; POST with a form, for introspection. */
export interface FetchInit {
  readonly method?: 'POST';
  readonly body?: string;
  readonly headers: Record<string, string>;
  readonly redirect: 'manual';
  readonly signal: AbortSignal;
}

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

/** A document could not be had. The message names the URL, without its query, and the cause; it goes to the people who run the API. */
export class FetchFailure extends Error {
  override readonly name = 'FetchFailure';
  /** Whether the server answered at all: another location on it is worth a try. */
  readonly answered: boolean;

  constructor(url: string, why: string, answered: boolean) {
    super(`${url.replace(/[?#].*$/s, '')}: ${why}`);
    this.answered = answered;
  }
}

/** An answer that was read whole. */
export interface FetchedText {
  readonly status: number;
  /** The content type as it came; empty where there is none. */
  readonly type: string;
  readonly text: string;
}

/**
 * Gets a JSON object. Refused: any status but 200, a redirect, another media type than JSON, a body that is too large or not
 * a JSON object, an answer that takes too long (RFC 8414 §3.2).
 */
export async function fetchJson(url: string, fetch: Fetch, limits: FetchLimits): Promise<Record<string, unknown>> {
  const { status, type, text } = await fetchText(url, fetch, limits, { headers: { accept: 'application/json' } });
  if (status !== 200) throw new FetchFailure(url, `it answered with status ${status}, and 200 was expected`, true);
  if (!isJson(type)) throw new FetchFailure(url, `its content type is ${JSON.stringify(type.slice(0, 60))}, and JSON was expected`, true);
  const document = jsonObject(text);
  if (document === undefined) throw new FetchFailure(url, 'it is not a JSON object', true);
  return document;
}

/** Gets or posts, whatever the answer. Redirects are answers: none is followed, to nowhere. Limited in time and size. */
export async function fetchText(
  url: string,
  fetch: Fetch,
  limits: FetchLimits,
  init: Omit<FetchInit, 'redirect' | 'signal'>,
): Promise<FetchedText> {
  const signal = AbortSignal.timeout(Math.ceil(limits.timeout * 1000));
  const late = new Promise<never>((_resolve, reject) => {
    const why = `no whole answer within ${limits.timeout} s`;
    signal.addEventListener('abort', () => reject(new FetchFailure(url, why, false)), { once: true });
  });
  // A fetch of the application may not heed the signal, and what nobody awaits any more must not end the process.
  const answer = readAnswer(url, fetch, { ...init, redirect: 'manual', signal }, limits.largest);
  answer.catch(() => {});
  late.catch(() => {});
  return Promise.race([answer, late]);
}

async function readAnswer(url: string, fetch: Fetch, init: FetchInit, largest: number): Promise<FetchedText> {
  let answered = false;
  try {
    const response = await fetch(url, init);
    answered = true;
    const { status } = response;
    const type = response.headers.get('content-type') ?? '';
    // The body of anything else is not read.
    const text = status === 200 ? await readText(response, largest) : '';
    if (text === undefined) throw new FetchFailure(url, `it is larger than the ${largest} bytes that are read`, true);
    return { status, type, text };
  } catch (error) {
    throw error instanceof FetchFailure ? error : new FetchFailure(url, explain(error), answered);
  }
}

export function isJson(type: string): boolean {
  return JSON_TYPE.test(type);
}

/** The JSON object that a text is, if it is one. */
export function jsonObject(text: string): Record<string, unknown> | undefined {
  try {
    const document: unknown = JSON.parse(text);
    return typeof document === 'object' && document !== null && !Array.isArray(document)
      ? (document as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json(?:\s*;|$)/i;

async function readText({ body }: FetchedResponse, largest: number): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the stream.
    if (size > largest) return undefined;
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

/** By code or kind: the message of a fetch that is not ours may hold anything. */
function explain(error: unknown): string {
  const { cause } = error instanceof Error ? error : { cause: undefined };
  const code = codeOf(error) ?? codeOf(cause);
  return code === undefined
    ? `it could not be fetched (${error instanceof Error ? error.name : typeof error})`
    : `it could not be fetched: ${code}`;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
