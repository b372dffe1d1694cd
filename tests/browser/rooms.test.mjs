// What the rooms have in common: they are reached by the keyboard, accessible in both themes, and there without the network.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { brotliCompressSync } from 'node:zlib';
import { launch, ROOT, serve } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { folderOf } from './support/files.mjs';
import { keptForLater, ready, RECITING } from './support/page.mjs';

const test = testWith('locators');

const ROOMS = ['chat', 'extract', 'classify', 'bench'];
const PANELS = ['choose', 'open-settings', 'open-private'];
const AXE = await readFile(path.join(ROOT, 'node_modules/axe-core/axe.min.js'), 'utf8');

for (const colorScheme of /** @type {const} */ (['light', 'dark'])) {
  test(`axe finds nothing in any room or panel, ${colorScheme}`, async (t) => {
    const server = await serve(t);
    const { context } = await launch(t, { colorScheme, viewport: { width: 1280, height: 800 } });
    const page = await ready(context, `${server.url}www/`);
    await page.evaluate(AXE);
    const check = async (/** @type {string} */ where) => {
      const { violations, passes } = await page.evaluate(() => Reflect.get(globalThis, 'axe').run());
      const found = violations.flatMap((/** @type {any} */ each) => each.nodes.map((/** @type {any} */ node) => [each.id, node.html]));
      assert.deepEqual(found, [], where);
      assert.ok(passes.length > 10, where);
    };
    await page.fill('#question', 'How do I use Fanlight in my own page?');
    await page.keyboard.press('Enter');
    await page.waitForSelector('.answer:not([aria-busy])');
    /** With something to look at. @type {Record<string, () => Promise<unknown>>} */
    const fill = {
      extract: async () => {
        await page.click('#doc-samples button:has-text("card")');
        await page.click('#extract-start');
        await page.waitForSelector('#extract-result dl');
        await page.waitForSelector('#extract-stop', { state: 'hidden' });
      },
      classify: async () => {
        await page.click('#classify-start');
        await page.waitForSelector('.bars li');
      },
    };
    for (const room of ROOMS) {
      await page.click(`nav a[href="#/${room}"]`);
      await page.waitForSelector(`#${room}:not([hidden])`);
      await fill[room]?.();
      await check(room);
      await page.setViewportSize({ width: 360, height: 740 });
      assert.equal(await page.evaluate('document.documentElement.scrollWidth > innerWidth'), false, room);
      await check(`${room}, narrow`);
      await page.setViewportSize({ width: 1280, height: 800 });
    }
    for (const panel of PANELS) {
      await page.click(`#${panel}`);
      await page.waitForSelector('dialog[open]');
      await check(panel);
      await page.keyboard.press('Escape');
    }
  });
}

test('the rooms are reached with the keyboard alone', async (t) => {
  const server = await serve(t);
  const { context } = await launch(t);
  const page = await ready(context, `${server.url}www/`);
  await page.evaluate(() => document.querySelector('nav a')?.parentElement?.querySelector('a')?.focus());
  for (const room of ROOMS) {
    await page.focus(`nav a[href="#/${room}"]`);
    await page.keyboard.press('Enter');
    await page.waitForSelector(`#${room}:not([hidden])`);
    assert.equal(await page.getAttribute(`nav a[href="#/${room}"]`, 'aria-current'), 'page');
    assert.equal(await page.locator('main > .room:visible').count(), 1);
  }
  await page.goBack();
  await page.waitForSelector(`#${ROOMS.at(-2)}:not([hidden])`);
});

test('the page works without the network, from the second visit on', async (t) => {
  const server = await serve(t);
  const { context } = await launch(t);
  const page = await ready(context, `${server.url}${RECITING}`);
  await keptForLater(page);
  await server.close();
  await page.reload();
  await page.waitForSelector('#send:enabled');
  await page.fill('#question', 'What is Fanlight?');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.answer:not([aria-busy])');
  assert.match(await page.innerText('.answer-text'), /^Fanlight runs small open language models/);
});

test('the private panel lists what the page asked for, and nothing after the model was ready', async (t) => {
  const server = await serve(t);
  const { context } = await launch(t);
  const page = await ready(context, `${server.url}${RECITING}`);
  await page.fill('#question', 'Recite a poem.');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.answer:not([aria-busy])');
  await page.click('#open-private');
  assert.match(await page.innerText('.verdict'), /^0 requests since the model was ready/);
  const listed = await page.textContent('#private-body');
  for (const name of ['/www/vendor/app.js', 'tiny-chat-q8_0.gguf']) assert.ok(listed?.includes(name), name);
  await page.evaluate(() => fetch('icon.svg?again'));
  await page.waitForFunction(() => document.querySelector('.verdict')?.textContent?.startsWith('1 request'));
});

test('what a first visit loads, without the engine, is at most 120 KB', async (t) => {
  const server = await serve(t);
  const { context } = await launch(t, { serviceWorkers: 'block' });
  await ready(context, `${server.url}www/`);
  const paths = [...new Set(server.requests.map(({ path }) => path))].filter((name) => /\.(js|css)$/.test(name));
  for (const name of ['style.css', 'vendor/app.js', 'vendor/fanlight/dist/index.js', 'vendor/fanlight/dist/worker.js']) {
    assert.ok(paths.includes(`/www/${name}`), paths.join('\n'));
  }
  let sum = 0;
  for (const name of paths) sum += brotliCompressSync(await readFile(path.join(ROOT, name))).length;
  console.log(`page JS and CSS: ${paths.length} files, ${sum} bytes with brotli`);
  assert.ok(sum <= 120_000, `${sum} bytes`);
});

test('the site that `make site` writes works from a folder of any host', async (t) => {
  const folder = await folderOf(t, {});
  await promisify(execFile)(process.execPath, [path.join(ROOT, 'tools/site.mjs'), '--out', path.join(folder, 'site')]);
  const server = await serve(t, { mounts: { somewhere: folder } });
  const { context } = await launch(t);
  const page = await ready(context, `${server.url}somewhere/site/`);
  const outside = server.requests.filter(({ path }) => !path.startsWith('/somewhere/site/'));
  assert.deepEqual(outside, []);
  await keptForLater(page);
  await server.close();
  await page.reload();
  await page.waitForSelector('#send:enabled');
  const manifest = await readFile(path.join(folder, 'site/manifest.webmanifest'), 'utf8');
  for (const { src } of JSON.parse(manifest).icons) await readFile(path.join(folder, 'site', src));
});
