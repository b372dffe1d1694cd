// The three browser engines behind one small face: pages that evaluate, workers aside. Chromium comes by Playwright, Firefox
// by Puppeteer over WebDriver BiDi, WebKit (Debian's WebKitGTK) by its own WebDriver. ENGINE names the one to test.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

/** @typedef {'chromium' | 'firefox' | 'webkit'} Engine */

/**
 * What a test may need of the way an engine is driven.
 * @typedef {'offline' | 'requests' | 'cdp' | 'workers' | 'locators' | 'console' | 'shared' | 'relaxed'} Ability
 */

export const ENGINE = /** @type {Engine} */ (process.env.ENGINE ?? 'chromium');

/** @type {Record<Engine, Ability[]>} */
const ABILITIES = {
  chromium: ['offline', 'requests', 'cdp', 'workers', 'locators', 'console', 'shared', 'relaxed'],
  firefox: ['console', 'shared', 'relaxed'],
  webkit: [], // WebKitGTK has no SharedArrayBuffer and no relaxed SIMD, and its driver tells nothing of the console
};

/** @param {Ability} ability */
export function can(ability) {
  return ABILITIES[ENGINE].includes(ability);
}

/**
 * Skips a test, visibly, where its engine cannot be driven that way.
 * @param {import('node:test').TestContext} t
 * @param {Ability} ability
 */
export function skipsWithout(t, ability) {
  if (can(ability)) return false;
  console.log(`SKIPPED: ${t.name} (${ENGINE}: ${ability})`);
  t.skip(`${ENGINE}: ${ability}`);
  return true;
}

/**
 * `test`, for files that need an ability throughout.
 * @param {Ability} ability
 * @returns {typeof test}
 */
export function testWith(ability) {
  return can(ability) ? test : /** @type {any} */ ((/** @type {string} */ name) => test(name, (t) => void skipsWithout(t, ability)));
}

/**
 * A browser with a profile, in the shape of Playwright's context: as much of it as the tests use.
 * @param {string} profile a folder for it
 * @param {object} options
 * @param {string[]} more arguments for Chromium
 * @returns {Promise<import('playwright-core').BrowserContext>}
 */
export async function startEngine(profile, options, more = []) {
  if (ENGINE === 'firefox') return /** @type {any} */ (await startFirefox(profile));
  if (ENGINE === 'webkit') return /** @type {any} */ (await startWebKit());
  return chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', ...more],
    ...options,
  });
}

// ---- Firefox ---------------------------------------------------------------------------------------------------

/** @param {string} profile */
async function startFirefox(profile) {
  // Its own folder of tools, so that the tests in Chromium need not install it.
  const tools = createRequire(new URL('../../engines/package.json', import.meta.url));
  const { launch } = await import(pathToFileURL(tools.resolve('puppeteer-core')).href);
  const browser = await launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    userDataDir: profile,
    headless: true,
    extraPrefsFirefox: { 'browser.shell.checkDefaultBrowser': false, 'datareporting.policy.dataSubmissionEnabled': false },
  });
  return {
    newPage: async () => {
      const page = await browser.newPage();
      page.setDefaultTimeout(0); // a busy machine takes its time; tests have limits of their own
      const own = {
        on: page.on.bind(page),
        goto: (/** @type {string} */ url) => page.goto(url),
        evaluate: page.evaluate.bind(page),
        waitForFunction: (/** @type {string} */ what) => page.waitForFunction(what),
        waitForTimeout: sleep,
        close: () => page.close(),
        setInputFiles: async (/** @type {string} */ selector, /** @type {string} */ file) => {
          const input = /** @type {any} */ (await page.$(selector));
          await input.uploadFile(file);
        },
      };
      return own;
    },
    close: () => browser.close(),
  };
}

// ---- WebKit ----------------------------------------------------------------------------------------------------

const MINI_BROWSERS = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].flatMap((machine) =>
  ['4.1', '4.0'].map((version) => `/usr/lib/${machine}/webkit2gtk-${version}/MiniBrowser`),
);

async function startWebKit() {
  const port = await freePort();
  const driver = spawn('xvfb-run', ['-a', process.env.WEBKIT_DRIVER ?? 'WebKitWebDriver', `--port=${port}`], {
    detached: true, // a group of its own, so that it ends with all that it started
    stdio: 'ignore',
    env: { ...process.env, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' },
  });
  const binary = process.env.WEBKIT ?? MINI_BROWSERS.find((path) => existsSync(path));
  const browserOptions = { binary, args: ['--automation'] };
  const wire = new Wire(`http://127.0.0.1:${port}`);
  const session = await wire.open({ alwaysMatch: { 'webkitgtk:browserOptions': browserOptions } });
  /** @type {WebKitPage[]} */
  const pages = [];
  return {
    newPage: async () => {
      const { handle } = await wire.send('POST', `${session}/window/new`, { type: 'tab' });
      const page = new WebKitPage(wire, session, handle);
      pages.push(page);
      return page;
    },
    close: async () => {
      await wire.send('DELETE', session).catch(() => {});
      if (driver.pid) process.kill(-driver.pid);
    },
  };
}

/** WebDriver, one command at a time. */
class Wire {
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** @param {string} url */
  constructor(url) {
    this.url = url;
  }

  /** @param {object} capabilities */
  async open(capabilities) {
    for (let tries = 0; ; tries++) {
      try {
        const { sessionId } = await this.send('POST', '/session', { capabilities });
        return `/session/${sessionId}`;
      } catch (error) {
        if (tries === 100) throw error;
        await sleep(100);
      }
    }
  }

  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  async send(method, path, body) {
    const init = { method, body: body && JSON.stringify(body) };
    const { value } = /** @type {any} */ (await (await fetch(this.url + path, init)).json());
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }

  /** Several commands that belong together. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  together(work) {
    const mine = this.#last.then(work, work);
    this.#last = mine.catch(() => {});
    return mine;
  }
}

class WebKitPage {
  #next = 0;

  /** @param {Wire} wire @param {string} session @param {string} handle */
  constructor(wire, session, handle) {
    this.wire = wire;
    this.session = session;
    this.handle = handle;
  }

  on() {} // it tells nothing

  /** @param {string} path @param {object} body */
  #send(path, body) {
    return this.wire.together(async () => {
      await this.wire.send('POST', `${this.session}/window`, { handle: this.handle });
      return this.wire.send('POST', `${this.session}${path}`, body);
    });
  }

  /** @param {string} url */
  goto(url) {
    return this.#send('/url', { url });
  }

  /** Starts it there and asks for the result: what takes long does not hold up other commands. @param {Function} work @param {unknown} arg */
  async evaluate(work, arg) {
    const id = this.#next++;
    const start = `
      const results = (globalThis.__results ??= {});
      const settle = (result) => (results[arguments[1]] = result);
      Promise.resolve(arguments[0]).then(${work}).then((value) => settle({ value }), (error) => settle({ error: String(error) }));`;
    await this.#send('/execute/sync', { script: start, args: [arg ?? null, id] });
    for (;;) {
      const script = 'const all = globalThis.__results ?? {}; const r = all[arguments[0]]; delete all[arguments[0]]; return r && JSON.stringify(r);';
      const found = await this.#send('/execute/sync', { script, args: [id] });
      const result = found && JSON.parse(found);
      if (result?.error) throw new Error(result.error);
      if (result) return result.value;
      await sleep(15);
    }
  }

  /** @param {string} what */
  async waitForFunction(what) {
    while (!(await this.#send('/execute/sync', { script: `return Boolean(${what})`, args: [] }))) await sleep(30);
  }

  /** @param {number} ms */
  waitForTimeout(ms) {
    return sleep(ms);
  }

  close() {
    return this.wire.together(async () => {
      await this.wire.send('POST', `${this.session}/window`, { handle: this.handle });
      const left = await this.wire.send('DELETE', `${this.session}/window`);
      await this.wire.send('POST', `${this.session}/window`, { handle: left[0] });
    });
  }

  /** @param {string} selector @param {string} file */
  async setInputFiles(selector, file) {
    const found = await this.#send('/element', { using: 'css selector', value: selector });
    await this.#send(`/element/${Object.values(found)[0]}/value`, { text: file });
  }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
      server.close(() => resolve(port));
    });
  });
}
