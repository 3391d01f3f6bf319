import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";

/** Connections that are made at once: more than the kernel's queue takes would wait for seconds. */
const AT_ONCE = 50;

/** Connections from an address of their own, on which something is sent and nothing more. */
export class Flood implements AsyncDisposable {
  readonly #sockets: Socket[] = [];
  readonly #closed: Promise<void>[] = [];
  /** Connections that are open. */
  #open = 0;

  private constructor() {}

  static async begin(port: number, count: number, first: Uint8Array): Promise<Flood> {
    const flood = new Flood();
    for (let begun = 0; begun < count; begun += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, () => flood.#add(port, first)));
    }
    return flood;
  }

  /** Resolves when it is connected, or refused. */
  #add(port: number, first: Uint8Array): Promise<void> {
    const socket = connect({ host: "127.0.0.1", port, localAddress: "127.0.0.2" });
    this.#sockets.push(socket);
    const connected = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<void>();
    this.#closed.push(closed.promise);
    let isOpen = false;
    socket.on("error", () => {}); // it is ended with a reset
    socket.once("end", () => socket.destroy());
    socket.resume();
    socket.once("connect", () => {
      isOpen = true;
      this.#open++;
      if (first.length > 0) socket.write(first);
      connected.resolve();
    });
    socket.once("close", () => {
      if (isOpen) this.#open--;
      connected.resolve();
      closed.resolve();
    });
    return connected.promise;
  }

  /** Waits until no more than so many are open. */
  async untilAtMost(count: number, withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs;
    while (this.#open > count) {
      assert.ok(performance.now() < deadline, `${this.#open} are open`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#closed);
  }
}
