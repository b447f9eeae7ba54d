import type { X509Certificate } from 'node:crypto';
import { Client, type ClientOptions, Exhausted } from './client.ts';
import { batchesOf, type Line, lineOf, type Spoof, spoofsOf, VERIFY_FIELDS } from './fields.ts';
import { type Attack, attacksIn, DIRECT, type Lane, LANES, requestsFor, type Sender, type Shape, shaped } from './plan.ts';
import { type Answer, TLS_VERSIONS } from './request.ts';
import { isAlike, isServed, isUnauthorized, judge, RANK, type Verdict, whyOwner } from './verdict.ts';

/** What is probed, with what, and within which bounds. */
export interface ProbeOptions extends ClientOptions {
  /** The address of the API itself, around the edge. */
  readonly direct: URL | undefined;
  /** Names of fields; empty for all that are known. */
  readonly fields: readonly string[];
}

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
const ALONE = 'the token alone';
const NO_LONGER = 'the owner is no longer served: the token may have expired, or the edge has locked this client out';
const LOCKED_OUT: readonly [Verdict, string] = ['unclear', NO_LONGER];

/** Characters of spoofed fields in one request. */
const BATCH = 4000;

/** How many requests a probe with these fields takes, where everything is offered and nothing has to be looked at twice. */
export function plannedRequests({ fields, owner, direct }: Pick<ProbeOptions, 'fields' | 'owner' | 'direct'>): number {
  return requestsFor(batchesOf(spoofsOf(fields), owner.certificate, BATCH).length, direct !== undefined);
}

/** Attacks the API from outside, one request after the other. Never rejects because of what comes back. */
export async function runProbe(options: ProbeOptions, onLane: (title: string) => void = () => {}): Promise<Report> {
  return new Probe(options).run(onLane);
}

class Probe {
  readonly #options: ProbeOptions;
  readonly #spoofs: readonly Spoof[];
  readonly #client: Client;
  readonly #attempts: Attempt[] = [];

  constructor(options: ProbeOptions) {
    this.#options = options;
    this.#client = new Client(options);
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
      requests: this.#client.requests,
      milliseconds: this.#client.milliseconds,
    };
  }

  async #everything(onLane: (title: string) => void): Promise<void> {
    if (!(await this.#isProtected())) return;
    const tried = new Set<Lane['http']>();
    for (const lane of LANES) {
      onLane(lane.title);
      const isOffered = await this.#lane(lane, attacksIn(lane, !tried.has(lane.http)));
      if (isOffered) tried.add(lane.http);
    }
    await this.#sameConnection();
    if (this.#options.direct !== undefined) await this.#around(this.#options.direct);
  }

  /** Where anybody is served without a token, nothing that follows would mean anything; and first of all it has to be the server. */
  async #isProtected(): Promise<boolean> {
    const reasons: string[] = [];
    for (const tls of TLS_VERSIONS) {
      const answer = await this.#client.withoutToken(tls);
      if (answer.kind === 'answer') {
        if (isServed(answer)) this.#note(BEFORE, WITHOUT_TOKEN, 'unclear', answer, 'it is served: choose a URL that asks for the token');
        return !isServed(answer);
      }
      reasons.push(answer.reason);
      // Neither would be different with the other version.
      if (answer.kind === 'failed' || answer.kind === 'unreachable') break;
    }
    this.#note(BEFORE, WITHOUT_TOKEN, 'unclear', undefined, [...new Set(reasons)].join('; '));
    return false;
  }

  /** Whether there was an answer, so that everything in it was tried. */
  async #lane(lane: Lane, attacks: readonly Attack[]): Promise<boolean> {
    const { title } = lane;
    const control = await this.#client.attempt(lane, 'owner', []);
    if (control.kind === 'unsupported') {
      this.#note(title, 'the owner', 'not offered', undefined, control.reason);
      return false;
    }
    const isGranted = isServed(control);
    this.#note(title, 'the owner', isGranted ? 'granted' : 'unclear', control, isGranted ? undefined : whyOwner(control));
    if (control.kind !== 'answer') return false;
    const baselines = new Map<Sender, Answer>([['owner', control]]);
    for (const [sender, shape] of attacks) {
      if (isGranted || sender !== 'owner') await this.#attack(lane, sender, shape, baselines);
    }
    if (isGranted) {
      // Or else what was refused in between may have been refused for another reason: the token has expired, the sender is locked out.
      const again = await this.#client.attempt(lane, 'owner', []);
      if (!isServed(again)) this.#note(title, 'the owner, at last', 'unclear', again, NO_LONGER);
      return true;
    }
    // An edge that loses the certificate of the owner may well hand on what a client writes in its place.
    const { certificate } = this.#options.owner;
    const ask = (lines: readonly Line[]): Promise<Answer> => this.#client.attempt(lane, 'owner', lines);
    await this.#spoof(title, 'the owner, who writes its certificate itself', 'nobody', certificate, 'plain', control, ask);
    return true;
  }

  async #attack(lane: Lane, sender: Sender, shape: Shape, baselines: Map<Sender, Answer>): Promise<void> {
    const title = titleOf(sender, shape);
    if (shape === 'none') {
      const answer = await this.#client.attempt(lane, sender, []);
      baselines.set(sender, answer);
      const [verdict, note] = judge(sender, answer);
      return this.#note(lane.title, title, verdict, answer, note);
    }
    // Of the owner it is asked whether a field that names somebody else changes anything: then it reaches the API.
    const { owner, impostor } = this.#options;
    const claimed = sender === 'owner' ? impostor.certificate : owner.certificate;
    const ask = (lines: readonly Line[]): Promise<Answer> => this.#client.attempt(lane, sender, lines);
    await this.#spoof(lane.title, title, sender, claimed, shape, baselines.get(sender), ask);
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
      const judged = sender === 'owner' && isUnauthorized(answer) && !isServed(await ask([])) ? LOCKED_OUT : judge(sender, answer);
      // Refused for another reason than without the fields, for instance for their size: then each may fare differently.
      const isOther = judged[0] === 'got in' || (judged[0] === 'refused' && !isAlike(answer, baseline) && !isUnauthorized(answer));
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
    try {
      for (const batch of batchesOf(this.#spoofs, claimed, BATCH)) await judgeAll(batch);
    } finally {
      // Also where the bounds are reached in between: what has got in by then has got in.
      if (answers.length > 0) this.#note(lane, title, worst[0], answers, worst[1], [...gotIn]);
    }
  }

  /** Some edges hand on the certificate with the first request of a connection only. */
  async #sameConnection(): Promise<void> {
    const title = 'Two requests on one connection';
    const tls = LANES.find((lane) => this.#attempts.some((one) => one.lane === lane.title && one.verdict === 'granted'))?.tls;
    if (tls === undefined) return;
    const [first, second] = await this.#client.twice(tls);
    if (second.kind === 'unsupported') return this.#note(title, 'the owner', 'not offered', undefined, second.reason);
    if (isServed(second)) return this.#note(title, 'the owner', 'granted', second);
    this.#note(title, 'the owner', 'unclear', second, isServed(first) ? 'the first is served, the second is not' : whyOwner(second));
  }

  async #around(url: URL): Promise<void> {
    const lane = 'Around the edge';
    const reasons: string[] = [];
    for (const tls of TLS_VERSIONS) {
      const ask = (lines: readonly Line[]): Promise<Answer> => this.#client.direct(url, tls, lines);
      const alone = await ask([]);
      // What cannot be reached cannot be attacked from here.
      if (alone.kind === 'unreachable') return this.#note(lane, ALONE, 'refused', undefined, alone.reason);
      if (alone.kind === 'answer') {
        const [verdict, note] = judge('nobody', alone);
        this.#note(lane, ALONE, verdict, alone, note);
        for (const shape of DIRECT) {
          const title = `the field spoofed${shape === 'plain' ? '' : `, ${shape}`}`;
          await this.#spoof(lane, title, 'nobody', this.#options.owner.certificate, shape, alone, ask);
        }
        return;
      }
      reasons.push(alone.reason);
      if (alone.kind === 'failed' || url.protocol === 'http:') break;
    }
    // Somebody listens there, and nothing was attacked: that a connection ends says nothing of what another one would have got.
    this.#note(lane, ALONE, 'unclear', undefined, `no answer to attack: ${[...new Set(reasons)].join('; ')}`);
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
