// The API as a Cloudflare Worker: everything is made at module scope, where a Worker may neither draw random numbers nor set timers.
// Issuer and keys are written in when it is bundled.
import { cloudflareWorker, type FetchedKeys } from '@holdfast/core/fetch';
import { api } from './api.ts';

declare const ISSUER: string;
declare const KEYS: FetchedKeys;

const handle = api(ISSUER, cloudflareWorker(), KEYS);

export default {
  fetch(request: Request): Promise<Response> {
    return handle(request, { platform: 'cf' in request ? request.cf : undefined });
  },
};
