// An answer as it was written, with what the schema forced told apart from what the model chose.

import { make } from './dom.js';

/** Parts of a text: where each begins and ends. @typedef {readonly (readonly [number, number])[]} Parts */

/**
 * More parts, of a text that goes on. Parts that touch become one.
 * @param {[number, number][]} parts
 * @param {number} before the length of the text so far
 * @param {Parts | undefined} more places in what comes after it
 */
export function addParts(parts, before, more) {
  for (const [from, to] of more ?? []) {
    const last = parts.at(-1);
    if (last && last[1] === before + from) last[1] = before + to;
    else parts.push([before + from, before + to]);
  }
}

/** The text: what was forced as `span.forced`, what was chosen as `b`. @param {string} text @param {Parts} forced */
export function markForced(text, forced) {
  const line = document.createDocumentFragment();
  let at = 0;
  for (const [from, to] of forced) {
    if (at < from) line.append(make('b', '', text.slice(at, from)));
    line.append(make('span', 'forced', text.slice(from, to)));
    at = to;
  }
  if (at < text.length) line.append(make('b', '', text.slice(at)));
  return line;
}
