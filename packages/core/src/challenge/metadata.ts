import type { JWK } from 'jose';
import type { Awaitable, EpochSeconds, ProtectedResourceRequest } from '../request.ts';
import type { Answer, Fields } from './refusal.ts';

/** Metadata of a protected resource (RFC 9728 §2), by the names of the RFC. */
export interface ProtectedResourceMetadata {
  /** The resource identifier, which clients compare with the URL they asked for. */
  readonly resource: string;
  readonly authorization_servers?: readonly string[];
  /** Empty where only DPoP is offered. */
  readonly bearer_methods_supported: readonly string[];
  readonly tls_client_certificate_bound_access_tokens?: true;
  readonly dpop_signing_alg_values_supported?: readonly string[];
  readonly dpop_bound_access_tokens_required?: true;
  readonly scopes_supported?: readonly string[];
  readonly [parameter: string]: unknown;
}

export interface MetadataSettings {
  readonly document: ProtectedResourceMetadata;
  /** Seconds for which it may be kept. */
  readonly maxAge: number;
  /** A private key: the document also comes as a JWT that it signed, `signed_metadata` (§2.2). */
  readonly signingKey: JWK | undefined;
  readonly now: () => EpochSeconds;
}

/** The metadata that a resource publishes. */
export interface PublishedMetadata {
  /** Where clients find it; stands in every challenge as `resource_metadata`. */
  readonly url: string;
  /** The request target of {@link url}. */
  readonly target: string;
  readonly document: ProtectedResourceMetadata;
  /** The answer to a request for the document; `undefined` to any other request. It needs no access. */
  answer(request: ProtectedResourceRequest): Awaitable<Answer> | undefined;
  /** Whether a request is for metadata of which this resource has none: 404, whoever asks. */
  isElsewhere(request: ProtectedResourceRequest): boolean;
  /** Resolves when the document is signed, where it is to be. */
  ready(): Promise<void>;
}

const WELL_KNOWN = '/.well-known/oauth-protected-resource';
const OPEN: Fields = [['Access-Control-Allow-Origin', '*']];
const METHODS = 'GET, HEAD, OPTIONS';

/** The well-known URL of a resource identifier: inserted between host and path (RFC 9728 §3.1). */
function metadataUrl(resource: string): { url: string; target: string } {
  const { origin, pathname, search } = new URL(resource);
  const target = `${WELL_KNOWN}${pathname === '/' ? '' : pathname}${search}`;
  return { url: origin + target, target };
}

/** Makes the well-known document of a resource. Nothing in it comes from a request. */
export function publishMetadata({ document, maxAge, signingKey, now }: MetadataSettings): PublishedMetadata {
  const { url, target } = metadataUrl(document.resource);
  const hasQuery = target.includes('?');
  const found = (body: object): Answer => ({ status: 200, fields: [...OPEN, ['Cache-Control', `public, max-age=${maxAge}`]], body });
  const unsigned = found(document);
  let signed: Promise<Answer> | undefined;

  function documentAnswer(): Awaitable<Answer> {
    if (signingKey === undefined) return unsigned;
    signed ??= sign(document, signingKey, now()).then((jwt) => found({ ...document, signed_metadata: jwt }));
    // Told by ready(), and by every request for it.
    signed.catch(() => {});
    return signed;
  }

  return {
    url,
    target,
    document,
    answer(request) {
      const asked = hasQuery ? request.target : withoutQuery(request.target);
      if (asked !== target) return undefined;
      switch (request.method) {
        case 'GET':
        case 'HEAD': {
          const answer = documentAnswer();
          return answer instanceof Promise ? answer.catch(() => ({ status: 503, fields: [['Retry-After', '60']] })) : answer;
        }
        case 'OPTIONS':
          return {
            status: 204,
            fields: [
              ...OPEN,
              ['Access-Control-Allow-Methods', METHODS],
              ['Access-Control-Allow-Headers', '*'],
              ['Access-Control-Max-Age', String(maxAge)],
            ],
          };
        default:
          return { status: 405, fields: [['Allow', METHODS]] };
      }
    },
    isElsewhere: (request) => {
      const path = request.target.startsWith(WELL_KNOWN) ? withoutQuery(request.target) : '';
      return path === WELL_KNOWN || path.startsWith(`${WELL_KNOWN}/`);
    },
    ready: async () => void (await documentAnswer()),
  };
}

function withoutQuery(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

async function sign(document: ProtectedResourceMetadata, key: JWK, now: EpochSeconds): Promise<string> {
  const { importJWK, SignJWT } = await import('jose');
  const { alg = '', kid } = key;
  return new SignJWT({ ...document })
    .setProtectedHeader({ alg, ...(kid !== undefined && { kid }) })
    .setIssuer(document.resource)
    .setIssuedAt(now)
    .sign(await importJWK(key, alg));
}
