import { runMcp } from '@holdfast/example-mcp';
import { beforeAll, describe, expect, it } from 'vitest';

describe('an MCP server of the TypeScript SDK, called by its own client', () => {
  let scene: Awaited<ReturnType<typeof runMcp>>;
  beforeAll(async () => {
    scene = await runMcp();
  });
  const under = (heading: string): unknown[] =>
    scene.attempts.filter((attempt) => attempt.heading === heading).map(({ answer, reason }) => [answer, reason].filter(Boolean).join(' '));

  it('serves owners, and the tool sees who they are, but no token', () => {
    const [byKey, byCertificate] = scene.attempts.map(({ body }) => body);
    expect(JSON.parse(byKey ?? '')).toMatchObject({
      owner: 'dpop',
      scheme: 'DPoP',
      thumbprint: expect.stringMatching(/^[\w-]{43}$/),
      authInfo: {
        token: '(the access token stays with Holdfast)',
        clientId: 'dpop',
        scopes: ['accounts:read'],
        resource: expect.stringMatching(/^https:\/\/localhost:\d+\/mcp$/),
        extra: { subject: 'dpop', confirmed: true, confirmations: [{ member: 'jkt' }] },
      },
    });
    expect(JSON.parse(byCertificate ?? '')).toMatchObject({
      owner: 'mtls-ca',
      scheme: 'Bearer',
      authInfo: { extra: { confirmations: [{ member: 'x5t#S256' }] } },
    });
    const seen = scene.attempts.map(({ body }) => body).join('\n');
    expect(scene.tokens.filter((token) => seen.includes(token) || seen.includes(token.split('.')[2] ?? token))).toEqual([]);
  });

  it('refuses a thief with the token, and names the metadata of the resource in the challenges', () => {
    expect(under('A thief with the token')).toEqual([
      '401 cnf.presented_as_bearer',
      '401 dpop.key_mismatch',
      '401 certificate.missing',
      '401 certificate.mismatch',
      '401 cnf.absent',
    ]);
    const refused = scene.attempts.filter(({ answer }) => answer === '401');
    expect(
      refused.flatMap(({ challenges }) => challenges).every((line) => line.includes('/.well-known/oauth-protected-resource/mcp"')),
    ).toBe(true);
  });

  it('refuses a thief with the session id as if there were no such session, and the server hears of it', () => {
    expect(under('A thief with the session id, and a good token of its own').map((line) => String(line).slice(0, 3))).toEqual([
      '404',
      '404',
      '404',
      '404',
    ]);
    const bodies = scene.attempts
      .filter(({ heading, answer }) => heading.startsWith('A thief with the session id, and') && answer === '404')
      .map(({ body }) => body);
    expect(bodies[0]).toMatch(/Session not found/);
    expect(bodies[3]).toBe(bodies[0]);
    expect(scene.foreignSessions).toEqual(['mtls-ca', 'dpop', 'mtls-ca']);
    expect(under('A thief with the session id alone')).toEqual(['401 request.no_credentials']);
  });

  it('goes on with its owners, until they end it', () => {
    expect(under('Owners, after all that').map((line) => String(line).slice(0, 3))).toEqual(['200', '200', '200', '404']);
    expect(scene.attempts.filter(({ answer, expected }) => answer !== expected)).toEqual([]);
  });
});
