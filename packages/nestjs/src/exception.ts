import { isUnavailable, REASONS, type Refusal } from '@holdfast/core';
import { HttpException } from '@nestjs/common';

/** A body that is nothing as JSON: whatever Nest sends for a string or for nothing has text of its own. */
const NO_BODY: object = Object.freeze(Object.defineProperty({}, 'toJSON', { value: () => undefined }));

/**
 * A refusal as the exception that Nest's exception layer answers. Its status and body are those of the refusal; its fields
 * (challenges, `DPoP-Nonce`, `Retry-After`) are on the response already when it is thrown, so a filter that writes a body of its own
 * loses none. Why is in `refusal.rejection`, for logs and not for the client.
 */
export class HoldfastException extends HttpException {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.body ?? NO_BODY, refusal.status);
    this.refusal = refusal;
    // What our side lacks is nobody's business; filters often send the message.
    const text = isUnavailable(refusal.rejection) ? undefined : REASONS[refusal.rejection.rejected].text;
    this.message = refusal.body?.error_description ?? text ?? this.message;
  }
}
