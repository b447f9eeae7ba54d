import type { Line } from './fields.ts';
import type { TlsVersion } from './request.ts';

/** Who sends: the owner of the token; somebody without a certificate; with another one; with another one that is very large. */
export type Sender = 'owner' | 'nobody' | 'impostor' | 'large impostor';

/** How spoofed fields are sent. */
export type Shape =
  | 'none'
  | 'plain'
  | 'other case'
  | 'twice'
  | 'underscores'
  | 'listed in Connection'
  | 'beside much else'
  | 'with X-Forwarded-For';

/** A filler that leaves an edge with buffers of 16 KiB little room to write its own fields. */
const FILLER: Line = ['X-Filler', 'x'.repeat(7000)];

const SHAPES: Readonly<Record<Shape, (lines: readonly Line[]) => readonly Line[]>> = {
  none: () => [],
  plain: (lines) => lines,
  'other case': (lines) => lines.map(([name, value]) => [name === name.toLowerCase() ? name.toUpperCase() : name.toLowerCase(), value]),
  twice: (lines) => lines.flatMap((line) => [line, line]),
  underscores: (lines) => lines.map(([name, value]) => [swapped(name), value]),
  'listed in Connection': (lines) => [...lines, ['Connection', ['close', ...lines.map(([name]) => name)].join(', ')]],
  'beside much else': (lines) => [...lines, FILLER],
  'with X-Forwarded-For': (lines) => [
    ...lines,
    ['X-Forwarded-For', '127.0.0.1'],
    ['X-Real-IP', '127.0.0.1'],
    ['Forwarded', 'for=127.0.0.1'],
  ],
};

/** The twin of a name that CGI and its heirs take for the same. */
function swapped(name: string): string {
  return name.includes('_') ? name.replaceAll('_', '-') : name.replaceAll('-', '_');
}

/** The lines of spoofed fields in a shape. */
export function shaped(shape: Shape, lines: readonly Line[]): readonly Line[] {
  return SHAPES[shape](lines);
}

/** A way for requests to come in; each has the owner as its control. */
export interface Lane {
  readonly title: string;
  readonly http: '1.1' | '2';
  readonly tls: TlsVersion;
  readonly resumed: boolean;
  readonly attacks: readonly (readonly [Sender, Shape])[];
}

const THIEVES = ['nobody', 'impostor'] as const;
const all = (...shapes: Shape[]): [Sender, Shape][] => THIEVES.flatMap((sender) => shapes.map((shape): [Sender, Shape] => [sender, shape]));

/** Everything that is tried through the edge, in order. */
export const LANES: readonly Lane[] = [
  {
    title: 'HTTP/1.1 over TLS 1.3',
    http: '1.1',
    tls: 'TLSv1.3',
    resumed: false,
    attacks: [
      ...all('none', 'plain', 'other case', 'twice', 'underscores', 'listed in Connection', 'beside much else'),
      ['large impostor', 'plain'],
      ['owner', 'plain'],
      ['owner', 'other case'],
    ],
  },
  {
    title: 'HTTP/1.1 over TLS 1.2',
    http: '1.1',
    tls: 'TLSv1.2',
    resumed: false,
    attacks: [...all('none', 'plain'), ['owner', 'plain']],
  },
  {
    title: 'HTTP/2 over TLS 1.3',
    http: '2',
    tls: 'TLSv1.3',
    resumed: false,
    attacks: [...all('none', 'plain', 'twice', 'underscores'), ['owner', 'plain']],
  },
  {
    title: 'A resumed session of TLS 1.3',
    http: '1.1',
    tls: 'TLSv1.3',
    resumed: true,
    attacks: [...all('none', 'plain'), ['owner', 'plain']],
  },
  {
    title: 'A resumed session of TLS 1.2',
    http: '1.1',
    tls: 'TLSv1.2',
    resumed: true,
    attacks: [...all('none', 'plain'), ['owner', 'plain']],
  },
];

/** What is tried at the address of the API itself, around the edge. */
export const DIRECT: readonly Shape[] = ['plain', 'with X-Forwarded-For'];

/** How many requests the plan takes at most, where nothing has to be looked at twice. */
export function requestsFor(batches: number, direct: boolean): number {
  const inLane = ({ attacks, resumed }: Lane): number => {
    // The owner stands before and after.
    const sent = attacks.reduce((sum, [, shape]) => sum + (shape === 'none' ? 1 : batches), 2);
    return resumed ? 2 * sent : sent;
  };
  return 3 + LANES.reduce((sum, lane) => sum + inLane(lane), 0) + (direct ? 1 + 2 * batches : 0);
}
