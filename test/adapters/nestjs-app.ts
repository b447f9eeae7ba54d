// A Nest application that is served on a real socket, on either platform.
import type { Http2SecureServer } from 'node:http2';
import type { Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type Challenge, parseChallenges } from '@holdfast/test-support/challenges';
import { rawRequest } from '@holdfast/test-support/raw-request';
import {
  type DynamicModule,
  type INestApplication,
  Module,
  type ModuleMetadata,
  type NestApplicationOptions,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';

export const AUDIENCE = 'https://rs.example.com';

export const PLATFORMS = { Express: () => new ExpressAdapter(), Fastify: () => new FastifyAdapter({ forceCloseConnections: true }) };
export type Platform = keyof typeof PLATFORMS;

export interface Sent {
  readonly method?: string;
  readonly token?: string;
  readonly lines?: readonly string[];
  readonly body?: string;
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly challenges: readonly Challenge[];
  readonly lines: (name: string) => string[];
}

export interface Served {
  readonly app: INestApplication<Server | Http2SecureServer>;
  readonly port: number;
  readonly ask: (target: string, sent?: Sent) => Promise<Answer>;
}

/** A module class of its own for these metadata. */
export function moduleOf(metadata: ModuleMetadata): Type {
  @Module(metadata)
  class Part {}
  return Part;
}

/** Serves a module; `prepare` is what a `main.ts` does before it listens. */
export async function serveNest(
  platform: Platform,
  root: Type | DynamicModule,
  prepare: (app: INestApplication) => unknown = () => {},
  more: NestApplicationOptions = {},
): Promise<Served> {
  const options = { logger: false, abortOnError: false, forceCloseConnections: true, ...more } as const;
  const app = await NestFactory.create(root, PLATFORMS[platform](), options);
  await prepare(app);
  await app.listen(0, '127.0.0.1');
  return { app, ...askingAt(app.getHttpServer()) };
}

export function askingAt(server: Pick<Server, 'address'>): Omit<Served, 'app'> {
  const { port } = server.address() as AddressInfo;
  return {
    port,
    async ask(target, { method = 'GET', token, lines = [], body } = {}) {
      const response = await rawRequest({
        port,
        lines: [
          `${method} ${target} HTTP/1.1`,
          'Host: rs.example.com',
          ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
          ...lines,
        ],
        ...(body !== undefined && { body }),
      });
      const closed = once(response.socket, 'close');
      response.socket.destroy();
      await closed;
      const fieldLines = (name: string): string[] =>
        response.headers.flatMap(([other, value]) => (other.toLowerCase() === name ? [value] : []));
      return {
        status: response.status,
        body: response.body,
        challenges: parseChallenges(fieldLines('www-authenticate')),
        lines: fieldLines,
      };
    },
  };
}
