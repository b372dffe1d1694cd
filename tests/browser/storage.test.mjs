// Downloads and what is left of them: later visits need no network, nothing is lost, nothing is mixed.

import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, MODES, modelRequests, ROOT, serve, TINY } from './support/browser.mjs';
import { skipsWithout } from './support/engines.mjs';
import { folderOf, replaced, splitInTwo, tinyModel } from './support/files.mjs';

const QUESTION = 'What is Fanlight?';
const ANSWER = /^Fanlight runs small open language models inside a web page\./;
const BLOCK = 1 << 18;

for (const { name, isolated, options } of MODES) {
  test(`a later visit needs no network, with ${name}`, async (t) => {
    const server = await serve(t, { isolated });
    const browser = await launch(t);
    const first = await Lab.open(browser, server);
    const { info, progress } = await first.load(TINY, options);
    assert.equal(info.source, 'network');
    assert.deepEqual([...new Set(progress.map((/** @type {any} */ { phase }) => phase))], ['download', 'load']);
    const { bytesPerSecond, etaSeconds, ...last } = progress.at(-1);
    assert.ok(bytesPerSecond >= 0);
    assert.equal(etaSeconds, 0);
    assert.equal(last.loaded, last.total);
    assert.equal(last.fromCache, false);
    const answer = await first.ask(QUESTION);
    assert.match(answer, ANSWER);
    assert.equal(modelRequests(server).length, 1);

    server.fault = ({ path }) => (path.endsWith('.gguf') ? { status: 500 } : undefined);
    await browser.restart();
    const second = await Lab.open(browser, server);
    const again = await second.load(TINY, options);
    assert.equal(again.info.source, 'storage');
    assert.ok(again.progress.every((/** @type {any} */ { fromCache }) => fromCache));
    assert.equal(await second.ask(QUESTION), answer);
    assert.equal(modelRequests(server).length, 1);
  });
}

test('nothing is requested once a model is loaded', async (t) => {
  if (skipsWithout(t, 'requests')) return;
  const server = await serve(t);
  const browser = await launch(t);
  const lab = await Lab.open(browser, server);
  await lab.load(TINY, { threads: 2 });
  await lab.page.waitForLoadState('networkidle'); // what schemas need comes with the model, and is not waited for
  const before = server.requests.length;
  /** @type {string[]} */
  const seen = [];
  browser.context.on('request', (request) => seen.push(request.url()));
  await browser.context.setOffline(true);
  assert.match(await lab.ask(QUESTION), ANSWER);
  await lab.get('stream', { messages: [{ role: 'user', content: QUESTION }], breakAfter: 3 });
  await lab.get('countTokens', 'Is anybody listening?');
  await lab.fail('chat', { messages: [] });
  const schema = { type: 'object', properties: { sky: { enum: ['blue', 'grey'] } }, required: ['sky'], additionalProperties: false };
  assert.match((await lab.get('model', ['extract', 'The sky is blue.', schema])).sky, /^(blue|grey)$/);
  const { text } = (await lab.get('complete', { prompt: 'Fanlight', regex: '[a-z]{3}', max_tokens: 9 })).choices[0];
  assert.match(text, /^[a-z]{3}$/);
  assert.equal((await lab.get('model', ['classify', ['Thank you!', 'Where is it?'], ['praise', 'delivery']])).length, 2);
  await lab.get('model', ['embed', ['a', 'b']]);
  await lab.get('model', ['rerank', 'a', ['b', 'c']]);
  await lab.get('model', ['score', 'a', ' b']);
  await lab.get('session', { name: 'talk', call: 'open' });
  await lab.get('session', { name: 'talk', call: 'chat', params: { messages: [{ role: 'user', content: QUESTION }] } });
  await lab.get('session', { name: 'talk', call: 'save' });
  await lab.get('session', { name: 'talk', call: 'restore', from: 'talk' });
  await lab.get('session', { name: 'talk', call: 'clone', params: 'other' });
  await lab.get('dispose');
  assert.deepEqual(seen, []);
  assert.equal(server.requests.length, before);
});

test('a download goes on after the tab was closed', async (t) => {
  const server = await serve(t);
  const browser = await launch(t);
  const first = await Lab.open(browser, server);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { stallAfter: 1_500_000 } : undefined);
  const killed = first.call('load', { source: TINY }).catch(() => {});
  await first.reached(1_400_000);
  await first.page.close();
  await killed;

  server.fault = () => undefined;
  const second = await Lab.open(browser, server);
  const { progress } = await second.load(TINY);
  assert.match(await second.ask(QUESTION), ANSWER);
  const [, resumed, ...more] = modelRequests(server);
  const start = Number(/^bytes=(\d+)-$/.exec(resumed?.headers.range ?? '')?.[1]);
  assert.equal(start, Math.floor(1_500_000 / BLOCK) * BLOCK);
  assert.match(String(resumed?.headers['if-range']), /^"/);
  assert.deepEqual(more, []);
  assert.equal(progress[0].loaded, start);
});

test('a download goes on after an abort, and after the connection broke', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { stallAfter: 1_000_000 } : undefined);
  const aborted = lab.call('load', { source: TINY, abort: 'download' });
  await lab.reached(900_000);
  await lab.call('abort', 'download');
  assert.equal((await aborted).error?.code, 'aborted');

  let cuts = 0;
  server.fault = ({ path }) => (path.endsWith('.gguf') && ++cuts <= 2 ? { cutAfter: 500_000 } : undefined);
  await lab.load(TINY);
  assert.match(await lab.ask(QUESTION), ANSWER);
  const starts = modelRequests(server).map(({ headers }) => Number(headers.range?.match(/\d+/)?.[0] ?? 0));
  assert.equal(starts.length, 4);
  assert.equal(starts[1], Math.floor(1_000_000 / BLOCK) * BLOCK);
  assert.deepEqual(
    starts,
    starts.toSorted((a, b) => a - b),
  );
});

test('a file that changes during the download is refused; the next try gets the new one', async (t) => {
  const tiny = await tinyModel();
  const folder = await folderOf(t, { 'model.gguf': tiny });
  const server = await serve(t, { mounts: { changing: folder } });
  const lab = await Lab.open(await launch(t), server);
  server.fault = ({ path: asked }) => {
    if (!asked.endsWith('.gguf')) return undefined;
    // Slowly: what a browser has received and not yet handed on is lost when the connection breaks.
    if (modelRequests(server).length === 1) return { cutAfter: 1_000_000, bytesPerSecond: 4_000_000 };
    writeFileSync(path.join(folder, 'model.gguf'), replaced(tiny, 'Fanlight tiny-chat', 'Fanlight tiny-chut'));
    utimesSync(path.join(folder, 'model.gguf'), new Date(), new Date(Date.now() + 60_000));
    return undefined;
  };
  const error = await lab.fail('load', { source: '/changing/model.gguf' });
  assert.equal(error.code, 'changed-file');
  const { info } = await lab.load('/changing/model.gguf');
  assert.equal(info.name, 'Fanlight tiny-chut');
  assert.match(await lab.ask(QUESTION), ANSWER);
});

test('a model of another site goes on, too, without asking that site for permission first', async (t) => {
  const models = await serve(t, { cors: true });
  const server = await serve(t, { isolated: true, models: models.url });
  const lab = await Lab.open(await launch(t), server);
  models.fault = () => (models.requests.length === 1 ? { cutAfter: 1_000_000, bytesPerSecond: 4_000_000 } : undefined);
  await lab.load(models.url + TINY.slice(1), { threads: 2 });
  assert.match(await lab.ask(QUESTION), ANSWER);
  assert.deepEqual(
    models.requests.map(({ method, headers }) => [method, headers.range !== undefined, headers['if-range']]),
    [
      ['GET', false, undefined],
      ['GET', true, undefined],
    ],
  );
});

test('a model in several files is one model', async (t) => {
  const [first = '', second = ''] = splitInTwo(await tinyModel());
  const folder = await folderOf(t, { 'tiny-00001-of-00002.gguf': first, 'tiny-00002-of-00002.gguf': second });
  const server = await serve(t, { mounts: { split: folder } });
  const lab = await Lab.open(await launch(t), server);
  const { info, progress } = await lab.load('/split/tiny-00001-of-00002.gguf', { threads: 2 });
  assert.equal(info.fileBytes, first.length + second.length);
  const downloads = progress.filter((/** @type {any} */ { phase }) => phase === 'download');
  assert.equal(downloads.at(-1).loaded, info.fileBytes);
  assert.equal(downloads.at(-1).total, info.fileBytes);
  assert.match(await lab.ask(QUESTION), ANSWER);
  assert.equal((await lab.load('/split/tiny-00001-of-00002.gguf')).info.source, 'storage');
  const [looks, whole] = [true, false].map((ranged) => modelRequests(server).filter(({ headers }) => (headers.range !== undefined) === ranged));
  assert.deepEqual([looks?.length, whole?.length], [2, 2], 'a look at the header of each, whether they fit, and then each once');

  await lab.page.setInputFiles('input', path.join(folder, 'tiny-00002-of-00002.gguf'));
  assert.equal((await lab.fail('load', { file: true })).code, 'invalid-argument'); // the other one is missing
});

test('two tabs that want the same file download it once', async (t) => {
  const server = await serve(t);
  const browser = await launch(t);
  const tabs = [await Lab.open(browser, server), await Lab.open(browser, server)];
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { bytesPerSecond: 4_000_000 } : undefined);
  const loaded = await Promise.all(tabs.map((lab) => lab.load(TINY)));
  assert.deepEqual(loaded.map(({ info }) => info.source).toSorted(), ['network', 'storage']);
  assert.ok(loaded.some(({ progress }) => progress.some((/** @type {any} */ { phase }) => phase === 'wait')));
  for (const lab of tabs) assert.match(await lab.ask(QUESTION), ANSWER);
  assert.equal(modelRequests(server).length, 1);
});

test('a tab that waits for another to download goes on when that one is closed', async (t) => {
  const server = await serve(t);
  const browser = await launch(t);
  const [first, second] = [await Lab.open(browser, server), await Lab.open(browser, server)];
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { stallAfter: 1_500_000 } : undefined);
  const closed = first.call('load', { source: TINY }).catch(() => {});
  await first.reached(1_400_000);
  const waiting = second.load(TINY);
  while ((await second.get('phase')) !== 'wait') await second.page.waitForTimeout(30);
  server.fault = () => undefined;
  await first.page.close();
  await closed;
  const { info } = await waiting;
  assert.equal(info.source, 'network');
  assert.match(await second.ask(QUESTION), ANSWER);
  const starts = modelRequests(server).map(({ headers }) => headers.range);
  assert.deepEqual(starts, [undefined, `bytes=${Math.floor(1_500_000 / BLOCK) * BLOCK}-`]);
});

test('a full disk is an answer, and memory a way out', async (t) => {
  if (skipsWithout(t, 'cdp')) return;
  const server = await serve(t);
  const browser = await launch(t);
  const lab = await Lab.open(browser, server);
  const session = await browser.context.newCDPSession(lab.page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: new URL(server.url).origin, quotaSize: 1_000_000 });
  const error = await lab.fail('load', { source: TINY });
  assert.equal(error.code, 'quota');
  assert.match(error.message, /cache: false/);
  await lab.load(TINY, { cache: false });
  assert.match(await lab.ask(QUESTION), ANSWER);
});

test('without the cache nothing is kept', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  for (const threads of [1, 2]) {
    const { info } = await lab.load(TINY, { cache: false, threads });
    assert.equal(info.source, 'network');
    assert.match(await lab.ask(QUESTION), ANSWER);
  }
  assert.equal(modelRequests(server).length, 2);
});

test("a visitor's file is read in place", async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.page.setInputFiles('input', path.join(ROOT, TINY));
  for (const threads of [1, 2]) {
    const { info } = await lab.load('', { file: true, threads });
    assert.equal(info.source, 'file');
    assert.match(await lab.ask(QUESTION), ANSWER);
  }
  assert.deepEqual(modelRequests(server), []);
});
