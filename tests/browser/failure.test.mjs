// Workers that are killed without a word, or hang, at every stage: whatever was pending ends with a code, and a new model loads at
// once.

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

/** Longer than a minute would be the patience with what cannot be cut up; the promise is two seconds on a machine that is free. */
const SOON_MS = 30_000;
const ENDLESS = { prompt: 'Fanlight', max_tokens: 100_000, ignore_eos: true };
const LONG = { prompt: 'The wind is passing by. '.repeat(60), max_tokens: 1 };

for (const { name, isolated, options } of MODES) {
  test(`a worker that hangs is given up, with ${name}`, async (t) => {
    const server = await serve(t, { isolated });
    const lab = await Lab.open(await launch(t), server);
    const stages = {
      'while it decodes': { calls: [['complete', ENDLESS], ['complete', LONG]], after: 100 },
      'while it reads a prompt': { calls: [['complete', LONG]], after: 10 },
      'before it is asked': { calls: [], after: 0 },
    };
    for (const [stage, { calls, after }] of Object.entries(stages)) {
      for (let worker = 0; worker < options.threads; worker++) {
        await lab.load(TINY, options);
        let ends = await lab.get('hangsDuring', { calls, worker, after });
        if (calls.length === 0) ends = await lab.get('hangsDuring', { calls: [['complete', LONG]], worker, after });
        for (const { error, ms } of ends) {
          assert.equal(error?.code, 'worker-crashed', `worker ${worker} ${stage}`);
          assert.ok(ms < SOON_MS, `worker ${worker} ${stage}: ${ms} ms`);
        }
        const last = Math.max(...ends.map((/** @type {{ ms: number }} */ { ms }) => Math.round(ms)));
        t.diagnostic(`worker ${worker} ${stage}: all ended after ${last} ms`);
        assert.equal((await lab.fail('tokenize', ['a'])).code, 'worker-crashed');
        await lab.workersGone();
      }
    }
    await lab.load(TINY, options);
    assert.match(await lab.ask(QUESTION), ANSWER);
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
