// What the visitor set, kept in this browser. The address of the page may ask for options of its own: `?threads=2&kvType=q8`.

/** @typedef {import('./vendor/fanlight/dist/index.js').LoadOptions} LoadOptions */

/**
 * One setting. A number that is empty, or a word that is empty, leaves it to the package or the model.
 * @typedef {object} Setting
 * @property {string} name as the package calls it
 * @property {string} label
 * @property {string} [help]
 * @property {'number' | 'choice'} kind
 * @property {[number, number, number]} [range] least, most, step
 * @property {[string, string][]} [choices] value and label
 */

/** How a model is loaded: these need it to be loaded again. @type {Setting[]} */
export const LOADING = [
  { name: 'contextLength', label: 'Context', help: 'tokens of prompt and answer', kind: 'number', range: [1, 1048576, 1] },
  { name: 'threads', label: 'Workers', help: 'more is not always faster', kind: 'number', range: [1, 64, 1] },
  {
    name: 'kvType',
    label: 'Kept of the context as',
    help: 'q8 takes half the memory of q16, and is coarser',
    kind: 'choice',
    choices: [
      ['', 'q16, the default'],
      ['q8', 'q8'],
      ['f16', 'f16'],
      ['f32', 'f32'],
    ],
  },
];

/** How the next token is chosen. @type {Setting[]} */
export const SAMPLING = [
  { name: 'temperature', label: 'Temperature', help: '0: always the likeliest', kind: 'number', range: [0, 5, 0.05] },
  { name: 'top_k', label: 'Top k', kind: 'number', range: [0, 1000, 1] },
  { name: 'top_p', label: 'Top p', kind: 'number', range: [0, 1, 0.01] },
  { name: 'min_p', label: 'Min p', kind: 'number', range: [0, 1, 0.01] },
  { name: 'repeat_penalty', label: 'Repetition penalty', help: '1: none', kind: 'number', range: [0.5, 2, 0.01] },
  { name: 'seed', label: 'Seed', help: 'the same again and again', kind: 'number', range: [0, 4294967295, 1] },
  { name: 'max_tokens', label: 'Longest answer', help: 'tokens', kind: 'number', range: [1, 1048576, 1] },
  { name: 'thinking_budget', label: 'Longest thoughts', help: 'tokens', kind: 'number', range: [0, 1048576, 1] },
];

const KEY = 'fanlight-settings';

/** What was set: only what is not left to the package. @type {Record<string, string | number>} */
let values = read();

/** The value of a setting, or nothing. @param {string} name */
export function setting(name) {
  return values[name];
}

/** @param {string} name @param {string} text empty: leave it to the package */
export function set(name, text) {
  const known = [...LOADING, ...SAMPLING].find((each) => each.name === name);
  if (text === '') delete values[name];
  else values[name] = known?.kind === 'number' ? Number(text) : text;
  keep();
}

/** Everything as it was at first. */
export function reset() {
  values = {};
  keep();
}

/** For `Fanlight.load`. @param {number} [longest] the largest context that the model takes @returns {LoadOptions} */
export function loadOptions(longest = Infinity) {
  const wanted = new URLSearchParams(location.search);
  // The first answer of a first visit is to come soon. Whoever comes again, or for JSON, finds everything here.
  const all = navigator.serviceWorker?.controller || location.hash === '#/extract';
  /** @type {Record<string, string | number>} */
  const options = { ...pick(LOADING), constraints: all ? 'load' : 'use' };
  for (const name of ['threads', 'contextLength']) if (wanted.has(name)) options[name] = Number(wanted.get(name));
  for (const name of ['transport', 'build', 'kvType']) {
    const value = wanted.get(name);
    if (value) options[name] = value;
  }
  // What was set for a large model does not keep a small one from loading.
  if (options['contextLength'] !== undefined) options['contextLength'] = Math.min(Number(options['contextLength']), longest);
  return options;
}

/** For a request. @returns {Record<string, string | number>} */
export function samplingOptions() {
  return pick(SAMPLING);
}

/** @param {Setting[]} settings */
function pick(settings) {
  /** @type {Record<string, string | number>} */
  const options = {};
  for (const { name } of settings) if (values[name] !== undefined) options[name] = values[name];
  return options;
}

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    const names = new Set([...LOADING, ...SAMPLING].map(({ name }) => name));
    const kept = Object.entries(stored).filter(([name, value]) => names.has(name) && /^(number|string)$/.test(typeof value));
    return Object.fromEntries(kept);
  } catch {
    return {}; // storage is refused, or holds something else
  }
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch {
    // It holds for this visit.
  }
}
