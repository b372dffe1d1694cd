// The text that comes out: greedy, word for word what an independent implementation recorded, however the work is shared.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { golden, Lab, launch, MODES, serve, shared, TINY } from './support/browser.mjs';
import { skipsWithout } from './support/engines.mjs';

/**
 * A request for a recorded chat.
 * @param {any} item
 */
function chatOf({ messages, tools, enable_thinking }) {
  return { messages, ...(tools && { tools }), temperature: 0, chat_template_kwargs: { enable_thinking } };
}

/** The parts of a message that matter. @param {any} message */
function essence({ content, reasoning_content, tool_calls }) {
  return {
    content: content ?? '',
    reasoning: reasoning_content ?? '',
    calls: (tool_calls ?? []).map((/** @type {any} */ { function: { name, arguments: args } }) => {
      return { name, args: typeof args === 'string' ? JSON.parse(args) : args };
    }),
  };
}

for (const { name, isolated, options, transport } of MODES) {
  test(`tiny-chat recites, with ${name}`, async (t) => {
    const server = await serve(t, { isolated });
    const lab = await Lab.open(await launch(t), server);
    const { info } = await lab.load(TINY, options);
    assert.equal(info.transport, transport);
    assert.equal(info.shards, options.threads);

    const { chats, completions } = await golden('tiny-chat.expected.json');
    for (const item of chats) {
      const answer = await lab.get('chat', chatOf(item));
      assert.deepEqual(essence(answer.choices[0].message), essence(item.message), item.name);
      assert.equal(answer.usage.prompt_tokens, item.prompt_ids.length, item.name);
      assert.equal(answer.usage.completion_tokens, item.reply_ids.length, item.name);
      assert.equal(answer.choices[0].finish_reason, item.message.tool_calls ? 'tool_calls' : 'stop', item.name);
    }
    for (const item of completions) {
      const { chunks } = await lab.get('stream', { prompt: item.prompt, temperature: 0 });
      assert.equal(chunks.map((/** @type {any} */ chunk) => chunk.choices[0].text).join(''), item.reply, item.name);
    }
    assert.deepEqual(lab.complaints, []);
  });

  test(`trained models of ../shared say what was recorded, with ${name}`, async (t) => {
    const stories = await shared('stories260K.expected.json');
    const recitals = await shared('recital-qwen3.expected.json');
    if (!stories || !recitals) return t.skip('../shared is absent');
    const server = await serve(t, { isolated });
    const lab = await Lab.open(await launch(t), server);

    await lab.load('/shared/stories260K-f32.gguf', options);
    for (const { prompt, greedy_ids, greedy_text } of stories.items) {
      if (prompt === '') continue; // nothing but the beginning-of-text token: no text to go on with
      const answer = await lab.get('complete', { prompt, max_tokens: greedy_ids.length, temperature: 0 });
      assert.equal(answer.choices[0].text, greedy_text);
      assert.equal(answer.choices[0].finish_reason, 'length');
    }

    await lab.load('/shared/recital-qwen3-q8_0.gguf', options);
    for (const item of recitals.items) {
      const { message } = (await lab.get('chat', chatOf(item))).choices[0];
      const { content, reasoning, calls } = essence(message);
      const thoughts = reasoning && `<think>\n${reasoning}\n</think>\n\n`;
      const tools = calls.map((/** @type {any} */ { name, args }) => {
        return `<tool_call>\n{"name": "${name}", "arguments": ${spaced(args)}}\n</tool_call>`;
      });
      assert.equal(thoughts + content + tools.join('\n'), item.reply, item.name);
    }
    assert.deepEqual(lab.complaints, []);
  });
}

/** JSON with the spaces that Python writes. @param {Record<string, string>} value */
function spaced(value) {
  const members = Object.entries(value).map(([key, each]) => `${JSON.stringify(key)}: ${JSON.stringify(each)}`);
  return `{${members.join(', ')}}`;
}

test('both builds say the same', async (t) => {
  if (skipsWithout(t, 'relaxed')) return;
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  const poem = [];
  for (const build of ['simd128', 'relaxed']) {
    const { info } = await lab.load(TINY, { build });
    assert.equal(info.build, build);
    poem.push(await lab.ask('Recite a poem.'));
  }
  assert.equal(poem[0], poem[1]);
  assert.match(poem[0], /Who has seen the wind/);
});
