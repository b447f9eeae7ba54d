import type { Access } from '@holdfast/core';

/**
 * Whom a session belongs to: issuer, subject, client, and the keys or certificates that it was confirmed with. A refreshed token has
 * the same; a renewed certificate or a new key has not, and its client starts a session anew. `undefined` where a token without `cnf`
 * names nobody: everybody would be the same caller.
 */
export function callerOf({ issuer, claims, clientId, confirmations }: Access): string | undefined {
  if (claims.sub === undefined && clientId === undefined && confirmations.length === 0) return undefined;
  const keys = confirmations.map(({ member, thumbprint }) => `${member} ${thumbprint}`).toSorted();
  // As JSON, so that no value can run into the next.
  return JSON.stringify([issuer, claims.sub ?? null, clientId ?? null, keys]);
}

/**
 * Whose sessions are counted together: all of one user, or of one client where the token names no user. Anybody can make keys, get
 * certificates and (where clients register themselves, as those of MCP do) clients without end, and must not get a share for each.
 */
export function shareOf({ issuer, claims, clientId }: Access): string {
  return JSON.stringify(claims.sub === undefined ? [issuer, null, clientId ?? null] : [issuer, claims.sub]);
}
