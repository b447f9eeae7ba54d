/**
 * Whether tests that need something of the machine have to be skipped. Says so loudly, with the command that installs it; with
 * `CI=true` nothing may be missing, and it throws.
 */
export function skipWithout(available: boolean, what: string, install: string): boolean {
  if (available) return false;
  const message = `${what} is missing. Install it with: ${install}`;
  if (process.env['CI'] === 'true') throw new Error(message);
  console.warn(`SKIPPED: ${message}`);
  return true;
}
