import { caddy, rfc9440 } from '@holdfast/express';
import { describe } from 'vitest';
import { edgeContract, WRITE } from './contract.ts';

describe('Caddy, with its recipe', () => {
  edgeContract({
    kind: 'caddy',
    recipe: 'edges/caddy',
    source: caddy,
    field: 'X-Client-Cert',
    write: WRITE.base64,
    without: 'certificate.not_presented',
    expired: 'granted',
    oversize: 431,
    longField: { '1.1': 401, '2': 401 },
    listedInHttp2: { status: 400 },
  });
});

describe('Caddy, with its recipe for RFC 9440', () => {
  edgeContract({
    kind: 'caddy',
    recipe: 'edges/caddy-rfc9440',
    source: rfc9440,
    field: 'Client-Cert',
    write: WRITE.byteSequence,
    without: 'certificate.not_presented',
    expired: 'granted',
    oversize: 431,
    longField: { '1.1': 401, '2': 401 },
    listedInHttp2: { status: 400 },
  });
});
