// The room for conversations: ask, stop, ask again, ask differently. With tools, the model may call them before it answers.

import { FanlightError } from './vendor/fanlight/dist/index.js';
import { Exchange, scrollDown } from './conversation.js';
import { find, make } from './dom.js';
import { engine } from './engine.js';
import { warmUpMarkdown } from './markdown.js';
import { showProblem } from './rooms.js';
import { samplingOptions } from './settings.js';
import { tools } from './tools.js';

/** @typedef {import('./vendor/fanlight/dist/index.js').ChatMessage} ChatMessage */
/** @typedef {import('./vendor/fanlight/dist/index.js').Timings} Timings */
/** @typedef {import('./vendor/fanlight/dist/index.js').ChatCompletionChunk} Chunk */
/** @typedef {{ question: string, messages: ChatMessage[], view: Exchange }} Turn `messages`: what came after the question */

const question = find('question', HTMLTextAreaElement);
const send = find('send', HTMLButtonElement);
const stop = find('stop', HTMLButtonElement);
const newChat = find('new-chat', HTMLButtonElement);
const problem = find('chat-problem', HTMLDivElement);
const suggestions = find('suggestions', HTMLDivElement);
const system = find('system', HTMLTextAreaElement);
const thinking = find('thinking', HTMLSelectElement);

/** @type {Turn[]} */
let turns = [];
/** The answer on its way. @type {AbortController | undefined} */
let answering;

/** Wires the room. */
export function setUpChat() {
  setUpTools();
  warmUpMarkdown();
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
  /** Whose conversation it is. @type {unknown} */
  let source;
  engine.addEventListener('change', () => {
    if (engine.status === 'loading' && source !== engine.choice?.source) {
      source = engine.choice?.source;
      startOver();
    }
    if (engine.status === 'ready') {
      showSuggestions(turns.length > 0 ? [] : (engine.choice?.suggestions ?? []));
      if (document.activeElement === document.body && !matchMedia('(pointer: coarse)').matches) {
        question.focus({ preventScroll: true });
      }
    }
    const plain = engine.choice?.plain === true;
    find('tools', HTMLFieldSetElement).disabled = thinking.disabled = plain;
    find('plain', HTMLParagraphElement).hidden = !plain;
    update();
  });
}

/** @param {string} text */
async function ask(text) {
  const { model } = engine;
  if (!model || answering || text.trim() === '') return;
  const abort = (answering = new AbortController());
  const view = new Exchange(text, { onEdit: (other) => askFrom(turn, other), onAgain: () => askFrom(turn, text) });
  /** @type {Turn} */
  const turn = { question: text, messages: [], view };
  turns.push(turn);
  if (question.value === text) question.value = '';
  fitQuestion();
  showProblem(problem);
  showSuggestions([]);
  update();
  try {
    const signal = AbortSignal.any([abort.signal, engine.signal]);
    const { timings, finish } = await answer(model, turn, signal);
    view.end(timings, finish === 'length' ? 'cut off: as long as it may be' : '');
  } catch (error) {
    if (error instanceof FanlightError && error.code === 'aborted') {
      view.end(undefined, 'stopped');
      turn.messages.push({ role: 'assistant', content: view.said });
    } else if (turns.includes(turn)) {
      // The question did not get its answer: it may be asked again, or differently.
      forget(turn);
      question.value ||= text;
      fitQuestion();
      showProblem(problem, error);
    }
  } finally {
    if (answering === abort) answering = undefined;
    update();
  }
}

/**
 * One answer, shown as it comes. Its messages are the turn's when it ends.
 * @param {import('./engine.js').Model} model
 * @param {Turn} turn
 * @param {AbortSignal} signal
 */
async function answer(model, turn, signal) {
  const before = messages();
  const params = {
    messages: before,
    ...samplingOptions(),
    ...(thinking.value && !thinking.disabled && { enable_thinking: thinking.value === 'on' }),
  };
  /** @type {Timings | undefined} */
  let timings;
  let finish = '';
  const show = (/** @type {Chunk} */ { choices, timings: measured }) => {
    const { delta, finish_reason } = choices[0] ?? {};
    if (delta?.reasoning_content) turn.view.addThought(delta.reasoning_content);
    if (delta?.content) turn.view.add(delta.content);
    finish = finish_reason ?? finish;
    timings = measured ?? timings;
  };
  const chosen = chosenTools();
  if (chosen.length === 0) {
    const stream = await model.chat.completions.create({ ...params, stream: true }, { signal });
    for await (const chunk of stream) show(chunk);
    turn.messages = [{ role: 'assistant', content: turn.view.said }];
  } else {
    for await (const event of await model.runTools({ ...params, tools: chosen, stream: true }, { signal })) {
      if (event.type === 'chunk') show(event.chunk);
      if (event.type === 'tool_call') turn.view.addCall(event.call);
      if (event.type === 'tool_result') turn.view.addResult(event.call.id, event.content, event.failed);
      if (event.type === 'end') turn.messages = event.result.messages.slice(before.length);
    }
  }
  return { timings, finish };
}

/** The conversation so far, as the model gets it. @returns {ChatMessage[]} */
function messages() {
  const prompt = system.value.trim();
  return [
    ...(prompt ? [/** @type {const} */ ({ role: 'system', content: prompt })] : []),
    ...turns.flatMap(({ question, messages }) => [
      /** @type {const} */ ({ role: 'user', content: question }),
      ...messages,
    ]),
  ];
}

/** Back to this turn, with this question in its place. @param {Turn} turn @param {string} text */
async function askFrom(turn, text) {
  answering?.abort();
  while (answering) await new Promise((resolve) => setTimeout(resolve, 10));
  for (const later of turns.slice(turns.indexOf(turn)).reverse()) forget(later);
  await ask(text);
}

/** @param {Turn} turn */
function forget(turn) {
  turns = turns.filter((each) => each !== turn);
  turn.view.remove();
}

function startOver() {
  answering?.abort();
  for (const turn of [...turns]) forget(turn);
  showProblem(problem);
  showSuggestions(engine.status === 'ready' ? (engine.choice?.suggestions ?? []) : []);
  update();
}

// ---- What is shown ---------------------------------------------------------------------------------------------

function update() {
  send.disabled = !engine.model;
  send.hidden = answering !== undefined;
  stop.hidden = answering === undefined;
  newChat.hidden = turns.length === 0;
  find('intro', HTMLDivElement).hidden = turns.length > 0;
}

/** @param {string[]} texts */
function showSuggestions(texts) {
  suggestions.hidden = texts.length === 0;
  suggestions.replaceChildren(
    ...texts.map((text) => {
      // A question about a text is called by its first line.
      const [line = '', ...more] = text.split('\n');
      const button = make('button', 'quiet', more.length > 0 ? `${line} (a receipt)` : line);
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
  if (document.activeElement === question) scrollDown();
}

function setUpTools() {
  find('tools', HTMLFieldSetElement).append(
    ...tools.map(({ label, tool }) => {
      const element = make('label', 'check');
      const box = make('input');
      box.type = 'checkbox';
      box.value = tool.function.name;
      element.append(box, label);
      return element;
    }),
  );
}

function chosenTools() {
  const boxes = find('tools', HTMLFieldSetElement).querySelectorAll('input:checked:enabled');
  const names = new Set([...boxes].map((box) => (box instanceof HTMLInputElement ? box.value : '')));
  return tools.map(({ tool }) => tool).filter((tool) => names.has(tool.function.name));
}
