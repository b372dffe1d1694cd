// The page's side of the browser tests: calls the package as an application would, and gives back what can cross to Node.
// `browser.mjs` is the other side.

import { Fanlight } from '/pkg/dist/index.js';

/** @type {import('/pkg/dist/index.js').Model | undefined} */
let model;
/** @type {Map<string, AbortController>} */
const aborts = new Map();

/** @type {Map<string, import('/pkg/dist/index.js').Session>} */
const sessions = new Map();
/** @type {Map<string, Blob>} */
const saved = new Map();

/** A copy with a bit turned, if one is named. */
async function damaged(blob, at) {
  if (!blob || at === undefined) return blob;
  const bytes = new Uint8Array(await blob.arrayBuffer());
  bytes[at] ^= 1;
  return new Blob([bytes]);
}

/** What crosses: a result, or what kind of error it was. */
async function settle(work) {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: { code: error.code, name: error.name, message: error.message } };
  }
}

async function flipOnDisk(places) {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle('fanlight');
  for await (const [name, handle] of folder) {
    if (!name.endsWith('.gguf')) continue;
    const file = await handle.getFile();
    const writable = await handle.createWritable({ keepExistingData: true });
    for (const { at, bit } of places) {
      const byte = new Uint8Array(await file.slice(at, at + 1).arrayBuffer());
      byte[0] ^= 1 << bit;
      await writable.write({ type: 'write', position: at, data: byte });
    }
    await writable.close();
  }
}

async function flipInDatabase(at, bit) {
  const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
  const database = await done(indexedDB.open('fanlight', 1));
  const blocks = database.transaction('blocks', 'readwrite').objectStore('blocks');
  const key = (await done(blocks.getAllKeys()))[Math.floor(at / 2 ** 18)];
  const block = await done(blocks.get(key));
  new Uint8Array(block.bytes)[at % 2 ** 18] ^= 1 << bit;
  await done(blocks.put(block, key));
  database.close();
}

/** A batch of texts that differ. */
const PARCELS = Array.from({ length: 200 }, (_, at) => `Parcel ${at} arrived ${at % 31} days late, and the box was open.`);

const chosen = () => document.querySelector('input').files[0];

/** The workers that the package has started and not ended. @type {Worker[]} */
const workers = [];
let workersStarted = 0;
let chunksSeen = 0;
let phase = '';
globalThis.Worker = class extends Worker {
  constructor(url, options) {
    super(String(url).endsWith('/pkg/dist/worker.js') ? new URL('hangable.js', import.meta.url) : url, options);
    workers.push(this);
    workersStarted += 1;
  }
  terminate() {
    workers.splice(workers.indexOf(this), 1);
    super.terminate();
  }
};

globalThis.lab = {
  workersStarted: () => settle(async () => workersStarted),
  /** Of the last stream. */
  chunksSeen: () => settle(async () => chunksSeen),
  /** Of the last progress. */
  phase: () => settle(async () => phase),
  /** Bytes that the last progress told of. */
  loaded: 0,
  /** Ends a worker behind the package's back. */
  killWorker: (index) => settle(async () => Object.getPrototypeOf(Worker.prototype).terminate.call(workers[index])),

  /** Loads; gives what is known of the model, and the progress that was told. */
  load: ({ source, file, abort, ...options }) =>
    settle(async () => {
      const progress = [];
      const what = file ? chosen() : source;
      const controller = new AbortController();
      if (abort) aborts.set(abort, controller);
      const loaded = await Fanlight.load(what, {
        ...options,
        signal: controller.signal,
        onProgress: (step) => {
          progress.push(step);
          globalThis.lab.loaded = step.loaded;
          phase = step.phase;
        },
      });
      await model?.dispose();
      model = loaded;
      return { info: model.info(), progress };
    }),

  /** A whole answer. */
  chat: (params) => settle(() => model.chat.completions.create(params)),
  complete: (params) => settle(() => model.completions.create(params)),

  /** A streamed answer: all chunks, or as many as wanted, after which it breaks out of the loop or aborts. */
  stream: ({ breakAfter = Infinity, abortAfter = Infinity, ...params }) =>
    settle(async () => {
      const controller = new AbortController();
      const kind = params.messages ? model.chat.completions : model.completions;
      const chunks = [];
      let abortedAt = 0;
      try {
        for await (const chunk of await kind.create({ ...params, stream: true }, { signal: controller.signal })) {
          chunks.push(chunk);
          chunksSeen = chunks.length;
          if (chunks.length >= breakAfter) break;
          if (chunks.length === abortAfter) {
            abortedAt = performance.now();
            controller.abort();
          }
        }
      } catch (error) {
        return { chunks, error: { code: error.code, message: error.message }, abortMs: performance.now() - abortedAt };
      }
      return { chunks };
    }),

  /** An answer that is aborted so many milliseconds after it was asked for. */
  abortedAfter: ({ ms, ...params }) =>
    settle(async () => {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), ms);
      const kind = params.messages ? model.chat.completions : model.completions;
      return kind.create(params, { signal: controller.signal });
    }),

  /** Several calls at once of the model; then, so many milliseconds later, a worker hangs. How each ended, and how long after that. */
  hangsDuring: ({ calls, worker, after }) =>
    settle(async () => {
      let hung = 0;
      const ends = calls.map(async ([name, params]) => {
        const end = await globalThis.lab[name](params);
        return { ...end, ms: performance.now() - hung };
      });
      await new Promise((resolve) => setTimeout(resolve, after));
      hung = performance.now();
      workers[worker].postMessage({ hang: true });
      return Promise.all(ends);
    }),

  /** Several requests at once, and the order in which they were done. */
  together: (requests) =>
    settle(async () => {
      const order = [];
      const answers = await Promise.all(
        requests.map(async (params, index) => {
          const answer = await model.completions.create(params);
          order.push(index);
          return answer;
        }),
      );
      return { order, answers };
    }),

  /** A run with tools, whose functions give these answers, one after the other. */
  runTools: ({ tools, answers, ...params }) =>
    settle(async () => {
      const calls = [];
      const events = [];
      const run = (args) => {
        const { value, error } = answers[calls.push(args) - 1] ?? {};
        if (error) throw new Error(error);
        return value;
      };
      const runnable = tools.map((tool) => ({ ...tool, function: { ...tool.function, function: run } }));
      if (!params.stream) return { calls, result: await model.runTools({ ...params, tools: runnable }) };
      for await (const event of await model.runTools({ ...params, tools: runnable, stream: true })) events.push(event);
      // A copy: Firefox, driven by BiDi, sends an object that is there twice only once.
      return { calls, events, result: structuredClone(events.at(-1).result) };
    }),

  /** Whether it would run, and what it would take. */
  canRun: ({ source, file, ...options }) => settle(() => Fanlight.canRun(file ? chosen() : source, options)),

  /** Calls `Fanlight.models`. What is no plain data crosses as its size. */
  models: ([name, ...args]) =>
    settle(async () => {
      const found = await Fanlight.models[name](...args.map((arg) => (arg === '<file>' ? chosen() : arg)));
      return name === 'export' ? found.map(({ size }) => size) : found;
    }),
  /** Turns bits of the only stored file, each in another byte. */
  flip: (places) =>
    settle(async () => {
      if (navigator.storage?.getDirectory) return flipOnDisk([places].flat());
      for (const { at, bit } of [places].flat()) await flipInDatabase(at, bit);
    }),

  /** Opens a session by this name, or calls one. What it saved stays here, by its name, and crosses as its size. */
  session: ({ name, call, params, from, damage }) =>
    settle(async () => {
      const source = from?.startsWith('/') ? from : await damaged(saved.get(from), damage);
      if (call === 'open') return void sessions.set(name, await model.session(from ? { from: source } : {}));
      const session = sessions.get(name);
      if (call === 'chat') return session.chat.completions.create(params);
      if (call === 'clone') return void sessions.set(params, await session.clone());
      if (call === 'restore') return session.restore(source);
      if (call === 'save') return saved.set(name, await session.save()).get(name).size;
      return session[call](params);
    }),
  /** The bytes of what a session saved. */
  savedBytes: (name) => settle(async () => [...new Uint8Array(await saved.get(name).arrayBuffer())]),

  /** Milliseconds from an abort to the rejection; nothing when it was over before. */
  abortTime: ({ stage, source, after }) =>
    settle(async () => {
      const controller = new AbortController();
      const { signal } = controller;
      const begin = {
        download: () => Fanlight.load(source, { signal }),
        load: () => Fanlight.load(source, { signal, threads: 2 }),
        prefill: () => model.completions.create({ prompt: 'The wind is passing by. '.repeat(340), max_tokens: 1 }, { signal }),
        decode: () => model.completions.create({ prompt: 'Fanlight', max_tokens: 400, ignore_eos: true }, { signal }),
        classify: () => model.classify(PARCELS, ['delivery', 'billing', 'praise', 'other'], { signal }),
      }[stage];
      const work = (async () => begin())(); // what classifies many is awaited, and no promise itself
      work.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, after));
      const began = performance.now();
      controller.abort();
      const loaded = await work.catch((error) => error);
      if (loaded?.code === 'aborted') return performance.now() - began;
      await loaded?.dispose?.();
    }),

  /** Calls the model itself: `classify`, `extract`, `embed` and the like. */
  model: ([name, ...args]) => settle(() => model[name](...args)),
  tokenize: (args) => settle(() => model.tokenize(...args)),
  detokenize: (ids) => settle(() => model.detokenize(ids)),
  countTokens: (text) => settle(() => model.countTokens(text)),
  dispose: () => settle(() => model.dispose()),
  abort: (name) => aborts.get(name).abort(),
};
