import { warn } from '#runtime';
import type { AuditRules } from '../confirmation/confirm-token.ts';
import type { EpochSeconds } from '../request.ts';
import type { Check } from '../check.ts';
import type { Demands } from './profiles.ts';

/**
 * A reason that audit mode can relax: the client shows nothing, and never that it shows something wrong. `certificate.no_source` is
 * for an API that cannot see certificates yet; then it is not seen either that one is another.
 */
export type AuditableReason = 'certificate.missing' | 'certificate.not_presented' | 'certificate.no_source' | 'cnf.absent';

const DEFAULT: readonly AuditableReason[] = ['certificate.missing', 'certificate.not_presented', 'cnf.absent'];
const AUDITABLE: readonly AuditableReason[] = [...DEFAULT, 'certificate.no_source'];

/**
 * For a while, requests that would be refused for some reasons are let through and reported: events with `outcome: 'audited'`. What
 * they get is no better than a bearer token: `confirmed` is false, `confirmations` is empty, also where the DPoP key of a token that
 * is bound to a certificate too was confirmed. It satisfies no required `confirmation`.
 */
export interface AuditOptions {
  /** The day it ends, in UTC: `2027-03-01`; from its first second on they are refused, by the clock and without a restart. In the future, 90 days from the start at most. */
  readonly until: string;
  /**
   * By default no certificate (`certificate.missing`, `certificate.not_presented` from an edge that says so), and no `cnf`. Whatever
   * is wrong, and not only missing, stays refused: a `TypeError` where it is listed.
   */
  readonly reasons?: readonly AuditableReason[];
}

const MOST_DAYS = 90;
const DAY = 86_400;

/** `undefined` where everything is enforced. */
export function readAudit(check: Check, value: unknown, demands: Demands, now: () => EpochSeconds): AuditRules | undefined {
  if (value === undefined) return undefined;
  const { until, reasons } = check.object('audit', value, { until: true, reasons: true });
  const end = startOf(until);
  const at = now();
  if (end === undefined || end <= at || end > at + MOST_DAYS * DAY) {
    check.wrong(
      'audit.until',
      until,
      `Give the day it ends, in the future and at most ${MOST_DAYS} days from now, as '${dayOf(at + 30 * DAY)}'; once it is over, leave audit out`,
    );
  }
  if (demands.boundTokens) check.wrongKind('audit', value, 'Leave it out: the profile fapi2 accepts bound tokens alone');
  return { reasons: check.list<AuditableReason>('audit.reasons', reasons, AUDITABLE, DEFAULT), until: end ?? at };
}

/** Said at every start. */
export function warnOfAudit({ reasons, until }: AuditRules, audience: readonly string[]): void {
  warn(
    `AUDIT MODE of ${audience.join(', ')} until ${dayOf(until)}: requests are let through that will be refused then (${reasons.join(', ')}). A stolen token works until then. Watch the events with outcome audited.`,
  );
}

/** The first second of a day of the calendar; parsing alone would take the 31st of February for a day in March. */
function startOf(day: unknown): EpochSeconds | undefined {
  const start = typeof day === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00Z`) / 1000 : Number.NaN;
  return Number.isFinite(start) && dayOf(start) === day ? start : undefined;
}

function dayOf(seconds: EpochSeconds): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}
