/**
 * Why tests that need something of the machine have to be skipped; `undefined` where it is there. Says so loudly, with the
 * command that installs it; with `CI=true` nothing may be missing, and it throws.
 */
export function reasonToSkip(available: boolean, what: string, install: string): string | undefined {
  if (available) return undefined;
  const message = `${what} is missing. Install it with: ${install}`;
  if (process.env['CI'] === 'true') throw new Error(message);
  console.warn(`SKIPPED: ${message}`);
  return message;
}
