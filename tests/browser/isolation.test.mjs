// Isolation on a host that sends no headers: one line in the page, and the workers share memory.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, ROOT, serve, TINY } from './support/browser.mjs';
import { skipsWithout } from './support/engines.mjs';
import { folderOf } from './support/files.mjs';

test('the service worker isolates a page whose host sends no headers', async (t) => {
  if (skipsWithout(t, 'shared')) return;
  const blank = await readFile(path.join(ROOT, 'tests/browser/support/blank.html'), 'utf8');
  const page = blank.replace('<script', '<script src="/isolation.js"></script>\n    <script');
  const folder = await folderOf(t, {
    'index.html': page.replace('src="lab.js"', 'src="/tests/browser/support/lab.js"'),
  });
  const server = await serve(t, { mounts: { site: folder } });
  const script = await readFile(path.join(ROOT, 'pkg/static/isolation.js'), 'utf8');
  const headers = { 'Content-Type': 'text/javascript' };
  server.fault = ({ path }) => (path === '/isolation.js' ? { status: 200, body: script, headers } : undefined);
  const { context } = await launch(t);
  const lab = new Lab(await context.newPage());
  await lab.page.goto(`${server.url}site/`);
  const ready = () => globalThis.crossOriginIsolated && 'lab' in globalThis;
  while (!(await lab.page.evaluate(ready).catch(() => false))) await lab.page.waitForTimeout(50); // it loads once more meanwhile
  const { info } = await lab.load(TINY, { threads: 2 });
  assert.equal(info.transport, 'shared');
  assert.match(await lab.ask('What is Fanlight?'), /^Fanlight runs/);
});
