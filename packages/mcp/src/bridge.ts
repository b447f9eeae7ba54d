import type { Access, Answer } from '@holdfast/core';
import { callerOf } from '@holdfast/core/fetch';
import { NO_ROOM, UNKNOWN_SESSION } from './answers.ts';
import { type AuthInfo, authInfoOf } from './auth-info.ts';
import { type McpOptions, mcpSettings, type SessionRefusal } from './options.ts';
import { type Session, Sessions, shareOf } from './sessions.ts';

/** The field of requests and responses that names a session. */
export const SESSION_FIELD = 'mcp-session-id';
/** The field by which a client asks for what it missed of a stream that broke. */
export const RESUME_FIELD = 'last-event-id';
/** What Holdfast has read, and the SDK would hand to tools with all other fields (`requestInfo` of version 1, `http.req` of version 2). */
export const CREDENTIAL_FIELDS: readonly string[] = ['authorization', 'dpop'];
/** Visible ASCII (MCP, Streamable HTTP): no space, so that several lines which were joined are no id. */
const SESSION_ID = /^[\x21-\x7e]{1,512}$/;

/** What the bridge needs of a request. */
export interface McpRequest {
  readonly method: string;
  /** The lines of {@link SESSION_FIELD}. */
  readonly sessionLines: readonly string[];
  /** Whether it has a {@link RESUME_FIELD}. */
  readonly resumes: boolean;
  readonly access: Access;
}

/** A request that goes on to the SDK. */
export interface Visit {
  readonly authInfo: AuthInfo;
  /**
   * The status and fields of the response are known: a session opens or ends, and none opens where the visit is over already. False
   * where the response names a session that is not the caller's: the client must not get to know its id.
   */
  answered(status: number, sessionId: string | undefined): boolean;
  /** The response, streams included, is over; where the client hangs up, that may be before it is answered. */
  over(): void;
}

/** What both entries do, without the server they do it for. */
export interface Bridge {
  admit(request: McpRequest): Visit | Answer;
  end(sessionId: string): void;
}

/** Makes a {@link Bridge}; throws a `TypeError` that lists every problem of the options. */
export function makeBridge(options: McpOptions): Bridge {
  const settings = mcpSettings(options);
  const sessions = new Sessions({ ...settings, onSessionEnd: unheard(settings.onSessionEnd) });
  const tell = unheard(settings.onRefusal);
  const refuse = (reason: SessionRefusal['reason'], { issuer, claims, clientId }: Access, answer: Answer): Answer => {
    tell({ reason, issuer, subject: claims.sub, clientId });
    return answer;
  };

  return {
    end: (sessionId) => sessions.end(sessionId),
    admit({ method, sessionLines, resumes, access }) {
      const caller = callerOf(access);
      const [id = '', ...others] = sessionLines;
      let session: Session | undefined;
      if (sessionLines.length > 0) {
        session = others.length === 0 && SESSION_ID.test(id) ? sessions.find(id) : undefined;
        if (session === undefined) return refuse('session.unknown', access, UNKNOWN_SESSION);
        if (session.caller !== caller) return refuse('session.of_another', access, UNKNOWN_SESSION);
      } else if (resumes) {
        // The session alone says whose stream it was. Whoever has seen the id of an event may not have the rest for that.
        return refuse('session.unknown', access, UNKNOWN_SESSION);
      } else if (method === 'POST' && caller !== undefined && !sessions.hasRoom(shareOf(access))) {
        return refuse('session.no_room', access, NO_ROOM);
      }
      return visit(sessions, { method, access, caller, session, authInfo: authInfoOf(access, settings) });
    },
  };
}

interface Admitted {
  readonly method: string;
  readonly access: Access;
  readonly caller: string | undefined;
  readonly session: Session | undefined;
  readonly authInfo: AuthInfo;
}

function visit(sessions: Sessions, { method, access, caller, session: named, authInfo }: Admitted): Visit {
  let session = named;
  let isOver = false;
  if (session !== undefined) sessions.use(session, 1);
  return {
    authInfo,
    answered(status, sessionId) {
      // Deleted by the client, or the transport knows it no more.
      const hasEnded = (method === 'DELETE' && status >= 200 && status < 300) || status === UNKNOWN_SESSION.status;
      if (session !== undefined && hasEnded) sessions.end(session.id);
      if (sessionId === undefined || sessionId === session?.id) return true;
      // Whoever has hung up never learns the id, and `over` will not come once more to say that the session is idle.
      const opened = !isOver && SESSION_ID.test(sessionId) ? sessions.open(sessionId, caller, shareOf(access)) : undefined;
      if (opened === undefined) {
        sessions.discard(sessionId);
        return false;
      }
      sessions.use(opened, 1);
      if (session !== undefined) sessions.use(session, -1);
      session = opened;
      return true;
    },
    over() {
      if (isOver) return;
      isOver = true;
      if (session !== undefined) sessions.use(session, -1);
    },
  };
}

/** Whoever listens cannot break a request. */
function unheard<T>(listener: (value: T) => void): (value: T) => void {
  return (value) => {
    try {
      listener(value);
    } catch {
      // Its fault stays with it.
    }
  };
}
