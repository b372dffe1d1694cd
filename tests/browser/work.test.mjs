// The rooms Extract and Classify, driven as a visitor drives them.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { readCsv } from '../../www/csv.js';
import { launch, ROOT, serve } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { keptForLater, ready } from './support/page.mjs';

const test = testWith('locators');

/** @typedef {import('playwright-core').Page} Page */

const KEYS = ['name', 'title', 'company', 'email', 'phone'];

/** @param {import('node:test').TestContext} t @param {string} room */
async function open(t, room) {
  const server = await serve(t);
  const { context } = await launch(t, { viewport: { width: 1280, height: 900 } });
  const page = await ready(context, `${server.url}www/#/${room}`);
  return { server, page };
}

/** What a button saves. @param {Page} page @param {string} button */
async function saved(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click(button)]);
  return readFile(await download.path(), 'utf8');
}

/** Until nothing is being worked on; fails with the problem that is shown. @param {Page} page @param {string} stop */
async function done(page, stop) {
  await page.waitForSelector(stop, { state: 'hidden' });
  const problem = page.locator('.problem:visible');
  if (await problem.count()) throw new Error(await problem.innerText());
}

/** @param {any} found as the schema of the business card wants it */
function assertCard(found) {
  assert.deepEqual(Object.keys(found), KEYS);
  for (const value of Object.values(found)) assert.ok(value === null || (typeof value === 'string' && [...value].length <= 120));
}

test('a document becomes JSON that obeys the schema, also with the server gone and the page loaded again', async (t) => {
  const { server, page } = await open(t, 'extract');
  await page.click('#doc-samples button:has-text("card")');
  await page.click('#extract-start');
  await done(page, '#extract-stop');
  assert.match(await page.innerText('#extract-facts'), /^\d+ tokens in [\d.]+ s · \d+ of them forced by the schema/);
  assertCard(JSON.parse(await saved(page, '#extract-json')));
  const tree = await page.locator('#extract-result > dl > dt').allInnerTexts();
  assert.deepEqual(tree, KEYS);
  // As it was written, in two kinds of letters: nobody but the schema chose the names of the fields.
  assertCard(JSON.parse((await page.textContent('#extract-text')) ?? ''));
  const forced = (await page.locator('#extract-text .forced').allTextContents()).join('|');
  const chosen = (await page.locator('#extract-text b').allTextContents()).join('|');
  for (const key of KEYS.slice(1)) assert.ok(forced.includes(`${key}"`) && !chosen.includes(`${key}"`), `${forced} / ${chosen}`);

  await keptForLater(page);
  await server.close();
  await page.reload();
  await page.click('#doc-samples button:has-text("card")');
  await page.click('#extract-start:enabled');
  await done(page, '#extract-stop');
  assertCard(JSON.parse(await saved(page, '#extract-json')));
});

test('several documents, fields of one’s own, a schema of one’s own', async (t) => {
  const { page } = await open(t, 'extract');
  const names = ['one.txt', 'two.txt', 'three.txt'];
  await page.setInputFiles(
    '#doc-files',
    names.map((name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(`Shop ${name}, total 3.50`) })),
  );
  await page.waitForSelector('.item >> nth=2');
  for (const name of ['items', 'tax', 'total', 'currency']) await page.click(`[aria-label="Remove ${name}"]`);
  await page.click('#schema-add');
  await page.keyboard.type('paid');
  await page.selectOption('#schema-rows li:last-child select', 'boolean');
  await page.click('#extract-start');
  await done(page, '#extract-stop');
  assert.deepEqual(await page.locator('.item span:last-child').allInnerTexts(), ['done', 'done', 'done']);
  const rows = readCsv(await saved(page, '#extract-csv'));
  assert.deepEqual(rows[0], ['document', 'merchant', 'date', 'paid']);
  assert.deepEqual(rows.slice(1).map(([name]) => name), names);
  assert.ok(rows.slice(1).every(([, , , paid]) => paid === '' || paid === 'true' || paid === 'false'));

  await page.click('summary:has-text("As JSON Schema")');
  await page.fill('#schema-text', '{"type": "object", "properties": {"ok": {"enum": ["yes"]}}, "required": ["ok"]');
  await page.click('#extract-start');
  await page.waitForSelector('#extract-problem:not([hidden])');
  assert.match(await page.innerText('#extract-problem'), /The schema is not JSON/);
  await page.fill('#schema-text', '{"type": "object", "properties": {"ok": {"enum": ["yes"]}}, "required": ["ok"], "additionalProperties": false}');
  await page.click('#extract-start');
  await done(page, '#extract-stop');
  const found = JSON.parse(await saved(page, '#extract-json'));
  assert.deepEqual(found, names.map((document) => ({ document, ok: 'yes' })));
});

test('an image is read in the page', async (t) => {
  if (!existsSync(path.join(ROOT, 'www/vendor/ocr/eng.traineddata'))) {
    return console.log('SKIPPED: the browser test that reads an image (no eng.traineddata on this machine)');
  }
  const { server, page } = await open(t, 'extract');
  const drawn = await page.evaluate(() => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [640, 240];
    const paper = canvas.getContext('2d');
    if (!paper) throw new Error('no canvas');
    paper.fillStyle = 'white';
    paper.fillRect(0, 0, 640, 240);
    paper.fillStyle = 'black';
    paper.font = '40px sans-serif';
    ['Harbour Street Bakery', 'Rye bread 3.80', 'TOTAL 14.05'].forEach((line, at) => paper.fillText(line, 30, 60 + 65 * at));
    return canvas.toDataURL('image/png').split(',')[1] ?? '';
  });
  assert.ok(!server.requests.some(({ path }) => path.includes('/ocr/'))); // not before it is needed
  await page.setInputFiles('#doc-files', { name: 'receipt.png', mimeType: 'image/png', buffer: Buffer.from(drawn, 'base64') });
  await page.waitForFunction(() => {
    const text = document.querySelector('#doc-text');
    return (text instanceof HTMLTextAreaElement && text.value.includes('TOTAL')) || document.querySelector('#item-problem:not([hidden])');
  });
  assert.equal((await page.inputValue('#doc-text')).replace(/\s+/g, ' '), 'Harbour Street Bakery Rye bread 3.80 TOTAL 14.05');
});

test('a file that is no text says so, and takes nothing with it; another schema begins anew', async (t) => {
  const { page } = await open(t, 'extract');
  const file = (/** @type {string} */ name, /** @type {string} */ text) => ({ name, mimeType: '', buffer: Buffer.from(text) });
  await page.setInputFiles('#doc-files', [file('bill.pdf', '%PDF-1.7 …'), file('bill.txt', 'Mirlo\nTOTAL 3.50')]);
  await page.waitForSelector('.item >> nth=1');
  assert.match(await page.innerText('#item-problem'), /bill\.pdf is neither text nor an image/);
  await page.focus('.item >> nth=1');
  await page.keyboard.press('Enter');
  assert.equal(await page.inputValue('#doc-text'), 'Mirlo\nTOTAL 3.50');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'bill.txtwaits'); // the focus stays in the list
  await page.click('#extract-start');
  await done(page, '#extract-stop');
  assert.deepEqual(await page.locator('.item span:last-child').allInnerTexts(), ['failed', 'done']);
  await page.selectOption('#schema-rows li:first-child select', 'choice');
  assert.deepEqual(await page.locator('.item span:last-child').allInnerTexts(), ['failed', 'waits']);
  await page.fill('#schema-rows li:first-child .more', ' , ');
  await page.click('#extract-start');
  await page.waitForSelector('#extract-problem:not([hidden])');
  assert.match(await page.innerText('#extract-problem'), /^Say what merchant has: cash, card, other, for example/);
});

test('a text gets its label with probabilities, and so do the rows of a table', async (t) => {
  const { page } = await open(t, 'classify');
  await page.fill('#labels', 'billing, bug, praise');
  await page.fill('#class-text', 'I was charged twice.');
  await page.click('#classify-start');
  await page.waitForSelector('.bars li');
  const shares = (await page.locator('.bars .share').allInnerTexts()).map(Number.parseFloat);
  assert.equal(shares.length, 3);
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 100) < 0.2, shares.join());
  assert.deepEqual(shares, [...shares].sort((a, b) => b - a));
  assert.deepEqual((await page.locator('.bars .name').allInnerTexts()).sort(), ['billing', 'bug', 'praise']);

  const csv = 'id,message\n1,"It crashes, always"\n2,Thank you!\n3,Where is my money?\n';
  await page.setInputFiles('#class-file', { name: 'messages.csv', mimeType: 'text/csv', buffer: Buffer.from(csv) });
  await page.click('#classify-start:has-text("Classify 3 rows")');
  await page.waitForFunction(() => document.querySelectorAll('#class-rows tr').length === 3);
  await done(page, '#classify-stop');
  const rows = readCsv(await saved(page, '#class-save'));
  assert.deepEqual(rows[0], ['id', 'message', 'label', 'probability']);
  assert.deepEqual(rows.slice(1).map(([id, message]) => [id, message]), [['1', 'It crashes, always'], ['2', 'Thank you!'], ['3', 'Where is my money?']]);
  for (const [, , label = '', probability = ''] of rows.slice(1)) {
    assert.ok(['billing', 'bug', 'praise'].includes(label));
    assert.ok(Number(probability) >= 1 / 3 - 1e-3 && Number(probability) <= 1);
  }
});

test('rows without text get no label, and another table takes the place of the one at work', async (t) => {
  const { page } = await open(t, 'classify');
  const csv = (/** @type {string[]} */ rows) => ({ name: 'table.csv', mimeType: 'text/csv', buffer: Buffer.from(`id,message\n${rows.join('\n')}\n`) });
  const many = Array.from({ length: 200 }, (_, at) => `${at},I was charged ${at} times this month and want my money back`);
  await page.setInputFiles('#class-file', csv(many));
  await page.click('#classify-start:has-text("Classify 200 rows")');
  await page.waitForSelector('#class-rows tr');
  await page.setInputFiles('#class-file', csv(['a,Thank you!', 'b,', 'c,It crashes']));
  await page.click('#classify-start:has-text("Classify 3 rows"):enabled');
  await page.waitForFunction(() => document.querySelectorAll('#class-rows tr').length === 3);
  await done(page, '#classify-stop');
  const rows = readCsv(await saved(page, '#class-save')).slice(1);
  assert.deepEqual(rows.map(([id]) => id), ['a', 'b', 'c']);
  assert.deepEqual(rows.map(([, , label]) => label !== ''), [true, false, true]);
});

test('a context that was set for a larger model does not keep the first one from loading', async (t) => {
  const { page, server } = await open(t, 'chat');
  await page.evaluate(() => localStorage.setItem('fanlight-settings', '{"contextLength":4096}'));
  await page.goto(`${server.url}www/?again#/chat`);
  await page.waitForFunction(() => document.body.dataset['status'] === 'ready');
  assert.match(String(await page.textContent('#mode')), /1,024 tokens of context/);
  assert.equal(await page.isDisabled('#tools input >> nth=0'), true); // it calls none
});
