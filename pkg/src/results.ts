/** Results of a batch: awaited all at once, or one by one as they come. */

import type { FanlightError } from './errors.js';

/** Texts of one request: enough to keep all seats of the engine taken, few enough that other requests do not wait for long. */
const TOGETHER = 16;

/** How far a batch is. */
export interface BatchProgress {
  readonly done: number;
  readonly total: number;
}

/**
 * What a verb returns for many texts: `await` it for an array, or read it with `for await` as the results come, in the order
 * of the texts. To break out of the loop stops the work.
 */
export class Results<T> implements PromiseLike<T[]>, AsyncIterable<T> {
  readonly #work: (from: number, to: number, signal: AbortSignal) => Promise<T>[];
  readonly #total: number;
  readonly #signal: AbortSignal | undefined;
  readonly #onProgress: ((progress: BatchProgress) => void) | undefined;
  #all: Promise<T[]> | undefined;

  /** @internal `work` begins with some of the texts, and gives a promise for each. */
  constructor(
    total: number,
    work: (from: number, to: number, signal: AbortSignal) => Promise<T>[],
    options: { signal: AbortSignal | undefined; onProgress: ((progress: BatchProgress) => void) | undefined },
  ) {
    this.#total = total;
    this.#work = work;
    this.#signal = options.signal;
    this.#onProgress = options.onProgress;
  }

  /** All results. */
  then<A = T[], B = never>(
    resolve?: ((results: T[]) => A | PromiseLike<A>) | null,
    reject?: ((reason: FanlightError) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#all ??= this.#collect();
    return this.#all.then(resolve, reject);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    const stop = new AbortController();
    const forward = () => stop.abort(this.#signal?.reason);
    if (this.#signal?.aborted) forward();
    this.#signal?.addEventListener('abort', forward);
    try {
      for (let from = 0; from < this.#total; from += TOGETHER) {
        const to = Math.min(from + TOGETHER, this.#total);
        const results = this.#work(from, to, stop.signal);
        for (const result of results) result.catch(() => {}); // heard of below, when it is its turn
        for (const [at, result] of results.entries()) {
          const value = await result;
          this.#onProgress?.({ done: from + at + 1, total: this.#total });
          yield value;
        }
      }
    } finally {
      this.#signal?.removeEventListener('abort', forward);
      stop.abort();
    }
  }

  async #collect(): Promise<T[]> {
    const results: T[] = [];
    for await (const result of this) results.push(result);
    return results;
  }
}
