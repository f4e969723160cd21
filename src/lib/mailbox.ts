/**
 * A queue from many senders to one owner, read with `for await`.
 *
 * All input of an owner comes through one mailbox as typed messages, so its state has one writer and its order is the
 * order of arrival. Sending never waits and never fails; sending to a closed mailbox drops the message.
 */
export class Mailbox<T> implements AsyncIterable<T> {
  #queue: T[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;

  /** Messages waiting. */
  get length(): number {
    return this.#queue.length;
  }

  send(message: T): void {
    if (this.#isClosed) return;
    this.#queue.push(message);
    this.#wake?.();
  }

  /** Ends the reader's loop once the queue is empty. */
  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  /** Takes everything that waits, without waiting. */
  drain(): T[] {
    const messages = this.#queue;
    this.#queue = [];
    return messages;
  }

  /** Resolves when a message waits or the mailbox is closed; false means closed and empty. */
  async ready(): Promise<boolean> {
    while (this.#queue.length === 0) {
      if (this.#isClosed) return false;
      await new Promise<void>((resolve) => this.#wake = resolve);
      this.#wake = undefined;
    }
    return true;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    while (await this.ready()) yield* this.drain();
  }
}
