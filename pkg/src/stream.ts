/** A stream of chunks that one reader consumes. To break out of the loop stops the request. */

import type { FanlightError } from './errors.js';

interface Reader<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: FanlightError): void;
}

/** What a streamed request returns: read it with `for await`, once. */
export class Stream<T extends object> implements AsyncIterableIterator<T, undefined> {
  readonly #stop: () => void;
  /** Chunks that nobody has read yet, or readers that wait for one: never both. */
  readonly #chunks: T[] = [];
  readonly #readers: Reader<T>[] = [];
  #ended = false;
  #error: FanlightError | undefined;

  /** @internal */
  constructor(stop: () => void) {
    this.#stop = stop;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** The next chunk; the failure of the request once, after the chunks that came before it. */
  next(): Promise<IteratorResult<T, undefined>> {
    const value = this.#chunks.shift();
    if (value) return Promise.resolve({ done: false, value });
    const error = this.#error;
    this.#error = undefined;
    if (error) return Promise.reject(error);
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  /** The reader has seen enough: the request stops. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#stop();
    this.#chunks.length = 0;
    this.finish();
    this.#error = undefined;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** @internal */
  push(value: T): void {
    if (this.#ended) return;
    const reader = this.#readers.shift();
    if (reader) reader.resolve({ done: false, value });
    else this.#chunks.push(value);
  }

  /** The last chunk was pushed; or there will be none, because of this. @internal */
  finish(error?: FanlightError): void {
    if (this.#ended) return;
    this.#ended = true;
    const [first, ...others] = this.#readers.splice(0);
    if (error && first) first.reject(error);
    else if (error) this.#error = error;
    else first?.resolve({ done: true, value: undefined });
    for (const reader of others) reader.resolve({ done: true, value: undefined });
  }
}
