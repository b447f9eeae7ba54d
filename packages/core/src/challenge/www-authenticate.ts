import type { Scheme } from '../rejection.ts';

/** Parameters of a challenge, in the order in which they are sent. `undefined` ones are left out. */
export type ChallengeParameters = Readonly<Record<string, string | undefined>>;

/** One challenge of a `WWW-Authenticate` field (RFC 9110 §11.6.1), every value as a quoted-string. */
export function challenge(scheme: Scheme, parameters: ChallengeParameters): string {
  const written = Object.entries(parameters).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${quotedString(value)}`]));
  return `${scheme} ${written.join(', ')}`;
}

/**
 * A quoted-string (RFC 9110 §5.6.4): quotes and backslashes are escaped; what cannot stand in one at all (control characters,
 * and text outside ISO 8859-1, which a field cannot carry) becomes a question mark.
 */
function quotedString(text: string): string {
  return `"${text.replace(/[^\t\x20-\x7e\x80-\xff]/gu, '?').replace(/["\\]/g, '\\$&')}"`;
}
