import { once } from 'node:events';
import { connect, type TLSSocket } from 'node:tls';
import type { Scene } from './scene.js';

/**
 * Keep-alive connections that each ask again as soon as they are answered. Requests are written as prepared bytes and answers
 * only counted, so that the client costs less than any server it measures.
 */
export class Load {
  readonly #sockets: TLSSocket[] = [];
  /** Answers with the next request of a connection. */
  readonly #next: (connection: number) => Buffer;
  #answered = 0;
  #wrong: string | undefined;
  #running = false;

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
      load.#sockets.push(socket);
    }
    return load;
  }

  /** Asks for this long; resolves with the number of answers, or rejects where one was not 200. */
  async run(milliseconds: number): Promise<{ readonly answers: number; readonly seconds: number }> {
    this.#running = true;
    this.#answered = 0;
    const start = performance.now();
    for (const [i, socket] of this.#sockets.entries()) this.#ask(socket, i);
    await new Promise((resolve) => setTimeout(resolve, milliseconds));
    this.#running = false;
    if (this.#wrong !== undefined) throw new Error(`an answer was not 200: ${this.#wrong}`);
    return { answers: this.#answered, seconds: (performance.now() - start) / 1000 };
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #ask(socket: TLSSocket, i: number): void {
    socket.write(this.#next(i));
  }

  #onAnswer(socket: TLSSocket, i: number, chunk: Buffer): void {
    const head = chunk.toString('latin1', 0, 12);
    if (head !== 'HTTP/1.1 200') this.#wrong ??= chunk.toString('latin1', 0, 400);
    this.#answered += 1;
    if (this.#running) this.#ask(socket, i);
  }
}

/** Requests with these fields, one after the other for a connection. */
export function requestWith(fields: string): Buffer {
  return Buffer.from(`GET /accounts HTTP/1.1\r\nHost: localhost\r\n${fields}\r\n\r\n`);
}
