// Workers that are killed without a word, at every stage: whatever was pending ends with a code, and a new model loads at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab, launch, MODES, serve, TINY } from './support/browser.mjs';

const QUESTION = 'What is Fanlight?';
const ANSWER = /^Fanlight runs small open language models inside a web page\./;

for (const { name, isolated, options } of MODES) {
  test(`a worker that is killed without an event is noticed, with ${name}`, async (t) => {
    const server = await serve(t, { isolated });
    const lab = await Lab.open(await launch(t), server);
    for (let victim = 0; victim < options.threads; victim++) {
      await lab.load(TINY, options);
      const ends = await lab.get('tokenize', ['<|im_end|><|endoftext|>', { special: true }]);
      const never = Object.fromEntries(ends.map((/** @type {number} */ id) => [id, -100]));
      const running = lab.call('complete', { prompt: 'Fanlight', temperature: 2, logit_bias: never });
      const waiting = lab.call('complete', { prompt: 'Fanlight', max_tokens: 5 });
      await lab.page.waitForTimeout(100);
      await lab.killWorker(victim);
      assert.equal((await running).error?.code, 'worker-crashed');
      assert.equal((await waiting).error?.code, 'worker-crashed');
      assert.equal((await lab.fail('tokenize', ['a'])).code, 'worker-crashed');
      await lab.workersGone();
    }
    await lab.load(TINY, options);
    assert.match(await lab.ask(QUESTION), ANSWER);
    await lab.killWorker(0); // while nothing is asked of it
    await lab.workersGone();
    assert.equal((await lab.fail('tokenize', ['a'])).code, 'worker-crashed');
  });
}

test('a worker that is killed while it downloads is noticed, and nothing is lost', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { stallAfter: 1_500_000 } : undefined);
  const loading = lab.call('load', { source: TINY });
  await lab.reached(1_400_000);
  await lab.killWorker(0);
  assert.equal((await loading).error?.code, 'worker-crashed');
  server.fault = () => undefined;
  const { progress } = await lab.load(TINY);
  assert.ok(progress[0].loaded >= 1_000_000, `${progress[0].loaded}`);
  assert.match(await lab.ask(QUESTION), ANSWER);
});
