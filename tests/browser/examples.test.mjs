// The examples that people start from: each runs as it stands, and is short enough to read.

import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { golden, launch, ROOT, serve, TINY } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { folderOf } from './support/files.mjs';

const test = testWith('locators');

/** @typedef {import('node:test').TestContext} TestContext */

const EXAMPLES = path.join(ROOT, 'www/examples');

/** A page with an example, and what it complained about. @param {TestContext} t @param {string} name */
async function open(t, name) {
  const server = await startFree(t, {});
  return visit(t, `${server.url}www/examples/${name}`);
}

/** Examples in one file have their script in the page, as people write them: not what a strict policy allows. @param {TestContext} t @param {Record<string, string>} mounts */
async function startFree(t, mounts) {
  const { startServer } = await import('../../tools/serve.mjs');
  const server = await startServer({ root: ROOT, mounts });
  t.after(() => server.close());
  return server;
}

/** @param {TestContext} t @param {string} address */
async function visit(t, address) {
  const { context } = await launch(t);
  const page = await context.newPage();
  page.on('pageerror', (error) => console.log(`${address}: ${error.message}`));
  await page.goto(address);
  return page;
}

/** @param {string} name */
async function recorded(name) {
  const { chats } = await golden('tiny-chat.expected.json');
  return chats.find((/** @type {any} */ each) => each.name === name).message.content;
}

/** A page with this script, bundled as an application would. @param {TestContext} t @param {string} contents */
async function bundled(t, contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: EXAMPLES, loader: 'jsx' },
    bundle: true,
    write: false,
    format: 'esm',
    jsx: 'automatic',
    define: { 'process.env.NODE_ENV': '"production"' },
    alias: { fanlight: '/pkg/dist/index.js' },
    external: ['/pkg/dist/index.js'],
    logLevel: 'error',
  });
  const page = '<!doctype html><title>Example</title><body><div id="root"></div><script type="module" src="app.js"></script>';
  const folder = await folderOf(t, { 'app.js': outputFiles[0]?.text ?? '', 'index.html': page });
  const server = await serve(t, { mounts: { app: folder } });
  return visit(t, `${server.url}app/`);
}

test('no example is longer than 60 lines', async () => {
  const entries = await readdir(EXAMPLES, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  assert.ok(files.length >= 5);
  for (const file of files) assert.ok((await readFile(file, 'utf8')).split('\n').length <= 61, file);
});

test('tools.html: the model calls a function of the page', async (t) => {
  const page = await open(t, 'tools.html');
  await page.click('#send:enabled');
  await page.waitForFunction(() => (document.querySelector('#answer')?.textContent ?? '').length > 1);
  assert.equal(await page.textContent('#calls li'), 'get_weather: Lisbon');
  assert.equal(await page.textContent('#answer'), await recorded('tool-answer'));
});

test('receipt.html: a receipt becomes JSON', async (t) => {
  const page = await open(t, 'receipt.html');
  await page.click('#read:enabled');
  await page.waitForFunction(() => document.title !== 'Receipt to JSON');
  const found = JSON.parse(String(await page.textContent('#json')));
  assert.deepEqual(Object.keys(found), ['merchant', 'date', 'total', 'currency']);
  assert.deepEqual([found.date, found.total, found.currency], ['2026-03-14', 14.05, 'EUR']);
});

test('classify.html: a message gets its class', async (t) => {
  const page = await open(t, 'classify.html');
  await page.click('#send:enabled');
  await page.waitForFunction(() => document.querySelector('#goes')?.textContent);
  assert.match(String(await page.textContent('#goes')), /^This goes to accounts \(\d+ % sure\)\.$/);
});

test('search.html: a paragraph finds itself', async (t) => {
  const page = await open(t, 'search.html');
  const text = 'A download that was interrupted goes on where it was.';
  await page.fill('#query', text);
  await page.click('#search:enabled');
  assert.equal(await page.textContent('#found li:first-child'), `1.00 ${text}`);
  assert.equal(await page.locator('#found li').count(), 3);
});

test('openai.js: the official client, unchanged', async (t) => {
  const page = await bundled(t, await readFile(path.join(EXAMPLES, 'openai.js'), 'utf8'));
  assert.equal(await page.textContent('p[data-done]'), await recorded('what-is-fanlight'));
});

test('vite-react/use-fanlight.jsx: a hook for React', async (t) => {
  const page = await bundled(
    t,
    `import { createRoot } from 'react-dom/client'; import { Ask } from './vite-react/use-fanlight.jsx';
     createRoot(document.getElementById('root')).render(<Ask url="${TINY}" />);`,
  );
  await page.fill('[name=question]', 'What is Fanlight?');
  await page.click('button');
  const answer = await recorded('what-is-fanlight');
  await page.waitForFunction((answer) => document.querySelector('p')?.textContent === answer, answer);
});

test('extension/: a model in the offscreen page of a browser extension', async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-extension-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(path.join(EXAMPLES, 'extension'), folder, { recursive: true });
  for (const part of ['dist', 'wasm']) await cp(path.join(ROOT, 'pkg', part), path.join(folder, 'fanlight', part), { recursive: true });
  await writeFile(path.join(folder, 'model.gguf'), await readFile(path.join(ROOT, TINY)));
  const { context } = await launch(t, { extension: folder });
  const worker = context.serviceWorkers()[0] ?? (await context.waitForEvent('serviceworker'));
  const page = await context.newPage();
  await page.goto(new URL('popup.html', worker.url()).href);
  await page.click('button');
  const answer = await recorded('what-is-fanlight');
  await page.waitForFunction((answer) => document.querySelector('#answer')?.textContent === answer, answer);
});
