import { readFileSync } from 'node:fs';
import { attemptsOn } from '@holdfast/example-nestjs';
import { describe, expect, it } from 'vitest';

describe('the example for NestJS', () => {
  it.each(['express', 'fastify'] as const)('on %s lets the owner in and keeps thieves out', async (platform) => {
    const attempts = await attemptsOn(platform);
    expect(attempts.map(({ title, status }) => [title, status])).toEqual(attempts.map(({ title, expected }) => [title, expected]));
    expect(attempts.map(({ expected }) => expected)).toEqual([200, 401, 401, 401, 401, 403, 200]);
    expect(attempts[0]?.body).toBe('{"owner":"user-1","scheme":"Bearer","confirmedBy":["x5t#S256"]}');
  });

  it('is what its README shows', () => {
    const folder = new URL('../../examples/nestjs/', import.meta.url);
    const source = readFileSync(new URL('src/app.ts', folder), 'utf8');
    const blocks = [...readFileSync(new URL('README.md', folder), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
      ([, block]) => block ?? '',
    );
    expect(blocks).toHaveLength(2);
    for (const block of blocks) expect(source).toContain(block);
  });
});
