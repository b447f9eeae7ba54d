import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { Scene } from './scene.js';

/**
 * Keep-alive connections that each ask again as soon as they are answered. Requests are written as prepared bytes and answers
 * only counted, so that the client costs less than any server it measures. With a core of its own it never sleeps: on one machine
 * the server pays for waking its clients, 10 to 30 µs an answer, and that is nothing of what is measured.
 */
export class Load {
  readonly #sockets: TLSSocket[] = [];
  /** Answers with the next request of a connection. */
  readonly #next: (connection: number) => Buffer;
  #answered = 0;
  #waiting = 0;
  #wrong: string | undefined;
  #running = false;
  #onQuiet: () => void = () => undefined;

  private constructor(next: (connection: number) => Buffer) {
    this.#next = next;
  }

  static async connect(port: number, scene: Scene, connections: number, next: (connection: number) => Buffer): Promise<Load> {
    const load = new Load(next);
    for (let i = 0; i < connections; i += 1) {
      const socket = connect({ port, host: '127.0.0.1', ...scene.client, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      socket.setNoDelay(true);
      socket.on('data', (chunk) => load.#onAnswer(socket, i, chunk));
      socket.on('close', () => load.#onEnd());
      load.#sockets.push(socket);
    }
    return load;
  }

  /**
   * Asks for this long, and waits for the last answers, so that no connection ever has two requests under way. Resolves with the
   * number of answers, or rejects where one was not 200, or a connection has ended. `isAlone`: no server shares the core.
   */
  async run(milliseconds: number, isAlone: boolean): Promise<{ readonly answers: number; readonly seconds: number }> {
    this.#running = true;
    this.#answered = 0;
    const start = performance.now();
    if (isAlone) this.#stayAwake();
    for (const [i, socket] of this.#sockets.entries()) this.#ask(socket, i);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    const quiet = new Promise<void>((resolve) => {
      this.#onQuiet = resolve;
    });
    this.#running = false;
    if (this.#wrong === undefined) await quiet;
    if (this.#wrong !== undefined) throw new Error(this.#wrong);
    return { answers: this.#answered, seconds: (performance.now() - start) / 1000 };
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #stayAwake(): void {
    if (this.#running) setImmediate(() => this.#stayAwake());
  }

  #ask(socket: TLSSocket, i: number): void {
    this.#waiting += 1;
    socket.write(this.#next(i));
  }

  #onEnd(): void {
    this.#wrong ??= 'a connection has ended';
    this.#onQuiet();
  }

  #onAnswer(socket: TLSSocket, i: number, chunk: Buffer): void {
    const head = chunk.toString('latin1', 0, 12);
    if (head !== 'HTTP/1.1 200') this.#wrong ??= `an answer was not 200: ${chunk.toString('latin1', 0, 400)}`;
    this.#answered += 1;
    this.#waiting -= 1;
    if (this.#running) this.#ask(socket, i);
    else if (this.#waiting === 0) this.#onQuiet();
  }
}

/** Requests with these fields, one after the other for a connection. */
export function requestWith(fields: string): Buffer {
  return Buffer.from(`GET /accounts HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n\r\n`);
}
