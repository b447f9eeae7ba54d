/** A mistake of whoever called the command, in words that say how to mend it. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/**
 * A JWT (its first segment begins as the base64 of a JSON object does), also behind an option or a scheme, or another text as long as
 * only secrets are.
 */
const LIKE_A_TOKEN = /^(?:--?[\w-]+=)?(?:[Bb]earer\s+|D[Pp]o[Pp]\s+)?(?:(?:eyJ|eyA[gi]|ewo[gJi]|ew0K)[\w-]{8,}\.[\w-]{10,}|[\w-]{100,}$)/;

/** Refuses tokens as arguments, whatever they are given for, and repeats none. */
export function refuseTokens(args: readonly string[]): void {
  if (!args.some((arg) => LIKE_A_TOKEN.test(arg))) return;
  throw new UsageError(
    'an argument looks like a token. Arguments are seen by everybody on this machine (ps), and stay in the history of the shell: consider that token known to others, and have it revoked. Put tokens into a file, or on standard input.',
  );
}
