#!/usr/bin/env node
// Builds the wasm modules of the package, with their JavaScript glue: the engine in pkg/wasm/simd128/ and pkg/wasm/relaxed/, and
// what it asks about schemas and grammars in pkg/wasm/constraints/. What is up to date is left alone.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { folderOf, pack, sha256, sourcesOf, stampIn, unpack } from './prebuilt.mjs';

// Measured with qwen3-0.6b (Q4_K_M and Q8_0, one worker, best of 8 to 12 rounds that took turns): no level is faster than
// LLVM's own output beyond the noise, and -O3 read prompts 4 % slower. Size after brotli: 458 kB without, 454 kB with -O1,
// 457 kB with -O3; processor time of wasm-opt: 11 s for -O1, 36 s for -O3.
const OPT_LEVEL = '-O1';

const HELP = `wasm.mjs [options]: builds pkg/wasm/simd128, pkg/wasm/relaxed and pkg/wasm/constraints

  --build NAME   only this one: simd128, relaxed or constraints (may be repeated)
  --no-opt       leaves wasm-opt out: a quicker build for tests. A module that is optimised already and up to date stays
  --quick        the quickest build that is worth running, in the profile "quick"; without wasm-opt. A module stays if it was made
                 of the same sources, in whatever way; the repository's own (pkg/prebuilt) is taken if it was
  --pack         puts the finished modules into pkg/prebuilt, from where --quick takes them
  --names        keeps function names in the module, for profiling
  --help         this text

Steps: cargo (through rust-wasm.sh), the wasm-bindgen tool (tools/bindgen, at the version of Cargo.lock), wasm-opt ${OPT_LEVEL}.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const TARGET = 'wasm32-unknown-unknown';
const BINDGEN = path.join(ROOT, 'tools/target/release/bindgen');

/** What each build is called, is made of, and asks of the browser beyond what every browser with SIMD has. */
const BUILDS = {
  simd128: { name: 'fanlight', cargo: ['--no-default-features'], features: '+simd128', optFeatures: ['--enable-simd'] },
  relaxed: {
    name: 'fanlight',
    cargo: ['--no-default-features'],
    features: '+simd128,+relaxed-simd',
    optFeatures: ['--enable-simd', '--enable-relaxed-simd'],
  },
  constraints: {
    name: 'constraints',
    cargo: ['--no-default-features', '--features', 'constraints-module'],
    features: '+simd128',
    optFeatures: ['--enable-simd'],
  },
};

/** What rustc turns on for this target by itself: wasm-opt must not use more. */
const OPT_FEATURES = [
  '--enable-bulk-memory',
  '--enable-mutable-globals',
  '--enable-multivalue',
  '--enable-nontrapping-float-to-int',
  '--enable-reference-types',
  '--enable-sign-ext',
];

/** @typedef {keyof typeof BUILDS} Build */

main().catch((error) => {
  console.error(`wasm: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
});

async function main() {
  const { values } = parseArgs({
    options: {
      build: { type: 'string', multiple: true, default: Object.keys(BUILDS) },
      'no-opt': { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      pack: { type: 'boolean', default: false },
      names: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(HELP);
  for (const name of values.build) if (!(name in BUILDS)) throw new Error(`--build ${name}: expected ${Object.keys(BUILDS).join(', ')}`);

  await checkBindgenVersion();
  const sources = await sourcesOf();
  const stays = (/** @type {string} */ build) => stampIn(folderOf(build)).then((stamp) => stamp.sources === sources);
  /** @type {Build[]} */
  const wanted = [];
  for (const build of /** @type {Build[]} */ (values.build)) {
    if (values.quick && (await stays(build))) console.log(`  ${build}: up to date`);
    else if (values.quick && (await unpack(build, sources))) console.log(`  ${build}: unpacked`);
    else wanted.push(build);
  }
  if (wanted.length === 0) return;
  await run('rust', 'sh', ['tools/rust-wasm.sh', '--install', TARGET]);
  // The tool and the builds need nothing of each other until the modules are compiled; cargo shares the cores.
  const tool = timed('wasm-bindgen tool ready', buildBindgen());
  const builds = wanted.map((build) => make(build, tool, values, sources));
  const results = await Promise.allSettled([tool, ...builds]);
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  if (values.pack) await Promise.all(wanted.map(pack));
}

/**
 * @param {Build} build
 * @param {Promise<void>} tool
 * @param {{ 'no-opt': boolean, quick: boolean, names: boolean }} options
 * @param {string} sources see {@link sourcesOf}
 */
async function make(build, tool, options, sources) {
  const { name, cargo: crate, features, optFeatures } = BUILDS[build];
  const flags = [
    `-Ctarget-feature=${features}`,
    '-Cllvm-args=-disable-lsr', // loop strength reduction undoes wasm's constant offsets: slower kernels
    `--remap-path-prefix=${ROOT}=fanlight`,
    `--remap-path-prefix=${process.env.CARGO_HOME ?? path.join(homedir(), '.cargo')}=cargo`,
  ];
  const targetDir = path.join(ROOT, 'target', `wasm-${build}`);
  const profile = options.quick ? 'quick' : 'release';
  const cargo = ['build', '--profile', profile, '--lib', '--locked', '--target', TARGET, '--target-dir', targetDir, ...crate];
  await timed(
    `${build}: compiled`,
    run(build, 'sh', ['tools/rust-wasm.sh', ...cargo], { CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f') }),
  );
  await tool;

  const module = path.join(targetDir, TARGET, profile, 'fanlight.wasm');
  const out = folderOf(build);
  const stamp = {
    sources,
    input: sha256(await readFile(module), await readFile(BINDGEN)),
    names: options.names,
    optimised: options['no-opt'] || options.quick ? '' : OPT_LEVEL,
  };
  const before = await stampIn(out);
  const same = before.input === stamp.input && before.names === stamp.names;
  const sign = (/** @type {object} */ stamp) => writeFile(path.join(out, 'stamp.json'), `${JSON.stringify(stamp, null, 2)}\n`);
  if (same && (before.optimised === OPT_LEVEL || before.optimised === stamp.optimised)) {
    await sign({ ...before, sources }); // other sources may make the same module
    return console.log(`  ${build}: up to date`);
  }

  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await run(build, BINDGEN, [module, out, name, ...(options.names ? ['--names'] : [])]);
  const wasm = path.join(out, `${name}_bg.wasm`);
  if (stamp.optimised) {
    const optimised = `${wasm}.tmp`;
    const flags = [OPT_LEVEL, ...OPT_FEATURES, ...optFeatures, ...(options.names ? ['--debuginfo'] : [])];
    const wasmOpt = path.join(ROOT, 'node_modules/binaryen/bin/wasm-opt');
    if (!existsSync(wasmOpt)) throw new Error('wasm-opt is missing: run `npm ci` (or `make wasm`, which does)');
    await timed(`${build}: wasm-opt`, run(build, process.execPath, [wasmOpt, ...flags, wasm, '-o', optimised]));
    await rename(optimised, wasm);
  }
  await sign(stamp); // last: without it the folder is not finished
  console.log(`  ${build}: ${(await stat(wasm)).size.toLocaleString('en')} bytes in pkg/wasm/${build}`);
}

/** The glue and the module speak a private format, so that tool and crate must have one version. */
async function checkBindgenVersion() {
  const crate = await lockedVersion('Cargo.lock', 'wasm-bindgen');
  const tool = await lockedVersion('tools/bindgen/Cargo.lock', 'wasm-bindgen-cli-support');
  if (crate === tool) return;
  throw new Error(
    `Cargo.lock has wasm-bindgen ${crate}, tools/bindgen/Cargo.lock has wasm-bindgen-cli-support ${tool}. ` +
      `Write "=${crate}" in tools/bindgen/Cargo.toml and run: cargo update --manifest-path tools/bindgen/Cargo.toml`,
  );
}

/**
 * @param {string} lockFile
 * @param {string} name
 */
async function lockedVersion(lockFile, name) {
  const text = await readFile(path.join(ROOT, lockFile), 'utf8');
  const version = new RegExp(`name = "${name}"\\nversion = "([^"]+)"`).exec(text)?.[1];
  if (!version) throw new Error(`${lockFile} does not name ${name}`);
  return version;
}

async function buildBindgen() {
  const manifest = path.join(ROOT, 'tools/bindgen/Cargo.toml');
  const target = path.join(ROOT, 'tools/target');
  await run('bindgen', 'cargo', ['build', '--release', '--locked', '--manifest-path', manifest, '--target-dir', target]);
}

/**
 * Waits for `work`, then says what is done and how long it took.
 * @param {string} what
 * @param {Promise<void>} work
 */
async function timed(what, work) {
  const began = performance.now();
  await work;
  console.log(`  ${what} in ${((performance.now() - began) / 1000).toFixed(1)} s`);
}

/**
 * Runs a program in the project's folder; each line it prints is marked with `label`.
 * @param {string} label
 * @param {string} program
 * @param {string[]} args
 * @param {Record<string, string>} env
 * @returns {Promise<void>}
 */
function run(label, program, args, env = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        // Several builds begin at once, and each waits a moment for the others.
        if (!line.includes('Blocking waiting for file lock on package cache')) console.log(`  [${label}] ${line}`);
      });
    }
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${label}: ${program} ended with ${code}`))));
  });
}
