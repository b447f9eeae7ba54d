import { certificateFrom } from './base64.ts';

const BEGIN = '-----BEGIN CERTIFICATE-----';
const END = '-----END CERTIFICATE-----';
const WHITE_SPACE = /[ \t\r\n]+/g;
const SKIPPED = /[ \t\r\n]*/y;
/** What percent-encoding leaves, and more; no space. */
const VISIBLE = /^[\x21-\x7e]*$/;

/** How many certificates a value may hold: more than anybody's chain has. */
export const MOST_CERTIFICATES = 10;

/**
 * The certificates of PEM blocks (RFC 7468 §5.1), with white space between and inside them, and nothing else around: no other
 * text, no other label. `undefined` where anything is not so, or there are too many.
 */
export function certificatesInPem(text: string, most: number = MOST_CERTIFICATES): readonly Uint8Array[] | undefined {
  const ders: Uint8Array[] = [];
  for (let at = skip(text, 0); at < text.length; at = skip(text, at)) {
    const end = text.startsWith(BEGIN, at) ? text.indexOf(END, at + BEGIN.length) : -1;
    if (end < 0 || ders.length === most) return undefined;
    const der = certificateFrom(text.slice(at + BEGIN.length, end).replace(WHITE_SPACE, ''));
    if (der === undefined) return undefined;
    ders.push(der);
    at = end + END.length;
  }
  return ders.length === 0 ? undefined : ders;
}

function skip(text: string, from: number): number {
  SKIPPED.lastIndex = from;
  SKIPPED.test(text);
  return SKIPPED.lastIndex;
}

/** Percent-decoded once (RFC 3986 §2.1): `+` is itself. `undefined` where it is not visible ASCII, or decodes to no text. */
export function percentDecoded(value: string): string | undefined {
  if (!VISIBLE.test(value)) return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** The certificates of a file: other text may stand around them (RFC 7468 §2), but no other block. `undefined` where there is none. */
export function certificatesInBundle(text: string): readonly Uint8Array[] | undefined {
  const blocks = text.match(BLOCK) ?? [];
  const ders = blocks.flatMap((block) => certificatesInPem(block, 1) ?? []);
  const isWhole = ders.length > 0 && ders.length === (text.match(/-----BEGIN /g)?.length ?? 0);
  return isWhole ? ders : undefined;
}
