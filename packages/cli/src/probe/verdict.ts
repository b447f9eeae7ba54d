import type { Sender } from './plan.ts';
import type { Answer } from './request.ts';

/**
 * What became of an attempt. As it should be: `granted`, of the owner; `refused`, of a thief; `discarded`, of a field that the owner
 * spoofed without effect. `got in` where a thief was served, or what the owner spoofed reached the API. `unclear` where it could not
 * be told, `not offered` where there was nothing to attack.
 */
export type Verdict = 'granted' | 'refused' | 'discarded' | 'got in' | 'unclear' | 'not offered';

/** Of several verdicts on one attempt, which is said. */
export const RANK: Readonly<Record<Verdict, number>> = { 'not offered': 0, granted: 1, discarded: 1, refused: 2, unclear: 3, 'got in': 4 };

/** Says little about the next request: too many, too slow, broken for the moment. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 502, 503, 504]);

/** What became of an attempt, and why that is said. */
export function judge(sender: Sender, answer: Answer): readonly [Verdict, string | undefined] {
  switch (answer.kind) {
    case 'failed':
    case 'unreachable':
      return ['unclear', answer.reason];
    case 'unsupported':
      return ['not offered', answer.reason];
    case 'closed':
      return ['refused', answer.reason];
    case 'answer':
      if (PASSING.has(answer.status)) return ['unclear', `${answer.status} says nothing about who is served`];
      if (sender === 'owner') {
        if (isUnauthorized(answer)) return ['got in', 'a field that the owner sent changed the answer: it reaches the API'];
        return [isServed(answer) ? 'discarded' : 'refused', undefined];
      }
      return [isServed(answer) ? 'got in' : 'refused', undefined];
  }
}

/**
 * Whether the same request may well be answered otherwise a moment later, so that it is worth a second one: for instance where the API
 * has refused and closed while its edge was still writing to it, which the edge tells as 502.
 */
export function isMomentary(answer: Answer): boolean {
  return answer.kind === 'answer' && answer.status >= 502 && answer.status <= 504;
}

/** Whether the route answered. */
export function isServed(answer: Answer): boolean {
  return answer.kind === 'answer' && answer.status >= 200 && answer.status < 300;
}

/** Whether it was the API that refused, and not the edge. */
export function isUnauthorized(answer: Answer): boolean {
  return answer.kind === 'answer' && answer.status === 401;
}

/** Whether two answers say the same. */
export function isAlike(answer: Answer, other: Answer | undefined): boolean {
  if (answer.kind === 'answer') return other?.kind === 'answer' && other.status === answer.status;
  return answer.kind === other?.kind;
}

/** Why it cannot be told what is refused, where the owner is. */
export function whyOwner(answer: Answer): string {
  if (answer.kind !== 'answer') return answer.reason;
  const hint = answer.status === 401 ? ': has the token expired, is it bound to this certificate, does the edge hand it on?' : '';
  return `the owner itself is answered ${answer.status}${hint}`;
}
