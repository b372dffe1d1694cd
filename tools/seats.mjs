#!/usr/bin/env node
// What a token costs where several texts are computed together: the engine by itself in a page, without a worker.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { withBrowser } from './browser.mjs';
import { startServer } from './serve.mjs';

const HELP = `seats.mjs --model FILE [options]: what a token costs where several texts are computed together

  --model FILE   a GGUF file. Random weights will do
  --texts LIST   how many at a time (1,2,3,4,6,8)
  --steps N      tokens of each text after the first (8)
  --rounds N     in turns (3): the least times count
  --engine DIR   the engine's module (pkg/wasm/relaxed)
  --help         this text

Each text has a prompt of its own, so that nothing is shared. Processor time of the browser, with the prompts' taken out.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    texts: { type: 'string', default: '1,2,3,4,6,8' },
    steps: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '3' },
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
    await withBrowser(server.url, async ({ page, timed }) => {
      console.log(await page.evaluate(load, `/models/${path.basename(model)}`));
      const counts = values.texts.split(',').map(Number);
      /** @type {Map<number, { whole: number, prompts: number }>} */
      const least = new Map(counts.map((count) => [count, { whole: Infinity, prompts: Infinity }]));
      for (let round = -1; round < rounds; round += 1) {
        for (const [count, known] of least) {
          const asked = { count, salt: 100 * round + 107 };
          const whole = await timed(answer, { ...asked, tokens: steps + 1 });
          const prompts = await timed(answer, { ...asked, tokens: 1 });
          // In the first round, the browser is still compiling.
          if (round >= 0) [known.whole, known.prompts] = [Math.min(known.whole, whole.cpu), Math.min(known.prompts, prompts.cpu)];
        }
        if (round < 0) continue;
        const told = [...least].map(([count, { whole, prompts }]) => `${count}: ${((whole - prompts) / steps / count).toFixed(1)}`);
        console.log(`after round ${round + 1}, processor ms a token, by texts: ${told.join(', ')}`);
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
  const options = { shard: 0, shards: 1, contextLength: 4096 };
  const engine = new glue.Engine([source], options);
  while (!engine.loadStep());
  Object.assign(globalThis, { engine });
  return JSON.stringify({ kernel: engine.info().kernel, kv: engine.info().kvType });
}

/** In the page: some texts of so many tokens each. @param {{ count: number, tokens: number, salt: number }} asked */
function answer({ count, tokens, salt }) {
  const { engine } = /** @type {any} */ (globalThis);
  const text = (/** @type {number} */ n) => ({
    promptTokens: Array.from({ length: 8 }, (_, at) => 1000 + (((n + 1) * 7919 + at * 131 + salt * 17) % 20000)),
    maxTokens: tokens,
    ignoreEnd: true,
    speculation: false,
    sampling: { temperature: 0 },
  });
  engine.start({ together: Array.from({ length: count }, (_, n) => text(n)) });
  for (let step = engine.run(); step !== 0; step = engine.run()) if (step === 3) engine.takeOutput();
}
