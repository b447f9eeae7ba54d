// What the READMEs of the packages show, compiled. test/docs.test.ts holds them to these lines.
import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:https';
import { fromTls, prepareRequirements, protectedResource } from '@holdfast/core';
import * as forFetch from '@holdfast/core/fetch';
import { nodeRequest, sendRefusal, setFields, upgrade } from '@holdfast/core/node';
import * as forExpress from '@holdfast/express';
import * as forFastify from '@holdfast/fastify';
import { mcp, type McpHandler } from '@holdfast/mcp/fetch';
import { observeDecisions } from '@holdfast/opentelemetry';
import express, { type ErrorRequestHandler } from 'express';
import fastify from 'fastify';
import { WebSocketServer } from 'ws';

export function coreReadme(tls: { cert: string; key: string }): void {
  const sockets = new WebSocketServer({ noServer: true });
  // readme: core
  const resource = protectedResource({ issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() });
  const read = prepareRequirements({ scope: 'accounts:read' });

  const server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, async (request, response) => {
    const result = await resource.verify(nodeRequest(request));
    if (result.granted) setFields(response, result.fields);
    const access = resource.authorize(result, read);
    if (!access.granted) return sendRefusal(response, access);
    response.end(`Hello ${access.claims.sub}`);
  });
  server.on(
    'upgrade',
    upgrade(resource, (request, socket, head, access) => {
      sockets.handleUpgrade(request, socket, head, (webSocket) => {
        const end = () => webSocket.close(1008); // says why; upgrade then ends the connection
        access.signal.addEventListener('abort', end);
        webSocket.once('close', () => access.signal.removeEventListener('abort', end)); // else it keeps the socket
        sockets.emit('connection', webSocket, request, access);
      });
    }),
  );

  const { accessOf, holdfast, requires } = forFetch;
  const protect = holdfast({ issuer: 'https://as.example.com', audience: 'https://api.example.com' });
  const reading = requires({ scope: 'accounts:read' });

  async function handle(request: Request): Promise<Response> {
    const { refusal, apply } = await protect(request);
    if (refusal) return refusal;
    return apply(reading(request) ?? Response.json({ owner: accessOf(request).claims.sub }));
  }
  void handle;
}

export function expressReadme(
  onRefusal: ErrorRequestHandler,
  options: forExpress.ProtectedResourceOptions,
  log: (line: object) => void,
): void {
  const { accessOf, holdfast, requires } = forExpress;
  const app = express();
  // readme: express
  const protect = holdfast({ issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() });
  app.use(protect);
  app.get('/accounts', requires({ scope: 'accounts:read' }), (request, response) => {
    response.json({ owner: accessOf(request).claims.sub });
  });
  const interaction = new AsyncLocalStorage<string>(); // of node:async_hooks
  app.use((request, response, next) => {
    const id = /^[\w-]{1,64}$/.exec(request.get('x-fapi-interaction-id') ?? '')?.[0] ?? randomUUID();
    response.setHeader('x-fapi-interaction-id', id);
    interaction.run(id, next);
  });
  app.use(holdfast({ ...options, onEvent: ({ outcome, reason }) => log({ id: interaction.getStore(), outcome, reason }) }));
  const migrating = holdfast(
    {
      issuer: 'https://as.example.com',
      audience: 'https://api.example.com',
      algorithms: ['RS256'],
      certificate: fromTls(),
      unconstrained: 'accept', // until every client has a bound token
      onEvent: ({ clientId, confirmations }) => void (confirmations?.length === 0 && console.log(`${clientId} has no bound token yet`)),
    },
    { refusals: 'next' },
  );
  app.use('/api', migrating);
  app.use(onRefusal);
}

export function mcpReadme(url: string, transportOf: (request: Request) => { handleRequest: McpHandler }): unknown {
  const { holdfast } = forFetch;
  // readme: mcp
  const protect = holdfast({ issuer: 'https://as.example.com', audience: url, profiles: ['mcp'] });
  const bridge = mcp({ resource: url });

  async function answer(request: Request): Promise<Response> {
    const { refusal, apply } = await protect(request);
    if (refusal) return refusal;
    return apply(await bridge(request, (inner, caller) => transportOf(inner).handleRequest(inner, caller)));
  }
  return answer;
}

export function opentelemetryReadme(): void {
  const { holdfast } = forExpress;
  // readme: opentelemetry
  const stop = observeDecisions(); // after your OpenTelemetry SDK has started
  const protect = holdfast({
    issuer: 'https://as.example.com',
    audience: 'https://api.example.com',
    certificate: fromTls(),
    route: ({ method, target }) => `${method} ${/^\/accounts\/\w+$/.test(target) ? '/accounts/:id' : 'other'}`,
  });
  stop();
  void protect;
}

export async function fastifyReadme(): Promise<void> {
  const { accessOf, holdfast, HoldfastError, holdfastMetadata } = forFastify;
  const app = fastify();
  // readme: fastify
  await app.register(holdfast, { issuer: 'https://as.example.com', audience: 'https://api.example.com', certificate: fromTls() });
  app.get('/accounts', { config: { holdfast: { scope: 'accounts:read' } } }, (request) => ({ owner: accessOf(request).claims.sub }));
  app.get('/health', { config: { holdfast: 'public' } }, () => 'fine');
  const resource = protectedResource({ issuer: 'https://as.example.com', audience: 'https://api.example.com', metadata: true });
  await app.register(holdfastMetadata, { resource });
  await app.register(
    async (api) => {
      await api.register(holdfast, { resource });
    },
    { prefix: '/api' },
  );
  await app.register(holdfast, {
    issuer: 'https://as.example.com',
    audience: 'https://api.example.com',
    certificate: fromTls(),
    unconstrained: 'accept', // until every client has a bound token
    refusals: 'throw',
  });
  app.setErrorHandler((error, request, reply) => {
    if (error instanceof HoldfastError) request.log.info({ reason: error.refusal.rejection.rejected }, 'refused');
    return reply.send(error);
  });
}
