// What callers ask for, and the shape of what they get.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from '../dist/load.js';
import { splitParts } from '../dist/sources.js';
import { checkChat, checkCompletion } from '../dist/params.js';
import { chatTeller, textTeller } from '../dist/chat.js';
import { fakeCrew } from './support/fake-crew.mjs';

const messages = [{ role: 'user', content: 'Hello' }];

test('a request reaches the engine in its own words', () => {
  const { request, stream, includeUsage } = checkChat(
    {
      model: 'any',
      messages,
      stream: true,
      stream_options: { include_usage: true },
      max_completion_tokens: 7,
      max_tokens: null,
      stop: 'END',
      temperature: 0,
      top_k: 20,
      seed: 5,
      logit_bias: { 12: -100 },
      logprobs: true,
      top_logprobs: 2,
      chat_template_kwargs: { enable_thinking: false },
    },
    undefined,
  );
  const { now, ...rest } = request;
  assert.deepEqual(rest, {
    messages,
    templateVariables: { enable_thinking: false },
    logprobs: true,
    topLogprobs: 2,
    maxTokens: 7,
    stop: ['END'],
    sampling: { temperature: 0, top_k: 20, seed: 5, logit_bias: { 12: -100 } },
  });
  assert.ok(Math.abs(now.unixSeconds * 1000 - Date.now()) < 5000);
  assert.deepEqual([stream, includeUsage], [true, true]);
});

test('what is left to the model is left out', () => {
  const { request, stream, signal } = checkCompletion({ prompt: 'Once' }, undefined);
  const { now: _, ...rest } = request;
  assert.deepEqual(rest, { prompt: 'Once', sampling: {} });
  assert.deepEqual([stream, signal], [false, undefined]);
  assert.deepEqual(checkCompletion({ prompt: [1, 2, 3] }, {}).request.promptTokens, [1, 2, 3]);
  assert.equal(checkCompletion({ prompt: ['one'] }, undefined).request.prompt, 'one');
});

test('tool_choice none hides the tools', () => {
  const tools = [{ type: 'function', function: { name: 'f' } }];
  assert.deepEqual(checkChat({ messages, tools }, undefined).request.tools, tools);
  assert.equal(checkChat({ messages, tools, tool_choice: 'none' }, undefined).request.tools, undefined);
});

test('what the answer must look like reaches the engine in its own words', () => {
  /** @param {object} options */
  const request = (options) => checkChat({ messages, ...options }, undefined).request;
  const tools = [{ type: 'function', function: { name: 'f' } }];
  const schema = { type: 'object', properties: { a: { type: 'string' } } };
  const json_schema = { name: 'thing', schema, strict: true };
  assert.deepEqual(request({ response_format: { type: 'json_schema', json_schema } }).constraint, { schema });
  assert.deepEqual(request({ response_format: { type: 'json_object' } }).constraint, { schema: { type: 'object' } });
  assert.equal(request({ response_format: { type: 'text' } }).constraint, undefined);
  assert.deepEqual(request({ regex: 'a+' }).constraint, { regex: 'a+' });
  assert.deepEqual(request({ grammar: 'start: "a"' }).constraint, { lark: 'start: "a"' });
  assert.deepEqual(checkCompletion({ prompt: 'x', regex: 'a+' }, undefined).request.constraint, { regex: 'a+' });
  assert.equal(request({ tools, tool_choice: 'required' }).toolChoice, 'required');
  const named = request({ tools, tool_choice: { type: 'function', function: { name: 'f' } } });
  assert.deepEqual([named.toolChoice, named.oneCall], [{ named: 'f' }, true]);
  assert.equal(request({ tools, parallel_tool_calls: false }).oneCall, true);
  assert.equal(request({ tools }).oneCall, undefined);
  const slow = request({ fast_forward: false, allowed_rows: false });
  assert.deepEqual([slow.noFastForward, slow.allRows], [true, true]);
});

const signal = new AbortController().signal;
test('the signal may stand beside the options, or among them', () => {
  assert.equal(checkChat({ messages }, { signal }).signal, signal);
  assert.equal(checkChat({ messages, signal }, undefined).signal, signal);
});

for (const [option, params] of /** @type {[string, unknown][]} */ ([
  ['chat.completions.create', undefined],
  ['messages', {}],
  ['messages', { messages: [] }],
  ['messages', { messages: 'Hello' }],
  ['messages[0]', { messages: ['Hello'] }],
  ['messages[0].role', { messages: [{ role: 'robot', content: 'x' }] }],
  ['messages[0].content', { messages: [{ role: 'user' }] }],
  ['messages[0].content[0]', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }],
  ['messages[0].tool_calls', { messages: [{ role: 'assistant', content: null, tool_calls: {} }] }],
  ['temprature', { messages, temprature: 1 }],
  ['temperature', { messages, temperature: -1 }],
  ['temperature', { messages, temperature: '1' }],
  ['temperature', { messages, temperature: Number.NaN }],
  ['top_p', { messages, top_p: 1.5 }],
  ['max_tokens', { messages, max_tokens: 0 }],
  ['max_tokens', { messages, max_tokens: 1.5 }],
  ['n', { messages, n: 2 }],
  ['seed', { messages, seed: -1 }],
  ['stop', { messages, stop: [''] }],
  ['stop', { messages, stop: 5 }],
  ['stream', { messages, stream: 'yes' }],
  ['stream_options', { messages, stream_options: { include_usage: true } }],
  ['include_usages', { messages, stream: true, stream_options: { include_usages: true } }],
  ['logit_bias', { messages, logit_bias: { hello: 1 } }],
  ['logit_bias[5]', { messages, logit_bias: { 5: 101 } }],
  ['logit_bias[5]', { messages, logit_bias: { 5: null } }],
  ['top_logprobs', { messages, top_logprobs: 3 }],
  ['top_logprobs', { messages, logprobs: true, top_logprobs: 21 }],
  ['tools', { messages, tools: {} }],
  ['tools[0]', { messages, tools: [{ type: 'function' }] }],
  ['tool_choice', { messages, tool_choice: 'required' }],
  ['tool_choice', { messages, tools: [{ type: 'function', function: { name: 'f' } }], tool_choice: 'must' }],
  [
    'tool_choice',
    {
      messages,
      tools: [{ type: 'function', function: { name: 'f' } }],
      tool_choice: { type: 'function', function: { name: 'g' } },
    },
  ],
  ['response_format.type', { messages, response_format: { type: 'yaml' } }],
  ['response_format.type', { messages, response_format: 'json' }],
  ['response_format.json_schema', { messages, response_format: { type: 'json_schema' } }],
  [
    'response_format.json_schema.schema',
    { messages, response_format: { type: 'json_schema', json_schema: { schema: 'object' } } },
  ],
  ['response_format', { messages, response_format: { type: 'json_object' }, regex: 'a' }],
  ['regex', { messages, regex: /a/ }],
  ['grammar', { messages, grammar: '' }],
  ['chat_template_kwargs', { messages, chat_template_kwargs: [] }],
  ['signal', { messages, signal: 1 }],
  ['prompt', { messages, prompt: 'x' }],
])) {
  test(`${option} is refused by name: ${JSON.stringify(params)?.slice(0, 70)}`, () => {
    assert.throws(
      () => checkChat(params, undefined),
      (error) => {
        const { code, message } = /** @type {import('../dist/errors.js').FanlightError} */ (error);
        return code === 'invalid-argument' && message.startsWith(`${option}:`);
      },
    );
  });
}

for (const [option, params] of /** @type {[string, unknown][]} */ ([
  ['prompt', {}],
  ['prompt', { prompt: ['one', 'two'] }],
  ['prompt[1]', { prompt: [1, -1] }],
  ['echo', { prompt: 'x', echo: true }],
  ['best_of', { prompt: 'x', best_of: 3 }],
  ['suffix', { prompt: 'x', suffix: 'y' }],
  ['logprobs', { prompt: 'x', logprobs: true }],
  ['messages', { prompt: 'x', messages }],
])) {
  test(`${option} is refused by name in a text completion: ${JSON.stringify(params)}`, () => {
    assert.throws(() => checkCompletion(params, undefined), {
      code: 'invalid-argument',
      message: new RegExp(`^${option.replace(/[[\]]/g, '\\$&')}:`),
    });
  });
}

for (const [option, options] of /** @type {[string, any][]} */ ([
  ['thread', { thread: 2 }],
  ['threads', { threads: 0 }],
  ['threads', { threads: 1.5 }],
  ['contextLength', { contextLength: '2k' }],
  ['kvType', { kvType: 'q4' }],
  ['predict', { predict: 'yes' }],
  ['build', { build: 'fast' }],
  ['transport', { transport: 'mail' }],
  ['cache', { cache: 'no' }],
  ['signal', { signal: {} }],
  ['onProgress', { onProgress: 'me' }],
])) {
  test(`${option} is refused by name when loading`, async () => {
    await assert.rejects(load('https://example.org/a.gguf', options), {
      code: 'invalid-argument',
      message: new RegExp(`^${option}:`),
    });
  });
}

test('without workers there is a clear refusal', async () => {
  await assert.rejects(load('https://example.org/a.gguf'), { code: 'unsupported-browser' });
});

test('the address of one part stands for all of them', () => {
  const url = new URL('https://example.org/m/a-q4-00001-of-00003.gguf?download=true');
  assert.deepEqual(
    splitParts(url).map(({ pathname, search }) => pathname + search),
    ['1', '2', '3'].map((part) => `/m/a-q4-0000${part}-of-00003.gguf?download=true`),
  );
  for (const single of ['https://example.org/a.gguf', 'https://example.org/a-00001-of-00000.gguf']) {
    assert.deepEqual(splitParts(new URL(single)).map(String), [single]);
  }
});

// ---- Answers ---------------------------------------------------------------------------------------------------

test('a whole chat answer has the shape that clients know', async (t) => {
  const { model } = await fakeCrew(t, 2);
  const answer = await model.chat.completions.create({ messages: [{ role: 'user', content: '3 tokens' }] });
  const { id, created, timings, ...rest } = answer;
  assert.match(id, /^chatcmpl-\w+$/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 60);
  assert.deepEqual(rest, {
    object: 'chat.completion',
    model: 'Fake',
    served_by: 'device',
    confidence: 0.5,
    choices: [
      {
        index: 0,
        message: { role: 'assistant', content: 't0 t1 t2 ', refusal: null },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8, prompt_tokens_details: { cached_tokens: 2 } },
  });
  assert.deepEqual([timings.cache_n, timings.prompt_n, timings.predicted_n], [2, 3, 3]);
  assert.ok(timings.prompt_ms > 0 && timings.predicted_per_second > 0);
});

test('a streamed chat answer has the shape that clients know', async (t) => {
  const { model } = await fakeCrew(t, 1);
  const stream = await model.chat.completions.create({
    messages: [{ role: 'user', content: '2 tokens' }],
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.deepEqual(
    chunks.map(({ choices: [choice] }) => choice && [choice.delta, choice.finish_reason]),
    [
      [{ role: 'assistant', content: '' }, null],
      [{ content: 't0 ' }, null],
      [{ content: 't1 ' }, null],
      [{}, 'stop'],
      undefined,
    ],
  );
  assert.equal(new Set(chunks.map(({ id }) => id)).size, 1);
  assert.ok(chunks.every(({ object }) => object === 'chat.completion.chunk'));
  assert.equal(chunks.at(-2)?.timings?.predicted_n, 2);
  assert.equal(chunks.at(-1)?.usage?.completion_tokens, 2);
});

const likely = [
  { token: 'a', bytes: [97], logprob: -0.5 },
  { token: 'b', bytes: [98], logprob: -1 },
];
const logprobs = [
  { ...likely[0], top: likely },
  { ...likely[1], top: likely },
];

test('reasoning, tool calls and likelihoods have their places in a chunk', () => {
  const teller = chatTeller('m', true);
  const call = { index: 0, id: 'abc', name: 'f', arguments: '{}' };
  const chunk = teller.chunk(/** @type {any} */ ({ reasoning: 'hm', toolCalls: [call], logprobs }));
  assert.deepEqual(chunk?.choices[0]?.delta, {
    reasoning_content: 'hm',
    tool_calls: [{ index: 0, id: 'abc', type: 'function', function: { name: 'f', arguments: '{}' } }],
  });
  assert.deepEqual(chunk?.choices[0]?.logprobs?.content[1], { ...likely[1], top_logprobs: likely });
  assert.equal(teller.chunk({ tokens: [5] }), undefined); // half a character: nothing to say yet
});

test('likelihoods of a text completion say where each token begins', () => {
  const teller = textTeller('m', true);
  const first = teller.chunk(/** @type {any} */ ({ text: 'ab', logprobs }));
  const second = teller.chunk(/** @type {any} */ ({ text: 'ab', logprobs }));
  assert.deepEqual(first?.choices[0]?.logprobs, {
    tokens: ['a', 'b'],
    token_logprobs: [-0.5, -1],
    top_logprobs: [
      { a: -0.5, b: -1 },
      { a: -0.5, b: -1 },
    ],
    text_offset: [0, 1],
  });
  assert.deepEqual(second?.choices[0]?.logprobs?.text_offset, [2, 3]);
});
