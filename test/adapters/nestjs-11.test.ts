// @holdfast/nestjs as it is installed from npm into an application of NestJS 11, written and compiled as such applications are:
// CommonJS, decorators with their metadata, TypeScript 5. In this workspace it would find Nest 12, whose exceptions are not those
// of Nest 11.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { install, OLDEST_NODE, oldestNode, pack, readJson, root, run, writeFiles } from '../packed.ts';
import { adapterContract, grantedTo, listening } from './contract.ts';
import type * as contractApp from './nestjs-contract-app.ts';

const MINUTE = 60_000;

const COMPILER = {
  module: 'commonjs',
  target: 'es2022',
  outDir: 'dist',
  strict: true,
  skipLibCheck: true,
  emitDecoratorMetadata: true,
  experimentalDecorators: true,
  types: ['node'],
};

/** The oldest that the package names, whose two platforms can be installed side by side; and the newest. */
const VERSIONS = [
  { nest: '11.0.5', fastify: '11.0.5' },
  {
    nest: '11.2.10',
    fastify: '11.2.8',
    beside: {
      '@nestjs/graphql': '13.4.5',
      '@nestjs/mercurius': '13.4.5',
      '@nestjs/microservices': '11.2.6',
      '@nestjs/platform-socket.io': '11.2.6',
      '@nestjs/platform-ws': '11.2.6',
      '@nestjs/websockets': '11.2.6',
      graphql: '16.15.0',
      mercurius: '16.10.1',
    },
  },
];

describe.each(VERSIONS)('In NestJS $nest', ({ nest, fastify, beside }) => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast nest 11 '));
  const tsc = join(folder, 'node_modules', 'typescript', 'bin', 'tsc');

  beforeAll(async () => {
    const tarballs = await pack(['core', 'nestjs'], folder);
    const { devDependencies } = readJson(join(root, 'package.json')) as { readonly devDependencies: Record<string, string> };
    writeFiles(folder, {
      'package.json': JSON.stringify({
        name: 'application',
        private: true,
        dependencies: {
          '@nestjs/common': nest,
          '@nestjs/core': nest,
          '@nestjs/platform-express': nest,
          '@nestjs/platform-fastify': fastify,
          'reflect-metadata': '0.2.2',
          rxjs: '7.8.2',
          ...beside,
          typescript: '5.9.3',
          '@types/node': devDependencies['@types/node'],
          ...Object.fromEntries([...tarballs].map(([name, tarball]) => [`@holdfast/${name}`, `file:${tarball}`])),
        },
      }),
      'tsconfig.json': JSON.stringify({ compilerOptions: COMPILER, include: ['src'] }),
    });
    writeFiles(join(folder, 'src'), { 'main.ts': APPLICATION, ...(beside && { 'beside.ts': BESIDE }) });
    const application = readFileSync(new URL('nestjs-contract-app.ts', import.meta.url), 'utf8');
    // Its types are checked here, with those of Nest 12.
    const compilerOptions = { ...COMPILER, noCheck: true };
    writeFiles(join(folder, 'contract'), { 'application.ts': application, 'tsconfig.json': JSON.stringify({ compilerOptions }) });
    await install(folder);
    await run(process.execPath, [tsc, '-p', 'contract'], folder);
  }, 3 * MINUTE);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  describe.each(['Express', 'Fastify'] as const)('the contract of adapters is met', (platform) => {
    const load = createRequire(join(folder, 'package.json'));
    const start: Parameters<typeof adapterContract>[1] = (contract) =>
      (load('./contract/dist/application.js') as typeof contractApp).start(platform, contract, { grantedTo, listening });
    adapterContract(`on ${platform}`, start, { handsOn: true, allMethods: 'refused', bareRoutes: false, http2: platform === 'Fastify' });
  });

  it.each(beside === undefined ? [] : ['GraphQL, gateways and microservices'])(
    '%s are protected, or do not start',
    async () => {
      await expect(run(process.execPath, [tsc, '-p', '.'], folder)).resolves.toBe('');
      expect(JSON.parse(await run(process.execPath, ['dist/beside.js'], folder))).toEqual({
        graphql: [null, { secret: 'secret of someone' }],
        field: expect.stringMatching(/^HoldfastModule: .*Accounts\.owner: guards run for fields.*fieldResolverEnhancers/),
        gateway: expect.stringMatching(/^HoldfastModule: .*Feed: anybody can connect to a gateway/),
        ws: ['401', 'secret of someone'],
        'socket.io': ['401', '200'],
        microservice: { status: 'error', message: 'Forbidden resource' },
      });
    },
    MINUTE,
  );

  it(
    'an application compiles, and is protected on Express and on Fastify',
    async () => {
      await expect(run(process.execPath, [tsc, '-p', '.'], folder)).resolves.toBe('');
      const answers: unknown = JSON.parse(await run(process.execPath, ['dist/main.js'], folder));
      expect(answers).toEqual({ Express: ANSWERS, Fastify: ANSWERS });
    },
    MINUTE,
  );

  it(
    `is protected on Node ${OLDEST_NODE}, the oldest that is supported`,
    async (context) => {
      const node = await oldestNode(folder);
      if ('missing' in node) return context.skip(node.missing);
      expect(JSON.parse(await run(node.path, ['dist/main.js'], folder))).toEqual({ Express: ANSWERS, Fastify: ANSWERS });
    },
    2 * MINUTE,
  );

  it.each([
    ['commonjs', undefined],
    ['nodenext', 'nodenext'],
  ])(
    'types are there for module: %s, and not any',
    async (module, moduleResolution) => {
      const wrong = [
        "import { HoldfastModule, isHoldfastError } from '@holdfast/nestjs';",
        "HoldfastModule.forRoot({ issuer: 'https://as.example', audience: 1 });",
        'export const text: string = isHoldfastError(0);',
      ].join('\n');
      const compilerOptions = { ...COMPILER, module, ...(moduleResolution && { moduleResolution }), noEmit: true };
      writeFiles(join(folder, module), { 'wrong.ts': wrong, 'tsconfig.json': JSON.stringify({ compilerOptions, include: ['.'] }) });
      const compiled = run(process.execPath, [tsc, '-p', module], folder);
      await expect(compiled).rejects.toThrow(/wrong\.ts\(2,.*TS2(?:322|345|353|769).*wrong\.ts\(3,.*TS2322/s);
    },
    MINUTE,
  );
});

const BEARER = expect.stringMatching(/^Bearer .*realm="https:\/\/api\.example"$/);
const DPOP = expect.stringMatching(/^DPoP realm="https:\/\/api\.example", algs=/);
const ANSWERS = {
  without: [401, [BEARER, DPOP], ''],
  invalid: [401, [BEARER, DPOP], expect.stringMatching(/^\{"error":"invalid_token","error_description":"[^"]+"\}$/)],
  granted: [200, [], '{"sub":"someone"}'],
  scope: [403, [BEARER, DPOP], expect.stringContaining('insufficient_scope')],
  public: [200, [], 'open'],
  publicAccess: [401, ['Bearer realm="holdfast"'], ''],
  early: [401, [BEARER, DPOP], ''],
  rewritten: [418, [BEARER, DPOP], '{"own":"HoldfastException","is":true}'],
};

const APPLICATION = `
import 'reflect-metadata';
import { generateKeyPairSync, sign } from 'node:crypto';
import { get, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type ArgumentsHost, Body, Catch, Controller, type ExceptionFilter, Get, HttpException, Injectable, Module, Post, UseFilters,
} from '@nestjs/common';
import { APP_GUARD, HttpAdapterHost, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  Access, HoldfastGuard, HoldfastMiddleware, HoldfastModule, type HoldfastOptionsFactory, type ProtectedResourceOptions, Public, Requires,
} from '@holdfast/nestjs';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = Math.floor(Date.now() / 1000);
const claims = { iss: 'https://as.example', aud: 'https://api.example', sub: 'someone', scope: 'read', iat: now, exp: now + 60 };
const signed = encode({ alg: 'ES256', typ: 'at+jwt' }) + '.' + encode(claims);
const token = signed + '.' + sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');

@Injectable()
class Settings {
  readonly issuer = 'https://as.example';
}

@Injectable()
class Options implements HoldfastOptionsFactory {
  // Found by the metadata of decorators.
  constructor(private readonly settings: Settings) {}

  createHoldfastOptions(): ProtectedResourceOptions {
    return {
      issuer: this.settings.issuer,
      audience: 'https://api.example',
      unconstrained: 'accept',
      keys: { jwks: { keys: [{ ...(publicKey.export({ format: 'jwk' }) as { kty: 'EC' }), alg: 'ES256' }] } },
    };
  }
}

@Module({ providers: [Settings, Options], exports: [Options] })
class SettingsModule {}

@Catch()
class Rewriting implements ExceptionFilter {
  constructor(private readonly host: HttpAdapterHost) {}

  catch(exception: Error, host: ArgumentsHost): void {
    const body = { own: exception.name, is: exception instanceof HttpException };
    this.host.httpAdapter.reply(host.switchToHttp().getResponse(), body, 418);
  }
}

@Controller()
class Routes {
  @Get('r')
  get(@Access() access: Access): object {
    return { sub: access.claims.sub };
  }

  @Get('write')
  @Requires({ scope: 'write' })
  write(): string {
    return 'written';
  }

  @Get('public')
  @Public()
  open(): string {
    return 'open';
  }

  @Get('public-access')
  @Public()
  nobody(@Access() access: Access): object {
    return access;
  }

  @Get('rewritten')
  @UseFilters(Rewriting)
  rewritten(): string {
    return 'reached';
  }

  @Post('upload')
  upload(@Body() body: object): object {
    return body;
  }
}

@Module({
  imports: [HoldfastModule.forRootAsync({ imports: [SettingsModule], useExisting: Options, ready: true })],
  providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }],
  controllers: [Routes],
})
class AppModule {}

type Answer = [status: number | undefined, challenges: string[], body: string];

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  let body = '';
  for await (const chunk of response) body += chunk;
  const { rawHeaders, statusCode } = response;
  const challenges = rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === 'www-authenticate');
  return [statusCode, challenges, body];
}

async function answersOn(adapter: ExpressAdapter | FastifyAdapter): Promise<Record<string, Answer>> {
  const app = await NestFactory.create(AppModule, adapter, { logger: false, forceCloseConnections: true });
  app.use('/upload', app.get(HoldfastMiddleware).use);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  const ask = (path: string, authorization?: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const headers = authorization === undefined ? {} : { authorization };
      get({ port, host: '127.0.0.1', path, headers }, (response) => void readAnswer(response).then(resolve, reject)).on('error', reject);
    });
  const announce = (path: string): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'content-length': 90_000 };
      const sent = request({ port, host: '127.0.0.1', path, method: 'POST', headers }, (response) =>
        void readAnswer(response).then((answer) => { sent.destroy(); resolve(answer); }, reject),
      );
      sent.on('error', () => {});
      sent.write('{');
    });
  const answers = {
    without: await ask('/r'),
    invalid: await ask('/r', 'Bearer a.b.c'),
    granted: await ask('/r', 'Bearer ' + token),
    scope: await ask('/write', 'Bearer ' + token),
    public: await ask('/public'),
    publicAccess: await ask('/public-access', 'Bearer ' + token),
    early: await announce('/upload'),
    rewritten: await ask('/rewritten'),
  };
  await app.close();
  return answers;
}

void (async () => {
  const answers = { Express: await answersOn(new ExpressAdapter()), Fastify: await answersOn(new FastifyAdapter({ forceCloseConnections: true })) };
  console.log(JSON.stringify(answers));
})();
`;

const BESIDE = `
import 'reflect-metadata';
import { generateKeyPairSync, sign } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { Controller, type INestApplication, Module, type ModuleMetadata, type Type, type WebSocketAdapter } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { Field, GraphQLModule, ObjectType, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius';
import { ClientProxyFactory, MessagePattern, Transport } from '@nestjs/microservices';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import { firstValueFrom } from 'rxjs';
import { Access, HOLDFAST_RESOURCE, HoldfastGuard, HoldfastModule, protectGateways, Public, Requires } from '@holdfast/nestjs';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = Math.floor(Date.now() / 1000);
const claims = { iss: 'https://as.example', aud: 'https://api.example', sub: 'someone', iat: now, exp: now + 60 };
const signed = encode({ alg: 'ES256', typ: 'at+jwt' }) + '.' + encode(claims);
const token = signed + '.' + sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
const authorization = 'Bearer ' + token;

function rootOf(metadata: ModuleMetadata): Type {
  const holdfast = HoldfastModule.forRoot({
    issuer: 'https://as.example',
    audience: 'https://api.example',
    unconstrained: 'accept',
    keys: { jwks: { keys: [{ ...(publicKey.export({ format: 'jwk' }) as { kty: 'EC' }), alg: 'ES256' }] } },
  });
  @Module({
    imports: [holdfast, ...(metadata.imports ?? [])],
    providers: [{ provide: APP_GUARD, useClass: HoldfastGuard }, ...(metadata.providers ?? [])],
    controllers: metadata.controllers ?? [],
  })
  class Root {}
  return Root;
}

@ObjectType()
class Account {
  @Field(() => String)
  owner?: string;
}

@Resolver(() => Account)
class Queries {
  @Query(() => String)
  secret(@Access() access: Access): string {
    return 'secret of ' + access.claims.sub;
  }
}

@Resolver(() => Account)
class Accounts {
  @Query(() => Account)
  @Public()
  account(): Account {
    return {};
  }

  @ResolveField(() => String)
  @Requires({ scope: 'pii' })
  owner(): string {
    return 'somebody';
  }
}

@WebSocketGateway({ path: '/ws' })
class Feed {
  @SubscribeMessage('secret')
  secret(@Access() access: Access): object {
    return { event: 'secret', data: 'secret of ' + access.claims.sub };
  }
}

@Controller()
class Handlers {
  @MessagePattern('secret')
  secret(): string {
    return 'reached';
  }
}

async function serve(root: Type, prepare: (app: INestApplication) => unknown = () => {}): Promise<[INestApplication, number]> {
  const app = await NestFactory.create(root, new FastifyAdapter({ forceCloseConnections: true }), {
    logger: false,
    abortOnError: false,
    forceCloseConnections: true,
  });
  prepare(app);
  await app.listen(0, '127.0.0.1');
  return [app, (app.getHttpServer().address() as AddressInfo).port];
}

const graphql = () => GraphQLModule.forRoot<MercuriusDriverConfig>({ driver: MercuriusDriver, autoSchemaFile: true });
const messageOf = (starting: Promise<unknown>): Promise<string> => starting.then(() => 'started', (error: Error) => error.message);

async function queries(): Promise<unknown> {
  const [app, port] = await serve(rootOf({ imports: [graphql()], providers: [Queries] }));
  const answers: unknown[] = [];
  const each: Record<string, string>[] = [{}, { authorization }];
  for (const headers of each) {
    const sent = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: '{"query":"{ secret }"}' };
    answers.push(((await (await fetch('http://127.0.0.1:' + port + '/graphql', sent)).json()) as { data: unknown }).data);
  }
  await app.close();
  return answers;
}

async function gateway(make: (app: INestApplication) => WebSocketAdapter, ask: (port: number, headers: Record<string, string>) => Promise<string>) {
  const [app, port] = await serve(rootOf({ providers: [Feed] }), (made) =>
    made.useWebSocketAdapter(protectGateways(make(made), made.get(HOLDFAST_RESOURCE))),
  );
  const answers = [await ask(port, {}), await ask(port, { authorization })];
  await app.close();
  return answers;
}

// The client of ws, which comes with Nest's adapter.
interface Client {
  once(event: 'open', listener: () => void): void;
  once(event: 'message', listener: (message: Buffer) => void): void;
  once(event: 'unexpected-response', listener: (request: unknown, response: { readonly statusCode: number }) => void): void;
  once(event: 'error', listener: (error: Error) => void): void;
  send(text: string): void;
}
const { WebSocket: WsClient } = require(require.resolve('ws', { paths: [require.resolve('@nestjs/platform-ws')] })) as {
  WebSocket: new (url: string, options: object) => Client;
};

const overWs = (port: number, headers: Record<string, string>): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = new WsClient('ws://127.0.0.1:' + port + '/ws', { headers });
    socket.once('open', () => socket.send('{"event":"secret"}'));
    socket.once('message', (message) => resolve(JSON.parse(String(message)).data));
    socket.once('unexpected-response', (_request, response) => resolve(String(response.statusCode)));
    socket.once('error', reject);
  });
const overPolling = async (port: number, headers: Record<string, string>): Promise<string> =>
  String((await fetch('http://127.0.0.1:' + port + '/ws/?EIO=4&transport=polling', { headers })).status);

async function microservice(): Promise<unknown> {
  const options = { host: '127.0.0.1', port: 0 };
  const service = await NestFactory.createMicroservice(rootOf({ controllers: [Handlers] }), { transport: Transport.TCP, options, logger: false });
  await service.listen();
  const { port } = (service.unwrap<{ address(): AddressInfo }>()).address();
  const client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host: '127.0.0.1', port } });
  const answer: unknown = await firstValueFrom(client.send('secret', { headers: { authorization } })).catch((error: unknown) => error);
  await client.close();
  await service.close();
  return answer;
}

void (async () => {
  const answers = {
    graphql: await queries(),
    field: await messageOf(serve(rootOf({ imports: [graphql()], providers: [Accounts] }))),
    gateway: await messageOf(serve(rootOf({ providers: [Feed] }), (app) => app.useWebSocketAdapter(new WsAdapter(app)))),
    ws: await gateway((app) => new WsAdapter(app), overWs),
    'socket.io': await gateway((app) => new IoAdapter(app), overPolling),
    microservice: await microservice(),
  };
  console.log(JSON.stringify(answers));
  process.exit();
})();
`;
