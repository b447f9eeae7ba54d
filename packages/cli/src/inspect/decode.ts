/** Members of an object that others wrote. */
export type Members = Readonly<Record<string, unknown>>;

/** What a token is made of, read as leniently as can be: to be looked at, and not to be trusted. */
export interface Decoded {
  /** By the number of its segments (RFC 7515 §7.1, RFC 7516 §7.1). */
  readonly kind: 'jws' | 'jwe' | 'opaque';
  /** Absent where that segment is no JSON object. */
  readonly header?: Members | undefined;
  readonly claims?: Members | undefined;
}

/** Decodes a compact JWS; of a JWE the header; of anything else nothing. */
export function decode(compact: string): Decoded {
  const [first = '', second = '', ...others] = compact.split('.');
  if (others.length === 3) return { kind: 'jwe', header: objectIn(first) };
  if (others.length !== 1) return { kind: 'opaque' };
  const [header, claims] = [objectIn(first), objectIn(second)];
  return header === undefined && claims === undefined ? { kind: 'opaque' } : { kind: 'jws', header, claims };
}

function objectIn(segment: string): Members | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString());
    return isMembers(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

export function isMembers(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
