import { about, type Finding } from '../findings.ts';
import { quoted } from '../visible.ts';
import type { Members } from './decode.ts';

const say = about('Access token');

/** Seconds that a resource tolerates by default. */
const TOLERANCE = 5;

/** How the dates of the token stand to the clock of this machine. */
export function timeFindings({ exp, iat, nbf }: Members, now: number): Finding[] {
  const findings: Finding[] = [];
  if (exp === undefined) findings.push(say('wrong', 'There is no exp: it would be good for ever (RFC 9068 §2.2).'));
  else if (!isDate(exp)) findings.push(say('wrong', `exp is ${quoted(exp)}, and has to be a number of seconds since 1970.`));
  else if (exp > 1e11) findings.push(say('wrong', `exp is ${exp}: milliseconds, it seems; it has to be seconds.`));
  else if (exp + TOLERANCE <= now) findings.push(say('wrong', `It expired ${span(now - exp)} ago (exp, ${instant(exp)}).`));
  else findings.push(say('ok', `It expires in ${span(exp - now)} (exp, ${instant(exp)}).`));
  for (const [name, value] of Object.entries({ iat, nbf })) {
    if (value === undefined) continue;
    if (!isDate(value)) findings.push(say('wrong', `${name} is ${quoted(value)}, and has to be a number of seconds since 1970.`));
    else if (value > now + TOLERANCE)
      findings.push(
        say(
          'wrong',
          `${name} lies ${span(value - now)} in the future (${instant(value)}): the clock of its server is ahead of this one by that much at least, or this one is behind.`,
        ),
      );
    else if (name === 'iat')
      findings.push(say('note', `It was issued ${span(now - value)} ago (iat, ${instant(value)}), by the clock of this machine.`));
  }
  return findings;
}

export function isDate(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

/** Seconds, and what they are in larger units where they are many. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const minutes = Math.round(whole / 60);
  if (whole < 120) return `${whole} s`;
  return `${whole} s (${minutes < 120 ? `${minutes} min` : minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`})`;
}

/** A NumericDate as ISO 8601. */
function instant(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? String(seconds) : date.toISOString().replace('.000', '');
}
