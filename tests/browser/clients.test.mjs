// Other people's clients against `model.fetch`, unchanged: the official `openai`, the Vercel AI SDK, and LangChain.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { build } from 'esbuild';
import { golden, Lab, launch, ROOT, serve, TINY } from './support/browser.mjs';
import { folderOf } from './support/files.mjs';

/** @typedef {import('node:test').TestContext} TestContext */

/** The page with the clients, loaded with the tiny model. @param {TestContext} t */
async function clients(t) {
  const { outputFiles } = await build({
    entryPoints: [path.join(ROOT, 'tests/browser/support/clients.js')],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    external: ['/pkg/dist/index.js'],
    logLevel: 'error',
  });
  const page = '<!doctype html><title>Clients</title><link rel="icon" href="/www/icon.svg" /><script type="module" src="clients.js"></script>';
  const folder = await folderOf(t, { 'clients.js': outputFiles[0]?.text ?? '', 'index.html': page });
  const server = await serve(t, { mounts: { clients: folder } });
  const lab = await Lab.open(await launch(t), server, 'clients/');
  await lab.load(TINY, { threads: 1 });
  const { chats } = await golden('tiny-chat.expected.json');
  const chat = (/** @type {string} */ name) => chats.find((/** @type {any} */ each) => each.name === name);
  /** Nothing but the page's own files was asked for, and nothing was complained of, but that zod tried whether it may compile. */
  const quiet = () => assert.deepEqual(lab.complaints.filter((text) => !text.includes('blocked a JavaScript eval')), []);
  return { lab, chat, quiet };
}

/** What an answer must look like. It is none that this model would give by itself. */
const schema = {
  type: 'object',
  properties: {
    city: { type: 'string', maxLength: 12 },
    days: { type: 'integer', minimum: 1, maximum: 9 },
    sky: { enum: ['sunny', 'grey'] },
  },
  required: ['city', 'days', 'sky'],
  additionalProperties: false,
};

/** @param {any} value */
function obeys(value) {
  assert.deepEqual(Object.keys(value).sort(), ['city', 'days', 'sky']);
  assert.ok(typeof value.city === 'string' && value.city.length <= 12, JSON.stringify(value));
  assert.ok(Number.isInteger(value.days) && value.days >= 1 && value.days <= 9, JSON.stringify(value));
  assert.ok(['sunny', 'grey'].includes(value.sky), JSON.stringify(value));
}

/** Vectors of two texts: of the same length, each of length one, and not the same. @param {number[][]} vectors */
function areVectors([first = [], second = []]) {
  assert.equal(first.length, second.length);
  assert.ok(first.length > 8);
  for (const vector of [first, second]) {
    const length = Math.hypot(...vector);
    assert.ok(Math.abs(length - 1) < 1e-3, `${length}`);
  }
  assert.notDeepEqual(first, second);
}

const input = ['The parcel came late.', 'What a fine day!'];

/** What is asked, and what has to come. @param {(name: string) => any} chat */
function weather(chat) {
  const { messages, tools, message } = chat('tool-call');
  const { messages: turns, message: answer } = chat('tool-answer');
  return {
    ask: { messages, prompt: messages[0].content, tools, result: turns.at(-1).content },
    args: message.tool_calls[0].function.arguments,
    answer: answer.content,
  };
}

test('the official openai client works unchanged', async (t) => {
  const { lab, chat, quiet } = await clients(t);
  const { messages, message } = chat('poem');

  const whole = await lab.get('openaiChat', { messages });
  assert.equal(whole.choices[0].message.content, message.content);
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

  const chunks = await lab.get('openaiStream', { messages, stream_options: { include_usage: true } });
  const text = chunks.map((/** @type {any} */ { choices }) => choices[0]?.delta.content ?? '').join('');
  assert.equal(text, message.content);
  assert.equal(chunks.at(-1).usage.total_tokens, whole.usage.total_tokens);

  const { ask, args, answer } = weather(chat);
  const called = await lab.get('openaiChat', { messages: ask.messages, tools: ask.tools });
  assert.deepEqual(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments), args);
  assert.equal(called.choices[0].finish_reason, 'tool_calls');
  assert.deepEqual(await lab.get('openaiRunTools', ask), { content: answer, calls: [args] });

  obeys(await lab.get('openaiJson', { messages, schema }));
  const forced = await lab.get('openaiForced', { messages, tools: ask.tools });
  assert.equal(typeof JSON.parse(forced.choices[0].message.tool_calls[0].function.arguments).city, 'string');
  const [base64, plain] = await lab.get('openaiEmbed', { input });
  areVectors(base64);
  assert.deepEqual(base64, plain);

  const text1 = await lab.get('openaiComplete', { prompt: 'Fanlight', max_tokens: 3 });
  assert.equal(text1.object, 'text_completion');
  assert.equal(text1.usage.completion_tokens, 3);
  assert.equal((await lab.get('openaiModels'))[0].id, 'Fanlight tiny-chat');

  assert.equal(await lab.get('openaiAbort', { messages, after: 4 }), 4);
  const aborted = await lab.fail('openaiAbortWhole', { messages, ms: 5 });
  assert.match(aborted.message, /abort/i);

  const refused = /** @type {any} */ (await lab.fail('openaiChat', { messages, temperature: 9 }));
  assert.deepEqual([refused.status, refused.type, refused.param], [400, 'invalid_request_error', 'temperature']);
  const long = [{ role: 'user', content: 'word '.repeat(5000) }];
  const full = /** @type {any} */ (await lab.fail('openaiChat', { messages: long }));
  assert.deepEqual([full.status, full.code], [400, 'context_length_exceeded']);
  assert.equal((await lab.get('openaiChat', { messages })).choices[0].message.content, message.content);
  quiet();
});

test('the Vercel AI SDK works unchanged', async (t) => {
  const { lab, chat, quiet } = await clients(t);
  const { messages, message } = chat('poem');
  const prompt = messages[0].content;
  const { text, usage, finishReason } = await lab.get('sdkText', { prompt });
  assert.deepEqual([text, finishReason], [message.content, 'stop']);
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > 20);
  const pieces = await lab.get('sdkStream', { prompt });
  assert.ok(pieces.length > 20);
  assert.equal(pieces.join(''), message.content);
  const { ask, args, answer } = weather(chat);
  assert.deepEqual(await lab.get('sdkTools', ask), { text: answer, calls: [args], steps: 2 });
  obeys(await lab.get('sdkJson', { prompt, schema }));
  areVectors(await lab.get('sdkEmbed', { input }));
  assert.match((await lab.fail('sdkAbort', { prompt, ms: 5 })).name, /Abort|Timeout/);
  quiet();
});

test('LangChain works unchanged', async (t) => {
  const { lab, chat, quiet } = await clients(t);
  const { messages, message } = chat('poem');
  const prompt = messages[0].content;
  assert.equal(await lab.get('chainText', { prompt }), message.content);
  const pieces = await lab.get('chainStream', { prompt });
  assert.ok(pieces.length > 20);
  assert.equal(pieces.join(''), message.content);
  const { ask, args, answer } = weather(chat);
  assert.deepEqual(await lab.get('chainTools', ask), { calls: [args], content: answer });
  obeys(await lab.get('chainJson', { prompt, schema }));
  areVectors(await lab.get('chainEmbed', { input }));
  assert.match((await lab.fail('chainAbort', { prompt, ms: 5 })).message, /abort|timeout|timed out/i);
  quiet();
});

test('what the API cannot answer has its error bodies', async (t) => {
  const { lab } = await clients(t);
  /** @param {string} path @param {object} [init] */
  const raw = async (path, init) => {
    const { status, body } = await lab.get('raw', { path, ...init });
    return [status, JSON.parse(body).error?.type, JSON.parse(body).error?.code];
  };
  const post = (/** @type {unknown} */ body) => ({ method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });
  assert.deepEqual(await raw('/v1/nothing'), [404, 'invalid_request_error', 'unknown_url']);
  assert.deepEqual(await raw('/v1/chat/completions'), [405, 'invalid_request_error', 'method_not_allowed']);
  assert.deepEqual(await raw('/v1/chat/completions', post('{')), [400, 'invalid_request_error', null]);
  assert.deepEqual(await raw('/v1/chat/completions', post([])), [400, 'invalid_request_error', null]);
  assert.deepEqual(await raw('/v1/chat/completions', post({})), [400, 'invalid_request_error', 'invalid-argument']);
  const ignored = { messages: [{ role: 'user', content: 'Hello!' }], max_tokens: 1, store: true, metadata: {} };
  assert.equal((await raw('/v1/chat/completions', post(ignored)))[0], 200);
});
