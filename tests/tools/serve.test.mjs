// The server that all browser tests stand on: what it answers, and how it misbehaves when told to.

import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { parseRange, resolvePath, startServer } from '../../tools/serve.mjs';

const CONTENT = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7) % 251));
/** @type {string} */
let folder;
/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'serve-'));
  await mkdir(path.join(folder, 'site/www'), { recursive: true });
  await mkdir(path.join(folder, 'models'));
  await writeFile(path.join(folder, 'site/www/index.html'), '<!doctype html>');
  await writeFile(path.join(folder, 'site/a.wasm'), 'wasm');
  await writeFile(path.join(folder, 'site/.secret'), 'secret');
  await writeFile(path.join(folder, 'site/empty.bin'), '');
  await writeFile(path.join(folder, 'outside.txt'), 'outside');
  await writeFile(path.join(folder, 'models/a b.gguf'), CONTENT);
  server = await startServer({ root: path.join(folder, 'site'), mounts: { models: path.join(folder, 'models') } });
});
beforeEach(() => {
  server.fault = () => undefined;
  server.requests.length = 0;
});
after(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

/**
 * @param {string} at
 * @param {RequestInit} [init]
 */
const get = (at, init) => fetch(new URL(at, server.url), init);
/** @param {Response} response */
const bytes = async (response) => Buffer.from(await response.arrayBuffer());

test('a file, whole, with its type and validators', async () => {
  const response = await get('models/a%20b.gguf');
  assert.equal(response.status, 200);
  assert.deepEqual(await bytes(response), CONTENT);
  assert.equal(response.headers.get('content-length'), '5000');
  assert.equal(response.headers.get('accept-ranges'), 'bytes');
  assert.match(response.headers.get('etag') ?? '', /^"[0-9a-f]+-[0-9a-f]+"$/);
  assert.equal((await get('a.wasm')).headers.get('content-type'), 'application/wasm');
  assert.equal((await get('')).url, `${server.url}www/`);
  assert.equal((await get('www')).headers.get('content-type'), 'text/html; charset=utf-8');
  assert.equal((await bytes(await get('empty.bin'))).length, 0);
});

test('HEAD tells the length and sends nothing', async () => {
  const response = await get('models/a%20b.gguf', { method: 'HEAD' });
  assert.equal(response.headers.get('content-length'), '5000');
  assert.equal((await bytes(response)).length, 0);
});

for (const [range, first, last] of /** @type {[string, number, number][]} */ ([
  ['bytes=0-0', 0, 0],
  ['bytes=100-199', 100, 199],
  ['bytes=4990-', 4990, 4999],
  ['bytes=-10', 4990, 4999],
  ['bytes=-9999', 0, 4999],
  ['bytes=4000-99999', 4000, 4999],
])) {
  test(`range ${range}`, async () => {
    const response = await get('models/a%20b.gguf', { headers: { Range: range } });
    assert.equal(response.status, 206);
    assert.equal(response.headers.get('content-range'), `bytes ${first}-${last}/5000`);
    assert.deepEqual(await bytes(response), CONTENT.subarray(first, last + 1));
  });
}

test('a range that lies beyond the end', async () => {
  const response = await get('models/a%20b.gguf', { headers: { Range: 'bytes=5000-' } });
  assert.equal(response.status, 416);
  assert.equal(response.headers.get('content-range'), 'bytes */5000');
  assert.equal(parseRange('bytes=0-', 0), null);
  assert.equal(parseRange('bytes=-0', 10), null);
});

test('a range that means nothing is answered with the whole file', () => {
  for (const header of ['bytes=5-2', 'bytes=-', 'lines=1-2', 'bytes=0-1,3-4', undefined]) {
    assert.equal(parseRange(header, 10), undefined, header);
  }
});

test('If-Range: the rest of the same file, or the whole of another', async () => {
  const etag = (await get('models/a%20b.gguf')).headers.get('etag') ?? '';
  const resume = (/** @type {string} */ tag) =>
    get('models/a%20b.gguf', { headers: { Range: 'bytes=4000-', 'If-Range': tag } });
  assert.equal((await resume(etag)).status, 206);
  assert.equal((await resume('"other"')).status, 200);
  await utimes(path.join(folder, 'models/a b.gguf'), new Date(), new Date(Date.now() + 5000));
  assert.equal((await resume(etag)).status, 200);
});

test('If-None-Match: nothing new', async () => {
  const etag = (await get('a.wasm')).headers.get('etag') ?? '';
  assert.equal((await get('a.wasm', { headers: { 'If-None-Match': etag } })).status, 304);
  assert.equal((await get('a.wasm', { headers: { 'If-None-Match': '"other"' } })).status, 200);
});

test('what is not served', async () => {
  for (const at of ['nothing', '.secret', 'models', 'models/', 'models/../site/a.wasm', '%2e%2e/outside.txt', '%', 'a%00']) {
    assert.equal((await get(at)).status, 404, at);
  }
  for (const at of ['/../outside.txt', '/models/../../outside.txt', '/..%2foutside.txt', '/%2e%2e%2foutside.txt', '/..\\x']) {
    assert.equal(resolvePath(at, folder, new Map([['models', folder]])), undefined, at);
  }
  // A client that does not tidy its paths.
  const raw = await new Promise((resolve) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write('GET /../outside.txt HTTP/1.0\r\n\r\n'));
    socket.once('data', (data) => resolve(String(data)));
  });
  assert.match(String(raw), /^HTTP\/1\.1 404/);
  assert.equal((await get('a.wasm', { method: 'POST' })).status, 405);
});

test('isolation headers, on every answer, when asked for', async () => {
  assert.equal((await get('a.wasm')).headers.get('cross-origin-opener-policy'), null);
  const isolated = await startServer({ root: folder, isolated: true, cors: true, headers: { 'X-More': '1' } });
  for (const at of ['outside.txt', 'nothing']) {
    const { headers } = await fetch(isolated.url + at);
    assert.equal(headers.get('cross-origin-opener-policy'), 'same-origin', at);
    assert.equal(headers.get('cross-origin-embedder-policy'), 'require-corp', at);
    assert.equal(headers.get('access-control-allow-origin'), '*', at);
    assert.equal(headers.get('x-more'), '1', at);
  }
  assert.equal((await fetch(isolated.url, { method: 'OPTIONS' })).status, 204);
  await isolated.close();
  await assert.rejects(fetch(isolated.url));
});

test('fault: another status', async () => {
  server.fault = ({ path: at }) => (at === '/a.wasm' ? { status: 503, body: 'busy', headers: { 'Retry-After': '1' } } : undefined);
  const response = await get('a.wasm');
  assert.equal(response.status, 503);
  assert.equal(response.headers.get('retry-after'), '1');
  assert.equal(await response.text(), 'busy');
  assert.equal((await get('www/')).status, 200);
});

test('fault: headers left out or changed', async () => {
  server.fault = () => ({ headers: { ETag: null, 'Content-Type': 'text/html' } });
  const response = await get('a.wasm');
  assert.equal(response.headers.get('etag'), null);
  assert.equal(response.headers.get('content-type'), 'text/html');
});

test('fault: the range is ignored', async () => {
  server.fault = () => ({ ignoreRange: true });
  assert.equal((await get('a.wasm', { headers: { Range: 'bytes=1-' } })).status, 200);
});

test('fault: the connection is cut after some bytes, and those arrive', async () => {
  server.fault = () => ({ cutAfter: 1234 });
  const response = await get('models/a%20b.gguf');
  let received = 0;
  await assert.rejects(async () => {
    for await (const part of response.body ?? []) received += part.length;
  });
  assert.equal(received, 1234);
});

test('fault: the answer stalls', async () => {
  server.fault = () => ({ stallAfter: 1000 });
  const abort = new AbortController();
  const response = await get('models/a%20b.gguf', { signal: abort.signal });
  let received = 0;
  await assert.rejects(async () => {
    for await (const part of response.body ?? []) {
      received += part.length;
      if (received === 1000) setTimeout(() => abort.abort(), 50);
    }
  }, { name: 'AbortError' });
  assert.equal(received, 1000);
});

test('fault: the answer is slow', async () => {
  server.fault = () => ({ bytesPerSecond: 20_000, delay: 50 });
  const began = performance.now();
  assert.deepEqual(await bytes(await get('models/a%20b.gguf')), CONTENT);
  assert.ok(performance.now() - began >= 250, 'sooner than 5,000 bytes at this speed can arrive');
});

test('every request is written down', async () => {
  await get('a.wasm', { headers: { Range: 'bytes=1-' } });
  assert.deepEqual(
    server.requests.map(({ method, path: at, headers }) => [method, at, headers.range]),
    [['GET', '/a.wasm', 'bytes=1-']],
  );
});
