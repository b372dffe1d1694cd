// A browser, a server of our own, and the laboratory page: Node's side of the browser tests.

import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '../../../tools/serve.mjs';
import { can, ENGINE, startEngine } from './engines.mjs';

/** @typedef {import('node:test').TestContext} TestContext */
/** @typedef {Awaited<ReturnType<typeof startServer>>} Server */
/** @typedef {{ code: string, name: string, message: string }} ErrorFound */
/** @typedef {{ value?: any, error?: ErrorFound }} Settled */

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SHARED = path.join(ROOT, '../shared/fixtures/models');

/** What a strict site sends with every file. All tests run under it. */
const CSP = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "connect-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "manifest-src 'self'",
].join('; ');

/** The ways to share the work that every text has to come out of the same. */
export const MODES = [
  { name: '1 worker', isolated: false, options: { threads: 1 }, transport: 'none' },
  { name: '2 workers over messages', isolated: false, options: { threads: 2 }, transport: 'messages' },
  { name: '2 workers over shared memory', isolated: true, options: { threads: 2 }, transport: 'shared' },
].filter(({ isolated }) => !isolated || can('shared'));

export const TINY = '/www/models/tiny-chat-q8_0.gguf';

/** The recorded answers that lie in this repository. @param {string} name */
export async function golden(name) {
  return JSON.parse(await readFile(path.join(ROOT, 'tests/golden', name), 'utf8'));
}

/** Recorded answers of ../shared, or nothing, with a line that says so. @param {string} name */
export async function shared(name) {
  const file = path.join(SHARED, name);
  if (existsSync(file)) return JSON.parse(await readFile(file, 'utf8'));
  console.log(`SKIPPED: browser tests with ${name} (../shared is absent)`);
  return undefined;
}

/**
 * A server that serves this project, and ends with the test.
 * @param {TestContext} t
 * @param {{ isolated?: boolean, mounts?: Record<string, string>, cors?: boolean, models?: string }} [options] `models`: an
 *   address that pages may load models from, besides their own
 */
export async function serve(t, { isolated = false, mounts = {}, cors = false, models = '' } = {}) {
  const server = await startServer({
    root: ROOT,
    mounts: { shared: SHARED, ...mounts },
    isolated,
    cors,
    headers: { 'Content-Security-Policy': CSP.replace("connect-src 'self'", `connect-src 'self' ${models}`) },
  });
  t.after(() => server.close());
  return server;
}

/**
 * A browser with a profile on disk, which ends with the test.
 * @param {TestContext} t
 * @param {import('playwright-core').BrowserContextOptions & { extension?: string }} [options] `extension`: the folder of one
 */
export async function launch(t, { extension, ...options } = {}) {
  const profile = await mkdtemp(path.join(tmpdir(), 'fanlight-profile-'));
  const args = extension ? [`--disable-extensions-except=${extension}`, `--load-extension=${extension}`] : [];
  const start = () => startEngine(profile, { ...(extension && { ignoreDefaultArgs: ['--disable-extensions'] }), ...options }, args);
  let context = await start();
  t.after(async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  return {
    get context() {
      return context;
    },
    /** Ends the browser and starts it again, with the same profile. WebKit under automation has none: it goes on. */
    async restart() {
      if (ENGINE === 'webkit') return;
      await context.close();
      context = await start();
    },
  };
}

/** The laboratory page: see `lab.js`. */
export class Lab {
  /** @param {import('playwright-core').Page} page */
  constructor(page) {
    this.page = page;
    /** What the page complained about. @type {string[]} */
    this.complaints = [];
    page.on('pageerror', (error) => this.complaints.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') this.complaints.push(message.text());
    });
  }

  /**
   * @param {{ context: import('playwright-core').BrowserContext }} browser
   * @param {Server} server
   * @param {string} [page] with a laboratory of its own
   */
  static async open({ context }, server, page = 'tests/browser/support/blank.html') {
    const lab = new Lab(await context.newPage());
    await lab.page.goto(`${server.url}${page}`);
    await lab.page.waitForFunction('globalThis.lab');
    return lab;
  }

  /**
   * Calls a function of the laboratory.
   * @param {string} name
   * @param {unknown} [params]
   * @returns {Promise<Settled>}
   */
  call(name, params) {
    return this.page.evaluate(([name, params]) => Reflect.get(globalThis, 'lab')[String(name)](params), [name, params]);
  }

  /**
   * The same, when it has to succeed.
   * @param {string} name
   * @param {unknown} [params]
   * @returns {Promise<any>}
   */
  async get(name, params) {
    const { value, error } = await this.call(name, params);
    if (error) throw new Error(`${name}: ${error.code}: ${error.message}`);
    return value;
  }

  /**
   * The same, when it has to fail.
   * @param {string} name
   * @param {unknown} [params]
   * @returns {Promise<ErrorFound>}
   */
  async fail(name, params) {
    const { value, error } = await this.call(name, params);
    if (!error) throw new Error(`${name} succeeded: ${JSON.stringify(value).slice(0, 200)}`);
    return error;
  }

  /**
   * Loads a model; gives its info and the progress.
   * @param {string} source
   * @param {Record<string, unknown>} [options]
   */
  load(source, options = {}) {
    return this.get('load', { source, ...options });
  }

  /** Waits until so many bytes are on this side. @param {number} bytes */
  async reached(bytes) {
    while (!(await this.page.evaluate((bytes) => Reflect.get(globalThis, 'lab').loaded >= bytes, bytes))) {
      await this.page.waitForTimeout(30);
    }
  }

  /** Ends a worker behind the package's back: no event says so. @param {number} index */
  killWorker(index) {
    return this.get('killWorker', index);
  }

  /** Waits until the browser has ended all workers of the page. */
  async workersGone() {
    for (let times = 0; can('workers') && this.page.workers().length > 0; times++) {
      if (times === 100) throw new Error(`there are still ${this.page.workers().length} workers`);
      await this.page.waitForTimeout(50);
    }
  }

  /** What the model answers to a question. @param {string} question */
  async ask(question) {
    const messages = [{ role: 'user', content: question }];
    return (await this.get('chat', { messages, temperature: 0 })).choices[0].message.content;
  }
}

/** The requests for models. @param {Server} server */
export function modelRequests(server) {
  return server.requests.filter(({ path }) => path.endsWith('.gguf'));
}
