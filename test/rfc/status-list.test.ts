// Token Status List (draft-ietf-oauth-status-list), as isRevoked of a resource, with lists over a real socket.
import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { createDeflate, deflateSync } from 'node:zlib';
import { type ProtectedResource, protectedResource, type ProtectedResourceOptions } from '@holdfast/core';
import { statusList, type StatusListOptions } from '@holdfast/core/status-list';
import { createClock } from '@holdfast/test-support/clock';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { generateSigningKey, rawJwt, type SigningKeyPair } from '@holdfast/test-support/jwt';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

const NOW = 1_800_000_000;
const AUDIENCE = 'https://rs.example.com';

/** What the list of an issuer says; change it at will. */
interface List {
  statuses: Record<number, number>;
  bits: number;
  size: number;
  header: object;
  claims: object;
  list: object;
  key: SigningKeyPair | undefined;
  type: string;
  status: number;
  fetched: number;
  down: boolean;
}

interface Scene {
  readonly resource: ProtectedResource;
  readonly issuer: Issuer;
  readonly list: List;
  readonly clock: ReturnType<typeof createClock>;
  readonly uri: string;
  readonly ask: (claims?: object) => Promise<string>;
}

async function scene(more: Partial<StatusListOptions> = {}, options: Partial<ProtectedResourceOptions> = {}): Promise<Scene> {
  const clock = createClock(NOW);
  const issuer = await startIssuer({ now: clock.now });
  const uri = `${issuer.url}/status/1`;
  const list: List = {
    statuses: {},
    bits: 1,
    size: 16,
    header: {},
    claims: {},
    list: {},
    key: undefined,
    type: 'application/statuslist+jwt',
    status: 200,
    fetched: 0,
    down: false,
  };
  issuer.answer = (_request, response, path) => {
    if (!path.startsWith('/status/')) return false;
    list.fetched += 1;
    if (list.down) return Boolean(response.socket?.resetAndDestroy());
    response
      .writeHead(list.status, { 'content-type': list.type, location: `${issuer.url}/status/2` })
      .end(tokenOf(list, issuer, uri, clock.now()));
    return true;
  };
  const isRevoked = statusList({ issuers: [{ issuer: issuer.url }], now: clock.now, ...more });
  const resource: ProtectedResource = protectedResource({
    issuer: issuer.url,
    audience: AUDIENCE,
    unconstrained: 'accept',
    now: clock.now,
    isRevoked,
    ...options,
  });
  onTestFinished(async () => {
    await Promise.all([isRevoked.close(), resource.close()]);
    await issuer.close();
  });
  const ask = async (claims: object = { status: { status_list: { idx: 3, uri } } }): Promise<string> => {
    const token = await issuer.token({ jti: randomUUID(), exp: NOW + 1_000_000, ...claims });
    const result = await resource.verify({
      method: 'GET',
      target: '/',
      fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
      connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
    });
    return result.granted ? 'granted' : result.rejection.rejected;
  };
  return { resource, issuer, list, clock, uri, ask };
}

function tokenOf(list: List, issuer: Issuer, uri: string, iat: number): string {
  const octets = Buffer.alloc(list.size);
  for (const [index, status] of Object.entries(list.statuses)) {
    const at = Number(index) * list.bits;
    octets[Math.floor(at / 8)] = (octets[Math.floor(at / 8)] ?? 0) | (status << (at % 8));
  }
  const [first] = issuer.keys;
  const key = list.key ?? first;
  const header = { typ: 'statuslist+jwt', alg: key?.alg, kid: key?.kid, ...list.header };
  const claims = {
    sub: uri,
    iat,
    exp: iat + 86_400,
    ttl: 43_200,
    status_list: { bits: list.bits, lst: deflateSync(octets).toString('base64url'), ...list.list },
    ...list.claims,
  };
  return rawJwt(JSON.stringify(header), JSON.stringify(claims), key);
}

describe('A token that points to a status list', () => {
  it.each([
    [1, 0, 'granted'],
    [1, 1, 'token.revoked'],
    [2, 0, 'granted'],
    [2, 1, 'token.revoked'],
    [2, 2, 'token.revoked'],
    [4, 0, 'granted'],
    [4, 15, 'token.revoked'],
    [8, 0, 'granted'],
    [8, 128, 'token.revoked'],
  ])('with %d bits and status %d: %s', async (bits, status, reason) => {
    const { list, ask, uri } = await scene();
    // Its neighbours say the opposite.
    const other = status === 0 ? 1 : 0;
    Object.assign(list, { bits, statuses: { 2: other, 3: status, 4: other } });
    expect(await ask()).toBe(reason);
    expect(await ask({ status: { status_list: { idx: 4, uri } } })).toBe(status === 0 ? 'token.revoked' : 'granted');
  });

  it('agrees with the example of the draft: 16 statuses of one bit, B9 A3', async () => {
    const { list, ask, uri } = await scene();
    list.list = { lst: 'eNrbuRgAAhcBXQ' };
    const statuses: number[] = [];
    for (let idx = 0; idx < 16; idx += 1) statuses.push((await ask({ status: { status_list: { idx, uri } } })) === 'granted' ? 0 : 1);
    expect(statuses).toEqual([1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]);
  });

  it('is refused where the index is beyond the list, or the reference is none', async () => {
    const { ask, uri } = await scene();
    expect(await ask({ status: { status_list: { idx: 127, uri } } })).toBe('granted');
    for (const idx of [128, 2 ** 40, Number.MAX_SAFE_INTEGER])
      expect(await ask({ status: { status_list: { idx, uri } } })).toBe('token.revoked');
    const references = [7, null, {}, [], { status_list: null }, { status_list: { idx: -1, uri } }, { status_list: { idx: 1.5, uri } }];
    for (const status of [...references, { status_list: { idx: '3', uri } }, { status_list: { idx: 3, uri: 7 } }, { other: {} }]) {
      expect([status, await ask({ status })]).toEqual([status, 'token.revoked']);
    }
  });

  it('and one that points to none is refused, or accepted where the API says so', async () => {
    expect(await (await scene()).ask({})).toBe('token.revoked');
    const { ask, list } = await scene({ withoutStatus: 'accept' });
    expect(await ask({})).toBe('granted');
    list.statuses = { 3: 1 };
    expect(await ask()).toBe('token.revoked');
  });

  it('ends what goes on for as long as access lasts, when it names the token: once the list is fetched again', async () => {
    const { resource, issuer, list, clock, uri } = await scene({ maxAge: 90 });
    const access = async (idx: number): Promise<AbortSignal> => {
      const token = await issuer.token({ exp: NOW + 100_000, status: { status_list: { idx, uri } } });
      const result = await resource.verify({
        method: 'GET',
        target: '/',
        fieldLines: (name) => (name === 'authorization' ? [`Bearer ${token}`] : []),
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
      if (!result.granted) throw new Error(result.rejection.rejected);
      return result.signal;
    };
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const [revoked, good] = [await access(3), await access(4)];
    list.statuses[3] = 1;
    clock.advance(60);
    await vi.advanceTimersByTimeAsync(60_000);
    expect([revoked.aborted, good.aborted, list.fetched]).toEqual([false, false, 1]);
    clock.advance(60);
    await vi.advanceTimersByTimeAsync(60_000);
    await vi.waitUntil(() => revoked.aborted);
    expect([good.aborted, list.fetched]).toEqual([false, 2]);
    expect(revoked.reason).toMatchObject({ name: 'AbortError' });
  });
});

describe('A status list', () => {
  it('is fetched once for many tokens, at the same time as well, and again after maxAge', async () => {
    const { list, ask, clock, uri } = await scene({ maxAge: 60 });
    const many = await Promise.all(Array.from({ length: 20 }, (_, idx) => ask({ status: { status_list: { idx, uri } } })));
    expect(new Set(many)).toEqual(new Set(['granted']));
    expect(list.fetched).toBe(1);
    list.statuses = { 3: 1 };
    clock.set(NOW + 59);
    expect(await ask()).toBe('granted');
    clock.set(NOW + 60);
    expect(await ask()).toBe('token.revoked');
    expect(list.fetched).toBe(2);
  });

  it('is never used beyond its ttl or its exp', async () => {
    for (const claims of [{ ttl: 30 }, { exp: NOW + 30 }]) {
      const { list, ask, clock } = await scene();
      list.claims = claims;
      expect(await ask()).toBe('granted');
      clock.set(NOW + 29);
      list.down = true;
      expect(await ask()).toBe('granted');
      clock.set(NOW + 30);
      expect(await ask()).toBe('unavailable.is_revoked');
    }
  });

  it('is used on while its server is away, as long as it says itself that it may be; then 503', async () => {
    const { list, ask, clock } = await scene({ maxAge: 60 });
    list.claims = { ttl: 600 };
    list.statuses = { 3: 1 };
    expect(await ask()).toBe('token.revoked');
    list.down = true;
    clock.set(NOW + 599);
    expect(await ask()).toBe('token.revoked');
    clock.set(NOW + 600);
    expect(await ask()).toBe('unavailable.is_revoked');
  });

  it('that cannot be had is 503, and is not asked for on every request', async () => {
    const { list, ask, clock } = await scene();
    list.down = true;
    for (let i = 0; i < 10; i += 1) expect(await ask()).toBe('unavailable.is_revoked');
    expect(list.fetched).toBe(1);
    list.down = false;
    clock.set(NOW + 5);
    expect(await ask()).toBe('granted');
  });

  it.each<[string, (list: List, scene: Scene) => Promise<void> | void]>([
    ['by another key', async (list) => void (list.key = await generateSigningKey('ES256', 'another'))],
    [
      'by another key with the kid of a known one',
      async (list, { issuer }) => void (list.key = await generateSigningKey('ES256', issuer.keys[0]?.kid)),
    ],
    ['by nobody', (list) => void (list.header = { alg: 'none' })],
    ['with a symmetric algorithm', (list) => void (list.header = { alg: 'HS256' })],
    ['that is an access token', (list) => void (list.header = { typ: 'at+jwt' })],
    ['without a type', (list) => void (list.header = { typ: undefined })],
    ['for another URI', (list, { issuer }) => void (list.claims = { sub: `${issuer.url}/status/2` })],
    ['without its URI', (list) => void (list.claims = { sub: undefined })],
    ['of another issuer', (list) => void (list.claims = { iss: 'https://other.example.com' })],
    ['without iat', (list) => void (list.claims = { iat: undefined })],
    ['from the future', (list) => void (list.claims = { iat: NOW + 3600 })],
    ['that has expired', (list) => void (list.claims = { exp: NOW - 60 })],
    ['with a ttl that is none', (list) => void (list.claims = { ttl: -1 })],
    ['with 3 bits', (list) => void (list.list = { bits: 3 })],
    ['with bits as text', (list) => void (list.list = { bits: '1' })],
    ['without a list', (list) => void (list.claims = { status_list: undefined })],
    ['that is not compressed', (list) => void (list.list = { lst: 'AAAA' })],
    ['that is no base64url', (list) => void (list.list = { lst: '++//' })],
    ['that is a number', (list) => void (list.list = { lst: 7 })],
    ['of another media type', (list) => void (list.type = 'application/jwt')],
    ['with another status', (list) => void (list.status = 404)],
    ['by a redirect', (list) => void (list.status = 302)],
  ])('%s does not hold: 503, and nothing is granted', async (_, change) => {
    const made = await scene();
    await change(made.list, made);
    expect(await made.ask()).toBe('unavailable.is_revoked');
    expect(made.list.fetched).toBe(1);
  });

  it('that stands for gigabytes is not inflated beyond its limit', async () => {
    const { list, ask, clock } = await scene({ largestList: 65_536 });
    list.list = { lst: await zeros(200) };
    const held = (): number => process.memoryUsage().arrayBuffers;
    const before = held();
    let most = 0;
    const watch = setInterval(() => void (most = Math.max(most, held() - before)), 1);
    expect(await ask()).toBe('unavailable.is_revoked');
    clearInterval(watch);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(60 * 1024 * 1024);
    list.list = { lst: deflateSync(Buffer.alloc(65_536)).toString('base64url') };
    clock.set(NOW + 5);
    expect(await ask()).toBe('granted');
  });

  it('of which an older one comes back is not taken', async () => {
    const { list, ask, clock } = await scene({ maxAge: 60 });
    list.statuses = { 3: 1 };
    expect(await ask()).toBe('token.revoked');
    clock.set(NOW + 60);
    Object.assign(list, { statuses: {}, claims: { iat: NOW - 100 } });
    expect(await ask()).toBe('token.revoked');
  });

  it('is not believed any more when its issuer drops the key that signed it', async () => {
    const { list, ask, issuer, clock } = await scene({ maxAge: 60 });
    expect(await ask()).toBe('granted');
    await issuer.addKey('ES256');
    list.key = issuer.keys[0];
    issuer.removeKey(issuer.keys[0]?.kid);
    // The keys are old enough to be fetched again, while the list may still be kept for hours.
    const refreshed = issuer.nextRequest('/jwks');
    clock.set(NOW + 601);
    await ask();
    await refreshed;
    list.key = undefined;
    const signed = list.fetched;
    await expect.poll(async () => [await ask(), list.fetched > signed]).toEqual(['granted', true]);
  });
});

describe('A status list is fetched', () => {
  it.each([
    ['from another origin', 'https://other.example.com/status/1'],
    ['over http where the host is not this one', 'http://169.254.169.254/status/1'],
    ['with a user', 'http://me:pw@127.0.0.1/status/1'],
    ['from a file', 'file:///etc/passwd'],
    ['from no URL', 'status/1'],
  ])('not %s: 503', async (_, uri) => {
    const asked: string[] = [];
    const { ask } = await scene({
      fetch: (url, init) => {
        asked.push(url);
        return fetch(url, init);
      },
    });
    expect(await ask({ status: { status_list: { idx: 3, uri } } })).toBe('unavailable.is_revoked');
    expect(asked).toEqual([]);
  });

  it('from another origin that is named', async () => {
    const elsewhere = await startIssuer();
    onTestFinished(() => elsewhere.close());
    const uri = `${elsewhere.url}/status/1`;
    const issuer = await startIssuer();
    onTestFinished(() => issuer.close());
    elsewhere.answer = (_request, response) => {
      const list = { statuses: { 3: 1 }, bits: 1, size: 16, header: {}, claims: {}, list: {}, key: undefined } as unknown as List;
      response.writeHead(200, { 'content-type': 'application/statuslist+jwt' });
      return Boolean(response.end(tokenOf(list, issuer, uri, Math.floor(Date.now() / 1000))));
    };
    const isRevoked = statusList({ issuers: [{ issuer: issuer.url, origins: [elsewhere.url] }] });
    onTestFinished(() => isRevoked.close());
    const token = (idx: number): Parameters<typeof isRevoked>[0] => ({
      issuer: issuer.url,
      claims: { status: { status_list: { idx, uri } } },
    });
    expect([await isRevoked(token(3)), await isRevoked(token(4))]).toEqual([true, false]);
    await expect(isRevoked({ ...token(3), issuer: 'https://other.example.com' })).rejects.toThrow(/none of those whose lists are asked/);
  });
});

describe('Options of statusList', () => {
  it('that are wrong are told all at once', () => {
    const wrong = {
      issuers: [{ issuer: 'http://as.example.com', origins: ['https://a.example.com/path'] }],
      maxAge: 0,
      largestList: 1.5,
      withoutStatus: 'x',
      more: 1,
    };
    expect(() => statusList(wrong as never)).toThrow(
      /6 options are wrong[^]*more: is no option[^]*issuers\[0\]\.issuer[^]*issuers\[0\]\.origins[^]*withoutStatus[^]*maxAge[^]*largestList/,
    );
    expect(() => statusList({ issuers: [] })).toThrow(/issuers: is a list\. Give a list of issuers/);
  });
});

/** So many megabytes of zeros, compressed, without ever being there. */
async function zeros(megabytes: number): Promise<string> {
  const megabyte = Buffer.alloc(1024 * 1024);
  const deflate = Readable.from(Array.from({ length: megabytes }, () => megabyte)).pipe(createDeflate({ level: 9 }));
  return (await buffer(deflate)).toString('base64url');
}
