/**
 * Answers from a server, where the caller has set one up: any that speaks the OpenAI HTTP API. Nothing is sent anywhere
 * unless the caller named the address, and every answer says who gave it (`served_by`).
 */

import { aborted, asFanlightError, FanlightError, type FanlightErrorCode, invalidArgument } from './errors.js';
import type { Watchers } from './events.js';
import type { ChatCompletion, ChatCompletionChunk, Completion } from './openai.js';
import { isObject, known } from './params.js';
import { Stream } from './stream.js';

/** A server that answers when the device cannot, or should not. */
export interface Fallback {
  /** Where its API begins: `https://example.org/v1`. */
  baseURL: string;
  /** Sent as `Authorization: Bearer …`, if it is given. What is in a page, every visitor can read. */
  apiKey?: string;
  /** The model to ask for, by the server's name. */
  model?: string;
  /** Further headers. */
  headers?: Readonly<Record<string, string>>;
  /** Further members of the request's body. */
  body?: Readonly<Record<string, unknown>>;
  /** When it is asked: unless something else is said, when the device cannot run the model. */
  when?: FallbackWhen;
  /** How to reach it, instead of the page's own `fetch`. */
  fetch?: typeof globalThis.fetch;
}

/** When a server is asked. Any of these is enough. */
export interface FallbackWhen {
  /** On these failures; without it, on those that say that this device cannot run the model. An empty list is never. */
  errors?: readonly FanlightErrorCode[];
  /** When the model's own answer is less sure than this, from 0 to 1. A streamed answer is shown when that is known. */
  confidence_below?: number;
  /** For these kinds of request, without asking the model at all. */
  always?: readonly FallbackRoute[];
}

/** The kinds of request that a server can take over. */
export type FallbackRoute = 'chat' | 'completion';

/** Why a server was asked. */
export type FallbackReason = 'error' | 'confidence' | 'always';

/** The failures that say that this device cannot run the model. */
const CANNOT_RUN: readonly FanlightErrorCode[] = [
  'unsupported-browser',
  'unsupported-architecture',
  'unsupported-quantization',
  'out-of-memory',
  'quota',
  'worker-crashed',
];

const ROUTES: readonly FallbackRoute[] = ['chat', 'completion'];

/** What of a request a server is told. Token ids mean something else to another model, and so do options of ours. */
const SENT = [
  ...['messages', 'prompt', 'max_tokens', 'max_completion_tokens', 'temperature', 'top_p', 'frequency_penalty'],
  ...['presence_penalty', 'stop', 'seed', 'n', 'stream', 'stream_options', 'tools', 'tool_choice'],
  ...['parallel_tool_calls', 'response_format', 'logprobs', 'top_logprobs', 'user'],
];

/** What the two kinds of request give. */
interface Kinds {
  chat: { whole: ChatCompletion; chunk: ChatCompletionChunk };
  completion: { whole: Completion; chunk: Completion };
}

type Answer<K extends FallbackRoute> = Kinds[K]['whole'] | Stream<Kinds[K]['chunk']>;

/** A server, ready to be asked. */
export class Remote {
  readonly name: string;
  readonly #fallback: Fallback;
  readonly #errors: readonly FanlightErrorCode[];
  readonly #below: number;
  readonly #always: readonly FallbackRoute[];

  constructor(fallback: Fallback) {
    const { when = {} } = fallback;
    this.name = fallback.model ?? 'fallback';
    this.#fallback = fallback;
    this.#errors = when.errors ?? CANNOT_RUN;
    this.#below = when.confidence_below ?? 0;
    this.#always = when.always ?? [];
  }

  /** Whether it is asked on this failure. */
  covers(error: unknown): error is FanlightError {
    return error instanceof FanlightError && this.#errors.includes(error.code);
  }

  /**
   * Answers a request by the device or by the server. `local` asks the device.
   *
   * A stream that breaks off on the way fails: what was shown cannot be taken back.
   */
  async answer<K extends FallbackRoute>(
    kind: K,
    params: object,
    { stream, signal }: { stream: boolean; signal: AbortSignal | undefined },
    local: () => Promise<Answer<K>>,
    watchers: Watchers,
  ): Promise<Answer<K>> {
    const ask = (reason: FallbackReason, error?: FanlightError) => {
      watchers.tell('fallback', { kind, reason, ...(error && { error }) });
      return this.#ask(kind, params, stream, signal, error);
    };
    if (this.#always.includes(kind)) return ask('always');
    try {
      const answer = await local();
      if (this.#below <= 0) return answer;
      if (!(answer instanceof Stream)) return this.#isSure(answer) ? answer : ask('confidence');
      const chunks: Kinds[K]['chunk'][] = [];
      for await (const chunk of answer) chunks.push(chunk);
      return chunks.every((chunk) => this.#isSure(chunk)) ? replay(chunks) : ask('confidence');
    } catch (error) {
      if (this.covers(error)) return ask('error', error);
      throw error;
    }
  }

  /** Whether nothing says that this is too unsure. */
  #isSure(answer: object): boolean {
    const confidence = 'confidence' in answer ? answer.confidence : undefined;
    return typeof confidence !== 'number' || confidence >= this.#below;
  }

  async #ask<K extends FallbackRoute>(
    kind: K,
    params: object,
    stream: boolean,
    signal: AbortSignal | undefined,
    because: FanlightError | undefined,
  ): Promise<Answer<K>> {
    const { baseURL, apiKey, model, headers, body, fetch = globalThis.fetch } = this.#fallback;
    const sent = Object.entries(params).filter(([name, value]) => SENT.includes(name) && value !== undefined && value !== null);
    const path = kind === 'chat' ? 'chat/completions' : 'completions';
    const fail = (message: string, cause: unknown) => {
      if (signal?.aborted) return aborted(signal.reason);
      return new FanlightError('network', `The fallback server ${message}.`, { cause: cause ?? because });
    };
    let response: Response;
    try {
      response = await fetch(`${baseURL.replace(/\/+$/, '')}/${path}`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
          ...headers,
        },
        body: JSON.stringify({ ...Object.fromEntries(sent), ...(model !== undefined && { model }), ...body }),
        ...(signal && { signal }),
      });
    } catch (error) {
      throw fail('could not be reached', error);
    }
    if (!response.ok) throw fail(`answered ${response.status}${await reasonOf(response)}`, undefined);
    if (!stream) {
      const answer: unknown = await response.json().catch((error: unknown) => {
        throw fail('sent what is no JSON', error);
      });
      if (!isAnswer<Kinds[K]['whole']>(answer)) throw fail('sent no answer', undefined);
      return { ...answer, served_by: 'fallback' };
    }
    if (!response.body) throw fail('sent nothing', undefined);
    const reader = response.body.getReader();
    const chunks = new Stream<Kinds[K]['chunk']>(() => void reader.cancel().catch(() => {}));
    void (async () => {
      try {
        for await (const data of serverSentEvents(reader)) {
          const chunk: unknown = JSON.parse(data);
          if (isAnswer<Kinds[K]['chunk']>(chunk)) chunks.push({ ...chunk, served_by: 'fallback' });
          else throw new Error(`an event that is no chunk: ${data.slice(0, 200)}`);
        }
        chunks.finish();
      } catch (error) {
        chunks.finish(fail(`broke off: ${asFanlightError(error, 'network', 'it sent').message}`, error));
      }
    })();
    return chunks;
  }
}

/** The fallback of an option: nothing if there is none, `false` if it is forbidden. */
export function checkFallback(value: unknown): Remote | false | undefined {
  if (value === undefined || value === null) return undefined;
  if (value === false) return false;
  const options = known('fallback', value, new Set(['baseURL', 'apiKey', 'model', 'headers', 'body', 'when', 'fetch']));
  const { baseURL, when } = options;
  if (typeof baseURL !== 'string' || !URL.canParse(baseURL, globalThis.document?.baseURI)) {
    throw invalidArgument('fallback.baseURL', baseURL, 'an address');
  }
  for (const name of ['apiKey', 'model']) {
    const text = options[name];
    if (text !== undefined && typeof text !== 'string') throw invalidArgument(`fallback.${name}`, text, 'a string');
  }
  for (const name of ['headers', 'body']) {
    const members = options[name];
    if (members !== undefined && !isObject(members)) throw invalidArgument(`fallback.${name}`, members, 'an object');
  }
  if (options['fetch'] !== undefined && typeof options['fetch'] !== 'function') {
    throw invalidArgument('fallback.fetch', options['fetch'], 'a function');
  }
  if (when !== undefined) checkWhen(when);
  return new Remote({ ...options, baseURL });
}

function checkWhen(when: unknown): void {
  const { errors, confidence_below: below, always } = known(
    'fallback.when',
    when,
    new Set(['errors', 'confidence_below', 'always']),
  );
  const isList = (list: unknown) => Array.isArray(list) && list.every((each) => typeof each === 'string');
  if (errors !== undefined && !isList(errors)) throw invalidArgument('fallback.when.errors', errors, 'codes of errors');
  if (below !== undefined && !(typeof below === 'number' && below >= 0 && below <= 1)) {
    throw invalidArgument('fallback.when.confidence_below', below, 'a number from 0 to 1');
  }
  if (always === undefined) return;
  const routes: readonly string[] = ROUTES;
  if (!Array.isArray(always) || !always.every((route) => routes.includes(String(route)))) {
    throw invalidArgument('fallback.when.always', always, `some of ${ROUTES.join(', ')}`);
  }
}

function isAnswer<T>(value: unknown): value is T & { served_by?: string } {
  return isObject(value) && Array.isArray(value['choices']);
}

/** Chunks that are here already, as a stream. */
function replay<T extends object>(chunks: readonly T[]): Stream<T> {
  const stream = new Stream<T>(() => {});
  for (const chunk of chunks) stream.push(chunk);
  stream.finish();
  return stream;
}

/** What a server says of its refusal. */
async function reasonOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  try {
    const body: unknown = JSON.parse(text);
    const error = isObject(body) ? body['error'] : undefined;
    if (isObject(error) && typeof error['message'] === 'string') return `: ${error['message']}`;
  } catch {
    // no JSON: what was sent is said as it is
  }
  return text ? `: ${text.slice(0, 200)}` : '';
}

/** The data of server-sent events, up to `[DONE]` or the end. */
async function* serverSentEvents(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  let data: string[] = [];
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done }) + (done ? '\n\n' : '');
    const lines = rest.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
      if (line !== '' || data.length === 0) continue;
      const event = data.join('\n');
      data = [];
      if (event === '[DONE]') return;
      yield event;
    }
    if (done) return;
  }
}
