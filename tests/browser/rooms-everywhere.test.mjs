// The rooms of the page in any engine, driven by what every driver can do: a script in the page. Chromium's own tests drive them as a
// visitor does; here is seen that they work elsewhere, too.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { launch, serve } from './support/browser.mjs';

/** @typedef {import('playwright-core').Page} Page */

/** Asks the page again and again: its own rules forbid what a driver's waiting is made of. @param {Page} page @param {() => boolean} holds */
async function until(page, holds) {
  while (!(await page.evaluate(holds))) await sleep(50);
}

/** @param {import('node:test').TestContext} t @param {string} room */
async function open(t, room) {
  const { context } = await launch(t);
  const server = await serve(t);
  const page = await context.newPage();
  await page.goto(`${server.url}www/#/${room}`);
  await until(page, () => document.body.dataset['status'] === 'ready');
  return page;
}

/** Clicks the button in a part of the page that says so. @param {Page} page @param {string} within @param {string} [words] */
function click(page, within, words = '') {
  return page.evaluate(
    ([within, words]) => {
      const all = [...document.querySelectorAll(`${within} button, button${within}`)];
      const button = all.find((one) => one.textContent?.includes(String(words)));
      if (!(button instanceof HTMLButtonElement) || button.disabled) throw new Error(`no button ${words} in ${within}`);
      button.click();
    },
    [within, words],
  );
}

/** @param {Page} page @param {string} selector */
const read = (page, selector) => page.evaluate((selector) => document.querySelector(selector)?.textContent ?? '', selector);

test('chat: an answer about a text', async (t) => {
  const page = await open(t, 'chat');
  await click(page, '#suggestions', '(a receipt)');
  await until(page, () => document.querySelector('.answer:not([aria-busy])') !== null);
  assert.match(await read(page, '.answer-text'), /14\.05/);
});

test('extract: an invoice becomes JSON', async (t) => {
  const page = await open(t, 'extract');
  await click(page, '#doc-samples', 'Invoice');
  await until(page, () => document.querySelector('#extract-start:enabled') !== null);
  await click(page, '#extract-start');
  await until(page, () => document.querySelector('#extract-json:enabled') !== null);
  const wanted = { merchant: 'Varnholt Lighting Ltd', customer: 'Priya Osei', number: 'VL-7731', date: '2026-03-05', due: '2026-04-04', total: 217.2 };
  assert.deepEqual(JSON.parse(await read(page, '#extract-text')), wanted);
});

test('classify: a message gets its label, with probabilities', async (t) => {
  const page = await open(t, 'classify');
  await click(page, '#class-texts', 'Text 3');
  await until(page, () => document.querySelector('.bars li') !== null);
  assert.equal(await read(page, '.bars .name'), 'delivery');
});
