// The page's half with the worker's half, over ports, around an engine that computes nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FanlightError } from '../dist/errors.js';
import { measureAt } from '../dist/header.js';
import { models } from '../dist/models.js';
import { spawnWorker } from '../dist/spawn.js';
import { fakeCrew } from './support/fake-crew.mjs';

const THREE = 't0 t1 t2 ';

/** @param {{ choices: { text: string }[] }} completion */
const textOf = (completion) => completion.choices.map(({ text }) => text).join('');

/** @param {AsyncIterable<{ choices: { text: string }[] }>} stream */
async function readAll(stream) {
  let text = '';
  for await (const chunk of stream) text += textOf(chunk);
  return text;
}

for (const shards of [1, 2, 3]) {
  test(`${shards} shards load and answer`, async (t) => {
    const { model, progress } = await fakeCrew(t, shards);
    assert.deepEqual(progress.at(-1), [30 * shards, 30 * shards]);
    assert.equal(textOf(await model.completions.create({ prompt: '3 tokens' })), THREE);
    assert.equal(await readAll(await model.completions.create({ prompt: '3 tokens', stream: true })), THREE);
  });
}

test('requests are answered in the order they came', async (t) => {
  const { model } = await fakeCrew(t, 2);
  /** @type {string[]} */
  const done = [];
  await Promise.all(
    ['9 tokens', '1 tokens', '3 tokens'].map(async (prompt) => {
      await model.completions.create({ prompt });
      done.push(prompt);
    }),
  );
  assert.deepEqual(done, ['9 tokens', '1 tokens', '3 tokens']);
});

test('a refused request rejects with its code, and the next one is answered', async (t) => {
  const { model, engines } = await fakeCrew(t, 2);
  await assert.rejects(model.completions.create({ prompt: 'too long' }), { code: 'context-full' });
  await assert.rejects(model.completions.create({ prompt: 'too long', stream: true }), { code: 'context-full' });
  await assert.rejects(model.completions.create({ prompt: '2 tokens, then refuse' }), { code: 'template' });
  assert.equal(textOf(await model.completions.create({ prompt: '3 tokens' })), THREE);
  assert.deepEqual(
    engines.map(({ cancelled }) => cancelled),
    [3, 3],
  );
});

for (const shards of [1, 3]) {
  test(`an abort rejects at once, and ${shards} shards are usable at once`, async (t) => {
    const { model, engines } = await fakeCrew(t, shards);
    const abort = new AbortController();
    const endless = model.completions.create({ prompt: '1 tokens, then endless' }, { signal: abort.signal });
    setTimeout(() => abort.abort('enough'), 30);
    await assert.rejects(endless, { code: 'aborted', cause: 'enough' });
    assert.equal(textOf(await model.completions.create({ prompt: '3 tokens' })), THREE);
    assert.deepEqual(
      engines.map(({ cancelled }) => cancelled),
      Array(shards).fill(1),
    );
  });
}

test('constraints are loaded by the first request that needs some, and again if that failed', async (t) => {
  let asked = 0;
  const { model, engines } = await fakeCrew(t, 2, async () => {
    asked += 1;
    if (asked === 1) throw new FanlightError('network', 'no');
    return new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
  });
  await model.completions.create({ prompt: '3 tokens' });
  assert.equal(asked, 0);
  await assert.rejects(model.completions.create({ prompt: '3 tokens', regex: 'a' }), { code: 'network' });
  assert.equal(textOf(await model.completions.create({ prompt: '3 tokens' })), THREE);
  for (const regex of ['a', 'b']) assert.equal(textOf(await model.completions.create({ prompt: '3 tokens', regex })), THREE);
  assert.equal(asked, 2);
  assert.deepEqual(engines.map(({ constraints }) => constraints !== undefined), [true, false]);
});

test('to break out of the loop stops the request', async (t) => {
  const { model, engines } = await fakeCrew(t, 2);
  let chunks = 0;
  for await (const _ of await model.completions.create({ prompt: '1 tokens, then endless', stream: true })) {
    if (++chunks === 3) break;
  }
  assert.equal(textOf(await model.completions.create({ prompt: '3 tokens' })), THREE);
  assert.deepEqual(
    engines.map(({ cancelled }) => cancelled),
    [1, 1],
  );
});

test('an aborted stream ends with an error, after the chunks that came', async (t) => {
  const { model } = await fakeCrew(t, 2);
  const abort = new AbortController();
  const stream = await model.completions.create({
    prompt: '1 tokens, then endless',
    stream: true,
    signal: abort.signal,
  });
  const reading = readAll(stream);
  setTimeout(() => abort.abort(), 30);
  await assert.rejects(reading, { code: 'aborted' });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test('a request that gives up while it waits is passed over', async (t) => {
  const { model } = await fakeCrew(t, 2);
  const abort = new AbortController();
  const first = model.completions.create({ prompt: '50 tokens' });
  const second = model.completions.create({ prompt: '3 tokens', signal: abort.signal });
  const third = model.completions.create({ prompt: '3 tokens' });
  abort.abort();
  await assert.rejects(second, { code: 'aborted' });
  assert.ok(textOf(await first).endsWith('t49 '));
  assert.equal(textOf(await third), THREE);
});

test('a request with a signal that has fired does not begin', async (t) => {
  const { model, engines } = await fakeCrew(t, 1);
  const signal = AbortSignal.abort();
  await assert.rejects(model.completions.create({ prompt: '3 tokens', signal }), { code: 'aborted' });
  await assert.rejects(model.completions.create({ prompt: '3 tokens', stream: true, signal }), { code: 'aborted' });
  assert.deepEqual(
    engines.map(({ cancelled }) => cancelled),
    [0],
  );
});

test('a trap in one shard ends all of them, and everything that waits', async (t) => {
  const { model, alive } = await fakeCrew(t, 3);
  const running = model.completions.create({ prompt: '3 tokens, then trap' });
  const waiting = model.completions.create({ prompt: '3 tokens' });
  await assert.rejects(running, { code: 'worker-crashed' });
  await assert.rejects(waiting, { code: 'worker-crashed' });
  await assert.rejects(model.tokenize('a'), { code: 'worker-crashed' });
  assert.equal(alive(), 0);
});

test('a trap while tokens are counted ends the model, too', async (t) => {
  const { model, alive, engines } = await fakeCrew(t, 2);
  const closed = new Promise((resolve) => model.on('closed', resolve));
  const [leader] = engines;
  if (!leader) throw new Error('no engine');
  leader.tokenize = () => {
    throw new WebAssembly.RuntimeError('unreachable');
  };
  await assert.rejects(model.countTokens('abc'), { code: 'worker-crashed' });
  await closed;
  assert.equal(alive(), 0);
});

test('a worker that the browser refuses, and arguments of another type, fail with their code', async (t) => {
  const { Worker } = globalThis;
  t.after(() => (globalThis.Worker = Worker));
  globalThis.Worker = /** @type {any} */ (function () {
    throw new DOMException('of another origin', 'SecurityError');
  });
  assert.throws(() => spawnWorker(), { code: 'unsupported-browser', message: /own origin/ });
  const { model } = await fakeCrew(t, 1);
  const nothing = /** @type {any} */ (undefined);
  await assert.rejects(model.detokenize(nothing), { code: 'invalid-argument', message: /^ids:/ });
  for (const files of [nothing, ['no file']]) {
    await assert.rejects(models.import('http://127.0.0.1:1/a.gguf', files), { code: 'invalid-argument', message: /^files:/ });
  }
});

test('a file that ends inside its header is malformed', async () => {
  const glue = /** @type {any} */ ({
    estimate: (/** @type {import('../dist/header.js').Beginning[]} */ [file]) => file?.read(100, new Uint8Array(10)),
  });
  const measuring = measureAt(glue, [new Blob(['GGUF and no more'])], () => ({ shards: 1 }), new AbortController().signal);
  await assert.rejects(measuring, { code: 'malformed-file', message: /ends at byte 16/ });
});

test('a model whose constraints never come can be disposed', async (t) => {
  const { model } = await fakeCrew(t, 2, () => new Promise(() => {}));
  const first = model.completions.create({ prompt: '3 tokens', regex: 'a' });
  const second = model.completions.create({ prompt: '3 tokens' });
  setTimeout(() => void model.dispose(), 30);
  await assert.rejects(first, { code: 'closed' });
  await assert.rejects(second, { code: 'closed' });
});

test('a worker that dies rejects what is pending', async (t) => {
  const { model, alive, kill } = await fakeCrew(t, 2);
  const stream = await model.completions.create({ prompt: '1 tokens, then endless', stream: true });
  setTimeout(() => kill(1), 30);
  await assert.rejects(readAll(stream), { code: 'worker-crashed', message: 'It died.' });
  await assert.rejects(model.completions.create({ prompt: '3 tokens' }), { code: 'worker-crashed' });
  assert.equal(alive(), 0);
});

test('dispose ends the workers; what is pending, and what comes later, rejects with closed', async (t) => {
  const { model, alive } = await fakeCrew(t, 2);
  const pending = model.completions.create({ prompt: '1 tokens, then endless' });
  setTimeout(() => void model.dispose(), 30);
  await assert.rejects(pending, { code: 'closed' });
  await assert.rejects(model.completions.create({ prompt: '3 tokens' }), { code: 'closed' });
  await assert.rejects(model.countTokens('abc'), { code: 'closed' });
  await model.dispose();
  assert.equal(alive(), 0);
});

test('tokens are counted while an answer is on its way', async (t) => {
  const { model } = await fakeCrew(t, 2);
  const abort = new AbortController();
  const endless = model.completions.create({ prompt: '1 tokens, then endless', signal: abort.signal });
  assert.deepEqual(await model.tokenize('abc'), [97, 98, 99]);
  assert.equal(await model.detokenize([100, 101]), 'de');
  assert.equal(await model.countTokens('abcd'), 4);
  abort.abort();
  await assert.rejects(endless, { code: 'aborted' });
});
