// The room Bench, and the page that programs measure with.

import assert from 'node:assert/strict';
import { launch, serve } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { ready } from './support/page.mjs';

const test = testWith('locators');

test('the room compares numbers of workers, by length of the context, and gives the numbers away', async (t) => {
  const server = await serve(t);
  const { context } = await launch(t, { permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await ready(context, `${server.url}www/`);
  await page.click('#suggestions button:first-child');
  await page.waitForSelector('.answer:not([aria-busy])');
  await page.click('nav a[href="#/bench"]');
  await page.fill('#bench-threads', '1, 2');
  await page.fill('#bench-lengths', '8, 32');
  await page.fill('#bench-predict', '4');
  await page.fill('#bench-runs', '1');
  await page.click('#bench-start');
  await page.waitForFunction(() => document.querySelector('#bench-status')?.textContent === 'Done');
  assert.deepEqual(
    await page.locator('#bench-rows th').allInnerTexts(),
    [1, 1, 2, 2].map((count) => `fanlight-builtin-q8_0, ${count} ${count === 1 ? 'worker' : 'workers'}`),
  );
  assert.equal(await page.locator('#bench-plots polyline').count(), 4);
  await page.click('#bench-copy');
  const { models, rows } = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  assert.deepEqual(models.map((/** @type {any} */ each) => each.shards), [1, 2]);
  assert.deepEqual(rows.map((/** @type {any} */ row) => row.context), [8, 32, 8, 32]);
  for (const { read, write, firstMs, memory } of rows) assert.ok(read > 0 && write > 0 && firstMs > 0 && memory > 2e6);
  await page.waitForFunction(() => document.body.dataset['status'] === 'ready'); // the model of the other rooms is back

  assert.equal(await page.locator('.message').count(), 2); // the conversation is still there

  await page.fill('#bench-lengths', '8, many');
  await page.click('#bench-start');
  await page.waitForSelector('#bench-problem:not([hidden])');
  assert.match(await page.innerText('#bench-problem'), /whole numbers with commas/);
});

test('bench.html has fanlightBench for programs', async (t) => {
  const server = await serve(t);
  const { context } = await launch(t);
  const page = await context.newPage();
  await page.goto(`${server.url}www/bench.html?threads=2&kvType=f16`);
  await page.waitForFunction(() => 'fanlightBench' in globalThis);
  const { prefill, decode, info } = await page.evaluate(() =>
    Reflect.get(globalThis, 'fanlightBench')({ model: 'models/tiny-chat-q8_0.gguf', threads: 1, promptTokens: 16, predict: 5, runs: 2 }),
  );
  assert.deepEqual([...prefill, ...decode].map((/** @type {any} */ each) => each.tokens), [16, 16, 4, 4]);
  assert.ok([...prefill, ...decode].every((/** @type {any} */ each) => each.ms > 0));
  assert.equal(info.shards, 1);
  assert.equal(info.kvType, 'f16', 'from the address');
  assert.match(String(await page.getAttribute('#room', 'href')), /^index\.html\?threads=2&kvType=f16#\/bench$/);
});
