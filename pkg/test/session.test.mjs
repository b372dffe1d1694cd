// Sessions: each in a memory of its own on every shard, around an engine that counts what it hears.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeCrew } from './support/fake-crew.mjs';

/** How many requests each memory has heard; the same on all shards. @param {import('./support/fake-engine.mjs').FakeEngine[]} engines */
function heard(engines) {
  const [first, ...others] = engines.map(({ memories }) => [...memories.values()]);
  for (const other of others) assert.deepEqual(other, first);
  return first;
}

for (const shards of [1, 3]) {
  test(`sessions on ${shards} shards: apart, copied, saved, taken back, disposed`, async (t) => {
    const { model, engines } = await fakeCrew(t, shards);
    const first = await model.session();
    const second = await model.session();
    const ask = { prompt: '2 tokens' };
    await Promise.all([first.completions.create(ask), model.completions.create(ask), first.completions.create(ask)]);
    assert.deepEqual(heard(engines), [1, 2, 0]);

    const copy = await first.clone();
    await copy.completions.create(ask);
    assert.deepEqual(heard(engines), [1, 2, 0, 3]);
    const saved = await copy.save();
    assert.equal(saved.size, 2 * shards);
    await second.restore(saved);
    assert.deepEqual(heard(engines), [1, 2, 3, 3]);
    await second.completions.create(ask);
    assert.deepEqual(heard(engines), [1, 2, 3, 4]);
    const third = await model.session({ from: await saved.arrayBuffer() });
    assert.equal(await third.prefill({ messages: [{ role: 'user', content: '1 tokens' }] }), 5);

    await first.dispose();
    await first.dispose();
    await assert.rejects(first.completions.create(ask), { code: 'closed' });
    await assert.rejects(first.save(), { code: 'closed' });
    assert.deepEqual(heard(engines), [1, 3, 4, 4]);
    await model.completions.create(ask);
    assert.deepEqual(heard(engines), [2, 3, 4, 4]);
  });
}

test('what cannot be restored is refused with its code, and everything is as before', async (t) => {
  const { model, engines } = await fakeCrew(t, 3);
  const session = await model.session();
  await session.completions.create({ prompt: '2 tokens' });
  // The first two shards find their parts.
  const damaged = Uint8Array.of(0, 7, 1, 7, 9, 9);
  await assert.rejects(session.restore(damaged), { code: 'integrity' });
  await assert.rejects(model.session({ from: damaged }), { code: 'integrity' });
  assert.deepEqual(heard(engines), [0, 1]);
  await session.completions.create({ prompt: '2 tokens' });
  assert.deepEqual(heard(engines), [0, 2]);
  /** @type {any} */
  const wrong = { from: 7 };
  await assert.rejects(model.session(wrong), { code: 'invalid-argument' });
  await assert.rejects(model.session({ from: 'http://127.0.0.1:1/none' }), { code: 'network' });
});

test('a copy that fails on one shard leaves nothing on the others', async (t) => {
  const { model, engines } = await fakeCrew(t, 2);
  const session = await model.session();
  const [, follower] = engines;
  if (!follower) throw new Error('no engine');
  follower.copyMemory = () => {
    throw { code: 'out-of-memory', message: 'No.' };
  };
  const before = heard(engines);
  await assert.rejects(session.clone(), { code: 'out-of-memory' });
  assert.deepEqual(heard(engines), before);
  await session.completions.create({ prompt: '2 tokens' });
});
