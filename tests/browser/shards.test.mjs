// However many workers share a model, and however they exchange: the same logits, to the last bit.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab, launch, serve, TINY } from './support/browser.mjs';
import { can } from './support/engines.mjs';

test('1, 2 and 3 workers over both transports give the same log probabilities, to the last bit', async (t) => {
  const server = await serve(t, { isolated: true });
  const lab = await Lab.open(await launch(t), server);
  /** The twenty likeliest tokens at each of many places. @param {Record<string, unknown>} options */
  const likely = async (options) => {
    const { info } = await lab.load(TINY, options);
    const messages = [{ role: 'user', content: 'Recite something that nobody has heard.' }];
    const request = { messages, temperature: 2, seed: 7, max_tokens: 24, logprobs: true, top_logprobs: 20 };
    const { logprobs } = (await lab.get('chat', request)).choices[0];
    assert.equal(logprobs.content.length, 24);
    return { info, logprobs };
  };
  const alone = await likely({ threads: 1 });
  for (const threads of [2, 3]) {
    for (const transport of can('shared') ? ['shared', 'messages'] : ['messages']) {
      const { info, logprobs } = await likely({ threads, transport });
      assert.deepEqual([info.shards, info.transport], [threads, transport]);
      assert.deepEqual(logprobs, alone.logprobs, `${threads} workers, ${transport}`);
    }
  }
  assert.deepEqual(lab.complaints, []);
});
