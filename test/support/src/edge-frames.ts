import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The edges that Debian has. */
export type EdgeKind = 'nginx' | 'haproxy' | 'apache' | 'caddy';

/** How an edge is started around a recipe, which says nothing of logs, users and modules. */
interface Frame {
  readonly command: string;
  /** What Debian calls it. */
  readonly packages: string;
  /** Arguments with which it only says its version. */
  readonly version: readonly string[];
  /** The files of a recipe that are its configuration. */
  readonly configuration: RegExp;
  /** What Debian keeps in a package of its own, and the text by which a recipe shows that it needs it. */
  readonly module?: { readonly file: string; readonly neededFor: string };
  /** Texts of a recipe, and what they are on a port of the loopback. */
  readonly local: (port: number) => readonly (readonly [string, string])[];
  /** Arguments with which it runs the recipe in the folder, in the foreground. Writes what else it needs there. */
  readonly start: (folder: string) => readonly string[];
}

const NJS = '/usr/lib/nginx/modules/ngx_http_js_module.so';
const isRoot = process.getuid?.() === 0;

export const FRAMES: Record<EdgeKind, Frame> = {
  nginx: {
    command: 'nginx',
    packages: 'nginx libnginx-mod-http-js',
    version: ['-v'],
    configuration: /\.conf$/,
    module: { file: NJS, neededFor: 'js_import' },
    local: (port) => [['listen 443 ', `listen 127.0.0.1:${port} `]],
    start(folder) {
      write(folder, 'nginx.main', [
        ...(existsSync(NJS) ? [`load_module ${NJS};`] : []),
        'daemon off; master_process off; pid nginx.pid; error_log stderr warn;',
        'events { worker_connections 256; }',
        'http {',
        '  access_log off;',
        // so that sessions are resumed by their id too, as TLS 1.2 clients do
        '  ssl_session_cache shared:tls:1m;',
        ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${join(folder, name)};`),
        `  include ${folder}/*.conf;`,
        '}',
      ]);
      return ['-e', 'stderr', '-p', folder, '-c', join(folder, 'nginx.main')];
    },
  },
  haproxy: {
    command: 'haproxy',
    packages: 'haproxy',
    version: ['-v'],
    configuration: /\.(?:cfg|list)$/,
    local: (port) => [['bind :443 ', `bind 127.0.0.1:${port} `]],
    start(folder) {
      write(folder, 'global.cfg', ['global', '    maxconn 256', '    tune.ssl.default-dh-param 2048']);
      return ['-db', '-f', join(folder, 'global.cfg'), '-f', join(folder, 'haproxy.cfg')];
    },
  },
  apache: {
    command: 'apache2',
    packages: 'apache2',
    version: ['-v'],
    configuration: /\.conf$/,
    local: (port) => [
      ['Listen 443', `Listen 127.0.0.1:${port}`],
      ['<VirtualHost *:443>', `<VirtualHost 127.0.0.1:${port}>`],
    ],
    start(folder) {
      const modules = ['mpm_event', 'authz_core', 'socache_shmcb', 'ssl', 'headers', 'proxy', 'proxy_http', 'http2'];
      write(folder, 'apache.main', [
        `ServerRoot ${folder}`,
        `PidFile ${folder}/apache.pid`,
        `DefaultRuntimeDir ${folder}`,
        'ServerName localhost',
        'ErrorLog /dev/stderr',
        'LogLevel warn',
        ...(isRoot ? ['User www-data', 'Group www-data'] : []),
        ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
        // one process: what is started is what is stopped, and it comes up at once
        'StartServers 1',
        'ServerLimit 1',
        'ThreadsPerChild 25',
        'MaxRequestWorkers 25',
        `SSLSessionCache shmcb:${folder}/tls(512000)`,
        `Include ${folder}/*.conf`,
      ]);
      return ['-D', 'FOREGROUND', '-f', join(folder, 'apache.main')];
    },
  },
  caddy: {
    command: 'caddy',
    packages: 'caddy',
    version: ['version'],
    configuration: /^Caddyfile$/,
    local: (port) => [['api.example.com {', `https://localhost:${port} {`]],
    start(folder) {
      write(folder, 'Caddyfile.main', [
        '{',
        '  admin off',
        '  auto_https disable_redirects',
        '  default_bind 127.0.0.1',
        '  servers {',
        '    protocols h1 h2',
        '  }',
        '}',
        `import ${folder}/Caddyfile`,
      ]);
      return ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile.main')];
    },
  },
};

function write(folder: string, name: string, lines: readonly string[]): void {
  writeFileSync(join(folder, name), `${lines.join('\n')}\n`);
}
