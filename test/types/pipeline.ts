// The stages of the pipeline take only what the stage before them hands on, and nothing that is made by hand.
import { type Access, prepareRequirements, protectedResource, REASONS, type Reason, type Refusal } from '@holdfast/core';
import type { AuthenticatedToken } from '../../packages/core/src/access-token/authenticated-token.ts';
import type { PresentedToken } from '../../packages/core/src/access-token/extract.ts';
import { authorizeToken } from '../../packages/core/src/authorization/authorize-token.ts';
import { type ConfirmedToken, confirmToken } from '../../packages/core/src/confirmation/confirm-token.ts';
import type { Presentation } from '../../packages/core/src/confirmation/method.ts';
import type { Rejection } from '../../packages/core/src/rejection.ts';

declare const presented: PresentedToken;
declare const authenticated: AuthenticatedToken;
declare const confirmed: ConfirmedToken;
declare const presentation: Presentation;
const clock = { now: (): number => 0, clockTolerance: 5 };
const read = prepareRequirements({ scope: 'read' });

export const authorized: Rejection | undefined = authorizeToken(confirmed, read, clock);

// @ts-expect-error: what the request carried was judged by nobody
authorizeToken(presented, read, clock);
// @ts-expect-error: an authenticated token may have been sent by a thief
authorizeToken(authenticated, read, clock);
// @ts-expect-error: the same members do not make a confirmed token
authorizeToken({ issuer: 'https://as.example', claims: authenticated.claims, scheme: 'Bearer', confirmations: [] }, read, clock);
// @ts-expect-error: an authenticated token with what confirmation adds, made by hand
authorizeToken({ ...authenticated, scheme: 'Bearer', confirmations: [] }, read, clock);

const confirm = confirmToken([]);
const outcome = await confirm(authenticated, presentation);
// @ts-expect-error: what a stage answers has to be looked at: it may be a rejection
authorizeToken(outcome, read, clock);
// @ts-expect-error: confirming needs an authenticated token
void confirm(presented, presentation);
const madeByHand = { issuer: 'https://as.example', claims: authenticated.claims, until: 0, keyTrusted: () => true };
// @ts-expect-error: the same members do not make an authenticated token
void confirm(madeByHand, presentation);
// @ts-expect-error: no second argument turns a check off
confirmToken([], 'ignore');

// @ts-expect-error: access is granted, never written down
export const byHand: Access = {
  granted: true,
  confirmed: true,
  issuer: 'https://as.example',
  claims: { iss: 'https://as.example', aud: 'https://api.example', exp: 1 },
  scheme: 'Bearer',
  confirmations: [],
  fields: [],
};

declare const access: Access;
const resource = protectedResource({ issuer: 'https://as.example', audience: 'https://api.example' });
resource.authorize(access, read);
declare const refusal: Refusal;
// A refusal stays one, so an adapter may ask with whatever verify answered; without requirements, whether there is access at all.
resource.authorize(refusal, read) satisfies Access | Refusal;
// @ts-expect-error: what comes back has to be looked at: it may be a refusal
void resource.authorize(access).claims;
// @ts-expect-error: only what was granted is authorized
resource.authorize(authenticated, read);
// @ts-expect-error: a confirmed token that no resource has granted is no access
resource.authorize(confirmed, read);
// @ts-expect-error: access is read only
access.confirmed = true;
// @ts-expect-error: the end of access is not the application's to set
access.signal = new AbortController().signal;
// @ts-expect-error: claims are read only
access.claims.sub = 'somebody else';

export async function verified(request: Parameters<typeof resource.verify>[0]): Promise<string> {
  const result = await resource.verify(request);
  // @ts-expect-error: nothing is known of the claims before it is known that access was granted
  void result.claims;
  if (!result.granted) return result.rejection.rejected satisfies Reason;
  // @ts-expect-error: access has no status: it is no answer
  void result.status;
  return result.claims.iss;
}

declare const text: string;

// Reasons are a closed union: names of events and alerts do not drift.
export const known: Reason = 'certificate.mismatch';
export const row: (typeof REASONS)['certificate.mismatch'] = REASONS['certificate.mismatch'];
// @ts-expect-error: not in the table
export const unknown: Reason = 'certificate.mismatched';
// @ts-expect-error: a reason is not any string
export const widened: Reason = text;
// @ts-expect-error: no row stands under another name
void REASONS['certificate'];
// @ts-expect-error: the table is read only
REASONS['certificate.mismatch'].status = 200;
