#!/usr/bin/env node
// How soon a stored model is ready, beside wllama on the same file in the same browser.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { withBrowser } from './browser.mjs';
import { startServer } from './serve.mjs';

const HELP = `warm.mjs --model FILE [options]: milliseconds from the call of load to the model, when the file is in browser storage

  --model FILE    a GGUF file
  --times N       how often each (5): by turns, each time in a fresh page; the first load, which fetches the file, is not counted
  --wllama DIR    a folder with node_modules/@wllama/wllama, to compare with; without it, that is left out
  --help          this text

CHROMIUM names the browser. One worker each, a context of 2048 tokens.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    times: { type: 'string', default: '5' },
    wllama: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

/** Each runs in the page, and gives the milliseconds of one load. */
const ENGINES = {
  /** @param {string} model */
  async Fanlight(model) {
    const { Fanlight } = await import(/** @type {any} */ ('/pkg/dist/index.js'));
    const began = performance.now();
    await Fanlight.load(model, { threads: 1, contextLength: 2048 });
    return performance.now() - began;
  },
  /** @param {string} model */
  async wllama(model) {
    const { Wllama } = await import(/** @type {any} */ ('/peer/esm/index.js'));
    const engine = new Wllama({ default: '/peer/esm/wasm/wllama.wasm' }, { suppressNativeLog: true });
    const began = performance.now();
    await engine.loadModelFromUrl(model, { n_threads: 1, n_ctx: 2048, n_batch: 512, n_gpu_layers: 0, n_parallel: 1 });
    return performance.now() - began;
  },
};

if (values.help) console.log(HELP);
else await main();

async function main() {
  if (!values.model) throw new Error('name a file: --model FILE');
  const model = path.resolve(values.model);
  const mounts = { models: path.dirname(model), ...(values.wllama && { peer: path.join(values.wllama, 'node_modules/@wllama/wllama') }) };
  const server = await startServer({ root: ROOT, mounts, isolated: true });
  try {
    const engines = Object.entries(ENGINES).filter(([name]) => name === 'Fanlight' || values.wllama);
    /** @type {Record<string, number[]>} */
    const taken = Object.fromEntries(engines.map(([name]) => [name, []]));
    await withBrowser(server.url, async ({ page, timed }) => {
      for (let time = 0; time <= Number(values.times); time++) {
        for (const [name, load] of engines) {
          await page.reload();
          const { value, cpu } = await timed(load, `${server.url}models/${path.basename(model)}`);
          if (time > 0) taken[name]?.push(Math.round(value));
          console.log(`${name}${time === 0 ? ', first' : ''}: ${Math.round(value)} ms, ${Math.round(cpu)} ms of processor time`);
        }
      }
    });
    for (const [name, all] of Object.entries(taken)) {
      const median = all.toSorted((one, other) => one - other)[all.length >> 1];
      console.log(`${name}: ${all.join(' ')} ms, median ${median}`);
    }
  } finally {
    await server.close();
  }
}
