import type { KeyOfSet } from '@holdfast/core/diagnosis';
import { about, type Finding, type Mark } from '../findings.ts';
import { adviceOn } from '../issuer-fetch.ts';
import { bare, quoted } from '../visible.ts';
import type { DoctorOptions, Examination } from './examine.ts';

/** Where the keys come from, and what becomes of each. */
export function keyFindings({ issuer }: DoctorOptions, { keys, keysFailure, metadata, exchanges }: Examination): Finding[] {
  const say = about('Keys');
  const uri = metadata?.['jwks_uri'];
  if (typeof uri !== 'string') return [];
  const findings: Finding[] = [];
  if (new URL(uri).origin !== new URL(issuer).origin)
    findings.push(say('note', `They come from another host than the issuer: ${quoted(uri)}.`));
  if (keys === undefined) {
    const { code, status } = exchanges.find((one) => one.url === uri) ?? {};
    const advice = adviceOn(code);
    return [
      ...findings,
      say(status === undefined ? 'unclear' : 'wrong', `${keysFailure ?? uri}.${advice === undefined ? '' : ` ${advice}`}`),
    ];
  }
  for (const key of keys) findings.push(keyFinding(key, say));
  const usable = keys.filter(({ unusable }) => unusable === undefined);
  if (usable.length === 0) findings.push(say('wrong', 'With none of its keys tokens can be verified: every token would be refused.'));
  const kids = usable.map(({ jwk }) => member(jwk, 'kid'));
  if (kids.length > 1 && kids.includes(undefined)) findings.push(say('note', 'A key has no kid: tokens have to be tried with several.'));
  if (new Set(kids).size < kids.length && !kids.includes(undefined))
    findings.push(say('note', 'Several keys have the same kid: tokens have to be tried with each.'));
  return findings;
}

function keyFinding({ jwk, unusable, algorithms, thumbprint }: KeyOfSet, say: (mark: Mark, text: string) => Finding): Finding {
  const { kty, size } = kindOf(jwk);
  const kid = member(jwk, 'kid');
  const name = `${kty}${size}, ${kid === undefined ? 'no kid' : `kid ${quoted(kid)}`}, alg ${quotedOr(jwk, 'alg')}, use ${quotedOr(jwk, 'use')}`;
  if (unusable === undefined)
    return say('ok', `${name}: verifies ${algorithms.join(', ')}. Its thumbprint, for revokeKey: ${thumbprint ?? ''}`);
  const isSecret = member(jwk, 'd') !== undefined || member(jwk, 'k') !== undefined;
  return say(isSecret ? 'wrong' : 'note', `${name}: not used, since ${unusable}.`);
}

/** What a key is, without its octets. */
export function kindOf(jwk: unknown): { readonly kty: string; readonly size: string } {
  const n = member(jwk, 'n');
  const crv = member(jwk, 'crv');
  const bits = typeof n === 'string' ? ` ${Buffer.from(n, 'base64url').length * 8} bits` : '';
  return { kty: bare(member(jwk, 'kty') ?? 'no kty'), size: typeof crv === 'string' ? ` ${bare(crv)}` : bits };
}

/** A member of something that may be anything. */
export function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? Reflect.get(value, name) : undefined;
}

function quotedOr(jwk: unknown, name: string): string {
  const value = member(jwk, name);
  return value === undefined ? '-' : quoted(value);
}
