// A server that answers where the device cannot: in a real page, against a local server that speaks the OpenAI HTTP API.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openaiServer } from '../../pkg/test/support/openai-server.mjs';
import { Lab, launch, serve, TINY } from './support/browser.mjs';

test('a server takes over where it was set up, and nothing is sent where it was not', async (t) => {
  const remote = await openaiServer(t);
  const server = await serve(t, { models: new URL(remote.baseURL).origin });
  const lab = await Lab.open(await launch(t), server);
  const fallback = { baseURL: remote.baseURL, model: 'big' };
  const messages = [{ role: 'user', content: 'Hello!' }];

  // This page is not isolated: it cannot run what was asked for.
  const impossible = { transport: 'shared', threads: 2 };
  assert.equal((await lab.fail('load', { source: TINY, ...impossible })).code, 'unsupported-browser');
  assert.equal(remote.heard.length, 0);
  const { info } = await lab.load(TINY, { ...impossible, fallback });
  assert.equal(info.source, 'fallback');
  const whole = await lab.get('chat', { messages });
  assert.deepEqual([whole.served_by, whole.choices[0].message.content], ['fallback', 'big heard: Hello! – é']);
  const { chunks } = await lab.get('stream', { messages });
  const text = chunks.map((/** @type {any} */ { choices }) => choices[0].delta.content).join('');
  assert.equal(text, 'big heard: Hello! – é');
  assert.equal(remote.heard.length, 2);

  // One that can run the model does.
  await lab.load(TINY, { threads: 1, fallback });
  const own = await lab.get('chat', { messages, temperature: 0 });
  assert.equal(own.served_by, 'device');
  assert.equal(remote.heard.length, 2);
  const routed = await lab.get('chat', { messages, fallback: { ...fallback, when: { always: ['chat'] } } });
  assert.equal(routed.served_by, 'fallback');
});
