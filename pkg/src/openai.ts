/** The shapes of the OpenAI API, as far as a language model in a page has a use for them. Names are theirs. */

import type { Fallback } from './fallback.js';

// ---- Requests --------------------------------------------------------------------------------------------------

/** Options of both kinds of completion. `null` is the same as leaving an option out. */
export interface CommonParams {
  /** A server to ask when the device cannot answer, instead of the one given when the model was loaded; false: none. */
  fallback?: Fallback | false | null;
  /** Accepted for compatibility; the model is the one that was loaded. */
  model?: string | null;
  /** Accepted for compatibility, and not used. */
  user?: string | null;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean | null } | null;
  max_tokens?: number | null;
  /** How many answers: one. */
  n?: 1 | null;
  stop?: string | readonly string[] | null;
  seed?: number | null;
  temperature?: number | null;
  top_p?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  /** Added to the logits of these token ids before sampling: -100 to 100. */
  logit_bias?: Readonly<Record<string, number>> | null;
  /** Stops the request. May also be given beside the options, as with the `openai` client. */
  signal?: AbortSignal | null;

  // What local engines add, by the names of llama.cpp's server:
  top_k?: number | null;
  min_p?: number | null;
  typical_p?: number | null;
  repeat_penalty?: number | null;
  /** How many of the last tokens the penalties look at: 0 none, -1 all. */
  repeat_last_n?: number | null;
  dry_multiplier?: number | null;
  dry_base?: number | null;
  dry_allowed_length?: number | null;
  dry_penalty_last_n?: number | null;
  dry_sequence_breakers?: readonly string[] | null;
  /** Go on after a token that ends an answer: for measuring. */
  ignore_eos?: boolean | null;
  /** Tokens that have stood in the text before are guessed, and several verified at once. The answer is the same; false
   * switches it off. */
  speculation?: boolean | null;
  /** The answer is what this regular expression matches as a whole. */
  regex?: string | null;
  /** The answer is what this grammar describes, in the Lark dialect of `llguidance`. */
  grammar?: string | null;
  /** Tokens that a constraint forces are computed together; false draws them one by one. The answer is the same. */
  fast_forward?: boolean | null;
  /** Where a constraint allows few tokens, only their logits are computed; false computes all. The answer is the same. */
  allowed_rows?: boolean | null;
}

/** Options of `chat.completions.create`. */
export interface ChatCompletionParams extends CommonParams {
  messages: readonly ChatMessage[];
  max_completion_tokens?: number | null;
  tools?: readonly ChatTool[] | null;
  /** With `required` or a name a call is made in any case. Arguments obey the tool's schema either way. */
  tool_choice?: 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } } | null;
  /** False: at most one call. */
  parallel_tool_calls?: boolean | null;
  /** What the answer is: text, any JSON object, or JSON by a schema, which is always obeyed, `strict` or not. */
  response_format?: ResponseFormat | null;
  logprobs?: boolean | null;
  top_logprobs?: number | null;
  /** Variables for the chat template. */
  chat_template_kwargs?: Readonly<Record<string, unknown>> | null;
  /** Whether the model thinks before it answers, where its chat template leaves the choice. */
  enable_thinking?: boolean | null;
  /** Most tokens for thoughts. When they are used up, the thoughts are ended and the answer begins. */
  thinking_budget?: number | null;
}

/** What an answer is to be. */
export type ResponseFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  | {
      type: 'json_schema';
      json_schema: {
        name?: string;
        description?: string;
        schema?: Readonly<Record<string, unknown>> | boolean;
        strict?: boolean | null;
      };
    };

/** Options of `completions.create`. */
export interface CompletionParams extends CommonParams {
  /** The text to go on with, or its token ids. */
  prompt: string | readonly number[] | readonly [string];
  /** How many of the likeliest tokens to report at each place. */
  logprobs?: number | null;
}

/** What may be given beside the options. */
export interface RequestOptions {
  signal?: AbortSignal | null;
}

/** One turn of a conversation. */
export type ChatMessage =
  | { role: 'system' | 'developer' | 'user'; content: string | readonly TextPart[]; name?: string }
  | {
      role: 'assistant';
      content?: string | readonly TextPart[] | null;
      reasoning_content?: string | null;
      refusal?: string | null;
      tool_calls?: readonly ChatToolCall[];
      name?: string;
    }
  | { role: 'tool'; content: string | readonly TextPart[]; tool_call_id?: string; name?: string };

/** Content in pieces. */
export interface TextPart {
  type: 'text';
  text: string;
}

/** A function that the model may call. */
export interface ChatTool {
  type: 'function';
  function: {
    name: string;
    description?: string;
    parameters?: Readonly<Record<string, unknown>>;
    strict?: boolean | null;
  };
}

/** A call that the model made. The arguments are JSON. */
export interface ChatToolCall {
  id: string;
  type: 'function';
  function: { name: string; arguments: string };
}

// ---- Answers ---------------------------------------------------------------------------------------------------

/** The answer of `chat.completions.create`. */
export interface ChatCompletion {
  id: string;
  object: 'chat.completion';
  created: number;
  model: string;
  served_by: ServedBy;
  choices: {
    index: number;
    message: {
      role: 'assistant';
      content: string | null;
      /** What the model thought before it answered. */
      reasoning_content?: string;
      refusal: null;
      tool_calls?: ChatToolCall[];
      /** Something began like a tool call and could not be read: it is in the content (or the reasoning) as text. */
      malformed_tool_call?: true;
    };
    logprobs: ChatLogprobs | null;
    finish_reason: FinishReason;
    /** The parts of the content that a constraint forced, so that they were not drawn: where each begins and ends. */
    forced?: Forced;
  }[];
  usage: Usage;
  timings: Timings;
  /**
   * How sure the model was of the answer, from 0 to 1: the geometric mean of the probabilities of its tokens among those that
   * were allowed. Forced tokens and thoughts do not count.
   */
  confidence: number;
}

/** A piece of a streamed chat answer. */
export interface ChatCompletionChunk {
  id: string;
  object: 'chat.completion.chunk';
  created: number;
  model: string;
  served_by: ServedBy;
  choices: {
    index: number;
    delta: {
      role?: 'assistant';
      content?: string;
      reasoning_content?: string;
      tool_calls?: ChatToolCallDelta[];
      malformed_tool_call?: true;
    };
    logprobs: ChatLogprobs | null;
    finish_reason: FinishReason | null;
    /** The parts of this content that a constraint forced, so that they were not drawn: where each begins and ends. */
    forced?: Forced;
  }[];
  /** With `stream_options.include_usage`: in the last chunk, which has no choices; null in the others. */
  usage?: Usage | null;
  /** In the chunk that finishes. */
  timings?: Timings;
  confidence?: number;
}

/**
 * A piece of a tool call: the first has id and name, the others more of the `arguments`. Joined, those are JSON, and not
 * before the call is complete.
 */
export interface ChatToolCallDelta {
  index: number;
  id?: string;
  type?: 'function';
  function: { name?: string; arguments?: string };
  /** What had begun like a call is none after all, and to be forgotten; its text is in `content`. */
  malformed?: true;
}

/** The answer of `completions.create`. Streamed, the pieces have the same shape. */
export interface Completion {
  id: string;
  object: 'text_completion';
  created: number;
  model: string;
  served_by: ServedBy;
  choices: { index: number; text: string; logprobs: CompletionLogprobs | null; finish_reason: FinishReason | null }[];
  /** Whole: always. Streamed: as with chat. */
  usage?: Usage | null;
  timings?: Timings;
  confidence?: number;
}

/** Who gave an answer: the model on this device, or the server of a `fallback`. */
export type ServedBy = 'device' | 'fallback';

/** Parts of a text, each from one place to another as JavaScript counts characters. */
export type Forced = readonly (readonly [number, number])[];

/** Why an answer ended. */
export type FinishReason = 'stop' | 'length' | 'tool_calls';

export interface TokenLogprob {
  token: string;
  logprob: number;
  /** The token's bytes: it may be a part of a character. */
  bytes: number[] | null;
}

export interface ChatLogprobs {
  content: (TokenLogprob & { top_logprobs: TokenLogprob[] })[];
  refusal: null;
}

export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: {
    /** Of the prompt, how many were in the cache from the last turn. */
    cached_tokens: number;
  };
}

/** What the answer cost, by the names of llama.cpp's server. */
export interface Timings {
  /** Tokens of the prompt that were in the cache, and that were computed. */
  cache_n: number;
  prompt_n: number;
  /** Until the first token. */
  prompt_ms: number;
  prompt_per_second: number;
  /** Tokens produced. */
  predicted_n: number;
  /** From the first token to the last. */
  predicted_ms: number;
  predicted_per_second: number;
  /** Tokens that were guessed (see `speculation`), and those of them that were right. */
  draft_n: number;
  draft_n_accepted: number;
  /** Tokens that a constraint forced, and that were not drawn. */
  forced_n: number;
  /** Logits that were not computed, because a constraint did not allow their tokens. */
  skipped_rows: number;

  // And what a page wants to know besides:
  /** In the line, before its turn came. */
  wait_ms: number;
  /** From the call to the first token, waiting included, on the page's own clock. */
  first_token_ms: number;
  /** The most memory that the workers ever had: wasm memories of all shards. */
  peak_bytes: number;
}
