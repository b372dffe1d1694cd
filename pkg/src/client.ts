/** The page's half of the conversation: the workers of one model, its line of requests, and what happens when one dies. */

import type { Caller } from './channel.js';
import type { GenerateRequest, SavePlan } from './engine.js';
import { aborted, FanlightError } from './errors.js';
import { makeLinks, type SharedControl } from './exchange.js';
import { compileConstraints } from './module.js';
import type {
  EngineRef,
  GenerateEvent,
  GenerateResult,
  KvType,
  LoadEvent,
  MemoryAction,
  OpenedShard,
  ShardCalls,
  StorageCalls,
  StoredFile,
} from './protocol.js';
import { hire, type Member, spawnWorker, type WorkerHandle } from './spawn.js';

/** What the workers of a model are to do. */
export interface Assignment {
  readonly engine: EngineRef;
  readonly files: readonly StoredFile[];
  readonly shards: number;
  readonly transport: 'shared' | 'messages';
  readonly contextLength: number | undefined;
  readonly kvType: KvType | undefined;
  readonly predict: boolean | undefined;
}

/** What a worker gets to close its files before it is ended. */
const GRACE_MS = 1_000;

/** What can be done with memories while no request is answered. */
export interface MemoryWork {
  /** What of a memory can be saved. */
  plan(id: number): Promise<SavePlan>;
  /** Has all shards do it; resolves with what each gave. What is transferred is lost here. */
  all(action: MemoryAction, transfer?: Transferable[]): Promise<(Uint8Array | undefined)[]>;
}

/** What a model needs of whatever runs it: workers of its own, or another tab's. */
export interface Host {
  /** The line to the leading shard. */
  readonly leader: Pick<Caller<ShardCalls>, 'call'>;
  /** Why there is nothing any more that runs it. */
  readonly ended: FanlightError | undefined;
  onEnd(listener: (reason: FanlightError) => void): void;
  /** Runs a request when its turn comes. */
  generate(request: GenerateRequest, options: GenerateOptions): Promise<GenerateResult>;
  end(reason: FanlightError): void;
}

export interface GenerateOptions {
  signal?: AbortSignal | undefined;
  onEvent(event: GenerateEvent): void;
  /** For whom: they take turns. */
  client?: string;
  /** Which memory the request goes on in, asked when its turn comes; without it, in that of the model itself. */
  memory?: () => number;
}

/** Calls that the leader's engine answers by itself. */
const OF_THE_ENGINE: ReadonlySet<string> = new Set(['tokenize', 'detokenize', 'countPrompt', 'planMemory']);

/** The workers of one model: the first is the leader. Dies as a whole when one of them dies. */
export class Crew implements Host {
  readonly #spawn: () => WorkerHandle;
  readonly #compileConstraints: () => Promise<WebAssembly.Module>;
  /** The leader has them, or is given them. */
  #constraints: Promise<void> | undefined;
  readonly #members: Member[] = [];
  readonly #line = new Line();
  readonly #endListeners: ((reason: FanlightError) => void)[] = [];
  #control: SharedControl | undefined;
  #ended: FanlightError | undefined;
  #epoch = 0;

  constructor(spawn: () => WorkerHandle = spawnWorker, constraints = compileConstraints) {
    this.#spawn = spawn;
    this.#compileConstraints = constraints;
    this.#hire();
  }

  /** The leader's line. */
  get leader(): Pick<Caller<StorageCalls & ShardCalls>, 'call'> {
    const { caller } = this.#member(0);
    return {
      call: (kind, params, options) => {
        const answer = caller.call(kind, params, options);
        return OF_THE_ENGINE.has(kind) ? this.#unlessTrapped(answer) : answer;
      },
    };
  }

  /** An engine that has trapped is of no more use: what is called then, ends all workers. */
  async #unlessTrapped<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof FanlightError && error.code === 'worker-crashed') this.end(error);
      throw error;
    }
  }

  /** Why there are no workers any more. */
  get ended(): FanlightError | undefined {
    return this.#ended;
  }

  /** Is told when the workers end, and why. */
  onEnd(listener: (reason: FanlightError) => void): void {
    this.#endListeners.push(listener);
  }

  /** Makes the shards and loads their weights. */
  open(
    assignment: Assignment,
    options: { signal: AbortSignal; onProgress(loaded: number, total: number): void },
  ): Promise<OpenedShard[]> {
    const { shards, transport, ...same } = assignment;
    const { links, control } = makeLinks(shards, transport);
    this.#control = control;
    while (this.#members.length < shards && !this.#ended) this.#hire();
    const heard: LoadEvent[] = links.map(() => ({ loaded: 0, total: 0 }));
    return Promise.all(
      links.map((link, shard) => {
        const transfer = link.kind === 'messages' ? link.ports.filter((port) => port !== undefined) : [];
        const onEvent = (event: LoadEvent) => {
          heard[shard] = event;
          if (heard.some(({ total }) => total === 0)) return; // one has not even begun
          const sum = (field: keyof LoadEvent) => heard.reduce((bytes, each) => bytes + each[field], 0);
          options.onProgress(sum('loaded'), sum('total'));
        };
        const params = { ...same, link, shard, shards };
        return this.#member(shard).caller.call('open', params, { signal: options.signal, transfer, onEvent });
      }),
    );
  }

  /** Runs a request when its turn comes. An abort rejects at once; the next request waits until all shards are home. */
  async generate(request: GenerateRequest, options: GenerateOptions): Promise<GenerateResult> {
    const leave = await this.#line.enter(options.signal, options.client);
    let memory = 0;
    try {
      memory = options.memory?.() ?? 0;
      if ([request, ...(request.together ?? [])].some((each) => each.constraint ?? each.tools)) await orAborted(this.#constrain(), options.signal);
    } catch (error) {
      leave();
      throw error;
    }
    const stop = new AbortController();
    const calls = this.#callShards(request, memory, stop.signal, options.onEvent);
    void Promise.allSettled(calls).then(leave);
    for (const call of calls) {
      call.catch((error: FanlightError) => {
        this.#sendHome(stop);
        if (error.code === 'worker-crashed') this.end(error);
      });
    }
    // The leader's times and the memory of all. The first to fail says why; the others are sent home and fail with `aborted`.
    const answer = Promise.all(calls).then(([leader, ...others]) => {
      if (!leader) throw new RangeError('a model has at least one shard');
      return { ...leader, memoryBytes: others.reduce((bytes, each) => bytes + each.memoryBytes, leader.memoryBytes) };
    });
    return orAborted(answer, options.signal, () => this.#sendHome(stop));
  }

  /** Does something with the memories of sessions, when its turn comes: `all` shards do it, by the leader's `plan`. */
  async memory<T>(work: (does: MemoryWork) => Promise<T>): Promise<T> {
    const leave = await this.#line.enter(undefined);
    try {
      return await work({
        plan: (id) => this.leader.call('planMemory', { id }),
        all: (action, transfer) => this.#unlessTrapped(this.#remember(action, transfer)),
      });
    } finally {
      leave();
    }
  }

  /** Ends the workers. Whatever was pending rejects with the reason. */
  end(reason: FanlightError): void {
    if (this.#ended) return;
    this.#ended = reason;
    for (const { caller, handle } of this.#members) {
      caller.fail(reason);
      handle.terminate();
    }
    for (const listener of this.#endListeners) listener(reason);
  }

  /** Ends them a little later: when `pending` has settled, so that files are closed by then. */
  async endAfter(pending: Promise<unknown>, reason: FanlightError): Promise<void> {
    await Promise.race([pending.catch(() => {}), new Promise((resolve) => setTimeout(resolve, GRACE_MS))]);
    this.end(reason);
  }

  /** Gives the leader whom it asks about schemas and grammars. */
  #constrain(): Promise<void> {
    if (this.#constraints) return this.#constraints;
    // Whoever ends the model does not wait for a server that does not answer.
    const ended = new Promise<never>((_, reject) => this.onEnd(reject));
    const giving = Promise.race([this.#compileConstraints(), ended]).then((module) => this.leader.call('constrain', { module }));
    this.#constraints = giving;
    giving.catch(() => (this.#constraints = undefined)); // the next request tries again
    return giving;
  }

  #callShards(
    request: GenerateRequest,
    memory: number,
    stop: AbortSignal,
    onEvent: (event: GenerateEvent) => void,
  ): Promise<GenerateResult>[] {
    const epoch = ++this.#epoch;
    this.#control?.reset();
    return this.#members.map(({ caller }, shard) => {
      if (shard > 0) return caller.call('generate', { epoch, memory, request: undefined }, { signal: stop });
      const whileWanted = (event: GenerateEvent) => {
        if (!stop.aborted) onEvent(event);
      };
      return caller.call('generate', { epoch, memory, request }, { signal: stop, onEvent: whileWanted, inSteps: true });
    });
  }

  /** All have answered before this resolves or rejects, so that the next action finds them at rest. */
  async #remember(action: MemoryAction, transfer: Transferable[] = []): Promise<(Uint8Array | undefined)[]> {
    const last = this.#members.length - 1;
    const calls = this.#members.map(({ caller }, shard) => {
      return caller.call('memory', action, shard === last ? { transfer } : {});
    });
    const answers = await Promise.allSettled(calls);
    return answers.map((answer) => {
      if (answer.status === 'rejected') throw answer.reason;
      return answer.value;
    });
  }

  #sendHome(stop: AbortController): void {
    if (stop.signal.aborted) return;
    this.#control?.cancel();
    stop.abort();
  }

  #hire(): void {
    this.#members.push(hire((reason) => this.end(reason), this.#spawn));
  }

  #member(shard: number): Member {
    const member = this.#members[shard];
    if (!member) throw this.#ended ?? new RangeError(`there is no shard ${shard}`);
    return member;
  }
}

/** One at a time, in the order of arrival; clients take turns. Who gives up while waiting is passed over. */
class Line {
  #busy = false;
  /** Those that wait, by client; the client whose turn is next comes first. */
  readonly #waiting = new Map<string, (() => void)[]>();

  /** Resolves when it is this one's turn, with the function that ends it. */
  async enter(signal: AbortSignal | undefined, client = ''): Promise<() => void> {
    if (signal?.aborted) throw aborted(signal.reason);
    if (this.#busy) await this.#turn(signal, client);
    this.#busy = true;
    return () => this.#next();
  }

  #turn(signal: AbortSignal | undefined, client: string): Promise<void> {
    let call = () => {};
    let came = false;
    const turn = new Promise<void>((resolve) => (call = resolve));
    void turn.then(() => (came = true));
    const queue = this.#waiting.get(client) ?? [];
    this.#waiting.set(client, queue);
    queue.push(call);
    return orAborted(turn, signal, () => {
      const at = queue.indexOf(call);
      if (at >= 0) queue.splice(at, 1);
      else if (!came) this.#next(); // its turn is given on
    });
  }

  #next(): void {
    this.#busy = false;
    for (const [client, queue] of this.#waiting) {
      const call = queue.shift();
      this.#waiting.delete(client);
      if (queue.length > 0) this.#waiting.set(client, queue);
      if (!call) continue;
      this.#busy = true;
      return call();
    }
  }
}

/** The promise, or `aborted` as soon as the signal fires. */
export function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined, onAbort?: () => void): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    const stop = () => {
      onAbort?.();
      reject(aborted(signal.reason));
    };
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
