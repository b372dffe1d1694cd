/**
 * The OpenAI HTTP API inside the page: a `fetch` that answers itself. Clients that take a `fetch` of their own work against a
 * local model unchanged; nothing goes over the network.
 */

import { asFanlightError, type FanlightError, type FanlightErrorCode, invalidArgument } from './errors.js';
import type { Model } from './model.js';
import { isObject } from './params.js';

/** What the API says of a failure. */
interface ApiError {
  readonly message: string;
  readonly type: 'invalid_request_error' | 'server_error';
  readonly param: string | null;
  readonly code: string | null;
}

/** Answers a request, or fails with what the API would say. */
type Route = (model: Model, body: Record<string, unknown>, signal: AbortSignal) => Promise<Response>;

/** Paths by how they end, so that any base address will do: `https://…/v1`, say. The longer come first. */
const ROUTES: readonly { readonly method: 'GET' | 'POST'; readonly path: RegExp; readonly answer: Route }[] = [
  { method: 'POST', path: /\/chat\/completions$/, answer: chat },
  { method: 'POST', path: /\/completions$/, answer: complete },
  { method: 'POST', path: /\/embeddings$/, answer: embed },
  { method: 'GET', path: /\/models$/, answer: async (model) => json({ object: 'list', data: [card(model)] }) },
  { method: 'GET', path: /\/models\/[^/]+$/, answer: async (model) => json(card(model)) },
];

/** A `fetch` for one model. Rejects only as `fetch` does: when its signal fires. */
export function fetchFor(model: Model): typeof globalThis.fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const { signal } = request;
    signal.throwIfAborted();
    const { pathname } = new URL(request.url);
    const found = ROUTES.filter(({ path }) => path.test(pathname));
    const route = found.find(({ method }) => method === request.method);
    if (!route) return found.length > 0 ? wrongMethod(request.method, pathname) : unknownPath(pathname);
    try {
      const body = route.method === 'GET' ? {} : await bodyOf(request);
      return body ? await route.answer(model, body, signal) : notJson();
    } catch (error) {
      signal.throwIfAborted();
      return failure(asFanlightError(error, 'worker-crashed', 'The request failed'));
    }
  };
}

// ---- Routes ----------------------------------------------------------------------------------------------------

/** What servers take and a model in a page has no use for. */
const IGNORED = [
  ...['store', 'metadata', 'service_tier', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'],
  ...['verbosity', 'reasoning_effort', 'modalities', 'prediction'],
];

async function chat(model: Model, body: Record<string, unknown>, signal: AbortSignal): Promise<Response> {
  // The options are checked by name and type where they are used: what is wrong with them, the answer says.
  const params = taken(body);
  const thinks = body['reasoning_effort'] === 'none' && params['enable_thinking'] === undefined;
  const all = { ...params, ...(thinks && { enable_thinking: false }) } as Parameters<typeof model.chat.completions.create>[0];
  const answer = await model.chat.completions.create(all, { signal });
  return Symbol.asyncIterator in answer ? events(answer, signal) : json(answer);
}

async function complete(model: Model, body: Record<string, unknown>, signal: AbortSignal): Promise<Response> {
  const params = taken(body) as unknown as Parameters<typeof model.completions.create>[0];
  const answer = await model.completions.create(params, { signal });
  return Symbol.asyncIterator in answer ? events(answer, signal) : json(answer);
}

async function embed(model: Model, body: Record<string, unknown>, signal: AbortSignal): Promise<Response> {
  const { input, encoding_format: format } = body;
  if (format !== undefined && format !== 'float' && format !== 'base64') {
    throw invalidArgument('encoding_format', format, '"float" or "base64"');
  }
  const texts: unknown = typeof input === 'string' ? [input] : input;
  if (!Array.isArray(texts) || texts.length === 0) throw invalidArgument('input', input, 'a text or an array of texts');
  const data: object[] = [];
  let tokens = 0;
  for await (const vector of model.embed(texts, { signal })) {
    tokens += await model.countTokens(String(texts[data.length]));
    const embedding = format === 'base64' ? base64(vector) : Array.from(vector);
    data.push({ object: 'embedding', index: data.length, embedding });
  }
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  return json({ object: 'list', data, model: card(model).id, usage });
}

/** Little-endian floats, as the `openai` client asks for them: WebAssembly has the same order. */
function base64(vector: Float32Array): string {
  const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
}

/** The body without what is ignored. */
function taken(body: Record<string, unknown>): Record<string, unknown> {
  const params = Object.fromEntries(Object.entries(body).filter(([name]) => !IGNORED.includes(name)));
  const { stream_options: options } = params;
  if (!isObject(options)) return params;
  const { include_obfuscation: _, ...rest } = options;
  return { ...params, stream_options: rest };
}

function card(model: Model) {
  return { id: model.info().name || 'fanlight', object: 'model', created: 0, owned_by: 'fanlight' };
}

// ---- Requests and answers --------------------------------------------------------------------------------------

async function bodyOf(request: Request): Promise<Record<string, unknown> | undefined> {
  const text = await request.text();
  try {
    const body: unknown = JSON.parse(text);
    return isObject(body) ? body : undefined;
  } catch {
    return undefined;
  }
}

function json(value: unknown, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json', ...headers } });
}

/** Server-sent events: a chunk each, then `[DONE]`. What fails on the way is the last event. */
function events(chunks: AsyncIterableIterator<object>, signal: AbortSignal): Response {
  const encoder = new TextEncoder();
  const event = (data: string) => encoder.encode(`data: ${data}\n\n`);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await chunks.next();
        controller.enqueue(event(done ? '[DONE]' : JSON.stringify(value)));
        if (done) controller.close();
      } catch (error) {
        if (signal.aborted) return controller.error(signal.reason);
        const reason = asFanlightError(error, 'worker-crashed', 'The request failed');
        controller.enqueue(event(JSON.stringify({ error: told(reason) })));
        controller.close();
      }
    },
    async cancel() {
      await chunks.return?.();
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' } });
}

// ---- Failures --------------------------------------------------------------------------------------------------

/** The statuses of our codes; what is missing here is the server's fault: 500. */
const STATUS: Partial<Record<FanlightErrorCode, number>> = {
  'invalid-argument': 400,
  'context-full': 400,
  schema: 400,
  template: 400,
  closed: 503,
  'out-of-memory': 507,
};

/** A failure as the API tells it. */
function failure(error: FanlightError): Response {
  return refusal(STATUS[error.code] ?? 500, told(error));
}

function told(error: FanlightError): ApiError {
  const byCaller = STATUS[error.code] === 400;
  return {
    message: error.message,
    type: byCaller ? 'invalid_request_error' : 'server_error',
    // Our messages begin with the name of the option.
    param: error.code === 'invalid-argument' ? (/^([\w.[\]]+):/.exec(error.message)?.[1] ?? null) : null,
    code: error.code === 'context-full' ? 'context_length_exceeded' : error.code,
  };
}

function refusal(status: number, error: ApiError): Response {
  // To ask the same of the same model again gives the same: clients need not.
  return json({ error }, status, { 'x-should-retry': 'false' });
}

function unknownPath(path: string): Response {
  const paths = '/chat/completions, /completions, /embeddings, /models';
  const message = `Unknown path ${path}: a model in the page answers ${paths}.`;
  return refusal(404, { message, type: 'invalid_request_error', param: null, code: 'unknown_url' });
}

function wrongMethod(method: string, path: string): Response {
  const message = `${path} does not take ${method}.`;
  return refusal(405, { message, type: 'invalid_request_error', param: null, code: 'method_not_allowed' });
}

function notJson(): Response {
  const message = 'The body of the request is not a JSON object.';
  return refusal(400, { message, type: 'invalid_request_error', param: null, code: null });
}
