import type { Socket } from 'node:net';
import { fromTls } from '@holdfast/express';
import { type DpopKey, generateDpopKey, type ProofOptions } from '@holdfast/test-support/dpop';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Answer, type Resource, startResource } from './resource.ts';

/*
 * Every combination of scheme, binding and evidence. What may pass is a list, so that a combination that passes for a reason
 * nobody wrote down turns this red.
 */
const SCHEMES = ['Bearer', 'DPoP'] as const;
const BINDINGS = [
  'none',
  'jkt',
  'x5t',
  'both',
  'unknown',
  'empty',
  'null',
  'array',
  'jkt and unknown',
  'x5t and unknown',
  'malformed jkt',
  'malformed x5t',
  'jkt and malformed x5t',
  'x5t and malformed jkt',
  'hexadecimal x5t',
  'top-level jkt',
  'top-level x5t',
  'top-level jkt beside cnf',
  'token_type DPoP',
] as const;
const PROOFS = [
  'good',
  'missing',
  'other key',
  'other key in jwk',
  'other token',
  'other method',
  'other target',
  'bad signature',
  'old',
  'early',
  'replayed',
  'two',
  'none',
] as const;
/** Where nonces are required; elsewhere a nonce is ignored. */
const PROOFS_WITHOUT_NONCE = ['good, without a nonce', 'good, with a nonce of another resource'] as const;
const CERTIFICATES = ['right', 'other', 'none'] as const;

type Binding = (typeof BINDINGS)[number];
type Proof = (typeof PROOFS)[number] | (typeof PROOFS_WITHOUT_NONCE)[number];
type Certificate = (typeof CERTIFICATES)[number];

/** [scheme, binding, proof, certificate]; `any` is every one of them. */
const MAY_PASS: readonly (readonly [string, Binding, string, string])[] = [
  // Unbound tokens, since this resource says unconstrained: 'accept'. What else is sent does not matter.
  ['Bearer', 'none', 'any', 'any'],
  ['Bearer', 'x5t', 'any', 'right'],
  ['Bearer', 'x5t and unknown', 'any', 'right'],
  ['DPoP', 'jkt', 'good', 'any'],
  ['DPoP', 'jkt and unknown', 'good', 'any'],
  ['DPoP', 'both', 'good', 'right'],
];

let pki: Pki;
let right: Identity;
let other: Identity;
let otherKey: DpopKey;
const resources = new Map<string, Resource>();
/** What a resource asks for, where it asks for nonces, and what another one does. */
const nonces = new Map<Resource, string>();
const FOREIGN_NONCE = 'a-nonce-that-another-resource-gave-out-for-its-own';

beforeAll(async () => {
  pki = await createPki();
  [right, other, otherKey] = [await pki.client('right'), await pki.client('other'), await generateDpopKey()];
  const mixed = await startResource({ tls: pki, options: { certificate: fromTls() } });
  resources.set('mixed', mixed);
  const variants = {
    'bound only': { unconstrained: 'refuse' },
    'DPoP only': { schemes: ['DPoP'] },
    'certificates only': { dpop: false },
  } as const;
  for (const [name, options] of Object.entries(variants)) {
    resources.set(name, await startResource({ like: mixed, tls: pki, options: { certificate: fromTls(), ...options } }));
  }
  resources.set('DPoP without certificates', await startResource({ like: mixed, tls: pki }));
  const asking = await startResource({ like: mixed, tls: pki, options: { certificate: fromTls(), dpop: { nonce: 'required' } } });
  resources.set('with nonces', asking);
  nonces.set(asking, (await asking.present(await asking.token())).lines('dpop-nonce')[0] ?? '');
});
afterAll(async () => {
  for (const resource of [...resources.values()].toReversed()) await resource.close();
});

function claimsOf(binding: Binding, jkt: string): object {
  const x5t = right.thumbprint;
  const table: Record<Binding, object> = {
    none: {},
    jkt: { cnf: { jkt } },
    x5t: { cnf: { 'x5t#S256': x5t } },
    both: { cnf: { jkt, 'x5t#S256': x5t } },
    unknown: { cnf: { jwk: { kty: 'EC' }, kid: 'x' } },
    empty: { cnf: {} },
    null: { cnf: null },
    array: { cnf: [{ jkt }] },
    'jkt and unknown': { cnf: { jkt, 'kc-jkt-type': 'x' } },
    'x5t and unknown': { cnf: { 'x5t#S256': x5t, foo: 1 } },
    'malformed jkt': { cnf: { jkt: [jkt] } },
    'malformed x5t': { cnf: { 'x5t#S256': { value: x5t } } },
    'jkt and malformed x5t': { cnf: { jkt, 'x5t#S256': null } },
    'x5t and malformed jkt': { cnf: { 'x5t#S256': x5t, jkt: '' } },
    'hexadecimal x5t': { cnf: { 'x5t#S256': Buffer.from(x5t, 'base64url').toString('hex') } },
    'top-level jkt': { jkt },
    'top-level x5t': { 'x5t#S256': x5t },
    'top-level jkt beside cnf': { jkt, cnf: { 'x5t#S256': x5t } },
    'token_type DPoP': { token_type: 'DPoP' },
  };
  return table[binding];
}

async function proofLines(resource: Resource, kind: Proof, token: string, use: (proof: string) => Promise<unknown>): Promise<string[]> {
  const nonce = nonces.get(resource);
  const proof = (changes: Partial<ProofOptions> = {}, own: string | undefined = nonce): string =>
    resource.proof(token, { ...changes, claims: own === undefined ? {} : { nonce: own } });
  switch (kind) {
    case 'good':
      return [proof()];
    case 'missing':
    case 'none':
      return kind === 'none' ? ['none'] : [];
    case 'other key':
      return [proof({ key: otherKey })];
    case 'other key in jwk':
      return [proof({ signer: otherKey })];
    case 'other token':
      return [proof({ token: await resource.token() })];
    case 'other method':
      return [proof({ htm: 'POST' })];
    case 'other target':
      return [proof({ htu: 'https://rs.example.com/other' })];
    case 'bad signature':
      return [proof().replace(/.{9}$/, 'AAAAAAAAA')];
    case 'old':
      return [proof({ iat: 0 })];
    case 'early':
      return [proof({ iat: resource.clock.now() + 61 })];
    case 'replayed': {
      const used = proof();
      await use(used);
      return [used];
    }
    case 'two':
      return [proof(), proof()];
    case 'good, without a nonce':
      return [resource.proof(token)];
    case 'good, with a nonce of another resource':
      return [proof({}, FOREIGN_NONCE)];
  }
}

function proofsFor(resource: Resource): readonly Proof[] {
  return nonces.has(resource) ? [...PROOFS, ...PROOFS_WITHOUT_NONCE] : PROOFS;
}

async function passing(resource: Resource): Promise<{ passed: string[]; refused: Set<string> }> {
  const passed: string[] = [];
  const refused = new Set<string>();
  const connections: Record<Certificate, { socket?: Socket }> = { right: {}, other: {}, none: {} };
  const owners: Record<Certificate, { socket?: Socket }> = { right: {}, other: {}, none: {} };
  const owner = { cert: right.cert, key: right.key };
  for (const binding of BINDINGS) {
    const token = await resource.token(claimsOf(binding, resource.key.thumbprint));
    await Promise.all(
      CERTIFICATES.map(async (certificate) => {
        const identity = { right, other, none: undefined }[certificate];
        for (const scheme of SCHEMES) {
          for (const proof of proofsFor(resource)) {
            const use = (used: string): Promise<Answer> =>
              resource.send({ token, proof: used, connection: owners[certificate], tls: owner });
            const answer = await resource.send({
              scheme,
              token,
              proof: await proofLines(resource, proof, token, use),
              connection: connections[certificate],
              ...(identity && { tls: { cert: identity.cert, key: identity.key } }),
            });
            if (answer.outcome === '200') passed.push([scheme, binding, proof, certificate].join(' | '));
            else refused.add(answer.outcome);
          }
        }
      }),
    );
  }
  for (const { socket } of [...Object.values(connections), ...Object.values(owners)]) socket?.destroy();
  return { passed: passed.toSorted(), refused };
}

function expected(
  proofs: readonly Proof[],
  keep: (row: { scheme: string; binding: Binding; proof: string; certificate: Certificate }) => boolean,
): string[] {
  return MAY_PASS.flatMap(([scheme, binding, proof, certificate]) =>
    proofs
      .filter((one) => proof === 'any' || proof === one)
      .flatMap((one) =>
        CERTIFICATES.filter((cert) => certificate === 'any' || certificate === cert)
          .filter((cert) => keep({ scheme, binding, proof: one, certificate: cert }))
          .map((cert) => [scheme, binding, one, cert].join(' | ')),
      ),
  ).toSorted();
}

const COUNT = SCHEMES.length * BINDINGS.length * PROOFS.length * CERTIFICATES.length;
const REFUSED = /^401 (?:NONE|[BD]:(?:invalid_token|invalid_dpop_proof))$/;

it.each([
  ['mixed', () => true],
  ['bound only', ({ binding }: { binding: Binding }) => binding !== 'none'],
  ['DPoP only', ({ scheme }: { scheme: string }) => scheme === 'DPoP'],
  ['certificates only', ({ scheme }: { scheme: string }) => scheme === 'Bearer'],
  ['DPoP without certificates', ({ binding }: { binding: Binding }) => !['x5t', 'x5t and unknown', 'both'].includes(binding)],
  ['with nonces', () => true],
] as const)(
  `CNF-01 to CNF-11: of all ${COUNT} combinations and more, a resource of the kind "%s" grants those that are listed`,
  async (name, keep) => {
    const resource = resources.get(name);
    if (resource === undefined) throw new Error(name);
    const { passed, refused } = await passing(resource);
    expect(passed).toEqual(expected(proofsFor(resource), keep));
    const others = [...refused].filter((outcome) => !REFUSED.test(outcome));
    expect(others).toEqual(nonces.has(resource) ? ['401 D:use_dpop_nonce'] : []);
  },
  60_000,
);
