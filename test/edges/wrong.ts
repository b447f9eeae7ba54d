import type { CertificateSource, EdgeTrust } from '@holdfast/core';
import { apache, haproxy, nginx } from '@holdfast/express';
import type { Change, EdgeKind } from '@holdfast/test-support/edges';
import type { Identity } from '@holdfast/test-support/pki';
import { WRITE } from './contract.ts';

/** A recipe with a mistake that people make, through which a thief gets in. */
export interface WrongEdge {
  readonly title: string;
  readonly kind: EdgeKind;
  readonly recipe: string;
  readonly changes: readonly Change[];
  readonly source: (options: { readonly trust: EdgeTrust }) => CertificateSource;
  readonly field: string;
  readonly write: (identity: Identity) => string;
  /** What the thief needs besides the field: nothing; a certificate of its own that the edge trusts, on a resumed session. */
  readonly thief: 'nobody' | 'enrolled, resumed';
  /** Whether the owner is served, on a new session. */
  readonly owner: boolean;
}

const NGINX = { kind: 'nginx', recipe: 'edges/nginx', source: nginx, field: 'X-SSL-Cert', write: WRITE.percentEncodedPem } as const;
const HAPROXY = {
  kind: 'haproxy',
  recipe: 'edges/haproxy',
  source: haproxy,
  field: 'X-SSL-Client-Cert',
  write: WRITE.base64,
  owner: true,
} as const;
const SET_IN_NGINX = '        proxy_set_header X-SSL-Cert $ssl_client_escaped_cert;\n';
/** Before the right one, and so that of clients who name none that nginx knows. */
const OTHER_HOST = `server {
    listen 443 ssl http2;
    server_name old.example.com;
    ssl_certificate /etc/holdfast/server.crt;
    ssl_certificate_key /etc/holdfast/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {
        proxy_pass http://api;
        proxy_set_header Edge-Secret "change-me-change-me-change-me-42";
    }
}
`;
const SET_IN_HAPROXY = 'set-header X-SSL-Client-Cert %[ssl_c_der,base64]';
const ACCEPTED_BY_HAPROXY = 'verify optional ca-file /etc/holdfast/clients-ca.crt ca-ignore-err all crt-ignore-err all';

export const WRONG_EDGES: readonly WrongEdge[] = [
  {
    ...NGINX,
    title: 'nginx sets the field in the server, and the location has a proxy_set_header of its own',
    changes: [
      [SET_IN_NGINX, ''],
      ['    location / {\n', `${SET_IN_NGINX}    location / {\n`],
    ],
    thief: 'nobody',
    owner: false,
  },
  {
    ...NGINX,
    title: 'nginx has another virtual host that leads to the API, does not ask for certificates there, and does not set the field',
    changes: [['upstream api {', `${OTHER_HOST}upstream api {`]],
    thief: 'nobody',
    owner: false,
  },
  { ...NGINX, title: 'nginx does not set the field', changes: [[SET_IN_NGINX, '']], thief: 'nobody', owner: false },
  {
    title: 'Apache sets the field where there is a certificate, and removes nothing where there is none',
    kind: 'apache',
    recipe: 'edges/apache',
    source: apache,
    field: 'X-SSL-Cert',
    write: WRITE.pemWithSpaces,
    changes: [['"%{SSL_CLIENT_CERT}s"', '"%{SSL_CLIENT_CERT}s" "expr=-n %{SSL_CLIENT_CERT}"']],
    thief: 'nobody',
    owner: true,
  },
  {
    ...HAPROXY,
    title: 'HAProxy sets the field where there is a certificate, and removes nothing where there is none',
    changes: [[SET_IN_HAPROXY, `${SET_IN_HAPROXY} if { ssl_c_used }`]],
    thief: 'nobody',
  },
  {
    ...HAPROXY,
    title: 'HAProxy admits certificates of its authority only, and sets the field if { ssl_fc_has_crt }',
    changes: [
      [ACCEPTED_BY_HAPROXY, 'verify required ca-file /etc/holdfast/clients-ca.crt'],
      [SET_IN_HAPROXY, `${SET_IN_HAPROXY} if { ssl_fc_has_crt }`],
    ],
    thief: 'enrolled, resumed',
  },
];
