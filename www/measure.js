// Measures how fast a model runs here: reading a prompt, and writing an answer.

import { Fanlight } from './vendor/fanlight/dist/index.js';
import { bytes } from './format.js';

/**
 * What to measure.
 * @typedef {object} BenchOptions
 * @property {string | File | File[]} model the address of a GGUF file, or a file of the visitor's
 * @property {number} [threads] workers; without it the package chooses
 * @property {number} [promptTokens] tokens of each prompt
 * @property {number} [predict] tokens to generate, whatever they are
 * @property {number} [runs]
 * @property {'auto' | 'simd128' | 'relaxed'} [build]
 * @property {'auto' | 'shared' | 'messages'} [transport]
 * @property {number} [contextLength] tokens
 * @property {'f32' | 'f16' | 'q16' | 'q8'} [kvType]
 * @property {AbortSignal} [signal]
 */

/**
 * One entry for each run. The first generated token comes out of the prompt: `decode.tokens` is one less than `predict`.
 * @typedef {object} BenchResult
 * @property {{ tokens: number, ms: number }[]} prefill
 * @property {{ tokens: number, ms: number }[]} decode
 * @property {number} threads
 * @property {import('./vendor/fanlight/dist/index.js').ModelInfo} info
 */

/** @typedef {import('./vendor/fanlight/dist/index.js').Model} Model */
/** @typedef {import('./vendor/fanlight/dist/index.js').Progress} Progress */
/** @typedef {(text: string, progress?: Progress) => void} Tell hears what is being done */

/** @type {{ key: string, source: BenchOptions['model'], model: Promise<Model> } | undefined} */
let loaded;

/**
 * The model of these options; kept until another one is asked for.
 * @param {BenchOptions} options
 * @param {Tell} tell
 */
async function load({ model, threads, build, transport, contextLength, kvType, signal }, tell = () => {}) {
  const key = JSON.stringify([threads, build, transport, contextLength, kvType]);
  if (loaded?.key !== key || loaded.source !== model) {
    await endBench();
    const options = {
      ...(threads && { threads }),
      ...(build && { build }),
      ...(transport && { transport }),
      ...(contextLength && { contextLength }),
      ...(kvType && { kvType }),
      ...(signal && { signal }),
      onProgress: (/** @type {Progress} */ progress) => {
        const { phase, loaded, total } = progress;
        tell(`${phase}: ${bytes(loaded)}${total ? ` of ${bytes(total)}` : ''}`, progress);
      },
    };
    const source = typeof model === 'string' ? new URL(model, location.href) : model;
    loaded = { key, source: model, model: Fanlight.load(source, options) };
    loaded.model.catch(() => (loaded = undefined));
  }
  return loaded.model;
}

/** Frees the memory of the model that is kept. */
export async function endBench() {
  const previous = await loaded?.model.catch(() => undefined);
  loaded = undefined;
  await previous?.dispose();
}

let prompts = 0;

/**
 * A prompt that no earlier one begins like, so that nothing of it is cached.
 * @param {number} length
 * @param {number} vocabulary
 */
function prompt(length, vocabulary) {
  let state = (++prompts * 2654435761) >>> 0;
  const most = Math.min(vocabulary, 1000);
  return Array.from({ length }, () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return state % most;
  });
}

/**
 * Measures prefill and decode.
 * @param {BenchOptions} options
 * @param {Tell} [tell]
 * @returns {Promise<BenchResult>}
 */
export async function fanlightBench(options, tell) {
  const { promptTokens = 128, predict = 32, runs = 1 } = options;
  const model = await load(options, tell);
  const info = model.info();
  /** @type {BenchResult} */
  const result = { prefill: [], decode: [], threads: info.shards, info };
  for (let run = 0; run < runs; run++) {
    const answer = await model.completions.create(
      { prompt: prompt(promptTokens, info.vocabularySize), max_tokens: predict, temperature: 0, ignore_eos: true, speculation: false },
      { signal: options.signal ?? null },
    );
    if (!answer.timings) throw new Error('the answer came without timings');
    const { prompt_n, prompt_ms, predicted_n, predicted_ms } = answer.timings;
    result.prefill.push({ tokens: prompt_n, ms: prompt_ms });
    result.decode.push({ tokens: predicted_n - 1, ms: predicted_ms });
  }
  return result;
}
