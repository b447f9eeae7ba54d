import type { Line } from './fields.ts';
import { TLS_VERSIONS, type TlsVersion } from './request.ts';

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
}

/** Every way through the edge, in order: resumed sessions come early, for there edges have been wrong that were right before. */
export const LANES: readonly Lane[] = (['1.1', '2'] as const).flatMap((http) =>
  TLS_VERSIONS.flatMap((tls) => [false, true].map((resumed) => ({ title: titleOf(http, tls, resumed), http, tls, resumed }))),
);

function titleOf(http: Lane['http'], tls: TlsVersion, resumed: boolean): string {
  const version = tls.replace('v', ' ');
  return resumed ? `HTTP/${http} on a resumed session of ${version}` : `HTTP/${http} over ${version}`;
}

/** Who sends what. */
export type Attack = readonly [sender: Sender, shape: Shape];

const THIEVES = ['nobody', 'impostor'] as const;
const all = (...shapes: Shape[]): Attack[] => THIEVES.flatMap((sender) => shapes.map((shape): Attack => [sender, shape]));

/** What is tried in every lane. */
const BRIEF: readonly Attack[] = [...all('none', 'plain'), ['owner', 'plain']];
/** What is tried in the first lane that is offered: everything that this version of HTTP can say. */
const IN_FULL: Readonly<Record<Lane['http'], readonly Attack[]>> = {
  '1.1': [
    ...all('none', 'plain', 'other case', 'twice', 'underscores', 'listed in Connection', 'beside much else'),
    ['large impostor', 'plain'],
    ['owner', 'plain'],
    ['owner', 'other case'],
  ],
  '2': [...all('none', 'plain', 'twice', 'underscores', 'beside much else'), ['large impostor', 'plain'], ['owner', 'plain']],
};

/** The attacks of a lane, of which the first that is offered for its version of HTTP has all. */
export function attacksIn({ http }: Lane, isFirst: boolean): readonly Attack[] {
  return isFirst ? IN_FULL[http] : BRIEF;
}

/** What is tried at the address of the API itself, around the edge. */
export const DIRECT: readonly Shape[] = ['plain', 'with X-Forwarded-For'];

/** How many requests the plan takes, where everything is offered and nothing has to be looked at twice. */
export function requestsFor(batches: number, direct: boolean): number {
  const inLane = (lane: Lane): number => {
    const isFirst = LANES.find(({ http }) => http === lane.http) === lane;
    // The owner stands before and after; who resumes needs a session first.
    const more = 2 + (lane.resumed ? 1 + THIEVES.length : 0);
    return attacksIn(lane, isFirst).reduce((sum, [, shape]) => sum + (shape === 'none' ? 1 : batches), more);
  };
  return 3 + LANES.reduce((sum, lane) => sum + inLane(lane), 0) + (direct ? 1 + 2 * batches : 0);
}
