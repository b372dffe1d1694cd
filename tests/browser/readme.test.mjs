// The example of the README, run as it stands: only the address of the model is another.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { launch, ROOT, serve, TINY } from './support/browser.mjs';
import { folderOf } from './support/files.mjs';

test('the example of the README works', async (t) => {
  const readme = await readFile(path.join(ROOT, 'README.md'), 'utf8');
  const [, example = ''] = /```js\n(import .*?)```/s.exec(readme) ?? [];
  const script = example.replace("'fanlight'", "'/pkg/dist/index.js'").replace(/https:[^']*\.gguf/, TINY);
  assert.ok(script !== example && script.includes(TINY));
  const page = '<!doctype html><title>README</title><script type="module" src="readme.js"></script>';
  const folder = await folderOf(t, { 'readme.js': `${script}\nconsole.log('the end');`, 'index.html': page });
  const server = await serve(t, { mounts: { readme: folder } });
  const { context } = await launch(t);
  const tab = await context.newPage();
  /** @type {string[]} */
  const lines = [];
  tab.on('console', (message) => lines.push(message.text()));
  tab.on('pageerror', (error) => lines.push(String(error)));
  await tab.goto(`${server.url}readme/`);
  await tab.waitForEvent('console', { predicate: (message) => message.text() === 'the end' });
  assert.ok(
    lines.some((line) => line.startsWith('load 2')),
    lines.join('\n'),
  );
  assert.match(lines.join(''), /I only know about twenty answers by heart/);
});
