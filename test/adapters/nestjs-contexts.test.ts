// Where NestJS calls guards beside routes: GraphQL, gateways, microservices, and what nobody has thought of.
import 'reflect-metadata';
import { once } from 'node:events';
import { createServer } from 'node:http';
import {
  Access,
  HoldfastGuard,
  HoldfastModule,
  type ProtectedResourceOptions,
  protectedResource,
  Public,
  Requires,
} from '@holdfast/nestjs';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import { Controller, Get, type INestApplication, Injectable, Module, type Type, UseGuards } from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import { ExecutionContextHost } from '@nestjs/core/internal';
import {
  Directive,
  Field,
  GraphQLModule,
  ID,
  ObjectType,
  Query,
  ResolveField,
  ResolveReference,
  Resolver,
  Subscription,
} from '@nestjs/graphql';
import {
  MercuriusDriver,
  type MercuriusDriverConfig,
  MercuriusFederationDriver,
  type MercuriusFederationDriverConfig,
} from '@nestjs/mercurius';
import { ClientProxyFactory, MessagePattern, Transport } from '@nestjs/microservices';
import { firstValueFrom } from 'rxjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { AUDIENCE, moduleOf, PLATFORMS, type Platform, serveNest } from './nestjs-app.ts';

const GUARDED = { provide: APP_GUARD, useClass: HoldfastGuard };

let issuer: Issuer;
let token: string;
let key: DpopKey;
const open: INestApplication[] = [];
const reached: string[] = [];
let decisions = 0;

beforeAll(async () => {
  issuer = await startIssuer();
  [token, key] = [await issuer.token(), await generateDpopKey()];
});
afterAll(() => issuer.close());
beforeEach(() => {
  reached.length = 0;
  decisions = 0;
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

const options = (): ProtectedResourceOptions => ({
  issuer: issuer.url,
  audience: AUDIENCE,
  unconstrained: 'accept',
  onEvent: () => (decisions += 1),
});

describe('GraphQL over HTTP (Mercurius)', () => {
  @ObjectType()
  class Account {
    @Field(() => String)
    owner = '';
  }

  @Resolver(() => Account)
  class Accounts {
    @Query(() => Account)
    account(@Access() access: Access): Account {
      reached.push('account');
      return { owner: access.claims.sub ?? '' };
    }

    @Query(() => String)
    @Public()
    hello(): string {
      return 'hello';
    }

    @Query(() => String)
    @Public()
    nobody(@Access() access: Access): string {
      return access.issuer;
    }

    @Subscription(() => String)
    ticks(): AsyncIterable<object> {
      reached.push('ticks');
      return (async function* ticks() {
        yield { ticks: 'tick' };
      })();
    }
  }

  async function start(config: Partial<MercuriusDriverConfig> = {}): Promise<string> {
    const root = moduleOf({
      imports: [
        HoldfastModule.forRoot(options()),
        GraphQLModule.forRoot<MercuriusDriverConfig>({ driver: MercuriusDriver, autoSchemaFile: true, ...config }),
      ],
      providers: [GUARDED, Accounts],
    });
    const { app, port } = await serveNest('Fastify', root);
    open.push(app);
    return `http://127.0.0.1:${port}/graphql`;
  }
  const query = (url: string, text: string, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ query: text }) });

  it('grants and refuses operations as it does routes, with the fields on the response', async () => {
    const url = await start();
    const refused = await query(url, '{ account { owner } }');
    const { data, errors } = await refused.json();
    expect([data, errors.length, reached]).toEqual([null, 1, []]);
    expect(refused.headers.get('www-authenticate')).toMatch(/^Bearer realm="https:\/\/rs\.example\.com", DPoP realm=/);
    const granted = await query(url, '{ account { owner } }', { authorization: `Bearer ${token}` });
    expect(await granted.json()).toEqual({ data: { account: { owner: 'user-1' } } });
    const hello = await query(url, '{ hello }');
    expect(await hello.json()).toEqual({ data: { hello: 'hello' } });
    const nobody = await (await query(url, '{ nobody }', { authorization: `Bearer ${token}` })).json();
    expect([nobody.data, nobody.errors.length]).toEqual([null, 1]);
  });

  it('judges a request once, however many operations it has: a proof does for all of them', async () => {
    const url = await start();
    const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
    const proof = makeProof({ key, token: bound, htm: 'POST', htu: `${AUDIENCE}/graphql`, iat: Math.floor(Date.now() / 1000) });
    const headers = { authorization: `DPoP ${bound}`, dpop: proof };
    const twice = '{ one: account { owner } two: account { owner } }';
    expect(await (await query(url, twice, headers)).json()).toEqual({ data: { one: { owner: 'user-1' }, two: { owner: 'user-1' } } });
    expect([decisions, reached]).toEqual([1, ['account', 'account']]);
    const again = await query(url, twice, headers);
    expect([(await again.json()).data, again.headers.get('www-authenticate')]).toEqual([
      null,
      expect.stringContaining('invalid_dpop_proof'),
    ]);
  });

  it.each([
    ['as it comes', true],
    ['with the request of the handshake in its context', { context: (_connection: unknown, req: object) => ({ req }) }],
    ['with what the client sent as the request', { onConnect: ({ payload }: { payload: object }) => ({ req: payload }) }],
  ] as const)('refuses subscriptions over a WebSocket, %s', async (_, subscription) => {
    const url = await start({ subscription: subscription as MercuriusDriverConfig['subscription'] & object });
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-transport-ws', { headers: { authorization: `Bearer ${token}` } });
    const messages: { type: string; payload?: unknown }[] = [];
    socket.on('message', (message: Buffer) => messages.push(JSON.parse(message.toString())));
    await once(socket, 'open');
    const forged = { rawHeaders: ['Authorization', `Bearer ${token}`], socket: {}, method: 'GET', url: '/graphql' };
    socket.send(JSON.stringify({ type: 'connection_init', payload: forged }));
    await expect.poll(() => messages).toMatchObject([{ type: 'connection_ack' }]);
    socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: 'subscription { ticks }' } }));
    await expect.poll(() => messages.length).toBe(2);
    expect([messages[1]?.type, reached]).toEqual(['error', []]);
    socket.terminate();
  });
});

describe('fields and references of GraphQL (Mercurius)', () => {
  @ObjectType('Entity')
  @Directive('@key(fields: "id")')
  class Entity {
    @Field(() => ID)
    id = '';

    @Field(() => String)
    secret?: string;
  }

  const nothing = (): void => {};
  /** A public query, a field and a reference, where these decorators stand. */
  function resolver({
    field = nothing,
    reference = nothing,
    type = nothing,
  }: Partial<Record<'field' | 'reference' | 'type', Function>>): Type {
    const [onField, onReference, onType] = [field as MethodDecorator, reference as MethodDecorator, type as ClassDecorator];
    @Resolver(() => Entity)
    @onType
    class Entities {
      @Query(() => Entity)
      @Public()
      entity(): Entity {
        return { id: '1' };
      }

      @ResolveField(() => String)
      @onField
      secret(): string {
        reached.push('secret');
        return 'the secret';
      }

      @ResolveReference()
      @onReference
      resolve({ id }: Entity): Entity {
        reached.push('reference');
        return { id };
      }
    }
    return Entities;
  }

  type Config = Partial<MercuriusDriverConfig>;
  interface Place {
    readonly federated?: boolean;
    readonly providers?: object[];
  }
  async function start(resolvers: Type, config: Config = {}, { federated = false, providers = [GUARDED] }: Place = {}): Promise<string> {
    const graphql = federated
      ? GraphQLModule.forRoot<MercuriusFederationDriverConfig>({
          driver: MercuriusFederationDriver,
          autoSchemaFile: { federation: 2 },
          ...config,
        })
      : GraphQLModule.forRoot<MercuriusDriverConfig>({ driver: MercuriusDriver, autoSchemaFile: true, ...config });
    const root = moduleOf({ imports: [HoldfastModule.forRoot(options()), graphql], providers: [...(providers as Type[]), resolvers] });
    const { app, port } = await serveNest('Fastify', root);
    open.push(app);
    return `http://127.0.0.1:${port}/graphql`;
  }
  const ask = async (url: string, text: string, presented?: string): Promise<unknown> => {
    const headers = { 'content-type': 'application/json', ...(presented !== undefined && { authorization: `Bearer ${presented}` }) };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query: text }) });
    const { data } = await response.json();
    return data;
  };
  const FIELD = '{ entity { secret } }';
  const REFERENCE = '{ _entities(representations: [{ __typename: "Entity", id: "7" }]) { ... on Entity { id } } }';
  const GUARDS: Config = { fieldResolverEnhancers: ['guards'] };
  const WITH_REQUEST: Config = { context: (req: object, reply: object) => ({ req, reply }) };
  const FEDERATED: Place = { federated: true };

  it.each([
    ['@Requires on a field', resolver({ field: Requires({ scope: 'pii' }), reference: Public() }), 'Entities.secret'],
    ['@UseGuards on a field', resolver({ field: UseGuards(HoldfastGuard), reference: Public() }), 'Entities.secret'],
    ['@Requires on the class', resolver({ type: Requires({ scope: 'pii' }), reference: Public() }), 'Entities.secret'],
    ['a reference that nothing stands on', resolver({}), 'Entities.resolve'],
    ['@Requires on both', resolver({ type: Requires({ scope: 'pii' }) }), 'Entities.secret, Entities.resolve'],
  ])('that Nest would not ask the guard for stop the start, by name: %s', async (_, resolvers, names) => {
    const stopped = `HoldfastModule: the guard would not be asked. ${names}: guards run for fields and references only where GraphQLModule.forRoot({ fieldResolverEnhancers: ['guards'] })`;
    for (const enhancers of [{}, { fieldResolverEnhancers: ['interceptors'] } as const]) {
      await expect(start(resolvers, enhancers as Config)).rejects.toThrow(stopped);
      await expect(start(resolvers, { ...WITH_REQUEST, ...enhancers } as Config, FEDERATED)).rejects.toThrow(stopped);
    }
    await expect(start(resolvers, GUARDS)).resolves.toMatch(/^http/);
  });

  it('that are @Public, or in an application without our guard, need nothing', async () => {
    const url = await start(resolver({ reference: Public() }), {}, FEDERATED);
    expect(await ask(url, FIELD)).toEqual({ entity: { secret: 'the secret' } });
    expect(await ask(url, REFERENCE)).toEqual({ _entities: [{ id: '7' }] });
    expect(await ask(await start(resolver({}), {}, { ...FEDERATED, providers: [] }), REFERENCE)).toEqual({ _entities: [{ id: '7' }] });
  });

  it('are protected with fieldResolverEnhancers, each by what stands on it, below a public query as well', async () => {
    const url = await start(resolver({ field: Requires({ scope: 'pii' }) }), { ...GUARDS, ...WITH_REQUEST }, FEDERATED);
    const [reading, allowed] = [await issuer.token({ scope: 'read' }), await issuer.token({ scope: 'read pii' })];
    expect([await ask(url, FIELD), await ask(url, FIELD, reading)]).toEqual([null, null]);
    expect([await ask(url, REFERENCE), reached]).toEqual([{ _entities: [null] }, []]);
    expect(await ask(url, FIELD, allowed)).toEqual({ entity: { secret: 'the secret' } });
    expect(await ask(url, REFERENCE, reading)).toEqual({ _entities: [{ id: '7' }] });
    expect(reached).toEqual(['secret', 'reference']);
  });

  it('of a federation whose context has no request are refused, with a token too', async () => {
    const url = await start(resolver({ field: Requires({ scope: 'pii' }) }), GUARDS, FEDERATED);
    const allowed = await issuer.token({ scope: 'read pii' });
    expect([await ask(url, FIELD, allowed), await ask(url, REFERENCE, allowed), reached]).toEqual([null, { _entities: [null] }, []]);
  });
});

describe('a microservice (TCP)', () => {
  @Controller()
  class Handlers {
    @MessagePattern('open to APP_GUARD')
    plain(): string {
      reached.push('plain');
      return 'plain';
    }

    @MessagePattern('guarded')
    @UseGuards(HoldfastGuard)
    guarded(): string {
      reached.push('guarded');
      return 'guarded';
    }

    @MessagePattern('public')
    @UseGuards(HoldfastGuard)
    @Public()
    open(): string {
      return 'open';
    }

    @Get('r')
    get(): string {
      return 'reached';
    }
  }

  async function freePort(): Promise<number> {
    const server = createServer();
    const port = await listen(server);
    await stop(server);
    return port;
  }

  async function send(port: number, pattern: string): Promise<unknown> {
    const client = ClientProxyFactory.create({ transport: Transport.TCP, options: { host: '127.0.0.1', port } });
    const message = { headers: { authorization: `Bearer ${token}` }, rawHeaders: ['Authorization', `Bearer ${token}`], socket: {} };
    try {
      return await firstValueFrom(client.send(pattern, message));
    } catch (error) {
      return error;
    } finally {
      await client.close();
    }
  }
  const forbidden = { status: 'error', message: 'Forbidden resource' };
  const root = (): Type => moduleOf({ imports: [HoldfastModule.forRoot(options())], providers: [GUARDED], controllers: [Handlers] });

  it.each([true, false])('in a hybrid application with inheritAppConfig: %s', async (inheritAppConfig) => {
    const port = await freePort();
    const { app } = await serveNest('Express', root(), async (made) => {
      made.connectMicroservice({ transport: Transport.TCP, options: { host: '127.0.0.1', port } }, { inheritAppConfig });
      await made.startAllMicroservices();
    });
    open.push(app);
    expect([await send(port, 'guarded'), await send(port, 'public'), reached]).toEqual([forbidden, 'open', []]);
    // Nest does not ask the guards of the application there unless it is told to: no guard of ours could.
    expect(await send(port, 'open to APP_GUARD')).toEqual(inheritAppConfig ? forbidden : 'plain');
  });

  it('in a hybrid application is warned of at the start, by the handlers that only APP_GUARD could protect', async () => {
    const warnings: unknown[] = [];
    const logger = { log() {}, error() {}, warn: (message: unknown) => void warnings.push(message) };
    const app = await NestFactory.create(root(), { logger });
    open.push(app);
    await app.init();
    expect(warnings).toEqual([expect.stringMatching(/^Handlers\.plain: for messages of a hybrid application .*inheritAppConfig: true/)]);
  });

  it('alone has its messages refused', async () => {
    const port = await freePort();
    const service = await NestFactory.createMicroservice(root(), {
      transport: Transport.TCP,
      options: { host: '127.0.0.1', port },
      logger: false,
    });
    await service.listen();
    expect([await send(port, 'open to APP_GUARD'), await send(port, 'guarded'), reached]).toEqual([forbidden, forbidden, []]);
    await service.close();
  });
});

describe('the guard', () => {
  @Controller()
  class Anything {}
  const handler = (): void => {};

  /** What Nest hands a guard. */
  const contextOf = (type: string, args: unknown[]): ExecutionContextHost => {
    const context = new ExecutionContextHost(args, Anything, handler);
    context.setType(type);
    return context;
  };

  it.each([
    ['an http context whose request came as data', 'http', (forged: object) => [forged, {}]],
    ['an http context without arguments', 'http', () => []],
    ['a graphql context whose request came as data', 'graphql', (forged: object) => [{}, {}, { req: forged }, {}]],
    ['a graphql context without request', 'graphql', () => [{}, {}, {}, {}]],
    ['a graphql context that is none', 'graphql', () => [undefined, undefined, undefined, undefined]],
    ['arguments of the client in place of the context', 'graphql', (forged: object) => [{}, { req: forged }, {}, {}]],
    ['a reference without arguments, whose request came as data', 'graphql', (forged: object) => [{}, { req: forged }, {}]],
    ['a message of a queue', 'rmq', (forged: object) => [forged, {}]],
    ['a bot', 'necord', (forged: object) => [forged]],
  ])('refuses %s: what a client sends is never taken for a request', async (_, type, argsOf) => {
    const guard = new HoldfastGuard(protectedResource(options()));
    const forged = {
      rawHeaders: ['Authorization', `Bearer ${token}`],
      method: 'GET',
      url: '/r',
      socket: { remoteAddress: '10.1.2.3', encrypted: true },
      pipe: 'pipe',
      raw: { rawHeaders: [], socket: {}, pipe: {} },
    };
    expect(await guard.canActivate(contextOf(type, argsOf(forged)))).toBe(false);
    expect(decisions).toBe(0);
  });

  it('finds the request of Express in the context of Apollo, and of a reference resolver, and nowhere else', async () => {
    const guard = new HoldfastGuard(protectedResource(options()));
    const granted: unknown[] = [];
    const server = createServer((req, res) => {
      void (async () => {
        for (const args of [
          [{}, {}, { req, res }, {}],
          [{ __typename: 'Account' }, { req, res }, {}],
        ])
          for (const type of ['graphql', 'rmq', 'ws', 'rpc', 'http']) granted.push(await guard.canActivate(contextOf(type, args)));
        res.end();
      })();
    });
    const port = await listen(server);
    await fetch(`http://127.0.0.1:${port}/r`, { headers: { authorization: `Bearer ${token}` } });
    await stop(server);
    const onlyGraphql = [true, false, false, false, false];
    expect([granted, decisions]).toEqual([[...onlyGraphql, ...onlyGraphql], 1]);
  });

  it.each(Object.keys(PLATFORMS) as Platform[])(
    'on %s works in a guard of the application that asks it, as mixed applications do',
    async (platform) => {
      @Injectable()
      class TokenOrKey {
        readonly #guard: HoldfastGuard;
        constructor(guard: HoldfastGuard) {
          this.#guard = guard;
        }
        async canActivate(context: ExecutionContextHost): Promise<boolean> {
          const { headers } = context.switchToHttp().getRequest<{ headers: Record<string, string> }>();
          return headers['x-api-key'] === 'letmein' || (await this.#guard.canActivate(context));
        }
      }
      Reflect.defineMetadata('design:paramtypes', [HoldfastGuard], TokenOrKey);
      @Controller()
      class Routes {
        @Get('r')
        get(): string {
          return 'reached';
        }
      }
      @Module({
        imports: [HoldfastModule.forRoot(options())],
        providers: [HoldfastGuard, { provide: APP_GUARD, useClass: TokenOrKey }],
        controllers: [Routes],
      })
      class Root {}
      const { app, ask } = await serveNest(platform, Root);
      open.push(app);
      expect((await ask('/r')).status).toBe(401);
      expect((await ask('/r', { token })).body).toBe('reached');
      expect((await ask('/r', { lines: ['X-Api-Key: letmein'] })).body).toBe('reached');
    },
  );
});
