import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { startApi as startExpress } from '@holdfast/example-express';
import { startApi as startFastify } from '@holdfast/example-fastify';
import { startApi as startNestJs } from '@holdfast/example-nestjs';
import { startApi as startNodeHttp } from '@holdfast/example-node-http';
import { requestOnce } from '@holdfast/test-support/clients';
import { type Scene, visitWith } from '@holdfast/test-support/visits';
import { describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';

const examples = fileURLToPath(new URL('../examples/', import.meta.url));

describe.each([
  ['express', startExpress],
  ['fastify', startFastify],
  ['nestjs', startNestJs],
  ['node-http', startNodeHttp],
] as const)('examples/%s', (name, start) => {
  it('lets in whom it should, and nobody else', async () => {
    const visits = await visitWith(start);
    expect(visits.filter(({ answer, expected }) => answer !== expected)).toEqual([]);
    expect(visits.map(({ reason }) => reason)).toEqual([
      undefined,
      'certificate.mismatch',
      'certificate.missing',
      'cnf.absent',
      undefined,
      'replay.reused',
      'request.no_credentials',
      'scope.insufficient',
      undefined,
    ]);
    expect(visits[0]?.body).toBe('{"owner":"user-1"}');
    expect(visits.filter(({ answer }) => answer === '401').every(({ challenges }) => challenges.length === 2)).toBe(true);
  });

  it('has a README whose lines are those of its code, and whose links lead somewhere', () => {
    const readme = readFileSync(`${examples}${name}/README.md`, 'utf8');
    const code = readFileSync(`${examples}${name}/src/api.ts`, 'utf8');
    const lines = [...readme.matchAll(/```ts\n([^]*?)```/g)].flatMap(([, block = '']) => block.split('\n').filter((line) => line !== ''));
    expect(lines.length).toBeGreaterThanOrEqual(3);
    expect(lines.filter((line) => !code.includes(`${line}\n`))).toEqual([]);
    const links = [...readme.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link = '']) => link);
    expect(links.filter((link) => !existsSync(`${examples}${name}/${link}`))).toEqual([]);
  });
});

it('examples/nestjs lets in whom it should on Fastify, too', async () => {
  const visits = await visitWith((options) => startNestJs(options, 'fastify'));
  expect(visits.filter(({ answer, expected }) => answer !== expected)).toEqual([]);
  expect(visits.length).toBeGreaterThan(5);
});

it('examples/node-http serves the metadata of the API to anybody', async () => {
  await visitWith(startNodeHttp, async ({ port, ca }) => {
    const answer = await requestOnce({ port, ca, servername: 'localhost', path: '/.well-known/oauth-protected-resource' });
    expect([answer.status, JSON.parse(answer.body)]).toEqual([200, expect.objectContaining({ resource: 'https://api.example.com' })]);
  });
});

it('examples/node-http opens a WebSocket for the owner, and none for a thief', async () => {
  const outcomes: unknown[] = [];
  const open = ({ port, ca, token }: Scene, { cert, key }: { readonly cert: string; readonly key: string }): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      const socket = new WebSocket(`wss://localhost:${port}/feed`, { ca, cert, key, headers });
      socket.once('message', (message) => resolve(Buffer.from(message as Buffer).toString()));
      socket.once('unexpected-response', (_request, { statusCode }) => resolve(statusCode));
      socket.once('error', reject);
    });
  await visitWith(startNodeHttp, async (scene) => {
    outcomes.push(await open(scene, scene.owner), await open(scene, scene.thief));
  });
  expect(outcomes).toEqual(['welcome user-1', 401]);
});
