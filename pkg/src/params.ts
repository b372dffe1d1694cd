/** Checks what callers ask for, and says it in the engine's words. Every refusal names the option. */

import type { Constraint, GenerateRequest, Now, Sampling } from './engine.js';
import { describe, FanlightError, invalidArgument } from './errors.js';

/** A request that was checked, and how its answer is to come. */
export interface Checked {
  readonly request: GenerateRequest;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Options by name; `null` counts as absent. */
type Options = Record<string, unknown>;

// ---- Tables ----------------------------------------------------------------------------------------------------

/** Numbers that the engine takes under the same name: the range, and whether only whole ones make sense. */
const SAMPLING = {
  temperature: { min: 0, max: 2 },
  top_p: { min: 0, max: 1 },
  frequency_penalty: { min: -2, max: 2 },
  presence_penalty: { min: -2, max: 2 },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, whole: true },
  top_k: { min: 0, max: 0x7fffffff, whole: true },
  min_p: { min: 0, max: 1 },
  typical_p: { min: 0, max: 1 },
  repeat_penalty: { min: 0.01, max: 10 },
  repeat_last_n: { min: -1, max: 0x7fffffff, whole: true },
  dry_multiplier: { min: 0, max: 100 },
  dry_base: { min: 1, max: 100 },
  dry_allowed_length: { min: 1, max: 0x7fffffff, whole: true },
  dry_penalty_last_n: { min: -1, max: 0x7fffffff, whole: true },
} as const satisfies Record<string, NumberRange>;

const COMMON = [
  ...Object.keys(SAMPLING),
  ...['model', 'user', 'stream', 'stream_options', 'max_tokens', 'n', 'stop', 'logit_bias', 'signal'],
  ...['fallback', 'logprobs', 'dry_sequence_breakers', 'ignore_eos', 'speculation'],
  ...['grammar', 'regex', 'fast_forward', 'allowed_rows'],
];
const CHAT = new Set([
  ...COMMON,
  ...['messages', 'max_completion_tokens', 'tools', 'tool_choice', 'parallel_tool_calls', 'response_format'],
  ...['top_logprobs', 'chat_template_kwargs', 'enable_thinking', 'thinking_budget'],
]);
const COMPLETION = new Set([...COMMON, 'prompt', 'echo', 'best_of', 'suffix']);

const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'];
const MOST_TOKENS = 0x7fffffff;

// ---- The two kinds of request ----------------------------------------------------------------------------------

/** Checks the options of `chat.completions.create`. */
export function checkChat(params: unknown, beside: unknown): Checked {
  const options = known('chat.completions.create', params, CHAT);
  const tools = checkTools(options);
  const logprobs = flag(options, 'logprobs') ?? false;
  const topLogprobs = number(options, 'top_logprobs', { min: 0, max: 20, whole: true });
  if (topLogprobs !== undefined && !logprobs) throw refuse('top_logprobs', 'needs logprobs: true');
  const calls = tools ? checkToolChoice(options, tools) : {};
  const variables = options['chat_template_kwargs'];
  if (variables !== undefined && !isObject(variables))
    throw invalidArgument('chat_template_kwargs', variables, 'an object');
  const thinking = flag(options, 'enable_thinking');
  const budget = number(options, 'thinking_budget', { min: 0, max: MOST_TOKENS, whole: true });
  return checked(options, beside, {
    messages: checkMessages(options['messages']),
    ...(tools && { tools }),
    ...calls,
    templateVariables: { ...variables, ...(thinking !== undefined && { enable_thinking: thinking }) },
    ...(budget !== undefined && { thinkingBudget: budget }),
    ...(logprobs && { logprobs, topLogprobs: topLogprobs ?? 0 }),
  });
}

/** Checks the options of `completions.create`. */
export function checkCompletion(params: unknown, beside: unknown): Checked {
  const options = known('completions.create', params, COMPLETION);
  if (flag(options, 'echo')) throw refuse('echo', 'is not supported');
  number(options, 'best_of', { min: 1, max: 1, whole: true });
  if (options['suffix'] !== undefined && options['suffix'] !== '') throw refuse('suffix', 'is not supported');
  const topLogprobs = number(options, 'logprobs', { min: 0, max: 20, whole: true });
  return checked(options, beside, {
    ...checkPrompt(options['prompt']),
    ...(topLogprobs !== undefined && { logprobs: true, topLogprobs }),
  });
}

function checked(options: Options, beside: unknown, own: Omit<GenerateRequest, 'sampling' | 'now'>): Checked {
  number(options, 'n', { min: 1, max: 1, whole: true });
  const stream = flag(options, 'stream') ?? false;
  const usage = options['stream_options'] === undefined ? {} : checkStreamOptions(options['stream_options'], stream);
  const range = { min: 1, max: MOST_TOKENS, whole: true };
  const maxTokens = number(options, 'max_completion_tokens', range) ?? number(options, 'max_tokens', range);
  const stop = checkStop(options['stop']);
  const speculation = flag(options, 'speculation');
  const constraint = checkConstraint(options);
  const request = {
    ...own,
    ...(constraint && { constraint }),
    ...(flag(options, 'fast_forward') === false && { noFastForward: true }),
    ...(flag(options, 'allowed_rows') === false && { allRows: true }),
    ...(maxTokens !== undefined && { maxTokens }),
    ...(stop && { stop }),
    ...(flag(options, 'ignore_eos') && { ignoreEnd: true }),
    ...(speculation !== undefined && { speculation }),
    sampling: checkSampling(options),
    now: localTime(new Date()),
  };
  const besides = beside === undefined ? {} : known('the second argument', beside, new Set(['signal']));
  const signal = checkSignal(besides['signal']) ?? checkSignal(options['signal']);
  return { request, stream, includeUsage: flag(usage, 'include_usage') ?? false, signal };
}

// ---- Pieces ----------------------------------------------------------------------------------------------------

function checkMessages(messages: unknown): Options[] {
  if (!Array.isArray(messages) || messages.length === 0)
    throw invalidArgument('messages', messages, 'an array of messages');
  return messages.map((message: unknown, at) => {
    const name = `messages[${at}]`;
    if (!isObject(message)) throw invalidArgument(name, message, 'a message: { role, content }');
    const { role, content, tool_calls: calls } = message;
    if (!ROLES.some((known) => known === role))
      throw invalidArgument(`${name}.role`, role, `one of ${ROLES.join(', ')}`);
    const silent = role === 'assistant' && (content === undefined || content === null);
    if (!silent) checkContent(`${name}.content`, content);
    if (calls !== undefined && calls !== null && !Array.isArray(calls)) {
      throw invalidArgument(`${name}.tool_calls`, calls, 'an array of tool calls');
    }
    return message;
  });
}

/** Text, also when it comes in parts. The engine brings it into the form that the template takes. */
function checkContent(name: string, content: unknown): void {
  if (typeof content === 'string') return;
  if (!Array.isArray(content)) throw invalidArgument(name, content, 'a string');
  for (const [at, part] of content.entries()) {
    if (isObject(part) && part['type'] === 'text' && typeof part['text'] === 'string') continue;
    throw invalidArgument(`${name}[${at}]`, isObject(part) ? part['type'] : part, 'a part of type "text"');
  }
}

function checkTools(options: Options): Options[] | undefined {
  const { tools, tool_choice: choice } = options;
  if (tools === undefined) {
    if (choice === undefined || choice === 'auto' || choice === 'none') return undefined;
    throw refuse('tool_choice', 'there are no tools to choose from');
  }
  if (!Array.isArray(tools)) throw invalidArgument('tools', tools, 'an array');
  for (const [at, tool] of tools.entries()) {
    const named: unknown = isObject(tool) && isObject(tool['function']) ? tool['function']['name'] : undefined;
    if (typeof named !== 'string')
      throw invalidArgument(`tools[${at}]`, tool, '{ type: "function", function: { name, … } }');
  }
  checkDepth('tools', tools);
  return choice === 'none' || tools.length === 0 ? undefined : tools;
}

/** `tool_choice` and `parallel_tool_calls`, in the engine's words. */
function checkToolChoice(options: Options, tools: readonly Options[]): Pick<GenerateRequest, 'toolChoice' | 'oneCall'> {
  const { tool_choice: choice } = options;
  const oneCall = flag(options, 'parallel_tool_calls') === false;
  const beside = oneCall ? { oneCall } : {};
  if (choice === undefined || choice === 'auto' || choice === 'none') return beside;
  if (choice === 'required') return { toolChoice: 'required', ...beside };
  const chosen = isObject(choice) && choice['type'] === 'function' ? choice['function'] : undefined;
  const named = isObject(chosen) ? chosen['name'] : undefined;
  if (typeof named !== 'string') {
    const expected = '"auto", "none", "required" or { type: "function", function: { name } }';
    throw invalidArgument('tool_choice', choice, expected);
  }
  const known = tools.some((tool) => isObject(tool['function']) && tool['function']['name'] === named);
  if (!known) throw refuse('tool_choice', `there is no tool named ${describe(named)}`);
  // As with OpenAI: the one that is named is called once.
  return { toolChoice: { named }, oneCall: true };
}

/** What the answer must look like, from whichever option says so. */
function checkConstraint(options: Options): Constraint | undefined {
  const { response_format: format, grammar, regex } = options;
  const schema = format === undefined ? undefined : checkFormat(format);
  const found: Constraint[] = [];
  checkDepth('response_format', schema);
  if (schema !== undefined) found.push({ schema });
  for (const [name, value] of Object.entries({ regex, grammar })) {
    if (value !== undefined && (typeof value !== 'string' || value === '')) {
      throw invalidArgument(name, value, 'a string that is not empty');
    }
  }
  if (typeof regex === 'string') found.push({ regex });
  if (typeof grammar === 'string') found.push({ lark: grammar });
  if (found.length > 1) throw refuse('response_format', 'only one of response_format, regex and grammar can be given');
  return found[0];
}

/** Deeper than any schema that can be used: the engine would run out of stack before it could say so. */
const DEEPEST = 400;
const WIDEST = 1_000_000;

/** Refuses what is nested too deeply to be handed on. */
export function checkDepth(name: string, value: unknown): void {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > DEEPEST || level.length > WIDEST) throw new FanlightError('schema', `${name}: it is nested too deeply, or too large.`);
    level = level.flatMap((each) => (typeof each === 'object' && each !== null ? Object.values(each) : []));
  }
}

/** The schema that a `response_format` asks for; nothing for text. */
function checkFormat(format: unknown): unknown {
  const type = isObject(format) ? format['type'] : undefined;
  if (!isObject(format) || (type !== 'text' && type !== 'json_object' && type !== 'json_schema')) {
    throw invalidArgument('response_format.type', type ?? format, '"text", "json_object" or "json_schema"');
  }
  if (type === 'text') return undefined;
  if (type === 'json_object') return { type: 'object' };
  const named = format['json_schema'];
  if (!isObject(named)) throw invalidArgument('response_format.json_schema', named, '{ name, schema }');
  const { schema } = named;
  // `strict` changes nothing: a schema is always obeyed.
  if (schema === undefined || schema === null) return { type: 'object' };
  if (!isObject(schema) && typeof schema !== 'boolean') {
    throw invalidArgument('response_format.json_schema.schema', schema, 'a JSON schema');
  }
  return schema;
}

function checkPrompt(prompt: unknown): Pick<GenerateRequest, 'prompt' | 'promptTokens'> {
  if (typeof prompt === 'string') return { prompt };
  if (!Array.isArray(prompt)) throw invalidArgument('prompt', prompt, 'a string or an array of token ids');
  const [first, ...more]: unknown[] = prompt;
  if (typeof first === 'string' && more.length === 0) return { prompt: first };
  if (typeof first === 'string') throw refuse('prompt', 'one prompt for each request');
  return { promptTokens: checkTokens('prompt', prompt) };
}

/** Token ids. The engine knows which ones there are. */
export function checkTokens(name: string, ids: Iterable<unknown>): number[] {
  if (typeof ids !== 'object' || ids === null || !(Symbol.iterator in ids)) throw invalidArgument(name, ids, 'token ids');
  return Array.from(ids, (id, at) => {
    if (typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= 0xffffffff) return id;
    throw invalidArgument(`${name}[${at}]`, id, 'a token id');
  });
}

function checkSampling(options: Options): Sampling {
  const sampling: Record<string, unknown> = {};
  for (const [name, range] of Object.entries(SAMPLING)) {
    const value = number(options, name, range);
    if (value !== undefined) sampling[name] = value;
  }
  const { logit_bias: bias, dry_sequence_breakers: breakers } = options;
  if (bias !== undefined) sampling['logit_bias'] = checkBias(bias);
  if (breakers !== undefined) sampling['dry_sequence_breakers'] = strings('dry_sequence_breakers', breakers);
  return sampling;
}

function checkBias(bias: unknown): Record<string, number> {
  if (!isObject(bias)) throw invalidArgument('logit_bias', bias, 'an object from token ids to numbers');
  for (const [id, value] of Object.entries(bias)) {
    if (!/^\d{1,10}$/.test(id)) throw invalidArgument('logit_bias', id, 'token ids');
    number(bias, id, { min: -100, max: 100 }, `logit_bias[${id}]`);
    if (value === null) throw invalidArgument(`logit_bias[${id}]`, value, 'a number from -100 to 100');
  }
  return Object.fromEntries(Object.entries(bias).map(([id, value]) => [id, Number(value)]));
}

function checkStop(stop: unknown): readonly string[] | undefined {
  if (stop === undefined) return undefined;
  const list = strings('stop', typeof stop === 'string' ? [stop] : stop);
  if (list.includes('')) throw invalidArgument('stop', '', 'strings that are not empty');
  return list.length === 0 ? undefined : list;
}

function checkStreamOptions(value: unknown, stream: boolean): Options {
  if (!stream) throw refuse('stream_options', 'needs stream: true');
  return known('stream_options', value, new Set(['include_usage']));
}

/** An AbortSignal, of whichever window. */
export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined;
  if (isSignal(signal)) return signal;
  throw invalidArgument('signal', signal, 'an AbortSignal');
}

function isSignal(value: unknown): value is AbortSignal {
  return typeof value === 'object' && value !== null && 'aborted' in value && 'addEventListener' in value;
}

/** Local time, for templates that print the date. */
export function localTime(date: Date): Now {
  return { unixSeconds: Math.floor(date.getTime() / 1000), utcOffsetMinutes: -date.getTimezoneOffset() };
}

// ---- Small checks, also for other options ----------------------------------------------------------------------

export interface NumberRange {
  readonly min: number;
  readonly max: number;
  readonly whole?: boolean;
}

/** The options that are there, when all of them are known. */
export function known(where: string, value: unknown, names: ReadonlySet<string>): Options {
  if (!isObject(value)) throw invalidArgument(where, value, 'an object');
  const options: Options = {};
  for (const [name, option] of Object.entries(value)) {
    if (!names.has(name)) throw refuse(name, `${where} has no such option`);
    if (option !== null && option !== undefined) options[name] = option;
  }
  return options;
}

/** A number in its range; nothing when it is absent. */
export function number(options: Options, name: string, range: NumberRange, label = name): number | undefined {
  const value = options[name];
  if (value === undefined || value === null) return undefined;
  const fits = typeof value === 'number' && value >= range.min && value <= range.max;
  if (fits && (!range.whole || Number.isInteger(value))) return value;
  const bound = range.max >= MOST_TOKENS ? `of at least ${range.min}` : `from ${range.min} to ${range.max}`;
  throw invalidArgument(
    label,
    value,
    range.min === range.max ? `${range.min}` : `a ${range.whole ? 'whole ' : ''}number ${bound}`,
  );
}

/** True or false; nothing when it is absent. */
export function flag(options: Options, name: string): boolean | undefined {
  const value = options[name];
  if (value === undefined || typeof value === 'boolean') return value;
  throw invalidArgument(name, value, 'true or false');
}

/** One of a few words; nothing when it is absent. */
export function oneOf<T extends string>(options: Options, name: string, words: readonly T[]): T | undefined {
  const value = options[name];
  if (value === undefined) return undefined;
  const word = words.find((word) => word === value);
  if (word === undefined) throw invalidArgument(name, value, words.map((each) => `"${each}"`).join(' or '));
  return word;
}

function strings(name: string, list: unknown): readonly string[] {
  if (Array.isArray(list) && list.every((each) => typeof each === 'string')) return list;
  throw invalidArgument(name, list, 'strings');
}

function refuse(name: string, why: string): FanlightError {
  return new FanlightError('invalid-argument', `${name}: ${why}.`);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
