/** The worker's half of a loaded model: one shard. It gives its engine what it needs and runs it to the next event. */

import type { Call, Handlers } from './channel.js';
import { type ConstraintsModule, type Engine, type EngineModule, Step } from './engine.js';
import { aborted, FanlightError, messageOf } from './errors.js';
import { connect, type Exchange } from './exchange.js';
import type { OpenFile } from './files.js';
import type {
  Build,
  GenerateEvent,
  GenerateParams,
  GenerateResult,
  LoadEvent,
  MemoryAction,
  OpenedShard,
  OpenParams,
  ShardCalls,
  StoredFile,
} from './protocol.js';


/** What a shard needs of the world. Tests bring their own. */
export interface ShardWorld {
  importEngine(build: Build): Promise<EngineModule>;
  openFile(file: StoredFile): Promise<OpenFile>;
  importConstraints(): Promise<ConstraintsModule>;
}

/** Let messages in at least this often, also when the engine does not ask for it. */
const TURN_MS = 16;

/** Answers the page's calls to one shard. */
export function shardHandlers(world: ShardWorld): Handlers<ShardCalls> {
  let shard: Shard | undefined;
  const opened = () => {
    if (!shard) throw new FanlightError('closed', 'This shard has no model.');
    return shard;
  };
  return {
    async open(params, call) {
      shard = await Shard.open(world, params, call);
      return shard.info();
    },
    constrain: async ({ module }) => opened().constrain(await world.importConstraints(), module),
    generate: (params, call) => opened().generate(params, call),
    async memory(action) {
      const saved = action.do === 'load' ? await readAll(action.bytes) : new Uint8Array();
      return remember(opened().engine, action, saved);
    },
    planMemory({ id }) {
      const { engine } = opened();
      engine.useMemory(id);
      return engine.planMemory();
    },
    tokenize: ({ text, special }) => opened().engine.tokenize(text, special),
    countPrompt: (request) => opened().engine.countPrompt(request),
    detokenize: ({ ids }) => opened().engine.detokenize(ids),
  };
}

async function readAll(saved: Uint8Array | Blob): Promise<Uint8Array> {
  if (saved instanceof Uint8Array) return saved;
  try {
    return new Uint8Array(await saved.arrayBuffer());
  } catch (cause) {
    throw new FanlightError('changed-file', `The saved session could not be read: ${messageOf(cause)}`, { cause });
  }
}

/** `saved`: what is loaded. */
function remember(engine: Engine, action: MemoryAction, saved: Uint8Array): Uint8Array | undefined {
  // What is saved or copied must be in use, and what is dropped must not.
  const inUse = { new: undefined, load: undefined, drop: 0, copy: action.id, save: action.id }[action.do];
  if (inUse !== undefined) engine.useMemory(inUse);
  switch (action.do) {
    case 'new':
      engine.newMemory(action.id);
      return undefined;
    case 'drop':
      engine.dropMemory(action.id);
      return undefined;
    case 'copy':
      engine.copyMemory(action.to, action.plan);
      return undefined;
    case 'save':
      return engine.saveMemory(action.plan);
    case 'load':
      engine.loadMemory(action.id, saved);
      return undefined;
  }
}

class Shard {
  readonly engine: Engine;
  readonly #memory: WebAssembly.Memory;
  /** That of the module of constraints, once it is there. */
  #beside: WebAssembly.Memory | undefined;
  readonly #exchange: Exchange;

  private constructor(engine: Engine, memory: WebAssembly.Memory, exchange: Exchange) {
    this.engine = engine;
    this.#memory = memory;
    this.#exchange = exchange;
  }

  static async open(world: ShardWorld, params: OpenParams, { emit, signal }: Call<LoadEvent>): Promise<Shard> {
    const { engine: ref, files, shard, shards, contextLength, kvType, predict, link } = params;
    const glue = await world.importEngine(ref.build);
    const { memory } = await glue.default({ module_or_path: ref.module });
    const open: OpenFile[] = [];
    const turns = new Turns();
    let unreadable: unknown; // the engine knows only that a source failed, the source knows why
    try {
      for (const file of files) open.push(await world.openFile(file));
      const sources = open.map((file) => ({
        length: file.length,
        sums: file.sums,
        read(offset: number, into: Uint8Array) {
          try {
            file.read(offset, into);
          } catch (error) {
            unreadable = error;
            throw error;
          }
        },
      }));
      const options = { shard, shards, ...(contextLength && { contextLength }), ...(kvType && { kvType }), ...(predict && { predict }) };
      const engine = new glue.Engine(sources, options);
      const total = engine.loadTotal();
      let done = false;
      while (!done) {
        if (signal.aborted) throw aborted();
        done = engine.loadStep();
        emit({ loaded: engine.loaded(), total });
        await turns.next();
      }
      return new Shard(engine, memory, connect(link, shard, shards));
    } catch (error) {
      throw unreadable ?? error;
    } finally {
      turns.close();
      // The weights are in memory: the files may be removed from storage while the model is in use.
      for (const file of open) file.close();
    }
  }

  info(): OpenedShard {
    return { ...this.engine.info(), memoryBytes: this.#memoryBytes() };
  }

  /** From here on, the engine has whom to ask about schemas and grammars. */
  async constrain({ default: instantiate, Constraints }: ConstraintsModule, module: WebAssembly.Module): Promise<void> {
    const { memory } = await instantiate({ module_or_path: module });
    this.engine.setConstraints(new Constraints(this.engine.words()));
    this.#beside = memory;
  }

  #memoryBytes(): number {
    return this.#memory.buffer.byteLength + (this.#beside?.buffer.byteLength ?? 0);
  }

  async generate({ epoch, memory, request }: GenerateParams, call: Call<GenerateEvent>): Promise<GenerateResult> {
    const turns = new Turns();
    this.#exchange.begin(epoch, call.signal);
    try {
      this.engine.useMemory(memory);
      const began = performance.now();
      if (request) {
        this.engine.start(request);
        call.emit({ kind: 'started' });
      } else {
        this.engine.follow();
      }
      const first = await this.#run(call, turns);
      const ended = performance.now();
      return {
        promptMs: (first ?? ended) - began,
        predictedMs: ended - (first ?? ended),
        memoryBytes: this.#memoryBytes(),
      };
    } catch (error) {
      // After a trap the memory is in no known state: nothing of the engine is called again.
      if (!(error instanceof WebAssembly.RuntimeError)) this.engine.cancel();
      throw error;
    } finally {
      this.#exchange.end();
      turns.close();
    }
  }

  /** To the end of the request. Returns when the first token came out. */
  async #run({ emit, signal }: Call<GenerateEvent>, turns: Turns): Promise<number | undefined> {
    const engine = this.engine;
    let first: number | undefined;
    for (;;) {
      if (signal.aborted || this.#exchange.cancelled()) throw aborted();
      switch (engine.run()) {
        case Step.Done:
          return first;
        case Step.Exchange: {
          const wait = this.#exchange.deliver(engine, this.#memory);
          if (wait) await wait;
          break;
        }
        case Step.Output: {
          const output = engine.takeOutput();
          if (output.tokens?.length) first ??= performance.now();
          emit({ kind: 'output', output });
          break;
        }
        case Step.Pause:
          await turns.next();
          break;
        default:
          throw new FanlightError('worker-crashed', 'The engine stopped for a reason that this package does not know.');
      }
      this.#exchange.alive();
      if (turns.due()) await turns.next();
    }
  }
}

/**
 * Turns of the event loop, so that messages are heard. By a message to oneself: timers are held back by 4 ms once they
 * are nested.
 */
class Turns {
  readonly #ping = new MessageChannel();
  #last = performance.now();

  /** Whether the last one was so long ago that it is time, whatever the engine says. */
  due(): boolean {
    return performance.now() - this.#last > TURN_MS;
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.#ping.port1.onmessage = () => {
        this.#last = performance.now();
        resolve();
      };
      this.#ping.port2.postMessage(undefined);
    });
  }

  close(): void {
    this.#ping.port1.close();
  }
}
