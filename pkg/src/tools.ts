/** The loop of a model that calls tools: it asks, the tools are run, and it goes on with what they gave. */

import { ToolCalls } from './chat.js';
import { orAborted } from './client.js';
import { FanlightError, invalidArgument, messageOf } from './errors.js';
import type { ChatCompletions } from './model.js';
import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionParams,
  ChatMessage,
  ChatTool,
  ChatToolCall,
  FinishReason,
  RequestOptions,
} from './openai.js';
import { checkSignal, flag, isObject, number } from './params.js';
import { Stream } from './stream.js';

/** A tool that carries its function. */
export interface RunnableTool extends ChatTool {
  function: ChatTool['function'] & {
    /**
     * What the model calls, with its arguments parsed. What it returns (or resolves to) is told to the model: a string as it is,
     * anything else as JSON. An error is told, too, so that the model can try again.
     */
    function: (args: any, call: ToolContext) => unknown;
  };
}

/** What a tool's function may want to know besides its arguments. */
export interface ToolContext {
  /** The call as the model made it. */
  readonly call: ChatToolCall;
  /** Fires when the run is stopped. */
  readonly signal: AbortSignal;
}

/** Options of `model.runTools`: those of a chat, with tools that can be run. */
export interface RunToolsParams extends Omit<ChatCompletionParams, 'tools' | 'stream' | 'stream_options'> {
  tools: readonly RunnableTool[];
  /** With true, the run is an `AsyncIterable` of what happens. */
  stream?: boolean | null;
  /** How many times the model may be asked: 10 unless it is said. */
  max_rounds?: number | null;
}

/** What happens in a run, as it happens. */
export type RunToolsEvent =
  /** A piece of what the model says. */
  | { readonly type: 'chunk'; readonly round: number; readonly chunk: ChatCompletionChunk }
  /** A tool begins. */
  | { readonly type: 'tool_call'; readonly round: number; readonly call: ChatToolCall }
  /** A tool is done; `failed` if its function threw, or if there is no such tool. */
  | {
      readonly type: 'tool_result';
      readonly round: number;
      readonly call: ChatToolCall;
      readonly content: string;
      readonly failed: boolean;
    }
  /** The last of all. */
  | { readonly type: 'end'; readonly result: RunToolsResult };

/** How a run ended. */
export interface RunToolsResult {
  /** What the model said last. */
  readonly content: string | null;
  /** The conversation, from the first message given to the last answer: what the next turn goes on with. */
  readonly messages: ChatMessage[];
  /** How often the model was asked. */
  readonly rounds: number;
  /** As of the last answer; `tool_calls` if it wanted to go on after `max_rounds`. */
  readonly finish_reason: FinishReason;
}

const MOST_ROUNDS = 10;

/** Runs the loop to its end. */
export async function runWhole(
  completions: ChatCompletions,
  params: RunToolsParams,
  options?: RequestOptions,
): Promise<RunToolsResult> {
  const run = new Run(completions, params, options);
  return run.toEnd(() => {});
}

/** Runs the loop, and tells what happens. To break out of the loop over it stops it. */
export function runStreamed(
  completions: ChatCompletions,
  params: RunToolsParams,
  options?: RequestOptions,
): Stream<RunToolsEvent> {
  const run = new Run(completions, params, options);
  const stream = new Stream<RunToolsEvent>(() => run.stop());
  run
    .toEnd((event) => stream.push(event))
    .then(
      (result) => {
        stream.push({ type: 'end', result });
        stream.finish();
      },
      (error: unknown) => {
        stream.finish(
          error instanceof FanlightError
            ? error
            : new FanlightError('worker-crashed', `The run failed: ${messageOf(error)}`, { cause: error }),
        );
      },
    );
  return stream;
}

/** One run. */
class Run {
  readonly #completions: ChatCompletions;
  readonly #params: ChatCompletionParams;
  readonly #tools: ReadonlyMap<string, RunnableTool['function']['function']>;
  readonly #rounds: number;
  readonly #streamed: boolean;
  readonly #outer: AbortSignal | undefined;
  readonly #stop = new AbortController();

  constructor(completions: ChatCompletions, params: RunToolsParams, options: RequestOptions | undefined) {
    if (!isObject(params)) throw invalidArgument('runTools', params, 'an object');
    const { tools, stream: _, max_rounds, signal, ...chat } = params;
    const named = { stream: params.stream ?? undefined, max_rounds: max_rounds ?? undefined };
    this.#completions = completions;
    this.#streamed = flag(named, 'stream') ?? false;
    this.#rounds = number(named, 'max_rounds', { min: 1, max: 1000, whole: true }) ?? MOST_ROUNDS;
    this.#outer = checkSignal(options?.signal) ?? checkSignal(signal);
    if (!Array.isArray(chat.messages)) throw invalidArgument('messages', chat.messages, 'a list of messages');
    this.#tools = functionsOf(tools);
    this.#params = { ...chat, tools: tools.map(definition) };
  }

  stop(): void {
    this.#stop.abort(this.#outer?.reason);
  }

  async toEnd(tell: (event: RunToolsEvent) => void): Promise<RunToolsResult> {
    const forward = () => this.stop();
    if (this.#outer?.aborted) forward();
    this.#outer?.addEventListener('abort', forward);
    try {
      return await this.#loop(tell);
    } finally {
      this.#outer?.removeEventListener('abort', forward);
      this.#stop.abort(); // functions that still run may want to hear that nobody waits for them
    }
  }

  async #loop(tell: (event: RunToolsEvent) => void): Promise<RunToolsResult> {
    const messages: ChatMessage[] = [...this.#params.messages];
    for (let round = 1; ; round++) {
      const { message, finish_reason } = await this.#ask(messages, round, tell);
      messages.push(message);
      const calls = message.tool_calls ?? [];
      if (finish_reason !== 'tool_calls' || round === this.#rounds) {
        return { content: message.content, messages, rounds: round, finish_reason };
      }
      const results = calls.map((call) => this.#call(call, round, tell));
      messages.push(...(await orAborted(Promise.all(results), this.#stop.signal)));
    }
  }

  async #ask(messages: readonly ChatMessage[], round: number, tell: (event: RunToolsEvent) => void): Promise<Turn> {
    // A call that has to be made is made once: then the model may answer.
    const { tool_choice: choice, ...rest } = this.#params;
    const free = round > 1 && choice !== 'none';
    const params = { ...rest, ...(choice && !free && { tool_choice: choice }), messages };
    const { signal } = this.#stop;
    if (!this.#streamed) {
      const { choices } = await this.#completions.create({ ...params, stream: false }, { signal });
      const [choice] = choices;
      if (!choice) throw new RangeError('an answer has one choice');
      const { tool_calls, content, reasoning_content } = choice.message;
      return turn(content, reasoning_content, tool_calls, choice.finish_reason);
    }
    let content = '';
    let reasoning = '';
    const calls = new ToolCalls();
    let finish: FinishReason = 'stop';
    for await (const chunk of await this.#completions.create({ ...params, stream: true }, { signal })) {
      tell({ type: 'chunk', round, chunk });
      const [choice] = chunk.choices;
      content += choice?.delta.content ?? '';
      reasoning += choice?.delta.reasoning_content ?? '';
      for (const piece of choice?.delta.tool_calls ?? []) calls.add(piece);
      finish = choice?.finish_reason ?? finish;
    }
    return turn(content, reasoning, calls.whole, finish);
  }

  /** Runs one tool. Never fails: what went wrong is what the model is told. */
  async #call(call: ChatToolCall, round: number, tell: (event: RunToolsEvent) => void): Promise<ChatMessage> {
    tell({ type: 'tool_call', round, call });
    const { signal } = this.#stop;
    let content: string;
    let failed = false;
    try {
      const { name } = call.function;
      const run = this.#tools.get(name);
      if (!run) throw new Error(`there is no tool ${name}; there are: ${[...this.#tools.keys()].join(', ')}`);
      content = told(await run(JSON.parse(call.function.arguments), { call, signal }));
    } catch (error) {
      content = `Error: ${messageOf(error)}`;
      failed = true;
    }
    if (!signal.aborted) tell({ type: 'tool_result', round, call, content, failed });
    return { role: 'tool', tool_call_id: call.id, name: call.function.name, content };
  }
}

interface Turn {
  readonly message: Extract<ChatMessage, { role: 'assistant' }> & { content: string | null };
  readonly finish_reason: FinishReason;
}

function turn(
  content: string | null,
  reasoning: string | undefined,
  calls: ChatToolCall[] | undefined,
  finish_reason: ChatCompletion['choices'][number]['finish_reason'],
): Turn {
  const message = {
    role: 'assistant' as const,
    content,
    ...(reasoning && { reasoning_content: reasoning }),
    ...(calls?.length && { tool_calls: calls }),
  };
  return { message, finish_reason };
}

/** A result as the model reads it. */
function told(result: unknown): string {
  if (typeof result === 'string') return result;
  const json = JSON.stringify(result) ?? 'null'; // JSON has no word for undefined
  return spaced(JSON.parse(json));
}

/** JSON with a space after each comma and colon, as Python writes it: models have seen little else. */
function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  const members = Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${spaced(each)}`);
  return `{${members.join(', ')}}`;
}

function functionsOf(tools: unknown): Map<string, RunnableTool['function']['function']> {
  if (!Array.isArray(tools) || tools.length === 0) throw invalidArgument('tools', tools, 'an array of tools');
  const functions = new Map<string, RunnableTool['function']['function']>();
  for (const [at, tool] of (tools as readonly unknown[]).entries()) {
    const inner = isObject(tool) && isObject(tool['function']) ? tool['function'] : {};
    const { name, function: run } = inner;
    if (typeof name !== 'string') throw invalidArgument(`tools[${at}].function.name`, name, 'a string');
    if (!isFunction(run)) throw invalidArgument(`tools[${at}].function.function`, run, 'a function');
    if (functions.has(name)) throw invalidArgument(`tools[${at}].function.name`, name, 'a name that no other tool has');
    functions.set(name, run);
  }
  return functions;
}

function isFunction(value: unknown): value is RunnableTool['function']['function'] {
  return typeof value === 'function';
}

/** What the model is told of a tool. */
function definition({ type, function: { function: _, ...told } }: RunnableTool): ChatTool {
  return { type, function: told };
}
