// The room that measures: files and numbers of workers against each other, by length of the context.

import { find, make } from './dom.js';
import { engine } from './engine.js';
import { bytes, perSecond } from './format.js';
import { endBench, fanlightBench } from './measure.js';
import { plot } from './plot.js';
import { showProblem } from './rooms.js';
import { copies } from './save.js';

/**
 * What was measured of one model with so many workers at one length. Rates are in tokens per second.
 * @typedef {object} Row
 * @property {string} label
 * @property {number} context
 * @property {number} read
 * @property {number} write
 * @property {number} firstMs until the first token
 * @property {number} memory bytes
 */

/** @typedef {{ source: import('./engine.js').Source, name: string, threads: number }} Candidate `threads` 0: chosen */

const status = find('bench-status', HTMLSpanElement);
const problem = find('bench-problem', HTMLDivElement);
const start = find('bench-start', HTMLButtonElement);
const stop = find('bench-stop', HTMLButtonElement);
const models = find('bench-models', HTMLTextAreaElement);
const field = (/** @type {string} */ id) => find(id, HTMLInputElement);
/** All that was measured, as JSON. */
let measured = '';

/** Wires the room. */
export function setUpBench() {
  const threads = new URLSearchParams(location.search).get('threads');
  if (threads) field('bench-threads').value = threads;
  copies(find('bench-copy', HTMLButtonElement), () => measured);
  /** What the field says when nobody wrote in it. */
  let proposed = '';
  engine.addEventListener('change', () => {
    const { choice } = engine;
    if (!choice || models.value !== proposed) return;
    models.value = proposed = typeof choice.source === 'string' ? choice.source : choice.name;
  });
  /** @type {AbortController | undefined} */
  let measuring;
  stop.addEventListener('click', () => measuring?.abort());
  find('bench-form', HTMLFormElement).addEventListener('submit', async (event) => {
    event.preventDefault();
    if (measuring) return;
    const { signal } = (measuring = new AbortController());
    start.hidden = true;
    stop.hidden = false;
    showProblem(problem);
    const { choice, status: before } = engine;
    try {
      await engine.release(); // its memory, and its part of the processor
      await measure(choice, signal);
      status.textContent = 'Done';
    } catch (error) {
      status.textContent = signal.aborted ? 'Stopped' : '';
      showProblem(problem, error);
    } finally {
      await endBench();
      measuring = undefined;
      start.hidden = false;
      stop.hidden = true;
    }
    const used = before === 'ready' || before === 'loading';
    if (choice && used && engine.status === 'none') void engine.load(choice);
  });
}

/**
 * @param {import('./engine.js').Choice | undefined} choice
 * @param {AbortSignal} signal
 */
async function measure(choice, signal) {
  const lengths = numbers('bench-lengths', 'Context lengths');
  const [predict = 1] = numbers('bench-predict', 'Tokens to write');
  const [runs = 1] = numbers('bench-runs', 'Runs');
  const contextLength = Math.max(...lengths) + predict;
  /** @type {Row[]} */
  const rows = [];
  /** @type {unknown[]} */
  const infos = [];
  for (const { source, name, threads } of candidates(choice)) {
    const options = { model: source, contextLength, predict, signal, ...(threads > 0 && { threads }) };
    /** @type {import('./measure.js').Tell} */
    const tell = (text, progress) => {
      status.textContent = `${name}: ${text}`;
      if (progress) engine.note(source, progress);
    };
    tell('warming up');
    const { info } = await fanlightBench({ ...options, promptTokens: Math.min(32, ...lengths), runs: 1 }, tell);
    infos.push(info);
    const label = `${name}, ${info.shards} ${info.shards === 1 ? 'worker' : 'workers'}`;
    for (const context of lengths) {
      tell(`${info.shards} ${info.shards === 1 ? 'worker' : 'workers'}, ${context} tokens`);
      const { prefill, decode } = await fanlightBench({ ...options, promptTokens: context, runs });
      const firstMs = median(prefill.map(({ ms }) => ms));
      const memory = info.weightBytes + info.kvBytes + info.bufferBytes;
      rows.push({ label, context, read: medianRate(prefill), write: medianRate(decode), firstMs, memory });
      show(rows, infos);
    }
  }
}

/** Every model with every number of workers. @param {import('./engine.js').Choice | undefined} choice @returns {Candidate[]} */
function candidates(choice) {
  const text = field('bench-threads').value.trim();
  const threads = text === '' || text === 'auto' ? [0] : numbers('bench-threads', 'Workers');
  const sources = models.value.split('\n').map((line) => line.trim());
  return sources
    .filter((line) => line !== '')
    .flatMap((line) => {
      const isChosen = choice && typeof choice.source !== 'string' && line === choice.name;
      const source = isChosen ? choice.source : line;
      const name = line.slice(line.lastIndexOf('/') + 1).replace(/\.gguf$/, '');
      return threads.map((threads) => ({ source, name, threads }));
    });
}

/** @param {string} id @param {string} what */
function numbers(id, what) {
  const list = field(id).value.split(',').map(Number);
  if (list.every((each) => Number.isInteger(each) && each >= 1)) return list;
  throw new Error(`${what} are whole numbers with commas between them, such as 1, 2, 4.`);
}

/** @param {number[]} list */
function median(list) {
  return [...list].sort((a, b) => a - b)[list.length >> 1] ?? 0;
}

/** @param {{ tokens: number, ms: number }[]} runs */
function medianRate(runs) {
  return median(runs.map(({ tokens, ms }) => (tokens * 1000) / Math.max(ms, 1e-3)));
}

/** @param {Row[]} rows @param {unknown[]} models */
function show(rows, models) {
  find('bench-result', HTMLElement).hidden = false;
  const cells = rows.map(({ label, context, read, write, firstMs, memory }) => {
    const row = make('tr');
    const head = make('th', '', label);
    head.scope = 'row';
    const values = [String(context), perSecond(read), perSecond(write), `${Math.round(firstMs)} ms`, bytes(memory)];
    row.append(head, ...values.map((text) => make('td', '', text)));
    return row;
  });
  find('bench-rows', HTMLTableSectionElement).replaceChildren(...cells);
  const labels = [...new Set(rows.map(({ label }) => label))];
  const series = (/** @type {'read' | 'write'} */ name) =>
    labels.map((label) => ({
      label,
      points: rows.filter((row) => row.label === label).map((row) => ({ x: row.context, y: row[name] })),
    }));
  find('bench-plots', HTMLDivElement).replaceChildren(
    plot('Reading a prompt, tokens/s', 'by tokens of the prompt', series('read')),
    plot('Writing an answer, tokens/s', 'by tokens before it', series('write')),
  );
  const { userAgent, hardwareConcurrency } = navigator;
  measured = JSON.stringify({ models, rows, userAgent, hardwareConcurrency }, null, 2);
}
