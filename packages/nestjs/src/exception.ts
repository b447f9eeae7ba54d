import type { Refusal } from '@holdfast/core';
import { HoldfastError } from '@holdfast/core/node';
import { HttpException } from '@nestjs/common';

/**
 * A body that is nothing as JSON, where whatever else Nest can be given has text of its own; and what a filter puts into it, where one
 * does.
 */
class NoBody {
  toJSON(): object | undefined {
    const added = Object.entries(this);
    return added.length === 0 ? undefined : Object.fromEntries(added);
  }
}

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
    super(refusal.body === undefined ? new NoBody() : { ...refusal.body }, refusal.status, { cause });
    this.message = cause.message;
    this.#refusal = refusal;
  }

  get refusal(): Refusal {
    return this.#refusal;
  }
}
