/**
 * Calls over a port: the mechanics of `protocol.ts`, for any port that carries messages. A worker is one, and so is
 * either end of a `MessageChannel`: most tests need no worker.
 */

import { aborted, asFanlightError, FanlightError, fromRecord, toRecord } from './errors.js';
import type { Calls, Reply, Request } from './protocol.js';

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
}

/** The calling end. */
export class Caller<M extends Calls> {
  readonly #port: Port;
  readonly #pending = new Map<number, Pending>();
  #next = 0;
  #broken: FanlightError | undefined;

  constructor(port: Port) {
    this.#port = port;
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
    options: { transfer?: Transferable[]; signal?: AbortSignal; onEvent?: (event: M[K]['event']) => void } = {},
  ): Promise<M[K]['result']> {
    const { signal, transfer = [], onEvent } = options;
    if (this.#broken) return Promise.reject(this.#broken);
    if (signal?.aborted) return Promise.reject(aborted(signal.reason));
    const id = this.#next++;
    const cancel = () => this.#port.postMessage({ id, cancel: true }, []);
    const answer = new Promise<M[K]['result']>((resolve, reject) => {
      try {
        this.#port.postMessage({ id, kind, params }, transfer);
        this.#pending.set(id, { resolve, reject, event: (event) => onEvent?.(event) });
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
  }

  #receive(reply: Reply<M>): void {
    const pending = this.#pending.get(reply.id);
    if (!pending) return; // answered by fail()
    if (reply.kind === 'event') return pending.event(reply.event);
    this.#pending.delete(reply.id);
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
    else void answer(request.id, request.kind, request.params);
  });
  port.start?.();
}
