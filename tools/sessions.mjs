#!/usr/bin/env node
// How long a saved session takes to come back, and what it weighs.

import path from 'node:path';
import { parseArgs } from 'node:util';
import { Lab, launch, serve } from '../tests/browser/support/browser.mjs';

const HELP = `sessions.mjs --model FILE [options]: how long a saved session takes to come back, as milliseconds on the clock

  --model FILE   a GGUF file
  --tokens N     of the text that is saved (1000)
  --threads N    workers (1)
  --rounds N     (5)
  --help         this text

\`make wasm js\` must have been run. "first token" is a completion of one token after the restored text and a word. "fresh page": the model
is in storage, the session in the browser's cache; "to the first token" counts from the loaded model, and so holds the session, too.`;

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    tokens: { type: 'string', default: '1000' },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '5' },
    help: { type: 'boolean' },
  },
});
if (values.help || !values.model) console.log(HELP);
else await main(path.resolve(values.model), Number(values.tokens), Number(values.threads), Number(values.rounds));

/** @param {string} model @param {number} tokens @param {number} threads @param {number} rounds */
async function main(model, tokens, threads, rounds) {
  /** @type {(() => unknown)[]} */
  const ends = [];
  const t = /** @type {any} */ ({ after: (/** @type {() => unknown} */ end) => ends.unshift(end) });
  const server = await serve(t, { mounts: { models: path.dirname(model) } });
  const { page } = await Lab.open(await launch(t), server);
  const source = `/models/${path.basename(model)}`;
  const found = await page.evaluate(measure, { source, tokens, threads, rounds });
  for (let round = 0; round < rounds; round += 1) {
    await page.reload();
    const times = await page.evaluate(visit, { source, threads, prompt: found.prompt });
    for (const [name, time] of Object.entries(times)) (found.times[`fresh page: ${name}`] ??= []).push(time);
  }
  for (const end of ends) await end();
  console.log(`saved ${found.tokens} tokens: ${(found.bytes / 1e6).toFixed(1)} MB`);
  for (const [name, times] of Object.entries(found.times)) {
    const sorted = times.toSorted((a, b) => a - b).map(Math.round);
    console.log(`${name.padEnd(34)} median ${sorted[Math.floor(rounds / 2)]} ms (${sorted.join(', ')})`);
  }
}

/** In the page. @param {{ source: string, tokens: number, threads: number, rounds: number }} what */
async function measure({ source, tokens, threads, rounds }) {
  const entry = '/pkg/dist/index.js';
  const { Fanlight } = /** @type {typeof import('../pkg/dist/index.js')} */ (await import(entry));
  const model = await Fanlight.load(source, { threads, contextLength: 4096 });
  let prompt = '';
  for (let n = 0; (await model.countTokens(prompt)) < tokens; n += 1) prompt += ` word${n}`;
  const session = await model.session();
  const known = await session.prefill({ prompt });
  /** @type {Record<string, number[]>} */
  const times = { save: [], 'session({ from: Blob })': [], restore: [], 'session({ from: bytes })': [], clone: [], 'first token': [] };
  /** @template T @param {string} name @param {() => Promise<T>} work */
  const timed = async (name, work) => {
    const began = performance.now();
    const done = await work();
    times[name]?.push(performance.now() - began);
    return done;
  };
  let bytes = 0;
  for (let round = 0; round < rounds; round += 1) {
    const blob = await timed('save', () => session.save());
    bytes = blob.size;
    const own = await blob.arrayBuffer();
    const opened = await timed('session({ from: Blob })', () => model.session({ from: blob }));
    await timed('restore', () => opened.restore(blob));
    // What a request adds is not to be saved in the next round.
    const { usage } = await timed('first token', () => opened.completions.create({ prompt: `${prompt} and`, max_tokens: 1 }));
    if (usage?.prompt_tokens_details?.cached_tokens !== known) throw new Error(`of ${known} saved tokens: ${JSON.stringify(usage)}`);
    const others = [opened, await timed('session({ from: bytes })', () => model.session({ from: own })), await timed('clone', () => session.clone())];
    for (const other of others) await other.dispose();
  }
  await (await caches.open('sessions')).put('/saved', new Response(await session.save()));
  await model.dispose();
  return { prompt, tokens: known, bytes, times };
}

/** In a page that was just opened. @param {{ source: string, threads: number, prompt: string }} what */
async function visit({ source, threads, prompt }) {
  const entry = '/pkg/dist/index.js';
  const { Fanlight } = /** @type {typeof import('../pkg/dist/index.js')} */ (await import(entry));
  const began = performance.now();
  const model = await Fanlight.load(source, { threads, contextLength: 4096 });
  const loaded = performance.now();
  const saved = await (await caches.match('/saved'))?.blob();
  if (!saved) throw new Error('the session is not in the cache');
  const session = await model.session({ from: saved });
  await session.completions.create({ prompt: `${prompt} and`, max_tokens: 1 });
  const end = performance.now();
  await model.dispose();
  return { load: loaded - began, 'to the first token': end - loaded };
}
