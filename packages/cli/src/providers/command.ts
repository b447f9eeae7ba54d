import { type Provider, PROVIDERS } from '@holdfast/core';
import { UsageError } from '../arguments.ts';
import { type Command, wrap } from '../command.ts';
import { EXIT, printHeading, widthOf } from '../findings.ts';
import type { Terminal } from '../terminal.ts';

/** `holdfast providers`: what is known of the tokens of each, with one that is accepted. */
export const providers: Command = {
  name: 'providers',
  summary: 'Shows what Holdfast knows of the access tokens of providers, by the names that the option provider takes.',
  usage: '[name] [options]',
  options: { json: { text: 'Prints them as JSON.' } },
  notes: [
    'The token that is shown would be accepted: it has what one must have, and client and scopes where they are read, beside iss, exp and the binding; … stands for any text.',
    'Example: holdfast providers keycloak',
  ],
  notRun: EXIT.unclear,
  async run(given, terminal) {
    const [name, ...more] = given.positionals;
    const known = Object.entries(PROVIDERS);
    const shown = name === undefined ? known : known.filter(([one]) => one.toLowerCase() === name.toLowerCase());
    // What was given is not repeated: whoever mixes up arguments may have put a secret there.
    if (shown.length === 0 || more.length > 0)
      throw new UsageError(`give one of ${known.map(([one]) => one).join(', ')}, or none for all of them.`);
    if (given.flag('json')) terminal.out(JSON.stringify(shown.map(rowOf), undefined, 2));
    else for (const [one, provider] of shown) print(one, provider, terminal);
    return EXIT.well;
  },
};

/** A token in its own words, where they differ from those of RFC 9068. */
interface ExampleToken {
  readonly header: Readonly<Record<string, string>>;
  readonly claims: Readonly<Record<string, string>>;
}

const ANY = '…';

function exampleOf({ types, signs, audience, client, scope, claims }: Provider): ExampleToken {
  const typ = types.find((one) => one !== 'at+jwt') ?? 'at+jwt';
  const shown = signs.flatMap(([sign]) => (sign === undefined ? [] : [[sign.claim, sign.values?.[0] ?? ANY] as const]));
  const named = [...client.slice(0, 1), ...scope.slice(0, 1), ...claims].map((claim) => [claim, ANY] as const);
  return {
    header: typ === '' ? {} : { typ },
    claims: { ...(audience === 'aud' && { aud: ANY }), ...Object.fromEntries([...named, ...shown]) },
  };
}

function rowOf([name, provider]: readonly [string, Provider]): object {
  return { name, ...provider, token: exampleOf(provider) };
}

function print(name: string, provider: Provider, terminal: Terminal): void {
  const token = exampleOf(provider);
  const { types, signs, never, scope, audience, client, topLevel, claims, note, source } = provider;
  const groups = signs.map((group) =>
    group.map(({ claim, values }) => [claim, ...(values ? [values.join('|')] : [])].join('=')).join(' or '),
  );
  const rows: readonly (readonly [string, string])[] = [
    ['typ', types.map((typ) => (typ === '' ? '(none)' : typ)).join(', ')],
    ['shown by', groups.join(', and ') || 'typ'],
    ['never has', groups.length === 0 ? '-' : never.join(', ')],
    ['resource', audience === 'aud' ? 'aud' : 'aud, or without it a client of clientIds'],
    ['client', client.join(' or ')],
    ['scopes', scope.join(', ')],
    ['binding', ['cnf', ...topLevel.map((member) => `the claim ${member}`)].join(', ')],
    ['also required', claims.join(', ') || '-'],
    ['token', `${JSON.stringify(token.header)} ${JSON.stringify(token.claims)}`],
    ['note', note ?? '-'],
    ['source', source],
  ];
  printHeading(name, terminal);
  const indent = ' '.repeat(INDENT);
  for (const [label, text] of rows) terminal.out(` ${label.padEnd(INDENT - 1)}${wrap(text, widthOf(terminal) - INDENT, indent)}`);
}

const INDENT = 16;
