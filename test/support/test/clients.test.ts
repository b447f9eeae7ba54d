import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { afterEach, describe, expect, test } from 'vitest';
import { requestOnce } from '../src/clients.ts';
import { listen, stop } from '../src/loopback.ts';
import { createPki } from '../src/pki.ts';
import { rawRequest } from '../src/raw-request.ts';

let server: ReturnType<typeof createHttpServer>;

afterEach(() => stop(server));

test.each(['TLSv1.2', 'TLSv1.3'] as const)('requestOnce resumes a %s session, as often as it is given one', async (version) => {
  const pki = await createPki();
  server = createServer({ key: pki.server.key, cert: pki.server.cert }, (_request, response) => response.end());
  const options = { port: await listen(server), ca: pki.ca, minVersion: version, maxVersion: version };
  const first = await requestOnce(options);
  expect(first).toMatchObject({ protocol: version, reused: false, session: expect.any(Buffer) });
  for (let i = 0; i < 2; i++) expect(await requestOnce({ ...options, session: first.session })).toMatchObject({ reused: true });
});

describe('rawRequest', () => {
  test('sends its lines and nothing else, and returns the field lines unjoined', async () => {
    server = createHttpServer((request, response) => response.writeHead(200, { a: ['1', '2'] }).end(request.rawHeaders.join('|')));
    const lines = ['GET / HTTP/1.0', 'DPoP: 1', 'dpop: 2', 'Authorization: a', 'Authorization: b'];
    const answer = await rawRequest({ port: await listen(server), lines });
    expect(answer.body).toBe('DPoP|1|dpop|2|Authorization|a|Authorization|b');
    expect(answer.headers.filter(([name]) => name === 'a')).toEqual([
      ['a', '1'],
      ['a', '2'],
    ]);
  });

  test('reads chunks, answers without content and one request after another on a connection', async () => {
    server = createHttpServer((request, response) => {
      if (request.url === '/none') return response.writeHead(204).end();
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.write('a\r\n\r\n');
      return setImmediate(() => response.end(`b${request.headers['content-length']}`));
    });
    const port = await listen(server);
    const chunked = await rawRequest({ port, lines: ['POST / HTTP/1.1', 'Host: a', 'Content-Length: 2'], body: '{}' });
    expect(chunked).toMatchObject({ status: 200, body: 'a\r\n\r\nb2' });
    const none = await rawRequest({ port, socket: chunked.socket, lines: ['GET /none HTTP/1.1', 'Host: a'] });
    expect(none).toMatchObject({ status: 204, body: '' });
    const head = await rawRequest({ port, socket: none.socket, lines: ['HEAD / HTTP/1.1', 'Host: a'] });
    expect(head).toMatchObject({ status: 200, body: '' });
  });

  test('rejects where the connection ends within the answer', async () => {
    server = createHttpServer((_request, response) => {
      response.writeHead(200, { 'content-length': 10 });
      response.write('half');
      setImmediate(() => response.destroy());
    });
    const request = rawRequest({ port: await listen(server), lines: ['GET / HTTP/1.1', 'Host: a'] });
    await expect(request).rejects.toThrow(/ended|reset/i);
  });
});
