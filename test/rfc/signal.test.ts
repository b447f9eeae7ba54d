// `Access.signal`: what goes on for as long as access lasts ends with it (architecture: aborts at exp, and on revokeKey).
import { once } from 'node:events';
import { createServer, get, type IncomingMessage } from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  type Access,
  type ConfirmedToken,
  type IsRevoked,
  type ProtectedResource,
  type ProtectedResourceOptions,
  protectedResource,
} from '@holdfast/core';
import { accessOf, holdfast } from '@holdfast/express';
import { type Clock, createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import express from 'express';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

const AUDIENCE = 'https://rs.example.com';
const CENTURY = 100 * 365 * 86_400;

let clock: Clock;
let issuer: Issuer;
const resources: ProtectedResource[] = [];

beforeAll(async () => {
  issuer = await startIssuer({ now: () => clock.now() });
});
beforeEach(() => {
  clock = createClock();
});
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(resources.splice(0).map((resource) => resource.close()));
});
afterAll(() => issuer.close());

function resourceWith(options: Partial<ProtectedResourceOptions> = {}): ProtectedResource {
  const resource = protectedResource({
    issuer: issuer.url,
    audience: AUDIENCE,
    keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
    unconstrained: 'accept',
    now: () => clock.now(),
    ...options,
  });
  resources.push(resource);
  return resource;
}

const connection = { peer: { kind: 'unknown' as const }, peerCertificate: () => undefined };

async function accessWith(resource: ProtectedResource, token: string): Promise<Access> {
  const lines: Readonly<Record<string, readonly string[]>> = { authorization: [`Bearer ${token}`] };
  const result = await resource.verify({ method: 'GET', target: '/', fieldLines: (name) => lines[name] ?? [], connection });
  if (!result.granted) throw new Error(result.rejection.rejected);
  return result;
}

const accessUntil = async (resource: ProtectedResource, lifetime: number): Promise<Access> =>
  accessWith(resource, await issuer.token({ aud: AUDIENCE, exp: clock.now() + lifetime }));

/** Both clocks go on: the one of the resource, and the one of its timers. */
async function pass(seconds: number): Promise<void> {
  clock.advance(seconds);
  await vi.advanceTimersByTimeAsync(seconds * 1000);
}

const fakeTimers = (): void => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });

describe('The signal of an access', () => {
  it('aborts at exp, not before, and says why', async () => {
    fakeTimers();
    const { signal } = await accessUntil(resourceWith(), 300);
    await pass(299);
    expect(signal.aborted).toBe(false);
    await pass(1);
    expect(signal.aborted).toBe(true);
    expect(signal.reason).toBeInstanceOf(DOMException);
    expect(signal.reason).toMatchObject({ name: 'TimeoutError', message: expect.stringContaining('expired') });
  });

  it('is the same each time it is read, and another for each request', async () => {
    const resource = resourceWith();
    const token = await issuer.token({ aud: AUDIENCE });
    const [one, other] = [await accessWith(resource, token), await accessWith(resource, token)];
    expect(one.signal).toBe(one.signal);
    expect(one.signal).not.toBe(other.signal);
  });

  it('of a token that was accepted after its exp lasts until the end of the tolerance', async () => {
    const resource = resourceWith({ clockTolerance: 30 });
    fakeTimers();
    const { signal } = await accessUntil(resource, -10);
    await pass(19);
    expect(signal.aborted).toBe(false);
    await pass(1);
    expect(signal.aborted).toBe(true);
  });

  it('is aborted from the beginning where it is read after the end', async () => {
    const resource = resourceWith();
    const access = await accessUntil(resource, 10);
    clock.advance(15);
    expect(access.signal.aborted).toBe(true);
  });

  it('does not abort for a token that lives for a century: setTimeout fires at once for more than 2**31 - 1 ms', async () => {
    const warnings: unknown[] = [];
    const onWarning = (warning: unknown): void => void warnings.push(warning);
    process.on('warning', onWarning);
    const { signal } = await accessUntil(resourceWith(), CENTURY);
    // Node fires such a timer, and warns, in the next turn of its loop: behind these.
    await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise(setImmediate);
    process.off('warning', onWarning);
    expect([signal.aborted, warnings]).toEqual([false, []]);
  });

  it('aborts after a century all the same', async () => {
    const resource = resourceWith();
    fakeTimers();
    const { signal } = await accessUntil(resource, CENTURY);
    for (let day = 0; day < 30; day += 1) await pass(86_400);
    expect(signal.aborted).toBe(false);
    clock.advance(CENTURY);
    await pass(60);
    expect(signal.aborted).toBe(true);
  });

  it('notices within a minute that the clock was set, or the machine asleep', async () => {
    const resource = resourceWith();
    fakeTimers();
    const { signal } = await accessUntil(resource, 3600);
    clock.advance(3600);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(signal.aborted).toBe(true);
  });

  it('aborts where the clock fails: then it is not known that the token is still good', async () => {
    let fails = false;
    const now = (): number => {
      if (fails) throw new Error('no clock');
      return clock.now();
    };
    const resource = resourceWith({ now });
    fakeTimers();
    const { signal } = await accessUntil(resource, 3600);
    fails = true;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(signal.aborted).toBe(true);
  });

  it('of several, each aborts at its own end, and then there is no timer', async () => {
    const resource = resourceWith();
    const ends = [50, 10, 30, 10, 40];
    fakeTimers();
    const signals = await Promise.all(ends.map(async (end) => (await accessUntil(resource, end)).signal));
    const seen: string[] = [];
    for (let i = 0; i < 5; i += 1) {
      await pass(10);
      seen.push(signals.map(({ aborted }) => (aborted ? 'x' : '-')).join(''));
    }
    expect(seen).toEqual(['-x-x-', '-x-x-', '-xxx-', '-xxxx', 'xxxxx']);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('aborts at once on revokeKey, if that key signed the token', async () => {
    const other = await issuer.addKey('ES256');
    const [key] = issuer.keys;
    const resource = resourceWith();
    const mine = (await accessWith(resource, await issuer.token({ aud: AUDIENCE }, {}, { ...(key && { key }) }))).signal;
    const theirs = (await accessWith(resource, await issuer.token({ aud: AUDIENCE }, { kid: other.kid }, { key: other }))).signal;
    const { calculateJwkThumbprint } = await import('jose');
    resource.revokeKey(await calculateJwkThumbprint(key?.publicJwk ?? {}));
    expect([mine.aborted, theirs.aborted]).toEqual([true, false]);
    expect(mine.reason).toMatchObject({ name: 'AbortError' });
    issuer.removeKey(other.kid);
  });

  it('aborts at the next look when the issuer has given the key up', async () => {
    const key = await issuer.addKey('ES256');
    const resource = resourceWith({ keys: { uri: issuer.jwksUri, freshFor: 10, cooldown: 1 } });
    const { signal } = await accessWith(
      resource,
      await issuer.token({ aud: AUDIENCE, exp: clock.now() + 3600 }, { kid: key.kid }, { key }),
    );
    issuer.removeKey(key.kid);
    clock.advance(20);
    // Another token makes the resource look at the key set again.
    await accessWith(resource, await issuer.token({ aud: AUDIENCE, jti: 'another' }));
    expect(signal.aborted).toBe(false);
    await expect
      .poll(() => {
        resource.revokeKey('some other key');
        return signal.aborted;
      })
      .toBe(true);
    expect(signal.reason).toMatchObject({ name: 'AbortError' });
  });

  describe('where there is a list of revoked tokens', () => {
    interface Listed {
      readonly asked: ConfirmedToken[];
      says: IsRevoked;
      readonly resource: ProtectedResource;
    }
    const listed = (): Listed => {
      const asked: ConfirmedToken[] = [];
      const list: Listed = {
        asked,
        says: () => false,
        resource: resourceWith({
          isRevoked: (token) => {
            asked.push(token);
            return list.says(token);
          },
        }),
      };
      return list;
    };

    it.each<[string, IsRevoked, RegExp]>([
      ['names the token', () => true, /isRevoked said/],
      ['names it later', () => Promise.resolve(true), /isRevoked said/],
      [
        'fails',
        () => {
          throw new Error('hunter2');
        },
        /isRevoked failed/,
      ],
      ['fails later', () => Promise.reject(new Error('hunter2')), /isRevoked failed/],
      ['says neither true nor false', () => undefined as never, /neither true nor false/],
    ])('aborts within a minute when the list %s, and not before', async (_what, says, why) => {
      const list = listed();
      fakeTimers();
      const { signal } = await accessUntil(list.resource, 3600);
      await pass(59);
      list.says = says;
      expect([signal.aborted, list.asked.length]).toEqual([false, 1]);
      await pass(1);
      expect([signal.aborted, list.asked.length]).toEqual([true, 2]);
      expect(signal.reason).toMatchObject({ name: 'AbortError', message: expect.stringMatching(why) });
      expect(String(signal.reason)).not.toContain('hunter2');
      expect(vi.getTimerCount()).toBe(0);
      await pass(600);
      expect(list.asked).toHaveLength(2);
    });

    it('goes on while the list says no, and asks once a minute, of what the request was granted for', async () => {
      const list = listed();
      fakeTimers();
      const [{ signal }] = [await accessUntil(list.resource, 301), await accessUntil(list.resource, 301)];
      for (let minute = 0; minute < 5; minute += 1) {
        expect(signal.aborted).toBe(false);
        list.says = () => (minute % 2 === 0 ? Promise.resolve(false) : false);
        await pass(60);
      }
      // Two requests, and five times the one of which the signal was read.
      expect(list.asked).toHaveLength(7);
      expect(list.asked.at(-1)).toBe(list.asked[0]);
      await pass(1);
      expect(signal.reason).toMatchObject({ name: 'TimeoutError' });
    });

    it('aborts where the list has not answered until it would be asked again', async () => {
      const list = listed();
      fakeTimers();
      const { signal } = await accessUntil(list.resource, 3600);
      let answer = (_revoked: boolean): void => {};
      list.says = () =>
        new Promise((resolve) => {
          answer = resolve;
        });
      await pass(119);
      expect(signal.aborted).toBe(false);
      await pass(1);
      expect([signal.aborted, list.asked.length, vi.getTimerCount()]).toEqual([true, 2, 0]);
      answer(false);
      await pass(60);
      expect(list.asked).toHaveLength(2);
    });

    it('aborts at an answer that comes late', async () => {
      const list = listed();
      fakeTimers();
      const { signal } = await accessUntil(list.resource, 3600);
      let answer = (_revoked: boolean): void => {};
      list.says = () =>
        new Promise((resolve) => {
          answer = resolve;
        });
      await pass(90);
      answer(true);
      await pass(0);
      expect([signal.aborted, vi.getTimerCount()]).toEqual([true, 0]);
    });

    it('does not ask it for keys that are revoked now and again, nor forgets to ask', async () => {
      const list = listed();
      fakeTimers();
      const { signal } = await accessUntil(list.resource, 3600);
      for (let i = 0; i < 5; i += 1) {
        list.resource.revokeKey('some other key');
        await pass(10);
      }
      list.says = () => true;
      list.resource.revokeKey('some other key');
      expect([signal.aborted, list.asked.length]).toEqual([false, 1]);
      await pass(10);
      expect([signal.aborted, list.asked.length]).toEqual([true, 2]);
    });
  });

  it('aborts when the resource is closed, and a later one is aborted from the beginning: nobody watches them any more', async () => {
    const resource = resourceWith();
    const token = await issuer.token({ aud: AUDIENCE });
    fakeTimers();
    const { signal } = await accessWith(resource, token);
    expect(vi.getTimerCount()).toBe(1);
    await resource.close();
    expect(vi.getTimerCount()).toBe(0);
    expect([signal.aborted, (await accessWith(resource, token)).signal.aborted]).toEqual([true, true]);
  });

  it('starts nothing until it is read, and does not keep the process alive then', async () => {
    const resource = resourceWith();
    const keptAlive = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    const before = keptAlive();
    fakeTimers();
    const access = await accessUntil(resource, 300);
    expect(vi.getTimerCount()).toBe(0);
    vi.useRealTimers();
    expect(access.signal.aborted).toBe(false);
    expect(keptAlive()).toBe(before);
  });

  it('is no member of the object, which stays frozen and is shown without it', async () => {
    const access = await accessUntil(resourceWith(), 300);
    expect(Object.isFrozen(access)).toBe(true);
    const members = ['granted', 'issuer', 'claims', 'scheme', 'confirmations', 'confirmed', 'scopes', 'clientId', 'audited', 'fields'];
    expect(Object.keys(access)).toEqual(members);
    const { signal } = access;
    expect(() => Object.assign(access, { signal: new AbortController().signal })).toThrow(TypeError);
    expect(() => Object.defineProperty(access, 'signal', { value: undefined })).toThrow(TypeError);
    expect(access.signal).toBe(signal);
    expect(JSON.stringify(access)).not.toContain('signal');
    // Made from what was granted, it has no signal to give: never one that does not abort.
    const copy: object = Object.create(access);
    expect(() => Reflect.get(copy, 'signal')).toThrow(TypeError);
  });

  it('is given up when nobody holds it or listens to it, and kept while somebody listens', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const resource = resourceWith();
    const token = await issuer.token({ aud: AUDIENCE, exp: clock.now() + 300 });
    let ended = 0;
    const left: WeakRef<AbortSignal>[] = [];
    fakeTimers();
    for (let i = 0; i < 20; i += 1) {
      const { signal } = await accessWith(resource, token);
      if (i % 2 === 0) left.push(new WeakRef(signal));
      else signal.addEventListener('abort', () => void (ended += 1));
    }
    // What a turn has read is kept until its end.
    for (let turn = 0; turn < 5; turn += 1) {
      await new Promise(setImmediate);
      collect();
    }
    expect(left.filter((reference) => reference.deref() !== undefined)).toEqual([]);
    // Their timers go within a minute, and with them the last that was kept.
    await pass(60);
    expect(vi.getTimerCount()).toBe(10);
    await pass(240);
    expect([ended, vi.getTimerCount()]).toEqual([10, 0]);
  });
});

describe('A stream of events', () => {
  it('ends when the token of its client expires, and goes on for the others', async () => {
    const app = express();
    app.use(holdfast(resourceWith({ now: () => Date.now() / 1000 })));
    app.get('/events', (request, response) => {
      response.setHeader('Content-Type', 'text/event-stream');
      response.write('data: begin\n\n');
      const { signal } = accessOf(request);
      signal.addEventListener('abort', () => response.end('event: expired\ndata:\n\n'));
    });
    const server = createServer(app);
    const port = await listen(server);
    const open = async (lifetime: number): Promise<IncomingMessage> => {
      const iat = Math.floor(Date.now() / 1000) - 1;
      const headers = { authorization: `Bearer ${await issuer.token({ aud: AUDIENCE, iat, exp: Date.now() / 1000 + lifetime })}` };
      const [response] = (await once(get({ port, host: '127.0.0.1', path: '/events', headers, agent: false }), 'response')) as [
        IncomingMessage,
      ];
      return response;
    };
    const [short, long] = await Promise.all([open(0.5), open(300)]);
    expect([short.statusCode, long.statusCode]).toEqual([200, 200]);
    const received = await short.setEncoding('utf8').toArray();
    expect(received.join('')).toBe('data: begin\n\nevent: expired\ndata:\n\n');
    expect(long.readableEnded).toBe(false);
    await stop(server);
  });
});
