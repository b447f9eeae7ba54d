import { apache } from '@holdfast/express';
import { describe } from 'vitest';
import { edgeContract, WRITE } from './contract.ts';

describe('Apache, with its recipe', () => {
  edgeContract({
    kind: 'apache',
    recipe: 'edges/apache',
    source: apache,
    field: 'X-SSL-Cert',
    write: WRITE.pemWithSpaces,
    without: 'certificate.not_presented',
    expired: 'handshake',
    oversize: 431,
    // It removes what Connection lists after it has set it: the client refuses itself.
    listed: 'certificate.missing',
    longField: { '1.1': 400, '2': 431 },
    listedInHttp2: { reset: 1 },
  });
});
