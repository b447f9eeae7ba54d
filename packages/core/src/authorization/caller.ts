import type { Access } from './access.ts';

/**
 * Who calls, as one string, for what belongs to a caller for longer than a request, as a session does: issuer, subject, client, and
 * the keys or certificates that it was confirmed with. A refreshed token has the same; a renewed certificate or a new key has not.
 * `undefined` where a token without `cnf` names nobody: everybody would be the same caller.
 */
export function callerOf({ issuer, claims, clientId, confirmations }: Access): string | undefined {
  if (claims.sub === undefined && clientId === undefined && confirmations.length === 0) return undefined;
  const keys = confirmations.map(({ member, thumbprint }) => `${member} ${thumbprint}`).toSorted();
  // As JSON, so that no value can run into the next.
  return JSON.stringify([issuer, claims.sub ?? null, clientId ?? null, keys]);
}
