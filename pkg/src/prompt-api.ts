/**
 * The Prompt API (https://webmachinelearning.github.io/prompt-api/) over a model of one's own: where the browser has no
 * `LanguageModel`, or none that will do.
 *
 * ```js
 * import { install } from 'fanlight/prompt-api';
 *
 * install('https://example.org/model.gguf');      // leaves the browser's own LanguageModel where there is one
 * const session = await LanguageModel.create();
 * console.log(await session.prompt('Why is the sky blue?'));
 * ```
 *
 * Failures are `DOMException`s with the names that the API prescribes; the `FanlightError` behind them is their `cause`.
 *
 * @module
 */

import { FanlightError, messageOf } from './errors.js';
import { chooseBuild, detectFeatures } from './features.js';
import { load, type LoadOptions, type Progress } from './load.js';
import type { Model } from './model.js';
import type { ChatMessage } from './openai.js';
import { isObject } from './params.js';
import type { ModelPart } from './sources.js';
import type { RunnableTool } from './tools.js';

// ---- What a page sees: names and shapes are those of the API ---------------------------------------------------

/** Whether sessions can be had, and at what price. */
export type Availability = 'unavailable' | 'downloadable' | 'downloading' | 'available';

/** A piece of content. Others than text are refused: this is about language. */
export interface LanguageModelContent {
  type: 'text';
  value: string;
}

/** One turn. */
export interface LanguageModelMessage {
  role: 'system' | 'user' | 'assistant';
  content: string | readonly LanguageModelContent[];
}

/** What can be asked: a text is a turn of the user. */
export type LanguageModelInput = string | readonly LanguageModelMessage[];

/** Something the model may call. */
export interface LanguageModelTool {
  name: string;
  description: string;
  inputSchema: Readonly<Record<string, unknown>>;
  /** Called with the arguments as one object. */
  execute(args: Record<string, unknown>): unknown;
}

/** What kind of content goes in or comes out. */
export interface LanguageModelExpected {
  type: string;
  languages?: readonly string[];
}

/** What sessions are to be like. */
export interface LanguageModelCreateCoreOptions {
  topK?: number;
  temperature?: number;
  expectedInputs?: readonly LanguageModelExpected[];
  expectedOutputs?: readonly LanguageModelExpected[];
  tools?: readonly LanguageModelTool[];
}

/** What a session begins with. */
export interface LanguageModelCreateOptions extends LanguageModelCreateCoreOptions {
  /** Stops the creation; later, destroys the session. */
  signal?: AbortSignal;
  /** Is given something that tells `downloadprogress` events, from 0 to 1. */
  monitor?: (monitor: EventTarget) => void;
  initialPrompts?: readonly LanguageModelMessage[];
}

/** Options of one question. */
export interface LanguageModelPromptOptions {
  /** What the answer must look like: a JSON Schema, or a regular expression. */
  responseConstraint?: Readonly<Record<string, unknown>> | RegExp;
  /** Leave it to the constraint alone: the model is not told of it. */
  omitResponseConstraintInput?: boolean;
  signal?: AbortSignal;
}

/** A conversation with the model. */
export interface LanguageModelSession extends EventTarget {
  /** Asks, and resolves with the whole answer. */
  prompt(input: LanguageModelInput, options?: LanguageModelPromptOptions): Promise<string>;
  /** Asks, and gives the answer as it is written. */
  promptStreaming(input: LanguageModelInput, options?: LanguageModelPromptOptions): ReadableStream<string>;
  /** Adds turns without asking. */
  append(input: LanguageModelInput, options?: { signal?: AbortSignal }): Promise<void>;
  /** How many tokens this would add. */
  measureContextUsage(input: LanguageModelInput, options?: LanguageModelPromptOptions): Promise<number>;
  /** Tokens of the conversation so far. */
  readonly contextUsage: number;
  /** Tokens that it may have. When it is full, the oldest turns are dropped, and a `contextoverflow` event tells. */
  readonly contextWindow: number;
  oncontextoverflow: ((event: Event) => void) | null;
  readonly topK: number | undefined;
  readonly temperature: number | undefined;
  /** A conversation that goes on from here on its own. */
  clone(options?: { signal?: AbortSignal }): Promise<LanguageModelSession>;
  /** Ends it, and what is being answered in it. */
  destroy(): void;
}

/** What `LanguageModel` is in a browser that has one. */
export interface LanguageModelStatic {
  availability(options?: LanguageModelCreateCoreOptions): Promise<Availability>;
  create(options?: LanguageModelCreateOptions): Promise<LanguageModelSession>;
}

/** Where the model comes from: loaded already, or what `Fanlight.load` takes. It is loaded once, by the first session. */
export type PromptApiSource = Model | ModelPart | readonly ModelPart[];

// ---- The two doors ---------------------------------------------------------------------------------------------

/** A `LanguageModel` over this model. */
export function promptApi(source: PromptApiSource, options: Omit<LoadOptions, 'signal'> = {}): LanguageModelStatic {
  const supply = new Supply(source, options);
  return {
    availability: (core = {}) => Promise.resolve(supply.availability(core)),
    create: (wanted = {}) => create(supply, wanted),
  };
}

/** Puts it where pages look for it, unless the browser has one of its own; says which of the two is there now. */
export function install(source: PromptApiSource, options: Omit<LoadOptions, 'signal'> = {}): 'browser' | 'fanlight' {
  if ('LanguageModel' in globalThis) return 'browser';
  const value = promptApi(source, options);
  Object.defineProperty(globalThis, 'LanguageModel', { value, configurable: true, writable: true });
  return 'fanlight';
}

// ---- The model -------------------------------------------------------------------------------------------------

/** The one model of all sessions. */
class Supply {
  readonly #source: PromptApiSource;
  readonly #options: Omit<LoadOptions, 'signal'>;
  #state: Availability = 'downloadable';
  #loading: Promise<Model> | undefined;
  readonly #listeners = new Set<(part: number) => void>();

  constructor(source: PromptApiSource, options: Omit<LoadOptions, 'signal'>) {
    this.#source = source;
    this.#options = options;
    if (isModel(source)) this.#state = 'available';
  }

  availability({ expectedInputs = [], expectedOutputs = [] }: LanguageModelCreateCoreOptions): Availability {
    if ([...expectedInputs, ...expectedOutputs].some(({ type }) => type !== 'text' && !type.startsWith('tool-'))) {
      return 'unavailable';
    }
    try {
      chooseBuild(this.#options.build ?? 'auto', detectFeatures());
    } catch {
      return 'unavailable';
    }
    return this.#state;
  }

  /** The model, loaded at the first call. `heard` is told how far that is, from 0 to 1. */
  async model(heard: (part: number) => void): Promise<Model> {
    if (isModel(this.#source)) return this.#source;
    this.#listeners.add(heard);
    try {
      return await (this.#loading ??= this.#load(this.#source));
    } finally {
      this.#listeners.delete(heard);
    }
  }

  async #load(source: ModelPart | readonly ModelPart[]): Promise<Model> {
    this.#state = 'downloading';
    try {
      const onProgress = (progress: Progress) => {
        this.#options.onProgress?.(progress);
        if (progress.phase !== 'download' || !progress.total) return;
        for (const listener of this.#listeners) listener(progress.loaded / progress.total);
      };
      const model = await load(source, { ...this.#options, onProgress });
      this.#state = 'available';
      model.on('closed', () => {
        this.#state = 'downloadable';
        this.#loading = undefined; // the next one loads it again
      });
      return model;
    } catch (error) {
      this.#state = 'downloadable';
      this.#loading = undefined; // the next one may try again
      throw error;
    }
  }
}

function isModel(source: PromptApiSource): source is Model {
  return isObject(source) && 'chat' in source;
}

async function create(supply: Supply, options: LanguageModelCreateOptions): Promise<LanguageModelSession> {
  const { signal, monitor, initialPrompts = [], tools = [], topK, temperature } = options;
  signal?.throwIfAborted();
  if (supply.availability(options) === 'unavailable') {
    throw new DOMException('A session with these options cannot be had.', 'NotSupportedError');
  }
  const target = new EventTarget();
  monitor?.(target);
  let last = 0;
  const tell = (part: number) => {
    last = Math.max(last, part);
    target.dispatchEvent(new ProgressEvent('downloadprogress', { loaded: last, total: 1, lengthComputable: true }));
  };
  try {
    tell(0);
    const model = await unlessAborted(supply.model(tell), signal);
    tell(1);
    const settings = { tools: tools.map(runnable), topK, temperature };
    const session = new Session(model, settings, turns(initialPrompts, true), 0);
    await session.measure(signal);
    signal?.addEventListener('abort', () => session.destroy());
    return session;
  } catch (error) {
    throw asDomException(error, signal);
  }
}

// ---- A session -------------------------------------------------------------------------------------------------

interface Settings {
  readonly tools: readonly RunnableTool[];
  readonly topK: number | undefined;
  readonly temperature: number | undefined;
}

class Session extends EventTarget implements LanguageModelSession {
  readonly #model: Model;
  readonly #settings: Settings;
  /** What a full context must not drop: the first of the messages, so many. */
  readonly #kept: number;
  readonly #end = new AbortController();
  #messages: ChatMessage[];
  #usage: number;
  #last: Promise<unknown> = Promise.resolve();
  #handler: ((event: Event) => void) | null = null;

  constructor(model: Model, settings: Settings, messages: readonly ChatMessage[], usage: number, kept = messages.length) {
    super();
    this.#model = model;
    this.#settings = settings;
    this.#messages = [...messages];
    this.#usage = usage;
    this.#kept = kept;
  }

  get contextUsage(): number {
    return this.#usage;
  }

  get contextWindow(): number {
    return this.#model.info().contextLength;
  }

  get topK(): number | undefined {
    return this.#settings.topK;
  }

  get temperature(): number | undefined {
    return this.#settings.temperature;
  }

  get oncontextoverflow(): ((event: Event) => void) | null {
    return this.#handler;
  }

  set oncontextoverflow(handler: ((event: Event) => void) | null) {
    if (this.#handler) this.removeEventListener('contextoverflow', this.#handler);
    this.#handler = typeof handler === 'function' ? handler : null;
    if (this.#handler) this.addEventListener('contextoverflow', this.#handler);
  }

  async prompt(input: LanguageModelInput, options: LanguageModelPromptOptions = {}): Promise<string> {
    let answer = '';
    await this.#ask(input, options, (piece) => (answer += piece));
    return answer;
  }

  promptStreaming(input: LanguageModelInput, options: LanguageModelPromptOptions = {}): ReadableStream<string> {
    const stop = new AbortController();
    const signals = [stop.signal, ...(options.signal ? [options.signal] : [])];
    const all = { ...options, signal: AbortSignal.any(signals) };
    const stream = new ReadableStream<string>({
      start: (controller) => {
        this.#ask(input, all, (piece) => controller.enqueue(piece)).then(
          () => controller.close(),
          (error: unknown) => controller.error(error),
        );
      },
      cancel: (reason) => stop.abort(reason),
    });
    return Symbol.asyncIterator in stream ? stream : Object.assign(stream, { [Symbol.asyncIterator]: () => pieces(stream) });
  }

  async append(input: LanguageModelInput, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#inTurn(options.signal, async () => {
      const messages = [...this.#messages, ...turns(input, false)];
      this.#usage = await this.#count(messages);
      this.#messages = messages;
    });
  }

  async measureContextUsage(input: LanguageModelInput): Promise<number> {
    return this.#inTurn(undefined, async () => {
      const before = this.#messages.length === 0 ? 0 : await this.#count(this.#messages);
      return (await this.#count([...this.#messages, ...turns(input, false)])) - before;
    });
  }

  async clone(options: { signal?: AbortSignal } = {}): Promise<LanguageModelSession> {
    return this.#inTurn(options.signal, async () => {
      const copy = new Session(this.#model, this.#settings, this.#messages, this.#usage, this.#kept);
      options.signal?.addEventListener('abort', () => copy.destroy());
      return copy;
    });
  }

  destroy(): void {
    this.#end.abort(new DOMException('The session was destroyed.', 'AbortError'));
  }

  /** Counts what the session begins with. */
  async measure(signal: AbortSignal | undefined): Promise<void> {
    await this.#inTurn(signal, async () => {
      if (this.#messages.length > 0) this.#usage = await this.#count(this.#messages);
      if (this.#usage >= this.contextWindow) throw quotaExceeded('The initial prompts do not fit in the context.');
    });
  }

  async #ask(input: LanguageModelInput, options: LanguageModelPromptOptions, tell: (piece: string) => void): Promise<void> {
    const { signal } = options;
    await this.#inTurn(signal, async (stop) => {
      let messages = [...this.#messages, ...turns(input, false)];
      const begun = messages.length - this.#messages.length;
      // What was told, and what tools have done, is not done again.
      let heard = false;
      const hear = (piece?: string) => {
        heard ||= piece !== '';
        if (piece) tell(piece);
      };
      for (;;) {
        try {
          ({ messages } = await this.#answer(messages, options, stop, hear));
          break;
        } catch (error) {
          const shorter = this.#shortened(messages, begun);
          if (heard || !(error instanceof FanlightError && error.code === 'context-full') || !shorter) throw error;
          messages = shorter;
          this.dispatchEvent(new Event('contextoverflow'));
        }
      }
      this.#messages = messages;
    });
  }

  /** Without the oldest turn of the user and what follows it up to the next; nothing if only what is new is left. */
  #shortened(messages: readonly ChatMessage[], begun: number): ChatMessage[] | undefined {
    const rest = messages.slice(this.#kept);
    if (rest.length <= begun) return undefined;
    const next = rest.findIndex(({ role }, at) => at > 0 && role === 'user');
    const dropped = Math.min(next < 0 ? rest.length : next, rest.length - begun);
    return [...messages.slice(0, this.#kept), ...rest.slice(dropped)];
  }

  /** Asks the model; resolves with the conversation to go on with. */
  async #answer(
    messages: ChatMessage[],
    { responseConstraint, omitResponseConstraintInput }: LanguageModelPromptOptions,
    signal: AbortSignal,
    /** Each piece of text; nothing when a tool is called. */
    hear: (piece?: string) => void,
  ): Promise<{ messages: ChatMessage[] }> {
    const { tools, topK, temperature } = this.#settings;
    const constraint = responseConstraint === undefined ? {} : constrained(responseConstraint);
    const asked = omitResponseConstraintInput ? messages : explained(messages, responseConstraint);
    const params = {
      ...constraint,
      ...(topK !== undefined && { top_k: topK }),
      ...(temperature !== undefined && { temperature }),
    };
    if (tools.length > 0) {
      const events = await this.#model.runTools({ ...params, messages: asked, tools, stream: true }, { signal });
      let said = messages;
      for await (const event of events) {
        if (event.type === 'chunk') hear(event.chunk.choices[0]?.delta.content ?? '');
        else if (event.type === 'tool_call') hear();
        else if (event.type === 'end') said = [...messages, ...event.result.messages.slice(asked.length)];
      }
      this.#usage = await this.#count(said);
      return { messages: said };
    }
    let content = '';
    const options = { include_usage: true };
    const request = { ...params, messages: asked, stream: true as const, stream_options: options };
    for await (const { choices, usage } of await this.#model.chat.completions.create(request, { signal })) {
      const piece = choices[0]?.delta.content ?? '';
      content += piece;
      hear(piece);
      this.#usage = usage?.total_tokens ?? this.#usage;
    }
    return { messages: [...messages, { role: 'assistant', content }] };
  }

  async #count(messages: readonly ChatMessage[]): Promise<number> {
    const tools = this.#settings.tools.map(({ type, function: { function: _, ...told } }) => ({ type, function: told }));
    return this.#model.countTokens({ messages, ...(tools.length > 0 && { tools }) });
  }

  /** One after the other, in the order they were asked for; and not at all once the session is destroyed. */
  async #inTurn<T>(signal: AbortSignal | undefined, work: (stop: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#end.signal.aborted) throw new DOMException('The session was destroyed.', 'InvalidStateError');
    const stop = AbortSignal.any([this.#end.signal, ...(signal ? [signal] : [])]);
    const mine = this.#last.then(() => {
      stop.throwIfAborted();
      return work(stop);
    });
    this.#last = mine.catch(() => {});
    try {
      return await unlessAborted(mine, stop);
    } catch (error) {
      throw asDomException(error, stop);
    }
  }
}

// ---- Pieces ----------------------------------------------------------------------------------------------------

/** The turns of an input, in the words of a chat. A system prompt may only come first of all. */
function turns(input: LanguageModelInput, initial: boolean): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }];
  if (!Array.isArray(input)) throw new TypeError('Expected a text, or an array of messages.');
  return input.map((message: LanguageModelMessage, at): ChatMessage => {
    const { role, content } = message;
    if (role === 'system' && !(initial && at === 0)) {
      throw new DOMException('A system prompt can only come first of the initial prompts.', 'NotSupportedError');
    }
    if ('prefix' in message && message.prefix) {
      throw new DOMException('Answers cannot be begun by the page here.', 'NotSupportedError');
    }
    if (role !== 'system' && role !== 'user' && role !== 'assistant') throw new TypeError(`Unknown role: ${String(role)}.`);
    return { role, content: textOf(content) };
  });
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw new TypeError('Expected a text, or an array of content.');
  const texts = content.map((part: unknown) => {
    if (isObject(part) && part['type'] === 'text' && typeof part['value'] === 'string') return part['value'];
    throw new DOMException('Only text can be understood here.', 'NotSupportedError');
  });
  return texts.join('');
}

/** The constraint in the words of a chat. */
function constrained(constraint: Readonly<Record<string, unknown>> | RegExp) {
  if (constraint instanceof RegExp) {
    const flags = ['i', 's', 'm'].filter((flag) => constraint.flags.includes(flag)).join('');
    return { regex: flags ? `(?${flags}:${constraint.source})` : constraint.source };
  }
  const json_schema = { name: 'response', schema: constraint };
  return { response_format: { type: 'json_schema' as const, json_schema } };
}

/** The messages, with the constraint told in the last of the user's: a model that knows of it answers better. */
function explained(messages: readonly ChatMessage[], constraint: Readonly<Record<string, unknown>> | RegExp | undefined) {
  const last = messages.at(-1);
  if (constraint === undefined || last?.role !== 'user' || typeof last.content !== 'string') return messages;
  const form = constraint instanceof RegExp ? `matches ${constraint}` : `is JSON of this schema: ${JSON.stringify(constraint)}`;
  return [...messages.slice(0, -1), { ...last, content: `${last.content}\n\nAnswer with nothing but text that ${form}` }];
}

function runnable({ name, description, inputSchema, execute }: LanguageModelTool): RunnableTool {
  if (typeof execute !== 'function') throw new TypeError(`The tool ${String(name)} has no function to execute.`);
  return { type: 'function', function: { name, description, parameters: inputSchema, function: (args) => execute(args) } };
}

function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}

function quotaExceeded(message: string): DOMException {
  return new DOMException(message, 'QuotaExceededError');
}

/** Any failure as the API tells it. */
function asDomException(error: unknown, signal: AbortSignal | undefined): unknown {
  if (signal?.aborted) return signal.reason;
  if (error instanceof DOMException || error instanceof TypeError) return error;
  const code = error instanceof FanlightError ? error.code : undefined;
  const message = messageOf(error);
  const named = (name: string) => Object.assign(new DOMException(message, name), { cause: error });
  switch (code) {
    case 'context-full':
      return named('QuotaExceededError');
    case 'schema':
    case 'invalid-argument':
    case 'template':
      return named('NotSupportedError');
    case 'network':
      return named('NetworkError');
    case 'closed':
      return named('InvalidStateError');
    case 'aborted':
      return named('AbortError');
    default:
      return named('OperationError');
  }
}

/** What `for await` reads, where the browser's own streams do not have it (some WebKits). To break out of the loop cancels. */
async function* pieces(stream: ReadableStream<string>): AsyncGenerator<string, void, undefined> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}
