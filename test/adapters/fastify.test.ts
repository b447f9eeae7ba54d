import { Readable } from 'node:stream';
import { accessOf, holdfast, maybeAccessOf, protectedResource, requires } from '@holdfast/fastify';
import fastify, { type FastifyInstance } from 'fastify';
import { adapterContract, type ContractApp, grantedTo, type RunningServer } from './contract.ts';

adapterContract('Fastify 5', startFastify, { http2: true, handsOn: true });

async function startFastify(contract: ContractApp): Promise<RunningServer> {
  const { options, other, reached, stream, tls, http2 } = contract;
  const https = { ...tls, requestCert: true, rejectUnauthorized: false };
  const app = (http2
    ? fastify({ http2: true, https: { ...https, allowHTTP1: true }, forceCloseConnections: true })
    : fastify({ https, forceCloseConnections: true })) as unknown as FastifyInstance;
  const refusals = contract.refusals === 'answered' ? 'respond' : 'throw';
  const resource = protectedResource(options);
  app.setErrorHandler((error, _request, reply) => {
    reply.header('X-Own', '1');
    throw error;
  });

  app.get('/open', async () => {
    reached('/open');
    return 'open';
  });
  const route = (path: string) => async (request: Parameters<typeof accessOf>[0]) => {
    reached(path);
    return grantedTo(accessOf(request));
  };
  app.get('/bare/write', { preHandler: requires({ scope: 'write' }) }, route('/bare/write'));
  app.get('/bare/access', route('/bare/access'));

  await app.register(
    async (api) => {
      await api.register(holdfast, { resource, refusals });
      api.addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
      api.get('/r', route('/api/r'));
      api.post('/r', route('/api/r'));
      api.options('/r', async (_request, reply) => {
        reached('/api/r');
        return reply.code(204).send();
      });
      api.get('/maybe', async (request, reply) => {
        reached('/api/maybe');
        return reply.type('application/json').send(JSON.stringify(grantedTo(maybeAccessOf(request))));
      });
      api.get('/write', { config: { holdfast: { scope: 'write' } } }, route('/api/write'));
      api.post('/upload', { bodyLimit: 2 ** 31 }, async ({ body }) => {
        reached('/api/upload');
        let length = 0;
        if (body instanceof Readable) for await (const chunk of body) length += Buffer.from(chunk).length;
        return length;
      });
      api.get('/stream', async (_request, reply) => {
        reached('/api/stream');
        return reply.send(stream());
      });
      api.get('/throws', async () => {
        reached('/api/throws');
        throw new Error('of the application');
      });
    },
    { prefix: '/api' },
  );
  await app.register(async (twice) => {
    await twice.register(holdfast, { resource, refusals });
    await twice.register(holdfast, { resource, refusals });
    twice.get('/twice/r', route('/twice/r'));
  });
  await app.register(async (both) => {
    await both.register(holdfast, { resource, refusals });
    await both.register(holdfast, { ...other, refusals });
    both.get('/both/r', route('/both/r'));
  });
  await app.register(async (answered) => {
    answered.addHook('onRequest', (_request, reply, done) => {
      reply.code(408).send('late');
      done();
    });
    await answered.register(holdfast, { resource, refusals });
    answered.get('/answered/r', route('/answered/r'));
  });

  await app.listen({ port: 0, host: '127.0.0.1' });
  const address = app.server.address();
  if (address === null || typeof address === 'string') throw new Error('Fastify listens on no port');
  return { port: address.port, close: () => app.close() };
}
