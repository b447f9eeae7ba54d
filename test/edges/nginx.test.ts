import { nginx, rfc9440 } from '@holdfast/express';
import { describe } from 'vitest';
import { edgeContract, WRITE } from './contract.ts';

describe('nginx, with its recipe', () => {
  edgeContract({
    kind: 'nginx',
    recipe: 'edges/nginx',
    source: nginx,
    field: 'X-SSL-Cert',
    write: WRITE.percentEncodedPem,
    without: 'certificate.missing',
    expired: 400,
    oversize: 431,
    longField: { '1.1': 400, '2': /error code 11/ },
    listedInHttp2: { status: 401 },
  });
});

describe('nginx with njs, with its recipe for RFC 9440', () => {
  edgeContract({
    kind: 'nginx',
    recipe: 'edges/nginx-rfc9440',
    source: rfc9440,
    field: 'Client-Cert',
    write: WRITE.byteSequence,
    without: 'certificate.missing',
    expired: 400,
    oversize: 431,
    longField: { '1.1': 400, '2': /error code 11/ },
    listedInHttp2: { status: 401 },
  });
});
