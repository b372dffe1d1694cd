// One model for all tabs: loaded once, asked in turns, taken over when its tab is closed.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lab, launch, modelRequests, serve, TINY } from './support/browser.mjs';

const QUESTION = 'What is Fanlight?';
const ANSWER = /^Fanlight runs small open language models inside a web page\./;
const options = { share: true, threads: 1 };

test('tabs share a model, and one takes over when the other is closed', async (t) => {
  const server = await serve(t);
  const browser = await launch(t);
  const [first, second, third] = [
    await Lab.open(browser, server),
    await Lab.open(browser, server),
    await Lab.open(browser, server),
  ];
  const { info } = await first.load(TINY, options);
  const started = await second.get('workersStarted');
  for (const lab of [second, third]) {
    const joined = await lab.load(TINY, options);
    assert.deepEqual(joined.info, info);
    assert.deepEqual(joined.progress.map((/** @type {any} */ { phase }) => phase), ['wait']);
  }
  assert.equal(await second.get('workersStarted'), started, 'a worker of its own');
  assert.equal(modelRequests(server).length, 1);
  const whole = await first.ask('Recite a poem.');
  const answers = await Promise.all([first.ask(QUESTION), second.ask('Recite a poem.'), third.ask(QUESTION)]);
  assert.match(answers[0] ?? '', ANSWER);
  assert.equal(answers[1], whole);
  assert.match(answers[2] ?? '', ANSWER);
  assert.equal(await second.get('countTokens', 'Is anybody listening?'), await first.get('countTokens', 'Is anybody listening?'));
  const { chunks } = await third.get('stream', { messages: [{ role: 'user', content: QUESTION }], temperature: 0 });
  assert.match(chunks.map((/** @type {any} */ chunk) => chunk.choices[0]?.delta.content ?? '').join(''), ANSWER);
  assert.equal((await second.fail('chat', { messages: [] })).code, 'invalid-argument');
  const aborted = await second.get('stream', { messages: [{ role: 'user', content: 'Recite a poem.' }], abortAfter: 3 });
  assert.equal(aborted.error.code, 'aborted');
  assert.equal(await second.ask('Recite a poem.'), whole);

  // Requests that had not begun when the tab went are answered by the next; one that had begun says so.
  const ends = await second.get('tokenize', ['<|im_end|><|endoftext|>', { special: true }]);
  const never = Object.fromEntries(ends.map((/** @type {number} */ id) => [id, -100]));
  const endless = second.get('stream', { prompt: 'Fanlight', temperature: 2, logit_bias: never });
  while ((await second.get('chunksSeen')) < 3) await second.page.waitForTimeout(20);
  const waiting = [second.ask(QUESTION), third.ask(QUESTION)];
  await second.page.waitForTimeout(100);
  await first.page.close();
  assert.equal((await endless).error.code, 'worker-crashed');
  for (const answer of waiting) assert.match(await answer, ANSWER);
  assert.equal(modelRequests(server).length, 1);

  await second.get('dispose'); // the last tab takes over
  assert.match(await third.ask(QUESTION), ANSWER);
  assert.equal((await second.fail('tokenize', ['a'])).code, 'closed');
});

test('a tab that is closed leaves no request behind', async (t) => {
  const server = await serve(t);
  const browser = await launch(t);
  const [first, second] = [await Lab.open(browser, server), await Lab.open(browser, server)];
  await first.load(TINY, options);
  await second.load(TINY, options);
  const ends = await second.get('tokenize', ['<|im_end|><|endoftext|>', { special: true }]);
  const never = Object.fromEntries(ends.map((/** @type {number} */ id) => [id, -100]));
  const endless = second.call('stream', { prompt: 'Fanlight', temperature: 2, logit_bias: never }).catch(() => {});
  while ((await second.get('chunksSeen')) < 3) await second.page.waitForTimeout(20);
  await second.page.close();
  assert.match(await first.ask(QUESTION), ANSWER); // its turn comes
  await endless;
});
