import { reject } from '../rejection.ts';
import type { ConfirmationMethod } from './confirm-token.ts';

/** Stands where DPoP is not offered, so that a token bound to a DPoP key is refused for that and never read as unbound. */
export const dpopNotOffered: ConfirmationMethod = {
  member: 'jkt',
  scheme: 'DPoP',
  confirm: () => reject('dpop.not_offered'),
};
