// A site that was written anew while people use it: a page and its workers never are of two releases.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { launch, ROOT, serve } from './support/browser.mjs';
import { folderOf } from './support/files.mjs';
import { keptForLater, loaded, ready } from './support/page.mjs';

/** What is behind `const RELEASE = ` in a service worker. @param {string} text */
const releaseOf = (text) => JSON.parse(/^const RELEASE = (.*);$/m.exec(text)?.[1] ?? '');

test('a page stays of one release, and the next visit is of the new one', async (t) => {
  const folder = await folderOf(t, {});
  const site = path.join(folder, 'site');
  await promisify(execFile)(process.execPath, [path.join(ROOT, 'tools/site.mjs'), '--out', site]);
  const at = (/** @type {string} */ name) => path.join(site, name);
  const worker = await readFile(at('sw.js'), 'utf8');
  const release = releaseOf(worker);
  for (const name of ['index.html', 'vendor/app.js', 'vendor/fanlight/wasm/relaxed/fanlight_bg.wasm', 'examples/receipt.html']) {
    assert.equal(createHash('sha256').update(await readFile(at(name))).digest('hex').slice(0, 16), release.sums[name], name);
  }
  assert.ok(release.first.includes('index.html') && !release.first.some((/** @type {string} */ name) => /\.wasm$|^examples/.test(name)));

  const html = await readFile(at('index.html'), 'utf8');
  /** Another release, of which another page comes. @param {string} title @param {string} [says] what its list says of the page's sum */
  const publish = async (title, says) => {
    const page = html.replace(/<title>.*<\/title>/, `<title>${title}</title>`);
    const sum = says ?? createHash('sha256').update(page).digest('hex').slice(0, 16);
    const next = { ...release, name: title, sums: { ...release.sums, 'index.html': sum } };
    await writeFile(at('index.html'), page);
    await writeFile(at('sw.js'), worker.replace(/^const RELEASE = .*;$/m, () => `const RELEASE = ${JSON.stringify(next)};`));
  };
  const server = await serve(t, { mounts: { somewhere: folder } });
  const { context } = await launch(t);
  const address = `${server.url}somewhere/site/`;
  const first = await ready(context, address);
  await keptForLater(first);
  const was = await first.title();

  await publish('Next');
  /** @param {import('playwright-core').Page} page */
  const update = (page) =>
    page.evaluate(async () => {
      const registration = await navigator.serviceWorker.getRegistration();
      await registration?.update();
      const { installing } = registration ?? {};
      if (installing) await new Promise((resolve) => installing.addEventListener('statechange', resolve, { once: true }));
      return [registration?.waiting?.state, installing?.state];
    });
  assert.deepEqual(await update(first), ['installed', 'installed']);
  const text = (/** @type {string} */ name) => first.evaluate(async (name) => (await fetch(name)).text(), name);
  assert.match(await text('./index.html'), new RegExp(`<title>${was}</title>`));
  const second = await ready(context, address);
  assert.equal(await second.title(), was, 'the first page is still open');
  assert.equal(await first.title(), was);
  await second.close();
  await first.close();

  const third = await context.newPage();
  await third.goto(address);
  await third.waitForFunction(() => document.title === 'Next');
  await loaded(third);
  assert.deepEqual(await third.evaluate(async () => (await caches.keys()).map((name) => name.replace(/.* /, ''))), ['Next']);

  // Half of a release has arrived at the host: nothing of it is kept.
  await publish('Half', '0123456789abcdef');
  assert.deepEqual(await update(third), [undefined, 'redundant']);
  await server.close();
  await third.reload();
  await loaded(third);
  assert.equal(await third.title(), 'Next');
});
