// The page itself, as a visitor uses it.

import assert from 'node:assert/strict';
import path from 'node:path';
import { launch, modelRequests, ROOT, serve, TINY } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { folderOf, replaced, tinyModel } from './support/files.mjs';
import { RECITING } from './support/page.mjs';

const test = testWith('locators');

/** @typedef {import('playwright-core').Page} Page */

/**
 * Opens the page and waits until its model is loaded, or until a problem is shown.
 * @param {{ context: import('playwright-core').BrowserContext }} browser
 * @param {string} address
 */
async function visit(browser, address) {
  const opened = await openPage(browser, address);
  await opened.page.waitForSelector('#send:enabled, .problem:not([hidden])');
  return opened;
}

/**
 * Opens the page, and listens to what it complains about.
 * @param {{ context: import('playwright-core').BrowserContext }} browser
 * @param {string} address
 */
async function openPage({ context }, address) {
  const page = await context.newPage();
  /** @type {string[]} */
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(address);
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
      `${server.url}${RECITING}`,
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
  const { page } = await visit(await launch(t), `${server.url}${RECITING}`);
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
  await page.click('#models button:has-text("tiny-chat")');
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

test('a question can be asked again and asked differently; thoughts are folded away; a system prompt counts', async (t) => {
  const server = await serve(t);
  const { page } = await visit(await launch(t), `${server.url}${RECITING}`);
  await ask(page, 'What is Fanlight?');
  const first = await page.innerText('.answer-text');
  await page.click('.answer-foot button:has-text("Again")');
  await page.waitForSelector('.answer:not([aria-busy])');
  assert.equal(await page.locator('.message').count(), 2);
  assert.equal(await page.innerText('.answer-text'), first);

  await ask(page, 'Recite a poem.');
  await page.click('#chat-options summary');
  await page.selectOption('#thinking', 'on');
  await page.click('.question button >> nth=0');
  await page.fill('.edit textarea', 'Which is larger, 9.9 or 9.11?');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.answer .facts:has-text("tokens/s")');
  assert.equal(await page.locator('.message').count(), 2); // what came after it is gone
  assert.match(await page.innerText('.answer-text'), /^9\.9 is larger than 9\.11/);
  assert.match(await page.innerText('.thoughts summary'), /^Thought for \d+ s$/);
  assert.equal(await page.isVisible('.thoughts-text'), false);
  await page.click('.thoughts summary');
  assert.match(await page.innerText('.thoughts-text'), /^Both numbers have a 9/);

  await page.click('#new-chat');
  await page.selectOption('#thinking', '');
  await page.fill('#system', 'Answer in one short sentence.');
  assert.equal(await ask(page, 'What is Fanlight?'), 'Fanlight runs language models inside a web page.');
});

test('a tool that was allowed is called, and the call can be looked at', async (t) => {
  const server = await serve(t);
  const { page } = await visit(await launch(t), `${server.url}www/?model=${encodeURIComponent(TINY)}`);
  await page.click('#chat-options summary');
  await page.check('#tools input[value=get_weather]');
  assert.equal(await ask(page, 'What is the weather in Lisbon?'), 'It is sunny in Lisbon, at 21 °C.');
  assert.equal(await page.innerText('.call summary'), 'Calls get_weather');
  assert.match(String(await page.textContent('.call')), /"city": ?"Lisbon".*"celsius": ?21/s);
});

test('settings hold from the next load, and over visits', async (t) => {
  const server = await serve(t);
  const { page } = await visit(await launch(t), `${server.url}${RECITING}`);
  await page.click('#open-settings');
  await page.fill('#set-contextLength', '256');
  await page.fill('#set-threads', '2');
  await page.click('#settings-form button:has-text("Load the model again")');
  await page.waitForFunction(() => /2 workers.* 256 tokens/.test(document.querySelector('#mode')?.textContent ?? ''));
  await page.reload();
  await page.waitForFunction(() => /2 workers.* 256 tokens/.test(document.querySelector('#mode')?.textContent ?? ''));
  await page.click('#open-settings');
  await page.click('#settings-form button:has-text("Everything as it was")');
  assert.equal(await page.inputValue('#set-contextLength'), '');
});

test('a download pauses and goes on where it was; the shelf shows what is kept, and removes it', async (t) => {
  const server = await serve(t);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { bytesPerSecond: 300_000 } : undefined);
  const { page } = await openPage(await launch(t), `${server.url}${RECITING}`);
  // What goes on is whole blocks of 256 KiB.
  await page.waitForFunction(() => /([5-9]\d\d kB|[12]\.\d MB) of 2\.4 MB/.test(document.querySelector('#loading-detail')?.textContent ?? ''));
  await page.click('#loading-pause');
  await page.waitForSelector('#loading-resume:visible');
  assert.match(await page.innerText('#loading-phase'), /^Paused/);
  server.fault = () => undefined;
  await page.click('#loading-resume');
  await page.waitForSelector('#send:enabled');
  const ranges = modelRequests(server).map(({ headers }) => headers.range);
  assert.ok(ranges.some((range) => range && !range.startsWith('bytes=0-')), ranges.join());

  await page.click('#choose');
  await page.waitForSelector('.model-state:has-text("kept here")');
  await page.click('[aria-label^="Remove tiny-chat"]');
  await page.waitForSelector('.model-state', { state: 'detached' });
  assert.match(await page.innerText('#shelf-storage'), /^Models take 0 kB/);
});

test('the shelf says whether a file fits, before it is fetched', async (t) => {
  const server = await serve(t);
  const { page } = await visit(await launch(t), `${server.url}www/?model=/missing.gguf`);
  await page.click('#choose');
  await page.fill('#address', `${server.url}${TINY.slice(1)}`);
  await page.click('[aria-label="Will it fit? this file"]');
  await page.waitForSelector('#by-address [role=status]:has-text("tokens of context")');
  assert.match(await page.innerText('#by-address [role=status]'), /^Yes: at most \d+ MB of memory and 2\.4 MB of storage, for 2,048 tokens/);
  await page.fill('#address', `${server.url}www/index.html`);
  await page.click('[aria-label="Will it fit? this file"]');
  await page.waitForSelector('#by-address [role=status]:has-text("No.")');
});
