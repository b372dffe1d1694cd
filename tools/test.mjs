#!/usr/bin/env node
// Runs the test suites one after the other, shows what they print, and ends with the totals.

import { execFile, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HELP = `test.mjs [SUITE…]: runs these suites (all of them when none is named), and prints the totals

  native    cargo test
  wasm      the same tests as a wasm program with SIMD, in Node's WASI runtime
  js        tests of the package and the tools in Node: pkg/test/ and tests/tools/
  browser   end-to-end tests in Chromium: tests/browser/
  ARGS='…'  in the environment: given to cargo test after --, such as the name of a test`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const WASI = 'wasm32-wasip1';
const totals = { passed: 0, failed: 0, skipped: 0 };
/** @type {string[]} */
const skips = [];

/** @type {Record<string, () => Promise<number>>} each gives an exit code */
const SUITES = {
  native: () => cargo('cargo', [], [], '--show-output'),
  wasm: async () => {
    if ((await run('sh', ['tools/rust-wasm.sh', '--install', WASI])) === 3) {
      skips.push(`SKIPPED: the suite wasm (no ${WASI} on this machine)`);
      count(0, 0, 1);
      return 0;
    }
    const options = ['--lib', '--tests', '--target', WASI, '--target-dir', 'target/wasi'];
    // A panic ends the program there, with all that was captured: so nothing is.
    return cargo('sh', ['tools/rust-wasm.sh'], options, '--nocapture', {
      CARGO_INCREMENTAL: '0', // a build that was cut off can leave symbols undefined, which this linker lets pass
      CARGO_ENCODED_RUSTFLAGS: '-Ctarget-feature=+simd128',
      CARGO_TARGET_WASM32_WASIP1_RUNNER: `node --no-warnings ${path.join(ROOT, 'tools/wasi.mjs')}`,
    });
  },
  js: () => nodeTests(['pkg/test', 'tests/tools']),
  browser: async () => {
    const { stdout } = await promisify(execFile)(path.join(ROOT, 'tools/chromium.sh'));
    return nodeTests(['tests/browser'], { CHROMIUM: stdout.trim() });
  },
};

const names = process.argv.slice(2);
if (names.includes('--help')) {
  console.log(HELP);
} else {
  process.exitCode = await main(names.length > 0 ? names : Object.keys(SUITES));
}

/** @param {string[]} names */
async function main(names) {
  /** @type {string[]} */
  const broken = [];
  for (const name of names) {
    const suite = SUITES[name];
    if (!suite) throw new Error(`no suite ${name}: expected ${Object.keys(SUITES).join(', ')}`);
    const began = performance.now();
    console.log(`==> Testing: ${name}`);
    const code = await suite();
    console.log(`    ${code === 0 ? 'done' : 'FAILED'} in ${Math.round((performance.now() - began) / 1000)} s`);
    if (code !== 0) broken.push(name);
  }
  console.log('==> Totals');
  for (const skip of skips) console.log(`    ${skip}`);
  if (broken.length > 0) console.log(`    FAILED: ${broken.join(', ')}`);
  const failed = totals.failed || broken.length; // a suite that did not compile has failed too
  console.log(`${totals.passed} passed, ${failed} failed, ${totals.skipped} skipped`);
  return failed === 0 ? 0 : 1;
}

/**
 * Rust's tests. What passing tests print is hidden, but for the lines that say what was skipped.
 * @param {string} program
 * @param {string[]} before
 * @param {string[]} options
 * @param {string} output what to do with the tests' output
 * @param {Record<string, string>} env
 */
function cargo(program, before, options, output, env = {}) {
  const own = process.env.ARGS?.split(' ').filter(Boolean) ?? [];
  let inSuccesses = false;
  const args = [...before, 'test', '--locked', '--no-fail-fast', ...options, '--', output, ...own];
  return run(program, args, env, (line) => {
    const result = /^test result: .* (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line);
    if (result) count(Number(result[1]), Number(result[2]), Number(result[3]));
    if (line === 'successes:') inSuccesses = true;
    if (line === 'failures:' || result) inSuccesses = false;
    return !inSuccesses;
  });
}

/**
 * @param {string[]} folders
 * @param {Record<string, string>} env
 */
async function nodeTests(folders, env = {}) {
  const files = [];
  for (const folder of folders) {
    const entries = await readdir(path.join(ROOT, folder)).catch(() => []);
    files.push(...entries.filter((name) => name.endsWith('.test.mjs')).map((name) => path.join(folder, name)));
  }
  if (files.length === 0) {
    console.log(`    there are no tests in ${folders.join(', ')}`);
    return 0;
  }
  const options = ['--test', '--test-reporter=spec', '--test-concurrency=1', '--test-timeout=300000'];
  return run(process.execPath, [...options, ...files.sort()], env, (line) => {
    const result = /^ℹ (pass|fail|cancelled|skipped|todo) (\d+)$/.exec(line);
    const number = Number(result?.[2] ?? 0);
    if (result?.[1] === 'pass') count(number, 0, 0);
    else if (result?.[1] === 'fail' || result?.[1] === 'cancelled') count(0, number, 0);
    else if (result) count(0, 0, number);
    return true;
  });
}

/**
 * @param {number} passed
 * @param {number} failed
 * @param {number} skipped
 */
function count(passed, failed, skipped) {
  totals.passed += passed;
  totals.failed += failed;
  totals.skipped += skipped;
}

/**
 * Runs a program in the project's folder and gives its exit code. `shown` sees each line and says whether it is printed.
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} [env]
 * @param {(line: string) => boolean} [shown]
 * @returns {Promise<number>}
 */
function run(program, args, env = {}, shown = () => true) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        const skip = /SKIPPED: .*/.exec(line)?.[0];
        if (skip && !skips.includes(skip)) skips.push(skip);
        if (shown(line) || skip) console.log(`    ${line}`);
      });
    }
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}
