#!/usr/bin/env node
// What a token costs where several texts are computed together: the engine alone in a page, without workers.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { withBrowser } from './browser.mjs';
import { startServer } from './serve.mjs';

const HELP = `seats.mjs --model FILE [options]: milliseconds for a step of several texts that are computed together, and for a token of it

  --model FILE   a GGUF file. Random weights will do
  --texts LIST   how many at a time (1,2,3,4,6,8)
  --steps N      tokens of each text after the first (8)
  --rounds N     in turns (4): the least time of the whole and of its prompts count
  --engine DIR   the engine's module (pkg/wasm/relaxed)
  --help         this text

Each text has a prompt of its own, so that nothing is shared. The time is that of the clock: nothing else should run.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    texts: { type: 'string', default: '1,2,3,4,6,8' },
    steps: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '4' },
    engine: { type: 'string', default: path.join(ROOT, 'pkg/wasm/relaxed') },
    help: { type: 'boolean' },
  },
});

if (values.help || !values.model) console.log(HELP);
else await main(path.resolve(values.model));

/** @param {string} model */
async function main(model) {
  const mounts = { models: path.dirname(model), engine: path.resolve(values.engine) };
  const server = await startServer({ root: ROOT, mounts, isolated: true });
  const [steps, rounds] = [Number(values.steps), Number(values.rounds)];
  try {
    await withBrowser(server.url, async ({ page }) => {
      console.log(await page.evaluate(load, `/models/${path.basename(model)}`));
      const counts = values.texts.split(',').map(Number);
      /** @type {Map<number, { whole: number, prompts: number }>} */
      const least = new Map(counts.map((count) => [count, { whole: Infinity, prompts: Infinity }]));
      await page.evaluate(answer, { count: 2, tokens: 4, salt: 1 });
      await page.evaluate(answer, { count: 8, tokens: 4, salt: 2 });
      for (let round = 0; round < rounds; round += 1) {
        for (const count of counts) {
          const { whole, prompts } = await page.evaluate(answer, { count, tokens: steps + 1, salt: 100 * round + 7 });
          const known = least.get(count);
          if (known) [known.whole, known.prompts] = [Math.min(known.whole, whole), Math.min(known.prompts, prompts)];
        }
      }
      console.log('texts  ms a step  ms a token');
      for (const [count, { whole, prompts }] of least) {
        const ms = (whole - prompts) / steps;
        console.log(`${String(count).padStart(5)}  ${ms.toFixed(1).padStart(9)}  ${(ms / count).toFixed(1).padStart(10)}`);
      }
    });
  } finally {
    await server.close();
  }
}

/** In the page. @param {string} url */
async function load(url) {
  const glue = await import(/** @type {any} */ ('/engine/fanlight.js'));
  await glue.default({ module_or_path: '/engine/fanlight_bg.wasm' });
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const source = {
    length: bytes.length,
    sums: undefined,
    read: (/** @type {number} */ offset, /** @type {Uint8Array} */ into) => into.set(bytes.subarray(offset, offset + into.length)),
  };
  const engine = new glue.Engine([source], { shard: 0, shards: 1, contextLength: 4096 });
  while (!engine.loadStep());
  Object.assign(globalThis, { engine });
  return JSON.stringify({ kernel: engine.info().kernel, kv: engine.info().kvType });
}

/** In the page: some texts of so many tokens each, and how long they took, and the prompts and first tokens alone. @param {{ count: number, tokens: number, salt: number }} asked */
function answer({ count, tokens, salt }) {
  const { engine } = /** @type {any} */ (globalThis);
  const text = (/** @type {number} */ n) => ({
    promptTokens: Array.from({ length: 16 }, (_, at) => 1000 + ((n + 1) * 7919 + at * 131 + salt * 17) % 20000),
    maxTokens: tokens,
    ignoreEnd: true,
    speculation: false,
    sampling: { temperature: 0 },
  });
  const texts = Array.from({ length: count }, (_, n) => text(n));
  engine.start({ together: texts });
  // The steps take what the whole takes, less the prompts and a first token.
  const run = () => {
    const began = performance.now();
    for (let step = engine.run(); step !== 0; step = engine.run()) if (step === 3) engine.takeOutput();
    return performance.now() - began;
  };
  const whole = run();
  engine.start({ together: texts.map((each) => ({ ...each, maxTokens: 1 })) });
  const prompts = run();
  return { whole, prompts };
}
