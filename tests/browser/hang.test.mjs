// Workers that hang, at every stage: whatever was pending ends with a code, and a new model loads at once.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab, launch, MODES, serve, TINY } from './support/browser.mjs';

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
    assert.match(await lab.ask('What is Fanlight?'), /^Fanlight runs small open language models/);
  });
}
