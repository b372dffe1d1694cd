// What goes wrong gets its code and a message that helps; what was loaded before goes on working.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';
import { Lab, launch, ROOT, serve, TINY } from './support/browser.mjs';
import { folderOf, replaced, retyped, tinyModel } from './support/files.mjs';

const messages = [{ role: 'user', content: 'What is Fanlight?' }];

test('files that are no model we can run', async (t) => {
  const tiny = await tinyModel();
  const folder = await folderOf(t, {
    'page.gguf': '<!DOCTYPE html>\n<html><title>Sign in</title></html>',
    'empty.gguf': '',
    'text.gguf': 'This is a text file.',
    'truncated.gguf': tiny.subarray(0, 1_000_000),
    'header-only.gguf': tiny.subarray(0, 1000),
    'mamba.gguf': replaced(
      tiny,
      'general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0qwen3',
      'general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba',
    ),
    'type-99.gguf': retyped(tiny, 'token_embd.weight', 99),
    'version-9.gguf': replaced(tiny, 'GGUF\x03\0\0\0', 'GGUF\x09\0\0\0'),
  });
  const server = await serve(t, { mounts: { bad: folder } });
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY);
  const answer = await lab.ask('What is Fanlight?');

  for (const [file, code, says] of /** @type {[string, string, RegExp][]} */ ([
    ['/bad/page.gguf', 'not-a-gguf', /web page/],
    ['/bad/missing.gguf', 'network', /404/],
    ['/bad/empty.gguf', 'not-a-gguf', /empty/],
    ['/bad/text.gguf', 'not-a-gguf', /begins with/],
    ['/bad/truncated.gguf', 'malformed-file', /./],
    ['/bad/header-only.gguf', 'malformed-file', /./],
    ['/bad/mamba.gguf', 'unsupported-architecture', /mamba/],
    ['/bad/type-99.gguf', 'unsupported-quantization', /99/],
    ['/bad/version-9.gguf', 'malformed-file', /9/],
    ['http://localhost:9/nobody.gguf', 'network', /could not be reached/],
    ['http://[', 'invalid-argument', /source/],
  ])) {
    for (const options of [{ threads: 1 }, { threads: 2, cache: false }]) {
      const error = await lab.fail('load', { source: file, ...options });
      assert.equal(error.code, code, `${file}: ${error.message}`);
      assert.equal(error.name, 'FanlightError');
      assert.match(error.message, says, file);
    }
    assert.equal(await lab.ask('What is Fanlight?'), answer, file);
  }
  await lab.load(TINY, { threads: 2 });
  assert.equal(await lab.ask('What is Fanlight?'), answer);
});

test('requests that cannot be answered', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  await lab.load(TINY, { threads: 2, contextLength: 256 });
  const answer = await lab.ask('What is Fanlight?');
  const long = [{ role: 'user', content: 'word '.repeat(2000) }];
  for (const [params, code, says] of /** @type {[object, string, RegExp][]} */ ([
    [{ messages: long }, 'context-full', /256/],
    [{ messages, temperature: -1 }, 'invalid-argument', /^temperature/],
    [{ messages, temprature: 1 }, 'invalid-argument', /^temprature/],
    [{ messages, stop: Array(17).fill('x') }, 'invalid-argument', /stop/],
    [{ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'invalid-argument', /image_url/],
  ])) {
    const whole = await lab.fail('chat', params);
    const streamed = (await lab.call('stream', params)).value;
    for (const error of [whole, streamed.error]) {
      assert.equal(error.code, code, `${JSON.stringify(params).slice(0, 80)}: ${error.message}`);
      assert.match(error.message, says);
    }
    assert.deepEqual(streamed.chunks, []);
    assert.equal(await lab.ask('What is Fanlight?'), answer);
  }
  assert.equal((await lab.fail('complete', { prompt: [0, 5000] })).code, 'invalid-argument');
  assert.equal((await lab.fail('complete', { prompt: '' })).code, 'invalid-argument');
  assert.equal((await lab.fail('detokenize', [5000])).code, 'invalid-argument');
  assert.equal(await lab.ask('What is Fanlight?'), answer);
});

test('a file with a broken template still goes on with texts', async (t) => {
  const folder = await folderOf(t, { 'broken.gguf': replaced(await tinyModel(), '{%- for', '{%- fro') });
  const server = await serve(t, { mounts: { bad: folder } });
  const lab = await Lab.open(await launch(t), server);
  await lab.load('/bad/broken.gguf');
  assert.equal((await lab.fail('chat', { messages })).code, 'template');
  const { usage } = await lab.get('complete', { prompt: 'Fanlight', max_tokens: 5 });
  assert.equal(usage.completion_tokens, 5);
});

test('a template that doubles a string ends its worker, soon and with a code, not the page', async (t) => {
  const template = await readFile(path.join(ROOT, 'training/tiny_chat/template.jinja'), 'utf8').then((text) => text.trimEnd());
  const bomb = "{% set b = namespace(s='0123456789') %}{% for i in range(99) %}{% set b.s = b.s ~ b.s %}{% endfor %}{{ b.s | length }}";
  const folder = await folderOf(t, { 'bomb.gguf': replaced(await tinyModel(), template, bomb.padEnd(template.length)) });
  const server = await serve(t, { mounts: { bad: folder } });
  const lab = await Lab.open(await launch(t), server);
  await lab.load('/bad/bomb.gguf', { threads: 2 });
  assert.equal((await lab.fail('chat', { messages })).code, 'worker-crashed');
  await lab.load(TINY);
  assert.match(await lab.ask('What is Fanlight?'), /^Fanlight runs/);
});

test('browsers and options that do not go together', async (t) => {
  const server = await serve(t);
  const lab = await Lab.open(await launch(t), server);
  const shared = await lab.fail('load', { source: TINY, threads: 2, transport: 'shared' });
  assert.equal(shared.code, 'unsupported-browser');
  assert.match(shared.message, /COOP/);
  assert.equal((await lab.fail('load', { source: TINY, threads: 0 })).code, 'invalid-argument');
  assert.equal((await lab.fail('load', { source: TINY, contextLength: 1e9 })).code, 'invalid-argument');
  await lab.load(TINY);
});
