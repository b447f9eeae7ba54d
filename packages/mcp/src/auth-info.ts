import type { Access, AccessTokenClaims } from '@holdfast/core';
import { slot } from '@holdfast/core/node';

/** What the MCP SDK hands to tools as `extra.authInfo`: its `AuthInfo`, by shape. */
export interface McpAuthInfo {
  /** Never the token: a tool that passed it on to another service would be the confused deputy that MCP forbids. */
  token: string;
  /** Empty where the issuer does not name the client. */
  clientId: string;
  scopes: string[];
  /** `exp`, in seconds. */
  expiresAt: number;
  /** The one audience of the token, where it is a single URL. */
  resource?: URL;
  /** The identity is issuer and subject together; `confirmed` is false where the token was let through unbound. */
  extra: {
    readonly issuer: string;
    readonly subject: string | undefined;
    readonly claims: Access['claims'];
    readonly confirmations: Access['confirmations'];
    readonly confirmed: boolean;
  };
}

// No token68 (RFC 9110 §11.2), so that it cannot even be sent as a credential.
const PLACEHOLDER = '(the access token stays with Holdfast)';

const accesses = slot<Access>();

/** The `AuthInfo` of an access, for the SDK's transports. Written for the SDK: Holdfast never reads what stands in it. */
export function authInfoOf(access: Access): McpAuthInfo {
  const { issuer, claims, clientId = '', scopes, confirmations, confirmed } = access;
  const resource = resourceOf(claims.aud);
  const authInfo: McpAuthInfo = {
    token: PLACEHOLDER,
    clientId,
    scopes: [...scopes],
    expiresAt: claims.exp,
    ...(resource !== undefined && { resource }),
    extra: { issuer, subject: claims.sub, claims, confirmations, confirmed },
  };
  accesses.set(authInfo, access);
  return authInfo;
}

/**
 * What was granted to the request that a tool runs for. Throws where `extra.authInfo` was not made by {@link authInfoOf}: what
 * anybody else has put there is not access. `C` types the claims beyond the standard ones; it is your word, not a check.
 *
 * @example
 * server.registerTool('accounts', { description: 'Your accounts' }, (extra) => accountsOf(accessOfTool(extra).claims.sub));
 */
export function accessOfTool<C extends AccessTokenClaims = AccessTokenClaims>(extra: {
  readonly authInfo?: object | undefined;
}): Access<C> {
  const access = extra.authInfo && accesses.get(extra.authInfo);
  if (access === undefined) throw new Error('The request of this tool was not let through by mcpEndpoint, so that nobody has access.');
  return access as Access<C>;
}

function resourceOf(audience: AccessTokenClaims['aud']): URL | undefined {
  const [only, ...more] = [audience ?? []].flat();
  return only !== undefined && more.length === 0 && URL.canParse(only) ? new URL(only) : undefined;
}
