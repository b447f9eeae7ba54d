import type { Line } from './fields.ts';
import type { Identity } from './impostor.ts';
import type { Lane, Sender } from './plan.ts';
import { type Answer, type Sending, send, sendTwice, type TlsVersion } from './request.ts';
import { isMomentary } from './verdict.ts';

/** What every request has in common, and how many there may be. */
export interface ClientOptions {
  readonly url: URL;
  readonly method: string;
  readonly token: string;
  readonly owner: Identity;
  readonly impostor: Identity;
  readonly largeImpostor: Identity;
  /** The authorities to trust in place of the usual ones, PEM. */
  readonly ca: string | undefined;
  readonly maxRequests: number;
  /** Milliseconds for everything. */
  readonly maxTime: number;
  /** Milliseconds for one request. */
  readonly timeout: number;
}

/** Thrown when the bounds are reached; everything that is left is unclear. */
export class Exhausted extends Error {}

/** How often a session is asked for until the edge counts as one that has none: what is not tried finds nothing. */
const SESSION_TRIES = 3;

/** Sends requests, one after the other, within the bounds. */
export class Client {
  readonly #options: ClientOptions;
  readonly #began = performance.now();
  /** Of each sender and way, the last that could be resumed. */
  readonly #sessions = new Map<string, Buffer>();
  /** The senders and ways of which none was, after several tries. */
  readonly #notResumed = new Map<string, Answer>();
  #requests = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** So far. */
  get requests(): number {
    return this.#requests;
  }

  get milliseconds(): number {
    return Math.round(performance.now() - this.#began);
  }

  /** The owner, without its token. */
  withoutToken(tls: TlsVersion): Promise<Answer> {
    return this.#send({ identity: this.#options.owner, tls, lines: [] });
  }

  /** Sends the token, and what is spoofed beside it. */
  async attempt({ http, tls, resumed }: Lane, sender: Sender, spoofed: readonly Line[]): Promise<Answer> {
    const sending = { http, tls, identity: this.#identityOf(sender), lines: [this.#authorization(), ...spoofed] };
    if (!resumed) return this.#send(sending);
    const key = `${http} ${tls} ${sender}`;
    const session = this.#sessions.get(key);
    const again = session === undefined ? undefined : await this.#resume(key, sending, session);
    if (again !== undefined) return again;
    const known = this.#notResumed.get(key);
    if (known !== undefined) return known;
    let offered = false;
    for (let tries = 0; tries < SESSION_TRIES; tries += 1) {
      const first = await this.#send({ ...sending, lines: [this.#authorization()] });
      if (first.kind !== 'answer') return first;
      if (first.session === undefined) continue;
      offered = true;
      const answer = await this.#resume(key, sending, first.session);
      if (answer !== undefined) return answer;
    }
    const none: Answer = {
      kind: 'unsupported',
      reason: `the edge ${offered ? 'does not resume the session' : 'offers no session to resume'}`,
    };
    this.#notResumed.set(key, none);
    return none;
  }

  /** Undefined where the session was not resumed. */
  async #resume(key: string, sending: Pick<Sending, 'identity' | 'tls' | 'http' | 'lines'>, session: Buffer): Promise<Answer | undefined> {
    const answer = await this.#send({ ...sending, session });
    const isResumed = answer.kind === 'answer' && answer.resumed;
    if (isResumed) this.#sessions.set(key, answer.session ?? session);
    else this.#sessions.delete(key);
    return answer.kind === 'answer' && !isResumed ? undefined : answer;
  }

  /** The owner, twice on one connection. */
  twice(tls: TlsVersion): Promise<readonly [Answer, Answer]> {
    this.#spend(2);
    return sendTwice(this.#sending({ identity: this.#options.owner, tls, lines: [this.#authorization()] }));
  }

  /** The token at another address, without a certificate, and what is spoofed beside it. */
  direct(url: URL, tls: TlsVersion, spoofed: readonly Line[]): Promise<Answer> {
    return this.#send({ url, identity: undefined, tls, lines: [this.#authorization(), ...spoofed] });
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
    const answer = await send(this.#sending(sending));
    if (!isMomentary(answer)) return answer;
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
}
