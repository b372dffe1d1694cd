// Requests as an application makes them: streamed, cancelled, several at once, with likelihoods and limits.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { golden, Lab, launch, MODES, serve, TINY } from './support/browser.mjs';
import { skipsWithout } from './support/engines.mjs';

const poem = [{ role: 'user', content: 'Recite a poem.' }];
const fanlight = [{ role: 'user', content: 'What is Fanlight?' }];

/** @param {any[]} chunks */
const textOf = (chunks) => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

for (const { name, isolated, options } of MODES) {
  test(`stream, cancel, generate again, with ${name}`, async (t) => {
    const server = await serve(t, { isolated });
    const lab = await Lab.open(await launch(t), server);
    await lab.load(TINY, options);
    const whole = await lab.ask('Recite a poem.');

    const { chunks } = await lab.get('stream', { messages: poem, stream_options: { include_usage: true } });
    assert.equal(textOf(chunks), whole);
    assert.ok(chunks.length > 20);
    assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
    assert.equal(chunks.at(-2).choices[0].finish_reason, 'stop');
    assert.ok(chunks.at(-2).timings.predicted_per_second > 0);
    assert.equal(
      chunks.at(-1).usage.total_tokens,
      chunks.at(-1).usage.prompt_tokens + chunks.at(-1).usage.completion_tokens,
    );

    const broken = await lab.get('stream', { messages: poem, breakAfter: 5 });
    assert.equal(broken.chunks.length, 5);
    assert.equal(await lab.ask('Recite a poem.'), whole);

    const aborted = await lab.get('stream', { messages: poem, abortAfter: 5 });
    assert.equal(aborted.error.code, 'aborted');
    assert.ok(whole.startsWith(textOf(aborted.chunks)));
    assert.equal(await lab.ask('Recite a poem.'), whole);

    // In the middle of the prompt, before the first token.
    const long = { prompt: 'The wind is passing by. '.repeat(100), max_tokens: 1 };
    for (const ms of [0, 1, 5, 20]) {
      const { error } = await lab.call('abortedAfter', { ...long, ms });
      if (error) assert.equal(error.code, 'aborted');
      assert.equal(await lab.ask('Recite a poem.'), whole, `aborted after ${ms} ms`);
    }
    assert.deepEqual(lab.complaints, []);
  });
}

test('the shared beginning of a conversation is not computed again', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY, { threads: 2 });
  const first = await lab.get('chat', { messages: fanlight });
  const turn = [...fanlight, first.choices[0].message, ...poem];
  const second = await lab.get('chat', { messages: turn });
  assert.ok(second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens);
  assert.equal(second.timings.cache_n, second.usage.prompt_tokens_details.cached_tokens);
  assert.equal(second.timings.prompt_n + second.timings.cache_n, second.usage.prompt_tokens);

  await lab.load(TINY, { threads: 1 }); // a fresh one, with nothing in its cache
  const fresh = await lab.get('chat', { messages: turn });
  assert.equal(fresh.usage.prompt_tokens_details.cached_tokens, 0);
  assert.deepEqual(fresh.choices, second.choices);
});

test('tool calls come in a stream, as they are written', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  const { chats } = await golden('tiny-chat.expected.json');
  const { messages, tools, message } = chats.find((/** @type {any} */ { name }) => name === 'two-tool-calls');
  const { chunks } = await lab.get('stream', { messages, tools, temperature: 0 });
  const deltas = chunks.flatMap((/** @type {any} */ chunk) => chunk.choices[0].delta.tool_calls ?? []);
  // The name first, then the arguments in pieces, one call after the other.
  const begins = deltas.filter((/** @type {any} */ { id }) => id);
  /** @type {any[]} */
  const calls = begins.map((/** @type {any} */ { index, id, type, function: { name } }) => {
    const pieces = deltas.filter((/** @type {any} */ each) => each.index === index);
    const args = pieces.map((/** @type {any} */ each) => each.function.arguments).join('');
    assert.ok(pieces.length > 2 && pieces[0].id === id, JSON.stringify(pieces));
    return { id, type, function: { name, arguments: args } };
  });
  assert.deepEqual(
    calls.map(({ type, function: call }) => [type, call.name, JSON.parse(call.arguments)]),
    message.tool_calls.map((/** @type {any} */ call) => ['function', call.function.name, call.function.arguments]),
  );
  const indices = deltas.map((/** @type {any} */ { index }) => index);
  assert.deepEqual(indices, indices.toSorted());
  const whole = await lab.get('chat', { messages, tools, temperature: 0 });
  assert.deepEqual(
    whole.choices[0].message.tool_calls.map((/** @type {any} */ call) => call.function),
    calls.map((call) => call.function),
  );
  assert.equal(new Set(calls.map(({ id }) => id)).size, 2);
  assert.equal(textOf(chunks), '');
  assert.equal(chunks.at(-1).choices[0].finish_reason, 'tool_calls');

  // The conversation goes on with what was streamed: arguments are JSON in a string here.
  const tool = (/** @type {any} */ { id }) => ({ role: 'tool', tool_call_id: id, content: '{"sky": "sunny"}' });
  const turn = [...messages, { role: 'assistant', content: null, tool_calls: calls }, ...calls.map(tool)];
  assert.equal((await lab.get('chat', { messages: turn, tools, max_tokens: 3 })).usage.completion_tokens, 3);
});

test('limits, stops, seeds and likelihoods', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  const whole = await lab.ask('Recite a poem.');

  const short = await lab.get('chat', { messages: poem, max_tokens: 3 });
  assert.equal(short.choices[0].finish_reason, 'length');
  assert.equal(short.usage.completion_tokens, 3);
  assert.ok(whole.startsWith(short.choices[0].message.content));

  const stopped = await lab.get('chat', { messages: poem, stop: ['Neither', 'nobody'] });
  assert.equal(stopped.choices[0].finish_reason, 'stop');
  assert.equal(stopped.choices[0].message.content, whole.slice(0, whole.indexOf('Neither')));

  const wild = { prompt: 'Fanlight', max_tokens: 40, temperature: 2, top_k: 0, top_p: 1, min_p: 0 };
  const texts = [];
  for (const seed of [1, 1, 2]) texts.push((await lab.get('complete', { ...wild, seed })).choices[0].text);
  assert.equal(texts[0], texts[1]);
  assert.notEqual(texts[0], texts[2]);

  const likely = await lab.get('chat', { messages: poem, logprobs: true, top_logprobs: 3, max_tokens: 5 });
  const { content } = likely.choices[0].logprobs;
  assert.equal(content.length, 5);
  for (const entry of content) {
    assert.ok(entry.logprob > -0.5 && entry.logprob <= 0);
    assert.equal(entry.top_logprobs.length, 3);
    assert.deepEqual(entry.top_logprobs[0], { token: entry.token, logprob: entry.logprob, bytes: entry.bytes });
  }
  assert.equal(content.map((/** @type {any} */ { token }) => token).join(''), likely.choices[0].message.content);

  const [who] = await lab.get('tokenize', ['Who']);
  const without = await lab.get('chat', { messages: poem, max_tokens: 3, logit_bias: { [who]: -100 } });
  assert.notEqual(without.choices[0].message.content, short.choices[0].message.content);
});

test('several requests at once are answered in their order', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY, { threads: 2 });
  const requests = [9, 1, 5].map((max_tokens) => ({ prompt: 'Fanlight', max_tokens, temperature: 0 }));
  const { order, answers } = await lab.get('together', requests);
  assert.deepEqual(order, [0, 1, 2]);
  const counts = answers.map((/** @type {any} */ answer) => answer.usage.completion_tokens);
  assert.deepEqual(counts, [9, 1, 5]);
});

test('tokens of a text, and back', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  const text = 'Grüß dich, 世界! 👋🏽 <|im_end|>';
  const ids = await lab.get('tokenize', [text]);
  assert.equal(await lab.get('detokenize', ids), text);
  assert.equal(await lab.get('countTokens', text), ids.length);
  const chat = await lab.get('chat', { messages: poem, max_tokens: 1 });
  assert.equal(await lab.get('countTokens', poem), chat.usage.prompt_tokens);
  assert.equal(await lab.get('countTokens', { messages: poem }), chat.usage.prompt_tokens);
  assert.ok(ids.length > 10); // the name of a control token in a text is only text
});

test('after dispose everything is closed, and the file stays', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  for (let times = 0; times < 5; times++) {
    const { info } = await lab.load(TINY, { threads: 2 });
    assert.equal(info.source, times === 0 ? 'network' : 'storage');
    await lab.get('dispose');
    assert.equal((await lab.fail('complete', { prompt: 'Fanlight' })).code, 'closed');
  }
  await lab.workersGone();
});

test('a worker that dies ends what was on its way, and a new model can be loaded', async (t) => {
  if (skipsWithout(t, 'workers')) return;
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY, { threads: 2 });
  const ends = await lab.get('tokenize', ['<|im_end|><|endoftext|>', { special: true }]);
  assert.equal(ends.length, 2);
  const never = Object.fromEntries(ends.map((/** @type {number} */ id) => [id, -100]));
  const endless = lab.call('complete', { prompt: 'Fanlight', temperature: 2, logit_bias: never });
  const waiting = lab.call('complete', { prompt: 'Fanlight', max_tokens: 5 });
  const [, follower] = lab.page.workers();
  await follower?.evaluate(() => {
    setTimeout(() => {
      throw new Error('broken on purpose');
    });
  });
  assert.equal((await endless).error?.code, 'worker-crashed');
  assert.equal((await waiting).error?.code, 'worker-crashed');
  assert.equal((await lab.fail('tokenize', ['a'])).code, 'worker-crashed');
  await lab.workersGone();
  await lab.load(TINY, { threads: 2 });
  assert.match(await lab.ask('What is Fanlight?'), /^Fanlight runs/);
});
