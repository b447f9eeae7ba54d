// The API as a Cloudflare Worker: everything is made at module scope, where a Worker may neither draw random numbers nor set timers.
// The issuer is written in when it is bundled.
import { cloudflareWorker } from '@holdfast/core/fetch';
import { api } from './api.ts';

declare const ISSUER: string;

const handle = api(ISSUER, cloudflareWorker());

export default {
  fetch(request: Request): Promise<Response> {
    return handle(request, { platform: 'cf' in request ? request.cf : undefined });
  },
};
