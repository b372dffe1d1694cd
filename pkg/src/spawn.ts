/** Starts workers, and notices when one is gone. */

import { Caller, type Port } from './channel.js';
import { FanlightError } from './errors.js';
import type { ShardCalls, StorageCalls } from './protocol.js';

/** Something that runs `worker.ts`. Tests bring their own. */
export interface WorkerHandle {
  readonly port: Port;
  /** Called when the worker dies by itself. */
  onDeath(listener: (reason: FanlightError) => void): void;
  terminate(): void;
}

/**
 * What the page tells a worker before anything else: the lock that it is to hold as long as it lives. A worker that is
 * killed fires no event, but the browser takes its locks back: the page waits for that.
 */
export interface LifeLine {
  readonly lock: string;
}

/** Whether a message is that. */
export function isLifeLine(message: unknown): message is LifeLine {
  return typeof message === 'object' && message !== null && 'lock' in message && typeof message.lock === 'string';
}

/** Starts a real worker. */
export function spawnWorker(): WorkerHandle {
  let worker: Worker;
  try {
    worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'fanlight' });
  } catch (error) {
    const advice = 'Browsers start workers from the page\'s own origin only: serve the package there';
    throw new FanlightError('unsupported-browser', `The worker could not be started. ${advice}.`, { cause: error });
  }
  const ended = new AbortController();
  return {
    port: worker,
    onDeath(listener) {
      const die = (message: string) => listener(new FanlightError('worker-crashed', `${message}. Load the model again.`));
      worker.addEventListener('error', (event) => {
        const unstarted = 'The worker could not be started: serve dist/worker.js with the package, allow it in the CSP';
        die(event.message || unstarted);
      });
      worker.addEventListener('messageerror', () => die('A worker sent what cannot be read'));
      void watchLock(worker, ended.signal, () => die('A worker was ended from outside'));
    },
    terminate() {
      ended.abort();
      worker.terminate();
    },
  };
}

/** A worker, and the line to it. */
export interface Member {
  readonly handle: WorkerHandle;
  readonly caller: Caller<StorageCalls & ShardCalls>;
}

/** Takes on a worker. `onLost` is called when it is dead, or does not answer any more. */
export function hire(onLost: (reason: FanlightError) => void, spawn: () => WorkerHandle = spawnWorker): Member {
  const handle = spawn();
  handle.onDeath(onLost);
  const silent = () => onLost(new FanlightError('worker-crashed', 'A worker does not answer any more. Load the model again.'));
  return { handle, caller: new Caller(handle.port, silent) };
}

/** A worker for as long as the work takes. */
export async function withWorker<T>(work: (worker: Member['caller']) => Promise<T>): Promise<T> {
  const { handle, caller } = hire((reason) => caller.fail(reason));
  try {
    return await work(caller);
  } finally {
    handle.terminate();
  }
}

let spawned = 0;

/** Calls `gone` when the worker has held its lock and does not any more. */
function watchLock(worker: Worker, signal: AbortSignal, gone: () => void): void {
  const locks: LockManager | undefined = navigator.locks;
  if (!locks) return; // an insecure page: only what fires an event is noticed
  const lock = `fanlight:worker:${Date.now()}:${spawned++}:${Math.random()}`;
  const held = (event: MessageEvent) => {
    if (!isLifeLine(event.data) || event.data.lock !== lock) return;
    worker.removeEventListener('message', held);
    locks.request(lock, { signal }, () => {
      if (!signal.aborted) gone();
    }).catch(() => {}); // it was ended by the page
  };
  worker.addEventListener('message', held);
  worker.postMessage({ lock } satisfies LifeLine);
}
