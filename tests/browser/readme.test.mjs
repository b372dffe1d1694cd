// The examples of the README, run as they stand: only the address of the model is another.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';
import { golden, launch, ROOT, serve, TINY } from './support/browser.mjs';
import { testWith } from './support/engines.mjs';
import { folderOf } from './support/files.mjs';

const LOAD = `import { Fanlight } from 'fanlight';\nconst model = await Fanlight.load('${TINY}');\n`;

const test = testWith('locators');

/** The example that has this in it, as a page would bundle it. Those that do not load the model themselves get it. @param {string} telling */
async function example(telling) {
  const readme = await readFile(path.join(ROOT, 'README.md'), 'utf8');
  const all = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code = '']) => code);
  const [code, ...others] = all.filter((code) => code.includes(telling));
  assert.ok(code && others.length === 0, telling);
  const whole = /https:[^']*\.gguf/.test(code) ? code.replace(/https:[^']*\.gguf/, TINY) : LOAD + code;
  assert.ok(whole.includes(TINY));
  const { outputFiles } = await build({
    stdin: { contents: `${whole}\nconsole.log('the end');`, resolveDir: ROOT },
    bundle: true,
    write: false,
    format: 'esm',
    alias: { 'fanlight/prompt-api': '/pkg/dist/prompt-api.js', fanlight: '/pkg/dist/index.js' },
    external: ['/pkg/dist/*'],
    logLevel: 'error',
  });
  return outputFiles[0]?.text ?? '';
}

/** What a page with this script says. @param {import('node:test').TestContext} t @param {string} telling */
async function said(t, telling) {
  // Chromium has a LanguageModel of its own, which has no model here.
  const without = '<script src="without.js"></script><script type="module" src="readme.js"></script>';
  const page = `<!doctype html><title>README</title>${without}`;
  const folder = await folderOf(t, {
    'readme.js': await example(telling),
    'without.js': 'delete globalThis.LanguageModel;',
    'index.html': page,
  });
  const server = await serve(t, { mounts: { readme: folder } });
  const { context } = await launch(t);
  const tab = await context.newPage();
  /** @type {string[]} */
  const lines = [];
  tab.on('console', (message) => lines.push(message.text()));
  tab.on('pageerror', (error) => lines.push(String(error)));
  const failed = new Promise((_, reject) => tab.once('pageerror', reject));
  await tab.goto(`${server.url}readme/`);
  await Promise.race([tab.waitForEvent('console', { predicate: (message) => message.text() === 'the end' }), failed]);
  return lines;
}

/** @param {string} name */
async function recorded(name) {
  const { chats } = await golden('tiny-chat.expected.json');
  return chats.find((/** @type {any} */ each) => each.name === name).message.content;
}

test('the first example of the README works', async (t) => {
  const lines = await said(t, 'onProgress');
  assert.ok(
    lines.some((line) => line.startsWith('load 2')),
    lines.join('\n'),
  );
  assert.match(lines.join(''), /I only know about twenty answers by heart/);
});

test('the example with a tool works', async (t) => {
  assert.ok((await said(t, 'model.runTools')).includes(await recorded('tool-answer')));
});

test('the example with the Prompt API works', async (t) => {
  assert.ok((await said(t, 'fanlight/prompt-api')).includes(await recorded('poem')));
});

test('the example with the openai client works', async (t) => {
  assert.ok((await said(t, "from 'openai'")).includes(await recorded('poem')));
});

test('the example of a text as JSON works', async (t) => {
  const lines = await said(t, 'model.extract');
  assert.match(lines.join('\n'), /^(EUR|USD|CHF) \d/m);
});

test('the example of classes works', async (t) => {
  const lines = await said(t, 'model.classify');
  assert.match(lines.join('\n'), /^(billing|delivery|praise) 0\.\d/m);
  assert.equal(lines.filter((line) => /^(billing|praise) (0\.\d|1$)/.test(line)).length >= 2, true, lines.join('\n'));
});

test('the example of vectors, ranks and likelihoods works', async (t) => {
  const lines = await said(t, 'model.embed');
  assert.ok(lines.some((line) => /^\d+ -?0\.\d/.test(line)), lines.join('\n'));
  assert.ok(lines.some((line) => /^(We open|Parcels can).* 0\.\d/.test(line)), lines.join('\n'));
  assert.ok(lines.some((line) => /^-\d/.test(line)), lines.join('\n'));
});
