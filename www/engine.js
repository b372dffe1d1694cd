// The one model that all rooms share: how it comes to be loaded, and who is told.

import { Fanlight, FanlightError } from './vendor/fanlight/dist/index.js';
import { loadOptions } from './settings.js';

/** @typedef {import('./vendor/fanlight/dist/index.js').Model} Model */
/** @typedef {import('./vendor/fanlight/dist/index.js').Progress} Progress */
/** @typedef {string | File | File[]} Source an address, or files of the visitor's */
/** @typedef {{ name: string, source: Source, suggestions?: string[], plain?: boolean, contextLength?: number }} Choice see KnownModel */

/**
 * Tells `change` when its status is another, and `progress` while it loads.
 * Status: `none`, `loading`, `paused` (loading was stopped, and can go on), `ready`.
 */
class Engine extends EventTarget {
  /** @type {'none' | 'loading' | 'paused' | 'ready'} */
  status = 'none';
  /** What was chosen last. @type {Choice | undefined} */
  choice;
  /** @type {Model | undefined} */
  model;
  /** Why loading failed. @type {unknown} */
  error;
  /** How far loading is. @type {Progress | undefined} */
  progress;
  /** Every file that came from the network, and how much of it. @type {Map<string, number>} */
  downloads = new Map();
  /** Files of which only the beginning was read. @type {Set<string>} */
  beginnings = new Set();
  #using = new AbortController();

  /** Fires when the model goes: whoever uses it, stops. */
  get signal() {
    return this.#using.signal;
  }

  /** In place of the one that is here. @param {Choice} choice */
  async load(choice) {
    const using = await this.#start(choice);
    try {
      const model = await Fanlight.load(choice.source, {
        ...loadOptions(choice.contextLength),
        signal: using.signal,
        onProgress: (progress) => this.#tell(progress),
      });
      if (using !== this.#using) return await model.dispose();
      this.model = model;
      this.#become('ready');
    } catch (error) {
      if (using !== this.#using) return;
      if (error instanceof FanlightError && error.code === 'aborted') return this.#become('paused');
      this.error = error;
      this.#become('none');
    }
  }

  /** The same again, such as with other settings. */
  async reload() {
    if (this.choice) await this.load(this.choice);
  }

  /** Stops loading. What was downloaded stays, and `reload` goes on from there. */
  pause() {
    if (this.status === 'loading') this.#using.abort();
  }

  /** Frees the memory; the choice is remembered. */
  async release() {
    this.#using.abort();
    this.#using = new AbortController();
    await this.model?.dispose();
    this.model = undefined;
    this.progress = undefined;
    this.#become('none');
  }

  /** @param {Choice} choice */
  async #start(choice) {
    this.#using.abort();
    const using = (this.#using = new AbortController());
    const before = this.model;
    this.model = undefined;
    this.choice = choice;
    this.error = undefined;
    this.progress = undefined;
    this.#become('loading');
    await before?.dispose();
    return using;
  }

  /** @param {Progress} progress */
  #tell(progress) {
    this.progress = progress;
    if (this.choice) this.note(this.choice.source, progress);
    this.dispatchEvent(new Event('progress'));
  }

  /** Remembers what comes from the network. @param {Source} source @param {Progress} progress */
  note(source, { phase, fromCache, loaded }) {
    if (phase === 'download' && !fromCache && typeof source === 'string') this.downloads.set(new URL(source, document.baseURI).href, loaded);
  }

  /** @param {Engine['status']} status */
  #become(status) {
    this.status = status;
    this.dispatchEvent(new Event('change'));
  }
}

export const engine = new Engine();
