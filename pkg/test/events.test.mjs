// What a model tells those who watch it.

import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { test } from 'node:test';
import { fakeCrew } from './support/fake-crew.mjs';

/** @typedef {import('../dist/events.js').ModelEvents} ModelEvents */

const NAMES = /** @type {const} */ (['request', 'started', 'first_token', 'answered', 'failed', 'closed']);

/** @param {import('../dist/model.js').Model} model */
function record(model) {
  /** @type {[string, any][]} */
  const heard = [];
  for (const name of NAMES) model.on(name, (event) => heard.push([name, event]));
  return heard;
}

test('the events of a request come in their order, and carry its numbers', async (t) => {
  const { model, engines } = await fakeCrew(t, 2);
  const heard = record(model);
  const answer = await model.completions.create({ prompt: '3 tokens' });
  for await (const _ of await model.chat.completions.create({ messages: [{ role: 'user', content: '2 tokens' }], stream: true }));
  const order = ['request', 'started', 'first_token', 'answered'];
  assert.deepEqual(
    heard.map(([name, { id, kind }]) => `${name} ${id} ${kind}`),
    [...order.map((name) => `${name} 1 completion`), ...order.map((name) => `${name} 2 chat`)],
  );
  const answered = heard[3]?.[1];
  assert.deepEqual([answered.finish_reason, answered.usage, answered.timings], ['stop', answer.usage, answer.timings]);
  const { timings } = answer;
  assert.ok(timings);
  assert.ok(timings.wait_ms >= 0 && timings.first_token_ms >= timings.wait_ms);
  const memory = engines.map((engine) => engine.memory.buffer.byteLength);
  assert.ok(timings.peak_bytes > 0);
  assert.equal(
    timings.peak_bytes,
    memory.reduce((bytes, each) => bytes + each),
  );
});

test('failures, aborts and the end are told', async (t) => {
  const { model, crew, kill } = await fakeCrew(t, 1);
  const heard = record(model);
  await assert.rejects(model.completions.create({ prompt: 'too long' }));
  const abort = new AbortController();
  const endless = model.completions.create({ prompt: '1 tokens, then endless' }, { signal: abort.signal });
  setTimeout(() => abort.abort(), 20);
  await assert.rejects(endless);
  kill(0);
  assert.ok(crew.ended);
  const told = heard.filter(([name]) => name === 'failed' || name === 'closed');
  assert.deepEqual(
    told.map(([name, { error }]) => `${name} ${error.code}`),
    ['failed context-full', 'failed aborted', 'closed worker-crashed'],
  );
});

test('a listener can go, and what one does wrong harms nobody', async (t) => {
  const { model } = await fakeCrew(t, 1);
  /** @type {unknown[]} */
  const reported = [];
  t.mock.method(console, 'error', (/** @type {unknown} */ error) => reported.push(error));
  let calls = 0;
  const off = model.on('answered', () => {
    calls += 1;
    throw new Error('on purpose');
  });
  await model.completions.create({ prompt: '1 tokens' });
  off();
  off();
  await model.completions.create({ prompt: '1 tokens' });
  assert.deepEqual([calls, reported.length], [1, 1]);
  const any = /** @type {any} */ (model);
  assert.throws(() => any.on('nothing', () => {}), { code: 'invalid-argument', message: /event/ });
  assert.throws(() => any.on('answered'), { code: 'invalid-argument', message: /listener/ });
});

test('the browser has the spans of a request in its own profile', async (t) => {
  const { model } = await fakeCrew(t, 1);
  performance.clearMeasures();
  await model.completions.create({ prompt: '3 tokens' });
  const spans = performance.getEntriesByType('measure').filter(({ name }) => name.startsWith('fanlight.'));
  assert.deepEqual(
    spans.map(({ name }) => name),
    ['fanlight.wait', 'fanlight.prompt', 'fanlight.answer'],
  );
  const [wait, prompt, answer] = spans;
  assert.ok(wait && prompt && answer);
  assert.ok(Math.abs(wait.startTime + wait.duration - prompt.startTime) < 0.01);
  assert.ok(Math.abs(prompt.startTime + prompt.duration - answer.startTime) < 0.01);
});
