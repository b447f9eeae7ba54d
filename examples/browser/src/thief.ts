import type { Server } from 'node:https';
import type { ClientFetch } from '@holdfast/test-support/clients';
import { generateDpopKey, makeProof } from '@holdfast/test-support/dpop';
import cors from 'cors';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import express from 'express';

/** What the script in the page sends out of it: all that it could get hold of. */
interface Loot {
  readonly token: string;
  /** Proofs of the owner's key. */
  readonly proofs: {
    /** Overheard: the page has sent it already. */
    readonly recorded: string;
    /** For a URI of the thief's own. */
    readonly elsewhere: string;
    /** With a nonce of the authorization server. */
    readonly foreignNonce: string;
    /** Made in advance, on a clock that the script put forward. */
    readonly tomorrow: string;
    /** For this very request, now. */
    readonly fresh: string;
  };
}

/** What the API said to the thief. */
interface Attempt {
  readonly id: string;
  readonly status: number;
  /** All of WWW-Authenticate. */
  readonly challenges: string;
}

/** The thief's own server, to which a script in the page sends what it has got. It answers with what came of it. */
export function serveThief(server: Server, target: string, page: string, fetch: ClientFetch): void {
  const app = express();
  app.use(cors({ origin: page }), express.json());
  app.post('/loot', (request, response, next) => {
    useLoot(request.body as Loot, target, fetch).then((attempts) => response.json(attempts), next);
  });
  server.on('request', app);
}

/** Everything the thief tries with the token from another machine, one after the other. */
async function useLoot({ token, proofs }: Loot, target: string, fetch: ClientFetch): Promise<Attempt[]> {
  const key = await generateDpopKey();
  const { nonce } = decodeJwt(proofs.recorded);
  const mine = { key, token, htu: target, iat: Math.floor(Date.now() / 1000), claims: { nonce } };
  const { jwk } = decodeProtectedHeader(proofs.recorded);
  const attempts: [id: string, scheme: 'Bearer' | 'DPoP', proof?: string][] = [
    ['bearer', 'Bearer'],
    ['no-proof', 'DPoP'],
    ['other-key', 'DPoP', makeProof(mine)],
    ['forged', 'DPoP', makeProof({ ...mine, header: { jwk } })],
    ['replayed', 'DPoP', proofs.recorded],
    ['elsewhere', 'DPoP', proofs.elsewhere],
    ['foreign-nonce', 'DPoP', proofs.foreignNonce],
    ['tomorrow', 'DPoP', proofs.tomorrow],
    ['fresh', 'DPoP', proofs.fresh],
    ['fresh-again', 'DPoP', proofs.fresh],
  ];
  const answers: Attempt[] = [];
  for (const [id, scheme, proof] of attempts) {
    const headers = { authorization: `${scheme} ${token}`, ...(proof && { dpop: proof }) };
    const { status, headers: fields } = await fetch(target, { headers });
    answers.push({ id, status, challenges: fields.get('www-authenticate') ?? '' });
  }
  return answers;
}
