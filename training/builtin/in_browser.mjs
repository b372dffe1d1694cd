#!/usr/bin/env node
// Lets a model answer requests in Chromium, through the package as applications use it. `evaluate.py` writes the requests and scores the answers.

import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { launch, serve } from '../../tests/browser/support/browser.mjs';

const HELP = `in_browser.mjs [options] REQUESTS ANSWERS: answers each line of the first file in a line of the second

  --model FILE   (www/models/fanlight-builtin-q8_0.gguf)
  --threads N    workers (1)
  --help         this text

\`make js\` must have been run. In the repository's root, after \`python -m builtin.evaluate --requests\` in training/.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'www/models/fanlight-builtin-q8_0.gguf' },
    threads: { type: 'string', default: '1' },
    help: { type: 'boolean' },
  },
});
const [requests, answers] = positionals;

if (values.help || !requests || !answers) console.log(HELP);
else await main(requests, answers);

/** @param {string} from @param {string} to */
async function main(from, to) {
  /** @type {(() => unknown)[]} */
  const ends = [];
  const t = /** @type {any} */ ({ after: (/** @type {() => unknown} */ end) => ends.unshift(end) });
  try {
    const model = path.resolve(values.model);
    const server = await serve(t, { mounts: { evaluated: path.dirname(model) } });
    const page = await (await launch(t)).context.newPage();
    await page.goto(`${server.url}tests/browser/support/blank.html`, { timeout: 0 });
    await page.evaluate(load, { url: `${server.url}evaluated/${path.basename(model)}`, threads: Number(values.threads) });
    const lines = [];
    const began = Date.now();
    for (const line of (await readFile(from, 'utf8')).trimEnd().split('\n')) {
      lines.push(JSON.stringify(await page.evaluate(answer, asked(JSON.parse(line)))));
    }
    await writeFile(to, `${lines.join('\n')}\n`);
    const seconds = (Date.now() - began) / 1000;
    console.log(`${lines.length} answers in ${seconds.toFixed(0)} s, by ${await page.evaluate(() => navigator.userAgent)}`);
  } finally {
    for (const end of ends) await end();
  }
}

/** A request of the engine as one of the package. */
function asked(/** @type {any} */ { messages, maxTokens, constraint }) {
  const schema = constraint?.schema;
  return {
    messages,
    temperature: 0,
    max_tokens: maxTokens,
    ...(schema && { response_format: { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } } }),
    ...(constraint?.regex && { regex: constraint.regex }),
  };
}

// ---- In the page ----------------------------------------------------------------------------------------------

async function load(/** @type {{ url: string, threads: number }} */ { url, threads }) {
  const { Fanlight } = await import(/* @vite-ignore */ new URL('/pkg/dist/index.js', location.href).href);
  Reflect.set(globalThis, 'evaluated', await Fanlight.load(url, { threads }));
}

async function answer(/** @type {any} */ request) {
  const { choices, timings } = await Reflect.get(globalThis, 'evaluated').chat.completions.create(request);
  return { answer: choices[0].message.content, finish: choices[0].finish_reason, tokens: timings.predicted_n, forced: timings.forced_n };
}
