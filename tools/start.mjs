#!/usr/bin/env node
// Builds what the page needs first, serves it, and builds the rest while people look at it: `make start`.
//
// First comes the engine for browsers with relaxed SIMD and the page's scripts. The engine for other browsers and the module of
// constraints follow; who asks for them before is kept waiting. All three are taken out of pkg/prebuilt, or compiled in a hurry if
// the sources have changed since.

import { spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { folderOf, sourcesOf, stampIn } from './prebuilt.mjs';
import { serve } from './serve.mjs';

const HELP = `start.mjs [options]: builds and serves the page; the options are those of serve.mjs`;
const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const LATER = ['constraints', 'simd128'];

const args = process.argv.slice(2);
if (args.includes('--help')) {
  console.log(HELP);
} else {
  main().catch((error) => {
    console.error(`start: ${error instanceof Error ? error.message : error}`);
    process.exit(1);
  });
}

async function main() {
  const began = performance.now();
  const modules = run('node', ['tools/wasm.mjs', '--quick', '--build', 'relaxed']);
  // The libraries come over the network while the compiler works.
  const libraries = run('make', ['--no-print-directory', 'node_modules/.package-lock.json']);
  const all = await Promise.allSettled([modules, libraries]);
  for (const result of all) if (result.status === 'rejected') throw result.reason;
  // The glue of an older module would go into the scripts, and then meet the new one.
  const sources = await sourcesOf();
  for (const folder of LATER.map(folderOf)) {
    if ((await stampIn(folder)).sources !== sources) await rm(folder, { recursive: true, force: true });
  }
  await run('make', ['--no-print-directory', 'js']);

  // Gently: somebody is looking at the page.
  const builds = LATER.flatMap((build) => ['--build', build]);
  const rest = run('nice', ['-n', '15', 'node', 'tools/wasm.mjs', '--quick', ...builds]).then(() => run('node', ['tools/site.mjs', '--engines']));
  await serve(args, (asked) => (LATER.some((build) => asked.includes(`/wasm/${build}/`)) ? rest : undefined));
  console.log(`  Ready after ${Math.round((performance.now() - began) / 1000)} s.`);
  await rest;
}

/**
 * Runs a program in the project's folder.
 * @param {string} program
 * @param {string[]} args
 * @returns {Promise<void>}
 */
function run(program, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', reject);
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${program} ${args[0]} ended with ${code}`))));
  });
}
