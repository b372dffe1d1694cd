#!/usr/bin/env node
// What structured work costs: a receipt to JSON by a schema against as many tokens without one, and short texts into classes
// against wllama's completions of one token.

import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { withBrowser } from './browser.mjs';
import { startServer } from './serve.mjs';

const HELP = `work.mjs --model FILE [options]: what structured work costs, in one run, with one worker

  --model FILE    a GGUF file with a chat template. Random weights will do: the work is the same, the text is noise
  --rounds N      receipts with and without a schema, in turns (3); 0 leaves this part out
  --only WHICH    of those, only where their beginning is "known", or where each is "alone"
  --extracts N    receipts by extract, one by one and all of them together (8); 0 leaves this part out
  --texts N       short texts into 5 classes (1000); 0 leaves this part out
  --wllama DIR    a folder with node_modules/@wllama/wllama, to compare with; without it, that is left out
  --peer-texts N  texts for wllama (20): the rest is taken to cost the same
  --help          this text

CHROMIUM names the browser. Times are wall-clock and processor time of all the browser's processes: the second hardly depends on
what else the machine does, so the ratios are those of processor time.`;

const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string' },
    extracts: { type: 'string', default: '8' },
    texts: { type: 'string', default: '1000' },
    wllama: { type: 'string' },
    'peer-texts': { type: 'string', default: '20' },
    help: { type: 'boolean', default: false },
  },
});

const LABELS = ['billing', 'delivery', 'quality', 'praise', 'other'];
const INSTRUCTION = 'Say which class the message of a customer belongs to.';

const line = { type: 'object', additionalProperties: false, required: ['description', 'quantity', 'unit_price', 'amount'] };
const money = { type: 'number', minimum: 0, maximum: 9999, multipleOf: 0.01 };
const SCHEMA = {
  type: 'object',
  properties: {
    merchant: {
      type: 'object',
      properties: { name: { type: 'string', maxLength: 24 }, street: { type: 'string', maxLength: 24 }, city: { type: 'string', maxLength: 16 } },
      required: ['name', 'street', 'city'],
      additionalProperties: false,
    },
    receipt_number: { type: 'string', pattern: '^[0-9]{6}$' },
    purchase_date: { type: 'string', format: 'date' },
    currency: { enum: ['EUR', 'CHF', 'USD', 'GBP'] },
    payment_method: { enum: ['cash', 'credit card', 'debit card', 'bank transfer'] },
    line_items: {
      type: 'array',
      minItems: 3,
      maxItems: 3,
      items: {
        ...line,
        properties: { description: { type: 'string', maxLength: 16 }, quantity: { type: 'integer', minimum: 1, maximum: 99 }, unit_price: money, amount: money },
      },
    },
    subtotal_without_tax: money,
    value_added_tax: money,
    total_amount_paid: money,
  },
  required: ['merchant', 'receipt_number', 'purchase_date', 'currency', 'payment_method', 'line_items', 'subtotal_without_tax', 'value_added_tax', 'total_amount_paid'],
  additionalProperties: false,
};
const RECEIPT = `CORNER BAKERY\nMain Street 12\n8001 Zurich\n\nNo. 004217   2026-03-14 09:41\n
2 x Croissant     1.80     3.60\n1 x Sourdough     6.50     6.50\n3 x Espresso      2.40     7.20\n
Net              16.00\nVAT 8.1 %         1.30\nTOTAL CHF        17.30\nVisa **** 1881\nThank you for your visit!`;

if (values.help) console.log(HELP);
else process.exitCode = await main();

async function main() {
  if (!values.model) throw new Error('name a file: --model FILE');
  const model = path.resolve(values.model);
  const mounts = { models: path.dirname(model), ...(values.wllama && { peer: path.join(values.wllama, 'node_modules/@wllama/wllama') }) };
  const server = await startServer({ root: ROOT, mounts, isolated: true });
  const url = `${server.url}models/${path.basename(model)}`;
  try {
    console.log(`${path.basename(model)}, 1 worker; wall seconds / processor seconds`);
    const texts = messages(Number(values.texts));
    const ours = await withBrowser(server.url, (browser) => fanlight(browser, url, texts));
    if (values.wllama && texts.length > 0) {
      const some = texts.slice(0, Number(values['peer-texts']));
      const theirs = await withBrowser(server.url, (browser) => wllama(browser, url, some));
      const [own, peer] = [ours.cpu / texts.length, theirs.cpu / some.length];
      console.log(`texts/s, by processor time: Fanlight ${(1000 / own).toFixed(2)}, wllama ${(1000 / peer).toFixed(2)}: ${(peer / own).toFixed(1)} times faster`);
    }
    return 0;
  } finally {
    await server.close();
  }
}

/**
 * @param {import('./browser.mjs').Browser} browser
 * @param {string} url
 * @param {string[]} texts
 */
async function fanlight({ page, timed }, url, texts) {
  await page.evaluate(async (url) => {
    const { Fanlight } = await import(/** @type {any} */ ('/pkg/dist/index.js'));
    const model = await Fanlight.load(url, { threads: 1 });
    // Once, so that everything that is made once is there.
    await model.completions.create({ prompt: 'x', regex: 'a|b', max_tokens: 2 });
    Object.assign(globalThis, { model });
  }, url);

  // As `extract` asks.
  const { outline } = await import(/** @type {any} */ (path.join(ROOT, 'pkg/dist/outline.js')));
  const about = `Read the text and write down what it says as JSON.\n${outline(SCHEMA)}`;
  const ask = (/** @type {string} */ begin, /** @type {string} */ content, /** @type {object} */ more) =>
    timed((/** @type {any} */ request) => /** @type {any} */ (globalThis).model.chat.completions.create(request), {
      messages: [
        { role: 'system', content: begin + about },
        { role: 'user', content },
      ],
      // A model of random weights that always took the likeliest token would go in circles, which are quick to guess.
      ...{ temperature: 1, seed: 1, enable_thinking: false, ...more },
    });
  const response_format = { type: 'json_schema', json_schema: { name: 'receipt', schema: SCHEMA } };
  if (values.rounds !== '0') await ask('', 'N/A', { max_tokens: 16, ignore_eos: true }); // computes the shared beginning, and warms the browser's compiler
  for (const known of values.rounds === '0' ? [] : [true, false]) {
    if (values.only && values.only !== (known ? 'known' : 'alone')) continue;
    /** @type {number[]} */
    const ratios = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      const begin = (/** @type {string} */ salt) => (known ? '' : `${round}${salt} `);
      const text = (/** @type {string} */ salt) => `Document ${round}${salt}\n${RECEIPT}`;
      const held = await ask(begin('a'), text('a'), { response_format, max_tokens: 1000 });
      JSON.parse(held.value.choices[0].message.content);
      const { completion_tokens, prompt_tokens } = held.value.usage;
      const free = await ask(begin('b'), text('b'), { max_tokens: completion_tokens, ignore_eos: true });
      const { forced_n, skipped_rows, cache_n } = held.value.timings;
      ratios.push(free.cpu / held.cpu);
      console.log(
        `receipt, ${prompt_tokens} tokens (${cache_n} known) to ${completion_tokens}: ${said(held)} with the schema (${forced_n} forced, ${skipped_rows} rows skipped), ` +
          `${said(free)} without, for ${free.value.usage.completion_tokens} tokens: ${(free.cpu / held.cpu).toFixed(2)} times faster`,
      );
    }
    ratios.sort((a, b) => a - b);
    const which = known ? 'one of many, their shared beginning known' : 'alone, nothing known';
    console.log(`receipt, ${which}: ${ratios[ratios.length >> 1]?.toFixed(2)} times faster with the schema (median)`);
  }

  if (values.extracts !== '0') {
    const receipts = Array.from({ length: Number(values.extracts) }, (_, n) => `Document ${n}\n${RECEIPT}`);
    const extract = (/** @type {boolean} */ together) =>
      timed(
        async (/** @type {any} */ { receipts, schema, together }) => {
          const { model } = /** @type {any} */ (globalThis);
          if (together) return JSON.stringify(await model.extract(receipts, schema));
          const found = [];
          for (const receipt of receipts) found.push(await model.extract(receipt, schema));
          return JSON.stringify(found);
        },
        { receipts, schema: SCHEMA, together },
      );
    const alone = await extract(false);
    const together = await extract(true);
    if (alone.value !== together.value) throw new Error('texts give something else together than alone');
    console.log(`extract: ${receipts.length} receipts one by one ${said(alone)}, together ${said(together)}: ${(alone.cpu / together.cpu).toFixed(2)} times faster`);
  }

  if (texts.length === 0) return { wall: 0, cpu: 0 };
  const done = await timed(
    async (/** @type {any} */ { texts, labels, instruction }) => (await /** @type {any} */ (globalThis).model.classify(texts, labels, { instruction })).length,
    { texts, labels: LABELS, instruction: INSTRUCTION },
  );
  console.log(`classify: ${done.value} texts into ${LABELS.length} classes: ${said(done)}`);
  return done;
}

/**
 * @param {import('./browser.mjs').Browser} browser
 * @param {string} url
 * @param {string[]} texts
 */
async function wllama({ page, timed }, url, texts) {
  await page.evaluate(async (url) => {
    const { Wllama } = await import(/** @type {any} */ ('/peer/esm/index.js'));
    const engine = new Wllama({ default: '/peer/esm/wasm/wllama.wasm' }, { suppressNativeLog: true });
    await engine.loadModelFromUrl(url, { n_threads: 1, n_ctx: 2048, n_batch: 512, n_gpu_layers: 0, n_parallel: 1 });
    Object.assign(globalThis, { engine });
  }, url);
  const work = async (/** @type {any} */ { texts, about }) => {
    for (const content of texts) {
      const messages = [{ role: 'system', content: about }, { role: 'user', content }];
      await /** @type {any} */ (globalThis).engine.createChatCompletion({ messages, max_tokens: 1, temperature: 0, cache_prompt: true });
    }
  };
  const about = `${INSTRUCTION}\nClasses: ${LABELS.join(', ')}\nAnswer with one class and nothing else.`;
  await timed(work, { texts: ['N/A'], about }); // the shared beginning, once
  const done = await timed(work, { texts, about });
  console.log(`wllama: ${texts.length} completions of one token, its prompt cache on: ${said(done)}`);
  return done;
}

/** Messages of customers, each of them another. @param {number} count */
function messages(count) {
  const things = ['the coffee grinder', 'my invoice', 'the blue jacket', 'the parcel', 'your support team', 'the headphones', 'my last order'];
  const findings = ['arrived two days late', 'was charged twice', 'stopped working yesterday', 'is exactly what I wanted', 'never came', 'was lovely, thank you', 'has a scratch'];
  return Array.from({ length: count }, (_, n) => {
    const [thing, finding] = [things[n % things.length], findings[(n * 5 + (n >> 3)) % findings.length]];
    return `Order ${1000 + n * 7}: ${thing} ${finding}.`;
  });
}

/** @param {import('./browser.mjs').Cost} cost */
function said({ wall, cpu }) {
  return `${(wall / 1000).toFixed(1)} / ${(cpu / 1000).toFixed(1)} s`;
}
