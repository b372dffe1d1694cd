// JSON that is still being written: what there is of it so far.

const BROKEN = Symbol('broken off');

/**
 * The value of a text that may break off anywhere; nothing while there is none. A string that breaks off is there as far as it
 * goes, a number or a word that may go on is not there yet.
 * @param {string} text
 * @returns {unknown}
 */
export function partialJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    const value = new Reader(text).value();
    return value === BROKEN ? undefined : value;
  }
}

class Reader {
  #text;
  #at = 0;

  /** @param {string} text */
  constructor(text) {
    this.#text = text;
  }

  /** @returns {unknown} */
  value() {
    const next = this.#peek();
    if (next === '{') return this.#object();
    if (next === '[') return this.#array();
    if (next === '"') return this.#string();
    const word = /[^\s,\]}]*/y;
    word.lastIndex = this.#at;
    const found = word.exec(this.#text)?.[0] ?? '';
    this.#at += found.length;
    if (found === '' || this.#at >= this.#text.length) return BROKEN;
    try {
      return JSON.parse(found);
    } catch {
      return BROKEN;
    }
  }

  #object() {
    /** @type {Record<string, unknown>} */
    const object = {};
    this.#at++;
    while (this.#peek() === '"') {
      const key = this.#string();
      if (this.#peek() !== ':') break;
      this.#at++;
      const value = this.value();
      // Not by assignment: "__proto__" is a key like any other.
      if (value !== BROKEN) Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
      if (value === BROKEN || this.#peek() !== ',') break;
      this.#at++;
    }
    if (this.#peek() === '}') this.#at++;
    return object;
  }

  #array() {
    /** @type {unknown[]} */
    const array = [];
    this.#at++;
    while (this.#peek() !== '' && this.#peek() !== ']') {
      const value = this.value();
      if (value === BROKEN) break;
      array.push(value);
      if (this.#peek() !== ',') break;
      this.#at++;
    }
    if (this.#peek() === ']') this.#at++;
    return array;
  }

  #string() {
    const begin = this.#at++;
    while (this.#at < this.#text.length && this.#text[this.#at] !== '"') this.#at += this.#text[this.#at] === '\\' ? 2 : 1;
    const whole = this.#at < this.#text.length;
    const inside = this.#text.slice(begin + 1, this.#at);
    this.#at++;
    // A string that breaks off may do so within an escape.
    return String(JSON.parse(`"${whole ? inside : inside.replace(/\\(u[0-9a-f]{0,3})?$/i, '')}"`));
  }

  /** The next character that is not white space. */
  #peek() {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++;
    return this.#text[this.#at] ?? '';
  }
}
