// holdfast providers: what it says of a preset is what the preset does.
import { PROVIDERS, type ProviderName, type ProtectedResourceOptions, protectedResource } from '@holdfast/core';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { holdfast, UNSEEN } from './holdfast.ts';

interface Row {
  readonly name: ProviderName;
  readonly source: string;
  readonly audience: string;
  readonly client: readonly string[];
  readonly signs: readonly (readonly { readonly claim: string }[])[];
  readonly token: { readonly header: Readonly<Record<string, string>>; readonly claims: Readonly<Record<string, string>> };
}

const NAMES = Object.keys(PROVIDERS) as ProviderName[];
const rowsOf = async (...args: string[]): Promise<readonly Row[]> =>
  JSON.parse((await holdfast(['providers', ...args, '--json'])).out) as readonly Row[];

describe('holdfast providers', () => {
  it('shows all of them, with all that is known, each with its source', async () => {
    const { code, out, err } = await holdfast(['providers'], { columns: 80 });
    expect([code, err]).toEqual([0, '']);
    for (const name of NAMES) {
      const block = out.slice(out.indexOf(`\n ${name}\n`));
      expect(block).toContain(PROVIDERS[name].source);
    }
    expect(out).not.toMatch(UNSEEN);
    // Only what cannot be broken, as a URL, is longer.
    for (const line of out.split('\n')) if (line.trim().includes(' ') && !line.includes('https:')) expect(line.length).toBeLessThan(120);
  });

  it('shows one, whose name may be in another case, and names what differs from version to version', async () => {
    const { code, out } = await holdfast(['providers', 'Entra']);
    expect(code).toBe(0);
    expect(out).toMatch(/^ entra$/m);
    expect(out).toMatch(/^ client +azp or appid or client_id$/m);
    expect(out).toMatch(/^ shown by +azpacr or appidacr, and scp or roles$/m);
    expect(out).not.toContain('keycloak');
    const janssen = (await holdfast(['providers', 'janssen'])).out;
    expect(janssen).toMatch(/^ binding +cnf, the claim x5t#S256$/m);
  });

  it('prints the very presets as JSON', async () => {
    const rows = await rowsOf();
    expect(rows.map(({ name }) => name)).toEqual(NAMES);
    for (const { name, token: _token, ...row } of rows) expect(row).toEqual(PROVIDERS[name]);
    expect((await rowsOf('okta')).map(({ name }) => name)).toEqual(['okta']);
  });

  it('says which names there are where there is no such, ends with 2, and repeats nothing', async () => {
    for (const args of [['hunter2'], ['okta', 'hunter2'], ['']]) {
      const { code, out, err } = await holdfast(['providers', ...args]);
      expect([code, out]).toEqual([2, '']);
      expect(err).toMatch(/give one of auth0, [^]*wso2, or none/);
      expect(err).not.toContain('hunter2');
    }
  });

  describe('the token that it shows of', () => {
    let issuer: Issuer;
    beforeAll(async () => {
      issuer = await startIssuer();
    });
    afterAll(() => issuer.close());

    const judged = async ({ name, audience }: Row, header: object, claims: object): Promise<string> => {
      const options: ProtectedResourceOptions = {
        issuer: issuer.url,
        audience: '…',
        realm: 'api',
        provider: name,
        unconstrained: 'accept',
        dpop: false,
        keys: { jwks: { keys: issuer.keys.map(({ publicJwk }) => publicJwk) } },
        ...(audience === 'client' && { clientIds: ['…'] }),
      };
      const resource = protectedResource(options);
      const nothing = { aud: undefined, sub: undefined, client_id: undefined, scope: undefined, jti: undefined };
      const token = await issuer.token({ ...nothing, ...claims }, { typ: undefined, ...header });
      const result = await resource.verify({
        method: 'GET',
        target: '/',
        fieldLines: (field) => (field === 'authorization' ? [`Bearer ${token}`] : []),
        connection: { peer: { kind: 'unknown' }, peerCertificate: () => undefined },
      });
      await resource.close();
      return result.granted ? `granted to ${result.clientId} for ${result.scopes.join(' ')}` : result.rejection.rejected;
    };

    it.each(NAMES)('%s is accepted, and nothing of it that shows what it is can be left out', async (name) => {
      const [row] = await rowsOf(name);
      if (row === undefined) throw new Error(name);
      const { header, claims } = row.token;
      expect(await judged(row, header, claims)).toBe('granted to … for …');
      expect(await judged(row, { typ: 'id+jwt' }, claims)).toBe('token.typ');
      const needed = [
        ...row.signs.flatMap(([sign]) => (sign === undefined ? [] : [sign.claim])),
        ...(row.audience === 'aud' ? ['aud'] : row.client),
      ];
      for (const claim of needed) {
        expect([claim, await judged(row, header, { ...claims, [claim]: undefined })]).toEqual([claim, expect.stringMatching(/^token\./)]);
      }
    });
  });
});
