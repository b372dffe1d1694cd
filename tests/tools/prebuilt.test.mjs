// The engine that lies in the repository, for `make start`.

import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { sourcesOf, unpack } from '../../tools/prebuilt.mjs';

/** Whether Node can compile it as it is: relaxed SIMD is behind a flag in some versions. */
const COMPILES = { simd128: true, relaxed: false, constraints: true };

for (const [build, compiles] of Object.entries(COMPILES)) {
  test(`pkg/prebuilt/${build} is whole: a module, and the glue that gives it what it imports`, async (t) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'fanlight-prebuilt-'));
    t.after(() => rm(folder, { recursive: true }));
    if (!(await unpack(build, await sourcesOf(), folder))) {
      return t.skip('the sources have changed since: `make start` compiles, until `make prebuilt` has run');
    }
    const files = await readdir(folder);
    const [wasm, glue] = ['_bg.wasm', '.js'].map((end) => files.find((name) => name.endsWith(end)));
    assert.ok(wasm && glue && files.includes('stamp.json'), files.join(', '));
    const bytes = await readFile(path.join(folder, wasm));
    assert.deepEqual([...bytes.subarray(0, 4)], [0, 0x61, 0x73, 0x6d]);
    if (!compiles) return;
    const text = await readFile(path.join(folder, glue), 'utf8');
    for (const { name } of WebAssembly.Module.imports(await WebAssembly.compile(bytes))) assert.ok(text.includes(name), name);
  });
}

test('what is packed for other sources is not taken', async () => {
  assert.equal(await unpack('simd128', 'other sources', '/nowhere'), false);
});
