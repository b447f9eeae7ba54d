import type { AuditRules } from '../confirmation/confirm-token.ts';
import { warn } from '#runtime';
import type { EpochSeconds } from '../request.ts';
import type { Check } from '../check.ts';
import type { Demands } from './profiles.ts';

/** A reason that audit mode can relax: the client shows nothing, and never that it shows something wrong. */
export type AuditableReason = 'certificate.missing' | 'certificate.not_presented' | 'certificate.no_source' | 'cnf.absent';

const DEFAULT: readonly AuditableReason[] = ['certificate.missing', 'certificate.not_presented', 'cnf.absent'];
const AUDITABLE: readonly AuditableReason[] = [...DEFAULT, 'certificate.no_source'];

/** For a while, requests that would be refused for some reasons are let through and reported: events with `outcome: 'audited'`. */
export interface AuditOptions {
  /** The day it ends, in UTC: `2027-03-01`; from then on they are refused. 90 days from now at most. */
  readonly until: string;
  /** By default no certificate, and no `cnf`. Whatever is wrong, and not only missing, stays refused. */
  readonly reasons?: readonly AuditableReason[];
}

const MOST_DAYS = 90;
const DAY = 86_400;

/** `undefined` where everything is enforced. */
export function readAudit(check: Check, value: unknown, demands: Demands, now: () => EpochSeconds): AuditRules | undefined {
  if (value === undefined) return undefined;
  const { until, reasons } = check.object('audit', value, { until: true, reasons: true });
  const end = typeof until === 'string' && /^\d{4}-\d{2}-\d{2}$/.test(until) ? Date.parse(`${until}T00:00:00Z`) / 1000 : Number.NaN;
  const at = now();
  if (!Number.isFinite(end) || end > at + MOST_DAYS * DAY) {
    check.wrong('audit.until', until, `Give the day it ends, at most ${MOST_DAYS} days from now, as '${dayOf(at + 30 * DAY)}'`);
  }
  if (demands.boundTokens) check.wrongKind('audit', value, 'Leave it out: the profile fapi2 accepts bound tokens alone');
  const rules = { reasons: check.list<AuditableReason>('audit.reasons', reasons, AUDITABLE, DEFAULT), until: end };
  if (end <= at) warn(`audit: it ended on ${dayOf(end)}, so everything is enforced. Leave it out.`);
  else if (Number.isFinite(end)) {
    warn(
      `AUDIT MODE until ${dayOf(end)}: requests are let through that will be refused then (${rules.reasons.join(', ')}). A stolen token works until then. Watch the events with outcome audited.`,
    );
  }
  return rules;
}

function dayOf(seconds: EpochSeconds): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}
