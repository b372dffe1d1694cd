// Tabs that share a model, in one process: the real hosts over Node's broadcast channels, with locks of our own.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { FanlightError } from '../dist/errors.js';
import { SharedHost } from '../dist/tabs.js';

/** Locks as the browser has them, as far as the tabs use them. */
class Locks {
  /** @type {Map<string, (() => void)[]>} those that wait for a lock that somebody holds */
  #held = new Map();

  /**
   * @param {string} name
   * @param {{ ifAvailable?: boolean, signal?: AbortSignal }} options
   * @param {(lock: object | null) => unknown} work
   */
  async request(name, { ifAvailable, signal }, work) {
    const queue = this.#held.get(name);
    if (queue && ifAvailable) return void (await work(null));
    if (queue) await new Promise((resolve) => queue.push(() => resolve(undefined)));
    else this.#held.set(name, []);
    try {
      if (!signal?.aborted) await work({ name });
    } finally {
      const next = this.#held.get(name)?.shift();
      if (next) next();
      else this.#held.delete(name);
    }
  }
}

/**
 * Tabs of one site.
 * @param {import('node:test').TestContext} t
 */
function site(t) {
  Object.defineProperty(globalThis, 'navigator', { value: { locks: new Locks() }, configurable: true });
  /** @type {SharedHost[]} */
  const tabs = [];
  /** @type {{ tab: number, signal: AbortSignal, answer: (text: string) => void }[]} what leaders were asked, and by then not aborted */
  const asked = [];
  /** @type {(() => void)[]} */
  const loading = [];
  const end = new FanlightError('closed', 'It is over.');
  t.after(() => {
    for (const tab of tabs) tab.end(end);
  });
  const name = `test-${Math.random()}`;
  return {
    asked,
    loading,
    end,
    /** Called when a tab begins to lead: no other has heard it yet. */
    /** @type {() => unknown} */
    onLead: () => {},
    /** Another tab. The model of a later one is loaded when the test says so. */
    async join() {
      const tab = tabs.length;
      const generate = async (/** @type {any} */ _, /** @type {any} */ { signal, onEvent }) => {
        if (signal.aborted) throw new FanlightError('aborted', 'Too late.');
        const result = await new Promise((resolve) => asked.push({ tab, signal, answer: resolve }));
        onEvent({ text: result });
        return result;
      };
      const crew = { generate, onEnd() {}, end() {}, leader: { call: async () => tab } };
      const loaded = /** @type {any} */ ({ crew, info: { name: 'a model' } });
      const load = () => {
        this.onLead();
        return tab === 0 ? Promise.resolve(loaded) : new Promise((resolve) => loading.push(() => resolve(loaded)));
      };
      const { host } = await SharedHost.join(name, load, () => {});
      tabs.push(host);
      return host;
    },
  };
}

/** @param {() => boolean} condition */
async function until(condition) {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 1000, 'it never came');
    await wait(2);
  }
}

/** @type {any} */
const request = { prompt: 'Hello' };
const onEvent = () => {};

test('a request is aborted while the tab that takes over still loads', async (t) => {
  const tabs = site(t);
  const { end, loading, asked } = tabs;
  const [first, second] = [await tabs.join(), await tabs.join()];
  first.end(end);
  await until(() => loading.length === 1);
  const stop = new AbortController();
  const given = second.generate(request, { signal: stop.signal, onEvent });
  stop.abort();
  await assert.rejects(Promise.race([given, wait(1000, 'still waiting')]), { code: 'aborted' });
  loading[0]?.();
  await wait(20);
  assert.deepEqual(asked, []);
});

test('what a tab asks while another takes over is answered once, and nothing is answered by what was given up', async (t) => {
  const tabs = site(t);
  const { end, loading, asked } = tabs;
  const [first, , third] = [await tabs.join(), await tabs.join(), await tabs.join()];
  const signal = new AbortController().signal;
  /** @type {Promise<any>[]} */
  const answers = [];
  tabs.onLead = () => answers.push(third.generate(request, { signal, onEvent }), third.generate(request, { signal, onEvent }));
  first.end(end);
  await until(() => loading.length === 1);
  await wait(50);
  loading[0]?.();
  await until(() => asked.length >= 2);
  await wait(50);
  assert.deepEqual(asked.map(({ tab, signal }) => [tab, signal.aborted]), [[1, false], [1, false]]);
  asked.forEach(({ answer }, at) => answer(`answer ${at}`));
  assert.deepEqual(await Promise.all(answers), ['answer 0', 'answer 1']);
});
