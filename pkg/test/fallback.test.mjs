// What goes to a server, when, and what comes back: against a local server that speaks the OpenAI HTTP API.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FanlightError } from '../dist/errors.js';
import { checkFallback } from '../dist/fallback.js';
import { load } from '../dist/load.js';
import { Stream } from '../dist/stream.js';
import { Watchers } from '../dist/events.js';
import { fakeCrew } from './support/fake-crew.mjs';
import { openaiServer } from './support/openai-server.mjs';

const messages = [{ role: /** @type {const} */ ('user'), content: '2 tokens' }];

/** @param {AsyncIterable<any>} chunks */
async function textOf(chunks) {
  let text = '';
  for await (const { choices, served_by } of chunks) {
    assert.equal(served_by, 'fallback');
    text += choices[0].delta?.content ?? choices[0].text ?? '';
  }
  return text;
}

test('without a server named, and while all is well, nothing is sent', async (t) => {
  const { baseURL, heard } = await openaiServer(t);
  const { model } = await fakeCrew(t, 1);
  const fallback = { baseURL, model: 'big' };
  assert.equal((await model.chat.completions.create({ messages })).served_by, 'device');
  assert.equal((await model.chat.completions.create({ messages, fallback })).served_by, 'device');
  for await (const { served_by } of await model.completions.create({ prompt: '2 tokens', stream: true, fallback })) {
    assert.equal(served_by, 'device');
  }
  assert.deepEqual(heard, []);
});

test('a device that cannot run the model is answered by the server, whole and streamed', async (t) => {
  const { baseURL, heard } = await openaiServer(t);
  // There are no workers in Node: what a browser without them would say.
  const fallback = { baseURL, apiKey: 'key', model: 'big', body: { cache_prompt: true } };
  await assert.rejects(load('https://example.org/a.gguf'), { code: 'unsupported-browser' });
  const model = await load('https://example.org/a.gguf', { fallback });
  assert.deepEqual([model.info().source, model.info().name, model.info().shards], ['fallback', 'big', 0]);
  const whole = await model.chat.completions.create({ messages, temperature: 0, top_k: 3, logit_bias: { 5: 1 } });
  assert.equal(whole.choices[0]?.message.content, 'big heard: 2 tokens – é');
  assert.equal(whole.served_by, 'fallback');
  assert.deepEqual(heard[0], {
    path: '/v1/chat/completions',
    authorization: 'Bearer key',
    body: { messages, temperature: 0, model: 'big', cache_prompt: true },
  });
  const stream = await model.chat.completions.create({ messages, stream: true });
  assert.equal(await textOf(stream), 'big heard: 2 tokens – é');
  assert.equal(await textOf(await model.completions.create({ prompt: 'p', stream: true })), 'big heard: p – é');
  assert.equal((await model.completions.create({ prompt: 'p' })).choices[0]?.text, 'big heard: p – é');
  const response = await model.fetch('https://any.example/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ messages }),
  });
  assert.equal((await response.json()).served_by, 'fallback');
  // What only a model on the device can do says why it cannot; and a request may forbid the server.
  await assert.rejects(model.tokenize('a'), { code: 'unsupported-browser' });
  await assert.rejects(model.chat.completions.create({ messages, fallback: false }), { code: 'unsupported-browser' });
  await model.dispose();
});

test('a worker that dies hands over to the server, and that is told', async (t) => {
  const { baseURL, heard } = await openaiServer(t);
  const { model, kill } = await fakeCrew(t, 1);
  /** @type {any[]} */
  const told = [];
  model.on('fallback', (event) => told.push(event));
  kill(0);
  const fallback = { baseURL, model: 'big' };
  await assert.rejects(model.chat.completions.create({ messages }), { code: 'worker-crashed' });
  assert.equal((await model.chat.completions.create({ messages, fallback })).served_by, 'fallback');
  assert.deepEqual([heard.length, told.length, told[0].reason, told[0].error.code], [1, 1, 'error', 'worker-crashed']);
  // Faults of the caller are not the device's, and a list of errors is what counts.
  await assert.rejects(model.completions.create({ prompt: [], n: /** @type {any} */ (2), fallback: { baseURL } }), {
    code: 'invalid-argument',
  });
  const never = { baseURL, when: { errors: [] } };
  await assert.rejects(model.chat.completions.create({ messages, fallback: never }), { code: 'worker-crashed' });
  assert.equal(heard.length, 1);
});

test('a prompt that does not fit goes to the server where the caller says so', async (t) => {
  const { baseURL } = await openaiServer(t);
  const { model } = await fakeCrew(t, 1);
  const fallback = { baseURL, model: 'big', when: { errors: /** @type {const} */ (['context-full']) } };
  await assert.rejects(model.completions.create({ prompt: 'too long' }), { code: 'context-full' });
  assert.equal((await model.completions.create({ prompt: 'too long', fallback })).served_by, 'fallback');
});

test('a route can always go to the server', async (t) => {
  const { baseURL, heard } = await openaiServer(t);
  const { model } = await fakeCrew(t, 1);
  const fallback = { baseURL, model: 'big', when: { always: /** @type {const} */ (['chat']) } };
  assert.equal((await model.chat.completions.create({ messages, fallback })).served_by, 'fallback');
  assert.equal((await model.completions.create({ prompt: '1 tokens', fallback })).served_by, 'device');
  assert.equal(heard.length, 1);
});

test('an answer that is not sure enough is asked of the server; a streamed one is shown when that is known', async (t) => {
  const { baseURL, heard } = await openaiServer(t);
  const fallback = { baseURL, model: 'big', when: { confidence_below: 0.5 } };
  const remote = checkFallback(fallback);
  assert.ok(remote);
  const ask = async (/** @type {boolean} */ stream, /** @type {number | undefined} */ confidence) => {
    const local = async () => {
      const own = /** @type {any} */ ({ choices: [], served_by: 'device', confidence });
      if (!stream) return own;
      const chunks = new Stream(() => {});
      chunks.push({ choices: [], served_by: 'device' });
      chunks.push(own);
      chunks.finish();
      return chunks;
    };
    const how = { stream, signal: undefined };
    const answer = /** @type {any} */ (await remote.answer('chat', { messages, stream }, how, local, new Watchers()));
    if (!stream) return answer.served_by;
    const seen = [];
    for await (const { served_by } of answer) seen.push(served_by);
    return [...new Set(seen)].join();
  };
  assert.equal(await ask(false, 0.4), 'fallback');
  assert.equal(await ask(false, 0.5), 'device');
  assert.equal(await ask(false, undefined), 'device');
  assert.equal(await ask(true, 0.4), 'fallback');
  assert.equal(await ask(true, 0.9), 'device');
  assert.equal(heard.length, 2);
});

test('a server that refuses, breaks off or is not there fails by name, and an abort reaches it', async (t) => {
  const { model } = await fakeCrew(t, 1);
  const always = { always: /** @type {const} */ (['chat']) };
  const refusing = await openaiServer(t, { status: 401 });
  const asked = { messages, fallback: { baseURL: refusing.baseURL, when: always } };
  await assert.rejects(model.chat.completions.create(asked), { code: 'network', message: /answered 401: Not today/ });

  const nobody = { baseURL: 'http://127.0.0.1:1/v1', when: always };
  await assert.rejects(model.chat.completions.create({ messages, fallback: nobody }), { code: 'network' });

  const breaking = await openaiServer(t, { breakOff: true });
  const broken = { messages, stream: /** @type {const} */ (true), fallback: { baseURL: breaking.baseURL, model: 'big', when: always } };
  await assert.rejects(async () => textOf(await model.chat.completions.create(broken)), { code: 'network', message: /broke off/ });

  const slow = await openaiServer(t, { slow: true });
  const abort = new AbortController();
  const long = { messages, stream: /** @type {const} */ (true), fallback: { baseURL: slow.baseURL, when: always } };
  const stream = await model.chat.completions.create(long, { signal: abort.signal });
  await stream.next();
  abort.abort();
  await assert.rejects(textOf(stream), { code: 'aborted' });
  for await (const _ of await model.chat.completions.create(long)) break;
  while (slow.closed() < 2) await new Promise((resolve) => setTimeout(resolve, 10));
});

test('a fallback that makes no sense is refused by name', () => {
  assert.equal(checkFallback(undefined), undefined);
  assert.equal(checkFallback(false), false);
  const baseURL = 'https://example.org/v1';
  for (const [value, name] of /** @type {const} */ ([
    ['https://example.org', /^fallback:/],
    [{}, /^fallback\.baseURL:/],
    [{ baseURL: 'nowhere' }, /^fallback\.baseURL:/],
    [{ baseURL, apiKey: 3 }, /^fallback\.apiKey:/],
    [{ baseURL, when: { confidence_below: 2 } }, /^fallback\.when\.confidence_below:/],
    [{ baseURL, when: { always: ['everything'] } }, /^fallback\.when\.always:/],
    [{ baseURL, when: { errors: 'all' } }, /^fallback\.when\.errors:/],
    [{ baseURL, else: 1 }, /^else:/],
  ])) {
    assert.throws(() => checkFallback(value), (error) => {
      assert.ok(error instanceof FanlightError);
      assert.equal(error.code, 'invalid-argument');
      assert.match(error.message, name);
      return true;
    });
  }
});
