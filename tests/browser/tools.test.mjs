// A model that thinks and calls tools, end to end: the call is streamed, executed, and answered.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { golden, Lab, launch, serve, shared, TINY } from './support/browser.mjs';

/** @param {any[]} events @param {string} type */
const ofType = (events, type) => events.filter((event) => event.type === type);

test('a tool is called, run and answered, streamed and whole', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY, { threads: 1 });
  const { chats } = await golden('tiny-chat.expected.json');
  const chat = (/** @type {string} */ name) => chats.find((/** @type {any} */ each) => each.name === name);
  const { messages, tools, message: asked } = chat('tool-call');
  const { messages: turns, message: answer } = chat('tool-answer');
  const answers = [{ value: JSON.parse(turns.at(-1).content) }];
  const run = { messages, tools, answers, temperature: 0 };

  const { calls, result } = await lab.get('runTools', run);
  assert.deepEqual(calls, [asked.tool_calls[0].function.arguments]);
  assert.equal(result.content, answer.content);
  assert.deepEqual([result.rounds, result.finish_reason], [2, 'stop']);
  assert.deepEqual(
    result.messages.map((/** @type {any} */ { role }) => role),
    ['user', 'assistant', 'tool', 'assistant'],
  );
  assert.equal(result.messages[2].tool_call_id, result.messages[1].tool_calls[0].id);

  const streamed = await lab.get('runTools', { ...run, stream: true });
  assert.equal(streamed.result.content, answer.content);
  const kinds = streamed.events.map((/** @type {any} */ { type, round }) => `${type} ${round}`);
  const order = kinds.filter((/** @type {string} */ kind, /** @type {number} */ at) => kind !== kinds[at - 1]);
  assert.deepEqual(order, ['chunk 1', 'tool_call 1', 'tool_result 1', 'chunk 2', 'end undefined']);
  const chunks = ofType(streamed.events, 'chunk').filter(({ round }) => round === 1);
  assert.equal(chunks.at(-1).chunk.choices[0].finish_reason, 'tool_calls');
  const [told] = ofType(streamed.events, 'tool_result');
  assert.deepEqual([told.failed, told.content], [false, turns.at(-1).content]);

  // The conversation can go on with what came back; an error of a tool is told to the model; and it ends.
  assert.ok((await lab.get('chat', { messages: [...result.messages, messages[0]], max_tokens: 2 })).usage);
  const failing = await lab.get('runTools', { ...run, answers: [{ error: 'no network' }], max_rounds: 2 });
  assert.equal(failing.result.messages[2].content, 'Error: no network');
  const limited = await lab.get('runTools', { ...run, max_rounds: 1 });
  assert.deepEqual([limited.result.finish_reason, limited.calls.length], ['tool_calls', 0]);
  assert.deepEqual(lab.complaints, []);
});

test('thoughts can be switched off, and cut short', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY, { threads: 1 });
  const { chats } = await golden('tiny-chat.expected.json');
  const { messages, message } = chats.find((/** @type {any} */ { name }) => name === 'thinking');
  const ask = async (/** @type {object} */ options) => {
    const { choices } = await lab.get('chat', { messages, temperature: 0, ...options });
    return choices[0].message;
  };
  const free = await ask({ enable_thinking: true });
  assert.equal(free.reasoning_content, message.reasoning_content);
  assert.equal(free.content, message.content);
  assert.equal((await ask({ enable_thinking: false })).reasoning_content, undefined);
  const cut = await ask({ enable_thinking: true, thinking_budget: 8 });
  assert.ok(cut.reasoning_content.length < free.reasoning_content.length);
  assert.ok(free.reasoning_content.startsWith(cut.reasoning_content));
  assert.ok(cut.content.length > 0);
  const none = await ask({ enable_thinking: true, thinking_budget: 0 });
  assert.equal(none.reasoning_content, undefined);
  const refused = await lab.fail('chat', { messages, thinking_budget: -1 });
  assert.deepEqual([refused.code, /thinking_budget/.test(refused.message)], ['invalid-argument', true]);
});

for (const name of ['recital-qwen3', 'recital-qwen35']) {
  test(`${name} calls a tool and answers with what it gave`, async (t) => {
    const recorded = await shared(`${name}.expected.json`);
    if (!recorded) return t.skip('../shared is absent');
    const server = await serve(t);
    const lab = await Lab.open(await launch(t), server);
    const { error } = await lab.call('load', { source: `/shared/${name}-q8_0.gguf`, threads: 1 });
    if (error?.code === 'unsupported-architecture') {
      console.log(`SKIPPED: tools with ${name} (its architecture is not there)`);
      return t.skip('the architecture is not there');
    }
    assert.equal(error, undefined);
    const item = (/** @type {string} */ which) => {
      return recorded.items.find((/** @type {any} */ { name }) => name === which);
    };
    const { messages, tools } = item('tool');
    const { messages: turns, reply } = item('tool_result');
    const answers = [{ value: turns[2].content }];
    const run = { messages, tools, answers, temperature: 0, enable_thinking: false, stream: true };
    const { calls, result, events } = await lab.get('runTools', run);
    assert.deepEqual(calls, [turns[1].tool_calls[0].function.arguments]);
    assert.equal(result.content, reply);
    assert.equal(ofType(events, 'tool_call').length, 1);
    // The call came as it was written: its name, then its arguments in pieces, before any of the answer.
    const chunks = ofType(events, 'chunk').filter(({ round }) => round === 1);
    const pieces = chunks.flatMap(({ chunk }) => chunk.choices[0].delta.tool_calls ?? []);
    assert.ok(pieces.length > 2, JSON.stringify(pieces));
    assert.equal(pieces[0].function.name, turns[1].tool_calls[0].function.name);
    const args = pieces.map(({ function: part }) => part.arguments).join('');
    assert.deepEqual(JSON.parse(args), turns[1].tool_calls[0].function.arguments);

    // Thoughts come first, as thoughts; and end when their budget is used up.
    const thinking = item('think');
    const [thoughts, answer] = thinking.reply.replace(/^<think>\n/, '').split('\n</think>\n\n');
    const ask = { messages: thinking.messages, temperature: 0, enable_thinking: true };
    const { chunks: streamed } = await lab.get('stream', ask);
    const joined = (/** @type {string} */ part) => streamed.map((/** @type {any} */ { choices }) => choices[0].delta[part] ?? '').join('');
    assert.deepEqual([joined('reasoning_content'), joined('content')], [thoughts, answer]);
    const kinds = streamed.flatMap((/** @type {any} */ { choices }) => Object.keys(choices[0].delta).filter((key) => choices[0].delta[key] && key.includes('content')));
    assert.equal(kinds.lastIndexOf('reasoning_content') < kinds.indexOf('content'), true, kinds.join());
    const [cut] = (await lab.get('chat', { ...ask, thinking_budget: 8 })).choices;
    assert.ok(cut.message.reasoning_content.length < thoughts.length && thoughts.startsWith(cut.message.reasoning_content));
  });
}
