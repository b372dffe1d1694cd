/** What a model tells those who watch it: events for programs, and User Timing marks for the browser's own profiler. */

import type { FanlightError } from './errors.js';
import type { FallbackReason } from './fallback.js';
import type { FinishReason, Timings, Usage } from './openai.js';

/** The events of `model.on`, and what each carries. Requests are numbered from 1 in the order they were made. */
export interface ModelEvents {
  /** A request was made; it may have to wait for its turn. */
  request: { readonly id: number; readonly kind: RequestKind };
  /** Its turn came, and it was accepted: the template is rendered, the prompt fits. */
  started: { readonly id: number; readonly kind: RequestKind; readonly wait_ms: number };
  /** The first token is there. */
  first_token: { readonly id: number; readonly kind: RequestKind; readonly first_token_ms: number };
  /** The answer is whole. */
  answered: {
    readonly id: number;
    readonly kind: RequestKind;
    readonly finish_reason: FinishReason;
    readonly usage: Usage;
    readonly timings: Timings;
  };
  /** A server is asked instead of the model (see `Fallback`); `error` is why, if the model failed. */
  fallback: { readonly kind: RequestKind; readonly reason: FallbackReason; readonly error?: FanlightError };
  /** There will be no answer, or no more of it. */
  failed: { readonly id: number; readonly kind: RequestKind; readonly error: FanlightError };
  /** The workers have ended: the model was disposed, or one of them died. The last event of all. */
  closed: { readonly error: FanlightError };
}

/** What was asked for. */
export type RequestKind = 'chat' | 'completion';

type Listener<K extends keyof ModelEvents> = (event: ModelEvents[K]) => void;

/** Who listens. */
export class Watchers {
  readonly #listeners: { [K in keyof ModelEvents]: Set<Listener<K>> } = {
    request: new Set(),
    started: new Set(),
    first_token: new Set(),
    answered: new Set(),
    fallback: new Set(),
    failed: new Set(),
    closed: new Set(),
  };
  #requests = 0;

  /** Whether there are such events. */
  has(name: PropertyKey): name is keyof ModelEvents {
    return Object.hasOwn(this.#listeners, name);
  }

  add<K extends keyof ModelEvents>(name: K, listener: Listener<K>): () => void {
    // One set for each registration: the same function may be there twice, and each goes by itself.
    const own: Listener<K> = (event) => listener(event);
    this.#listeners[name].add(own);
    return () => this.#listeners[name].delete(own);
  }

  tell<K extends keyof ModelEvents>(name: K, event: ModelEvents[K]): void {
    for (const listener of [...this.#listeners[name]]) {
      try {
        listener(event);
      } catch (error) {
        // A listener's fault is its page's, not the answer's.
        if (typeof globalThis.reportError === 'function') globalThis.reportError(error);
        else console.error(error);
      }
    }
  }

  /** A request begins. */
  begin(kind: RequestKind): RequestWatch {
    return new RequestWatch(this, (this.#requests += 1), kind);
  }
}

/** One request, from where it was made: its own clock, and its events. */
export class RequestWatch {
  readonly #watchers: Watchers;
  readonly #id: number;
  readonly #kind: RequestKind;
  readonly #made = performance.now();
  #started: number | undefined;
  #first: number | undefined;

  constructor(watchers: Watchers, id: number, kind: RequestKind) {
    this.#watchers = watchers;
    this.#id = id;
    this.#kind = kind;
    watchers.tell('request', { id, kind });
  }

  /** How long it waited for its turn, in milliseconds. */
  get waitMs(): number {
    return (this.#started ?? this.#made) - this.#made;
  }

  /** From the request to the first token, waiting included, in milliseconds. */
  get firstTokenMs(): number {
    return (this.#first ?? this.#made) - this.#made;
  }

  started(): void {
    this.#started = performance.now();
    measure('wait', this.#made, this.#started);
    this.#watchers.tell('started', { id: this.#id, kind: this.#kind, wait_ms: this.waitMs });
  }

  /** Something was said. Only the first time counts. */
  said(): void {
    if (this.#first !== undefined) return;
    this.#first = performance.now();
    measure('prompt', this.#started ?? this.#made, this.#first);
    this.#watchers.tell('first_token', { id: this.#id, kind: this.#kind, first_token_ms: this.firstTokenMs });
  }

  answered(finish_reason: FinishReason, usage: Usage, timings: Timings): void {
    if (this.#first !== undefined) measure('answer', this.#first, performance.now());
    this.#watchers.tell('answered', { id: this.#id, kind: this.#kind, finish_reason, usage, timings });
  }

  failed(error: FanlightError): void {
    this.#watchers.tell('failed', { id: this.#id, kind: this.#kind, error });
  }
}

/** A span in the browser's own profiler, in a track of ours. Times as of `performance.now()`. */
export function measure(what: 'download' | 'load' | 'wait' | 'prompt' | 'answer', start: number, end: number): void {
  const detail = { devtools: { dataType: 'track-entry', track: 'Fanlight' } };
  performance.measure(`fanlight.${what}`, { start, end, detail });
}
