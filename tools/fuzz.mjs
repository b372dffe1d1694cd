#!/usr/bin/env node
// Runs the fuzz targets one after the other, each from seeds of its own, and says how much was tried.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HELP = `fuzz.mjs [TARGET…]: runs these fuzz targets of tests/fuzz (all of them when none is named)

  --seconds N   how long each (20)
  --help        this text

Each target is coverage-guided (libFuzzer; the instrumentation is LLVM's own pass, so that stable Rust will do). What it learns stays in
build/fuzz/TARGET; an input that fails is kept in tests/fuzz/findings/TARGET-*, which every later run tries first.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const CRATE = path.join(ROOT, 'tests/fuzz');
const FINDINGS = path.join(CRATE, 'findings');
/** What libFuzzer's own build asks of the compiler. */
const FLAGS = [
  '-Cpasses=sancov-module',
  ...['level=4', 'inline-8bit-counters', 'pc-table', 'trace-compares'].map(
    (what) => `-Cllvm-args=-sanitizer-coverage-${what}`,
  ),
];
/** MB: no input of at most a megabyte justifies more. */
const LIMITS = ['-rss_limit_mb=1024', '-malloc_limit_mb=256', '-timeout=10'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '20' }, help: { type: 'boolean', default: false } },
});
if (values.help) console.log(HELP);
else process.exitCode = await main(positionals);

/** @param {string[]} named */
async function main(named) {
  const programs = (await readdir(path.join(CRATE, 'targets'))).map((file) => path.basename(file, '.rs'));
  const all = programs.filter((name) => name !== 'seeds').sort();
  const targets = named.length > 0 ? named : all;
  const targetDir = path.join(ROOT, 'target/fuzz');
  const env = { ...process.env, CARGO_ENCODED_RUSTFLAGS: FLAGS.join('\x1f') };
  // Named by its own triple, so that build scripts and macros are not instrumented.
  const host = await output('rustc', ['-vV'], env).then((text) => /^host: (.*)$/m.exec(text)?.[1] ?? '');
  const build = ['build', '--release', '--manifest-path', path.join(CRATE, 'Cargo.toml'), '--target-dir', targetDir];
  const code = await run('cargo', [...build, '--target', host], env);
  if (code !== 0) return code;
  const corpora = path.join(ROOT, 'build/fuzz');
  const seeded = await run(path.join(targetDir, host, 'release/seeds'), [], { ...env, FANLIGHT_SEEDS: corpora });
  if (seeded !== 0) throw new Error(`the seeds were not written: exit code ${seeded}`);
  let failed = 0;
  for (const target of targets) {
    if (!all.includes(target)) throw new Error(`no target ${target}: expected ${all.join(', ')}`);
    const corpus = path.join(corpora, target);
    await mkdir(corpus, { recursive: true });
    await seed(target, corpus);
    const options = [`-max_total_time=${values.seconds}`, `-artifact_prefix=${FINDINGS}/${target}-`, ...LIMITS];
    const dictionary = path.join(CRATE, `${target}.dict`);
    if (existsSync(dictionary)) options.push(`-dict=${dictionary}`);
    const binary = path.join(targetDir, host, 'release', target);
    const kept = (await readdir(FINDINGS)).filter((name) => name.startsWith(`${target}-`));
    for (const name of kept) {
      if ((await run(binary, [path.join(FINDINGS, name)], env, () => false)) === 0) continue;
      console.log(`${target}: FAILS AGAIN: tests/fuzz/findings/${name}`);
      failed += 1;
    }
    let done = '';
    const status = await run(binary, [corpus, '-print_final_stats=1', '-max_len=65536', ...options], env, (line) => {
      done = /^stat::number_of_executed_units:\s*(\d+)/.exec(line)?.[1] ?? done;
      return /ERROR|panicked|Test unit written|assertion|left:|right:/.test(line);
    });
    console.log(`${target}: ${done} executions in ${values.seconds} s, ${kept.length} earlier findings; ${status === 0 ? 'nothing found' : 'FOUND SOMETHING'}`);
    if (status !== 0) failed += 1;
  }
  return failed === 0 ? 0 : 1;
}

/**
 * Something to begin with, besides what `seeds` has written: texts of the tests, and of the fixtures where they are.
 * @param {string} target
 * @param {string} corpus
 */
async function seed(target, corpus) {
  const put = (/** @type {string} */ name, /** @type {string} */ text) => writeFile(path.join(corpus, `seed-${name}`), text);
  if (target === 'template') {
    for (const name of await fixtures('templates', '.jinja')) await put(path.basename(name), await readFile(name, 'utf8'));
  }
  // A byte for the kind and eight for the dice come before the text: see the target.
  if (target === 'schema') {
    for (const [name, text] of Object.entries(GRAMMARS)) await put(name, text);
    for (const file of await fixtures('json-schema/tests/draft2020-12', '.json')) {
      const groups = JSON.parse(await readFile(file, 'utf8'));
      for (const [index, { schema }] of groups.entries()) {
        await put(`${path.basename(file, '.json')}-${index}`, `\x02\0\x01\x02\x03\x04\x05\x06\x07${JSON.stringify(schema)}`);
      }
    }
  }
  if (target === 'reply' || target === 'tokenizer') {
    const { chats } = JSON.parse(await readFile(path.join(ROOT, 'tests/golden/tiny-chat.expected.json'), 'utf8'));
    for (const [index, chat] of chats.entries()) {
      const text = String(chat.text ?? chat.prompt ?? JSON.stringify(chat.message));
      await put(String(index), `${target === 'reply' ? '\0\0' : '\0'}${text}`);
    }
  }
}

/** An expression, a grammar, a schema. */
const GRAMMARS = {
  regex: '\0\0\x01\x02\x03\x04\x05\x06\x07[a-z]+@[a-z]{2,5}\\.(com|org)',
  lark: '\x01\0\x01\x02\x03\x04\x05\x06\x07start: "a" b+\nb: /[0-9]+/ | "x" b?',
  json: '\x02\0\x01\x02\x03\x04\x05\x06\x07{"type":"object","properties":{"a":{"enum":["x",1]},"b":{"type":"array","items":{"type":"number"}}}}',
};

/**
 * The files of a folder beside the repository; none where it is absent.
 * @param {string} folder
 * @param {string} ending
 */
async function fixtures(folder, ending) {
  const at = path.join(ROOT, '../shared/fixtures', folder);
  if (!existsSync(at)) return [];
  return (await readdir(at)).filter((name) => name.endsWith(ending)).map((name) => path.join(at, name));
}

/** @param {string} program @param {string[]} args @param {NodeJS.ProcessEnv} env @returns {Promise<string>} */
async function output(program, args, env) {
  let text = '';
  await run(program, args, env, (line) => {
    text += `${line}\n`;
    return false;
  });
  return text;
}

/**
 * Runs a program and gives its exit code; `shown` sees each line and says whether it is printed.
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 * @param {(line: string) => boolean} [shown]
 * @returns {Promise<number>}
 */
function run(program, args, env, shown = () => true) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => shown(line) && console.log(`  ${line}`));
    }
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}
