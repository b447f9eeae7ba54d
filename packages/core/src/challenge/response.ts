import { type Answer, type Fields, namesIn, SHARED_LISTS } from './refusal.ts';

/** A refusal, or the metadata of the resource, as a response. The lines of one name become one line, as Fetch has it. */
export function responseOf({ status, fields, body }: Answer): Response {
  const headers = new Headers();
  for (const [name, value] of fields) headers.append(name, value);
  if (body === undefined) return new Response(null, { status, headers });
  headers.set('Content-Type', 'application/json; charset=utf-8');
  return new Response(JSON.stringify(body), { status, headers });
}

/**
 * The same response with further fields; its body is not read. A new one, since the headers of the given one may be immutable (a
 * redirect, what was fetched), and it may be used for others too. What has no fields to carry stays what it is, and so does what
 * cannot be made again: the switch to a WebSocket, a network error.
 */
export function withFields(response: Response, fields: Fields): Response {
  const { status, statusText } = response;
  if (fields.length === 0 || status < 200) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of fields) headers.set(name, SHARED_LISTS.has(name) ? namesIn([headers.get(name) ?? '', value]) : value);
  return new Response(response.body, { status, statusText, headers });
}
