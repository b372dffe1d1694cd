// Downloads from a real server that misbehaves, into blocks in memory.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { startServer } from '../../tools/serve.mjs';
import { Assembly, BLOCK } from '../dist/blocks.js';
import { download } from '../dist/download.js';
import { MemoryDrawer, sums } from './support/memory-drawer.mjs';

const SIZE = 3 * BLOCK + 12_345;

/** @typedef {import('../dist/download.js').Identity} Identity */

/** @param {number} seed */
function gguf(seed, size = SIZE) {
  const bytes = Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * 31 + seed * 17 + (at >> 8)) & 255));
  bytes.write('GGUF');
  return bytes;
}

/**
 * A server with one file, and what a download needs.
 * @param {import('node:test').TestContext} t
 * @param {string | Buffer} content
 */
async function serving(t, content, name = 'model.gguf') {
  const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-'));
  const file = path.join(folder, name);
  await writeFile(file, content);
  const server = await startServer({ root: folder });
  t.after(async () => {
    await server.close();
    await rm(folder, { recursive: true });
  });
  const drawer = new MemoryDrawer();
  let begun = 0;
  const open = (/** @type {Identity} */ identity) => {
    const options = { sums, identity, onBegin: () => void (begun += 1), onDiscard: () => {} };
    return Assembly.open(drawer, options, abort.signal);
  };
  const abort = new AbortController();
  const loaded = /** @type {number[]} */ ([]);
  const nothing = /** @type {any} */ (undefined);
  let sink = await open(nothing);
  return {
    server,
    drawer,
    abort,
    loaded,
    begun: () => begun,
    sink: () => sink,
    url: server.url + name,
    /** What an earlier visit has left. @param {Identity} identity @param {Buffer} bytes */
    async leave(identity, bytes) {
      for (let at = 0; at + BLOCK <= bytes.length; at += BLOCK) {
        const block = bytes.subarray(at, at + BLOCK);
        drawer.write(at / BLOCK, { bytes: block, sum: sums.blockSum(block) });
      }
      sink = await open(identity);
    },
    /** Another version of the file. @param {string | Buffer} bytes */
    replace(bytes) {
      writeFileSync(file, bytes);
      utimesSync(file, new Date(), new Date(Date.now() + 60_000));
    },
    run: (/** @type {object} */ options = {}) =>
      download(server.url + name, sink, {
        signal: abort.signal,
        onProgress: (bytes) => loaded.push(bytes),
        firstDelay: 1,
        ...options,
      }),
    ranges: () => server.requests.map(({ headers }) => headers.range),
    /** All of it is here, and right. @param {Buffer} expected */
    async expect(expected) {
      const { length, sha256 } = await sink.finish(abort.signal);
      assert.equal(length, expected.length);
      assert.ok(drawer.bytes().equals(expected), 'other bytes');
      assert.equal(Buffer.from(sha256).toString('hex'), createHash('sha256').update(expected).digest('hex'));
    },
  };
}

test('a file arrives whole, and says how far it is', async (t) => {
  const { run, expect, loaded, ranges } = await serving(t, gguf(1));
  await run();
  await expect(gguf(1));
  assert.deepEqual(ranges(), [undefined]);
  assert.equal(loaded.at(-1), SIZE);
  assert.deepEqual(
    loaded,
    loaded.toSorted((a, b) => a - b),
  );
});

for (const slow of [false, true]) {
  test(`a download that breaks off again and again goes on where it was${slow ? ', into slow storage' : ''}`, async (t) => {
    const { run, server, drawer, expect, ranges, begun } = await serving(t, gguf(1));
    drawer.slow = slow;
    server.fault = () => (server.requests.length < 6 ? { cutAfter: 120_000 } : undefined);
    await run();
    await expect(gguf(1));
    const starts = ranges().map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]));
    assert.equal(begun(), 1);
    assert.equal(drawer.writes, 4, 'each block once');
    assert.ok(starts.length === 6 && starts.every((start, at) => at === 0 || start > Number(starts[at - 1])), String(starts));
  });
}

test('a server that sends less than it was asked for is asked for the rest', async (t) => {
  const { run, server, expect } = await serving(t, gguf(1));
  server.fault = ({ headers }) => {
    const start = Number(/\d+/.exec(headers.range ?? '')?.[0] ?? 0);
    const cut = { cutAfter: 300_000, headers: { 'Content-Length': String(Math.min(300_000, SIZE - start)) } };
    return headers.range ? cut : { cutAfter: 300_000 };
  };
  await run();
  await expect(gguf(1));
});

test('without ranges it begins again, keeps what it has, and arrives', async (t) => {
  const { run, server, drawer, expect, begun } = await serving(t, gguf(1));
  server.fault = () => ({ ignoreRange: true, ...(server.requests.length < 3 && { cutAfter: 300_000 }) });
  await run();
  await expect(gguf(1));
  assert.equal(begun(), 1);
  assert.equal(drawer.writes, 4);
});

test('a server that breaks off at the same place for ever is given up, and what came is kept', async (t) => {
  const { run, server, sink } = await serving(t, gguf(1));
  server.fault = () => ({ ignoreRange: true, cutAfter: 300_000 });
  await assert.rejects(run(), { code: 'network', message: /at byte \d+ of|broke off/ });
  assert.ok(server.requests.length < 20);
  assert.ok(sink().loaded > 0);
});

test('what an earlier visit left is gone on with, when the file is the same', async (t) => {
  const { run, server, leave, expect, ranges } = await serving(t, gguf(1));
  const head = await fetch(`${server.url}model.gguf`, { method: 'HEAD' });
  await leave({ length: SIZE, etag: head.headers.get('etag') ?? '', lastModified: undefined }, gguf(1).subarray(0, 2 * BLOCK));
  await run();
  await expect(gguf(1));
  assert.deepEqual(ranges(), [undefined, `bytes=${2 * BLOCK}-`]);
});

test('only what is damaged is fetched again', async (t) => {
  const { run, sink, leave, drawer, expect, ranges } = await serving(t, gguf(1));
  await run();
  const etag = sink().identity?.etag;
  for (const index of [1, 3]) drawer.blocks[index]?.bytes.fill(0x55, 5, 6);
  const writes = drawer.writes;
  await leave({ length: SIZE, etag, lastModified: undefined }, Buffer.alloc(0));
  assert.equal(sink().damaged, 2);
  await run();
  await expect(gguf(1));
  assert.deepEqual(ranges().slice(1), [`bytes=${BLOCK}-${2 * BLOCK - 1}`, `bytes=${3 * BLOCK}-`]);
  assert.equal(drawer.writes - writes, 2);
});

for (const [what, identity] of /** @type {[string, Identity][]} */ ([
  ['was of another version', { length: SIZE, etag: '"another"', lastModified: undefined }],
  ['cannot be told from another', { length: SIZE, etag: undefined, lastModified: undefined }],
  ['is longer than the file', { length: 3 * SIZE, etag: '"another"', lastModified: undefined }],
])) {
  test(`what an earlier visit left is thrown away when it ${what}`, async (t) => {
    const { run, leave, expect } = await serving(t, gguf(1));
    await leave(identity, gguf(2, (identity.length ?? 0) - 10));
    await run();
    await expect(gguf(1));
  });
}

test('a part of which nothing is known but the hash it will have is gone on with', async (t) => {
  const { run, leave, ranges, expect } = await serving(t, gguf(1));
  await leave({ length: SIZE, etag: undefined, lastModified: undefined }, gguf(1).subarray(0, BLOCK));
  await run({ proven: true });
  await expect(gguf(1));
  assert.deepEqual(ranges(), [`bytes=${BLOCK}-`]);
});

test('nothing is asked for when all of it was there already', async (t) => {
  const { run, leave, sink, server } = await serving(t, gguf(1, 2 * BLOCK));
  await leave({ length: 2 * BLOCK, etag: '"any"', lastModified: undefined }, gguf(1, 2 * BLOCK));
  await run();
  assert.deepEqual(server.requests, []);
  assert.equal(sink().damaged, 0);
});

for (const size of [SIZE, SIZE / 2, 40_000]) {
  test(`a file that changes during the download is refused (${size} bytes afterwards)`, async (t) => {
    const { run, server, sink, replace, expect } = await serving(t, gguf(1));
    server.fault = () => {
      if (server.requests.length === 1) return { cutAfter: 300_000 };
      replace(gguf(2, size));
      return undefined;
    };
    await assert.rejects(run(), { code: 'changed-file' });
    assert.equal(sink().loaded, 0);
    await run(); // the next time it is the new file
    await expect(gguf(2, size));
  });
}

test('a length that the server does not say is known at the end, or when it goes on', async (t) => {
  const { run, server, sink, expect, ranges } = await serving(t, gguf(1));
  server.fault = () => ({
    headers: { 'Content-Length': null, 'Transfer-Encoding': 'chunked' },
    ...(server.requests.length === 1 && { cutAfter: 300_000 }),
  });
  await run();
  await expect(gguf(1));
  assert.equal(sink().identity?.length, SIZE);
  assert.equal(ranges().length, 2);
});

test('a login page half way is no reason to begin again', async (t) => {
  const { run, server, begun, expect } = await serving(t, gguf(1));
  server.fault = () => {
    const times = server.requests.length;
    if (times === 1) return { cutAfter: 300_000 };
    const page = { status: 200, body: '<!doctype html><title>Sign in</title>', headers: { 'Content-Type': 'text/html' } };
    return times < 5 ? page : undefined;
  };
  await run();
  await expect(gguf(1));
  assert.equal(begun(), 1);
});

test('a redirect is followed', async (t) => {
  const { run, server, expect } = await serving(t, gguf(1));
  const moved = `${server.url}model.gguf?moved`;
  server.fault = () => (server.requests.length % 2 ? { status: 302, headers: { Location: moved } } : { cutAfter: 500_000 });
  await run();
  await expect(gguf(1));
});

for (const hidden of [false, true]) {
  test(`a compressed answer arrives${hidden ? ', also when the header that says so is hidden' : ''}`, async (t) => {
    const file = gguf(1);
    const { sink, expect } = await serving(t, file);
    const packed = gzipSync(file);
    const server = createServer((_, response) => {
      response.writeHead(200, { 'Content-Encoding': 'gzip', 'Content-Length': packed.length, ETag: '"zipped"' });
      response.end(packed);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
    t.after(() => server.close());
    const real = globalThis.fetch;
    t.after(() => (globalThis.fetch = real));
    if (hidden) {
      // What a page sees of another site's answer.
      globalThis.fetch = async (...args) => {
        const { body, headers } = await real(...args);
        const seen = new Headers(headers);
        seen.delete('content-encoding');
        return new Response(body, { status: 200, headers: seen });
      };
    }
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    const signal = new AbortController().signal;
    await download(`http://127.0.0.1:${port}/model.gguf`, sink(), { signal, onProgress: () => {}, firstDelay: 1 });
    await expect(file);
  });
}

test('several connections share a download where one is held back', async (t) => {
  const file = gguf(1, 20 * BLOCK + 99);
  const { run, server, drawer, expect, ranges } = await serving(t, file);
  server.fault = () => ({ bytesPerSecond: 4_000_000 });
  await run({ parallel: { least: BLOCK, window: 100, most: 3 } });
  await expect(file);
  assert.equal(drawer.writes, 21, 'each block once');
  assert.ok(ranges().length > 1, 'one connection');
});

test('a server that says nothing about the version of its file gets one connection, and the file arrives', async (t) => {
  const file = gguf(1, 20 * BLOCK + 99);
  const { run, server, expect, begun, ranges } = await serving(t, file);
  server.fault = () => ({ bytesPerSecond: 8_000_000, headers: { ETag: null, 'Last-Modified': null } });
  await run({ parallel: { least: BLOCK, window: 100, most: 3 } });
  await expect(file);
  assert.deepEqual([begun(), ranges()], [1, [undefined]]);
});

test('what is damaged is mended also where the server hides which part it sends', async (t) => {
  const { run, leave, drawer, expect, server } = await serving(t, gguf(1));
  await run();
  drawer.blocks[1]?.bytes.fill(0x55, 5, 6);
  const writes = drawer.writes;
  await leave({ length: SIZE, etag: undefined, lastModified: undefined }, Buffer.alloc(0));
  server.fault = () => ({ headers: { 'Content-Range': null } });
  await run({ proven: true });
  await expect(gguf(1));
  assert.equal(drawer.writes - writes, 1);
});

test('several connections that break off lose nothing', async (t) => {
  const file = gguf(1, 24 * BLOCK + 99);
  const { run, server, drawer, expect } = await serving(t, file);
  server.fault = () => ({ bytesPerSecond: 4_000_000, cutAfter: 400_000 + 90_000 * (server.requests.length % 5) });
  await run({ parallel: { least: BLOCK, window: 100, most: 4 } });
  await expect(file);
  assert.equal(drawer.writes, 25, 'each block once');
});

test('a server that refuses a second connection still sends all of it', async (t) => {
  const file = gguf(1, 20 * BLOCK);
  const { run, server, expect } = await serving(t, file);
  server.fault = ({ headers }) => (headers.range ? { status: 429 } : { bytesPerSecond: 4_000_000 });
  await run({ parallel: { least: BLOCK, window: 100, most: 4 } });
  await expect(file);
});

test('a connection that falls silent counts as broken', async (t) => {
  const { run, server, expect, ranges } = await serving(t, gguf(1));
  const silences = [{ stallAfter: 0 }, { stallAfter: BLOCK + 5 }];
  server.fault = () => silences[server.requests.length - 1];
  await run({ silence: 300 });
  await expect(gguf(1));
  assert.deepEqual(ranges(), [undefined, undefined, `bytes=${BLOCK + 5}-`]);
});

test('a server that is busy is asked again', async (t) => {
  const { run, server, expect } = await serving(t, gguf(1));
  server.fault = () => (server.requests.length < 3 ? { status: 503 } : undefined);
  await run();
  await expect(gguf(1));
});

for (const status of [404, 403, 410]) {
  test(`a server that answers ${status} is believed`, async (t) => {
    const { run, server } = await serving(t, gguf(1));
    server.fault = () => ({ status });
    await assert.rejects(run(), { code: 'network', message: new RegExp(String(status)) });
    assert.equal(server.requests.length, 1);
  });
}

test('a server that is always busy, or not there, is given up', async (t) => {
  const { run, server, sink } = await serving(t, gguf(1));
  server.fault = () => ({ status: 503 });
  await assert.rejects(run(), { code: 'network', message: /503/ });
  const nowhere = { signal: new AbortController().signal, onProgress: () => {}, firstDelay: 1 };
  await assert.rejects(download('http://127.0.0.1:9/model.gguf', sink(), nowhere), { code: 'network' });
});

for (const [what, content, says] of /** @type {const} */ ([
  ['a web page', '<!DOCTYPE html><title>Not found</title>', /web page/],
  ['an empty file', '', /empty/],
  ['a few bytes', 'GG', /begins with "GG"/],
  ['another format', 'PK\x03\x04 and so on', /begins with "PK/],
])) {
  test(`${what} is not a GGUF file, and takes no room`, async (t) => {
    const { run, begun, server } = await serving(t, content);
    await assert.rejects(run(), { code: 'not-a-gguf', message: says });
    assert.equal(begun(), 0);
    assert.equal(server.requests.length, 1);
  });
}

test('an abort is heard at once, also while waiting for the next try', async (t) => {
  const { run, server, abort, sink } = await serving(t, gguf(1));
  server.fault = () => ({ bytesPerSecond: 100_000 });
  setTimeout(() => abort.abort(), 150);
  await assert.rejects(run(), { code: 'aborted' });
  assert.ok(sink().loaded < SIZE);
  await assert.rejects(run(), { code: 'aborted' });
});
