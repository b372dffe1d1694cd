// The room that turns documents into JSON. What comes out obeys the schema, whatever the model would rather write.

import { find, make } from './dom.js';
import { readText, takeDrops } from './drop.js';
import { engine } from './engine.js';
import { addParts, markForced } from './forced.js';
import { perSecond } from './format.js';
import { jsonTree } from './json-tree.js';
import { partialJson } from './partial-json.js';
import { showProblem } from './rooms.js';
import { documents as samples } from './samples.js';
import { copies, save } from './save.js';
import { request } from './schema.js';
import { currentSchema, setFields, setUpSchemaEditor } from './schema-editor.js';
import { samplingOptions, setting } from './settings.js';
import { writeCsv } from './csv.js';

/** @typedef {import('./vendor/fanlight/dist/index.js').Timings} Timings */
/**
 * A document, and what was found in it.
 * @typedef {object} Item
 * @property {string} name
 * @property {string} text
 * @property {Blob} [image] to be read first
 * @property {'new' | 'reading' | 'working' | 'done' | 'stopped' | 'failed'} state
 * @property {string} answer JSON, as far as it has come
 * @property {[number, number][]} forced the parts of it that the schema forced
 * @property {string} facts
 * @property {unknown} [error]
 */

const STATES = { new: 'waits', reading: 'reading the image', working: 'working', done: 'done', stopped: 'stopped', failed: 'failed' };

const text = find('doc-text', HTMLTextAreaElement);
const problem = find('extract-problem', HTMLDivElement);
const start = find('extract-start', HTMLButtonElement);
const stop = find('extract-stop', HTMLButtonElement);
const files = find('doc-files', HTMLInputElement);
const list = find('doc-list', HTMLUListElement);
const result = find('extract-result', HTMLDivElement);

/** @type {Item[]} */
let items = [newItem('Text', '')];
/** The one that is shown. */
let shown = items[0];
/** @type {AbortController | undefined} */
let working;

/** Wires the room. */
export function setUpExtract() {
  setUpSchemaEditor(() => {
    working?.abort();
    items.forEach(forget);
    update();
  });
  find('doc-samples', HTMLDivElement).append(
    ...samples.map((sample) => {
      const button = make('button', 'quiet', sample.name);
      button.type = 'button';
      button.addEventListener('click', () => {
        setFields(sample.fields);
        setItems([newItem(sample.name, sample.text)]);
      });
      return button;
    }),
  );
  text.addEventListener('input', () => {
    if (!shown) return;
    shown.text = text.value;
    forget(shown);
    update();
  });
  files.addEventListener('change', () => {
    void addFiles([...(files.files ?? [])]);
    files.value = '';
  });
  takeDrops((dropped) => {
    if (document.body.dataset['room'] !== 'extract' || dropped.some(({ name }) => name.endsWith('.gguf'))) return false;
    void addFiles(dropped);
    return true;
  });
  text.addEventListener('paste', (event) => {
    const images = [...(event.clipboardData?.files ?? [])];
    // A table's cells come as text and as a picture of them: the text is exact.
    if (images.length === 0 || event.clipboardData?.getData('text/plain')) return;
    event.preventDefault();
    void addFiles(images);
  });
  start.addEventListener('click', () => void extractAll());
  stop.addEventListener('click', () => working?.abort());
  find('extract-json', HTMLButtonElement).addEventListener('click', () => {
    save('fanlight.json', 'application/json', `${JSON.stringify(results(), null, 2)}\n`);
  });
  find('extract-csv', HTMLButtonElement).addEventListener('click', () => save('fanlight.csv', 'text/csv', asCsv()));
  copies(find('extract-copy', HTMLButtonElement), () => JSON.stringify(results(), null, 2));
  engine.addEventListener('change', update);
  const [first] = samples;
  if (first) {
    setFields(first.fields);
    setItems([newItem(first.name, first.text)]);
  }
}

// ---- Documents -------------------------------------------------------------------------------------------------

/** @param {string} name @param {string} text @param {Blob} [image] @returns {Item} */
function newItem(name, text, image) {
  return { name, text, ...(image && { image }), state: 'new', answer: '', forced: [], facts: '' };
}

/** @param {Item[]} others */
function setItems(others) {
  working?.abort();
  items = others;
  show(items[0]);
}

/** Images are read when their turn comes; anything else is taken for text. @param {File[]} added */
async function addFiles(added) {
  const more = await Promise.all(
    added.map(async (file) => {
      if (file.type.startsWith('image/')) return newItem(file.name, '', file);
      const item = newItem(file.name, '');
      item.text = await readText(file).catch((error) => fail(item, error));
      return item;
    }),
  );
  const isEmpty = (/** @type {Item} */ { text, image, state }) => text.trim() === '' && !image && state !== 'reading' && state !== 'failed';
  const kept = items.filter((item) => !isEmpty(item) && !samples.some((each) => each.text === item.text));
  items = [...kept, ...more];
  show(more[0]);
  for (const item of more) if (item.image) await read(item);
}

/** @param {Item} item @param {unknown} error @returns {string} its text: there is none */
function fail(item, error) {
  item.state = 'failed';
  item.error = error;
  return '';
}

/** The text of an image. @param {Item} item */
async function read(item) {
  if (!item.image) return;
  const image = item.image;
  delete item.image;
  item.state = 'reading';
  update();
  try {
    const { readImage } = await import('./ocr.js');
    item.text = await readImage(image, (share) => {
      item.facts = `${Math.round(share * 100)} %`;
      update();
    });
    item.state = 'new';
    item.facts = '';
    if (item.text === '') throw new Error('No text was found in the image.');
  } catch (error) {
    fail(item, error instanceof Error ? error : new Error(`The image could not be read. ${error}`));
  }
  if (shown === item) show(item);
  else update();
}

/** What was found does not hold any more. @param {Item} item */
function forget(item) {
  if (item.state === 'reading' || (item.state === 'failed' && item.text === '')) return;
  Object.assign(item, { state: 'new', answer: '', forced: [], facts: '' });
  delete item.error;
}

// ---- Work ------------------------------------------------------------------------------------------------------

async function extractAll() {
  const { model } = engine;
  if (!model || working) return;
  const abort = (working = new AbortController());
  showProblem(problem);
  try {
    const schema = currentSchema();
    const waiting = items.some(({ state }) => state !== 'done') ? items.filter(({ state }) => state !== 'done') : items;
    const signal = AbortSignal.any([abort.signal, engine.signal]);
    let follow = true;
    for (const item of [...waiting]) {
      if (signal.aborted || item.state === 'reading' || item.text.trim() === '') continue;
      forget(item);
      if (follow) show(item);
      await extractOne(model, item, schema, signal);
      follow = shown === item; // who looks at another one stays there
    }
  } catch (error) {
    showProblem(problem, error);
  } finally {
    if (working === abort) working = undefined;
    update();
  }
}

/**
 * @param {import('./engine.js').Model} model
 * @param {Item} item
 * @param {Record<string, unknown>} schema
 * @param {AbortSignal} signal
 */
async function extractOne(model, item, schema, signal) {
  item.state = 'working';
  update();
  result.closest('.card')?.scrollIntoView({ block: 'nearest' });
  try {
    const stream = await model.chat.completions.create(
      {
        temperature: 0,
        ...samplingOptions(),
        enable_thinking: false,
        messages: [{ role: 'user', content: request(schema, item.text) }],
        response_format: { type: 'json_schema', json_schema: { name: 'document', strict: true, schema } },
        stream: true,
      },
      { signal },
    );
    let finish = '';
    for await (const { choices, timings } of stream) {
      signal.throwIfAborted();
      addParts(item.forced, item.answer.length, choices[0]?.forced);
      item.answer += choices[0]?.delta.content ?? '';
      finish = choices[0]?.finish_reason ?? finish;
      if (timings) item.facts = factsOf(timings);
      requestShow(item);
    }
    if (finish === 'length') throw new Error(cutOff(model));
    item.state = 'done';
  } catch (error) {
    if (!signal.aborted) fail(item, error);
    else if (item.state === 'working') item.state = 'stopped';
  }
  if (shown === item) show(item);
  else update();
}

/** Why an answer did not come to its end. @param {import('./engine.js').Model} model */
function cutOff(model) {
  if (setting('max_tokens')) return 'The answer was cut off: Settings allow no longer one.';
  const { contextLength } = model.info();
  return `The answer was cut off: this document and its answer need more than the ${contextLength} tokens of context.`;
}

/** @param {Timings} timings */
function factsOf(timings) {
  const { predicted_n: tokens, forced_n: forced, predicted_ms: ms, prompt_ms: prompt } = timings;
  const seconds = ((ms + prompt) / 1000).toFixed(2);
  return [
    `${tokens} tokens in ${seconds} s`,
    ...(forced > 0 ? [`${forced} of them forced by the schema, so not computed one by one`] : []),
    ...(timings.predicted_per_second > 0 ? [`${perSecond(timings.predicted_per_second)} tokens/s`] : []),
  ].join(' · ');
}

// ---- Results ---------------------------------------------------------------------------------------------------

/** What was found: of several documents with their names. */
function results() {
  const done = items.filter(({ state }) => state === 'done');
  const all = done.map(({ name, answer }) => ({ document: name, ...JSON.parse(answer) }));
  const [only] = done;
  return items.length === 1 && only ? JSON.parse(only.answer) : all;
}

function asCsv() {
  const rows = items.filter(({ state }) => state === 'done').map(({ name, answer }) => ({ document: name, ...JSON.parse(answer) }));
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  return writeCsv([columns, ...rows.map((row) => columns.map((column) => row[column]))]);
}

// ---- What is shown ---------------------------------------------------------------------------------------------

let frame = 0;

/** Soon, and not more often than the screen. @param {Item} item */
function requestShow(item) {
  if (item !== shown) return;
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    showResult();
  });
}

/** @param {Item | undefined} item */
function show(item) {
  shown = item;
  text.value = item?.text ?? '';
  update();
}

function update() {
  const { length } = items;
  start.disabled = !engine.model || working !== undefined || items.every(({ text, state }) => text.trim() === '' || state === 'reading');
  start.textContent = length > 1 ? `Extract all ${length}` : 'Extract';
  stop.hidden = working === undefined;
  text.disabled = shown?.state === 'reading' || shown?.state === 'working';
  list.hidden = length < 2;
  const rows = items.map(rowOf);
  if (rows.length !== list.children.length || rows.some((row, at) => row !== list.children[at])) list.replaceChildren(...rows);
  showResult();
}

/** The documents' places in the list: an element that is replaced would lose the focus. @type {WeakMap<Item, HTMLLIElement>} */
const places = new WeakMap();

/** @param {Item} item */
function rowOf(item) {
  let row = places.get(item);
  if (!row) {
    const button = make('button', 'item');
    button.type = 'button';
    button.append(make('span', '', item.name), make('span', 'soft'));
    button.addEventListener('click', () => show(item));
    row = make('li');
    row.append(button);
    places.set(item, row);
  }
  const { firstElementChild: button } = row;
  if (button?.lastElementChild) button.lastElementChild.textContent = STATES[item.state];
  if (item === shown) button?.setAttribute('aria-current', 'true');
  else button?.removeAttribute('aria-current');
  return row;
}

function showResult() {
  const value = partialJson(shown?.answer ?? '');
  const busy = shown?.state === 'working' || shown?.state === 'reading';
  result.setAttribute('aria-busy', String(busy));
  if (value !== undefined) result.replaceChildren(jsonTree(value));
  else result.replaceChildren(make('p', 'soft', waitingText()));
  find('extract-raw', HTMLDetailsElement).hidden = !shown?.answer;
  find('extract-text', HTMLPreElement).replaceChildren(markForced(shown?.answer ?? '', shown?.forced ?? []));
  find('extract-facts', HTMLParagraphElement).textContent = shown?.state === 'reading' ? '' : (shown?.facts ?? '');
  showProblem(find('item-problem', HTMLDivElement), shown?.error);
  const none = !items.some(({ state }) => state === 'done');
  for (const id of ['extract-json', 'extract-csv', 'extract-copy']) find(id, HTMLButtonElement).disabled = none;
}

function waitingText() {
  if (shown?.state === 'reading') return `Reading the image … ${shown.facts}`;
  if (shown?.state === 'working') return 'Reading the document …';
  return 'What is found comes here, field by field.';
}
