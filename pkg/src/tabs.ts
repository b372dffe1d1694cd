/**
 * One model for all tabs of a site. The tab that holds a lock leads: it loads the model and runs the requests of all. The others talk to it
 * through a broadcast channel. When its tab is closed the browser gives the lock to the next, which loads the model, says
 * so, and is asked again whatever had not begun; what had begun fails with `worker-crashed`.
 *
 * Every tab also holds a lock of its own: the leader waits for it, and so hears when a tab is gone that it works for.
 */

import { Caller, type Handlers, type Port, serve } from './channel.js';
import { type Crew, type Host, orAborted } from './client.js';
import type { GenerateRequest } from './engine.js';
import { asFanlightError, FanlightError } from './errors.js';
import type { ModelInfo } from './model.js';
import type { GenerateEvent, GenerateResult } from './protocol.js';

/** A model that is loaded in this tab. */
export interface Loaded {
  readonly crew: Crew;
  readonly info: ModelInfo;
}

/** What tabs ask of the one that leads. */
type TabCalls = {
  /** Answered when the model is loaded. */
  join: { params: undefined; result: ModelInfo; event: never };
  generate: { params: GenerateRequest; result: GenerateResult; event: GenerateEvent };
  /** A call to the leading shard, such as `tokenize`. */
  ask: { params: { readonly kind: string; readonly params: unknown }; result: unknown; event: never };
};

/** A message on the channel: to one tab, to whoever leads, or to all. */
interface Envelope {
  readonly from: string;
  readonly to: string;
  /** Nothing when the tab says that it leads now. */
  readonly body?: unknown;
}

const LEADER = 'leader';
const ALL = 'all';

/** Something that this tab waits for, to be sent again to another leader if it has not begun. */
interface Errand {
  begun: boolean;
  send(to: Caller<TabCalls>): void;
  reject(error: FanlightError): void;
}

/** Whether this browser can share a model between tabs. */
export function canShare(): boolean {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  return locks !== undefined && typeof BroadcastChannel === 'function';
}

/** This tab's part in a shared model. */
export class SharedHost implements Host {
  readonly #name: string;
  readonly #load: () => Promise<Loaded>;
  readonly #id = `${Date.now()}-${Math.random()}`;
  readonly #channel: BroadcastChannel;
  readonly #over = new AbortController();
  readonly #errands = new Set<Errand>();
  readonly #endListeners: ((reason: FanlightError) => void)[] = [];
  /** Those that this tab works for, when it leads. */
  readonly #guests = new Map<string, TabPort>();
  #loaded: Promise<Loaded> | undefined;
  #leaderPort: TabPort;
  #leader: Caller<TabCalls>;
  #ended: FanlightError | undefined;

  private constructor(name: string, load: () => Promise<Loaded>) {
    this.#name = name;
    this.#load = load;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }: MessageEvent<Envelope>) => this.#receive(data);
    this.#leaderPort = this.#portTo(LEADER);
    this.#leader = new Caller(this.#leaderPort);
  }

  /** Takes part in the model of this name: loads it when no other tab has. */
  static async join(
    name: string,
    load: () => Promise<Loaded>,
    onWait: () => void,
  ): Promise<{ host: SharedHost; info: ModelInfo }> {
    const host = new SharedHost(name, load);
    try {
      await host.#hold(`${name}:${host.#id}`);
      if (await host.#tryToLead()) {
        const { info } = await host.#lead();
        return { host, info };
      }
      onWait();
      void host.#hold(name).then(() => host.#takeOver(), () => {});
      return { host, info: await host.#send('join', undefined, {}) };
    } catch (error) {
      const reason = asFanlightError(error, 'worker-crashed', 'Loading failed');
      host.end(reason);
      throw reason;
    }
  }

  get leader(): Host['leader'] {
    return { call: (kind, params) => this.#ask(kind, params) };
  }

  get ended(): FanlightError | undefined {
    return this.#ended;
  }

  onEnd(listener: (reason: FanlightError) => void): void {
    this.#endListeners.push(listener);
  }

  async generate(
    request: GenerateRequest,
    options: { signal?: AbortSignal | undefined; onEvent(event: GenerateEvent): void },
  ): Promise<GenerateResult> {
    if (this.#ended) throw this.#ended;
    const { signal, onEvent } = options;
    if (this.#loaded) return (await orAborted(this.#loaded, signal)).crew.generate(request, options);
    return orAborted(this.#send('generate', request, { ...(signal && { signal }), onEvent }), signal);
  }

  /** Leaves: the locks go to whoever waits for them. */
  end(reason: FanlightError): void {
    if (this.#ended) return;
    this.#ended = reason;
    this.#over.abort();
    for (const errand of this.#errands) errand.reject(reason);
    this.#errands.clear();
    void this.#loaded?.then(({ crew }) => crew.end(reason), () => {});
    this.#channel.close();
    for (const listener of this.#endListeners) listener(reason);
  }

  // ---- As one that follows ----

  /** What the leading shard answers to this call: its type is that of the call, wherever the shard is. */
  async #ask(kind: string, params: unknown): Promise<never> {
    if (this.#ended) throw this.#ended;
    const here = this.#loaded;
    return (await (here ? askCrew(await here, kind, params) : this.#send('ask', { kind, params }, {}))) as never;
  }

  #send<K extends keyof TabCalls & string>(
    kind: K,
    params: TabCalls[K]['params'],
    options: { signal?: AbortSignal; onEvent?: (event: TabCalls[K]['event']) => void },
  ): Promise<TabCalls[K]['result']> {
    return new Promise((resolve, reject) => {
      const errand: Errand = {
        begun: false,
        reject,
        send: (leader) => {
          const onEvent = (event: TabCalls[K]['event']) => {
            errand.begun = true;
            options.onEvent?.(event);
          };
          leader.call(kind, params, { ...options, onEvent }).then(
            (result) => this.#errands.delete(errand) && resolve(result),
            (error: FanlightError) => {
              if (error !== GONE && this.#errands.delete(errand)) reject(error);
            },
          );
        },
      };
      this.#errands.add(errand);
      errand.send(this.#leader);
    });
  }

  /** Another tab leads, or this one does: what had not begun is asked again. */
  #leaderChanged(leader: Caller<TabCalls>): void {
    this.#leader.abandon(GONE);
    this.#leader = leader;
    for (const errand of this.#errands) {
      if (!errand.begun) {
        errand.send(leader);
        continue;
      }
      this.#errands.delete(errand);
      errand.reject(new FanlightError('worker-crashed', 'The tab that ran this request was closed. Ask again.'));
    }
  }

  // ---- As the one that leads ----

  async #tryToLead(): Promise<boolean> {
    return this.#hold(this.#name, true);
  }

  #lead(): Promise<Loaded> {
    const loaded = this.#load();
    this.#loaded = loaded;
    loaded.then(
      ({ crew }) => {
        if (this.#ended) crew.end(this.#ended);
        else crew.onEnd((reason) => this.end(reason));
      },
      () => {},
    );
    this.#post(ALL);
    return loaded;
  }

  async #takeOver(): Promise<void> {
    const loaded = this.#lead();
    const { port1, port2 } = new MessageChannel();
    serve<TabCalls>(port2, this.#handlers('own'));
    this.#over.signal.addEventListener('abort', () => port1.close());
    this.#leaderChanged(new Caller<TabCalls>(port1));
    await loaded.catch((error: unknown) => {
      this.end(asFanlightError(error, 'worker-crashed', 'The tab that held the model was closed, and loading it here failed'));
    });
  }

  #handlers(client: string): Handlers<TabCalls> {
    const loaded = () => this.#loaded ?? Promise.reject(GONE);
    return {
      join: async () => (await loaded()).info,
      generate: async (request, { signal, emit }) => {
        const { crew } = await loaded();
        return crew.generate(request, { signal, onEvent: emit, client });
      },
      ask: async ({ kind, params }) => askCrew(await loaded(), kind, params),
    };
  }

  #guest(id: string): TabPort {
    const known = this.#guests.get(id);
    if (known) return known;
    const port = this.#portTo(id);
    this.#guests.set(id, port);
    serve<TabCalls>(port, this.#handlers(id));
    // Granted when that tab is gone.
    const gone = () => {
      this.#guests.delete(id);
      port.cancelAll();
    };
    void navigator.locks.request(`${this.#name}:${id}`, { signal: this.#over.signal }, gone).catch(() => {});
    return port;
  }

  // ---- The channel and the locks ----

  #receive({ from, to, body }: Envelope): void {
    if (to === LEADER && this.#loaded) return this.#guest(from).deliver(body);
    if (to === this.#id) return this.#leaderPort.deliver(body);
    if (to === ALL && !this.#loaded) {
      this.#leaderPort = this.#portTo(LEADER);
      this.#leaderChanged(new Caller<TabCalls>(this.#leaderPort));
    }
  }

  #post(to: string, body?: unknown): void {
    if (!this.#ended) this.#channel.postMessage({ from: this.#id, to, body } satisfies Envelope);
  }

  #portTo(to: string): TabPort {
    return new TabPort((body) => this.#post(to, body));
  }

  /** Resolves when this tab has the lock, which it keeps until it leaves; `false` when it was to have it at once and could not. */
  #hold(name: string, ifAvailable = false): Promise<boolean> {
    const { signal } = this.#over;
    return new Promise((resolve, reject) => {
      const held = (lock: Lock | null) => {
        resolve(lock !== null);
        if (!lock || signal.aborted) return;
        return new Promise<void>((release) => signal.addEventListener('abort', () => release(), { once: true }));
      };
      navigator.locks.request(name, ifAvailable ? { ifAvailable } : { signal }, held).catch(reject);
    });
  }
}

/** The leader's tab is gone; said to nobody. */
const GONE = new FanlightError('closed', 'The tab that holds the model is gone.');

function askCrew({ crew }: Loaded, kind: string, params: unknown): Promise<unknown> {
  return crew.leader.call(kind as never, params as never); // the kind came from a caller that had its type
}

/** A conversation with one other tab, over the channel of all. */
class TabPort implements Port {
  readonly #post: (body: unknown) => void;
  #listener: (event: MessageEvent) => void = () => {};
  /** Calls that came in. */
  readonly #calls: unknown[] = [];

  constructor(post: (body: unknown) => void) {
    this.#post = post;
  }

  postMessage(body: unknown): void {
    this.#post(body);
  }

  addEventListener(_: 'message', listener: (event: MessageEvent) => void): void {
    this.#listener = listener;
  }

  deliver(body: unknown): void {
    if (typeof body === 'object' && body !== null && 'id' in body && 'kind' in body) this.#calls.push(body.id);
    this.#listener(new MessageEvent('message', { data: body }));
  }

  /** The other tab is gone: nobody waits for its answers. */
  cancelAll(): void {
    for (const id of this.#calls) this.#listener(new MessageEvent('message', { data: { id, cancel: true } }));
  }
}
