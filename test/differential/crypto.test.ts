import { randomBytes } from 'node:crypto';
import { athOf, type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import * as node from '../../packages/core/src/crypto/node.ts';
import * as web from '../../packages/core/src/crypto/web.ts';
import { isBase64url, readProofKey } from '../../packages/core/src/keys/proof-key.ts';
import vectors from '../vectors/vectors.json' with { type: 'json' };

// One interface: what one has and the other lacks, or types otherwise, does not compile.
const kinds: readonly (typeof node)[] = [node, web];

const ALGORITHMS = ['ES256', 'ES384', 'ES512', 'PS256', 'PS384', 'PS512', 'RS256', 'EdDSA', 'Ed25519'];
const keys = new Map<string, DpopKey[]>();

beforeAll(async () => {
  for (const algorithm of ALGORITHMS) keys.set(algorithm, [await generateDpopKey(algorithm), await generateDpopKey(algorithm)]);
});

const keyOf = (algorithm: string, which = 0): DpopKey => {
  const key = keys.get(algorithm)?.[which];
  if (key === undefined) throw new Error(algorithm);
  return key;
};

function publicJwkOf(algorithm: string, jwk: unknown): node.PublicJwk {
  const key = readProofKey(algorithm, jwk);
  if ('rejected' in key) throw new Error(key.detail);
  return key.jwk;
}

/** What each kind of crypto says of a signature. */
async function verdicts(algorithm: string, jwk: node.PublicJwk, signed: string, signature: Uint8Array): Promise<(boolean | 'no key')[]> {
  return Promise.all(
    kinds.map(async ({ importKey }) => {
      const verify = await importKey(algorithm, jwk);
      return verify === undefined ? 'no key' : verify(signed, signature);
    }),
  );
}

/** Changes of a signature that a decoder, a parser or a big-number library could be lenient about. */
const MUTATIONS: Readonly<Record<string, (signature: Buffer, at: number) => Uint8Array>> = {
  none: (signature) => signature,
  'a bit': (signature, at) => signature.map((byte, i) => (i === at % signature.length ? byte ^ (1 << (at % 8)) : byte)),
  'a byte less at the end': (signature) => signature.subarray(0, -1),
  'a byte less at the beginning': (signature) => signature.subarray(1),
  'a zero more at the end': (signature) => Buffer.concat([signature, Buffer.alloc(1)]),
  'a zero more at the beginning': (signature) => Buffer.concat([Buffer.alloc(1), signature]),
  'halves exchanged': (signature) => Buffer.concat([signature.subarray(signature.length / 2), signature.subarray(0, signature.length / 2)]),
  'zeros in the first half': (signature) => signature.map((byte, i) => (i < signature.length / 2 ? 0 : byte)),
  'zeros in the second half': (signature) => signature.map((byte, i) => (i < signature.length / 2 ? byte : 0)),
  'ones in the first half': (signature) => signature.map((byte, i) => (i < signature.length / 2 ? 255 : byte)),
  'ones in the second half': (signature) => signature.map((byte, i) => (i < signature.length / 2 ? byte : 255)),
  'all zero': (signature) => Buffer.alloc(signature.length),
  nothing: () => new Uint8Array(),
  'random bytes': (signature) => randomBytes(signature.length),
};

describe('node:crypto and WebCrypto say the same', () => {
  it.each(ALGORITHMS)(
    'of 500 good and mutated proofs of %s, and of no mutated one that it is good',
    { timeout: 120_000 },
    async (algorithm) => {
      const key = keyOf(algorithm);
      const jwk = publicJwkOf(algorithm, key.publicJwk);
      const mutated = fc.record({
        mutation: fc.constantFrom(...Object.keys(MUTATIONS)),
        at: fc.nat({ max: 4096 }),
        other: fc.constantFrom('same', 'key', 'text'),
      });
      let good = 0;
      for (const { mutation, at, other } of fc.sample(mutated, 500)) {
        const proof = makeProof({ key, token: `token ${at}`, iat: at });
        const dot = proof.lastIndexOf('.');
        const signed = other === 'text' ? `${proof.slice(0, dot)}A` : proof.slice(0, dot);
        const original = Buffer.from(proof.slice(dot + 1), 'base64url');
        const signature = MUTATIONS[mutation]?.(original, at) ?? original;
        const used = other === 'key' ? publicJwkOf(algorithm, keyOf(algorithm, 1).publicJwk) : jwk;
        const [byNode, byWeb] = await verdicts(algorithm, used, signed, signature);
        const right = other === 'same' && original.equals(signature);
        expect([algorithm, mutation, other, byNode, byWeb]).toEqual([algorithm, mutation, other, right, right]);
        if (right) good += 1;
      }
      expect(good).toBeGreaterThan(0);
    },
  );

  it('of the published signatures', async () => {
    for (const [algorithm, { compact, jwk }] of [
      ['ES256', vectors.jws['rfc7515-A3-es256']],
      ['EdDSA', vectors.jws['rfc8037-ed25519-jws']],
      ['ES256', { compact: vectors.rfc9449_malleability['s-negated'].compact, jwk: vectors.rfc9449_values.jkt.jwk }],
    ] as const) {
      const dot = compact.lastIndexOf('.');
      const signature = Buffer.from(compact.slice(dot + 1), 'base64url');
      expect(await verdicts(algorithm, publicJwkOf(algorithm, jwk), compact.slice(0, dot), signature)).toEqual([true, true]);
    }
  });

  it('of keys that are none, or of another algorithm', async () => {
    const off = publicJwkOf('ES256', vectors.jwk_points['derived-off-curve'].jwk);
    expect(await verdicts('ES256', off, 'a.b', new Uint8Array(64))).toEqual(['no key', 'no key']);
    const zero = 'A'.repeat(43);
    expect(await verdicts('ES256', { kty: 'EC', crv: 'P-256', x: zero, y: zero }, 'a.b', new Uint8Array(64))).toEqual(['no key', 'no key']);
    for (const algorithm of ['HS256', 'none', 'ES256K', '']) {
      expect(await verdicts(algorithm, publicJwkOf('ES256', keyOf('ES256').publicJwk), 'a.b', new Uint8Array(64))).toEqual([
        'no key',
        'no key',
      ]);
    }
  });

  it('of the signature of one RSA algorithm under another, with the same key', async () => {
    const names = ['PS256', 'PS384', 'PS512', 'RS256'];
    for (const signer of names) {
      for (const verifier of names) {
        const key = { ...keyOf('PS256'), alg: signer };
        const proof = makeProof({ key: keyOf(signer), token: 't', iat: 1, header: { alg: verifier } });
        const dot = proof.lastIndexOf('.');
        const same = await verdicts(
          verifier,
          publicJwkOf(verifier, keyOf(signer).publicJwk),
          proof.slice(0, dot),
          Buffer.from(proof.slice(dot + 1), 'base64url'),
        );
        expect([key.alg, verifier, ...same]).toEqual([signer, verifier, signer === verifier, signer === verifier]);
      }
    }
  });

  it.each(['PS256', 'PS384', 'PS512', 'RS256'])(
    'of a signature of %s that begins with zero, and lacks it',
    { timeout: 60_000 },
    async (algorithm) => {
      const key = keyOf(algorithm);
      for (let i = 0; ; i += 1) {
        const proof = makeProof({ key, token: 't', iat: i });
        const dot = proof.lastIndexOf('.');
        const signature = Buffer.from(proof.slice(dot + 1), 'base64url');
        if (signature[0] !== 0) continue;
        const jwk = publicJwkOf(algorithm, key.publicJwk);
        expect(await verdicts(algorithm, jwk, proof.slice(0, dot), signature)).toEqual([true, true]);
        expect(await verdicts(algorithm, jwk, proof.slice(0, dot), signature.subarray(1))).toEqual([false, false]);
        return;
      }
    },
  );

  it('of hashes, MACs, encodings and comparisons', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }),
        fc.uint8Array({ minLength: 1, maxLength: 80 }),
        fc.string({ unit: 'binary' }),
        (text, bytes, other) => {
          expect(web.sha256(text)).toBe(node.sha256(text));
          expect(web.sha256(bytes)).toBe(node.sha256(bytes));
          expect(web.sha256(text)).toBe(athOf(text));
          expect(Buffer.from(web.hmacSha256(bytes, text))).toEqual(Buffer.from(node.hmacSha256(bytes, text)));
          const encoded = node.toBase64url(bytes);
          expect(web.toBase64url(bytes)).toBe(encoded);
          expect(isBase64url(encoded)).toBe(true);
          expect(Buffer.from(web.fromBase64url(encoded))).toEqual(Buffer.from(bytes));
          expect(Buffer.from(node.fromBase64url(encoded))).toEqual(Buffer.from(bytes));
          for (const { equal } of kinds) {
            expect(equal(text, other)).toBe(text === other);
            expect(equal(text, text)).toBe(true);
          }
        },
      ),
      { numRuns: 500 },
    );
    for (const { randomSecret } of kinds)
      expect(new Set(Array.from({ length: 100 }, () => node.toBase64url(randomSecret(16)))).size).toBe(100);
  });
});
