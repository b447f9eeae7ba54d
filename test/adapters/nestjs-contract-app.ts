// The application of the contract of adapters in NestJS, on either platform. It imports nothing of this workspace but types, so that
// nestjs-11.test.ts can compile it beside Nest 11.
import 'reflect-metadata';
import type { ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import { Access, HoldfastGuard, HoldfastModule, MaybeAccess, protectedResource, Requires } from '@holdfast/nestjs';
import {
  All,
  type ArgumentsHost,
  Catch,
  Controller,
  Get,
  HttpCode,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  Options,
  Post,
  Req,
  StreamableFile,
  UseGuards,
} from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost, NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { ContractApp, grantedTo, listening, RunningServer } from './contract.ts';

/** What contract.ts has for the application. */
export interface Parts {
  readonly grantedTo: typeof grantedTo;
  readonly listening: typeof listening;
}

const ADAPTERS = {
  Express: () => new ExpressAdapter(),
  Fastify({ tls, http2 }: ContractApp) {
    const https = { ...tls, requestCert: true, rejectUnauthorized: false };
    const adapter = http2 ? new FastifyAdapter({ http2, https: { ...https, allowHTTP1: true } }) : new FastifyAdapter({ https });
    // A body that nobody parses, as on Express; the route reads it.
    adapter.getInstance().addContentTypeParser('application/octet-stream', (_request, payload, done) => done(null, payload));
    return adapter;
  },
};

export async function start(platform: keyof typeof ADAPTERS, contract: ContractApp, parts: Parts): Promise<RunningServer> {
  const httpsOptions = { ...contract.tls, requestCert: true, rejectUnauthorized: false };
  const adapter = ADAPTERS[platform](contract);
  const app = await NestFactory.create(applicationOf(contract, parts), adapter, { httpsOptions, logger: false, abortOnError: false });
  app.useGlobalFilters(new OwnFilter(app.get(HttpAdapterHost).httpAdapter));
  await app.init();
  if (adapter instanceof FastifyAdapter) await adapter.getInstance().ready();
  const server = await parts.listening(app.getHttpServer());
  return {
    port: server.port,
    async close() {
      await server.close();
      await app.close();
    },
  };
}

/** Adds a field, and leaves the answer to Nest. */
class OwnFilter extends BaseExceptionFilter {
  override catch(exception: unknown, host: ArgumentsHost): void {
    const response: { header(name: string, value: string): unknown } = host.switchToHttp().getResponse();
    if (this.applicationRef?.isHeadersSent(response) === false) response.header('X-Own', '1');
    // oxlint-disable-next-line promise/valid-params -- no promise
    super.catch(exception, host);
  }
}
Catch()(OwnFilter);

/** The application of the contract: what is protected by one resource is a module. */
function applicationOf({ options, other, reached, stream }: ContractApp, parts: Parts): new () => NestModule {
  const answer = (path: string, access: Access | undefined): string => {
    reached(path);
    return JSON.stringify(parts.grantedTo(access));
  };

  @Controller()
  class Open {
    @Get('open')
    open(): string {
      reached('/open');
      return 'open';
    }

    @Get('bare/access')
    access(@Access() access: Access): string {
      return answer('/bare/access', access);
    }
  }

  @Controller('api')
  @UseGuards(HoldfastGuard)
  class Api {
    @Get('r')
    read(@Access() access: Access): string {
      return answer('/api/r', access);
    }

    @Post('r')
    @HttpCode(200)
    create(@Access() access: Access): string {
      return answer('/api/r', access);
    }

    @Options('r')
    @HttpCode(204)
    options(): void {
      reached('/api/r');
    }

    @All('all')
    all(@Access() access: Access): string {
      return answer('/api/all', access);
    }

    @Get('maybe')
    maybe(@MaybeAccess() access: Access | undefined): string {
      return answer('/api/maybe', access);
    }

    @Get('write')
    @Requires({ scope: 'write' })
    write(@Access() access: Access): string {
      return answer('/api/write', access);
    }

    @Post('upload')
    @HttpCode(200)
    async upload(@Req() request: Readable & { readonly raw?: Readable }): Promise<string> {
      reached('/api/upload');
      let length = 0;
      for await (const chunk of request.raw ?? request) length += chunk.length;
      return String(length);
    }

    @Get('stream')
    stream(): StreamableFile {
      reached('/api/stream');
      return new StreamableFile(stream());
    }

    @Get('throws')
    throws(): never {
      reached('/api/throws');
      throw new Error('of the application');
    }
  }

  @Controller()
  class Others {
    @Get('twice/r')
    @UseGuards(HoldfastGuard, HoldfastGuard)
    twice(@Access() access: Access): string {
      return answer('/twice/r', access);
    }

    @Get('both/r')
    @UseGuards(HoldfastGuard, new HoldfastGuard(protectedResource(other)))
    both(@Access() access: Access): string {
      return answer('/both/r', access);
    }

    @Get('answered/r')
    @UseGuards(HoldfastGuard)
    answered(@Access() access: Access): string {
      return answer('/answered/r', access);
    }
  }

  @Module({ imports: [HoldfastModule.forRoot(options)], controllers: [Open, Api, Others] })
  class Application implements NestModule {
    configure(consumer: MiddlewareConsumer): void {
      const late = (_request: unknown, response: ServerResponse, next: () => void): void => {
        response.writeHead(408).end('late');
        next();
      };
      consumer.apply(late).forRoutes('answered/r');
    }
  }
  return Application;
}
