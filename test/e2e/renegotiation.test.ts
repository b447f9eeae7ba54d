import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { accessOf, fromTls, holdfast, type ResourceEvent } from '@holdfast/express';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { createPki, type Identity, type Pki } from '@holdfast/test-support/pki';
import {
  type HoldingRelay,
  type RenegotiatingClient,
  reasonToSkipRenegotiation,
  startHoldingRelay,
  startRenegotiatingClient,
} from '@holdfast/test-support/renegotiating-client';
import express from 'express';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const AUDIENCE = 'https://rs.example.com';

// Node reports the certificate of a TLS 1.2 renegotiation as soon as it arrives, before the client has proved that it holds the
// key. A thief who has the token and the (public) certificate of the owner starts a renegotiation, sends that certificate, and
// holds the proof back, while its request waits behind some other middleware of the API.
const missing = reasonToSkipRenegotiation();

describe('a client that renegotiates TLS 1.2 with another certificate', () => {
  let pki: Pki;
  let owner: Identity;
  let thief: Identity;
  let issuer: Issuer;
  let port: number;
  let relay: HoldingRelay;
  let client: RenegotiatingClient;
  const open: (() => Promise<void>)[] = [];
  let request: string;
  const events: ResourceEvent[] = [];
  const reached: string[] = [];
  let arrived: Promise<TLSSocket>;
  let release: () => void;

  beforeAll(async () => {
    pki = await createPki();
    [owner, thief] = [await pki.client('owner'), await pki.client('thief')];
    issuer = await startIssuer();
  });
  afterAll(() => issuer.close());

  beforeEach(async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    events.length = 0;
    reached.length = 0;
    const app = express();
    let onArrival: (socket: TLSSocket) => void;
    arrived = new Promise((resolve) => {
      onArrival = resolve;
    });
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    app.use('/slow', (incoming, _response, next) => {
      onArrival(incoming.socket as TLSSocket);
      void gate.then(() => next());
    });
    app.use(holdfast({ issuer: issuer.url, audience: AUDIENCE, certificate: fromTls(), onEvent: (event) => events.push(event) }));
    app.use((incoming, response) => {
      reached.push(accessOf(incoming).confirmations[0]?.thumbprint ?? '');
      response.json({});
    });
    const server = createServer({ ...pki.server, requestCert: true, rejectUnauthorized: false, maxVersion: 'TLSv1.2' }, app);
    port = await listen(server);
    relay = await startHoldingRelay(port);
    client = await startRenegotiatingClient();
    open.push(
      () => stop(server),
      () => relay.close(),
      () => client.close(),
    );
    const token = await issuer.token({ aud: AUDIENCE, cnf: { 'x5t#S256': owner.thumbprint } });
    request = `GET /slow HTTP/1.1\r\nHost: rs.example.com\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  });
  afterEach(async () => {
    for (const close of open.splice(0).toReversed()) await close();
  });

  // ClientHello, Certificate, ClientKeyExchange, CertificateVerify, ChangeCipherSpec
  it.each([1, 2, 3, 4, 5])('gains nothing by holding back all but %i records of the new handshake', async (records) => {
    expect(await client.connect(relay.port, thief)).toBe('connected');
    await client.send(request);
    const socket = await arrived;
    const ended = new Promise((resolve) => socket.once('close', resolve));
    void relay.letThrough(records);
    void client.renegotiate(owner);
    await ended;
    release();
    await expect.poll(() => events).toHaveLength(1);
    expect(events[0]).toMatchObject({ outcome: 'refused', reason: 'certificate.mismatch' });
    expect(reached).toEqual([]);
  });

  it('gains nothing by a whole renegotiation while its request waits', async () => {
    await client.connect(port, thief);
    await client.send(request);
    await arrived;
    expect(await client.renegotiate(owner)).toBe('refused');
    release();
    await expect.poll(() => events).toHaveLength(1);
    expect(events[0]).toMatchObject({ outcome: 'refused', reason: 'certificate.mismatch' });
    expect(reached).toEqual([]);
  });

  it('cannot keep what the first certificate was granted: the connection ends', async () => {
    await client.connect(port, owner);
    await client.send(request.replace('/slow', '/fast'));
    expect(await client.read()).toBe('HTTP/1.1 200 OK');
    expect(reached).toEqual([owner.thumbprint]);
    expect(await client.renegotiate(thief)).toBe('refused');
    expect(await client.read()).toBe('closed');
  });
});
