// Measures how fast a model runs here. A person uses the form; a program calls `window.fanlightBench(options)`.

import { Fanlight, FanlightError } from '../pkg/dist/index.js';
import { find, make } from './dom.js';
import { bytes, perSecond } from './format.js';

/**
 * What to measure.
 * @typedef {object} BenchOptions
 * @property {string} model the address of a GGUF file
 * @property {number} [threads] workers; without it the package chooses
 * @property {number} [promptTokens] tokens of each prompt
 * @property {number} [predict] tokens to generate, whatever they are
 * @property {number} [runs]
 * @property {'auto' | 'simd128' | 'relaxed'} [build]
 * @property {'auto' | 'shared' | 'messages'} [transport]
 * @property {number} [contextLength]
 * @property {'f32' | 'f16' | 'q16' | 'q8'} [kvType]
 */

/**
 * One entry for each run. The first generated token comes out of the prompt: `decode.tokens` is one less than `predict`.
 * @typedef {object} BenchResult
 * @property {{ tokens: number, ms: number }[]} prefill
 * @property {{ tokens: number, ms: number }[]} decode
 * @property {number} threads
 * @property {import('../pkg/dist/index.js').ModelInfo} info
 */

/** @typedef {import('../pkg/dist/index.js').Model} Model */

/** @type {{ key: string, model: Promise<Model> } | undefined} */
let loaded;

/**
 * The model of these options; kept until another one is asked for.
 * @param {BenchOptions} options
 * @param {(text: string) => void} tell
 */
async function load({ model, threads, build, transport, contextLength, kvType }, tell = () => {}) {
  const key = JSON.stringify([model, threads, build, transport, contextLength, kvType]);
  if (loaded?.key !== key) {
    const previous = await loaded?.model.catch(() => undefined);
    await previous?.dispose();
    const options = {
      ...(threads && { threads }),
      ...(build && { build }),
      ...(transport && { transport }),
      ...(contextLength && { contextLength }),
      ...(kvType && { kvType }),
      onProgress: (/** @type {{ phase: string, loaded: number, total?: number }} */ { phase, loaded, total }) =>
        tell(`${phase}: ${bytes(loaded)}${total ? ` of ${bytes(total)}` : ''}`),
    };
    loaded = { key, model: Fanlight.load(new URL(model, location.href), options) };
    loaded.model.catch(() => (loaded = undefined));
  }
  return loaded.model;
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
 * @param {(text: string) => void} [tell]
 * @returns {Promise<BenchResult>}
 */
export async function fanlightBench(options, tell) {
  const { promptTokens = 128, predict = 32, runs = 1 } = options;
  const model = await load(options, tell);
  const info = model.info();
  /** @type {BenchResult} */
  const result = { prefill: [], decode: [], threads: info.shards, info };
  for (let run = 0; run < runs; run++) {
    const answer = await model.completions.create({
      prompt: prompt(promptTokens, info.vocabularySize),
      max_tokens: predict,
      temperature: 0,
      ignore_eos: true,
    });
    if (!answer.timings) throw new Error('the answer came without timings');
    const { prompt_n, prompt_ms, predicted_n, predicted_ms } = answer.timings;
    result.prefill.push({ tokens: prompt_n, ms: prompt_ms });
    result.decode.push({ tokens: predicted_n - 1, ms: predicted_ms });
  }
  return result;
}

Object.assign(window, { fanlightBench });

// ---- The form --------------------------------------------------------------------------------------------------

const status = find('status', HTMLParagraphElement);
const problem = find('problem', HTMLDivElement);
const start = find('start', HTMLButtonElement);
const field = (/** @type {string} */ id) => find(id, HTMLInputElement);

/** @typedef {{ context: number, read: number, write: number }} Row tokens per second */

/** @param {{ tokens: number, ms: number }[]} runs */
function medianRate(runs) {
  const rates = runs.map(({ tokens, ms }) => (tokens * 1000) / Math.max(ms, 1e-3)).sort((a, b) => a - b);
  return rates[rates.length >> 1] ?? 0;
}

async function measure() {
  const threads = Number(field('threads').value);
  const lengths = field('lengths').value.split(',').map(Number);
  if (lengths.some((length) => !Number.isInteger(length) || length < 1)) {
    throw new Error('Context lengths are whole numbers with commas between them, such as 32, 128, 512.');
  }
  const predict = Number(field('predict').value);
  /** @type {BenchOptions} */
  const options = {
    model: field('model').value,
    ...(threads > 0 && { threads }),
    contextLength: Math.max(...lengths) + predict,
    predict,
    runs: Number(field('runs').value),
  };
  const tell = (/** @type {string} */ text) => (status.textContent = text);
  /** @type {Row[]} */
  const rows = [];
  tell('Warming up');
  let last = await fanlightBench({ ...options, promptTokens: 32, runs: 1 }, tell);
  for (const context of lengths) {
    tell(`Measuring at ${context} tokens`);
    last = await fanlightBench({ ...options, promptTokens: context }, tell);
    rows.push({ context, read: medianRate(last.prefill), write: medianRate(last.decode) });
    show(rows, last.info);
  }
  tell('Done');
}

/**
 * @param {Row[]} rows
 * @param {BenchResult['info']} info
 */
function show(rows, info) {
  find('result', HTMLElement).hidden = false;
  const cells = rows.map(({ context, read, write }) => {
    const row = make('tr');
    row.append(...[String(context), perSecond(read), perSecond(write)].map((text) => make('td', '', text)));
    return row;
  });
  find('rows', HTMLTableSectionElement).replaceChildren(...cells);
  const shards = info.shards === 1 ? '1 worker' : `${info.shards} workers over ${info.transport}`;
  find('about', HTMLParagraphElement).textContent =
    `${info.name || info.architecture} ${info.quantization}, ${bytes(info.fileBytes)}; ${shards}; build ${info.build}`;
  plot(rows);
  find('copy', HTMLButtonElement).onclick = () =>
    navigator.clipboard.writeText(JSON.stringify({ info, rows, userAgent: navigator.userAgent }, null, 2));
}

/** @param {Row[]} rows */
function plot(rows) {
  const [left, right, top, bottom] = [48, 624, 28, 264];
  const most = Math.max(...rows.map((row) => Math.max(row.read, row.write)));
  const longest = Math.max(...rows.map((row) => row.context));
  const x = (/** @type {number} */ context) => left + ((right - left) * context) / longest;
  const y = (/** @type {number} */ rate) => bottom - ((bottom - top) * rate) / most;
  const svg = (/** @type {string} */ tag, /** @type {Record<string, string | number>} */ attributes, text = '') => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
    element.textContent = text;
    return element;
  };
  const line = (/** @type {'read' | 'write'} */ name) =>
    svg('polyline', { class: name, points: rows.map((row) => `${x(row.context)},${y(row[name])}`).join(' ') });
  find('plot', SVGSVGElement).replaceChildren(
    svg('path', { class: 'axis', fill: 'none', d: `M${left},${top}V${bottom}H${right}` }),
    svg('text', { x: left, y: 18 }, 'tokens per second: reading (solid), writing (dashed)'),
    svg('text', { x: left - 6, y: y(most) + 4, 'text-anchor': 'end' }, perSecond(most)),
    svg('text', { x: left - 6, y: bottom, 'text-anchor': 'end' }, '0'),
    ...rows.map((row) => svg('text', { x: x(row.context), y: 284, 'text-anchor': 'middle' }, String(row.context))),
    line('read'),
    line('write'),
  );
}

find('settings', HTMLFormElement).addEventListener('submit', async (event) => {
  event.preventDefault();
  start.disabled = true;
  problem.hidden = true;
  try {
    await measure();
  } catch (error) {
    status.textContent = '';
    problem.hidden = false;
    problem.textContent =
      error instanceof FanlightError
        ? `${error.message} (${error.code})`
        : error instanceof Error
          ? error.message
          : String(error);
  }
  start.disabled = false;
});

const address = new URLSearchParams(location.search);
field('model').value = address.get('model') ?? 'models/tiny-chat-q8_0.gguf';
field('threads').value = address.get('threads') ?? '0';
