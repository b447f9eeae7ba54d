// What Holdfast knows of providers: the shape of their access tokens, with an example of each. `node test/bench/dist/providers.js`
import { PROVIDERS } from '@holdfast/core';
import { PROVIDER_TOKENS } from '@holdfast/test-support/provider-tokens';

const lines = Object.entries(PROVIDERS).flatMap(([name, provider]) => {
  const { types, signs, scope, audience, client, topLevel, claims, source, note } = provider;
  const alternatives = signs.map((group) =>
    group.map((sign) => [sign.claim, sign.values?.join('|')].filter(Boolean).join('=')).join(' or '),
  );
  const { header, claims: example } = PROVIDER_TOKENS[name]?.access ?? {};
  return [
    name,
    `  typ            ${types.map((typ) => (typ === '' ? '(none)' : typ)).join(', ')}`,
    `  shown by       ${alternatives.join(', and ') || 'typ'}`,
    `  resource       ${audience === 'aud' ? 'aud' : `aud, or without it a client of clientIds (${client})`}`,
    `  scopes         ${scope.join(', ')}`,
    `  client         ${client}`,
    `  binding        ${['cnf', ...topLevel.map((member) => `the claim ${member}`)].join(', ')}`,
    `  also required  ${claims.join(', ') || '-'}`,
    `  token          ${JSON.stringify(header)} ${JSON.stringify(example)}`,
    `  note           ${note ?? '-'}`,
    `  source         ${source}`,
    '',
  ];
});
console.log(lines.join('\n'));
