#!/usr/bin/env node
// wasi.mjs PROGRAM.wasm ARGUMENTS…
// Runs a WASI program in this Node, with the machine's files and environment. Cargo calls it to run tests.

import { readFile } from 'node:fs/promises';
import { WASI } from 'node:wasi';

const [program, ...rest] = process.argv.slice(2);
if (!program || program === '--help') {
  console.log('wasi.mjs PROGRAM.wasm ARGUMENTS…: runs a WASI program with the files and environment of this machine');
} else {
  const wasi = new WASI({
    version: 'preview1',
    args: [program, ...rest],
    env: { ...process.env, RUST_TEST_THREADS: '1', PWD: process.cwd() },
    preopens: { '/': '/', '.': process.cwd() },
    returnOnExit: true,
  });
  const imports = /** @type {WebAssembly.Imports} */ (wasi.getImportObject());
  const { instance } = await WebAssembly.instantiate(await readFile(program), imports);
  process.exitCode = wasi.start(instance);
}
