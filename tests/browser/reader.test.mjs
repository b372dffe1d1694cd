// The model that is part of the page, at work in its rooms. What is expected is what the texts say.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { readCsv } from '../../www/csv.js';
import { launch, serve } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { keptForLater, ready } from './support/page.mjs';

const test = testWith('locators');

/** @typedef {import('playwright-core').Page} Page */

/** @param {import('node:test').TestContext} t @param {string} room */
async function open(t, room) {
  const server = await serve(t);
  const { context } = await launch(t, { viewport: { width: 1280, height: 900 }, permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await ready(context, `${server.url}www/#/${room}`);
  assert.match(String(await page.textContent('#mode')), /Fanlight built-in/);
  return { server, page };
}

/** What a button saves. @param {Page} page @param {string} button */
async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return readFile(await download.path(), 'utf8');
}

/** Extracts from one of the page's documents. @param {Page} page @param {string} name */
async function extracted(page, name) {
  await page.click(`#doc-samples button:has-text("${name}")`);
  await page.click('#extract-start:enabled');
  await page.waitForSelector('#extract-stop', { state: 'hidden' });
  return JSON.parse(await saved(page, '#extract-json'));
}

/** @param {Page} page @param {string} text */
async function ask(page, text) {
  await page.fill('#question', text);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.answer:last-child:not([aria-busy])');
  return page.innerText('.answer:last-child .answer-text');
}

test('chat: it says what it is, and answers a question about a text', async (t) => {
  const { page } = await open(t, 'chat');
  await page.click('#suggestions button:first-child');
  await page.waitForSelector('.answer:not([aria-busy])');
  assert.match(await page.innerText('.answer-text'), /^Fanlight runs small language models inside a web page/);
  await page.click('#new-chat');
  await page.click('#suggestions button:has-text("(a receipt)")');
  await page.waitForSelector('.answer:not([aria-busy])');
  assert.match(await page.innerText('.answer-text'), /14\.05/);
  await page.click('#new-chat');
  assert.match(await ask(page, 'Who is the customer?\n\nHello,\nwhere is my parcel?\nRegards\nTilda Morven'), /Tilda Morven/);
});

test('extract: an invoice, also with the server gone and the page loaded again', async (t) => {
  const { server, page } = await open(t, 'extract');
  const wanted = { merchant: 'Varnholt Lighting Ltd', customer: 'Priya Osei', number: 'VL-7731', date: '2026-03-05', due: '2026-04-04', total: 217.2 };
  assert.deepEqual(await extracted(page, 'Invoice'), wanted);
  await keptForLater(page);
  await server.close();
  await page.reload();
  assert.deepEqual(await extracted(page, 'Invoice'), wanted);
});

test('classify: messages, one by one and as rows of a table', async (t) => {
  const { page } = await open(t, 'classify');
  await page.click('#class-texts button:has-text("Text 3")');
  await page.waitForSelector('.bars li');
  assert.equal(await page.innerText('.bars .name >> nth=0'), 'delivery');

  const csv = 'id,message\n1,"The app crashes, always"\n2,Thank you for the great help!\n3,Where is my parcel?\n';
  await page.setInputFiles('#class-file', { name: 'messages.csv', mimeType: 'text/csv', buffer: Buffer.from(csv) });
  await page.click('#classify-start:has-text("Classify 3 rows")');
  await page.waitForFunction(() => document.querySelectorAll('#class-rows tr').length === 3);
  await page.waitForSelector('#classify-stop', { state: 'hidden' });
  const rows = readCsv(await saved(page, '#class-save'));
  assert.deepEqual(rows.slice(1).map((row) => row[2]), ['bug', 'praise', 'delivery']);
});
