import type { Refusal } from '@holdfast/core';
import { HoldfastError } from '@holdfast/core/node';
import { HttpException } from '@nestjs/common';

/** A body that is nothing as JSON: whatever Nest sends for a string or for nothing has text of its own. */
const NO_BODY: object = Object.freeze(Object.defineProperty({}, 'toJSON', { value: () => undefined }));

/**
 * A refusal as the exception that Nest's exception layer answers. Its status and body are those of the refusal; its fields
 * (challenges, `DPoP-Nonce`, `Retry-After`) are on the response already when it is thrown, so a filter that writes a body of its own
 * loses none. Why is in `refusal.rejection`, for logs and not for the client; `cause` is the same as a {@link HoldfastError}.
 */
export class HoldfastException extends HttpException {
  // Loggers copy what they see of an error, and a field may hold a nonce.
  readonly #refusal: Refusal;

  constructor(refusal: Refusal) {
    const cause = new HoldfastError(refusal);
    super(refusal.body ?? NO_BODY, refusal.status, { cause });
    this.message = cause.message;
    this.#refusal = refusal;
  }

  get refusal(): Refusal {
    return this.#refusal;
  }
}
