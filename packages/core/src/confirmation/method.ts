import type { PresentedToken } from '../access-token/extract.ts';
import type { Certificate } from '../certificate/thumbprint.ts';
import type { Fields } from '../challenge/refusal.ts';
import type { Rejection, Scheme } from '../rejection.ts';
import type { Awaitable, EpochSeconds, ProtectedResourceRequest } from '../request.ts';
import type { DpopProof } from './proof.ts';

/** A member of `cnf` that was confirmed, and the thumbprint it names. */
export interface Confirmation {
  readonly member: string;
  readonly thumbprint: string;
}

/** What a sender can be confirmed by: the request and what came with it. */
export interface Presentation {
  readonly request: ProtectedResourceRequest;
  readonly token: PresentedToken;
  readonly now: EpochSeconds;
  /** The certificate of the client, as it was when the request began. */
  readonly certificate: Awaitable<Certificate | Rejection | undefined>;
  /** The proof that came with the DPoP scheme. */
  readonly proof: DpopProof | undefined;
}

/** What is done when nothing else stands against a request, and may still refuse it. */
export type Effect = () => Awaitable<Rejection | undefined>;

/** What a method hands on when the sender is confirmed. */
export interface ConfirmationHeld extends Confirmation {
  /** Fields that the response has to carry for it. */
  readonly fields?: Fields | undefined;
  /** What has an effect, and so waits until everything else has passed. */
  readonly last?: Effect | undefined;
}

/** One way to confirm a sender (RFC 7800 §3.1): the member of `cnf` it understands, and the scheme such a token is presented with. */
export interface ConfirmationMethod {
  readonly member: string;
  readonly scheme: Scheme;
  confirm(thumbprint: string, presentation: Presentation): Awaitable<ConfirmationHeld | Rejection>;
}
