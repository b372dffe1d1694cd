// The conversation on the page. What a model says is shown as text, never as markup.

import { find, make } from './dom.js';
import { duration, perSecond } from './format.js';

const log = find('conversation', HTMLDivElement);

/** A question, and an answer that grows. */
export class Exchange {
  #question = make('div', 'message question');
  #element = make('div', 'message answer');
  #text = make('div', 'answer-text');
  #foot = make('p', 'answer-foot');
  /** @type {HTMLDetailsElement | undefined} */
  #thoughts;
  #thinkingSince = 0;

  /** @param {string} question */
  constructor(question) {
    this.#question.textContent = question;
    this.#element.setAttribute('aria-busy', 'true');
    this.#element.append(this.#text, this.#foot);
    log.append(this.#question, this.#element);
    scrollDown();
  }

  /** More of the answer. @param {string} text */
  add(text) {
    this.#endThoughts();
    this.#grow(this.#text, text);
  }

  /** More of what the model thinks before it answers. @param {string} text */
  addThought(text) {
    if (!this.#thoughts) {
      this.#thinkingSince = performance.now();
      this.#thoughts = make('details', 'thoughts');
      this.#thoughts.append(make('summary', '', 'Thinking …'), make('div', 'thoughts-text'));
      this.#text.before(this.#thoughts);
    }
    if (this.#thoughts.lastElementChild) this.#grow(this.#thoughts.lastElementChild, text);
  }

  /** @param {import('../pkg/dist/index.js').Timings | undefined} timings @param {string} [remark] */
  end(timings, remark) {
    this.#endThoughts();
    this.#element.removeAttribute('aria-busy');
    const { predicted_n: tokens = 0, predicted_per_second: speed = 0, prompt_ms: wait = 0 } = timings ?? {};
    this.#foot.textContent = [
      ...(tokens > 0 ? [`${tokens} tokens`] : []),
      ...(speed > 0 ? [`${perSecond(speed)} tokens/s`] : []),
      ...(wait > 0 ? [`first after ${(wait / 1000).toFixed(2)} s`] : []),
      ...(remark ? [remark] : []),
    ].join(' · ');
    scrollDown();
  }

  /** It came to nothing. */
  remove() {
    this.#question.remove();
    this.#element.remove();
  }

  #endThoughts() {
    if (!this.#thinkingSince || !this.#thoughts?.firstElementChild) return;
    const seconds = (performance.now() - this.#thinkingSince) / 1000;
    this.#thoughts.firstElementChild.textContent = `Thought for ${duration(Math.max(1, seconds))}`;
    this.#thinkingSince = 0;
  }

  /** @param {Element} element @param {string} text */
  #grow(element, text) {
    const follow = isAtEnd();
    if (element.lastChild instanceof Text) element.lastChild.appendData(text);
    else element.append(text);
    if (follow) scrollDown();
  }
}

export function clearConversation() {
  log.replaceChildren();
}

/** The reader has not scrolled up to read something else. */
function isAtEnd() {
  return innerHeight + scrollY >= document.documentElement.scrollHeight - 120;
}

/** To what was said last. */
export function scrollDown() {
  scrollTo({ top: document.documentElement.scrollHeight });
}
