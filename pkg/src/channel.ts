/**
 * Calls over a port: the mechanics of `protocol.ts`, for any port that carries messages. A worker is one, and so is
 * either end of a `MessageChannel`: most tests need no worker.
 */

import { aborted, asFanlightError, FanlightError, fromRecord, toRecord } from './errors.js';
import type { Calls, Reply, Request } from './protocol.js';
import { PATIENCE, Silence } from './silence.js';

/** What a channel needs of a worker, of a worker's own global scope, or of a message port. */
export interface Port {
  postMessage(message: unknown, transfer: Transferable[]): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
  /** Message ports deliver nothing until they are started. */
  start?(): void;
}

interface Pending {
  resolve(result: unknown): void;
  reject(error: FanlightError): void;
  event(event: unknown): void;
  readonly signal: AbortSignal | undefined;
  readonly inSteps: boolean;
  /** The other end has heard of it. */
  begun: boolean;
  /** It goes in steps now. */
  stepping: boolean;
}

/** How long the other end may be silent while it is at this. */
function patienceWith({ begun, stepping, signal }: Pending): number {
  if (!begun || stepping) return PATIENCE.inSteps;
  return signal?.aborted ? PATIENCE.cancelled : PATIENCE.atOnce;
}

/** Besides the parameters of a call. */
export interface CallOptions<Event> {
  readonly transfer?: Transferable[];
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: Event) => void;
  /** From its first event on, the other end hears messages all the time. */
  readonly inSteps?: boolean;
}

/** The calling end. */
export class Caller<M extends Calls> {
  /** No two calls of this page have the same number: a late answer to one that was given up is an answer to no other. */
  static #next = 0;
  readonly #port: Port;
  readonly #pending = new Map<number, Pending>();
  readonly #silence: Silence | undefined;
  #broken: FanlightError | undefined;

  /** `onSilence` is called when the other end does not answer any more; without it, nobody notices. `now`: a clock, for tests. */
  constructor(port: Port, onSilence?: () => void, now?: () => number) {
    this.#port = port;
    if (onSilence) {
      const watched = {
        patience: () => Math.max(...[...this.#pending.values()].map(patienceWith)),
        ask: () => port.postMessage({ id: Math.min(...this.#pending.keys()), ask: true }, []),
        lost: onSilence,
      };
      this.#silence = new Silence(watched, now);
    }
    port.addEventListener('message', (event) => this.#receive(event.data));
    port.start?.();
  }

  /**
   * Calls, and settles with the answer. When `signal` fires the call is cancelled over there; the promise still
   * settles by its answer.
   */
  call<K extends keyof M & string>(
    kind: K,
    params: M[K]['params'],
    options: CallOptions<M[K]['event']> = {},
  ): Promise<M[K]['result']> {
    const { signal, transfer = [], onEvent, inSteps = false } = options;
    if (this.#broken) return Promise.reject(this.#broken);
    if (signal?.aborted) return Promise.reject(aborted(signal.reason));
    const id = Caller.#next++;
    const cancel = () => this.#port.postMessage({ id, cancel: true }, []);
    const answer = new Promise<M[K]['result']>((resolve, reject) => {
      try {
        this.#port.postMessage({ id, kind, params }, transfer);
        const event = (event: M[K]['event']) => onEvent?.(event);
        this.#pending.set(id, { resolve, reject, event, signal, inSteps, begun: false, stepping: false });
        this.#silence?.begin();
      } catch (error) {
        reject(asFanlightError(error, 'invalid-argument', 'This cannot be sent to a worker'));
      }
    });
    signal?.addEventListener('abort', cancel);
    return answer.finally(() => signal?.removeEventListener('abort', cancel));
  }

  /** The other end is gone: rejects what is pending, and every later call, with the reason. */
  fail(reason: FanlightError): void {
    if (this.#broken) return;
    this.#broken = reason;
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
    this.#silence?.end();
  }

  /** Somebody else is asked from here on: cancels what is pending, if anybody hears it, and rejects it with the reason. */
  abandon(reason: FanlightError): void {
    for (const id of this.#pending.keys()) this.#port.postMessage({ id, cancel: true }, []);
    this.fail(reason);
  }

  #receive(reply: Reply<M>): void {
    this.#silence?.heard();
    const pending = this.#pending.get(reply.id);
    if (!pending) return; // answered by fail()
    pending.begun = true;
    if (reply.kind === 'alive') return;
    pending.stepping = pending.inSteps;
    if (reply.kind === 'event') return pending.event(reply.event);
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) this.#silence?.end();
    if (reply.kind === 'result') pending.resolve(reply.result);
    else pending.reject(fromRecord(reply.error));
  }
}

/** What a handler may do besides returning its result. */
export interface Call<Event> {
  /** Fires when the caller cancels. */
  readonly signal: AbortSignal;
  emit(event: Event): void;
}

/** One function for each call. What it throws is the answer, too. */
export type Handlers<M extends Calls> = {
  [K in keyof M]: (params: M[K]['params'], call: Call<M[K]['event']>) => M[K]['result'] | Promise<M[K]['result']>;
};

/** The answering end. */
export function serve<M extends Calls>(port: Port, handlers: Handlers<M>): void {
  const running = new Map<number, AbortController>();
  const post = (reply: Reply<M>) => port.postMessage(reply, []);

  async function answer<K extends keyof M>(id: number, kind: K, params: M[K]['params']): Promise<void> {
    const abort = new AbortController();
    running.set(id, abort);
    post({ id, kind: 'alive' });
    try {
      const emit = (event: M[K]['event']) => post({ id, kind: 'event', event });
      const result = await handlers[kind](params, { signal: abort.signal, emit });
      post({ id, kind: 'result', result });
    } catch (error) {
      post({ id, kind: 'error', error: toRecord(error) });
    } finally {
      running.delete(id);
    }
  }

  port.addEventListener('message', (event) => {
    const request: Request<M> = event.data;
    if (!('id' in request)) return; // not of this conversation
    if ('cancel' in request) running.get(request.id)?.abort();
    else if ('ask' in request) post({ id: request.id, kind: 'alive' });
    else void answer(request.id, request.kind, request.params);
  });
  port.start?.();
}
