// What the contract of adapters does not say: how Holdfast stands in an application of NestJS 12, on Express and on Fastify.
import 'reflect-metadata';
import { createServer, type ServerResponse } from 'node:http';
import { inspect } from 'node:util';
import {
  Access,
  accessOf,
  fromTls,
  HOLDFAST_RESOURCE,
  HoldfastException,
  HoldfastGuard,
  HoldfastMiddleware,
  HoldfastModule,
  type HoldfastOptionsFactory,
  MaybeAccess,
  maybeAccessOf,
  type ProtectedResource,
  type ProtectedResourceOptions,
  protectedResource,
  Public,
  Requires,
  type ResourceEvent,
} from '@holdfast/nestjs';
import { type DpopKey, generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import { type Issuer, startIssuer } from '@holdfast/test-support/issuer';
import { listen, stop } from '@holdfast/test-support/loopback';
import {
  All,
  type ArgumentsHost,
  Body,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Get,
  Header,
  type INestApplication,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  Options,
  Post,
  Req,
  RequestMethod,
  Scope,
  Sse,
  type Type,
  UseFilters,
  UseGuards,
  Version,
  VersioningType,
} from '@nestjs/common';
import { APP_GUARD, APP_INTERCEPTOR, HttpAdapterHost, NestFactory, REQUEST } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import express from 'express';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { concat, from, fromEvent, NEVER, type Observable, takeUntil } from 'rxjs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { AUDIENCE, askingAt, moduleOf, type Platform, PLATFORMS, type Served, serveNest } from './nestjs-app.ts';

const GUARDED = { provide: APP_GUARD, useClass: HoldfastGuard };
const UNPROTECTED = [{ scheme: 'Bearer', parameters: { realm: 'holdfast' } }];

let issuer: Issuer;
let token: string;
let writing: string;
let key: DpopKey;
const open: INestApplication[] = [];

beforeAll(async () => {
  issuer = await startIssuer();
  [token, writing, key] = [await issuer.token(), await issuer.token({ scope: 'read write' }), await generateDpopKey()];
});
afterAll(() => issuer.close());
afterEach(async () => {
  await Promise.all(open.splice(0).map((app) => app.close()));
});

const options = (changes: Partial<ProtectedResourceOptions> = {}): ProtectedResourceOptions => ({
  issuer: issuer.url,
  audience: AUDIENCE,
  unconstrained: 'accept',
  ...changes,
});

async function serve(platform: Platform, root: Type, prepare?: Parameters<typeof serveNest>[2]): Promise<Served> {
  const served = await serveNest(platform, root, prepare);
  open.push(served.app);
  return served;
}

/** An application where the guard stands before everything. */
const guarded = (controllers: Type[], changes?: Partial<ProtectedResourceOptions>): Type =>
  moduleOf({ imports: [HoldfastModule.forRoot(options(changes))], providers: [GUARDED], controllers });

const platforms = Object.keys(PLATFORMS) as Platform[];

describe.each(platforms)('on %s', (platform) => {
  const statuses = async ({ ask }: Served, paths: readonly string[], sent = {}): Promise<Record<string, number>> =>
    Object.fromEntries(await Promise.all(paths.map(async (path) => [path, (await ask(path, sent)).status])));

  describe('the guard', () => {
    @Controller()
    class Whole {
      @Get('whole')
      get(@Access() access: Access): object {
        return { sub: access.claims.sub };
      }
    }
    UseGuards(HoldfastGuard)(Whole);

    @Controller()
    class Part {
      @Get('one')
      @UseGuards(HoldfastGuard)
      one(@Req() request: object): object {
        return { sub: accessOf(request).claims.sub };
      }

      @Get('other')
      other(): string {
        return 'open';
      }
    }

    it('lets a preflight through to a route for OPTIONS, and never to one for all methods', async () => {
      const reached: string[] = [];
      @Controller()
      class Both {
        @All('all')
        all(): string {
          reached.push('all');
          return 'secret';
        }

        @Options('options')
        options(): string {
          reached.push('options');
          return 'preflight';
        }
      }
      const sent = { method: 'OPTIONS', lines: ['Origin: https://evil.example', 'Access-Control-Request-Method: GET'] };
      const events: ResourceEvent[] = [];
      const served = await serve(platform, guarded([Both], { onEvent: (event) => events.push(event) }));
      expect(await statuses(served, ['/all', '/options'], sent)).toEqual({ '/all': 401, '/options': 200 });
      expect(events.map(({ reason }) => reason)).toEqual(['request.no_credentials']);
      expect(reached).toEqual(['options']);
      const withCors = await serve(platform, guarded([Both]), (app) => app.enableCors({ origin: true }));
      expect(await statuses(withCors, ['/all'], sent)).toEqual({ '/all': 204 });
      // Where credentials are optional, that is what they are for.
      const optional = await serve(platform, guarded([Both], { credentials: 'optional' }));
      expect(await statuses(optional, ['/all'], sent)).toEqual({ '/all': 200 });
    });

    it('protects a controller, or a route and none beside it', async () => {
      const served = await serve(platform, moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Whole, Part] }));
      expect(await statuses(served, ['/whole', '/one', '/other'])).toEqual({ '/whole': 401, '/one': 401, '/other': 200 });
      for (const path of ['/whole', '/one']) expect((await served.ask(path, { token })).body).toBe('{"sub":"user-1"}');
    });

    it.each([
      ['useClass', [GUARDED]],
      ['useExisting', [HoldfastGuard, { provide: APP_GUARD, useExisting: HoldfastGuard }]],
      ['useFactory', [{ provide: APP_GUARD, useFactory: (r: ProtectedResource) => new HoldfastGuard(r), inject: [HOLDFAST_RESOURCE] }]],
    ])('protects everything as APP_GUARD with %s', async (_, providers) => {
      const root = moduleOf({ imports: [HoldfastModule.forRoot(options())], providers, controllers: [Whole, Part] });
      const served = await serve(platform, root);
      const paths = ['/whole', '/one', '/other'];
      expect(await statuses(served, paths)).toEqual({ '/whole': 401, '/one': 401, '/other': 401 });
      expect(await statuses(served, paths, { token })).toEqual({ '/whole': 200, '/one': 200, '/other': 200 });
    });

    it('protects everything with useGlobalGuards', async () => {
      const root = moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Part] });
      const served = await serve(platform, root, (app) => app.useGlobalGuards(new HoldfastGuard(app.get(HOLDFAST_RESOURCE))));
      expect(await statuses(served, ['/other'])).toEqual({ '/other': 401 });
    });

    it('PRM-03 leaves the metadata of the resource to anybody, signed or not, and names it in challenges', async () => {
      const target = '/.well-known/oauth-protected-resource';
      const { privateKey } = await generateKeyPair('ES256', { extractable: true });
      const signingKey = { ...(await exportJWK(privateKey)), alg: 'ES256' };
      for (const metadata of [true, { signingKey }]) {
        const served = await serve(platform, guarded([Whole], { metadata }));
        const document = await served.ask(target);
        expect(document.status).toBe(200);
        expect(JSON.parse(document.body)).toMatchObject({ resource: AUDIENCE, authorization_servers: [issuer.url] });
        expect(document.body.includes('signed_metadata')).toBe(metadata !== true);
        const { challenges } = await served.ask('/whole');
        expect(challenges[0]?.parameters['resource_metadata']).toBe(AUDIENCE + target);
        expect((await served.ask('/whole', { token })).status).toBe(200);
      }
      const silent = await serve(platform, guarded([Whole]));
      expect((await silent.ask(target)).body).not.toContain('authorization_servers');
    });

    it('without a resource stops the start: in a route, and by @Requires', async () => {
      @Controller()
      class Bare {
        @Get('bare')
        @Requires({ scope: 'read' })
        get(): string {
          return 'open';
        }
      }
      await expect(serve(platform, moduleOf({ controllers: [Part] }))).rejects.toThrow(/can't resolve dependencies of the HoldfastGuard/i);
      await expect(serve(platform, moduleOf({ controllers: [Bare] }))).rejects.toThrow(/can't resolve dependencies of the HoldfastGuard/i);
    });

    it('protects every spelling of a route: case, escapes, prefix, versions, wildcards', async () => {
      @Controller('Files')
      class Files {
        @Get(platform === 'Fastify' ? '*' : '*path')
        file(): string {
          return 'file';
        }

        @Version('2')
        @Get('Item')
        item(): string {
          return 'item';
        }
      }
      const served = await serve(platform, guarded([Files]), (app) =>
        app.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI, defaultVersion: ['1', '2'] }),
      );
      expect((await served.ask('/api/v1/Files/a/b', { token })).body).toBe('file');
      expect((await served.ask('/api/v2/Files/Item', { token })).status).toBe(200);
      const paths = [
        '/api/v1/Files/a',
        '/api/v1/files/a',
        '/API/V1/FILES/a',
        '/api/v1/Fil%65s/a',
        '/api/v2/Files/Item',
        '/api//v1/Files/a',
        '/api/v1/Files/../Files/a',
      ];
      for (const path of paths) expect([401, 404], path).toContain((await served.ask(path)).status);
      expect((await served.ask('/api/v1/Files/a')).status).toBe(401);
      expect((await served.ask('/api/v2/Files/Item')).status).toBe(401);
    });

    it.each([
      ['header', { type: VersioningType.HEADER, header: 'X-Version' } as const, 'X-Version: 2'],
      ['media type', { type: VersioningType.MEDIA_TYPE, key: 'v=' } as const, 'Accept: application/json;v=2'],
    ])('protects versions by %s, each by what stands on it', async (_, versioning, line) => {
      @Controller('r')
      class Versions {
        @Version('1')
        @Public()
        @Get()
        first(): string {
          return 'first';
        }

        @Version('2')
        @Get()
        second(): string {
          return 'second';
        }
      }
      const { ask } = await serve(platform, guarded([Versions]), (app) => app.enableVersioning({ ...versioning, defaultVersion: '1' }));
      const first = line.replace('2', '1');
      expect((await ask('/r', { lines: [first] })).body).toBe('first');
      expect((await ask('/r', { lines: [line] })).status).toBe(401);
      expect((await ask('/r', { lines: [line], token })).body).toBe('second');
    });

    it('reads the target as the client wrote it, whatever middleware of the application makes of it', async () => {
      @Controller('things')
      class Things {
        @Get()
        get(@Access() access: Access): object {
          return access.confirmations.map(({ member }) => member);
        }
      }
      const { ask } = await serve(platform, guarded([Things]), (app) =>
        app.setGlobalPrefix('api').use((request: { url: string; originalUrl: string }, _response: unknown, next: () => void) => {
          request.originalUrl = '/elsewhere';
          next();
        }),
      );
      const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const proof = (htu: string): string => makeProof({ key, token: bound, htu, iat: Math.floor(Date.now() / 1000) });
      const send = async (htu: string): Promise<number> =>
        (await ask('/api/things', { lines: [`Authorization: DPoP ${bound}`, `DPoP: ${proof(htu)}`] })).status;
      expect(await send(`${AUDIENCE}/api/things`)).toBe(200);
      expect([await send(`${AUDIENCE}/things`), await send(`${AUDIENCE}/elsewhere`)]).toEqual([401, 401]);
    });

    it('EDG-06 takes a proof for the whole path where a global prefix and a version stand before the route', async () => {
      @Controller({ path: 'things', version: '2' })
      class Things {
        @Get(':id')
        get(@Access() access: Access): object {
          return access.confirmations.map(({ member }) => member);
        }
      }
      const { ask } = await serve(platform, guarded([Things]), (app) =>
        app.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI }),
      );
      const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const send = async (htu: string, target = '/api/v2/things/1'): Promise<number> => {
        const proof = makeProof({ key, token: bound, htu: `${AUDIENCE}${htu}`, iat: Math.floor(Date.now() / 1000) });
        return (await ask(target, { lines: [`Authorization: DPoP ${bound}`, `DPoP: ${proof}`] })).status;
      };
      expect([await send('/api/v2/things/1'), await send('/api/v2/things/1', '/api/v2/things/1?q=1')]).toEqual([200, 200]);
      for (const htu of ['/v2/things/1', '/api/things/1', '/things/1', '/api/v1/things/1'])
        expect([htu, await send(htu)]).toEqual([htu, 401]);
    });

    it('ignores what others write on the request, and whether a guard before it agrees', async () => {
      @Injectable()
      class Theirs implements CanActivate {
        canActivate(context: ExecutionContext): boolean {
          const user = { sub: 'admin', scope: 'read write' };
          Object.assign(context.switchToHttp().getRequest(), { user, auth: { payload: user }, access: { granted: true, claims: user } });
          return true;
        }
      }
      @Controller()
      @UseGuards(Theirs)
      class Routes {
        @Get('r')
        @Requires({ scope: 'write' })
        get(): string {
          return 'reached';
        }

        @Get('open')
        @Public()
        open(@Access() access: Access): object {
          return access;
        }
      }
      const served = await serve(platform, moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Routes] }));
      expect(await statuses(served, ['/r', '/open'])).toEqual({ '/r': 401, '/open': 401 });
      expect((await served.ask('/r', { token })).status).toBe(403);
    });

    it('has decided before guards, interceptors and pipes of the route run', async () => {
      const seen: string[] = [];
      @Injectable()
      class Roles implements CanActivate {
        canActivate(context: ExecutionContext): boolean {
          seen.push(accessOf(context.switchToHttp().getRequest<object>()).claims.sub ?? '');
          return true;
        }
      }
      @Injectable()
      class Log implements NestInterceptor {
        intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
          seen.push(`interceptor ${accessOf(context.switchToHttp().getRequest<object>()).claims.sub}`);
          return next.handle();
        }
      }
      @Controller()
      class Routes {
        @Get('r')
        @UseGuards(Roles)
        get(): string {
          return 'reached';
        }
      }
      const root = moduleOf({
        imports: [HoldfastModule.forRoot(options())],
        providers: [GUARDED, { provide: APP_INTERCEPTOR, useClass: Log }],
        controllers: [Routes],
      });
      const { ask } = await serve(platform, root);
      expect([(await ask('/r')).status, seen]).toEqual([401, []]);
      expect([(await ask('/r', { token })).body, seen]).toEqual(['reached', ['user-1', 'interceptor user-1']]);
    });

    it('protects controllers of request scope, which find access when a route runs, and behind the middleware from the beginning', async () => {
      @Controller({ path: 'r', scope: Scope.REQUEST })
      class Scoped {
        readonly #request: object;
        constructor(request: object) {
          this.#request = request;
        }
        @Get()
        get(): object {
          return { sub: accessOf(this.#request).claims.sub };
        }
      }
      @Controller({ path: 'early', scope: Scope.REQUEST })
      class Early {
        readonly #sub: string | undefined;
        constructor(request: object) {
          this.#sub = accessOf(request).claims.sub;
        }
        @Get()
        get(): object {
          return { sub: this.#sub };
        }
      }
      for (const controller of [Scoped, Early]) Inject(REQUEST)(controller, undefined, 0);
      const late = await serve(platform, guarded([Scoped, Early]));
      expect(await statuses(late, ['/r', '/early'])).toEqual({ '/r': 401, '/early': 401 });
      // Nest makes such a controller before its guards run.
      expect(await statuses(late, ['/r', '/early'], { token })).toEqual({ '/r': 200, '/early': 401 });
      const early = await serve(platform, guarded([Scoped, Early]), (app) => app.use(app.get(HoldfastMiddleware).use));
      expect(await statuses(early, ['/r', '/early'], { token })).toEqual({ '/r': 200, '/early': 200 });
    });

    it('does not let a route run where somebody has answered before it', async () => {
      let reached = 0;
      @Controller()
      class Answered {
        @Get('answered')
        get(): string {
          reached += 1;
          return 'reached';
        }
      }
      const late = (_request: unknown, response: ServerResponse, next: () => void): void => {
        response.writeHead(408).end('late');
        next();
      };
      let decisions = 0;
      const imports = [HoldfastModule.forRoot(options({ onEvent: () => (decisions += 1) }))];
      for (const [providers, prepare] of [
        [[GUARDED], (app: INestApplication) => app.use(late)],
        [[], (app: INestApplication) => app.use(late).use(app.get(HoldfastMiddleware).use)],
      ] as const) {
        const root = moduleOf({ imports, providers: [...providers], controllers: [Answered] });
        const { ask } = await serve(platform, root, prepare);
        expect((await ask('/answered', { token })).body).toBe('late');
        // Fastify asks nobody any more.
        if (platform === 'Express') await expect.poll(() => decisions).toBe(1);
        // A request later, whatever would have come of the first has come.
        await ask('/answered');
        expect(reached).toBe(0);
        decisions = 0;
      }
    });

    it('ends server-sent events with the token, where they listen to its signal', async () => {
      @Controller()
      class Events {
        @Sse('events')
        events(@Access() access: Access): Observable<{ data: string }> {
          return concat(from([{ data: 'first' }]), NEVER).pipe(takeUntil(fromEvent(access.signal, 'abort')));
        }
      }
      const { app, port } = await serve(platform, guarded([Events]));
      const streamed = await fetch(`http://127.0.0.1:${port}/events`, { headers: { authorization: `Bearer ${token}` } });
      const reader = streamed.body?.getReader();
      await reader?.read();
      app.get<ProtectedResource>(HOLDFAST_RESOURCE).revokeKey(await calculateJwkThumbprint(issuer.keys[0]?.publicJwk ?? {}));
      let done = false;
      while (!done) done = (await reader?.read())?.done ?? true;
      expect([streamed.status, done]).toEqual([200, true]);
    });

    it('closes while a stream waits for the end of its access, without being told to force connections', async () => {
      @Controller()
      class Events {
        @Sse('events')
        events(@Access() access: Access): Observable<{ data: string }> {
          return concat(from([{ data: 'first' }]), NEVER).pipe(takeUntil(fromEvent(access.signal, 'abort')));
        }
      }
      const adapter = platform === 'Express' ? new ExpressAdapter() : new FastifyAdapter();
      const app = await NestFactory.create(guarded([Events]), adapter, { logger: false });
      await app.listen(0, '127.0.0.1');
      const { port } = app.getHttpServer().address();
      const streamed = await fetch(`http://127.0.0.1:${port}/events`, { headers: { authorization: `Bearer ${token}` } });
      const reader = streamed.body?.getReader();
      await reader?.read();
      const closed = app.close();
      let done = false;
      while (!done) done = (await reader?.read())?.done ?? true;
      await closed;
      expect(app.getHttpServer().listening).toBe(false);
    });

    it('protects server-sent events before the first', async () => {
      let subscribed = 0;
      @Controller()
      class Events {
        @Sse('events')
        events(@Access() access: Access): Observable<{ data: string }> {
          subscribed += 1;
          return from([{ data: access.claims.sub ?? '' }]);
        }
      }
      const { ask } = await serve(platform, guarded([Events]));
      const refused = await ask('/events', { lines: ['Accept: text/event-stream'] });
      expect([refused.status, refused.body, refused.challenges.length, subscribed]).toEqual([401, '', 2, 0]);
      const streamed = await ask('/events', { token, lines: ['Accept: text/event-stream'] });
      expect([streamed.status, streamed.body]).toEqual([200, expect.stringContaining('data: user-1')]);
    });
  });

  describe('@Public()', () => {
    @Public()
    @Controller('base')
    class Base {
      @Get('health')
      health(): string {
        return 'open';
      }

      @Get('write')
      @Requires({ scope: 'write' })
      write(): string {
        return 'written';
      }

      @Get('ping')
      @Public()
      ping(): string {
        return 'open';
      }

      @Get('access')
      access(@Access() access: Access): object {
        return access;
      }

      @Get('maybe')
      maybe(@MaybeAccess() access: Access | undefined): object {
        return { access };
      }
    }

    @Controller('admin')
    class Admin extends Base {
      @Get('secret')
      secret(): string {
        return 'secret';
      }
    }

    it('opens a controller, but not what @Requires stands on', async () => {
      const served = await serve(platform, guarded([Base]));
      expect(await statuses(served, ['/base/health', '/base/ping', '/base/write'])).toEqual({
        '/base/health': 200,
        '/base/ping': 200,
        '/base/write': 401,
      });
      expect(await statuses(served, ['/base/write'], { token })).toEqual({ '/base/write': 403 });
      expect(await statuses(served, ['/base/write'], { token: writing })).toEqual({ '/base/write': 200 });
    });

    it('is not inherited by a controller that extends one, save for methods it stands on', async () => {
      const served = await serve(platform, guarded([Admin]));
      expect(await statuses(served, ['/admin/secret', '/admin/health', '/admin/ping'])).toEqual({
        '/admin/secret': 401,
        '/admin/health': 401,
        '/admin/ping': 200,
      });
    });

    it('leaves a route without access: @Access() answers 401, with a token too', async () => {
      const { ask } = await serve(platform, guarded([Base]));
      for (const path of ['/base/access', '/base/maybe']) {
        for (const sent of [{}, { token }]) {
          const { status, body, challenges } = await ask(path, sent);
          expect([status, body, challenges]).toEqual([401, '', UNPROTECTED]);
        }
      }
    });

    it('beside @Requires on one class or method is a mistake that is found when the class is made', () => {
      const onMethod = (): unknown => {
        class Routes {
          @Public()
          @Requires({ scope: 'read' })
          get(): void {}
        }
        return Routes;
      };
      const onClass = (): unknown => {
        @Requires({ scope: 'read' })
        @Public()
        class Routes {}
        return Routes;
      };
      expect(onMethod).toThrow(new TypeError('@Public() and @Requires(…) stand on the same method: remove one of them.'));
      expect(onClass).toThrow(new TypeError('@Public() and @Requires(…) stand on the same class: remove one of them.'));
    });
  });

  describe('@Requires(…)', () => {
    @Requires({ scope: 'a' })
    class Base {}

    @Controller()
    @Requires({ scope: 'b' })
    class Routes extends Base {
      @Get('r')
      @Requires({ scope: 'c' })
      @Requires({ scope: ['d', 'e'] })
      get(): string {
        return 'reached';
      }

      @Get('plain')
      plain(): string {
        return 'reached';
      }

      @Get('open')
      @Public()
      open(): string {
        return 'reached';
      }
    }

    it('brings the guard, and adds up: method, controller, and what it extends', async () => {
      const { ask } = await serve(platform, moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Routes] }));
      expect((await ask('/r')).status).toBe(401);
      expect((await ask('/open')).status).toBe(200);
      const all = ['a', 'b', 'c', 'd', 'e'];
      for (const missing of all) {
        const scope = all.filter((one) => one !== missing).join(' ');
        const { status, challenges } = await ask('/r', { token: await issuer.token({ scope }) });
        expect([status, challenges[0]?.parameters['scope']]).toEqual([403, 'de'.includes(missing) ? 'd e' : missing]);
      }
      expect((await ask('/r', { token: await issuer.token({ scope: all.join(' ') }) })).status).toBe(200);
      expect((await ask('/plain', { token: await issuer.token({ scope: 'a' }) })).status).toBe(403);
      expect((await ask('/plain', { token: await issuer.token({ scope: 'a b' }) })).status).toBe(200);
    });

    it('stays where another decorator wraps the method, as tracing does, and copies what stands on it', async () => {
      const Traced: MethodDecorator = (_target, _name, descriptor) => {
        const wrapped = descriptor.value as (...args: unknown[]) => unknown;
        const wrapper = function wrapper(this: unknown, ...args: unknown[]): unknown {
          return wrapped.apply(this, args);
        };
        for (const one of Reflect.getMetadataKeys(wrapped)) Reflect.defineMetadata(one, Reflect.getMetadata(one, wrapped), wrapper);
        Object.assign(descriptor, { value: wrapper });
      };
      @Controller()
      class Wrapped {
        @Get('write')
        @Traced
        @Requires({ scope: 'write' })
        get(): string {
          return 'reached';
        }
      }
      const { ask } = await serve(platform, moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Wrapped] }));
      expect([(await ask('/write')).status, (await ask('/write', { token })).status]).toEqual([401, 403]);
      expect((await ask('/write', { token: writing })).body).toBe('reached');
    });

    it('that makes no sense is a mistake that is found when the class is made', () => {
      expect(() => Requires({ scope: '' })).toThrow(/^requires: scope: is ""/);
    });

    it('on a route asks for access where credentials are optional', async () => {
      @Controller()
      class Optional {
        @Get('maybe')
        maybe(@MaybeAccess() access: Access | undefined): object {
          return { sub: access?.claims.sub ?? null };
        }

        @Get('must')
        must(@Access() access: Access): object {
          return access;
        }

        @Get('read')
        @Requires({ scope: 'read' })
        read(): string {
          return 'reached';
        }
      }
      const { ask } = await serve(platform, guarded([Optional], { credentials: 'optional' }));
      expect((await ask('/maybe')).body).toBe('{"sub":null}');
      expect((await ask('/maybe', { token })).body).toBe('{"sub":"user-1"}');
      expect((await ask('/maybe', { token: 'a.b.c' })).status).toBe(401);
      for (const path of ['/must', '/read']) expect(await ask(path)).toMatchObject({ status: 401, challenges: [{}, {}] });
    });
  });

  describe('a refusal', () => {
    @Controller()
    class Routes {
      @Get('r')
      get(): string {
        return 'reached';
      }

      @Get('public')
      @Public()
      open(@Access() access: Access): object {
        return access;
      }
    }

    @Catch()
    class Rewriting implements ExceptionFilter {
      static readonly seen: unknown[] = [];
      readonly #adapters: HttpAdapterHost;
      constructor(@Inject(HttpAdapterHost) adapters: HttpAdapterHost) {
        this.#adapters = adapters;
      }
      catch(exception: unknown, host: ArgumentsHost): void {
        Rewriting.seen.push(exception);
        this.#adapters.httpAdapter.reply(host.switchToHttp().getResponse(), { own: true }, 418);
      }
    }

    it('NON-11 an answer with a nonce is not kept, whatever the route says of it', async () => {
      @Controller()
      class Kept {
        @Get('r')
        @Header('Cache-Control', 'public, max-age=60')
        read(): string {
          return 'ok';
        }
      }
      const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const [former, newer] = ['a'.repeat(32), 'b'.repeat(32)];
      const answers: (readonly [number, number, readonly string[]])[] = [];
      let nonce: string | undefined;
      for (const secrets of [[former], [former], [newer, former]]) {
        const served = await serve(platform, guarded([Kept], { dpop: { nonce: { secrets } } }));
        const proof = makeProof({ key, token: bound, iat: Math.floor(Date.now() / 1000), claims: { nonce } });
        const { status, lines } = await served.ask('/r', { lines: [`Authorization: DPoP ${bound}`, `DPoP: ${proof}`] });
        answers.push([status, lines('dpop-nonce').length, lines('cache-control')]);
        nonce ??= lines('dpop-nonce')[0];
      }
      expect(answers).toEqual([
        [401, 1, ['no-store']],
        [200, 0, ['public, max-age=60']],
        [200, 1, ['no-store']],
      ]);
    });

    it.each(['global', 'controller'])('keeps its fields where a filter of the application (%s) writes another answer', async (where) => {
      const controllers = where === 'global' ? [Routes] : [filtered(Routes)];
      const served = await serveNest(platform, guarded(controllers, { dpop: { nonce: 'required' } }), (app) => {
        open.push(app);
        if (where === 'global') app.useGlobalFilters(new Rewriting(app.get(HttpAdapterHost)));
      });
      Rewriting.seen.length = 0;
      const { status, body, lines } = await served.ask('/r');
      expect([status, body, lines('www-authenticate').length]).toEqual([418, '{"own":true}', 2]);
      const [exception] = Rewriting.seen;
      expect(exception).toBeInstanceOf(HoldfastException);
      expect(exception).toMatchObject({ status: 401, refusal: { rejection: { rejected: 'request.no_credentials' } } });

      const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
      const proof = makeProof({ key, token: bound, iat: Math.floor(Date.now() / 1000) });
      const nonce = await served.ask('/r', { lines: [`Authorization: DPoP ${bound}`, `DPoP: ${proof}`] });
      expect([nonce.lines('dpop-nonce').length, nonce.lines('cache-control'), nonce.lines('www-authenticate').length]).toEqual([
        1,
        ['no-store'],
        2,
      ]);
      expect((await served.ask('/public')).challenges).toEqual(UNPROTECTED);
      // Loggers print all that they see of an exception.
      const [, withNonce] = Rewriting.seen;
      expect(withNonce).toMatchObject({ refusal: { fields: expect.arrayContaining([['DPoP-Nonce', nonce.lines('dpop-nonce')[0]]]) } });
      for (const printed of [inspect(withNonce, { depth: 9, showHidden: true }), JSON.stringify(withNonce)]) {
        expect(printed).toContain('use_dpop_nonce');
        expect(printed).not.toContain(nonce.lines('dpop-nonce')[0]);
      }
    });

    it('keeps Retry-After, and says nothing of what our side lacks', async () => {
      const gone = await startIssuer();
      const lost = await gone.token();
      await gone.close();
      const { ask } = await serveNest(platform, guarded([Routes], { issuer: gone.url }), (app) => {
        open.push(app);
        app.useGlobalFilters(new Rewriting(app.get(HttpAdapterHost)));
      });
      Rewriting.seen.length = 0;
      const { lines } = await ask('/r', { token: lost });
      expect(lines('retry-after')).toEqual([expect.stringMatching(/^\d+$/)]);
      expect(Rewriting.seen).toMatchObject([{ status: 503, message: 'Unavailable for the moment.' }]);
    });

    it('is a body that filters can add to', async () => {
      @Catch(HoldfastException)
      class Adding implements ExceptionFilter {
        readonly #adapters: HttpAdapterHost;
        constructor(adapters: HttpAdapterHost) {
          this.#adapters = adapters;
        }
        catch(exception: HoldfastException, host: ArgumentsHost): void {
          const body = Object.assign(exception.getResponse(), { own: true });
          this.#adapters.httpAdapter.reply(host.switchToHttp().getResponse(), body, exception.getStatus());
        }
      }
      const { ask } = await serve(platform, guarded([Routes]), (app) => app.useGlobalFilters(new Adding(app.get(HttpAdapterHost))));
      expect((await ask('/r')).body).toBe('{"own":true}');
      expect(JSON.parse((await ask('/r', { token: 'a.b.c' })).body)).toMatchObject({ error: 'invalid_token', own: true });
      expect((await ask('/public')).body).toBe('{"own":true}');
    });

    it('leaves the request without access, for filters and what else comes after', async () => {
      const asked: unknown[] = [];
      @Catch()
      class Asking implements ExceptionFilter {
        readonly #adapters: HttpAdapterHost;
        constructor(adapters: HttpAdapterHost) {
          this.#adapters = adapters;
        }
        catch(_: unknown, host: ArgumentsHost): void {
          const request = host.switchToHttp().getRequest<object>();
          for (const ask of [accessOf, maybeAccessOf]) {
            try {
              asked.push(ask(request));
            } catch (error) {
              asked.push(error instanceof HoldfastException && error.refusal.rejection.rejected);
            }
          }
          this.#adapters.httpAdapter.reply(host.switchToHttp().getResponse(), 'asked', 200);
        }
      }
      const { ask } = await serve(platform, guarded([Routes]), (app) => app.useGlobalFilters(new Asking(app.get(HttpAdapterHost))));
      await ask('/r', { token: 'a.b.c' });
      expect(asked).toEqual(['token.malformed', 'token.malformed']);
    });

    it('does not become the route where a filter swallows it', async () => {
      @Catch(HoldfastException)
      class Swallowing implements ExceptionFilter {
        readonly #adapters: HttpAdapterHost;
        constructor(adapters: HttpAdapterHost) {
          this.#adapters = adapters;
        }
        catch(_: unknown, host: ArgumentsHost): void {
          this.#adapters.httpAdapter.reply(host.switchToHttp().getResponse(), 'swallowed', 200);
        }
      }
      const { ask } = await serve(platform, guarded([Routes]), (app) => app.useGlobalFilters(new Swallowing(app.get(HttpAdapterHost))));
      expect(await ask('/r')).toMatchObject({ status: 200, body: 'swallowed', challenges: [{}, {}] });
    });

    it('holds no token: not in the exception, its message, or its response', async () => {
      const { ask } = await serveNest(platform, guarded([Routes]), (app) => {
        open.push(app);
        app.useGlobalFilters(new Rewriting(app.get(HttpAdapterHost)));
      });
      Rewriting.seen.length = 0;
      const expired = await issuer.token({ exp: 1 });
      await ask('/r', { token: expired });
      const [exception] = Rewriting.seen as HoldfastException[];
      const { stack, message, refusal } = exception ?? {};
      const text = JSON.stringify([stack, message, refusal, exception?.getResponse(), exception]);
      expect(text).toContain('token.expired');
      expect(text).not.toContain(expired.slice(0, 20));
    });

    it('adds to what CORS of the platform exposes to scripts', async () => {
      const { ask } = await serve(platform, guarded([Routes], { cors: true }), (app) =>
        app.enableCors({ origin: 'https://app.example.com', exposedHeaders: ['X-Total'] }),
      );
      for (const sent of [{}, { token }]) {
        const { lines } = await ask('/r', { ...sent, lines: ['Origin: https://app.example.com'] });
        expect(lines('access-control-expose-headers')).toEqual(['X-Total, WWW-Authenticate, DPoP-Nonce']);
        expect(lines('access-control-allow-origin')).toEqual(['https://app.example.com']);
      }
    });

    function filtered(type: Type): Type {
      class Filtered extends type {}
      Controller()(Filtered);
      UseFilters(Rewriting)(Filtered);
      return Filtered;
    }
  });

  describe('HoldfastMiddleware', () => {
    @Controller()
    class Uploads {
      @Post('uploads')
      upload(@Body() body: object): object {
        return { members: Object.keys(body).length };
      }
    }
    const announced = { method: 'POST', lines: ['Content-Type: application/json', 'Content-Length: 90000'], body: '{"a":' };
    const whole = { method: 'POST', lines: ['Content-Type: application/json', 'Content-Length: 7'], body: '{"a":1}' };

    it('as app.use refuses JSON before its body is read, and the guard after it does not judge again', async () => {
      let decisions = 0;
      const root = guarded([Uploads], { onEvent: () => (decisions += 1) });
      const { ask } = await serve(platform, root, (app) => app.use('/uploads', app.get(HoldfastMiddleware).use));
      expect(await ask('/uploads', announced)).toMatchObject({ status: 401, body: '', challenges: [{}, {}] });
      const { status, body } = await ask('/uploads', { ...announced, token: 'a.b.c' });
      expect([status, JSON.parse(body).error]).toEqual([401, 'invalid_token']);
      expect(decisions).toBe(2);
      expect((await ask('/uploads', { ...whole, token })).body).toBe('{"members":1}');
      expect(decisions).toBe(3);
    });

    it('as consumer.apply refuses before the guards, where forRoutes says so', async () => {
      const order: string[] = [];
      class Application {
        configure(consumer: { apply: (...of: unknown[]) => { forRoutes: (...of: unknown[]) => void } }): void {
          const after = (_request: unknown, _response: unknown, next: () => void): void => {
            order.push('middleware');
            next();
          };
          consumer.apply(HoldfastMiddleware, after).forRoutes({ path: 'uploads', method: RequestMethod.POST });
        }
      }
      Module({ imports: [HoldfastModule.forRoot(options())], controllers: [Uploads] })(Application);
      const { ask } = await serve(platform, Application);
      expect([(await ask('/uploads', whole)).status, order]).toEqual([401, []]);
      expect([(await ask('/uploads', { ...whole, token })).body, order]).toEqual(['{"members":1}', ['middleware']]);
    });

    it('lets pass, without access, what asks for nothing that needs it', async () => {
      @Controller()
      class Optional {
        @Get('maybe')
        maybe(@MaybeAccess() access: Access | undefined): object {
          return { sub: access?.claims.sub ?? null };
        }

        @Get('must')
        must(@Access() access: Access): object {
          return access;
        }
      }
      const root = moduleOf({ imports: [HoldfastModule.forRoot(options({ credentials: 'optional' }))], controllers: [Optional] });
      const { ask } = await serve(platform, root, (app) => app.use(app.get(HoldfastMiddleware).use));
      expect([(await ask('/maybe')).body, (await ask('/maybe', { token })).body]).toEqual(['{"sub":null}', '{"sub":"user-1"}']);
      expect(await ask('/must')).toMatchObject({ status: 401, challenges: [{}, {}] });
      expect((await ask('/maybe', { token: 'a.b.c' })).status).toBe(401);
    });

    it('knows no routes: a preflight passes without access, also to a route for all methods that no guard stands on', async () => {
      @Controller()
      class Everything {
        @All('all')
        all(): string {
          return 'reached';
        }

        @All('access')
        access(@Access() access: Access): object {
          return access;
        }
      }
      const root = moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Everything] });
      const served = await serve(platform, root, (app) => app.use(app.get(HoldfastMiddleware).use));
      const preflight = { method: 'OPTIONS', lines: ['Origin: https://evil.example', 'Access-Control-Request-Method: GET'] };
      expect(await statuses(served, ['/all', '/access'], preflight)).toEqual({ '/all': 200, '/access': 401 });
      expect(await statuses(served, ['/all'])).toEqual({ '/all': 401 });
    });

    it('hands refusals to the filters of the application', async () => {
      @Catch(HoldfastException)
      class Own implements ExceptionFilter {
        readonly #adapters: HttpAdapterHost;
        constructor(adapters: HttpAdapterHost) {
          this.#adapters = adapters;
        }
        catch(exception: HoldfastException, host: ArgumentsHost): void {
          this.#adapters.httpAdapter.reply(
            host.switchToHttp().getResponse(),
            { why: exception.refusal.rejection.rejected },
            exception.getStatus(),
          );
        }
      }
      const { ask } = await serve(platform, guarded([Uploads]), (app) =>
        app.use('/uploads', app.get(HoldfastMiddleware).use).useGlobalFilters(new Own(app.get(HttpAdapterHost))),
      );
      expect(await ask('/uploads', announced)).toMatchObject({
        status: 401,
        body: '{"why":"request.no_credentials"}',
        challenges: [{}, {}],
      });
    });
  });

  describe('several resources in one application', () => {
    const feature = (path: string, audience: string): Type => {
      @Controller(path)
      @UseGuards(HoldfastGuard)
      class Routes {
        @Get()
        @Requires({ scope: 'read' })
        get(@Access() access: Access): object {
          return { aud: access.claims.aud };
        }
      }
      return moduleOf({ imports: [HoldfastModule.forRoot(options({ audience }), { isGlobal: false })], controllers: [Routes] });
    };

    it('protect each the routes of the modules that import them', async () => {
      const served = await serve(platform, moduleOf({ imports: [feature('a', 'https://a.example'), feature('b', 'https://b.example')] }));
      const [forA, forB] = [await issuer.token({ aud: 'https://a.example' }), await issuer.token({ aud: 'https://b.example' })];
      expect(await statuses(served, ['/a', '/b'], { token: forA })).toEqual({ '/a': 200, '/b': 401 });
      expect(await statuses(served, ['/a', '/b'], { token: forB })).toEqual({ '/a': 401, '/b': 200 });
    });

    it('one of them global: it protects where no other is imported', async () => {
      @Controller('rest')
      @UseGuards(HoldfastGuard)
      class Rest {
        @Get()
        get(): string {
          return 'reached';
        }
      }
      const root = moduleOf({
        imports: [feature('b', 'https://b.example'), HoldfastModule.forRoot(options()), feature('a', 'https://a.example')],
        controllers: [Rest],
      });
      const served = await serve(platform, root);
      expect(await statuses(served, ['/rest', '/a'], { token })).toEqual({ '/rest': 200, '/a': 401 });
      const forA = await issuer.token({ aud: 'https://a.example' });
      expect(await statuses(served, ['/rest', '/a'], { token: forA })).toEqual({ '/rest': 401, '/a': 200 });
    });

    it('two of them global stop the start', async () => {
      const root = moduleOf({ imports: [HoldfastModule.forRoot(options()), HoldfastModule.forRoot(options())] });
      await expect(serve(platform, root)).rejects.toThrow(/^HoldfastModule: two of them are global/);
    });
  });
});

describe('HoldfastModule', () => {
  @Controller()
  class Routes {
    @Get('r')
    get(@Access() access: Access): object {
      return { sub: access.claims.sub };
    }
  }
  class Settings implements HoldfastOptionsFactory {
    static readonly used: string[] = [];
    createHoldfastOptions(): ProtectedResourceOptions {
      Settings.used.push('made');
      return options();
    }
  }
  const using = (module: Parameters<typeof moduleOf>[0]['imports']): Type =>
    moduleOf({ ...(module && { imports: module }), providers: [GUARDED], controllers: [Routes] });

  it.each([
    [
      'useFactory, with what it injects',
      () =>
        HoldfastModule.forRootAsync({
          imports: [moduleOf({ providers: [{ provide: 'ISSUER', useFactory: () => issuer.url }], exports: ['ISSUER'] })],
          inject: ['ISSUER'],
          useFactory: async (url: string) => options({ issuer: url }),
        }),
    ],
    ['useClass', () => HoldfastModule.forRootAsync({ useClass: Settings })],
    [
      'useExisting',
      () => HoldfastModule.forRootAsync({ imports: [moduleOf({ providers: [Settings], exports: [Settings] })], useExisting: Settings }),
    ],
    ['a factory that makes a resource', () => HoldfastModule.forRootAsync({ useFactory: () => protectedResource(options()) })],
    ['a resource that is made already', () => HoldfastModule.forRoot(protectedResource(options()))],
  ])('takes options from %s', async (_, module) => {
    const { ask } = await serve('Express', using([module()]));
    expect([(await ask('/r')).status, (await ask('/r', { token })).body]).toEqual([401, '{"sub":"user-1"}']);
  });

  it('hands on the very resource that it was given, and makes its own for each application', async () => {
    const resource = protectedResource(options());
    const given = using([HoldfastModule.forRoot(resource)]);
    const made = using([HoldfastModule.forRoot(options())]);
    const resources = [];
    for (const root of [given, given, made, made]) resources.push((await serve('Express', root)).app.get(HOLDFAST_RESOURCE));
    expect(resources.map((one) => one === resource)).toEqual([true, true, false, false]);
    expect(resources[2]).not.toBe(resources[3]);
    await resource.close();
  });

  it.each([
    ['forRoot', () => HoldfastModule.forRoot({ issuer: 'as', audience: '', certificates: 1 } as never)],
    ['forRootAsync', () => HoldfastModule.forRootAsync({ useFactory: () => ({ issuer: 'as', audience: '', certificates: 1 }) as never })],
  ])('stops the start with one TypeError that lists every problem in what %s got', async (_, module) => {
    const started = serve('Express', using([module()]));
    await expect(started).rejects.toThrow(TypeError);
    await expect(started).rejects.toThrow(/3 options are wrong.*certificates: .*audience: .*issuer: /s);
  });

  it.each([undefined, null, 'https://as.example'])('stops the start with a TypeError where the options are %s', async (nothing) => {
    await expect(serve('Express', using([HoldfastModule.forRoot(nothing as never)]))).rejects.toThrow(TypeError);
  });

  it('refuses to start with options of request scope, where each request would use up proofs of its own', async () => {
    const perRequest = HoldfastModule.forRootAsync({ inject: [REQUEST], useFactory: () => options() });
    await expect(serve('Express', using([perRequest]))).rejects.toThrow(/scoped provider/);
  });

  it('with ready starts when tokens can be judged, and not at all where they cannot', async () => {
    const before = issuer.requests.length;
    await serve('Express', using([HoldfastModule.forRoot(options(), { ready: true })]));
    expect(issuer.requests.slice(before)).toContain('/jwks');
    const unneeded = issuer.requests.length;
    await serve('Express', using([HoldfastModule.forRoot(options())]));
    expect(issuer.requests.length).toBe(unneeded);

    const gone = await startIssuer();
    await gone.close();
    const notReady = HoldfastModule.forRootAsync({ useFactory: () => options({ issuer: gone.url }), ready: true });
    await expect(serve('Express', using([notReady]))).rejects.toThrow(/issuer|keys|metadata/i);
  });

  it('closes the resource that it made with the application, and none that it was given', async () => {
    const resource = protectedResource(options());
    const closed: unknown[] = [];
    for (const module of [HoldfastModule.forRoot(resource), HoldfastModule.forRoot(options())]) {
      const { app } = await serve('Express', using([module]));
      const held: ProtectedResource = app.get(HOLDFAST_RESOURCE);
      const close = vi.spyOn(held, 'close');
      await app.close();
      closed.push(close.mock.calls.length);
      close.mockRestore();
    }
    expect(closed).toEqual([0, 1]);
    await resource.close();
  });

  it('says at the start that nothing is protected, where no guard is in use', async () => {
    const warnings: unknown[] = [];
    const logger = { log() {}, error() {}, warn: (message: unknown) => void warnings.push(message) };
    for (const providers of [[], [GUARDED]]) {
      const root = moduleOf({ imports: [HoldfastModule.forRoot(options())], providers, controllers: [] });
      const app = await NestFactory.create(root, PLATFORMS.Express(), { logger });
      open.push(app);
      await app.init();
    }
    expect(warnings).toEqual([expect.stringMatching(/^No HoldfastGuard is in use/)]);
  });

  it('works on Fastify without middleware, and in an application that is only injected', async () => {
    const adapter = new FastifyAdapter({ skipMiddie: true });
    const app = await NestFactory.create<NestFastifyApplication>(using([HoldfastModule.forRoot(options())]), adapter, { logger: false });
    open.push(app);
    await app.init();
    await adapter.getInstance().ready();
    const refused = await app.inject({ url: '/r' });
    expect([refused.statusCode, refused.body, refused.headers['www-authenticate']]).toEqual([
      401,
      '',
      [expect.any(String), expect.any(String)],
    ]);
    const granted = await app.inject({ url: '/r', headers: { authorization: `Bearer ${token}` } });
    expect([granted.statusCode, granted.json()]).toEqual([200, { sub: 'user-1' }]);
  });

  it('an injected request has no certificate to show', async () => {
    const root = using([HoldfastModule.forRoot(options({ certificate: fromTls() }))]);
    const app = await NestFactory.create<NestFastifyApplication>(root, new FastifyAdapter(), { logger: false });
    open.push(app);
    await app.init();
    await app.getHttpAdapter().getInstance().ready();
    const bound = await issuer.token({ cnf: { 'x5t#S256': 'A'.repeat(43) } });
    expect((await app.inject({ url: '/r', headers: { authorization: `Bearer ${bound}` } })).statusCode).toBe(401);
  });

  it('protects an application that is mounted in one of Express, by the whole target', async () => {
    const { app } = await serve('Express', using([HoldfastModule.forRoot(options())]));
    const outer = express();
    outer.use('/nest', app.getHttpAdapter().getInstance());
    const server = createServer(outer);
    await listen(server);
    const { ask } = askingAt(server);
    expect((await ask('/nest/r')).status).toBe(401);
    expect((await ask('/nest/r', { token })).body).toBe('{"sub":"user-1"}');
    const bound = await issuer.token({ cnf: { jkt: key.thumbprint } });
    const send = async (htu: string): Promise<number> => {
      const proof = makeProof({ key, token: bound, htu, iat: Math.floor(Date.now() / 1000) });
      return (await ask('/nest/r', { lines: [`Authorization: DPoP ${bound}`, `DPoP: ${proof}`] })).status;
    };
    expect([await send(`${AUDIENCE}/nest/r`), await send(`${AUDIENCE}/r`)]).toEqual([200, 401]);
    await stop(server);
  });
});

describe('in tests of applications', () => {
  @Controller()
  class Routes {
    @Get('r')
    @Requires({ scope: 'write' })
    get(): string {
      return 'reached';
    }

    @Get('plain')
    plain(): string {
      return 'reached';
    }

    @Get('access')
    access(@Access() access: Access): object {
      return { sub: access.claims.sub };
    }
  }
  const root = (): Type => moduleOf({ imports: [HoldfastModule.forRoot(options())], controllers: [Routes] });
  const everywhere = (): Type =>
    moduleOf({
      imports: [HoldfastModule.forRoot(options())],
      providers: [HoldfastGuard, { provide: APP_GUARD, useExisting: HoldfastGuard }],
      controllers: [Routes],
    });
  const start = async (builder: ReturnType<typeof Test.createTestingModule>): Promise<Served['ask']> => {
    const app = (await builder.compile()).createNestApplication({ logger: false });
    open.push(app);
    await app.listen(0, '127.0.0.1');
    return askingAt(app.getHttpServer()).ask;
  };

  it('nothing is open that is not opened on purpose', async () => {
    const ask = await start(Test.createTestingModule({ imports: [everywhere()] }));
    expect([(await ask('/r')).status, (await ask('/access')).status]).toEqual([401, 401]);
    expect((await ask('/access', { token })).body).toBe('{"sub":"user-1"}');
  });

  it('overrideGuard opens routes, and gives no access', async () => {
    const ask = await start(
      Test.createTestingModule({ imports: [root()] })
        .overrideGuard(HoldfastGuard)
        .useValue({ canActivate: () => true }),
    );
    expect((await ask('/r')).body).toBe('reached');
    expect((await ask('/access')).status).toBe(401);
  });

  it('overrideProvider(HoldfastGuard) opens what APP_GUARD protects, and not what @Requires does', async () => {
    const testing = Test.createTestingModule({ imports: [everywhere()] });
    const ask = await start(testing.overrideProvider(HoldfastGuard).useValue({ canActivate: () => true }));
    expect([(await ask('/plain')).body, (await ask('/r')).status]).toEqual(['reached', 401]);
  });

  it('overrideProvider(HOLDFAST_RESOURCE) says who is calling', async () => {
    const access = { granted: true, confirmed: true, claims: { sub: 'tester', scope: 'write' }, confirmations: [], fields: [] };
    const resource = { verify: async () => access, authorize: () => access };
    const ask = await start(
      Test.createTestingModule({ imports: [everywhere()] })
        .overrideProvider(HOLDFAST_RESOURCE)
        .useValue(resource),
    );
    expect([(await ask('/r')).body, (await ask('/access')).body]).toEqual(['reached', '{"sub":"tester"}']);
  });

  it('overrideProvider(HOLDFAST_RESOURCE) can be a resource with keys of the test', async () => {
    const own = protectedResource(
      options({ audience: 'https://test.example', keys: { jwks: { keys: issuer.keys.map((one) => one.publicJwk) } } }),
    );
    const ask = await start(
      Test.createTestingModule({ imports: [everywhere()] })
        .overrideProvider(HOLDFAST_RESOURCE)
        .useValue(own),
    );
    expect((await ask('/access', { token })).status).toBe(401);
    expect((await ask('/access', { token: await issuer.token({ aud: 'https://test.example' }) })).status).toBe(200);
  });
});
