// The room that puts texts in classes: one text, or all rows of a table.

import { readCsv, writeCsv } from './csv.js';
import { find, make } from './dom.js';
import { readText, takeDrops } from './drop.js';
import { engine } from './engine.js';
import { duration, perSecond } from './format.js';
import { showProblem } from './rooms.js';
import { classes } from './samples.js';
import { save } from './save.js';

/** @typedef {import('./vendor/fanlight/dist/index.js').Classification} Classification */

const SHOWN_ROWS = 200;

const labelsField = find('labels', HTMLTextAreaElement);
const text = find('class-text', HTMLTextAreaElement);
const start = find('classify-start', HTMLButtonElement);
const stop = find('classify-stop', HTMLButtonElement);
const problem = find('classify-problem', HTMLDivElement);
const column = find('class-column', HTMLSelectElement);
const file = find('class-file', HTMLInputElement);

/** The table that was opened: its name, and its rows, the first with the names of the columns. */
let table = { name: '', rows: /** @type {string[][]} */ ([]) };
/** What was found for each row of the table, as far as it has come; nothing for a row without text. @type {(Classification | undefined)[]} */
let found = [];
/** @type {AbortController | undefined} */
let working;

/** Wires the room. */
export function setUpClassify() {
  find('class-samples', HTMLDivElement).append(...classes.map((sample) => chip(sample.name, () => showSample(sample))));
  for (const field of [labelsField, text]) {
    field.addEventListener('input', () => {
      working?.abort();
      showBars();
      update();
    });
  }
  column.addEventListener('change', () => setTable(table));
  start.addEventListener('click', () => void (table.rows.length > 0 ? classifyTable() : classifyOne()));
  stop.addEventListener('click', () => working?.abort());
  file.addEventListener('change', () => {
    void open([...(file.files ?? [])]);
    file.value = '';
  });
  takeDrops((files) => {
    if (document.body.dataset['room'] !== 'classify' || files.some(({ name }) => name.endsWith('.gguf'))) return false;
    void open(files);
    return true;
  });
  find('class-forget', HTMLButtonElement).addEventListener('click', () => setTable({ name: '', rows: [] }));
  find('class-save', HTMLButtonElement).addEventListener('click', () => save('fanlight-labels.csv', 'text/csv', asCsv()));
  engine.addEventListener('change', update);
  const [first] = classes;
  if (first) showSample(first);
  showBars();
}

/** @param {typeof classes[number]} sample */
function showSample({ labels, texts }) {
  working?.abort();
  labelsField.value = labels.join(', ');
  text.value = texts[0] ?? '';
  find('class-texts', HTMLDivElement).replaceChildren(
    ...texts.map((each, index) =>
      chip(`Text ${index + 1}`, () => {
        text.value = each;
        void classifyOne();
      }),
    ),
  );
  showBars();
  update();
}

/** The labels, each once. */
function labels() {
  const list = labelsField.value.split(/[,\n]/).map((label) => label.trim());
  return [...new Set(list)].filter((label) => label !== '');
}

// ---- Work ------------------------------------------------------------------------------------------------------

async function classifyOne() {
  await work(async (model, signal) => {
    const began = performance.now();
    showBars();
    const answer = await model.classify(text.value, labels(), { signal });
    if (signal.aborted) return; // another text is there
    showBars(answer);
    find('classify-facts', HTMLParagraphElement).textContent = `in ${((performance.now() - began) / 1000).toFixed(2)} s`;
  });
}

async function classifyTable() {
  await work(async (model, signal) => {
    const texts = rowsToDo();
    // Rows without text keep their place, and get no label.
    const places = texts.flatMap((each, at) => (each.trim() === '' ? [] : [at]));
    if (places.length === 0) throw new Error('There is no text in this column.');
    found = [];
    const began = performance.now();
    showTable(texts, 0);
    let done = 0;
    for await (const each of model.classify(places.map((at) => texts[at] ?? ''), labels(), { signal, truncate: true })) {
      if (signal.aborted) return; // another table is there
      found[places[done++] ?? 0] = each;
      showTable(texts, (performance.now() - began) / 1000);
    }
    if (signal.aborted) return;
    found.length = texts.length;
    showTable(texts, (performance.now() - began) / 1000);
  });
}

/** In place of what is being done, if anything is. @param {(model: import('./engine.js').Model, signal: AbortSignal) => Promise<void>} task */
async function work(task) {
  const { model } = engine;
  if (!model) return;
  working?.abort();
  const abort = (working = new AbortController());
  showProblem(problem);
  update();
  try {
    if (labels().length < 2) throw new Error('Name at least two labels, with commas between them.');
    await task(model, AbortSignal.any([abort.signal, engine.signal]));
  } catch (error) {
    if (working === abort) showProblem(problem, error);
  } finally {
    if (working === abort) working = undefined;
    update();
  }
}

// ---- Tables ----------------------------------------------------------------------------------------------------

/** @param {File[]} files */
async function open([first]) {
  if (!first) return;
  showProblem(problem);
  const text = await readText(first).catch((error) => showProblem(problem, error));
  if (text === undefined) return;
  const rows = readCsv(text);
  const [head = [], ...body] = rows;
  if (body.length === 0) return showProblem(problem, new Error(`${first.name} has no rows below its first line.`));
  // The column with the longest texts is most likely the one.
  const size = (/** @type {number} */ at) => body.reduce((sum, row) => sum + (row[at]?.length ?? 0), 0);
  const longest = head.map((_, at) => at).sort((a, b) => size(b) - size(a))[0] ?? 0;
  column.replaceChildren(...head.map((name, at) => new Option(name || `column ${at + 1}`, String(at), false, at === longest)));
  setTable({ name: first.name, rows });
}

/** Another table, or another column of it: what was found, or is being looked for, is of the one before. @param {typeof table} other */
function setTable(other) {
  working?.abort();
  table = other;
  found = [];
  update();
}

function rowsToDo() {
  return table.rows.slice(1).map((row) => row[Number(column.value)] ?? '');
}

function asCsv() {
  const [head = [], ...body] = table.rows;
  const rows = body.slice(0, found.length).map((row, index) => {
    const { label, confidence } = found[index] ?? {};
    return [...row, label ?? '', confidence === undefined ? '' : Number(confidence.toFixed(4))];
  });
  return writeCsv([[...head, 'label', 'probability'], ...rows]);
}

// ---- What is shown ---------------------------------------------------------------------------------------------

function update() {
  const many = table.rows.length > 0;
  start.disabled = !engine.model || working !== undefined || (!many && text.value.trim() === '');
  start.textContent = many ? `Classify ${table.rows.length - 1} rows` : 'Classify';
  stop.hidden = working === undefined;
  text.hidden = many;
  find('class-one', HTMLElement).hidden = many;
  find('class-texts', HTMLDivElement).hidden = many;
  find('class-table', HTMLDivElement).hidden = !many;
  find('class-file-name', HTMLSpanElement).textContent = table.name;
  find('class-results', HTMLElement).hidden = found.length === 0;
  find('class-save', HTMLButtonElement).disabled = found.length === 0;
}

/** @param {Classification} [found] */
function showBars(found) {
  const bars = make('ul', 'bars');
  const list = Object.entries(found?.probabilities ?? {}).sort(([, a], [, b]) => b - a);
  bars.append(
    ...list.map(([label, probability], index) => {
      const item = make('li');
      const percent = (probability * 100).toFixed(1);
      const meter = make('span');
      const share = { role: 'meter', 'aria-label': label, 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': percent };
      for (const [name, value] of Object.entries(share)) meter.setAttribute(name, String(value));
      meter.append(make('span'));
      if (meter.firstElementChild instanceof HTMLElement) meter.firstElementChild.style.width = `${percent}%`;
      item.append(
        make('span', index === 0 ? 'name best' : 'name', label),
        meter,
        make('span', 'share', `${percent} %`),
      );
      return item;
    }),
  );
  const hint = make('p', 'soft', 'How likely the model finds each label comes here.');
  find('bars', HTMLDivElement).replaceChildren(found ? bars : hint);
  find('classify-facts', HTMLParagraphElement).textContent = '';
}

/** @param {string[]} texts @param {number} seconds */
function showTable(texts, seconds) {
  update();
  const progress = find('class-progress', HTMLProgressElement);
  progress.max = texts.length;
  progress.value = found.length;
  const rate = found.length / Math.max(seconds, 1e-3);
  const left = found.length > 0 && found.length < texts.length ? `, ${duration((texts.length - found.length) / rate)} left` : '';
  find('class-progress-text', HTMLParagraphElement).textContent =
    `${found.length} of ${texts.length} rows, ${perSecond(rate)} a second${left}`;
  find('class-counts', HTMLUListElement).replaceChildren(
    ...labels().map((label) => make('li', '', `${label}: ${found.filter((each) => each?.label === label).length}`)),
  );
  const rows = find('class-rows', HTMLTableSectionElement);
  if (found.length === 0) rows.replaceChildren();
  for (let at = rows.rows.length; at < Math.min(found.length, SHOWN_ROWS); at++) {
    const { label, confidence } = found[at] ?? {};
    const row = rows.insertRow();
    const share = confidence === undefined ? '' : `${(confidence * 100).toFixed(0)} %`;
    for (const cell of [texts[at], label, share]) row.append(make('td', '', cell ?? ''));
  }
}

/** @param {string} name @param {() => void} onClick */
function chip(name, onClick) {
  const button = make('button', 'quiet', name);
  button.type = 'button';
  button.addEventListener('click', onClick);
  return button;
}
