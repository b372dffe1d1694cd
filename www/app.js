// A page that talks: load a model, ask it, show what it says. Copy what you like.

import { Fanlight, FanlightError } from '../pkg/dist/index.js';
import { clearConversation, Exchange, scrollDown } from './conversation.js';
import { find, make } from './dom.js';
import { hideLoading, showLoading, showProgress } from './loading.js';
import { builtIn } from './models.js';
import { nameOf, setUpPicker } from './picker.js';

/** @typedef {import('../pkg/dist/index.js').Model} Model */
/** @typedef {import('../pkg/dist/index.js').ChatMessage} ChatMessage */
/** @typedef {import('../pkg/dist/index.js').Timings} Timings */

const question = find('question', HTMLTextAreaElement);
const send = find('send', HTMLButtonElement);
const stop = find('stop', HTMLButtonElement);
const newChat = find('new-chat', HTMLButtonElement);
const problem = find('problem', HTMLDivElement);
const suggestions = find('suggestions', HTMLDivElement);
const mode = find('mode', HTMLParagraphElement);

/** @type {Model | undefined} */
let model;
/** @type {ChatMessage[]} */
let messages = [];
/** What is on its way: a model, or an answer. @type {AbortController | undefined} */
let loading;
/** @type {AbortController | undefined} */
let answering;

// ---- Loading a model -------------------------------------------------------------------------------------------

/** @param {import('./picker.js').Choice} choice */
async function load(choice) {
  loading?.abort();
  answering?.abort();
  const abort = (loading = new AbortController());
  await model?.dispose();
  model = undefined;
  startOver();
  showProblem();
  showLoading(choice.name);
  mode.textContent = 'No model is loaded.';
  try {
    const { signal } = abort;
    model = await Fanlight.load(choice.source, { ...engineOptions(), signal, onProgress: showProgress });
    showModel(model);
    showSuggestions(choice.suggestions ?? []);
    question.focus({ preventScroll: true });
  } catch (error) {
    if (loading === abort) showProblem(error);
  } finally {
    if (loading === abort) {
      loading = undefined;
      hideLoading();
    }
    update();
  }
}

/** The address of the page may ask for a number of workers and so on: `?threads=2&transport=messages`. */
function engineOptions() {
  const wanted = new URLSearchParams(location.search);
  /** @type {Record<string, string | number>} */
  const options = {};
  for (const name of ['threads', 'contextLength']) if (wanted.has(name)) options[name] = Number(wanted.get(name));
  for (const name of ['transport', 'build']) options[name] = wanted.get(name) ?? 'auto';
  return options;
}

/** @param {Model} model */
function showModel(model) {
  const { name, quantization, shards, transport, build, contextLength } = model.info();
  const exchanges = { none: '', shared: ' over shared memory', messages: ' over messages' };
  mode.textContent = [
    name,
    quantization,
    `${shards} ${shards === 1 ? 'worker' : `workers${exchanges[transport]}`}`,
    build === 'relaxed' ? 'relaxed SIMD' : 'SIMD',
    `${contextLength.toLocaleString('en')} tokens of context`,
  ].join(' · ');
}

// ---- Asking ----------------------------------------------------------------------------------------------------

/** @param {string} text */
async function ask(text) {
  if (!model || answering || text.trim() === '') return;
  const abort = (answering = new AbortController());
  const asked = messages;
  messages = [...asked, { role: 'user', content: text }];
  question.value = '';
  fitQuestion();
  showProblem();
  showSuggestions([]);
  update();

  const answer = new Exchange(text);
  let content = '';
  /** @type {Timings | undefined} */
  let timings;
  try {
    const stream = await model.chat.completions.create({ messages, stream: true }, { signal: abort.signal });
    let finish = '';
    for await (const { choices, timings: measured } of stream) {
      const { delta, finish_reason } = choices[0] ?? {};
      if (delta?.reasoning_content) answer.addThought(delta.reasoning_content);
      if (delta?.content) answer.add(delta.content);
      content += delta?.content ?? '';
      finish = finish_reason ?? finish;
      timings = measured ?? timings;
    }
    answer.end(timings, finish === 'length' ? 'the context is full' : '');
    messages = [...messages, { role: 'assistant', content }];
  } catch (error) {
    if (error instanceof FanlightError && error.code === 'aborted') {
      answer.end(undefined, 'stopped');
      messages = [...messages, { role: 'assistant', content }];
    } else {
      // The question did not get its answer: it may be asked again, or differently.
      answer.remove();
      messages = asked;
      question.value ||= text;
      fitQuestion();
      showProblem(error);
    }
  } finally {
    answering = undefined;
    update();
  }
}

function startOver() {
  answering?.abort();
  messages = [];
  clearConversation();
  showSuggestions([]);
  update();
}

// ---- What is shown ---------------------------------------------------------------------------------------------

function update() {
  send.disabled = !model;
  send.hidden = answering !== undefined;
  stop.hidden = answering === undefined;
  newChat.hidden = messages.length === 0;
  find('intro', HTMLElement).hidden = messages.length > 0;
}

/** @param {unknown} [error] */
function showProblem(error) {
  problem.replaceChildren();
  problem.hidden = error === undefined || (error instanceof FanlightError && error.code === 'aborted');
  if (problem.hidden) return;
  const { code, message } = error instanceof FanlightError ? error : { code: 'error', message: String(error) };
  problem.append(make('code', '', code), make('p', '', message));
  scrollDown();
}

/** @param {string[]} texts */
function showSuggestions(texts) {
  suggestions.hidden = texts.length === 0;
  suggestions.replaceChildren(
    ...texts.map((text) => {
      const button = make('button', 'quiet', text);
      button.type = 'button';
      button.addEventListener('click', () => void ask(text));
      return button;
    }),
  );
}

/** The field grows with its text. */
function fitQuestion() {
  question.style.height = 'auto';
  question.style.height = `${question.scrollHeight}px`;
}

// ---- Wiring ----------------------------------------------------------------------------------------------------

find('composer', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  void ask(question.value);
});
question.addEventListener('input', fitQuestion);
question.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  void ask(question.value);
});
addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !document.querySelector('dialog[open]')) answering?.abort();
});
stop.addEventListener('click', () => answering?.abort());
newChat.addEventListener('click', () => {
  startOver();
  question.focus();
});
find('loading-stop', HTMLButtonElement).addEventListener('click', () => loading?.abort());
setUpPicker((choice) => void load(choice));

const wanted = new URLSearchParams(location.search).get('model');
void load(wanted ? { name: nameOf(wanted), source: wanted } : { ...builtIn, source: builtIn.url });
