// Each way a chain can be bad, with certificates that are signed as they should be in everything else.
import { CLIENT_AUTH, extension, type Issued, issue, type Saying, SERVER_AUTH } from '@holdfast/test-support/authority';
import { beforeAll, describe, expect, it } from 'vitest';
import { type ChainCertificate, trustedChain } from '../../packages/core/src/certificate/chain.ts';
import { type Certificate, certificateOf } from '../../packages/core/src/certificate/thumbprint.ts';

const NOW = 1_800_000_000;
const DAY = 86_400;
const VALID = { notBefore: NOW - DAY, notAfter: NOW + 30 * DAY };
const AUTHORITY = { ...VALID, authority: true, usages: 'certificatesAndLists' } as const;
const CLIENT = { ...VALID, authority: false, usages: 'signatures', purposes: [CLIENT_AUTH] } as const;
const NAME_CONSTRAINTS = '2.5.29.30';

let root: Issued;
let intermediate: Issued;
let leaf: Issued;

beforeAll(async () => {
  root = await issue({ ...AUTHORITY, subject: 'Root' });
  intermediate = await issue({ ...AUTHORITY, subject: 'Intermediate', by: root });
  leaf = await issue({ ...CLIENT, subject: 'client', by: intermediate });
});

interface Policy {
  readonly anchors?: readonly Issued[];
  readonly intermediates?: readonly Issued[];
  readonly isRevoked?: (certificate: ChainCertificate) => boolean | Promise<boolean>;
}

function policyOf({ anchors = [root], intermediates = [], isRevoked }: Policy = {}): ReturnType<typeof trustedChain> {
  const ders = (list: readonly Issued[]): Uint8Array[] => list.map(({ der }) => der);
  return trustedChain({ anchors: ders(anchors), intermediates: ders(intermediates), isRevoked, revocationFor: 300 });
}

function presented({ der }: Issued, chain?: readonly Issued[]): Certificate {
  return { ...certificateOf(der), ...(chain && { chain: chain.map((one) => one.der) }) };
}

/** `trusted`, or the reason and what stood in the way. */
async function verdictOf(certificate: Issued, chain: readonly Issued[], policy: Policy = {}, now = NOW): Promise<string> {
  const objection = await policyOf(policy)(presented(certificate, chain), now);
  return objection === undefined ? 'trusted' : `${objection.rejected}: ${objection.detail ?? ''}`;
}

const client = (saying: Partial<Saying> = {}): Promise<Issued> => issue({ ...CLIENT, subject: 'client', by: intermediate, ...saying });
const authority = (subject: string, by: Issued, saying: Partial<Saying> = {}): Promise<Issued> =>
  issue({ ...AUTHORITY, subject, by, ...saying });

describe('A chain is trusted', () => {
  it('from the client over an intermediate to an anchor', async () => {
    expect(await verdictOf(leaf, [intermediate])).toBe('trusted');
  });

  it('whatever else is sent, in any order, the anchor included', async () => {
    const stranger = await issue({ ...AUTHORITY, subject: 'Stranger' });
    expect(await verdictOf(leaf, [stranger, root, leaf, intermediate])).toBe('trusted');
  });

  it('with intermediates that are configured, where none are sent', async () => {
    expect(await verdictOf(leaf, [], { intermediates: [intermediate] })).toBe('trusted');
  });

  it('by an anchor that issued the certificate itself, and by one that is no root', async () => {
    expect(await verdictOf(await client({ by: root }), [])).toBe('trusted');
    expect(await verdictOf(leaf, [], { anchors: [intermediate] })).toBe('trusted');
  });

  it('without key usage, extended key usage or basic constraints in the certificate of the client', async () => {
    const { usages: _u, purposes: _p, authority: _a, ...bare } = CLIENT;
    expect(await verdictOf(await issue({ ...bare, subject: 'client', by: intermediate }), [intermediate])).toBe('trusted');
  });

  it('with an extension that nobody understands and that is not critical', async () => {
    expect(await verdictOf(await client({ extensions: [extension('1.2.3.4', false)] }), [intermediate])).toBe('trusted');
  });

  it.each(['RSA-2048', 'RSA-PSS', 'Ed25519'] as const)('with keys of %s', async (algorithm) => {
    const anchor = await issue({ ...AUTHORITY, subject: 'Other root', algorithm });
    expect(await verdictOf(await client({ by: anchor }), [], { anchors: [anchor] })).toBe('trusted');
  });

  it('where the path length is exactly used up, and self-issued certificates do not count', async () => {
    const anchor = await issue({ ...AUTHORITY, subject: 'Anchor', pathLength: 1 });
    const first = await authority('First', anchor, { pathLength: 0 });
    expect(await verdictOf(await client({ by: first }), [first], { anchors: [anchor] })).toBe('trusted');
    const rolledOver = await authority('First', first);
    expect(await verdictOf(await client({ by: rolledOver }), [rolledOver, first], { anchors: [anchor] })).toBe('trusted');
  });

  it('where two authorities have one name, by the one with the key', async () => {
    const namesake = await authority('Intermediate', root);
    expect(await verdictOf(leaf, [namesake, intermediate])).toBe('trusted');
    const otherRoot = await issue({ ...AUTHORITY, subject: 'Root' });
    expect(await verdictOf(leaf, [intermediate], { anchors: [otherRoot, root] })).toBe('trusted');
  });

  it('by an anchor whose own signature is weak, for it is believed without', async () => {
    const old = await issue({ ...AUTHORITY, subject: 'Old root', hash: 'SHA-1' });
    expect(await verdictOf(await client({ by: old, hash: 'SHA-256' }), [], { anchors: [old] })).toBe('trusted');
  });
});

describe('A chain is refused', () => {
  it.each<[string, RegExp, () => Promise<[Issued, Issued[], Policy?]>]>([
    ['where the certificate has expired', /outside_validity/, async () => [await client({ notAfter: NOW - 1 }), [intermediate]]],
    ['where the certificate is not valid yet', /outside_validity/, async () => [await client({ notBefore: NOW + 1 }), [intermediate]]],
    [
      'of an expired certificate under one that is no authority, which a chain builder alone accepts',
      /outside_validity/,
      async () => {
        const other = await client();
        return [await client({ by: other, notAfter: NOW - 1 }), [other, intermediate]];
      },
    ],
    [
      'under another client (CA:FALSE)',
      /is no authority/,
      async () => {
        const other = await client();
        return [await client({ by: other, subject: 'victim' }), [other, intermediate]];
      },
    ],
    [
      'under an issuer without basic constraints',
      /is no authority/,
      async () => {
        const { authority: _a, ...bare } = AUTHORITY;
        const issuer = await issue({ ...bare, subject: 'Issuer', by: root });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    [
      'under an issuer without keyCertSign',
      /keyCertSign/,
      async () => {
        const issuer = await authority('Issuer', root, { usages: 'listsAndSignatures' });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    [
      'longer than the path length of an anchor allows',
      /path length/,
      async () => {
        const anchor = await issue({ ...AUTHORITY, subject: 'Anchor', pathLength: 0 });
        const issuer = await authority('Issuer', anchor);
        return [await client({ by: issuer }), [issuer], { anchors: [anchor] }];
      },
    ],
    [
      'longer than the path length of an intermediate allows',
      /path length/,
      async () => {
        const first = await authority('First', root, { pathLength: 0 });
        const second = await authority('Second', first);
        return [await client({ by: second }), [second, first]];
      },
    ],
    [
      'with an expired intermediate',
      /has expired/,
      async () => {
        const issuer = await authority('Issuer', root, { notAfter: NOW - 1 });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    [
      'with an expired anchor',
      /has expired/,
      async () => {
        const anchor = await issue({ ...AUTHORITY, subject: 'Anchor', notAfter: NOW - 1 });
        return [await client({ by: anchor }), [], { anchors: [anchor] }];
      },
    ],
    ['of a certificate for servers alone', /clientAuth/, async () => [await client({ purposes: [SERVER_AUTH] }), [intermediate]]],
    [
      'of a certificate for any purpose, not for clientAuth',
      /clientAuth/,
      async () => [await client({ purposes: ['2.5.29.37.0'] }), [intermediate]],
    ],
    [
      'under an issuer for servers alone',
      /clientAuth/,
      async () => {
        const issuer = await authority('Issuer', root, { purposes: [SERVER_AUTH] });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    ['of a certificate that may not sign', /signatures/, async () => [await client({ usages: 'encipherment' }), [intermediate]]],
    [
      'of a certificate with a critical extension that nobody understands',
      /critical.*1\.2\.3\.4/,
      async () => [await client({ extensions: [extension('1.2.3.4', true)] }), [intermediate]],
    ],
    [
      'under an issuer with a critical extension that nobody understands',
      /critical.*1\.2\.3\.4/,
      async () => {
        const issuer = await authority('Issuer', root, { extensions: [extension('1.2.3.4', true)] });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    [
      'under an issuer with name constraints, critical or not',
      /2\.5\.29\.30/,
      async () => {
        const issuer = await authority('Issuer', root, { extensions: [extension(NAME_CONSTRAINTS, false, Uint8Array.of(0x30, 0))] });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    [
      'of a certificate with an extension twice',
      /twice/,
      async () => [await client({ extensions: [extension('1.2.3.4', false), extension('1.2.3.4', false)] }), [intermediate]],
    ],
    [
      'to another anchor',
      /no chain to an anchor/,
      async () => [leaf, [intermediate], { anchors: [await issue({ ...AUTHORITY, subject: 'Other' })] }],
    ],
    [
      'to an anchor of the same name with another key',
      /not by the key of CN=Root/,
      async () => [leaf, [intermediate], { anchors: [await issue({ ...AUTHORITY, subject: 'Root' })] }],
    ],
    [
      'to a root that the client sent itself',
      /no chain to an anchor/,
      async () => {
        const own = await issue({ ...AUTHORITY, subject: 'Own root' });
        return [await client({ by: own }), [own]];
      },
    ],
    [
      'to a root of the client that calls itself as the anchor does',
      /not by the key of CN=Root/,
      async () => {
        const own = await issue({ ...AUTHORITY, subject: 'Root' });
        return [await client({ by: own }), [own]];
      },
    ],
    ['of a certificate that signed itself', /no chain/, async () => [await issue({ ...CLIENT, subject: 'client' }), []]],
    [
      'of a certificate that signed itself and is given as anchor, for it is no authority',
      /no chain/,
      async () => {
        const self = await issue({ ...CLIENT, subject: 'client' });
        return [self, [], { anchors: [self] }];
      },
    ],
    [
      'in a circle',
      /no chain|not by the key/,
      async () => {
        const first = await authority('First', root);
        const second = await authority('Second', first);
        const back = await authority('First', second, { keys: first.keys });
        return [await client({ by: back }), [back, second], { anchors: [await issue({ ...AUTHORITY, subject: 'Other' })] }];
      },
    ],
    [
      'longer than anybody needs',
      /more than 6/,
      async () => {
        const chain: Issued[] = [];
        let last = root;
        for (let i = 0; i < 7; i += 1) {
          last = await authority(`Authority ${i}`, last);
          chain.push(last);
        }
        return [await client({ by: last }), chain];
      },
    ],
    [
      'where many authorities of one name would cost a signature each',
      /more than 32 signatures/,
      async () => {
        const names = Array.from({ length: 40 }, () => authority('Intermediate', root));
        return [leaf, await Promise.all(names)];
      },
    ],
    ['of a certificate signed with SHA-1', /SHA-1/, async () => [await client({ hash: 'SHA-1' }), [intermediate]]],
    [
      'with an intermediate signed with SHA-1',
      /SHA-1/,
      async () => {
        const issuer = await authority('Issuer', root, { hash: 'SHA-1' });
        return [await client({ by: issuer, hash: 'SHA-256' }), [issuer]];
      },
    ],
    [
      'under a key of 1,024 bits',
      /2048 bits/,
      async () => {
        const issuer = await authority('Issuer', root, { algorithm: 'RSA-1024' });
        return [await client({ by: issuer }), [issuer]];
      },
    ],
    ['where the intermediate is missing', /no chain/, async () => [leaf, []]],
    [
      'where a bit of the signature is wrong',
      /not by the key/,
      async () => {
        const bad = Uint8Array.from(leaf.der);
        bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
        return [{ ...leaf, der: bad }, [intermediate]];
      },
    ],
  ])('%s', async (_title, why, setUp) => {
    const [certificate, chain, policy] = await setUp();
    const verdict = await verdictOf(certificate, chain, policy);
    expect(verdict).toMatch(why);
    expect(verdict).toMatch(/^certificate\./);
  });

  it('where the edge handed on only the hash, or something that cannot be read', async () => {
    const policy = policyOf();
    expect(await policy({ thumbprint: leaf.thumbprint }, NOW)).toMatchObject({ rejected: 'certificate.unreadable' });
    expect(await policy(certificateOf(Uint8Array.of(0x30, 0)), NOW)).toMatchObject({ rejected: 'certificate.unreadable' });
  });
});

describe('A verdict', () => {
  it('is remembered until the first certificate of the chain expires, and not a second longer', async () => {
    const issuer = await authority('Issuer', root, { notAfter: NOW + 100 });
    const certificate = presented(await client({ by: issuer }), [issuer]);
    const policy = policyOf();
    expect(await policy(certificate, NOW)).toBeUndefined();
    // What is remembered is there at once.
    expect(policy(certificate, NOW + 100)).toBeUndefined();
    expect(await policy(certificate, NOW + 101)).toMatchObject({ rejected: 'certificate.untrusted_chain' });
  });

  it('ends with the chain also where revocation would be remembered for longer', async () => {
    const issuer = await authority('Issuer', root, { notAfter: NOW + 100 });
    const certificate = presented(await client({ by: issuer }), [issuer]);
    const policy = policyOf({ isRevoked: () => false });
    expect(await policy(certificate, NOW)).toBeUndefined();
    expect(await policy(certificate, NOW + 101)).toMatchObject({ rejected: 'certificate.untrusted_chain' });
  });

  it('of a certificate alone holds for its next connection; with a chain that the client sent, for that chain only', async () => {
    const asked: string[] = [];
    const isRevoked = ({ thumbprint }: ChainCertificate): boolean => {
      asked.push(thumbprint);
      return false;
    };
    const policy = policyOf({ intermediates: [intermediate], isRevoked });
    expect(await policy(presented(leaf), NOW)).toBeUndefined();
    expect(policy(presented(leaf), NOW)).toBeUndefined();
    expect(asked).toEqual([leaf.thumbprint, intermediate.thumbprint]);
    const strict = policyOf();
    expect(await strict(presented(leaf, [intermediate]), NOW)).toBeUndefined();
    expect(await strict(presented(leaf, []), NOW)).toMatchObject({ rejected: 'certificate.untrusted_chain' });
  });

  it('that refuses is remembered for a minute', async () => {
    const policy = policyOf();
    const certificate = presented(await client({ notBefore: NOW + 30 }), [intermediate]);
    expect(await policy(certificate, NOW)).toMatchObject({ rejected: 'certificate.outside_validity' });
    expect(policy(certificate, NOW + 60)).toMatchObject({ rejected: 'certificate.outside_validity' });
    expect(await policy(certificate, NOW + 61)).toBeUndefined();
  });

  it('is made once for all who ask at the same time', async () => {
    let asked = 0;
    const policy = policyOf({ intermediates: [intermediate], isRevoked: () => (asked += 1) < 0 });
    await Promise.all(Array.from({ length: 20 }, async () => policy(presented(leaf), NOW)));
    expect(asked).toBe(2);
  });
});

describe('isRevoked', () => {
  it('is asked of each certificate below the anchor, the client first, with what a list is looked up by', async () => {
    const asked: ChainCertificate[] = [];
    const isRevoked = (certificate: ChainCertificate): boolean => {
      asked.push(certificate);
      return false;
    };
    expect(await verdictOf(leaf, [intermediate], { isRevoked })).toBe('trusted');
    expect(asked.map(({ thumbprint, serialNumber, issuer, subject }) => [thumbprint, serialNumber, issuer, subject])).toEqual([
      [leaf.thumbprint, leaf.serialNumber, 'CN=Intermediate', 'CN=client'],
      [intermediate.thumbprint, intermediate.serialNumber, 'CN=Root', 'CN=Intermediate'],
    ]);
  });

  it.each(['client', 'Intermediate'])('refuses where it says so of %s', async (name) => {
    const isRevoked = async ({ subject }: ChainCertificate): Promise<boolean> => subject === `CN=${name}`;
    expect(await verdictOf(leaf, [intermediate], { isRevoked })).toMatch(/^certificate\.revoked: /);
  });

  it('is asked again after its time, and what it then says holds', async () => {
    let revoked = false;
    const policy = policyOf({ isRevoked: () => revoked });
    const certificate = presented(leaf, [intermediate]);
    expect(await policy(certificate, NOW)).toBeUndefined();
    revoked = true;
    expect(policy(certificate, NOW + 300)).toBeUndefined();
    expect(await policy(certificate, NOW + 301)).toMatchObject({ rejected: 'certificate.revoked' });
  });

  it.each<[string, () => boolean]>([
    [
      'throws',
      () => {
        throw new Error('the list is not there: secret');
      },
    ],
    ['answers neither true nor false', () => 'no' as unknown as boolean],
  ])('that %s is our fault, refuses, and is asked again', async (_how, broken) => {
    let isRevoked = broken;
    const policy = policyOf({ isRevoked: () => isRevoked() });
    const certificate = presented(leaf, [intermediate]);
    const objection = await policy(certificate, NOW);
    expect(objection).toMatchObject({ rejected: 'unavailable.revocation' });
    expect(JSON.stringify(objection)).not.toContain('secret');
    isRevoked = () => false;
    expect(await policy(certificate, NOW)).toBeUndefined();
  });

  it('is not asked where there is no chain', async () => {
    let asked = 0;
    await verdictOf(leaf, [], { isRevoked: () => (asked += 1) > 0 });
    expect(asked).toBe(0);
  });
});

describe('ready', () => {
  it('resolves with good anchors', async () => {
    await expect(policyOf({ intermediates: [intermediate] }).ready()).resolves.toBeUndefined();
  });

  it.each<[string, () => Promise<Policy> | Policy, RegExp]>([
    ['no authority', () => ({ anchors: [leaf] }), /CN=client is no authority/],
    ['something that cannot be read', () => ({ anchors: [{ ...root, der: Uint8Array.of(0x30, 0) }] }), /1 of the anchors/],
    [
      'an authority with name constraints',
      async () => ({ anchors: [await authority('Bound', root, { extensions: [extension(NAME_CONSTRAINTS, true)] })] }),
      /critical/,
    ],
  ])('rejects with %s among the anchors', async (_title, policy, message) => {
    await expect(policyOf(await policy()).ready()).rejects.toThrow(message);
  });
});
