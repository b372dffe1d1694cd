/**
 * What the wasm module promises: the engine of one shard. It does no I/O and never waits: it reads its weights from
 * sources, computes until it needs the world, and says what it needs. `worker.ts` gives it that and runs it again.
 */

import type { RunningDigest } from './blocks.js';
import type { ErrorRecord } from './errors.js';
import type { Kernel, KvType } from './protocol.js';

/** One file of the model, readable at any place. Synchronous: the engine reads while it loads. */
export interface Source {
  readonly length: number;
  /** The sums of its blocks: what is read is held against them. Without them it is taken as it is. */
  readonly sums?: BigUint64Array | undefined;
  /** Fills all of `into` with the bytes from `offset` on, or throws. */
  read(offset: number, into: Uint8Array): void;
}

/** How this shard takes part, and what it may use. */
export interface EngineOptions {
  readonly shard: number;
  readonly shards: number;
  /** Positions to keep; without it the engine chooses from what the model was trained for. */
  readonly contextLength?: number;
  /** How keys and values are kept; without it the engine chooses. */
  readonly kvType?: KvType;
  /** With the block that predicts further tokens, where the file has one. */
  readonly predict?: boolean;
}

/** What the file says about the model, and what this shard of it weighs. */
export interface EngineInfo {
  readonly architecture: string;
  readonly name: string;
  readonly parameters: number;
  readonly contextLength: number;
  /** Positions that the model was trained for. */
  readonly trainedContextLength: number;
  readonly kvType: KvType;
  /** The block that predicts further tokens is there, and in memory. */
  readonly predicts: boolean;
  readonly kernel: Kernel;
  readonly quantization: string;
  /** On the leader. */
  readonly defaults?: Defaults;
  readonly vocabularySize: number;
  /** How the vectors of a text's tokens become one, where the file says so: it is a model for embeddings. */
  readonly pooling?: string;
  /** Bytes of weights, cache and buffers in this shard's memory. */
  readonly weightBytes: number;
  readonly kvBytes: number;
  readonly bufferBytes: number;
}

/** What chats are answered with where a request does not say: the file's own keys, else what the makers of its family recommend. */
export interface Defaults {
  /** Whether the model thinks first; null leaves it to the chat template. */
  readonly enable_thinking: boolean | null;
  /** When it thinks first, and when it does not. */
  readonly thinking: ProposedSampling;
  readonly answering: ProposedSampling;
}

/** By the names that the options of a request have. */
export interface ProposedSampling {
  readonly temperature: number;
  readonly top_p: number;
  readonly top_k: number;
  readonly min_p: number;
  readonly presence_penalty: number;
  readonly repeat_penalty: number;
}

/** What `run()` stopped for. */
export const Step = {
  /** The request is over. */
  Done: 0,
  /** Slices have to be exchanged before it can go on. */
  Exchange: 1,
  /** It ran for a while: let messages in, then run again. */
  Pause: 2,
  /** Leader only: `takeOutput()` has something. */
  Output: 3,
} as const;

/** Who sends to whom at an exchange. */
export const ExchangeKind = {
  /** Every shard sends its slice to every other. */
  AllGather: 0,
  /** Shard 0 sends, the others receive. */
  FromLeader: 1,
  /** The others send, shard 0 receives. */
  ToLeader: 2,
} as const;

/** A request as the engine understands it: a chat (`messages`) or a text to go on with (`prompt`, `promptTokens`). */
export interface GenerateRequest {
  readonly messages?: readonly unknown[];
  readonly tools?: readonly unknown[];
  readonly prompt?: string;
  readonly promptTokens?: readonly number[];
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  /** Go on after a token that ends an answer. */
  readonly ignoreEnd?: boolean;
  /** Compute the prompt, to the end of its last message, and answer nothing. */
  readonly promptOnly?: boolean;
  /** Guess tokens that have stood in the text before, and verify several at once; yes unless false. */
  readonly speculation?: boolean;
  readonly sampling: Sampling;
  readonly logprobs?: boolean;
  readonly topLogprobs?: number;
  /** Variables for the chat template, such as `enable_thinking`. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
  /** Most tokens for thoughts. */
  readonly thinkingBudget?: number;
  /** What the answer must look like. Thoughts before it are free. */
  readonly constraint?: Constraint;
  /** Whether a tool must be called, and which; without it the model decides. */
  readonly toolChoice?: 'required' | { readonly named: string };
  /** At most one call. */
  readonly oneCall?: boolean;
  /** Draw forced tokens one by one; compute all logits where few tokens are allowed. The answer is the same. */
  readonly noFastForward?: boolean;
  readonly allRows?: boolean;
  /** Instead of an answer: how likely these texts are after the prompt, and with each the end of the answer. */
  readonly score?: { readonly texts: readonly string[]; readonly withEnd?: boolean };
  /** Instead of an answer: the vector of the prompt. */
  readonly embed?: boolean;
  /** Instead of all else: several requests that are computed together. Each gives one output, the whole, with its `index` here. */
  readonly together?: readonly GenerateRequest[];
  readonly now: Now;
}

/** What an answer must look like: JSON by a schema, what a regular expression matches, what a Lark grammar describes. */
export type Constraint = { readonly schema: unknown } | { readonly regex: string } | { readonly lark: string };

/** How the next token is chosen. What is missing, the engine takes from the file or from its defaults. */
export interface Sampling {
  readonly temperature?: number;
  readonly top_k?: number;
  readonly top_p?: number;
  readonly min_p?: number;
  readonly typical_p?: number;
  readonly repeat_penalty?: number;
  readonly repeat_last_n?: number;
  readonly frequency_penalty?: number;
  readonly presence_penalty?: number;
  readonly dry_multiplier?: number;
  readonly dry_base?: number;
  readonly dry_allowed_length?: number;
  readonly dry_penalty_last_n?: number;
  readonly dry_sequence_breakers?: readonly string[];
  readonly seed?: number;
  readonly logit_bias?: Readonly<Record<string, number>>;
}

/** The visitor's local time, for templates that print the date. */
export interface Now {
  /** Whole seconds since 1970, UTC. */
  readonly unixSeconds: number;
  /** How far local time is ahead of UTC. */
  readonly utcOffsetMinutes: number;
}

/** What the leader has produced since the last output. Everything is optional: only what is new is there. */
export interface OutputEvent {
  /** More of the answer. Whole characters only. */
  readonly text?: string;
  /** More of the reasoning that comes before an answer. */
  readonly reasoning?: string;
  /** Tool calls, or more of their arguments. */
  readonly toolCalls?: readonly ToolCallDelta[];
  /** Something began like a tool call and was none; it is in the text. */
  readonly malformedToolCall?: boolean;
  /** The ids of the tokens produced, the one that ended the answer included. */
  readonly tokens?: readonly number[];
  readonly logprobs?: readonly TokenLogprob[];
  /** Tokens of the prompt, and how many of them were still in the cache. Once, when the prompt is done. */
  readonly promptTokens?: number;
  readonly cachedTokens?: number;
  /** Tokens that were guessed, and those of them that were right. */
  readonly drafted?: number;
  readonly accepted?: number;
  /** Of the tokens, how many were forced by the constraint and not drawn. */
  readonly forced?: number;
  /** The parts of `text` that came with these tokens, each as where it begins and where it ends. */
  readonly forcedText?: readonly (readonly [number, number])[];
  /** Logits that were not computed, because their tokens were not allowed. */
  readonly skippedRows?: number;
  /** How sure the model was of the answer, from 0 to 1. With the last output. */
  readonly confidence?: number;
  /** Log probabilities of the tokens of each text that was to be weighed. */
  readonly scores?: readonly (readonly number[])[];
  /** The vector of the prompt, of length one. */
  readonly vector?: readonly number[];
  /** Last of all. */
  readonly finishReason?: FinishReason;
  /** Of requests that are computed together: whose output this is, and why that one failed. */
  readonly index?: number;
  readonly error?: ErrorRecord;
}

/** The leader's plan for what all shards save. Only the engine looks into it. */
export interface SavePlan {
  readonly keep: number;
  readonly position: number;
  readonly slot?: number | null;
  readonly turn?: number | null;
}

/** One tool call, or a piece of it: pieces with the same `index` belong together, their `arguments` are joined. JSON. */
export interface ToolCallDelta {
  readonly index: number;
  readonly id?: string;
  readonly name?: string;
  readonly arguments: string;
  /** The call is none after all; its text is in the answer. */
  readonly malformed?: boolean;
}

/** How likely a token was, and which others were. */
export interface TokenLogprob {
  readonly token: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly top: readonly Omit<TokenLogprob, 'top'>[];
}

/** Why an answer ended. */
export type FinishReason = 'stop' | 'length' | 'tool_calls';

/** One shard of a loaded model. What it throws is an `ErrorRecord`; a wasm trap leaves it unusable. */
export interface Engine {
  info(): EngineInfo;
  /** Loads a few megabytes of this shard's weights; true when all are there. */
  loadStep(): boolean;
  loaded(): number;
  loadTotal(): number;
  /** Leader: its tokens, for a `Constraints` of the other module. */
  words(): Words;
  /** Leader: who runs constraints. A request that needs some is refused without. */
  setConstraints(constraints: Constraints): void;
  tokenize(text: string, special: boolean): Uint32Array;
  detokenize(ids: Uint32Array): string;
  /** Leader: how many tokens the prompt of a request has. Nothing is computed. */
  countPrompt(request: GenerateRequest): number;
  /** Leader: begins a request. */
  start(request: GenerateRequest): void;
  /** The others: take part in it. */
  follow(): void;
  /** Memories of several conversations, by number; 0 is there from the beginning. All shards get the same calls. */
  newMemory(id: number): void;
  useMemory(id: number): void;
  /** Not the one in use. */
  dropMemory(id: number): void;
  /** Leader: what of the memory in use can be saved now. */
  planMemory(): SavePlan;
  /** This shard's part of the memory in use; the parts of all, one behind the other, are what `loadMemory` takes. */
  saveMemory(plan: SavePlan): Uint8Array;
  copyMemory(id: number, plan: SavePlan): void;
  loadMemory(id: number, bytes: Uint8Array): void;
  /** Computes to the next `Step`. */
  run(): number;
  takeOutput(): OutputEvent;
  /** While an exchange is pending: its kind, and where the slice of a shard lies in this engine's memory. */
  exchangeKind(): number;
  exchangePtr(shard: number): number;
  exchangeLen(shard: number): number;
  /** Drops the request in flight; the engine is usable at once. */
  cancel(): void;
  free(): void;
}

/** The tokens of a model. Only the module of constraints looks into it. */
export interface Words {
  encode(text: string): Uint32Array;
}

/** What schemas and grammars allow. Only the engine asks it. */
export interface Constraints {
  check(schema: unknown): void;
}

/** The JavaScript glue of the module of constraints, which the engine does without until it is needed. */
export interface ConstraintsModule {
  default(options: { module_or_path: WebAssembly.Module }): Promise<{ readonly memory: WebAssembly.Memory }>;
  readonly Constraints: new (words: Words) => Constraints;
}

/** The JavaScript glue of a wasm build. */
export interface EngineModule {
  default(options: { module_or_path: WebAssembly.Module }): Promise<{ readonly memory: WebAssembly.Memory }>;
  readonly Engine: new (parts: Source[], options: EngineOptions) => Engine;
  /** What a shard will weigh, by the headers of the files: as `Engine.info()` says it afterwards. */
  estimate(parts: Source[], options: EngineOptions): EngineInfo;
  /** The sum of a block of a file. */
  blockSum(bytes: Uint8Array): bigint;
  /** A SHA-256 that takes a file as it comes. */
  readonly Digest: new () => RunningDigest;
}
