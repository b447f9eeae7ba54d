// What the bridge answers by itself: errors of JSON-RPC, since it speaks to clients of MCP.
import type { Answer, Fields } from '@holdfast/core';

/**
 * To whoever names a session that is not its own, or is none: the same answer, which is also the one of the SDK, so that nobody
 * learns which ids exist. At 404 a client starts a new session (MCP, Streamable HTTP, "Session Management"), so one whose key or
 * certificate is new gets on by itself.
 */
export const UNKNOWN_SESSION: Answer = answer(404, -32_001, 'Session not found', []);

/** To whoever would open one session too many. */
export const NO_ROOM: Answer = answer(503, -32_000, 'There is no room for another session now', [['Retry-After', '60']]);

function answer(status: number, code: number, message: string, fields: Fields): Answer {
  return { status, fields, body: { jsonrpc: '2.0', error: { code, message }, id: null } };
}
