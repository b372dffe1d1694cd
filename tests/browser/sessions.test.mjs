// Qwen 3.5 in the browser, and conversations that are kept: side by side, copied, saved, shipped as a file.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, MODES, serve, shared } from './support/browser.mjs';

const MODEL = '/shared/recital-qwen35-q8_0.gguf';
const expected = await shared('recital-qwen35.expected.json');

/** A greedy request for one recorded conversation. @param {any} item */
const ask = ({ messages, tools, enable_thinking }) => ({
  messages,
  ...(tools && { tools }),
  chat_template_kwargs: { enable_thinking },
  temperature: 0,
  logprobs: true,
});

/** @param {any} answer */
const said = (answer) =>
  answer.choices[0].logprobs.content.map((/** @type {any} */ { token, logprob }) => [token, logprob]);

if (expected) {
  /** @param {string} name */
  const find = (name) => expected.items.find((/** @type {any} */ item) => item.name === name);

  for (const { name, isolated, options } of MODES) {
    test(`Qwen 3.5 with ${name}: recorded chats, turns that go on, sessions that are kept`, async (t) => {
      const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-saved-'));
      t.after(() => rm(folder, { recursive: true, force: true }));
      const server = await serve(t, { isolated, mounts: { saved: folder } });
      const lab = await Lab.open(await launch(t), server);
      await lab.load(MODEL, options);
      for (const item of expected.items.filter((/** @type {any} */ { name }) => name !== 'tool')) {
        const { message } = (await lab.get('chat', ask(item))).choices[0];
        const [reasoning, content] = item.reply.includes('</think>') ? item.reply.split('\n</think>\n\n') : ['', item.reply];
        assert.equal(message.content, content, item.name);
        assert.equal(message.reasoning_content ?? '', reasoning, item.name);
      }
      const tool = (await lab.get('chat', ask(find('tool')))).choices[0];
      assert.equal(tool.finish_reason, 'tool_calls');
      assert.deepEqual(JSON.parse(tool.message.tool_calls[0].function.arguments), { city: 'Paris', unit: 'celsius' });

      // The same again begins where the model's turn begins: nothing but the markup behind the question is computed.
      const again = await lab.get('chat', ask(find('tool')));
      assert.ok(again.timings.prompt_n < 20 && again.timings.cache_n > 100, JSON.stringify(again.timings));

      const question = ask(find('poem'));
      const whole = said(await lab.get('chat', question));
      await lab.get('session', { name: 'a', call: 'open' });
      const tokens = await lab.get('session', { name: 'a', call: 'prefill', params: question });
      assert.ok(tokens > 5);
      await lab.get('session', { name: 'a', call: 'clone', params: 'b' });
      const size = await lab.get('session', { name: 'a', call: 'save' });
      for (const session of ['a', 'b']) {
        const answer = await lab.get('session', { name: session, call: 'chat', params: question });
        assert.equal(answer.timings.cache_n, tokens);
        assert.deepEqual(said(answer), whole);
      }
      await lab.get('session', { name: 'b', call: 'dispose' });
      assert.equal((await lab.fail('session', { name: 'b', call: 'chat', params: question })).code, 'closed');

      // Taken back by another number of workers, from memory and as a file of the site.
      await writeFile(path.join(folder, 'poem.session'), Buffer.from(await lab.get('savedBytes', 'a')));
      await lab.load(MODEL, { ...options, threads: 3 - options.threads });
      await lab.get('session', { name: 'c', call: 'open', from: 'a' });
      await lab.get('session', { name: 'd', call: 'open', from: '/saved/poem.session' });
      for (const session of ['c', 'd']) {
        const answer = await lab.get('session', { name: session, call: 'chat', params: question });
        assert.equal(answer.timings.cache_n, tokens);
        assert.deepEqual(said(answer), whole);
      }
      for (const damage of [0, 30, Math.floor(size / 2), size - 1]) {
        const { code } = await lab.fail('session', { name: 'c', call: 'restore', from: 'a', damage });
        assert.equal(code, damage === 0 ? 'malformed-file' : 'integrity');
      }
      assert.deepEqual(said(await lab.get('session', { name: 'c', call: 'chat', params: question })), whole);
      assert.deepEqual(lab.complaints, []);

      await lab.load(MODEL, { ...options, kvType: 'f16' });
      assert.equal((await lab.fail('session', { name: 'e', call: 'open', from: 'a' })).code, 'invalid-argument');
    });
  }
}
