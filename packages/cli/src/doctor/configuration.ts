import { PROVIDERS } from '@holdfast/core';
import type { DoctorOptions, Examination } from './examine.ts';
import { introspectionMethods, stringsIn } from './findings.ts';

/** The options for `holdfast(…)` that follow from what was seen, as source text to paste. Empty where nothing could be read. */
export function configurationOf({ issuer, audience, ca }: DoctorOptions, { metadata, keys, provider }: Examination): readonly string[] {
  if (metadata === undefined || keys === undefined) return [];
  const lines = [
    `issuer: ${literal(issuer)},`,
    `audience: ${literal(audience ?? 'https://api.example.com')},${audience === undefined ? ' // your API: what aud of its tokens contains' : ''}`,
  ];
  if (provider !== undefined) {
    lines.push(`provider: ${literal(provider.provider)},`);
    if (PROVIDERS[provider.provider].audience === 'client') lines.push("clientIds: ['…'], // the clients whose tokens are for this API");
  }
  const isBound = metadata['tls_client_certificate_bound_access_tokens'] === true;
  const certificate = 'certificate: fromTls(), // where TLS ends: here, or nginx({ trust: { … } }), envoy({ … }), …';
  lines.push(isBound ? certificate : `// ${certificate}`);
  if (stringsIn(metadata['dpop_signing_alg_values_supported']).length > 0) {
    lines.push(
      "// DPoP is offered since the audience is a URL. Where it is none, say where clients reach the API: publicUrl: 'https://…',",
    );
  }
  if (metadata['introspection_endpoint'] !== undefined) {
    const method = introspectionMethods(metadata)[0] ?? 'client_secret_basic';
    lines.push(`// For tokens that are no JWT: introspection: { clientId: '…', authentication: { method: '${method}', … } },`);
  }
  if (ca !== undefined) lines.push('// For the private authority: NODE_EXTRA_CA_CERTS, or fetch: a fetch that trusts it,');
  return ['holdfast({', ...lines.map((line) => `  ${line}`), '})'];
}

function literal(text: string): string {
  return `'${text.replace(/['\\]/g, '\\$&')}'`;
}
