import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nginx } from '@holdfast/express';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const document = join(root, 'examples', 'edges', 'README.md');
const text = readFileSync(document, 'utf8');

/** The functions that the file of the presets exports. */
const PRESETS = [...readFileSync(join(root, 'packages/core/src/certificate/edges.ts'), 'utf8').matchAll(/^export function (\w+)/gm)].map(
  ([, name]) => name ?? '',
);

describe('the recipes', () => {
  it('are as many as there are presets', () => {
    expect(PRESETS.length).toBeGreaterThan(18);
  });

  it.each(PRESETS)('%s has one', (name) => {
    expect(text).toMatch(new RegExp(`\`${name}[\`(]`));
  });

  const DOCUMENTED = text.slice(text.indexOf('## From the documents'), text.indexOf('## What does not work')).split(/^### /m).slice(1);

  it.each(DOCUMENTED.map((section) => [section.slice(0, section.indexOf('\n')), section] as const))(
    '%s has configuration to copy, which sets a secret, or says that this edge sends none',
    (_title, section) => {
      expect(section).toMatch(/^```\w*\n[^]+?^```$/m);
      expect(section).toMatch(/change-me-change-me-change-me-42|var\.edge_secret|sends no secret/);
    },
  );

  it('lead to files that are there, and none is left out', () => {
    const targets = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, target]) => join(dirname(document), target ?? ''));
    expect(targets.filter((target) => !existsSync(target))).toEqual([]);
    const folders = readdirSync(dirname(document), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    for (const { name } of folders) expect(targets.some((target) => target.startsWith(join(dirname(document), name, '/')))).toBe(true);
  });

  it.each(['nginx', 'haproxy', 'apache', 'caddy'])('those of %s are run by a test', (kind) => {
    const suite = readFileSync(fileURLToPath(new URL(`./${kind}.test.ts`, import.meta.url)), 'utf8');
    const folders = readdirSync(dirname(document)).filter((name) => name.split('-')[0] === kind);
    expect(folders.length).toBeGreaterThan(0);
    for (const folder of folders) expect(suite).toContain(`'edges/${folder}'`);
  });

  /** Of each recipe, the line by which it replaces the field of the certificate, whatever the client sent. */
  const REPLACES: Readonly<Record<string, readonly RegExp[]>> = {
    nginx: [/^ *proxy_set_header X-SSL-Cert \$ssl_client_escaped_cert;$/m],
    'nginx-rfc9440': [/^ *proxy_set_header Client-Cert \$client_cert;$/m, /^ *proxy_set_header Client-Cert-Chain "";$/m],
    haproxy: [/^ *http-request set-header X-SSL-Client-Cert %\[ssl_c_der,base64\]$/m],
    'haproxy-rfc9440': [/^ *http-request del-header Client-Cert$/m, /^ *http-request del-header Client-Cert-Chain$/m],
    apache: [/^ *RequestHeader set X-SSL-Cert "%\{SSL_CLIENT_CERT\}s"$/m],
    caddy: [/^\t*header_up X-Client-Cert \{http\.request\.tls\.client\.certificate_der_base64\}$/m],
    'caddy-rfc9440': [
      /^\t*header_up Client-Cert :\{http\.request\.tls\.client\.certificate_der_base64\}:$/m,
      /^\t*header_up -Client-Cert-Chain$/m,
    ],
  };

  it('replace the field, without a condition, in every edge that sets the secret: nobody who copies one is left with half of it', () => {
    const folders = readdirSync(dirname(document)).filter((name) => name !== 'README.md');
    expect(folders).toEqual(Object.keys(REPLACES).toSorted());
    for (const folder of folders) {
      const configuration = readdirSync(join(dirname(document), folder))
        .map((name) => readFileSync(join(dirname(document), folder, name), 'utf8'))
        .join('\n');
      for (const line of REPLACES[folder] ?? []) expect(configuration).toMatch(line);
      expect(configuration).toMatch(/edge-secret/i);
      expect(configuration).toContain('change-me-change-me-change-me-42');
    }
  });

  it.each(['change-me-change-me-change-me-42'])('%s, which they all have, is refused as a secret', (value) => {
    expect(() => nginx({ trust: { secret: { field: 'edge-secret', values: [value] } } })).toThrow(/is that of the recipes/);
  });
});
