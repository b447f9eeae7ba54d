// The API as an AWS Lambda function behind an HTTP API of API Gateway with mutual TLS.
import { accessOf, awsApiGateway, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/core/fetch';

/** What is used of the event of an HTTP API, payload format 2.0 (APIGatewayProxyEventV2 of @types/aws-lambda). */
export interface HttpApiEvent {
  readonly rawPath: string;
  readonly rawQueryString: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly requestContext: {
    readonly domainName: string;
    readonly http: { readonly method: string };
    readonly authentication?: { readonly clientCert?: { readonly clientCertPem: string } };
  };
  readonly body?: string;
  readonly isBase64Encoded: boolean;
}

/** What the function answers. */
export interface HttpApiResult {
  readonly statusCode: number;
  readonly headers: Record<string, string>;
  readonly cookies: readonly string[];
  readonly body: string;
}

/** The function. In a real one, the options stand where they are used, and `handler` is exported. */
export function lambdaHandler(options: Omit<ProtectedResourceOptions, 'certificate'>): (event: HttpApiEvent) => Promise<HttpApiResult> {
  const protect = holdfast({ ...options, certificate: awsApiGateway() });
  const reading = requires({ scope: 'accounts:read' });

  return async (event) => {
    const request = requestOf(event);
    const { refusal, apply } = await protect(request, { platform: event });
    if (refusal) return resultOf(refusal);
    return resultOf(apply(reading(request) ?? Response.json({ owner: accessOf(request).claims.sub })));
  };
}

/** Lines of one field come joined in the event; they stay so, and what must not be joined is refused. */
function requestOf({ rawPath, rawQueryString, headers, requestContext, body, isBase64Encoded }: HttpApiEvent): Request {
  const { domainName, http } = requestContext;
  const query = rawQueryString === '' ? '' : `?${rawQueryString}`;
  const lines = Object.entries(headers).flatMap(([name, value]): [string, string][] => (value === undefined ? [] : [[name, value]]));
  const content = body === undefined ? null : isBase64Encoded ? Uint8Array.from(atob(body), (byte) => byte.charCodeAt(0)) : body;
  return new Request(`https://${domainName}${rawPath}${query}`, { method: http.method, headers: lines, body: content });
}

async function resultOf(response: Response): Promise<HttpApiResult> {
  const headers = Object.fromEntries([...response.headers].filter(([name]) => name !== 'set-cookie'));
  return { statusCode: response.status, headers, cookies: response.headers.getSetCookie(), body: await response.text() };
}
