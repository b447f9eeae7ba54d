/**
 * Compares two strings in time that depends on their lengths alone: every character is looked at, whatever the others were.
 * Without buffers, which for the 43 characters of a hash take ten times as long as the comparison.
 */
export function equal(a: string, b: string): boolean {
  let differences = a.length ^ b.length;
  for (let i = 0; i < a.length; i += 1) differences |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return differences === 0;
}
