import type { ProtectedResource, ProtectedResourceRequest } from '@holdfast/core';
import { nodeRequest } from '@holdfast/core/node';
import type { FastifyInstance, FastifyPluginAsync } from 'fastify';
import fp from 'fastify-plugin';
import { type Done, type HoldfastReply, respond } from './reply.ts';
import { isChild } from './route-policy.ts';

/** Whose metadata are served. */
export interface HoldfastMetadataOptions {
  readonly resource: ProtectedResource;
}

/**
 * Serves only the metadata of a resource (RFC 9728), and lets every other request pass, unjudged. For an application that registers
 * the protection inside of a plugin, or has several: the document stands at the root of the origin, where no plugin with a prefix
 * reaches. Throws a `TypeError` where it is not registered at the root, and where the resource publishes
 * no metadata.
 *
 * @example
 * const resource = protectedResource({ issuer: 'https://as.example.com', audience: 'https://api.example.com', metadata: true });
 * await app.register(holdfastMetadata, { resource });
 * await app.register(accounts, { prefix: '/api' }); // in which: await api.register(holdfast, { resource })
 */
export const holdfastMetadata: FastifyPluginAsync<HoldfastMetadataOptions> = fp(serve, {
  fastify: '5.x',
  name: '@holdfast/fastify/metadata',
});

async function serve(app: FastifyInstance, { resource }: HoldfastMetadataOptions): Promise<void> {
  if (resource?.metadata === undefined) throw new TypeError('holdfastMetadata: resource: Give one with metadata: true.');
  if (isChild(app)) throw new TypeError('holdfastMetadata: Register it at the root, where clients look for the document.');
  atRoot.add(resource);
  app.addHook('onRequest', (request, reply, done) => {
    if (!publishes(resource, nodeRequest(request.raw, request.originalUrl), reply, done)) done();
  });
}

/** Resources whose metadata are served where clients look for them. */
export const atRoot: WeakSet<ProtectedResource> = new WeakSet();

/** Whether a request is for the metadata of a resource; then it is answered. */
export function publishes(resource: ProtectedResource, view: ProtectedResourceRequest, reply: HoldfastReply, done: Done): boolean {
  const published = resource.metadata?.answer(view);
  if (published === undefined) return false;
  if (published instanceof Promise) published.then((known) => respond(known, reply)).catch(done);
  else respond(published, reply);
  return true;
}
