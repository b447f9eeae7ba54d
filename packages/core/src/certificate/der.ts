/**
 * Whether these bytes are one certificate as DER writes it (RFC 5280 §4.1): a SEQUENCE of exactly this size, with its length in the
 * shortest form, of a SEQUENCE, a SEQUENCE and a BIT STRING. Parsers take more: bytes behind it, a longer length. Their hash would
 * be of something else than the certificate.
 */
export function isCertificate(der: Uint8Array): boolean {
  const whole = elementAt(der, 0, der.length);
  if (whole?.tag !== 0x30 || whole.end !== der.length) return false;
  let at = whole.start;
  for (const tag of [0x30, 0x30, 0x03]) {
    const element = elementAt(der, at, whole.end);
    if (element?.tag !== tag) return false;
    at = element.end;
  }
  return at === whole.end;
}

interface Element {
  readonly tag: number;
  /** Where the content begins, and where it ends. */
  readonly start: number;
  readonly end: number;
}

/** The element that begins here; `undefined` where its length is not definite and minimal, or reaches beyond the end. */
function elementAt(bytes: Uint8Array, at: number, end: number): Element | undefined {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined) return undefined;
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 3) return undefined;
    length = 0;
    for (let i = 0; i < octets; i += 1) length = length * 256 + (bytes[start + i] ?? 0);
    start += octets;
    const least = octets === 1 ? 0x80 : 256 ** (octets - 1);
    if (length < least) return undefined;
  }
  return start + length <= end ? { tag, start, end: start + length } : undefined;
}
