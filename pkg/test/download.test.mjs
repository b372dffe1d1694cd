// Downloads from a real server that misbehaves, into a sink in memory.

import assert from 'node:assert/strict';
import { utimesSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { startServer } from '../../tools/serve.mjs';
import { download } from '../dist/download.js';

const SIZE = 300_000;

/** @typedef {import('../dist/download.js').Identity} Identity */
/** @typedef {import('../dist/download.js').Sink} Sink */

/** @implements {Sink} */
class MemorySink {
  bytes = Buffer.alloc(0);
  identity = /** @type {Identity | undefined} */ (undefined);
  begun = 0;
  ended = 0;

  get position() {
    return this.bytes.length;
  }

  /** @param {Identity} identity */
  async begin(identity) {
    await this.discard();
    this.begun += 1;
    this.identity = identity;
  }

  /** @param {Uint8Array} bytes */
  write(bytes) {
    this.bytes = Buffer.concat([this.bytes, bytes]);
  }

  end() {
    this.ended += 1;
    if (this.identity) this.identity = { ...this.identity, length: this.position };
  }

  async discard() {
    this.bytes = Buffer.alloc(0);
    this.identity = undefined;
  }
}

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
  const sink = new MemorySink();
  const abort = new AbortController();
  const loaded = /** @type {number[]} */ ([]);
  return {
    server,
    sink,
    abort,
    loaded,
    url: server.url + name,
    /** Another version of the file. @param {string | Buffer} bytes */
    replace(bytes) {
      writeFileSync(file, bytes);
      utimesSync(file, new Date(), new Date(Date.now() + 60_000));
    },
    run: () =>
      download(server.url + name, sink, {
        signal: abort.signal,
        onProgress: (bytes) => loaded.push(bytes),
        firstDelay: 1,
      }),
    ranges: () => server.requests.map(({ headers }) => headers.range),
  };
}

/** @param {MemorySink} sink @param {Buffer} expected */
function assertBytes(sink, expected) {
  assert.ok(sink.bytes.equals(expected), `${sink.position} bytes, and not the right ones`);
}

test('a file arrives whole, and says how far it is', async (t) => {
  const { run, sink, loaded, ranges } = await serving(t, gguf(1));
  await run();
  assertBytes(sink, gguf(1));
  assert.deepEqual(ranges(), [undefined]);
  assert.equal(loaded.at(-1), SIZE);
  assert.deepEqual(
    loaded,
    loaded.toSorted((a, b) => a - b),
  );
});

test('a download that breaks off again and again goes on where it was', async (t) => {
  const { run, server, sink, ranges } = await serving(t, gguf(1));
  server.fault = () => (server.requests.length < 6 ? { cutAfter: 50_000 } : undefined);
  await run();
  assertBytes(sink, gguf(1));
  const starts = ranges().map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]));
  assert.equal(sink.begun, 1);
  assert.deepEqual(
    starts,
    starts.toSorted((a, b) => a - b),
  );
  assert.ok(starts.length === 6 && starts.slice(1).every((start) => start > 0), String(starts));
});

test('without ranges it begins again, and arrives', async (t) => {
  const { run, server, sink } = await serving(t, gguf(1));
  server.fault = () => ({ ignoreRange: true, ...(server.requests.length < 3 && { cutAfter: 100_000 }) });
  await run();
  assertBytes(sink, gguf(1));
  assert.equal(sink.begun, 3);
});

test('a server that breaks off at the same place for ever is given up', async (t) => {
  const { run, server } = await serving(t, gguf(1));
  server.fault = () => ({ ignoreRange: true, cutAfter: 100_000 });
  await assert.rejects(run(), { code: 'network', message: /of 300000 bytes|broke off/ });
  assert.ok(server.requests.length < 20);
});

test('what an earlier visit left is gone on with, when the file is the same', async (t) => {
  const { run, server, sink, ranges } = await serving(t, gguf(1));
  const head = await fetch(server.url + 'model.gguf', { method: 'HEAD' });
  sink.identity = { length: SIZE, etag: head.headers.get('etag') ?? '', lastModified: undefined };
  sink.bytes = gguf(1).subarray(0, 130_000);
  await run();
  assertBytes(sink, gguf(1));
  assert.deepEqual(ranges(), [undefined, 'bytes=130000-']);
});

for (const [what, identity] of /** @type {[string, Identity][]} */ ([
  ['was of another version', { length: SIZE, etag: '"another"', lastModified: undefined }],
  ['cannot be told from another', { length: SIZE, etag: undefined, lastModified: undefined }],
  ['is longer than the file', { length: 3 * SIZE, etag: '"another"', lastModified: undefined }],
])) {
  test(`what an earlier visit left is thrown away when it ${what}`, async (t) => {
    const { run, sink } = await serving(t, gguf(1));
    sink.identity = identity;
    sink.bytes = gguf(2, (identity.length ?? 0) - 10);
    await run();
    assertBytes(sink, gguf(1));
  });
}

test('nothing is asked for when all of it was there already', async (t) => {
  const { run, sink, server } = await serving(t, gguf(1));
  sink.identity = { length: SIZE, etag: '"any"', lastModified: undefined };
  sink.bytes = gguf(1);
  await run();
  assert.deepEqual(server.requests, []);
});

for (const size of [SIZE, SIZE / 2, 40_000]) {
  test(`a file that changes during the download is refused (${size} bytes afterwards)`, async (t) => {
    const { run, server, sink, replace } = await serving(t, gguf(1));
    server.fault = () => {
      if (server.requests.length === 1) return { cutAfter: 100_000 };
      replace(gguf(2, size));
      return undefined;
    };
    await assert.rejects(run(), { code: 'changed-file' });
    assert.equal(sink.position, 0);
    await run(); // the next time it is the new file
    assertBytes(sink, gguf(2, size));
  });
}

test('a length that the server does not say is known at the end', async (t) => {
  const { run, server, sink } = await serving(t, gguf(1));
  server.fault = () => ({ headers: /** @type {any} */ ({ 'Content-Length': null }) });
  await run();
  assertBytes(sink, gguf(1));
  assert.equal(sink.ended, 1);
  assert.equal(sink.identity?.length, SIZE);
});

test('a server that is busy is asked again', async (t) => {
  const { run, server, sink } = await serving(t, gguf(1));
  server.fault = () => (server.requests.length < 3 ? { status: 503 } : undefined);
  await run();
  assertBytes(sink, gguf(1));
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
  await assert.rejects(download('http://127.0.0.1:9/model.gguf', sink, nowhere), { code: 'network' });
});

for (const [what, content, says] of /** @type {const} */ ([
  ['a web page', '<!DOCTYPE html><title>Not found</title>', /web page/],
  ['an empty file', '', /empty/],
  ['a few bytes', 'GG', /begins with "GG"/],
  ['another format', 'PK\x03\x04 and so on', /begins with "PK/],
])) {
  test(`${what} is not a GGUF file, and takes no room`, async (t) => {
    const { run, sink, server } = await serving(t, content);
    await assert.rejects(run(), { code: 'not-a-gguf', message: says });
    assert.equal(sink.begun, 0);
    assert.equal(server.requests.length, 1);
  });
}

test('an abort is heard at once, also while waiting for the next try', async (t) => {
  const { run, server, abort, sink } = await serving(t, gguf(1));
  server.fault = () => ({ bytesPerSecond: 100_000 });
  setTimeout(() => abort.abort(), 150);
  await assert.rejects(run(), { code: 'aborted' });
  assert.ok(sink.position < SIZE);
  await assert.rejects(run(), { code: 'aborted' });
});
