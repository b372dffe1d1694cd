#!/usr/bin/env node
// wasi.mjs PROGRAM.wasm ARGUMENTS…
// Runs a WASI program in this Node, with the files of this folder (and of ../shared). Cargo calls it to run tests.

import { existsSync, realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';

// Node 20's WASI crashes in the garbage collector when V8 calls it by the fast way (seen with programs that read files).
setFlagsFromString('--no-turbo-fast-api-calls');

const [program, ...rest] = process.argv.slice(2);
if (!program || program === '--help') {
  console.log('wasi.mjs PROGRAM.wasm ARGUMENTS…: runs a WASI program with the files of this folder (and of ../shared)');
} else {
  const here = process.cwd();
  // WASI follows no link that leads out of a folder it was given, so a linked ../shared is given by itself.
  const shared = `${here}/../shared`;
  const wasi = new WASI({
    version: 'preview1',
    args: [program, ...rest],
    env: { ...process.env, RUST_TEST_THREADS: '1', PWD: here },
    preopens: { '.': here, [here]: here, ...(existsSync(shared) ? { [shared]: realpathSync(shared) } : {}) },
    returnOnExit: true,
  });
  const imports = /** @type {WebAssembly.Imports} */ (wasi.getImportObject());
  const { instance } = await WebAssembly.instantiate(await readFile(program), imports);
  process.exitCode = wasi.start(instance);
}
