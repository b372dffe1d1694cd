/** A loaded model, as applications see it. */

import { answerStream, answerWhole, chatTeller, type Teller, textTeller } from './chat.js';
import { Crew } from './client.js';
import type { Defaults } from './engine.js';
import { FanlightError, invalidArgument } from './errors.js';
import { type ModelEvents, type RequestKind, Watchers } from './events.js';
import { checkFallback, type Fallback, type Remote } from './fallback.js';
import { fetchFor } from './http.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionParams,
  ChatMessage,
  Completion,
  CompletionParams,
  RequestOptions,
} from './openai.js';
import { type Checked, checkChat, checkCompletion, checkTokens, flag, isObject, known } from './params.js';
import type { Build, Kernel, KvType } from './protocol.js';
import { type Answering, checkSession, type SavedSession, Session } from './session.js';
import type { Stream } from './stream.js';
import type { Results } from './results.js';
import { type RunToolsEvent, type RunToolsParams, type RunToolsResult, runStreamed, runWhole } from './tools.js';
import type {
  Classification,
  ClassifyOptions,
  EmbedOptions,
  ExtractOptions,
  Ranked,
  RerankOptions,
  Score,
} from './verbs.js';
import * as verbs from './verbs.js';

/** A JSON schema. */
export type JsonSchema = Readonly<Record<string, unknown>> | boolean;

/** What is loaded, and how. */
export interface ModelInfo {
  /** The model's own name, from the file. */
  readonly name: string;
  readonly architecture: string;
  readonly quantization: string;
  /** What chats are answered with where a request does not say. Missing when the model is only on a server. */
  readonly defaults?: Defaults;
  readonly parameters: number;
  readonly vocabularySize: number;
  /** How the vectors of a text's tokens become one, where the file says so: it is a model for embeddings. */
  readonly pooling?: string;
  /** Tokens that prompt and answer may have together. */
  readonly contextLength: number;
  /** How keys and values are kept. */
  readonly kvType: KvType;
  /** The file's block for multi-token prediction is in memory, and guesses tokens: see the option `predict`. */
  readonly predicts: boolean;
  /**
   * What weights of up to six bits are multiplied with: sixteen-bit activations, or eight-bit ones by the dot product of pairs or
   * of fours: the first worker took what ran faster here when the model was loaded. The results are the same.
   */
  readonly kernel: Kernel;
  /** Bytes in the memories of all shards: weights, cache, and everything else. */
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly bufferBytes: number;
  /** What the memories of all shards have taken so far; the cache grows into its bytes as the context fills. */
  readonly memoryBytes: number;
  /** Bytes of the file, or of all its parts. */
  readonly fileBytes: number;
  readonly shards: number;
  /** How the shards exchange; with one shard there is nothing to exchange. */
  readonly transport: 'none' | 'shared' | 'messages';
  readonly build: Build;
  /** Where the bytes came from: the network, browser storage, or a file of the visitor. `fallback`: there are none here. */
  readonly source: 'network' | 'storage' | 'file' | 'fallback';
}

/** `model.chat.completions` */
export interface ChatCompletions {
  /** Answers a conversation: as a stream of chunks, or whole. */
  create(
    params: ChatCompletionParams & { stream: true },
    options?: RequestOptions,
  ): Promise<Stream<ChatCompletionChunk>>;
  create(params: ChatCompletionParams & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
  create(params: ChatCompletionParams, options?: RequestOptions): Promise<ChatCompletion | Stream<ChatCompletionChunk>>;
}

/** `model.completions` */
export interface Completions {
  /** Goes on with a text: as a stream of pieces, or whole. */
  create(params: CompletionParams & { stream: true }, options?: RequestOptions): Promise<Stream<Completion>>;
  create(params: CompletionParams & { stream?: false | null }, options?: RequestOptions): Promise<Completion>;
  create(params: CompletionParams, options?: RequestOptions): Promise<Completion | Stream<Completion>>;
}

/** A model that is ready to answer. Requests are answered one after the other, in the order they came. */
export class Model {
  /** Conversations, in the shape of the OpenAI API. */
  readonly chat: { readonly completions: ChatCompletions };
  /** Plain text, in the shape of the OpenAI API. */
  readonly completions: Completions;
  /**
   * A `fetch` that speaks the OpenAI HTTP API and is answered by this model: for clients that take a `fetch` of their own.
   * `/chat/completions` (also as server-sent events), `/completions`, `/embeddings` and `/models`, under any address.
   */
  readonly fetch: typeof globalThis.fetch;
  /** The workers, or why there are none. */
  readonly #device: Answering | FanlightError;
  readonly #fallback: Remote | undefined;
  readonly #watchers = new Watchers();
  readonly #info: ModelInfo;

  /** @internal */
  constructor(device: Answering | FanlightError, info: ModelInfo, fallback?: Remote) {
    this.#device = device;
    this.#fallback = fallback;
    this.#info = info;
    this.chat = { completions: { create: this.#createChat.bind(this) } };
    this.completions = { create: this.#createText.bind(this) };
    this.fetch = fetchFor(this);
    if (!(device instanceof FanlightError)) device.onEnd((error) => this.#watchers.tell('closed', { error }));
  }

  get #crew(): Answering {
    if (this.#device instanceof FanlightError) throw this.#device;
    return this.#device;
  }

  /** What is loaded, and how. */
  info(): ModelInfo {
    return this.#info;
  }

  /**
   * A chat with tools that carry their functions: asks the model, runs the tools that it calls, tells it what they gave, and
   * so on until it answers. With `stream: true` what happens can be watched.
   */
  runTools(params: RunToolsParams & { stream: true }, options?: RequestOptions): Promise<Stream<RunToolsEvent>>;
  runTools(params: RunToolsParams & { stream?: false | null }, options?: RequestOptions): Promise<RunToolsResult>;
  async runTools(params: RunToolsParams, options?: RequestOptions): Promise<RunToolsResult | Stream<RunToolsEvent>> {
    const { completions } = this.chat;
    return params?.stream === true ? runStreamed(completions, params, options) : runWhole(completions, params, options);
  }

  /**
   * The class of a text, with the probability of each label: by how likely the model finds the labels as its answer. Many
   * texts: their classes in the same order, all at once or one by one (`for await`); what is the same for all of them is
   * computed once.
   */
  classify(text: string, labels: readonly string[], options?: ClassifyOptions): Promise<Classification>;
  classify(texts: readonly string[], labels: readonly string[], options?: ClassifyOptions): Results<Classification>;
  classify(
    texts: string | readonly string[],
    labels: readonly string[],
    options?: ClassifyOptions,
  ): Promise<Classification> | Results<Classification> {
    return oneOrMany('text', texts, (list) => verbs.classify(this.#verbs, list, labels, options));
  }

  /** What a text says, as JSON by a schema: always valid. */
  extract<T = unknown>(text: string, schema: JsonSchema, options?: ExtractOptions): Promise<T>;
  extract<T = unknown>(texts: readonly string[], schema: JsonSchema, options?: ExtractOptions): Results<T>;
  extract<T = unknown>(
    texts: string | readonly string[],
    schema: JsonSchema,
    options?: ExtractOptions,
  ): Promise<T> | Results<T> {
    return oneOrMany('text', texts, (list) => verbs.extract<T>(this.#verbs, list, schema, options));
  }

  /** The vector of a text, of length one, pooled as the file says (where it says nothing: the mean of all tokens). */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  embed(texts: readonly string[], options?: EmbedOptions): Results<Float32Array>;
  embed(texts: string | readonly string[], options?: EmbedOptions): Promise<Float32Array> | Results<Float32Array> {
    return oneOrMany('text', texts, (list) => verbs.embed(this.#verbs, list, options));
  }

  /** The documents, those first that answer the query best: by their vectors, or by the model's judgement. */
  async rerank(query: string, docs: readonly string[], options?: RerankOptions): Promise<Ranked[]> {
    return verbs.rerank(this.#verbs, query, verbs.checkTexts('docs', docs), options);
  }

  /** How likely a text is after another one; or several, for which the first is computed once. */
  score(prompt: string, continuation: string, options?: RequestOptions): Promise<Score>;
  score(prompt: string, continuations: readonly string[], options?: RequestOptions): Promise<Score[]>;
  async score(
    prompt: string,
    continuation: string | readonly string[],
    options?: RequestOptions,
  ): Promise<Score | Score[]> {
    const several = Array.isArray(continuation);
    const list = verbs.checkTexts('continuation', several ? continuation : [continuation]);
    const scores = await verbs.score(this.#verbs, prompt, list, options);
    const [first] = scores;
    return several || !first ? scores : first;
  }

  /** The token ids of a text. With `special`, names of control tokens in it are read as those tokens. */
  async tokenize(text: string, options: { special?: boolean } = {}): Promise<number[]> {
    if (typeof text !== 'string') throw invalidArgument('text', text, 'a string');
    const special = flag(known('tokenize', options, new Set(['special'])), 'special') ?? false;
    return Array.from(await this.#crew.leader.call('tokenize', { text, special }));
  }

  /** The text of token ids. */
  async detokenize(ids: Iterable<number>): Promise<string> {
    return this.#crew.leader.call('detokenize', { ids: Uint32Array.from(checkTokens('ids', ids)) });
  }

  /**
   * How many tokens a text has; or the prompt of a chat, as its template writes it: then the messages are given, or all
   * options of the chat (its tools count, too).
   */
  async countTokens(what: string | readonly ChatMessage[] | ChatCompletionParams): Promise<number> {
    if (typeof what === 'string') return (await this.tokenize(what)).length;
    const { request } = checkChat(isObject(what) ? what : { messages: what }, undefined);
    return this.#crew.leader.call('countPrompt', request);
  }

  /**
   * A conversation with a memory of its own: what was said in it stays in memory while others go on. `from` takes back what
   * a session had saved: a `Blob`, bytes, or the address of a file.
   */
  async session(options?: { from?: SavedSession }): Promise<Session> {
    const from = checkSession(options);
    const crew = this.#crew;
    if (!(crew instanceof Crew)) {
      const message = 'Sessions belong to a model in this tab: ask the model itself, loaded without `share`.';
      throw new FanlightError('invalid-argument', message);
    }
    return Session.open(crew, this.#info, from);
  }

  /** Calls the listener at each event of this kind. What comes back ends that. */
  on<K extends keyof ModelEvents>(event: K, listener: (event: ModelEvents[K]) => void): () => void {
    if (!this.#watchers.has(event)) throw invalidArgument('event', event, 'the name of an event');
    if (typeof listener !== 'function') throw invalidArgument('listener', listener, 'a function');
    return this.#watchers.add(event, listener);
  }

  /** Ends the workers and frees the memory. What is pending rejects with `closed`. The stored file stays. */
  async dispose(): Promise<void> {
    const reason = new FanlightError('closed', 'The model was disposed. Load it again to go on.');
    if (!(this.#device instanceof FanlightError)) this.#device.end(reason);
  }

  get #verbs(): verbs.Verbs {
    return { crew: this.#crew, contextLength: this.#info.contextLength, embeds: this.#info.pooling !== undefined };
  }

  /** Answers a request that was checked, here. */
  async #answer<W, C extends object>(kind: RequestKind, checked: Checked, teller: Teller<W, C>): Promise<W | Stream<C>> {
    const crew = this.#crew;
    const watch = this.#watchers.begin(kind);
    return checked.stream ? answerStream(crew, checked, teller, watch) : answerWhole(crew, checked, teller, watch);
  }

  /** Who may be asked besides, for this request. */
  #remote({ fallback }: { fallback?: Fallback | false | null }): Remote | undefined {
    const own = checkFallback(fallback);
    return own === undefined ? this.#fallback : own || undefined;
  }

  #createChat(
    params: ChatCompletionParams & { stream: true },
    options?: RequestOptions,
  ): Promise<Stream<ChatCompletionChunk>>;
  #createChat(
    params: ChatCompletionParams & { stream?: false | null },
    options?: RequestOptions,
  ): Promise<ChatCompletion>;
  async #createChat(
    params: ChatCompletionParams,
    options?: RequestOptions,
  ): Promise<ChatCompletion | Stream<ChatCompletionChunk>> {
    const checked = checkChat(params, options);
    const teller = chatTeller(this.#info.name, checked.request.logprobs ?? false);
    const local = () => this.#answer('chat', checked, teller);
    const remote = this.#remote(params);
    return remote ? remote.answer('chat', params, checked, local, this.#watchers) : local();
  }

  #createText(params: CompletionParams & { stream: true }, options?: RequestOptions): Promise<Stream<Completion>>;
  #createText(params: CompletionParams & { stream?: false | null }, options?: RequestOptions): Promise<Completion>;
  async #createText(params: CompletionParams, options?: RequestOptions): Promise<Completion | Stream<Completion>> {
    const checked = checkCompletion(params, options);
    const teller = textTeller(this.#info.name, checked.request.logprobs ?? false);
    const local = () => this.#answer('completion', checked, teller);
    const remote = this.#remote(params);
    return remote ? remote.answer('completion', params, checked, local, this.#watchers) : local();
  }
}

/** A verb for one text or many. */
function oneOrMany<T>(
  name: string,
  texts: string | readonly string[],
  verb: (list: readonly string[]) => Results<T>,
): Promise<T> | Results<T> {
  if (Array.isArray(texts)) return verb(verbs.checkTexts(name, texts));
  return (async () => {
    const [first] = await verb(verbs.checkTexts(name, [texts]));
    if (first === undefined) throw new RangeError('one text gives one result');
    return first;
  })();
}
