import { createHash, X509Certificate } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { createPki, type Identity, type Pki } from '../src/pki.ts';

let pki: Pki;
let ca: X509Certificate;
let identities: { kind: string; identity: Identity; issuerName: string }[];

beforeAll(async () => {
  pki = await createPki();
  ca = new X509Certificate(pki.ca);
  identities = [
    { kind: 'client', identity: await pki.client('a'), issuerName: ca.subject },
    { kind: 'selfSigned', identity: await pki.selfSigned('a'), issuerName: 'CN=a\nO=Demo' },
  ];
});

describe('an identity', () => {
  test('has its certificate, its key and its thumbprint in agreement', () => {
    for (const { identity, issuerName } of identities) {
      const certificate = new X509Certificate(identity.cert);
      expect(certificate.subject).toBe('CN=a\nO=Demo');
      expect(certificate.issuer).toBe(issuerName);
      expect(Buffer.from(identity.der).equals(certificate.raw)).toBe(true);
      expect(identity.thumbprint).toBe(createHash('sha256').update(certificate.raw).digest('base64url'));
      expect(identity.jwk).toMatchObject(certificate.publicKey.export({ format: 'jwk' }));
      expect(identity.jwk.x5c).toEqual([certificate.raw.toString('base64')]);
    }
  });

  test('of the authority is signed by it, a self-signed one is not', () => {
    expect(identities.map(({ identity }) => new X509Certificate(identity.der).verify(ca.publicKey))).toEqual([true, false]);
  });

  test('takes its dates and its keys from the options', async () => {
    const notBefore = new Date('2020-01-01T00:00:00Z');
    const notAfter = new Date('2021-01-01T00:00:00Z');
    const { keys } = await pki.client('b');
    for (const identity of [
      await pki.client('c', { notBefore, notAfter, keys }),
      await pki.selfSigned('c', { notBefore, notAfter, keys }),
    ]) {
      const certificate = new X509Certificate(identity.der);
      expect([new Date(certificate.validFrom), new Date(certificate.validTo)]).toEqual([notBefore, notAfter]);
      expect(identity.keys).toBe(keys);
    }
  });

  test('may have any common name', async () => {
    const name = 'a, O="b" = \\ + ü';
    const { cert } = await pki.client(name);
    expect(new X509Certificate(cert).toLegacyObject().subject.CN).toBe(name);
  });
});

test('a renewed certificate has the key, the subject and the kind of issuer of the old one, and another thumbprint', async () => {
  for (const { identity, issuerName } of identities) {
    const renewed = await pki.renew(identity);
    const [before, after] = [new X509Certificate(identity.der), new X509Certificate(renewed.der)];
    expect(after.publicKey.equals(before.publicKey)).toBe(true);
    expect(after.subject).toBe(before.subject);
    expect(after.issuer).toBe(issuerName);
    expect(after.verify(issuerName === ca.subject ? ca.publicKey : before.publicKey)).toBe(true);
    expect(after.serialNumber).not.toBe(before.serialNumber);
    expect(renewed.thumbprint).not.toBe(identity.thumbprint);
  }
});
