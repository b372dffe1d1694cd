// The page itself, as a visitor uses it.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { launch, modelRequests, ROOT, serve, TINY } from './support/browser.mjs';
import { folderOf, replaced, tinyModel } from './support/files.mjs';

/** @typedef {import('playwright-core').Page} Page */

/**
 * Opens the page and waits until its model is loaded, or until a problem is shown.
 * @param {{ context: import('playwright-core').BrowserContext }} browser
 * @param {string} address
 */
async function visit({ context }, address) {
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(address);
  await page.waitForSelector('#send:enabled, .problem:not([hidden])');
  return { page, complaints };
}

/** @param {Page} page @param {string} text */
async function ask(page, text) {
  await page.fill('#question', text);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.answer:last-child:not([aria-busy])');
  return page.innerText('.answer:last-child .answer-text');
}

for (const width of [1200, 360]) {
  test(`the page loads its model and talks, ${width} pixels wide`, async (t) => {
    const server = await serve(t);
    const { page, complaints } = await visit(
      await launch(t, { viewport: { width, height: 740 } }),
      `${server.url}www/`,
    );
    assert.match(String(await page.textContent('#mode')), /tiny-chat · Q8_0 · 1 worker · relaxed SIMD/);
    await page.click('#suggestions button:first-child');
    await page.waitForSelector('.answer:not([aria-busy])');
    assert.match(String(await page.textContent('.answer-text')), /^Fanlight runs small open language models/);
    assert.match(
      String(await page.textContent('.answer-foot .facts')),
      /^\d+ tokens · [\d.]+ tokens\/s · first after [\d.]+ s$/,
    );
    assert.match(String(await ask(page, 'Recite a poem.')), /^Who has seen the wind\?\nNeither I nor you:/);
    assert.equal(await page.locator('.message').count(), 4);
    assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false);

    await page.click('#new-chat');
    assert.equal(await page.locator('.message').count(), 0);
    assert.deepEqual(complaints, []);
  });
}

test('the address of the page chooses the model and the mode', async (t) => {
  const server = await serve(t, { isolated: true });
  const address = `${server.url}www/?model=${encodeURIComponent(TINY)}&threads=2&build=simd128&contextLength=512`;
  const { page } = await visit(await launch(t), address);
  const mode = String(await page.textContent('#mode'));
  assert.match(mode, /2 workers over shared memory · SIMD · 512 tokens of context/);
});

test('an answer can be stopped, and the conversation goes on', async (t) => {
  const server = await serve(t);
  const { page } = await visit(await launch(t), `${server.url}www/`);
  await page.evaluate(() => {
    // As soon as the answer begins.
    const log = document.querySelector('#conversation') ?? document.body;
    new MutationObserver((_, observer) => {
      if (!log.querySelector('.answer-text')?.textContent) return;
      observer.disconnect();
      document.getElementById('stop')?.click();
    }).observe(log, { childList: true, characterData: true, subtree: true });
  });
  const stopped = String(await ask(page, 'Recite a poem.'));
  assert.equal(await page.textContent('.answer-foot .facts'), 'stopped');
  assert.ok(stopped.length > 0 && !stopped.includes('bow down their heads'), stopped);
  assert.match(String(await ask(page, 'What is Fanlight?')), /^Fanlight/);
});

test('a problem is shown with its code, and the page still works', async (t) => {
  const folder = await folderOf(t, { 'page.gguf': '<!DOCTYPE html><title>Sign in</title>' });
  const server = await serve(t, { mounts: { bad: folder } });
  const { page } = await visit(await launch(t), `${server.url}www/?model=/bad/page.gguf&contextLength=128`);
  assert.equal(await page.textContent('#load-problem code'), 'not-a-gguf');
  assert.match(String(await page.textContent('#load-problem p')), /web page.*resolve/);

  await page.click('#choose');
  await page.click('#models li:first-child button');
  await page.waitForSelector('#send:enabled');
  assert.equal(await page.isVisible('#load-problem'), false);
  await page.fill('#question', 'word '.repeat(500));
  await page.keyboard.press('Enter');
  await page.waitForSelector('#chat-problem:not([hidden])');
  assert.equal(await page.textContent('#chat-problem code'), 'context-full');
  assert.match(await page.inputValue('#question'), /^word word/); // to be shortened
  assert.match(String(await ask(page, 'Hello!')), /^Hello!/);
  assert.equal(await page.isVisible('#chat-problem'), false);
});

test('a model from a file: by the picker, and dropped on the page', async (t) => {
  const server = await serve(t);
  const { page } = await visit(await launch(t), `${server.url}www/?model=/missing.gguf`);
  assert.equal(await page.textContent('#load-problem code'), 'network');
  await page.click('#choose');
  await page.setInputFiles('#file', path.join(ROOT, TINY));
  await page.waitForSelector('#send:enabled');
  assert.match(String(await ask(page, 'What is Fanlight?')), /^Fanlight/);
  assert.deepEqual(modelRequests(server).length, 1); // the one that is missing

  await page.evaluate(async (url) => {
    const bytes = await (await fetch(url)).blob();
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], 'dropped.gguf'));
    for (const type of ['dragover', 'drop']) {
      dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
    }
  }, TINY);
  await page.waitForSelector('.message', { state: 'detached' }); // another model, another conversation
  await page.waitForSelector('#send:enabled');
  assert.match(String(await ask(page, 'What is Fanlight?')), /^Fanlight/);
});

test('what a model says is text, never markup that runs', async (t) => {
  // The token that begins the poem now spells the beginning of an element, and so does the model's name.
  const spelled = (/** @type {string} */ text) => `${String.fromCharCode(text.length)}\0\0\0\0\0\0\0${text}`;
  const name = '<img src=x onerr>!';
  const evil = replaced(await tinyModel(), spelled('Who'), spelled('<b>'));
  const folder = await folderOf(t, { 'evil.gguf': replaced(evil, 'Fanlight tiny-chat', name) });
  const server = await serve(t, { mounts: { bad: folder } });
  const { page } = await visit(await launch(t), `${server.url}www/?model=/bad/evil.gguf`);
  assert.ok(String(await page.textContent('#mode')).includes(name));
  assert.match(String(await ask(page, 'Recite a poem.')), /^<b> has seen the wind\?/);
  const question = '<script>document.title = "owned"</script><i>slanted</i>';
  await ask(page, question);
  assert.equal(await page.textContent('.question-text >> nth=1'), question);
  assert.equal(await page.locator('.message :is(b, i, script), #mode img').count(), 0);
  assert.equal(await page.title(), 'Fanlight');
});
