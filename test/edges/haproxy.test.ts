import { haproxy, rfc9440 } from '@holdfast/express';
import { describe } from 'vitest';
import { edgeContract, WRITE } from './contract.ts';

describe('HAProxy, with its recipe', () => {
  edgeContract({
    kind: 'haproxy',
    recipe: 'edges/haproxy',
    source: haproxy,
    field: 'X-SSL-Client-Cert',
    write: WRITE.base64,
    without: 'certificate.not_presented',
    expired: 'granted',
    oversize: 401,
    // It did not fit the buffer, and the field is as empty as without one.
    oversizeReason: 'certificate.not_presented',
    longField: { '1.1': 400, '2': /error code 9/ },
    listedInHttp2: { reset: 1 },
  });
});

describe('HAProxy, with its recipe for RFC 9440', () => {
  edgeContract({
    kind: 'haproxy',
    recipe: 'edges/haproxy-rfc9440',
    source: rfc9440,
    field: 'Client-Cert',
    write: WRITE.byteSequence,
    without: 'certificate.missing',
    expired: 'granted',
    oversize: 401,
    // It did not fit the buffer, and the field is as empty as without one.
    oversizeReason: 'certificate.not_presented',
    longField: { '1.1': 400, '2': /error code 9/ },
    listedInHttp2: { reset: 1 },
  });
});
