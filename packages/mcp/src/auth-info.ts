import type { Access } from '@holdfast/core';
import { callerOf } from '@holdfast/core/fetch';

/** What stands in place of the token: tools, and what they log, never get to hold it, nor can they pass it on. */
export const TOKEN_PLACEHOLDER = 'confirmed by Holdfast, which keeps the token to itself';

/** Who calls, as the MCP SDK hands it to tools: `extra.authInfo`, of version 1, and `ctx.http.authInfo`, of version 2. */
export interface AuthInfo {
  /** Never the token: {@link TOKEN_PLACEHOLDER}. */
  token: string;
  /** Empty where the token says of no client. */
  clientId: string;
  scopes: string[];
  /** Epoch seconds. */
  expiresAt: number;
  /** The option `resource`. */
  resource?: URL;
  extra: AuthInfoExtra;
}

/** What Holdfast has to say beyond the members that the SDK knows. */
export interface AuthInfoExtra extends Record<string, unknown> {
  /** With `subject` the identity of the user; a subject alone is not one. */
  readonly issuer: string;
  readonly subject: string | undefined;
  readonly scheme: 'Bearer' | 'DPoP';
  /** Whether the token was sent by the client it is bound to. False only where unbound tokens are accepted. */
  readonly confirmed: boolean;
  /** The certificate (`x5t#S256`) or the key (`jkt`) that the caller has. */
  readonly confirmations: readonly { readonly member: string; readonly thumbprint: string }[];
  /**
   * The one that sessions belong to, as one string: issuer, subject, client and confirmations together. To bind state of your own to,
   * as `requestState` of SDK 2. `undefined` where the token names nobody.
   */
  readonly caller: string | undefined;
  /** The claims that the option `claims` names, as far as the token has them. Frozen. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** An `AuthInfo` of its own for each request, so that what a tool does to it stays with that tool. */
export function authInfoOf(
  access: Access,
  { resource, claims: names }: { readonly resource: string | undefined; readonly claims: readonly string[] },
): AuthInfo {
  const { issuer, claims, clientId = '', scopes, scheme, confirmed, confirmations } = access;
  return {
    token: TOKEN_PLACEHOLDER,
    clientId,
    scopes: [...scopes],
    expiresAt: claims.exp,
    ...(resource !== undefined && { resource: new URL(resource) }),
    extra: {
      issuer,
      subject: claims.sub,
      scheme,
      confirmed,
      confirmations,
      caller: callerOf(access),
      claims: Object.freeze(Object.fromEntries(names.flatMap((name) => (Object.hasOwn(claims, name) ? [[name, claims[name]]] : [])))),
    },
  };
}
