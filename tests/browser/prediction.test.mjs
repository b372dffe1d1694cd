// The block for multi-token prediction in the browser: the same answers with its guesses and without, however the work is shared.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, MODES, ROOT, serve } from './support/browser.mjs';

const ARCH = path.join(ROOT, '../shared/fixtures/arch');
const MODEL = '/arch/qwen35_mtp/model-f32.gguf';

const FREE = { prompt: 'def read(path): return the bytes of a file', temperature: 0, ignore_eos: true, max_tokens: 24, logprobs: 5 };
/**
 * Weights are random, so that nothing of a free answer is foreseen; of one that may consist of one token only, everything.
 * Answers this short repeat nothing that a lookup would find.
 */
const REQUESTS = {
  free: FREE,
  'one token': { ...FREE, logit_bias: { 30: 100 }, max_tokens: 5 },
  sampled: { ...FREE, temperature: 1, seed: 5 },
};

if (!existsSync(path.join(ARCH, 'qwen35_mtp'))) {
  console.log('SKIPPED: multi-token prediction in the browser (../shared is absent)');
} else {
  for (const { name, isolated, options } of MODES) {
    test(`with ${name}: answers with guesses of the block, and without`, async (t) => {
      const server = await serve(t, { isolated, mounts: { arch: ARCH } });
      const lab = await Lab.open(await launch(t), server);
      const answers = { plain: /** @type {any[]} */ ([]), predicting: /** @type {any[]} */ ([]) };
      const memory = { plain: 0, predicting: 0 };
      for (const kind of /** @type {const} */ (['plain', 'predicting'])) {
        const predict = kind === 'predicting';
        const { info } = await lab.load(MODEL, { ...options, predict });
        assert.deepEqual([info.predicts, info.shards], [predict, options.threads]);
        memory[kind] = info.kvBytes;
        const asked = [...Object.values(REQUESTS), { ...FREE, speculation: false }];
        for (const request of asked) answers[kind].push(await lab.get('complete', request));
        const { chunks } = await lab.get('stream', FREE);
        const streamed = chunks.map((/** @type {any} */ { choices }) => choices[0]?.text ?? '').join('');
        assert.equal(streamed, answers[kind][0].choices[0].text, 'streamed');
      }
      // One layer of four keeps keys and values; the block is another.
      assert.equal(memory.predicting, 2 * memory.plain);

      const said = (/** @type {any} */ { choices }) => [choices[0].text, choices[0].logprobs];
      assert.deepEqual(answers.predicting.map(said), answers.plain.map(said));
      const counts = (/** @type {any} */ { timings }) => [timings.draft_n, timings.draft_n_accepted];
      for (const answer of answers.plain) assert.deepEqual(counts(answer), [0, 0]);
      const [free, one, sampled, without] = answers.predicting.map(counts);
      assert.ok(free?.[0] > 0, `${free}`);
      assert.ok(sampled?.[0] > 0, `${sampled}`);
      // The first token, three that were guessed, and the one after them.
      assert.deepEqual([one, without], [[3, 3], [0, 0]]);
      assert.deepEqual(lab.complaints, []);
    });
  }

  test('files without the block, and what it would take', async (t) => {
    const server = await serve(t, { mounts: { arch: ARCH } });
    const lab = await Lab.open(await launch(t), server);
    const [without, with_] = [await lab.get('canRun', { source: MODEL }), await lab.get('canRun', { source: MODEL, predict: true })];
    assert.deepEqual([without.runs, with_.runs], [true, true]);
    assert.ok(with_.model.peakBytes > without.model.peakBytes, JSON.stringify([without, with_]));
    const { info } = await lab.load('/arch/qwen35/model-f32.gguf', { threads: 1, predict: true });
    assert.equal(info.predicts, false);
    const { timings } = await lab.get('complete', FREE);
    assert.equal(timings.draft_n, 0);
    const refused = await lab.fail('load', { source: MODEL, predict: 'yes' });
    assert.deepEqual([refused.code, /predict/.test(refused.message)], ['invalid-argument', true]);
  });
}
