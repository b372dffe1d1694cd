// What a model will take is said before it is fetched, and what does not fit is refused before it is fetched.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, modelRequests, ROOT, serve, TINY } from './support/browser.mjs';
import { folderOf, replaced, splitInTwo, tinyModel } from './support/files.mjs';

const tiny = await tinyModel();

test('canRun says what the model then has, from its header alone', async (t) => {
  const [first = '', second = ''] = splitInTwo(tiny);
  const folder = await folderOf(t, { 'tiny-00001-of-00002.gguf': first, 'tiny-00002-of-00002.gguf': second });
  const server = await serve(t, { mounts: { split: folder } });
  const lab = await Lab.open(await launch(t), server);
  for (const source of [TINY, '/split/tiny-00001-of-00002.gguf']) {
    for (const threads of [1, 2]) {
      const before = modelRequests(server).length;
      const fit = await lab.get('canRun', { source, threads, contextLength: 300 });
      assert.equal(fit.runs, true, fit.reason);
      const asked = modelRequests(server).slice(before);
      assert.ok(asked.length > 0 || threads === 2);
      for (const { headers } of asked) assert.match(String(headers.range), /^bytes=0-\d+$/);

      const { info } = await lab.load(source, { threads, contextLength: 300 });
      const sum = (/** @type {string} */ field) => {
        return fit.model.shards.reduce((/** @type {number} */ bytes, /** @type {any} */ shard) => bytes + shard[field], 0);
      };
      assert.equal(sum('weightBytes'), info.weightBytes);
      assert.equal(sum('kvBytes'), info.kvBytes);
      assert.equal(sum('bufferBytes'), info.bufferBytes);
      assert.equal(sum('peakBytes'), fit.model.peakBytes);
      assert.ok(fit.model.peakBytes >= info.memoryBytes, `${fit.model.peakBytes} said, ${info.memoryBytes} taken`);
      assert.equal(fit.model.fileBytes, info.fileBytes);
      assert.equal(fit.model.contextLength, 300);
      assert.equal(fit.model.isHere, threads === 2);
    }
  }
  await lab.page.setInputFiles('input', path.join(ROOT, TINY));
  assert.equal((await lab.get('canRun', { file: true })).model.isHere, true);
});

test('what does not fit is refused with the numbers that canRun says, before it is fetched', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  const large = await lab.get('canRun', { source: TINY, threads: 1 });
  const memory = large.model.peakBytes - 1;
  const fit = await lab.get('canRun', { source: TINY, threads: 1, memory });
  assert.deepEqual([fit.runs, fit.limit, fit.code], [false, 'memory', 'out-of-memory']);
  const context = fit.model.largestContextLength;
  assert.ok(context > 0 && context < fit.model.contextLength, `${context}`);
  assert.equal((await lab.get('canRun', { source: TINY, threads: 1, memory, contextLength: context })).runs, true);
  assert.equal((await lab.get('canRun', { source: TINY, threads: 1, memory, contextLength: context + 1 })).runs, false);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { bytesPerSecond: 2_000_000 } : undefined);
  const error = await lab.fail('load', { source: TINY, threads: 1, memory });
  assert.equal(error.code, 'out-of-memory');
  assert.equal(error.message, fit.reason);
  assert.equal((await lab.fail('load', { source: TINY, threads: 1, memory, cache: false })).code, 'out-of-memory');
  const [stored] = await lab.get('models', ['list']);
  assert.ok(stored.bytes < tiny.length, `${stored.bytes} of ${tiny.length} were fetched`);
});

test('a split model, a stored one and a file of the visitor are refused likewise', async (t) => {
  const [first = '', second = ''] = splitInTwo(tiny);
  const folder = await folderOf(t, { 'tiny-00001-of-00002.gguf': first, 'tiny-00002-of-00002.gguf': second });
  const server = await serve(t, { mounts: { split: folder } });
  const lab = await Lab.open(await launch(t), server);
  const refused = async (/** @type {any} */ options) => {
    const { model } = await lab.get('canRun', { threads: 2, ...options });
    const memory = model.peakBytes - 1;
    const { reason } = await lab.get('canRun', { threads: 2, ...options, memory });
    const error = await lab.fail('load', { threads: 2, ...options, memory });
    assert.deepEqual([error.code, error.message], ['out-of-memory', reason]);
  };
  const split = '/split/tiny-00001-of-00002.gguf';
  await refused({ source: split });
  assert.deepEqual(await lab.get('models', ['list']), [], 'nothing of it was fetched');
  await lab.load(TINY, { threads: 2 });
  await refused({ source: TINY });
  await lab.page.setInputFiles('input', path.join(ROOT, TINY));
  await refused({ file: true });
});

test('what is stored of a download that broke off needs no more room', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  const needed = async () => (await lab.get('canRun', { source: TINY, threads: 1 })).model.storage.needed;
  assert.equal(await needed(), tiny.length);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { stallAfter: 1_500_000 } : undefined);
  const broken = lab.call('load', { source: TINY, abort: 'download' });
  await lab.reached(1_400_000);
  await lab.call('abort', 'download');
  assert.equal((await broken).error?.code, 'aborted');
  server.fault = () => undefined;
  const [{ bytes }] = await lab.get('models', ['list']);
  assert.ok(bytes >= 1 << 20, `${bytes}`);
  assert.equal(await needed(), tiny.length - bytes);
  await lab.load(TINY);
  assert.equal(await needed(), 0);
});

test('what the engine cannot run is said as well', async (t) => {
  const folder = await folderOf(t, {
    'page.gguf': '<!DOCTYPE html><html></html>',
    'mamba.gguf': replaced(
      tiny,
      'general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0qwen3',
      'general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba',
    ),
  });
  const server = await serve(t, { mounts: { bad: folder } });
  const lab = await Lab.open(await launch(t), server);
  for (const [source, code] of [
    ['/bad/page.gguf', 'not-a-gguf'],
    ['/bad/mamba.gguf', 'unsupported-architecture'],
  ]) {
    const fit = await lab.get('canRun', { source });
    assert.deepEqual([fit.runs, fit.limit, fit.code], [false, 'file', code]);
  }
  assert.equal((await lab.fail('canRun', { source: '/bad/missing.gguf' })).code, 'network');
  assert.equal((await lab.fail('canRun', { source: TINY, thread: 1 })).code, 'invalid-argument');
  // Nothing of a file that cannot run stays.
  assert.equal((await lab.fail('load', { source: '/bad/mamba.gguf' })).code, 'unsupported-architecture');
  assert.deepEqual(await lab.get('models', ['list']), []);
});
