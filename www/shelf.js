// The shelf: where a model comes from. The list, what is kept in this browser, an address, a file, or a file that is dropped.

import { Fanlight } from './vendor/fanlight/dist/index.js';
import { find, make } from './dom.js';
import { takeDrops } from './drop.js';
import { engine } from './engine.js';
import { bytes } from './format.js';
import { builtIn, knownModels } from './models.js';
import { loadOptions } from './settings.js';

/** @typedef {import('./engine.js').Choice} Choice */
/** @typedef {import('./vendor/fanlight/dist/index.js').StoredModel} StoredModel */
/** @typedef {import('./models.js').KnownModel} KnownModel */

/** What a loaded model takes besides its file: cache, buffers, the engine itself. In bytes, of a usual context. */
const BESIDES = 200e6;

/**
 * Wires the dialog, and takes GGUF files that are dropped.
 * @param {(choice: Choice) => void} onChoose
 */
export function setUpShelf(onChoose) {
  const dialog = find('shelf', HTMLDialogElement);
  const address = find('address', HTMLInputElement);
  const file = find('file', HTMLInputElement);

  /** @param {Choice} choice */
  const choose = (choice) => {
    dialog.close();
    onChoose(choice);
  };
  /** @param {File[]} files */
  const chooseFiles = (files) => {
    const [first] = files;
    if (first) choose({ name: first.name, source: files.length === 1 ? first : files });
  };
  /** @param {StoredModel[]} stored */
  const show = (stored) => {
    const hrefs = new Set(knownModels.map(({ url }) => new URL(url, document.baseURI).href));
    const others = stored.filter(({ url }) => !hrefs.has(url));
    const own = others.map(({ url, totalBytes, bytes }) => {
      return { name: nameOf(url), about: new URL(url).hostname, url, bytes: totalBytes ?? bytes };
    });
    const rows = [...knownModels, ...own].map((model) => {
      const { href } = new URL(model.url, document.baseURI);
      const kept = stored.find(({ url }) => url === href);
      const item = make('li');
      const button = row(model, kept);
      button.addEventListener('click', () => choose(choiceOf(model)));
      item.append(button);
      if (kept) item.append(remover(model, kept, refresh));
      else if (isElsewhere(model)) item.append(fitter(model.name, () => model.url));
      return item;
    });
    find('models', HTMLUListElement).replaceChildren(...rows);
  };
  const refresh = async () => {
    const [stored, room] = await Promise.all([Fanlight.models.list(), Fanlight.models.storage()]).catch(() => []);
    show(stored ?? []);
    const { modelBytes = 0, quota } = room ?? {};
    find('shelf-storage', HTMLParagraphElement).textContent =
      `Models take ${bytes(modelBytes)} in this browser` + (quota ? `, of ${bytes(quota)} that this site may use.` : '.');
  };

  const recites = find('recites', HTMLParagraphElement);
  recites.querySelector('button')?.addEventListener('click', () => find('choose', HTMLButtonElement).click());
  engine.addEventListener('change', () => {
    const chosen = knownModels.find(({ url }) => url === engine.choice?.source);
    recites.hidden = !chosen?.recites || engine.status !== 'ready';
  });
  show([]);
  find('by-address', HTMLFormElement).append(fitter('this file', () => (address.reportValidity() ? address.value : '')));
  find('choose', HTMLButtonElement).addEventListener('click', () => {
    dialog.showModal();
    void refresh();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close(); // beside it
  });
  find('by-address', HTMLFormElement).addEventListener('submit', (event) => {
    event.preventDefault();
    choose({ name: nameOf(address.value), source: address.value });
  });
  file.addEventListener('change', () => {
    chooseFiles([...(file.files ?? [])]);
    file.value = ''; // so that the same file can be chosen again
  });
  takeDrops((files) => {
    const models = files.filter(({ name }) => name.endsWith('.gguf'));
    chooseFiles(models);
    return models.length > 0;
  });
}

/** @param {KnownModel} model @returns {Choice} */
function choiceOf({ name, url, suggestions = [], plain = false, contextLength = Infinity }) {
  return { name, source: url, suggestions, plain, contextLength };
}

/** The model that the page begins with: the one that its address names, or the built-in one. */
export function firstChoice() {
  const wanted = new URLSearchParams(location.search).get('model');
  if (!wanted) return choiceOf(builtIn);
  const { href } = URL.canParse(wanted, document.baseURI) ? new URL(wanted, document.baseURI) : { href: wanted }; // else loading says what is wrong
  const known = knownModels.find(({ url }) => new URL(url, document.baseURI).href === href);
  return known ? choiceOf(known) : { name: nameOf(wanted), source: wanted };
}

/** Whether a model is no part of this page: it may be large. @param {{ url: string }} model */
function isElsewhere({ url }) {
  return /^https?:/.test(url);
}

/** @param {KnownModel} model @param {StoredModel | undefined} kept */
function row({ name, about, bytes: size, url }, kept) {
  const button = make('button', 'model');
  button.type = 'button';
  const state = kept?.complete ? 'kept here' : kept ? `${bytes(kept.bytes)} of it kept here` : '';
  const memory = isElsewhere({ url }) ? `Needs about ${bytes(size * 1.15 + BESIDES)} of memory.` : '';
  button.append(
    make('strong', '', name),
    make('span', 'model-size', bytes(size)),
    make('span', 'model-about', [about, memory].filter(Boolean).join(' ')),
    ...(state ? [make('span', 'model-state', state)] : []),
  );
  if (engine.choice?.source === url) button.setAttribute('aria-current', 'true');
  return button;
}

/** @param {KnownModel} model @param {StoredModel} kept @param {() => Promise<void>} done */
function remover({ name }, kept, done) {
  const button = make('button', 'word', 'Remove');
  button.type = 'button';
  button.setAttribute('aria-label', `Remove ${name} from this browser`);
  button.addEventListener('click', async () => {
    button.disabled = true;
    const problem = await Fanlight.models.remove(kept.url).catch((error) => error);
    await done();
    if (problem) find('shelf-storage', HTMLParagraphElement).textContent = `${name} stays: ${problem.message}`;
    find('choose', HTMLButtonElement).focus();
    find('models', HTMLUListElement).querySelector('button')?.focus();
  });
  return button;
}

/**
 * A button that says whether a model fits here: it reads the beginning of the file, and nothing else.
 * @param {string} name
 * @param {() => string} addressOf
 */
function fitter(name, addressOf) {
  const element = make('div', 'fit');
  const button = make('button', 'word', 'Will it fit?');
  const verdict = make('p', 'fine');
  button.type = 'button';
  button.setAttribute('aria-label', `Will it fit? ${name}`);
  verdict.setAttribute('role', 'status');
  button.addEventListener('click', async () => {
    const url = addressOf();
    if (!url) return;
    verdict.textContent = 'Reading the beginning of the file …';
    if (URL.canParse(url, document.baseURI)) engine.beginnings.add(new URL(url, document.baseURI).href);
    const { threads, contextLength, kvType } = loadOptions();
    const wanted = { ...(threads && { threads }), ...(contextLength && { contextLength }), ...(kvType && { kvType }) };
    verdict.textContent = await Fanlight.canRun(url, wanted).then(verdictOf, (error) => `${error.message}`);
  });
  element.append(button, verdict);
  return element;
}

/** @param {import('./vendor/fanlight/dist/index.js').Fit} fit */
function verdictOf({ runs, reason, model }) {
  if (!runs || !model) return `No. ${reason}`;
  const { peakBytes, contextLength, storage } = model;
  const room = storage.needed > 0 ? ` and ${bytes(storage.needed)} of storage` : '';
  return `Yes: at most ${bytes(peakBytes)} of memory${room}, for ${contextLength.toLocaleString('en')} tokens of context.`;
}

/** The last part of an address. @param {string} address */
export function nameOf(address) {
  try {
    const path = new URL(address, document.baseURI).pathname;
    return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)) || address;
  } catch {
    return address;
  }
}
