/** From what the engine produces to answers in the OpenAI shape: streamed and whole, chat and plain text. */

import type * as engine from './engine.js';
import { asFanlightError, type FanlightError } from './errors.js';
import type { RequestWatch } from './events.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatLogprobs,
  ChatToolCall,
  ChatToolCallDelta,
  Completion,
  CompletionLogprobs,
  FinishReason,
  Forced,
  Timings,
  TokenLogprob,
  Usage,
} from './openai.js';
import type { Checked } from './params.js';
import type { GenerateEvent, GenerateResult } from './protocol.js';
import type { Answering } from './session.js';
import { Stream } from './stream.js';

/** How one kind of answer is told. */
export interface Teller<Whole, Chunk extends object> {
  /** Before the first token. */
  opening(): Chunk[];
  /** For each output that says something. */
  chunk(output: engine.OutputEvent): Chunk | undefined;
  /** After the last. */
  closing(account: Account, includeUsage: boolean): Chunk[];
  whole(account: Account): Whole;
}

/** Runs a request; resolves with the whole answer. */
export async function answerWhole<W, C extends object>(
  crew: Answering,
  checked: Checked,
  teller: Teller<W, C>,
  watch: RequestWatch,
): Promise<W> {
  const account = new Account(watch);
  const onEvent = (event: GenerateEvent) => {
    if (event.kind === 'started') watch.started();
    else account.add(event.output);
  };
  try {
    account.settle(await crew.generate(checked.request, { signal: checked.signal, onEvent }));
  } catch (error) {
    throw account.failed(error);
  }
  return teller.whole(account);
}

/** Runs a request; resolves with a stream as soon as the request was accepted. */
export async function answerStream<W, C extends object>(
  crew: Answering,
  checked: Checked,
  teller: Teller<W, C>,
  watch: RequestWatch,
): Promise<Stream<C>> {
  const stop = new AbortController();
  const forward = () => stop.abort(checked.signal?.reason);
  if (checked.signal?.aborted) forward();
  checked.signal?.addEventListener('abort', forward);

  const account = new Account(watch);
  const stream = new Stream<C>(() => stop.abort());
  const accepted = new Promise<void>((resolve, reject) => {
    const onEvent = (event: GenerateEvent) => {
      if (event.kind === 'started') {
        watch.started();
        for (const chunk of teller.opening()) stream.push(chunk);
        return resolve();
      }
      account.add(event.output);
      const chunk = teller.chunk(event.output);
      if (chunk) stream.push(chunk);
    };
    crew
      .generate(checked.request, { signal: stop.signal, onEvent })
      .then(
        (result) => {
          account.settle(result);
          for (const chunk of teller.closing(account, checked.includeUsage)) stream.push(chunk);
          stream.finish();
        },
        (error: unknown) => {
          const reason = account.failed(error);
          stream.finish(reason);
          reject(reason); // changes nothing once the request was accepted
        },
      )
      .finally(() => checked.signal?.removeEventListener('abort', forward));
  });
  await accepted;
  return stream;
}

/** Adds up what the engine says. */
class Account {
  text = '';
  reasoning = '';
  readonly forcedText: [number, number][] = [];
  readonly #toolCalls = new ToolCalls();
  readonly logprobs: engine.TokenLogprob[] = [];
  malformedToolCall = false;
  finishReason: FinishReason = 'stop';
  confidence = 0;
  #promptTokens = 0;
  #cachedTokens = 0;
  #drafted = 0;
  #accepted = 0;
  #forced = 0;
  #skippedRows = 0;
  #tokens = 0;
  #promptMs = 0;
  #predictedMs = 0;
  #memoryBytes = 0;
  readonly #watch: RequestWatch;

  constructor(watch: RequestWatch) {
    this.#watch = watch;
  }

  add(output: engine.OutputEvent): void {
    if (output.tokens?.length) this.#watch.said();
    for (const [from, to] of output.forcedText ?? []) this.#addForced(this.text.length + from, this.text.length + to);
    this.text += output.text ?? '';
    this.reasoning += output.reasoning ?? '';
    for (const delta of output.toolCalls ?? []) this.#toolCalls.add(toolCallChunk(delta));
    this.malformedToolCall ||= output.malformedToolCall ?? false;
    this.logprobs.push(...(output.logprobs ?? []));
    this.#tokens += output.tokens?.length ?? 0;
    this.#promptTokens = output.promptTokens ?? this.#promptTokens;
    this.#cachedTokens = output.cachedTokens ?? this.#cachedTokens;
    this.#drafted += output.drafted ?? 0;
    this.#accepted += output.accepted ?? 0;
    this.#forced += output.forced ?? 0;
    this.#skippedRows += output.skippedRows ?? 0;
    this.confidence = output.confidence ?? this.confidence;
    this.finishReason = output.finishReason ?? this.finishReason;
  }

  settle({ promptMs, predictedMs, memoryBytes }: GenerateResult): void {
    this.#promptMs = promptMs;
    this.#predictedMs = predictedMs;
    this.#memoryBytes = memoryBytes;
    this.#watch.answered(this.finishReason, this.usage, this.timings);
  }

  /** There is no answer; the reason as it is told. */
  failed(error: unknown): FanlightError {
    const reason = asFanlightError(error, 'worker-crashed', 'The request failed');
    this.#watch.failed(reason);
    return reason;
  }

  get usage(): Usage {
    return {
      prompt_tokens: this.#promptTokens,
      completion_tokens: this.#tokens,
      total_tokens: this.#promptTokens + this.#tokens,
      prompt_tokens_details: { cached_tokens: this.#cachedTokens },
    };
  }

  get timings(): Timings {
    const computed = this.#promptTokens - this.#cachedTokens;
    return {
      cache_n: this.#cachedTokens,
      prompt_n: computed,
      prompt_ms: this.#promptMs,
      prompt_per_second: perSecond(computed, this.#promptMs),
      predicted_n: this.#tokens,
      predicted_ms: this.#predictedMs,
      // The first token comes out of the prompt: the time after it is that of the others.
      predicted_per_second: perSecond(this.#tokens - 1, this.#predictedMs),
      draft_n: this.#drafted,
      draft_n_accepted: this.#accepted,
      forced_n: this.#forced,
      skipped_rows: this.#skippedRows,
      wait_ms: this.#watch.waitMs,
      first_token_ms: this.#watch.firstTokenMs,
      peak_bytes: this.#memoryBytes,
    };
  }

  /** Parts that touch are one. */
  #addForced(from: number, to: number): void {
    const last = this.forcedText.at(-1);
    if (last?.[1] === from) last[1] = to;
    else this.forcedText.push([from, to]);
  }

  get toolCalls(): ChatToolCall[] {
    return this.#toolCalls.whole;
  }
}

/** Puts tool calls together from their pieces. */
export class ToolCalls {
  readonly #calls = new Map<number, ChatToolCall>();

  add({ index, id, function: part, malformed }: ChatToolCallDelta): void {
    const call = this.#calls.get(index) ?? { id: '', type: 'function', function: { name: '', arguments: '' } };
    call.id ||= id ?? '';
    call.function.name += part.name ?? '';
    call.function.arguments += part.arguments ?? '';
    if (malformed) this.#calls.delete(index);
    else this.#calls.set(index, call);
  }

  get whole(): ChatToolCall[] {
    return [...this.#calls.values()];
  }
}

function perSecond(count: number, ms: number): number {
  return count > 0 && ms > 0 ? (count * 1000) / ms : 0;
}

// ---- Chat ------------------------------------------------------------------------------------------------------

/** Tells an answer as chat completions. */
export function chatTeller(model: string, wantsLogprobs: boolean): Teller<ChatCompletion, ChatCompletionChunk> {
  const head = { id: newId('chatcmpl'), created: seconds(), model, served_by: 'device' as const };
  type Choice = ChatCompletionChunk['choices'][number];
  const chunk = (delta: Choice['delta'], logprobs: ChatLogprobs | null, finish: FinishReason | null, forced?: Forced) => ({
    ...head,
    object: 'chat.completion.chunk' as const,
    choices: [{ index: 0, delta, logprobs, finish_reason: finish, ...(forced?.length && { forced }) }],
  });
  return {
    opening: () => [chunk({ role: 'assistant', content: '' }, null, null)],
    chunk({ text, forcedText, reasoning, toolCalls, malformedToolCall, logprobs }) {
      const delta = {
        ...(text && { content: text }),
        ...(reasoning && { reasoning_content: reasoning }),
        ...(toolCalls?.length && { tool_calls: toolCalls.map(toolCallChunk) }),
        ...(malformedToolCall && { malformed_tool_call: true as const }),
      };
      if (Object.keys(delta).length === 0 && !logprobs?.length) return undefined;
      return chunk(delta, wantsLogprobs ? chatLogprobs(logprobs ?? []) : null, null, forcedText);
    },
    closing(account, includeUsage) {
      const last = { ...chunk({}, null, account.finishReason), timings: account.timings, confidence: account.confidence };
      return includeUsage ? [last, { ...last, choices: [], usage: account.usage }] : [last];
    },
    whole(account) {
      const { text, reasoning, forcedText, toolCalls, malformedToolCall, logprobs, finishReason, usage, timings, confidence } =
        account;
      const message = {
        role: 'assistant' as const,
        content: text === '' && toolCalls.length > 0 ? null : text,
        ...(reasoning && { reasoning_content: reasoning }),
        refusal: null,
        ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
        ...(malformedToolCall && { malformed_tool_call: true as const }),
      };
      const choice = {
        index: 0,
        message,
        logprobs: wantsLogprobs ? chatLogprobs(logprobs) : null,
        finish_reason: finishReason,
        ...(forcedText.length > 0 && { forced: forcedText }),
      };
      return { ...head, object: 'chat.completion', choices: [choice], usage, timings, confidence };
    },
  };
}

function toolCallChunk({ index, id, name, arguments: text, malformed }: engine.ToolCallDelta): ChatToolCallDelta {
  return {
    index,
    ...(id && { id, type: 'function' as const }),
    function: { ...(name && { name }), arguments: text },
    ...(malformed && { malformed }),
  };
}

function chatLogprobs(logprobs: readonly engine.TokenLogprob[]): ChatLogprobs {
  const content = logprobs.map((entry) => ({ ...tokenLogprob(entry), top_logprobs: entry.top.map(tokenLogprob) }));
  return { content, refusal: null };
}

function tokenLogprob({ token, logprob, bytes }: Omit<engine.TokenLogprob, 'top'>): TokenLogprob {
  return { token, logprob, bytes: [...bytes] };
}

// ---- Plain text ------------------------------------------------------------------------------------------------

/** Tells an answer as text completions. */
export function textTeller(model: string, wantsLogprobs: boolean): Teller<Completion, Completion> {
  const served_by = 'device' as const;
  const head = { id: newId('cmpl'), object: 'text_completion' as const, created: seconds(), model, served_by };
  let offset = 0;
  const logprobsOf = (logprobs: readonly engine.TokenLogprob[]): CompletionLogprobs | null => {
    if (!wantsLogprobs) return null;
    const tokens = logprobs.map(({ token }) => token);
    const text_offset = tokens.map((token) => (offset += token.length) - token.length);
    const top = logprobs.map((entry) => Object.fromEntries(entry.top.map(({ token, logprob }) => [token, logprob])));
    return { tokens, token_logprobs: logprobs.map(({ logprob }) => logprob), top_logprobs: top, text_offset };
  };
  return {
    opening: () => [],
    chunk({ text, logprobs }) {
      if (!text && !logprobs?.length) return undefined;
      const choice = { index: 0, text: text ?? '', logprobs: logprobsOf(logprobs ?? []), finish_reason: null };
      return { ...head, choices: [choice] };
    },
    closing({ finishReason, timings, usage, confidence }, includeUsage) {
      const last = {
        ...head,
        choices: [{ index: 0, text: '', logprobs: null, finish_reason: finishReason }],
        timings,
        confidence,
      };
      return includeUsage ? [last, { ...head, choices: [], usage, timings }] : [last];
    },
    whole({ text, logprobs, finishReason, usage, timings, confidence }) {
      const choice = { index: 0, text, logprobs: logprobsOf(logprobs), finish_reason: finishReason };
      return { ...head, choices: [choice], usage, timings, confidence };
    },
  };
}

function newId(prefix: string): string {
  return `${prefix}-${Array.from({ length: 3 }, () => Math.random().toString(36).slice(2, 10)).join('')}`;
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
