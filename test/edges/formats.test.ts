// What each format takes, and that nothing else comes out of it: strict in its spelling, linear in its length.
import { createHash } from 'node:crypto';
import { type ForwardedFormat, isRejection } from '@holdfast/core';
import { createPki, type Identity } from '@holdfast/test-support/pki';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { readerOf, saysNone } from '../../packages/core/src/certificate/formats.ts';

let owner: Identity;
let victim: Identity;
beforeAll(async () => {
  const pki = await createPki();
  [owner, victim] = [await pki.client('owner'), await pki.client('victim')];
});

const base64 = (der: Uint8Array): string => Buffer.from(der).toString('base64');
const hashOf = (der: Uint8Array): Buffer => createHash('sha256').update(der).digest();
const thumbprintOf = (der: Uint8Array): string => hashOf(der).toString('base64url');
const pemOf = (der: Uint8Array, separator = '\n'): string =>
  `${['-----BEGIN CERTIFICATE-----', ...(base64(der).match(/.{1,64}/g) ?? []), '-----END CERTIFICATE-----'].join(separator)}${separator}`;

const ONE = { elements: 1, element: 0 };
const TWO = { elements: 2, element: 0 };

/** How each format is written, by the edges that write it. */
const WRITERS: readonly (readonly [format: ForwardedFormat, write: (...ders: readonly Uint8Array[]) => string])[] = [
  ['byte-sequence', (der = new Uint8Array()) => `:${base64(der)}:`],
  ['base64-der', (der = new Uint8Array()) => base64(der)],
  ['base64-der-list', (...ders) => ders.map(base64).join(',')],
  ['pem', (der = new Uint8Array()) => pemOf(der, ' ').trim()],
  ['percent-encoded-pem', (der = new Uint8Array()) => encodeURIComponent(pemOf(der))],
  ['percent-encoded-pem-chain', (...ders) => encodeURIComponent(ders.map((der) => pemOf(der)).join(''))],
  ['sha256-hex', (der = new Uint8Array()) => hashOf(der).toString('hex')],
  ['sha256-base64', (der = new Uint8Array()) => hashOf(der).toString('base64')],
  ['sha256-base64url', (der = new Uint8Array()) => thumbprintOf(der)],
  [{ xfcc: ONE }, (der = new Uint8Array()) => elementOf(der)],
  [{ xfcc: TWO }, (der = new Uint8Array(), hop = der) => `${elementOf(der)},${elementOf(hop)}`],
  [{ xfccJson: ONE }, (der = new Uint8Array()) => JSON.stringify([jsonOf(der)])],
];

function elementOf(der: Uint8Array): string {
  const pem = encodeURIComponent(pemOf(der));
  return `By=spiffe://a/b;Hash=${hashOf(der).toString('hex')};Cert="${pem}";Chain="${pem}";Subject="CN=\\"o\\",O=x;y";URI=spiffe://c/d;DNS=e.f`;
}

function jsonOf(der: Uint8Array): object {
  const pem = encodeURIComponent(pemOf(der));
  return {
    by: 'spiffe://a/b',
    hash: hashOf(der).toString('hex'),
    cert: pem,
    chain: pem,
    subject: 'CN="o"',
    uri: ['spiffe://c/d'],
    dns: ['e.f'],
  };
}

const named = WRITERS.map(([format, write]) => [JSON.stringify(format), format, write] as const);

/** The thumbprint, or the reason and its detail. */
function seen(format: ForwardedFormat, value: string): string {
  const read = readerOf(format)(value);
  return isRejection(read) ? `${read.rejected}: ${read.detail ?? ''}` : read.thumbprint;
}

describe('A format', () => {
  it.each(named)('%s gives the thumbprint of the certificate of the client', (_name, format, write) => {
    expect(seen(format, write(owner.der))).toBe(owner.thumbprint);
  });

  it.each(named.filter(([name]) => /list|chain|"elements":2/.test(name)))(
    '%s takes the first certificate, never another',
    (_name, format, write) => {
      expect(seen(format, write(owner.der, victim.der))).toBe(owner.thumbprint);
    },
  );

  it.each(named)('%s reads no other format', (name, format) => {
    const others = named.filter(([other]) => {
      // One that is a special case of the other, or the same for these bytes.
      const isKin = (kind: RegExp): boolean => [name, other].every((one) => kind.test(one));
      return other !== name && !isKin(/list|"base64-der"/) && !isKin(/percent/) && !isKin(/sha256-base64/);
    });
    const read = others.map(([other, , write]) => [other, seen(format, write(owner.der))]);
    expect(read).toEqual(others.map(([other]) => [other, expect.stringMatching(/^certificate\.(malformed|not_presented)/)]));
  });

  it.each(named)('%s refuses something in front of the value, behind it, and the value twice', (_name, format, write) => {
    const value = write(owner.der);
    // A letter in front of a key makes another key of it, and what Envoy may add one day must not be the end.
    const isXfcc = typeof format === 'object' && 'xfcc' in format;
    for (const wrong of [
      ...(isXfcc ? [] : [`x${value}`, `${value}x`, `${value};a=1`]),
      `${value}, ${value}`,
      `${value},`,
      `,${value}`,
      `"${value}"`,
      `${value}\u0000`,
      `é${value}`,
    ]) {
      expect([wrong.slice(0, 3), seen(format, wrong)]).toEqual([wrong.slice(0, 3), expect.stringMatching(/^certificate\.malformed/)]);
    }
  });

  it.each(named.filter(([name]) => !name.includes('sha256')))(
    '%s refuses bytes that are not exactly one certificate in DER',
    (_name, format, write) => {
      const der = Buffer.from(owner.der);
      const wrong: Readonly<Record<string, Uint8Array>> = {
        'bytes behind it': Buffer.concat([der, Buffer.of(0)]),
        'itself twice': Buffer.concat([der, der]),
        'a byte less': der.subarray(0, -1),
        // The same certificate with the length in three octets, where two are enough.
        'a longer length': Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2)]),
        'an indefinite length': Buffer.concat([Buffer.of(0x30, 0x80), der.subarray(4), Buffer.of(0, 0)]),
        'two members': Buffer.of(0x30, 4, 0x30, 0, 0x30, 0),
        'four members': Buffer.of(0x30, 9, 0x30, 0, 0x30, 0, 3, 1, 0, 5, 0),
        'another third': Buffer.of(0x30, 7, 0x30, 0, 0x30, 0, 4, 1, 0),
        'a SET': Buffer.concat([Buffer.of(0x31), der.subarray(1)]),
        text: Buffer.from('hello world, this is no certificate'),
        nothing: Buffer.of(),
      };
      for (const [how, bytes] of Object.entries(wrong)) {
        expect([how, seen(format, write(bytes))]).toEqual([how, expect.stringMatching(/^certificate\.(malformed|not_presented)/)]);
      }
    },
  );
});

describe('In particular', () => {
  it.each(['percent-encoded-pem', 'pem', 'percent-encoded-pem-chain'] as const)(
    '%s: one label, no text around, no second block where one is expected',
    (format) => {
      const pem = pemOf(owner.der);
      const write = (text: string): string => (format === 'pem' ? text.replaceAll('\n', ' ').trim() : encodeURIComponent(text));
      expect(seen(format, write(pem))).toBe(owner.thumbprint);
      expect(seen(format, write(`${pem}${pemOf(victim.der)}`))).toBe(
        format.endsWith('chain') ? owner.thumbprint : 'certificate.malformed: is not exactly one CERTIFICATE block',
      );
      for (const label of ['TRUSTED CERTIFICATE', 'X509 CERTIFICATE', 'certificate', 'PKCS7']) {
        expect(seen(format, write(pem.replaceAll('CERTIFICATE', label)))).toMatch(/malformed/);
      }
      for (const text of [
        `Subject: x\n${pem}`,
        `${pem}trailing`,
        `${pem}-----BEGIN CERTIFICATE-----\n`,
        pem.replace('-----END', '----END'),
      ]) {
        expect(seen(format, write(text))).toMatch(/malformed/);
      }
    },
  );

  it('percent-encoded: decoded once, + is itself, and lower case hexadecimal is the same', () => {
    const value = encodeURIComponent(pemOf(owner.der));
    expect(
      seen(
        'percent-encoded-pem',
        value.replace(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase()),
      ),
    ).toBe(owner.thumbprint);
    expect(seen('percent-encoded-pem', value.replaceAll('%2B', '+').replaceAll('%2F', '/').replaceAll('%3D', '='))).toBe(owner.thumbprint);
    expect(seen('percent-encoded-pem', value.replaceAll('%20', '+'))).toMatch(/malformed/);
    expect(seen('percent-encoded-pem', encodeURIComponent(value))).toMatch(/malformed/);
    for (const broken of ['%', '%2', '%zz', '%E0%A4%A', '%00', '%C0%80'])
      expect(seen('percent-encoded-pem', value + broken)).toMatch(/malformed/);
  });

  it.each(['%0D%0A', '%09', '%20', '%0A%0A'])('percent-encoded: a body broken by %s', (separator) => {
    expect(seen('percent-encoded-pem', encodeURIComponent(pemOf(owner.der)).replaceAll('%0A', separator))).toBe(owner.thumbprint);
  });

  it('base64 has one spelling: no white space, no base64url, full padding, no stray bits', () => {
    // With one, two or no padding characters.
    for (const der of [Buffer.from('3007300030000301000', 'hex'), Buffer.from('30083000300103020000', 'hex'), Buffer.from(owner.der)]) {
      const text = base64(der);
      const bare = text.replace(/=+$/, '');
      for (const wrong of [
        `${text.slice(0, 4)} ${text.slice(4)}`,
        `${text}=`,
        `${text.slice(0, 4)}\n${text.slice(4)}`,
        ...(bare === text ? [] : [bare]),
      ]) {
        expect(seen('base64-der', wrong)).toMatch(/malformed/);
      }
    }
    const url = base64(owner.der).replaceAll('+', '-').replaceAll('/', '_');
    if (url !== base64(owner.der)) expect(seen('base64-der', url)).toMatch(/malformed/);
    // SEQUENCE { SEQUENCE {}, SEQUENCE {}, BIT STRING '' }: 9 bytes; and with an octet more, the last digit has four bits to spare.
    const tight = base64(Buffer.from('30083000300003020000', 'hex'));
    expect(seen('base64-der', tight)).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(tight).toMatch(/A==$/);
    expect(seen('base64-der', tight.replace(/A==$/, 'B=='))).toMatch(/malformed/);
  });

  it('hashes: hexadecimal in either case, with colons or without; base64 with padding or without; never SHA-1', () => {
    const hex = hashOf(owner.der).toString('hex');
    const colons = hex.match(/../g)?.join(':') ?? '';
    for (const value of [hex, hex.toUpperCase(), colons, colons.toUpperCase()]) expect(seen('sha256-hex', value)).toBe(owner.thumbprint);
    const standard = hashOf(owner.der).toString('base64');
    for (const value of [standard, standard.replace('=', '')]) expect(seen('sha256-base64', value)).toBe(owner.thumbprint);
    const sha1 = createHash('sha1').update(owner.der).digest();
    const spellings = [
      ['sha256-hex', sha1.toString('hex')],
      ['sha256-hex', sha1.toString('hex').match(/../g)?.join(':') ?? ''],
      ['sha256-base64', sha1.toString('base64')],
      ['sha256-base64url', sha1.toString('base64url')],
    ] as const;
    for (const [format, value] of spellings) expect(seen(format, value)).toMatch(/malformed: is a SHA-1 hash\. Only SHA-256/);
    for (const wrong of [
      hex.slice(1),
      `${hex}0`,
      hex.replace(/.$/, 'g'),
      colons.replace(':', ''),
      `${colons}:`,
      `0x${hex}`,
      `sha256=${hex}`,
    ]) {
      expect(seen('sha256-hex', wrong)).toMatch(/malformed: is not the SHA-256/);
    }
    for (const wrong of [`${standard}=`, standard.slice(1), `${standard.slice(0, 42)} `])
      expect(seen('sha256-base64', wrong)).toMatch(/malformed/);
  });

  it('hashes: with bits to spare at the end, which no edge writes, they are refused', () => {
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const index = last.indexOf(owner.thumbprint.at(-1) ?? '');
    expect(seen('sha256-base64url', `${owner.thumbprint.slice(0, 42)}${last[index + 1]}`)).toMatch(/malformed/);
  });

  it.each([
    ['sha256-hex', createHash('sha256').digest('hex')],
    ['sha256-base64', createHash('sha256').digest('base64')],
    ['sha256-base64url', createHash('sha256').digest('base64url')],
  ] as const)('the hash of nothing, as %s, says that there is no certificate', (format, value) => {
    expect(seen(format, value)).toMatch(/^certificate\.not_presented/);
  });

  it.each(['', '""', '(null)', '::', ':{http.request.tls.client.certificate_der_base64}:', '{http.request.tls.client.certificate_pem}'])(
    'the placeholder %j says that there is no certificate',
    (value) => {
      expect(saysNone(value)).toBe(true);
    },
  );

  it('no certificate, and nothing like one, is a placeholder', () => {
    for (const [, , write] of named) expect(saysNone(write(owner.der))).toBe(false);
    for (const value of [' ', 'null', '{}', 'NONE', '{http.request.tls.client.x}{http.request.host}', ':::', '0'])
      expect(saysNone(value)).toBe(false);
  });
});

describe('x-forwarded-client-cert', () => {
  const hash = (der: Uint8Array): string => hashOf(der).toString('hex');
  const read = (value: string, which = ONE): string => seen({ xfcc: which }, value);

  it('is told apart by quotes and backslashes', () => {
    const subject = 'Subject="CN=\\"a,b;Hash=0\\\\\\",O=c"';
    expect(read(`By=a;Hash=${hash(owner.der)};${subject};URI=b;DNS=c;DNS=d`)).toBe(owner.thumbprint);
    expect(read(`hash=${hash(owner.der).toUpperCase()};BY=a;by=b`)).toBe(owner.thumbprint);
    expect(read(`Hash="${hash(owner.der)}"`)).toBe(owner.thumbprint);
    expect(read(`Subject="";URI=;Hash=${hash(owner.der)}`)).toBe(owner.thumbprint);
  });

  it.each<[string, (own: string, victims: string) => string]>([
    ['writes a second Hash behind its own', (own, victims) => `Hash=${own};URI=spiffe://x;Hash=${victims}`],
    ['writes it in another case', (own, victims) => `Hash=${own};URI=spiffe://x;HASH=${victims}`],
    ['writes an element behind its own', (own, victims) => `Hash=${own};URI=spiffe://x,By=y;Hash=${victims}`],
    ['writes an element, and goes on in it', (own, victims) => `Hash=${own};DNS=x,Hash=${victims};DNS=y`],
    ['writes a Subject to hide things in', (own, victims) => `Hash=${own};Subject="CN=a";URI=x;Subject="";Hash=${victims}`],
    ['opens a quote that swallows what follows', (own, victims) => `Hash=${own};URI="x;Hash=${victims}`],
    ['writes a quote into a value', (own, victims) => `Hash=${own};URI=x";Hash=${victims};DNS="`],
    ['writes a backslash into a value', (own, victims) => `Hash=${own};URI=x\\;Hash=${victims}`],
    ['is the first of two hops', (own, victims) => `Hash=${victims},Hash=${own}`],
    ['joins two lines', (own, victims) => `Hash=${victims}, Hash=${own}`],
    ['has no Hash', (_own, victims) => `By=a;URI=${victims}`],
    ['has an empty one', () => 'Hash='],
    ['has a SHA-1', () => 'Hash=c61733d8c629e679c71c4e3af3aa5cd8886a8bfb'],
    ['leaves an element empty', (own) => `Hash=${own},`],
    ['leaves a pair empty', (own) => `Hash=${own};;By=a`],
    ['ends with a separator', (own) => `Hash=${own};`],
    ['has white space before a key', (own) => `Hash=${own}; By=a`],
    ['has something behind a quoted value', (own) => `Subject="a"b;Hash=${own}`],
    ['has another separator behind a quoted value', (own) => `Subject="a" Hash=${own}`],
    ['has a key without value', (own) => `Hash=${own};By`],
    ['has a value without key', (own) => `Hash=${own};=a`],
  ])('is refused where the client %s', (_how, write) => {
    const value = write(hash(owner.der), hash(victim.der));
    expect(read(value)).toMatch(/^certificate\.malformed/);
  });

  it('with Cert or Chain: they are the certificate of the Hash, or it is refused', () => {
    const cert = (der: Uint8Array): string => encodeURIComponent(pemOf(der));
    const own = `Hash=${hash(owner.der)}`;
    for (const value of [`${own};Cert="${cert(owner.der)}"`, `${own};Chain="${cert(owner.der)}${cert(victim.der)}"`]) {
      expect(read(value)).toBe(owner.thumbprint);
      const certificate = readerOf({ xfcc: ONE })(value);
      expect(!isRejection(certificate) && Buffer.from(certificate.der ?? []).equals(owner.der)).toBe(true);
    }
    for (const wrong of [
      `${own};Cert="${cert(victim.der)}"`,
      `${own};Chain="${cert(victim.der)}${cert(owner.der)}"`,
      `${own};Cert="${cert(owner.der)}";Chain="${cert(victim.der)}"`,
      `${own};Cert="${cert(owner.der)}${cert(owner.der)}"`,
      `${own};Cert=""`,
      `${own};Cert="x"`,
      `${own};Chain="%"`,
      `${own};Cert="${cert(owner.der)}";Cert="${cert(owner.der)}"`,
    ]) {
      expect(read(wrong)).toMatch(/^certificate\.malformed/);
    }
  });

  it('with two hops: exactly two elements, of which the first is the client', () => {
    const [own, hop] = [`Hash=${hash(owner.der)}`, `Hash=${hash(victim.der)}`];
    expect(read(`${own},${hop}`, TWO)).toBe(owner.thumbprint);
    expect(read(`${own},${hop}`, { elements: 2, element: 1 })).toBe(victim.thumbprint);
    // Only the gateway's own: the client had none.
    expect(read(hop, TWO)).toMatch(/^certificate\.not_presented/);
    expect(read(`${own},${hop},${hop}`, TWO)).toMatch(/^certificate\.malformed/);
    expect(read(`${own},${hop};Hash=${hash(owner.der)}`, TWO)).toMatch(/^certificate\.malformed/);
  });

  it('as JSON: the same, and nothing that JSON.parse would hide', () => {
    const json = (value: unknown, which = ONE): string =>
      seen({ xfccJson: which }, typeof value === 'string' ? value : JSON.stringify(value));
    const [own, victims] = [hash(owner.der), hash(victim.der)];
    expect(json([{ hash: own }])).toBe(owner.thumbprint);
    expect(json([{ Hash: own, URI: ['a', '"hash":'] }])).toBe(owner.thumbprint);
    expect(json([{ hash: own }, { hash: victims }], TWO)).toBe(owner.thumbprint);
    expect(json([{ hash: victims }], TWO)).toMatch(/^certificate\.not_presented/);
    for (const wrong of [
      { hash: own },
      [],
      [[own]],
      [null],
      [own],
      [{ hash: [own, victims] }],
      [{ hash: own, HASH: victims }],
      [{ hash: 7 }],
      [{ uri: own }],
      [{ hash: own, cert: 'x' }],
      [{ hash: own }, { hash: victims }],
      `[{"hash":"${own}","hash":"${victims}"}]`,
      `[{"hash":"${own}","h\\u0061sh":"${victims}"}]`,
      `[{"hash":"${own}"}]x`,
      `Hash=${own}`,
      '[{',
    ]) {
      expect([wrong, json(wrong)]).toEqual([wrong, expect.stringMatching(/^certificate\.(malformed|not_presented)/)]);
    }
  });
});

type Kind = 'replace' | 'insert' | 'remove' | 'repeat' | 'swap' | 'case' | 'cut' | 'graft';

/** One change, as an attacker, a proxy or a bug would make it. */
const change = fc.record({
  kind: fc.constantFrom<Kind>('replace', 'insert', 'remove', 'repeat', 'swap', 'case', 'cut', 'graft'),
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.integer({ min: 1, max: 80 }),
  text: fc.oneof(
    fc.constantFrom(
      ',',
      ';',
      ':',
      '=',
      '"',
      '\\',
      ' ',
      '%',
      '+',
      '-',
      '\t',
      '\n',
      ', ',
      'Hash=',
      '-----BEGIN CERTIFICATE-----',
      '%00',
      '{',
      '}',
    ),
    fc.string({ minLength: 1, maxLength: 3 }),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }),
  ),
});

type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function changed(value: string, { kind, at, length, text }: Change, other: string): string {
  const start = Math.floor(at * value.length);
  const [before, middle, after] = [value.slice(0, start), value.slice(start, start + length), value.slice(start + length)];
  switch (kind) {
    case 'replace':
      return before + text + value.slice(start + 1);
    case 'insert':
      return before + text + value.slice(start);
    case 'remove':
      return before + after;
    case 'repeat':
      return before + middle + middle + after;
    case 'swap':
      return after + middle + before;
    case 'case':
      return before + (middle === middle.toLowerCase() ? middle.toUpperCase() : middle.toLowerCase()) + after;
    case 'cut':
      return before;
    case 'graft':
      return before + other.slice(start);
  }
}

/** What is left of a value when all that may be written in several ways is written in one. */
function essence(format: ForwardedFormat, value: string): string {
  if (typeof format === 'object') return value;
  if (format.includes('pem')) return (format === 'pem' ? value : decodeURIComponent(value)).replace(/[ \t\r\n]+(?!CERTIFICATE)/g, '');
  if (format === 'sha256-hex') return value.toLowerCase().replaceAll(':', '');
  return format === 'sha256-base64' ? value.replace(/=$/, '') : value;
}

describe('A changed value', () => {
  it.each(named.filter(([, format]) => typeof format === 'string'))(
    '%s is refused, or is to the letter what an edge writes for the certificate that comes out',
    (_name, format, write) => {
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
          const value = changes.reduce((text, one) => changed(text, one, write(victim.der)), write(owner.der));
          const read = readerOf(format)(value);
          if (isRejection(read)) return;
          const chain = read.chain ?? [];
          if (read.der === undefined) {
            const digest = Buffer.from(read.thumbprint, 'base64url');
            const spelling = format === 'sha256-hex' ? 'hex' : format === 'sha256-base64' ? 'base64' : 'base64url';
            expect(essence(format, value)).toBe(essence(format, digest.toString(spelling)));
            return;
          }
          expect(read.thumbprint).toBe(thumbprintOf(read.der));
          expect(essence(format, value)).toBe(essence(format, write(read.der, ...chain)));
        }),
        { numRuns: 2000, seed: 8705 },
      );
    },
  );

  // Here hash and certificate stand beside each other, so that no change of one gives another thumbprint.
  it.each(named.filter(([, format]) => typeof format === 'object' && JSON.stringify(format).includes('"elements":1')))(
    '%s never gives another thumbprint',
    (_name, format, write) => {
      fc.assert(
        fc.property(change, (one) => {
          // That would be the whole value of somebody else.
          fc.pre(one.kind !== 'graft');
          const result = seen(format, changed(write(owner.der), one, write(victim.der)));
          expect([owner.thumbprint, 'refused']).toContain(result.startsWith('certificate.') ? 'refused' : result);
        }),
        { numRuns: 4000, seed: 8705 },
      );
    },
  );
});

describe('Hostile values', () => {
  const LENGTH = 256 * 1024;
  const fill = (unit: string): string => unit.repeat(Math.ceil(LENGTH / unit.length)).slice(0, LENGTH);
  const hostile = [
    'A',
    '=',
    ':',
    ',',
    ' ',
    '-',
    '%',
    '%25',
    '%20',
    '"',
    '\\',
    '\\"',
    'a=',
    'a=b;',
    'a=b,',
    'a="',
    'a="\\',
    'Hash=',
    '[',
    '{"hash":',
    '"hash" ',
    '-----BEGIN CERTIFICATE-----',
    '-----BEGIN%20CERTIFICATE-----',
    '-----BEGIN CERTIFICATE----------END CERTIFICATE-----',
    'AAAA,',
    ':AAAA:,',
    'ab:',
    '(null)',
    '{http.request.tls.client.',
  ];

  // 262,144 characters: what is quadratic takes 69 thousand million steps, and does not end within the limit of a test.
  it.each(named)('%s takes time in proportion to their length', (_name, format, write) => {
    const read = readerOf(format);
    for (const unit of hostile) {
      const values = [fill(unit), `:${fill(unit)}`, `"${fill(unit)}`, `a="${fill(unit)}`, `[{"hash":"${fill(unit)}`];
      // White space may follow PEM, and anything a name in x-forwarded-client-cert.
      read(write(owner.der) + fill(unit));
      for (const value of values) {
        expect(isRejection(read(value))).toBe(true);
        expect(saysNone(value)).toBe(false);
      }
    }
  });
});
