import type { X509Certificate } from 'node:crypto';
import { batchesOf, type Line, lineOf, type Spoof, spoofsOf, VERIFY_FIELDS } from './fields.ts';
import type { Identity } from './impostor.ts';
import { DIRECT, type Lane, LANES, requestsFor, type Sender, type Shape, shaped } from './plan.ts';
import { type Answer, type Sending, send, sendTwice } from './request.ts';

/** What is probed, with what, and within which bounds. */
export interface ProbeOptions {
  readonly url: URL;
  /** The address of the API itself, around the edge. */
  readonly direct: URL | undefined;
  readonly method: string;
  readonly token: string;
  readonly owner: Identity;
  readonly impostor: Identity;
  readonly largeImpostor: Identity;
  readonly ca: string | undefined;
  /** Names of fields; empty for all that are known. */
  readonly fields: readonly string[];
  readonly maxRequests: number;
  /** Milliseconds for everything. */
  readonly maxTime: number;
  /** Milliseconds for one request. */
  readonly timeout: number;
}

/**
 * What became of an attempt. `granted` is said of the owner, as it should be; `refused` of a thief, as it should be; `got in` where
 * a thief was served, or what a client sent reached the API; `unclear` where it could not be told; `not offered` where there was
 * nothing to attack.
 */
export type Verdict = 'granted' | 'refused' | 'got in' | 'unclear' | 'not offered';

/** One attempt, over all fields that were spoofed in it. */
export interface Attempt {
  readonly lane: string;
  readonly title: string;
  readonly verdict: Verdict;
  /** Status codes that came back. */
  readonly statuses: readonly number[];
  /** The fields that got in. */
  readonly fields: readonly string[];
  /** More about the verdict. */
  readonly note: string | undefined;
}

/** Everything that was found out. */
export interface Report {
  /** `closed`: every attack was refused. `open`: something got in. `unclear`: nothing did, but not everything could be told. */
  readonly outcome: 'closed' | 'open' | 'unclear';
  readonly attempts: readonly Attempt[];
  readonly requests: number;
  readonly milliseconds: number;
}

const BEFORE = 'Before all';
const WITHOUT_TOKEN = 'the owner, without a token';

/** Characters of spoofed fields in one request. */
const BATCH = 4000;

/** The most requests that a probe with these fields takes, where nothing has to be looked at twice. */
export function plannedRequests({ fields, owner, direct }: Pick<ProbeOptions, 'fields' | 'owner' | 'direct'>): number {
  return requestsFor(batchesOf(spoofsOf(fields), owner.certificate, BATCH).length, direct !== undefined);
}

/** Attacks the API from outside, one request after the other. Never rejects because of what comes back. */
export async function runProbe(options: ProbeOptions, onLane: (title: string) => void = () => {}): Promise<Report> {
  return new Probe(options).run(onLane);
}

/** Thrown when the bounds are reached; everything that is left is unclear. */
class Exhausted extends Error {}

class Probe {
  readonly #options: ProbeOptions;
  readonly #spoofs: readonly Spoof[];
  readonly #attempts: Attempt[] = [];
  readonly #began = performance.now();
  #requests = 0;

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#spoofs = spoofsOf(options.fields);
  }

  async run(onLane: (title: string) => void): Promise<Report> {
    try {
      await this.#everything(onLane);
    } catch (error) {
      if (!(error instanceof Exhausted)) throw error;
      this.#note('The rest', 'what follows', 'unclear', undefined, 'not tried: the bound on requests or time is reached');
    }
    const verdicts = new Set(this.#attempts.map(({ verdict }) => verdict));
    const isTold = !verdicts.has('unclear') && verdicts.has('granted');
    return {
      outcome: verdicts.has('got in') ? 'open' : isTold ? 'closed' : 'unclear',
      attempts: this.#attempts,
      requests: this.#requests,
      milliseconds: Math.round(performance.now() - this.#began),
    };
  }

  async #everything(onLane: (title: string) => void): Promise<void> {
    if (!(await this.#isProtected())) return;
    for (const lane of LANES) {
      onLane(lane.title);
      await this.#lane(lane);
    }
    await this.#sameConnection();
    if (this.#options.direct !== undefined) await this.#around(this.#options.direct);
  }

  /** Where anybody is served without a token, nothing that follows would mean anything; and first of all it has to be the server. */
  async #isProtected(): Promise<boolean> {
    for (const tls of ['TLSv1.3', 'TLSv1.2'] as const) {
      const answer = await this.#send({ identity: this.#options.owner, tls, lines: [] });
      if (answer.kind === 'unsupported') continue;
      const problem = isServed(answer)
        ? 'it is served: choose a URL that asks for the token'
        : answer.kind === 'failed'
          ? answer.reason
          : '';
      if (problem !== '') this.#note(BEFORE, WITHOUT_TOKEN, 'unclear', answer, problem);
      return problem === '';
    }
    this.#note(BEFORE, WITHOUT_TOKEN, 'unclear', undefined, 'neither TLS 1.3 nor TLS 1.2 is spoken');
    return false;
  }

  async #lane(lane: Lane): Promise<void> {
    const { title, attacks } = lane;
    const control = await this.#attempt(lane, 'owner', []);
    if (control.kind === 'unsupported') return this.#note(title, 'the owner', 'not offered', undefined, control.reason);
    const isGranted = isServed(control);
    this.#note(title, 'the owner', isGranted ? 'granted' : 'unclear', control, isGranted ? undefined : whyOwner(control));
    if (control.kind !== 'answer') return;
    const baselines = new Map<Sender, Answer>([['owner', control]]);
    for (const [sender, shape] of attacks) {
      if (isGranted || sender !== 'owner') await this.#attack(lane, sender, shape, baselines);
    }
    if (isGranted) return;
    // An edge that loses the certificate of the owner may well hand on what a client writes in its place.
    const { certificate } = this.#options.owner;
    const ask = (lines: readonly Line[]): Promise<Answer> => this.#attempt(lane, 'owner', lines);
    await this.#spoof(title, 'the owner, who writes its certificate itself', 'nobody', certificate, 'plain', control, ask);
  }

  async #attack(lane: Lane, sender: Sender, shape: Shape, baselines: Map<Sender, Answer>): Promise<void> {
    const title = titleOf(sender, shape);
    if (shape === 'none') {
      const answer = await this.#attempt(lane, sender, []);
      baselines.set(sender, answer);
      const [verdict, note] = judge(sender, answer);
      return this.#note(lane.title, title, verdict, answer, note);
    }
    // Of the owner it is asked whether a field that names somebody else changes anything: then it reaches the API.
    const { owner, impostor } = this.#options;
    const claimed = sender === 'owner' ? impostor.certificate : owner.certificate;
    await this.#spoof(lane.title, title, sender, claimed, shape, baselines.get(sender), (lines) => this.#attempt(lane, sender, lines));
  }

  /** Sends every spoof, several in one request, and each alone where the answer says that something happened. */
  async #spoof(
    lane: string,
    title: string,
    sender: Sender,
    claimed: X509Certificate,
    shape: Shape,
    baseline: Answer | undefined,
    ask: (lines: readonly Line[]) => Promise<Answer>,
  ): Promise<void> {
    const answers: Answer[] = [];
    const gotIn = new Set<string>();
    let worst: readonly [Verdict, string | undefined] = ['not offered', undefined];
    const judgeAll = async (spoofs: readonly Spoof[]): Promise<Verdict> => {
      const lines = spoofs.map((spoof) => lineOf(spoof, claimed));
      const answer = await ask(shaped(shape, [...lines, ...verifyLines(spoofs)]));
      const judged = judge(sender, answer);
      // Refused for another reason than without the fields, for instance for their size: then each may fare differently.
      const isOther = judged[0] === 'got in' || (judged[0] === 'refused' && !isAlike(answer, baseline) && !isStatus(answer, 401));
      if (spoofs.length > 1 && isOther) {
        const alone: Verdict[] = [];
        for (const spoof of spoofs) alone.push(await judgeAll([spoof]));
        if (judged[0] !== 'got in' || alone.includes('got in')) return judged[0];
      }
      answers.push(answer);
      if (judged[0] === 'got in') for (const { name } of spoofs) gotIn.add(name);
      if (RANK[judged[0]] > RANK[worst[0]]) worst = judged;
      return judged[0];
    };
    for (const batch of batchesOf(this.#spoofs, claimed, BATCH)) await judgeAll(batch);
    this.#note(lane, title, worst[0], answers, worst[1], [...gotIn]);
  }

  /** Some edges hand on the certificate with the first request of a connection only. */
  async #sameConnection(): Promise<void> {
    const title = 'Two requests on one connection';
    const tls = LANES.find((lane) => this.#attempts.some((one) => one.lane === lane.title && one.verdict === 'granted'))?.tls;
    if (tls === undefined) return;
    this.#spend(2);
    const [first, second] = await sendTwice(this.#sending({ identity: this.#options.owner, tls, lines: [this.#authorization()] }));
    if (second.kind === 'unsupported') return this.#note(title, 'the owner', 'not offered', undefined, second.reason);
    if (isServed(second)) return this.#note(title, 'the owner', 'granted', second);
    this.#note(title, 'the owner', 'unclear', second, isServed(first) ? 'the first is served, the second is not' : whyOwner(second));
  }

  async #around(url: URL): Promise<void> {
    const lane = 'Around the edge';
    const ask = (lines: readonly Line[]): Promise<Answer> => this.#direct(url, lines);
    const alone = await ask([]);
    // What cannot be reached cannot be attacked from here.
    if (alone.kind === 'failed') return this.#note(lane, 'the token alone', 'not offered', undefined, alone.reason);
    this.#note(lane, 'the token alone', judge('nobody', alone)[0], alone);
    for (const shape of DIRECT) {
      const title = `the field spoofed${shape === 'plain' ? '' : `, ${shape}`}`;
      await this.#spoof(lane, title, 'nobody', this.#options.owner.certificate, shape, alone, ask);
    }
  }

  async #direct(url: URL, lines: readonly Line[]): Promise<Answer> {
    const ask = (tls: Sending['tls']): Promise<Answer> =>
      this.#send({ url, identity: undefined, tls, lines: [this.#authorization(), ...lines] });
    const answer = await ask('TLSv1.3');
    return answer.kind === 'unsupported' ? ask('TLSv1.2') : answer;
  }

  async #attempt({ http, tls, resumed }: Lane, sender: Sender, spoofed: readonly Line[]): Promise<Answer> {
    const sending = { http, tls, identity: this.#identityOf(sender), lines: [this.#authorization(), ...spoofed] };
    if (!resumed) return this.#send(sending);
    // A session may be good for one connection only, so each has its own.
    const first = await this.#send({ ...sending, lines: [this.#authorization()] });
    if (first.kind !== 'answer') return first;
    if (first.session === undefined) return { kind: 'unsupported', reason: 'the edge offers no session to resume' };
    const answer = await this.#send({ ...sending, session: first.session });
    return answer.kind === 'answer' && !answer.resumed ? { kind: 'unsupported', reason: 'the edge does not resume the session' } : answer;
  }

  #identityOf(sender: Sender): Identity | undefined {
    const { owner, impostor, largeImpostor } = this.#options;
    if (sender === 'nobody') return undefined;
    return sender === 'owner' ? owner : sender === 'impostor' ? impostor : largeImpostor;
  }

  #authorization(): Line {
    return ['Authorization', `Bearer ${this.#options.token}`];
  }

  async #send(sending: Partial<Sending> & Pick<Sending, 'identity' | 'tls' | 'lines'>): Promise<Answer> {
    this.#spend(1);
    return send(this.#sending(sending));
  }

  #sending(sending: Partial<Sending> & Pick<Sending, 'identity' | 'tls' | 'lines'>): Sending {
    const { url, method, ca, timeout } = this.#options;
    return { url, method, ca, timeout: Math.min(timeout, this.#timeLeft()), http: '1.1', session: undefined, ...sending };
  }

  #timeLeft(): number {
    return Math.max(0, Math.ceil(this.#options.maxTime - (performance.now() - this.#began)));
  }

  #spend(requests: number): void {
    if (this.#requests + requests > this.#options.maxRequests || this.#timeLeft() === 0) throw new Exhausted();
    this.#requests += requests;
  }

  #note(
    lane: string,
    title: string,
    verdict: Verdict,
    answers: Answer | readonly Answer[] | undefined,
    note?: string,
    fields: readonly string[] = [],
  ): void {
    const statuses = [answers ?? []].flat().flatMap((answer) => (answer.kind === 'answer' ? [answer.status] : []));
    this.#attempts.push({ lane, title, verdict, statuses: [...new Set(statuses)].toSorted((a, b) => a - b), fields, note });
  }
}

const RANK: Readonly<Record<Verdict, number>> = { 'not offered': 0, granted: 1, refused: 1, unclear: 2, 'got in': 3 };

/** Says little about the next request: too many, too slow, broken for the moment. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 502, 503, 504]);

function judge(sender: Sender, answer: Answer): readonly [Verdict, string | undefined] {
  switch (answer.kind) {
    case 'failed':
      return ['unclear', answer.reason];
    case 'unsupported':
      return ['not offered', answer.reason];
    case 'closed':
      return ['refused', answer.reason];
    case 'answer':
      if (PASSING.has(answer.status)) return ['unclear', `${answer.status} says nothing about who is served`];
      if (sender === 'owner') {
        if (answer.status === 401) return ['got in', 'a field that the owner sent changed the answer: it reaches the API'];
        return ['refused', undefined];
      }
      return [isServed(answer) ? 'got in' : 'refused', undefined];
  }
}

function isServed(answer: Answer): boolean {
  return answer.kind === 'answer' && answer.status >= 200 && answer.status < 300;
}

function isStatus(answer: Answer, status: number): boolean {
  return answer.kind === 'answer' && answer.status === status;
}

function isAlike(answer: Answer, other: Answer | undefined): boolean {
  if (answer.kind === 'answer') return other?.kind === 'answer' && other.status === answer.status;
  return answer.kind === other?.kind;
}

function whyOwner(answer: Answer): string {
  if (answer.kind !== 'answer') return answer.reason;
  const hint = answer.status === 401 ? ': has the token expired, is it bound to this certificate, does the edge hand it on?' : '';
  return `the owner itself is answered ${answer.status}${hint}`;
}

/** What an edge says beside the certificate, forged too; left out where it is spoofed itself. */
function verifyLines(spoofs: readonly Spoof[]): readonly Line[] {
  const names = new Set(spoofs.map(({ name }) => name.toLowerCase()));
  return [...VERIFY_FIELDS].filter(([name]) => !names.has(name.toLowerCase()));
}

function titleOf(sender: Sender, shape: Shape): string {
  const fields = shape === 'none' ? '' : shape === 'plain' ? ', the field spoofed' : `, the field spoofed, ${shape}`;
  switch (sender) {
    case 'owner':
      return `the owner, who spoofs another certificate${shape === 'plain' ? '' : `, ${shape}`}`;
    case 'nobody':
      return `no certificate${fields}`;
    case 'impostor':
      return `another certificate${fields}`;
    case 'large impostor':
      return `another, very large certificate${fields}`;
  }
}
