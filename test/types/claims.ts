// `accessOf<C>` types claims beyond the standard ones.
import { type Access, type AccessTokenClaims, accessOf, type ExpressRequest, protectedResource } from '@holdfast/express';

interface BankClaims extends AccessTokenClaims {
  readonly branch: string;
  readonly roles: readonly ('teller' | 'auditor')[];
}

declare const request: ExpressRequest;

const access: Access<BankClaims> = accessOf<BankClaims>(request);
export const branch: string = access.claims.branch;
export const role: 'teller' | 'auditor' | undefined = access.claims.roles[0];
export const issuer: string = access.claims.iss;
export const subject: string | undefined = access.claims.sub;

const plain = accessOf(request);
export const unchecked: unknown = plain.claims['branch'];
// @ts-expect-error: further claims are unknown until somebody says what they are
export const assumed: string = plain.claims['branch'];
// @ts-expect-error: a subject may be missing
export const sub: string = plain.claims.sub;
// @ts-expect-error: not one of the roles
export const wrongRole: 'admin' | undefined = access.claims.roles[0];
// @ts-expect-error: claims are read only
access.claims.roles.push('auditor');
// @ts-expect-error: the standard claims keep their types
accessOf<{ iss: number; exp: number; aud: string }>(request);

const resource = protectedResource<BankClaims>({ issuer: 'https://as.example', audience: 'https://api.example' });
export async function branchOf(view: Parameters<typeof resource.verify>[0]): Promise<string | undefined> {
  const result = await resource.verify(view);
  return result.granted ? result.claims.branch : undefined;
}
