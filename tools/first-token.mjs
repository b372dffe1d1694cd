#!/usr/bin/env node
// How long a visitor waits: from the navigation to the first token of the built-in model, in a browser that was never here, and again.

import { parseArgs } from 'node:util';
import { launch, serve } from '../tests/browser/support/browser.mjs';
import { loaded } from '../tests/browser/support/page.mjs';

const HELP = `first-token.mjs [options]: the time from the navigation to the first token in the page's chat, as milliseconds

  --visits N    of a browser that was never here, and again of one that was (5)
  --help        this text

\`make wasm js\` must have been run.`;

const { values } = parseArgs({ options: { visits: { type: 'string', default: '5' }, help: { type: 'boolean' } } });
if (values.help) console.log(HELP);
else await main(Number(values.visits));

/** @param {number} visits */
async function main(visits) {
  /** @type {{ first: number[], again: number[] }} */
  const times = { first: [], again: [] };
  for (let n = 0; n < visits; n += 1) {
    /** @type {(() => unknown)[]} */
    const ends = [];
    const t = /** @type {any} */ ({ after: (/** @type {() => unknown} */ end) => ends.unshift(end) });
    const server = await serve(t);
    const { context } = await launch(t);
    for (const visit of /** @type {const} */ (['first', 'again'])) times[visit].push(await firstToken(context, `${server.url}www/`));
    for (const end of ends) await end();
  }
  for (const [visit, all] of Object.entries(times)) {
    const sorted = all.toSorted((a, b) => a - b).map(Math.round);
    console.log(`${visit} visit: median ${sorted[Math.floor(visits / 2)]} ms (${sorted.join(', ')})`);
  }
}

/** Asks as soon as the page can be asked. @param {import('playwright-core').BrowserContext} context @param {string} address */
async function firstToken(context, address) {
  const page = await context.newPage();
  await page.goto(address, { waitUntil: 'commit' });
  await loaded(page);
  const time = await page.evaluate(async () => {
    document.querySelector('#suggestions button')?.dispatchEvent(new MouseEvent('click', { bubbles: true }));
    while (!document.querySelector('.answer-text')?.textContent) await new Promise(requestAnimationFrame);
    return performance.now();
  });
  await page.close();
  return time;
}
