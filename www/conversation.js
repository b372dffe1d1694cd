// The conversation on the page: questions, answers that grow, thoughts, calls of tools.

import { find, make } from './dom.js';
import { duration, perSecond } from './format.js';
import { markdown } from './markdown.js';
import { copies } from './save.js';

const log = find('conversation', HTMLDivElement);

/**
 * What a visitor may do with a turn.
 * @typedef {object} Actions
 * @property {(text: string) => void} onEdit asks this in place of the question
 * @property {() => void} onAgain asks for another answer
 */

/** A question, and an answer that grows. */
export class Exchange {
  #question = make('div', 'message question');
  #answer = make('div', 'message answer');
  #foot = make('p', 'answer-foot');
  #asked;
  #actions;
  #said = '';
  #text = make('div', 'answer-text');
  /** @type {HTMLDetailsElement | undefined} */
  #thoughts;
  #thinkingSince = 0;
  #frame = 0;
  /** @type {Map<string, HTMLElement>} the calls of tools, by their ids */
  #calls = new Map();

  /** @param {string} question @param {Actions} actions */
  constructor(question, actions) {
    this.#asked = question;
    this.#actions = actions;
    this.#showQuestion();
    this.#answer.setAttribute('aria-busy', 'true');
    this.#answer.append(this.#text, this.#foot);
    log.append(this.#question, this.#answer);
    scrollDown();
  }

  /** What was said so far. */
  get said() {
    return this.#said;
  }

  /** More of the answer. @param {string} text */
  add(text) {
    this.#endThoughts();
    this.#said += text;
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  /** More of what the model thinks before it answers. @param {string} text */
  addThought(text) {
    if (!this.#thoughts) {
      this.#thinkingSince = performance.now();
      this.#thoughts = make('details', 'thoughts');
      this.#thoughts.append(make('summary', '', 'Thinking …'), make('div', 'thoughts-text'));
      this.#text.before(this.#thoughts);
    }
    const follow = isAtEnd();
    const element = this.#thoughts.lastElementChild;
    if (element?.lastChild instanceof Text) element.lastChild.appendData(text);
    else element?.append(text);
    if (follow) scrollDown();
  }

  /** A tool begins. @param {{ id: string, function: { name: string, arguments: string } }} call */
  addCall({ id, function: { name, arguments: args } }) {
    const follow = isAtEnd();
    this.#endThoughts();
    this.#finishText();
    const element = make('details', 'call');
    const summary = make('summary');
    summary.append('Calls ', make('code', '', name));
    element.append(summary, make('pre', '', args));
    this.#calls.set(id, element);
    this.#text.before(element);
    this.#newText(element);
    if (follow) scrollDown();
  }

  /** A tool is done. @param {string} id @param {string} content @param {boolean} failed */
  addResult(id, content, failed) {
    const element = this.#calls.get(id);
    element?.classList.toggle('failed', failed);
    element?.append(make('p', 'soft', failed ? 'It failed:' : 'It gave:'), make('pre', '', content));
  }

  /** @param {import('./vendor/fanlight/dist/index.js').Timings | undefined} timings @param {string} [remark] */
  end(timings, remark) {
    const follow = isAtEnd();
    this.#endThoughts();
    this.#finishText();
    this.#answer.removeAttribute('aria-busy');
    const { predicted_n: tokens = 0, predicted_per_second: speed = 0, prompt_ms: wait = 0 } = timings ?? {};
    const facts = [
      ...(tokens > 0 ? [`${tokens} tokens`] : []),
      ...(speed > 0 ? [`${perSecond(speed)} tokens/s`] : []),
      ...(wait > 0 ? [`first after ${(wait / 1000).toFixed(2)} s`] : []),
      ...(remark ? [remark] : []),
    ].join(' · ');
    const copy = link('Copy', () => {});
    copies(copy, () => this.#said);
    this.#foot.replaceChildren(
      make('span', 'facts', facts),
      ...(this.#said ? [copy] : []),
      link('Again', this.#actions.onAgain),
    );
    if (follow) scrollDown();
  }

  /** It came to nothing, or is to be replaced. */
  remove() {
    cancelAnimationFrame(this.#frame);
    this.#question.remove();
    this.#answer.remove();
  }

  #showQuestion() {
    const edit = link('Edit', () => this.#edit());
    edit.setAttribute('aria-label', 'Edit the question');
    this.#question.replaceChildren(make('span', 'question-text', this.#asked), edit);
  }

  #edit() {
    const form = make('form', 'edit');
    const field = make('textarea');
    const save = make('button', 'small', 'Ask this');
    const cancel = link('Cancel', () => {
      this.#showQuestion();
      this.#question.querySelector('button')?.focus();
    });
    field.value = this.#asked;
    field.rows = Math.min(8, this.#asked.split('\n').length + 1);
    field.setAttribute('aria-label', 'The question');
    form.append(field, save, cancel);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (field.value.trim()) this.#actions.onEdit(field.value);
    });
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') cancel.click();
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.#question.replaceChildren(form);
    field.focus();
  }

  /** All of the answer's text again: what came may change how the text before it reads. */
  #render() {
    this.#frame = 0;
    const follow = isAtEnd();
    this.#text.replaceChildren(markdown(this.#said));
    if (follow) scrollDown();
  }

  #finishText() {
    cancelAnimationFrame(this.#frame);
    if (this.#said) this.#render();
  }

  /** What is said after a tool stands below its call. @param {HTMLElement} after */
  #newText(after) {
    if (this.#said) after.before(this.#text);
    this.#said = '';
    this.#text = make('div', 'answer-text');
    after.after(this.#text);
  }

  #endThoughts() {
    if (!this.#thinkingSince || !this.#thoughts?.firstElementChild) return;
    const seconds = (performance.now() - this.#thinkingSince) / 1000;
    this.#thoughts.firstElementChild.textContent = `Thought for ${duration(Math.max(1, seconds))}`;
    this.#thinkingSince = 0;
  }
}

/** A button that looks like a word. @param {string} text @param {() => void} onClick */
function link(text, onClick) {
  const button = make('button', 'word', text);
  button.type = 'button';
  button.addEventListener('click', onClick);
  return button;
}

/** The conversation is looked at, and nobody has scrolled up to read something else. */
function isAtEnd() {
  return log.offsetParent !== null && innerHeight + scrollY >= document.documentElement.scrollHeight - 120;
}

/** To what was said last, if the conversation is looked at. */
export function scrollDown() {
  if (log.offsetParent !== null) scrollTo({ top: document.documentElement.scrollHeight });
}
