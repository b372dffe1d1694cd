#!/usr/bin/env node
// What takes too long for every run of the tests: kills of the browser at random moments, aborts by the hundred, flipped bits by
// the thousand, models loaded and disposed again and again.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { startEngine } from '../tests/browser/support/engines.mjs';
import { Lab, modelRequests, ROOT, serve, TINY } from '../tests/browser/support/browser.mjs';

const HELP = `soak.mjs [WHAT…]: kills, aborts, flips, memory (all of them when none is named)

  --times N       how often each (kills 200, aborts 200, flips 1000, memory 50)
  --model PATH    a file for aborts and memory, in place of the small model of the repository
  --stage NAME    of aborts: only this one (download, load, prefill, decode, classify)
  --seed N        of the random choices (1)
  --help          this text`;

const BLOCK = 1 << 18;
/** A busy machine starts a browser in its own time. */
const PATIENCE_MS = 180_000;
/** Aborts at these stages end a load; at the others there is a model. */
const LOADING = new Set(['download', 'load']);
const QUESTION = 'What is Fanlight?';
const ANSWER = /^Fanlight runs small open language models inside a web page\./;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    times: { type: 'string' },
    model: { type: 'string' },
    stage: { type: 'string' },
    seed: { type: 'string', default: '1' },
    help: { type: 'boolean', default: false },
  },
});

/** Random numbers from a seed (xorshift). */
let state = Number(values.seed) | 1;
function random() {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) / 2 ** 32;
}

/** @type {Record<string, (times: number | undefined) => Promise<void>>} */
const WHAT = { kills, aborts, flips, memory };
if (values.help) {
  console.log(HELP);
} else {
  for (const name of positionals.length > 0 ? positionals : Object.keys(WHAT)) {
    const work = WHAT[name];
    if (!work) throw new Error(`no ${name}: expected ${Object.keys(WHAT).join(', ')}`);
    await work(values.times === undefined ? undefined : Number(values.times));
  }
}

/** Runs it with a server and a profile, which go afterwards. @param {(server: import('../tests/browser/support/browser.mjs').Server, start: () => Promise<any>, profile: string) => Promise<void>} work @param {Record<string, string>} [mounts] */
async function withBrowser(work, mounts = {}) {
  /** @type {(() => unknown)[]} */
  const after = [];
  const t = /** @type {any} */ ({ after: (/** @type {() => unknown} */ end) => after.push(end) });
  const server = await serve(t, { mounts, isolated: true });
  const profile = await mkdtemp(path.join(tmpdir(), 'fanlight-soak-'));
  try {
    const start = async () => {
      const context = await startEngine(profile, { timeout: PATIENCE_MS });
      context.setDefaultTimeout(PATIENCE_MS);
      return context;
    };
    await work(server, start, profile);
  } finally {
    for (const end of after) await end();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** The browser is killed in the middle of downloads from a server that misbehaves. @param {number | undefined} times */
async function kills(times = 200) {
  const size = (await readFile(path.join(ROOT, TINY))).length;
  let [killed, completed, fromZero, corrupt] = [0, 0, 0, 0];
  await withBrowser(async (server, start, profile) => {
    server.fault = ({ path: asked }) => {
      if (!asked.endsWith('.gguf')) return undefined;
      const bytesPerSecond = 600_000 + random() * 2_000_000;
      const dice = random();
      if (dice < 0.1) return { status: 503 };
      if (dice < 0.2) return { status: 200, body: '<html>Sign in</html>', headers: { 'Content-Type': 'text/html' } };
      if (dice < 0.5) return { bytesPerSecond, cutAfter: Math.floor(random() * 1_500_000) };
      return { bytesPerSecond };
    };
    let stored = 0;
    while (killed < times) {
      const context = await start();
      const lab = await Lab.open({ context }, server);
      // One download after the other, until one is caught in the middle.
      for (;;) {
        const before = modelRequests(server).length;
        const loading = lab.call('load', { source: TINY }).catch(() => ({ value: undefined, error: undefined }));
        // From the first request on: what comes before is no download.
        const asked = async () => {
          while (modelRequests(server).length === before) await sleep(10);
          await sleep(random() * 2_500);
        };
        const done = await Promise.race([loading, asked().then(() => undefined)]);
        const first = modelRequests(server)[before];
        if (first && stored >= BLOCK && first.headers.range === undefined) fromZero += 1;
        if (done?.error && done.error.code !== 'network' && done.error.code !== 'not-a-gguf') {
          throw new Error(`${done.error.code}: ${done.error.message}`);
        }
        if (!done?.value) break;
        if (!ANSWER.test(await lab.ask(QUESTION))) corrupt += 1;
        completed += 1;
        await lab.get('models', ['clear']);
        stored = 0;
      }
      const [part] = await lab.get('models', ['list']).catch(() => []);
      stored = part?.bytes ?? stored;
      const pid = Number(/-(\d+)$/.exec(await readlink(path.join(profile, 'SingletonLock')))?.[1]);
      process.kill(pid, 'SIGKILL');
      killed += 1;
      await context.close().catch(() => {});
      await sleep(50);
      if (killed % 20 === 0) console.log(`kills: ${killed} so far; ${completed} completed, ${fromZero} from byte 0, ${corrupt} corrupt`);
    }
    // In the end it arrives.
    server.fault = () => undefined;
    const context = await start();
    const lab = await Lab.open({ context }, server);
    await lab.load(TINY);
    if (!ANSWER.test(await lab.ask(QUESTION))) corrupt += 1;
    completed += 1;
    await context.close();
  });
  console.log(`kills: ${killed} of a file of ${size} bytes; ${completed} downloads completed, ${fromZero} began again from byte 0, ${corrupt} corrupt`);
  assert.deepEqual([fromZero, corrupt], [0, 0]);
}

/** How long an abort takes, at each stage. @param {number | undefined} times */
async function aborts(times = 200) {
  const model = values.model ? `/models/${path.basename(values.model)}` : TINY;
  const mounts = values.model ? { models: path.dirname(path.resolve(values.model)) } : undefined;
  await withBrowser(async (server, start) => {
    const context = await start();
    const lab = await Lab.open({ context }, server);
    const stages = ['download', 'load', 'prefill', 'decode', 'classify'].filter((stage) => stage === (values.stage ?? stage));
    for (const stage of stages) {
      server.fault = ({ path: asked }) => (stage === 'download' && asked.endsWith('.gguf') ? { bytesPerSecond: 3_000_000 } : undefined);
      if (!LOADING.has(stage)) await lab.load(model, { threads: 2, contextLength: 4096 }).catch(() => lab.load(model, { threads: 2 }));
      /** @type {number[]} */
      const taken = [];
      for (let time = 0; time < times; time++) {
        const ms = await lab.get('abortTime', { stage, source: model, after: 5 + random() * 250 });
        if (ms !== undefined) taken.push(ms);
        if (stage === 'download') await lab.get('models', ['clear']);
      }
      taken.sort((one, other) => one - other);
      const at = (/** @type {number} */ part) => taken[Math.min(taken.length - 1, Math.floor(part * taken.length))]?.toFixed(1);
      console.log(`aborts: ${stage}: ${taken.length} heard, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`);
      if (stage === 'download') await lab.load(model, { threads: 2 });
    }
    await context.close();
  }, mounts);
}

/** Each single bit that is turned in storage is found. @param {number | undefined} times */
async function flips(times = 1000) {
  const { length } = await readFile(path.join(ROOT, TINY));
  await withBrowser(async (server, start) => {
    const context = await start();
    const lab = await Lab.open({ context }, server);
    await lab.load(TINY);
    // One in each block, so that each is found by its own sum; `verify` looks at every block.
    const blocks = Math.ceil(length / BLOCK);
    let [found, asked] = [0, 0];
    for (; asked < times; asked += blocks) {
      const places = Array.from({ length: blocks }, (_, block) => {
        const room = Math.min(BLOCK, length - block * BLOCK);
        return { at: block * BLOCK + Math.floor(random() * room), bit: Math.floor(random() * 8) };
      });
      await lab.get('flip', places);
      const { ok, damagedBlocks } = await lab.get('models', ['verify', TINY]);
      if (!ok) found += damagedBlocks;
      await lab.get('flip', places);
    }
    assert.equal((await lab.get('models', ['verify', TINY])).ok, true, 'turned back, all is well');
    console.log(`flips: ${found} of ${asked} found`);
    assert.equal(found, asked);
    await context.close();
  });
}

/** The memory of the browser stays flat over loading and disposing. @param {number | undefined} times */
async function memory(times = 50) {
  const model = values.model ? `/models/${path.basename(values.model)}` : TINY;
  const mounts = values.model ? { models: path.dirname(path.resolve(values.model)) } : undefined;
  await withBrowser(async (server, start, profile) => {
    const context = await start();
    const lab = await Lab.open({ context }, server);
    const pid = (await readlink(path.join(profile, 'SingletonLock'))).replace(/^.*-/, '');
    const sizes = [];
    for (let time = 0; time < times; time++) {
      await lab.load(model, { threads: 2 });
      await lab.get('complete', { prompt: 'Fanlight', max_tokens: 4 });
      await lab.get('dispose');
      await lab.workersGone();
      await sleep(300);
      sizes.push(treeBytes(Number(pid)));
    }
    const megabytes = sizes.map((bytes) => Math.round(bytes / 1e6));
    const [first = 1] = megabytes;
    const last = megabytes.at(-1) ?? 0;
    console.log(`memory: ${times} times loaded and disposed; MB after each: ${megabytes.join(' ')}; last / first ${(last / first).toFixed(3)}`);
    await context.close();
  }, mounts);
}

/** Bytes that a process and those it started have in memory. @param {number} pid */
function treeBytes(pid) {
  const rows = execFileSync('ps', ['-e', '-o', 'pid=,ppid=,rss='], { encoding: 'utf8' }).trim().split('\n');
  const processes = rows.map((row) => row.trim().split(/\s+/).map(Number));
  const tree = new Set([pid]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const [own = 0, parent = 0] of processes) {
      if (tree.has(parent) && !tree.has(own)) grown = Boolean(tree.add(own));
    }
  }
  return processes.reduce((bytes, [own = 0, , kilobytes = 0]) => bytes + (tree.has(own) ? kilobytes * 1024 : 0), 0);
}
