// What is in storage: listed, verified, mended, moved and removed.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, modelRequests, ROOT, serve, TINY } from './support/browser.mjs';
import { folderOf, splitInTwo, tinyModel } from './support/files.mjs';

const QUESTION = 'What is Fanlight?';
const ANSWER = /^Fanlight runs small open language models inside a web page\./;
const BLOCK = 1 << 18;
/** Single bits that are turned, one after the other. `make soak` turns 1,000. */
const FLIPS = Number(process.env.FLIPS ?? 12);

const tiny = await tinyModel();
const sha256 = createHash('sha256').update(tiny).digest();

test('damaged bytes are found while loading, and only their blocks are fetched again', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  const answer = await lab.ask(QUESTION);
  for (const threads of [1, 2]) {
    const places = [5, 3 * BLOCK + 100, tiny.length - 1];
    for (const at of places) await lab.get('flip', { at, bit: 6 });
    const { ok, damagedBlocks } = await lab.get('models', ['verify', TINY]);
    assert.deepEqual([ok, damagedBlocks], [false, 3]);

    const before = modelRequests(server).length;
    const { info } = await lab.load(TINY, { threads });
    assert.equal(await lab.ask(QUESTION), answer);
    assert.equal(info.source, 'network');
    const last = Math.floor((tiny.length - 1) / BLOCK) * BLOCK;
    assert.deepEqual(
      modelRequests(server)
        .slice(before)
        .map(({ headers }) => headers.range),
      [`bytes=0-${BLOCK - 1}`, `bytes=${3 * BLOCK}-${4 * BLOCK - 1}`, `bytes=${last}-`],
    );
    assert.equal((await lab.get('models', ['verify', TINY])).ok, true);
    assert.equal((await lab.load(TINY)).info.source, 'storage');
  }
});

test('damage that cannot be mended is an error, and what is sound is kept', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  await lab.get('flip', { at: tiny.length - 2, bit: 0 });
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { status: 404 } : undefined);
  assert.equal((await lab.fail('load', { source: TINY })).code, 'network');
  const [model] = await lab.get('models', ['list']);
  assert.equal(model.complete, false);
  server.fault = () => undefined;
  await lab.load(TINY);
  assert.equal(modelRequests(server).at(-1)?.headers.range, `bytes=${Math.floor(tiny.length / BLOCK) * BLOCK}-`);
  assert.match(await lab.ask(QUESTION), ANSWER);
});

test(`each of ${FLIPS} flipped bits is found`, async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  for (let flip = 0; flip < FLIPS; flip++) {
    const place = { at: Math.floor(((flip + 0.37) / FLIPS) * tiny.length), bit: flip % 8 };
    await lab.get('flip', place);
    const found = await lab.get('models', ['verify', TINY]);
    assert.deepEqual([found.ok, found.damagedBlocks], [false, 1], JSON.stringify(place));
    await lab.get('flip', place);
  }
  assert.equal((await lab.get('models', ['verify', TINY])).ok, true);
});

test('a file with another hash than asked for is refused, wherever it comes from', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  const other = `sha256-${createHash('sha256').update('another').digest('base64')}`;
  for (const options of [{}, { cache: false }]) {
    const error = await lab.fail('load', { source: TINY, integrity: other, ...options });
    assert.equal(error.code, 'integrity');
    assert.match(error.message, new RegExp(sha256.toString('hex')));
  }
  assert.deepEqual(await lab.get('models', ['list']), []);
  await lab.load(TINY, { integrity: `sha256-${sha256.toString('base64')}` });
  assert.equal((await lab.load(TINY, { integrity: `sha256-${sha256.toString('hex')}` })).info.source, 'storage');
  assert.equal((await lab.fail('load', { source: TINY, integrity: other })).code, 'integrity'); // not the stored one, either
  assert.equal((await lab.fail('load', { source: TINY, integrity: 'md5-abc' })).code, 'invalid-argument');
});

test('models are listed, exported, removed and imported', async (t) => {
  const [first = '', second = ''] = splitInTwo(tiny);
  const folder = await folderOf(t, { 'tiny-00001-of-00002.gguf': first, 'tiny-00002-of-00002.gguf': second });
  const server = await serve(t, { mounts: { split: folder } });
  const lab = await Lab.open(await launch(t), server);
  const SPLIT = '/split/tiny-00001-of-00002.gguf';
  assert.deepEqual(await lab.get('models', ['list']), []);
  await lab.load(TINY);
  await lab.load(SPLIT);

  const models = await lab.get('models', ['list']);
  const found = new Map(models.map((/** @type {any} */ model) => [new URL(model.url).pathname, model]));
  assert.deepEqual([...found.keys()].sort(), [SPLIT, TINY].sort());
  assert.equal(found.get(TINY).files[0].sha256, sha256.toString('hex'));
  for (const [address, total, files] of /** @type {const} */ ([
    [TINY, tiny.length, 1],
    [SPLIT, first.length + second.length, 2],
  ])) {
    const model = found.get(address);
    assert.deepEqual([model.bytes, model.totalBytes, model.complete, model.files.length], [total, total, true, files]);
  }
  const { modelBytes, usage, quota, persisted } = await lab.get('models', ['storage']);
  assert.equal(modelBytes, tiny.length + first.length + second.length);
  if (usage !== undefined) assert.ok(usage >= modelBytes && quota > usage, `${usage} of ${quota}`); // not every browser says
  assert.equal(typeof persisted, 'boolean');
  assert.deepEqual(await lab.get('models', ['export', SPLIT]), [first.length, second.length]);

  await lab.get('models', ['remove', SPLIT]);
  assert.equal(await lab.get('models', ['info', SPLIT]), undefined);
  await lab.get('models', ['clear']);
  assert.deepEqual(await lab.get('models', ['list']), []);

  await lab.page.setInputFiles('input', path.join(ROOT, TINY));
  const imported = await lab.get('models', ['import', 'https://models.example/tiny.gguf', '<file>']);
  assert.equal(imported.complete, true);
  assert.equal((await lab.load('https://models.example/tiny.gguf')).info.source, 'storage');
  assert.match(await lab.ask(QUESTION), ANSWER);

  // What reads images for a model belongs to it, and goes with it.
  const projector = 'https://models.example/mmproj-F16.gguf';
  await lab.get('models', ['import', projector, '<file>']);
  const [both, ...others] = await lab.get('models', ['list']);
  assert.deepEqual([both.url, both.files.length, both.bytes, others], ['https://models.example/tiny.gguf', 2, 2 * tiny.length, []]);
  await lab.get('models', ['remove', both.url]);
  assert.deepEqual(await lab.get('models', ['list']), []);
});

test('an unfinished download is listed, and can be removed', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  server.fault = ({ path }) => (path.endsWith('.gguf') ? { stallAfter: 1_000_000 } : undefined);
  const aborted = lab.call('load', { source: TINY, abort: 'download' });
  await lab.reached(900_000);
  assert.equal((await lab.fail('models', ['remove', TINY])).code, 'invalid-argument'); // while it is on its way
  await lab.call('abort', 'download');
  assert.equal((await aborted).error?.code, 'aborted');
  const part = await lab.get('models', ['info', TINY]);
  assert.deepEqual([part.bytes, part.totalBytes, part.complete], [3 * BLOCK, tiny.length, false]);
  await lab.get('models', ['remove', TINY]);
  assert.deepEqual(await lab.get('models', ['list']), []);
  server.fault = () => undefined;
  await lab.load(TINY);
  assert.equal(modelRequests(server).at(-1)?.headers.range, undefined);
});
