import type { Line } from './fields.ts';
import type { Identity } from './impostor.ts';
import type { Lane, Sender } from './plan.ts';
import { type Answer, type Sending, send, sendTwice, type TlsVersion } from './request.ts';

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

/** Sends requests, one after the other, within the bounds. */
export class Client {
  readonly #options: ClientOptions;
  readonly #began = performance.now();
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
    // A session may be good for one connection only, so each has its own.
    const first = await this.#send({ ...sending, lines: [this.#authorization()] });
    if (first.kind !== 'answer') return first;
    if (first.session === undefined) return { kind: 'unsupported', reason: 'the edge offers no session to resume' };
    const answer = await this.#send({ ...sending, session: first.session });
    return answer.kind === 'answer' && !answer.resumed ? { kind: 'unsupported', reason: 'the edge does not resume the session' } : answer;
  }

  /** The owner, twice on one connection. */
  twice(tls: TlsVersion): Promise<readonly [Answer, Answer]> {
    this.#spend(2);
    return sendTwice(this.#sending({ identity: this.#options.owner, tls, lines: [this.#authorization()] }));
  }

  /** The token at another address, without a certificate, and what is spoofed beside it. */
  async direct(url: URL, spoofed: readonly Line[]): Promise<Answer> {
    const ask = (tls: TlsVersion): Promise<Answer> =>
      this.#send({ url, identity: undefined, tls, lines: [this.#authorization(), ...spoofed] });
    const answer = await ask('TLSv1.3');
    return answer.kind === 'unsupported' ? ask('TLSv1.2') : answer;
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
}
