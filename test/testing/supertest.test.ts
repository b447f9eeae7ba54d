import { createServer } from 'node:https';
import { accessOf, fromTls, holdfast, type ProtectedResourceOptions, requires } from '@holdfast/express';
import { requestOnce } from '@holdfast/test-support/clients';
import { listen, stop } from '@holdfast/test-support/loopback';
import { testAuthorizationServer, type TestAuthorizationServer, type TestClient } from '@holdfast/testing';
import express, { type Express } from 'express';
import request from 'supertest';
import { beforeAll, describe, expect, it } from 'vitest';

const URL_OF_ROUTE = 'https://api.test/accounts';

/** As applications are built to be tested: with what the outside world is as an argument. */
function buildApp(options: ProtectedResourceOptions): Express {
  const app = express();
  app.use(holdfast(options));
  app.get('/accounts', requires({ scope: 'accounts' }), (req, res) => void res.json(accessOf(req).claims.sub));
  return app;
}

describe('@holdfast/testing with supertest', () => {
  let as: TestAuthorizationServer;
  let owner: TestClient;
  let thief: TestClient;
  let app: Express;
  beforeAll(async () => {
    as = await testAuthorizationServer();
    [owner, thief] = [await as.client({ clientId: 'owner' }), await as.client()];
    app = buildApp(as.options);
  });

  it('a certificate-bound token works for its owner and for nobody else', async () => {
    const token = await owner.token({ scope: 'accounts' });
    await request(app).get('/accounts').set(owner.present(token)).expect(200, '"owner"');
    await request(app).get('/accounts').set(thief.present(token)).expect(401);
    await request(app).get('/accounts').auth(token, { type: 'bearer' }).expect(401);
  });

  it('a DPoP-bound token works for its owner, once for each proof, and for nobody else', async () => {
    const token = await owner.token({ scope: 'accounts' }, 'jkt');
    const proof = await owner.prove(token, { url: `${URL_OF_ROUTE}?page=2` });
    await request(app).get('/accounts?page=2').set(proof).expect(200);
    await request(app).get('/accounts?page=2').set(proof).expect(401);
    await request(app)
      .get('/accounts')
      .set(await thief.prove(token, { url: URL_OF_ROUTE }))
      .expect(401);
    await request(app)
      .get('/accounts')
      .set(await owner.prove(token, { method: 'POST', url: URL_OF_ROUTE }))
      .expect(401);
    await request(app)
      .get('/accounts')
      .set(await owner.prove(token, { url: URL_OF_ROUTE, claims: { iat: 0 } }))
      .expect(401);
    await request(app).get('/accounts').set(owner.present(token)).expect(401);
  });

  it('a token that is bound to both needs both', async () => {
    const token = await owner.token({ scope: 'accounts' }, 'both');
    await request(app)
      .get('/accounts')
      .set(await owner.presentAndProve(token, { url: URL_OF_ROUTE }))
      .expect(200);
    await request(app)
      .get('/accounts')
      .set(await owner.prove(token, { url: URL_OF_ROUTE }))
      .expect(401);
    await request(app).get('/accounts').set(owner.present(token)).expect(401);
  });

  it('a nonce can be followed', async () => {
    const withNonces = buildApp({ ...as.options, dpop: { nonce: 'required' } });
    const token = await owner.token({ scope: 'accounts' }, 'jkt');
    const asked = await request(withNonces)
      .get('/accounts')
      .set(await owner.prove(token, { url: URL_OF_ROUTE }))
      .expect(401);
    const nonce = asked.get('DPoP-Nonce') ?? '';
    await request(withNonces)
      .get('/accounts')
      .set(await owner.prove(token, { url: URL_OF_ROUTE, nonce }))
      .expect(200);
  });

  it('claims can be others: too little scope, expired, another audience; and nothing can be bound', async () => {
    const answers: [Record<string, unknown>, number][] = [
      [{ scope: 'other' }, 403],
      [{ scope: 'accounts', exp: 1 }, 401],
      [{ scope: 'accounts', aud: 'https://other.test' }, 401],
      [{ scope: 'accounts', cnf: undefined }, 401],
    ];
    for (const [claims, status] of answers) {
      await request(app)
        .get('/accounts')
        .set(owner.present(await owner.token(claims)))
        .expect(status);
    }
    await request(app)
      .get('/accounts')
      .set(owner.present(await owner.token({ scope: 'accounts' }, 'none')))
      .expect(401);
  });

  it('a certificate is believed only with the secret of this authorization server', async () => {
    const token = await owner.token({ scope: 'accounts' });
    const other = await (await testAuthorizationServer()).client();
    const forged = { ...owner.present(token), 'test-edge-secret': other.present(token)['test-edge-secret'] ?? '' };
    await request(app).get('/accounts').set(forged).expect(401);
  });

  it('after a rotation new tokens work, and with drop the old ones end', async () => {
    const rotating = await testAuthorizationServer();
    const client = await rotating.client();
    const old = await client.token({ scope: 'accounts' });
    await rotating.rotateKey();
    const between = buildApp(rotating.options);
    await request(between).get('/accounts').set(client.present(old)).expect(200);
    await request(between)
      .get('/accounts')
      .set(client.present(await client.token({ scope: 'accounts' })))
      .expect(200);
    await rotating.rotateKey({ drop: true });
    await request(buildApp(rotating.options)).get('/accounts').set(client.present(old)).expect(401);
  });

  it('an application that runs sees the new key when its cooldown is over', async () => {
    let time = Math.floor(Date.now() / 1000);
    const now = (): number => time;
    const rotating = await testAuthorizationServer({ now });
    const client = await rotating.client();
    const running = buildApp({ ...rotating.options, now });
    const get = async (): Promise<number> =>
      (
        await request(running)
          .get('/accounts')
          .set(client.present(await client.token({ scope: 'accounts' })))
      ).status;
    expect(await get()).toBe(200);
    await rotating.rotateKey();
    expect(await get()).toBe(401);
    time += 31;
    expect(await get()).toBe(200);
  });

  it('what cannot be meant is a TypeError that says what to write, all of it at once', async () => {
    const wrong: object = { audiance: 'https://api.test', issuer: 'as', audience: '', algorithm: 'HS256', now: 5 };
    await expect(testAuthorizationServer(wrong)).rejects.toThrow(TypeError);
    await expect(testAuthorizationServer(wrong)).rejects.toThrow(
      /^testAuthorizationServer: audiance: is not an option\. Known: issuer, .*; issuer: is "as"\. Give a URL.*; audience: .*; algorithm: is "HS256"\. Give one of ES256.*; now: is 5\. Give a function/,
    );
    const binding = 'dpop' as 'jkt';
    await expect(owner.token({}, binding)).rejects.toThrow(
      /^token: the binding is "dpop"\. Give one of 'x5t#S256', 'jkt', 'both', 'none'\.$/,
    );
    const token = owner.token();
    expect(() => owner.present(token as never)).toThrow(/^present: the token is a promise: await it\.$/);
    await expect(owner.prove(token as never, { url: URL_OF_ROUTE })).rejects.toThrow(/await it/);
    await expect(owner.prove(await token, { url: '/accounts' })).rejects.toThrow(/^prove: url is "\/accounts"\. Give the whole URL/);
  });

  it('its certificates serve real TLS too', async () => {
    const server = createServer(as.tls, buildApp({ ...as.options, certificate: fromTls() }));
    const port = await listen(server);
    const headers = { authorization: `Bearer ${await owner.token({ scope: 'accounts' })}` };
    const call = { port, path: '/accounts', ca: as.tls.ca, servername: 'localhost', headers };
    expect((await requestOnce({ ...call, ...owner.tls })).status).toBe(200);
    expect((await requestOnce({ ...call, ...thief.tls })).status).toBe(401);
    await stop(server);
  });

  it('a clock of its own is in tokens and proofs', async () => {
    let time = 1_000_000_000;
    const past = await testAuthorizationServer({ now: () => time });
    const client = await past.client();
    const then = buildApp({ ...past.options, now: () => time });
    const token = await client.token({ scope: 'accounts' }, 'jkt');
    await request(then)
      .get('/accounts')
      .set(await client.prove(token, { url: URL_OF_ROUTE }))
      .expect(200);
    time += 306;
    await request(then)
      .get('/accounts')
      .set(await client.prove(token, { url: URL_OF_ROUTE }))
      .expect(401);
  });
});
